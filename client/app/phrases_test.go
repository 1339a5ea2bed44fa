package app_test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine/record"
)

// The phrases that everybody has name nobody: no names, numbers but that of the lifeline,
// or days, in either language, and they are short enough for a button.
func TestPhrasesNameNobody(t *testing.T) {
	t.Parallel()
	codes := record.New().Codes("phrase")
	if len(codes) < 6 {
		t.Fatalf("%d phrases", len(codes))
	}
	proper := regexp.MustCompile(`[^.?!;] \p{Lu}|\d`)
	for _, c := range codes {
		for _, words := range []string{c.EN, c.ES} {
			if words == "" || len([]rune(words)) > 80 || proper.MatchString(strings.ReplaceAll(words, "988", "")) {
				t.Errorf("%s: %q", c.Code, words)
			}
		}
	}
}

// A phrase goes where the writing is, in the language of the page, and is kept like what is
// typed; those of the own agency come first.
func TestPhrases(t *testing.T) {
	t.Parallel()
	for _, l := range looks[:2] {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			o.ownCodes(o.clinic, "phrase", codeEntry("x_ex_van", "Sat in the van to talk.", "Se habló sentados en la furgoneta.", "apart", false))
			dir := o.enrol(o.maya, "Car 12")
			f := serve(t, app.Options{Dir: dir, Client: options()})
			b := newBrowser(t, l.size)
			b.prefix = l.name + "-"
			b.open(f.next())
			visitEncounter(b)
			here := eval[string](b, "location.href")
			if l.lang == "es" {
				b.goes("Español")
				b.open(here)
			}
			label := func(code string) string { return record.New().Label("phrase", code, l.lang) }
			own := map[string]string{"en": "Sat in the van to talk.", "es": "Se habló sentados en la furgoneta."}[l.lang]
			want := func(words string) {
				t.Helper()
				if got := eval[string](b, `document.querySelector("[name=narrative]").value`); got != words {
					t.Fatalf("the words are %q, want %q", got, words)
				}
			}
			b.tap(app.In(l.lang, "phrases"))
			if first := eval[string](b, `document.querySelector("[data-insert]").textContent`); first != own {
				t.Errorf("the first is %q", first)
			}
			b.types("narrative", "AZ")
			b.keys(kb.ArrowLeft)
			b.tap(label("calmer"))
			want("A " + label("calmer") + " Z")
			b.tap(own)
			want("A " + label("calmer") + " " + own + " Z")
			b.keys("1 ")
			b.kept()
			b.look("phrases")
			b.open(here)
			want("A " + label("calmer") + " " + own + " 1 Z")
			// Who has not been there writes at the end.
			b.tap(app.In(l.lang, "phrases"))
			b.tap(label("left_numbers"))
			want("A " + label("calmer") + " " + own + " 1 Z " + label("left_numbers"))
			b.kept()
			// The enter key in another field puts nothing there, and signs nothing.
			b.chip("disposition", "transport_other")
			b.chip("transport_by", "team")
			b.kept()
			eval[bool](b, "window.stale = true")
			b.types("destination_text", "North"+kb.Enter)
			b.until(`!window.stale && document.readyState === "complete"`)
			want("A " + label("calmer") + " " + own + " 1 Z " + label("left_numbers"))
			b.says(record.New().Label("lifecycle_encounter", "draft", l.lang))
			if strings.Contains(b.words(), app.In(l.lang, "signMissing")) {
				t.Error("the enter key signs")
			}
		})
	}
}

// Without a script a phrase is put behind what was written, which is kept with it; a phrase
// that there is not, or one into a signed record, is none.
func TestPhrasesPlain(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a := o.ask(o.maya)
	at := &tandemv1.Instant{AtMs: new(int64(1_790_000_000_000)), Origin: new("tap")}
	call := a.make(&tandemv1.Incident{Source: new("dispatch_911"), CallType: new("welfare_check"), ResponseMode: new("co_response"), ReceivedAt: at}).String()
	id := a.make(&tandemv1.Encounter{IncidentId: &call, Identity: new("unidentified"), Type: new("crisis_response"), StartedAt: at}).String()
	w := a.post("encounter/"+id+"/phrase", url.Values{"narrative": {"He talks."}, "substance": {"alcohol"}, "phrase": {"apart"}})
	if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || !strings.HasSuffix(to, "encounter/"+id+"#f-narrative") {
		t.Errorf("%d, to %s", w.Code, to)
	}
	want := "He talks. " + record.New().Label("phrase", "apart", "en")
	page := a.get("encounter/" + id)
	if !strings.Contains(page, ">"+want+"</textarea>") || !strings.Contains(page, `value="alcohol" checked`) {
		t.Errorf("it is not there:\n%s", page)
	}
	if w := a.post("encounter/"+id+"/phrase", url.Values{"narrative": {"Other."}, "phrase": {"none"}}); w.Code != http.StatusNotFound {
		t.Errorf("a phrase that there is not: %d", w.Code)
	}
	if codes := record.New().Codes("phrase"); !slices.ContainsFunc(codes, func(c record.Code) bool { return strings.Contains(page, ">"+c.EN+"</button>") }) {
		t.Error("none is offered")
	}
}
