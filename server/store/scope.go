package store

import (
	"github.com/tandem-response/tandem/syncengine"
)

// memberKey is the key of the scope index.
type memberKey struct {
	scope  int64
	record syncengine.ID
}

// digestEntry is a digest as a transaction sees it.
type digestEntry struct {
	sums  syncengine.Digest
	dirty bool
}

// mustScope returns the number of a scope, a new one where it has none.
func (tx *Tx) mustScope(k syncengine.ScopeKey) (int64, error) {
	if num, ok := tx.numbers.scopes[k]; ok {
		return num, nil
	}
	n, err := tx.ownNumbers()
	if err != nil {
		return 0, err
	}
	if num, ok := n.scopes[k]; ok {
		return num, nil
	}
	num := int64(1)
	for used := range n.scopeKeys {
		num = max(num, used+1)
	}
	err = tx.c.exec("INSERT INTO scope (org, num, owner, owner_id, compartment, open) VALUES ($1, $2, $3, $4, $5, $6)",
		tx.org.num, num, int64(k.Owner), k.OwnerID[:], int64(k.Compartment), boolArg(k.Open))
	if err != nil {
		return 0, err
	}
	tx.writes++
	n.addScope(num, k)
	return num, nil
}

// SaveMember implements syncengine.ServerTx.
func (tx *Tx) SaveMember(scope syncengine.ScopeKey, m syncengine.Member) error {
	num, err := tx.mustScope(scope)
	if err != nil {
		return err
	}
	tx.writes++
	tx.touched[scope] = true
	tx.members[memberKey{num, m.Record}] = m
	return nil
}

// Members implements syncengine.ServerView.
func (tx *Tx) Members(scope syncengine.ScopeKey, seq uint64, record syncengine.ID, limit int) ([]syncengine.Member, error) {
	if err := tx.flush(); err != nil {
		return nil, err
	}
	return tx.view.Members(scope, seq, record, limit)
}

func (tx *Tx) digest(scope syncengine.ScopeKey) (*digestEntry, error) {
	if e := tx.digests[scope]; e != nil {
		return e, nil
	}
	d, err := tx.view.Digest(scope)
	if err != nil {
		return nil, err
	}
	e := &digestEntry{sums: *d}
	tx.digests[scope] = e
	return e, nil
}

// Digest implements syncengine.ServerView.
func (tx *Tx) Digest(scope syncengine.ScopeKey) (*syncengine.Digest, error) {
	e, err := tx.digest(scope)
	if err != nil {
		return nil, err
	}
	sums := e.sums
	return &sums, nil
}

// AddDigest implements syncengine.ServerTx.
func (tx *Tx) AddDigest(scope syncengine.ScopeKey, bucket byte, delta syncengine.Sum) error {
	e, err := tx.digest(scope)
	if err != nil {
		return err
	}
	tx.writes++
	tx.touched[scope] = true
	e.sums[bucket] = e.sums[bucket].Add(delta)
	e.dirty = true
	return nil
}
