package app_test

import (
	"testing"

	"github.com/tandem-response/tandem/client/app"
	"github.com/tandem-response/tandem/server"
)

const sceneSafety = `# Before you arrive
Ask dispatch for:
- weapons
- earlier calls to the address

# At the door
1. Park out of sight.
2. Stand to the side.
3. Say who you are <b>and</b> why you came.

## If it turns
Step back. Time is on your side.
`

// Protocols are read with no signal, by clinicians and police partners alike, and what is
// out of force is not listed.
func TestProtocols(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	add := func(title, lang, text string) {
		t.Helper()
		if _, err := o.admin.AddProtocol(t.Context(), server.ProtocolOptions{Agency: o.clinic, Title: title, Lang: lang, Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	add("Scene safety", "en", "An old text.")
	add("Scene safety", "en", sceneSafety)
	add("Seguridad en la escena", "es", "# Antes de llegar\nPregunte a la central.")
	dev := o.device(o.enrol(o.dale, "Car 3"))
	o.away.Store(true)
	f := serve(t, app.Options{Device: dev})
	b := newBrowser(t, phone)
	b.prefix = "officer-"
	b.open(f.next())
	b.goes("Protocols")
	b.says("Scene safety", "Seguridad en la escena")
	b.look("protocols")
	if n := eval[int](b, `document.querySelectorAll("main li").length`); n != 2 {
		t.Errorf("%d protocols are listed, want 2: one is out of force", n)
	}
	b.goes("Scene safety")
	b.says("Stand to the side.", "Time is on your side.", "Say who you are <b>and</b> why you came.")
	b.look("protocol")
	if got := eval[string](b, `[...document.querySelectorAll("main article h2, main article h3, main ol, main ul")].map((e) => e.tagName).join(" ")`); got != "H2 UL H2 OL H3" {
		t.Errorf("it is laid out as %s", got)
	}
	if eval[bool](b, `document.body.innerText.includes("An old text.") || document.body.innerText.includes("not the document")`) {
		t.Error("the page shows what is out of force, or doubts the document")
	}
	b.goes("Español")
	b.goes(app.In("es", "protocols"))
	if got := eval[string](b, `document.querySelector("main li b").innerText`); got != "Seguridad en la escena" {
		t.Errorf("in Spanish the first is %q", got)
	}
}
