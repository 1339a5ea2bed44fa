package simtest

import (
	"bytes"
	"cmp"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// deviceTee is a transaction on two stores: the world's, which is embedded, and tx.
// What it reads is tx's.
type deviceTee struct {
	syncengine.DeviceTx

	m  *mirror
	tx syncengine.DeviceTx
}

// both returns what the product's store gave, compared, unless either failed.
func both[T any](m *mirror, what string, product T, perr error, world T, werr error) (T, error) {
	var none T
	switch {
	case perr != nil:
		return none, perr
	case werr != nil:
		return none, werr
	}
	check(m, what, product, world)
	if m.differs != nil {
		return none, m.differs
	}
	return product, nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// State implements syncengine.DeviceTx.
func (t *deviceTee) State() (*syncengine.DeviceState, error) {
	a, aerr := t.tx.State()
	b, berr := t.DeviceTx.State()
	return both(t.m, "the state", a, aerr, b, berr)
}

// SaveState implements syncengine.DeviceTx.
func (t *deviceTee) SaveState(s *syncengine.DeviceState) error {
	return first(t.tx.SaveState(s), t.DeviceTx.SaveState(s))
}

// Scopes implements syncengine.DeviceTx.
func (t *deviceTee) Scopes() ([]syncengine.DeviceScope, error) {
	a, aerr := t.tx.Scopes()
	b, berr := t.DeviceTx.Scopes()
	return both(t.m, "the scopes", a, aerr, b, berr)
}

// SaveScope implements syncengine.DeviceTx.
func (t *deviceTee) SaveScope(s syncengine.DeviceScope) error {
	return first(t.tx.SaveScope(s), t.DeviceTx.SaveScope(s))
}

// DropScope implements syncengine.DeviceTx.
func (t *deviceTee) DropScope(id syncengine.ScopeID) error {
	return first(t.tx.DropScope(id), t.DeviceTx.DropScope(id))
}

// Prefetch implements syncengine.DeviceTx.
func (t *deviceTee) Prefetch(ids []syncengine.ID) error {
	return first(t.tx.Prefetch(ids), t.DeviceTx.Prefetch(ids))
}

// Record implements syncengine.DeviceTx.
func (t *deviceTee) Record(id syncengine.ID) (*syncengine.DeviceRecord, error) {
	a, aerr := t.tx.Record(id)
	b, berr := t.DeviceTx.Record(id)
	return both(t.m, "a record", a, aerr, b, berr)
}

// SaveRecord implements syncengine.DeviceTx.
func (t *deviceTee) SaveRecord(r *syncengine.DeviceRecord) error {
	return first(t.tx.SaveRecord(r), t.DeviceTx.SaveRecord(r))
}

// DropRecord implements syncengine.DeviceTx.
func (t *deviceTee) DropRecord(id syncengine.ID) error {
	return first(t.tx.DropRecord(id), t.DeviceTx.DropRecord(id))
}

// InScope implements syncengine.DeviceTx.
func (t *deviceTee) InScope(bit uint8, after syncengine.ID, limit int) ([]syncengine.ID, error) {
	a, aerr := t.tx.InScope(bit, after, limit)
	b, berr := t.DeviceTx.InScope(bit, after, limit)
	return both(t.m, "the records of a scope", a, aerr, b, berr)
}

// AddOp implements syncengine.DeviceTx.
func (t *deviceTee) AddOp(op *syncengine.Op) error {
	return first(t.tx.AddOp(op), t.DeviceTx.AddOp(op))
}

// SaveOp implements syncengine.DeviceTx.
func (t *deviceTee) SaveOp(op *syncengine.Op) error {
	return first(t.tx.SaveOp(op), t.DeviceTx.SaveOp(op))
}

// Op implements syncengine.DeviceTx.
func (t *deviceTee) Op(number uint64) (*syncengine.Op, error) {
	a, aerr := t.tx.Op(number)
	b, berr := t.DeviceTx.Op(number)
	return both(t.m, "an own change", a, aerr, b, berr)
}

// Queued implements syncengine.DeviceTx.
func (t *deviceTee) Queued(but map[uint64]bool, limit, maxBytes int) ([]*syncengine.Op, error) {
	a, aerr := t.tx.Queued(but, limit, maxBytes)
	b, berr := t.DeviceTx.Queued(but, limit, maxBytes)
	return both(t.m, "the queue", a, aerr, b, berr)
}

// OpsIn implements syncengine.DeviceTx.
func (t *deviceTee) OpsIn(state syncengine.OpState, after uint64, limit int) ([]*syncengine.Op, error) {
	a, aerr := t.tx.OpsIn(state, after, limit)
	b, berr := t.DeviceTx.OpsIn(state, after, limit)
	return both(t.m, "own changes in a state", a, aerr, b, berr)
}

// OpsOn implements syncengine.DeviceTx.
func (t *deviceTee) OpsOn(record syncengine.ID) ([]*syncengine.Op, error) {
	a, aerr := t.tx.OpsOn(record)
	b, berr := t.DeviceTx.OpsOn(record)
	return both(t.m, "own changes on a record", a, aerr, b, berr)
}

// Stage implements syncengine.DeviceTx.
func (t *deviceTee) Stage(in *syncengine.Incoming) error {
	return first(t.tx.Stage(in), t.DeviceTx.Stage(in))
}

// Staged implements syncengine.DeviceTx.
func (t *deviceTee) Staged(after syncengine.ID, limit int) ([]*syncengine.Incoming, error) {
	a, aerr := t.tx.Staged(after, limit)
	b, berr := t.DeviceTx.Staged(after, limit)
	return both(t.m, "the staged rows", a, aerr, b, berr)
}

// StagedRow implements syncengine.DeviceTx.
func (t *deviceTee) StagedRow(record syncengine.ID) (*syncengine.Incoming, error) {
	a, aerr := t.tx.StagedRow(record)
	b, berr := t.DeviceTx.StagedRow(record)
	return both(t.m, "a staged row", a, aerr, b, berr)
}

// Unstage implements syncengine.DeviceTx.
func (t *deviceTee) Unstage() error { return first(t.tx.Unstage(), t.DeviceTx.Unstage()) }

// Holdings implements syncengine.DeviceTx.
func (t *deviceTee) Holdings(bit uint8, first, last byte) ([]syncengine.Holding, error) {
	a, aerr := t.tx.Holdings(bit, first, last)
	b, berr := t.DeviceTx.Holdings(bit, first, last)
	return both(t.m, "the holdings of a scope", sortedHoldings(a), aerr, sortedHoldings(b), berr)
}

func sortedHoldings(held []syncengine.Holding) []syncengine.Holding {
	return slices.SortedFunc(slices.Values(held), func(a, b syncengine.Holding) int { return a.Record.Compare(b.Record) })
}

// forgotten is what Forget returns.
type forgotten struct{ bytes, newest uint64 }

// Forget implements syncengine.DeviceTx.
func (t *deviceTee) Forget(records map[syncengine.ID]bool) (size, newest uint64, err error) {
	var a, b forgotten
	var aerr, berr error
	a.bytes, a.newest, aerr = t.tx.Forget(records)
	b.bytes, b.newest, berr = t.DeviceTx.Forget(records)
	f, err := both(t.m, "what is forgotten", a, aerr, b, berr)
	return f.bytes, f.newest, err
}

// LookedUp implements syncengine.DeviceTx.
func (t *deviceTee) LookedUp() ([]*syncengine.LookedUp, error) {
	a, aerr := t.tx.LookedUp()
	b, berr := t.DeviceTx.LookedUp()
	return both(t.m, "what was looked up", a, aerr, b, berr)
}

// SaveLookedUp implements syncengine.DeviceTx.
func (t *deviceTee) SaveLookedUp(l *syncengine.LookedUp) error {
	return first(t.tx.SaveLookedUp(l), t.DeviceTx.SaveLookedUp(l))
}

// DropLookedUp implements syncengine.DeviceTx.
func (t *deviceTee) DropLookedUp(record syncengine.ID) error {
	return first(t.tx.DropLookedUp(record), t.DeviceTx.DropLookedUp(record))
}

// Retire implements syncengine.DeviceTx.
func (t *deviceTee) Retire(replica syncengine.ID) error {
	return first(t.tx.Retire(replica), t.DeviceTx.Retire(replica))
}

// Retired implements syncengine.DeviceTx. The envelope before a change is of no use
// once it is retired.
func (t *deviceTee) Retired(after uint64, limit int) ([]*syncengine.Retired, error) {
	a, aerr := t.tx.Retired(after, limit)
	b, berr := t.DeviceTx.Retired(after, limit)
	return both(t.m, "retired changes", loose(a), aerr, loose(b), berr)
}

// loose are changes without the envelope before.
func loose(retired []*syncengine.Retired) []*syncengine.Retired {
	out := make([]*syncengine.Retired, 0, len(retired))
	for _, r := range retired {
		next := *r
		next.Prev = syncengine.Hash{}
		out = append(out, &next)
	}
	return out
}

// Reissued implements syncengine.DeviceTx.
func (t *deviceTee) Reissued(n uint64) error {
	return first(t.tx.Reissued(n), t.DeviceTx.Reissued(n))
}

// viewTee is a snapshot of two stores of a server. What it reads is view's.
type viewTee struct {
	world *serverStore
	m     *mirror
	view  syncengine.ServerView
}

var _ syncengine.ServerView = (*viewTee)(nil)

// Org implements syncengine.ServerView.
func (t *viewTee) Org() syncengine.ID { return check(t.m, "the org", t.view.Org(), t.world.Org()) }

// Head implements syncengine.ServerView. The epoch is the world's: a store draws its
// own.
func (t *viewTee) Head() (syncengine.HistoryHead, error) {
	a, aerr := t.view.Head()
	b, berr := t.world.Head()
	a.Epoch = b.Epoch
	return both(t.m, "the head", a, aerr, b, berr)
}

// commit is what CommitAt returns.
type commit struct {
	last uint64
	hash syncengine.Hash
	ok   bool
}

// CommitAt implements syncengine.ServerView.
func (t *viewTee) CommitAt(seq uint64) (uint64, syncengine.Hash, bool, error) {
	var a, b commit
	var aerr, berr error
	a.last, a.hash, a.ok, aerr = t.view.CommitAt(seq)
	b.last, b.hash, b.ok, berr = t.world.CommitAt(seq)
	c, err := both(t.m, "a commit", a, aerr, b, berr)
	return c.last, c.hash, c.ok, err
}

// Members implements syncengine.ServerView.
func (t *viewTee) Members(scope syncengine.ScopeKey, seq uint64, record syncengine.ID, limit int) ([]syncengine.Member, error) {
	a, aerr := t.view.Members(scope, seq, record, limit)
	b, berr := t.world.Members(scope, seq, record, limit)
	return both(t.m, "the rows of a scope", a, aerr, b, berr)
}

// aStretch is what Stretch returns.
type aStretch struct {
	live int
	left []syncengine.Member
}

// Stretch implements syncengine.ServerView.
func (t *viewTee) Stretch(scope syncengine.ScopeKey, from, to syncengine.Place, limit int) (int, []syncengine.Member, error) {
	var a, b aStretch
	var aerr, berr error
	a.live, a.left, aerr = t.view.Stretch(scope, from, to, limit)
	b.live, b.left, berr = t.world.Stretch(scope, from, to, limit)
	s, err := both(t.m, "a stretch of a scope", a, aerr, b, berr)
	return s.live, s.left, err
}

// Record implements syncengine.ServerView.
func (t *viewTee) Record(id syncengine.ID) (*syncengine.StoredRecord, error) {
	a, aerr := t.view.Record(id)
	b, berr := t.world.Record(id)
	return both(t.m, "a record", a, aerr, b, berr)
}

func sortedRecords(records []*syncengine.StoredRecord) []*syncengine.StoredRecord {
	return slices.SortedFunc(slices.Values(records), func(a, b *syncengine.StoredRecord) int { return a.ID.Compare(b.ID) })
}

// Records implements syncengine.ServerView.
func (t *viewTee) Records(ids []syncengine.ID) ([]*syncengine.StoredRecord, error) {
	a, aerr := t.view.Records(ids)
	b, berr := t.world.Records(ids)
	return both(t.m, "records", sortedRecords(a), aerr, sortedRecords(b), berr)
}

// Digest implements syncengine.ServerView.
func (t *viewTee) Digest(scope syncengine.ScopeKey) (*syncengine.Digest, error) {
	a, aerr := t.view.Digest(scope)
	b, berr := t.world.Digest(scope)
	if aerr == nil && berr == nil && *a != *b {
		check(t.m, "a digest", a.Total(), b.Total())
	}
	return a, first(aerr, berr)
}

// About implements syncengine.ServerView.
func (t *viewTee) About(record syncengine.ID, limit int) ([]syncengine.ID, error) {
	a, aerr := t.view.About(record, limit)
	b, berr := t.world.About(record, limit)
	return both(t.m, "the records about one", a, aerr, b, berr)
}

// Live implements syncengine.ServerView.
func (t *viewTee) Live(scope syncengine.ScopeKey, first, last byte) ([]syncengine.Held, error) {
	a, aerr := t.view.Live(scope, first, last)
	b, berr := t.world.Live(scope, first, last)
	return both(t.m, "what is in a scope", sortedHeld(a), aerr, sortedHeld(b), berr)
}

func sortedHeld(held []syncengine.Held) []syncengine.Held {
	return slices.SortedFunc(slices.Values(held), func(a, b syncengine.Held) int { return a.Record.Compare(b.Record) })
}

// EarlierEpoch implements syncengine.ServerView.
func (t *viewTee) EarlierEpoch(epoch syncengine.ID) (bool, error) {
	a, aerr := t.view.EarlierEpoch(epoch)
	b, berr := t.world.EarlierEpoch(epoch)
	return both(t.m, "whether an epoch was earlier", a, aerr, b, berr)
}

// Replica implements syncengine.ServerView.
func (t *viewTee) Replica(id syncengine.ID) (*syncengine.Replica, error) {
	a, aerr := t.view.Replica(id)
	b, berr := t.world.Replica(id)
	return both(t.m, "a replica", a, aerr, b, berr)
}

// OutcomesIn implements syncengine.ServerView.
func (t *viewTee) OutcomesIn(replica syncengine.ID, ops syncengine.OpRange, limit int) ([]*tandemv1.Outcome, error) {
	a, aerr := t.view.OutcomesIn(replica, ops, limit)
	b, berr := t.world.OutcomesIn(replica, ops, limit)
	return both(t.m, "verdicts", a, aerr, b, berr)
}

// Quarantined implements syncengine.ServerView.
func (t *viewTee) Quarantined(after uint64, limit int) ([]*syncengine.StoredChange, error) {
	a, aerr := t.view.Quarantined(after, limit)
	b, berr := t.world.Quarantined(after, limit)
	return both(t.m, "the quarantine", a, aerr, b, berr)
}

// QuarantinedOn implements syncengine.ServerView.
func (t *viewTee) QuarantinedOn(record syncengine.ID) ([]*syncengine.StoredChange, error) {
	a, aerr := t.view.QuarantinedOn(record)
	b, berr := t.world.QuarantinedOn(record)
	return both(t.m, "the quarantine of a record", a, aerr, b, berr)
}

// Held implements syncengine.ServerView. Each store has an order of its own; what the
// engine reads is the world's, so that a seed does the same on both.
func (t *viewTee) Held(who syncengine.ID) ([]*syncengine.HeldGrant, error) {
	a, aerr := t.view.Held(who)
	b, berr := t.world.Held(who)
	_, err := both(t.m, "what a person was granted", sortedGrants(a), aerr, sortedGrants(b), berr)
	return b, err
}

func sortedGrants(grants []*syncengine.HeldGrant) []*syncengine.HeldGrant {
	return slices.SortedFunc(slices.Values(grants), func(a, b *syncengine.HeldGrant) int {
		return cmp.Or(bytes.Compare(a.Hash[:], b.Hash[:]), slices.Compare(a.Roles, b.Roles),
			slices.CompareFunc(a.Teams, b.Teams, syncengine.ID.Compare))
	})
}

// EverIn implements syncengine.ServerView.
func (t *viewTee) EverIn(record syncengine.ID, scopes []syncengine.ScopeKey) (bool, error) {
	a, aerr := t.view.EverIn(record, scopes)
	b, berr := t.world.EverIn(record, scopes)
	return both(t.m, "whether a record was in a scope", a, aerr, b, berr)
}

// Revised implements syncengine.ServerView.
func (t *viewTee) Revised(replica syncengine.ID, after uint64) ([]*tandemv1.Outcome, error) {
	a, aerr := t.view.Revised(replica, after)
	b, berr := t.world.Revised(replica, after)
	return both(t.m, "newer verdicts", a, aerr, b, berr)
}

// Page implements syncengine.PageReader, where the product's store does.
func (t *viewTee) Page(scope syncengine.ScopeKey, seq uint64, record syncengine.ID, limit int) ([]syncengine.Member, []*syncengine.StoredRecord, error) {
	reader, ok := t.view.(syncengine.PageReader)
	if !ok {
		return t.m.pageOf(t.world, scope, seq, record, limit)
	}
	am, ar, aerr := reader.Page(scope, seq, record, limit)
	bm, br, berr := t.m.pageOf(t.world, scope, seq, record, limit)
	if aerr == nil && berr == nil {
		check(t.m, "the records of a page", ar, br)
	}
	members, err := both(t.m, "a page", am, aerr, bm, berr)
	return members, ar, err
}

// pageOf is a page in terms of a plain view.
func (m *mirror) pageOf(s *serverStore, scope syncengine.ScopeKey, seq uint64, record syncengine.ID, limit int) ([]syncengine.Member, []*syncengine.StoredRecord, error) {
	members, err := s.Members(scope, seq, record, limit)
	records := make([]*syncengine.StoredRecord, len(members))
	for i := range members {
		records[i] = s.records[members[i].Record]
	}
	return members, records, err
}

// RecordsOf implements syncengine.PageReader.
func (t *viewTee) RecordsOf(members []syncengine.Member) ([]*syncengine.StoredRecord, error) {
	reader, ok := t.view.(syncengine.PageReader)
	ids := make([]syncengine.ID, 0, len(members))
	for i := range members {
		if !slices.Contains(ids, members[i].Record) {
			ids = append(ids, members[i].Record)
		}
	}
	if !ok {
		return t.Records(ids)
	}
	a, aerr := reader.RecordsOf(members)
	b, berr := t.world.Records(ids)
	return both(t.m, "the records of members", sortedRecords(a), aerr, sortedRecords(b), berr)
}
