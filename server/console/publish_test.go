package console_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/console"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// An admin sees what would be published, confirms it with a second factor, and it is there
// for everybody: the bytes that the preview showed. Nothing overlaps it, and nobody publishes
// what is another agency's.
func TestPublishPage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		o := newOffice(t, on)
		maya := o.device(o.maya, "Car 12")
		o.play(maya)
		o.pass(48 * time.Hour)
		ada := o.signIn(o.ada, "ada.admin")
		program, elsewhere := o.programOf(o.night).String(), o.programOf(o.day).String()
		day := func(ago int) string { return o.now().Add(-time.Duration(ago) * 24 * time.Hour).Format(time.DateOnly) }
		ask := url.Values{"program": {program}, "period": {"own"}, "from": {day(40)}, "until": {day(2)}}
		at := "/console/publish?" + ask.Encode()
		published := func() []*store.PublishedReport {
			t.Helper()
			return must[[]*store.PublishedReport](t)(o.st.PublishedReports(t.Context(), o.org.ID))
		}

		ada.get("/console/publish").want(t, http.StatusOK, "Nothing was published yet", "Nothing was frozen yet", "Co-response").never(t, "Elsewhere", "All programs together")
		page := ada.ready(at).want(t, http.StatusOK, "Preview: nothing is published yet", "M1 People helped", "Counts of 1 and more that are below 11 are not shown", "Figures not shown: ", "nothing was frozen that may be published", "Co-response")
		page.never(t, "Figures not shown: 0.", "For staff: small")
		hash := page.value(t, "hash")

		// Without the right word nothing is published.
		fields := []string{"program", program, "period", "own", "from", day(40), "until", day(2), "hash", hash}
		ada.post("/console/publish", append(fields, "code", "000000")...).want(t, http.StatusForbidden, "Preview: nothing is published yet")
		ada.post("/console/publish", append(fields, "code", "")...).want(t, http.StatusForbidden)
		other := append([]string{}, fields[:len(fields)-1]...)
		ada.post("/console/publish", append(other, strings.Repeat("0", 64), "code", ada.code())...).want(t, http.StatusConflict, "not what stood on your screen")
		if n := len(published()); n != 0 {
			t.Fatalf("%d reports without a word of the admin's", n)
		}

		ada.post("/console/publish", append(fields, "code", ada.code())...).want(t, http.StatusOK, "The report is published", "Co-response")
		all := published()
		if len(all) != 1 || all[0].Program.String() != program || all[0].FirstDay != day(40) || all[0].EndDay != day(1) {
			t.Fatalf("published: %+v", all)
		}
		for _, e := range o.entries(tandemv1.AuditAct_AUDIT_ACT_REPORT_PUBLISHED) {
			if syncengine.ID(e.GetPerson()) != o.ada || syncengine.ID(e.GetSubject()) != all[0].ID {
				t.Errorf("noted: %v", e)
			}
		}
		full := must[*store.PublishedReport](t)(o.st.PublishedReport(t.Context(), o.org.ID, all[0].ID))
		if _, err := report.ReadPublished(full); err != nil || hash != hexOf(full.Hash) {
			t.Errorf("published is %x, and the preview showed %s: %v", full.Hash, hash, err)
		}
		link := ada.get("/console/publish").link("/outcomes/")
		o.stranger().get(link).want(t, http.StatusOK, "M1 People helped").never(t, "For staff: small")

		// Nothing overlaps it, in either language; days that are not over, or are none, are none.
		ada.get(at).want(t, http.StatusConflict, "published already", "subtracted").never(t, "Preview: nothing")
		ada.lang = "es"
		ada.get(at).want(t, http.StatusConflict, "Ya hay publicado un informe")
		ada.lang = "en"
		ada.post("/console/publish", append(fields, "code", ada.code())...).want(t, http.StatusConflict, "published already")
		ask.Set("until", day(-5))
		ada.get("/console/publish?"+ask.Encode()).want(t, http.StatusUnprocessableEntity, "Only a period that is over")
		ask.Set("until", "x")
		ada.get("/console/publish?"+ask.Encode()).want(t, http.StatusUnprocessableEntity, "These days are no period")
		if n := len(published()); n != 1 {
			t.Errorf("%d reports", n)
		}

		// Another agency's program, all of them, and whoever is no admin.
		for _, program := range []string{elsewhere, "every", "x"} {
			ask := url.Values{"program": {program}, "period": {"last_month"}}
			ada.get("/console/publish?"+ask.Encode()).want(t, http.StatusNotFound)
			ada.post("/console/publish", "program", program, "period", "last_month", "hash", hash, "code", ada.code()).want(t, http.StatusNotFound)
		}
		for login, who := range map[string]syncengine.ID{"dale.hunt": o.dale, "maya.ortiz": o.maya, "lena.park": o.lena} {
			b := o.signIn(who, login)
			b.get(at).want(t, http.StatusForbidden)
			b.post("/console/publish", append(fields, "code", "000000")...).want(t, http.StatusForbidden)
		}
	})
}

