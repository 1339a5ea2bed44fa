package console_test

import (
	"encoding/base32"
	"flag"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/browsertest"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/syncengine"
)

var shots = flag.String("shots", "", "write a screenshot of every screen into this directory")

// sits has a person sit down at a real browser and sign in, with a code that was handed out.
func (o *office) sits(b *browsertest.Browser, staff syncengine.ID, login, page string) {
	o.tb.Helper()
	b.Shots = *shots
	// An account that has been there for long enough to approve an export.
	past := func() time.Time { return o.now().Add(-people.SettledFor) }
	must[*people.Code](o.tb)(people.NewAccounts(o.st, o.org, past, nil).Create(o.tb.Context(), staff, login))
	code := must[*people.Code](o.tb)(people.NewAccounts(o.st, o.org, o.now, nil).Reset(o.tb.Context(), staff, false))
	b.Do(chromedp.Navigate(o.url + "/signin/begin"))
	b.Until(`document.readyState === "complete" && location.pathname === "/signin/begin"`)
	b.Types("login", login)
	b.Types("code", code.Code)
	b.Types("new", passphrase)
	b.Types("again", passphrase)
	b.Keys(kb.Enter)
	b.Until(`location.pathname !== "/signin/begin" && document.readyState === "complete"`)
	b.Do(chromedp.Navigate(o.url + page))
	b.Until(`document.readyState === "complete" && location.pathname !== "/signin/begin"`)
}

// clash has two devices write one field differently.
func (o *office) clash(a, b *client.Client, visit syncengine.ID, ours, theirs string) {
	o.tb.Helper()
	o.sync(a, b)
	for d, text := range map[*client.Client]string{a: ours, b: theirs} {
		v := must[*client.View](o.tb)(d.Get(o.tb.Context(), visit))
		o.edit(d, func(e *client.Edit) error {
			m, _ := v.Message.(*tandemv1.Person)
			m.Address = &text
			return e.Set(v, m)
		})
	}
	o.sync(a, b)
}

