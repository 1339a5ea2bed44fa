package app_test

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
)

// A tap on a timer is now, a finger that stays edits it, and each tap can be taken back for
// ten seconds.
func TestTimers(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dev := o.device(o.enrol(o.maya, "Car 12"))
	// The clocks of the app and of the page stand still, but where the test moves them.
	c := &clock{stands: time.Now()}
	f := serve(t, app.Options{Device: dev, Now: c.now})
	b := newBrowser(t, phone)
	b.do(atEachPage("Date.now = () => 0"))
	b.open(f.next())
	b.page("today")
	b.goes("Welfare check")
	call := eval[string](b, `location.pathname.split("/").pop()`)
	id, err := syncengine.ParseID(call)
	if err != nil {
		t.Fatal(err)
	}
	want := func(enroute, arrived bool) *tandemv1.Incident {
		t.Helper()
		v, err := dev.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		m, ok := v.Message.(*tandemv1.Incident)
		if !ok || (m.EnrouteAt != nil) != enroute || (m.ArrivedAt != nil) != arrived {
			t.Fatalf("en route %v, arrived %v; want %t, %t", m.GetEnrouteAt(), m.GetArrivedAt(), enroute, arrived)
		}
		return m
	}
	offered := func() bool { t.Helper(); return eval[bool](b, `Boolean(document.querySelector("form.undo"))`) }
	b.goes("On the way")
	b.goes("Arrived")
	want(true, true)
	b.goes("Undo")
	want(true, false)
	b.goes("Undo")
	want(false, false)
	if offered() {
		t.Error("what was taken back can be taken back again")
	}

	// Ten seconds later it stands.
	b.goes("On the way")
	if !offered() {
		t.Error("a tap cannot be taken back")
	}
	c.ahead.Store(int64(10*time.Second + 1))
	eval[bool](b, `(() => { window.stale = true; document.querySelector("form.undo button").click(); return true; })()`)
	b.until("!window.stale")
	b.ready()
	want(true, false)
	if offered() {
		t.Error("a tap can be taken back after ten seconds")
	}

	// A finger that stays sets nothing, and leads to the times.
	b.hold("Arrived")
	b.until(`location.pathname.endsWith("/times")`)
	want(true, false)
	eval[bool](b, `(() => { const e = document.querySelector("[name=arrived_at]"); e.value = "2026-01-02T03:04"; e.dispatchEvent(new Event("input", { bubbles: true })); return true; })()`)
	b.goes("Save")
	b.says("03:04")
	if m := want(true, true); m.GetArrivedAt().GetOrigin() == "tap" {
		t.Errorf("an edited time says that it was tapped: %v", m.GetArrivedAt())
	}
	// One that is set is edited by a finger that stays too, and not set anew by a tap.
	b.hold("Arrived")
	b.until(`location.pathname.endsWith("/times")`)
	b.page("call/" + call)
	b.goes("Arrived")
	b.until(`location.pathname.endsWith("/times")`)
}

// atEachPage runs a script in each page before the page's own.
func atEachPage(js string) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		return chromedp.Void{}, t.Call(ctx, "Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": js}, &struct{}{})
	}
}

// A finger that taps twice on what takes back a tap takes back one: the button says which.
func TestUndoOfOne(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := &clock{stands: time.Now()}
	dev := o.device(o.enrol(o.maya, "Car 12"))
	a := &asker{tb: t, dev: dev, f: serve(t, app.Options{Device: dev, Now: c.now})}
	_, call, _ := strings.Cut(a.post("call", url.Values{"type": {"welfare_check"}}).Header().Get("Location"), "call/")
	id, err := syncengine.ParseID(call)
	if err != nil {
		t.Fatal(err)
	}
	want := func(enroute, arrived bool) {
		t.Helper()
		v, err := dev.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if m, ok := v.Message.(*tandemv1.Incident); !ok || (m.EnrouteAt != nil) != enroute || (m.ArrivedAt != nil) != arrived {
			t.Fatalf("en route %v, arrived %v; want %t, %t", m.GetEnrouteAt(), m.GetArrivedAt(), enroute, arrived)
		}
	}
	offered := func() url.Values {
		t.Helper()
		_, of, ok := strings.Cut(a.get("call/"+call), `name="step" value="`)
		if !ok {
			t.Fatal("no tap can be taken back")
		}
		number, _, _ := strings.Cut(of, `"`)
		return url.Values{"step": {number}}
	}
	a.post("call/"+call+"/tap", url.Values{"field": {"enroute_at"}})
	first := offered()
	a.post("call/"+call+"/tap", url.Values{"field": {"arrived_at"}})
	last := offered()
	for range 2 {
		a.post("call/"+call+"/undo", last)
		want(true, false)
	}
	// What names no tap takes back none; nor does one that comes too late.
	a.post("call/"+call+"/undo", nil)
	want(true, false)
	a.post("call/"+call+"/undo", first)
	want(false, false)
	a.post("call/"+call+"/tap", url.Values{"field": {"arrived_at"}})
	last = offered()
	c.ahead.Store(int64(10 * time.Second))
	a.post("call/"+call+"/undo", last)
	want(false, true)
}

