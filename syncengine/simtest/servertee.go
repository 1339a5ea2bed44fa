package simtest

import (
	"slices"

	"github.com/tandem-response/tandem/syncengine"
)

// serverTee is a transaction on two stores of a server.
type serverTee struct {
	viewTee

	tx syncengine.ServerTx
}

var (
	_ syncengine.DeviceTx   = (*deviceTee)(nil)
	_ syncengine.ServerTx   = (*serverTee)(nil)
	_ syncengine.PageReader = (*serverTee)(nil)
)

// Prefetch implements syncengine.ServerTx.
func (t *serverTee) Prefetch(changes, records, named []syncengine.ID) error {
	return first(t.tx.Prefetch(changes, records, named), t.world.Prefetch(changes, records, named))
}

// Change implements syncengine.ServerTx.
func (t *serverTee) Change(id syncengine.ID) (*syncengine.StoredChange, error) {
	a, aerr := t.tx.Change(id)
	b, berr := t.world.Change(id)
	return both(t.m, "a change", bodiless(a), aerr, bodiless(b), berr)
}

// ChangeByStamp implements syncengine.ServerTx.
func (t *serverTee) ChangeByStamp(stamp syncengine.Stamp) (*syncengine.StoredChange, error) {
	a, aerr := t.tx.ChangeByStamp(stamp)
	b, berr := t.world.ChangeByStamp(stamp)
	return both(t.m, "a change by stamp", a, aerr, b, berr)
}

// ChangeByOp implements syncengine.ServerTx.
func (t *serverTee) ChangeByOp(replica syncengine.ID, op uint64) (*syncengine.StoredChange, error) {
	a, aerr := t.tx.ChangeByOp(replica, op)
	b, berr := t.world.ChangeByOp(replica, op)
	return both(t.m, "a change by number", underOp(a), aerr, underOp(b), berr)
}

// SaveChange implements syncengine.ServerTx.
func (t *serverTee) SaveChange(c *syncengine.StoredChange) error {
	return first(t.tx.SaveChange(c), t.world.SaveChange(c))
}

// SaveReplica implements syncengine.ServerTx.
func (t *serverTee) SaveReplica(r *syncengine.Replica) error {
	return first(t.tx.SaveReplica(r), t.world.SaveReplica(r))
}

// SaveRecord implements syncengine.ServerTx.
func (t *serverTee) SaveRecord(r *syncengine.StoredRecord) error {
	return first(t.tx.SaveRecord(r), t.world.SaveRecord(r))
}

// SaveMember implements syncengine.ServerTx.
func (t *serverTee) SaveMember(scope syncengine.ScopeKey, row syncengine.Member) error {
	return first(t.tx.SaveMember(scope, row), t.world.SaveMember(scope, row))
}

// AddDigest implements syncengine.ServerTx.
func (t *serverTee) AddDigest(scope syncengine.ScopeKey, bucket byte, delta syncengine.Sum) error {
	return first(t.tx.AddDigest(scope, bucket, delta), t.world.AddDigest(scope, bucket, delta))
}

// Awaited implements syncengine.ServerTx.
func (t *serverTee) Awaited(record syncengine.ID, p syncengine.Path, stamp syncengine.Stamp) (bool, error) {
	a, aerr := t.tx.Awaited(record, p, stamp)
	b, berr := t.world.Awaited(record, p, stamp)
	return both(t.m, "whether a stamp is awaited", a, aerr, b, berr)
}

// Await implements syncengine.ServerTx.
func (t *serverTee) Await(record syncengine.ID, p syncengine.Path, stamp syncengine.Stamp) error {
	return first(t.tx.Await(record, p, stamp), t.world.Await(record, p, stamp))
}

// Teams implements syncengine.ServerTx.
func (t *serverTee) Teams(follower syncengine.ID) ([]syncengine.ID, error) {
	a, aerr := t.tx.Teams(follower)
	b, berr := t.world.Teams(follower)
	return both(t.m, "the teams of a follower", inOrder(a), aerr, inOrder(b), berr)
}

// Follow implements syncengine.ServerTx.
func (t *serverTee) Follow(follower, team syncengine.ID) error {
	return first(t.tx.Follow(follower, team), t.world.Follow(follower, team))
}

// Link implements syncengine.ServerTx.
func (t *serverTee) Link(to, record syncengine.ID) error {
	return first(t.tx.Link(to, record), t.world.Link(to, record))
}

