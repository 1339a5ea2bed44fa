package simtest

import (
	"maps"
	"slices"

	"github.com/tandem-response/tandem/syncengine"
)

// again returns a reissued change as it came.
func (s *serverStore) again(key opKey) *syncengine.StoredChange {
	c := s.reissued[key]
	if c == nil {
		return nil
	}
	now := *s.changes[c.ID]
	now.Replica, now.Op, now.Envelope, now.Prev = c.Replica, c.Op, c.Envelope, c.Prev
	short := c.Envelope.Short()
	now.Outcome = withOp(now.Outcome, c.Op, short[:])
	return &now
}

// Reissue notes that a change has come once more.
func (s *serverStore) Reissue(c *syncengine.StoredChange) error {
	kept := *c
	put(&s.fuse, s.reissued, opKey{c.Replica, c.Op}, &kept)
	return s.call()
}

// Live returns the records in a scope.
func (s *serverStore) Live(scope syncengine.ScopeKey, first, last byte) ([]syncengine.Held, error) {
	var out []syncengine.Held
	for _, m := range s.members[scope] {
		if b := syncengine.Bucket(m.Record); m.Live && b >= first && b <= last {
			out = append(out, syncengine.Held{Record: m.Record, Hash: s.records[m.Record].Hash})
		}
	}
	return out, s.call()
}

// EarlierEpoch reports whether an epoch was the org's before.
func (s *serverStore) EarlierEpoch(epoch syncengine.ID) (bool, error) {
	return s.epochs[epoch], s.call()
}

// NewEpoch begins an epoch.
func (s *serverStore) NewEpoch(h syncengine.HistoryHead, earlier ...syncengine.ID) error {
	for _, e := range earlier {
		put(&s.fuse, s.epochs, e, true)
	}
	return s.SetHead(h)
}

// Prune forgets what is no longer needed: at once, so that nothing rests on it.
func (s *serverStore) Prune(before uint64) error {
	commits := s.commits
	s.commits = slices.DeleteFunc(slices.Clone(commits), func(h syncengine.HistoryHead) bool { return h.Seq < before })
	s.undo = append(s.undo, func() { s.commits = commits })
	for scope, rows := range s.members {
		if !slices.ContainsFunc(rows, func(m syncengine.Member) bool { return !m.Live && m.Seq < before }) {
			continue
		}
		s.members[scope] = slices.DeleteFunc(slices.Clone(rows), func(m syncengine.Member) bool { return !m.Live && m.Seq < before })
		s.undo = append(s.undo, func() { s.members[scope] = rows })
	}
	return s.call()
}

// image copies the store, as a backup does. Entries are never changed in place.
func (s *serverStore) image() *serverStore {
	c := &serverStore{
		org: s.org, head: s.head, commits: slices.Clone(s.commits), replicas: maps.Clone(s.replicas),
		changes: maps.Clone(s.changes), byStamp: maps.Clone(s.byStamp), byOp: maps.Clone(s.byOp), order: slices.Clone(s.order),
		records: maps.Clone(s.records), versions: maps.Clone(s.versions), ids: slices.Clone(s.ids),
		members: map[syncengine.ScopeKey][]syncengine.Member{}, digests: map[syncengine.ScopeKey]*syncengine.Digest{},
		awaited: maps.Clone(s.awaited), teams: maps.Clone(s.teams), about: maps.Clone(s.about), items: maps.Clone(s.items),
		apart: s.apart.image(), moves: slices.Clone(s.moves), decoded: s.decoded,
		reissued: maps.Clone(s.reissued), epochs: maps.Clone(s.epochs),
	}
	for k, rows := range s.members {
		c.members[k] = slices.Clone(rows)
	}
	for k, d := range s.digests {
		sums := *d
		c.digests[k] = &sums
	}
	return c
}

// Holdings returns what the device holds of a scope.
func (d *deviceStore) Holdings(bit uint8, first, last byte) ([]syncengine.Holding, error) {
	var out []syncengine.Holding
	for _, id := range d.sorted() {
		r := d.records[id]
		if b := syncengine.Bucket(id); !r.HasBase || r.Scopes&(1<<bit) == 0 || b < first || b > last {
			continue
		}
		base := &r.Record
		if r.Base != nil {
			base = r.Base
		}
		out = append(out, syncengine.Holding{Record: id, Scopes: r.Scopes, Base: r.BaseHash, Hash: base.Hash()})
	}
	return out, d.call()
}

// Forget removes the bytes of settled changes that wrote one of the records.
func (d *deviceStore) Forget(records map[syncengine.ID]bool) (size, newest uint64, err error) {
	for _, n := range slices.Sorted(maps.Keys(d.ops)) {
		op := d.ops[n]
		if op.State != syncengine.OpSettled || op.Raw == nil || !slices.ContainsFunc(op.Records, func(id syncengine.ID) bool { return records[id] }) {
			continue
		}
		size, newest = size+uint64(len(op.Raw)), n
		put(&d.fuse, d.forgot, op.Change, true)
		kept := *op
		kept.Raw = nil
		put(&d.fuse, d.ops, n, &kept)
	}
	for i, r := range d.retired {
		if r.State == syncengine.OpSettled && r.Raw != nil && slices.ContainsFunc(r.Records, func(id syncengine.ID) bool { return records[id] }) {
			size += uint64(len(r.Raw))
			put(&d.fuse, d.forgot, r.Change, true)
			d.bare(i)
		}
	}
	return size, newest, d.call()
}

// bare takes the bytes of a retired change away.
func (d *deviceStore) bare(i int) {
	old := d.retired
	kept := *old[i]
	kept.Raw = nil
	d.retired = slices.Clone(old)
	d.retired[i] = &kept
	d.undo = append(d.undo, func() { d.retired = old })
}

// Retire moves every own change into the history.
func (d *deviceStore) Retire(replica syncengine.ID) error {
	old, ops, settled := d.retired, d.ops, d.settled
	d.retired = slices.Clone(old)
	for _, n := range slices.Sorted(maps.Keys(ops)) {
		d.retired = append(d.retired, &syncengine.Retired{Op: *ops[n], N: uint64(len(d.retired) + 1), Replica: replica})
	}
	d.ops, d.settled, d.anew = map[uint64]*syncengine.Op{}, 1, true
	d.undo = append(d.undo, func() { d.retired, d.ops, d.settled = old, ops, settled })
	return d.call()
}

// Retired returns changes of the history that have their bytes.
func (d *deviceStore) Retired(after uint64, limit int) ([]*syncengine.Retired, error) {
	var out []*syncengine.Retired
	for _, r := range d.retired {
		if r.N > after && r.Raw != nil && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, d.call()
}

// Reissued removes the bytes of one.
func (d *deviceStore) Reissued(n uint64) error {
	d.bare(int(n) - 1)
	return d.call()
}
