package store

import (
	"database/sql"

	"github.com/tandem-response/tandem/syncengine"
)

// Janitor returns what the org's janitor knows.
func (v *view) Janitor() (j syncengine.Janitor, err error) {
	var stopped sql.NullInt64
	_, err = v.c.one("SELECT last_ms, stopped_ms FROM janitor WHERE org = $1", []any{v.org.num}, &j.LastMS, &stopped)
	j.StoppedMS = stopped.Int64
	return j, err
}

// SaveJanitor stores it.
func (tx *Tx) SaveJanitor(j syncengine.Janitor) error {
	tx.writes++
	var stopped any
	if j.StoppedMS != 0 {
		stopped = j.StoppedMS
	}
	return tx.c.exec(`INSERT INTO janitor (org, last_ms, stopped_ms) VALUES ($1, $2, $3)
		ON CONFLICT (org) DO UPDATE SET last_ms = excluded.last_ms, stopped_ms = excluded.stopped_ms`, tx.org.num, j.LastMS, stopped)
}

// SaveMark notes where the history stands at a time of the server's clock.
func (tx *Tx) SaveMark(atMS int64, seq uint64) error {
	tx.writes++
	return tx.c.exec("INSERT INTO janitor_mark (org, at_ms, seq) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", tx.org.num, atMS, int64(seq))
}

// DropMarks forgets where the history stood when.
func (tx *Tx) DropMarks() error {
	tx.writes++
	return tx.c.exec("DELETE FROM janitor_mark WHERE org = $1", tx.org.num)
}

// MarkBefore returns the newest mark that is not after a time; ok is false where there
// is none.
func (v *view) MarkBefore(atMS int64) (markMS int64, seq uint64, ok bool, err error) {
	var at int64
	ok, err = v.c.one("SELECT at_ms, seq FROM janitor_mark WHERE org = $1 AND at_ms <= $2 ORDER BY at_ms DESC LIMIT 1",
		[]any{v.org.num, atMS}, &markMS, &at)
	return markMS, uint64(at), ok, err
}

// OpenScopes returns the scopes of the open tier.
func (v *view) OpenScopes() (scopes []syncengine.ScopeKey, err error) {
	var nums []int64
	err = v.c.each("SELECT num FROM scope WHERE org = $1 AND open <> 0 ORDER BY num", []any{v.org.num}, func(rows *sql.Rows) error {
		var num int64
		err := rows.Scan(&num)
		nums = append(nums, num)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, num := range nums {
		k, err := v.scopeKey(num)
		if err != nil {
			return nil, err
		}
		scopes = append(scopes, k)
	}
	return scopes, nil
}
