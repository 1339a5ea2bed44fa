package simtest

import (
	"cmp"
	"maps"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// deviceStore is one device's tables: a DeviceTx.
type deviceStore struct {
	fuse

	state   *syncengine.DeviceState
	scopes  []syncengine.DeviceScope // in order of bit
	records map[syncengine.ID]*syncengine.DeviceRecord
	ops     map[uint64]*syncengine.Op
	staged  map[syncengine.ID]*syncengine.Incoming
	finds   map[syncengine.ID]*syncengine.LookedUp
	// settled is an op below which all are settled.
	settled uint64
	// retired are the changes of earlier replicas, in order.
	retired []*syncengine.Retired
	// forgot are the changes whose bytes left with the records they wrote.
	forgot map[syncengine.ID]bool

	// order is what sorted returns, nil where that is to be found out.
	order []syncengine.ID
	// moved are the records and own changes that were written since the last check.
	moved    map[syncengine.ID]struct{}
	movedOps []uint64
	// anew: that does not tell, and everything is to be looked at.
	anew bool
}

var (
	_ syncengine.DeviceTx  = (*deviceStore)(nil)
	_ syncengine.Confirmer = (*deviceStore)(nil)
)

func newDeviceStore(st *syncengine.DeviceState) *deviceStore {
	return &deviceStore{
		state:   st,
		records: map[syncengine.ID]*syncengine.DeviceRecord{},
		ops:     map[uint64]*syncengine.Op{},
		staged:  map[syncengine.ID]*syncengine.Incoming{},
		finds:   map[syncengine.ID]*syncengine.LookedUp{},
		settled: 1,
		forgot:  map[syncengine.ID]bool{},
		moved:   map[syncengine.ID]struct{}{},
	}
}

// image copies the store, as a backup of the device's disk does.
func (d *deviceStore) image() *deviceStore {
	return &deviceStore{
		state: d.state, scopes: slices.Clone(d.scopes), records: maps.Clone(d.records),
		ops: maps.Clone(d.ops), staged: maps.Clone(d.staged), finds: maps.Clone(d.finds), settled: d.settled, retired: slices.Clone(d.retired),
		forgot: maps.Clone(d.forgot), moved: map[syncengine.ID]struct{}{},
	}
}

// State returns the replica's state.
func (d *deviceStore) State() (*syncengine.DeviceState, error) { return d.state, d.call() }

// SaveState stores it.
func (d *deviceStore) SaveState(st *syncengine.DeviceState) error {
	old, kept := d.state, *st
	kept.Want = slices.Clone(st.Want)
	d.state = &kept
	d.undo = append(d.undo, func() { d.state = old })
	return d.call()
}

// Scopes returns the held scopes.
func (d *deviceStore) Scopes() ([]syncengine.DeviceScope, error) {
	return slices.Clone(d.scopes), d.call()
}

func (d *deviceStore) setScopes(scopes []syncengine.DeviceScope) {
	old := d.scopes
	d.scopes = scopes
	d.undo = append(d.undo, func() { d.scopes = old })
}

// SaveScope stores a scope.
func (d *deviceStore) SaveScope(s syncengine.DeviceScope) error {
	i := slices.IndexFunc(d.scopes, func(o syncengine.DeviceScope) bool { return o.ID == s.ID })
	if i >= 0 && d.scopes[i].Bit == s.Bit {
		held := d.scopes
		old := held[i]
		held[i] = s
		d.undo = append(d.undo, func() { held[i] = old })
		return d.call()
	}
	next := slices.DeleteFunc(slices.Clone(d.scopes), func(o syncengine.DeviceScope) bool { return o.ID == s.ID })
	next = append(next, s)
	slices.SortFunc(next, func(a, b syncengine.DeviceScope) int { return cmp.Compare(a.Bit, b.Bit) })
	d.setScopes(next)
	return d.call()
}

// DropScope removes a scope.
func (d *deviceStore) DropScope(id syncengine.ScopeID) error {
	d.setScopes(slices.DeleteFunc(slices.Clone(d.scopes), func(s syncengine.DeviceScope) bool { return s.ID == id }))
	return d.call()
}

// Prefetch has nothing to fetch.
func (d *deviceStore) Prefetch([]syncengine.ID) error { return d.call() }

// Record returns a record.
func (d *deviceStore) Record(id syncengine.ID) (*syncengine.DeviceRecord, error) {
	return d.records[id], d.call()
}

// SaveRecord stores a record.
func (d *deviceStore) SaveRecord(r *syncengine.DeviceRecord) error {
	kept := *r
	if d.records[r.ID] == nil {
		d.reorder()
	}
	d.moved[r.ID] = struct{}{}
	put(&d.fuse, d.records, r.ID, &kept)
	return d.call()
}

// DropRecord removes a record.
func (d *deviceStore) DropRecord(id syncengine.ID) error {
	d.reorder()
	d.moved[id] = struct{}{}
	remove(&d.fuse, d.records, id)
	return d.call()
}

// reorder says that records come or go.
func (d *deviceStore) reorder() {
	d.order = nil
	d.undo = append(d.undo, func() { d.order = nil })
}

// Standings tells of every other record that shows what the device made, so that
// both ways of taking in an answer are walked.
func (d *deviceStore) Standings(ids []syncengine.ID) (map[syncengine.ID]syncengine.Standing, error) {
	standings := map[syncengine.ID]syncengine.Standing{}
	for _, id := range ids {
		if r := d.records[id]; r != nil && r.Pending > 0 && r.Base == nil && id[len(id)-1]%2 == 0 {
			standings[id] = syncengine.Standing{
				Scopes: r.Scopes, HasBase: r.HasBase, BaseHash: r.BaseHash, Pending: r.Pending, Shown: r.Hash(),
			}
		}
	}
	return standings, d.call()
}

// Confirm makes what a record shows the server's state.
func (d *deviceStore) Confirm(id syncengine.ID, scopes uint64) error {
	next := *d.records[id]
	next.Scopes, next.HasBase, next.BaseHash, next.Pending = scopes, true, next.Hash(), 0
	return d.SaveRecord(&next)
}

// InScope returns records of a scope, in order of id.
func (d *deviceStore) InScope(bit uint8, after syncengine.ID, limit int) ([]syncengine.ID, error) {
	var ids []syncengine.ID
	for _, id := range d.sorted() {
		if len(ids) < limit && id.Compare(after) > 0 && d.records[id].Scopes&(1<<bit) != 0 {
			ids = append(ids, id)
		}
	}
	return ids, d.call()
}

// sorted returns the ids of the records, in order.
func (d *deviceStore) sorted() []syncengine.ID {
	if d.order == nil {
		d.order = slices.SortedFunc(maps.Keys(d.records), syncengine.ID.Compare)
	}
	return slices.Clip(d.order)
}

// AddOp adds an own change.
func (d *deviceStore) AddOp(op *syncengine.Op) error { return d.SaveOp(op) }

// SaveOp changes an own change.
func (d *deviceStore) SaveOp(op *syncengine.Op) error {
	kept := *op
	put(&d.fuse, d.ops, op.Number, &kept)
	if op.State != syncengine.OpSettled {
		d.settled = min(d.settled, op.Number)
	}
	d.movedOps = append(d.movedOps, op.Number)
	for _, id := range op.Records {
		d.moved[id] = struct{}{}
	}
	d.undo = append(d.undo, func() { d.settled = min(d.settled, op.Number) })
	return d.call()
}

// Op returns an own change.
func (d *deviceStore) Op(number uint64) (*syncengine.Op, error) { return d.ops[number], d.call() }

// each visits own changes from a number on, in order, without the long tail of
// settled ones.
func (d *deviceStore) each(from uint64, visit func(op *syncengine.Op)) {
	for d.ops[d.settled] != nil && d.ops[d.settled].State == syncengine.OpSettled {
		d.settled++
	}
	// A store that becomes another replica's has new ops before its state says so.
	for n := max(from, d.settled); n < d.state.NextOp || d.ops[n] != nil; n++ {
		if op := d.ops[n]; op != nil {
			visit(op)
		}
	}
}

// rank orders classes: urgent, normal (and not stated), bulk.
func rank(c tandemv1.Class) int {
	if c == tandemv1.Class_CLASS_UNSPECIFIED {
		c = tandemv1.Class_CLASS_NORMAL
	}
	return int(c)
}

// Queued returns queued changes by class, then number.
func (d *deviceStore) Queued(but map[uint64]bool, limit, maxBytes int) ([]*syncengine.Op, error) {
	var ops []*syncengine.Op
	d.each(1, func(op *syncengine.Op) {
		if (op.State == syncengine.OpQueued || op.State == syncengine.OpReoffered) && !but[op.Number] {
			ops = append(ops, op)
		}
	})
	slices.SortStableFunc(ops, func(a, b *syncengine.Op) int { return cmp.Compare(rank(a.Class), rank(b.Class)) })
	ops = ops[:min(limit, len(ops))]
	size := 0
	for i, op := range ops {
		if i > 0 && size > maxBytes {
			ops = ops[:i]
			break
		}
		size += len(op.Raw)
	}
	return ops, d.call()
}

// OpsIn returns own changes in a state.
func (d *deviceStore) OpsIn(state syncengine.OpState, after uint64, limit int) ([]*syncengine.Op, error) {
	var ops []*syncengine.Op
	if state == syncengine.OpSettled {
		for n := after + 1; d.ops[n] != nil && len(ops) < limit; n++ {
			if d.ops[n].State == state {
				ops = append(ops, d.ops[n])
			}
		}
		return ops, d.call()
	}
	d.each(after+1, func(op *syncengine.Op) {
		if op.State == state && len(ops) < limit {
			ops = append(ops, op)
		}
	})
	return ops, d.call()
}

// OpsOn returns the own changes that stand on top of a record.
func (d *deviceStore) OpsOn(record syncengine.ID) ([]*syncengine.Op, error) {
	var ops []*syncengine.Op
	d.each(1, func(op *syncengine.Op) {
		if (op.State == syncengine.OpQueued || op.State == syncengine.OpApplied) && slices.Contains(op.Records, record) {
			ops = append(ops, op)
		}
	})
	return ops, d.call()
}

// LookedUp returns what has been looked up.
func (d *deviceStore) LookedUp() ([]*syncengine.LookedUp, error) {
	var finds []*syncengine.LookedUp
	for _, id := range slices.SortedFunc(maps.Keys(d.finds), syncengine.ID.Compare) {
		finds = append(finds, d.finds[id])
	}
	return finds, d.call()
}

// SaveLookedUp keeps a find.
func (d *deviceStore) SaveLookedUp(l *syncengine.LookedUp) error {
	kept := *l
	put(&d.fuse, d.finds, l.ID, &kept)
	return d.call()
}

// DropLookedUp removes one.
func (d *deviceStore) DropLookedUp(id syncengine.ID) error {
	remove(&d.fuse, d.finds, id)
	return d.call()
}

// Stage keeps a row for the flip.
func (d *deviceStore) Stage(in *syncengine.Incoming) error {
	kept := *in
	d.moved[in.ID] = struct{}{}
	put(&d.fuse, d.staged, in.ID, &kept)
	return d.call()
}

// Staged returns staged rows in order.
func (d *deviceStore) Staged(after syncengine.ID, limit int) ([]*syncengine.Incoming, error) {
	var rows []*syncengine.Incoming
	for _, id := range slices.SortedFunc(maps.Keys(d.staged), syncengine.ID.Compare) {
		if len(rows) < limit && id.Compare(after) > 0 {
			rows = append(rows, d.staged[id])
		}
	}
	return rows, d.call()
}

// StagedRow returns the staged row of a record.
func (d *deviceStore) StagedRow(record syncengine.ID) (*syncengine.Incoming, error) {
	return d.staged[record], d.call()
}

// Unstage removes all staged rows.
func (d *deviceStore) Unstage() error {
	old := d.staged
	d.staged = map[syncengine.ID]*syncengine.Incoming{}
	d.undo = append(d.undo, func() { d.staged = old })
	return d.call()
}
