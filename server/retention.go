package server

import (
	"cmp"
	"context"
	"slices"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Years that consents and disclosures are kept at least, and until somebody is of age; and
// how many are listed.
const (
	paperYears    = 6
	majority      = 18
	retentionList = 200
)

// Retention is what is past its time, counted and not touched.
type Retention struct {
	// AtMS is the moment that it was counted for, Seq the state.
	AtMS int64  `json:"at"`
	Seq  uint64 `json:"seq"`
	// People whose time is over, Calls of whom nobody is kept any more, and Records: all
	// that is about them.
	People  int `json:"people"`
	Calls   int `json:"calls"`
	Records int `json:"records"`
	// Held people and calls are past their time and under a legal hold; Open people have
	// an episode that is not closed. Neither is counted above.
	Held int `json:"held"`
	Open int `json:"open"`
	// Waiting are those of the people and calls above of whom something is not settled: a
	// change in quarantine, values that differ, a draft, or what no lead has reviewed. They
	// are not purged before it is.
	Waiting int `json:"waiting"`
	// Shared are those of the people and calls above of whom another agency has something
	// too, or of which it is not known whose it is. They are not purged.
	Shared int `json:"shared"`
	// Purgeable are the records that may be purged now, those that are about others before
	// these: of Records, all of those people and calls of which nothing has to stay.
	Purgeable []syncengine.ID `json:"-"`
	// PurgePeople and PurgeCalls count people and calls among them.
	PurgePeople int `json:"purge_people"`
	PurgeCalls  int `json:"purge_calls"`
	// holds are all legal holds as they were, concerned all records of the people and calls
	// that Purgeable has anything of, waited those of them that something waited for then.
	holds             []*store.Hold
	concerned, waited map[syncengine.ID]bool
	// Soon are people and calls whose time is over within a year.
	Soon int `json:"soon"`
	// Incomplete are records of a kind that this version does not know: whoever has anything
	// with their teams is not past their time, as far as this version can tell.
	Incomplete int `json:"incomplete,omitempty"`
	// NextMS is when the next one's time is over, 0 for never.
	NextMS int64 `json:"next,omitempty"`
	// List is the oldest of those past their time, held ones among them.
	List []Expired `json:"-"`
}

// Expired is a person, or a call, whose time is over.
type Expired struct {
	ID syncengine.ID
	// Call: it is a call.
	Call bool
	// LastMS is when the last contact was, DueMS when its time was over, Records how many
	// records are about it, itself among them, less those that are kept for somebody else.
	LastMS, DueMS int64
	Records       int
	Held          bool
	// Waits: something of it is not settled.
	Waits bool
}

// Retention counts, in one state, what is past the time that its agency keeps it: a person
// with all that is about them from the last contact on, of a minor from the 18th birthday, of
// whom no age is known as if they were born at the last contact, consents and disclosures not
// before six years, nobody with an open episode, and nothing that a legal hold covers. Of
// several agencies the longest time counts. agency leaves out who has no record with a team
// of that agency; zero leaves out nobody. It removes nothing.
func (a *Admin) Retention(ctx context.Context, agency syncengine.ID) (*Retention, error) {
	return a.retention(ctx, agency, nil)
}

// retention does so; of Purgeable it leaves out whoever has a record that is none of only,
// unless that is nil.
func (a *Admin) retention(ctx context.Context, agency syncengine.ID, only map[syncengine.ID]bool) (r *Retention, err error) {
	k := &keeping{
		domain: record.New(), agency: agency, only: only, facts: map[syncengine.ID]*fact{}, agencies: map[syncengine.ID]*tandemv1.Retention{}, owners: map[syncengine.ID]syncengine.ID{}, now: a.now().UTC(),
		roots: map[syncengine.ID]syncengine.ID{}, depths: map[syncengine.ID]int{},
	}
	r = &Retention{AtMS: k.now.UnixMilli()}
	err = a.store.Snapshot(ctx, a.org.ID, func(snap *store.Snapshot) error {
		head, err := snap.Head()
		if err != nil {
			return err
		}
		r.Seq = head.Seq
		if k.holds, err = snap.LegalHolds(); err != nil {
			return err
		}
		if err := snap.Each(0, k.take); err != nil {
			return err
		}
		if err := snap.EachErased(k.takeErased); err != nil {
			return err
		}
		return snap.EachWaiting(func(id syncengine.ID) {
			if f := k.facts[id]; f != nil {
				f.waits = true
			}
		})
	})
	if err != nil {
		return nil, err
	}
	r.holds = k.holds
	k.settle()
	k.count(r)
	return r, nil
}

// keeping is what is known of the records when their time is counted.
type keeping struct {
	domain *record.Domain
	agency syncengine.ID
	only   map[syncengine.ID]bool
	now    time.Time
	holds  []*store.Hold
	facts  map[syncengine.ID]*fact
	// agencies are their policies, owners says whose a team, a program or a member of staff is.
	agencies map[syncengine.ID]*tandemv1.Retention
	owners   map[syncengine.ID]syncengine.ID
	// newer are the teams of each record of a kind that is not known; none stands for all.
	newer [][]syncengine.ID
	// reviews are what leads have said of records.
	reviews map[syncengine.ID][]opinion
	// roots are the persons that persons count as, depths how many records one after another
	// a record is about, as far as either was asked for.
	roots  map[syncengine.ID]syncengine.ID
	depths map[syncengine.ID]int
}

// fact is what matters of a record.
type fact struct {
	kind  string
	about []syncengine.ID
	teams []syncengine.ID
	// owners are whose it is: teams, and of a private note its author.
	owners []syncengine.ID
	lastMS int64
	// goneMS is when it was erased, 0 where it is there.
	goneMS int64
	// open: an episode that is not closed. into is the person that one was merged into.
	open bool
	into syncengine.ID
	// born is the latest day that a person can have been born on, zero for unknown.
	born time.Time
	// subjects are the people and calls that it is about.
	subjects []syncengine.ID
	// waits: something of it is not settled. asks is what a lead's word on it must name, nil
	// where none is asked.
	waits bool
	asks  *asking
}

func (k *keeping) take(rec *syncengine.StoredRecord) error {
	kind := k.domain.Kind(rec.Kind)
	if kind == nil {
		// Of a newer version: nothing that it is about can be counted as over.
		if !slices.ContainsFunc(rec.Scopes, func(s syncengine.ScopeKey) bool { return s.Owner == syncengine.OwnerOrg }) {
			k.newer = append(k.newer, teamsOf(rec))
		}
		return nil
	}
	msg, err := k.domain.Message(&rec.Record)
	if err != nil {
		return err
	}
	switch m := msg.(type) {
	case *tandemv1.Agency:
		k.agencies[rec.ID] = m.GetRetention()
		return nil
	case *tandemv1.Program:
		k.owns(rec.ID, m.GetAgencyId())
		return nil
	case *tandemv1.Team:
		k.owns(rec.ID, m.GetProgramId())
		return nil
	case *tandemv1.Staff:
		k.owns(rec.ID, m.GetAgencyId())
		return nil
	}
	if rec.Compartment(kind) == tandemv1.Compartment_COMPARTMENT_REF {
		return nil
	}
	k.heard(rec, msg)
	f := &fact{kind: kind.Name, about: k.domain.About(&rec.Record), teams: teamsOf(rec), owners: ownersOf(rec), lastMS: lastMoment(msg.ProtoReflect())}
	if o, err := rec.Origin(); err == nil {
		f.lastMS = max(f.lastMS, o.AtMS)
	}
	if err := f.unsettled(rec, kind); err != nil {
		return err
	}
	switch m := msg.(type) {
	case *tandemv1.Person:
		f.into, _ = syncengine.ParseID(m.GetMergedInto())
		f.born = latestBirth(m, f.lastMS)
	case *tandemv1.Episode:
		f.open = rec.Lifecycle() == record.Active || rec.Lifecycle() == record.OnHold
	}
	k.facts[rec.ID] = f
	return nil
}

// takeErased takes what was erased by law for something whose time is over: what is still
// about it, since it came later, is no orphan.
func (k *keeping) takeErased(e *store.ErasedRecord) error {
	f := &fact{goneMS: e.ErasedMS}
	if kind := k.domain.Kind(e.Kind); kind != nil {
		f.kind = kind.Name
	}
	k.facts[e.ID] = f
	return nil
}

// ownersOf are those that the scopes of a record belong to.
func ownersOf(rec *syncengine.StoredRecord) (owners []syncengine.ID) {
	for _, s := range rec.Scopes {
		if !slices.Contains(owners, s.OwnerID) {
			owners = append(owners, s.OwnerID)
		}
	}
	return owners
}

// teamsOf are the teams that a record is with.
func teamsOf(rec *syncengine.StoredRecord) (teams []syncengine.ID) {
	for _, s := range rec.Scopes {
		if s.Owner == syncengine.OwnerTeam && !slices.Contains(teams, s.OwnerID) {
			teams = append(teams, s.OwnerID)
		}
	}
	return teams
}

// latestBirth is the latest day that somebody can have been born on, by what is known of the
// date or else by the age that was guessed at a moment; zero where neither is known.
func latestBirth(m *tandemv1.Person, guessedMS int64) time.Time {
	dob := m.GetDob()
	if len(dob) <= len(time.DateOnly) {
		switch t, err := time.Parse(time.DateOnly[:len(dob)], dob); {
		case err != nil:
		case len(dob) == len("2006"):
			return t.AddDate(1, 0, -1)
		case len(dob) == len("2006-01"):
			return t.AddDate(0, 1, -1)
		case len(dob) == len(time.DateOnly):
			return t
		}
	}
	if m.ApproxAge == nil {
		return time.Time{}
	}
	return time.UnixMilli(guessedMS).UTC().AddDate(-int(m.GetApproxAge()), 0, 0)
}

func (k *keeping) owns(id syncengine.ID, owner string) {
	if of, err := syncengine.ParseID(owner); err == nil {
		k.owners[id] = of
	}
}

// lastMoment is the latest moment that a record names, however deep.
func lastMoment(m protoreflect.Message) (ms int64) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.Message() == nil {
			return true
		}
		each := func(m protoreflect.Message) {
			if at, ok := m.Interface().(*tandemv1.Instant); ok {
				ms = max(ms, at.GetAtMs())
				return
			}
			ms = max(ms, lastMoment(m))
		}
		switch {
		case fd.IsMap():
		case fd.IsList():
			for i := range v.List().Len() {
				each(v.List().Get(i).Message())
			}
		default:
			each(v.Message())
		}
		return true
	})
	return ms
}

