package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/tandem-response/tandem/syncengine"
)

// Seen is a record that a lead has opened.
type Seen struct {
	// Record, and N: its number among those of whoever made it.
	Record syncengine.ID
	N      uint64
	// AtMS is when the state of that hash was first opened.
	AtMS int64
	Hash syncengine.RowHash
}

const notSeen = "DELETE FROM seen_by_lead WHERE org = $1 AND person = $2 AND record = $3"

// SeenByLead notes for a person that a lead has opened a record of theirs, in a state.
func (tx *Tx) SeenByLead(person, record syncengine.ID, hash syncengine.RowHash, atMS int64) error {
	var old int64
	known, err := tx.c.one("SELECT row_hash FROM seen_by_lead WHERE org = $1 AND person = $2 AND record = $3", []any{tx.org.num, person[:], record[:]}, &old)
	if err != nil || known && syncengine.RowHash(old) == hash {
		return err
	}
	var last int64
	if _, err := tx.c.one("SELECT COALESCE(MAX(n), 0) FROM seen_by_lead WHERE org = $1 AND person = $2", []any{tx.org.num, person[:]}, &last); err != nil {
		return err
	}
	tx.writes += 2
	if err := tx.c.exec(notSeen, tx.org.num, person[:], record[:]); err != nil {
		return err
	}
	return tx.c.exec("INSERT INTO seen_by_lead (org, person, n, record, at_ms, row_hash) VALUES ($1, $2, $3, $4, $5, $6)",
		tx.org.num, person[:], last+1, record[:], atMS, int64(hash))
}

// Seen calls f with the records of a person that leads have opened, after a number, by
// number, at most limit at a time, until there are no more or f wants no more; not at all
// where there are none. All of it is read in one snapshot, which is begun anew, with f, where
// the store says so: from is the number after which a call reads.
func (s *Store) Seen(ctx context.Context, org, person syncengine.ID, after uint64, limit int, f func(view syncengine.ServerView, from uint64, page []Seen) (more bool, err error)) error {
	o, err := s.Org(ctx, org)
	if err != nil {
		return err
	}
	return s.viewing(ctx, o, func(v *view) error {
		for from := after; ; {
			page, err := v.seen(person, from, limit)
			if err != nil || len(page) == 0 {
				return err
			}
			more, err := f(v, from, page)
			if err != nil || !more || len(page) < limit {
				return err
			}
			from = page[len(page)-1].N
		}
	})
}

// AnySeen reports whether leads have opened records of a person after a number, as a view
// of [Store.Read] has it.
func AnySeen(of syncengine.ServerView, person syncengine.ID, after uint64) (bool, error) {
	v, ok := of.(*view)
	if !ok {
		return false, fmt.Errorf("a view of another store: %T", of)
	}
	page, err := v.seen(person, after, 1)
	return len(page) > 0, err
}

func (v *view) seen(person syncengine.ID, after uint64, limit int) (page []Seen, err error) {
	err = v.c.each("SELECT record, n, at_ms, row_hash FROM seen_by_lead WHERE org = $1 AND person = $2 AND n > $3 ORDER BY n LIMIT CAST($4 AS BIGINT)",
		[]any{v.org.num, person[:], int64(after), int64(limit)}, func(rows *sql.Rows) error {
			var one Seen
			var n, hash int64
			err := rows.Scan((*scanID)(&one.Record), &n, &one.AtMS, &hash)
			one.N, one.Hash = uint64(n), syncengine.RowHash(hash)
			page = append(page, one)
			return err
		})
	return page, err
}
