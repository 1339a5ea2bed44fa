package console_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// purger is an Admin years later.
func (w *whole) purger(years int) *server.Admin {
	return server.NewAdmin(w.st, w.org, server.AdminOptions{Clock: func() time.Time { return w.now().AddDate(years, 0, 0) }})
}

// somebody makes a person of forty with an alert about them, and returns both.
func (w *whole) somebody(d *client.Client, given, family string) (who, alert syncengine.ID) {
	w.tb.Helper()
	w.edit(d, func(e *client.Edit) (err error) {
		m := person(given, family)
		m.ApproxAge = new(uint32(40))
		if who, err = e.Create(m); err != nil {
			return err
		}
		alert, err = e.Create(&tandemv1.SafetyAlert{PersonId: new(who.String()), Category: new("deescalation_tip"), Text: new("Alert about " + family + "."), Lifecycle: new("proposed"), Audience: new("team_with_le"),
			Basis: new("observed_in_public"), ExpiresOn: new(w.now().AddDate(0, 0, 30).Format(time.DateOnly)),
		})
		return err
	})
	return who, alert
}

// holds reports whether a device has a record.
func holds(t *testing.T, d *client.Client, id syncengine.ID) bool {
	t.Helper()
	v, err := d.Get(t.Context(), id)
	return err == nil && v != nil
}

// inFiles reports whether a word stands in any file of a directory.
func inFiles(t *testing.T, dir, word string) (found bool) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		found = found || bytes.Contains(raw, []byte(word))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

// What is past its time is purged when one admin asks and another approves: it leaves the
// server and, at their next contact, the devices. What is under a hold, what nobody has
// reviewed and what is not yet due stay. What a device that was away had written about it
// is kept in quarantine.
func TestPurge(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWhole(t, on)
		maya, luis := w.device(w.maya, "Car 12"), w.device(w.luis, "Car 14")
		gone, alert := w.somebody(maya, "Gus", "Goneaway")
		kept, _ := w.somebody(maya, "Kim", "Keptforcourt")
		drafted, _ := w.somebody(maya, "Dora", "Draftleft")
		w.edit(maya, func(e *client.Edit) error {
			call, err := e.Create(w.call("C7-9"))
			if err == nil {
				_, err = e.Create(w.visitOf(call, drafted, "Words."))
			}
			return err
		})
		// A third device only reads; what is in its files is looked at in the end.
		dir := t.TempDir()
		reader := must[*client.Client](t)(client.Open(t.Context(), dir, client.Options{Timezone: "America/Chicago", Version: "test", Now: w.now}))
		t.Cleanup(func() { _ = reader.Close() })
		if err := reader.Enroll(t.Context(), w.url, must[*server.Code](t)(w.admin.IssueCode(t.Context(), w.luis, "Desk")).Code); err != nil {
			t.Fatal(err)
		}
		w.sync(maya, luis, reader)
		if !holds(t, reader, gone) || !inFiles(t, dir, "Goneaway") {
			t.Fatal("the device that only reads does not hold what is to be purged")
		}
		if !holds(t, luis, gone) || !holds(t, luis, alert) {
			t.Fatal("the other device does not hold what is to be purged")
		}
		// This one is away from here on, and writes.
		view := must[*client.View](t)(luis.Get(t.Context(), gone))
		w.edit(luis, func(e *client.Edit) error {
			m, _ := view.Message.(*tandemv1.Person)
			m.Descriptor_ = new("words that were typed while away")
			return e.Set(view, m)
		})
		if _, err := w.admin.PlaceHold(t.Context(), w.ada, w.clinic, kept, "a letter of the court"); err != nil {
			t.Fatal(err)
		}
		bea := must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Bea Admin", Discipline: "other", Roles: []string{"admin"}, Agency: w.clinic}))
		late := w.purger(10)
		if _, err := w.admin.AskPurge(t.Context(), w.ada, "past its retention"); !errors.Is(err, server.ErrNothingToPurge) {
			t.Errorf("before its time: %v", err)
		}
		for _, who := range []syncengine.ID{w.lena, w.maya, w.org.ID} {
			if _, err := late.AskPurge(t.Context(), who, "past its retention"); !errors.Is(err, server.ErrPurgeNobody) {
				t.Errorf("asked by another: %v", err)
			}
		}
		if _, err := late.AskPurge(t.Context(), w.ada, "short"); err == nil {
			t.Error("asked for without a reason")
		}
		p := must[*store.Purge](t)(late.AskPurge(t.Context(), w.ada, "past its retention"))
		if len(p.Records) != 2 || p.People != 1 || p.Calls != 0 || !slices.Contains(p.Records, gone) || !slices.Contains(p.Records, alert) {
			t.Fatalf("%+v", p)
		}
		if _, err := late.AskPurge(t.Context(), bea, "past its retention"); !errors.Is(err, server.ErrPurgeOpen) {
			t.Errorf("asked for twice: %v", err)
		}
		if _, err := late.DecidePurge(t.Context(), w.ada, p.ID, true); !errors.Is(err, server.ErrPurgeOwn) {
			t.Errorf("approved by whoever asked: %v", err)
		}
		if _, err := late.DecidePurge(t.Context(), w.lena, p.ID, true); !errors.Is(err, server.ErrPurgeNobody) {
			t.Errorf("approved by a lead: %v", err)
		}
		w.sync(maya)
		if !holds(t, maya, gone) {
			t.Error("something was purged that nobody has approved")
		}
		done := must[*store.Purge](t)(late.DecidePurge(t.Context(), bea, p.ID, true))
		if done.Erased < 2 || done.DoneMS == 0 || done.Open() {
			t.Errorf("%+v", done)
		}
		if _, err := late.DecidePurge(t.Context(), bea, p.ID, true); !errors.Is(err, store.ErrNoPurge) {
			t.Errorf("done twice: %v", err)
		}
		verified := func() {
			t.Helper()
			if r := must[*store.Report](t)(w.st.Verify(t.Context(), w.org.ID)); len(r.Faults) > 0 || r.Erased < 2 {
				t.Errorf("%+v", r)
			}
		}
		verified()
		w.sync(maya, luis)
		w.sync(maya, luis)
		for _, d := range []*client.Client{maya, luis} {
			if holds(t, d, gone) || holds(t, d, alert) {
				t.Error("a device still has what was purged")
			}
			if !holds(t, d, kept) || !holds(t, d, drafted) {
				t.Error("something was purged that was to stay")
			}
		}
		w.sync(reader)
		if holds(t, reader, gone) || !holds(t, reader, kept) {
			t.Error("the device that only reads has what it should not, or lacks what it should have")
		}
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
		if inFiles(t, dir, "Goneaway") || !inFiles(t, dir, "Keptforcourt") {
			t.Error("words that were purged are in the files of a device")
		}
		waiting := must[[]*syncengine.StoredChange](t)(w.st.Quarantined(t.Context(), w.org.ID))
		if len(waiting) != 1 || waiting[0].Outcome.GetRefusal() != tandemv1.Refusal_REFUSAL_NO_TARGET {
			t.Errorf("what was typed while away: %d in quarantine", len(waiting))
		}
		verified()
		if r := must[*server.Retention](t)(late.Retention(t.Context(), w.clinic)); r.Held != 1 || len(r.Purgeable) != 0 || r.Waiting == 0 {
			t.Errorf("%+v", r)
		}
	})
}
