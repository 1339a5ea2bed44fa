package store

import (
	"github.com/tandem-response/tandem/syncengine"
)

// recordEntry is a record as a transaction sees it.
type recordEntry struct {
	// rec is nil where there is none.
	rec *syncengine.StoredRecord
	// was is the row in the database, nil for none; shared: its body may be lacking
	// in its creating change.
	was           *syncengine.StoredRecord
	shared, dirty bool
}

func (tx *Tx) prefetchRecords(ids []syncengine.ID) error {
	wanted := make([]syncengine.ID, 0, len(ids))
	for _, id := range ids {
		if _, known := tx.records[id]; !known {
			// No row, unless one is found below.
			tx.records[id] = &recordEntry{}
			wanted = append(wanted, id)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	rows, err := tx.nearRecords(wanted)
	if err != nil {
		for _, id := range wanted {
			delete(tx.records, id)
		}
		return err
	}
	for _, row := range rows {
		*tx.records[row.ID] = recordEntry{rec: row.StoredRecord, was: row.StoredRecord, shared: row.shared}
	}
	return nil
}

func (tx *Tx) record(id syncengine.ID) (*recordEntry, error) {
	if e := tx.records[id]; e != nil {
		return e, nil
	}
	if err := tx.prefetchRecords([]syncengine.ID{id}); err != nil {
		return nil, err
	}
	return tx.records[id], nil
}

// Record implements syncengine.ServerView.
func (tx *Tx) Record(id syncengine.ID) (*syncengine.StoredRecord, error) {
	e, err := tx.record(id)
	if err != nil {
		return nil, err
	}
	return e.rec, nil
}

// Records implements syncengine.ServerView.
func (tx *Tx) Records(ids []syncengine.ID) ([]*syncengine.StoredRecord, error) {
	if err := tx.prefetchRecords(ids); err != nil {
		return nil, err
	}
	found := make([]*syncengine.StoredRecord, 0, len(ids))
	seen := make(map[syncengine.ID]bool, len(ids))
	for _, id := range ids {
		if e := tx.records[id]; e.rec != nil && !seen[id] {
			seen[id] = true
			found = append(found, e.rec)
		}
	}
	return found, nil
}

// SaveRecord implements syncengine.ServerTx.
func (tx *Tx) SaveRecord(r *syncengine.StoredRecord) error {
	e, err := tx.record(r.ID)
	if err != nil {
		return err
	}
	tx.writes++
	e.rec = r
	if !e.dirty {
		e.dirty = true
		tx.dirty = append(tx.dirty, e)
	}
	return nil
}
