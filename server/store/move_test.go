package store_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// lived is a world in a file with a history, and with every value that a column may hold.
func lived(t *testing.T, seed byte) (*world, []*tandemv1.Change) {
	t.Helper()
	w := newWorld(t, sqlite, seed)
	changes := w.history()
	for _, c := range changes {
		w.push(c)
	}
	w.write(func(tx *store.Tx) error {
		// As Litestream does it.
		if err := tx.Exec("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)"); err != nil {
			return err
		}
		for i, text := range []string{"", "ä 漢字 \U0001F691 '\"\\", "\x01\x7f"} {
			for _, row := range []struct {
				text string
				args []any
			}{
				{"INSERT INTO lookup (org, num, at_ms, person, replica, record, about, found, reason) VALUES ($1, $2, $3, $4, $5, $6, 0, 1, $7)",
					[]any{tx.OrgNumber(), int64(i), []int64{math.MinInt64, 0, math.MaxInt64}[i], []byte{}, []byte{0}, []byte{0xff, 0, 0x80}, text}},
				{"INSERT INTO enrolment (org, code_hash, staff, device, label, created_ms, expires_ms, attempts, used_key) VALUES ($1, $2, $3, $3, $4, 0, -1, 0, $5)",
					[]any{tx.OrgNumber(), []byte{byte(i)}, []byte{}, text, []any{nil, []byte{}, []byte("k")}[i]}},
				{"INSERT INTO about (org, target, record) VALUES ($1, $2, $3)", []any{tx.OrgNumber(), []byte{byte(i)}, []byte{}}},
			} {
				if err := tx.Exec(row.text, row.args...); err != nil {
					return err
				}
			}
			staff, blob := w.id(), [][]byte{nil, {}, {0, 0xff}}[i]
			err := errors.Join(
				tx.SaveAccount(&store.Account{Staff: staff, Login: fmt.Sprint("login", i), Passphrase: "$argon2id$", CodeHash: blob, TOTP: blob, Disabled: i > 0, TOTPStep: int64(i)}),
				tx.SaveSession(&store.Session{ID: w.id(), Hash: syncengine.Hash{byte(i)}, Staff: staff, Epoch: w.id(), Way: "passphrase", Browser: text, Complete: i > 0, EndsMS: math.MaxInt64}),
				tx.SavePasskey(staff, &store.Passkey{ID: []byte{byte(i)}, Label: text, Credential: []byte("{}")}),
				tx.SetRecoveryCodes(staff, []syncengine.Hash{{byte(i)}}), tx.SetTries(syncengine.Hash{byte(i)}, math.MaxInt64),
			)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := w.s.MarkBackup(t.Context(), w.org.ID, w.head().Seq, syncengine.Hash{}, store.BackupReport{}); err != nil {
		t.Fatal(err)
	}
	w.write(func(tx *store.Tx) error {
		return tx.Journal(&store.JournalEvent{What: store.EventRevoked, Device: w.id().String()})
	})
	return w, changes
}

func moveTo(dir, database string) error {
	_, err := store.Move(context.Background(), dir, store.MoveOptions{Database: database, Volatile: true})
	return err
}

func mustClose(t *testing.T, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A store moves to PostgreSQL and back as it is: no value changes, epoch and history go
// on, and at any time one of the two is served.
func TestMove(t *testing.T) {
	t.Parallel()
	w, changes := lived(t, 91)
	before, head, dir := w.state(changes), w.head(), w.dir
	database := pgtest.Shared(t).Database(t)
	// A command that was begun before the move, and goes on after it.
	late, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = late.Close() })
	mustClose(t, w.s)
	rows, added := 0, 0
	moved, err := store.Move(t.Context(), dir, store.MoveOptions{
		Database: database, Volatile: true, Begin: func(n int) { rows = n }, Add: func(n int) { added += n },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(moved) != 1 || moved[0].Org != w.org.ID || moved[0].Seq != head.Seq || moved[0].Report.Records == 0 || rows == 0 || rows != added {
		t.Errorf("moved %+v, %d of %d rows", moved, added, rows)
	}
	if err := late.Write(t.Context(), w.org.ID, 1, bump); !errors.Is(err, store.ErrMoved) {
		t.Errorf("a command from before writes where nobody reads it: %v", err)
	}
	mustClose(t, late)
	if _, err := store.Open(t.Context(), dir, store.Options{Serve: true}); !errors.Is(err, store.ErrMoved) {
		t.Errorf("what was moved away is served: %v", err)
	}
	look, err := store.Open(t.Context(), dir, store.Options{Moved: true})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, look)
	if err := moveTo(dir, database); !errors.Is(err, store.ErrMoved) {
		t.Errorf("it moves a second time: %v", err)
	}
	w.s = nil
	w.database = database
	w.open()
	if w.org, err = w.s.Org(t.Context(), w.org.ID); err != nil {
		t.Fatal(err)
	}
	if w.head() != head {
		t.Errorf("the history stands at %+v, was at %+v", w.head(), head)
	}
	compare(t, before, w.state(changes))
	events, err := w.s.Journal(t.Context(), w.org.ID)
	if err != nil || len(events) != 1 {
		t.Errorf("the security journal has %d events: %v", len(events), err)
	}
	// It goes on, and moves back.
	w.applied(w.push(w.creation(w.staff, w.id(), w.encounter())))
	w.write(func(tx *store.Tx) error {
		return tx.Journal(&store.JournalEvent{What: store.EventRevoked, Device: w.id().String()})
	})
	after, head := w.state(changes), w.head()
	if err := os.Rename(filepath.Join(dir, "tandem.db"), filepath.Join(dir, "before.db")); err != nil {
		t.Fatal(err)
	}
	mustClose(t, w.s)
	w.s = nil
	// The directory need not be that of the server which has noted everything.
	if err := os.Remove(filepath.Join(dir, "security.journal")); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Move(t.Context(), dir, store.MoveOptions{Database: database, Back: true, Volatile: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), dir, store.Options{Database: database, Volatile: true}); !errors.Is(err, store.ErrMoved) {
		t.Errorf("what was moved back is served where it was: %v", err)
	}
	w.database = ""
	w.open()
	if w.org, err = w.s.Org(t.Context(), w.org.ID); err != nil {
		t.Fatal(err)
	}
	if w.head() != head {
		t.Errorf("back: the history stands at %+v, was at %+v", w.head(), head)
	}
	compare(t, after, w.state(changes))
	if events, err := w.s.Journal(t.Context(), w.org.ID); err != nil || len(events) != 2 {
		t.Errorf("back: the security journal has %d events: %v", len(events), err)
	}
}

// A move that is broken off leaves the old place served and the new one refused, and is
// done by another try, whatever was saved meanwhile.
func TestMoveInterrupted(t *testing.T) {
	t.Parallel()
	w, _ := lived(t, 92)
	database := pgtest.Shared(t).Database(t)
	for _, after := range []int{1, 100, 400} {
		mustClose(t, w.s)
		ctx, cancel := context.WithCancel(t.Context())
		left := after
		_, err := store.Move(ctx, w.dir, store.MoveOptions{Database: database, Volatile: true, Add: func(n int) {
			if left -= n; left <= 0 {
				cancel()
			}
		}})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("broken off after %d rows: %v", after, err)
		}
		for _, serve := range []bool{true, false} {
			if _, err := store.Open(t.Context(), w.dir, store.Options{Database: database, Volatile: true, Serve: serve}); !errors.Is(err, store.ErrHalfMoved) {
				t.Fatalf("half a database is opened: %v", err)
			}
		}
		w.s = nil
		w.open()
		w.applied(w.push(w.creation(w.staff, w.id(), w.encounter())))
	}
	head := w.head()
	mustClose(t, w.s)
	if err := moveTo(w.dir, database); err != nil {
		t.Fatal(err)
	}
	// Killed when all was there, before it was said: nothing is copied again.
	behind := place{w.dir, database}.behind(t)
	if _, err := behind.ExecContext(t.Context(), "UPDATE org SET moved = 1"); err != nil {
		t.Fatal(err)
	}
	copied := false
	_, err := store.Move(t.Context(), w.dir, store.MoveOptions{Database: database, Volatile: true, Begin: func(int) { copied = true }})
	if err != nil || copied {
		t.Errorf("ending a move: copied again %v, %v", copied, err)
	}
	w.s = nil
	w.database = database
	w.open()
	if w.org, err = w.s.Org(t.Context(), w.org.ID); err != nil {
		t.Fatal(err)
	}
	if w.head() != head {
		t.Errorf("the history stands at %+v, was at %+v", w.head(), head)
	}
	w.verified()
}

// Where what has arrived is not what was sent, the move does not end.
func TestMoveCompares(t *testing.T) {
	t.Parallel()
	w, _ := lived(t, 93)
	database := pgtest.Shared(t).Database(t)
	mustClose(t, w.s)
	if err := moveTo(w.dir, database); err != nil {
		t.Fatal(err)
	}
	behind := place{w.dir, database}.behind(t)
	for _, spoil := range []string{
		"UPDATE lookup SET reason = 'a' WHERE num = 0", "UPDATE change SET received_ms = received_ms + 1 WHERE seq = 5",
		"UPDATE enrolment SET used_key = NULL WHERE used_key = ''", "DELETE FROM about WHERE target = '\\x01'",
		"UPDATE org SET created_ms = created_ms + 1",
	} {
		if _, err := behind.ExecContext(t.Context(), "UPDATE org SET moved = 1"); err != nil {
			t.Fatal(err)
		}
		res, err := behind.ExecContext(t.Context(), spoil)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			t.Fatalf("%s: nothing is spoilt: %v", spoil, err)
		}
		if err := moveTo(w.dir, database); !errors.Is(err, store.ErrMoveDiffers) {
			t.Errorf("%s: %v", spoil, err)
		}
	}
	if _, err := store.Open(t.Context(), w.dir, store.Options{Database: database, Volatile: true}); !errors.Is(err, store.ErrHalfMoved) {
		t.Errorf("a copy that differs is opened: %v", err)
	}
}

// What is not to be moved, or not there, is left as it is.
func TestMoveRefuses(t *testing.T) {
	t.Parallel()
	w, _ := lived(t, 94)
	database := pgtest.Shared(t).Database(t)
	serving, err := store.Open(t.Context(), w.dir, store.Options{Serve: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := moveTo(w.dir, database); !errors.Is(err, store.ErrInUse) {
		t.Errorf("while a server runs: %v", err)
	}
	mustClose(t, serving)
	other, _ := existing(t, postgres)
	if err := moveTo(w.dir, other.database); !errors.Is(err, store.ErrMoveTarget) {
		t.Errorf("into a database that holds an org: %v", err)
	}
	if err := moveTo(t.TempDir(), database); !errors.Is(err, store.ErrNoDatabase) {
		t.Errorf("from nowhere: %v", err)
	}
	if err := moveTo(w.dir, "mysql://x"); !errors.Is(err, store.ErrAddress) {
		t.Errorf("to nowhere: %v", err)
	}
	newer := pgtest.Shared(t).Database(t)
	s, err := store.Open(t.Context(), t.TempDir(), store.Options{Create: true, Database: newer, Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if _, err := (place{"", newer}).behind(t).ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, true)"); err != nil {
		t.Fatal(err)
	}
	if err := moveTo(w.dir, newer); !errors.Is(err, store.ErrNewer) {
		t.Errorf("into a newer schema: %v", err)
	}
	empty := t.TempDir()
	s, err = store.Open(t.Context(), empty, store.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if err := moveTo(empty, database); !errors.Is(err, store.ErrMoveNothing) {
		t.Errorf("nothing: %v", err)
	}
	// None of it has changed anything.
	w.verified()
	w.applied(w.push(w.creation(w.staff, w.id(), w.encounter())))
}

// The way back where the new place is lost: what was moved away can be restored, and
// begins a new epoch.
func TestMovedIsRestored(t *testing.T) {
	t.Parallel()
	w, _ := lived(t, 95)
	head := w.head()
	mustClose(t, w.s)
	if err := moveTo(w.dir, pgtest.Shared(t).Database(t)); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "back")
	made, err := store.Restore(t.Context(), dir, store.RestoreOptions{
		From: filepath.Join(w.dir, "tandem.db"), Keys: filepath.Join(w.dir, "keys.json"), Journal: filepath.Join(w.dir, "security.journal"),
	})
	if err != nil || len(made) != 1 || made[0].Seq != head.Seq {
		t.Fatalf("restored %+v: %v", made, err)
	}
	w.s, w.dir = nil, dir
	w.open()
	if w.org, err = w.s.Org(t.Context(), w.org.ID); err != nil {
		t.Fatal(err)
	}
	if got := w.head(); got.Epoch == head.Epoch || !got.Recovering {
		t.Errorf("no new epoch: %+v", got)
	}
	w.verified()
}
