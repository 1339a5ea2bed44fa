package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tandem-response/tandem/syncengine"
	_ "modernc.org/sqlite" // the driver that client and server use
)

// benchRaw is what the machine can do at most, medians over the run.
type benchRaw struct {
	// SQLite: documents a second into one table, 500 a transaction, synchronous=FULL.
	SQLite float64 `json:"sqlite_per_s"`
	// Snapshot: documents a second out of a compressed file of that table, inflated,
	// written, synced and opened.
	Snapshot float64 `json:"snapshot_per_s"`
	// Copy and Rows: documents a second into one table of PostgreSQL by COPY, and by
	// inserts of 500 rows, a transaction each.
	Copy float64 `json:"postgres_copy_per_s,omitempty"`
	Rows float64 `json:"postgres_rows_per_s,omitempty"`
	// Append4 and Append600 are what it takes to append so many KiB to a file and sync
	// it.
	Append4P50   float64 `json:"fsync_4k_p50_ms"`
	Append4P99   float64 `json:"fsync_4k_p99_ms"`
	Append600P50 float64 `json:"fsync_600k_p50_ms"`
	Append600P99 float64 `json:"fsync_600k_p99_ms"`
}

// rawSamples are what was measured so far.
type rawSamples struct{ sqlite, snapshot, copied, rows, small, large []float64 }

// What one look at the raw limits takes in: small sets several times, large ones once.
const (
	rawRounds    = 3
	rawLarge     = 20_000
	rawAppends   = 60
	rawBatch     = 500
	smallAppend  = 4 << 10
	largeAppend  = 600 << 10
	appendRounds = 3 // of large ones: a third as many
)

// raw measures the raw limits: the same bodies into one table of the same driver. What a
// machine can do changes from one second to the next, so that it is measured several
// times over the run; the median counts.
func (b *bench) raw() error {
	var rows []syncengine.Record
	total := 0
	err := b.devs[0].dev.Each(b.a.ctx, func(r *syncengine.Record) error {
		if len(rows) < b.records {
			rows = append(rows, *r)
			total += len(r.Body) + len(r.Stamps)
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.res.BodyBytes = per(int64(total), len(rows))
	rounds := rawRounds
	if len(rows) > rawLarge {
		rounds = 1
	}
	s := &b.raws
	for range rounds {
		rate, restored, err := insertRaw(b.a.ctx, filepath.Join(b.dir, fmt.Sprintf("raw-%d", len(s.sqlite))), rows)
		if err != nil {
			return err
		}
		s.sqlite, s.snapshot = append(s.sqlite, rate), append(s.snapshot, restored)
		if b.database == "" {
			continue
		}
		copied, inserted, err := insertPostgres(b.a.ctx, b.database, rows)
		if err != nil {
			return err
		}
		s.copied, s.rows = append(s.copied, copied), append(s.rows, inserted)
	}
	if err := s.appends(b.dir); err != nil {
		return err
	}
	r := &b.res.Raw
	r.SQLite, _ = quantiles(s.sqlite)
	r.Snapshot, _ = quantiles(s.snapshot)
	if b.database != "" {
		r.Copy, _ = quantiles(s.copied)
		r.Rows, _ = quantiles(s.rows)
	}
	r.Append4P50, r.Append4P99 = quantiles(s.small)
	r.Append600P50, r.Append600P99 = quantiles(s.large)
	return nil
}

// appends times appends to a file that are synced.
func (s *rawSamples) appends(dir string) (err error) {
	f, err := os.OpenFile(filepath.Join(dir, "raw-append"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	for _, size := range []struct {
		bytes, times int
		into         *[]float64
	}{{smallAppend, rawAppends, &s.small}, {largeAppend, rawAppends / appendRounds, &s.large}} {
		block := make([]byte, size.bytes)
		for range size.times {
			began := time.Now()
			if _, err := f.Write(block); err != nil {
				return err
			}
			if err := f.Sync(); err != nil {
				return err
			}
			*size.into = append(*size.into, ms(time.Since(began)))
		}
	}
	return nil
}

// insertRaw inserts rows into a database of its own, which is gone afterwards, and reads
// it back as a snapshot is read.
func insertRaw(ctx context.Context, dir string, rows []syncengine.Record) (rate, restored float64, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "raw.db")
	if rate, err = fillRaw(ctx, path, rows); err != nil {
		return 0, 0, err
	}
	restored, err = restoreRaw(ctx, path, len(rows))
	return rate, restored, err
}

func fillRaw(ctx context.Context, path string, rows []syncengine.Record) (rate float64, err error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=journal_mode(wal)&_pragma=synchronous(full)")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, `CREATE TABLE doc (n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, body BLOB NOT NULL)`); err != nil {
		return 0, err
	}
	began := time.Now()
	for part := range slices.Chunk(rows, rawBatch) {
		if err := insertPart(ctx, db, part); err != nil {
			return 0, err
		}
	}
	return float64(len(rows)) / time.Since(began).Seconds(), nil
}

func insertPart(ctx context.Context, db *sql.DB, part []syncengine.Record) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	stmt, err := tx.PrepareContext(ctx, `INSERT INTO doc (id, body) VALUES ($1, $2)`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stmt.Close()) }()
	for i := range part {
		if _, err := stmt.ExecContext(ctx, part[i].ID[:], part[i].Body); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// disk looks at what documents take on the disk, after push and pull.
func (b *bench) disk() error {
	// A process that holds a database open may have much of it in its log still: both
	// count.
	for _, d := range []struct {
		dir  string
		into *float64
		of   func(name string) bool
	}{
		{b.devs[0].dir, &b.res.DeviceDisk, func(name string) bool {
			return !strings.Contains(name, ".sealed") && !strings.HasSuffix(name, ".reserve")
		}},
		{b.devs[0].dir, &b.res.SealedDisk, func(name string) bool { return strings.Contains(name, ".sealed") }},
		{b.place.serverDir, &b.res.ServerDisk, func(string) bool { return true }},
	} {
		if d.dir == "" {
			continue
		}
		bytes, err := sizeOf(d.dir, d.of)
		if err != nil {
			return err
		}
		*d.into = per(bytes, b.records)
	}
	if b.database == "" {
		return nil
	}
	bytes, err := databaseSize(b.a.ctx, b.database)
	b.res.ServerDisk = per(bytes, b.records)
	return err
}

// sizeOf adds up the files of a directory.
func sizeOf(dir string, of func(name string) bool) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !of(d.Name()) {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}
