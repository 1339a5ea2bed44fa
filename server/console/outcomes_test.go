package console_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
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
	"google.golang.org/protobuf/proto"
)

// entries are those of the audit log of an act.
func (o *office) entries(act tandemv1.AuditAct) (all []*tandemv1.AuditEntry) {
	o.tb.Helper()
	err := o.st.ReadDesk(o.tb.Context(), o.org.ID, func(view store.DeskView) error {
		return view.EachAudit(0, 1_000_000, func(_ int64, raw []byte) error {
			e := &tandemv1.AuditEntry{}
			if err := proto.Unmarshal(raw, e); err != nil {
				return err
			}
			if e.GetAct() == act {
				all = append(all, e)
			}
			return nil
		})
	})
	if err != nil {
		o.tb.Fatal(err)
	}
	return all
}

// programOf is the program of a team.
func (o *office) programOf(team syncengine.ID) (program syncengine.ID) {
	o.tb.Helper()
	err := o.st.Read(o.tb.Context(), o.org.ID, func(view syncengine.ServerView) error {
		rec, err := view.Record(team)
		if err == nil {
			program, err = syncengine.ParseID(rec.Text(syncengine.FieldProgram))
		}
		return err
	})
	if err != nil {
		o.tb.Fatal(err)
	}
	return program
}

