// Package store keeps a server's organizations in one database: change log,
// records, scopes, digests, replicas, quarantine. It implements the engine's
// transaction interfaces, gathers waiting writes into one durable commit, and wakes
// whoever waits for what a commit touched.
//
// A data directory holds the database (tandem.db with its write-ahead log), and
// beside it keys.json with the private keys of the organizations, readable by its
// owner alone and never part of a backup of the database, and the security journal
// (security.journal, or where Options.Journal says): enrolments, revocations and the
// like, which must stay true though the database is set back. Several processes may use
// one directory at once: a server, which holds it exclusively among servers, and
// administrative commands.
//
// Where Options.Database says so the tables are in PostgreSQL instead of the file, the
// same ones; what differs between the engines is in dialect.go. Any number of servers
// may use one database then, on as many machines: nothing is kept in a process that
// another one would need. Every write begins by locking the row of its org, so that
// writers of all processes come one after another and a sequence never shows up behind
// a later one. A second fence by org stands in the database itself: see fence.go.
//
// A write that returns without error is on disk.
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/tandem-response/tandem/internal/vfs"
	"github.com/tandem-response/tandem/syncengine"
)

// Options are how a store is opened. The zero value is right for a command beside
// a server.
type Options struct {
	// Database is the address of a PostgreSQL database, postgres://…; empty for SQLite
	// in the data directory. Keys, security journal and high-water mark are in the
	// directory either way; each of several servers on one database needs the same keys.
	Database string
	// Volatile puts up with a PostgreSQL that does not keep its promises in a power cut:
	// for tests.
	Volatile bool
	// Create makes directory and database where they are not there; otherwise their
	// absence is ErrNoDatabase.
	Create bool
	// Replaced takes a PostgreSQL in whose place this directory has known a newer primary:
	// for whoever makes it the primary again, and begins a new epoch.
	Replaced bool
	// Serve claims the directory for one server: a second one gets ErrInUse. PostgreSQL
	// takes any number of servers.
	Serve bool
	// Clock is the wall clock; nil is the system's, and that of the database where servers
	// must agree on a time (NowMS).
	Clock func() time.Time
	// Journal is where the security journal is, which must not be set back with the
	// database; empty for where it was the last time, at first beside the keys.
	Journal string
	// Rand makes ids and keys; nil is crypto/rand's.
	Rand io.Reader
	// Moved opens a database that was moved away, which otherwise is ErrMoved: to look at
	// it.
	Moved bool
	// MaxPages limits the size of the database, in pages of 8 KiB; 0 sets no limit.
	MaxPages int64
	// Committed is told of every commit that writes to an org, after it is durable. It
	// must not block. Nil: nobody.
	Committed func(Commit)
	// Import opens a database to bring an export into: an empty one, whose keys may be there
	// already, or one into which that was begun and has not ended. Another is [ErrImportTarget].
	Import bool
	// receive lets a database be empty whose keys are there: it is to be moved to.
	receive bool
}

// readers is the number of connections for reading.
const readers = 4

// Store is an open database. Safe for concurrent use.
type Store struct {
	dir     string
	disk    *vfs.Mount
	now     func() time.Time
	rand    io.Reader
	dialect *dialect

	// remote is nil where the database is a file.
	remote *remote

	// held is the files of the database, where it is in files.
	held               vfs.Held
	writerDB, readerDB *sql.DB
	writer             *conn
	idle               chan *conn
	lock               *flock.Flock

	// ran counts the statements.
	ran atomic.Int64

	queue     queue
	committed func(Commit)
	watch     watch
	recent    recent
	closing   chan struct{}
	done      sync.WaitGroup

	mu     sync.Mutex
	closed bool
	orgs   map[syncengine.ID]*Org
	keys   keysSeen
	// orgsRead is when each org was last read anew for a key that was not known; journalled
	// how many of its keys that followed the first the security journal has.
	orgsRead   map[syncengine.ID]time.Duration
	journalled map[syncengine.ID]int
	// checkpoints are the newest ones of the audit logs, by org.
	checkpoints map[int64]newestCheckpoint

	journal *journal
	// joined is how far the journal was joined with that of other servers, by org.
	joined map[syncengine.ID]journalSeen
	// past: what was moved away is open, and may be written.
	past bool
	// given: now is a clock of whoever opened it, and stands for the database's too.
	given bool
	// numbers that commits have made immutable, by org.
	numbers map[int64]*numbers
	// era counts how often what is known of the database was dropped: see forget.
	era uint64
	// running: the database was opened. settling is nil where there is no doubt about it;
	// renewed is what its user does then.
	running  bool
	settling *settling
	renewed  func(context.Context) error

	// fullUntil is up to when the disk is taken to be full, in the process's own time.
	fullUntil atomic.Int64

	// The writer's own: up to where each org was pruned, and the high-water mark.
	pruned map[int64]uint64
	mark   mark
}

