package client

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gofrs/flock"
	"github.com/tandem-response/tandem/internal/vfs"
	"github.com/tandem-response/tandem/syncengine"
	"modernc.org/sqlite"
)

// Files of a store directory.
const (
	databaseFile = "device.db"
	keyFile      = "device.key"
	lockFile     = "device.lock"
	reserveFile  = "device.reserve"
)

// applicationID marks the database as a device's ("TdDv"), in its header.
const applicationID = 0x54644476

//go:embed schema/*.sql
var schemaFiles embed.FS

// store is the device's database: one connection that writes, a few that read.
type store struct {
	dir     string
	cols    *columns
	disk    *vfs.Mount
	reserve reserve
	lock    *flock.Flock
	// vault is what seals the database, nil for a store in the clear. base is what it
	// stands on.
	vault *vaulted
	base  *vfs.Mount
	// writeDB has one connection, which is conn; mu is held over a transaction.
	writeDB *sql.DB
	mu      sync.Mutex
	conn    *sql.Conn
	stmts   map[string]*sql.Stmt
	readDB  *sql.DB
	// held is the files of the database, as they were when they were opened.
	held   vfs.Held
	closed atomic.Bool
	// failed: the last transaction met a failing disk. The connection is not used for
	// another one: the full-text index keeps totals in memory that such an end of a
	// transaction leaves wrong, and would write them with the next.
	failed bool
	// scrubbing: something has left the device and may stand in its log still.
	scrubbing bool
	// known is what the last transactions left in memory. Nobody else writes, so it
	// holds until a transaction fails.
	known known
	// ran counts the statements of its transactions.
	ran int
	// notes wait for a place in the audit chain.
	notes notes
	// sealed is the sealed outbox beside the database, nil where there is none.
	sealed atomic.Pointer[sealedFile]
}

// known is what the next transaction need not read.
type known struct {
	ops    map[uint64]*opEntry
	state  *syncengine.DeviceState
	scopes []syncengine.DeviceScope
	// finds are what has been looked up.
	finds []*syncengine.LookedUp
}

// openStore opens the store of a directory, makes it where there is none, and
// brings its tables up to date.
func openStore(ctx context.Context, dir string, cols *columns, keeping keeping) (_ *store, err error) {
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
	s.disk, s.reserve.path = vfs.At(ctx), filepath.Join(dir, reserveFile)
	s.base, s.reserve.fs = s.disk, s.disk.FS
	if s.dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	if wiped, err := finishWipe(s.base.FS, s.dir); err != nil || wiped {
		return nil, cmp.Or(err, ErrWiped)
	}
	path := filepath.Join(s.dir, databaseFile)
	sqlite.StrictPragmas(true)
	err = s.openVault(ctx, keeping)
	if errors.Is(err, ErrDiskFull) && s.reserve.release() {
		err = s.openVault(ctx, keeping)
	}
	if err != nil {
		return nil, err
	}
	if err := s.createFile(dir, path); err != nil {
		return nil, err
	}
	err = s.openDatabase(ctx, path)
	if (errors.Is(err, ErrDiskFull) || errors.Is(err, ErrStorage)) && s.reserve.release() {
		// The room is there to read, and to send what waits.
		_ = s.closeHandles()
		err = s.openDatabase(ctx, path)
	} else if err == nil {
		s.reserve.keep()
	}
	if err != nil {
		return nil, err
	}
	return s, s.vault.made()
}

func (s *store) openDatabase(ctx context.Context, path string) error {
	if err := s.inspect(ctx, path); err != nil {
		return err
	}
	return s.openHandles(ctx, path)
}

// createFile makes an empty database file that only its owner can read, and makes
// its name durable.
func (s *store) createFile(dir, path string) error {
	f, err := s.disk.FS.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return fileError("making the store", err)
	}
	if err := f.Close(); err != nil {
		return fileError("making the store", err)
	}
	// Some file systems cannot sync a directory; they need not be told to.
	_ = s.disk.FS.SyncDir(dir)
	return nil
}

// dsn returns the data source name of the database at path.
func (s *store) dsn(path string, options ...string) string {
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path)}
	if s.disk.Name != "" {
		options = append(options, "vfs="+s.disk.Name)
	}
	u.RawQuery = strings.Join(append(options,
		"_pragma=busy_timeout(5000)", "_dqs=0", "_error_rc=1", "_time_format=sqlite"), "&")
	return u.String()
}

