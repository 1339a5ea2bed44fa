package syncengine

import (
	"errors"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/proto"
)

// Bounds of what one replica may have in quarantine at a time. Beyond them a refused
// change gets no verdict: it stays with its device and comes again.
const (
	// MaxApart is the largest number of changes.
	MaxApart = 5000
	// MaxApartBytes is the largest sum of their encoded sizes.
	MaxApartBytes = 64 << 20
)

// HeldGrant is what a person was once granted: what a change that names its hash was
// written under. Which of them a person has ever held is kept for ever.
type HeldGrant struct {
	// Person held it. Agency, Roles, Teams and Programs are what the staff record said.
	Person, Agency  ID
	Roles           []string
	Teams, Programs []ID
	// Hash is the first 8 bytes of the hash of the scopes (HashScopeSet), as Change.grant
	// has it.
	Hash [8]byte
}

// principal is the person with the rights of the grant.
func (g *HeldGrant) principal(r *Replica) *Principal {
	return &Principal{
		Person: g.Person, Agency: g.Agency, Roles: g.Roles, Teams: g.Teams, Programs: g.Programs,
		Device: r.Device, Replica: r.ID,
	}
}

// Holder is a replica that has made a change under one of its op numbers. A change
// has several where its device sends it again under a new replica id.
type Holder struct {
	Replica ID
	Op      uint64
	// Envelope is the envelope hash there.
	Envelope Hash
}

// ActKind is what somebody did about a change in quarantine.
type ActKind uint8

// The acts.
const (
	// ActReleased: it was applied as it is.
	ActReleased ActKind = iota + 1
	// ActDismissed: it was closed with a reason.
	ActDismissed
	// ActReplaced: it was closed because another change stands in its place.
	ActReplaced
	// ActWithdrawn: its author has closed it.
	ActWithdrawn
	// ActRetried: what it waited for has come, and it was applied by itself.
	ActRetried
)

// QuarantineAct is one act on a change in quarantine. Acts are kept for ever.
type QuarantineAct struct {
	// Change it is about, and the sequence at which it was done.
	Change ID
	Seq    uint64
	Kind   ActKind
	// By is the person who did it, zero where nobody did. With is the change that did
	// it, zero for an act at the server.
	By, With ID
	// Reason in words, where one was given.
	Reason string
	// AtMS is the server's clock.
	AtMS int64
}

// QuarantineView reads what is in quarantine.
type QuarantineView interface {
	// Quarantined returns changes in quarantine whose verdict has a sequence beyond
	// after, with their bodies, in order of sequence, at most limit.
	Quarantined(after uint64, limit int) ([]*StoredChange, error)
	// QuarantinedOn returns those that would make or write a record, with their bodies,
	// in order of sequence.
	QuarantinedOn(record ID) ([]*StoredChange, error)
	// Held returns what a person was ever granted, in a stable order.
	Held(person ID) ([]*HeldGrant, error)
	// EverIn reports whether a record is or has been in one of the scopes.
	EverIn(record ID, scopes []ScopeKey) (bool, error)
	// Revised returns the newest verdicts on those ops of a replica whose verdict has
	// changed beyond a sequence, in order of op.
	Revised(replica ID, after uint64) ([]*tandemv1.Outcome, error)
}

// QuarantineTx changes what is in quarantine.
type QuarantineTx interface {
	// Quarantine notes that a stored change lies in quarantine, and the records it
	// would have made or written. A later SaveChange with another verdict takes it out.
	Quarantine(c *StoredChange, targets []ID) error
	// QuarantinedByStamp returns a change that was refused and not applied since, by
	// stamp with its body: in quarantine, or closed. nil where there is none.
	QuarantinedByStamp(s Stamp) (*StoredChange, error)
	// QuarantineUse returns how many changes of a replica lie in quarantine, and the
	// sum of their sizes.
	QuarantineUse(replica ID) (count int, bytes int64, err error)
	// Hold notes that a person holds a grant, unless that is known.
	Hold(g *HeldGrant) error
	// AddHolder notes another holder of a change; Holders returns them all, the first
	// one included.
	AddHolder(change ID, h Holder) error
	Holders(change ID) ([]Holder, error)
	// Revise notes that the verdict on a holder's op has changed at a sequence.
	Revise(change ID, h Holder, seq uint64) error
	// SaveAct keeps an act.
	SaveAct(a *QuarantineAct) error
}

