package syncengine

import (
	"bytes"
	"maps"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
)

// PlanOptions say what a request is for.
type PlanOptions struct {
	// PushBytes is the largest sum of changes to send; 0 sends none.
	PushBytes int
	// Ceiling is the largest sum of changes that is known to pass: a change that
	// needs more is sent when nothing else is left, by itself. 0 is no ceiling.
	Ceiling int
	// UrgentOnly sends urgent changes and what they need, and no others.
	UrgentOnly bool
	// InFlight are ops that another request is carrying.
	InFlight map[uint64]bool
	// Ask asks for the verdicts on every queued change: after a push whose answer
	// did not come, and at first contact.
	Ask bool
	// PageBytes is the largest page wanted; 0 asks for none.
	PageBytes uint32
	// Lookup is a record to look up; nil for none.
	Lookup *tandemv1.Lookup
	// WaitMS is how long the server may wait for news.
	WaitMS uint32
	// WallMS is the device's wall clock.
	WallMS int64
}

// Planned is a request ready to be signed and sent.
type Planned struct {
	// Request, without its signature.
	Request *tandemv1.SyncRequest
	// Ops are the op numbers it carries, ascending.
	Ops []uint64
	// Newest is the hash to sign (SignBatch) where there are ops: see HashBatch.
	Newest Hash
	// Bytes is the size of its changes. Urgent: it carries urgent changes, and what
	// they need; nothing else travels with those.
	Bytes  int
	Urgent bool
}

// Plan builds a request: the most urgent changes that fit, with the changes they
// need, and where the device stands. It changes nothing.
func (d *Device) Plan(tx DeviceTx, o PlanOptions) (*Planned, error) {
	st, err := tx.State()
	if err != nil {
		return nil, err
	}
	scopes, err := tx.Scopes()
	if err != nil {
		return nil, err
	}
	req := &tandemv1.SyncRequest{
		KnownOp: st.KnownOp, NewestOp: st.NextOp - 1, Budget: o.PageBytes, WaitMs: o.WaitMS,
		Schema: Schema, WallMs: o.WallMS, OldestKept: max(st.OldestKept, 1),
	}
	if !st.Epoch.IsZero() {
		req.Epoch = bytes.Clone(st.Epoch[:])
	}
	if st.Repair.comparing() && len(st.Want) == 0 {
		// What a page starts from is not known yet.
		req.Budget = 0
	}
	if st.KnownOp > 0 {
		known, ok, err := envelopeOf(tx, st.KnownOp)
		if err != nil {
			return nil, err
		}
		if ok {
			short := known.Short()
			req.KnownHash = short[:]
		} else {
			req.KnownOp = 0
		}
	}
	stand(req, st, scopes)
	req.ToldAt = st.ToldAt
	finds, err := tx.LookedUp()
	if err != nil {
		return nil, err
	}
	req.Lookup = o.Lookup
	for _, l := range finds {
		if l.UntilMS != 0 {
			req.Opened = append(req.Opened, bytes.Clone(l.ID[:]))
			continue
		}
		req.LookedUp = append(req.LookedUp, bytes.Clone(l.ID[:]))
	}
	if o.Ask {
		if req.Unsettled, err = d.unsettled(tx); err != nil {
			return nil, err
		}
	}
	plan := &Planned{Request: req}
	if o.PushBytes > 0 && !st.Forked {
		if err := d.choose(tx, plan, o); err != nil {
			return nil, err
		}
	}
	return plan, nil
}

// stand states where the device stands.
func stand(req *tandemv1.SyncRequest, st *DeviceState, scopes []DeviceScope) {
	ids := make([]ScopeID, 0, len(scopes))
	at := st.Staged
	if at == nil {
		at = st.Repair.From
	}
	req.Positions = []*tandemv1.ScopePosition{{Position: at}}
	for _, open := range []bool{true, false} {
		for i := range scopes {
			s := &scopes[i]
			if s.Open != open {
				continue
			}
			ids = append(ids, s.ID)
			if !s.Ready {
				req.Positions = append(req.Positions, &tandemv1.ScopePosition{Scope: bytes.Clone(s.ID[:]), Position: s.Position})
			}
		}
	}
	req.ScopeSet = HashScopeSet(ids)
	for _, id := range st.Want[:min(len(st.Want), MaxWant, 1+int(req.GetBudget())/leastRow)] {
		req.Want = append(req.Want, bytes.Clone(id[:]))
	}
}