// ready asks for a page until it is counted.
func (b *browser) ready(path string) answer {
	b.o.tb.Helper()
	for {
		a := b.get(path)
		if a.status != http.StatusOK || !strings.Contains(a.text(), "being counted") {
			return a
		}
		if !strings.HasPrefix(a.head.Get("Refresh"), "3; url=/console/") {
			b.o.tb.Fatalf("nothing shows how it goes on: %v", a.head)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// metric is a figure of a report: that of all.
func metric(tb testing.TB, r *report.Outcomes, id, key string) report.Cell {
	tb.Helper()
	for _, m := range r.Metrics {
		for _, x := range m.Measures {
			if m.ID == id && x.Key == key {
				return x.All
			}
		}
	}
	tb.Fatalf("no %s %s", id, key)
	return report.Cell{}
}

// figures fetches a report as JSON.
func (b *browser) figures(query string) *report.Outcomes {
	b.o.tb.Helper()
	b.ready("/console/outcomes"+query).want(b.o.tb, http.StatusOK, "For staff: small counts are shown")
	r := &report.Outcomes{}
	if err := json.Unmarshal([]byte(b.get("/console/outcomes.json"+query).want(b.o.tb, http.StatusOK).body), r); err != nil {
		b.o.tb.Fatal(err)
	}
	return r
}

// A lead reads the metrics of the programs whose teams are theirs, an admin those of the
// agency: the same figures as the command's. Nobody else gets any, and each reading is in the
// audit log.
func TestOutcomesPage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		o := newOffice(t, on)
		maya := o.device(o.maya, "Car 12")
		s := o.play(maya)
		o.sync(maya)
		program, elsewhere := o.programOf(o.night), o.programOf(o.day)
		lena, ada, fred := o.signIn(o.lena, "lena.park"), o.signIn(o.ada, "ada.admin"), o.signIn(o.fred, "fred.foreign")

		page := lena.ready("/console/outcomes?period=year").want(t, http.StatusOK,
			"Co-response . January 1", "M1 People helped", "M24 Experience", "For staff: small counts are shown. Do not publish.", "Different people with a signed encounter", "Not known", "race")
		page.never(t, "Elsewhere", "M25", "not counted here: not all")
		for _, has := range []string{`<svg`, `href="outcomes.csv?period=year"`, `href="static/report.css"`} {
			if !strings.Contains(page.body, has) {
				t.Errorf("the page has no %s", has)
			}
		}
		lena.lang = "es"
		lena.ready("/console/outcomes?period=year").want(t, http.StatusOK, "M1 Personas atendidas", "Para el personal: se muestran recuentos pequeños")
		lena.get("/console/outcomes.csv?period=year").want(t, http.StatusOK, "metric,measure,label", "Personas atendidas")
		lena.lang = "en"

		// What it shows is what the command counts.
		got := lena.figures("?period=year&program=" + program.String())
		zone := must[*time.Location](t)(time.LoadLocation("America/Chicago"))
		y, m, d := o.now().In(zone).Date()
		want := must[*report.Outcomes](t)(report.Of(t.Context(), o.st, o.org.ID, report.OutcomeOptions{
			Zone: zone, From: time.Date(y, 1, 1, 0, 0, 0, 0, zone), To: time.Date(y, m, d+1, 0, 0, 0, 0, zone), AsOf: time.Date(y, m, d, 0, 0, 0, 0, zone), Program: program,
		}))
		if a, b := must[[]byte](t)(json.Marshal(got.Metrics)), must[[]byte](t)(json.Marshal(want.Metrics)); string(a) != string(b) {
			t.Errorf("the console counts\n%s\nand the command\n%s", a, b)
		}
		if n := *metric(t, got, "M1", "people").Count.N; n != 1 {
			t.Errorf("%d people helped, want 1", n)
		}
		if n := *metric(t, ada.figures("?period=year"), "M1", "people").Count.N; n != 1 {
			t.Errorf("the admin's agency has helped %d, want 1", n)
		}
		if n := *metric(t, fred.figures("?period=year"), "M1", "people").Count.N; n != 0 {
			t.Errorf("a lead of another agency reads of %d people", n)
		}
		if of := metric(t, fred.figures("?period=year"), "M20", "conflicts").Denominator; of.N != nil && *of.N != 0 {
			t.Errorf("a lead of another agency reads of %d records that may differ", *of.N)
		}

		// Whom it is not for.
		for b, other := range map[*browser]syncengine.ID{fred: program, lena: elsewhere, ada: elsewhere} {
			for _, path := range []string{"outcomes", "outcomes.csv", "outcomes.json"} {
				b.get("/console/"+path+"?program="+other.String()).want(t, http.StatusNotFound)
			}
			b.post("/console/outcomes", "program", other.String()).want(t, http.StatusNotFound)
		}
		before := len(o.entries(tandemv1.AuditAct_AUDIT_ACT_METRICS_READ))
		for login, who := range map[string]syncengine.ID{"dale.hunt": o.dale, "maya.ortiz": o.maya} {
			b := o.signIn(who, login)
			for _, path := range []string{"outcomes", "outcomes.csv", "outcomes.json"} {
				b.get("/console/"+path).want(t, http.StatusForbidden).never(t, "M1 People", "M1,people")
			}
			b.post("/console/outcomes").want(t, http.StatusForbidden)
		}
		if n := len(o.entries(tandemv1.AuditAct_AUDIT_ACT_METRICS_READ)); n != before {
			t.Errorf("%d readings by people who got nothing", n-before)
		}

		// Each reading is noted, with its form and period.
		all := o.entries(tandemv1.AuditAct_AUDIT_ACT_METRICS_READ)
		if len(all) == 0 {
			t.Fatal("no reading is in the audit log")
		}
		if e := all[0]; syncengine.ID(e.GetPerson()) != o.lena || syncengine.ID(e.GetSubject()) != program || !strings.HasPrefix(e.GetCode(), "page ") || e.GetSeq() == 0 || e.GetCount() != 24 {
			t.Errorf("noted: %v", e)
		}
		if !slices.ContainsFunc(all, func(e *tandemv1.AuditEntry) bool { return strings.HasPrefix(e.GetCode(), "csv ") }) {
			t.Error("the file was not noted")
		}

		// Days that are none: it is said, and what was typed stands there.
		lena.get("/console/outcomes?period=own&from=2026-03-02&until=2026-03-01").want(t, http.StatusUnprocessableEntity, "These days are no period").never(t, "M1 People")
		lena.get("/console/outcomes.csv?period=own&from=2026-03-02").want(t, http.StatusBadRequest)
		if a := lena.get("/console/outcomes?period=own&from=2026-03-02&until=2026-03-01"); !strings.Contains(a.body, `value="2026-03-02"`) {
			t.Error("what was typed is gone")
		}
		lena.ready("/console/outcomes?period=own&from=2026-01-01&until=2026-01-31").want(t, http.StatusOK, "M1 People helped")
		_ = s
	})
}

