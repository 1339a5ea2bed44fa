package server_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
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

// A journal that comes when the database, set back, has gone on: whoever was written about
// since stays, with all that is about them, and for good; the others go. What an open
// witness does not name it does not keep.
func TestErasureThatComesLate(t *testing.T) { each(t, testErasureThatComesLate) }

func testErasureThatComesLate(t *testing.T, on engine) {
	t.Parallel()
	p := newPurging(t, on, 87)
	box := must[*seal.Session](t)(seal.NewSession(p.d.answer.GetSealKey(), p.org.ID, p.d.replica))
	ids := map[string]syncengine.ID{}
	for _, name := range []string{"written about", "visited", "witnessed", "nobody"} {
		who := p.made(p.someone())
		ids[name], ids[name+", an alert"] = who, p.made(p.alert(who))
	}
	var all []string
	for _, id := range ids {
		all = append(all, id.String())
	}
	// The card of an alert that stays could not be made again. An alert takes its own with it.
	all = append(all, p.org.Secrets.DeriveID(ids["visited, an alert"], "alert_card", 0).String())
	broken := errors.New("the journal is of another disk")
	if err := p.s.Write(t.Context(), p.org.ID, 1, func(tx *store.Tx) error {
		return errors.Join(tx.Journal(&store.JournalEvent{What: store.EventErased, Records: all, Seq: 1 << 40, Hash: make([]byte, 32)}), broken)
	}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	p.pass(time.Hour)
	_, _ = p.d.sync.Sync(t.Context(), &tandemv1.SyncRequest{})
	ids["written about, since"] = p.made(p.alert(ids["written about"]))
	p.made(p.d.creation(visit(p.world, ids["visited"])))
	kept := &seal.Witness{Serial: 1, Record: ids["witnessed"], Kind: 12, Body: []byte("body"), Stamps: []byte("stamps")}
	kept.Hash = syncengine.HashRow(kept.Body, kept.Stamps)
	kept.Signature = seal.SignWitness(p.d.key, kept.Record, kept.Hash)
	if got := results(p.d.deliver(box.AppendWitness(nil, kept))); got != "TAKEN" {
		t.Fatal(got)
	}
	for _, when := range []string{"at the start", "at the next"} {
		p.restart(func() {}, p.d)
		if r := must[*store.Report](t)(p.s.Verify(t.Context(), p.org.ID)); r.Erased != 3 || len(r.Faults) > 0 {
			t.Errorf("%s: %+v", when, r)
		}
		there := p.all()
		for name, id := range ids {
			if gone := strings.HasPrefix(name, "nobody"); (there[id] == nil) != gone {
				t.Errorf("%s, %s: gone: %v", when, name, !gone)
			}
		}
	}
}
