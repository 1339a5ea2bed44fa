package app_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// What a form sends of a scale, with a script or without: where its slider stands, and what
// is chosen beside it. Unset is no value, and of two the more cautious counts.
func TestScale(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a := o.ask(o.maya)
	at := &tandemv1.Instant{AtMs: new(int64(1_790_000_000_000)), Origin: new("tap")}
	call := a.make(&tandemv1.Incident{Source: new("dispatch_911"), CallType: new("welfare_check"), ResponseMode: new("co_response"), ReceivedAt: at}).String()
	id := a.make(&tandemv1.Encounter{IncidentId: &call, Identity: new("unidentified"), Type: new("crisis_response"), StartedAt: at})
	page := "encounter/" + id.String()
	if got := a.get(page); strings.Count(got, `<input type="range"`) != 2 || strings.Count(got, `max="4" step="1" value="0"`) != 2 {
		t.Fatalf("a new one says something:\n%s", got)
	} else if n := strings.Count(got, "<noscript><p class=\"hint\">"+app.In("en", "scaleSays")); n != 2 {
		t.Errorf("which of the two counts is said %d times", n)
	}
	for _, tc := range []struct {
		sent []string
		want string
		at   string
	}{
		{[]string{"0"}, "", "0"},
		{[]string{"1"}, "none", "1"},
		{[]string{"4"}, "high", "4"},
		{[]string{"2", "unable_to_assess"}, "unable_to_assess", "0"},
		{[]string{"4", "unable_to_assess"}, "high", "4"},
		{[]string{"3"}, "moderate", "3"},
		{[]string{"0", "unable_to_assess"}, "unable_to_assess", "0"},
		{[]string{"0"}, "", "0"},
	} {
		for way, do := range map[string]func(){
			"a form": func() { a.post("sheet/"+page+"/save", url.Values{"danger_self": tc.sent}) },
			"a script": func() {
				a.post("sheet/"+page+"/draft", url.Values{"field": {"danger_self"}, "v.danger_self": tc.sent, "seen.danger_self": {"99"}})
				a.post("sheet/"+page+"/settle", nil)
			},
		} {
			do()
			view, err := a.dev.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			m, ok := view.Message.(*tandemv1.Encounter)
			if !ok || m.GetDangerSelf() != tc.want || (m.DangerSelf != nil) != (tc.want != "") || m.DangerOthers != nil {
				t.Errorf("%s that sends %q: %v", way, tc.sent, view.Message)
			}
			if got := a.get(page); !strings.Contains(got, `name="danger_self" min="0" max="4" step="1" value="`+tc.at+`"`) || strings.Contains(got, `value="unable_to_assess" checked`) != (tc.want == "unable_to_assess") {
				t.Errorf("%s that sent %q is not shown so", way, tc.sent)
			}
		}
	}
	// What a slider never stands at is kept as typed, and is no save.
	a.post("sheet/"+page+"/save", url.Values{"danger_self": {"9"}})
	if got := a.get(page); !strings.Contains(got, app.In("en", "notTaken")) {
		t.Error("a value that there is not was taken")
	}
}

// One tap sets a scale wherever its words are tapped, another takes it back, and what is
// beside the slider is in place of it.
func TestScaleTapped(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	b := newBrowser(t, phone)
	b.open(serve(t, app.Options{Dir: o.enrol(o.maya, "Car 12"), Client: options()}).next())
	visitEncounter(b)
	says := func(want string) {
		t.Helper()
		b.kept()
		b.until(`document.querySelector("[name=danger_self]").getAttribute("aria-valuetext") === ` + quote(want))
	}
	says("Not set")
	for stop, want := range []string{"Not set", "None", "Low", "Moderate", "High"} {
		b.slide("danger_self", stop)
		says(want)
	}
	b.chip("danger_self", "unable_to_assess")
	says("Unable to assess")
	if at := eval[string](b, `document.querySelector("[name=danger_self]").value`); at != "0" {
		t.Errorf("the slider stands at %s beside it", at)
	}
	b.open(eval[string](b, "location.href"))
	says("Unable to assess")
	b.slide("danger_self", 2)
	says("Low")
	b.open(eval[string](b, "location.href"))
	says("Low")
	if eval[bool](b, `document.querySelector("input[value=unable_to_assess]").checked`) {
		t.Error("both stand there")
	}
}