// A morning of a lead, in a real browser, on what three devices have pushed, one of them
// while the page is open.
func TestMorningOfLead(t *testing.T) {
	t.Parallel()
	for _, l := range []struct {
		name, lang, theme string
		size              [2]int64
	}{
		{"console-laptop-light-en-", "en", "light", browsertest.Laptop},
		{"console-tablet-dark-en-", "en", "dark", browsertest.Tablet},
		{"console-phone-dark-es-", "es", "dark", browsertest.Phone},
	} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, storetest.SQLite)
			maya, luis := o.device(o.maya, "Car 12"), o.device(o.luis, "Tablet 3")
			dale := o.device(o.dale, "Car 7")
			s := o.play(maya)
			o.clash(maya, luis, s.person, "12 Elm St, ring the lower bell", "12 Elm St, flat 3, ring twice")
			o.refuse(s)

			b := browsertest.New(t, l.size)
			b.Prefix = l.name
			o.sits(b, o.lena, "lena.park", "/console/")
			if l.lang == "es" {
				b.Goes("Español")
			}
			if l.theme == "dark" {
				b.Goes(map[string]string{"en": "Dark or light", "es": "Oscuro o claro"}[l.lang])
			}
			word := func(en, es string) string {
				if l.lang == "es" {
					return es
				}
				return en
			}
			b.Says(word("High danger", "Peligro alto"), "Rosa Canaryname", word("Force used", "Uso de fuerza"), word("Not accepted: 1", "No aceptado: 1"))
			b.Look("queue")

			// What a device sends appears without a reload.
			browsertest.Eval[bool](b, "window.mine = true")
			var late syncengine.ID
			o.edit(luis, func(e *client.Edit) (err error) {
				call, err := e.Create(o.call("T3-9"))
				if err != nil {
					return err
				}
				who, err := e.Create(person("Omar", "Latecomer"))
				if err != nil {
					return err
				}
				visit := o.visitOf(call, who, "Found him by the river.")
				visit.DangerOthers = new("high")
				late, err = e.Create(visit)
				return err
			})
			o.sign(luis, late)
			o.sync(luis)
			b.Says("Omar Latecomer")
			if !browsertest.Eval[bool](b, "window.mine === true") {
				t.Error("the page was loaded anew")
			}

			// The case, the visit, its past; returned with a comment.
			b.Goes(word("Encounter: Rosa Canaryname", "Atención: Rosa Canaryname"))
			b.Says("Canarynarrative: she sat on the steps.", "Maya Ortiz")
			b.Look("record")
			b.Goes(word("The whole case", "El caso completo"))
			b.Says("Canarynote about her.")
			b.Look("case")
			b.Page("record/" + s.visit.String())
			b.Types("comment", "Which steps?")
			b.Goes(word("Return with a comment", "Devolver con comentario"))
			b.Says(word("Your decision is recorded", "Su decisión está registrada"), "Which steps?")
			b.Look("reviewed")
			b.Page("record/" + late.String())
			b.Goes(word("Approve", "Aprobar"))
			b.Says(word("Your decision is recorded", "Su decisión está registrada"))

			// Two versions, side by side: a text of the lead's own out of both.
			b.Page("record/" + s.person.String())
			b.Says("12 Elm St, ring the lower bell", "12 Elm St, flat 3, ring twice")
			b.Look("conflict")
			browsertest.Eval[bool](b, `(document.querySelector("textarea[name=value]").value = "", true)`)
			b.Types("value", "12 Elm St, flat 3, lower bell, ring twice")
			b.Goes(word("Save this text", "Guardar este texto"))
			b.Says(word("Settled", "Resuelto"), "12 Elm St, flat 3, lower bell, ring twice")
			if browsertest.Eval[bool](b, `document.querySelector(".sides") !== null`) {
				t.Error("the conflict is there still")
			}
			b.Says("ring the lower bell", "flat 3, ring twice")
			b.Look("settled")

			// What was not accepted: closed, with a reason.
			b.Page("quarantine")
			b.Look("quarantine")
			browsertest.Eval[bool](b, `(window.stale = true, document.querySelector(".work a").click(), true)`)
			b.Until(`!window.stale && document.readyState === "complete"`)
			b.Ready()
			b.Look("quarantined")
			b.Types("reason", "Ask a clinician to write it.")
			b.Goes(word("Close without applying", "Cerrar sin aplicar"))
			b.Says(word("Everything was accepted", "Todo se aceptó"))

			// An alert for the police; more time for an episode; the boards.
			b.Page("record/" + s.alert.String())
			b.Goes(word("Put the alert in force", "Poner la alerta en vigor"))
			b.Says(word("The alert is in force", "La alerta está en vigor"))
			b.Page("record/" + s.episode.String())
			b.Look("episode")
			browsertest.Eval[bool](b, `(document.querySelector("[name=until]").value = "`+o.now().AddDate(0, 0, 20).Format(time.DateOnly)+`", true)`)
			b.Types("reason", "Waits for a bed.")
			b.Goes(word("Extend the window", "Prorrogar la ventana"))
			b.Says(word("The window is extended", "La ventana está prorrogada"))
			b.Page("episodes")
			b.Says("Rosa Canaryname")
			b.Look("episodes")
			b.Page("referrals")
			b.Says("Canarytarget house")
			b.Look("referrals")

			// The team's load leads to a person's work; the week, and the metrics of the program.
			b.Page("team")
			b.Says(word("What is with whom", "Qué lleva cada quien"), "Maya Ortiz", word("This week so far", "Esta semana hasta ahora"))
			b.Page("outcomes")
			b.Says("Co-response", word("M1 People helped", "M1 Personas atendidas"), word("For staff: small counts are shown", "Para el personal: se muestran recuentos pequeños"))

			// The devices have heard of it.
			o.sync(maya, dale)
			v := must[*client.View](t)(maya.Get(t.Context(), s.person))
			if m, _ := v.Message.(*tandemv1.Person); m.GetAddress() != "12 Elm St, flat 3, lower bell, ring twice" {
				t.Errorf("the author's device shows %q", m.GetAddress())
			}
			if cards := must[[]*client.View](t)(dale.List(t.Context(), "alert_card", client.Filter{}, client.Newest, 10)); len(cards) != 1 {
				t.Errorf("the police partner holds %d cards", len(cards))
			}
		})
	}
}