// What was frozen is what is previewed and published, whatever has come in since.
func TestPublishesWhatWasFrozen(t *testing.T) {
	t.Parallel()
	w := newWhole(t, storetest.SQLite)
	maya := w.device(w.maya, "Car 12")
	w.play(maya)
	w.pass(200 * 24 * time.Hour)
	w.work()
	ada := w.signIn(w.ada, "ada.admin")
	program := w.programOf(w.night)
	var frozen *store.PublishedReport
	for _, f := range must[[]*store.PublishedReport](t)(w.st.FrozenMetrics(t.Context(), w.org.ID)) {
		if f.Program == program {
			frozen = f
			break
		}
	}
	if frozen == nil {
		t.Fatal("nothing was frozen")
	}
	end := must[time.Time](t)(time.Parse(time.DateOnly, frozen.EndDay))
	ask := url.Values{"program": {program.String()}, "period": {"own"}, "from": {frozen.FirstDay}, "until": {end.AddDate(0, 0, -1).Format(time.DateOnly)}}
	page := ada.ready("/console/publish?"+ask.Encode()).want(t, http.StatusOK, "It is what was frozen, at state", "Frozen, ready to be published", frozen.FirstDay)
	if got := page.value(t, "hash"); got != hexOf(frozen.Hash) {
		t.Errorf("the preview is %s, and %x was frozen", got, frozen.Hash)
	}
}

// Of two reports that were previewed at once, one alone is published.
func TestPublishesOneOfTwo(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	now := o.now()
	ask := report.OutcomeOptions{Zone: time.UTC, From: now.AddDate(0, 0, -40).Truncate(24 * time.Hour), To: now.AddDate(0, 0, -2).Truncate(24 * time.Hour), AsOf: now, Program: o.programOf(o.night)}
	var two [2]*store.PublishedReport
	for n := range two {
		two[n] = must[*store.PublishedReport](t)(report.Prepare(t.Context(), o.st, o.org, ask, now))
	}
	for n, p := range two {
		p.ID, p.CreatedMS = syncengine.ID{1, byte(n)}, now.UnixMilli()
		err := o.st.Write(t.Context(), o.org.ID, 1, func(tx *store.Tx) error { return report.Keep(tx, p, o.ada) })
		if n == 0 && err != nil || n == 1 && !errors.Is(err, report.ErrOverlap) {
			t.Errorf("report %d: %v", n, err)
		}
	}
}

// A report is kept for an admin alone, of a program of their agency, as they are at that
// moment.
func TestKeepsForAnAdminAlone(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	now := o.now()
	ask := report.OutcomeOptions{Zone: time.UTC, From: now.AddDate(0, 0, -40).Truncate(24 * time.Hour), To: now.AddDate(0, 0, -2).Truncate(24 * time.Hour), AsOf: now}
	keep := func(who, program syncengine.ID) error {
		ask.Program = program
		p := must[*store.PublishedReport](t)(report.Prepare(t.Context(), o.st, o.org, ask, now))
		p.ID, p.CreatedMS = syncengine.ID{1, 1}, now.UnixMilli()
		return o.st.Write(t.Context(), o.org.ID, 1, func(tx *store.Tx) error { return report.Keep(tx, p, who) })
	}
	if keep(o.lena, o.programOf(o.night)) == nil {
		t.Error("a lead has published")
	}
	if keep(o.ada, o.programOf(o.day)) == nil {
		t.Error("an admin has published what is another agency's")
	}
	if err := keep(o.ada, syncengine.ID{}); !errors.Is(err, report.ErrNotAdmin) {
		t.Errorf("an admin has published all programs, of which one is another agency's: %v", err)
	}
	if err := keep(o.ada, o.programOf(o.night)); err != nil {
		t.Error(err)
	}
}

