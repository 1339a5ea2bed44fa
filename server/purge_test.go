package server_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// A database that is set back to before a purge is rid of what was purged before it answers
// anybody: no record, no change and, of a file, no byte of it. What was made since the copy,
// and purged, does not come back either when its device offers it again.
func TestPurgedStaysPurged(t *testing.T) { each(t, testPurgedStaysPurged) }

func testPurgedStaysPurged(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 77)
	d := w.enrolled(1, w.clinician)
	admin := func(name string) syncengine.ID {
		return must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{Name: name, Discipline: "other", Roles: []string{"admin"}, Agency: w.agency, Teams: []syncengine.ID{w.team}}))
	}
	one, two := admin("One Admin"), admin("Two Admin")
	const word = "PlantedPurgedWords"
	someone := func() *tandemv1.Person {
		return &tandemv1.Person{
			AgencyId: new(w.agency.String()), TeamId: new(w.team.String()), Lifecycle: new("active"), Schema: new(uint32(1)), ApproxAge: new(uint32(40)),
			Descriptor_: new(word + " and what else was said of them, at some length so that it is stored once"),
		}
	}
	made := d.creation(someone())
	if got := refusals(d.must(d.push(made))); got != "APPLIED:UNSPECIFIED" {
		t.Fatal(got)
	}
	back := w.copied()
	d.connect(w.http.URL)
	since := d.creation(someone())
	if got := refusals(d.must(d.push(since))); got != "APPLIED:UNSPECIFIED" {
		t.Fatal(got)
	}
	late := server.NewAdmin(w.s, w.org, server.AdminOptions{Clock: func() time.Time { return w.clock().AddDate(10, 0, 0) }, Rand: w.rand})
	p := must[*store.Purge](t)(late.AskPurge(t.Context(), one, "past its retention"))
	if p = must[*store.Purge](t)(late.DecidePurge(t.Context(), two, p.ID, true)); p.Erased != 2 {
		t.Fatalf("%+v", p)
	}
	w.restart(back, d)
	gone := func(when string) {
		t.Helper()
		r := must[*store.Report](t)(w.s.Verify(t.Context(), w.org.ID))
		if len(r.Faults) > 0 || r.Erased != 2 {
			t.Errorf("%s: %+v", when, r)
		}
		for _, c := range []*tandemv1.Change{made, since} {
			if err := w.s.Snapshot(t.Context(), w.org.ID, func(snap *store.Snapshot) error {
				rec, err := snap.View().Record(syncengine.ID(c.GetRecords()[0].GetRecord()))
				if rec != nil {
					t.Errorf("%s: a purged record is there", when)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	gone("after the restart")
	// Nobody waits for the log and the files to be rid of it: that is done in the background,
	// and not while a purge is under way.
	cut := func() int { return must[*store.Report](t)(w.s.Verify(t.Context(), w.org.ID)).Cut }
	open := &store.Purge{ID: w.id(), Agency: w.agency, AskedBy: one, DecidedBy: two, Approved: true, Reason: "under way elsewhere"}
	step := func(do func(tx *store.Tx) error) {
		t.Helper()
		if err := w.s.Write(t.Context(), w.org.ID, 1, do); err != nil {
			t.Fatal(err)
		}
	}
	step(func(tx *store.Tx) error { return errors.Join(tx.AddPurge(open), tx.DecidePurge(open)) })
	late = server.NewAdmin(w.s, w.org, server.AdminOptions{Clock: w.clock, Rand: w.rand})
	must[store.Scrubbed](t)(late.KeepErased(t.Context()))
	if n := cut(); n != 0 {
		t.Errorf("of %d changes something was cut out at the start, or beside a purge", n)
	}
	step(func(tx *store.Tx) error { return tx.EndPurge(open.ID) })
	must[store.Scrubbed](t)(late.KeepErased(t.Context()))
	if n := cut(); n == 0 {
		t.Error("nothing was cut out")
	}
	if on.Name == "sqlite" {
		if err := filepath.WalkDir(w.dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			raw, err := os.ReadFile(path)
			if bytes.Contains(raw, []byte(word)) {
				t.Errorf("%s holds words that were purged", e.Name())
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	// It offers again what this history lacks.
	if got := refusals(d.must(d.push(since))); got != "QUARANTINED:NO_TARGET" {
		t.Errorf("offered again: %s", got)
	}
	gone("after it was offered again")
	head := w.head()
	if err := w.srv.ReplayJournal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.head() != head {
		t.Error("a second replay has written something")
	}
}
