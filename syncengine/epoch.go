package syncengine

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// KeptSequences is for how many sequences a server keeps its commits and the rows
// of what has left a scope, and by how much the sequences of a new epoch lie higher.
const KeptSequences = 1 << 20

func (s *Server) kept() uint64 {
	if s.Kept != 0 {
		return s.Kept
	}
	return KeptSequences
}

// continues reports whether the history goes on from a position; where not, the
// device reconciles. The error is ErrReverted where the position proves that the
// server was set back: it is sealed, so this server gave it out, and its history
// has no such place although it should.
func (s *Server) continues(view ServerView, head HistoryHead, p Position) (bool, error) {
	if p == (Position{}) {
		return true, nil
	}
	if p.Epoch != head.Epoch {
		earlier, err := view.EarlierEpoch(p.Epoch)
		if err == nil && !earlier {
			err = ErrReverted
		}
		return false, err
	}
	kept := s.kept()
	switch {
	case p.At > head.Seq:
		return false, ErrReverted
	case p.Since+kept < head.Seq:
		return false, nil
	case p.At == 0:
		return true, nil
	}
	hash := head.Hash
	if p.At != head.Seq {
		_, at, ok, err := view.CommitAt(p.At)
		if err != nil {
			return false, err
		}
		if !ok {
			return false, ErrReverted
		}
		hash = at
	}
	if hash.Short() != p.Commit {
		return false, ErrReverted
	}
	return true, nil
}

// reconciles reports whether a position of the ready scopes is that of a
// reconciliation: the device is at a place of the history, and not known to hold what
// was there.
func (p Position) reconciles() bool { return p.Cut == 0 && p.At > 0 }

// lastID stands behind every record of a sequence.
var lastID = ID(bytes.Repeat([]byte{0xff}, len(ID{})))

// NewEpoch makes the id of an epoch: random, and with a proof in it that it is this
// org's own. A device that names one which the server does not know proves that the
// server was set back.
func (s *Secrets) NewEpoch(rand io.Reader) (ID, error) {
	var id ID
	if _, err := io.ReadFull(rand, id[:epochRandom]); err != nil {
		return ID{}, fmt.Errorf("making an epoch: %w", err)
	}
	copy(id[epochRandom:], s.epochProof(id))
	return id, nil
}

// epochRandom is how many bytes of an epoch's id are random; the rest is the proof.
const epochRandom = 8

func (s *Secrets) epochProof(id ID) []byte {
	mac := hmac.New(sha256.New, s.derive)
	mac.Write([]byte("epoch"))
	mac.Write(id[:epochRandom])
	return mac.Sum(nil)[:len(id)-epochRandom]
}

// claims reports whether a request stands in an epoch that was this org's and that
// its history does not know.
func (s *Server) claims(view ServerView, head HistoryHead, epoch []byte) (bool, error) {
	id, ok := IDFromBytes(epoch)
	if !ok || id == head.Epoch || !hmac.Equal(s.Secrets.epochProof(id), id[epochRandom:]) {
		return false, nil
	}
	earlier, err := view.EarlierEpoch(id)
	return err == nil && !earlier, err
}

// NextEpoch returns the head of a new epoch after h. Its sequences lie so much
// higher that none is used twice, whatever the old history had come to.
func NextEpoch(h HistoryHead, epoch ID) HistoryHead {
	hash := sha256.New()
	hash.Write([]byte("tandem-epoch-v1"))
	hash.Write(h.Hash[:])
	hash.Write(epoch[:])
	return HistoryHead{Epoch: epoch, Seq: h.Seq + KeptSequences, Hash: Hash(hash.Sum(nil)), Recovering: true}
}