// Open opens the database in a data directory and brings it to the version of this
// program. The errors of this package say what to do where that is refused.
func Open(ctx context.Context, dir string, o Options) (_ *Store, err error) {
	s := &Store{
		dir: dir, disk: vfs.At(ctx), now: o.Clock, rand: o.Rand, dialect: &sqliteDialect,
		past: o.Moved || o.Import, idle: make(chan *conn, readers), closing: make(chan struct{}),
		orgs: map[syncengine.ID]*Org{}, orgsRead: map[syncengine.ID]time.Duration{}, journalled: map[syncengine.ID]int{}, joined: map[syncengine.ID]journalSeen{}, checkpoints: map[int64]newestCheckpoint{}, numbers: map[int64]*numbers{}, pruned: map[int64]uint64{},
	}
	if s.committed = o.Committed; s.committed == nil {
		s.committed = func(Commit) {}
	}
	if s.given = s.now != nil; !s.given {
		s.now = time.Now
	}
	if s.rand == nil {
		s.rand = rand.Reader
	}
	s.mark.fs, s.mark.dir = s.disk.FS, dir
	if o.Create {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making the data directory: %w", err)
		}
	} else if o.Database != "" {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return nil, ErrNoDatabase
		}
	} else if _, err := s.disk.FS.Size(filepath.Join(dir, databaseName)); errors.Is(err, os.ErrNotExist) {
		return nil, ErrNoDatabase
	}
	running := false
	defer func() {
		if err != nil && !running {
			_ = s.release()
		}
	}()
	if o.Serve && o.Database == "" {
		s.lock = flock.New(filepath.Join(dir, serveLock))
		got, err := s.lock.TryLock()
		if err != nil {
			return nil, fmt.Errorf("claiming the data directory: %w", err)
		}
		if !got {
			s.lock = nil
			return nil, ErrInUse
		}
	}
	open := s.open
	if o.Database != "" {
		open = s.openRemote
	}
	if err := open(ctx, o); err != nil {
		return nil, err
	}
	if err := s.openJournal(ctx, o.Journal); err != nil {
		return nil, err
	}
	s.queue.wake = make(chan struct{}, 1)
	s.watch.watchers = map[*Watcher]struct{}{}
	s.watch.every = pollEvery
	s.watch.seen = map[syncengine.ID]*told{}
	s.done.Go(s.write)
	running = true
	s.mu.Lock()
	s.running = true
	s.mu.Unlock()
	if err := s.begun(ctx, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.remote != nil && o.Serve {
		s.done.Go(s.lookAround)
	}
	return s, nil
}

// open prepares file and connections.
func (s *Store) open(ctx context.Context, o Options) error {
	unlock, err := s.lockFiles(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	path := filepath.Join(s.dir, databaseName)
	fresh, err := s.inspect(ctx, path)
	if err != nil {
		return err
	}
	if err := s.mayBegin(fresh, o); err != nil {
		return err
	}
	if s.writerDB, err = sql.Open("sqlite", s.writerDSN(path)); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	s.writerDB.SetMaxOpenConns(1)
	if fresh {
		if _, err := s.writerDB.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
			return fmt.Errorf("making the database: %w", classify(err))
		}
	}
	if err := migrate(ctx, s.dialect, s.writerDB, func() error { return nil }); err != nil {
		return err
	}
	if s.writer, err = newConn(ctx, s.writerDB); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	s.writer.ran = &s.ran
	if err := s.writer.settings(true); err != nil {
		return err
	}
	if o.MaxPages > 0 {
		var got int64
		if _, err := s.writer.one(fmt.Sprintf("PRAGMA max_page_count = %d", o.MaxPages), nil, &got); err != nil {
			return fmt.Errorf("opening the database: %w", err)
		}
	}
	if s.readerDB, err = sql.Open("sqlite", s.readerDSN(path)); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	s.readerDB.SetMaxOpenConns(readers)
	for range readers {
		c, err := newConn(ctx, s.readerDB)
		if err != nil {
			return fmt.Errorf("opening the database: %w", err)
		}
		c.ran = &s.ran
		s.idle <- c
		if err := c.settings(false); err != nil {
			return err
		}
	}
	s.held = s.disk.Hold(path, path+"-wal")
	return nil
}

