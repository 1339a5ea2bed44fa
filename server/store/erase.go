package store

import (
	"crypto/sha256"
	"database/sql"
	"errors"
	"slices"

	"github.com/tandem-response/tandem/syncengine"
)

// An erased record leaves its row, and all that follows from it, in one transaction; its
// drops stay in the scope index as those of any record that has left a scope, and its id
// stays in a table of its own for ever. What the change log says of it is cut out after
// that: see scrub.go.

var _ syncengine.Eraser = (*Tx)(nil)

// aboutErased are the statements that remove what is kept about a record beside its row. What
// says who has read it, and when, stays: it is no word of the record's.
var aboutErased = []string{
	"DELETE FROM awaited WHERE org = $1 AND record = $2",
	"DELETE FROM follower WHERE org = $1 AND record = $2",
	"DELETE FROM item WHERE org = $1 AND record = $2",
	// Desk by desk, since their indexes begin with it; work by its whole key, see noWork.
	"DELETE FROM work WHERE org = $1 AND record = $2 AND (desk, reason, due_ms) IN (SELECT desk, reason, due_ms FROM work WHERE org = $1 AND desk IN (SELECT num FROM scope WHERE org = $1) AND record = $2)",
	"DELETE FROM likeness WHERE org = $1 AND desk IN (SELECT num FROM scope WHERE org = $1) AND record = $2",
	"DELETE FROM apart WHERE org = $1 AND low = $2",
	"DELETE FROM apart WHERE org = $1 AND high = $2 AND low IN (SELECT low FROM apart WHERE org = $1 AND high = $2)",
	"DELETE FROM blob_chunk WHERE org = $1 AND record = $2",
	"DELETE FROM blob WHERE org = $1 AND record = $2",
	"DELETE FROM blob_read WHERE org = $1 AND record = $2",
	"UPDATE witness SET closed_ms = COALESCE(closed_ms, taken_ms), stamps = NULL, body = NULL WHERE org = $1 AND record = $2",
	"DELETE FROM record WHERE org = $1 AND id = $2",
}

// Erased implements syncengine.Eraser.
func (tx *Tx) Erased(id syncengine.ID) (bool, error) {
	some, err := tx.hasRows(tableErased)
	if err != nil || !some {
		return false, err
	}
	if gone, known := tx.erased[id]; known {
		return gone, nil
	}
	err = tx.prefetchErased([]syncengine.ID{id})
	return tx.erased[id], err
}

// prefetchErased reads at once which records were erased.
func (tx *Tx) prefetchErased(ids []syncengine.ID) error {
	some, err := tx.hasRows(tableErased)
	if err != nil || !some || len(ids) == 0 {
		return err
	}
	near, err := tx.near("SELECT 1 FROM erased WHERE org = $1 AND record BETWEEN $2 AND $3 LIMIT 1", ids)
	if err != nil {
		return err
	}
	keys := make([]any, len(near))
	for i := range near {
		keys[i] = near[i][:]
	}
	gone := map[syncengine.ID]bool{}
	err = tx.c.eachIn(tx.s.dialect, "SELECT record FROM erased WHERE org = $1 AND record IN", []any{tx.org.num}, keys, "", func(rows *sql.Rows) error {
		var id syncengine.ID
		err := rows.Scan((*scanID)(&id))
		gone[id] = true
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		tx.erased[id] = gone[id]
	}
	return nil
}

// Erase implements syncengine.Eraser.
func (tx *Tx) Erase(id syncengine.ID, about []syncengine.ID, seq uint64) error {
	if err := tx.flush(); err != nil {
		return err
	}
	e, err := tx.record(id)
	if err != nil {
		return err
	}
	tx.writes++
	var kind, hash int64
	if e.was != nil {
		if e.shared {
			// The change that made it is about to be the only one that has its words, and is
			// read once more before they are cut out. One that is damaged is so without it too.
			if err := tx.restore(e); err != nil && !errors.Is(err, ErrDamaged) {
				return err
			}
		}
		kind, hash = int64(e.was.Kind), int64(e.was.Hash)
	}
	for _, text := range aboutErased {
		if err := tx.c.exec(text, tx.org.num, id[:]); err != nil {
			return err
		}
	}
	for _, to := range about {
		if err := tx.c.exec("DELETE FROM about WHERE org = $1 AND target = $2 AND record = $3", tx.org.num, to[:], id[:]); err != nil {
			return err
		}
	}
	err = tx.c.exec("INSERT INTO erased (org, record, kind, seq, hash, erased_ms, scrubbed_ms) VALUES ($1, $2, $3, $4, $5, $6, 0)",
		tx.org.num, id[:], kind, int64(seq), hash, tx.s.now().UnixMilli())
	if err != nil {
		return err
	}
	tx.fill(tableErased)
	tx.records[id], tx.erased[id] = &recordEntry{}, true
	tx.saved = slices.DeleteFunc(tx.saved, func(rec *syncengine.StoredRecord) bool { return rec.ID == id })
	tx.gone = append(tx.gone, id)
	delete(tx.teams, id)
	return nil
}

// ErasedRecord is what is left of a record that was erased by law.
type ErasedRecord struct {
	ID   syncengine.ID
	Kind uint32
	// Seq is the sequence at which it left, Hash the hash of the row that stood there; 0
	// where none did.
	Seq  uint64
	Hash syncengine.RowHash
	// ErasedMS is when that was, ScrubbedMS when the change log was rid of it; 0: not yet.
	ErasedMS, ScrubbedMS int64
}

// erasedRecords calls f for each erased record, in order of id.
func (v *view) erasedRecords(f func(*ErasedRecord) error) error {
	return v.c.each("SELECT record, kind, seq, hash, erased_ms, scrubbed_ms FROM erased WHERE org = $1 ORDER BY record", []any{v.org.num}, func(rows *sql.Rows) error {
		e := &ErasedRecord{}
		var kind, seq, hash int64
		if err := rows.Scan((*scanID)(&e.ID), &kind, &seq, &hash, &e.ErasedMS, &e.ScrubbedMS); err != nil {
			return err
		}
		e.Kind, e.Seq, e.Hash = uint32(kind), uint64(seq), syncengine.RowHash(hash)
		return f(e)
	})
}

// EachErased calls f for each record that was erased by law, in order of id.
func (s *Snapshot) EachErased(f func(*ErasedRecord) error) error { return s.v.erasedRecords(f) }

// Erased says how many records were erased by law, and when the last one was.
func (s *Snapshot) Erased() (records, lastMS int64, err error) {
	_, err = s.v.c.one("SELECT COUNT(*), COALESCE(MAX(erased_ms), 0) FROM erased WHERE org = $1", []any{s.v.org.num}, &records, &lastMS)
	return records, lastMS, err
}

// wholeLeft is whole for a change of which something was cut out.
func (row *changeRow) wholeLeft() error {
	if sum := sha256.Sum256(row.body); !slices.Equal(sum[:], row.left) || len(row.holes) > 0 {
		return errLeft
	}
	if row.Body = row.body; row.Body == nil {
		row.Body = []byte{}
	}
	return nil
}
