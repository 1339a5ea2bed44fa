package client

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/tandem-response/tandem/client/vault"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Errors of the store. Each says what to do next; none holds a value that a
// person typed.
var (
	// ErrInUse: another process has the store open.
	ErrInUse = errors.New("the store is in use by another process: end the tandem app, sync or import that has it open, then try again")
	// ErrNewer: the database was written by a newer version.
	ErrNewer = errors.New("the store was written by a newer version of tandem: update this one; the store is untouched")
	// ErrNoStore: the file is not a database, or not one of a device.
	ErrNoStore = errors.New("device.db there is not a tandem device store: name another directory; the file is untouched")
	// ErrDamaged: the database is damaged.
	ErrDamaged = errors.New("the store is damaged: keep all files of its directory, do not delete any, and ask your administrator for help")
	// ErrDiskFull: there is no room for the save.
	ErrDiskFull = errors.New("the disk is full, nothing of this step was saved: free some space and save again; what was saved before is safe")
	// ErrStorage: the disk or its permissions failed.
	ErrStorage = errors.New("the disk refused to read or write, nothing of this step was saved: check the disk and its permissions and try again")
	// ErrSwapped: the files of the store were moved, replaced or removed under it.
	ErrSwapped = errors.New("the store's files were moved, replaced or removed while it was open, and this step is not kept safely: put them back and do it again")
	// ErrNotEnrolled: the store belongs to nobody yet.
	ErrNotEnrolled = errors.New("this store is not enrolled: run tandem enroll with the address of the server and a code from your administrator")
	// ErrEnrolled: the store belongs to somebody already.
	ErrEnrolled = errors.New("this store is enrolled already: use another directory for another person or device")
	// ErrNotFound: the record is not on this device.
	ErrNotFound = errors.New("the record is not on this device")
	// ErrNoSealed: the file is no sealed outbox.
	ErrNoSealed = errors.New("the file is no sealed outbox, or nothing in it can be read")
	// ErrNotSealed: the device has no sealed outbox.
	ErrNotSealed = errors.New("this store has no sealed outbox: its server gave no key for one, or the file cannot be opened; see tandem status")
	// ErrLocked: the store is in a vault, and its key is not in memory or its screens are
	// hidden.
	ErrLocked = vault.ErrLocked
	// ErrNoVault: the store is in the clear.
	ErrNoVault = errors.New("the store is not in a vault: move it into one with tandem vault seal")
	// ErrWipeOrdered: an administrator has ordered the device to be wiped, and it is not
	// yet: what is unsent goes first.
	ErrWipeOrdered = errors.New("an administrator has ordered this device to be wiped: nothing is shown any more, what is unsent is sent first: run tandem sync where there is a connection")
	// ErrWiped: the store was wiped at an administrator's order.
	ErrWiped = errors.New("this store was wiped at an administrator's order: what had not been sent went to the server first, for a lead; to work with this device again, enrol it in another directory with a new code")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("the store is closed")
)

// Errors of contact with a server, told apart with errors.Is. Each comes as a
// [*ContactError].
var (
	// ErrNetwork: no answer from the server. Nothing changed; trying again is right.
	ErrNetwork = errors.New("no answer from the server")
	// ErrRefused: the server does not take requests of this device.
	ErrRefused = errors.New("the server refuses this device")
	// ErrSuspended: an administrator has suspended this device. It is an ErrRefused that ends
	// when they lift it; what is unsent stays here until then.
	ErrSuspended = fmt.Errorf("an administrator has suspended it: %w", ErrRefused)
	// ErrBusy: the server asks to come back later.
	ErrBusy = errors.New("the server is busy")
	// ErrServerKey: who answers holds another key than the server, and nothing shows that
	// it is the server's. Nothing was sent.
	ErrServerKey = errors.New("the server holds another key than the one that this store knows")
	// ErrRejected: the server answered that the request itself is wrong.
	ErrRejected = errors.New("the server did not take the request")
)

