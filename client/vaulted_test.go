package client

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/client/vault"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/faultfs"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/syncengine"
)

// openOn opens the store of a directory on a disk, and ends the use of the mount with
// it.
func openOn(tb testing.TB, w *disked, d *faultfs.Disk, o Options) (*Client, error) {
	tb.Helper()
	m := w.mount(d)
	tb.Cleanup(m.Close)
	o.Version, o.Logger, o.Rand = "test", zerolog.Nop(), rand.NewChaCha8([32]byte{7})
	if o.Guess == (vault.Cost{}) {
		o.Guess = cheapGuess
	}
	c, err := Open(m.Use(tb.Context()), w.dir, o)
	if err == nil {
		tb.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

// A store in the clear is moved into a vault, and one in a vault to a new data key.
// Wherever the power goes, the store is there, whole, the way it was or the way it was
// to be; and once it is in the vault its old bytes are gone.
func TestMove(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		before bool
		how    Options
	}{
		"into a vault":  {false, Options{Vault: true, Passphrase: knows}},
		"to a new key":  {true, Options{Vault: true, NewKey: true, Passphrase: knows}},
		"a new pass":    {true, Options{Vault: true, Passphrase: knows, Guess: vault.Cost{Time: 2, MemoryKiB: 128, Threads: 1}}},
		"plain as ever": {false, Options{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newDisked(t, tc.before)
			l := w.start(w.device.Copy(1), w.server.Copy(1), 1)
			var ids []syncengine.ID
			for range 20 {
				ids = append(ids, create(t, l.c, &tandemv1.Incident{CallType: new("outreach"), NotesOps: new("what-a-person-wrote")}))
			}
			w.must(l.c.SaveDraft(t.Context(), "k", []byte("typing")))
			w.must(l.stop())
			moved, step := 0, 4
			if need.All() {
				step = 1
			}
			for at := 1; ; at += step {
				d := l.device.Copy(uint64(at))
				d.Set(faultfs.Faults{CutAt: at})
				c, err := openOn(t, w, d, tc.how)
				if err == nil {
					err = c.Close()
				}
				if err == nil {
					w.holds(d.Copy(1), tc.how, ids)
					break
				}
				if !d.Out() {
					t.Fatalf("with the power on: %v", err)
				}
				left := d.Restart()
				if at/step%2 == 0 {
					// Somebody looks first, and does not ask for the move.
					w.holds(left, Options{Passphrase: knows}, ids)
				}
				w.holds(left, tc.how, ids)
				moved++
			}
			if tc.how.Vault && moved < 3 {
				t.Errorf("%d operations", moved)
			}
		})
	}
}

// holds asserts that a store opens and holds some records.
func (w *disked) holds(d *faultfs.Disk, o Options, ids []syncengine.ID) {
	w.tb.Helper()
	c, err := openOn(w.tb, w, d, o)
	if err != nil {
		w.tb.Fatalf("opening: %v", err)
	}
	for _, id := range ids {
		if _, err := c.Get(w.tb.Context(), id); err != nil {
			w.tb.Fatalf("a record: %v", err)
		}
	}
	v, err := c.Verify(w.tb.Context())
	if err != nil || !v.OK() {
		w.tb.Fatalf("verify: %v, %v", v, err)
	}
	if draft, err := c.Draft(w.tb.Context(), "k"); err != nil || draft == nil || string(draft.Body) != "typing" {
		w.tb.Fatalf("the draft: %v, %v", draft, err)
	}
	want := o.Vault
	w.must(c.Close())
	if want {
		for _, file := range []string{databaseFile, databaseFile + "-wal", databaseFile + newSuffix} {
			b, err := d.Read(filepath.Join(w.dir, file))
			if err != nil {
				continue
			}
			if bytes.HasPrefix(b, []byte("SQLite")) || bytes.Contains(b, []byte("what-a-person-wrote")) {
				w.tb.Errorf("%s is in the clear", file)
			}
		}
	}
}

// Without the passphrase nothing opens; ten wrong ones erase the key, and with it
// everything but the sealed outbox.
func TestLockedOut(t *testing.T) {
	t.Parallel()
	w := newDisked(t, true)
	d := w.device.Copy(1)
	if _, err := openOn(t, w, d, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("without a passphrase: got %v", err)
	}
	wrong := func(context.Context, bool) ([]byte, error) { return []byte("what a thief would guess"), nil }
	for i := range vault.MostFailures {
		_, err := openOn(t, w, d, Options{Passphrase: wrong})
		if _, ok := errors.AsType[*vault.WrongPassphraseError](err); !ok && i < vault.MostFailures-1 {
			t.Fatalf("guess %d: got %v", i+1, err)
		}
	}
	if _, err := openOn(t, w, d, Options{Passphrase: knows}); !errors.Is(err, vault.ErrErased) {
		t.Errorf("the right one after ten: got %v", err)
	}
}

// A database that was emptied or taken away is not a new one.
func TestEmptied(t *testing.T) {
	t.Parallel()
	w := newDisked(t, true)
	for name, harm := range map[string]func(d *faultfs.Disk) error{
		"taken away": func(d *faultfs.Disk) error { return d.Remove(filepath.Join(w.dir, databaseFile)) },
		"emptied": func(d *faultfs.Disk) error {
			b, err := d.Read(filepath.Join(w.dir, databaseFile))
			if err != nil {
				return err
			}
			return d.Swap(filepath.Join(w.dir, databaseFile), 0, make([]byte, len(b)))
		},
	} {
		d := w.device.Copy(1)
		d.Set(faultfs.Faults{})
		w.must(harm(d))
		if _, err := openOn(t, w, d, Options{Passphrase: knows}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
