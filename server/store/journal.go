package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/tandem-response/tandem/syncengine"
)

// journalName is that of the security journal in the data directory.
const journalName = "security.journal"

// What a journal event is about.
const (
	// EventEnrolled: a replica was certified.
	EventEnrolled = "enrolled"
	// EventRevoked: a person, a device or a replica was shut out, for all that was
	// enrolled before.
	EventRevoked = "revoked"
	// EventWiped: a device was ordered to wipe itself, or a replica has acknowledged it.
	EventWiped = "wiped"
	// EventWipeTold: a replica was told that order. EventUnwiped: the order was taken back
	// for a device that had not been.
	EventWipeTold = "wipe told"
	EventUnwiped  = "unwiped"
	// EventSuspended and EventLifted: nothing is taken of a device and nothing sent to it, or
	// it is again, or it is shut out, and suspended no more.
	EventSuspended = "suspended"
	EventLifted    = "lifted"
	// EventRekeyed: a replica has another key.
	EventRekeyed = "rekeyed"
	// EventDisabled and EventEnabled: a person may sign in no more, or again.
	EventDisabled = "disabled"
	EventEnabled  = "enabled"
	// EventKeyed: a key was made.
	EventKeyed = "keyed"
	// EventErased: records were erased by law. EventUnerased: those of an earlier event were
	// not, since the database never came to it, and others have written since.
	EventErased   = "erased"
	EventUnerased = "unerased"
)

// JournalEvent is one line of the security journal: what must stay true though the
// database is set back to an earlier copy. It names ids and keys, nobody and nothing
// else.
type JournalEvent struct {
	// Number counts from 1.
	Number uint64 `json:"n"`
	AtMS   int64  `json:"at_ms"`
	// Org, Replica, Person, Device, Record are ids as text, empty where the event has
	// none.
	Org     string `json:"org"`
	What    string `json:"what"`
	Replica string `json:"replica,omitempty"`
	Person  string `json:"person,omitempty"`
	Device  string `json:"device,omitempty"`
	Record  string `json:"record,omitempty"`
	// Records are ids of records that were erased.
	Records []string `json:"records,omitempty"`
	// Purge is the purge that erased them, none of it where nobody knows. Seq and Hash are
	// where the history stood before, Holds the legal holds that
	// there were, lifted ones too: by them a database in which they were not erased tells
	// whether it was set back, or never came to erase them.
	Purge string   `json:"purge,omitempty"`
	Seq   uint64   `json:"seq,omitempty"`
	Hash  []byte   `json:"hash,omitempty"`
	Holds []string `json:"holds,omitempty"`
	// Key is the public key of an enrolled replica, or the one that was made. Generation
	// counts the keys that a replica had before it, Ops is the newest op that the one before
	// may have signed.
	Key        []byte `json:"key,omitempty"`
	Generation uint64 `json:"generation,omitempty"`
	Ops        uint64 `json:"ops,omitempty"`
	// Change is the encoded change by which the server took the right away.
	Change []byte `json:"change,omitempty"`
}

// ErrJournal says that the security journal is damaged in the middle.
var ErrJournal = errors.New("the security journal is damaged: restore it from a copy; without it people who were shut out might come back in after a restore")

// journal is the security journal: a file of lines, each the hash of the line before
// followed by its own text, and the text, in JSON:
//
//	hex(SHA-256(hash of the line before ‖ text)) ' ' text '\n'
//
// The hash before the first line is 32 zero bytes. It stands beside the keys, and in
// no backup of the database. Several processes may append. Safe for concurrent use.
type journal struct {
	path string
	// unknown is why its place is not known, nil where it is.
	unknown error
	mu      sync.Mutex
	// size, last and number are those of the end that was seen last.
	size   int64
	last   syncengine.Hash
	number uint64
}

// locked runs f while no other process appends.
func (j *journal) locked(ctx context.Context, f func() error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.unknown != nil {
		return j.unknown
	}
	l := flock.New(j.path + ".lock")
	got, err := l.TryLockContext(ctx, 5*time.Millisecond)
	if err != nil || !got {
		return fmt.Errorf("waiting for the security journal: %w", err)
	}
	defer l.Unlock() //nolint:errcheck // The lock goes with the process at the latest.
	return f()
}

// read returns the events, and the size of the file up to the end of the last whole
// line: what stands behind it is what a power cut has left of one.
func (j *journal) read() (events []*JournalEvent, size int64, last syncengine.Hash, err error) {
	text, err := os.ReadFile(j.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, last, nil
	}
	if err != nil {
		return nil, 0, last, fmt.Errorf("reading the security journal: %w", err)
	}
	for len(text) > 0 {
		line, rest, whole := bytes.Cut(text, []byte{'\n'})
		if !whole {
			break
		}
		e, hash, ok := parseEvent(last, line)
		if !ok || e.Number != uint64(len(events))+1 {
			return nil, 0, last, ErrJournal
		}
		events, last = append(events, e), hash
		size += int64(len(line)) + 1
		text = rest
	}
	return events, size, last, nil
}

