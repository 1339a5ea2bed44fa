package simtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

func init() {
	Rare = append(Rare, "rotten", "set aside as damaged", "delivered from a sealed copy", "rotten for good", "rotten in quarantine")
}

// decay is what a world knows of saves whose bytes rot in the outbox. One world in five
// has such disks. What rots there is drawn from a source of its own: the other worlds
// do what they did before there was any.
type decay struct {
	on  bool
	rng *rand.Rand
	pcg rand.PCG
	// bad are the rotten bytes, by their first. Stores copy entries, and share these.
	bad map[*byte]bool
	// sealed are the copies in the sealed outboxes, by envelope: of what has rotted alone.
	sealed map[syncengine.Hash]sealedCopy
}

type sealedCopy struct {
	syncengine.Delivered

	replica syncengine.ID
	change  syncengine.ID
}

const rotChance = 1 << 42

func newDecay(w *World) decay {
	r := decay{on: w.Seed%5 == 3 && w.script == nil && w.copies()}
	if r.on {
		r.bad, r.sealed = map[*byte]bool{}, map[syncengine.Hash]sealedCopy{}
	}
	return r
}

// rot damages the bytes of a save that waits to be sent, once in some steps.
func (w *World) rot() {
	r := &w.decay
	if !r.on {
		return
	}
	if r.rng == nil {
		r.rng = rand.New(&r.pcg)
	}
	r.pcg.Seed(w.Seed, rotChance+uint64(w.step))
	if r.rng.IntN(6) > 0 || len(w.devices) == 0 {
		return
	}
	d := w.devices[r.rng.IntN(len(w.devices))]
	var ops []*syncengine.Op
	d.store.each(1, func(op *syncengine.Op) {
		waits := op.State == syncengine.OpQueued || op.State == syncengine.OpReoffered && applied(op.Outcome)
		if waits && len(op.Raw) > 0 && !r.bad[&op.Raw[0]] {
			ops = append(ops, op)
		}
	})
	if len(ops) == 0 {
		return
	}
	op := *ops[r.rng.IntN(len(ops))]
	if r.rng.IntN(6) > 0 {
		r.sealed[op.Envelope] = sealedCopy{
			syncengine.Delivered{Op: op.Number, Prev: op.Prev, Signature: d.key.sign(op.Envelope), Raw: op.Raw}, d.replica, op.Change,
		}
	} else {
		w.seen("rotten for good")
	}
	w.decoded.of(op.Envelope, op.Raw) // The checks know what was written.
	raw := slices.Clone(op.Raw)
	switch r.rng.IntN(3) {
	case 0:
		raw[r.rng.IntN(len(raw))] ^= 1 << r.rng.IntN(8)
	case 1:
		clear(raw[r.rng.IntN(len(raw)):])
		raw[len(raw)-1]++
	default:
		raw = raw[:1+r.rng.IntN(len(raw))]
		raw[len(raw)-1] ^= 0x40
	}
	op.Raw = raw
	r.bad[&raw[0]] = true
	d.store.ops[op.Number] = &op
	// What the server has of it, it has from before: this copy is gone.
	w.gone[op.Change] = true
	d.rotted = true
	w.event("op %d of %s rots", op.Number, d.name)
	w.seen("rotten")
}

// isRotten reports whether a device shows what it does not know to be rotten.
func (w *World) isRotten(d *device) bool {
	if !w.decay.on || !d.rotted {
		return false
	}
	rotten := false
	d.store.each(1, func(op *syncengine.Op) {
		if op.State != syncengine.OpDamaged && len(op.Raw) > 0 && w.decay.bad[&op.Raw[0]] {
			rotten = true
		}
	})
	return rotten
}

// plan plans a request; what is damaged of it is set aside, and then nothing is pushed,
// as the client does.
func (w *World) plan(d *device, tx syncengine.DeviceTx, o syncengine.PlanOptions) (*syncengine.Planned, error) {
	for {
		plan, err := w.client.Plan(tx, o)
		if err != nil {
			return nil, err
		}
		plan.Request.Packs = true
		damaged, err := w.client.Damaged(tx, plan)
		if err != nil || len(damaged) == 0 {
			return plan, err
		}
		for _, n := range damaged {
			if op := d.store.ops[n]; !w.decay.bad[&op.Raw[0]] {
				return nil, &ViolationError{"I1", fmt.Sprintf("%s takes op %d for damaged, and it is not", d.name, n)}
			}
		}
		if err := w.client.SetAside(tx, damaged); err != nil {
			return nil, err
		}
		w.event("%s sets ops %v aside", d.name, damaged)
		w.seen("set aside as damaged")
		d.spoiled, o.PushBytes = true, 0
	}
}