// A report is counted once for a state, whoever asks; of a newer state the page says so, and
// counts anew when it is asked to.
func TestOutcomesAreKept(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	maya := o.device(o.maya, "Car 12")
	o.play(maya)
	lena := o.signIn(o.lena, "lena.park")
	lena.ready("/console/outcomes").want(t, http.StatusOK).never(t, "Count anew")
	first := lena.figures("")
	o.edit(maya, func(e *client.Edit) error {
		_, err := e.Create(o.call("T3-9"))
		return err
	})
	o.sync(maya)
	lena.get("/console/outcomes").want(t, http.StatusOK, "Count anew")
	if again := lena.figures(""); again.Seq != first.Seq {
		t.Errorf("state %d was counted without being asked for, after %d", again.Seq, first.Seq)
	}
	lena.post("/console/outcomes").want(t, http.StatusOK)
	lena.ready("/console/outcomes").want(t, http.StatusOK).never(t, "Count anew")
	if anew := lena.figures(""); anew.Seq <= first.Seq || *metric(t, anew, "M2", "calls").Count.N != *metric(t, first, "M2", "calls").Count.N+1 {
		t.Errorf("state %d has %d calls", anew.Seq, *metric(t, anew, "M2", "calls").Count.N)
	}
}

// Records of a substance use program count for a lead of its agency, who reads them, and for
// nobody else in the console.
func TestOutcomesWithoutSUD(t *testing.T) {
	t.Parallel()
	w := newWhole(t, storetest.SQLite)
	maya := w.device(w.maya, "Car 12")
	w.play(maya)
	w.changeAgency()
	ids := w.playSUD(maya)
	w.sign(maya, ids[1])
	w.sync(maya)
	lena, ada := w.signIn(w.lena, "lena.park"), w.signIn(w.ada, "ada.admin")
	if n := *metric(t, lena.figures("?period=year"), "M1", "people").Count.N; n != 2 {
		t.Errorf("the lead of the agency reads of %d people, want 2", n)
	}
	lena.get("/console/outcomes?period=year").never(t, "42 CFR Part 2")
	if n := *metric(t, ada.figures("?period=year"), "M1", "people").Count.N; n != 1 {
		t.Errorf("the admin reads of %d people, want 1", n)
	}
	ada.get("/console/outcomes?period=year").want(t, http.StatusOK, "Records of a substance use program (42 CFR Part 2) are not counted here")

	// Who is an admin there and leads elsewhere does not read those records either.
	both := must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Bo Both", Discipline: "other", Roles: []string{"admin", "lead"}, Agency: w.clinic}))
	program := w.programOf(w.night)
	if n := *metric(t, w.signIn(both, "bo.both").figures("?period=year&program="+program.String()), "M1", "people").Count.N; n != 1 {
		t.Errorf("an admin who leads no team of the program reads of %d people, want 1", n)
	}

	// The audit log says of which programs, and whether those records were counted.
	for _, e := range w.entries(tandemv1.AuditAct_AUDIT_ACT_METRICS_READ) {
		if want := syncengine.ID(e.GetPerson()) != w.lena; strings.HasSuffix(e.GetCode(), " no sud") != want || !strings.HasSuffix(e.GetCode(), " sud") {
			t.Errorf("noted: %q", e.GetCode())
		}
		if string(e.GetRecords()) != string(program[:]) {
			t.Errorf("noted of %x, want %x", e.GetRecords(), program[:])
		}
	}
}

// Records of a substance use program are in no public report either: what an admin may not
// read could be subtracted from it, and the report says so.
func TestPublicWithoutSUD(t *testing.T) {
	t.Parallel()
	w := newWhole(t, storetest.SQLite)
	maya := w.device(w.maya, "Car 12")
	w.changeAgency()
	w.sign(maya, w.playSUD(maya)[1])
	w.sync(maya)
	w.pass(48 * time.Hour)
	now := w.now()
	o := report.OutcomeOptions{Zone: time.UTC, From: now.AddDate(0, 0, -40).Truncate(24 * time.Hour), To: now.Truncate(24 * time.Hour), AsOf: now}
	r := must[*report.Outcomes](t)(report.ReadPublished(must[*store.PublishedReport](t)(report.Prepare(t.Context(), w.st, w.org, o, now))))
	if n := metric(t, r, "M1", "people").Count.N; n == nil || *n != 0 {
		t.Error("the public report counts a person of a substance use program")
	}
	for lang, says := range map[string]string{"en": "(42 CFR Part 2) are not counted", "es": "(42 CFR parte 2)"} {
		var b bytes.Buffer
		if err := r.WriteBody(&b, lang); err != nil || !strings.Contains(b.String(), says) {
			t.Errorf("the report does not say what it leaves out in %s: %v", lang, err)
		}
	}
}

