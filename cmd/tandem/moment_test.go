package main

import (
	"flag"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tandem-response/tandem/internal/pgtest"
)

var moments = flag.Int("moments", 1, "how often TestRestoredToAMoment restores PostgreSQL to an earlier moment")

// TestRestoredToAMoment restores PostgreSQL from a base backup and its archive to a moment
// before changes that were acknowledged. A new epoch begins, by the operator's command or
// because the servers see what is missing, and the devices bring all of it back.
func TestRestoredToAMoment(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "tandem")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the binary: %v\n%s", err, out)
	}
	archive := pgtest.Archive(t)
	cluster := pgtest.Start(t, pgtest.Archived(archive)...)
	f := newFleet(t, bin, cluster.Database(t), 2)
	devices := []string{"first", "second"}
	f.enrol(devices...)
	for drill := range *moments {
		backup := cluster.BaseBackup(t)
		f.must(f.importing("first", f.file(30))...)
		for _, name := range devices {
			f.must(f.syncing(name)...)
		}
		moment := cluster.Moment(t)
		then, _ := f.atServer()
		// What follows is acknowledged, and only later than the moment.
		f.must(f.importing("second", f.file(30))...)
		f.save("first", false)
		f.save("second", true)
		for _, name := range devices {
			f.must(f.syncing(name)...)
		}
		newest, _ := f.atServer()
		cluster.Archive(t)
		for _, s := range f.servers {
			f.kill(s)
		}
		cluster.Kill()
		// The log of what follows is kept apart.
		next := pgtest.Archive(t)
		cluster = pgtest.Restored(t, backup, archive, moment, pgtest.Archived(next)...)
		archive = next
		f.database = pgtest.Across(t, f.database, cluster)
		if drill%2 == 0 {
			f.must(f.admin("recover", "begin")...)
		}
		if there, _ := f.atServer(); there.Changes != then.Changes || there.Changes == newest.Changes {
			t.Fatalf("drill %d: restored with %d changes, had %d then and %d in the end", drill, there.Changes, then.Changes, newest.Changes)
		}
		for i := range f.servers {
			f.up(i)
		}
		for _, name := range devices {
			f.must(f.syncing(name)...)
			if st := f.status(name); !st.Recovering {
				t.Errorf("drill %d: %s does not know that the database was restored: %+v", drill, name, st)
			}
		}
		f.must(f.admin("recover", "confirm")...)
		f.alike(devices...)
		if there, _ := f.atServer(); there.Changes != newest.Changes {
			t.Errorf("drill %d: %d changes came back to %d, there had been %d", drill, there.Changes-then.Changes, then.Changes, newest.Changes)
		}
		f.must("verify", "--data", f.path("server"), "--database", f.database)
		if t.Failed() {
			t.FailNow()
		}
	}
}