// lacking are the sealed copies of a device's damaged saves without a verdict that may be
// delivered now. waits: others may later.
func (w *World) lacking(d *device) (copies []sealedCopy, waits bool, err error) {
	if !w.decay.on {
		return nil, false, nil
	}
	err = d.transact(0, true, func(tx syncengine.DeviceTx) error {
		numbers, early, err := w.client.Lacking(tx)
		for _, n := range numbers {
			op := d.store.ops[n]
			if c, ok := w.decay.sealed[op.Envelope]; ok && c.replica == d.replica {
				copies = append(copies, c)
			}
		}
		waits = early
		return err
	})
	return copies, waits, err
}

// rescue delivers the sealed copies of damaged saves, and takes in the verdicts.
func (w *World) rescue(d *device) error {
	if !d.spoiled {
		return nil
	}
	copies, waits, err := w.lacking(d)
	if err != nil {
		return err
	}
	if len(copies) == 0 {
		d.spoiled = waits
		return nil
	}
	r := w.server.replicas[d.replica]
	if r == nil || w.fault(4) {
		return nil // It is tried again.
	}
	delivered := make([]syncengine.Delivered, len(copies))
	for i := range copies {
		delivered[i] = copies[i].Delivered
	}
	changes := syncengine.PrepareDelivered(w.rules, d.replica, nil, delivered)
	for i := range changes {
		changes[i].Proved = slices.ContainsFunc(copies, func(c sealedCopy) bool {
			return c.Op == changes[i].Op && d.key.verify(changes[i].Hash, c.Signature)
		})
	}
	var outcomes []*tandemv1.Outcome
	var done *syncengine.Committed
	var at []byte
	fail, stay := w.mishap(), w.stays(30)
	err = w.write(fail, stay, func(tx syncengine.ServerTx) error {
		b, err := w.engine.Begin(tx, w.nowMS)
		if err != nil {
			return err
		}
		for _, round := range syncengine.Rounds(changes) {
			got, err := b.Push(d.replica, round, &tandemv1.SyncRequest{})
			if err != nil {
				return err
			}
			outcomes = append(outcomes, got...)
		}
		if done, err = b.Commit(); err != nil {
			return err
		}
		at, err = w.engine.ToldAt(tx, d.replica)
		return err
	})
	if errors.Is(err, errStorage) || err == nil && !stay {
		return nil
	}
	if err != nil {
		return fmt.Errorf("a delivery: %w", err)
	}
	w.committed(done)
	w.event("%s delivers sealed copies of %d saves:%s", d.name, len(copies), tellOutcomes(outcomes))
	m := &message{device: d, call: &call{replica: d.replica}}
	for _, o := range outcomes {
		if err := w.verdict(m, o); err != nil {
			return err
		}
	}
	if err := w.entitled(m, outcomes); err != nil {
		return err
	}
	if w.fault(6) {
		return nil // The answer is lost.
	}
	fail, stay = w.mishap(), w.stays(25)
	err = d.transact(fail, stay, func(tx syncengine.DeviceTx) error { return w.client.Told(tx, outcomes, at) })
	switch {
	case errors.Is(err, errStorage):
		return w.check(d)
	case err != nil:
		return fmt.Errorf("%s is told: %w", d.name, err)
	case !stay:
		w.kill(d)
		return w.check(d)
	}
	d.spoiled = waits
	w.seen("delivered from a sealed copy")
	for _, c := range copies {
		op := d.store.ops[c.Op]
		if op.Outcome != nil {
			w.acked[c.change] = w.bodies[c.change]
		}
	}
	return w.check(d)
}

// endedDamaged is I1 and I17 for a save that has rotted, at rest: what there is a sealed
// copy of is at the server as it was written, and the device has its verdict; what there
// is none of waits for its author, with the bytes that are left.
func (w *World) endedDamaged(d *device, op *syncengine.Op, c *syncengine.StoredChange) error {
	if _, ok := w.decay.sealed[op.Envelope]; !ok {
		return nil
	}
	switch {
	case c == nil || c.Envelope != op.Envelope:
		return &ViolationError{"I1", fmt.Sprintf("op %d of %s has rotted, and its sealed copy is not at the server", op.Number, d.name)}
	case w.undetected(d, op):
		return nil
	case op.Outcome.GetCode() != c.Outcome.GetCode() || op.Outcome.GetRefusal() != c.Outcome.GetRefusal():
		return &ViolationError{"I7", fmt.Sprintf("op %d of %s has rotted and is told %v, at the server %v", op.Number, d.name, op.Outcome.GetCode(), c.Outcome.GetCode())}
	case c.Outcome.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED:
		return &ViolationError{"I17", fmt.Sprintf("op %d of %s, which has rotted, has come no further than %v", op.Number, d.name, c.Outcome.GetCode())}
	}
	w.seen("rotten in quarantine")
	return nil
}