// agencyOf is the agency of a team or of a member of staff; zero where it is not known.
func (k *keeping) agencyOf(id syncengine.ID) syncengine.ID {
	of := k.owners[id]
	if _, is := k.agencies[of]; is {
		return of
	}
	return k.owners[of]
}

// years are those that records of some teams are kept: the longest of their agencies.
func (k *keeping) years(teams []syncengine.ID) (adult, minor int) {
	for _, team := range teams {
		policy, known := k.agencies[k.agencyOf(team)]
		if !known {
			continue
		}
		adult, minor = max(adult, int(policy.GetAdultYears())), max(minor, int(policy.GetMinorYearsAfter_18()))
	}
	if adult > 0 {
		return adult, minor
	}
	// Nobody's: as long as anybody keeps anything.
	var none *tandemv1.Retention
	adult, minor = int(none.GetAdultYears()), int(none.GetMinorYearsAfter_18())
	for _, policy := range k.agencies {
		adult, minor = max(adult, int(policy.GetAdultYears())), max(minor, int(policy.GetMinorYearsAfter_18()))
	}
	return adult, minor
}

// root is the person that somebody counts as: the one that they were merged into, and of
// those that were merged into each other the first.
func (k *keeping) root(id syncengine.ID) syncengine.ID {
	if at, known := k.roots[id]; known {
		return at
	}
	at, path, seen := id, []syncengine.ID(nil), map[syncengine.ID]bool{}
	for !seen[at] {
		path, seen[at] = append(path, at), true
		if f := k.facts[at]; f != nil && !f.into.IsZero() && k.facts[f.into] != nil {
			at = f.into
		}
		if known, is := k.roots[at]; is {
			at = known
			break
		}
	}
	if i := slices.Index(path, at); i >= 0 {
		at = slices.MinFunc(path[i:], syncengine.ID.Compare)
	}
	for _, id := range path {
		k.roots[id] = at
	}
	return at
}

