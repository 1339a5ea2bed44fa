package app_test

import (
	"flag"
	"fmt"
	"testing"

	"github.com/tandem-response/tandem/client/app"
	"github.com/tandem-response/tandem/syncengine/record"
)

var everyLook = flag.Bool("every-look", false, "play the night in every width, theme and language, not in two of them")

// looks are the devices on which the night is played.
var looks = []struct {
	name, theme, lang string
	size              [2]int64
	often             bool
}{
	{"phone-dark-en", "dark", "en", phone, true},
	{"laptop-light-es", "light", "es", laptop, true},
	{"phone-light-es", "light", "es", phone, false},
	{"laptop-dark-en", "dark", "en", laptop, false},
	{"phone-red-es", "red", "es", phone, false},
}

// A night as it goes, with the server gone in the middle of it. Every screen is checked
// by axe, and the taps are counted.
func TestShift(t *testing.T) {
	t.Parallel()
	for _, l := range looks {
		if !l.often && !*everyLook {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			o := newOffice(t)
			dir := o.enrol(o.maya, "Car 12")
			o.settings(dir, map[string]string{"theme": l.theme, "lang": l.lang})
			f := serve(t, app.Options{Dir: dir, Client: locked()})
			b := newBrowser(t, l.size)
			b.prefix = l.name + "-"
			night(t, o, f, b, l.lang)
		})
	}
}

