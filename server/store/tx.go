package store

import (
	"slices"

	"github.com/tandem-response/tandem/syncengine"
)

// Tx is one write transaction of an org: syncengine.ServerTx, and the enrolments.
// What is read is kept until the end, what is written is gathered and written
// together. Not safe for concurrent use; not to be used after the function it was
// given to has returned.
type Tx struct {
	view
	// writes counts what has been written, so that a job that only read can fail by
	// itself.
	writes int
	// failed is what a flush has failed with.
	failed error
	// touched are the scopes to tell of; everybody: what changed concerns all who wait.
	touched   map[syncengine.ScopeKey]bool
	everybody bool
	// renumbered: numbers is this transaction's own and holds new ones.
	renumbered bool

	head      *syncengine.HistoryHead
	headDirty bool
	// headWritten: it has been.
	headWritten bool
	// commits are those made in this transaction.
	commits []syncengine.HistoryHead

	log     changeLog
	records map[syncengine.ID]*recordEntry
	dirty   []*recordEntry
	// saved are the records written, in order; one written twice stands there twice.
	saved    []*syncengine.StoredRecord
	members  map[memberKey]syncengine.Member
	digests  map[syncengine.ScopeKey]*digestEntry
	replicas map[syncengine.ID]*replicaEntry
	awaited  awaitedSet
	// teams of followers, as far as they are known; newFollows are to be added, and may
	// be in the table already where the follower's teams are not known.
	teams      map[syncengine.ID][]syncengine.ID
	newFollows map[syncengine.ID][]syncengine.ID
	// links are rows to be added of what records are about.
	links []aboutRow
	// unlinked are records that nothing is about, as far as that is known.
	unlinked map[syncengine.ID]bool
	// used is what replicas have in quarantine, as far as it is known.
	used map[syncengine.ID]*quarantineUse
	// erased says of records whether they were, as far as that is known; gone are those that
	// this transaction has erased.
	erased map[syncengine.ID]bool
	gone   []syncengine.ID
	// audit is what the transaction adds to the audit log.
	audit auditing
	// filled says of the small tables whether the org has a row in them; nil: not
	// known yet.
	filled *[smallTables]bool
}

var _ syncengine.ServerTx = (*Tx)(nil)

func newTx(s *Store, c *conn, org *Org) *Tx {
	numbers, era := s.published(org)
	return &Tx{
		view:       view{s: s, c: c, org: org, numbers: numbers, era: era},
		touched:    map[syncengine.ScopeKey]bool{},
		log:        newChangeLog(),
		records:    map[syncengine.ID]*recordEntry{},
		members:    map[memberKey]syncengine.Member{},
		digests:    map[syncengine.ScopeKey]*digestEntry{},
		replicas:   map[syncengine.ID]*replicaEntry{},
		awaited:    newAwaitedSet(),
		teams:      map[syncengine.ID][]syncengine.ID{},
		newFollows: map[syncengine.ID][]syncengine.ID{},
		unlinked:   map[syncengine.ID]bool{},
		used:       map[syncengine.ID]*quarantineUse{},
		erased:     map[syncengine.ID]bool{},
	}
}

// Tables that are small and most often empty.
const (
	tableAwaited = iota
	tableFollower
	tableItem
	tableQuarantine
	tableErased
	smallTables
)

// hasRows reports whether the org has any row in a small table, so that a bulk of
// look-ups in empty ones costs one query altogether.
func (tx *Tx) hasRows(table int) (bool, error) {
	if tx.filled == nil {
		var filled [smallTables]bool
		_, err := tx.c.one(`SELECT
			CASE WHEN EXISTS (SELECT 1 FROM awaited WHERE org = $1) THEN 1 ELSE 0 END,
			CASE WHEN EXISTS (SELECT 1 FROM follower WHERE org = $1) THEN 1 ELSE 0 END,
			CASE WHEN EXISTS (SELECT 1 FROM item WHERE org = $1) THEN 1 ELSE 0 END,
			CASE WHEN EXISTS (SELECT 1 FROM quarantine WHERE org = $1) THEN 1 ELSE 0 END,
			CASE WHEN EXISTS (SELECT 1 FROM erased WHERE org = $1) THEN 1 ELSE 0 END`, []any{tx.org.num},
			&filled[tableAwaited], &filled[tableFollower], &filled[tableItem], &filled[tableQuarantine], &filled[tableErased])
		if err != nil {
			return false, err
		}
		tx.filled = &filled
	}
	return tx.filled[table], nil
}

// fill notes that a small table has a row now.
func (tx *Tx) fill(table int) {
	if tx.filled != nil {
		tx.filled[table] = true
	}
}

// Prefetch implements syncengine.ServerTx.
func (tx *Tx) Prefetch(changes, records, named []syncengine.ID) error {
	if err := tx.prefetchChanges(changes); err != nil {
		return err
	}
	if err := tx.prefetchRecords(slices.Concat(records, named)); err != nil {
		return err
	}
	if err := tx.prefetchAbout(records); err != nil {
		return err
	}
	absent := slices.DeleteFunc(slices.Clone(records), func(id syncengine.ID) bool {
		e := tx.records[id]
		return e != nil && e.rec != nil
	})
	if err := tx.prefetchErased(absent); err != nil {
		return err
	}
	// Of a record that is not there nobody asks for its teams before it is written.
	followers := slices.Clone(records)
	for _, id := range named {
		if e := tx.records[id]; e != nil && e.rec != nil {
			followers = append(followers, id)
		}
	}
	return tx.prefetchTeams(followers)
}

// Head implements syncengine.ServerView.
func (tx *Tx) Head() (syncengine.HistoryHead, error) {
	if tx.head == nil {
		h, moved, err := tx.view.head(tx.s.dialect.locked)
		if err == nil && !tx.s.past {
			// It may have gone since it was opened.
			err = moved.refusal()
		}
		if err != nil {
			return h, err
		}
		tx.head = &h
	}
	return *tx.head, nil
}

// SetHead implements syncengine.ServerTx.
func (tx *Tx) SetHead(h syncengine.HistoryHead) error {
	tx.head, tx.headDirty = &h, true
	tx.commits = append(tx.commits, h)
	tx.audit.unnamed = append(tx.audit.unnamed, h)
	tx.writes++
	return nil
}

// WakeAll wakes everybody who waits for news of the org, once the transaction is
// durable.
func (tx *Tx) WakeAll() { tx.everybody = true }

func (tx *Tx) headSeq() uint64 {
	if tx.head == nil {
		return 0
	}
	return tx.head.Seq
}

// publish makes known what the commit has made immutable.
func (tx *Tx) publish() {
	if tx.renumbered || tx.loaded {
		tx.s.publishNumbers(tx.org, tx.numbers, tx.era)
	}
	tx.s.recent.keep(tx.org, tx.saved, tx.era)
	tx.s.recent.drop(tx.org, tx.gone)
	if tx.audit.signed != nil {
		tx.s.knowCheckpoint(tx.org, tx.audit.signed)
	}
}

// ownNumbers returns numbers that this transaction may add to, as they are in the
// database.
func (tx *Tx) ownNumbers() (*numbers, error) {
	if !tx.loaded {
		if err := tx.load(); err != nil {
			return nil, err
		}
	}
	tx.renumbered = true
	return tx.numbers, nil
}

// CommitAt implements syncengine.ServerView.
func (tx *Tx) CommitAt(seq uint64) (uint64, syncengine.Hash, bool, error) {
	if err := tx.flush(); err != nil {
		return 0, syncengine.Hash{}, false, err
	}
	return tx.view.CommitAt(seq)
}
