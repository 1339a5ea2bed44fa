package app_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
)

// fill makes 5,000 records on a device: calls, persons, encounters, referrals.
func fill(tb testing.TB, dir string) (call, person, encounter syncengine.ID) {
	tb.Helper()
	dev, err := client.Open(tb.Context(), dir, options())
	if err != nil {
		tb.Fatal(err)
	}
	given := []string{"Rosa", "Ken", "Ana", "Lee", "Omar", "Ines", "Paul", "Mia"}
	family := []string{"Lind", "Ortega", "Baker", "Nguyen", "Hall", "Sosa", "Marsh", "Klein", "Reyes"}
	_, err = dev.Bulk(tb.Context(), func(b *client.Bulk) error {
		for i := range 1250 {
			at := time.Now().Add(-time.Duration(i) * 40 * time.Minute).UnixMilli()
			_, err := b.Edit(func(e *client.Edit) error {
				var err error
				if call, err = e.Create(&tandemv1.Incident{
					Number: new(fmt.Sprintf("C12-%04d", i)), Source: new("dispatch_911"), CallType: new("welfare_check"), ResponseMode: new("co_response"), PlaceType: new("home"),
					DispatchedAt: &tandemv1.Instant{AtMs: &at, Origin: new("tap")}, ReceivedAt: &tandemv1.Instant{AtMs: &at, Origin: new("cad")},
					Responders: []*tandemv1.Responder{{Name: new("Maya")}},
				}); err != nil {
					return err
				}
				if person, err = e.Create(&tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new(given[i%len(given)]), Family: new(fmt.Sprintf("%s%d", family[i%len(family)], i)), Use: new("legal")}}}); err != nil {
					return err
				}
				if encounter, err = e.Create(&tandemv1.Encounter{
					IncidentId: new(call.String()), PersonId: new(person.String()), Identity: new("identified"), Type: new("crisis_response"), StartedAt: &tandemv1.Instant{AtMs: &at, Origin: new("tap")},
					PresentingPrimary: new("depression"), Narrative: new(strings.Repeat("Calm, talked for a while. ", 20)),
				}); err != nil {
					return err
				}
				_, err = e.Create(&tandemv1.Referral{PersonId: new(person.String()), EncounterId: new(encounter.String()), Need: new("housing"), Urgency: new("routine"), State: new("offered"), TargetText: new("Shelter"), InfoShared: new("none")})
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
	return call, person, encounter
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
	who := a.person("Sam").String()
	at := &tandemv1.Instant{AtMs: new(time.Now().UnixMilli()), Origin: new("tap")}
	episode := a.make(&tandemv1.Episode{PersonId: &who, OpenedAt: at, WindowDays: new(uint32(60))}).String()
	pages := map[string]string{
		"episode":  "episode/" + episode,
		"followup": "followup/" + a.make(&tandemv1.FollowUp{PersonId: &who, EpisodeId: &episode, DueAt: at, TargetHours: new(uint32(24))}).String(),
	}
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
	}
	protocols, err := dev.List(tb.Context(), "attachment", client.Filter{}, client.Oldest, 0)
	if err != nil || len(protocols) == 0 {
		tb.Fatalf("%d protocols, %v", len(protocols), err)
	}
	pages["protocol"] = "protocol/" + protocols[0].ID.String()
	sync := func() {
		tb.Helper()
		if _, err := dev.Sync(tb.Context()); err != nil {
			tb.Fatal(err)
		}
	}
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

// BenchmarkPages measures what the app takes for each screen at 5,000 local records, none
// of them sent, the request over loopback included: at most 100 ms a page and 50 ms a
// search are right.
func BenchmarkPages(b *testing.B) {
	o := newOffice(b)
	o.publish("cssrs-screener")
	o.publish("readiness")
	if _, err := o.admin.AddProtocol(b.Context(), server.ProtocolOptions{Agency: o.clinic, Title: "Scene safety", Lang: "en", Text: sceneSafety}); err != nil {
		b.Fatal(err)
	}
	dir := o.enrol(o.maya, "Car 12")
	more := o.rare(b, dir)
	call, person, encounter := fill(b, dir)
	o.away.Store(true)
	f := serve(b, app.Options{Dir: dir, Client: options()})
	link := f.next()
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	ask := func(address string) {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, address, http.NoBody)
		if err != nil {
			b.Fatal(err)
		}
		res, err := c.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			b.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			b.Fatalf("%s: %s", address, res.Status)
		}
	}
	ask(link)
	u, err := url.Parse(link)
	if err != nil {
		b.Fatal(err)
	}
	base := strings.TrimSuffix(link, "open?"+u.RawQuery)
	for page, path := range more {
		b.Run(page, func(b *testing.B) {
			for b.Loop() {
				ask(base + path)
			}
		})
	}
	for _, page := range []string{
		"person/new?for=" + call.String(), "person/" + person.String() + "/edit", "note/new?target=encounter&of=" + encounter.String(), "consent/new?person=" + person.String(),
		"alert/new?person=" + person.String(), "disclosure/new?person=" + person.String(), "forms", "forms?encounter=" + encounter.String(), "cards",
		"today", "shift", "calls", "call/" + call.String(), "call/" + call.String() + "/who", "call/" + call.String() + "/times", "people", "person/" + person.String(),
		"encounter/" + encounter.String(), "referral/new?person=" + person.String(), "forms?person=" + person.String(), "protocols", "directory", "tray", "settings", "status", "people/found?q=rosa", "people/found?q=ort", "people/found?q=rosa+lind0",
	} {
		name, _, _ := strings.Cut(strings.NewReplacer(call.String(), "id", person.String(), "id", encounter.String(), "id").Replace(page), "&")
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ask(base + page)
			}
		})
	}
}

// BenchmarkPaint measures when a screen is first painted in a browser, from the tap on: as
// the browser itself says.
func BenchmarkPaint(b *testing.B) {
	o := newOffice(b)
	dir := o.enrol(o.maya, "Car 12")
	call, person, encounter := fill(b, dir)
	o.away.Store(true)
	f := serve(b, app.Options{Dir: dir, Client: options()})
	w := newBrowser(b, phone)
	w.open(f.next())
	base := eval[string](w, "document.baseURI")
	for _, page := range []string{"today", "call/" + call.String(), "people", "person/" + person.String(), "encounter/" + encounter.String(), "directory", "tray", "settings"} {
		name, _, _ := strings.Cut(page, "/")
		b.Run(name, func(b *testing.B) {
			sum, n := 0.0, 0
			for b.Loop() {
				w.open(base + page)
				w.until(`performance.getEntriesByName("first-contentful-paint").length`)
				sum += eval[float64](w, `performance.getEntriesByName("first-contentful-paint")[0].startTime`)
				n++
			}
			b.ReportMetric(sum/float64(n), "paint-ms")
		})
	}
}