// subject is one person, or one call, with all that is about it.
type subject struct {
	id      syncengine.ID
	members []*fact
	ids     []syncengine.ID
	due     time.Time
	// open: not before its episode is closed. unsure: it may have records that this version
	// does not know. over: its time is.
	open, held, unsure, over bool
	// waits: something of it is not settled.
	waits bool
	// shared: not all of it is the agency's, or it is not known whose something is.
	shared bool
}

// judge finds when each one's time is over.
func (k *keeping) judge(all []*subject) {
	for _, s := range all {
		s.due, s.open = k.due(s)
		s.held, s.unsure, s.shared = k.held(s), k.unsure(s), k.shared(s)
		s.over = !s.open && !s.unsure && !s.due.After(k.now)
	}
}

// count fills in what is over.
func (k *keeping) count(r *Retention) {
	people, calls := k.subjects()
	k.await(slices.Concat(people, calls))
	blocked := map[syncengine.ID]bool{}
	block := func(all []*subject) {
		for _, s := range all {
			if s.over && !s.held {
				continue
			}
			for _, id := range s.ids {
				blocked[id] = true
			}
		}
	}
	k.judge(people)
	block(people)
	// A call stays as long as anybody who was met at it.
	calls = slices.DeleteFunc(calls, func(s *subject) bool {
		return slices.ContainsFunc(s.ids, func(id syncengine.ID) bool { return blocked[id] })
	})
	k.judge(calls)
	block(calls)
	counted := map[syncengine.ID]bool{}
	for _, s := range slices.Concat(people, calls) {
		if k.agency.IsZero() || k.with(s, k.agency) {
			k.tally(r, s, blocked, counted)
		}
	}
	r.Records = len(counted)
	r.Purgeable, r.concerned = k.purgeable(slices.Concat(people, calls), blocked)
	r.waited = map[syncengine.ID]bool{}
	for id := range r.concerned {
		r.waited[id] = k.facts[id].waits
	}
	for _, id := range r.Purgeable {
		switch k.facts[id].kind {
		case "person":
			r.PurgePeople++
		case "incident":
			r.PurgeCalls++
		}
	}
	for _, teams := range k.newer {
		if k.agency.IsZero() || len(teams) == 0 || slices.ContainsFunc(teams, func(team syncengine.ID) bool { return k.agencyOf(team) == k.agency }) {
			r.Incomplete++
		}
	}
	slices.SortFunc(r.List, func(a, b Expired) int { return cmp.Or(cmp.Compare(a.DueMS, b.DueMS), a.ID.Compare(b.ID)) })
	r.List = r.List[:min(len(r.List), retentionList)]
}

