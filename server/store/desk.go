package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/tandem-response/tandem/syncengine"
)

// Work is one reason for which a record asks for attention.
type Work struct {
	// Reason is the console's own number of it, DueMS the time from which on it asks.
	Reason int
	DueMS  int64
	Record syncengine.ID
	// Person of the staff whose work it is; zero is nobody's.
	Person syncengine.ID
}

// Asks narrows work to a reason, to what is due by a time and, where Person is not nil, to
// whose it is.
type Asks struct {
	Reason int
	ByMS   int64
	Person *syncengine.ID
}

// Reader is somebody who has opened a record.
type Reader struct {
	Person          syncengine.ID
	FirstMS, LastMS int64
	Times           int
}

// DeskView reads what the console shows, beside the records themselves: one snapshot of
// an org.
type DeskView interface {
	PeopleView
	// Worked returns up to which row of the scope index a scope is worked out.
	Worked(scope syncengine.ScopeKey) (seq uint64, record syncengine.ID, err error)
	// Work returns what is due for a reason at a desk by a time, the longest due first.
	// A desk is named by the scope of its team and compartment in the open tier.
	Work(desk syncengine.ScopeKey, asks Asks, limit int) ([]Work, error)
	// CountWork counts that, up to most.
	CountWork(desk syncengine.ScopeKey, asks Asks, most int) (int, error)
	// Load counts, by whose work it is, the records at any of some desks that are due for a
	// reason in [fromMS, beforeMS); a record at several desks once.
	Load(desks []syncengine.ScopeKey, reason int, fromMS, beforeMS int64) (map[syncengine.ID]int, error)
	// WorkOf returns all that a record asks for at a desk, due or not.
	WorkOf(desk syncengine.ScopeKey, record syncengine.ID) ([]Work, error)
	// Alike returns the records at a desk that have a key of likeness, LikenessKeys the keys
	// of a record there, Apart those of which somebody said that they are another person.
	Alike(desk syncengine.ScopeKey, key int64, limit int) ([]syncengine.ID, error)
	LikenessKeys(desk syncengine.ScopeKey, record syncengine.ID) ([]int64, error)
	Apart(record syncengine.ID) ([]syncengine.ID, error)
	// Readers returns who has opened a record, the latest first.
	Readers(record syncengine.ID) ([]Reader, error)
	// Reading returns the number of the first entry of the audit log that was not gone
	// through yet for who has opened what.
	Reading() (n int64, err error)
	// History returns the applied changes of a record, with their bodies, in the order in
	// which the server took them.
	History(rec *syncengine.StoredRecord) ([]*syncengine.StoredChange, error)
	// AuditSize returns how many entries the audit log has; EachAudit calls f for those
	// from a number on, at most limit.
	AuditSize() (int64, error)
	EachAudit(from int64, limit int, f func(n int64, raw []byte) error) error
	// OpenItems returns the open work items about a record.
	OpenItems(record syncengine.ID) ([]syncengine.Item, error)
}

var (
	_ DeskView = (*view)(nil)
	_ DeskView = (*Tx)(nil)
)

// ReadDesk runs f over one snapshot of an org. The view must not be used after f returns.
func (s *Store) ReadDesk(ctx context.Context, org syncengine.ID, f func(DeskView) error) error {
	o, err := s.Org(ctx, org)
	if err != nil {
		return err
	}
	return s.viewing(ctx, o, func(v *view) error { return f(v) })
}

// Worked implements DeskView.
func (v *view) Worked(scope syncengine.ScopeKey) (seq uint64, record syncengine.ID, err error) {
	num, ok, err := v.scopeNumber(scope)
	if err != nil || !ok {
		return 0, record, err
	}
	var at int64
	_, err = v.c.one("SELECT seq, record FROM worked WHERE org = $1 AND scope = $2", []any{v.org.num, num}, &at, (*scanID)(&record))
	return uint64(at), record, err
}

// where is the condition of what asks, with its arguments.
func (a *Asks) where(org, desk int64) (string, []any) {
	cond, args := "org = $1 AND desk = $2 AND reason = $3 AND due_ms <= $4", []any{org, desk, int64(a.Reason), a.ByMS}
	if a.Person != nil {
		cond, args = cond+" AND person = $5", append(args, jobID(*a.Person))
	}
	return cond, args
}

