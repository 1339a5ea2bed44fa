package syncengine

import (
	"crypto/sha256"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
)

// Damaged returns the ops of a plan whose bytes do not have the hash that they were
// saved with. They must not be sent: the server would take them for another history.
func (d *Device) Damaged(tx DeviceTx, plan *Planned) (damaged []uint64, err error) {
	if len(plan.Ops) == 0 {
		return nil, nil
	}
	st, err := tx.State()
	if err != nil {
		return nil, err
	}
	for _, run := range plan.Request.GetRuns() {
		prev := Hash(run.GetPrevHash())
		for i, raw := range run.GetChanges() {
			number := run.GetFirstOp() + uint64(i)
			op, err := tx.Op(number)
			if err != nil {
				return nil, err
			}
			if op == nil || HashEnvelope(st.Replica, number, prev, sha256.Sum256(raw)) != op.Envelope && !planted.Is(planted.RottenSent) {
				damaged = append(damaged, number)
			}
			if op != nil {
				prev = op.Envelope
			}
		}
	}
	return damaged, nil
}

// SetAside takes damaged own changes out of the queue. Their bytes stay as they are, to
// be looked at; they are not shown on the records that they wrote, since nobody wrote
// what stands there now. The others go on: the chain holds by the hash that each was
// saved with, and what builds on one that is missing waits at the server. A whole copy
// of such a change may reach the server from elsewhere, under its id ([Device.Told]).
func (d *Device) SetAside(tx DeviceTx, numbers []uint64) error {
	in, err := d.intake(tx)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		op, err := tx.Op(n)
		if err != nil {
			return err
		}
		if op == nil || (op.State != OpQueued && op.State != OpReoffered) {
			continue
		}
		if op.State == OpReoffered && isApplied(op.Outcome) {
			in.st.KeptBytes -= min(in.st.KeptBytes, uint64(len(op.Raw)))
		}
		if err := in.setAside(op); err != nil {
			return err
		}
	}
	return in.end()
}

func (in *intake) setAside(op *Op) error {
	next := *op
	next.State, next.Outcome = OpDamaged, nil
	if err := in.tx.SaveOp(&next); err != nil || planted.Is(planted.RottenShown) {
		return err
	}
	for _, id := range op.Records {
		if err := in.rebuild(id); err != nil {
			return err
		}
	}
	return nil
}

// setRottenAside sets every own change aside whose bytes are not those that were saved:
// an envelope of a new replica must not go around them, which would make them what was
// written.
func (in *intake) setRottenAside() error {
	if planted.Is(planted.RottenWrapped) {
		return nil
	}
	for n := uint64(1); n < in.st.NextOp; n++ {
		op, err := in.tx.Op(n)
		if err != nil {
			return err
		}
		if op == nil || len(op.Raw) == 0 || op.State == OpDamaged ||
			HashEnvelope(in.st.Replica, n, op.Prev, sha256.Sum256(op.Raw)) == op.Envelope {
			continue
		}
		if err := in.setAside(op); err != nil {
			return err
		}
	}
	return nil
}

// Lacking returns the numbers of the damaged own changes that have no verdict and of which
// a whole copy may be delivered now, ascending. waits reports whether there are others: what
// such a change needs is still to be sent, and must come before it.
func (d *Device) Lacking(tx DeviceTx) (numbers []uint64, waits bool, err error) {
	const some = 1000
	for after, more := uint64(0), true; more; {
		ops, err := tx.OpsIn(OpDamaged, after, some)
		if err != nil {
			return nil, false, err
		}
		for _, op := range ops {
			after = op.Number
			if op.Outcome != nil {
				continue
			}
			early, err := unsent(tx, op.Needs)
			if err != nil {
				return nil, false, err
			}
			if waits = waits || early; !early {
				numbers = append(numbers, op.Number)
			}
		}
		more = len(ops) == some
	}
	return numbers, waits, nil
}

// unsent reports whether one of some ops is still to be sent.
func unsent(tx DeviceTx, numbers []uint64) (bool, error) {
	for _, n := range numbers {
		op, err := tx.Op(n)
		if err != nil {
			return false, err
		}
		if op != nil && (op.State == OpQueued || op.State == OpReoffered) {
			return true, nil
		}
	}
	return false, nil
}

// Told takes in verdicts that came by another way than the answer to a Sync: on changes
// of this replica that were delivered. at are the positions that they were told at: see
// Server.ToldAt.
func (d *Device) Told(tx DeviceTx, outcomes []*tandemv1.Outcome, at ...[]byte) error {
	in, err := d.intake(tx)
	if err != nil {
		return err
	}
	for _, o := range outcomes {
		if other, err := in.another(o); err != nil || other {
			// It is on a change of another life of this store.
			continue
		}
		if err := in.outcomes([]*tandemv1.Outcome{o}); err != nil {
			return err
		}
	}
	for _, b := range at {
		in.attest(b)
	}
	in.st.KnownOp = max(in.st.KnownOp, in.known)
	return in.end()
}

// intake begins a transaction in which nothing has been answered.
func (d *Device) intake(tx DeviceTx) (*intake, error) {
	st, err := tx.State()
	if err != nil {
		return nil, err
	}
	scopes, err := tx.Scopes()
	if err != nil {
		return nil, err
	}
	in := &intake{d: d, tx: tx, st: *st, before: scopes, scopes: slices.Clone(scopes), got: &Received{}}
	in.st.Want = slices.Clone(st.Want)
	return in, nil
}
