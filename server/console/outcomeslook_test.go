package console_test

import (
	"testing"
	"time"

	"github.com/tandem-response/tandem/internal/browsertest"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/store"
)

// The team's load, the metrics and the public report as they look, on every size: a lead, and
// an admin who publishes with a code of their authenticator.
func TestOutcomesLook(t *testing.T) {
	t.Parallel()
	for _, l := range []struct {
		name, lang, theme string
		size              [2]int64
	}{
		{"console-laptop-light-en-outcomes-", "en", "light", browsertest.Laptop},
		{"console-tablet-dark-es-outcomes-", "es", "dark", browsertest.Tablet},
		{"console-phone-dark-es-outcomes-", "es", "dark", browsertest.Phone},
	} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, storetest.SQLite)
			o.play(o.device(o.maya, "Car 12"))
			word := func(en, es string) string {
				if l.lang == "es" {
					return es
				}
				return en
			}
			dress := func(b *browsertest.Browser) {
				if l.lang == "es" {
					b.Goes("Español")
				}
				if l.theme == "dark" {
					b.Goes(word("Dark or light", "Oscuro o claro"))
				}
			}
			b := browsertest.New(t, l.size)
			b.Prefix = l.name
			o.sits(b, o.lena, "lena.park", "/console/")
			dress(b)
			b.Page("team")
			b.Says(word("What is with whom", "Qué lleva cada quien"), "Maya Ortiz", word("Crisis responses, signed", "Respuestas a crisis firmadas"))
			b.Look("team")
			b.Page("outcomes")
			b.Says(word("For staff: small counts are shown", "Para el personal: se muestran recuentos pequeños"), "M24", word("Counted", "Se cuenta"))
			b.Axe("outcomes")
			short(b)
			b.Look("staff")

			a := browsertest.New(t, l.size)
			a.Prefix = l.name
			secret := o.adminSits(a)
			dress(a)
			if err := o.st.Write(t.Context(), o.org.ID, 1, func(tx *store.Tx) error {
				// Frozen while records of a substance use program were counted.
				if _, err := tx.FreezeMetrics(&store.PublishedReport{Program: o.programOf(o.night), FirstDay: "2025-01-01", EndDay: "2025-02-01", Zone: "America/Chicago", CreatedMS: o.now().UnixMilli(), Body: []byte("{}")}); err != nil {
					return err
				}
				return tx.SavePopulation(&store.Population{Agency: o.clinic, Body: []byte("breakdown,group,people\ngender,man,43000\ngender,woman,44000\ngender,nonbinary,900\n")})
			}); err != nil {
				t.Fatal(err)
			}
			a.Page("outcomes")
			a.Says(word("Who lives where your agency works", "Quién vive donde trabaja su agencia"), word("Inhabitants", "Habitantes"), word("There is a table, loaded", "Hay una tabla, cargada"))
			a.Axe("population")
			browsertest.Eval[bool](a, `([...document.querySelectorAll(".report section")].filter((s) => s.getAttribute("aria-labelledby") !== "h-M21").forEach((s) => s.remove()), true)`)
			a.Look("population")

			a.Page("publish")
			a.Says(word("Nothing was published yet.", "Aún no se ha publicado nada."), "2025-01-01", word("it is not published", "no se publica"))
			a.Look("publish")
			browsertest.Eval[bool](a, `(document.querySelector("#program").selectedIndex = 1, document.querySelector("#period").value = "last_month", true)`)
			a.Goes(word("Preview", "Vista previa"))
			a.Says(word("Preview: nothing is published yet", "Vista previa: aún no se ha publicado nada"), "M1")
			if browsertest.Eval[bool](a, `[...document.querySelectorAll("tbody")].some((b) => b.rows.length === 0)`) {
				t.Error("the preview has a table of nothing")
			}
			a.Axe("preview")
			short(a)
			a.Look("preview")
			o.pass(time.Minute)
			browsertest.Eval[bool](a, `(() => { document.getElementById("code").focus(); return true; })()`)
			a.Keys(totp(secret, o.now()))
			a.Goes(word("Publish this report", "Publicar este informe"))
			a.Says(word("The report is published.", "El informe está publicado."))
			a.Look("published")
		})
	}
}

// short leaves the first metrics on a page, for a picture that can be looked at.
func short(b *browsertest.Browser) {
	browsertest.Eval[bool](b, `([...document.querySelectorAll(".report section")].slice(1).forEach((s) => s.remove()), [...document.querySelectorAll(".report section h3")].slice(1).forEach((h) => { while (h.nextElementSibling && h.nextElementSibling.tagName !== "DL") h.nextElementSibling.remove(); h.remove(); }), true)`)
}

// A lead's numbers by keyboard alone.
func TestKeyboardOfOutcomes(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	o.play(o.device(o.maya, "Car 12"))
	b := browsertest.New(t, browsertest.Laptop)
	o.sits(b, o.lena, "lena.park", "/console/")
	b.PressGoes("Team")
	b.PressGoes("Maya Ortiz, Follow-ups overdue: 1")
	b.Says("Only what is with: Maya Ortiz", "Rosa Canaryname")
	b.PressGoes("Outcomes")
	b.Says("M1 People helped")
	b.Press("This quarter", "Y")
	b.PressGoes("Show")
	b.Says("January 1", "M1 People helped")
}