// What is published is what stood on the screen of who confirms it, whichever server they then
// reach and whatever has come in since; what stood on somebody else's, or too long ago, is not.
func TestPublishesWhatWasShown(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		o := newOffice(t, on)
		maya := o.device(o.maya, "Car 12")
		o.play(maya)
		o.pass(48 * time.Hour)
		ada, eve := o.signIn(o.ada, "ada.admin"), o.signIn(o.secondAdmin(), "eve.admin")
		day := func(ago int) string { return o.now().Add(-time.Duration(ago) * 24 * time.Hour).Format(time.DateOnly) }
		ask := url.Values{"program": {o.programOf(o.night).String()}, "period": {"own"}, "from": {day(40)}, "until": {day(2)}}
		fields := func(hash string) (all []string) {
			for name, value := range ask {
				all = append(all, name, value[0])
			}
			return append(all, "hash", hash)
		}
		hash := ada.ready("/console/publish?"+ask.Encode()).want(t, http.StatusOK, "Preview: nothing is published yet").value(t, "hash")
		o.edit(maya, func(e *client.Edit) error {
			_, err := e.Create(o.call("T3-9"))
			return err
		})
		o.sync(maya)

		// Another server, which has counted nothing.
		other := o.secondServer()
		adaThere, eveThere := *ada, *eve
		adaThere.o, eveThere.o = other, other
		eveThere.post("/console/publish", append(fields(hash), "code", eve.code())...).want(t, http.StatusConflict, "not what stood on your screen")
		o.pass(time.Minute)
		adaThere.post("/console/publish", append(fields(hash), "code", "000000")...).want(t, http.StatusForbidden, "Preview: nothing is published yet")
		if got := adaThere.post("/console/publish", append(fields(hash), "code", "000000")...).value(t, "hash"); got != hash {
			t.Errorf("after a wrong code the page shows %s, and it was %s", got, hash)
		}
		ask.Set("until", day(3))
		adaThere.post("/console/publish", append(fields(hash), "code", ada.code())...).want(t, http.StatusConflict, "not what stood on your screen")
		ask.Set("until", day(2))
		o.pass(61 * time.Minute)
		late := *o.again(ada, "ada.admin")
		late.o = other
		o.pass(time.Minute)
		late.post("/console/publish", append(fields(hash), "code", late.code())...).want(t, http.StatusConflict, "not what stood on your screen")
		if n := len(must[[]*store.PublishedReport](t)(o.st.PublishedReports(t.Context(), o.org.ID))); n != 0 {
			t.Fatalf("%d reports", n)
		}

		hash = late.ready("/console/publish?"+ask.Encode()).want(t, http.StatusOK).value(t, "hash")
		late.o = o
		o.pass(time.Minute)
		late.post("/console/publish", append(fields(hash), "code", late.code())...).want(t, http.StatusOK, "The report is published")
		all := must[[]*store.PublishedReport](t)(o.st.PublishedReports(t.Context(), o.org.ID))
		if len(all) != 1 || hexOf(all[0].Hash) != hash {
			t.Errorf("published: %+v, and shown was %s", all, hash)
		}
	})
}

// secondServer is another server of the same database, behind the same name.
func (o *office) secondServer() *office {
	o.tb.Helper()
	srv := must[*server.Server](o.tb)(server.New(o.st, server.Options{
		Clock: o.now, People: people.Options{SecondFactor: people.Admins, Cost: people.Cost{MemoryKiB: 64, Time: 1, Threads: 1}},
		Console: func(s *server.Server) (http.Handler, error) {
			return console.New(s, o.st, console.Options{Clock: o.now})
		},
	}))
	site := httptest.NewTLSServer(srv)
	o.tb.Cleanup(func() {
		srv.End()
		site.Close()
	})
	return &office{tb: o.tb, st: o.st, org: o.org, tls: site, srv: srv}
}

// Metrics that were frozen while records of a substance use program were counted are neither
// shown nor published: the newest state is, without those, and the page says why.
func TestFrozenWithSUDIsNotShown(t *testing.T) {
	t.Parallel()
	w := newWhole(t, storetest.SQLite)
	program := w.programOf(w.night)
	zone := must[*time.Location](t)(time.LoadLocation("America/Chicago"))
	y, m, _ := w.now().In(zone).Date()
	o := report.OutcomeOptions{Zone: zone, From: time.Date(y, m, 1, 0, 0, 0, 0, zone), To: time.Date(y, m+1, 1, 0, 0, 0, 0, zone), AsOf: w.now(), Program: program}
	w.pass(200 * 24 * time.Hour)
	now := w.now()
	old := must[*store.PublishedReport](t)(report.Prepare(t.Context(), w.st, w.org, o, now))
	old.CreatedMS, old.WithoutSUD = now.UnixMilli()-1, false
	keeps := func() bool {
		var kept bool
		if err := w.st.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) (err error) {
			kept, err = tx.FreezeMetrics(old)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return kept
	}
	if !keeps() {
		t.Fatal("nothing was frozen")
	}
	ada := w.signIn(w.ada, "ada.admin")
	ask := url.Values{"program": {program.String()}, "period": {"own"}, "from": {old.FirstDay}, "until": {o.To.AddDate(0, 0, -1).Format(time.DateOnly)}}
	const why = "counts records of a substance use program (42 CFR Part 2): it is not published"
	page := ada.ready("/console/publish?"+ask.Encode()).want(t, http.StatusOK, "of this period nothing was frozen that may be published", why)
	if got := page.value(t, "hash"); got == hexOf(old.Hash) {
		t.Error("what counts records of a substance use program is published")
	}
	ada.lang = "es"
	ada.get("/console/publish").want(t, http.StatusOK, "no se publica")
}

func hexOf(h syncengine.Hash) string { return fmt.Sprintf("%x", h[:]) }
