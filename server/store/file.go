package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	sqlite "modernc.org/sqlite"
)

// Names in the data directory.
const (
	databaseName = "tandem.db"
	keysName     = "keys.json"
	openLockName = "open.lock"
	serveLock    = "serve.lock"
)

// applicationID marks a database as a Tandem server's ("TnSv").
const applicationID = 0x546e5376

// pageSize suits rows of about 1 kB better than the default of 4096. It is that of a
// database when it is made.
const pageSize = 8192

// dsn returns the address of a database file with the settings that the store
// relies on.
func (s *Store) dsn(path string, settings ...string) string {
	q := url.Values{"_defensive": {"1"}, "_dqs": {"0"}, "_error_rc": {"1"}}
	if s.disk.Name != "" {
		q.Set("vfs", s.disk.Name)
	}
	q["_pragma"] = []string{"busy_timeout(10000)"}
	for _, setting := range settings {
		if name, value, ok := strings.Cut(setting, "="); ok {
			q.Set(name, value)
			continue
		}
		q.Add("_pragma", setting)
	}
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: q.Encode()}
	if vol := filepath.VolumeName(path); vol != "" {
		u.Path = "/" + u.Path
	}
	return u.String()
}

// writerDSN: every transaction takes the write lock at once, and a commit is on
// disk before it returns. The log is copied into the database at 8 MB: a bulk of
// pushes touches the same pages again and again. The journal mode goes under its own
// name: the driver sorts the other settings, and a journal mode that comes before the size
// of the pages fixes that at the default.
func (s *Store) writerDSN(path string) string {
	return s.dsn(path, "_txlock=immediate", fmt.Sprintf("page_size(%d)", pageSize), "_journal_mode=wal", "synchronous(full)",
		"foreign_keys(1)", "temp_store(memory)", "cache_size(-16384)", "wal_autocheckpoint(1000)")
}

func (s *Store) readerDSN(path string) string {
	return s.dsn(path, "query_only(1)", "synchronous(full)", "temp_store(memory)", "cache_size(-4096)")
}

// inspect tells, without changing it, whether the file at path is a database of
// this kind. fresh: nothing is there, or nothing but the beginnings of one.
func (s *Store) inspect(ctx context.Context, path string) (fresh bool, err error) {
	head := make([]byte, 16)
	f, err := s.disk.FS.OpenFile(path, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("opening the database: %w (%w)", ErrStorage, err)
	}
	n, err := io.ReadFull(io.NewSectionReader(f, 0, int64(len(head))), head)
	if cerr := f.Close(); cerr != nil {
		return false, fmt.Errorf("opening the database: %w", cerr)
	}
	switch {
	case errors.Is(err, io.EOF):
		return true, nil
	case errors.Is(err, io.ErrUnexpectedEOF), err == nil && string(head[:n]) != "SQLite format 3\x00":
		return false, ErrNotDatabase
	case err != nil:
		return false, fmt.Errorf("reading the database: %w (%w)", ErrStorage, err)
	}
	db, err := sql.Open("sqlite", s.dsn(path, "mode=ro", "query_only(1)"))
	if err != nil {
		return false, fmt.Errorf("opening the database: %w", err)
	}
	defer db.Close() //nolint:errcheck // It was only read.
	var app, tables int
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&app); err != nil {
		return false, unreadable(err)
	}
	// A crash may have left the migrator's own table and nothing else.
	const count = "SELECT count(*) FROM sqlite_master WHERE tbl_name <> 'goose_db_version' AND tbl_name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
	if err := db.QueryRowContext(ctx, count).Scan(&tables); err != nil {
		return false, unreadable(err)
	}
	switch {
	case app == 0 && tables == 0:
		return true, nil
	case app != applicationID:
		return false, ErrOtherApplication
	}
	return tables == 0, nil
}

// unreadable tells a file that is no database from one that cannot be read now.
func unreadable(err error) error {
	err = classify(err)
	if errors.Is(err, ErrDamaged) {
		return fmt.Errorf("%w (%w)", ErrNotDatabase, err)
	}
	return fmt.Errorf("opening the database: %w", err)
}

// settings asserts what the promises of the store rest on.
func (c *conn) settings(writer bool) error {
	want := []struct{ pragma, value string }{{"journal_mode", "wal"}, {"synchronous", "2"}}
	if writer {
		want = append(want, struct{ pragma, value string }{"foreign_keys", "1"})
	} else {
		want = append(want, struct{ pragma, value string }{"query_only", "1"})
	}
	for _, w := range want {
		var got string
		if _, err := c.one("PRAGMA "+w.pragma, nil, &got); err != nil {
			return fmt.Errorf("opening the database: %w", err)
		}
		if got != w.value {
			return fmt.Errorf("opening the database: %s is %s, want %s: is it on a network share?", w.pragma, got, w.value)
		}
	}
	return nil
}

func init() {
	// A path is the user's to choose; it must not smuggle statements into a DSN.
	sqlite.StrictPragmas(true)
}
