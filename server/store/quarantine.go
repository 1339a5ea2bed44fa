package store

import (
	"context"
	"database/sql"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// Quarantine implements syncengine.ServerTx.
func (tx *Tx) Quarantine(c *syncengine.StoredChange, targets []syncengine.ID) error {
	tx.writes++
	tx.fill(tableQuarantine)
	err := tx.c.exec("INSERT INTO quarantine (org, stamp, id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
		tx.org.num, int64(syncengine.StampOf(c.ID)), c.ID[:])
	if err != nil {
		return err
	}
	makes := map[syncengine.ID]bool{}
	if change := (&tandemv1.Change{}); proto.Unmarshal(c.Body, change) == nil {
		for _, w := range change.GetRecords() {
			if id, ok := syncengine.IDFromBytes(w.GetRecord()); ok && w.GetAct() == tandemv1.Act_ACT_CREATE {
				makes[id] = true
			}
		}
	}
	for _, target := range targets {
		err := tx.c.exec("INSERT INTO quarantine_target (org, record, id, makes) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
			tx.org.num, target[:], c.ID[:], boolArg(makes[target]))
		if err != nil {
			return err
		}
	}
	return nil
}

// QuarantinedCreate implements syncengine.ServerTx.
func (tx *Tx) QuarantinedCreate(record syncengine.ID) (bool, error) {
	some, err := tx.hasRows(tableQuarantine)
	if err != nil || !some {
		return false, err
	}
	var one int
	return tx.c.one("SELECT 1 FROM quarantine_target WHERE org = $1 AND record = $2 AND makes = 1", []any{tx.org.num, record[:]}, &one)
}

// QuarantinedByStamp implements syncengine.ServerTx.
func (tx *Tx) QuarantinedByStamp(s syncengine.Stamp) (*syncengine.StoredChange, error) {
	some, err := tx.hasRows(tableQuarantine)
	if err != nil || !some {
		return nil, err
	}
	var one int
	if found, err := tx.c.one("SELECT 1 FROM quarantine WHERE org = $1 AND stamp = $2", []any{tx.org.num, int64(s)}, &one); err != nil || !found {
		return nil, err
	}
	return tx.ChangeByStamp(s)
}

// release takes a change out of quarantine where a new verdict says so.
func (tx *Tx) release(c *syncengine.StoredChange) error {
	if c.Outcome.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED {
		return nil
	}
	if err := tx.c.exec("DELETE FROM quarantine WHERE org = $1 AND stamp = $2 AND id = $3", tx.org.num, int64(syncengine.StampOf(c.ID)), c.ID[:]); err != nil {
		return err
	}
	return tx.c.exec("DELETE FROM quarantine_target WHERE org = $1 AND id = $2", tx.org.num, c.ID[:])
}

// Quarantined returns the changes that lie in quarantine, oldest first, whole: raw
// bytes, code and fields.
func (s *Store) Quarantined(ctx context.Context, org syncengine.ID) ([]*syncengine.StoredChange, error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	var out []*syncengine.StoredChange
	err = s.viewing(ctx, o, func(v *view) error {
		rows, err := v.changes("EXISTS (SELECT 1 FROM quarantine q WHERE q.org = change.org AND q.stamp = change.stamp AND q.id = change.id) ORDER BY seq")
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := v.whole(row); err != nil {
				return err
			}
			out = append(out, row.StoredChange)
		}
		return nil
	})
	return out, err
}

// scanInto gathers rows of the change log.
func scanInto(found *[]*changeRow) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		row, err := scanChange(rows)
		*found = append(*found, row)
		return err
	}
}