func parseEvent(before syncengine.Hash, line []byte) (e *JournalEvent, hash syncengine.Hash, ok bool) {
	sum, text, ok := bytes.Cut(line, []byte{' '})
	if !ok {
		return nil, hash, false
	}
	hash = hashEvent(before, text)
	if string(sum) != hex.EncodeToString(hash[:]) {
		return nil, hash, false
	}
	e = &JournalEvent{}
	return e, hash, json.Unmarshal(text, e) == nil
}

func hashEvent(before syncengine.Hash, text []byte) syncengine.Hash {
	return syncengine.Hash(sha256.Sum256(append(before[:], text...)))
}

// length is the size of the file.
func (j *journal) length() (int64, error) {
	info, err := os.Stat(j.path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the security journal: %w", err)
	}
	return info.Size(), nil
}

// append adds an event; it is on disk when append returns.
func (j *journal) append(ctx context.Context, e *JournalEvent) error {
	err := j.locked(ctx, func() (err error) {
		f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		end, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		if end != j.size || end == 0 {
			events, size, last, err := j.read()
			if err != nil {
				return err
			}
			j.size, j.last, j.number = size, last, uint64(len(events))
			if end != size {
				if err := f.Truncate(size); err != nil {
					return err
				}
			}
		}
		e.Number = j.number + 1
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		hash := hashEvent(j.last, text)
		line := append(append([]byte(hex.EncodeToString(hash[:])+" "), text...), '\n')
		if _, err := f.WriteAt(line, j.size); err != nil {
			return errors.Join(err, f.Truncate(j.size))
		}
		if err := f.Sync(); err != nil {
			return err
		}
		if j.size == 0 {
			if err := syncDir(filepath.Dir(j.path)); err != nil {
				return err
			}
		}
		j.size, j.last, j.number = j.size+int64(len(line)), hash, e.Number
		return nil
	})
	if err != nil && !errors.Is(err, ErrJournal) {
		return fmt.Errorf("writing the security journal: %w", err)
	}
	return err
}

// openJournal finds the security journal: where it is told to be, else where the keys
// file says it is, else beside the keys. The keys file remembers it, so that commands
// beside the server write the same.
func (s *Store) openJournal(ctx context.Context, path string) error {
	file, err := readKeys(s.dir)
	if err != nil && path == "" {
		// A database can be looked at without its keys, but not changed.
		s.journal = &journal{unknown: err}
		return nil
	}
	if err != nil {
		return err
	}
	if path != "" {
		if path, err = filepath.Abs(path); err != nil {
			return fmt.Errorf("finding the security journal: %w", err)
		}
		if path != file.Journal {
			if err := s.changeKeys(ctx, func(f *keysFile) error {
				f.Journal = path
				return nil
			}); err != nil {
				return err
			}
		}
	} else if path = file.Journal; path == "" {
		path = filepath.Join(s.dir, journalName)
	}
	s.journal = &journal{path: path}
	return nil
}

// Journal returns the events of the security journal about an org, oldest first. The
// error is ErrJournal where it is damaged.
func (s *Store) Journal(ctx context.Context, org syncengine.ID) (events []*JournalEvent, err error) {
	events, _, err = s.JoinJournal(ctx, org)
	return events, err
}

// Journal appends an event about the transaction's org to the security journal, before
// the transaction commits: where it is interrupted in between, the replay of the
// journal does what it would have done.
func (tx *Tx) Journal(e *JournalEvent) (err error) {
	e.Org, e.AtMS = tx.org.ID.String(), tx.s.now().UnixMilli()
	if tx.s.remote == nil {
		return tx.s.journal.append(tx.c.ctx, e)
	}
	if e.AtMS, err = tx.nextEvent(); err != nil {
		return err
	}
	if err := tx.s.journal.append(tx.c.ctx, e); err != nil {
		return err
	}
	return tx.shareEvent(e, e.AtMS)
}

// Replicas returns the replicas of the org, by number.
func (tx *Tx) Replicas() ([]*syncengine.Replica, error) {
	if err := tx.load(); err != nil {
		return nil, err
	}
	var all []*syncengine.Replica
	for _, known := range tx.numbers.replicas {
		r, err := tx.Replica(known.id)
		if err != nil {
			return nil, err
		}
		if r != nil {
			all = append(all, r)
		}
	}
	return all, nil
}