// Work implements DeskView.
func (v *view) Work(desk syncengine.ScopeKey, asks Asks, limit int) (work []Work, err error) {
	num, ok, err := v.scopeNumber(desk)
	if err != nil || !ok {
		return nil, err
	}
	cond, args := asks.where(v.org.num, num)
	err = v.c.each(fmt.Sprintf("SELECT due_ms, record, person FROM work WHERE %s ORDER BY due_ms, record LIMIT CAST($%d AS BIGINT)", cond, len(args)+1),
		append(args, int64(limit)), func(rows *sql.Rows) error {
			w := Work{Reason: asks.Reason}
			var person []byte
			err := rows.Scan(&w.DueMS, (*scanID)(&w.Record), &person)
			copy(w.Person[:], person)
			work = append(work, w)
			return err
		})
	return work, err
}

// CountWork implements DeskView.
func (v *view) CountWork(desk syncengine.ScopeKey, asks Asks, most int) (int, error) {
	num, ok, err := v.scopeNumber(desk)
	if err != nil || !ok {
		return 0, err
	}
	var n int64
	cond, args := asks.where(v.org.num, num)
	_, err = v.c.one(fmt.Sprintf("SELECT COUNT(*) FROM (SELECT 1 FROM work WHERE %s LIMIT CAST($%d AS BIGINT)) found", cond, len(args)+1), append(args, int64(most)), &n)
	return int(n), err
}

// Load implements DeskView.
func (v *view) Load(desks []syncengine.ScopeKey, reason int, fromMS, beforeMS int64) (map[syncengine.ID]int, error) {
	args, in := []any{v.org.num, int64(reason), fromMS, beforeMS}, []string{}
	for _, desk := range desks {
		num, ok, err := v.scopeNumber(desk)
		if err != nil {
			return nil, err
		}
		if ok {
			args = append(args, num)
			in = append(in, fmt.Sprintf("$%d", len(args)))
		}
	}
	load := map[syncengine.ID]int{}
	if len(in) == 0 {
		return load, nil
	}
	count := "COUNT(DISTINCT record)"
	if len(in) == 1 {
		// It is there once.
		count = "COUNT(*)"
	}
	query := "SELECT person, " + count + " FROM work WHERE org = $1 AND reason = $2 AND due_ms >= $3 AND due_ms < $4 AND desk IN (" + strings.Join(in, ", ") + ") GROUP BY person"
	err := v.c.each(query, args, func(rows *sql.Rows) error {
		var person []byte
		var n int64
		err := rows.Scan(&person, &n)
		var id syncengine.ID
		copy(id[:], person)
		load[id] = int(n)
		return err
	})
	return load, err
}

// WorkOf implements DeskView.
func (v *view) WorkOf(desk syncengine.ScopeKey, record syncengine.ID) (work []Work, err error) {
	num, ok, err := v.scopeNumber(desk)
	if err != nil || !ok {
		return nil, err
	}
	err = v.c.each("SELECT reason, due_ms FROM work WHERE org = $1 AND desk = $2 AND record = $3 ORDER BY reason", []any{v.org.num, num, record[:]},
		func(rows *sql.Rows) error {
			w := Work{Record: record}
			var reason int64
			err := rows.Scan(&reason, &w.DueMS)
			w.Reason = int(reason)
			work = append(work, w)
			return err
		})
	return work, err
}

// noWork takes away what a record asks for at a desk. It finds the rows first, and deletes by the
// whole key: for a DELETE, SQLite would go through all of a desk rather than look up the record.
const noWork = "DELETE FROM work WHERE org = $1 AND desk = $2 AND record = $3 AND (reason, due_ms) IN (SELECT reason, due_ms FROM work WHERE org = $1 AND desk = $2 AND record = $3)"