// inPlace returns ErrSwapped where the files of the database are no longer where they
// were: what is written then is lost with the process.
func (s *Store) inPlace() error {
	switch err := s.held.Check(); {
	case err == nil:
		return nil
	case errors.Is(err, vfs.ErrMoved):
		return ErrSwapped
	default:
		return fmt.Errorf("%w (%w)", ErrStorage, err)
	}
}

// mayBegin refuses a fresh database where there should be one with something in it.
func (s *Store) mayBegin(fresh bool, o Options) error {
	if !fresh {
		return nil
	}
	keys, err := readKeys(s.dir)
	switch {
	case err != nil:
		return err
	case o.receive, o.Import:
		return nil
	case len(keys.Orgs) > 0:
		return ErrEmptied
	case !o.Create:
		return ErrNoDatabase
	}
	return nil
}

// begun looks at what was opened, before anything is done with it.
func (s *Store) begun(ctx context.Context, o Options) error {
	state, err := s.moving(ctx)
	switch {
	case err != nil:
		return err
	case o.receive:
		// It may hold another's.
		return nil
	case o.Import:
		return s.mayImport(ctx, state)
	case state == stays:
		return s.checkMark(ctx)
	case s.past:
		return nil
	}
	return state.refusal()
}

// lockAll is lockFiles for the database too, where that is somewhere else.
func (s *Store) lockAll(ctx context.Context) (unlock func(), err error) {
	files, err := s.lockFiles(ctx)
	if err != nil || s.remote == nil {
		return files, err
	}
	database, err := s.remote.lockDatabase(ctx)
	if err != nil {
		files()
		return nil, err
	}
	return func() { database(); files() }, nil
}

// lockFiles keeps other processes from making or migrating the database, or
// changing the keys file, at the same time.
func (s *Store) lockFiles(ctx context.Context) (unlock func(), err error) {
	l := flock.New(filepath.Join(s.dir, openLockName))
	got, err := l.TryLockContext(ctx, 20*time.Millisecond)
	if err != nil || !got {
		return nil, fmt.Errorf("waiting for another process to finish with the data directory: %w", err)
	}
	return func() { _ = l.Unlock() }, nil
}

// Close ends waiting reads and writes, lets those under way finish, and closes the
// database. It may be called twice.
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	close(s.closing)
	s.done.Wait()
	for range readers {
		c := <-s.idle
		_ = c.close()
	}
	s.mark.write()
	if s.remote != nil {
		s.remote.close()
	}
	return s.release()
}

// release frees what open took.
func (s *Store) release() error {
	var errs []error
	for len(s.idle) > 0 {
		c := <-s.idle
		errs = append(errs, c.close())
	}
	if s.readerDB != nil {
		errs = append(errs, s.readerDB.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	if s.writerDB != nil {
		errs = append(errs, s.writerDB.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Unlock())
	}
	return errors.Join(errs...)
}

// Statements returns how many statements the store has run on the file of its database.
func (s *Store) Statements() int64 { return s.ran.Load() }

// reading runs f on a connection for reading.
func (s *Store) reading(ctx context.Context, f func(*conn) error) error {
	select {
	case c := <-s.idle:
		defer func() { s.idle <- c }()
		return f(c)
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
}

// snapshot runs f on a connection for reading, in one snapshot of an org's rows; of
// noOrg, of the table of orgs.
func (s *Store) snapshot(ctx context.Context, org int64, f func(*conn) error) error {
	for {
		if err := s.settled(ctx); err != nil {
			return err
		}
		if err := s.look(ctx, org, f); !errors.Is(err, errDoubtful) {
			return err
		}
	}
}

func (s *Store) look(ctx context.Context, org int64, f func(*conn) error) error {
	return s.reading(ctx, func(c *conn) (err error) {
		if err := s.inPlace(); err != nil {
			return err
		}
		if err := c.begin(s.dialect.view, org); err != nil {
			return err
		}
		defer func() {
			if rerr := c.rollback(); err == nil {
				err = rerr
			}
		}()
		if s.doubtful(ctx) {
			return errDoubtful
		}
		return f(c)
	})
}
