package store

import (
	"strings"

	"github.com/tandem-response/tandem/syncengine"
)

// changeLog is the change log as a transaction sees it. An entry of nil: there is
// none.
type changeLog struct {
	ids    map[syncengine.ID]*logEntry
	ops    map[opKey]*logEntry
	stamps map[syncengine.Stamp][]*logEntry
	// fresh are those to be added, in order.
	fresh []*logEntry
}

type opKey struct {
	replica syncengine.ID
	op      uint64
}

// logEntry is one entry; row where it comes from the database.
type logEntry struct {
	c   *syncengine.StoredChange
	row *changeRow
	// again: the change stands in the log under another replica or op.
	again bool
}

func newChangeLog() changeLog {
	return changeLog{
		ids: map[syncengine.ID]*logEntry{}, ops: map[opKey]*logEntry{}, stamps: map[syncengine.Stamp][]*logEntry{},
	}
}

// keep notes an entry under the keys it can be asked for by.
func (l *changeLog) keep(e *logEntry) {
	l.ids[e.c.ID] = e
	if !e.c.Replica.IsZero() {
		l.ops[opKey{e.c.Replica, e.c.Op}] = e
	}
}

// read keeps what was read of the database, unless this transaction has it.
func (l *changeLog) read(rows []*changeRow) (first *logEntry) {
	for _, row := range rows {
		e := l.ids[row.ID]
		if e == nil {
			e = &logEntry{c: row.StoredChange, row: row}
			l.keep(e)
		}
		if first == nil {
			first = e
		}
	}
	return first
}

func (tx *Tx) prefetchChanges(ids []syncengine.ID) error {
	wanted := make([]any, 0, len(ids))
	for _, id := range ids {
		if _, known := tx.log.ids[id]; !known {
			wanted = append(wanted, int64(syncengine.StampOf(id)))
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	var found []*changeRow
	err := tx.c.eachIn(tx.s.dialect, "SELECT "+changeColumns+" FROM change WHERE org = $1 AND stamp IN", []any{tx.org.num}, wanted, "",
		scanInto(&found))
	if err != nil {
		return err
	}
	for _, row := range found {
		if err := tx.resolveChange(row); err != nil {
			return err
		}
	}
	tx.log.read(found)
	for _, id := range ids {
		if _, known := tx.log.ids[id]; !known {
			tx.log.ids[id] = nil
		}
	}
	return nil
}

// Change implements syncengine.ServerTx.
func (tx *Tx) Change(id syncengine.ID) (*syncengine.StoredChange, error) {
	e, known := tx.log.ids[id]
	if !known {
		if err := tx.prefetchChanges([]syncengine.ID{id}); err != nil {
			return nil, err
		}
		e = tx.log.ids[id]
	}
	return e.change(), nil
}

func (e *logEntry) change() *syncengine.StoredChange {
	if e == nil {
		return nil
	}
	return e.c
}

// ChangeByOp implements syncengine.ServerTx.
func (tx *Tx) ChangeByOp(replica syncengine.ID, op uint64) (*syncengine.StoredChange, error) {
	key := opKey{replica, op}
	if e, known := tx.log.ops[key]; known {
		return e.change(), nil
	}
	r, err := tx.replicaByID(replica)
	if err != nil {
		return nil, err
	}
	var e *logEntry
	if r != nil {
		rows, err := tx.changes("replica = $2 AND op = $3", r.num, int64(op))
		if err != nil {
			return nil, err
		}
		if e = tx.log.read(rows); e == nil {
			if e, err = tx.reissued(r, op); err != nil {
				return nil, err
			}
		}
	}
	tx.log.ops[key] = e
	return e.change(), nil
}

// ChangeByStamp implements syncengine.ServerTx.
func (tx *Tx) ChangeByStamp(s syncengine.Stamp) (*syncengine.StoredChange, error) {
	for _, e := range tx.log.stamps[s] {
		return e.c, nil
	}
	rows, err := tx.changes("stamp = $2 ORDER BY seq LIMIT 1", int64(s))
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	e := tx.log.read(rows)
	if e.row != nil {
		if err := tx.whole(e.row); err != nil {
			return nil, err
		}
	}
	return e.c, nil
}

// SaveChange implements syncengine.ServerTx.
func (tx *Tx) SaveChange(c *syncengine.StoredChange) error {
	tx.writes++
	e, known := tx.log.ids[c.ID]
	if !known {
		if err := tx.prefetchChanges([]syncengine.ID{c.ID}); err != nil {
			return err
		}
		e = tx.log.ids[c.ID]
	}
	if e == nil {
		e = &logEntry{c: c}
		tx.log.keep(e)
		stamp := syncengine.StampOf(c.ID)
		tx.log.stamps[stamp] = append(tx.log.stamps[stamp], e)
		tx.log.fresh = append(tx.log.fresh, e)
		return nil
	}
	// The verdict of an entry that is there has changed.
	if err := tx.flush(); err != nil {
		return err
	}
	e.c.Outcome, e.c.Seq = c.Outcome, c.Seq
	tx.writes++
	if err := tx.release(c); err != nil {
		return err
	}
	return tx.c.exec("UPDATE change SET verdict = $1, refusal = $2, fields = $3, seq = $4 WHERE org = $5 AND stamp = $6 AND id = $7",
		int64(c.Outcome.GetCode()), int64(c.Outcome.GetRefusal()), fieldsArg(c), int64(c.Seq),
		tx.org.num, int64(syncengine.StampOf(c.ID)), c.ID[:])
}

// fieldsArg packs the fields of a verdict; their names hold no newline.
func fieldsArg(c *syncengine.StoredChange) any {
	if len(c.Outcome.GetFields()) == 0 {
		return nil
	}
	return textArg(strings.Join(c.Outcome.GetFields(), "\n"))
}