// refuse has a device that was shut out hand in what it still had.
func (o *office) refuse(s story) (note syncengine.ID) {
	o.tb.Helper()
	old := o.device(o.luis, "Old tablet")
	o.edit(old, func(e *client.Edit) (err error) {
		note, err = e.Create(&tandemv1.Note{Type: new("case"), Text: new("Canarylate: written before the tablet was lost."), Target: &tandemv1.RecordRef{Kind: new("person"), Id: new(s.person.String())}})
		return err
	})
	me := must[*client.Session](o.tb)(old.Session())
	if err := o.admin.RevokeDevice(o.tb.Context(), me.Device); err != nil {
		o.tb.Fatal(err)
	}
	if moved, err := old.Sync(o.tb.Context()); err != nil || moved.NotAccepted != 1 {
		o.tb.Fatalf("the device that was shut out: %+v, %v", moved, err)
	}
	return note
}

// adminSits is sits for an admin, who sets an authenticator up.
func (o *office) adminSits(b *browsertest.Browser) (secret []byte) {
	o.tb.Helper()
	o.sits(b, o.ada, "ada.admin", "/signin/factor/new")
	text := browsertest.Eval[string](b, `document.querySelector("code").textContent`)
	secret = must[[]byte](o.tb)(base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(text, " ", "")))
	b.Types("code", totp(secret, o.now()))
	b.Keys(kb.Enter)
	b.Until(`document.querySelectorAll("li code").length === 10`)
	b.Open(o.url + "/console/")
	return secret
}

// The morning by keyboard alone.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	s := o.play(o.device(o.maya, "Car 12"))
	b := browsertest.New(t, browsertest.Laptop)
	o.sits(b, o.lena, "lena.park", "/console/")
	b.PressGoes("Encounter: Rosa Canaryname")
	b.Press("comment", "W")
	b.Keys("hich steps?")
	b.PressGoes("Flag")
	b.Says("Your decision is recorded", "Which steps?")
	b.PressGoes("Queue")
	b.Says("Flagged")
	b.Press("Sign out", kb.Enter)
	b.Until(`location.pathname === "/signin" && document.readyState === "complete"`)
	if a := o.stranger().get("/console/record/" + s.visit.String()); a.path != "/signin" || a.status != http.StatusOK {
		t.Errorf("nobody opens a record: %d at %s", a.status, a.path)
	}
}

