package server_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
)

// beside opens the database of a world from another directory, as on another machine.
func (w *world) beside() (st *store.Store, dir string) {
	w.t.Helper()
	dir = w.t.TempDir()
	keys := must[[]byte](w.t)(os.ReadFile(filepath.Join(w.dir, "keys.json")))
	if err := os.WriteFile(filepath.Join(dir, "keys.json"), keys, 0o600); err != nil {
		w.t.Fatal(err)
	}
	st = must[*store.Store](w.t)(store.Open(w.t.Context(), dir, store.Options{Database: w.database, Volatile: true, Clock: w.clock}))
	w.t.Cleanup(func() { _ = st.Close() })
	return st, dir
}

// Who is shut out on one machine stays shut out though the database is set back and that
// machine is lost: every server has a copy of the journal, and any one of them is enough.
// (postgres alone: a file has one server.)
func TestServersShareTheJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres, 61)
	one, two := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	back := w.copied()
	one.connect(w.http.URL)
	there, lost := w.beside()
	if err := server.NewAdmin(there, w.org, server.AdminOptions{Clock: w.clock}).RevokePerson(t.Context(), w.clinician); err != nil {
		t.Fatal(err)
	}
	if err := there.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.srv.JoinJournal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(lost); err != nil {
		t.Fatal(err)
	}
	w.restart(back, one, two)
	if !w.replica(one).Revoked || w.replica(two).Revoked {
		t.Error("after the restore a person who was shut out on a lost machine is back")
	}
	// A machine that has nothing but the keys learns of it from the database.
	fresh, dir := w.beside()
	events := must[[]*store.JournalEvent](t)(fresh.Journal(t.Context(), w.org.ID))
	if n := len(events); n != 3 || events[2].What != store.EventRevoked {
		t.Errorf("a new machine knows %d events", n)
	}
	if text := must[[]byte](t)(os.ReadFile(filepath.Join(dir, "security.journal"))); len(text) == 0 {
		t.Error("a new machine has no copy of its own")
	}
}

// A server that runs on while its database loses what was noted last, in a failover for
// instance, puts it back.
func TestJournalOutlivesTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres, 62)
	one := w.enrolled(1, w.clinician)
	if err := w.admin.RevokeDevice(t.Context(), one.dev); err != nil {
		t.Fatal(err)
	}
	if err := w.srv.JoinJournal(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := must[*pgx.Conn](t)(pgx.Connect(t.Context(), pgtest.Above(t, w.database)))
	_, err := c.Exec(t.Context(), "UPDATE tandem.replica SET revoked = 0; DELETE FROM tandem.journal WHERE at_ms = (SELECT max(at_ms) FROM tandem.journal)")
	if err := errors.Join(err, c.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	if w.replica(one).Revoked {
		t.Fatal("nothing was lost")
	}
	if err := w.srv.JoinJournal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !w.replica(one).Revoked {
		t.Error("the server has a copy of what the database lost, and does not put it back")
	}
}
