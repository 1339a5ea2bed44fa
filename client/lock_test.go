package client

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client/vault"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/audit"
)

// boxed has a store kept in a vault, under a clock that a test turns.
func boxed(idle *atomic.Int64) func(*Options) {
	return func(o *Options) {
		o.Vault, o.Passphrase, o.Guess = true, knows, cheapGuess
		o.Boot = func() ([]byte, time.Duration) { return []byte("boot-one"), time.Duration(idle.Load()) }
	}
}

const pin = "480159"

// After five minutes without a touch every screen is hidden, and saves, drafts and syncs
// go on. The PIN ends that; ten wrong ones drop the key.
func TestLock(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	var now atomic.Int64
	now.Store(int64(time.Hour))
	c, other := o.enrol(o.clinician, t.TempDir(), boxed(&now)), o.enrol(o.second, t.TempDir())
	ctx := t.Context()
	for _, weak := range []string{"", "12345", "000000", "123456", "987654", "48015a"} {
		if err := c.SetPIN(ctx, weak); !errors.Is(err, ErrWeakPIN) {
			t.Errorf("the PIN %q is taken: %v", weak, err)
		}
	}
	if err := c.Unlock(ctx, pin); !errors.Is(err, ErrNoPIN) {
		t.Errorf("without a PIN: got %v", err)
	}
	if err := c.SetPIN(ctx, pin); err != nil {
		t.Fatal(err)
	}
	ada, err := o.admin.AddStaff(ctx, server.StaffOptions{Name: "Ada Admin", Discipline: "other", Roles: []string{"admin"}, Agency: o.agency})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.admin.Change(ctx, ada, func(e *server.Composer) error {
		_, err := e.Create(&tandemv1.CodeSet{
			AgencyId: new(o.agency.String()), Lifecycle: new("active"), Schema: new(uint32(syncengine.Schema)), List: new("call_type"),
			Entries: []*tandemv1.CodeEntry{{Element: []byte("elementA"), Code: new("x_ex_river"), En: new("River"), Es: new("Río"), MapsTo: new("welfare_check")}},
		})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	mustSync(t, c)
	id := create(t, c, &tandemv1.Incident{CallType: new("welfare_check"), Number: new("Q-1")})
	screens := map[string]func() error{
		"Get":         func() error { _, err := c.Get(ctx, id); return err },
		"List":        func() error { _, err := c.List(ctx, "incident", Filter{}, Order(0), 0); return err },
		"Each":        func() error { return c.Each(ctx, func(*syncengine.Record) error { return nil }) },
		"Search":      func() error { _, err := c.Search(ctx, "q", 1); return err },
		"Conflicts":   func() error { _, err := c.Conflicts(ctx); return err },
		"Quarantined": func() error { _, err := c.Quarantined(ctx); return err },
		"Closed":      func() error { _, err := c.Closed(ctx); return err },
		"Damaged":     func() error { _, err := c.Damaged(ctx); return err },
		"Draft":       func() error { _, err := c.Draft(ctx, "k"); return err },
		"Drafts":      func() error { _, err := c.Drafts(ctx); return err },
		"LookedUp":    func() error { _, err := c.LookedUp(ctx); return err },
		"Fix":         func() error { _, err := c.Fix(ctx, 1, func(*Fix) error { return nil }); return err },
		"SetPIN":      func() error { return c.SetPIN(ctx, "730164") },
	}
	look := func(when string, locked bool) {
		t.Helper()
		for name, show := range screens {
			if err := show(); errors.Is(err, ErrLocked) != locked {
				t.Errorf("%s: %s: got %v", when, name, err)
			}
			if name == "SetPIN" && !locked {
				if err := c.SetPIN(ctx, pin); err != nil {
					t.Fatal(err)
				}
			}
		}
		if st := mustStatus(t, c); !st.Vault || st.Locked != locked {
			t.Errorf("%s: the status says %t", when, st.Locked)
		}
	}
	now.Add(int64(5*time.Minute - time.Second))
	look("a second before", false)
	c.Touch()
	now.Add(int64(5*time.Minute - time.Second))
	look("touched, a second before", false)
	now.Add(int64(time.Second))
	look("after five minutes", true)
	c.Touch()
	look("touched after it", true)
	create(t, other, &tandemv1.Incident{CallType: new("welfare_check"), Number: new("Q-2")})
	mustSync(t, other)
	create(t, c, &tandemv1.Incident{CallType: new("x_ex_river"), Number: new("Q-3")})
	if err := c.SaveDraft(ctx, "k", []byte("typed when it locked")); err != nil {
		t.Errorf("a draft in a locked store: %v", err)
	}
	if m := mustSync(t, c); m.Applied != 2 || m.Rows == 0 {
		t.Errorf("a sync of a locked store moved %+v", m)
	}
	if err := c.Unlock(ctx, "480158"); err == nil || !strings.Contains(err.Error(), "9 more") {
		t.Errorf("a wrong PIN: got %v", err)
	}
	look("after a wrong PIN", true)
	if err := c.Unlock(ctx, pin); err != nil {
		t.Fatal(err)
	}
	look("unlocked", false)
	if err := c.Lock(); err != nil {
		t.Fatal(err)
	}
	look("locked by hand", true)
	if err := c.UnlockPassphrase(t.Context(), []byte(passphrase)); err != nil {
		t.Fatal(err)
	}
	look("unlocked by the passphrase", false)
	if err := c.Lock(); err != nil {
		t.Fatal(err)
	}
	for i := range vault.MostFailures {
		err := c.Unlock(ctx, "480158")
		if _, ok := errors.AsType[*WrongPINError](err); ok == (i == vault.MostFailures-1) {
			t.Errorf("wrong PIN %d: got %v", i+1, err)
		}
	}
	if err := c.Unlock(ctx, pin); !errors.Is(err, ErrLocked) {
		t.Errorf("the PIN after ten wrong ones: got %v", err)
	}
	if _, err := c.Sync(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("a sync without a key: got %v", err)
	}
	if k := c.store.vault.keys.CurrentKey(); k != nil {
		t.Error("the key is in memory still")
	}
	other2, err := Open(ctx, c.store.dir, Options{Passphrase: knows, Guess: cheapGuess})
	if err != nil {
		t.Fatalf("the passphrase afterwards: %v", err)
	}
	if err := other2.Close(); err != nil {
		t.Fatal(err)
	}
}

// A store in the clear never locks.
func TestPlainNeverLocks(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	var now atomic.Int64
	now.Store(int64(time.Hour))
	c := o.enrol(o.clinician, t.TempDir(), func(opts *Options) {
		opts.Boot = func() ([]byte, time.Duration) { return []byte("boot-one"), time.Duration(now.Load()) }
	})
	now.Add(int64(time.Hour))
	if c.Locked() || !errors.Is(c.Lock(), ErrNoVault) || !errors.Is(c.SetPIN(t.Context(), pin), ErrNoVault) || !errors.Is(c.Unlock(t.Context(), pin), ErrNoVault) {
		t.Error("a store in the clear locks")
	}
}

// TestStolen is what a thief gets of a device that is off: every file of it is scanned
// for what was typed and who typed it, and for bytes that are not evenly spread.
func TestStolen(t *testing.T) {
	t.Parallel()
	for name, closed := range map[string]bool{"off": true, "the power cut": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			var now atomic.Int64
			dir := t.TempDir()
			c := o.enrol(o.clinician, dir, boxed(&now))
			markers := []string{"SQLite", "CREATE TABLE", "welfare_check", "replica_key"}
			for range 60 {
				for _, m := range []string{"MARK-NUMBER", "MARK-NOTES"} {
					create(t, c, &tandemv1.Incident{CallType: new("welfare_check"), Number: new(m), NotesOps: new(strings.Repeat(m+" ", 30))})
				}
				create(t, c, &tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new("MARKGIVEN"), Family: new("MARKFAMILY")}}})
			}
			if err := c.SaveDraft(t.Context(), "MARK-KEY", []byte("MARK-DRAFT")); err != nil {
				t.Fatal(err)
			}
			mustSync(t, c)
			create(t, c, &tandemv1.Incident{CallType: new("welfare_check"), Number: new("MARK-UNSENT")})
			me, err := c.identity()
			if err != nil {
				t.Fatal(err)
			}
			markers = append(markers, "MARK", "markgiven", string(me.key.Seed()), me.server)
			if closed {
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
			}
			scanned, bytesScanned := 0, 0
			err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				scanned, bytesScanned = scanned+1, bytesScanned+len(b)
				for _, m := range markers {
					if bytes.Contains(b, []byte(m)) {
						t.Errorf("%s shows %q", d.Name(), m)
					}
				}
				if strings.HasPrefix(d.Name(), databaseFile) && len(b) > 100_000 {
					if x := unevenness(b[1024:]); math.Abs(x) > 6 {
						t.Errorf("%s: its bytes are %.1f standard deviations from evenly spread", d.Name(), x)
					}
				}
				return nil
			})
			if err != nil || scanned < 4 {
				t.Errorf("%d files, %v", scanned, err)
			}
			t.Logf("%d files, %d bytes: no marker, evenly spread", scanned, bytesScanned)
		})
	}
}