// leastRow is about the smallest row: no more are wanted at once than a page may
// hold.
const leastRow = 64

// OpLister is what a DeviceTx may be besides: one that lists own changes without
// reading them, which before the first push would be all that wait.
type OpLister interface {
	// OpNumbers returns the numbers of what OpsIn would return.
	OpNumbers(state OpState, after uint64, limit int) ([]uint64, error)
}

// Enveloper is what a DeviceTx may be besides: one that has the envelope hash of an own
// change without reading the change; false where it has no such op.
type Enveloper interface {
	Envelope(op uint64) (Hash, bool, error)
}

func envelopeOf(tx DeviceTx, number uint64) (Hash, bool, error) {
	if e, ok := tx.(Enveloper); ok {
		return e.Envelope(number)
	}
	op, err := tx.Op(number)
	if err != nil || op == nil {
		return Hash{}, false, err
	}
	return op.Envelope, true, nil
}

// unsettled returns the ranges of ops without a verdict.
func (d *Device) unsettled(tx DeviceTx) ([]*tandemv1.OpRange, error) {
	var ranges []OpRange
	after := uint64(0)
	for {
		numbers, err := numbersIn(tx, OpQueued, after, 1000)
		if err != nil {
			return nil, err
		}
		for _, n := range numbers {
			ranges = AddOp(ranges, n)
			after = n
		}
		if len(numbers) < 1000 {
			break
		}
	}
	for _, state := range []OpState{OpReoffered, OpDamaged} {
		for after, more := uint64(0), true; more; {
			numbers, err := numbersIn(tx, state, after, 1000)
			if err != nil {
				return nil, err
			}
			for _, n := range numbers {
				ranges = AddOp(ranges, n)
				after = n
			}
			more = len(numbers) == 1000
		}
	}
	// The server looks at no more of them: the rest is asked about next time.
	return rangesToWire(ranges[:min(len(ranges), 8*maxUnsettled)]), nil
}

func numbersIn(tx DeviceTx, state OpState, after uint64, limit int) ([]uint64, error) {
	if lister, ok := tx.(OpLister); ok {
		return lister.OpNumbers(state, after, limit)
	}
	ops, err := tx.OpsIn(state, after, limit)
	if err != nil {
		return nil, err
	}
	numbers := make([]uint64, len(ops))
	for i, op := range ops {
		numbers[i] = op.Number
	}
	return numbers, nil
}

// choose picks the changes of a push: by class, then number, each after what it
// needs. Urgent changes do not wait for others to be carried along.
func (d *Device) choose(tx DeviceTx, plan *Planned, o PlanOptions) error {
	look := o.PushBytes
	if o.Ceiling > 0 {
		// What is left out now must not hide what stands behind it.
		look = MaxPush
	}
	queued, err := tx.Queued(o.InFlight, MaxPushChanges, look)
	if err != nil {
		return err
	}
	chosen := make(map[uint64]*Op, len(queued))
	alone := map[uint64]*Op{}
	var large, stuck map[uint64]*Op
	left := o.PushBytes
	for _, op := range queued {
		urgent := op.Class == tandemv1.Class_CLASS_URGENT
		if (o.UrgentOnly || plan.Urgent) && !urgent {
			break
		}
		if chosen[op.Number] != nil {
			continue
		}
		bundle := alone
		if len(op.Needs) == 0 {
			clear(alone)
			alone[op.Number] = op
		} else if bundle, err = d.ready(tx, op, o.InFlight, chosen); err != nil {
			return err
		}
		if bundle == nil {
			if stuck == nil {
				stuck = map[uint64]*Op{op.Number: op}
			}
			continue
		}
		size := 0
		for _, b := range bundle {
			size += len(b.Raw)
		}
		if o.Ceiling > 0 && size > o.Ceiling {
			if large == nil {
				large = maps.Clone(bundle)
			}
			continue
		}
		if len(chosen) > 0 && (size > left || len(chosen)+len(bundle) > MaxPushChanges) {
			break
		}
		left -= size
		maps.Copy(chosen, bundle)
		plan.Urgent = plan.Urgent || urgent
	}
	if len(chosen) == 0 && len(o.InFlight) == 0 {
		maps.Copy(chosen, large)
	}
	if len(chosen) == 0 && len(o.InFlight) == 0 {
		// Nothing that it needs is under way or can be: they need one another, as a store of
		// an earlier version may have it. The server keeps apart what comes too early.
		maps.Copy(chosen, stuck)
	}
	plan.fill(chosen)
	return nil
}

