package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/tandem-response/tandem/syncengine"
)

// Errors of a restore.
var (
	// ErrRestoreThere: the data directory holds something.
	ErrRestoreThere = errors.New("there is something in the data directory already: move it away first, nothing is written over")
	// ErrRestoreKeys: the keys are not there, or twice.
	ErrRestoreKeys = errors.New("the directory needs a keys.json: give its copy (--keys) where there is none, and none where there is one")
	// ErrRestoreJournal: nobody says where the security journal is.
	ErrRestoreJournal = errors.New("the security journal is missing: give its newest copy; without it people who were shut out since the backup come back in")
)

// RestoreOptions say what a data directory is made of.
type RestoreOptions struct {
	// From is a copy of the database, Keys of the keys file, Journal of the security
	// journal. Journal may be empty where the keys file names one that is there.
	From, Keys, Journal string
	// WithoutJournal takes it that there is none.
	WithoutJournal bool
}

// Restored is what a restore has made of an org.
type Restored struct {
	Org syncengine.ID
	// Seq is where the copy's history ended, Epoch the one that has begun.
	Seq   uint64
	Epoch syncengine.ID
}

// Restore makes a data directory of copies, which it leaves as they are, verifies it and
// begins a new epoch in every org: devices send again what the copy lacks, and nothing is
// sent to anybody until the recovery is confirmed. The directory is there when all of it
// is right, or not at all.
func Restore(ctx context.Context, dir string, o RestoreOptions) (made []Restored, err error) {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return nil, ErrRestoreThere
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("looking at the data directory: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("finding the data directory: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	staged, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".restoring-*")
	if err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(staged)
		}
	}()
	for _, f := range []struct{ from, name string }{{o.From, databaseName}, {o.Keys, keysName}, {o.Journal, journalName}} {
		if f.from == "" {
			continue
		}
		if err := copyFile(f.from, filepath.Join(staged, f.name)); err != nil {
			return nil, err
		}
	}
	if made, err = restored(ctx, staged, o); err != nil {
		return nil, err
	}
	// It may be there, and is empty then.
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	if err := os.Rename(staged, dir); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	return made, syncDir(filepath.Dir(dir))
}

// restored verifies what stands in a new directory and begins new epochs.
func restored(ctx context.Context, dir string, o RestoreOptions) (made []Restored, err error) {
	keys, err := readKeys(dir)
	if err != nil {
		return nil, err
	}
	switch {
	case o.Journal != "":
		// The copy is the one that counts.
		keys.Journal = filepath.Join(dir, journalName)
	case keys.Journal == "":
		keys.Journal = filepath.Join(dir, journalName)
		if !o.WithoutJournal {
			return nil, ErrRestoreJournal
		}
	default:
		if _, err := os.Stat(keys.Journal); err != nil && !o.WithoutJournal {
			return nil, fmt.Errorf("%w (%w)", ErrRestoreJournal, err)
		}
	}
	at := keys.Journal
	if filepath.Dir(at) == dir {
		// The directory gets another name.
		keys.Journal = ""
	}
	if err := writeKeys(dir, keys); err != nil {
		return nil, err
	}
	if _, _, _, err := (&journal{path: at}).read(); err != nil {
		return nil, err
	}
	s, err := Open(ctx, dir, Options{Serve: true, Moved: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	orgs, err := s.Orgs(ctx)
	if err != nil {
		return nil, err
	}
	return s.beginAnew(ctx, orgs)
}

// beginAnew verifies orgs and begins a new epoch in each.
func (s *Store) beginAnew(ctx context.Context, orgs []*Org) (made []Restored, err error) {
	for _, org := range orgs {
		r, err := s.Verify(ctx, org.ID)
		if err != nil {
			return nil, errors.Join(ErrBackupBad, err)
		}
		if len(r.Faults) > 0 {
			return nil, fmt.Errorf("%w: %s", ErrBackupBad, r.Faults[0])
		}
		st, err := s.Stats(ctx, org.ID)
		if err != nil {
			return nil, err
		}
		events, err := s.Journal(ctx, org.ID)
		if err != nil {
			return nil, err
		}
		if err := org.Holds(events); err != nil {
			return nil, err
		}
		if org.Signing == nil {
			return nil, fmt.Errorf("%w: the backup knows of number %d", ErrKeysLost, len(org.ring.public))
		}
		head, err := s.MintEpoch(ctx, org.ID)
		if err != nil {
			return nil, err
		}
		if err := s.Announce(ctx, org.ID); err != nil {
			return nil, err
		}
		made = append(made, Restored{Org: org.ID, Seq: st.Head.Seq, Epoch: head.Epoch})
	}
	return made, nil
}

// RestoreDatabase does for a PostgreSQL database what Restore does for a file, after its
// own tools have set it back: it verifies it, takes in what the security journal of this
// directory or the given copy of one knows, and begins a new epoch in every org. What a
// move has left there as gone is taken for the one that counts. Servers are to be started
// after it.
func RestoreDatabase(ctx context.Context, dir, database string, o RestoreOptions) (made []Restored, err error) {
	return restoreDatabase(ctx, dir, Options{Database: database, Serve: true, Moved: true, Replaced: true}, o)
}

func restoreDatabase(ctx context.Context, dir string, open Options, o RestoreOptions) (made []Restored, err error) {
	_, err = os.Stat(filepath.Join(dir, keysName))
	switch {
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("looking at the data directory: %w", err)
	case (err == nil) == (o.Keys != ""):
		return nil, ErrRestoreKeys
	case err != nil:
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making the data directory: %w", err)
		}
		if err := copyFile(o.Keys, filepath.Join(dir, keysName)); err != nil {
			return nil, err
		}
	}
	s, err := Open(ctx, dir, open)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	state, err := s.moving(ctx)
	if err != nil {
		return nil, err
	}
	if state == arriving {
		return nil, ErrHalfMoved
	}
	orgs, err := s.Orgs(ctx)
	if err != nil {
		return nil, err
	}
	if len(orgs) == 0 {
		return nil, fmt.Errorf("%w: it holds no organization", ErrBackupBad)
	}
	if o.Journal != "" {
		if err := s.AddJournal(ctx, o.Journal); err != nil {
			return nil, err
		}
	}
	for _, org := range orgs {
		if _, _, err := s.JoinJournal(ctx, org.ID); err != nil {
			return nil, err
		}
	}
	return s.beginAnew(ctx, orgs)
}

// copyFile copies a file to a new one that its owner alone can read, and syncs it.
func copyFile(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("reading what is to be restored: %w", err)
	}
	defer src.Close() //nolint:errcheck // It was only read.
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("restoring: %w", err)
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if _, err := io.Copy(dst, src); err != nil {
		return fmt.Errorf("restoring: %w", err)
	}
	return dst.Sync()
}