func night(t *testing.T, o *office, f *field, b *browser, lang string) {
	t.Helper()
	in := func(key string) string { return app.In(lang, key) }
	code := func(list, code string) string { return record.New().Label(list, code, lang) }
	b.open(f.next())
	b.look("lock")
	b.types("passphrase", passphrase)
	b.goes("Unlock")
	b.goes(in("beginShift"))
	b.types("unit", "C12")
	b.tap("Dale Hunt")
	b.look("shift")
	b.goes(in("beginShift"))
	b.says(in("newCall"), "C12")
	b.look("today")

	// Nobody found.
	b.taps = 0
	b.goes(code("call_type", "welfare_check"))
	b.look("call-new")
	b.goes(record.New().FieldLabel("incident", "arrived_at", lang))
	b.chip("place_type", "home")
	b.look("call-arrived")
	b.goes(in("nobody"))
	if b.taps > 4 {
		t.Errorf("nobody found takes %d taps, at most 4 are right", b.taps)
	}
	t.Logf("taps of nobody found: %d", b.taps)
	b.says(in("undo"))
	b.look("today-cleared")
	o.away.Store(true)

	// A crisis.
	b.taps = 0
	b.goes(code("call_type", "suicide_threat"))
	b.goes(record.New().FieldLabel("incident", "arrived_at", lang))
	b.chip("place_type", "street_public")
	b.goes(in("contactMade"))
	b.look("who")
	b.goes(in("notIdentified"))
	b.look("encounter")
	for _, c := range [][2]string{
		{"presenting_primary", "suicidal_ideation"}, {"substance", "alcohol"}, {"danger_self", "moderate"}, {"danger_others", "none"}, {"cannot_care_for_self", "no"},
		{"interventions", "deescalation"}, {"interventions", "safety_plan"}, {"disposition", "left_with_support"}, {"legal_status", "voluntary"},
		{"cf_ed", "no"}, {"cf_arrest", "no"}, {"cf_hold", "no"}, {"follow_up_plan", "opened_episode"},
	} {
		b.chip(c[0], c[1])
	}
	b.types("narrative", "Calm after twenty minutes.")
	b.kept()
	b.look("encounter-full")
	b.goes(in("sign"))
	b.says(code("lifecycle_encounter", "signed"), in("clearCall"))
	b.look("call-contact")
	b.chip("le_actions", "standby")
	b.chip("force_used", "no")
	b.goes(in("clearCall"))
	b.says(in("stHere"))
	if b.taps > 22 {
		t.Errorf("a full encounter takes %d taps, at most 22 are right", b.taps)
	}
	t.Logf("taps of a full encounter: %d", b.taps)
	b.page("people")
	b.look("people")
	b.page("tray")
	b.look("tray")
	b.page("settings")
	b.look("settings")
	b.page("person/new")
	b.types("names.given", "Rosa")
	b.types("names.family", "Lind")
	b.kept()
	b.look("person-new")
	b.goes(in("savePerson"))
	b.says("Rosa Lind")
	b.goes(in("addNote"))
	b.types("text", "Called back; she is with her sister.")
	b.look("note-new")
	b.goes(in("saveSign"))
	b.goes(in("addReferral"))
	b.look("referral-new")
	b.chip("need", "crisis_bed")
	b.chip("urgency", "now")
	b.types("target_text", "Crisis living room")
	b.goes(in("saveReferral"))
	b.says("Crisis living room")
	b.look("person")
	b.goes(in("addConsent"))
	b.chip("type", "contact")
	b.stroke("canvas[data-sign]")
	b.kept()
	b.look("consent-new")
	b.goes(in("saveConsent"))
	b.goes(in("addConsent") + " " + code("consent_type", "contact"))
	b.look("consent")
	b.until(`document.querySelector(".ink path").getAttribute("d").startsWith("M")`)
	b.goes("Rosa Lind")
	b.page("people")
	b.types("q", "rosa li")
	b.until(`document.querySelector("#q").dataset.found === "rosa li"`)
	b.says("Rosa Lind")
	b.look("people-found")
	b.goes("Rosa Lind")
	b.goes(in("addAlert"))
	b.chip("category", "animal")
	b.types("text", "Two dogs in the yard; call ahead.")
	b.look("alert-new")
	b.goes(in("saveAlert"))
	b.says("Two dogs")
	b.goes(in("openEpisode"))
	b.says(fmt.Sprintf(in("dayOf"), 1, 60), fmt.Sprintf(in("callAfter"), "24 h"))
	b.look("episode")
	b.page("today")
	b.taps = 0
	b.goes("Rosa Lind")
	b.chip("mode", "text")
	b.look("followup")
	b.goes(code("follow_up_outcome", "left_message"))
	if b.taps > 3 {
		t.Errorf("a follow-up takes %d taps, at most 3 are right", b.taps)
	}
	t.Logf("taps of a follow-up: %d", b.taps)
	b.page("directory")
	b.says("988")
	b.look("directory")
	b.page("people")
	b.goes("Rosa Lind")
	b.look("person-full")
	o.away.Store(false)
	b.page("tray")
	b.goes(in("tryNow"))
	b.page("today")
	b.until(`document.querySelector("#status").innerText.includes(` + quote(in("stVerified")) + `)`)
	b.look("today-verified")
}

// The least that is a record of a contact takes eight taps after arrival, with a police
// partner on the crew: where, that somebody was met, who, why, and how the call ended.
func TestMinimalContact(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := o.enrol(o.maya, "Car 12")
	f := serve(t, app.Options{Dir: dir, Client: options()})
	b := newBrowser(t, phone)
	b.open(f.next())
	b.page("shift")
	b.types("unit", "C12")
	b.tap("Dale Hunt")
	b.goes("Start shift")
	o.away.Store(true)
	b.goes("Welfare check")
	b.goes("Arrived")
	b.taps = 0
	b.chip("place_type", "home")
	b.goes("Contact made")
	b.goes("Not identified")
	b.chip("presenting_primary", "welfare_concern")
	b.goes("Leave as a draft")
	b.chip("le_actions", "standby")
	b.chip("force_used", "no")
	b.goes("Clear the call")
	b.says("Cleared", "Saved here")
	t.Logf("taps of a minimal contact: %d", b.taps)
	if b.taps > 8 {
		t.Errorf("a minimal contact takes %d taps, at most 8 are right", b.taps)
	}
}
