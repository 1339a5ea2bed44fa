package store

import (
	"bytes"
	"database/sql"

	"github.com/tandem-response/tandem/syncengine"
)

// Alike implements DeskView.
func (v *view) Alike(desk syncengine.ScopeKey, key int64, limit int) (records []syncengine.ID, err error) {
	num, ok, err := v.scopeNumber(desk)
	if err != nil || !ok {
		return nil, err
	}
	err = v.c.each("SELECT record FROM likeness WHERE org = $1 AND desk = $2 AND key = $3 ORDER BY record LIMIT CAST($4 AS BIGINT)",
		[]any{v.org.num, num, key, int64(limit)}, eachID(&records))
	return records, err
}

// LikenessKeys implements DeskView.
func (v *view) LikenessKeys(desk syncengine.ScopeKey, record syncengine.ID) (keys []int64, err error) {
	num, ok, err := v.scopeNumber(desk)
	if err != nil || !ok {
		return nil, err
	}
	err = v.c.each("SELECT key FROM likeness WHERE org = $1 AND desk = $2 AND record = $3 ORDER BY key", []any{v.org.num, num, record[:]}, func(rows *sql.Rows) error {
		var key int64
		err := rows.Scan(&key)
		keys = append(keys, key)
		return err
	})
	return keys, err
}

// Apart implements DeskView.
func (v *view) Apart(record syncengine.ID) (others []syncengine.ID, err error) {
	err = v.c.each("SELECT high FROM apart WHERE org = $1 AND low = $2 UNION ALL SELECT low FROM apart WHERE org = $1 AND high = $2",
		[]any{v.org.num, record[:]}, eachID(&others))
	return others, err
}

func eachID(into *[]syncengine.ID) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var id syncengine.ID
		err := rows.Scan((*scanID)(&id))
		*into = append(*into, id)
		return err
	}
}

const noLikeness = "DELETE FROM likeness WHERE org = $1 AND desk = $2 AND record = $3"

// SetLikeness puts the keys of a record at a desk in the place of those that it had.
func (tx *Tx) SetLikeness(desk syncengine.ScopeKey, record syncengine.ID, keys []int64) error {
	num, err := tx.mustScope(desk)
	if err != nil {
		return err
	}
	tx.writes++
	if err := tx.c.exec(noLikeness, tx.org.num, num, record[:]); err != nil {
		return err
	}
	for _, key := range keys {
		if err := tx.c.exec("INSERT INTO likeness (org, desk, key, record) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", tx.org.num, num, key, record[:]); err != nil {
			return err
		}
	}
	return nil
}

// SetApart notes that somebody said of two records that they are two people.
func (tx *Tx) SetApart(a, b, person syncengine.ID, atMS int64) error {
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	tx.writes++
	return tx.c.exec("INSERT INTO apart (org, low, high, person, at_ms) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING", tx.org.num, a[:], b[:], person[:], atMS)
}
