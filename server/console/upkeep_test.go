package console_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// again signs the browser of the admin in anew: what has passed meanwhile ended the session.
func (w *whole) again(b *browser) *browser {
	w.tb.Helper()
	next := w.stranger()
	next.secret = b.secret
	next.post("/signin", "login", "ada.admin", "passphrase", passphrase)
	if b.secret != nil {
		next.post("/signin/factor", "code", totp(b.secret, w.now()))
	}
	return next
}

// work does all jobs that are due.
func (w *whole) work() {
	w.tb.Helper()
	for n := 1; n > 0; {
		n = must[int](w.tb)(w.worker.Once(w.tb.Context()))
	}
}

// An admin sees what recurs, when it was done, what it did and when it comes next; the
// reminders find the overdue follow-up that no lead has looked for; asking for one out of
// turn does it once.
func TestJobsPage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWhole(t, on)
		maya := w.device(w.maya, "Car 12")
		w.play(maya)
		b := w.signIn(w.ada, "ada.admin")
		b.get("/console/jobs").want(t, http.StatusOK, "Reminders", "Snapshots of metrics", "not yet")
		w.work()
		b.get("/console/jobs").want(t, http.StatusOK, "Overdue follow-ups: 1.", "from day 45: 1, from day 55: 1, from day 60: 0.", "Frozen:", "people 0, calls 0, records 0").never(t, "not yet")
		w.pass(100 * 24 * time.Hour)
		w.work()
		b = w.again(b)
		b.get("/console/jobs").want(t, http.StatusOK, "Overdue follow-ups: 1.", "from day 45: 1, from day 55: 1, from day 60: 1.")
		b.lang = "es"
		b.get("/console/jobs").want(t, http.StatusOK, "Seguimientos vencidos: 1.")
		b.lang = "en"

		b.post("/console/jobs", "kind", "no such").want(t, http.StatusBadRequest)
		b.post("/console/jobs", "kind", "reminders").want(t, http.StatusOK, "Waits")
		b.post("/console/jobs", "kind", "reminders").want(t, http.StatusOK)
		asked := 0
		count := func(j *store.Job) error {
			if j.Person == w.ada {
				asked++
			}
			return nil
		}
		if err := w.st.Jobs(t.Context(), w.org.ID, "reminders", 100, count); err != nil || asked != 1 {
			t.Errorf("%d asked for, %v", asked, err)
		}
		w.work()
		b.get("/console/jobs").never(t, "Waits")
		for _, who := range []*browser{w.signIn(w.lena, "lena.park"), w.signIn(w.dale, "dale.hunt"), w.signIn(w.maya, "maya.ortiz")} {
			for _, page := range []string{"jobs", "backups", "retention"} {
				who.get("/console/"+page).want(t, http.StatusForbidden)
			}
			who.post("/console/jobs", "kind", "reminders").want(t, http.StatusForbidden)
			who.post("/console/retention/hold", "what", "all", "reason", "somebody asks for it").want(t, http.StatusForbidden)
		}
	})
}

// What is past its time is counted also on a day on which what was erased cannot be swept up.
func TestRetentionIsCounted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWhole(t, on)
		b := w.signIn(w.ada, "ada.admin")
		if err := os.WriteFile(filepath.Join(w.data, "security.journal"), []byte("damaged\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.work()
		b.get("/console/jobs").want(t, http.StatusOK, "people 0, calls 0, records 0")
	})
}