// VerdictScope is touched by a commit that changes a verdict on a person's change: no
// record is in it and nobody is granted it. Who waits for news of that person waits
// for it too.
func VerdictScope(person ID) ScopeKey {
	return ScopeKey{Owner: OwnerPerson, OwnerID: person, Open: true}
}

// QuarantineItem is one change in quarantine, as somebody may see it.
type QuarantineItem struct {
	// Change without its Body, unless Whole.
	Change *StoredChange
	// Sender is who sent it, zero where it was made at the server.
	Sender ID
	// Bytes is its encoded size.
	Bytes int
	// Whole: what it says may be seen, and decided on. Otherwise: ids, size, code, times.
	Whole bool
	// Decoded is the change; nil where it is not Whole, or cannot be read.
	Decoded *tandemv1.Change
	// Absent are the records that it would write and that are not there; only where it
	// is Whole. The sender is not told which they are.
	Absent []ID
}

// ErrNoItem says that a change is not in quarantine, or that the person does not lead
// everything it names: which of them is not told.
var ErrNoItem = errors.New("no such change is in quarantine, or it is not one that this person may decide on")

// Quarantined returns what a person may see of quarantine, oldest first: a lead whose
// grants cover every compartment and team that a change names sees it whole; one that
// names none that can be told, whoever covers all that its sender ever held. Who
// oversees sees the others without what they say.
func (s *Server) Quarantined(view ServerView, p *Principal) ([]*QuarantineItem, error) {
	var items []*QuarantineItem
	after := uint64(0)
	l := s.leading(view, p)
	for {
		const some = 256
		changes, err := view.Quarantined(after, some)
		if err != nil {
			return nil, err
		}
		for _, c := range changes {
			after = c.Seq
			item, err := l.item(c)
			if err != nil {
				return nil, err
			}
			if item != nil {
				items = append(items, item)
			}
		}
		if len(changes) < some {
			return items, nil
		}
	}
}

// leading is one person's look at quarantine.
type leading struct {
	srv  *Server
	view ServerView
	p    *Principal
	// held are the grants, each as of open work: tiers make no difference here.
	held map[ScopeKey]bool
}

func (s *Server) leading(view ServerView, p *Principal) *leading {
	l := &leading{srv: s, view: view, p: p, held: map[ScopeKey]bool{}}
	for _, k := range s.Rules.Grants(view.Org(), p) {
		l.held[untiered(k)] = true
	}
	return l
}

func untiered(k ScopeKey) ScopeKey {
	k.Open = true
	return k
}

// item returns what the person may see of a change, nil for nothing.
func (l *leading) item(c *StoredChange) (*QuarantineItem, error) {
	sender, err := senderOf(l.view, c)
	if err != nil {
		return nil, err
	}
	item := &QuarantineItem{Change: c, Bytes: len(c.Body)}
	if sender != nil {
		item.Sender = sender.Person
	}
	change := decodeBody(c.Body)
	covers, err := l.covers(c, change)
	if err != nil {
		return nil, err
	}
	if !covers {
		if !l.srv.Rules.Oversees(l.p) {
			return nil, nil
		}
		bare := *c
		bare.Body = nil
		item.Change = &bare
		return item, nil
	}
	item.Whole, item.Decoded = true, change
	for _, w := range change.GetRecords() {
		id, ok := IDFromBytes(w.GetRecord())
		rec, err := l.view.Record(id)
		if err != nil {
			return nil, err
		}
		if ok && rec == nil && w.GetAct() != tandemv1.Act_ACT_CREATE {
			item.Absent = append(item.Absent, id)
		}
	}
	return item, nil
}

// covers reports whether the person leads everything that a change names.
func (l *leading) covers(c *StoredChange, change *tandemv1.Change) (bool, error) {
	if !l.srv.Rules.Supervises(l.p) {
		return false, nil
	}
	told := len(change.GetRecords()) > 0
	for _, w := range change.GetRecords() {
		groups, err := l.srv.names(l.view, c, w, true)
		if err != nil {
			return false, err
		}
		told = told && len(groups) > 0
		for _, group := range groups {
			if !l.holdsOne(group) {
				return false, nil
			}
		}
	}
	if told {
		return true, nil
	}
	return l.coversSender(c)
}

func (l *leading) holdsOne(group []ScopeKey) bool {
	return slices.ContainsFunc(group, func(k ScopeKey) bool { return l.held[untiered(k)] })
}

