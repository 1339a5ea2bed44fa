package store

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"strconv"

	"github.com/tandem-response/tandem/syncengine"
)

// Snapshot is one state of an org, read in the order of record ids. Not safe for
// concurrent use.
type Snapshot struct {
	v   *view
	ctx context.Context //nolint:containedctx // It ends with the call of Store.Snapshot.
}

// snapshotPage is how many records are held in memory at a time.
const snapshotPage = 256

// Snapshot runs f over one state of an org. The snapshot must not be used after f
// returns, and f must not keep it waiting for people or networks. Writing to the store
// meanwhile is allowed, and seen by nobody inside.
func (s *Store) Snapshot(ctx context.Context, org syncengine.ID, f func(*Snapshot) error) error {
	o, err := s.Org(ctx, org)
	if err != nil {
		return err
	}
	return s.viewing(ctx, o, func(v *view) error { return f(&Snapshot{v: v, ctx: ctx}) })
}

// Snapshot is the state as the transaction has it, to be read before the transaction writes on.
func (tx *Tx) Snapshot(ctx context.Context) (*Snapshot, error) {
	if err := tx.flush(); err != nil {
		return nil, err
	}
	return &Snapshot{v: &tx.view, ctx: ctx}, nil
}

// NowMS reads the database's clock.
func (s *Snapshot) NowMS() (int64, error) { return s.v.NowMS() }

// Head returns the newest commit of the state.
func (s *Snapshot) Head() (syncengine.HistoryHead, error) { return s.v.Head() }

// View returns the state as the engine reads it.
func (s *Snapshot) View() syncengine.ServerView { return s.v }

// Record returns one record, nil where there is none.
func (s *Snapshot) Record(id syncengine.ID) (*syncengine.StoredRecord, error) { return s.v.Record(id) }

// Each calls f for each record of a kind, of every kind for 0, by id. f may read other
// records of the snapshot. Memory is bounded, however many records there are.
func (s *Snapshot) Each(kind uint32, f func(*syncengine.StoredRecord) error) error {
	if kind == 0 {
		return s.EachOf(nil, f)
	}
	return s.EachOf([]uint32{kind}, f)
}

// KindCount says how many records of a kind there are, and how many bytes are in them.
type KindCount struct {
	Kind           uint32
	Records, Bytes int64
}

// Kinds counts the records, by kind. It adds them up here: SQLite would sort all of them in
// memory to group them.
func (s *Snapshot) Kinds() ([]KindCount, error) {
	of := map[uint32]*KindCount{}
	if err := s.v.c.each("SELECT kind, COALESCE(LENGTH(body), 0) + COALESCE(LENGTH(stamps), 0) FROM record WHERE org = $1", []any{s.v.org.num}, func(rows *sql.Rows) error {
		var kind uint32
		var bytes int64
		if err := rows.Scan(&kind, &bytes); err != nil {
			return err
		}
		if of[kind] == nil {
			of[kind] = &KindCount{Kind: kind}
		}
		of[kind].Records++
		of[kind].Bytes += bytes
		return nil
	}); err != nil {
		return nil, err
	}
	var all []KindCount
	for _, kind := range slices.Sorted(maps.Keys(of)) {
		all = append(all, *of[kind])
	}
	return all, nil
}

// EachOf is Each for several kinds, all of them for none.
func (s *Snapshot) EachOf(kinds []uint32, f func(*syncengine.StoredRecord) error) error {
	only, args := "", []any{s.v.org.num, nil, int64(snapshotPage)}
	for i, kind := range kinds {
		only += map[bool]string{true: " AND kind IN (", false: ", "}[i == 0] + "$" + strconv.Itoa(len(args)+1)
		args = append(args, int64(kind))
	}
	if only != "" {
		only += ")"
	}
	query := "SELECT " + recordColumns + " FROM record WHERE org = $1 AND id > $2" + only + " ORDER BY id LIMIT CAST($3 AS BIGINT)"
	after := []byte{}
	page := make([]*recordRow, 0, snapshotPage)
	for {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		args[1] = after
		page = page[:0]
		if err := s.v.c.each(query, args, func(rows *sql.Rows) error {
			row, err := scanRecord(rows)
			page = append(page, row)
			return err
		}); err != nil {
			return err
		}
		for _, row := range page {
			if err := s.v.resolve(row); err != nil {
				return err
			}
			if err := f(row.StoredRecord); err != nil {
				return err
			}
		}
		if len(page) < snapshotPage {
			return nil
		}
		id := page[len(page)-1].ID
		after = id[:]
	}
}
