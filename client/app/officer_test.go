package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
)

// cit makes a program without clinicians at the scene, with a team and an officer in it.
func (o *office) cit() (officer, team syncengine.ID) {
	o.tb.Helper()
	id := func(id syncengine.ID, err error) syncengine.ID {
		o.tb.Helper()
		if err != nil {
			o.tb.Fatal(err)
		}
		return id
	}
	ctx := o.tb.Context()
	program := id(o.admin.AddProgram(ctx, server.ProgramOptions{NameEN: "Crisis officers", Model: "cit", Agency: o.clinic, Partners: []syncengine.ID{o.police}}))
	team = id(o.admin.AddTeam(ctx, server.TeamOptions{Name: "Patrol", Program: program}))
	return id(o.admin.AddStaff(ctx, server.StaffOptions{Name: "Ana Reed", Discipline: "officer", Roles: []string{"le_partner"}, Agency: o.police, Teams: []syncengine.ID{team}})), team
}

// A police partner of a program without clinicians at the scene opens a call of their own:
// they write it once, as a draft until it is whole, and the server takes it. One of another
// program is offered none, and made none.
func TestOfficerOpensCall(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	who, team := o.cit()
	a := o.ask(who)
	if !strings.Contains(a.get("today"), `href="call/new"`) {
		t.Fatal("they are offered no new call")
	}
	page := a.get("call/new")
	_, rest, _ := strings.Cut(page, `name="id" value="`)
	id, _, _ := strings.Cut(rest, `"`)
	// Some of it is no call, and stays typed.
	half := url.Values{"id": {id}, "call_type": {"welfare_check"}, "place_type": {"home"}, "location.address": {"12 Elm St"}}
	if w := a.post("call/new", half); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), app.In("en", "fillIn")) || strings.Count(w.Body.String(), "12 Elm St") != 1 {
		t.Errorf("half of a call: %d\n%s", w.Code, w.Body)
	}
	if today := a.get("today"); !strings.Contains(today, "call/new?id="+id) {
		t.Errorf("the draft is not on the first page:\n%s", today)
	}
	all := url.Values{
		"id": {id}, "contact": {"contact_made"}, "arrived_at": {"2026-01-02T03:04"}, "dispatched_at": {"2026-01-02T03:00"}, "cleared_at": {"2026-01-02T03:30"},
		"le_involvement": {"already_on_scene"}, "le_actions": {"standby"}, "force_used": {"no"},
	}
	for tap := range 2 {
		if w := a.post("call/new", all); w.Code != http.StatusSeeOther || !strings.HasSuffix(w.Header().Get("Location"), "call/"+id) {
			t.Fatalf("tap %d: %d to %s\n%s", tap, w.Code, w.Header().Get("Location"), w.Body)
		}
	}
	calls, err := a.dev.List(t.Context(), "incident", client.Filter{}, client.Newest, 0)
	if err != nil || len(calls) != 1 {
		t.Fatalf("%d calls, %v", len(calls), err)
	}
	m, ok := calls[0].Message.(*tandemv1.Incident)
	if !ok || m.GetTeamId() != team.String() || m.GetResponseMode() != "officer_only_cit" || m.GetLocation().GetAddress() != "12 Elm St" || len(m.GetResponders()) != 1 || m.GetCallType() != "welfare_check" {
		t.Errorf("the call says %v", calls[0].Message)
	}
	if _, err := a.dev.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if refused, err := a.dev.Quarantined(t.Context()); err != nil || len(refused) > 0 {
		t.Errorf("%d are refused, %v", len(refused), err)
	}
	if today := a.get("today"); strings.Contains(today, "call/new?id=") {
		t.Error("a call that is saved is a draft still")
	}

	other := o.ask(o.dale)
	if strings.Contains(other.get("today"), `href="call/new"`) || strings.Contains(other.get("call/new"), "call_type") {
		t.Error("a police partner of another program is offered a new call")
	}
	if w := other.post("call/new", all); w.Code != http.StatusNotFound {
		t.Errorf("they make one: %d", w.Code)
	}
}

// The times of a call that a police partner opens are those that they say, and never the one
// of the save: a page with a script says that it has sent what was typed.
func TestOfficerCallTimes(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	who, _ := o.cit()
	a := o.ask(who)
	_, rest, _ := strings.Cut(a.get("call/new"), `name="id" value="`)
	id, _, _ := strings.Cut(rest, `"`)
	if page := a.get("call/new?id=" + id); !strings.Contains(page, `id="place"`) {
		t.Error("there is no room for what is known of the address")
	}
	if w := a.post("sheet/incident/"+id+"/draft", url.Values{"field": {"location.address"}, "v.location.address": {"12 Elm St"}}); !strings.Contains(w.Body.String(), `"place"`) {
		t.Errorf("what is known of the address is not said while it is typed: %s", w.Body)
	}
	typed := url.Values{}
	for name, value := range map[string]string{
		"call_type": "welfare_check", "place_type": "home", "contact": "contact_made", "arrived_at": "2026-01-02T03:04", "cleared_at": "2026-01-02T03:30",
		"le_involvement": "already_on_scene", "le_actions": "standby", "force_used": "no",
	} {
		typed.Add("field", name)
		typed.Set("v."+name, value)
	}
	a.post("sheet/incident/"+id+"/draft", typed)
	a.post("call/new", url.Values{"id": {id}, "kept": {"1"}})
	a.post("sheet/incident/"+id+"/draft", url.Values{"field": {"dispatched_at"}, "v.dispatched_at": {"2026-01-02T03:00"}})
	a.post("call/new", url.Values{"id": {id}, "kept": {"1"}})
	calls, err := a.dev.List(t.Context(), "incident", client.Filter{}, client.Newest, 0)
	if err != nil || len(calls) != 1 {
		t.Fatalf("%d calls, %v", len(calls), err)
	}
	m, ok := calls[0].Message.(*tandemv1.Incident)
	if !ok || m.GetDispatchedAt().GetOrigin() == "tap" || m.GetDispatchedAt().GetAtMs() > m.GetArrivedAt().GetAtMs() {
		t.Errorf("the call says %v", calls[0].Message)
	}
}

// The page of it, on both devices and in both languages: what is typed there is kept.
func TestOfficerCallPage(t *testing.T) {
	t.Parallel()
	for _, l := range looks[:2] {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			who, _ := o.cit()
			dir := o.enrol(who, "Car 7")
			o.settings(dir, map[string]string{"theme": l.theme, "lang": l.lang})
			b := newBrowser(t, l.size)
			b.prefix = l.name + "-"
			b.open(serve(t, app.Options{Dir: dir, Client: options()}).next())
			b.page("today")
			b.look("officer-today")
			b.goes(app.In(l.lang, "newCall"))
			b.chip("call_type", "welfare_check")
			b.types("location.address", "12 Elm St")
			b.kept()
			b.look("officer-call-new")
			b.open(eval[string](b, "location.href"))
			if got := eval[string](b, `document.querySelector("[name='location.address']").value`); got != "12 Elm St" {
				t.Errorf("the address is %q after a reload", got)
			}
			b.goes(app.In(l.lang, "saveCall"))
			b.says(app.In(l.lang, "fillIn"))
		})
	}
}
