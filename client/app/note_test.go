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
	"github.com/tandem-response/tandem/syncengine"
)

// A note that was left a draft is opened again from the first page: its author goes on
// typing where the words ended, and signs it there. An empty one is not signed, and says
// why; both languages offer it.
func TestDraftNoteSigned(t *testing.T) {
	t.Parallel()
	for _, l := range looks[:2] {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			in := func(key string) string { return app.In(l.lang, key) }
			o := newOffice(t)
			dir := o.enrol(o.maya, "Car 12")
			o.settings(dir, map[string]string{"theme": l.theme, "lang": l.lang})
			dev := o.device(dir)
			person := (&asker{tb: t, dev: dev}).person("Rosa").String()
			b := newBrowser(t, l.size)
			b.prefix = l.name + "-"
			b.open(serve(t, app.Options{Device: dev}).next())
			b.page("note/new?target=person&of=" + person)
			b.types("text", "Called back;")
			b.kept()
			b.goes(in("saveDraft"))
			b.page("today")
			b.says("Called back;")
			b.goes(dev.Domain().KindLabel("note", l.lang))
			b.types("text", " she is with her sister.")
			b.kept()
			b.look("note-draft")
			b.goes(in("sign"))
			b.says("Called back; she is with her sister.")
			if got := eval[int](b, `document.querySelectorAll("textarea, [formaction]").length`); got != 0 {
				t.Error("a signed note can be typed in")
			}
			b.page("today")
			if strings.Contains(b.words(), "Called back;") {
				t.Error("a signed note is not finished")
			}
		})
	}
}

// A draft is its author's to sign, with the rules of a first signature; it is signed without
// a script, too, with what the form sends.
func TestDraftNoteRules(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a := o.ask(o.maya)
	who := a.person("Rosa").String()
	note := func() syncengine.ID {
		return a.make(&tandemv1.Note{Target: &tandemv1.RecordRef{Kind: new("person"), Id: &who}, Type: new("case")})
	}
	lifecycle := func(id syncengine.ID) string {
		t.Helper()
		view, err := a.dev.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return view.Lifecycle
	}
	id := note()
	w := a.post("note/"+id.String()+"/sign", nil)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), app.In("en", "signMissing")) || lifecycle(id) != "draft" {
		t.Errorf("a note of no words: %d, %s\n%s", w.Code, lifecycle(id), w.Body)
	}
	if w = a.post("note/"+id.String()+"/sign", url.Values{"text": {"All of it."}, "type": {"case"}}); w.Code != http.StatusSeeOther || lifecycle(id) != "signed" {
		t.Errorf("a note with its words: %d, %s\n%s", w.Code, lifecycle(id), w.Body)
	}
	view, err := a.dev.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := view.Message.(*tandemv1.Note); !ok || m.GetText() != "All of it." {
		t.Errorf("signed are %v", view.Message)
	}
	// Of somebody else it is read.
	theirs := note()
	if _, err := a.dev.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	luis := o.ask(o.luis)
	if page := luis.get("note/" + theirs.String()); strings.Contains(page, "formaction") || strings.Contains(page, "textarea") {
		t.Errorf("another's draft can be typed in or signed:\n%s", page)
	}
	if w := luis.post("note/"+theirs.String()+"/sign", url.Values{"text": {"Not mine."}, "type": {"case"}}); w.Code != http.StatusNotFound {
		t.Errorf("signing another's draft: %d", w.Code)
	}
	if typed, err := luis.dev.Drafts(t.Context()); err != nil || len(typed) > 0 {
		t.Errorf("%d drafts of another's note, %v", len(typed), err)
	}
}

// The enter key in a field is the first button of its form: in none that has a button to sign
// with is it that one.
func TestDraftNoteEnter(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.publish("safety-plan")
	a := o.ask(o.maya)
	who := a.person("Rosa").String()
	at := &tandemv1.Instant{AtMs: new(int64(1_790_000_000_000)), Origin: new("tap")}
	call := a.make(&tandemv1.Incident{Source: new("dispatch_911"), CallType: new("welfare_check"), ResponseMode: new("co_response"), ReceivedAt: at}).String()
	forms, err := a.dev.List(t.Context(), "form", client.Filter{}, client.Oldest, 1)
	if err != nil || len(forms) != 1 {
		t.Fatalf("%d forms, %v", len(forms), err)
	}
	_, response, _ := strings.Cut(a.post("form/begin", url.Values{"form": {forms[0].ID.String()}, "person": {who}}).Header().Get("Location"), "/response/")
	button := regexp.MustCompile(`<button[^>]*>`)
	for _, page := range []string{
		"note/new?target=person&of=" + who,
		"note/" + a.make(&tandemv1.Note{Target: &tandemv1.RecordRef{Kind: new("person"), Id: &who}, Type: new("case")}).String(),
		"encounter/" + a.make(&tandemv1.Encounter{IncidentId: &call, Identity: new("unidentified"), Type: new("crisis_response"), StartedAt: at}).String(),
		"response/" + response,
	} {
		_, sheet, ok := strings.Cut(a.get(page), `data-draft="`)
		if first := button.FindString(sheet); !ok || first != "<button>" && first != "<button hidden>" {
			t.Errorf("the enter key on %s is %s", page, first)
		}
	}
}