// ContactError says why a contact with the server came to nothing.
type ContactError struct {
	// Kind is ErrNetwork, ErrRefused, ErrSuspended, ErrBusy, ErrServerKey or ErrRejected.
	Kind error
	// Words are for the person: what happened and what to do.
	Words string
	// RetryAfter is the server's hint, 0 for none.
	RetryAfter time.Duration
	// Err is the cause, for logs; it may be nil.
	Err error

	// large: something on the way does not let so large a request through; smaller: a
	// smaller one is worth trying.
	large, smaller bool
	// quota: the server has had enough of this person for now, and not of others.
	quota bool
}

// Error returns the words and the cause.
func (e *ContactError) Error() string {
	if e.Err == nil {
		return e.Words
	}
	return e.Words + " (" + e.Err.Error() + ")"
}

// Unwrap returns kind and cause.
func (e *ContactError) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// InvalidError says that a save was not taken because of what it would write.
// Nothing of it was saved.
type InvalidError struct {
	// Code is what the server would answer.
	Code tandemv1.Refusal
	// Fields at fault, as "kind/field", never a value.
	Fields []string
}

// Error names the fields and says what to do.
func (e *InvalidError) Error() string {
	words := RefusalWords(e.Code)
	if len(e.Fields) > 0 {
		words += ": " + strings.Join(e.Fields, ", ")
	}
	return "not saved: " + words
}

// RefusalWords says in plain words why a change is not taken, and what to do.
func RefusalWords(code tandemv1.Refusal) string {
	switch code {
	case tandemv1.Refusal_REFUSAL_UNDECODABLE:
		return "it could not be read; a lead can look at it"
	case tandemv1.Refusal_REFUSAL_INVALID:
		return "some fields are not in a form that can be kept; correct them and save again"
	case tandemv1.Refusal_REFUSAL_OVERSIZE:
		return "it is too large; shorten the text or save it in parts"
	case tandemv1.Refusal_REFUSAL_FORBIDDEN:
		return "your role does not allow it; ask a lead"
	case tandemv1.Refusal_REFUSAL_UNKNOWN_SCHEMA:
		return "the app and the server are of versions that do not go together; it is kept and will be tried again by itself; update the app if there is a newer one"
	case tandemv1.Refusal_REFUSAL_UNKNOWN_KIND:
		return "the server does not know this kind of record yet; it will be tried again by itself"
	case tandemv1.Refusal_REFUSAL_NO_TARGET:
		return "the record that it belongs to is not there; it will be tried again by itself"
	case tandemv1.Refusal_REFUSAL_REVOKED:
		return "this device or its user has been suspended; a lead can release it"
	case tandemv1.Refusal_REFUSAL_BUNDLED:
		return "it waits with an earlier save that was not accepted"
	case tandemv1.Refusal_REFUSAL_WAITING:
		return "it signs over a value that has not reached the server yet; it will be tried again by itself"
	case tandemv1.Refusal_REFUSAL_DRAFT:
		return "it is a draft: it was typed and never saved"
	case tandemv1.Refusal_REFUSAL_INTERNAL:
		return "the server failed on it; a lead or your administrator can look at it"
	}
	return "it was not accepted; ask a lead"
}

// fileError turns an error of the file system into one of the store's.
func fileError(doing string, err error) error {
	kind := ErrStorage
	if errors.Is(err, syscall.ENOSPC) {
		kind = ErrDiskFull
	}
	return fmt.Errorf("%s: %w (%w)", doing, kind, err)
}

// storeError turns an error of the database into one of the store's.
func storeError(doing string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		var kind error
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			kind = ErrDiskFull
		case sqlite3.SQLITE_NOTADB:
			kind = ErrNoStore
		case sqlite3.SQLITE_CORRUPT:
			kind = ErrDamaged
		case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
			kind = ErrStorage
		}
		if e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE {
			// There was no room for the index of the log.
			kind = ErrDiskFull
		}
		if kind != nil {
			return fmt.Errorf("%s: %w (SQLite code %d)", doing, kind, e.Code())
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// failing reports whether the storage under the store has failed.
func failing(err error) bool { return errors.Is(err, ErrStorage) || errors.Is(err, ErrDiskFull) }
