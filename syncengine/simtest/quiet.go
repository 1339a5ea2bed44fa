package simtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// maxRounds is in how many rounds everything must have come to rest (I17), and
// maxIdle how many bytes a sync takes that has nothing to say (I18).
const (
	maxRounds = 400
	maxIdle   = 900
	// idSize is what an id takes in a request.
	idSize = 19
	// lateIn: in one of so many worlds no verdict comes late at the end.
	lateIn = 3
)

func sha(b []byte) [sha256.Size]byte { return sha256.Sum256(b) }

// quiet stops the faults, lets everyone sync until nothing moves, and checks what
// must hold then; and, in most worlds, once more after a last save whose verdict comes
// late.
func (w *World) quiet() error {
	w.event("quiet")
	for w.calm = true; len(w.wire) > 0; {
		if err := w.move(w.take(w.rng.IntN(len(w.wire)))); err != nil {
			return err
		}
	}
	for _, d := range w.devices {
		d.out, d.ask = nil, true
	}
	if err := w.rest(); err != nil {
		return err
	}
	if w.script == nil && w.Seed%lateIn != 1 {
		if err := w.lateVerdict(); err != nil {
			return err
		}
		if err := w.rest(); err != nil {
			return err
		}
	}
	for _, d := range w.devices {
		if err := w.checkAll(d); err != nil {
			return err
		}
	}
	for _, check := range []func() error{w.whole, w.homes, w.once, w.nothingLost, w.signed, w.beside, w.overtaken, w.retried} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// rest lets everyone sync until nothing moves, and then looks whether that is so.
func (w *World) rest() error {
	// What a device's last sync took, where it stood after it, and when the server had
	// last written; at rest, that moved nothing.
	type contact struct {
		bytes, verdicts int
		stands          [sha256.Size]byte
		wrote           int
		rests           bool
	}
	last := make([]contact, len(w.devices))
	for i, d := range w.devices {
		last[i].stands = w.standing(d)
	}
	for round, still := 0, false; !still; round++ {
		if round == maxRounds {
			return &ViolationError{"I17", "the world does not come to rest"}
		}
		still = true
		for i, d := range w.devices {
			if err := w.settleIdentity(d); err != nil {
				return err
			}
			if last[i].rests && last[i].wrote == w.server.wrote && (!d.corrupt || w.standing(d) == last[i].stands) {
				continue // It would be told the same again.
			}
			still = false
			wrote := w.server.wrote
			size, verdicts, err := w.sync(d, one(w, w.habits.pushBytes), w.habits.restBytes)
			if err != nil {
				return err
			}
			stands := w.standing(d)
			last[i] = contact{size, verdicts, stands, w.server.wrote, stands == last[i].stands && w.server.wrote == wrote}
		}
	}
	for i, d := range w.devices {
		if err := w.idle(d, last[i].bytes, last[i].verdicts); err != nil {
			return err
		}
	}
	if err := w.settled(); err != nil {
		return err
	}
	return w.equal()
}

// lateVerdict lets a device save and push, and read a page that has it all before
// the answer to the push comes.
func (w *World) lateVerdict() error {
	d := w.pick()
	if d == nil {
		return nil
	}
	writes, err := w.visit(d)
	if !slices.Contains(d.person.roles, "clinician") {
		writes, err = w.revise(d)
	}
	if err != nil || len(writes) == 0 {
		return err
	}
	if err := w.save(d, writes); err != nil {
		return err
	}
	if err := w.send(d, syncengine.PlanOptions{WallMS: w.wall(d), PushBytes: 1 << 20, PageBytes: 1 << 20}); err != nil {
		return err
	}
	late := w.take(0)
	for late.stage != answered {
		if err := w.move(late); err != nil {
			return err
		}
		w.wire = nil
	}
	if _, _, err := w.sync(d, 0, 1<<20); err != nil {
		return err
	}
	return w.move(late)
}

// sync is one request and its answer, without a fault, or what comes before that
// (mend). It returns how many bytes and verdicts that took.
func (w *World) sync(d *device, pushBytes int, pageBytes uint32) (size, verdicts int, err error) {
	if mended, err := w.mend(d); mended || err != nil {
		return 0, 0, err
	}
	err = w.send(d, syncengine.PlanOptions{WallMS: w.wall(d), Ask: d.ask, PushBytes: pushBytes, PageBytes: pageBytes})
	if err != nil {
		return 0, 0, err
	}
	for len(w.wire) > 0 {
		m := w.take(0)
		if m.stage == asked || m.stage == answered {
			size += len(m.bytes)
		}
		if m.stage == answered {
			verdicts += len(m.outcomes)
		}
		if err := w.move(m); err != nil {
			return 0, 0, err
		}
	}
	return size, verdicts, nil
}

// standing is a hash over everything of a device that could move: its position, scopes
// and outbox.
func (w *World) standing(d *device) [sha256.Size]byte {
	b := append(append(w.still[:0], d.replica[:]...), d.store.state.Epoch[:]...)
	number := func(n uint64) { b = binary.BigEndian.AppendUint64(b, n) }
	for _, yes := range []bool{d.store.state.Forked, d.store.state.Unconfirmed, d.store.state.Recovering, d.refused} {
		if yes {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	r := &d.store.state.Repair
	number(uint64(r.Stage)<<32 | uint64(r.Next)<<8 | uint64(r.Tries))
	number(r.Found)
	number(uint64(len(r.Scopes)))
	for _, id := range r.Scopes {
		b = append(b, id[:]...)
	}
	b = append(append(b, r.From...), d.store.state.Staged...)
	number(uint64(len(d.store.state.Want)))
	number(uint64(len(d.store.staged)))
	for _, s := range d.store.scopes {
		b = append(append(b, s.ID[:]...), s.Position...)
		number(uint64(s.Bit)<<1 | readyMask([]syncengine.DeviceScope{s})>>s.Bit)
		number(s.Sum.Hi)
		number(s.Sum.Lo)
	}
	d.store.each(1, func(op *syncengine.Op) {
		number(op.Number)
		number(uint64(op.State))
	})
	w.still = b
	return sha(b)
}

// needsItself reports whether an op stands behind itself, by what it needs. checked are
// those looked at, true where that has come to its end.
func needsItself(ops map[uint64]*syncengine.Op, n uint64, checked map[uint64]bool) bool {
	if end, met := checked[n]; met || ops[n] == nil {
		return met && !end
	}
	checked[n] = false
	for _, need := range ops[n].Needs {
		if needsItself(ops, need, checked) {
			return true
		}
	}
	checked[n] = true
	return false
}

// settled is I17 and I18 for each device: its outbox is empty but for what lies in
// quarantine, all scopes are shown, and a further sync carries nothing.
func (w *World) settled() error {
	for _, d := range w.devices {
		st := d.store
		if w.revoked(d.replica) {
			if err := w.purged(d); err != nil {
				return err
			}
			continue
		}
		checked := map[uint64]bool{}
		for n := uint64(1); n < st.state.NextOp; n++ {
			op := st.ops[n]
			if needsItself(st.ops, n, checked) {
				return &ViolationError{"I17", fmt.Sprintf("op %d of %s has to come after itself", n, d.name)}
			}
			if op.State == syncengine.OpDamaged {
				c, err := w.server.ChangeByOp(d.replica, n)
				if err == nil {
					err = w.endedDamaged(d, op, c)
				}
				if err != nil {
					return err
				}
				continue
			}
			if op.State != syncengine.OpSettled && !setAside(op) {
				return &ViolationError{"I17", fmt.Sprintf("op %d of %s has come no further than %d", n, d.name, op.State)}
			}
			if setAside(op) && len(op.Raw) == 0 {
				return &ViolationError{"I17", fmt.Sprintf("op %d of %s is set aside without its words", n, d.name)}
			}
			if op.Raw == nil && d.store.forgot[op.Change] {
				continue
			}
			c, err := w.server.ChangeByOp(d.replica, n)
			if err != nil {
				return err
			}
			if c == nil || c.ID != op.Change && !w.poisoned[op.Change] || c.Op != n || c.Envelope != op.Envelope {
				return &ViolationError{"I1", fmt.Sprintf("op %d of %s is not at the server", n, d.name)}
			}
			if w.undetected(d, op) {
				continue
			}
			if !ended(op, c.Outcome) {
				return &ViolationError{"I7", fmt.Sprintf("op %d of %s ended as %d, at the server as %v", n, d.name, op.State, c.Outcome.GetCode())}
			}
		}
		for _, s := range st.scopes {
			if !s.Ready {
				return &ViolationError{"I17", d.name + " never finished reading a scope"}
			}
		}
		if len(st.staged) > 0 || len(st.state.Want) > 0 {
			return &ViolationError{"I17", fmt.Sprintf("%s waits for %d rows and wants %d", d.name, len(st.staged), len(st.state.Want))}
		}
	}
	return nil
}

// idle is I18 about one sync of a device at rest.
func (w *World) idle(d *device, size, verdicts int) error {
	if verdicts > 0 {
		return &ViolationError{"I18", d.name + " is told verdicts at rest"}
	}
	if size > maxIdle+idSize*len(d.store.finds) {
		return &ViolationError{"I18", fmt.Sprintf("a sync of %s at rest takes %d bytes", d.name, size)}
	}
	return nil
}

// decode decodes a state of the server's, once: nobody changes a state that was saved.
func (w *World) decode(r *syncengine.StoredRecord) (*syncengine.State, error) {
	s := w.states[r]
	if s != nil {
		return s, nil
	}
	s, err := syncengine.Decode(&r.Record)
	if err == nil {
		w.states[r] = s
	}
	return s, err
}

// conflicts counts the paths of a record that a human is to settle.
func (w *World) conflicts(r *syncengine.StoredRecord) (int, error) {
	open, known := w.open[r]
	if known {
		return open, nil
	}
	s, err := w.decode(r)
	if err != nil {
		return 0, err
	}
	open = len(s.Conflicts(w.rules.Kind(r.Kind)))
	w.open[r] = open
	return open, nil
}

// equal is I3 and I5: every device holds exactly the scopes it is granted, and in
// each the server's rows, byte for byte.
func (w *World) equal() error {
	for _, d := range w.devices {
		grants, err := w.grants(d, d.replica)
		if err != nil {
			return err
		}
		if len(d.store.scopes) != len(grants) {
			return &ViolationError{"I5", fmt.Sprintf("%s holds %d scopes and is granted %d", d.name, len(d.store.scopes), len(grants))}
		}
		for _, k := range grants {
			id := w.ids[k]
			i := slices.IndexFunc(d.store.scopes, func(s syncengine.DeviceScope) bool { return s.ID == id })
			digest, err := w.server.Digest(k)
			if err != nil {
				return err
			}
			if i < 0 || d.store.scopes[i].Sum != digest.Total() {
				return &ViolationError{"I3", fmt.Sprintf("%s and the server differ in a scope", d.name)}
			}
		}
		if err := w.keepsFinds(d); err != nil {
			return err
		}
		for id, r := range d.store.records {
			truth := w.server.records[id]
			if truth == nil || r.Scopes == 0 || !slices.ContainsFunc(truth.Scopes, func(k syncengine.ScopeKey) bool { return slices.Contains(grants, k) }) {
				return &ViolationError{"I5", fmt.Sprintf("%s holds %s, which is in none of its scopes", d.name, id)}
			}
			if !bytes.Equal(r.Body, truth.Body) || !bytes.Equal(r.Stamps, truth.Stamps) || r.Kind != truth.Kind {
				return &ViolationError{"I3", fmt.Sprintf("%s holds other bytes of %s than the server", d.name, id)}
			}
			if d.person.police() && truth.Compartment(w.rules.Kind(truth.Kind)) > tandemv1.Compartment_COMPARTMENT_OPS {
				return &ViolationError{"I5", fmt.Sprintf("%s holds the clinical record %s", d.name, id)}
			}
			open, err := w.conflicts(truth)
			if err != nil {
				return err
			}
			if open != r.Conflicts {
				return &ViolationError{"I9", fmt.Sprintf("%s counts %d open paths on %s, where %d are", d.name, r.Conflicts, id, open)}
			}
		}
	}
	return nil
}