// Mint begins a new epoch where a request proves that the server was set back, and
// reports whether it did: another request may have come first. The epochs that the
// request names are known from then on.
func (s *Server) Mint(tx ServerTx, replica ID, req *tandemv1.SyncRequest, epoch ID) (bool, error) {
	head, err := tx.Head()
	if err != nil {
		return false, err
	}
	reverted, err := s.claims(tx, head, req.GetEpoch())
	if err != nil {
		return false, err
	}
	earlier := []ID{head.Epoch}
	if reverted {
		earlier = append(earlier, ID(req.GetEpoch()))
	}
	for _, sp := range req.GetPositions() {
		pos, err := s.Secrets.Open(replica, sp.GetPosition())
		if err != nil {
			return false, err
		}
		_, err = s.continues(tx, head, pos)
		switch {
		case err == ErrReverted: //nolint:errorlint // It is the engine's own, and never wrapped.
			reverted = true
			if !slices.Contains(earlier, pos.Epoch) {
				earlier = append(earlier, pos.Epoch)
			}
		case err != nil:
			return false, err
		}
	}
	for _, pos := range s.tellers(replica, req) {
		_, err = s.continues(tx, head, pos)
		switch {
		case err == ErrReverted: //nolint:errorlint // It is the engine's own, and never wrapped.
			reverted = true
			if !slices.Contains(earlier, pos.Epoch) {
				earlier = append(earlier, pos.Epoch)
			}
		case err != nil:
			return false, err
		}
	}
	if !reverted {
		return false, nil
	}
	return true, tx.NewEpoch(NextEpoch(head, epoch), earlier...)
}

// reports tells whether what a request says of its device is news: it is in this
// epoch for the first time, or has nothing left to offer again.
func reports(head HistoryHead, r *Replica, req *tandemv1.SyncRequest) bool {
	if !bytes.Equal(req.GetEpoch(), head.Epoch[:]) {
		return false
	}
	if r.Epoch != head.Epoch {
		return true
	}
	if r.Waits == 0 {
		return false
	}
	waits, _ := missing(r, req)
	return waits == 0
}

// Report notes where a device stands in the present epoch: how much it has still to
// offer, and what of it cannot come any more.
func (s *Server) Report(tx ServerTx, replica ID, req *tandemv1.SyncRequest) error {
	head, err := tx.Head()
	if err != nil {
		return err
	}
	stored, err := tx.Replica(replica)
	if err != nil || stored == nil || !reports(head, stored, req) {
		return err
	}
	r := *stored
	r.Epoch = head.Epoch
	r.Waits, r.Lost = missing(&r, req)
	return tx.SaveReplica(&r)
}

// missing returns how many ops of a replica are not here and can still come, and
// which cannot.
func missing(r *Replica, req *tandemv1.SyncRequest) (waits uint64, lost []OpRange) {
	oldest := req.GetOldestKept()
	if oldest == 0 {
		return 0, nil
	}
	for _, gap := range gaps(r.Ranges, min(req.GetNewestOp(), maxReported)) {
		if gap.First < oldest {
			lost = append(lost, OpRange{First: gap.First, Last: min(gap.Last, oldest-1)})
		}
		if gap.Last >= oldest {
			waits += gap.Last - max(gap.First, oldest) + 1
		}
	}
	return waits, lost
}

// maxReported bounds the op numbers of a report.
const maxReported = 1 << 40

// Adopt makes an entry for a replica that shows a certificate of this org and is not
// known here: the server was set back to before its enrolment. r says who it is; it is
// write-only until somebody confirms it. Where the history that it comes from is not
// known to have been lost, a new epoch begins. claimed is the epoch of its request,
// zero for none.
func (s *Server) Adopt(tx ServerTx, r *Replica, claimed, epoch ID) (minted bool, err error) {
	if known, err := tx.Replica(r.ID); err != nil || known != nil {
		return false, err
	}
	head, err := tx.Head()
	if err != nil {
		return false, err
	}
	expected := head.Recovering
	if !expected && !claimed.IsZero() && claimed != head.Epoch {
		if expected, err = tx.EarlierEpoch(claimed); err != nil {
			return false, err
		}
	}
	adopted := *r
	adopted.Unconfirmed, adopted.Recovered = true, true
	if err := tx.SaveReplica(&adopted); err != nil || expected {
		return false, err
	}
	earlier := []ID{head.Epoch}
	if !claimed.IsZero() && claimed != head.Epoch {
		earlier = append(earlier, claimed)
	}
	return true, tx.NewEpoch(NextEpoch(head, epoch), earlier...)
}