// inspect refuses what is not a device's database, before anything is written.
func (s *store) inspect(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite", s.dsn(path, "mode=rw"))
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
	versions, err := schemaVersions()
	if err != nil {
		return 0, err
	}
	return versions[len(versions)-1], nil
}

// schemaVersions returns the versions that there is a file for, ascending.
func schemaVersions() (versions []int, err error) {
	entries, err := schemaFiles.ReadDir("schema")
	if err != nil {
		return nil, fmt.Errorf("reading the embedded schema: %w", err)
	}
	for _, e := range entries {
		version, err := strconv.Atoi(strings.TrimSuffix(e.Name(), ".sql"))
		if err != nil {
			return nil, fmt.Errorf("reading the embedded schema: %w", err)
		}
		versions = append(versions, version)
	}
	return versions, nil
}

func (s *store) openHandles(ctx context.Context, path string) error {
	var err error
	// secure_delete: what leaves the device's scopes leaves its file. page_size: six
	// records of 1 kB fill a page better than three fill one of 4096 bytes, and half
	// as many pages are written. It is that of a store when it is made. The driver sorts
	// what it is given as _pragma, and a journal mode that comes first fixes the size of
	// the pages: given under its own name it comes after.
	s.writeDB, err = sql.Open("sqlite", s.dsn(path, "mode=rw", "_txlock=immediate",
		"_pragma=page_size(8192)", "_journal_mode=wal", "_pragma=synchronous(full)", "_pragma=foreign_keys(1)", "_pragma=temp_store(memory)",
		"_pragma=secure_delete(1)", "_pragma=cache_size(-16000)", "_pragma=journal_size_limit(16777216)", "_pragma=wal_autocheckpoint(1000)", "_defensive=1"))
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
	// The process before may have ended between a drop and this.
	s.scrubbing = true
	s.scrub(ctx)
	s.readDB, err = sql.Open("sqlite", s.dsn(path, "mode=rw", "_pragma=query_only(1)", "_pragma=temp_store(memory)"))
	if err != nil {
		return storeError("opening the store", err)
	}
	s.readDB.SetMaxOpenConns(4)
	s.hold()
	return nil
}

// hold takes note of the files of the database.
func (s *store) hold() {
	path := filepath.Join(s.dir, databaseFile)
	s.held = s.base.Hold(path, path+"-wal")
}

// inPlace returns ErrSwapped where the files of the database are no longer where they
// were: what is saved then is lost with the process.
func (s *store) inPlace() error {
	switch err := s.held.Check(); {
	case err == nil:
		return nil
	case errors.Is(err, vfs.ErrMoved):
		return ErrSwapped
	default:
		return fmt.Errorf("%w (%w)", ErrStorage, err)
	}
}

// migrate brings the tables up to date, one version a transaction.
func (s *store) migrate(ctx context.Context) error {
	var version int
	if err := s.conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return storeError("opening the store", err)
	}
	versions, err := schemaVersions()
	if err != nil {
		return err
	}
	for _, next := range versions {
		if next <= version {
			continue
		}
		version = next
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
	opened := s.writeDB != nil
	errs := []error{s.closeHandles()}
	s.vault.close()
	if opened {
		// The log has given its room back.
		s.reserve.keep()
	}
	errs = append(errs, s.lock.Unlock())
	return errors.Join(errs...)
}

// closeHandles closes the database.
func (s *store) closeHandles() error {
	var errs []error
	if s.readDB != nil {
		errs = append(errs, s.readDB.Close())
		s.readDB = nil
	}
	s.disconnect()
	if s.writeDB != nil {
		errs = append(errs, s.writeDB.Close())
		s.writeDB = nil
	}
	return errors.Join(errs...)
}

// write runs fn in one transaction that is on the disk when write returns nil,
// and that leaves no trace otherwise. ctx is asked before it begins; once begun it
// is brought to its end.
func (s *store) write(ctx context.Context, doing string, fn func(*tx) error) error {
	err := s.transact(ctx, doing, fn)
	if err == nil && s.notes.any() {
		// They came too late for it.
		err = s.transact(ctx, "noting for the audit log", func(*tx) error { return nil })
	}
	return err
}

