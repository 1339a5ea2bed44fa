package app_test

import (
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/form"
	"github.com/tandem-response/tandem/syncengine/record"
)

// publish loads a form pack, words it where it has none, and publishes it. The words are
// this test's own: those of the screener belong to their owner.
func (o *office) publish(pack string) {
	o.tb.Helper()
	raw, err := os.ReadFile("../../docs/packs/" + pack + "/questionnaire.json")
	if err != nil {
		o.tb.Fatal(err)
	}
	f, _, err := form.Import(raw)
	if err != nil {
		o.tb.Fatal(err)
	}
	if f.GetDefinition().GetItems()[0].GetText() == nil {
		file := strings.Split(strings.TrimSpace(string(form.Wording(f.GetDefinition()))), "\n")
		for i, line := range file[1:] {
			link, _, _ := strings.Cut(line, ",")
			file[i+1] = link + ",,Question " + link + " of the licensed copy?,¿Pregunta " + link + " de la copia con licencia?"
		}
		if f.Definition, err = form.SetWording(f.GetDefinition(), []byte(strings.Join(file, "\n"))); err != nil {
			o.tb.Fatal(err)
		}
	}
	id, err := o.admin.AddForm(o.tb.Context(), o.clinic, f)
	if err == nil {
		err = o.admin.PublishForm(o.tb.Context(), id)
	}
	if err != nil {
		o.tb.Fatal(err)
	}
}

// The screener as it is asked at night with no signal: what is asked follows the answers,
// the triage is said once it is sure, a reload loses nothing, and what was signed is at
// the server as it was shown.
func TestScreener(t *testing.T) {
	need.Long(t)
	t.Parallel()
	for _, l := range looks {
		if !l.often && !*everyLook {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			o := newOffice(t)
			o.publish("cssrs-screener")
			o.publish("readiness")
			dir := o.enrol(o.maya, "Car 12")
			o.settings(dir, map[string]string{"theme": l.theme, "lang": l.lang})
			dev := o.device(dir)
			f := serve(t, app.Options{Device: dev})
			b := newBrowser(t, l.size)
			b.prefix = l.name + "-"
			screener(t, o, dev, f, b, l.lang)
		})
	}
}

