package app_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/form"
	"google.golang.org/protobuf/proto"
)

// filled are the records that fill made last.
type filled struct{ call, person, encounter, referral syncengine.ID }

// fill makes n calls on a device, each with a person, an encounter and a referral.
func fill(tb testing.TB, dir string, n int) (f filled) {
	tb.Helper()
	dev, err := client.Open(tb.Context(), dir, options())
	if err != nil {
		tb.Fatal(err)
	}
	given := []string{"Rosa", "Ken", "Ana", "Lee", "Omar", "Ines", "Paul", "Mia"}
	family := []string{"Lind", "Ortega", "Baker", "Nguyen", "Hall", "Sosa", "Marsh", "Klein", "Reyes"}
	_, err = dev.Bulk(tb.Context(), func(b *client.Bulk) error {
		for i := range n {
			at := time.Now().Add(-time.Duration(i) * 40 * time.Minute).UnixMilli()
			_, err := b.Edit(func(e *client.Edit) error {
				var err error
				if f.call, err = e.Create(&tandemv1.Incident{
					Number: new(fmt.Sprintf("C12-%04d", i)), Source: new("dispatch_911"), CallType: new("welfare_check"), ResponseMode: new("co_response"), PlaceType: new("home"),
					DispatchedAt: &tandemv1.Instant{AtMs: &at, Origin: new("tap")}, ReceivedAt: &tandemv1.Instant{AtMs: &at, Origin: new("cad")},
					Responders: []*tandemv1.Responder{{Name: new("Maya")}},
				}); err != nil {
					return err
				}
				if f.person, err = e.Create(&tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new(given[i%len(given)]), Family: new(fmt.Sprintf("%s%d", family[i%len(family)], i)), Use: new("legal")}}}); err != nil {
					return err
				}
				if f.encounter, err = e.Create(&tandemv1.Encounter{
					IncidentId: new(f.call.String()), PersonId: new(f.person.String()), Identity: new("identified"), Type: new("crisis_response"), StartedAt: &tandemv1.Instant{AtMs: &at, Origin: new("tap")},
					PresentingPrimary: new("depression"), Narrative: new(strings.Repeat("Calm, talked for a while. ", 20)),
				}); err != nil {
					return err
				}
				f.referral, err = e.Create(&tandemv1.Referral{PersonId: new(f.person.String()), EncounterId: new(f.encounter.String()), Need: new("housing"), Urgency: new("routine"), State: new("offered"), TargetText: new("Shelter"), InfoShared: new("none")})
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		tb.Fatal(err)
	}
	return f
}

// rare makes records of the screens that are seen now and then, one of them refused by the
// server, and returns where they are shown.
func (o *office) rare(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	dev, err := client.Open(tb.Context(), dir, options())
	if err != nil {
		tb.Fatal(err)
	}
	a := &asker{tb: tb, dev: dev}
	sync := func() {
		tb.Helper()
		if _, err := dev.Sync(tb.Context()); err != nil {
			tb.Fatal(err)
		}
	}
	sync()
	lind := a.person("Sam")
	who := lind.String()
	at := &tandemv1.Instant{AtMs: new(time.Now().UnixMilli()), Origin: new("tap")}
	episode := a.make(&tandemv1.Episode{PersonId: &who, OpenedAt: at, WindowDays: new(uint32(60))}).String()
	pages := map[string]string{
		"episode":  "episode/" + episode,
		"followup": "followup/" + a.make(&tandemv1.FollowUp{PersonId: &who, EpisodeId: &episode, DueAt: at, TargetHours: new(uint32(24))}).String(),
	}
	sam, err := dev.Get(tb.Context(), lind)
	if err != nil {
		tb.Fatal(err)
	}
	file, err := dev.Attach(tb.Context(), client.NewFile{Owner: sam, Category: "photo", Raw: photo(tb)})
	if err != nil {
		tb.Fatal(err)
	}
	day := func(days int) *string { return new(time.Now().AddDate(0, 0, days).Format(time.DateOnly)) }
	for name, m := range map[string]proto.Message{
		"note": &tandemv1.Note{Type: new("case"), Target: &tandemv1.RecordRef{Kind: new("person"), Id: &who}, Text: new("Called back.")},
		"consent": &tandemv1.Consent{
			PersonId: &who, Type: new("contact"), Decision: new("given"), Signer: new("person"), Method: new("paper"), GivenOn: day(-1), ExpiresOn: day(90), Lang: new("en"),
			Discloser: new("Example Health"), Recipients: []*tandemv1.ConsentRecipient{{Element: []byte("12345678"), Name: new("Example House")}}, Purpose: new("care"), InfoScope: new("all"),
		},
		"alert": &tandemv1.SafetyAlert{PersonId: &who, Category: new("animal"), Text: new("Two dogs."), Audience: new("clinical"), ExpiresOn: day(60)},
	} {
		pages[name] = name + "/" + a.make(m).String()
	}
	pages["files/person/id"], pages["file/id"], pages["file/id/bytes"], pages["file/id/thumb"] = "files/person/"+who, "file/"+file.String(), "file/"+file.String()+"/bytes", "file/"+file.String()+"/thumb"
	forms, err := dev.List(tb.Context(), "form", client.Filter{}, client.Oldest, 0)
	if err != nil {
		tb.Fatal(err)
	}
	for _, view := range forms {
		f, ok := view.Message.(*tandemv1.Form)
		if !ok {
			continue
		}
		m := &tandemv1.FormResponse{FormId: new(view.ID.String()), FormCode: f.Code, FormVersion: f.Version, Subject: f.Subject, Lang: new("en"), Respondent: new("staff")}
		if f.GetSubject() == "person" {
			m.PersonId = &who
		}
		pages["response/"+f.GetCode()] = "response/" + a.make(m).String()
		if f.GetCategory() == "safety_plan" {
			m.AnsweredAt, m.Answers = at, []*tandemv1.FormAnswer{
				form.Answer("notice.signs", form.Words("I do not sleep")), form.Answer("self.helps", form.Words("Walk to the lake")), form.Answer("people.call", form.Words("Ada")),
			}
			plan := a.make(m)
			view, err := dev.Get(tb.Context(), plan)
			if err == nil {
				_, err = dev.Edit(tb.Context(), func(e *client.Edit) error { return e.Sign(view, view.Message) })
			}
			if err != nil {
				tb.Fatal(err)
			}
			pages["response/signed-plan"] = "response/" + plan.String()
		}
	}
	// What was typed into a signed record in a window that was still open.
	call := a.make(&tandemv1.Incident{Source: new("dispatch_911"), CallType: new("welfare_check"), ResponseMode: new("co_response"), ReceivedAt: at}).String()
	signed := a.make(&tandemv1.Encounter{
		IncidentId: &call, PersonId: &who, Identity: new("identified"), Type: new("crisis_response"), StartedAt: at, EndedAt: at, PresentingPrimary: new("psychosis"), Substance: new("none"),
		DangerSelf: new("none"), DangerOthers: new("none"), CannotCareForSelf: new("no"), Interventions: []string{"deescalation"}, Disposition: new("resolved_on_scene"), LegalStatus: new("voluntary"),
		CfEd: new("no"), CfArrest: new("no"), CfHold: new("no"), FollowUpPlan: new("declined"), Narrative: new("Calm after twenty minutes."),
	})
	view, err := dev.Get(tb.Context(), signed)
	if err == nil {
		_, err = dev.Edit(tb.Context(), func(e *client.Edit) error { return e.Sign(view, view.Message) })
	}
	if err == nil {
		err = dev.SaveDraft(tb.Context(), "sheet/encounter/"+signed.String(), fmt.Appendf(nil, `{"kind":"encounter","record":%q,"fields":{"narrative":{"values":["Calm after twenty minutes. His sister came at nine."],"n":1},"danger_self":{"values":["low"],"n":1}},"at_ms":%d}`, signed.String(), time.Now().UnixMilli()))
	}
	if err != nil {
		tb.Fatal(err)
	}
	pages["encounter-late"] = "encounter/" + signed.String()
	protocols, err := dev.List(tb.Context(), "attachment", client.Filter{}, client.Oldest, 0)
	if err != nil || len(protocols) == 0 {
		tb.Fatalf("%d protocols, %v", len(protocols), err)
	}
	pages["protocol"] = "protocol/" + protocols[0].ID.String()
	sync()
	a.person("Lee")
	o.role(o.maya, "clinician", "peer")
	sync()
	o.role(o.maya, "peer", "clinician")
	sync()
	refused, err := dev.Quarantined(tb.Context())
	if err != nil || len(refused) != 1 {
		tb.Fatalf("%d are refused, %v", len(refused), err)
	}
	pages["tray/fix"] = "tray/fix/" + refused[0].Change.String()
	if err := dev.Close(); err != nil {
		tb.Fatal(err)
	}
	return pages
}

// everyScreen makes a device that holds n calls and something for every page to show, and
// returns where its pages are, by their names. It fails where a page of the app is not among
// them.
func (o *office) everyScreen(tb testing.TB, dir string, n int) map[string]string {
	tb.Helper()
	o.publish("cssrs-screener")
	o.publish("readiness")
	o.publish("safety-plan")
	if _, err := o.admin.AddProtocol(tb.Context(), server.ProtocolOptions{Agency: o.clinic, Title: "Scene safety", Lang: "en", Text: sceneSafety}); err != nil {
		tb.Fatal(err)
	}
	pages := o.rare(tb, dir)
	f := fill(tb, dir, n)
	ids := strings.NewReplacer("CALL", f.call.String(), "PERSON", f.person.String(), "ENCOUNTER", f.encounter.String(), "REFERRAL", f.referral.String())
	for _, page := range []string{
		"", "today", "shift", "calls", "call/new", "call/CALL", "call/CALL/who", "call/CALL/times", "people", "people/found?q=rosa", "people/found?q=ort", "people/found?q=rosa+lind0",
		"person/PERSON", "person/PERSON/edit", "person/new?for=CALL", "encounter/ENCOUNTER", "referral/REFERRAL", "referral/new?person=PERSON", "note/new?target=encounter&of=ENCOUNTER",
		"consent/new?person=PERSON", "alert/new?person=PERSON", "disclosure/new?person=PERSON", "forms", "forms?encounter=ENCOUNTER", "forms?person=PERSON", "cards", "protocols",
		"directory", "tray", "settings", "status", "lock",
	} {
		pages[page] = ids.Replace(page)
	}
	mux, missing := http.NewServeMux(), map[string]bool{}
	for _, pattern := range app.Screens() {
		mux.Handle(pattern, http.NotFoundHandler())
		missing[pattern] = true
	}
	for _, path := range pages {
		_, pattern := mux.Handler(httptest.NewRequestWithContext(tb.Context(), http.MethodGet, "/"+path, http.NoBody))
		delete(missing, pattern)
	}
	if len(missing) > 0 {
		tb.Fatalf("these pages are not measured: %q", slices.Sorted(maps.Keys(missing)))
	}
	return pages
}

// Every page of the app is without a fault that axe knows, with targets of 48 pixels and a
// contrast of 7:1, on a phone by night and a laptop by day.
func TestEveryScreen(t *testing.T) {
	t.Parallel()
	for _, l := range looks[:2] {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			dir := o.enrol(o.maya, "Car 12")
			pages := o.everyScreen(t, dir, 12)
			o.settings(dir, map[string]string{"theme": l.theme, "lang": l.lang})
			f := serve(t, app.Options{Dir: dir, Client: options()})
			b := newBrowser(t, l.size)
			b.prefix = l.name + "-every-"
			b.open(f.next())
			for _, name := range slices.Sorted(maps.Keys(pages)) {
				switch name {
				case "status", "call/new", "people/found?q=rosa", "people/found?q=ort", "people/found?q=rosa+lind0", "file/id/bytes", "file/id/thumb":
					// They are no pages of their own.
					continue
				}
				b.page(pages[name])
				if name == "encounter-late" {
					b.says(app.In(l.lang, "lateTyped"), "sister")
				}
				b.look(strings.NewReplacer("/", "-", "?", "-", "&", "-", "=", "-").Replace(name))
			}
		})
	}
}
