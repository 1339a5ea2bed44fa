package app_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// Two addresses are the same where they differ in case, spaces, punctuation, unit and usual
// short forms alone: nothing is guessed.
func TestSameAddress(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		alert, call, city, zip string
		want                   bool
	}{
		{"12 Elm Street", "12 elm st", "", "", true},
		{"12 Elm St.", " 12  ELM  STREET ", "", "", true},
		{"12 North Elm Avenue", "12 N. Elm Ave", "", "", true},
		{"12 Elm St NW", "12 Elm Street, N.W.", "", "", true},
		{"12 Elm St, Apt 3", "12 Elm St", "", "", true},
		{"12 Elm St #3", "12 Elm St, Unit 4", "", "", true},
		{"12 Elm St, Apt. #3, Springfield", "12 Elm St", "Springfield", "", true},
		{"12 Elm St, Springfield 62704", "12 Elm St", "Springfield", "62704", true},
		{"12 Elm St", "12 Elm St Apt 3B", "Springfield", "62704", true},
		{"St. Mary's Church", "st marys church", "", "", true},
		{"Avenida de la Constitución 4", "avenida de la constitución, 4", "", "", true},

		{"12 Elm St, Shelbyville", "12 Elm St", "Springfield", "", false},
		{"12 Elm St, Springfield", "12 Elm St", "", "", true},
		{"12 Elm St, Springfield, IL 62704", "12 Elm St", "Springfield", "", true},
		{"12 Elm St, Springfield, IL 62704", "12 Elm St", "Springfield", "62704", true},
		{"12 Elm St", "12 Elm St, Springfield", "", "", true},
		{"12 Elm St, 2nd Floor", "12 Elm St", "", "", true},
		{"12 Elm St Apt 3 B", "12 Elm St", "", "", true},
		{"12 Elm St.Apt 3", "12 Elm St", "", "", true},
		{"12 Elm St, Apto 3", "12 Elm St", "", "", true},
		{"Calle Luna 12, Depto 3", "calle luna 12", "", "", true},

		{"12 Elm St, Springfield 62704", "12 Elm St", "Springfield", "62799", false},
		{"Bus Stop #4", "Bus Stop #9", "", "", false},
		{"Highway 101 mile #45", "Highway 101 mile #12", "", "", false},
		{"5 Old Lot Rd", "5 Old Lot Ln", "", "", false},
		{"12.5 Elm St", "125 Elm St", "", "", false},
		{"12 Elm St", "21 Elm St", "", "", false},
		{"12 Elm St", "12 Elms St", "", "", false},
		{"12 Elm St", "12 Elm Ave", "", "", false},
		{"12 Elm St", "12B Elm St", "", "", false},
		{"12 N Elm St", "12 Elm St", "", "", false},
		{"12 Elm St", "112 Elm St", "", "", false},
		{"1 2 Elm St", "12 Elm St", "", "", false},
		{"12 Lot Street", "12 Unit Street", "", "", false},
		{"Elm St", "12 Elm St", "", "", false},
		{"", "", "", "", false},
		{"", "12 Elm St", "", "", false},
		{"#3", "Apt 4", "", "", false},
		{" , .", "--", "", "", false},
	} {
		at := &tandemv1.Location{Address: &tc.call, City: &tc.city, Zip5: &tc.zip}
		if got := app.AtAddress(tc.alert, at); got != tc.want {
			t.Errorf("%q and %q in %q: %t, as %q and %q", tc.alert, tc.call, tc.city, got, app.AddressKey(tc.alert), app.AddressKey(tc.call))
		}
	}
}

// Of an address that is another one, or not known to be the same, the words say so.
func TestHowSameAddress(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a := o.ask(o.maya)
	rosa, until := a.person("Rosa").String(), time.Now().AddDate(0, 0, 30).Format(time.DateOnly)
	for i := range 12 {
		a.make(&tandemv1.SafetyAlert{PersonId: &rosa, Category: new("animal"), Text: new(fmt.Sprintf("Danger in %d.", i)), Audience: new("clinical"), ExpiresOn: &until, Lifecycle: new("active"), Address: new(fmt.Sprintf("400 Main St, Apt %d, Springfield", i))})
	}
	call := func(number, address, city string) string {
		t.Helper()
		id := a.make(&tandemv1.Incident{Number: &number, Source: new("dispatch_911"), CallType: new("welfare_check"), ResponseMode: new("co_response"), Location: &tandemv1.Location{Address: &address, City: &city}})
		return a.get("call/" + id.String())
	}
	same, other, unit, town := app.In("en", "sameAddress"), app.In("en", "otherUnit"), app.In("en", "unitUnsaid"), app.In("en", "townUnsaid")
	page := call("C12-1", "400 Main St, Apt 0", "Springfield")
	if strings.Count(page, "Danger in ") != 12 || strings.Count(page, same) != 1 || strings.Count(page, other) != 11 || strings.Contains(page, town) {
		t.Errorf("not all are told apart:\n%s", page)
	}
	if first := strings.Index(page, "Danger in "); !strings.HasPrefix(page[first:], "Danger in 0.") || !strings.Contains(page, fmt.Sprintf(app.In("en", "andMore"), 2)) {
		t.Errorf("the own one is not first, or nothing says that there are more:\n%s", page)
	}
	if page = call("C12-2", "400 Main St", ""); strings.Contains(page, same) || strings.Count(page, unit+", "+town) != 12 {
		t.Errorf("what is not known is not said:\n%s", page)
	}
}

