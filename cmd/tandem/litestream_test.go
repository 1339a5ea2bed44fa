package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tandem-response/tandem/internal/need"
)

// TestLitestream does what docs/operations.md says of Litestream: it copies the database of
// a server that works, server and copier are killed in the midst of it, and what the copy
// lacks comes back from the devices.
func TestLitestream(t *testing.T) {
	t.Parallel()
	copier := filepath.Join(t.TempDir(), "litestream")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-C", "../../tools/litestream", "-o", copier, ".").CombinedOutput(); err != nil {
		need.Missing(t, fmt.Sprintf("what tools/litestream is built of: go -C tools/litestream mod download (%v: %s)", err, out))
	}
	r := newRigOn(t, "tandem", "")
	db, replica := r.path("server/tandem.db"), r.path("replica")
	r.serve()
	copying := exec.CommandContext(t.Context(), copier, "replicate", db, replica)
	if err := copying.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.kill(copying) })
	devices := []string{"first", "second"}
	r.enrol(devices...)
	r.must(r.importing("first", r.file(40))...)
	for _, name := range devices {
		r.must(r.syncing(name)...)
	}
	early := changesIn(t, db)
	for n := 0; ; n++ {
		to := r.path(fmt.Sprintf("try%d.db", n))
		if out, err := restoring(t.Context(), copier, replica, to); err == nil && changesIn(t, to) >= early {
			break
		} else if n == 600 {
			t.Fatalf("the copy lacks what the server had a minute ago: %v\n%s", err, out)
		}
		time.Sleep(100 * time.Millisecond)
	}

	r.must(r.importing("second", r.file(60))...)
	r.save("first", false)
	for _, name := range devices {
		r.must(r.syncing(name)...)
	}
	r.kill(r.server)
	r.kill(copying)
	told, _ := r.atServer()
	lost := r.path("lost")
	if err := os.Rename(r.path("server"), lost); err != nil {
		t.Fatal(err)
	}
	if out, err := restoring(t.Context(), copier, replica, r.path("copy.db")); err != nil {
		t.Fatalf("litestream restore: %v\n%s", err, out)
	}
	r.must("restore", "--from", r.path("copy.db"), "--keys", filepath.Join(lost, "keys.json"), "--journal", filepath.Join(lost, "security.journal"), "--data", r.path("server"))
	r.must("verify", "--data", r.path("server"))
	there, _ := r.atServer()
	t.Logf("the copy lacked %d of %d changes", told.Changes-there.Changes, told.Changes)
	r.serve()
	for _, name := range devices {
		r.must(r.syncing(name)...)
	}
	r.must(r.admin("recover", "confirm")...)
	r.alike(devices...)
}

// restoring makes a database of what Litestream has copied.
func restoring(ctx context.Context, copier, replica, to string) ([]byte, error) {
	return exec.CommandContext(ctx, copier, "restore", replica, to).CombinedOutput()
}

// changesIn is how many changes a database of a server holds.
func changesIn(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM change").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
