package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrCompactBusy says that somebody reads an old state of the database, whose pages cannot
// be let go.
var ErrCompactBusy = errors.New("the database is compact, but somebody reads an older state of it, so that its log could not be emptied: try again when no backup and no export is under way")

// mostInMemory is the largest database that is rewritten in memory; a larger one goes
// through a temporary file.
const mostInMemory = 256 << 20

// compactTries is how often the log is tried to be emptied, and how long apart.
const (
	compactTries = 20
	compactWait  = 100 * time.Millisecond
)

// Compact rewrites the database, so that nothing of what was removed is left in its files:
// SQLite's file whole, and its log emptied; of PostgreSQL's tables those that hold words.
// Nobody writes meanwhile, and on PostgreSQL nobody reads these tables, for about as long
// as copying the database takes. What backups and PostgreSQL's own log hold is not touched.
func (s *Store) Compact(ctx context.Context) error {
	return s.submit(&job{ctx: ctx, apart: s.compact})
}

func (s *Store) compact(c *conn) error {
	if s.remote != nil {
		return s.compactRemote(c.ctx)
	}
	if err := s.inPlace(); err != nil {
		return err
	}
	var pages, size int64
	if _, err := c.one("PRAGMA page_count", nil, &pages); err != nil {
		return err
	}
	if _, err := c.one("PRAGMA page_size", nil, &size); err != nil {
		return err
	}
	if pages*size > mostInMemory {
		if err := c.exec("PRAGMA temp_store = FILE"); err != nil {
			return err
		}
		defer c.exec("PRAGMA temp_store = MEMORY") //nolint:errcheck // It was so before, and costs memory alone.
	}
	if err := c.exec("VACUUM"); err != nil {
		return fmt.Errorf("compacting the database: %w", err)
	}
	for range compactTries {
		var busy, logged, copied int64
		if _, err := c.one("PRAGMA wal_checkpoint(TRUNCATE)", nil, &busy, &logged, &copied); err != nil {
			return fmt.Errorf("compacting the database: %w", err)
		}
		if busy == 0 {
			return nil
		}
		time.Sleep(compactWait)
	}
	return ErrCompactBusy
}

// wordyTables are those that hold what people wrote.
var wordyTables = []string{"record", "change", "blob_chunk", "witness", "item", "likeness"}

// compactRemote rewrites those of PostgreSQL, and what its planner remembers of them. What
// an older state still sees would be copied: it waits until nobody reads one.
func (s *Store) compactRemote(ctx context.Context) error {
	for try := 0; ; try++ {
		older := 0
		err := s.writerDB.QueryRowContext(ctx, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
			AND backend_xmin IS NOT NULL AND age(backend_xmin) > age(pg_snapshot_xmin(pg_current_snapshot())::xid)`).Scan(&older)
		if err != nil {
			return fmt.Errorf("compacting the database: %w", classify(err))
		}
		if older == 0 {
			break
		}
		if try == compactTries {
			return ErrCompactBusy
		}
		time.Sleep(compactWait)
	}
	for _, table := range wordyTables {
		if _, err := s.writerDB.ExecContext(ctx, "VACUUM (FULL, ANALYZE) "+schemaName+"."+table); err != nil {
			return fmt.Errorf("compacting the database: %w", classify(err))
		}
	}
	return nil
}
