package store

import (
	"context"
	"database/sql"

	"github.com/tandem-response/tandem/syncengine"
)

// EachRecord calls f for each record of a kind, of every kind for 0, in one
// snapshot; in no order that means anything. f must not keep the snapshot waiting
// for people or networks.
func (s *Store) EachRecord(ctx context.Context, org syncengine.ID, kind uint32, f func(*syncengine.StoredRecord) error) error {
	o, err := s.Org(ctx, org)
	if err != nil {
		return err
	}
	return s.viewing(ctx, o, func(v *view) error {
		return v.eachRecord(kind, func(rec *syncengine.StoredRecord) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return f(rec)
		})
	})
}

func (v *view) eachRecord(kind uint32, f func(*syncengine.StoredRecord) error) error {
	where, args := "", []any{v.org.num}
	if kind != 0 {
		where, args = " AND kind = $2", append(args, int64(kind))
	}
	// The numbers are read first: a query of them while rows are open would need a
	// second cursor on the connection, which not every engine has.
	if !v.loaded {
		if err := v.load(); err != nil {
			return err
		}
	}
	return v.c.each("SELECT "+recordColumns+" FROM record WHERE org = $1"+where, args, func(rows *sql.Rows) error {
		row, err := scanRecord(rows)
		if err != nil {
			return err
		}
		if err := v.resolve(row); err != nil {
			return err
		}
		return f(row.StoredRecord)
	})
}
