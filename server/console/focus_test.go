package console_test

import (
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/internal/browsertest"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/syncengine"
)

// focused is where the focus is, and whether that can be seen.
const focused = `(() => { const e = document.activeElement; return (e.getAttribute("href") || e.getAttribute("aria-labelledby") || e.innerText || e.tagName).trim().replace(/\s+/g, " ") + (e.matches(":focus-visible") ? "" : " unseen"); })()`

// What has the focus keeps it when the page takes in what is new; where it has gone, the row
// that stands there now has it, and never another button.
func TestFocusStays(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	maya, luis := o.device(o.maya, "Car 12"), o.device(o.luis, "Tablet 3")
	s := o.play(maya)
	o.sync(luis)
	b := browsertest.New(t, browsertest.Phone)
	o.sits(b, o.lena, "lena.park", "/console/")
	browsertest.Eval[bool](b, "window.mine = true")
	// arrives has somebody else send an encounter of high danger.
	arrives := func(name string) {
		t.Helper()
		var late syncengine.ID
		o.edit(luis, func(e *client.Edit) error {
			call, err := e.Create(o.call("T-" + name))
			if err != nil {
				return err
			}
			who, err := e.Create(person(name, "Late"))
			if err != nil {
				return err
			}
			visit := o.visitOf(call, who, "x")
			visit.DangerOthers = new("high")
			late, err = e.Create(visit)
			return err
		})
		o.sign(luis, late)
		o.sync(luis)
		b.Says(name + " Late")
	}
	is := func(when, want string) {
		t.Helper()
		if got := browsertest.Eval[string](b, focused); got != want {
			t.Errorf("%s: the focus is at %q, want %q", when, got, want)
		}
	}
	// elsewhere has the lead decide on a record in another window.
	elsewhere := func(page, act string) {
		t.Helper()
		browsertest.Eval[bool](b, `fetch(`+browsertest.Quote(page)+`).then((r) => r.text()).then((h) => { const f = new DOMParser().parseFromString(h, "text/html").querySelector("form[action$='/`+act+`']"), q = new URLSearchParams(new FormData(f)); q.set("decision", "approved"); return fetch(f.getAttribute("action"), { method: "POST", body: q }); }).then((r) => r.ok)`)
	}
	row := "record/" + s.visit.String()
	b.Press("Window ends", kb.Shift)
	at := browsertest.Eval[float64](b, `document.querySelector(".reasons ul").scrollLeft`)
	arrives("Ann")
	is("a chip of a line that is moved sideways", "queue?why=whyEpisode")
	if now := browsertest.Eval[float64](b, `document.querySelector(".reasons ul").scrollLeft`); at == 0 || now != at {
		t.Errorf("the line stood at %v and stands at %v", at, now)
	}
	b.Press("Encounter: Rosa", kb.Shift)
	is("before", row)
	arrives("Bo")
	is("a row", row)
	next := browsertest.Eval[string](b, `(() => { const all = [...document.querySelectorAll(".work a")].map((a) => a.getAttribute("href")); return all[all.indexOf(`+browsertest.Quote(row)+`) + 1]; })()`)
	elsewhere(row, "review")
	b.Until(`!document.querySelector(".work a[href='` + row + `']")`)
	is("a row that has gone", next)
	if !browsertest.Eval[bool](b, "window.mine === true") {
		t.Error("the page was loaded anew")
	}

	// The fold of a change stays open and keeps the focus; a button that has gone gives it to
	// no other one.
	b.Page("record/" + s.person.String())
	b.Press("What it says", kb.Enter)
	o.clash(maya, luis, s.person, "One St", "Two St")
	b.Says("Two versions, side by side")
	is("a fold", "What it says")
	if !browsertest.Eval[bool](b, `document.activeElement.parentElement.open`) {
		t.Error("the fold is closed")
	}
	b.Page("record/" + s.alert.String())
	b.Press("Put the alert in force", kb.Shift)
	elsewhere("record/"+s.alert.String(), "approve")
	b.Until(`!document.querySelector("form[action$='/approve']")`)
	if browsertest.Eval[string](b, `document.activeElement.id`) != "main" {
		is("a button that has gone", "main")
	}
}

// From the queue through the case to a decision, by keyboard alone.
func TestKeyboardThroughCase(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	o.play(o.device(o.maya, "Car 12"))
	b := browsertest.New(t, browsertest.Phone)
	o.sits(b, o.lena, "lena.park", "/console/")
	b.PressGoes("Encounter: Rosa Canaryname")
	b.PressGoes("The whole case")
	b.PressGoes("Encounter: Rosa Canaryname")
	b.PressGoes("Approve")
	b.Says("Your decision is recorded", "Approved")
	b.PressGoes("Queue")
	b.Says("Safety alert: Rosa Canaryname")
}

// A form is begun, given a group, moved about and played by keyboard alone; after each step the
// page stands where that was.
func TestKeyboardOfForms(t *testing.T) {
	t.Parallel()
	w := newWhole(t, storetest.SQLite)
	b := browsertest.New(t, browsertest.Phone)
	w.adminSits(b)
	b.PressGoes("Forms and codes")
	for _, f := range [][2]string{{"code", "debrief"}, {"en", "Debrief"}, {"es", "Repaso"}} {
		b.Press(f[0], f[1][:1])
		b.Keys(f[1][1:])
	}
	b.PressGoes("Add")
	b.PressGoes("New item")
	b.Press("link", "g")
	b.Press("Group Text to read", "G")
	b.Press("en", "H")
	b.Keys("ow it went")
	b.PressGoes("Save")
	b.Says("How it went", "g.1")
	stands := func(item string) {
		t.Helper()
		if !browsertest.Eval[bool](b, `(() => { const r = document.getElementById("item-`+item+`").getBoundingClientRect(); return r.top >= document.querySelector(".top").getBoundingClientRect().bottom && r.top < innerHeight; })()`) {
			t.Errorf("the page does not stand at %s", item)
		}
	}
	stands("g")
	// The tab key goes on from there.
	b.Keys(kb.Tab)
	if at := browsertest.Eval[string](b, focused); at[len(at)-7:] != "?link=g" {
		t.Errorf("the first stop is %q", at)
	}
	b.PressGoes("↑")
	stands("g")
	if first := browsertest.Eval[string](b, `document.querySelector("article h3").innerText`); first[:1] != "g" {
		t.Errorf("the first item is %q", first)
	}
	b.PressGoes("As the field app shows it")
	b.Says("How it went", "First question")
}
