package client

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gofrs/flock"
	"github.com/tandem-response/tandem/syncengine"
	"modernc.org/sqlite"
)

// Files of a store directory.
const (
	databaseFile = "device.db"
	lockFile     = "device.lock"
)

// applicationID marks the database as a device's ("TdDv"), in its header.
const applicationID = 0x54644476

//go:embed schema/*.sql
var schemaFiles embed.FS

// store is the device's database: one connection that writes, a few that read.
type store struct {
	dir  string
	cols *columns
	lock *flock.Flock
	// writeDB has one connection, which is conn; mu is held over a transaction.
	writeDB *sql.DB
	mu      sync.Mutex
	conn    *sql.Conn
	stmts   map[string]*sql.Stmt
	readDB  *sql.DB
	closed  atomic.Bool
	// known is what the last transactions left in memory. Nobody else writes, so it
	// holds until a transaction fails.
	known known
	// sealed is the sealed outbox beside the database, nil where there is none.
	sealed atomic.Pointer[sealedFile]
}

// known is what the next transaction need not read.
type known struct {
	ops    map[uint64]*opEntry
	state  *syncengine.DeviceState
	scopes []syncengine.DeviceScope
}

// openStore opens the store of a directory, makes it where there is none, and
// brings its tables up to date.
func openStore(ctx context.Context, dir string, cols *columns) (_ *store, err error) {
	//nolint:gosec // The directory is the one that the user names.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the store directory: %w", err)
	}
	s := &store{dir: dir, cols: cols, lock: flock.New(filepath.Join(dir, lockFile), flock.SetPermissions(0o600)), stmts: map[string]*sql.Stmt{}}
	defer func() {
		if err != nil {
			_ = s.close()
		}
	}()
	locked, err := s.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("locking the store: %w", err)
	}
	if !locked {
		return nil, fmt.Errorf("opening the store in %s: %w", dir, ErrInUse)
	}
	path := filepath.Join(dir, databaseFile)
	if err := createFile(dir, path); err != nil {
		return nil, err
	}
	sqlite.StrictPragmas(true)
	if err := inspect(ctx, path); err != nil {
		return nil, err
	}
	if err := s.openHandles(ctx, path); err != nil {
		return nil, err
	}
	return s, nil
}

// createFile makes an empty database file that only its owner can read, and makes
// its name durable.
func createFile(dir, path string) error {
	//nolint:gosec // The path is in the directory that the user names.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("making the store: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("making the store: %w", err)
	}
	return syncDir(dir)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	//nolint:gosec // The directory is the one that the user names.
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("making the store: %w", err)
	}
	// Some file systems cannot sync a directory; they need not be told to.
	_ = d.Sync()
	return d.Close()
}

// dsn returns the data source name of the database at path.
func dsn(path string, options ...string) string {
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path)}
	u.RawQuery = strings.Join(append(options,
		"_pragma=busy_timeout(5000)", "_dqs=0", "_error_rc=1", "_time_format=sqlite"), "&")
	return u.String()
}

// inspect refuses what is not a device's database, before anything is written.
func inspect(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite", dsn(path, "mode=rw"))
	if err != nil {
		return storeError("opening the store", err)
	}
	defer func() { _ = db.Close() }()
	var app, version, tables int
	for query, into := range map[string]*int{
		"PRAGMA application_id":              &app,
		"PRAGMA user_version":                &version,
		"SELECT count(*) FROM sqlite_schema": &tables,
	} {
		if err := db.QueryRowContext(ctx, query).Scan(into); err != nil {
			return storeError("opening the store", err)
		}
	}
	newest, err := newestSchema()
	switch {
	case err != nil:
		return err
	case app == 0 && version == 0 && tables == 0:
		return nil
	case app != applicationID:
		return fmt.Errorf("opening the store: %w", ErrNoStore)
	case version > newest:
		return fmt.Errorf("opening the store: %w (it has version %d, this one knows %d)", ErrNewer, version, newest)
	}
	return nil
}

func newestSchema() (int, error) {
	entries, err := schemaFiles.ReadDir("schema")
	if err != nil {
		return 0, fmt.Errorf("reading the embedded schema: %w", err)
	}
	return len(entries), nil
}