// What is frozen of a period is what is published of it, however the records have changed
// since; it is frozen once, and never before devices had time to send.
func TestSnapshots(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWhole(t, on)
		maya := w.device(w.maya, "Car 12")
		zone := must[*time.Location](t)(time.LoadLocation("America/Chicago"))
		// To 74 days after the end of a quarter, a day before all has settled.
		now := w.now().In(zone)
		end := time.Date(now.Year(), now.Month()+3-(now.Month()-1)%3, 1, 0, 0, 0, 0, zone)
		next := end.Add(74 * 24 * time.Hour)
		w.play(maya)
		w.pass(next.Sub(now))
		freeze := func() report.Frozen {
			return must[report.Frozen](t)(report.Freeze(t.Context(), w.st, w.org, w.now()))
		}
		last := end.AddDate(0, -1, 0)
		before := freeze()
		for _, p := range before.Periods {
			if strings.HasSuffix(p, " "+end.Format(time.DateOnly)) {
				t.Errorf("%s is frozen before it has settled", p)
			}
		}
		w.pass(48 * time.Hour)
		done := freeze()
		// A month and a quarter, of two programs and of both together.
		if done.Metrics != 6 || done.Programs != 3 {
			t.Fatalf("%+v", done)
		}
		if done := freeze(); done.Metrics != 0 {
			t.Fatalf("frozen twice: %+v", done)
		}
		first := last.Format(time.DateOnly)
		frozen := must[*store.PublishedReport](t)(w.st.FrozenMetricsOf(t.Context(), w.org.ID, syncengine.ID{}, first, end.Format(time.DateOnly), zone.String()))
		if frozen == nil {
			t.Fatalf("nothing of %s is frozen: %+v", first, done)
		}
		// A device that was away for long.
		w.sync(maya)
		w.edit(maya, func(e *client.Edit) error {
			call := w.call("late")
			at := time.Date(last.Year(), last.Month(), 10, 12, 0, 0, 0, zone).UnixMilli()
			call.ArrivedAt, call.DispatchedAt = &tandemv1.Instant{AtMs: &at, Origin: new("manual")}, nil
			_, err := e.Create(call)
			return err
		})
		w.sync(maya)
		o := report.OutcomeOptions{Zone: zone, From: time.Date(last.Year(), last.Month(), 1, 0, 0, 0, 0, zone), AsOf: w.now()}
		o.To = o.From.AddDate(0, 1, 0)
		newest := must[*report.Outcomes](t)(report.Of(t.Context(), w.st, w.org.ID, o))
		id := must[syncengine.ID](t)(syncengine.NewID(w.now().UnixMilli(), strings.NewReader(strings.Repeat("r", 64))))
		p := must[*store.PublishedReport](t)(report.Publish(t.Context(), w.st, w.org, o, id, w.now()))
		if p.Hash != frozen.Hash || p.Seq != frozen.Seq || newest.Seq <= p.Seq {
			t.Errorf("published at %d, frozen at %d, now at %d", p.Seq, frozen.Seq, newest.Seq)
		}
		if body := w.stranger().get("/outcomes/"+id.String()+"/outcomes.json").want(t, http.StatusOK).body; body != string(frozen.Body) {
			t.Error("what is published is not what was frozen")
		}
		// Metrics that were frozen before the 60 days were over are not what is published.
		early := *frozen
		early.FirstDay, early.EndDay, early.CreatedMS = end.Format(time.DateOnly), end.AddDate(0, 1, 0).Format(time.DateOnly), end.AddDate(0, 1, 15).UnixMilli()
		if err := w.st.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
			_, err := tx.FreezeMetrics(&early)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		o.From, o.To = end, end.AddDate(0, 1, 0)
		id = must[syncengine.ID](t)(syncengine.NewID(w.now().UnixMilli(), strings.NewReader(strings.Repeat("s", 64))))
		if p := must[*store.PublishedReport](t)(report.Publish(t.Context(), w.st, w.org, o, id, w.now())); p.Seq == early.Seq {
			t.Error("what was frozen too early is published")
		}
		// Later, the months that nobody was there for are made up for; the early one stands.
		w.pass(70 * 24 * time.Hour)
		if done := freeze(); done.Metrics < 5 {
			t.Errorf("of the months since: %+v", done)
		}
	})
}

// An admin sees at once that there is no backup, or an old one, and that none was tried.
func TestBackupsPage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWhole(t, on)
		b := w.signIn(w.ada, "ada.admin")
		b.get("/console/backups").want(t, http.StatusOK, "No backup was ever reported", "No backup was ever restored")
		var seq uint64
		if err := w.st.Snapshot(t.Context(), w.org.ID, func(snap *store.Snapshot) error {
			head, err := snap.Head()
			seq = head.Seq
			return err
		}); err != nil {
			t.Fatal(err)
		}
		digest := syncengine.Hash{0xab, 0xcd}
		if err := w.st.MarkBackup(t.Context(), w.org.ID, seq, syncengine.Hash{}, store.BackupReport{Bytes: 5 << 20, Digest: digest, Encrypted: true}); err != nil {
			t.Fatal(err)
		}
		b.get("/console/backups").want(t, http.StatusOK, "Last backup: 0 min ago", "5.0 MiB", "abcd00", "encrypted", "No backup was ever restored").never(t, "too old")
		if err := w.st.MarkDrill(t.Context(), w.org.ID, seq, syncengine.Hash{1}, store.BackupReport{}); err == nil {
			t.Error("a copy of another history counts as a drill")
		}
		if err := w.st.MarkDrill(t.Context(), w.org.ID, seq, syncengine.Hash{}, store.BackupReport{}); err != nil {
			t.Fatal(err)
		}
		b.get("/console/backups").want(t, http.StatusOK, "Last restore drill: 0 min ago")
		w.pass(48 * time.Hour)
		b = w.again(b)
		b.get("/console/backups").want(t, http.StatusOK, "too old: 2 d ago", "Last restore drill: 2 d ago")
		b.lang = "es"
		b.get("/console/backups").want(t, http.StatusOK, "demasiado antigua")
		if on.Name == "sqlite" {
			to := filepath.Join(t.TempDir(), "copy.db")
			if _, err := w.st.BackUp(t.Context(), to); err != nil {
				t.Fatal(err)
			}
			file := must[store.BackupReport](t)(store.MeasureBackup(to))
			if _, err := w.st.Drill(t.Context(), store.RestoreOptions{From: to}, file); err != nil {
				t.Fatal(err)
			}
			if all := must[[]store.BackupReport](t)(w.st.BackupReports(t.Context(), w.org.ID)); !all[0].Drill || all[0].Digest != file.Digest || all[1].Digest != file.Digest || all[1].Bytes == 0 {
				t.Errorf("%+v", all)
			}
		}
	})
}

