package server_test

import (
	"testing"

	"github.com/tandem-response/tandem/server/store"
)

// A change that is damaged ends neither a purge, of whose own words it is, nor a start of the
// server, also on an older copy that the purge is done in again. It is counted, and verify
// names it.
func TestPurgeWithDamage(t *testing.T) { each(t, testPurgeWithDamage) }

func testPurgeWithDamage(t *testing.T, on engine) {
	t.Parallel()
	p := newPurging(t, on, 85)
	damaged, whole := p.made(p.someone()), p.made(p.someone())
	nothing := "zeroblob(32)"
	if p.database != "" {
		nothing = "decode(repeat('00', 32), 'hex')"
	}
	db := p.behind()
	if _, err := db.ExecContext(t.Context(), "UPDATE change SET body_hash = "+nothing+" WHERE stamp = (SELECT min(stamp) FROM change WHERE replica IS NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	back := p.copied()
	p.later()
	gone := func(when string) {
		t.Helper()
		if there := p.all(); there[damaged] != nil || there[whole] != nil {
			t.Errorf("%s: who was purged is there", when)
		}
		if r := must[*store.Report](t)(p.s.Verify(t.Context(), p.org.ID)); len(r.Faults) != 1 || r.Erased != 2 {
			t.Errorf("%s: %+v", when, r)
		}
		if done := must[store.Scrubbed](t)(p.s.Scrub(t.Context(), p.org.ID)); done.Damaged != 1 {
			t.Errorf("%s: %+v", when, done)
		}
	}
	if done := must[*store.Purge](t)(p.late.DecidePurge(t.Context(), p.two, p.ask().ID, true)); done.Erased != 2 || done.DoneMS == 0 {
		t.Errorf("%+v", done)
	}
	gone("after the purge")
	p.restart(func() {}, p.d)
	gone("after a start")
	p.restart(back, p.d)
	gone("after a start on an older copy")
}
