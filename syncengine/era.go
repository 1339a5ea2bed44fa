package syncengine

import (
	"bytes"
	"crypto/sha256"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/proto"
)

// KeptBytes is how many bytes of settled changes a device keeps unless its Keep says
// otherwise.
const KeptBytes = 64 << 20

// maxPast bounds the earlier epochs that a device remembers.
const maxPast = 16

// era sees in which epoch an answer was given. It counts where that is the device's
// own, or a new one that answers a request made in the device's own; what another
// epoch answered late, or a server of an earlier one answers still, is no answer.
func (in *intake) era(req *tandemv1.SyncRequest) (counts bool, err error) {
	epoch, ok := IDFromBytes(in.trailer.GetEpoch())
	if !ok {
		return true, nil
	}
	asked, _ := IDFromBytes(req.GetEpoch())
	switch {
	case epoch == in.st.Epoch:
		// The request said what the server had told before.
		told := len(in.processed) > 0 || in.trailer.GetHighestOp() == 0
		if told && req.GetKnownOp() > 0 && !HoldsOp(in.processed, req.GetKnownOp()) {
			in.st.KnownOp = in.trailer.GetHighestOp()
			return true, in.lose()
		}
		return true, nil
	case in.st.Epoch.IsZero():
		in.st.Epoch = epoch
		// What was told of deliveries before may be of a history that is lost.
		return true, in.doubt(OpDamaged)
	case asked != in.st.Epoch || slices.Contains(in.st.Past, epoch):
		return false, nil
	}
	in.got.Epoch, in.got.More = true, true
	in.st.Past = append(slices.Clone(in.st.Past), in.st.Epoch)
	in.st.Past = in.st.Past[max(0, len(in.st.Past)-maxPast):]
	in.st.Epoch, in.st.KnownOp = epoch, 0
	newest := in.st.NextOp - 1
	in.lost = map[ID]uint64{}
	if err := in.reissue(); err != nil {
		return false, err
	}
	if err := in.loseUpTo(newest); err != nil {
		return false, err
	}
	if err := in.unapplied(); err != nil {
		return false, err
	}
	if err := in.doubt(OpApplied, OpQuarantined, OpDismissed, OpReplaced, OpDamaged); err != nil {
		return false, err
	}
	err = in.astray()
	in.st.Repair.From, in.st.ToldAt = nil, nil
	return true, err
}

// gone looks for an op that has a verdict and is not among those that the server holds,
// although it holds later ones: a verdict that came late, from before the server was set
// back. The next request says that the server is known to hold it. Its answer decides: an
// answer may also be older than the verdict. held is what the server holds.
func (in *intake) gone(req *tandemv1.SyncRequest, held []OpRange) error {
	if len(held) == 0 {
		return nil
	}
	looked := 0
	for _, gap := range gaps(held, min(req.GetKnownOp(), in.st.NextOp-1)) {
		for n := gap.First; n <= gap.Last && looked < mayBeGone; n++ {
			looked++
			op, err := in.tx.Op(n)
			if err != nil {
				return err
			}
			if op != nil && op.State != OpQueued && op.State != OpReoffered && op.State != OpDamaged && (op.State != OpSettled || op.Raw != nil) {
				in.st.KnownOp = n
				return nil
			}
		}
	}
	return nil
}

// mayBeGone is how many ops of an answer are looked at: where many wait to be sent, what
// is gone shows when they are.
const mayBeGone = 64

// unapplied goes through what the server holds and has not applied, although it is part
// of the server's state here: it was let out of quarantine, and the server has lost that.
func (in *intake) unapplied() error {
	for _, r := range rangesFromWire(in.trailer.GetApart()) {
		for n := r.First; n <= min(r.Last, in.st.NextOp-1); n++ {
			op, err := in.tx.Op(n)
			if err != nil {
				return err
			}
			if op == nil || op.State != OpSettled || op.Raw == nil {
				continue
			}
			next := *op
			next.State = OpReoffered
			if err := in.tx.SaveOp(&next); err != nil {
				return err
			}
		}
	}
	return nil
}

// doubt takes back the verdicts on ops in some states, which no cut has confirmed: the new
// epoch has its own, which the device asks for.
func (in *intake) doubt(states ...OpState) error {
	for _, state := range states {
		after := uint64(0)
		for more := true; more; {
			ops, err := in.tx.OpsIn(state, after, 1000)
			if err != nil {
				return err
			}
			for _, op := range ops {
				after = op.Number
				next := *op
				switch next.State = OpReoffered; state {
				case OpApplied:
					next.State, next.Outcome = OpQueued, nil
				case OpDamaged:
					// Its sealed copy is to be delivered again.
					if op.Outcome != nil {
						in.got.Reoffered++
					}
					next.State, next.Outcome = OpDamaged, nil
				}
				if err := in.tx.SaveOp(&next); err != nil {
					return err
				}
			}
			more = len(ops) == 1000
		}
	}
	return nil
}

