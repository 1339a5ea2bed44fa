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
	ErrNoDatabase = errors.New("no Tandem server database here: name the PostgreSQL database with --database or TANDEM_DATABASE if the server has one, or create one with \"tandem admin org create\"")
	// ErrNotDatabase: the file is no SQLite database.
	ErrNotDatabase = errors.New("the file is not a database: name another data directory, or restore the file from a backup")
	// ErrOtherApplication: the file is a database of another program.
	ErrOtherApplication = errors.New("the database is not a Tandem server's: name another data directory")
	// ErrNewer: a newer version has written the database.
	ErrNewer = errors.New("the database was written by a newer version of Tandem: update this program")
	// ErrEmptied: the database is empty, yet there are keys for its organizations.
	ErrEmptied = errors.New("the database is empty, but its keys file is not: if the server is on PostgreSQL, name that with --database or TANDEM_DATABASE; else restore the database from a backup. The keys are those of devices that are enrolled: only if there are none, move the keys file away to start anew")
	// ErrInUse: another server runs on the data directory.
	ErrInUse = errors.New("another server is running on this data directory: stop it first, or name another directory")
	// ErrKeysMissing: the keys of an organization are not in the keys file.
	ErrKeysMissing = errors.New("the keys file lacks the keys of an organization in the database: restore it from its backup; without it enrolled devices cannot be recognized")
	// ErrKeysExposed: others may read the keys file.
	ErrKeysExposed = errors.New("the keys file can be read by other users: make it readable by its owner alone (chmod 600)")
	// ErrKeysUnreadable: the keys file is damaged.
	ErrKeysUnreadable = errors.New("the keys file is damaged: restore it from its backup")
)

// Errors of opening a PostgreSQL database.
var (
	// ErrAddress: the address is none.
	ErrAddress = errors.New("not the address of a PostgreSQL database: want postgres://USER@HOST/DATABASE, with the password in PGPASSWORD or a password file rather than here")
	// ErrUnreachable: there is no answer, or a connection broke. It may be tried again.
	ErrUnreachable = fmt.Errorf("%w: PostgreSQL does not answer; see that it runs and that the address is right", ErrStorage)
	// ErrSignIn: it will not let us in.
	ErrSignIn = errors.New("PostgreSQL refuses user or password: check the address, PGPASSWORD and pg_hba.conf")
	// ErrNoSuchDatabase: the server has none of that name.
	ErrNoSuchDatabase = errors.New("PostgreSQL has no such database: make it with CREATE DATABASE … OWNER …")
	// ErrNoRights: the role may not do what it must.
	ErrNoRights = errors.New("the role may not make or use the tables: let it own the database (ALTER DATABASE … OWNER TO …)")
	// ErrAboveFence: row-level security does not bind the role.
	ErrAboveFence = errors.New("the role is a superuser or has BYPASSRLS, so that nothing in PostgreSQL would keep organizations apart: make one without (CREATE ROLE tandem LOGIN; ALTER DATABASE … OWNER TO tandem) and name it in the address")
	// ErrVolatile: what is acknowledged could be lost in a power cut.
	ErrVolatile = errors.New("PostgreSQL runs with fsync or synchronous_commit off, so that what is acknowledged could be lost: set both to on")
	// ErrOldPostgres: its version is too old.
	ErrOldPostgres = errors.New("PostgreSQL is too old: update it to version 14 or newer")
	// ErrEncoding: the database cannot hold every text.
	ErrEncoding = errors.New("the database is not in UTF-8: make it with ENCODING 'UTF8'")
	// ErrSuperseded: a standby was promoted in its place. It may be tried again, elsewhere.
	ErrSuperseded = fmt.Errorf("%w: this PostgreSQL is an old primary, in whose place a standby was promoted; make it a standby of the new one, or name that one in the address", ErrStorage)
	// ErrCrowded: there are too many connections. It may be tried again.
	ErrCrowded = fmt.Errorf("%w: PostgreSQL has no connection left; raise max_connections or run fewer servers", ErrStorage)
	// ErrFileOnly: it can only be done to a database that is a file.
	ErrFileOnly = errors.New("this copies a SQLite database: back up PostgreSQL with its own tools (pg_basebackup and an archive of its log), verify the copy, and report it with \"tandem backup mark\"")
)

// Errors of moving a database.
var (
	// ErrMoved: the database was moved to another one.
	ErrMoved = errors.New("this database was moved to another one, which is to be served instead (name a PostgreSQL one with --database or TANDEM_DATABASE): served too, the two would part ways. The way back is \"tandem migrate\" from there to here; where the other one is lost, \"tandem restore\" makes new data of this one and begins a new epoch")
	// ErrHalfMoved: a move to the database was begun and has not ended.
	ErrHalfMoved = errors.New("a move to this database has not ended: run the same \"tandem migrate\" again, or drop the database and serve the one that it was to come from")
	// ErrMoveNothing: there is nothing to move.
	ErrMoveNothing = errors.New("there is no organization in the database, so nothing to move: start with the new one")
	// ErrMoveTarget: what is to be moved to is not empty.
	ErrMoveTarget = errors.New("the database to move to holds organizations already: name an empty one, nothing is written over")
	// ErrMoveDiffers: what has arrived is not what was sent.
	ErrMoveDiffers = errors.New("what has arrived differs from what was there: nothing was changed where it came from, serve that; please report this")
	// ErrMoveLayout: the two databases do not have the same columns.
	ErrMoveLayout = errors.New("the two databases do not have the same tables: was one of them changed by hand?")
)

// Errors of reading an export into a database.
var (
	// ErrHalfImported: that was begun and has not ended.
	ErrHalfImported = errors.New("an export is being read into this database, and not all of it is there: run the same \"tandem import export\" again, or remove the database and begin anew")
	// ErrImportTarget: there is something in it.
	ErrImportTarget = errors.New("an export is read into an empty database alone, nothing is written over: name a new directory with --data, or an empty database")
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
	// ErrSwapped: the files of the database were moved, replaced or removed under it.
	// Nothing is acknowledged until they are back.
	ErrSwapped = fmt.Errorf("%w: its files were moved, replaced or removed while they were open; put them back, or stop the server and restore a backup", ErrStorage)
	// ErrDamaged: what is stored contradicts itself.
	ErrDamaged = errors.New("the database is damaged: run \"tandem verify\" and restore from a backup")
	// ErrFailedTwice: a job failed by itself, twice, for no fault of the storage.
	// Nothing of it was kept.
	ErrFailedTwice = errors.New("the transaction failed twice")
)

// classify wraps an error of the engine in ErrStorage or ErrDisk where trying
// again later may help.
func classify(err error) error {
	if err == nil || errors.Is(err, ErrStorage) {
		return err
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return classifyRemote(err)
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
