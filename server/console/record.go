package console

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/audit"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
)

type recordData struct {
	Page               *web.Page
	ID, Title, Kind    string
	Author, Made       string
	CaseHref, CaseName string
	CallHref, CallName string
	Fields             []pair
	Badges             []badge
	// Hash is the state that the page shows: a form is taken for this state alone.
	Hash string
	// Reviewable: a decision can be given. Rev and State are what it is about.
	Reviewable bool
	Rev        uint32
	State      string
	Standing   string
	Reviews    []reviewed
	Clashes    []clash
	Items      []string
	History    []revision
	Readers    []reading
	// Approve: an alert for the police waits. Extend, Reopen: an episode can be. Assign: a
	// follow-up can be given to somebody.
	Approve, Extend, Reopen bool
	// Twins are people who may be this one. Unmerge: the merge can be taken back.
	Twins              []row
	Unmerge            bool
	IntoHref, IntoName string
	Assign             []web.Option
	Due                string
	Reached            bool
}

type reviewed struct{ Decision, Who, When, Comment string }

type reading struct {
	Who, First, Last string
	Times            int
}

// revision is one change of a record.
type revision struct {
	N                        int
	Act, Who, When, Received string
	Device, Reason           string
	Changed                  []changed
	First                    bool
}

// changed is one field that a change wrote.
type changed struct {
	Label    string
	Old, New string
	Diff     []web.Piece
}

// recordPage shows one record: what it says, what was decided, how it came about, who has
// read it.
func (v *visit) recordPage() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	d := &recordData{Page: v.page("record", "record/"+id.String()), ID: id.String()}
	d.Page.Follow = "live"
	if err := v.c.catchUpReaders(v.ctx(), v.who.Org.ID); err != nil {
		return err
	}
	desks := v.desks()
	if _, err := v.c.workOut(v.ctx(), v.who.Org.ID, desks); err != nil {
		return err
	}
	err = v.look("record", id, func(s *sight) error {
		it := s.see(id)
		if it == nil || it.rec.Compartment(it.kind) == tandemv1.Compartment_COMPARTMENT_REF {
			return errAbsent
		}
		s.show(it)
		var err error
		if d.Page.At, err = s.mark(); err != nil {
			return err
		}
		return s.record(d, it)
	})
	if err != nil {
		return err
	}
	return v.show(200, "record", d)
}