// What is past its time is counted by the agency's own policy; an open episode and a legal
// hold keep it, and nothing is removed. Nobody is named, and another agency sees nothing.
func TestRetentionPage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWhole(t, on)
		maya := w.device(w.maya, "Car 12")
		s := w.play(maya)
		view := must[*client.View](t)(maya.Get(t.Context(), s.person))
		w.edit(maya, func(e *client.Edit) error {
			m, _ := view.Message.(*tandemv1.Person)
			m.ApproxAge = new(uint32(40))
			return e.Set(view, m)
		})
		w.sync(maya)
		b := w.signIn(w.ada, "ada.admin")
		at := "/console/retention"
		// counted asks for a count, which a job does, and opens the page.
		counted := func(b *browser, says ...string) answer {
			t.Helper()
			b.post("/console/jobs", "kind", "propose", "to", "retention").want(t, http.StatusOK, "How long")
			w.work()
			return b.get(at).want(t, http.StatusOK, append(says, "Counted ")...)
		}
		b.get(at).want(t, http.StatusOK, "Not counted yet.").never(t, "People 0")
		page := counted(b, "Nothing is past its time")
		b.post(at, "hash", "0", "adult", "2", "minor", "1", "audit", "6").want(t, http.StatusConflict)
		b.post(at, "hash", page.value(t, "hash"), "adult", "0", "minor", "1", "audit", "6").want(t, http.StatusUnprocessableEntity)
		b.post(at, "hash", page.value(t, "hash"), "adult", "2", "minor", "1", "audit", "6").want(t, http.StatusOK, "Saved")
		w.pass(3 * 366 * 24 * time.Hour)
		b = w.again(b)
		counted(b, "People 0", "With an open episode 1")
		if err := w.closeEpisode(s.episode); err != nil {
			t.Fatal(err)
		}
		// Closing it is a contact.
		b.get(at).want(t, http.StatusOK, "With an open episode 1")
		counted(b, "People 0", "With an open episode 0")
		w.pass(3 * 366 * 24 * time.Hour)
		b = w.again(b)
		page = counted(b, "People 1", "Calls 1", s.person.String())
		page.never(t, canaries...)

		b.post(at+"/hold", "what", "one", "target", s.person.String(), "reason", "short").want(t, http.StatusUnprocessableEntity, "10 to 300")
		b.post(at+"/hold", "what", "one", "target", w.night.String(), "reason", "a letter of the court").want(t, http.StatusUnprocessableEntity, "no person and no call")
		page = b.post(at+"/hold", "what", "one", "target", s.person.String(), "reason", "a letter of the court").want(t, http.StatusOK, "a letter of the court")
		counted(b, "People 0", "Besides these, under a legal hold 1")
		i := strings.Index(page.body, "retention/") + len("retention/")
		for strings.HasPrefix(page.body[i:], "hold") {
			i += strings.Index(page.body[i:], "retention/") + len("retention/")
		}
		lift := at + "/" + page.body[i:i+26] + "/lift"
		b.post(lift).want(t, http.StatusOK, "lifted")
		counted(b, "People 1")
		b.post(lift).want(t, http.StatusNotFound)
		b.post(at+"/hold", "what", "agency", "reason", "a letter of the court").want(t, http.StatusOK)
		counted(b, "People 0")

		agency := must[syncengine.ID](t)(w.admin.AddAgency(t.Context(), server.AgencyOptions{Name: "Third Police", Type: "law_enforcement", TimeZone: "America/Chicago", Lang: "en"}))
		other := must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Olga Other", Discipline: "other", Roles: []string{"admin"}, Agency: agency}))
		o := w.signIn(other, "olga.other")
		counted(o, "People 0", "With an open episode 0", "None was placed").never(t, s.person.String(), "court")
		o.post(at+"/hold", "what", "one", "target", s.person.String(), "reason", "a letter of the court").want(t, http.StatusUnprocessableEntity)
		o.post(lift).want(t, http.StatusNotFound)
		// Placed for this agency by somebody who is of the other one since: it stays here.
		if _, err := w.admin.PlaceHold(t.Context(), other, w.clinic, s.person, "a second letter of it"); err != nil {
			t.Fatal(err)
		}
		b.get(at).want(t, http.StatusOK, "a second letter of it")
		o.get(at).want(t, http.StatusOK, "None was placed").never(t, s.person.String(), "letter")
		o.post(at+"/hold", "what", "all", "reason", "all that there is").want(t, http.StatusBadRequest)
		if h := must[*store.Hold](t)(w.admin.PlaceHold(t.Context(), other, agency, syncengine.ID{}, "all that there is")); h.Target != agency {
			t.Errorf("everything is %s", h.Target)
		}
		o.get("/console/jobs").want(t, http.StatusOK).never(t, "Overdue")
	})
}

