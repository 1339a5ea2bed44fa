package app_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
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