func (s *sight) record(d *recordData, it *item) error {
	d.Title, d.Kind, d.Author = s.title(it), it.kind.Name, s.author(it)
	d.Page.Title = d.Title
	d.Hash = strconv.FormatUint(uint64(it.rec.Hash), 16)
	d.Fields = s.fields(it.kind.Name, it.msg)
	if it.kind.Name == "person" || it.kind.Name == "incident" {
		d.CaseHref, d.CaseName = "case/"+it.rec.ID.String(), s.title(it)
	} else if person := s.personOf(it); person != nil {
		d.CaseHref, d.CaseName = "case/"+person.rec.ID.String(), s.title(person)
		s.show(person)
	}
	if m, ok := it.msg.(*tandemv1.Encounter); ok {
		if call := s.seeText(m.GetIncidentId()); call != nil {
			d.CallHref, d.CallName = "case/"+call.rec.ID.String(), s.title(call)
			s.show(call)
		}
	}
	state, err := syncengine.Decode(&it.rec.Record)
	if err != nil {
		return err
	}
	d.Made = s.moment(state.AtMS)
	for _, desk := range s.desks {
		work, err := s.view.WorkOf(desk, it.rec.ID)
		if err != nil {
			return err
		}
		var reasons []int
		for _, w := range work {
			if w.DueMS <= s.now().UnixMilli() {
				reasons = append(reasons, w.Reason)
			}
		}
		d.Badges = append(d.Badges, s.badges(it, reasons)...)
	}
	reviews, err := s.c.reviewsOf(s.view, it.rec, it.kind)
	if err != nil {
		return err
	}
	hash := syncengine.HashSeen(state.Seen())
	d.Rev, d.State = state.Rev, base64.RawURLEncoding.EncodeToString(hash[:])
	life := it.rec.Lifecycle()
	d.Reviewable = slices.Contains(reviewable, it.kind.Name) && life != record.Void && (it.kind.Name == "incident" || state.Rev > 0)
	d.Standing = standing(state, it.kind, reviews)
	for _, r := range slices.Backward(reviews) {
		if !s.held[scopeOf(s, r.id)] {
			continue
		}
		d.Reviews = append(d.Reviews, reviewed{
			Decision: s.code("review_decision", r.decision), Who: s.nameOf("staff", r.msg.GetBy()), When: s.moment(r.msg.GetAt().GetAtMs()), Comment: r.msg.GetComment(),
		})
	}
	d.Clashes = s.clashes(it, state)
	items, err := s.view.OpenItems(it.rec.ID)
	if err != nil {
		return err
	}
	for _, i := range items {
		en, es := s.c.domain.ItemWords(i.Kind, it.rec.Kind)
		text := map[string]string{"en": en, "es": es}[s.lang]
		if i.Kind != syncengine.ItemDiffers && !slices.Contains(d.Items, text) {
			d.Items = append(d.Items, text)
		}
	}
	switch m := it.msg.(type) {
	case *tandemv1.SafetyAlert:
		d.Approve = life == record.Proposed
	case *tandemv1.Episode:
		d.Extend = life == record.Active || life == record.OnHold
		d.Reopen = life == record.Closed
		d.Due = m.GetExtendedTo()
	case *tandemv1.Person:
		if d.Twins, err = s.twinsOf(it); err != nil {
			return err
		}
		if into := s.seeText(m.GetMergedInto()); into != nil && life == record.Merged {
			d.IntoHref, d.IntoName = "case/"+into.rec.ID.String(), s.title(into)
			s.show(into)
		}
		at, err := mergedMS(s.view, it.rec)
		if err != nil {
			return err
		}
		d.Unmerge = at > 0 && s.now().UnixMilli() <= at+unmergeMS
	case *tandemv1.FollowUp:
		if life == record.Planned {
			d.Assign = s.teammates(it, m.GetStaffId())
		}
	}
	if d.History, err = s.history(it); err != nil {
		return err
	}
	readers, err := s.view.Readers(it.rec.ID)
	for _, r := range readers {
		d.Readers = append(d.Readers, reading{Who: s.staffName(r.Person), First: s.moment(r.FirstMS), Last: s.moment(r.LastMS), Times: r.Times})
	}
	return err
}

// scopeOf is a scope of a record that the person holds; zero for none.
func scopeOf(s *sight, id syncengine.ID) syncengine.ScopeKey {
	if it := s.see(id); it != nil {
		for _, k := range it.rec.Scopes {
			if s.held[k] {
				return k
			}
		}
	}
	return syncengine.ScopeKey{}
}

