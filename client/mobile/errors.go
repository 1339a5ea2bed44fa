package mobile

import (
	"context"
	"errors"
	"strings"

	"github.com/tandem-response/tandem/client"
)

// Codes of errors, as ErrorCode returns them.
const (
	// CodeNetwork: no answer from the server; CodeBusy: it asks to come back later. Both
	// pass by themselves.
	CodeNetwork = "network"
	CodeBusy    = "busy"
	// CodeRefused: the server does not take this device's requests, or that one; CodeKey:
	// who answers is not the server that the device knows. A person must act.
	CodeRefused = "refused"
	CodeKey     = "key"
	// CodeSuspended: an administrator has suspended the device, and can lift that; what is
	// unsent stays here until then.
	CodeSuspended = "suspended"
	// CodeInvalid: a save was not taken because of what it would write; the words name
	// fields, never values.
	CodeInvalid = "invalid"
	// CodeLocked: the store hides what it holds until it is unlocked. CodeLease: charts
	// are closed until there is contact with the server. Saving goes on in both.
	CodeLocked = "locked"
	CodeLease  = "lease"
	// CodeWiped: the store is wiped, or about to be, at an administrator's order.
	CodeWiped = "wiped"
	// CodeEnroll: the store is nobody's yet, or somebody's already.
	CodeEnroll = "enroll"
	// CodeNotFound: the record is not on this device.
	CodeNotFound = "notfound"
	// CodeDisk: the disk is full or failing, or holds a store that this version does not
	// read; nothing of the step was saved.
	CodeDisk = "disk"
	// CodeOther is any other.
	CodeOther = "other"
)

// codes maps errors to codes, the first that fits.
var codes = []struct {
	err  error
	code string
}{
	{client.ErrWiped, CodeWiped},
	{client.ErrWipeOrdered, CodeWiped},
	{client.ErrServerKey, CodeKey},
	{client.ErrBusy, CodeBusy},
	{client.ErrNetwork, CodeNetwork},
	{context.DeadlineExceeded, CodeNetwork},
	{context.Canceled, CodeNetwork},
	{client.ErrSuspended, CodeSuspended},
	{client.ErrRefused, CodeRefused},
	{client.ErrRejected, CodeRefused},
	{client.ErrLocked, CodeLocked},
	{client.ErrLease, CodeLease},
	{client.ErrNotEnrolled, CodeEnroll},
	{client.ErrEnrolled, CodeEnroll},
	{client.ErrNotFound, CodeNotFound},
	{client.ErrDiskFull, CodeDisk},
	{client.ErrStorage, CodeDisk},
	{client.ErrSwapped, CodeDisk},
	{client.ErrDamaged, CodeDisk},
	{client.ErrNewer, CodeDisk},
	{client.ErrNoStore, CodeDisk},
}

var (
	errSettings = errors.New("a device needs settings with a directory, and a host")
	errKind     = errors.New("there is no kind of record of that name")
	errBody     = errors.New("the body is no message of that kind")
	errView     = errors.New("a save of a record needs the view of it that the screen showed")
	errForeign  = errors.New("the save is of another device, or was not begun by one")
	errTeam     = errors.New("the person is not in that team: name one of those that Who returns")
	errChoice   = errors.New("there is no such value to choose")
)

// codeOf is the code of an error.
func codeOf(err error) string {
	if _, ok := errors.AsType[*client.InvalidError](err); ok {
		return CodeInvalid
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return CodeOther
}

// wordsOf are the words of an error, for the person.
func wordsOf(err error) string {
	if contact, ok := errors.AsType[*client.ContactError](err); ok {
		return contact.Words
	}
	return err.Error()
}

// coded is an error as it crosses to the host.
type coded struct{ err error }

// Error is the code, a colon and the words.
func (e *coded) Error() string { return codeOf(e.err) + ": " + wordsOf(e.err) }

// Unwrap returns the error.
func (e *coded) Unwrap() error { return e.err }

// fail makes an error ready to cross, nil of nil.
func fail(err error) error {
	if err == nil {
		return nil
	}
	return &coded{err}
}

// ErrorCode returns the code of the text of an error that came from here.
func ErrorCode(text string) string {
	code, _, ok := strings.Cut(text, ": ")
	if !ok || strings.ContainsAny(code, " .") {
		return CodeOther
	}
	return code
}

// ErrorWords returns the words for the person.
func ErrorWords(text string) string {
	if ErrorCode(text) == CodeOther && !strings.HasPrefix(text, CodeOther+": ") {
		return text
	}
	_, words, _ := strings.Cut(text, ": ")
	return words
}