// tally adds a person or a call to what was counted; of the records about it those that are
// not blocked.
func (k *keeping) tally(r *Retention, s *subject, blocked, counted map[syncengine.ID]bool) {
	switch {
	case s.open:
		r.Open++
		return
	case s.unsure:
		return
	case !s.over:
		if s.due.Before(k.now.AddDate(1, 0, 0)) {
			r.Soon++
		}
		if r.NextMS == 0 || s.due.UnixMilli() < r.NextMS {
			r.NextMS = s.due.UnixMilli()
		}
		return
	}
	records := 0
	for _, id := range s.ids {
		if s.held || !blocked[id] {
			records++
		}
		if !blocked[id] {
			counted[id] = true
		}
	}
	call := k.facts[s.id].kind != "person"
	switch {
	case s.held:
		r.Held++
	case call:
		r.Calls++
	default:
		r.People++
	}
	if s.waits && !s.held {
		r.Waiting++
	}
	if s.shared && !s.held {
		r.Shared++
	}
	r.List = append(r.List, Expired{Waits: s.waits, ID: s.id, Call: call, LastMS: s.last(), DueMS: s.due.UnixMilli(), Records: records, Held: s.held})
}

// subjects gathers the records about each person, and about each call: those that name it,
// those that name these, and so on, however many lie between.
func (k *keeping) subjects() (people, calls []*subject) {
	naming, ends := map[syncengine.ID][]syncengine.ID{}, map[syncengine.ID][]syncengine.ID{}
	for id, f := range k.facts {
		switch {
		case f.goneMS != 0 || f.kind == "incident":
			ends[id] = append(ends[id], id)
		case f.kind == "person":
			ends[k.root(id)] = append(ends[k.root(id)], id)
		default:
			for _, to := range f.about {
				naming[to] = append(naming[to], id)
			}
		}
	}
	for at, of := range ends {
		s, seen := &subject{id: at}, map[syncengine.ID]bool{}
		for len(of) > 0 {
			id := of[len(of)-1]
			of = of[:len(of)-1]
			if seen[id] {
				continue
			}
			seen[id] = true
			of = append(of, naming[id]...)
			if f := k.facts[id]; f.goneMS == 0 {
				s.ids, s.members = append(s.ids, id), append(s.members, f)
				f.subjects = append(f.subjects, at)
			}
		}
		switch {
		case len(s.ids) == 0:
		case k.facts[at].kind == "person":
			people = append(people, s)
		default:
			calls = append(calls, s)
		}
	}
	byID := func(a, b *subject) int { return a.id.Compare(b.id) }
	slices.SortFunc(people, byID)
	slices.SortFunc(calls, byID)
	return people, calls
}