// history is how a record came about, the newest change first.
func (s *sight) history(it *item) ([]revision, error) {
	changes, err := s.view.History(it.rec)
	if err != nil {
		return nil, err
	}
	written := map[syncengine.Path]map[syncengine.Stamp][]byte{}
	put := func(p syncengine.Path, stamp syncengine.Stamp, raw []byte) {
		if written[p] == nil {
			written[p] = map[syncengine.Stamp][]byte{}
		}
		written[p][stamp] = raw
	}
	var out []revision
	for i, c := range changes {
		change := &tandemv1.Change{}
		if err := proto.Unmarshal(c.Body, change); err != nil {
			return nil, err
		}
		r := revision{N: i + 1, Who: s.staffName(c.Author), When: s.moment(c.CorrectedMS), First: i == 0}
		if c.ReceivedMS-c.CorrectedMS > 60_000 {
			r.Received = s.moment(c.ReceivedMS)
		}
		if dev := s.see(c.Device); dev != nil {
			r.Device = s.title(dev)
		}
		stamp := syncengine.StampOf(c.ID)
		for _, w := range change.GetRecords() {
			if !bytes.Equal(w.GetRecord(), it.rec.ID[:]) {
				continue
			}
			r.Act = s.t("act." + strings.ToLower(strings.TrimPrefix(w.GetAct().String(), "ACT_")))
			if r.Reason == "" {
				r.Reason = w.GetReason()
			}
			fields, err := syncengine.ParseBody(w.GetBody())
			if err != nil {
				return nil, err
			}
			for _, f := range fields {
				put(f.Path, stamp, f.Raw)
				if f.Path.Field >= envelope {
					r.Changed = append(r.Changed, s.changed(it.kind, f.Path, "", f.Raw))
				}
			}
			for _, pw := range w.GetWrites() {
				path := syncengine.Path{Field: pw.GetField(), Key: string(pw.GetKey())}
				raw := pw.GetValue()
				if len(raw) == 0 {
					raw = nil
				}
				var old []string
				for _, base := range syncengine.DecodeStamps(pw.GetBases()) {
					if before, ok := written[path][base]; ok {
						if text := s.raw(it.kind, before); text != "" && !slices.Contains(old, text) {
							old = append(old, text)
						}
					}
				}
				put(path, stamp, raw)
				r.Changed = append(r.Changed, s.changed(it.kind, path, strings.Join(old, " / "), raw))
			}
		}
		out = append(out, r)
	}
	slices.Reverse(out)
	return out, nil
}

// changed is a write in words, word by word where it is a text.
func (s *sight) changed(kind *syncengine.Kind, path syncengine.Path, old string, raw []byte) changed {
	c := changed{Label: s.c.domain.FieldLabel(kind.Name, s.fieldName(kind, path.Field), s.lang), Old: old, New: s.raw(kind, raw)}
	if c.Old != "" && c.New != "" && (long(c.Old) || long(c.New)) {
		c.Diff = web.Difference(c.Old, c.New)
	}
	return c
}

func long(text string) bool { return strings.ContainsAny(text, " \n") || len(text) > 24 }

// clash is a path with values that a person is to settle.
type clash struct {
	Label, Key string
	Number     uint32
	Sides      []side
	// Text: another text can be written. Codes: another choice can be made.
	Text    bool
	Both    string
	Codes   []web.Option
	Sealed  bool
	Removed bool
}

type side struct {
	Stamp, Value, Who, When string
	Shown, Empty            bool
	Diff                    []web.Piece
}

// clashes are the conflicts of a record, side by side.
func (s *sight) clashes(it *item, state *syncengine.State) (out []clash) {
	for _, path := range state.Conflicts(it.kind) {
		heads, displayed := state.Heads(path)
		name := s.fieldName(it.kind, path.Field)
		c := clash{Label: s.c.domain.FieldLabel(it.kind.Name, name, s.lang), Key: hex.EncodeToString([]byte(path.Key)), Number: path.Field, Sealed: it.kind.Sealed[it.rec.Lifecycle()]}
		var texts []string
		for i, h := range heads {
			one := side{Stamp: strconv.FormatUint(uint64(h.Stamp), 16), Value: s.raw(it.kind, h.Raw), Who: s.staffName(h.Author), Shown: i == 0 && displayed}
			if h.AtMS > 0 {
				one.When = s.moment(h.AtMS)
			}
			one.Empty = one.Value == ""
			if i > 0 && (long(one.Value) || long(c.Sides[0].Value)) {
				one.Diff = web.Difference(c.Sides[0].Value, one.Value)
			}
			if one.Value != "" && !slices.Contains(texts, one.Value) {
				texts = append(texts, one.Value)
			}
			c.Sides = append(c.Sides, one)
		}
		if path.Key == "" {
			list := s.c.domain.FieldCodes(it.kind.Name, name)
			for _, code := range slices.Concat(s.c.domain.Codes(list), s.own().Of(list, s.p.Agency.String())) {
				if !code.Retired && path.Field != syncengine.FieldLifecycle {
					c.Codes = append(c.Codes, web.Option{Code: code.Code, Label: s.code(list, code.Code)})
				}
			}
			c.Text = list == "" && isText(s.c.domain, it.kind, name)
			c.Both = strings.Join(texts, "\n\n")
		}
		out = append(out, c)
	}
	return out
}

