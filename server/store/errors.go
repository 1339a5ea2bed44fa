package store

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Errors of opening a database. Each says what to do next.
var (
	// ErrNoDatabase: there is none where it was looked for.
	ErrNoDatabase = errors.New("no Tandem server database here: create one with \"tandem admin org\"")
	// ErrNotDatabase: the file is no SQLite database.
	ErrNotDatabase = errors.New("the file is not a database: name another data directory, or restore the file from a backup")
	// ErrOtherApplication: the file is a database of another program.
	ErrOtherApplication = errors.New("the database is not a Tandem server's: name another data directory")
	// ErrNewer: a newer version has written the database.
	ErrNewer = errors.New("the database was written by a newer version of Tandem: update this program")
	// ErrEmptied: the database is empty, yet there are keys for its organizations.
	ErrEmptied = errors.New("the database is empty, but its keys file is not: restore the database from a backup, or move the keys file away to start anew")
	// ErrInUse: another server runs on the data directory.
	ErrInUse = errors.New("another server is running on this data directory: stop it first, or name another directory")
	// ErrKeysMissing: the keys of an organization are not in the keys file.
	ErrKeysMissing = errors.New("the keys file lacks the keys of an organization in the database: restore it from its backup; without it enrolled devices cannot be recognized")
	// ErrKeysExposed: others may read the keys file.
	ErrKeysExposed = errors.New("the keys file can be read by other users: make it readable by its owner alone (chmod 600)")
	// ErrKeysUnreadable: the keys file is damaged.
	ErrKeysUnreadable = errors.New("the keys file is damaged: restore it from its backup")
)

// Errors of using a database.
var (
	// ErrUnknownOrg: there is no such organization.
	ErrUnknownOrg = errors.New("there is no such organization in the database")
	// ErrClosed: the store has been closed.
	ErrClosed = errors.New("the database has been closed")
	// ErrStorage: disk or file system failed, or the database stayed locked. What
	// was asked for has not been done and may be tried again.
	ErrStorage = errors.New("the database could not be read or written")
	// ErrDisk: ErrStorage because no space is left.
	ErrDisk = fmt.Errorf("%w: the disk is full; free some space", ErrStorage)
	// ErrDamaged: what is stored contradicts itself.
	ErrDamaged = errors.New("the database is damaged: run \"tandem verify\" and restore from a backup")
	// ErrFailedTwice: a job failed by itself, twice, for no fault of the storage.
	// Nothing of it was kept.
	ErrFailedTwice = errors.New("the transaction failed twice")
)

// classify wraps an error of the engine in ErrStorage or ErrDisk where trying
// again later may help.
func classify(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok || errors.Is(err, ErrStorage) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w (%w)", ErrDisk, err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_PERM, sqlite3.SQLITE_INTERRUPT:
		return fmt.Errorf("%w (%w)", ErrStorage, err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	return err
}