// unevenness is how many standard deviations the spread of bytes is from chance's.
func unevenness(b []byte) float64 {
	var counts [256]float64
	for _, c := range b {
		counts[c]++
	}
	want, square := float64(len(b))/256, 0.0
	for _, n := range counts {
		square += (n - want) * (n - want) / want
	}
	return (square - 255) / math.Sqrt(2*255)
}

// A wiped store has no key and no byte left in the clear, and every word that was not
// sent still reaches the server, by the sealed outbox and somebody else's device.
func TestErase(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]bool{"by an order": true, "without the passphrase": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			var now atomic.Int64
			dir := t.TempDir()
			c, other := o.enrol(o.clinician, dir, boxed(&now)), o.enrol(o.second, t.TempDir())
			mustSync(t, c)
			ids := []syncengine.ID{incident(t, c, word(1)), incident(t, c, word(2))}
			if open {
				if err := c.Erase(t.Context()); err != nil {
					t.Fatal(err)
				}
			} else {
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				if err := Erase(dir); err != nil {
					t.Fatal(err)
				}
			}
			left, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range left {
				b, err := os.ReadFile(filepath.Join(dir, f.Name()))
				if err != nil {
					t.Fatal(err)
				}
				switch f.Name() {
				case SealedFile, lockFile:
				case keyFile:
					if bytes.Contains(b, []byte("sealed")) || bytes.Contains(b, []byte("salt")) {
						t.Errorf("left of the key: %s", b)
					}
				default:
					t.Errorf("left: %s, %d bytes", f.Name(), len(b))
				}
			}
			if inVault, erased, err := Sealed(dir); !inVault || !erased || err != nil {
				t.Errorf("the store is said to be in a vault %t, erased %t, %v", inVault, erased, err)
			}
			if _, err := Open(context.WithoutCancel(t.Context()), dir, Options{Passphrase: knows, Guess: cheapGuess}); !errors.Is(err, vault.ErrErased) {
				t.Errorf("opened afterwards: %v", err)
			}
			if _, err := other.Deliver(t.Context(), SealedPath(dir)); err != nil {
				t.Fatal(err)
			}
			for _, id := range ids {
				if !o.has(id) {
					t.Error("a word that was not sent is lost")
				}
			}
		})
	}
}

