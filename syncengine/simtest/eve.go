package simtest

import (
	"bytes"
	"fmt"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// eve is an adversary with a valid enrolment: she signs with a good key, and says in
// her requests what no app of ours would say.
type eve struct {
	*device
	op   uint64
	last syncengine.Hash
	// sent are changes that she has made, as bytes.
	sent [][]byte
}

// attacks are what she does.
var attacks = []struct {
	name string
	do   func(w *World, e *eve) error
}{
	{"forges an author", (*World).forgeAuthor},
	{"writes to any record", (*World).writeAnywhere},
	{"makes a record that is there", (*World).createAgain},
	{"repeats a change under another number", (*World).repeatChange},
	{"sends another's change as hers", (*World).copyChange},
	{"takes another's change id", (*World).takeID},
	{"writes over a value before she sends it", (*World).writeAhead},
	{"asks for any record", (*World).wantAny},
	{"stands where another stands", (*World).borrowPosition},
	{"replays another's request", (*World).replay},
	{"sends what is no change", (*World).sendRubbish},
}

// attack does one of them.
func (w *World) attack() error {
	if w.eve == nil {
		return nil
	}
	if r := w.server.replicas[w.eve.replica]; r != nil && r.Forked {
		return nil
	}
	a := one(w, attacks)
	w.event("eve %s", a.name)
	w.seen("eve " + a.name)
	return a.do(w, w.eve)
}

// enrolEve enrols the adversary, as a person who works here.
func (w *World) enrolEve() error {
	d, err := w.enrolOne("eve", one(w, w.office.people))
	if err != nil {
		return err
	}
	d.restored = true // she does make forks
	w.eve = &eve{device: d}
	return nil
}

// makes encodes a change of hers.
func (w *World) makes(e *eve, change func(c *tandemv1.Change), writes ...*tandemv1.RecordWrite) ([]byte, error) {
	id := w.newID()
	c := &tandemv1.Change{
		Id: id[:], Author: slices.Clone(e.person.id[:]), Device: slices.Clone(e.id[:]), Schema: syncengine.Schema, Records: writes,
		Time: &tandemv1.ChangeTime{WallMs: w.nowMS}, Class: tandemv1.Class_CLASS_NORMAL, AppVersion: "sim",
	}
	if change != nil {
		change(c)
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(c)
}

// envelop puts changes into her next envelopes.
func (e *eve) envelop(changes ...[]byte) *tandemv1.SyncRequest {
	run := &tandemv1.Run{FirstOp: e.op + 1, PrevHash: bytes.Clone(e.last[:]), Changes: changes}
	for _, raw := range changes {
		e.op++
		e.last = syncengine.HashEnvelope(e.replica, e.op, e.last, sha(raw))
		e.sent = append(e.sent, raw)
	}
	return &tandemv1.SyncRequest{
		Runs: []*tandemv1.Run{run}, NewestOp: e.op, Schema: syncengine.Schema, Signature: e.key.sign(e.last),
		Positions: []*tandemv1.ScopePosition{{}},
	}
}

func (e *eve) calls(req *tandemv1.SyncRequest) *call {
	return &call{replica: e.replica, key: e.key, req: req}
}

// put sends a request of hers. forged ones must be refused as a whole.
func (w *World) put(e *eve, req *tandemv1.SyncRequest, forged bool) error {
	if req.Budget = 1 << 16; w.odds(2) {
		grants, err := w.grants(e.device, e.replica)
		if err != nil {
			return err
		}
		ids := make([]syncengine.ScopeID, 0, len(grants))
		for _, k := range grants {
			ids = append(ids, w.ids[k])
		}
		req.ScopeSet = syncengine.HashScopeSet(ids)
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		return err
	}
	w.wire = append(w.wire, &message{device: e.device, call: e.calls(req), bytes: raw, forged: forged})
	return nil
}

// push sends changes of hers.
func (w *World) push(e *eve, changes ...[]byte) error { return w.put(e, e.envelop(changes...), false) }

// any returns a record of a kind with a team, nil where there is none.
func (w *World) any() (*syncengine.StoredRecord, *syncengine.State, error) {
	for range 6 {
		rec := w.server.records[one(w, w.server.ids)]
		if rec.Text(syncengine.FieldTeam) == "" {
			continue
		}
		s, err := syncengine.Decode(&rec.Record)
		return rec, s, err
	}
	return nil, nil, nil
}

// home is a write that takes a record into one of her teams.
func (w *World) home(e *eve, rec *syncengine.StoredRecord, s *syncengine.State) *tandemv1.RecordWrite {
	team := one(w, e.person.teams).String()
	return setOf(s, rec.ID, rec.Kind, edit{syncengine.Path{Field: syncengine.FieldTeam}, syncengine.StringField(syncengine.FieldTeam, team)})
}

func (w *World) forgeAuthor(e *eve) error {
	d := one(w, w.devices)
	writes, err := w.visit(e.device)
	if err != nil {
		return err
	}
	raw, err := w.makes(e, func(c *tandemv1.Change) {
		c.Author, c.Device = slices.Clone(d.person.id[:]), slices.Clone(d.id[:])
	}, writes...)
	if err != nil {
		return err
	}
	return w.push(e, raw)
}

func (w *World) writeAnywhere(e *eve) error {
	rec, s, err := w.any()
	if rec == nil || err != nil {
		return err
	}
	write := w.home(e, rec, s)
	if w.odds(3) {
		write = w.reviseOne(e.device, &syncengine.DeviceRecord{Record: rec.Record}, s)
	}
	if write == nil {
		return nil
	}
	raw, err := w.makes(e, nil, write)
	if err != nil {
		return err
	}
	return w.push(e, raw)
}

func (w *World) createAgain(e *eve) error {
	rec, _, err := w.any()
	if rec == nil || err != nil {
		return err
	}
	raw, err := w.makes(e, nil, &tandemv1.RecordWrite{
		Record: slices.Clone(rec.ID[:]), Kind: rec.Kind, Act: tandemv1.Act_ACT_CREATE, Body: rec.Body,
	})
	if err != nil {
		return err
	}
	return w.push(e, raw)
}

func (w *World) repeatChange(e *eve) error {
	if len(e.sent) == 0 {
		return nil
	}
	return w.push(e, one(w, e.sent))
}

func (w *World) copyChange(e *eve) error { return w.push(e, one(w, w.server.order).Body) }

func (w *World) takeID(e *eve) error {
	id := one(w, w.server.order).ID
	writes, err := w.visit(e.device)
	if err != nil {
		return err
	}
	raw, err := w.makes(e, func(c *tandemv1.Change) { c.Id = slices.Clone(id[:]) }, writes...)
	if err != nil {
		return err
	}
	return w.push(e, raw)
}

// writeAhead sends a change and what it was written over, the later one first: two
// requests may overtake each other on any network.
func (w *World) writeAhead(e *eve) error {
	rec, s, err := w.any()
	if rec == nil || err != nil {
		return err
	}
	grants, err := w.grants(e.device, e.replica)
	if err != nil {
		return err
	}
	if !reaches(grants, rec.Scopes) {
		return nil
	}
	device := &syncengine.DeviceRecord{Record: rec.Record}
	first := w.type1(device, s)
	second := edit{path: first.path, raw: first.raw}
	if first.path.Key == "" {
		second.raw = syncengine.StringField(first.path.Field, fmt.Sprint("ahead", w.rng.IntN(1000)))
	}
	under, err := w.makes(e, nil, setOf(s, rec.ID, rec.Kind, first))
	if err != nil {
		return err
	}
	id, _ := syncengine.IDFromBytes(w.decoded.of(sha(under), under).GetId())
	write := setOf(s, rec.ID, rec.Kind, second)
	write.Writes[0].Bases = syncengine.EncodeStamps([]syncengine.Stamp{syncengine.StampOf(id)})
	over, err := w.makes(e, nil, write)
	if err != nil {
		return err
	}
	early := e.envelop(under)
	if err := w.push(e, over); err != nil {
		return err
	}
	return w.put(e, early, false)
}

func (w *World) wantAny(e *eve) error {
	req := &tandemv1.SyncRequest{Schema: syncengine.Schema, Positions: []*tandemv1.ScopePosition{{}}}
	for range 1 + w.rng.IntN(8) {
		id := one(w, w.server.ids)
		req.Want = append(req.Want, slices.Clone(id[:]))
	}
	return w.put(e, req, false)
}

func (w *World) borrowPosition(e *eve) error {
	d := one(w, w.devices)
	req := &tandemv1.SyncRequest{Schema: syncengine.Schema, Positions: []*tandemv1.ScopePosition{{Position: d.store.state.Staged}}}
	return w.put(e, req, len(d.store.state.Staged) > 0)
}

func (w *World) replay(e *eve) error {
	i := slices.IndexFunc(w.wire, func(m *message) bool { return m.stage == asked && m.device != e.device && len(m.call.ops) > 0 })
	if i < 0 {
		return nil
	}
	theirs := w.wire[i].call
	own := e.calls(theirs.req)
	own.ops = theirs.ops
	w.wire = append(w.wire, &message{device: e.device, call: own, bytes: w.wire[i].bytes, forged: true})
	return nil
}

func (w *World) sendRubbish(e *eve) error {
	return w.push(e, append([]byte{0xff}, w.bytes(1+w.rng.IntN(40))...))
}

// tamper alters one byte of a change on its way.
func (w *World) tamper() error {
	i := slices.IndexFunc(w.wire, func(m *message) bool { return m.stage == asked && len(m.call.ops) > 0 && !m.forged })
	if i < 0 {
		return nil
	}
	m := w.wire[i]
	req := &tandemv1.SyncRequest{}
	if err := proto.Unmarshal(m.bytes, req); err != nil {
		return err
	}
	raw := one(w, one(w, req.GetRuns()).GetChanges())
	raw[w.rng.IntN(len(raw))] ^= 1 << w.rng.IntN(8)
	altered, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		return err
	}
	m.bytes, m.forged = altered, true
	w.event("a push of %s is altered on its way", m.device.name)
	w.seen("altered push")
	return nil
}

// poison is a device whose app writes a change that nobody can read.
func (w *World) poison() error {
	d := w.pick()
	if d == nil {
		return nil
	}
	st := d.store.state
	raw := append([]byte{0xff}, w.bytes(1+w.rng.IntN(40))...)
	op := &syncengine.Op{
		Number: st.NextOp, Change: w.newID(), Class: tandemv1.Class_CLASS_URGENT, Raw: raw, Prev: st.LastHash, State: syncengine.OpQueued,
		Envelope: syncengine.HashEnvelope(d.replica, st.NextOp, st.LastHash, sha(raw)),
	}
	w.event("%s has a change that nobody can read, op %d", d.name, op.Number)
	w.seen("poison")
	w.bodies[op.Change], w.poisoned[op.Change] = sha(raw), true
	return d.transact(0, true, func(tx syncengine.DeviceTx) error {
		next := *st
		next.NextOp, next.LastHash = op.Number+1, op.Envelope
		if err := tx.SaveState(&next); err != nil {
			return err
		}
		return tx.AddOp(op)
	})
}

func reaches(grants, scopes []syncengine.ScopeKey) bool {
	return slices.ContainsFunc(scopes, func(k syncengine.ScopeKey) bool { return slices.Contains(grants, k) })
}
