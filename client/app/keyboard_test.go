package app_test

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	"github.com/tandem-response/tandem/client/app"
)

// press goes to what bears the words by the tab key alone, and presses it.
func (b *browser) press(words, key string) { b.tb.Helper(); b.Press(words, key) }

func (b *browser) pressGoes(words string) { b.tb.Helper(); b.PressGoes(words) }

// The shift without a mouse and without glass. Clocks stand: what can be taken back for ten
// seconds can be, however long the way to it takes here.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := &clock{stands: time.Now()}
	f := serve(t, app.Options{Dir: o.enrol(o.maya, "Car 12"), Client: locked(), Now: c.now})
	b := newBrowser(t, laptop)
	b.Standing()
	b.open(f.next())
	// The passphrase has the focus.
	b.keys(passphrase + kb.Enter)
	b.says("No shift is under way")
	b.pressGoes("Start shift")
	b.press("unit", "C7")
	b.pressGoes("Start shift")
	b.pressGoes("Welfare check")
	b.pressGoes("Arrived")
	b.press("Home", " ")
	b.pressGoes("Contact made")
	b.pressGoes("Not identified")
	b.press("Suicidal thoughts", " ")
	b.focus("danger_self")
	b.keys(kb.ArrowRight + kb.ArrowRight)
	b.press("narrative", "He talks.")
	b.kept()
	b.until(`document.querySelector("[name=danger_self]").getAttribute("aria-valuetext") === "Low"`)
	b.pressGoes("Leave as a draft")
	b.says("Suicidal thoughts", "Draft")
	b.pressGoes("Clear the call")
	b.says("Cleared")
	b.pressGoes("Undo")
	b.says("Clear the call")
	b.pressGoes("To decide")
	b.says("Nothing needs you")
	b.pressGoes("Español")
	b.says("Nada le necesita")
	b.pressGoes("Bloquear ahora")
	b.says("Frase de contraseña")
}

// The screener from a contact, without a mouse and without glass.
func TestKeyboardScreener(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.publish("cssrs-screener")
	f := serve(t, app.Options{Dir: o.enrol(o.maya, "Car 12"), Client: options()})
	b := newBrowser(t, laptop)
	b.open(f.next())
	visitEncounter(b)
	contact := eval[string](b, "location.href")
	b.page("person/new")
	b.press("names.given", "Rosa")
	b.kept()
	b.pressGoes("Save person")
	b.pressGoes("Screeners and forms")
	b.pressGoes("C-SSRS screener")
	for _, link := range []string{"1", "2"} {
		b.focus("answers." + link)
		b.keys(" ")
		b.kept()
	}
	b.until(`document.querySelector("[data-item='3']").checkVisibility()`)
	b.focus("answers.4")
	b.keys(" ")
	b.until(`document.querySelector("#result").innerText.includes("High")`)
	b.pressGoes("Leave as a draft")
	b.says("C-SSRS screener", "Risk level: High")
	b.open(contact)
	b.pressGoes("Screeners and forms")
	b.says("No form for this is on the device")
}

// focus leads to a field by the tab key alone.
func (b *browser) focus(name string) {
	b.tb.Helper()
	for range 140 {
		b.keys(kb.Tab)
		if eval[bool](b, `document.activeElement.name === `+quote(name)) {
			return
		}
	}
	b.tb.Fatalf("the tab key does not lead to %s", name)
}

// A police partner sees the calls of the team and writes what the police did; no page
// leads to a person.
func TestOfficer(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	f := serve(t, app.Options{Dir: o.enrol(o.maya, "Car 12"), Client: options()})
	b := newBrowser(t, phone)
	b.open(f.next())
	visitEncounter(b)
	b.types("narrative", "Words of the visit.")
	b.kept()
	b.goes("Leave as a draft")
	b.until(`!document.querySelector("#status").innerText.includes("here")`)

	g := serve(t, app.Options{Dir: o.enrol(o.dale, "Car 7"), Client: options()})
	p := newBrowser(t, phone)
	p.prefix = "officer-"
	p.open(g.next())
	p.Comes(`document.body.innerText.includes("Welfare check")`)
	p.look("today")
	p.goes("Welfare check")
	p.chip("le_involvement", "partner_on_team")
	p.chip("le_actions", "standby")
	p.chip("force_used", "no")
	p.goes("Police cleared")
	p.look("call")
	p.page("cards")
	p.look("cards")
	for _, page := range []string{"people", "person/new", "directory", "today"} {
		p.page(page)
		if eval[bool](p, `document.body.innerText.includes("Words of the visit")`) {
			t.Errorf("%s shows a police partner what was written of a person", page)
		}
	}
	b.Comes(`document.body.innerText.includes("Standby") || document.body.innerText.includes("Stood by")`)
}