// coversSender reports whether the person holds all that the sender of a change ever
// held, but the scopes that are the sender's own.
func (l *leading) coversSender(c *StoredChange) (bool, error) {
	sender, err := senderOf(l.view, c)
	if err != nil || sender == nil {
		return false, err
	}
	grants, err := l.view.Held(sender.Person)
	if err != nil {
		return false, err
	}
	for _, g := range grants {
		for _, k := range l.srv.Rules.Grants(l.view.Org(), g.principal(sender)) {
			if k.Owner != OwnerPerson && !l.held[untiered(k)] {
				return false, nil
			}
		}
	}
	return len(grants) > 0, nil
}

// names returns the scopes that a write names, in groups of which one must be held
// each: those its record is in, and those it would take it to. None where that cannot
// be told.
func (s *Server) names(view ServerView, c *StoredChange, w *tandemv1.RecordWrite, bundled bool) ([][]ScopeKey, error) {
	id, ok := IDFromBytes(w.GetRecord())
	kind := s.Rules.Kind(w.GetKind())
	if !ok || kind == nil {
		return nil, nil
	}
	rec, err := view.Record(id)
	if err != nil {
		return nil, err
	}
	if rec != nil {
		if len(rec.Scopes) == 0 {
			return nil, nil
		}
		groups := [][]ScopeKey{rec.Scopes}
		for _, pw := range w.GetWrites() {
			text, _ := RawString(pw.GetValue())
			if team, err := ParseID(text); pw.GetField() == FieldTeam && err == nil {
				groups = append(groups, []ScopeKey{{Owner: OwnerTeam, OwnerID: team, Compartment: rec.Compartment(kind)}})
			}
		}
		return groups, nil
	}
	if w.GetAct() == tandemv1.Act_ACT_CREATE {
		made, err := create(kind, w, Writer{Stamp: StampOf(c.ID), Author: c.Author, Device: c.Device}, noHistory{})
		if err != nil {
			return nil, nil //nolint:nilerr // What cannot be read names nothing.
		}
		own, _, err := s.Rules.Scopes(view.Org(), made.Record, lookup(view))
		if err != nil || len(own) == 0 {
			return nil, err
		}
		return [][]ScopeKey{own}, nil
	}
	if !bundled {
		return nil, nil
	}
	// Its creation may lie in quarantine too.
	others, err := view.QuarantinedOn(id)
	if err != nil {
		return nil, err
	}
	for _, o := range others {
		for _, made := range decodeBody(o.Body).GetRecords() {
			if of, _ := IDFromBytes(made.GetRecord()); of == id && made.GetAct() == tandemv1.Act_ACT_CREATE {
				return s.names(view, o, made, false)
			}
		}
	}
	return nil, nil
}

// noHistory knows of nothing.
type noHistory struct{}

// Awaited reports nothing.
func (noHistory) Awaited(Path, Stamp) (bool, error) { return false, nil }

// Await notes nothing.
func (noHistory) Await(Path, Stamp) error { return nil }

// QuarantinedBases returns none.
func (noHistory) QuarantinedBases(Path, Stamp) ([]Stamp, error) { return nil, nil }

// Written returns none.
func (noHistory) Written(Path, Stamp) (Head, bool, error) { return Head{}, false, nil }

// senderOf returns the replica that sent a change, nil where it was made at the
// server. A draft has no op, and so no replica in the log.
func senderOf(view ServerView, c *StoredChange) (*Replica, error) {
	if c.Replica.IsZero() && c.Outcome.GetRefusal() == tandemv1.Refusal_REFUSAL_DRAFT {
		return &Replica{Person: c.Author, Device: c.Device}, nil
	}
	if c.Replica.IsZero() {
		return nil, nil
	}
	return view.Replica(c.Replica)
}

// decodeBody decodes a change, nil where it cannot be read.
func decodeBody(raw []byte) *tandemv1.Change {
	c := &tandemv1.Change{}
	if proto.Unmarshal(raw, c) != nil {
		return nil
	}
	return c
}

// isApplied reports whether a verdict says that a change is part of the state.
func isApplied(o *tandemv1.Outcome) bool {
	return o.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED || o.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED_WITH_CONFLICT
}

func isQuarantined(o *tandemv1.Outcome) bool {
	return o.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED
}