// A morning of an admin: what is set up and who works here; an export that a second admin
// approves, a form in two languages, the directory, how far the program has come, what was
// passed on, the audit log.
func TestMorningOfAdmin(t *testing.T) {
	t.Parallel()
	for _, l := range []struct {
		name, lang, theme string
		size              [2]int64
	}{
		{"console-laptop-light-es-admin-", "es", "light", browsertest.Laptop}, {"console-phone-light-en-admin-", "en", "light", browsertest.Phone},
		{"console-tablet-dark-en-admin-", "en", "dark", browsertest.Tablet},
	} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			w := newWhole(t, storetest.SQLite)
			o := w.office
			o.play(o.device(o.maya, "Car 12"))
			o.crowd()
			abe := must[syncengine.ID](t)(o.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Abe Second", Discipline: "other", Roles: []string{"admin"}, Agency: o.clinic, Teams: []syncengine.ID{o.night}}))
			second := o.signIn(abe, "abe.second")
			form := second.upload("/console/forms/import", "readiness.json", must[[]byte](t)(os.ReadFile(readinessPack))).want(t, http.StatusOK).path
			second.publish(form).want(t, http.StatusOK)
			second.assess(form, 1)
			o.pass(time.Minute)
			second.assess(form, 2)
			second.post("/console/exports", "format", "csv", "set", "full", "purpose", "Funder's annual report", "recipient", "County health", "basis", "payment_ops").want(t, http.StatusOK, "waits for a second person")
			b := browsertest.New(t, l.size)
			b.Prefix = l.name
			secret := o.adminSits(b)
			word := func(en, es string) string {
				if l.lang == "es" {
					return es
				}
				return en
			}
			if l.lang == "es" {
				b.Goes("Español")
			}
			if l.theme == "dark" {
				b.Goes("Dark or light")
			}
			look := func(name string) {
				t.Helper()
				b.Look(name)
				for _, c := range canaries {
					if browsertest.Eval[bool](b, `document.documentElement.outerHTML.includes("`+c+`")`) {
						t.Errorf("%s shows an admin %s", name, c)
					}
				}
			}
			for _, page := range []string{"setup", "staff", "staff/" + o.maya.String(), "devices", "audit", "directory", "codes", "passed-on", "jobs", "backups", "retention"} {
				b.Page(page)
				name := page
				if len(page) > 20 {
					name = "person"
				}
				look(name)
			}

			// The agency's metrics, and what would be published.
			b.Page("outcomes")
			b.Says(word("M1 People helped", "M1 Personas atendidas"))
			b.Page("publish")
			b.Says(word("Nothing was published yet.", "Aún no se ha publicado nada."))

			// Another admin's export, approved with a code of one's own.
			b.Page("exports")
			b.Says(word("Waiting for your approval", "Esperan su aprobación"), "Funder's annual report")
			look("exports")
			b.Goes("Funder's annual report")
			b.Says("County health", "Abe Second", "502")
			look("approval")
			o.pass(time.Minute)
			// The page has a form for each decision.
			browsertest.Eval[bool](b, `(() => { document.getElementById("code-approve").focus(); return true; })()`)
			b.Keys(totp(secret, o.now()))
			b.Goes(word("Approve the export", "Aprobar la exportación"))
			b.Says(word("Approved. The export is being made.", "Aprobada. La exportación se está haciendo."))
			if n := w.made(); n != 1 {
				t.Fatalf("%d exports", n)
			}
			b.Page("passed-on")
			b.Says("Funder's annual report", "Abe Second")
			look("passed-on-after")

			// A form in two languages.
			b.Page("forms")
			look("forms")
			b.Types("code", "debrief")
			b.Types("en", "Debrief after a call")
			b.Types("es", "Repaso después de una llamada")
			b.Goes(word("Add", "Añadir"))
			b.Says(word("Debrief after a call", "Repaso después de una llamada"), "Primera pregunta", "First question")
			look("form-draft")
			browsertest.Eval[bool](b, `(window.stale = true, document.querySelector('a[href*="/item?link="]').click(), true)`)
			b.Until(`!window.stale && document.readyState === "complete"`)
			b.Ready()
			look("form-item")
			browsertest.Eval[bool](b, `(document.querySelector("#en").value = "How are you?", document.querySelector("#es").value = "¿Cómo está?", true)`)
			b.Goes(word("Save", "Guardar"))
			b.Says("How are you?", "¿Cómo está?")
			b.Goes(word("As the field app shows it", "Como lo muestra la aplicación"))
			b.Says(word("How are you?", "¿Cómo está?"))
			look("form-preview")

			// How far the program has come.
			b.Page("readiness")
			look("readiness")
			b.Goes("Co-response")
			b.Says(word("Where it is lowest", "Dónde es más bajo"), word("compared with", "comparada con"))
			look("assessment")
		})
	}
}

// assess answers a form about the program, every question with the same choice.
func (b *browser) assess(form string, choice int) answer {
	b.o.tb.Helper()
	form = strings.TrimPrefix(form, "/console/forms/")
	program := b.get("/console/readiness").option(b.o.tb, "Co-response")
	asked := b.get("/console/readiness/new?form=" + form + "&program=" + program)
	pairs, seen := []string{"form", form, "program", program}, map[string]int{}
	for _, m := range regexp.MustCompile(`type="radio" name="(answers\.[^"]*)" value="([^"]*)"`).FindAllStringSubmatch(asked.body, -1) {
		if seen[m[1]]++; seen[m[1]] == choice+1 {
			pairs = append(pairs, m[1], m[2])
		}
	}
	return b.post("/console/readiness", pairs...).want(b.o.tb, http.StatusOK, "The assessment is signed")
}

// An admin's pages by keyboard alone: an export is counted and asked for.
func TestKeyboardOfAdmin(t *testing.T) {
	t.Parallel()
	w := newWhole(t, storetest.SQLite)
	b := browsertest.New(t, browsertest.Laptop)
	w.adminSits(b)
	b.PressGoes("Exports")
	b.Press("purpose", "A")
	b.Keys(" report")
	b.Press("recipient", "C")
	b.Keys("ounty")
	b.Press("Choose one", "P")
	b.PressGoes("Count it first")
	b.Says("A report", "County", "Payment or operations", "What it would hold")
	b.PressGoes("Make the export")
	b.Says("The export is being made")
	b.PressGoes("Forms and codes")
	b.PressGoes("Code lists")
	b.Says("Codes of your agency")
}