// The first chips are those that the team takes most: its colleagues' calls count, and those
// of another team that the same person is in do not. A new call is the team's of the shift.
func TestChips(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	id := func(id syncengine.ID, err error) syncengine.ID {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	program := id(o.admin.AddProgram(t.Context(), server.ProgramOptions{NameEN: "Outreach", Model: "crt", Agency: o.clinic}))
	day := id(o.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Day", Program: program}))
	staff := func(name string, teams ...syncengine.ID) syncengine.ID {
		return id(o.admin.AddStaff(t.Context(), server.StaffOptions{Name: name, Discipline: "counselor", Roles: []string{"clinician"}, Agency: o.clinic, Teams: teams}))
	}
	other := staff("Ken Hall", day)
	takes := func(who syncengine.ID, label, kind string) (team syncengine.ID) {
		t.Helper()
		dev := o.device(o.enrol(who, label))
		for range 3 {
			if _, err := dev.Edit(t.Context(), func(e *client.Edit) error {
				_, err := e.Create(&tandemv1.Incident{Number: new(label), Source: new("dispatch_911"), CallType: &kind, ResponseMode: new("co_response"), DispatchedAt: &tandemv1.Instant{AtMs: new(time.Now().UnixMilli()), Origin: new("tap")}})
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := dev.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		s, err := dev.Session()
		if err != nil {
			t.Fatal(err)
		}
		return s.Teams[0]
	}
	night := takes(o.luis, "Tablet 3", "missing_person")
	takes(other, "Tablet 4", "syringe_disposal")
	ana := staff("Ana Sosa", night, day)
	dev := o.device(o.enrol(ana, "Car 9"))
	f := serve(t, app.Options{Device: dev})
	b := newBrowser(t, phone)
	b.open(f.next())
	first := func() string { return eval[string](b, `document.querySelector(".quick button").value`) }
	b.page("today")
	if got := first(); got != "missing_person" {
		t.Errorf("the first chip is %s before a shift", got)
	}
	b.page("shift")
	b.look("shift-of-two")
	b.chip("team", day.String())
	b.goes("Start shift")
	if got := first(); got != "syringe_disposal" {
		t.Errorf("the first chip of the day team is %s", got)
	}
	b.goes("Welfare check")
	call := id(syncengine.ParseID(eval[string](b, `location.pathname.split("/").pop()`)))
	v, err := dev.Get(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := v.Message.(*tandemv1.Incident); !ok || m.GetTeamId() != day.String() || m.GetProgramId() != program.String() {
		t.Errorf("the call is of team %s, program %s", m.GetTeamId(), m.GetProgramId())
	}
	if _, err := dev.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if refused, err := dev.Quarantined(t.Context()); err != nil || len(refused) > 0 {
		t.Errorf("%d are refused, %v", len(refused), err)
	}
	if s, err := dev.Session(); err != nil || !slices.Equal(s.Teams, []syncengine.ID{night, day}) {
		t.Fatalf("teams %v, %v", s, err)
	}
	b.page("shift")
	b.chip("team", night.String())
	b.goes("Save shift")
	if got := first(); got != "missing_person" {
		t.Errorf("the first chip of the night team is %s", got)
	}
}

// The referral picker stands beside what it fills, shows only what is asked for, and keeps
// what was typed before.
func TestPicker(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	if _, err := o.admin.ImportDirectory(t.Context(), o.clinic, []*tandemv1.Resource{
		{
			ServiceName: &tandemv1.LocalizedText{En: new("Living room")}, OrgName: new("Example House"), Category: []string{"crisis_bed"}, Status: new("active"),
			AcceptsPoliceDropoff: new(true), Langs: []string{"en"}, HsdsIds: []*tandemv1.ExternalKey{{Element: []byte("kkkkkkkk"), Table: new("service"), Value: new("a")}},
		},
		{
			ServiceName: &tandemv1.LocalizedText{En: new("Clinica del Norte")}, OrgName: new("Example Clinic"), Category: []string{"crisis_bed"}, Status: new("active"),
			Langs: []string{"es"}, HsdsIds: []*tandemv1.ExternalKey{{Element: []byte("llllllll"), Table: new("service"), Value: new("b")}},
		},
	}, false); err != nil {
		t.Fatal(err)
	}
	dev := o.device(o.enrol(o.maya, "Car 12"))
	a := &asker{tb: t, dev: dev}
	who := a.person("Rosa")
	f := serve(t, app.Options{Device: dev})
	b := newBrowser(t, phone)
	b.open(f.next())
	b.page("referral/new?person=" + who.String())
	b.types("target_text", "Whoever is open")
	b.kept()
	b.says("Living room", "Clinica del Norte")
	b.goes("In Spanish")
	b.look("picker")
	b.says("Clinica del Norte")
	if strings.Contains(b.words(), "Living room") {
		t.Error("a place without Spanish is shown")
	}
	if got := eval[string](b, `document.querySelector("[name=target_text]").value`); got != "Whoever is open" {
		t.Errorf("the words are %q after choosing what to show", got)
	}
	b.goes("In Spanish")
	b.goes("Takes police drop-off")
	b.says("Living room")
	if strings.Contains(b.words(), "Clinica") {
		t.Error("a place that takes nobody from the police is shown")
	}
	b.chip("need", "shelter")
	b.chip("urgency", "routine")
	b.tap("Living room")
	b.goes("Save referral")
	b.says("Whoever is open")
	all, err := dev.List(t.Context(), "referral", client.Filter{}, client.Oldest, 0)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d referrals, %v", len(all), err)
	}
	if m, ok := all[0].Message.(*tandemv1.Referral); !ok || m.GetResourceId() == "" || m.GetTargetText() != "Whoever is open" {
		t.Errorf("the referral says %v", m)
	}
}