func (s *store) openHandles(ctx context.Context, path string) error {
	var err error
	// secure_delete: what leaves the device's scopes leaves its file.
	s.writeDB, err = sql.Open("sqlite", dsn(path, "mode=rw", "_txlock=immediate",
		"_pragma=journal_mode(wal)", "_pragma=synchronous(full)", "_pragma=foreign_keys(1)", "_pragma=temp_store(memory)",
		"_pragma=secure_delete(1)", "_pragma=cache_size(-16000)", "_pragma=journal_size_limit(16777216)", "_pragma=wal_autocheckpoint(4000)", "_defensive=1"))
	if err != nil {
		return storeError("opening the store", err)
	}
	// One writer: what it prepared stays prepared, and nobody waits inside SQLite.
	s.writeDB.SetMaxOpenConns(1)
	if s.conn, err = s.writeDB.Conn(ctx); err != nil {
		return storeError("opening the store", err)
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	if err := s.assertDurable(ctx); err != nil {
		return err
	}
	s.readDB, err = sql.Open("sqlite", dsn(path, "mode=rw", "_pragma=query_only(1)", "_pragma=temp_store(memory)"))
	if err != nil {
		return storeError("opening the store", err)
	}
	s.readDB.SetMaxOpenConns(4)
	return nil
}

// migrate brings the tables up to date, one version a transaction.
func (s *store) migrate(ctx context.Context) error {
	var version int
	if err := s.conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return storeError("opening the store", err)
	}
	newest, err := newestSchema()
	if err != nil {
		return err
	}
	for version < newest {
		version++
		text, err := schemaFiles.ReadFile(fmt.Sprintf("schema/%04d.sql", version))
		if err != nil {
			return fmt.Errorf("reading the embedded schema: %w", err)
		}
		script := fmt.Sprintf("BEGIN IMMEDIATE;\n%s\nPRAGMA application_id = %d;\nPRAGMA user_version = %d;\nCOMMIT", text, applicationID, version)
		if _, err := s.conn.ExecContext(ctx, script); err != nil {
			_, _ = s.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
			return storeError(fmt.Sprintf("bringing the store to version %d", version), err)
		}
	}
	return nil
}

// assertDurable refuses to work on a connection that could lose a save.
func (s *store) assertDurable(ctx context.Context) error {
	var journal string
	var synchronous int
	if err := s.conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&journal); err != nil {
		return storeError("opening the store", err)
	}
	if err := s.conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil {
		return storeError("opening the store", err)
	}
	if full := 2; journal != "wal" || synchronous < full {
		return fmt.Errorf("the store would not keep saves through a power cut (journal %s, synchronous %d): put it on a local disk", journal, synchronous)
	}
	return nil
}

// close gives everything back. Safe to call on a half-opened store, and twice.
func (s *store) close() error {
	s.closed.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.readDB != nil {
		errs = append(errs, s.readDB.Close())
	}
	for _, stmt := range s.stmts {
		_ = stmt.Close()
	}
	s.stmts = nil
	if s.conn != nil {
		_ = s.conn.Close()
	}
	if s.writeDB != nil {
		errs = append(errs, s.writeDB.Close())
	}
	s.conn = nil
	errs = append(errs, s.lock.Unlock())
	return errors.Join(errs...)
}

// write runs fn in one transaction that is on the disk when write returns nil,
// and that leaves no trace otherwise. ctx is asked before it begins; once begun it
// is brought to its end.
func (s *store) write(ctx context.Context, doing string, fn func(*tx) error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.conn == nil {
		return ErrClosed
	}
	ctx = context.WithoutCancel(ctx)
	if _, err := s.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return storeError(doing, err)
	}
	t := &tx{s: s, ctx: ctx, recs: map[syncengine.ID]*entry{}, known: s.known, writes: map[syncengine.ID][]uint64{}}
	if t.ops == nil {
		t.ops = map[uint64]*opEntry{}
	}
	s.known = known{}
	done := false
	defer func() {
		if !done {
			// After a full disk SQLite may have rolled back by itself.
			_, _ = s.conn.ExecContext(ctx, "ROLLBACK")
		}
	}()
	if err := fn(t); err != nil {
		return storeError(doing, err)
	}
	if err := t.flush(); err != nil {
		return storeError(doing, err)
	}
	if len(t.leaving) > 0 {
		s.keepLeaving(t.leaving)
	}
	if _, err := s.conn.ExecContext(ctx, "COMMIT"); err != nil {
		return storeError(doing, err)
	}
	done = true
	s.known = t.remember()
	if t.dropped {
		// Dropped rows must leave the log as well. A reader may hold it back; the
		// next drop or the next start tries again.
		_, _ = s.conn.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	}
	return nil
}

// statement is a prepared statement that the store closes.
type statement interface {
	ExecContext(ctx context.Context, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, args ...any) *sql.Row
}

// stmt returns a statement of the writing connection, prepared once.
func (s *store) stmt(ctx context.Context, query string) (statement, error) {
	if st := s.stmts[query]; st != nil {
		return st, nil
	}
	st, err := s.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s.stmts[query] = st
	return st, nil
}

// read runs fn on one snapshot.
func (s *store) read(ctx context.Context, doing string, fn func(*sql.Tx) error) error {
	if s.closed.Load() {
		return ErrClosed
	}
	rtx, err := s.readDB.BeginTx(ctx, nil)
	if err != nil {
		return storeError(doing, err)
	}
	defer rtx.Rollback()
	if err := fn(rtx); err != nil {
		return storeError(doing, err)
	}
	return nil
}