// mayCall reports whether a member of staff may be given a follow-up of a team.
func mayCall(rec *syncengine.StoredRecord, m *tandemv1.Staff, team string) bool {
	return rec.Lifecycle() == record.Active && slices.Contains(m.GetTeamIds(), team) &&
		slices.ContainsFunc(m.GetRoles(), func(r string) bool { return r == "clinician" || r == "peer" })
}

// teammates are the staff of a record's team who may be given a follow-up.
func (s *sight) teammates(it *item, now string) (out []web.Option) {
	team := it.rec.Text(syncengine.FieldTeam)
	for _, one := range s.reference("staff") {
		m, ok := one.msg.(*tandemv1.Staff)
		if !ok || !mayCall(one.rec, m, team) {
			continue
		}
		out = append(out, web.Option{Code: one.rec.ID.String(), Label: m.GetDisplayName(), On: one.rec.ID.String() == now})
	}
	return out
}

// catchUpReaders takes in what the audit log says of who has opened what.
func (c *Console) catchUpReaders(ctx context.Context, org syncengine.ID) error {
	const some = 2000
	for range 10 {
		var from, size int64
		more := false
		err := c.store.ReadDesk(ctx, org, func(view store.DeskView) (err error) {
			if from, err = view.Reading(); err == nil {
				size, err = view.AuditSize()
			}
			return err
		})
		if err != nil || from >= size {
			return err
		}
		err = c.store.Write(ctx, org, some, func(tx *store.Tx) error {
			from, err := tx.Reading()
			if err != nil {
				return err
			}
			type opened struct {
				record, person syncengine.ID
				at             int64
			}
			var all []opened
			next := from
			err = tx.EachAudit(from, some, func(n int64, raw []byte) error {
				next = n + 1
				for _, o := range opens(raw) {
					all = append(all, opened(o))
				}
				return nil
			})
			if err != nil {
				return err
			}
			more = next-from == some
			for _, o := range all {
				if err := tx.SawRecord(o.record, o.person, o.at); err != nil {
					return err
				}
			}
			return tx.SetReading(next)
		})
		if err != nil || !more {
			return err
		}
	}
	return nil
}

type openedRecord struct {
	record, person syncengine.ID
	at             int64
}

// opens says who has opened which records by an entry of the audit log.
func opens(raw []byte) (out []openedRecord) {
	e, err := audit.Decode(raw)
	if err != nil {
		return nil
	}
	person := e.GetPerson()
	if e.GetAct() == tandemv1.AuditAct_AUDIT_ACT_FROM_DEVICE {
		inner, err := audit.Decode(e.GetEntry())
		if err != nil {
			return nil
		}
		if len(inner.GetPerson()) == 0 {
			inner.Person = person
		}
		e = inner
	}
	ids := e.GetSubject()
	switch e.GetAct() {
	case tandemv1.AuditAct_AUDIT_ACT_READ:
	case tandemv1.AuditAct_AUDIT_ACT_CONSOLE_READ, tandemv1.AuditAct_AUDIT_ACT_LOOKED_UP, tandemv1.AuditAct_AUDIT_ACT_BROKE_GLASS:
		ids = e.GetRecords()
	default:
		return nil
	}
	who, ok := syncengine.IDFromBytes(e.GetPerson())
	if !ok {
		return nil
	}
	for len(ids) >= len(syncengine.ID{}) {
		id, _ := syncengine.IDFromBytes(ids[:16])
		out, ids = append(out, openedRecord{id, who, e.GetAtMs()}), ids[16:]
	}
	return out
}
