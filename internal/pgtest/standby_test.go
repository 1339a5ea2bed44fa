package pgtest_test

import (
	"testing"

	"github.com/tandem-response/tandem/internal/pgtest"
)

// A standby that commits wait for has everything when the primary is gone; one that
// receives nothing lacks what came meanwhile.
func TestPromote(t *testing.T) {
	t.Parallel()
	for name, stalled := range map[string]bool{"synchronous": false, "stalled": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			primary := pgtest.Start(t)
			address := primary.Database(t)
			do(t, address, "CREATE TABLE word AS SELECT 'first' AS word")
			standby := primary.Standby(t)
			primary.Synchronous(t, true)
			do(t, address, "INSERT INTO word VALUES ('second')")
			want := "first second third"
			if stalled {
				primary.Synchronous(t, false)
				standby.Stall(t)
				want = "first second"
			}
			do(t, address, "INSERT INTO word VALUES ('third')")
			primary.Kill()
			standby.Promote(t)
			both := pgtest.Across(t, address, primary, standby)
			const all = "SELECT string_agg(word, ' ') FROM word"
			if got := ask(t, both, all); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			do(t, both, "INSERT INTO word VALUES ('fourth')")
			// The old one comes back as it was.
			if err := primary.Up(); err != nil {
				t.Fatal(err)
			}
			if got := ask(t, address, all); got != "first second third" {
				t.Errorf("the old primary has %q", got)
			}
		})
	}
}

func TestRestored(t *testing.T) {
	t.Parallel()
	archive := pgtest.Archive(t)
	c := pgtest.Start(t, pgtest.Archived(archive)...)
	address := c.Database(t)
	do(t, address, "CREATE TABLE word AS SELECT 'first' AS word")
	backup := c.BaseBackup(t)
	do(t, address, "INSERT INTO word VALUES ('second')")
	moment := c.Moment(t)
	do(t, address, "INSERT INTO word VALUES ('third')")
	c.Archive(t)
	c.Kill()
	again := pgtest.Restored(t, backup, archive, moment)
	at := pgtest.Across(t, address, again)
	if got := ask(t, at, "SELECT string_agg(word, ' ') FROM word"); got != "first second" {
		t.Errorf("got %q", got)
	}
	do(t, at, "INSERT INTO word VALUES ('other')")
}