// What a lead opens at the console is said to be seen on the device of who wrote it, with the
// time, after its next sync; not before, not of what was only listed, to nobody else, and not
// to a police partner. What was written since is said not to have been what the lead saw.
func TestSeenByLead(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWhole(t, on)
		maya, luis, dale := w.device(w.maya, "Car 12"), w.device(w.luis, "Car 14"), w.device(w.dale, "Patrol 3")
		s := w.play(maya)
		w.sync(luis, dale)
		seen := func(d *client.Client, ids ...syncengine.ID) map[syncengine.ID]client.Seen {
			t.Helper()
			return must[map[syncengine.ID]client.Seen](t)(d.SeenByLead(t.Context(), ids...))
		}
		b := w.signIn(w.lena, "lena.park")
		b.get("/console/queue").want(t, http.StatusOK)
		w.sync(maya)
		if got := seen(maya, s.visit, s.call); len(got) != 0 {
			t.Fatalf("a row of the queue is said to be seen: %v", got)
		}
		before := w.now().UnixMilli()
		b.get("/console/record/"+s.visit.String()).want(t, http.StatusOK)
		b.get("/console/record/"+s.call.String()).want(t, http.StatusOK)
		if got := seen(maya, s.visit); len(got) != 0 {
			t.Fatal("known without a sync")
		}
		w.sync(maya, luis, dale)
		got := seen(maya, s.visit, s.call)
		if at := got[s.visit]; at.AtMS < before || at.AtMS > w.now().UnixMilli() || !at.Current || len(got) != 2 {
			t.Fatalf("the device says %v", got)
		}
		for name, other := range map[string]*client.Client{"a colleague": luis, "the police partner": dale} {
			if got := seen(other, s.visit, s.call); len(got) != 0 {
				t.Errorf("%s is told %v", name, got)
			}
		}
		// Opened again unchanged: the first time stands.
		first := got[s.visit].AtMS
		w.pass(time.Minute)
		b.get("/console/record/"+s.visit.String()).want(t, http.StatusOK)
		w.sync(maya)
		if at := seen(maya, s.visit)[s.visit]; at.AtMS != first {
			t.Errorf("the time moved from %d to %d", first, at.AtMS)
		}
		// Something is written since, here: it is not what the lead saw.
		view := must[*client.View](t)(maya.Get(t.Context(), s.call))
		w.edit(maya, func(e *client.Edit) error {
			m, _ := view.Message.(*tandemv1.Incident)
			m.NotesOps = new("a gate code is needed")
			return e.Set(view, m)
		})
		if at := seen(maya, s.call)[s.call]; at.Current {
			t.Error("an unsent save is said to be seen")
		}
		w.sync(maya)
		if at := seen(maya, s.call)[s.call]; at.Current {
			t.Error("a later version is said to be seen")
		}
		b.get("/console/record/"+s.call.String()).want(t, http.StatusOK)
		w.sync(maya)
		if at := seen(maya, s.call)[s.call]; !at.Current || at.AtMS <= first {
			t.Errorf("after it was opened again: %+v", at)
		}
		// A lead of elsewhere opens nothing, and an author who reads their own is no lead to
		// themselves.
		w.signIn(w.fred, "fred.foreign").get("/console/record/"+s.follow.String()).want(t, http.StatusNotFound)
		w.sync(maya)
		if got := seen(maya, s.follow); len(got) != 0 {
			t.Errorf("what a lead was refused is said to be seen: %v", got)
		}
		// Who has left the team is told nothing more of what they left behind.
		if _, err := w.admin.Change(t.Context(), w.ada, func(c *server.Composer) error {
			rec, msg, err := c.Record(w.maya)
			if err != nil {
				return err
			}
			m, _ := msg.(*tandemv1.Staff)
			m.TeamIds = nil
			return c.Write(rec, tandemv1.Act_ACT_SET, m, "")
		}); err != nil {
			t.Fatal(err)
		}
		b.get("/console/record/"+s.episode.String()).want(t, http.StatusOK)
		w.sync(maya)
		if got := seen(maya, s.episode); len(got) != 0 {
			t.Errorf("who has left the team is told %v", got)
		}
	})
}