// SetWork puts what a record asks for at a desk in the place of what it asked for.
func (tx *Tx) SetWork(desk syncengine.ScopeKey, record syncengine.ID, work []Work) error {
	num, err := tx.mustScope(desk)
	if err != nil {
		return err
	}
	tx.writes++
	if err := tx.c.exec(noWork, tx.org.num, num, record[:]); err != nil {
		return err
	}
	for _, w := range work {
		err := tx.c.exec("INSERT INTO work (org, desk, reason, due_ms, record, person) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
			tx.org.num, num, int64(w.Reason), w.DueMS, record[:], jobID(w.Person))
		if err != nil {
			return err
		}
	}
	return nil
}

// SetWorked notes up to which row of the scope index a scope is worked out.
func (tx *Tx) SetWorked(scope syncengine.ScopeKey, seq uint64, record syncengine.ID) error {
	num, err := tx.mustScope(scope)
	if err != nil {
		return err
	}
	tx.writes++
	return tx.c.exec("INSERT INTO worked (org, scope, seq, record) VALUES ($1, $2, $3, $4) ON CONFLICT (org, scope) DO UPDATE SET seq = excluded.seq, record = excluded.record",
		tx.org.num, num, int64(seq), record[:])
}

// Readers implements DeskView.
func (v *view) Readers(record syncengine.ID) (readers []Reader, err error) {
	err = v.c.each("SELECT person, first_ms, last_ms, times FROM reader WHERE org = $1 AND record = $2 ORDER BY last_ms DESC, person", []any{v.org.num, record[:]},
		func(rows *sql.Rows) error {
			var r Reader
			var times int64
			err := rows.Scan((*scanID)(&r.Person), &r.FirstMS, &r.LastMS, &times)
			r.Times = int(times)
			readers = append(readers, r)
			return err
		})
	return readers, err
}

// Reading implements DeskView.
func (v *view) Reading() (n int64, err error) {
	_, err = v.c.one("SELECT n FROM reading WHERE org = $1", []any{v.org.num}, &n)
	return n, err
}

// SetReading notes that the log was gone through before an entry.
func (tx *Tx) SetReading(n int64) error {
	tx.writes++
	return tx.c.exec("INSERT INTO reading (org, n) VALUES ($1, $2) ON CONFLICT (org) DO UPDATE SET n = excluded.n", tx.org.num, n)
}

// SawRecord notes that somebody opened a record.
func (tx *Tx) SawRecord(record, person syncengine.ID, atMS int64) error {
	tx.writes++
	return tx.c.exec(`INSERT INTO reader (org, record, person, first_ms, last_ms, times) VALUES ($1, $2, $3, $4, $4, 1)
		ON CONFLICT (org, record, person) DO UPDATE SET times = reader.times + 1,
		first_ms = CASE WHEN excluded.first_ms < reader.first_ms THEN excluded.first_ms ELSE reader.first_ms END,
		last_ms = CASE WHEN excluded.last_ms > reader.last_ms THEN excluded.last_ms ELSE reader.last_ms END`,
		tx.org.num, record[:], person[:], atMS)
}

// AuditSize implements DeskView.
func (v *view) AuditSize() (size int64, err error) {
	_, err = v.c.one("SELECT size FROM audit_head WHERE org = $1", []any{v.org.num}, &size)
	return size, err
}

// EachAudit implements DeskView.
func (v *view) EachAudit(from int64, limit int, f func(n int64, raw []byte) error) error {
	return v.c.each("SELECT n, entry FROM audit WHERE org = $1 AND n >= $2 ORDER BY n LIMIT CAST($3 AS BIGINT)", []any{v.org.num, from, int64(limit)}, eachEntry(f))
}

// OpenItems implements DeskView.
func (v *view) OpenItems(record syncengine.ID) (items []syncengine.Item, err error) {
	err = v.c.each("SELECT kind, path FROM item WHERE org = $1 AND record = $2 AND closed_seq IS NULL ORDER BY opened_seq, kind, path", []any{v.org.num, record[:]},
		func(rows *sql.Rows) error {
			var kind string
			var path []byte
			if err := rows.Scan(&kind, &path); err != nil {
				return err
			}
			u := unpack(path)
			items = append(items, syncengine.Item{Kind: syncengine.ItemKind(kind), Path: u.path()})
			return u.err()
		})
	return items, err
}
