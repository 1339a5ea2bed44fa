package store

import (
	"database/sql"
	"encoding/binary"

	"github.com/tandem-response/tandem/syncengine"
)

// recordColumns are read by scanRecord, in this order.
const recordColumns = "kind, seq, hash, plain, shared, run_replica, run_base, touch_base, id, scopes, touches, co_authors, stamps, body"

// recordRow is a row of the table of records.
type recordRow struct {
	*syncengine.StoredRecord
	// shared: the creating change may have left its body to this row.
	shared bool
	run    sql.NullInt64
	scopes []byte
}

// scanRecord reads a row; resolve completes it, with queries of its own if need be.
func scanRecord(rows *sql.Rows) (*recordRow, error) {
	rec := &syncengine.StoredRecord{}
	row := &recordRow{StoredRecord: rec}
	var kind, seq, hash, plain, shared, runBase, touchBase int64
	var touches, coAuthors []byte
	err := rows.Scan(&kind, &seq, &hash, &plain, &shared, &row.run, &runBase, &touchBase, (*scanID)(&rec.ID), &row.scopes, &touches, &coAuthors, &rec.Stamps, &rec.Body)
	if err != nil {
		return nil, err
	}
	rec.Kind, rec.Seq, rec.Hash, rec.Plain, row.shared = uint32(kind), uint64(seq), syncengine.RowHash(hash), plain != 0, shared != 0
	rec.RunBase, rec.TouchBase = uint64(runBase), uint64(touchBase)
	rec.CoAuthors = splitIDs(coAuthors)
	rec.Touches, err = unpackTouches(touches)
	return row, err
}

// resolve puts ids in the place of numbers.
func (v *view) resolve(row *recordRow) (err error) {
	if row.run.Valid {
		r, err := v.replicaByNum(row.run.Int64)
		if err != nil {
			return err
		}
		row.RunReplica = r.id
	}
	row.Scopes, err = v.unpackScopes(row.scopes)
	return err
}

func (v *view) unpackScopes(b []byte) ([]syncengine.ScopeKey, error) {
	if len(b) == 0 {
		return nil, nil
	}
	scopes := make([]syncengine.ScopeKey, 0, len(b))
	u := unpack(b)
	for u.more() {
		k, err := v.scopeKey(int64(u.uint()))
		if err != nil {
			return nil, err
		}
		scopes = append(scopes, k)
	}
	return scopes, u.err()
}

func packNumbers(nums []int64) []byte {
	b := make([]byte, 0, len(nums))
	for _, n := range nums {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

// Record implements syncengine.ServerView.
func (v *view) Record(id syncengine.ID) (*syncengine.StoredRecord, error) {
	rows, err := v.records([]syncengine.ID{id})
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0].StoredRecord, nil
}

// Records implements syncengine.ServerView.
func (v *view) Records(ids []syncengine.ID) ([]*syncengine.StoredRecord, error) {
	rows, err := v.records(ids)
	if err != nil {
		return nil, err
	}
	found := make([]*syncengine.StoredRecord, len(rows))
	for i, row := range rows {
		found[i] = row.StoredRecord
	}
	return found, nil
}

// nearRecords is records of many that most likely are not there.
func (v *view) nearRecords(ids []syncengine.ID) ([]*recordRow, error) {
	ids, err := v.near("SELECT 1 FROM record WHERE org = $1 AND id BETWEEN $2 AND $3 LIMIT 1", ids)
	if err != nil {
		return nil, err
	}
	return v.records(ids)
}

// records returns those of the records that are there.
func (v *view) records(ids []syncengine.ID) ([]*recordRow, error) {
	keys := make([]any, len(ids))
	for i := range ids {
		keys[i] = ids[i][:]
	}
	found := make([]*recordRow, 0, len(ids))
	err := v.c.eachIn(v.s.dialect, "SELECT "+recordColumns+" FROM record WHERE org = $1 AND id IN", []any{v.org.num}, keys, "",
		func(rows *sql.Rows) error {
			row, err := scanRecord(rows)
			found = append(found, row)
			return err
		})
	if err != nil {
		return nil, err
	}
	for _, row := range found {
		if err := v.resolve(row); err != nil {
			return nil, err
		}
	}
	return found, nil
}
