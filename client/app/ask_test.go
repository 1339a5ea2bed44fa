package app_test

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// asker asks the app for pages without a browser.
type asker struct {
	tb  testing.TB
	dev *client.Client
	f   *field
}

// ask serves the device of a person, to be asked without a browser.
func (o *office) ask(staff syncengine.ID) *asker {
	dev := o.device(o.enrol(staff, "Car 12"))
	return &asker{tb: o.tb, dev: dev, f: serve(o.tb, app.Options{Device: dev})}
}

// get returns a page, which follows redirects.
func (a *asker) get(page string) string {
	a.tb.Helper()
	for range 5 {
		w := httptest.NewRecorder()
		a.f.app.Ask(w, httptest.NewRequestWithContext(a.tb.Context(), http.MethodGet, "/"+page, http.NoBody))
		if w.Code == http.StatusOK {
			return w.Body.String()
		}
		to := w.Header().Get("Location")
		if w.Code != http.StatusSeeOther || to == "" {
			a.tb.Fatalf("%s: %d", page, w.Code)
		}
		_, page, _ = strings.Cut(strings.TrimPrefix(to, "/"), "/")
	}
	a.tb.Fatalf("%s leads in circles", page)
	return ""
}

// post sends a form, and returns how it was answered.
func (a *asker) post(page string, values url.Values) *httptest.ResponseRecorder {
	a.tb.Helper()
	r := httptest.NewRequestWithContext(a.tb.Context(), http.MethodPost, "/"+page, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	a.f.app.Ask(w, r)
	return w
}

// make creates a record.
func (a *asker) make(msg proto.Message) (id syncengine.ID) {
	a.tb.Helper()
	if _, err := a.dev.Edit(a.tb.Context(), func(e *client.Edit) error {
		var err error
		id, err = e.Create(msg)
		return err
	}); err != nil {
		a.tb.Fatal(err)
	}
	return id
}

// person creates a person of a name.
func (a *asker) person(given string) syncengine.ID {
	a.tb.Helper()
	return a.make(&tandemv1.Person{Names: []*tandemv1.PersonName{{Given: &given, Family: new("Lind"), Use: new("legal")}}})
}

// The forms of an encounter with nobody known, and of an episode, show what was answered
// there and nowhere else.
func TestFormsOfOne(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for _, subject := range []string{"encounter", "episode"} {
		id, err := o.admin.AddForm(t.Context(), o.clinic, &tandemv1.Form{
			AnswersIn: new("clinical"), Code: new("of_" + subject), Title: &tandemv1.LocalizedText{En: new("Of the " + subject), Es: new("Del " + subject)}, Subject: &subject, Category: new("screening"),
			Definition: &tandemv1.FormDefinition{Items: []*tandemv1.FormItem{{LinkId: new("q1"), Type: new("boolean"), Text: &tandemv1.FormText{En: new("Well?"), Es: new("¿Bien?")}}}},
		})
		if err == nil {
			err = o.admin.PublishForm(t.Context(), id)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	a := o.ask(o.maya)
	forms, err := a.dev.List(t.Context(), "form", client.Filter{}, client.Oldest, 0)
	if err != nil || len(forms) != 2 {
		t.Fatalf("%d forms, %v", len(forms), err)
	}
	form := func(subject string) *string {
		for _, f := range forms {
			if m, ok := f.Message.(*tandemv1.Form); ok && m.GetSubject() == subject {
				return new(f.ID.String())
			}
		}
		t.Fatalf("no form of the %s", subject)
		return nil
	}
	at := &tandemv1.Instant{AtMs: new(int64(1790000000000)), Origin: new("tap")}
	var encounters, episodes, ofEncounter, ofEpisode [2]string
	for i := range 2 {
		call := a.make(&tandemv1.Incident{Source: new("dispatch_911"), CallType: new("welfare_check"), ResponseMode: new("co_response"), ReceivedAt: at})
		encounters[i] = a.make(&tandemv1.Encounter{IncidentId: new(call.String()), Identity: new("unidentified"), Type: new("crisis_response"), StartedAt: at}).String()
		who := a.person([]string{"Rosa", "Ken"}[i]).String()
		episodes[i] = a.make(&tandemv1.Episode{PersonId: &who, OpenedAt: at, WindowDays: new(uint32(60))}).String()
		response := func(subject string) *tandemv1.FormResponse {
			return &tandemv1.FormResponse{FormId: form(subject), FormCode: new("of_" + subject), FormVersion: new(uint32(1)), Subject: &subject, Lang: new("en"), Respondent: new("self")}
		}
		m := response("encounter")
		m.EncounterId = &encounters[i]
		ofEncounter[i] = a.make(m).String()
		m = response("episode")
		m.EpisodeId, m.PersonId = &episodes[i], &who
		ofEpisode[i] = a.make(m).String()
	}
	for i := range 2 {
		for _, tc := range []struct {
			page, own string
			others    []string
		}{
			{"forms?encounter=" + encounters[i], ofEncounter[i], []string{ofEncounter[1-i], ofEpisode[0], ofEpisode[1]}},
			{"forms?person=&encounter=" + encounters[i], ofEncounter[i], []string{ofEncounter[1-i], ofEpisode[0], ofEpisode[1]}},
			{"forms?episode=" + episodes[i], ofEpisode[i], []string{ofEpisode[1-i], ofEncounter[0], ofEncounter[1]}},
		} {
			page := a.get(tc.page)
			if !strings.Contains(page, "response/"+tc.own) {
				t.Errorf("%s does not show what was answered there", tc.page)
			}
			for _, id := range tc.others {
				if strings.Contains(page, "response/"+id) {
					t.Errorf("%s shows what was answered elsewhere", tc.page)
				}
			}
		}
	}
}

// What is typed for a record that nobody has made yet is found again from the first page,
// with whom it is about.
func TestUnfinishedFound(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a := o.ask(o.maya)
	at := &tandemv1.Instant{AtMs: new(time.Now().UnixMilli()), Origin: new("tap")}
	who := a.person("Rosa").String()
	call := a.make(&tandemv1.Incident{Source: new("dispatch_911"), CallType: new("welfare_check"), ResponseMode: new("co_response"), ReceivedAt: at}).String()
	met := a.make(&tandemv1.Encounter{IncidentId: &call, PersonId: &who, Identity: new("identified"), Type: new("crisis_response"), StartedAt: at}).String()
	draft := regexp.MustCompile(`data-draft="([^"]*)"`)
	hidden := regexp.MustCompile(`<input type="hidden" name="([a-z]+)" value="([^"]+)">`)
	for _, tc := range []struct {
		open, field string
		// about are what the form says that the record will be about.
		about map[string]string
	}{
		{"referral/new?person=" + who + "&encounter=" + met, "target_text", map[string]string{"person": who, "encounter": met}},
		{"note/new?target=encounter&of=" + met, "text", map[string]string{"target": "encounter", "of": met}},
		{"consent/new?person=" + who, "purpose", map[string]string{"person": who}},
		{"alert/new?person=" + who, "text", map[string]string{"person": who}},
		{"disclosure/new?person=" + who + "&encounter=" + met + "&basis=duty_to_warn", "note", map[string]string{"person": who, "encounter": met}},
		{"person/new?for=" + call, "names.given", map[string]string{"for": call}},
	} {
		kind, _, _ := strings.Cut(tc.open, "/")
		for _, script := range []bool{true, false} {
			if kind == "person" && !script {
				// That form is made of whatever is in it.
				continue
			}
			page := a.get(tc.open)
			m := draft.FindStringSubmatch(page)
			if m == nil {
				t.Fatalf("%s: nothing is kept", tc.open)
			}
			mark := "Words of " + kind + fmt.Sprint(script)
			if script {
				if w := a.post(html.UnescapeString(m[1]), url.Values{"field": {tc.field}, "v." + tc.field: {mark}}); w.Code != http.StatusOK {
					t.Fatalf("%s: keeping was answered with %d", tc.open, w.Code)
				}
			} else {
				// What is missing still keeps a whole form from being made.
				values := url.Values{tc.field: {mark}, "encounter": {""}}
				for _, h := range hidden.FindAllStringSubmatch(page, -1) {
					values.Set(h[1], h[2])
				}
				for _, unset := range []string{"type", "need", "category", "recipient"} {
					values.Set(unset, "")
				}
				if w := a.post(kind+"/new?basis=", values); w.Code == http.StatusSeeOther {
					t.Fatalf("%s: it was made", tc.open)
				}
			}
			var found bool
			for _, href := range regexp.MustCompile(`href="(`+kind+`/new\?[^"]*)"`).FindAllStringSubmatch(a.get("today"), -1) {
				again := a.get(html.UnescapeString(href[1]))
				if !strings.Contains(again, mark) {
					continue
				}
				found = true
				for name, value := range tc.about {
					if !strings.Contains(again, `name="`+name+`" value="`+value+`"`) {
						t.Errorf("%s, script %v: found again, it tells no %s", tc.open, script, name)
					}
				}
				if kind == "disclosure" && script && !strings.Contains(again, `value="duty_to_warn" checked`) {
					t.Error("the warning found again is none")
				}
			}
			if !found {
				t.Errorf("%s, script %v: what was typed is not found again", tc.open, script)
			}
		}
	}
}

// What is passed on by consent names the consent that was chosen, of those that allow it.
func TestConsentChosen(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a := o.ask(o.maya)
	who, other := a.person("Rosa").String(), a.person("Ken").String()
	day := func(days int) *string { return new(time.Now().UTC().AddDate(0, 0, days).Format(time.DateOnly)) }
	consent := func(kind string, change func(*tandemv1.Consent)) string {
		m := &tandemv1.Consent{
			PersonId: &who, Type: &kind, Decision: new("given"), Signer: new("person"), Method: new("paper"), GivenOn: day(-40), ExpiresOn: day(90), Lang: new("en"),
			Discloser: new("Example Health"), Recipients: []*tandemv1.ConsentRecipient{{Element: []byte("12345678"), Name: new("Example House")}}, Purpose: new("care"), InfoScope: new("all"),
		}
		change(m)
		return a.make(m).String()
	}
	as := func(*tandemv1.Consent) {}
	first := consent("release", as)
	second := consent("network_sharing", as)
	for name, id := range map[string]string{
		"of another person": consent("release", func(m *tandemv1.Consent) { m.PersonId = &other }),
		"that has ended":    consent("release", func(m *tandemv1.Consent) { m.ExpiresOn = day(-2) }),
		"to be treated":     consent("treatment", func(m *tandemv1.Consent) { m.Recipients = nil }),
		"that was declined": consent("release", func(m *tandemv1.Consent) { m.Decision, m.Lifecycle = new("declined"), new("declined") }),
	} {
		if page := a.get("disclosure/new?person=" + who); strings.Contains(page, id) || !strings.Contains(page, first) || !strings.Contains(page, second) {
			t.Errorf("offered is a consent %s, or not what is in force", name)
		}
		if w := a.pass(who, "consent", id); w.Code == http.StatusSeeOther {
			t.Errorf("something was passed on by a consent %s", name)
		}
	}
	if w := a.pass(who, "consent", ""); w.Code == http.StatusSeeOther {
		t.Error("by consent, and by none")
	}
	for basis, want := range map[string]string{"consent": first, "imminent_threat": ""} {
		if w := a.pass(who, basis, first); w.Code != http.StatusSeeOther {
			t.Fatalf("by %s: %d", basis, w.Code)
		}
		views, err := a.dev.List(t.Context(), "disclosure", client.Filter{}, client.Newest, 0)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, view := range views {
			if m, ok := view.Message.(*tandemv1.Disclosure); ok && m.GetBasis() == basis {
				found = true
				if m.GetConsentId() != want {
					t.Errorf("by %s, the consent is %q, want %q", basis, m.GetConsentId(), want)
				}
			}
		}
		if !found {
			t.Errorf("by %s: nothing is recorded", basis)
		}
	}
}

// pass records a disclosure.
func (a *asker) pass(who, basis, consent string) *httptest.ResponseRecorder {
	a.tb.Helper()
	id, err := a.dev.NewID()
	if err != nil {
		a.tb.Fatal(err)
	}
	return a.post("disclosure/new", url.Values{
		"id": {id.String()}, "person": {who}, "recipient": {"Example House"}, "basis": {basis}, "consent_id": {consent}, "what": {"danger"},
	})
}

// What is typed into a response is kept, and that is said, though what it comes to cannot
// be told.
func TestKeptAnyway(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a := o.ask(o.maya)
	id, err := a.dev.NewID()
	if err != nil {
		t.Fatal(err)
	}
	if w := a.post("sheet/form_response/"+id.String()+"/draft", url.Values{"field": {"respondent"}, "v.respondent": {"self"}}); w.Code != http.StatusOK {
		t.Errorf("it was answered with %d", w.Code)
	}
	if kept, err := a.dev.Drafts(t.Context()); err != nil || len(kept) != 1 {
		t.Errorf("%d are kept, %v", len(kept), err)
	}
}

// A response that is set aside takes with it what it did not take.
func TestDroppedWhole(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.publish("cssrs-screener")
	a := o.ask(o.maya)
	who := a.person("Rosa").String()
	forms, err := a.dev.List(t.Context(), "form", client.Filter{}, client.Oldest, 0)
	if err != nil || len(forms) != 1 {
		t.Fatalf("%d forms, %v", len(forms), err)
	}
	begun := a.post("form/begin", url.Values{"form": {forms[0].ID.String()}, "person": {who}})
	_, id, ok := strings.Cut(begun.Header().Get("Location"), "/response/")
	if !ok {
		t.Fatalf("the form was begun with %d", begun.Code)
	}
	if w := a.post("sheet/form_response/"+id+"/draft", url.Values{"field": {"answers.1"}, "v.answers.1": {"perhaps"}}); w.Code != http.StatusOK {
		t.Fatalf("typing was answered with %d", w.Code)
	}
	if w := a.post("response/"+id+"/drop", url.Values{"kept": {"1"}}); w.Code != http.StatusSeeOther {
		t.Fatalf("it was set aside with %d", w.Code)
	}
	if kept, err := a.dev.Drafts(t.Context()); err != nil || len(kept) != 0 {
		t.Errorf("%d drafts are left, %v", len(kept), err)
	}
}

// A protocol that is out of force is not read as one: its page leads to those that are.
func TestOldProtocol(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for _, text := range []string{"An old text.", "A new text."} {
		if _, err := o.admin.AddProtocol(t.Context(), server.ProtocolOptions{Agency: o.clinic, Title: "Scene safety", Lang: "en", Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	a := o.ask(o.dale)
	views, err := a.dev.List(t.Context(), "attachment", client.Filter{}, client.Oldest, 0)
	if err != nil || len(views) != 2 {
		t.Fatalf("%d protocols, %v", len(views), err)
	}
	for _, view := range views {
		page := a.get("protocol/" + view.ID.String())
		if strings.Contains(page, "An old text.") || strings.Contains(page, "A new text.") != (view.Lifecycle == record.Active) {
			t.Errorf("the page of a %s protocol is %s", view.Lifecycle, page)
		}
	}
}

// session is who works there.
func (a *asker) session() *client.Session {
	a.tb.Helper()
	s, err := a.dev.Session()
	if err != nil {
		a.tb.Fatal(err)
	}
	return s
}