// OpenItem implements syncengine.ServerTx.
func (t *serverTee) OpenItem(record syncengine.ID, item syncengine.Item, seq uint64) error {
	return first(t.tx.OpenItem(record, item, seq), t.world.OpenItem(record, item, seq))
}

// CloseItems implements syncengine.ServerTx.
func (t *serverTee) CloseItems(record syncengine.ID, p syncengine.Path, seq uint64) error {
	return first(t.tx.CloseItems(record, p, seq), t.world.CloseItems(record, p, seq))
}

// Quarantine implements syncengine.ServerTx.
func (t *serverTee) Quarantine(c *syncengine.StoredChange, targets []syncengine.ID) error {
	return first(t.tx.Quarantine(c, targets), t.world.Quarantine(c, targets))
}

// QuarantinedByStamp implements syncengine.ServerTx.
func (t *serverTee) QuarantinedByStamp(stamp syncengine.Stamp) (*syncengine.StoredChange, error) {
	a, aerr := t.tx.QuarantinedByStamp(stamp)
	b, berr := t.world.QuarantinedByStamp(stamp)
	return both(t.m, "a change in quarantine", a, aerr, b, berr)
}

// SetHead implements syncengine.ServerTx.
func (t *serverTee) SetHead(h syncengine.HistoryHead) error {
	return first(t.tx.SetHead(h), t.world.SetHead(h))
}

// Reissue implements syncengine.ServerTx.
func (t *serverTee) Reissue(c *syncengine.StoredChange) error {
	return first(t.tx.Reissue(c), t.world.Reissue(c))
}

// NewEpoch implements syncengine.ServerTx.
func (t *serverTee) NewEpoch(h syncengine.HistoryHead, earlier ...syncengine.ID) error {
	return first(t.tx.NewEpoch(h, earlier...), t.world.NewEpoch(h, earlier...))
}

// Prune implements syncengine.ServerTx.
func (t *serverTee) Prune(before uint64) error {
	return first(t.tx.Prune(before), t.world.Prune(before))
}

// Holders implements syncengine.ServerTx.
func (t *serverTee) Holders(change syncengine.ID) ([]syncengine.Holder, error) {
	a, aerr := t.tx.Holders(change)
	b, berr := t.world.Holders(change)
	return both(t.m, "the holders of a change", a, aerr, b, berr)
}

// Hold implements syncengine.ServerTx.
func (t *serverTee) Hold(g *syncengine.HeldGrant) error {
	return first(t.tx.Hold(g), t.world.Hold(g))
}

// AddHolder implements syncengine.ServerTx.
func (t *serverTee) AddHolder(change syncengine.ID, h syncengine.Holder) error {
	return first(t.tx.AddHolder(change, h), t.world.AddHolder(change, h))
}

// Revise implements syncengine.ServerTx.
func (t *serverTee) Revise(change syncengine.ID, h syncengine.Holder, seq uint64) error {
	return first(t.tx.Revise(change, h, seq), t.world.Revise(change, h, seq))
}

// SaveAct implements syncengine.ServerTx.
func (t *serverTee) SaveAct(a *syncengine.QuarantineAct) error {
	return first(t.tx.SaveAct(a), t.world.SaveAct(a))
}

// use is what QuarantineUse returns.
type use struct {
	count int
	bytes int64
}

// QuarantineUse implements syncengine.ServerTx.
func (t *serverTee) QuarantineUse(replica syncengine.ID) (count int, bytes int64, err error) {
	var a, b use
	var aerr, berr error
	a.count, a.bytes, aerr = t.tx.QuarantineUse(replica)
	b.count, b.bytes, berr = t.world.QuarantineUse(replica)
	u, err := both(t.m, "the use of quarantine", a, aerr, b, berr)
	return u.count, u.bytes, err
}

// bodiless is a change without its body, which may be left out.
func bodiless(c *syncengine.StoredChange) *syncengine.StoredChange {
	if c == nil {
		return nil
	}
	out := *c
	out.Body = nil
	return &out
}

// underOp is a change without its body, and with its verdict as it is asked for: a
// reissued one may have that under either of its numbers.
func underOp(c *syncengine.StoredChange) *syncengine.StoredChange {
	if out := bodiless(c); out != nil && out.Outcome != nil {
		short := out.Envelope.Short()
		out.Outcome = withOp(out.Outcome, out.Op, short[:])
		return out
	}
	return bodiless(c)
}

func inOrder(ids []syncengine.ID) []syncengine.ID {
	return slices.SortedFunc(slices.Values(ids), syncengine.ID.Compare)
}
