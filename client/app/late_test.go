package app_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// lates are signed records in which something can be typed in a window that was open.
func (o *office) lates(a *asker) (pages, fields map[string]string) {
	o.tb.Helper()
	who := a.person("Rosa").String()
	forms, err := a.dev.List(o.tb.Context(), "form", client.Filter{}, client.Oldest, 1)
	if err != nil || len(forms) != 1 {
		o.tb.Fatalf("%d forms, %v", len(forms), err)
	}
	at := &tandemv1.Instant{AtMs: new(int64(1_790_000_000_000)), Origin: new("tap")}
	call := a.make(&tandemv1.Incident{Source: new("dispatch_911"), CallType: new("welfare_check"), ResponseMode: new("co_response"), ReceivedAt: at}).String()
	pages = map[string]string{
		"note": a.make(&tandemv1.Note{Target: &tandemv1.RecordRef{Kind: new("person"), Id: &who}, Type: new("case"), Text: new("All of it.")}).String(),
		"encounter": a.make(&tandemv1.Encounter{
			IncidentId: &call, PersonId: &who, Identity: new("identified"), Type: new("crisis_response"), StartedAt: at, EndedAt: at, PresentingPrimary: new("psychosis"), Substance: new("none"),
			DangerSelf: new("none"), DangerOthers: new("none"), CannotCareForSelf: new("no"), Interventions: []string{"deescalation"}, Disposition: new("resolved_on_scene"), LegalStatus: new("voluntary"),
			CfEd: new("no"), CfArrest: new("no"), CfHold: new("no"), FollowUpPlan: new("opened_episode"), Narrative: new("All of it."),
		}).String(),
		"form_response": a.make(&tandemv1.FormResponse{
			FormId: new(forms[0].ID.String()), FormCode: new("safety_plan"), FormVersion: new(uint32(1)), Subject: new("person"), PersonId: &who, Lang: new("en"), Respondent: new("self"),
		}).String(),
	}
	for _, name := range []string{"notice.signs", "self.helps", "people.call"} {
		a.post("sheet/form_response/"+pages["form_response"]+"/draft", url.Values{"field": {"answers." + name}, "v.answers." + name: {"All of it."}})
	}
	for kind, page := range map[string]string{"note": "note/", "encounter": "encounter/", "form_response": "response/"} {
		to := ""
		// The second tap of a glove.
		for tap := range 2 {
			w := a.post(page+pages[kind]+"/sign", url.Values{"kept": {"1"}})
			if w.Code != http.StatusSeeOther || tap > 0 && w.Header().Get("Location") != to {
				o.tb.Fatalf("tap %d to sign a %s: %d to %s\n%s", tap, kind, w.Code, w.Header().Get("Location"), w.Body)
			}
			to = w.Header().Get("Location")
		}
	}
	return pages, map[string]string{"note": "text", "encounter": "narrative", "form_response": "answers.self.helps"}
}

// What a window that was still open types into a signed record is kept and found again: on
// its page and on the first one, to be added as a note or set aside. The record stays.
func TestTypedAfterSigned(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.publish("safety-plan")
	a := o.ask(o.maya)
	ids, fields := o.lates(a)
	at := regexp.MustCompile(`name="at" value="([0-9]+)"`)
	for kind, id := range ids {
		page, field := strings.TrimPrefix(kind, "form_")+"/"+id, fields[kind]
		words := "Words too late for the " + kind
		typed := url.Values{"field": {field}, "v." + field: {words}}
		for _, do := range []string{"drop", "note"} {
			w := a.post("sheet/"+kind+"/"+id+"/draft", typed)
			if w.Code != http.StatusGone || !strings.Contains(w.Body.String(), `"to":"`+page+`"`) {
				t.Errorf("typing into a signed %s: %d %s", kind, w.Code, w.Body)
			}
			if today := a.get("today"); !strings.Contains(today, `href="`+page+`"`) || !strings.Contains(today, app.In("en", "lateTyped")) {
				t.Errorf("the first page does not lead to what was typed into a signed %s", kind)
			}
			shown := a.get(page)
			m := at.FindStringSubmatch(shown)
			if !strings.Contains(shown, words) || m == nil {
				t.Fatalf("%s does not show it:\n%s", page, shown)
			}
			// What was typed since the page was shown is not set aside with it.
			if w := a.post("sheet/"+kind+"/"+id+"/late", url.Values{"at": {"1"}, "do": {do}}); w.Code != http.StatusSeeOther || !strings.Contains(a.get(page), words) {
				t.Errorf("from an old page: %d", w.Code)
			}
			w = a.post("sheet/"+kind+"/"+id+"/late", url.Values{"at": {m[1]}, "do": {do}})
			if w.Code != http.StatusSeeOther || strings.Contains(a.get(page), words) {
				t.Errorf("%s of %s: %d, and it is there still", do, kind, w.Code)
			}
			_, to, _ := strings.Cut(strings.TrimPrefix(w.Header().Get("Location"), "/"), "/")
			if do == "note" && (!strings.HasPrefix(to, "note/new?") || !strings.Contains(a.get(to), ">"+words+"</textarea>")) {
				t.Errorf("the note is %s", to)
			}
			if kept, err := a.dev.Draft(t.Context(), "sheet/"+kind+"/"+id); err != nil || kept != nil {
				t.Errorf("what was settled is kept, %v", err)
			}
		}
		// A whole form that says what is signed leaves nothing behind.
		if kind == "note" {
			w := a.post(page+"/sign", url.Values{"text": {"All of it."}, "type": {"case"}})
			if kept, err := a.dev.Draft(t.Context(), "sheet/note/"+id); w.Code != http.StatusSeeOther || err != nil || kept != nil {
				t.Errorf("%d, and it is kept, %v", w.Code, err)
			}
		}
	}
}

// The card of what was typed after the signature, on both devices and in both languages; one
// tap makes a note of it.
func TestLateCard(t *testing.T) {
	t.Parallel()
	for _, l := range looks[:2] {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			o.publish("safety-plan")
			dir := o.enrol(o.maya, "Car 12")
			o.settings(dir, map[string]string{"theme": l.theme, "lang": l.lang})
			dev := o.device(dir)
			a := &asker{tb: t, dev: dev, f: serve(t, app.Options{Device: dev})}
			ids, _ := o.lates(a)
			a.post("sheet/encounter/"+ids["encounter"]+"/draft", url.Values{"field": {"narrative"}, "v.narrative": {"All of it. Her sister came at nine."}})
			b := newBrowser(t, l.size)
			b.prefix = l.name + "-"
			b.open(a.f.next())
			b.page("encounter/" + ids["encounter"])
			b.says(app.In(l.lang, "lateTyped"), "Her sister came at nine.")
			b.look("late")
			b.goes(app.In(l.lang, "lateAdd"))
			b.until(`document.querySelector("[name=text]").value.includes("Her sister came at nine.")`)
		})
	}
}
