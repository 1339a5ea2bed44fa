package app_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// part is a section of a contact's page: what its tag says, and its summary.
func part(t *testing.T, page, key string) (tag, summary string) {
	t.Helper()
	m := regexp.MustCompile(`<details class="part" data-fold="` + key + `"([^>]*)><summary><h2>[^<]*</h2><small>([^<]*)</small>`).FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("there is no section %s:\n%s", key, page)
	}
	return strings.TrimSpace(m[1]), m[2]
}

// The sections of a contact are open where there is something to do in them, and fold up
// where they are finished, with a line that says what is in them; a fault opens its own, and
// the page begins there. It is so without a script.
func TestFolds(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a := o.ask(o.maya)
	at := &tandemv1.Instant{AtMs: new(int64(1_790_000_000_000)), Origin: new("tap")}
	call := a.make(&tandemv1.Incident{Source: new("dispatch_911"), CallType: new("welfare_check"), ResponseMode: new("co_response"), ReceivedAt: at}).String()
	id := a.make(&tandemv1.Encounter{IncidentId: &call, Identity: new("unidentified"), Type: new("crisis_response"), StartedAt: at}).String()
	page := "encounter/" + id
	open := func(want string) {
		t.Helper()
		got, shown := "", a.get(page)
		for _, key := range []string{"secPresenting", "secDanger", "secDone", "secOutcome", "secWithout", "secPlan", "secWords", "secFrame"} {
			if tag, _ := part(t, shown, key); tag == "open" {
				got += " " + strings.TrimPrefix(key, "sec")
			}
		}
		if got != want {
			t.Errorf("open are%s; want%s", got, want)
		}
	}
	open(" Presenting Danger Done Outcome Without Plan Words")
	a.post("sheet/encounter/"+id+"/save", url.Values{
		"presenting_primary": {"depression"}, "substance": {"none"}, "danger_self": {"2"}, "danger_others": {"1"}, "cannot_care_for_self": {"no"}, "narrative": {"Calm."},
	})
	open(" Done Outcome Without Plan Words")
	for key, want := range map[string]string{"secPresenting": "Depression, Substance involved None", "secDanger": "Danger to self Low, Danger to others None, Cannot care for self No", "secDone": ""} {
		if _, summary := part(t, a.get(page), key); summary != want {
			t.Errorf("%s says %q", key, summary)
		}
	}
	// What is typed and no save yet is shown.
	a.post("sheet/encounter/"+id+"/draft", url.Values{"field": {"presenting_primary"}, "v.presenting_primary": {"trauma"}, "seen.presenting_primary": {"1"}})
	open(" Presenting Done Outcome Without Plan Words")
	a.post("sheet/encounter/"+id+"/settle", nil)
	open(" Done Outcome Without Plan Words")
	// What is folded up is sent with the rest of the form, and a fault in it opens it.
	a.post("sheet/encounter/"+id+"/save", url.Values{
		"interventions": {"deescalation"}, "disposition": {"transport_ed_voluntary"}, "transport_by": {"none"}, "legal_status": {"voluntary"}, "cf_ed": {"no"}, "cf_arrest": {"no"}, "cf_hold": {"no"}, "follow_up_plan": {"declined"},
	})
	open(" Outcome Words")
	w := a.post(page+"/sign", url.Values{"kept": {"1"}})
	got := w.Body.String()
	if tag, _ := part(t, got, "secOutcome"); tag != "open" {
		t.Errorf("a fault is folded away:\n%s", got)
	}
	if tag, _ := part(t, got, "secPresenting"); tag == "open" {
		t.Error("what is right is open")
	}
	if first := strings.Index(got, " autofocus"); strings.Count(got, " autofocus") != 1 || first < strings.Index(got, `class="chips wrong"`) {
		t.Errorf("the page does not begin at its fault:\n%s", got)
	}
}

// A section that somebody folded stays so over a reload, says what is in it, and a link to it
// opens it; what is typed in it is kept.
func TestFoldsByHand(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	b := newBrowser(t, phone)
	b.open(serve(t, app.Options{Dir: o.enrol(o.maya, "Car 12"), Client: options()}).next())
	visitEncounter(b)
	is := func(key string) bool {
		t.Helper()
		return eval[bool](b, `document.querySelector("[data-fold=`+key+`]").open`)
	}
	fold := func(key string) {
		t.Helper()
		was := is(key)
		eval[bool](b, `(() => { document.querySelector("[data-fold=`+key+`] summary").click(); return true; })()`)
		b.until(`document.querySelector("[data-fold=` + key + `]").open !== ` + map[bool]string{true: "true", false: "false"}[was])
	}
	b.chip("presenting_primary", "trauma")
	b.chip("substance", "alcohol")
	b.types("narrative", "She talks.")
	b.kept()
	fold("secPresenting")
	fold("secWords")
	fold("secFrame")
	b.until(`document.querySelector("[data-fold=secPresenting] summary small").checkVisibility()`)
	if got := eval[string](b, `document.querySelector("[data-fold=secPresenting] summary").innerText`); !strings.Contains(got, "Trauma, Alcohol") {
		t.Errorf("it says %q", got)
	}
	b.look("encounter-folded")
	b.open(eval[string](b, "location.href"))
	if is("secPresenting") || is("secWords") || !is("secFrame") || !is("secDanger") {
		t.Error("after a reload the sections stand otherwise")
	}
	if got := eval[string](b, `new URLSearchParams(new FormData(document.querySelector("#sheet"))).toString()`); !strings.Contains(got, "narrative=She+talks.") || !strings.Contains(got, "presenting_primary=trauma") {
		t.Errorf("what is folded up is not sent: %s", got)
	}
	// The links of the page, and the keyboard alone, open them.
	eval[bool](b, `(() => { document.querySelector(".jump a[href$=secWords]").click(); return true; })()`)
	b.until(`document.querySelector("[data-fold=secWords]").open`)
	if got := eval[string](b, `document.querySelector("[name=narrative]").value`); got != "She talks." {
		t.Errorf("the narrative is %q", got)
	}
	eval[bool](b, `(() => { document.querySelector("[data-fold=secPresenting] summary").focus(); return true; })()`)
	b.keys("\r")
	b.until(`document.querySelector("[data-fold=secPresenting]").open`)
	// A fault opens its section, whatever somebody has folded, and has the focus.
	fold("secDone")
	b.goes("Sign")
	b.until(`document.querySelector("[data-fold=secDone]").open && document.activeElement.closest(".wrong")`)
}
