package simtest

import (
	"cmp"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

type (
	opKey struct {
		replica syncengine.ID
		op      uint64
	}
	awaitedKey struct {
		record syncengine.ID
		path   syncengine.Path
		stamp  syncengine.Stamp
	}
	itemKey struct {
		record syncengine.ID
		item   syncengine.Item
	}
)

// move is a record that came to a new state.
type move struct {
	seq    uint64
	record syncengine.ID
}

// serverStore is the server's tables: a ServerTx, and between transactions a
// ServerView. Beyond what the engine asks for it keeps every state that a record
// ever had, which is the oracle's memory.
type serverStore struct {
	fuse

	// mirror is the product's store beside it; nil for none.
	mirror *serverMirror

	org      syncengine.ID
	head     syncengine.HistoryHead
	commits  []syncengine.HistoryHead
	replicas map[syncengine.ID]*syncengine.Replica
	changes  map[syncengine.ID]*syncengine.StoredChange
	byStamp  map[syncengine.Stamp]*syncengine.StoredChange
	byOp     map[opKey]*syncengine.StoredChange
	order    []*syncengine.StoredChange // the change log, as it was first written
	moves    []move                     // of records to a new state, in order
	decoded  decoded
	records  map[syncengine.ID]*syncengine.StoredRecord
	versions map[syncengine.ID][]*syncengine.StoredRecord
	ids      []syncengine.ID // of records, in the order they were made
	members  map[syncengine.ScopeKey][]syncengine.Member
	digests  map[syncengine.ScopeKey]*syncengine.Digest
	awaited  map[awaitedKey]bool
	teams    map[syncengine.ID][]syncengine.ID
	about    map[syncengine.ID][]syncengine.ID
	items    map[itemKey]bool // whether it is open
	apart
	reissued map[opKey]*syncengine.StoredChange
	epochs   map[syncengine.ID]bool // earlier ones
}

var _ syncengine.ServerTx = (*serverStore)(nil)

func newServerStore(org, epoch syncengine.ID, d decoded) *serverStore {
	return &serverStore{
		org:      org,
		decoded:  d,
		head:     syncengine.HistoryHead{Epoch: epoch},
		replicas: map[syncengine.ID]*syncengine.Replica{},
		changes:  map[syncengine.ID]*syncengine.StoredChange{},
		byStamp:  map[syncengine.Stamp]*syncengine.StoredChange{},
		byOp:     map[opKey]*syncengine.StoredChange{},
		records:  map[syncengine.ID]*syncengine.StoredRecord{},
		versions: map[syncengine.ID][]*syncengine.StoredRecord{},
		members:  map[syncengine.ScopeKey][]syncengine.Member{},
		digests:  map[syncengine.ScopeKey]*syncengine.Digest{},
		awaited:  map[awaitedKey]bool{},
		teams:    map[syncengine.ID][]syncengine.ID{},
		about:    map[syncengine.ID][]syncengine.ID{},
		items:    map[itemKey]bool{},
		apart:    newApart(),
		reissued: map[opKey]*syncengine.StoredChange{},
		epochs:   map[syncengine.ID]bool{},
	}
}

// Org returns the org's id.
func (s *serverStore) Org() syncengine.ID { return s.org }

// Head returns where the history stands.
func (s *serverStore) Head() (syncengine.HistoryHead, error) { return s.head, s.call() }

// CommitAt returns the commit that holds a sequence.
func (s *serverStore) CommitAt(seq uint64) (last uint64, hash syncengine.Hash, ok bool, err error) {
	i, _ := slices.BinarySearchFunc(s.commits, seq, func(h syncengine.HistoryHead, seq uint64) int {
		return cmp.Compare(h.Seq, seq)
	})
	if i == len(s.commits) {
		return 0, syncengine.Hash{}, false, s.call()
	}
	return s.commits[i].Seq, s.commits[i].Hash, true, s.call()
}

func compareMember(a, b syncengine.Member) int {
	return cmp.Or(cmp.Compare(a.Seq, b.Seq), a.Record.Compare(b.Record))
}

// Members returns rows of a scope beyond a position, in order.
func (s *serverStore) Members(scope syncengine.ScopeKey, seq uint64, record syncengine.ID, limit int) ([]syncengine.Member, error) {
	all := s.members[scope]
	i, found := slices.BinarySearchFunc(all, syncengine.Member{Seq: seq, Record: record}, compareMember)
	if found {
		i++
	}
	rows := slices.Clone(all[i:min(len(all), i+limit)])
	if planted.Is(planted.CursorGap) {
		// A transaction is still open, and one that took a later sequence is not.
		rows = slices.DeleteFunc(rows, func(m syncengine.Member) bool { return m.Seq+1 == s.head.Seq })
	}
	return rows, s.call()
}

// Stretch counts the live rows of a stretch of a scope, and returns the others.
func (s *serverStore) Stretch(scope syncengine.ScopeKey, from, to syncengine.Place, limit int) (live int, left []syncengine.Member, err error) {
	for _, m := range s.members[scope] {
		at := syncengine.Place{Seq: m.Seq, Record: m.Record}
		switch {
		case at.Compare(from) <= 0 || at.Compare(to) > 0:
		case m.Live:
			live++
		case len(left) < limit:
			left = append(left, m)
		}
	}
	return live, left, s.call()
}

// Record returns a record.
func (s *serverStore) Record(id syncengine.ID) (*syncengine.StoredRecord, error) {
	return s.records[id], s.call()
}

// Records returns those that are there.
func (s *serverStore) Records(ids []syncengine.ID) ([]*syncengine.StoredRecord, error) {
	var out []*syncengine.StoredRecord
	for _, id := range ids {
		if r := s.records[id]; r != nil && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out, s.call()
}

// Digest returns a scope's digest.
func (s *serverStore) Digest(scope syncengine.ScopeKey) (*syncengine.Digest, error) {
	d := s.digests[scope]
	if d == nil {
		d = &noDigest
	}
	return d, s.call()
}

// noDigest is that of a scope without rows. Nobody writes to it.
var noDigest syncengine.Digest

// Replica returns a replica.
func (s *serverStore) Replica(id syncengine.ID) (*syncengine.Replica, error) {
	return s.replicas[id], s.call()
}

// OutcomesIn returns the verdicts on a replica's ops in a range.
func (s *serverStore) OutcomesIn(replica syncengine.ID, ops syncengine.OpRange, limit int) ([]*tandemv1.Outcome, error) {
	var out []*tandemv1.Outcome
	r := s.replicas[replica]
	for op := ops.First; r != nil && op <= min(ops.Last, r.Highest) && len(out) < limit; op++ {
		c := s.byOp[opKey{replica, op}]
		if c == nil {
			c = s.again(opKey{replica, op})
		}
		if c != nil {
			out = append(out, c.Outcome)
		}
	}
	return out, s.call()
}

// Prefetch has nothing to fetch.
func (s *serverStore) Prefetch(_, _, _ []syncengine.ID) error { return s.call() }

// Change returns an entry of the change log.
func (s *serverStore) Change(id syncengine.ID) (*syncengine.StoredChange, error) {
	return s.changes[id], s.call()
}

// ChangeByStamp returns an entry by stamp.
func (s *serverStore) ChangeByStamp(stamp syncengine.Stamp) (*syncengine.StoredChange, error) {
	return s.byStamp[stamp], s.call()
}

// ChangeByOp returns an entry by replica and op.
func (s *serverStore) ChangeByOp(replica syncengine.ID, op uint64) (*syncengine.StoredChange, error) {
	c := s.byOp[opKey{replica, op}]
	if c == nil {
		c = s.again(opKey{replica, op})
	}
	return c, s.call()
}

// SaveChange adds an entry to the change log, or changes its verdict.
func (s *serverStore) SaveChange(c *syncengine.StoredChange) error {
	kept := *c
	kept.Outcome = proto.CloneOf(c.Outcome)
	old := s.changes[c.ID]
	put(&s.fuse, s.changes, c.ID, &kept)
	put(&s.fuse, s.byStamp, syncengine.StampOf(c.ID), &kept)
	if c.Op != 0 {
		put(&s.fuse, s.byOp, opKey{c.Replica, c.Op}, &kept)
	}
	if old == nil {
		n := len(s.order)
		s.order = append(s.order, &kept)
		s.undo = append(s.undo, func() { s.order = s.order[:n] })
		return s.call()
	}
	i := slices.Index(s.order, old)
	s.order[i] = &kept
	s.undo = append(s.undo, func() { s.order[i] = old })
	s.verdict(&kept)
	return s.call()
}

// SaveReplica stores a replica.
func (s *serverStore) SaveReplica(r *syncengine.Replica) error {
	kept := *r
	kept.Ranges, kept.Apart = slices.Clone(r.Ranges), slices.Clone(r.Apart)
	put(&s.fuse, s.replicas, r.ID, &kept)
	return s.call()
}

// SaveRecord stores a record.
func (s *serverStore) SaveRecord(r *syncengine.StoredRecord) error {
	kept := *r
	if s.records[r.ID] == nil {
		n := len(s.ids)
		s.ids = append(s.ids, r.ID)
		s.undo = append(s.undo, func() { s.ids = s.ids[:n] })
	}
	put(&s.fuse, s.records, r.ID, &kept)
	n := len(s.moves)
	s.moves = append(s.moves, move{r.Seq, r.ID})
	s.undo = append(s.undo, func() { s.moves = s.moves[:n] })
	old := s.versions[r.ID]
	put(&s.fuse, s.versions, r.ID, append(old[:len(old):len(old)], &kept))
	return s.call()
}

// SaveMember puts a record's row of a scope at its latest sequence.
func (s *serverStore) SaveMember(scope syncengine.ScopeKey, m syncengine.Member) error {
	rows := s.members[scope]
	old := slices.IndexFunc(rows, func(o syncengine.Member) bool { return o.Record == m.Record })
	var before syncengine.Member
	if old >= 0 {
		before = rows[old]
		rows = slices.Delete(rows, old, old+1)
	}
	at, _ := slices.BinarySearchFunc(rows, m, compareMember)
	s.members[scope] = slices.Insert(rows, at, m)
	s.undo = append(s.undo, func() {
		rows := slices.Delete(s.members[scope], at, at+1)
		if old >= 0 {
			rows = slices.Insert(rows, old, before)
		}
		s.members[scope] = rows
	})
	return s.call()
}

// AddDigest adds to a bucket of a scope's digest.
func (s *serverStore) AddDigest(scope syncengine.ScopeKey, bucket byte, delta syncengine.Sum) error {
	d := s.digests[scope]
	if d == nil {
		d = &syncengine.Digest{}
		s.digests[scope] = d
	}
	d[bucket] = d[bucket].Add(delta)
	s.undo = append(s.undo, func() { d[bucket] = d[bucket].Sub(delta) })
	return s.call()
}

// Awaited reports whether a stamp is awaited.
func (s *serverStore) Awaited(record syncengine.ID, p syncengine.Path, stamp syncengine.Stamp) (bool, error) {
	return s.awaited[awaitedKey{record, p, stamp}], s.call()
}

// Await notes a stamp.
func (s *serverStore) Await(record syncengine.ID, p syncengine.Path, stamp syncengine.Stamp) error {
	put(&s.fuse, s.awaited, awaitedKey{record, p, stamp}, true)
	return s.call()
}

// Teams returns the teams that a follower follows.
func (s *serverStore) Teams(follower syncengine.ID) ([]syncengine.ID, error) {
	return slices.Clone(s.teams[follower]), s.call()
}

// Follow adds a team.
func (s *serverStore) Follow(follower, team syncengine.ID) error {
	if old := s.teams[follower]; !slices.Contains(old, team) {
		put(&s.fuse, s.teams, follower, append(old[:len(old):len(old)], team))
	}
	return s.call()
}

// Link notes that a record is about another.
func (s *serverStore) Link(to, record syncengine.ID) error {
	if old := s.about[to]; !slices.Contains(old, record) {
		put(&s.fuse, s.about, to, append(old[:len(old):len(old)], record))
	}
	return s.call()
}

// About returns the records about one.
func (s *serverStore) About(record syncengine.ID, limit int) ([]syncengine.ID, error) {
	ids := slices.SortedFunc(slices.Values(s.about[record]), syncengine.ID.Compare)
	return ids[:min(limit, len(ids))], s.call()
}

// OpenItem opens a work item; one that a policy closed is closed from the start.
func (s *serverStore) OpenItem(record syncengine.ID, item syncengine.Item, _ uint64) error {
	put(&s.fuse, s.items, itemKey{record, item}, item.Kind != syncengine.ItemByPolicy)
	return s.call()
}

// CloseItems closes the items about a path.
func (s *serverStore) CloseItems(record syncengine.ID, p syncengine.Path, _ uint64) error {
	for key, open := range s.items {
		if open && key.record == record && key.item.Path == p {
			put(&s.fuse, s.items, key, false)
		}
	}
	return s.call()
}

// SetHead stores the head and its commit.
func (s *serverStore) SetHead(h syncengine.HistoryHead) error {
	old, n := s.head, len(s.commits)
	s.head, s.commits = h, append(s.commits, h)
	s.undo = append(s.undo, func() { s.head, s.commits = old, s.commits[:n] })
	return s.call()
}

// stateAt returns the state that a record had at a sequence, nil for none.
func (s *serverStore) stateAt(id syncengine.ID, seq uint64) *syncengine.StoredRecord {
	states := s.versions[id]
	for i := len(states) - 1; i >= 0; i-- {
		if states[i].Seq <= seq {
			return states[i]
		}
	}
	return nil
}
