package store

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
)

// keysAge is how old what is known of the keys file may be: a command beside the
// server may have changed it.
const keysAge = 2 * time.Second

// keysSeen is what is known of the keys file.
type keysSeen struct {
	// asked is when it was last looked at, since the start of the process.
	asked time.Duration
	mod   time.Time
	size  int64
	// sealed: every org of the file has a key of sealed outboxes.
	sealed bool
}

// refreshKeys forgets the keys that are held where their file has changed.
func (s *Store) refreshKeys() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.monotonic()
	if s.keys.asked != 0 && now-s.keys.asked < keysAge {
		return
	}
	s.keys.asked = now
	// Where it cannot be read, what is known goes on being used.
	if info, err := os.Stat(filepath.Join(s.dir, keysName)); err == nil && (!info.ModTime().Equal(s.keys.mod) || info.Size() != s.keys.size) {
		s.keys.mod, s.keys.size, s.keys.sealed = info.ModTime(), info.Size(), false
		clear(s.orgs)
	}
}

// ensureSeal gives a key of sealed outboxes to each org that has none: it was made by
// an earlier version.
func (s *Store) ensureSeal(ctx context.Context) error {
	s.mu.Lock()
	done := s.keys.sealed
	s.mu.Unlock()
	if done {
		return nil
	}
	file, err := readKeys(s.dir)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(file.Orgs, func(k orgKeys) bool { return len(k.Seal) == 0 }) {
		if err := s.changeKeys(ctx, s.sealAll); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.keys.sealed = true
	s.mu.Unlock()
	return nil
}

// sealAll gives a key of sealed outboxes to each org of the file that has none.
func (s *Store) sealAll(file *keysFile) error {
	for i := range file.Orgs {
		if len(file.Orgs[i].Seal) > 0 {
			continue
		}
		if err := file.Orgs[i].addSeal(s.rand, s.now().UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

// changeKeys changes the keys file; it is on disk when changeKeys returns.
func (s *Store) changeKeys(ctx context.Context, change func(*keysFile) error) error {
	unlock, err := s.lockFiles(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	file, err := readKeys(s.dir)
	if err != nil {
		return err
	}
	if err := change(file); err != nil {
		return err
	}
	return writeKeys(s.dir, file)
}

// RotateSeal makes a new key of sealed outboxes for an org and returns its id.
// Devices learn it at their next contact; what is sealed to the old one opens as
// before. A server that runs on the same directory uses it after a moment.
func (s *Store) RotateSeal(ctx context.Context, org syncengine.ID) (id seal.KeyID, err error) {
	if _, err := s.Org(ctx, org); err != nil {
		return id, err
	}
	var made *seal.PrivateKey
	err = s.changeKeys(ctx, func(file *keysFile) error {
		k, err := file.find(org)
		if err != nil {
			return err
		}
		if err := k.addSeal(s.rand, s.now().UnixMilli()); err != nil {
			return err
		}
		if made, err = seal.NewPrivateKey(k.Seal[len(k.Seal)-1].Seed); err != nil {
			return err
		}
		return s.journal.append(ctx, &JournalEvent{Org: org.String(), AtMS: s.now().UnixMilli(), What: EventKeyed, Key: made.Public()})
	})
	if err != nil {
		return id, err
	}
	s.mu.Lock()
	s.keys.asked = 0
	s.mu.Unlock()
	return made.ID(), s.Write(ctx, org, 1, func(tx *Tx) error {
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_KEYED, Code: "seal", Key: made.Public()})
	})
}
