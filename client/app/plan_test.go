package app_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/syncengine"
)

// onPaper are the texts that a printed page shows.
func onPaper(b *browser) string {
	b.tb.Helper()
	b.Media("print")
	defer b.Media("")
	return b.words()
}

var sheets = regexp.MustCompile(`/Type\s*/Page\b`)

// A safety plan is filled in, signed and printed with no signal: on one or two sheets stand
// its answers, whom to call and the team, in the language of the page, and nothing else that
// is known of the person. The person, their encounter and their call lead to it.
func TestSafetyPlan(t *testing.T) {
	need.Long(t)
	t.Parallel()
	for _, l := range looks {
		if !l.often && !*everyLook {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			o := newOffice(t)
			o.publish("safety-plan")
			dir := o.enrol(o.maya, "Car 12")
			o.settings(dir, map[string]string{"theme": l.theme, "lang": l.lang})
			dev := o.device(dir)
			o.away.Store(true)
			b := newBrowser(t, l.size)
			b.prefix = l.name + "-"
			safetyPlan(t, dev, serve(t, app.Options{Device: dev}), b, l.lang)
		})
	}
}

func safetyPlan(t *testing.T, dev *client.Client, f *field, b *browser, lang string) {
	t.Helper()
	in := func(key string) string { return app.In(lang, key) }
	title := map[string]string{"en": "My plan to stay safe", "es": "Mi plan para estar a salvo"}
	var person, call syncengine.ID
	if _, err := dev.Edit(t.Context(), func(e *client.Edit) (err error) {
		if person, err = e.Create(&tandemv1.Person{
			Names: []*tandemv1.PersonName{{Given: new("Rosa"), Family: new("Lindqvist"), Use: new("legal")}}, Dob: new("1988-04-02"),
			Phones: []*tandemv1.PersonPhone{{Number: new("2175550199")}},
		}); err != nil {
			return err
		}
		at := &tandemv1.Instant{AtMs: new(int64(1_790_000_000_000)), Origin: new("tap")}
		if call, err = e.Create(&tandemv1.Incident{
			Number: new("C12-01"), Source: new("dispatch_911"), CallType: new("suicide_threat"), ResponseMode: new("co_response"), DispatchedAt: at, ArrivedAt: at,
		}); err != nil {
			return err
		}
		if _, err = e.Create(&tandemv1.Encounter{
			IncidentId: new(call.String()), PersonId: new(person.String()), Identity: new("identified"), Type: new("crisis_response"), StartedAt: at,
			PresentingPrimary: new("psychosis"), Narrative: new("Canary of the narrative."),
		}); err != nil {
			return err
		}
		_, err = e.Create(&tandemv1.SafetyAlert{
			PersonId: new(person.String()), Category: new("weapon_access"), Text: new("Canary of the alert."), Audience: new("clinical"), ExpiresOn: new(time.Now().AddDate(0, 0, 20).Format(time.DateOnly)),
		})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	b.open(f.next())
	b.page("call/" + call.String())
	b.says("Rosa Lindqvist", "Canary of the alert.")
	if words := b.words(); strings.Contains(words, in("planOn")) {
		t.Fatal("a plan stands there before there is one")
	}
	b.page("forms?person=" + person.String())
	b.goes(title[lang])
	var some strings.Builder
	for _, n := range []string{"One", "Two", "Three"} {
		some.WriteString("\n" + n + " line of words that goes on for about the width of the sheet, as people write")
	}
	for name, text := range map[string]string{
		"notice.signs": "I stop answering\nI do not sleep" + some.String(), "self.helps": "Walk to the lake" + some.String(), "self.matters": "My sister" + some.String(), "people.company": "The library" + some.String(),
		"people.call": "Ada, 217 555 0111" + some.String(), "help.team": "217 555 0100", "help.care": "Dr. Bell" + some.String(), "place.reach": "Keys are with Ada" + some.String(), "next.step": "Friday at ten",
	} {
		b.types("answers."+name, text)
	}
	b.kept()
	if words := onPaper(b); strings.Contains(words, "Ada") {
		t.Errorf("a draft is printed:\n%s", words)
	}
	b.goes(in("sign"))
	b.says(title[lang], "I do not sleep", "Ada, 217 555 0111")
	b.look("safety-plan")
	printed(t, b, in, title[lang])
	b.goes(in("lang"))
	other := map[string]string{"en": "es", "es": "en"}[lang]
	printed(t, b, func(key string) string { return app.In(other, key) }, title[other])
	b.goes(app.In(other, "lang"))
	b.page("person/" + person.String())
	b.says("Canary of the alert.", in("planOn"))
	b.page("call/" + call.String())
	b.says("Canary of the alert.", in("planOn"), "Rosa Lindqvist")
	b.look("call-approach")
	b.goes(in("planOn"))
	b.says("Walk to the lake")
}

// printed looks at the plan on paper.
func printed(t *testing.T, b *browser, in func(string) string, title string) {
	t.Helper()
	words := onPaper(b)
	at := 0
	for _, want := range []string{title, "R. L.", "Night", "988", "911", "I stop answering", "I do not sleep", "Walk to the lake", "My sister", "The library", "Ada, 217 555 0111", "217 555 0100", "Dr. Bell", "Keys are with Ada", "Friday at ten"} {
		i := strings.Index(words[at:], want)
		if i < 0 {
			t.Fatalf("%q is not on paper, or not in its place:\n%s", want, words)
		}
		at += i
	}
	for _, never := range []string{"Rosa", "Lindqvist", "1988", "0199", "Canary", "Maya", "Car 12", in("navToday"), in("printCard"), in("licence"), in("recHere"), in("stHere")} {
		if strings.Contains(words, never) {
			t.Errorf("%q is on paper:\n%s", never, words)
		}
	}
	pdf := b.PDF()
	if n := len(sheets.FindAll(pdf, -1)); n < 1 || n > 2 || !bytes.HasPrefix(pdf, []byte("%PDF-")) {
		t.Errorf("it takes %d sheets", n)
	}
	b.Media("print")
	b.Prefix = b.prefix
	b.Shot("safety-plan-" + eval[string](b, "document.documentElement.lang") + "-printed")
	b.Media("")
}