// ready returns an op with what it needs, or where a need has to come in a push
// before, that with what it needs; nil where that is under way.
func (d *Device) ready(tx DeviceTx, op *Op, inFlight map[uint64]bool, chosen map[uint64]*Op) (map[uint64]*Op, error) {
	tried := map[uint64]bool{}
	for {
		bundle := map[uint64]*Op{}
		ready, err := d.bundle(tx, op, inFlight, chosen, bundle)
		if err != nil || ready {
			return bundle, err
		}
		if op, err = d.before(tx, op, inFlight, chosen, tried); err != nil || op == nil {
			return nil, err
		}
	}
}

// before returns what has to come in a push before one with an op: a later op that it,
// or something that it needs, needs. nil where there is none that can be sent now.
func (d *Device) before(tx DeviceTx, op *Op, inFlight map[uint64]bool, chosen map[uint64]*Op, tried map[uint64]bool) (*Op, error) {
	for _, n := range op.Needs {
		if tried[n] || inFlight[n] || chosen[n] != nil {
			continue
		}
		tried[n] = true
		need, err := tx.Op(n)
		if err != nil {
			return nil, err
		}
		if need == nil || (need.State != OpQueued && need.State != OpReoffered) {
			continue
		}
		if n > op.Number {
			return need, nil
		}
		if first, err := d.before(tx, need, inFlight, chosen, tried); err != nil || first != nil {
			return first, err
		}
	}
	return nil, nil
}

// bundle collects an op and what it needs and the server has not been sent. It
// reports false where another request carries a need: the two might overtake each
// other.
func (d *Device) bundle(tx DeviceTx, op *Op, inFlight map[uint64]bool, chosen, bundle map[uint64]*Op) (bool, error) {
	if bundle[op.Number] != nil {
		return true, nil
	}
	bundle[op.Number] = op
	for _, n := range op.Needs {
		if n < op.Number && (chosen[n] != nil || bundle[n] != nil) || planted.Is(planted.UrgentFirst) {
			continue
		}
		need, err := tx.Op(n)
		if err != nil {
			return false, err
		}
		if need == nil || (need.State != OpQueued && need.State != OpReoffered) {
			continue
		}
		if inFlight[n] || n > op.Number {
			// In one push it would come after.
			return false, nil
		}
		if ready, err := d.bundle(tx, need, inFlight, chosen, bundle); err != nil || !ready {
			return false, err
		}
	}
	return true, nil
}

// fill puts the chosen ops into runs of consecutive numbers.
func (p *Planned) fill(chosen map[uint64]*Op) {
	for n := range chosen {
		p.Ops = append(p.Ops, n)
	}
	slices.Sort(p.Ops)
	var run *tandemv1.Run
	var ends []Hash
	for i, n := range p.Ops {
		op := chosen[n]
		if i == 0 || p.Ops[i-1]+1 != n {
			run = &tandemv1.Run{FirstOp: n, PrevHash: bytes.Clone(op.Prev[:])}
			p.Request.Runs = append(p.Request.Runs, run)
			ends = append(ends, Hash{})
		}
		run.Changes = append(run.Changes, op.Raw)
		p.Bytes += len(op.Raw)
		ends[len(ends)-1] = op.Envelope
	}
	if len(ends) > 0 {
		p.Newest = HashBatch(ends)
	}
}
