package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"

	"github.com/tandem-response/tandem/syncengine"
)

// aboutRow is a row to be added to the table of what records are about.
type aboutRow struct{ to, record syncengine.ID }

// Link implements syncengine.ServerTx.
func (tx *Tx) Link(to, record syncengine.ID) error {
	tx.writes++
	delete(tx.unlinked, to)
	tx.links = append(tx.links, aboutRow{to, record})
	return nil
}

func (tx *Tx) flushLinks() error {
	if len(tx.links) == 0 {
		return nil
	}
	// In the order of the table.
	slices.SortFunc(tx.links, func(a, b aboutRow) int { return cmp.Or(a.to.Compare(b.to), a.record.Compare(b.record)) })
	const width = 3
	args := make([]any, 0, width*len(tx.links))
	for i := range tx.links {
		args = append(args, tx.org.num, tx.links[i].to[:], tx.links[i].record[:])
	}
	tx.links = nil
	return tx.insert("about (org, target, record)", doNothing, 1, width, args)
}

// About implements syncengine.ServerView.
func (v *view) About(record syncengine.ID, limit int) (ids []syncengine.ID, err error) {
	err = v.c.each("SELECT record FROM about WHERE org = $1 AND target = $2 ORDER BY record LIMIT CAST($3 AS BIGINT)", []any{v.org.num, record[:], int64(limit)},
		func(rows *sql.Rows) error {
			var id syncengine.ID
			err := rows.Scan((*scanID)(&id))
			ids = append(ids, id)
			return err
		})
	return ids, err
}

// About implements syncengine.ServerView.
func (tx *Tx) About(record syncengine.ID, limit int) ([]syncengine.ID, error) {
	if tx.unlinked[record] {
		return nil, nil
	}
	if err := tx.flushLinks(); err != nil {
		return nil, err
	}
	return tx.view.About(record, limit)
}

// prefetchAbout notes of records that are not there yet which of them nothing is about:
// nearly all, and each would cost a look-up when it is made.
func (tx *Tx) prefetchAbout(records []syncengine.ID) error {
	var made []syncengine.ID
	for _, id := range records {
		if e := tx.records[id]; e != nil && e.rec == nil {
			made = append(made, id)
		}
	}
	if err := tx.flushLinks(); err != nil {
		return err
	}
	near, err := tx.near("SELECT 1 FROM about WHERE org = $1 AND target BETWEEN $2 AND $3 LIMIT 1", made)
	if err != nil {
		return err
	}
	keys, linked := make([]any, len(near)), map[syncengine.ID]bool{}
	for i := range near {
		keys[i] = near[i][:]
	}
	err = tx.c.eachIn(tx.s.dialect, "SELECT DISTINCT target FROM about WHERE org = $1 AND target IN", []any{tx.org.num}, keys, "",
		func(rows *sql.Rows) error {
			var id syncengine.ID
			err := rows.Scan((*scanID)(&id))
			linked[id] = true
			return err
		})
	if err != nil {
		return err
	}
	for _, id := range made {
		if !linked[id] {
			tx.unlinked[id] = true
		}
	}
	return nil
}

// Unlinked returns up to limit records beyond one, in order of id, of an org in which
// what records are about has not been noted for all; none where it has.
func (tx *Tx) Unlinked(after syncengine.ID, limit int) (ids []syncengine.ID, err error) {
	var linked int64
	if _, err := tx.c.one("SELECT linked FROM org WHERE num = $1", []any{tx.org.num}, &linked); err != nil || linked != 0 {
		return nil, err
	}
	err = tx.c.each("SELECT id FROM record WHERE org = $1 AND id > $2 ORDER BY id LIMIT CAST($3 AS BIGINT)", []any{tx.org.num, after[:], int64(limit)},
		func(rows *sql.Rows) error {
			var id syncengine.ID
			err := rows.Scan((*scanID)(&id))
			ids = append(ids, id)
			return err
		})
	return ids, err
}

// SetLinked notes that what records are about has been noted for all of the org.
func (tx *Tx) SetLinked() error {
	tx.writes++
	return tx.c.exec("UPDATE org SET linked = 1 WHERE num = $1", tx.org.num)
}

// LoggedLookup is a line of the log of lookups.
type LoggedLookup struct {
	AtMS                    int64
	Person, Replica, Record syncengine.ID
	// About: with all that is about it. Found counts the records that were sent.
	About  bool
	Found  int
	Reason string
}

// LogLookup adds a line to the log of lookups, and returns its number.
func (tx *Tx) LogLookup(l *LoggedLookup) (number uint64, err error) {
	var last int64
	if _, err := tx.c.one("SELECT COALESCE(MAX(num), 0) FROM lookup WHERE org = $1", []any{tx.org.num}, &last); err != nil {
		return 0, err
	}
	tx.writes++
	return uint64(last + 1), tx.c.exec("INSERT INTO lookup (org, num, at_ms, person, replica, record, about, found, reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		tx.org.num, last+1, l.AtMS, l.Person[:], l.Replica[:], l.Record[:], boolArg(l.About), int64(l.Found), l.Reason)
}

// LookupsSince counts the lookups of a person from a time on.
func (tx *Tx) LookupsSince(person syncengine.ID, atMS int64) (n int, err error) {
	var count int64
	_, err = tx.c.one("SELECT COUNT(*) FROM lookup WHERE org = $1 AND person = $2 AND at_ms >= $3", []any{tx.org.num, person[:], atMS}, &count)
	return int(count), err
}

// Lookups calls f for the lines of the log of lookups, the newest first, at most limit.
func (s *Store) Lookups(ctx context.Context, org syncengine.ID, limit int, f func(*LoggedLookup) error) error {
	o, err := s.Org(ctx, org)
	if err != nil {
		return err
	}
	return s.viewing(ctx, o, func(v *view) error {
		return v.c.each("SELECT at_ms, person, replica, record, about, found, reason FROM lookup WHERE org = $1 ORDER BY num DESC LIMIT CAST($2 AS BIGINT)",
			[]any{v.org.num, int64(limit)}, func(rows *sql.Rows) error {
				l := &LoggedLookup{}
				var about, found int64
				if err := rows.Scan(&l.AtMS, (*scanID)(&l.Person), (*scanID)(&l.Replica), (*scanID)(&l.Record), &about, &found, &l.Reason); err != nil {
					return err
				}
				l.About, l.Found = about != 0, int(found)
				return f(l)
			})
	})
}
