package syncengine

import (
	"bytes"
	"encoding/binary"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// RepairStage is how far a reconciliation has come.
type RepairStage uint8

// The stages of a reconciliation. Compared first are whole scopes, then the buckets
// of those that differ; rows that are missing or differ are fetched as they are
// found, and a closing page ends it.
const (
	// RepairNone: there is none.
	RepairNone RepairStage = iota
	// RepairTotals: the digests of scopes are to be compared.
	RepairTotals
	// RepairBuckets: the sums of buckets.
	RepairBuckets
	// RepairRows: all is compared; what has changed since is being read.
	RepairRows
)

// Repair is a reconciliation: the device compares what it holds of its ready scopes
// with the server's, because it does not know to stand where the server goes on.
type Repair struct {
	Stage RepairStage
	// From is where the device stood before; a server that was set back is told by it.
	From []byte
	// Scopes are those that differ, Next the first bucket not yet compared.
	Scopes []ScopeID
	Next   uint16
	// Tries counts reconciliations one after another that left a difference.
	Tries uint8
	// Found counts the rows that had to be fetched or dropped.
	Found uint64
}

// comparing reports whether the device does not know yet what it lacks.
func (r *Repair) comparing() bool { return r.Stage == RepairTotals || r.Stage == RepairBuckets }

func (in *intake) comparing() bool { return in.st.Repair.comparing() }

// maxTries is how often a difference is mended before a person has to look at it.
const maxTries = 3

// window is how many buckets are compared at once.
const window = 64

// astray drops all positions: what the ready scopes hold is to be compared with the
// server's, and what had not been shown yet is read from the start.
func (in *intake) astray() error {
	from := in.st.Staged
	if in.comparing() && from == nil {
		from = in.st.Repair.From
	}
	in.st.Staged, in.st.Want, in.st.VerifiedMS = nil, nil, 0
	in.got.More = true
	if err := in.tx.Unstage(); err != nil {
		return err
	}
	ready := false
	for i := range in.scopes {
		if in.scopes[i].Ready {
			ready = true
			continue
		}
		if err := in.restart(&in.scopes[i]); err != nil {
			return err
		}
	}
	if err := in.unread(); err != nil {
		return err
	}
	tries := in.st.Repair.Tries
	in.st.Repair = Repair{}
	if ready {
		in.got.Astray = true
		in.st.Repair = Repair{Stage: RepairTotals, Tries: tries, From: from}
	} else {
		in.attest(from)
	}
	return nil
}

// restart takes back what has been read of a scope in backfill.
func (in *intake) restart(s *DeviceScope) error {
	s.Position = nil
	var after ID
	for {
		ids, err := in.tx.InScope(s.Bit, after, 256)
		if err != nil {
			return err
		}
		for _, id := range ids {
			after = id
			rec, err := in.tx.Record(id)
			if err != nil {
				return err
			}
			if rec == nil {
				continue
			}
			rest := rec.Scopes &^ (1 << s.Bit)
			if rest == 0 {
				if err := in.rebase(id, rec); err != nil {
					return err
				}
				continue
			}
			in.account(rec, -1)
			next := *rec
			next.Scopes = rest
			in.account(&next, +1)
			if err := in.tx.SaveRecord(&next); err != nil {
				return err
			}
		}
		if len(ids) < 256 {
			return nil
		}
	}
}

// unread lets the changes that are offered again stand on their records as before they
// were applied, where the state of those that had them is to be read again.
func (in *intake) unread() error {
	after := uint64(0)
	for {
		ops, err := in.tx.OpsIn(OpReoffered, after, 1000)
		if err != nil {
			return err
		}
		for _, op := range ops {
			after = op.Number
			if op.Outcome == nil || !isApplied(op.Outcome) {
				continue
			}
			based, err := in.based(op)
			if err != nil {
				return err
			}
			if based {
				continue
			}
			next := *op
			next.State, next.Outcome = OpQueued, nil
			in.st.KeptBytes -= min(in.st.KeptBytes, uint64(len(op.Raw)))
			if err := in.tx.SaveOp(&next); err != nil {
				return err
			}
			for _, id := range op.Records {
				if err := in.rebuild(id); err != nil {
					return err
				}
			}
		}
		if len(ops) < 1000 {
			return nil
		}
	}
}

// based reports whether the server's state of every record that an op writes is here.
func (in *intake) based(op *Op) (bool, error) {
	for _, id := range op.Records {
		rec, err := in.tx.Record(id)
		if err != nil || rec == nil || !rec.HasBase {
			return false, err
		}
	}
	return true, nil
}

// judge ends a reconciliation at its cut, and begins one where a cut shows a
// difference.
func (in *intake) judge() error {
	repair := &in.st.Repair
	switch {
	case repair.Stage == RepairRows && len(in.got.Differing) == 0:
		in.got.Repaired = true
		*repair = Repair{}
	case len(in.got.Differing) == 0:
	case repair.Tries >= maxTries:
		*repair = Repair{Tries: repair.Tries}
	default:
		repair.Tries++
		return in.astray()
	}
	return nil
}

// Repair has everything that the device holds compared with the server's, as after a
// difference.
func (d *Device) Repair(tx DeviceTx) error {
	st, err := tx.State()
	if err != nil {
		return err
	}
	scopes, err := tx.Scopes()
	if err != nil {
		return err
	}
	in := &intake{d: d, tx: tx, st: *st, before: scopes, scopes: slices.Clone(scopes), got: &Received{}}
	in.st.Repair.Tries = 0
	if err := in.astray(); err != nil {
		return err
	}
	return in.end()
}

// PlanReconcile builds the next request of a reconciliation; nil where none is due:
// there is no reconciliation, rows that it has found are still to be fetched, changes
// are to be offered again first, or the server serves no pages to this replica.
func (d *Device) PlanReconcile(tx DeviceTx, budget uint32) (*tandemv1.ReconcileRequest, error) {
	st, err := tx.State()
	if err != nil {
		return nil, err
	}
	if !st.Repair.comparing() || len(st.Want) > 0 || st.Forked || st.Unconfirmed || st.Recovering {
		return nil, nil
	}
	lost, err := tx.OpsIn(OpReoffered, 0, 1)
	if err != nil || len(lost) > 0 {
		return nil, err
	}
	scopes, err := tx.Scopes()
	if err != nil {
		return nil, err
	}
	now := &tandemv1.SyncRequest{}
	stand(now, st, scopes)
	req := &tandemv1.ReconcileRequest{
		Epoch: bytes.Clone(st.Epoch[:]), ScopeSet: now.GetScopeSet(), Budget: budget, Schema: Schema, Position: st.Repair.From,
	}
	first, last := byte(0), byte(255)
	if st.Repair.Stage == RepairBuckets {
		req.First = uint32(st.Repair.Next)
		first, last = byte(st.Repair.Next), byte(min(int(st.Repair.Next)+window, 256)-1)
	}
	for i := range scopes {
		s := &scopes[i]
		if !s.Ready || (st.Repair.Stage == RepairBuckets && !slices.Contains(st.Repair.Scopes, s.ID)) {
			continue
		}
		held, err := tx.Holdings(s.Bit, first, last)
		if err != nil {
			return nil, err
		}
		var sums Digest
		for _, h := range held {
			b := Bucket(h.Record)
			sums[b] = sums[b].Add(Term(h.Record, h.Hash))
		}
		out := &tandemv1.ScopeBuckets{Scope: bytes.Clone(s.ID[:])}
		if st.Repair.Stage == RepairTotals {
			out.Total = sums.Total().Bytes()
		} else {
			for b := int(first); b <= int(last); b++ {
				out.Sums = append(out.Sums, sums[b].Bytes()...)
			}
		}
		req.Scopes = append(req.Scopes, out)
	}
	return req, nil
}

// ReceiveReconcile takes in a complete comparison, in one transaction: what is found
// to be missing or different is wanted, and comes with the next pages. One that comes
// late or twice is dropped.
func (d *Device) ReceiveReconcile(tx DeviceTx, req *tandemv1.ReconcileRequest, ans *tandemv1.ReconcileAnswer) (*Received, error) {
	st, err := tx.State()
	if err != nil {
		return nil, err
	}
	scopes, err := tx.Scopes()
	if err != nil {
		return nil, err
	}
	in := &intake{d: d, tx: tx, st: *st, before: scopes, scopes: slices.Clone(scopes), got: &Received{More: true}}
	in.st.Want = slices.Clone(st.Want)
	in.st.Repair.Scopes = slices.Clone(st.Repair.Scopes)
	now := &tandemv1.SyncRequest{}
	stand(now, st, scopes)
	repair := &in.st.Repair
	wantSums := repair.Stage == RepairBuckets
	switch {
	case in.stale(ans.GetEpoch()) || in.stale(req.GetEpoch()) || !bytes.Equal(req.GetScopeSet(), now.GetScopeSet()),
		!repair.comparing() || len(st.Want) > 0 || uint16(req.GetFirst()) != repair.Next,
		len(req.GetScopes()) > 0 && wantSums != (len(req.GetScopes()[0].GetSums()) > 0):
		in.got.Dropped = true
		return in.got, nil
	case ans.GetScopeSet() != nil:
		if err := in.scopeSet(ans.GetScopeSet()); err != nil {
			return nil, err
		}
		return in.got, in.end()
	case len(ans.GetPosition()) == 0:
		// The server compares nothing now; the next answer of a sync says why.
		in.got.Dropped = true
		return in.got, nil
	}
	if wantSums {
		err = in.compare(req, ans)
	} else {
		err = in.totals(ans)
	}
	if err != nil {
		return nil, err
	}
	return in.got, in.end()
}

// totals notes which scopes differ, and where the comparison stands: the device goes
// on from there once it has what it lacks.
func (in *intake) totals(ans *tandemv1.ReconcileAnswer) error {
	repair := &in.st.Repair
	in.st.Staged, repair.From = ans.GetPosition(), nil
	for _, sh := range ans.GetScopes() {
		if len(sh.GetScope()) != len(ScopeID{}) {
			return ErrIncomplete
		}
		if s := in.scope(ScopeID(sh.GetScope())); s != nil && s.Ready {
			repair.Scopes = append(repair.Scopes, s.ID)
		}
	}
	for i := range in.scopes {
		// The sums that are kept count from here: whatever is wrong with them ends.
		held, err := in.tx.Holdings(in.scopes[i].Bit, 0, 255)
		if err != nil {
			return err
		}
		in.scopes[i].Sum = Sum{}
		for _, h := range held {
			in.scopes[i].Sum = in.scopes[i].Sum.Add(Term(h.Record, h.Hash))
			if h.Base == h.Hash {
				continue
			}
			rec, err := in.tx.Record(h.Record)
			if err != nil {
				return err
			}
			// The bytes are what was compared.
			next := *rec
			next.BaseHash, next.Conflicts = h.Hash, in.d.conflicts(&next.Record)
			if err := in.tx.SaveRecord(&next); err != nil {
				return err
			}
		}
	}
	repair.Stage, repair.Next = RepairBuckets, 0
	if len(repair.Scopes) == 0 {
		repair.Stage = RepairRows
	}
	return nil
}

// compare finds what differs in the buckets that were compared. A record that the
// device holds and the server does not list is wanted as well: the answer is where
// it is now, or that it is gone.
func (in *intake) compare(req *tandemv1.ReconcileRequest, ans *tandemv1.ReconcileAnswer) error {
	repair := &in.st.Repair
	first, until := int(req.GetFirst()), int(ans.GetUntil())
	if until <= first || until > 256 {
		return ErrIncomplete
	}
	want := map[ID]bool{}
	for _, sh := range ans.GetScopes() {
		if len(sh.GetScope()) != len(ScopeID{}) || len(sh.GetRows())%heldSize != 0 {
			return ErrIncomplete
		}
		s := in.scope(ScopeID(sh.GetScope()))
		if s == nil || !s.Ready {
			continue
		}
		here := map[ID]RowHash{}
		held, err := in.tx.Holdings(s.Bit, byte(first), byte(until-1))
		if err != nil {
			return err
		}
		for _, h := range held {
			if bytes.IndexByte(sh.GetBuckets(), Bucket(h.Record)) >= 0 {
				here[h.Record] = h.Hash
			}
		}
		for rows := sh.GetRows(); len(rows) > 0; rows = rows[heldSize:] {
			id, hash := ID(rows[:len(ID{})]), RowHash(binary.BigEndian.Uint64(rows[len(ID{}):heldSize]))
			if mine, ok := here[id]; !ok || mine != hash {
				want[id] = true
			}
			delete(here, id)
		}
		for id := range here {
			want[id] = true
		}
	}
	for id := range want {
		in.st.Want = append(in.st.Want, id)
	}
	slices.SortFunc(in.st.Want, ID.Compare)
	repair.Found += uint64(len(want))
	repair.Next = uint16(until)
	if until == 256 {
		repair.Stage = RepairRows
	}
	return nil
}
