package server_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/pgtest"
)

// behind opens the database of the world behind the server's back.
func (w *world) behind() *sql.DB {
	w.t.Helper()
	driver, address := "sqlite", filepath.Join(w.dir, "tandem.db")
	if w.database != "" {
		driver, address = "pgx", pgtest.Above(w.t, w.database)+"&search_path=tandem"
	}
	db := must[*sql.DB](w.t)(sql.Open(driver, address))
	w.t.Cleanup(func() { _ = db.Close() })
	return db
}

// TestUnauditedIsNotShown takes the audit log away from a server that runs: what it cannot
// note it does not show, be it asked for by a page, a lookup or in an emergency, and it
// takes no act of an admin. When the log is back all goes on, and each stands in it.
func TestUnauditedIsNotShown(t *testing.T) { each(t, testUnauditedIsNotShown) }

func testUnauditedIsNotShown(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 91)
	ctx := t.Context()
	author, reader := w.enrolled(1, w.second), w.enrolled(2, w.clinician)
	next, _ := reader.read()
	made := author.creation(encounter(w, marker))
	author.must(author.push(made))
	asks := map[string]*tandemv1.SyncRequest{"a page": next, "a lookup": lookFor(made.GetRecords()[0].GetRecord(), true)}
	pulls := func() int { return len(w.audited(tandemv1.AuditAct_AUDIT_ACT_PULLED)) }
	before := pulls()

	db := w.behind()
	rename := func(from, to string) {
		t.Helper()
		if _, err := db.ExecContext(ctx, "ALTER TABLE "+from+" RENAME TO "+to); err != nil {
			t.Fatal(err)
		}
	}
	rename("audit_head", "audit_away")
	for name, ask := range asks {
		resp, err := reader.sync.Sync(ctx, ask)
		if err == nil || resp != nil || strings.Contains(err.Error(), marker) {
			t.Errorf("%s is answered without a log: %v, %v", name, resp, err)
		}
	}
	if err := w.admin.RevokeDevice(ctx, author.dev); err == nil {
		t.Error("an act of an admin is taken without a log")
	}
	rename("audit_away", "audit_head")

	for name, ask := range asks {
		if answer := reader.must(ask); !strings.Contains(answer.String(), marker) {
			t.Errorf("%s with the log back shows nothing: this test could not fail", name)
		}
	}
	if got := pulls(); got != before+1 {
		t.Errorf("%d pages in the log, %d before: what was refused is in it, or what was shown is not", got, before)
	}
	if w.replica(author).Revoked {
		t.Error("an act that was refused was done")
	}
}