func (s *subject) last() (ms int64) {
	for _, f := range s.members {
		ms = max(ms, f.lastMS)
	}
	return ms
}

// due is when a subject's time is over; open: not before its episode is closed.
func (k *keeping) due(s *subject) (due time.Time, open bool) {
	var teams []syncengine.ID
	var born time.Time
	papers, person := int64(0), false
	for _, f := range s.members {
		teams = append(teams, f.teams...)
		open = open || f.open
		switch f.kind {
		case "consent", "disclosure":
			papers = max(papers, f.lastMS)
		case "person":
			person = true
			if f.born.After(born) {
				born = f.born
			}
		}
	}
	adult, minor := k.years(teams)
	if f := k.facts[s.id]; f.goneMS != 0 && f.kind != "incident" {
		// Erased when its time was over: whoever it was about was of age then for as many
		// years as records of either are kept.
		person, born = true, time.UnixMilli(f.goneMS).UTC().AddDate(-majority-min(adult, minor), 0, 0)
	}
	last := time.UnixMilli(s.last()).UTC()
	due = last.AddDate(adult, 0, 0)
	if person && born.IsZero() {
		// Perhaps an infant.
		born = last
	}
	if of := born.AddDate(majority, 0, 0); !born.IsZero() && of.After(last) {
		if at := of.AddDate(minor, 0, 0); at.After(due) {
			due = at
		}
	}
	if at := time.UnixMilli(papers).UTC().AddDate(paperYears, 0, 0); papers > 0 && at.After(due) {
		due = at
	}
	return due, open
}

// held reports whether a legal hold that stands covers anything of a subject: also what it
// has in common with the person or call that is under the hold.
func (k *keeping) held(s *subject) bool {
	return slices.ContainsFunc(k.holds, func(h *store.Hold) bool {
		if !h.Stands() {
			return false
		}
		target := k.root(h.Target)
		return h.Target.IsZero() || k.with(s, h.Target) || slices.ContainsFunc(s.members, func(f *fact) bool { return slices.Contains(f.subjects, target) })
	})
}

// unsure reports whether a record that this version does not know may be about a subject.
func (k *keeping) unsure(s *subject) bool {
	return slices.ContainsFunc(k.newer, func(teams []syncengine.ID) bool {
		return len(teams) == 0 || slices.ContainsFunc(s.members, func(f *fact) bool {
			return slices.ContainsFunc(f.teams, func(team syncengine.ID) bool { return slices.Contains(teams, team) })
		})
	})
}

// with reports whether anything of a subject is with a team of an agency.
func (k *keeping) with(s *subject, agency syncengine.ID) bool {
	return slices.ContainsFunc(s.members, func(f *fact) bool {
		return slices.ContainsFunc(f.teams, func(team syncengine.ID) bool { return k.agencyOf(team) == agency })
	})
}

// shared reports whether anything of a subject is another agency's, or nobody's that is
// known: of another one than the agency that is asked for, or than the rest of it.
func (k *keeping) shared(s *subject) bool {
	agency := k.agency
	for _, f := range s.members {
		if len(f.owners) == 0 {
			return true
		}
		for _, owner := range f.owners {
			of := k.agencyOf(owner)
			if of.IsZero() || !agency.IsZero() && of != agency {
				return true
			}
			agency = of
		}
	}
	return false
}
