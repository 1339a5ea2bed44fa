package simtest

import (
	"bytes"
	"fmt"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// writeTogether is a clinician who was at the call of another's visit, and says so, takes it
// back, or writes on that visit, whatever has become of it; and its author, who goes on with
// it meanwhile.
func (w *World) writeTogether() error {
	d := w.pick()
	if d == nil || len(d.store.ops) > 60 || !slices.Contains(d.person.roles, "clinician") {
		return nil
	}
	if w.odds(3) && !w.calm {
		w.calm = true
		defer func() { w.calm = false }()
		_, _, err := w.sync(d, 1<<20, 1<<20)
		return err
	}
	visits := slices.DeleteFunc(w.shown(d, "encounter"), func(r *syncengine.DeviceRecord) bool {
		return d.store.records[callOf(&r.Record)] == nil
	})
	if len(visits) == 0 {
		return nil
	}
	// Mostly the same few.
	visit := visits[w.rng.IntN(min(len(visits), 2))]
	s, err := syncengine.Decode(&visit.Record)
	if err != nil {
		return err
	}
	if s.Author == d.person.id {
		return w.goOn(d, visit, s)
	}
	call := d.store.records[callOf(&visit.Record)]
	if named := namedIn(&call.Record, d.person.id); w.odds(4) || !named && !w.odds(4) {
		return w.nameAt(d, call, named)
	}
	path := syncengine.Path{Field: fieldOf("encounter", "narrative")}
	wr := setOf(s, visit.ID, visit.Kind, edit{path, syncengine.StringField(path.Field, clinicalMark+fmt.Sprint("I was there too ", w.rng.IntN(1000)))})
	if w.odds(2) {
		// As one who would settle what stands there.
		wr.Writes[0].Bases = syncengine.EncodeStamps(s.Bases(path, true))
	}
	return w.save(d, []*tandemv1.RecordWrite{wr})
}

// goOn is an author who signs a visit, voids or restores it, or writes on.
func (w *World) goOn(d *device, visit *syncengine.DeviceRecord, s *syncengine.State) error {
	path := syncengine.Path{Field: syncengine.FieldLifecycle}
	whole := func(a tandemv1.Act, to string) error {
		wr := act(a, s, visit.ID, visit.Kind, edit{path, syncengine.StringField(path.Field, to)})
		wr.Seen, wr.Reason = s.Seen(), "because"
		return w.save(d, []*tandemv1.RecordWrite{wr})
	}
	switch now := s.Lifecycle(); {
	case now == record.Draft && !w.odds(3):
		return whole(tandemv1.Act_ACT_SIGN, record.Signed)
	case now == record.Void:
		return whole(tandemv1.Act_ACT_RESTORE, one(w, []string{record.Draft, record.Signed}))
	case w.odds(6):
		return whole(tandemv1.Act_ACT_VOID, record.Void)
	}
	at := syncengine.Path{Field: fieldOf("encounter", "narrative")}
	return w.save(d, []*tandemv1.RecordWrite{setOf(s, visit.ID, visit.Kind, edit{at, syncengine.StringField(at.Field, clinicalMark+fmt.Sprint("and then ", w.rng.IntN(1000)))})})
}

// nameAt writes somebody into a call as one who was there, or takes them out.
func (w *World) nameAt(d *device, call *syncengine.DeviceRecord, named bool) error {
	s, err := syncengine.Decode(&call.Record)
	if err != nil {
		return err
	}
	field := fieldOf("incident", "responders")
	e := edit{path: syncengine.Path{Field: field, Key: string(w.bytes(syncengine.ElementKeySize))}}
	for i := range s.Paths {
		if p := &s.Paths[i]; named && p.Path.Field == field && bytes.Contains(p.Shown(), []byte(d.person.id.String())) {
			e.path = p.Path
		}
	}
	if !named {
		body, err := w.rules.Body(&tandemv1.Incident{Responders: []*tandemv1.Responder{{Element: []byte(e.path.Key), StaffId: new(d.person.id.String())}}})
		if err != nil {
			return err
		}
		e.raw = body
	}
	return w.save(d, []*tandemv1.RecordWrite{setOf(s, call.ID, call.Kind, e)})
}

// callOf is the call that a visit is about, zero for none.
func callOf(visit *syncengine.Record) syncengine.ID {
	id, err := syncengine.ParseID(visit.Text(fieldOf("encounter", "incident_id")))
	if err != nil {
		return syncengine.ID{}
	}
	return id
}

// namedIn reports whether a call shows somebody as one who was there.
func namedIn(call *syncengine.Record, who syncengine.ID) bool {
	fields, err := syncengine.ParseBody(call.Body)
	return err == nil && call.Kind == domain.KindByName("incident").Number && slices.ContainsFunc(fields, func(f syncengine.Field) bool {
		return f.Path.Field == fieldOf("incident", "responders") && bytes.Contains(f.Raw, []byte(who.String()))
	})
}

// beside is what I9 and I23 say of who writes on a sealed visit of somebody else's: the call
// named them when the visit was sealed, and nobody else's words went by that.
func (w *World) beside() error {
	visit := w.rules.KindByName("encounter").Number
	for _, c := range w.server.order {
		if !applied(c.Outcome) {
			continue
		}
		for _, wr := range w.decoded.of(c.BodyHash, c.Body).GetRecords() {
			id, _ := syncengine.IDFromBytes(wr.GetRecord())
			before, after := w.server.stateAt(id, c.Seq-1), w.server.stateAt(id, c.Seq)
			plain := wr.GetAct() == tandemv1.Act_ACT_SET || wr.GetAct() == tandemv1.Act_ACT_APPEND || wr.GetAct() == tandemv1.Act_ACT_CREATE
			if !plain || before == nil || before.Kind != visit || after.Seq != c.Seq || !w.rules.Kind(visit).Sealed[before.Lifecycle()] {
				continue
			}
			was, err := w.decode(before)
			if err != nil {
				return err
			}
			if was.Author == c.Author {
				continue
			}
			w.seen("written beside")
			if !w.namedThen(before, c.Author) {
				return &ViolationError{"I23", fmt.Sprintf("%s wrote on the sealed %s, of whom the call said nothing when it was sealed", c.Author, id)}
			}
			is, err := w.decode(after)
			if err != nil {
				return err
			}
			for _, pw := range wr.GetWrites() {
				path := syncengine.Path{Field: pw.GetField(), Key: string(pw.GetKey())}
				had, _ := was.Heads(path)
				has, _ := is.Heads(path)
				for _, h := range had {
					if h.Author != c.Author && !slices.ContainsFunc(has, func(o syncengine.Head) bool { return o.Stamp == h.Stamp }) {
						return &ViolationError{"I9", fmt.Sprintf("%s took another's words out of the sealed %s", c.Author, id)}
					}
				}
			}
		}
	}
	return nil
}

// namedThen reports whether the call of a sealed visit named somebody just before it was sealed.
func (w *World) namedThen(sealed *syncengine.StoredRecord, who syncengine.ID) bool {
	states := w.server.versions[sealed.ID]
	for i := slices.IndexFunc(states, func(r *syncengine.StoredRecord) bool { return r.Seq == sealed.Seq }); i > 0; i-- {
		if draft := states[i-1]; !w.rules.Kind(draft.Kind).Sealed[draft.Lifecycle()] {
			call := w.server.stateAt(callOf(&draft.Record), states[i].Seq-1)
			return call != nil && namedIn(&call.Record, who)
		}
	}
	return false
}