// A call at the address of an alert in force shows it, as one of the address and not of a
// person: while the address is typed, and on the page of a police partner what is for them.
func TestAlertOfAddress(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a := o.ask(o.maya)
	rosa := a.person("Rosa").String()
	day := func(days int) *string { return new(time.Now().AddDate(0, 0, days).Format(time.DateOnly)) }
	alert := func(text, address, state, audience string, ends int) syncengine.ID {
		m := &tandemv1.SafetyAlert{PersonId: &rosa, Category: new("animal"), Text: &text, Audience: &audience, ExpiresOn: day(ends), Lifecycle: &state, Address: &address}
		if audience == "team_with_le" {
			m.Basis = new("imminent_threat")
		}
		return a.make(m)
	}
	alert("Two dogs in the yard.", "12 N. Elm Street, Apt 3", "active", "clinical", 30)
	alert("A dog that is gone.", "12 N. Elm Street", "active", "clinical", -1)
	alert("A dog elsewhere.", "14 N. Elm Street", "active", "clinical", 30)
	shared := alert("Loose boards on the porch.", "12 North Elm St", "proposed", "team_with_le", 30)
	at := &tandemv1.Instant{AtMs: new(time.Now().UnixMilli()), Origin: new("tap")}
	call := a.make(&tandemv1.Incident{Number: new("C12-1"), Source: new("dispatch_911"), CallType: new("welfare_check"), ResponseMode: new("co_response"), ReceivedAt: at}).String()
	if page := a.get("call/" + call); strings.Contains(page, "dog") || strings.Contains(page, app.In("en", "placeCard")) {
		t.Fatalf("a call without an address shows one:\n%s", page)
	}
	w := a.post("sheet/incident/"+call+"/draft", url.Values{"field": {"location.address"}, "v.location.address": {"12 north elm st"}})
	for name, got := range map[string]string{"the answer to typing": w.Body.String(), "the page": a.get("call/" + call)} {
		for _, words := range []string{"Two dogs in the yard.", "12 N. Elm Street, Apt 3", "Loose boards", "Proposed", app.In("en", "placeCard"), app.In("en", "placeSays")} {
			if !strings.Contains(got, words) {
				t.Errorf("%s does not say %q:\n%s", name, words, got)
			}
		}
		if strings.Contains(got, "Rosa") || strings.Contains(got, "gone") || strings.Contains(got, "elsewhere") {
			t.Errorf("%s says more:\n%s", name, got)
		}
	}
	// With the person at the call, theirs stand with them, once.
	a.post("call/"+call+"/encounter", url.Values{"person": {rosa}})
	if page := a.get("call/" + call); strings.Count(page, "Two dogs in the yard.") != 1 || strings.Contains(page, app.In("en", "placeCard")) {
		t.Errorf("it is shown twice, or not:\n%s", page)
	}
	if _, err := a.dev.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}

	// What a lead has approved for them is on the page of a police partner, and nothing else.
	me := a.session()
	boss, err := o.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Ada Boss", Discipline: "supervisor", Roles: []string{"lead"}, Agency: o.clinic, Teams: me.Teams})
	if err != nil {
		t.Fatal(err)
	}
	lead := o.device(o.enrol(boss, "Desk"))
	view, err := lead.Get(t.Context(), shared)
	if err == nil {
		_, err = lead.Edit(t.Context(), func(e *client.Edit) error {
			after, ok := proto.Clone(view.Message).(*tandemv1.SafetyAlert)
			if !ok {
				return client.ErrNotFound
			}
			after.Lifecycle, after.ApprovedBy = new("active"), new(boss.String())
			return e.Approve(view, after)
		})
	}
	if err == nil {
		_, err = lead.Sync(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	p := o.ask(o.dale)
	page := p.get("call/" + call)
	for _, words := range []string{"Loose boards on the porch.", "12 North Elm St", app.In("en", "placeCard"), app.In("en", "placeSays")} {
		if !strings.Contains(page, words) {
			t.Errorf("a police partner is not told %q:\n%s", words, page)
		}
	}
	if strings.Contains(page, "Rosa") || strings.Contains(page, "dogs") {
		t.Errorf("a police partner is told more:\n%s", page)
	}
}

// While the address of a call is typed, what is known of it shows on the page.
func TestAddressTyped(t *testing.T) {
	t.Parallel()
	for _, l := range looks[:2] {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			dir := o.enrol(o.maya, "Car 12")
			o.settings(dir, map[string]string{"theme": l.theme, "lang": l.lang})
			dev := o.device(dir)
			a := &asker{tb: t, dev: dev, f: serve(t, app.Options{Device: dev})}
			a.make(&tandemv1.SafetyAlert{
				PersonId: new(a.person("Rosa").String()), Category: new("animal"), Text: new("Two dogs in the yard; call ahead."), Audience: new("clinical"),
				ExpiresOn: new(time.Now().AddDate(0, 0, 30).Format(time.DateOnly)), Lifecycle: new("active"), Address: new("12 N. Elm Street, Apt 3"),
			})
			w := a.post("call", url.Values{"type": {"welfare_check"}})
			_, call, _ := strings.Cut(w.Header().Get("Location"), "call/")
			b := newBrowser(t, l.size)
			b.prefix = l.name + "-"
			b.open(a.f.next())
			b.page("call/" + call)
			eval[bool](b, `document.querySelector("[name='location.address']").closest("details").open = true`)
			b.types("location.address", "12 north elm st")
			b.kept()
			b.says(app.In(l.lang, "placeCard"), app.In(l.lang, "placeSays"), "Two dogs")
			b.look("call-place")
		})
	}
}