// Every lock, unlock and try that failed stands in the device's audit chain.
func TestLockIsNoted(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(int64(time.Hour))
	c, _ := newEnrolled(t, boxed(&now))
	ctx := t.Context()
	if err := c.SetPIN(ctx, pin); err != nil {
		t.Fatal(err)
	}
	now.Add(int64(defaultIdle))
	if !c.Locked() {
		t.Fatal("it does not lock")
	}
	if err := c.Unlock(ctx, "730164"); err == nil {
		t.Error("a wrong PIN opens it")
	}
	if err := c.Unlock(ctx, pin); err != nil {
		t.Fatal(err)
	}
	if err := c.Lock(); err != nil {
		t.Fatal(err)
	}
	if err := c.UnlockPassphrase(ctx, []byte("not the passphrase, that")); err == nil {
		t.Error("a wrong passphrase opens it")
	}
	if err := c.UnlockPassphrase(ctx, []byte(passphrase)); err != nil {
		t.Fatal(err)
	}
	dir := c.store.dir
	shut(t, c)
	c = newClient(t, dir, boxed(&now))
	var acts []string
	if err := c.store.write(ctx, "reading the chain", func(tx *tx) error {
		entries, err := tx.auditEntries(0, -1)
		for i, raw := range entries {
			line, lerr := audit.NewLine(int64(i), raw)
			if lerr != nil {
				return lerr
			}
			acts = append(acts, line.Act)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"LOCKED", "UNLOCK_FAILED", "UNLOCKED", "LOCKED", "UNLOCK_FAILED", "UNLOCKED", "UNLOCKED"}
	if !slices.Equal(acts, want) {
		t.Errorf("got %v, want %v", acts, want)
	}
}
