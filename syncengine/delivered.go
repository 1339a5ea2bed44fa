package syncengine

import (
	"cmp"
	"crypto/ed25519"
	"slices"
)

// Delivered is a change of a replica as a third hand brings it, out of a sealed
// outbox.
type Delivered struct {
	Op uint64
	// Prev is the envelope hash of the op before, as the entry states it.
	Prev Hash
	// Signature by the replica's key over the envelope hash; nil where a later op
	// speaks for it.
	Signature []byte
	// Raw is the encoded change.
	Raw []byte
}

// DeliveredChange is a delivered change, decoded and judged alone.
type DeliveredChange struct {
	Prepared
	// Proved: it is the replica's own. One that is not must not be applied, and
	// shows no fork.
	Proved bool
}

// PrepareDelivered prepares delivered changes of one replica, in order of op. The
// same change twice is one. It reads nothing but its arguments: what only the change
// log can prove, [Batch.Prove] does.
func PrepareDelivered(rules Rules, replica ID, key ed25519.PublicKey, delivered []Delivered) []DeliveredChange {
	return PrepareDeliveredBy(rules, &Replica{ID: replica, Key: key}, delivered)
}

// PrepareDeliveredBy is PrepareDelivered for a replica that may have had other keys.
func PrepareDeliveredBy(rules Rules, r *Replica, delivered []Delivered) []DeliveredChange {
	out := make([]DeliveredChange, 0, len(delivered))
	at := map[Hash]int{}
	for i := range delivered {
		d := &delivered[i]
		if d.Op == 0 || d.Op > 1<<62 {
			continue
		}
		p := DeliveredChange{Prepared: prepareOne(rules, d.Raw)}
		p.Op, p.Prev = d.Op, d.Prev
		p.Hash = HashEnvelope(r.ID, p.Op, p.Prev, p.Body)
		signed := len(d.Signature) > 0 && r.Signed(p.Op, func(key ed25519.PublicKey) bool {
			return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, append([]byte(batchContext), p.Hash[:]...), d.Signature)
		})
		if known, ok := at[p.Hash]; ok {
			out[known].Proved = out[known].Proved || signed
			continue
		}
		p.Proved = signed
		at[p.Hash] = len(out)
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b DeliveredChange) int { return cmp.Compare(a.Op, b.Op) })
	chain(out)
	return out
}

// chain proves each change whose envelope hash a proved one names as that of the op
// before. They stand in order of op.
func chain(changes []DeliveredChange) {
	named := map[Hash]uint64{}
	for i := range slices.Backward(changes) {
		c := &changes[i]
		if op, ok := named[c.Hash]; ok && op == c.Op+1 {
			c.Proved = true
		}
		if c.Proved {
			named[c.Prev] = c.Op
		}
	}
}

// Prove proves by the change log what its neighbours could not: a change that the log
// holds itself, or whose envelope hash the op after it names there.
func (b *Batch) Prove(replica ID, changes []DeliveredChange) error {
	r, err := b.tx.Replica(replica)
	if err != nil || r == nil {
		return err
	}
	for i := range changes {
		c := &changes[i]
		if c.Proved {
			continue
		}
		if HoldsOp(r.Ranges, c.Op) {
			at, err := b.hashAt(r, c.Op)
			if err != nil {
				return err
			}
			c.Proved = at == c.Hash
			continue
		}
		if !HoldsOp(r.Ranges, c.Op+1) {
			continue
		}
		next, err := b.tx.ChangeByOp(replica, c.Op+1)
		if err != nil {
			return err
		}
		c.Proved = next != nil && next.Prev == c.Hash
	}
	chain(changes)
	return nil
}

// Rounds splits proved changes so that none holds an op twice: two changes under one
// op, both proved, show a fork, and the second is to be judged after the first.
func Rounds(changes []DeliveredChange) [][]Prepared {
	var rounds [][]Prepared
	times := map[uint64]int{}
	for i := range changes {
		if !changes[i].Proved {
			continue
		}
		n := times[changes[i].Op]
		times[changes[i].Op]++
		if n == len(rounds) {
			rounds = append(rounds, nil)
		}
		rounds[n] = append(rounds[n], changes[i].Prepared)
	}
	return rounds
}