func screener(t *testing.T, o *office, dev *client.Client, f *field, b *browser, lang string) {
	t.Helper()
	in := func(key string) string { return app.In(lang, key) }
	saved, err := dev.Edit(t.Context(), func(e *client.Edit) error {
		_, err := e.Create(&tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new("Rosa"), Family: new("Lind"), Use: new("legal")}}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	o.away.Store(true)
	b.open(f.next())
	b.page("person/" + saved.Records[0].String())
	b.goes(in("formsTitle"))
	b.look("forms")
	b.goes(map[string]string{"en": "C-SSRS screener", "es": "C-SSRS, cribado"}[lang])
	b.look("screener")
	shown := func(link string) bool {
		return eval[bool](b, `document.querySelector("[data-item='`+link+`']").checkVisibility()`)
	}
	asked := func(want string) {
		t.Helper()
		var got strings.Builder
		for _, link := range []string{"1", "2", "3", "4", "5", "6", "6.recent"} {
			if shown(link) {
				got.WriteString(link + " ")
			}
		}
		if strings.TrimSpace(got.String()) != want {
			t.Fatalf("asked are %q, want %q", got.String(), want)
		}
	}
	result := func(words string) {
		t.Helper()
		b.until(`document.querySelector("#result").innerText.includes(` + quote(words) + `)`)
	}
	low, high := map[string]string{"en": "Low", "es": "Bajo"}[lang], map[string]string{"en": "High", "es": "Alto"}[lang]
	asked("1 2 6")
	b.chip("answers.1", "true")
	b.chip("answers.2", "true")
	b.until(`document.querySelector("[data-item='3']").checkVisibility()`)
	asked("1 2 3 4 5 6")
	// Low so far, and it is said that this is not the end of it.
	result(low)
	result(in("notFinal"))
	b.chip("answers.4", "true")
	result(high)
	b.until(`!document.querySelector("#result").innerText.includes(` + quote(in("notFinal")) + `)`)
	// The second is taken back: what hangs on it is not asked, kept and not counted.
	b.chip("answers.2", "false")
	b.until(`!document.querySelector("[data-item='4']").checkVisibility()`)
	asked("1 2 6")
	result(low)
	b.chip("answers.2", "true")
	result(high)
	b.kept()
	here := eval[string](b, "location.href")
	b.open(here)
	asked("1 2 3 4 5 6")
	result(high)
	// In the other language, in one tap, the same answers.
	b.goes(in("lang"))
	b.says(map[string]string{"en": "¿Pregunta 4 de la copia", "es": "Question 4 of the licensed"}[lang])
	b.goes(app.In(map[string]string{"en": "es", "es": "en"}[lang], "lang"))
	// It is not signed with questions open, and they are marked.
	b.goes(in("sign"))
	b.says(in("signMissing"), in("answerThis"))
	b.look("screener-missing")
	b.chip("answers.3", "false")
	b.chip("answers.5", "false")
	b.chip("answers.6", "true")
	b.until(`document.querySelector("[data-item='6.recent']").checkVisibility()`)
	b.chip("answers.6.recent", "false")
	b.kept()
	b.goes(in("sign"))
	b.says(high, record.New().Label("lifecycle_form_response", "signed", lang))
	b.look("screener-signed")
	b.goes("Rosa Lind")
	b.says(high)

	// The assessment of the program, in our own words.
	b.page("forms")
	b.goes(map[string]string{"en": "Readiness", "es": "Preparación"}[lang])
	eval[bool](b, `(() => { const done = new Set(); for (const i of document.querySelectorAll("[data-item] input[type=radio]")) { if (done.has(i.name) || i.name === "respondent") continue; done.add(i.name); const all = document.querySelectorAll("input[name='" + CSS.escape(i.name) + "']"); all[done.size % 4].click(); } return done.size === 50; })()`)
	b.kept()
	b.until(`document.querySelector("#result").innerText.includes("%")`)
	b.axe("readiness")
	o.away.Store(false)
	if _, err := dev.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The server holds what the page has shown.
	other := o.device(o.enrol(o.luis, "Tablet 3"))
	views, err := other.List(t.Context(), "form_response", client.Filter{Person: saved.Records[0]}, client.Newest, 10)
	if err != nil || len(views) != 1 {
		t.Fatalf("%d responses reached the colleague, %v", len(views), err)
	}
	r, ok := views[0].Message.(*tandemv1.FormResponse)
	if !ok || views[0].Lifecycle != record.Signed || r.GetBand() != "high" || r.Score != nil || len(r.GetAnswers()) != 7 || r.GetLang() != lang || r.GetRespondent() != "self" || r.GetFormVersion() != 1 {
		t.Errorf("the server holds %v", r)
	}
}

// A police partner is offered surveys of the community and nothing about a person.
func TestFormsOfPolice(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.publish("cssrs-screener")
	f := serve(t, app.Options{Dir: o.enrol(o.dale, "Car 3"), Client: options()})
	b := newBrowser(t, phone)
	b.open(f.next())
	b.page("forms?person=" + syncengine.ID{1}.String())
	b.says(app.In("en", "noForms"))
}

// What is asked about the program is of that of the shift, for who is in two.
func TestFormsOfTwoPrograms(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.publish("readiness")
	id := func(id syncengine.ID, err error) syncengine.ID {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	var teams, programs []syncengine.ID
	for _, name := range []string{"Night", "Day"} {
		programs = append(programs, id(o.admin.AddProgram(t.Context(), server.ProgramOptions{NameEN: name, Model: "crt", Agency: o.clinic})))
		teams = append(teams, id(o.admin.AddTeam(t.Context(), server.TeamOptions{Name: name, Program: programs[len(teams)]})))
	}
	a := o.ask(id(o.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Ana Sosa", Discipline: "counselor", Roles: []string{"clinician"}, Agency: o.clinic, Teams: teams})))
	a.get("today")
	forms, err := a.dev.List(t.Context(), "form", client.Filter{}, client.Oldest, 0)
	if err != nil || len(forms) != 1 {
		t.Fatalf("%d forms, %v", len(forms), err)
	}
	for i, team := range teams {
		a.dev.WorkFor(team)
		w := a.post("form/begin", url.Values{"form": {forms[0].ID.String()}})
		_, made, _ := strings.Cut(w.Header().Get("Location"), "response/")
		v, err := a.dev.Get(t.Context(), id(syncengine.ParseID(made)))
		if err != nil {
			t.Fatal(err)
		}
		if m, ok := v.Message.(*tandemv1.FormResponse); !ok || m.GetTeamId() != team.String() || m.GetProgramId() != programs[i].String() {
			t.Errorf("the response is of team %s, program %s; want %s, %s", m.GetTeamId(), m.GetProgramId(), team, programs[i])
		}
	}
	if _, err := a.dev.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if refused, err := a.dev.Quarantined(t.Context()); err != nil || len(refused) > 0 {
		t.Errorf("%d are refused, %v", len(refused), err)
	}
}
