package syncengine

import (
	"bytes"
	"encoding/binary"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Sizes of what a comparison sends, in bytes.
const (
	sumSize  = 16
	heldSize = len(ID{}) + 8
)

// Reconcile compares what a device says it holds of its scopes with what it may
// hold, in one snapshot and under the grants of that snapshot. It tells ids and
// hashes of rows that the device may have, and no state: that comes by Answer. count
// is what FrameReconcile needs.
func (s *Server) Reconcile(view ServerView, replica ID, req *tandemv1.ReconcileRequest, nowMS int64) (answer *tandemv1.ReconcileAnswer, count int, err error) {
	r, err := view.Replica(replica)
	if err != nil {
		return nil, 0, err
	}
	if r == nil {
		return nil, 0, ErrUnknownReplica
	}
	if r.Shut() {
		return nil, 0, ErrSuspended
	}
	if s.Proved != nil && !bytes.Equal(s.Proved, r.Key) {
		return nil, 0, ErrFormerKey
	}
	head, err := view.Head()
	if err != nil {
		return nil, 0, err
	}
	answer = &tandemv1.ReconcileAnswer{Epoch: bytes.Clone(head.Epoch[:]), ServerMs: nowMS}
	if head.Recovering || r.Revoked || r.Forked || r.Unconfirmed || !bytes.Equal(req.GetEpoch(), head.Epoch[:]) {
		return answer, 0, nil
	}
	at, err := s.Secrets.Open(replica, req.GetPosition())
	if err != nil {
		return nil, 0, err
	}
	if _, err := s.continues(view, head, at); err != nil {
		return nil, 0, err
	}
	p, err := s.Principal(view, r)
	if err != nil {
		return nil, 0, err
	}
	keys, held := map[ScopeID]ScopeKey{}, []ScopeID{}
	mayHold, _ := s.Holds(view.Org(), p)
	for _, k := range mayHold {
		id := s.Secrets.ScopeID(k)
		keys[id] = k
		held = append(held, id)
	}
	if !bytes.Equal(HashScopeSet(held), req.GetScopeSet()) {
		answer.ScopeSet = scopeSetOf(held, keys)
		return answer, 0, nil
	}
	answer.Position = s.Secrets.Seal(replica, Position{
		Epoch: head.Epoch, Seq: head.Seq, Record: lastID, Commit: head.Hash.Short(), Since: head.Seq, At: head.Seq,
	})
	c := &comparison{view: view, req: req, answer: answer}
	for _, b := range req.GetScopes() {
		if len(b.GetScope()) != len(ScopeID{}) || len(b.GetSums())%sumSize != 0 {
			return nil, 0, ErrPosition
		}
		if k, ok := keys[ScopeID(b.GetScope())]; ok {
			if err := c.add(k, b); err != nil {
				return nil, 0, err
			}
		}
	}
	if err := c.list(); err != nil {
		return nil, 0, err
	}
	return answer, len(answer.GetScopes()), nil
}

func scopeSetOf(held []ScopeID, keys map[ScopeID]ScopeKey) *tandemv1.ScopeSet {
	set := &tandemv1.ScopeSet{}
	for _, id := range held {
		k := keys[id]
		set.Scopes = append(set.Scopes, &tandemv1.Scope{Id: bytes.Clone(id[:]), Compartment: k.Compartment, Open: k.Open})
	}
	return set
}

// comparison is one call of Reconcile, once the device is let in.
type comparison struct {
	view   ServerView
	req    *tandemv1.ReconcileRequest
	answer *tandemv1.ReconcileAnswer
	// scopes that differ, with the differing buckets.
	scopes []differing
	// last is the last bucket that every scope has a sum for.
	last int
}

type differing struct {
	key     ScopeKey
	id      []byte
	buckets [256]bool
}

// add compares one scope.
func (c *comparison) add(k ScopeKey, b *tandemv1.ScopeBuckets) error {
	d, err := c.view.Digest(k)
	if err != nil {
		return err
	}
	first := int(c.req.GetFirst())
	if len(b.GetSums()) == 0 {
		if !bytes.Equal(d.Total().Bytes(), b.GetTotal()) {
			c.answer.Scopes = append(c.answer.Scopes, &tandemv1.ScopeHashes{Scope: b.GetScope()})
		}
		return nil
	}
	s := differing{key: k, id: b.GetScope()}
	last := first + len(b.GetSums())/sumSize - 1
	if last > 255 {
		return ErrPosition
	}
	for i := first; i <= last; i++ {
		s.buckets[i] = !bytes.Equal(d[i].Bytes(), b.GetSums()[(i-first)*sumSize:(i-first+1)*sumSize])
	}
	if len(c.scopes) == 0 || last < c.last {
		c.last = last
	}
	c.scopes = append(c.scopes, s)
	return nil
}

// list adds the hashes of the buckets that differ, bucket by bucket over all scopes,
// until the budget is spent: a record that has moved from one scope to another
// stands in both within the same answer.
func (c *comparison) list() error {
	if len(c.scopes) == 0 {
		c.answer.Until = 256
		return nil
	}
	first := int(c.req.GetFirst())
	rows := make([][256][]Held, len(c.scopes))
	for i := range c.scopes {
		from, to := -1, 0
		for b := first; b <= c.last; b++ {
			if c.scopes[i].buckets[b] {
				to = b
				if from < 0 {
					from = b
				}
			}
		}
		if from < 0 {
			continue
		}
		live, err := c.view.Live(c.scopes[i].key, byte(from), byte(to))
		if err != nil {
			return err
		}
		for _, h := range live {
			b := Bucket(h.Record)
			rows[i][b] = append(rows[i][b], h)
		}
	}
	out := make([]*tandemv1.ScopeHashes, len(c.scopes))
	budget := int(min(c.req.GetBudget(), MaxPage))
	spent := 0
	bucket := first
	for ; bucket <= c.last && (bucket == first || spent < budget); bucket++ {
		for i := range c.scopes {
			if !c.scopes[i].buckets[bucket] {
				continue
			}
			if out[i] == nil {
				out[i] = &tandemv1.ScopeHashes{Scope: c.scopes[i].id}
			}
			out[i].Buckets = append(out[i].Buckets, byte(bucket))
			for _, h := range rows[i][bucket] {
				out[i].Rows = append(out[i].Rows, h.Record[:]...)
				out[i].Rows = binary.BigEndian.AppendUint64(out[i].Rows, uint64(h.Hash))
				spent += heldSize
			}
		}
	}
	c.answer.Until = uint32(bucket)
	for _, s := range out {
		if s != nil {
			c.answer.Scopes = append(c.answer.Scopes, s)
		}
	}
	return nil
}

// FrameReconcile wraps an encoded comparison, as Frame does an answer.
func FrameReconcile(answer []byte, count int) *tandemv1.ReconcileResponse {
	f := Frame(answer, count)
	return &tandemv1.ReconcileResponse{Schema: f.GetSchema(), Answer: f.GetAnswer(), Count: f.GetCount(), Digest: f.GetDigest(), End: f.GetEnd()}
}

// UnframeReconcile returns the comparison of a complete response; the error is
// ErrIncomplete.
func UnframeReconcile(resp *tandemv1.ReconcileResponse) (*tandemv1.ReconcileAnswer, error) {
	answer := &tandemv1.ReconcileAnswer{}
	if err := open(resp, answer); err != nil {
		return nil, err
	}
	if len(answer.GetScopes()) != int(resp.GetCount()) {
		return nil, ErrIncomplete
	}
	return answer, nil
}
