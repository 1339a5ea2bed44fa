package store

import (
	"database/sql"

	"github.com/tandem-response/tandem/syncengine"
)

// awaitedKey is an awaited stamp of one record.
type awaitedKey struct {
	path  syncengine.Path
	stamp syncengine.Stamp
}

// awaitedSet is what records await, as a transaction sees it. A record that is not
// in known has not been read.
type awaitedSet struct {
	known map[syncengine.ID]map[awaitedKey]bool
}

func newAwaitedSet() awaitedSet {
	return awaitedSet{known: map[syncengine.ID]map[awaitedKey]bool{}}
}

func (tx *Tx) awaitedOf(record syncengine.ID) (map[awaitedKey]bool, error) {
	if tx.filled != nil && !tx.filled[tableAwaited] {
		return nil, nil
	}
	if set, ok := tx.awaited.known[record]; ok {
		return set, nil
	}
	some, err := tx.hasRows(tableAwaited)
	if err != nil || !some {
		return nil, err
	}
	return tx.readAwaited(record)
}

// readAwaited is apart from awaitedOf, which is asked for each path of each record,
// so that only here the record's id becomes an allocation.
func (tx *Tx) readAwaited(record syncengine.ID) (map[awaitedKey]bool, error) {
	set := map[awaitedKey]bool{}
	err := tx.c.each("SELECT path, stamp FROM awaited WHERE org = $1 AND record = $2", []any{tx.org.num, record[:]}, func(rows *sql.Rows) error {
		var path []byte
		var stamp int64
		if err := rows.Scan(&path, &stamp); err != nil {
			return err
		}
		u := unpack(path)
		set[awaitedKey{u.path(), syncengine.Stamp(stamp)}] = true
		return u.err()
	})
	if err != nil {
		return nil, err
	}
	tx.awaited.known[record] = set
	return set, nil
}

// Awaited implements syncengine.ServerTx.
func (tx *Tx) Awaited(record syncengine.ID, p syncengine.Path, s syncengine.Stamp) (bool, error) {
	set, err := tx.awaitedOf(record)
	return set[awaitedKey{p, s}], err
}

// Await implements syncengine.ServerTx.
func (tx *Tx) Await(record syncengine.ID, p syncengine.Path, s syncengine.Stamp) error {
	set, err := tx.awaitedOf(record)
	if err != nil || set[awaitedKey{p, s}] {
		return err
	}
	if set == nil {
		set = map[awaitedKey]bool{}
		tx.awaited.known[record] = set
	}
	tx.writes++
	set[awaitedKey{p, s}] = true
	tx.fill(tableAwaited)
	return tx.c.exec("INSERT INTO awaited (org, record, path, stamp) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
		tx.org.num, record[:], appendPath(nil, p), int64(s))
}