// lose goes through what the server was known to hold and holds no more: it is to be
// sent again, where its bytes are kept.
func (in *intake) lose() error {
	in.lost = map[ID]uint64{}
	return in.loseUpTo(in.st.NextOp - 1)
}

// loseUpTo does so for the ops up to one, each after what it needs: that may have a
// greater number, where it was made in an earlier life of the store. In another order an
// op could come to need what needs it, and neither would ever be sent.
func (in *intake) loseUpTo(newest uint64) error {
	gone, seen := gaps(in.processed, newest), map[uint64]bool{}
	for _, gap := range gone {
		for n := gap.First; n <= gap.Last; n++ {
			if err := in.loseAfterNeeds(n, gone, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// loseAfterNeeds loses an op, where it is among those that are gone, after what it needs.
func (in *intake) loseAfterNeeds(n uint64, gone []OpRange, seen map[uint64]bool) error {
	if seen[n] {
		return nil
	}
	seen[n] = true
	op, err := in.tx.Op(n)
	if err != nil || op == nil {
		return err
	}
	for _, need := range op.Needs {
		if err := in.loseAfterNeeds(need, gone, seen); err != nil {
			return err
		}
	}
	if !HoldsOp(gone, n) {
		return nil
	}
	return in.loseOne(op)
}

// loseOne makes one op be sent again.
func (in *intake) loseOne(op *Op) error {
	next := *op
	switch {
	case op.State == OpApplied:
		next.State, next.Outcome = OpQueued, nil
	case op.State == OpQuarantined, op.State == OpDismissed, op.State == OpReplaced, op.State == OpSettled && op.Raw != nil:
		next.State = OpReoffered
	case op.State == OpSettled:
		in.st.LostOps++
		return nil
	case op.State == OpDamaged:
		// Its sealed copy is to be delivered again.
		if op.Outcome != nil {
			in.got.Reoffered++
		}
		next.Outcome = nil
		return in.tx.SaveOp(&next)
	case op.State == OpQueued, op.State == OpReoffered:
		if !in.follow(&next) {
			return nil
		}
		return in.tx.SaveOp(&next)
	}
	in.follow(&next)
	in.got.Reoffered++
	return in.tx.SaveOp(&next)
}

// follow makes an op need those before it that the server has lost, on the records
// that it writes or names: it must not come before them. It reports whether that is
// news, and counts the op in.
func (in *intake) follow(op *Op) bool {
	on := slices.Clone(op.Records)
	if len(in.lost) > 0 {
		c := &tandemv1.Change{}
		if proto.Unmarshal(op.Raw, c) == nil {
			for _, w := range c.GetRecords() {
				on = append(on, references(w)...)
			}
		}
	}
	news := false
	op.Needs = slices.Clone(op.Needs)
	for _, id := range on {
		if n := in.lost[id]; n != 0 && n != op.Number && !slices.Contains(op.Needs, n) {
			op.Needs, news = append(op.Needs, n), true
		}
	}
	slices.Sort(op.Needs)
	for _, id := range op.Records {
		in.lost[id] = op.Number
	}
	return news
}

// reissue offers again what earlier replicas of this store had sent: whether the
// server still has it cannot be seen from the ranges of this one.
func (in *intake) reissue() error {
	after := uint64(0)
	for {
		old, err := in.tx.Retired(after, 256)
		if err != nil {
			return err
		}
		for _, r := range old {
			after = r.N
			if r.State == OpDamaged {
				continue
			}
			op := r.Op
			op.State, op.Needs = OpReoffered, nil
			op.Number = in.st.NextOp
			in.follow(&op)
			if err := rewrap(in.tx, &in.st, &op); err != nil {
				return err
			}
			in.got.Reoffered++
			if err := in.tx.Reissued(r.N); err != nil {
				return err
			}
		}
		if len(old) < 256 {
			return nil
		}
	}
}

// remap returns the ops of a list under their new numbers; those without one go.
func remap(ops []uint64, renumbered map[uint64]uint64) (out []uint64) {
	for _, n := range ops {
		if now := renumbered[n]; now != 0 {
			out = append(out, now)
		}
	}
	slices.Sort(out)
	return out
}

// rewrap puts a change into an envelope of its own under the next op number of st,
// and into the outbox: same bytes, same id.
func rewrap(tx DeviceTx, st *DeviceState, op *Op) error {
	op.Number, op.Prev = st.NextOp, st.LastHash
	op.Envelope = HashEnvelope(st.Replica, op.Number, op.Prev, sha256.Sum256(op.Raw))
	if op.Outcome != nil {
		op.Outcome = proto.CloneOf(op.Outcome)
		op.Outcome.Op = op.Number
	}
	st.NextOp, st.LastHash = op.Number+1, op.Envelope
	return tx.AddOp(op)
}

// Reinstance makes the store that of a new replica: every own change that is not
// part of the server's state here goes into a new envelope, from op 1 on, under its
// old id, and nothing that screens show changes. The old numbers stay as history.
// It is for a store that is forked ([DeviceState].Forked); the server must know the
// new replica.
func (d *Device) Reinstance(tx DeviceTx, replica ID) error {
	st, err := tx.State()
	if err != nil {
		return err
	}
	scopes, err := tx.Scopes()
	if err != nil {
		return err
	}
	was := st.Replica
	in := &intake{d: d, tx: tx, st: *st, before: scopes, scopes: slices.Clone(scopes), got: &Received{}}
	if err := in.setRottenAside(); err != nil {
		return err
	}
	if err := tx.Retire(was); err != nil {
		return err
	}
	in.st.Replica, in.st.NextOp, in.st.LastHash, in.st.KnownOp = replica, 1, Hash{}, 0
	in.st.Forked, in.st.Unconfirmed, in.st.KeptFrom, in.st.OldestKept = false, true, 1, 1
	if err := tx.SaveState(&in.st); err != nil {
		return err
	}
	in.lost = map[ID]uint64{}
	renumbered := map[uint64]uint64{}
	after := uint64(0)
	for {
		old, err := tx.Retired(after, 256)
		if err != nil {
			return err
		}
		for _, r := range old {
			after = r.N
			// Where the server was ever set back, the ranges of a forked replica do not
			// tell whose ops it holds, this store's or the other's.
			if r.Replica != was || r.State == OpDamaged || (r.State == OpSettled && len(st.Past) == 0) {
				continue
			}
			op := r.Op
			switch r.State {
			case OpQueued, OpApplied:
				op.State, op.Outcome = OpQueued, nil
			default:
				op.State = OpReoffered
			}
			op.Needs = remap(op.Needs, renumbered)
			op.Number = in.st.NextOp
			in.follow(&op)
			if err := rewrap(tx, &in.st, &op); err != nil {
				return err
			}
			renumbered[r.Number] = op.Number
			if err := tx.Reissued(r.N); err != nil {
				return err
			}
		}
		if len(old) < 256 {
			break
		}
	}
	if err := in.astray(); err != nil {
		return err
	}
	// They were sealed for the former replica.
	in.st.Repair.From, in.st.ToldAt = nil, nil
	return in.end()
}

// keep lets the bytes of a change stay after it has settled, so that they can be
// offered again to a server that has lost it: as many as the device keeps, the
// newest. What is kept elsewhere, or is safe otherwise, would be let go here.
func (in *intake) keep(op *Op) error {
	in.st.KeptBytes += uint64(len(op.Raw))
	limit := in.d.Keep
	if limit == 0 {
		limit = KeptBytes
	}
	for in.st.KeptBytes > limit {
		size, err := in.letGo()
		if err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
		in.st.KeptBytes -= min(in.st.KeptBytes, size)
	}
	return nil
}

// letGo removes the bytes of the oldest settled change that has any, and returns how
// many those were; 0 where there is none.
func (in *intake) letGo() (uint64, error) {
	// Damaged ones stay: they may be all that there is. Where the others are gone they are
	// for as long as this answer is taken in.
	for after, more := uint64(0), !in.outlived; more; {
		old, err := in.tx.Retired(after, 64)
		if err != nil {
			return 0, err
		}
		for _, r := range old {
			if after = r.N; r.State != OpDamaged {
				return uint64(len(r.Raw)), in.tx.Reissued(r.N)
			}
		}
		more = len(old) == 64
	}
	in.outlived = true
	for n := max(in.st.KeptFrom, 1); n < in.st.NextOp; n++ {
		op, err := in.tx.Op(n)
		if err != nil {
			return 0, err
		}
		in.st.KeptFrom = n + 1
		if op == nil || op.State != OpSettled || len(op.Raw) == 0 {
			continue
		}
		in.st.OldestKept = max(in.st.OldestKept, n+1)
		next := *op
		next.Raw = nil
		return uint64(len(op.Raw)), in.tx.SaveOp(&next)
	}
	return 0, nil
}

// release lets go of the kept bytes of changes to records that the device may hold
// no more.
func (in *intake) release() error {
	if len(in.left) == 0 || in.st.KeptBytes == 0 {
		return nil
	}
	size, newest, err := in.tx.Forget(in.left)
	if err != nil {
		return err
	}
	in.st.KeptBytes -= min(in.st.KeptBytes, size)
	in.st.OldestKept = max(in.st.OldestKept, newest+1)
	return nil
}

// stale reports whether an answer to a comparison is of another epoch.
func (in *intake) stale(epoch []byte) bool { return !bytes.Equal(epoch, in.st.Epoch[:]) }
