package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"

	"github.com/tandem-response/tandem/syncengine"
)

// OpenItem implements syncengine.ServerTx.
func (tx *Tx) OpenItem(record syncengine.ID, item syncengine.Item, seq uint64) error {
	tx.writes++
	tx.fill(tableItem)
	path := appendPath(nil, item.Path)
	if item.Kind == syncengine.ItemByPolicy {
		return tx.c.exec("INSERT INTO item (org, record, kind, path, opened_seq, closed_seq) VALUES ($1, $2, $3, $4, $5, $6)",
			tx.org.num, record[:], string(item.Kind), path, int64(seq), int64(seq))
	}
	return tx.c.exec("INSERT INTO item (org, record, kind, path, opened_seq) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
		tx.org.num, record[:], string(item.Kind), path, int64(seq))
}

// CloseItems implements syncengine.ServerTx.
func (tx *Tx) CloseItems(record syncengine.ID, p syncengine.Path, seq uint64) error {
	some, err := tx.hasRows(tableItem)
	if err != nil || !some {
		return err
	}
	tx.writes++
	return tx.c.exec("UPDATE item SET closed_seq = $1 WHERE org = $2 AND record = $3 AND path = $4 AND closed_seq IS NULL",
		int64(seq), tx.org.num, record[:], appendPath(nil, p))
}

// WorkItem is an item with its record and its life.
type WorkItem struct {
	syncengine.Item
	Record syncengine.ID
	// OpenedSeq and ClosedSeq are sequences; ClosedSeq is 0 while it is open.
	OpenedSeq, ClosedSeq uint64
	// Author and times of the change that opened it, as entered and as the server
	// corrects them; UncertaintyMS is -1 where nothing bounds it, and all are zero where no
	// change of the log has that sequence.
	Author                           syncengine.ID
	AtMS, CorrectedMS, UncertaintyMS int64
}

// Items returns the work items of an org, open ones only or all, in the order in
// which they were opened.
func (s *Store) Items(ctx context.Context, org syncengine.ID, openOnly bool) ([]WorkItem, error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	where := ""
	if openOnly {
		where = " AND i.closed_seq IS NULL"
	}
	var items []WorkItem
	err = s.viewing(ctx, o, func(v *view) error {
		if err := v.c.each("SELECT i.record, i.kind, i.path, i.opened_seq, i.closed_seq FROM item i WHERE i.org = $1"+where+
			" ORDER BY i.opened_seq, i.record, i.kind, i.path", []any{o.num}, func(rows *sql.Rows) error {
			var w WorkItem
			var kind string
			var path []byte
			var opened int64
			var closed sql.NullInt64
			if err := rows.Scan((*scanID)(&w.Record), &kind, &path, &opened, &closed); err != nil {
				return err
			}
			u := unpack(path)
			w.Kind, w.Path = syncengine.ItemKind(kind), u.path()
			w.OpenedSeq, w.ClosedSeq = uint64(opened), uint64(closed.Int64)
			items = append(items, w)
			return u.err()
		}); err != nil || len(items) == 0 {
			return err
		}
		return v.openers(items)
	})
	return items, err
}

// openers says of items, in the order in which they were opened, who did it and when. The log has
// no index by sequence, so that all of it since the first is gone through once.
func (v *view) openers(items []WorkItem) error {
	return v.c.each(`SELECT c.seq, COALESCE(c.author, r.person), c.at_ms, c.corrected_ms, c.uncertainty_ms
		FROM change c LEFT JOIN replica r ON r.org = c.org AND r.num = c.replica WHERE c.org = $1 AND c.seq >= $2`,
		[]any{v.org.num, int64(items[0].OpenedSeq)}, func(rows *sql.Rows) error {
			var w WorkItem
			var seq int64
			var at, corrected, uncertainty sql.NullInt64
			if err := rows.Scan(&seq, (*scanID)(&w.Author), &at, &corrected, &uncertainty); err != nil {
				return err
			}
			i, _ := slices.BinarySearchFunc(items, uint64(seq), func(w WorkItem, seq uint64) int { return cmp.Compare(w.OpenedSeq, seq) })
			for ; i < len(items) && items[i].OpenedSeq == uint64(seq); i++ {
				items[i].Author, items[i].AtMS, items[i].CorrectedMS, items[i].UncertaintyMS = w.Author, at.Int64, corrected.Int64, uncertainty.Int64
			}
			return nil
		})
}
