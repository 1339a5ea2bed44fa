package simtest

import (
	"bytes"
	"crypto/sha256"
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
)

func sha(b []byte) [sha256.Size]byte { return sha256.Sum256(b) }

// quiet stops the faults, lets everyone sync until nothing moves, and checks what
// must hold then; and once more after a last save whose verdict comes late.
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
	if err := w.lateVerdict(); err != nil {
		return err
	}
	return w.rest()
}

// rest lets everyone sync until nothing moves.
func (w *World) rest() error {
	for round, still := 0, 0; still < 2; round++ {
		if round == maxRounds {
			return &ViolationError{"I17", "the world does not come to rest"}
		}
		before := w.standing()
		for _, d := range w.devices {
			if d.retired {
				continue
			}
			if err := w.sync(d, one(w, w.habits.pushBytes), one(w, w.habits.pageBytes)); err != nil {
				return err
			}
		}
		if w.standing() == before {
			still++
		} else {
			still = 0
		}
	}
	for _, check := range []func() error{w.whole, w.homes, w.once, w.nothingLost, w.overtaken, w.retried, w.settled, w.equal} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// lateVerdict lets a device save and push, and read a page that has it all before
// the answer to the push comes.
func (w *World) lateVerdict() error {
	d := w.pick()
	if d == nil {
		return nil
	}
	writes, err := w.visit(d)
	if err != nil {
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
	if err := w.sync(d, 0, 1<<20); err != nil {
		return err
	}
	return w.move(late)
}

// sync is one request and its answer, without a fault.
func (w *World) sync(d *device, pushBytes int, pageBytes uint32) error {
	err := w.send(d, syncengine.PlanOptions{WallMS: w.wall(d), Ask: d.ask, PushBytes: pushBytes, PageBytes: pageBytes})
	if err != nil {
		return err
	}
	for len(w.wire) > 0 {
		if err := w.move(w.take(0)); err != nil {
			return err
		}
	}
	return nil
}

// standing is a hash over everything that could move: the server's head, and each
// device's position, scopes and outbox.
func (w *World) standing() [sha256.Size]byte {
	b := fmt.Appendf(nil, "%v", w.server.head)
	for _, d := range w.devices {
		b = fmt.Appendf(b, "%v %x %v %d", d.retired, d.store.state.Staged, d.store.state.Want, len(d.store.staged))
		for _, s := range d.store.scopes {
			b = fmt.Appendf(b, "%x %v %x %v", s.ID, s.Ready, s.Position, s.Sum)
		}
		d.store.each(1, func(op *syncengine.Op) { b = fmt.Appendf(b, "%d %d", op.Number, op.State) })
	}
	return sha(b)
}

// settled is I17 and I18 for each device: its outbox is empty but for what lies in
// quarantine, all scopes are shown, and a further sync carries nothing.
func (w *World) settled() error {
	for _, d := range w.devices {
		if d.retired {
			continue
		}
		st := d.store
		if w.server.replicas[d.replica].Revoked {
			if err := w.purged(d); err != nil {
				return err
			}
			continue
		}
		for n := uint64(1); n < st.state.NextOp; n++ {
			op := st.ops[n]
			if op.State != syncengine.OpSettled && !setAside(op) {
				return &ViolationError{"I17", fmt.Sprintf("op %d of %s has come no further than %d", n, d.name, op.State)}
			}
			if setAside(op) && len(op.Raw) == 0 {
				return &ViolationError{"I17", fmt.Sprintf("op %d of %s is set aside without its words", n, d.name)}
			}
			c := w.server.changes[op.Change]
			if c == nil || c.Op != n || c.Envelope != op.Envelope {
				return &ViolationError{"I1", fmt.Sprintf("op %d of %s is not at the server", n, d.name)}
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
		if err := w.idle(d); err != nil {
			return err
		}
	}
	return nil
}

// idle is one sync of a device at rest.
func (w *World) idle(d *device) error {
	before := w.standing()
	if err := w.send(d, syncengine.PlanOptions{WallMS: w.wall(d), PushBytes: 1 << 20, PageBytes: 1 << 20}); err != nil {
		return err
	}
	size := len(w.wire[0].bytes)
	for len(w.wire) > 0 {
		m := w.take(0)
		if m.stage == answered {
			size += len(m.bytes)
			if len(m.outcomes) > 0 {
				return &ViolationError{"I18", d.name + " is told verdicts at rest"}
			}
		}
		if err := w.move(m); err != nil {
			return err
		}
	}
	if size > maxIdle {
		return &ViolationError{"I18", fmt.Sprintf("a sync of %s at rest takes %d bytes", d.name, size)}
	}
	if w.standing() != before {
		return &ViolationError{"I18", "something moves at rest when " + d.name + " syncs"}
	}
	return nil
}

// equal is I3 and I5: every device holds exactly the scopes it is granted, and in
// each the server's rows, byte for byte.
func (w *World) equal() error {
	for _, d := range w.devices {
		if d.retired {
			continue
		}
		p, err := w.engine.Principal(w.server, w.server.replicas[d.replica])
		if err != nil {
			return err
		}
		grants := w.rules.Grants(w.office.org, p)
		if w.server.replicas[d.replica].Revoked {
			grants = nil
		}
		if len(d.store.scopes) != len(grants) {
			return &ViolationError{"I5", fmt.Sprintf("%s holds %d scopes and is granted %d", d.name, len(d.store.scopes), len(grants))}
		}
		for _, k := range grants {
			id := w.engine.Secrets.ScopeID(k)
			i := slices.IndexFunc(d.store.scopes, func(s syncengine.DeviceScope) bool { return s.ID == id })
			digest, err := w.server.Digest(k)
			if err != nil {
				return err
			}
			if i < 0 || d.store.scopes[i].Sum != digest.Total() {
				return &ViolationError{"I3", fmt.Sprintf("%s and the server differ in a scope", d.name)}
			}
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
			s, err := syncengine.Decode(&truth.Record)
			if err != nil {
				return err
			}
			if open := len(s.Conflicts(w.rules.Kind(truth.Kind))); open != r.Conflicts {
				return &ViolationError{"I9", fmt.Sprintf("%s counts %d open paths on %s, where %d are", d.name, r.Conflicts, id, open)}
			}
		}
	}
	return nil
}