// An admin loads who lives where their agency works: from then on M21 shows to its staff who is
// left out. Another agency's reports are counted without it, nobody else loads one, and what is
// wrong with a table changes nothing.
func TestPopulationOfAnAgency(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		o := newOffice(t, on)
		maya := o.device(o.maya, "Car 12")
		o.play(maya)
		o.sync(maya)
		ada, lena, fred := o.signIn(o.ada, "ada.admin"), o.signIn(o.lena, "lena.park"), o.signIn(o.fred, "fred.foreign")
		const at = "/console/outcomes/population"
		ada.ready("/console/outcomes").want(t, http.StatusOK, "Who lives where your agency works", "There is no table yet", "No population table was given")
		lena.ready("/console/outcomes").want(t, http.StatusOK, "No population table was given").never(t, "Who lives where")
		table := []byte("breakdown,group,people\ngender,woman,44000\ngender,nonbinary,900\n")
		lena.upload(at, "table.csv", table).want(t, http.StatusForbidden)
		fred.upload(at, "table.csv", table).want(t, http.StatusForbidden)
		ada.upload(at, "table.csv", []byte("breakdown,group,people\ngender,Canarygroup,1\n")).want(t, http.StatusUnprocessableEntity, "Nothing was changed", "line 2").never(t, "Canarygroup")
		ada.ready("/console/outcomes").want(t, http.StatusOK, "There is no table yet")
		if n := len(o.entries(tandemv1.AuditAct_AUDIT_ACT_POPULATION_LOADED)); n != 0 {
			t.Fatalf("%d tables were loaded", n)
		}

		ada.upload(at, "table.csv", table).want(t, http.StatusOK, "The table is loaded", "There is a table, loaded")
		for _, b := range []*browser{ada, lena} {
			b.ready("/console/outcomes").want(t, http.StatusOK, "Inhabitants", "44,000", "900").never(t, "No population table was given")
		}
		lena.lang = "es"
		lena.ready("/console/outcomes").want(t, http.StatusOK, "Habitantes")
		lena.lang = "en"
		fred.ready("/console/outcomes").want(t, http.StatusOK, "No population table was given").never(t, "44,000")
		all := o.entries(tandemv1.AuditAct_AUDIT_ACT_POPULATION_LOADED)
		if len(all) != 1 || syncengine.ID(all[0].GetPerson()) != o.ada || syncengine.ID(all[0].GetSubject()) != o.clinic || all[0].GetCount() != 2 {
			t.Errorf("noted: %v", all)
		}
		ada.upload(at, "table.csv", []byte("breakdown,group,people\ngender,woman,45000\n")).want(t, http.StatusOK)
		lena.ready("/console/outcomes").want(t, http.StatusOK, "45,000").never(t, "44,000")
		ada.upload(at, "table.csv", []byte("breakdown,group,people\n")).want(t, http.StatusOK, "The table is removed", "There is no table yet")
		lena.ready("/console/outcomes").want(t, http.StatusOK, "No population table was given")
	})
}

// The days of a report are those of the agency whose programs it counts.
func TestOutcomesAreOfTheAgencysDays(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	far := must[syncengine.ID](t)(o.admin.AddAgency(t.Context(), server.AgencyOptions{Name: "Far Health", Type: "behavioral_health", TimeZone: "Pacific/Honolulu", Lang: "en"}))
	program := must[syncengine.ID](t)(o.admin.AddProgram(t.Context(), server.ProgramOptions{NameEN: "Far away", Model: "mct", Agency: far}))
	team := must[syncengine.ID](t)(o.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Island", Program: program}))
	both := must[syncengine.ID](t)(o.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Bo Both", Discipline: "supervisor", Roles: []string{"lead"}, Agency: o.clinic, Teams: []syncengine.ID{team, o.night}}))
	b := o.signIn(both, "bo.both")
	for query, want := range map[string]string{
		"&program=" + program.String(): "Pacific/Honolulu", "&program=" + o.programOf(o.night).String(): "America/Chicago", "": "America/Chicago",
	} {
		if r := b.figures("?period=last_month" + query); r.Period.Zone != want || !strings.HasSuffix(*r.Period.From, map[string]string{"Pacific/Honolulu": "-10:00"}[want]) {
			t.Errorf("%q: from %s in %s, want %s", query, *r.Period.From, r.Period.Zone, want)
		}
	}
}