func (s *store) transact(ctx context.Context, doing string, fn func(*tx) error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed.Load() {
		return ErrClosed
	}
	ctx = context.WithoutCancel(ctx)
	if err := s.inPlace(); err != nil {
		return err
	}
	if err := s.reconnect(ctx); err != nil {
		return err
	}
	if _, err := s.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return storeError(doing, err)
	}
	t := &tx{s: s, ctx: ctx, recs: map[syncengine.ID]*entry{}, places: map[syncengine.ID]int64{}, known: s.known, writes: map[syncengine.ID][]uint64{}}
	if t.ops == nil {
		t.ops = map[uint64]*opEntry{}
	}
	s.known = known{}
	done := false
	defer func() {
		if !done {
			s.failed = failing(err) || t.failed != nil
			// After a full disk SQLite may have rolled back by itself.
			_, _ = s.conn.ExecContext(ctx, "ROLLBACK")
		}
	}()
	if err := fn(t); err != nil {
		return storeError(doing, err)
	}
	noted, err := t.noteAll()
	if err != nil {
		return storeError(doing, err)
	}
	if err := t.flush(); err != nil {
		return storeError(doing, err)
	}
	if t.failed != nil {
		// Somebody went on after it.
		return storeError(doing, t.failed)
	}
	if len(t.leaving) > 0 {
		s.keepLeaving(t.leaving)
	}
	if _, err := s.conn.ExecContext(ctx, "COMMIT"); err != nil {
		return storeError(doing, err)
	}
	if err := s.inPlace(); err != nil {
		// It may have gone into a file that has no name any more.
		return err
	}
	done = true
	s.notes.done(noted)
	s.known = t.remember()
	s.scrubbing = s.scrubbing || t.dropped
	s.scrub(ctx)
	return nil
}

// writeReserved is write for what must find room on a full disk.
func (s *store) writeReserved(ctx context.Context, doing string, fn func(*tx) error) error {
	err := s.write(ctx, doing, fn)
	if !errors.Is(err, ErrDiskFull) {
		return err
	}
	s.mu.Lock()
	released := s.reserve.release()
	s.mu.Unlock()
	if released {
		err = s.write(ctx, doing, fn)
	}
	return err
}

// reconnect replaces a connection whose transaction met a failing disk.
func (s *store) reconnect(ctx context.Context) (err error) {
	if !s.failed {
		return nil
	}
	s.disconnect()
	if s.conn, err = s.writeDB.Conn(ctx); err != nil {
		return storeError("opening the store again", err)
	}
	if err := s.assertDurable(ctx); err != nil {
		return err
	}
	s.failed = false
	// Where nobody reads, the log is a new one.
	s.hold()
	return nil
}

// disconnect closes the writing connection, for good.
func (s *store) disconnect() {
	for _, stmt := range s.stmts {
		_ = stmt.Close()
	}
	clear(s.stmts)
	if s.conn != nil {
		// An error of the driver's takes it out of the pool.
		_ = s.conn.Raw(func(any) error { return driver.ErrBadConn })
		_ = s.conn.Close()
		s.conn = nil
	}
}

// scrub lets what has left the device leave its log too: the log is written back and
// cut to nothing. A reader of an older state holds it back for as long as it reads; the
// next transaction tries again.
func (s *store) scrub(ctx context.Context) {
	if !s.scrubbing {
		return
	}
	// No save waits for a reader.
	if _, err := s.conn.ExecContext(ctx, "PRAGMA busy_timeout = 100"); err != nil {
		return
	}
	var busy, log, done int
	err := s.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &done)
	s.scrubbing = err != nil || busy != 0
	_, _ = s.conn.ExecContext(ctx, "PRAGMA busy_timeout = 5000")
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

// Transact runs fn in one transaction of the store, as the engine sees it: on the
// disk when Transact returns nil, and gone otherwise. It is for those who drive the
// engine themselves, as the simulator does; what fn does is not checked against
// anybody's rights.
func (c *Client) Transact(ctx context.Context, fn func(syncengine.DeviceTx) error) error {
	return c.store.write(ctx, "a transaction", func(t *tx) error { return fn(t) })
}
