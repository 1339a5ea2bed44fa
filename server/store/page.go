package store

import (
	"database/sql"

	"github.com/tandem-response/tandem/syncengine"
)

var (
	_ syncengine.PageReader = (*view)(nil)
	_ syncengine.PageReader = (*Tx)(nil)
)

// Page implements syncengine.PageReader.
func (v *view) Page(scope syncengine.ScopeKey, seq uint64, record syncengine.ID, limit int) ([]syncengine.Member, []*syncengine.StoredRecord, error) {
	num, ok, err := v.scopeNumber(scope)
	if err != nil || !ok {
		return nil, nil, err
	}
	members := make([]syncengine.Member, 0, limit)
	rows := make([]*recordRow, 0, limit)
	err = v.c.each(`SELECT s.seq, s.record, s.live, r.kind, r.seq, r.hash, r.plain, r.run_replica, r.run_base, r.touch_base,
			r.scopes, r.touches, r.co_authors, r.stamps, r.body
		FROM scope_index s LEFT JOIN record r ON r.org = s.org AND r.id = s.record
		WHERE s.org = $1 AND s.scope = $2 AND (s.seq, s.record) > ($3, $4) ORDER BY s.seq, s.record LIMIT CAST($5 AS BIGINT)`,
		[]any{v.org.num, num, int64(seq), record[:], int64(limit)}, func(r *sql.Rows) error {
			m, row, err := scanMember(r)
			members, rows = append(members, m), append(rows, row)
			return err
		})
	if err != nil {
		return nil, nil, err
	}
	recs := make([]*syncengine.StoredRecord, len(rows))
	for i, row := range rows {
		if row == nil {
			continue
		}
		if err := v.resolve(row); err != nil {
			return nil, nil, err
		}
		recs[i] = row.StoredRecord
	}
	return members, recs, nil
}

// scanMember reads a row of the scope index and the record beside it, nil where
// there is none.
func scanMember(rows *sql.Rows) (m syncengine.Member, row *recordRow, err error) {
	rec := &syncengine.StoredRecord{}
	row = &recordRow{StoredRecord: rec}
	var at, live int64
	var kind, seq, hash, plain, runBase, touchBase scanInt
	var touches, coAuthors []byte
	err = rows.Scan(&at, (*scanID)(&m.Record), &live, &kind, &seq, &hash, &plain, &row.run, &runBase, &touchBase,
		&row.scopes, &touches, &coAuthors, &rec.Stamps, &rec.Body)
	if err != nil {
		return m, nil, err
	}
	m.Seq, m.Live = uint64(at), live != 0
	if kind == 0 {
		return m, nil, nil
	}
	rec.ID, rec.Kind, rec.Seq, rec.Hash, rec.Plain = m.Record, uint32(kind), uint64(seq), syncengine.RowHash(hash), plain != 0
	rec.RunBase, rec.TouchBase = uint64(runBase), uint64(touchBase)
	rec.CoAuthors = splitIDs(coAuthors)
	rec.Touches, err = unpackTouches(touches)
	return m, row, err
}

// RecordsOf implements syncengine.PageReader. What has been committed a moment ago
// is still at hand.
func (v *view) RecordsOf(members []syncengine.Member) ([]*syncengine.StoredRecord, error) {
	found, missing := v.s.recent.records(v.org, members)
	if len(missing) == 0 {
		return found, nil
	}
	more, err := v.Records(missing)
	return append(found, more...), err
}

// Page implements syncengine.PageReader.
func (tx *Tx) Page(scope syncengine.ScopeKey, seq uint64, record syncengine.ID, limit int) ([]syncengine.Member, []*syncengine.StoredRecord, error) {
	if err := tx.flush(); err != nil {
		return nil, nil, err
	}
	return tx.view.Page(scope, seq, record, limit)
}

// RecordsOf implements syncengine.PageReader.
func (tx *Tx) RecordsOf(members []syncengine.Member) ([]*syncengine.StoredRecord, error) {
	ids := make([]syncengine.ID, len(members))
	for i, m := range members {
		ids[i] = m.Record
	}
	return tx.Records(ids)
}

// Stretch implements syncengine.ServerView.
func (v *view) Stretch(scope syncengine.ScopeKey, from, to syncengine.Place, limit int) (live int, left []syncengine.Member, err error) {
	num, ok, err := v.scopeNumber(scope)
	if err != nil || !ok {
		return 0, nil, err
	}
	const where = " FROM scope_index WHERE org = $1 AND scope = $2 AND (seq, record) > ($3, $4) AND (seq, record) <= ($5, $6)"
	args := []any{v.org.num, num, int64(from.Seq), from.Record[:], int64(to.Seq), to.Record[:]}
	var all, in int64
	if _, err := v.c.one("SELECT count(*), CAST(coalesce(sum(live), 0) AS BIGINT)"+where, args, &all, &in); err != nil || all == in {
		return int(in), nil, err
	}
	err = v.c.each("SELECT seq, record"+where+" AND live = 0 ORDER BY seq, record LIMIT CAST($7 AS BIGINT)", append(args, int64(limit)), func(rows *sql.Rows) error {
		var m syncengine.Member
		var at int64
		if err := rows.Scan(&at, (*scanID)(&m.Record)); err != nil {
			return err
		}
		m.Seq = uint64(at)
		left = append(left, m)
		return nil
	})
	return int(in), left, err
}

// Stretch implements syncengine.ServerView.
func (tx *Tx) Stretch(scope syncengine.ScopeKey, from, to syncengine.Place, limit int) (int, []syncengine.Member, error) {
	if err := tx.flush(); err != nil {
		return 0, nil, err
	}
	return tx.view.Stretch(scope, from, to, limit)
}
