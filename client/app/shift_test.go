package app_test

import (
	"testing"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
)

// A night as it goes, with the server gone in the middle of it.
func TestShift(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := o.enrol(o.maya, "Car 12")
	co := options()
	co.Passphrase = nil
	f := serve(t, app.Options{Dir: dir, Client: client.Options{Guess: co.Guess, Timezone: co.Timezone, Version: co.Version}})
	b := newBrowser(t, phone)
	night(t, o, f, b)
}

func night(t *testing.T, o *office, f *field, b *browser) {
	t.Helper()
	b.open(f.next())
	b.shot("lock")
	b.types("passphrase", passphrase)
	b.goes("Unlock")
	b.goes("Start shift")
	b.types("unit", "C12")
	b.tap("Dale Hunt")
	b.shot("shift")
	b.goes("Start shift")
	b.says("New call", "Unit C12")
	b.shot("today")

	// Nobody found.
	b.taps = 0
	b.goes("Welfare check")
	b.shot("call-new")
	b.goes("Arrived")
	b.chip("place_type", "home")
	b.shot("call-arrived")
	b.goes("Nobody found")
	if b.taps > 4 {
		t.Errorf("nobody found takes %d taps, at most 4 are right", b.taps)
	}
	b.says("Undo")
	b.shot("today-cleared")
	o.away.Store(true)

	// A crisis.
	b.taps = 0
	b.goes("Suicide threat")
	b.goes("Arrived")
	b.chip("place_type", "street_public")
	b.goes("Contact made")
	b.shot("who")
	b.goes("Not identified")
	b.shot("encounter")
	for _, c := range [][2]string{
		{"presenting_primary", "suicidal_ideation"}, {"substance", "alcohol"}, {"danger_self", "moderate"}, {"danger_others", "none"}, {"cannot_care_for_self", "no"},
		{"interventions", "deescalation"}, {"interventions", "safety_plan"}, {"disposition", "left_with_support"}, {"legal_status", "voluntary"},
		{"cf_ed", "no"}, {"cf_arrest", "no"}, {"cf_hold", "no"}, {"follow_up_plan", "opened_episode"},
	} {
		b.chip(c[0], c[1])
	}
	b.types("narrative", "Calm after twenty minutes.")
	b.kept()
	b.shot("encounter-full")
	b.goes("Sign")
	b.says("Signed", "Clear the call")
	b.shot("call-contact")
	b.chip("le_actions", "standby")
	b.chip("force_used", "no")
	b.goes("Clear the call")
	b.says("not sent")
	if b.taps > 22 {
		t.Errorf("a full encounter takes %d taps, at most 22 are right", b.taps)
	}
	t.Logf("taps of a full encounter: %d", b.taps)
	b.page("people")
	b.shot("people")
	b.page("tray")
	b.shot("tray")
	b.page("settings")
	b.shot("settings")
	b.page("person/new")
	b.types("names.given", "Rosa")
	b.types("names.family", "Lind")
	b.kept()
	b.shot("person-new")
	b.goes("Save person")
	b.says("Rosa Lind")
	b.goes("Add a note")
	b.types("text", "Called back; she is with her sister.")
	b.shot("note-new")
	b.goes("Save and sign")
	b.goes("Add a referral")
	b.shot("referral-new")
	b.chip("need", "crisis_bed")
	b.chip("urgency", "now")
	b.types("target_text", "Crisis living room")
	b.goes("Save referral")
	b.says("Crisis living room")
	b.shot("person")
	b.goes("Consent")
	b.chip("type", "contact")
	b.stroke("canvas[data-sign]")
	b.kept()
	b.shot("consent-new")
	b.goes("Save consent")
	b.goes("Consent")
	b.shot("consent-list")
	b.page("people")
	b.types("q", "rosa li")
	b.says("Rosa Lind")
	b.shot("people-found")
	b.goes("Rosa Lind")
	b.goes("Safety alert")
	b.chip("category", "animal")
	b.types("text", "Two dogs in the yard; call ahead.")
	b.shot("alert-new")
	b.goes("Save alert")
	b.says("Two dogs")
	b.goes("Open an episode")
	b.says("day 1 of 60", "Call after 24 h")
	b.shot("episode")
	b.page("today")
	b.taps = 0
	b.goes("Rosa Lind")
	b.chip("mode", "text")
	b.shot("followup")
	b.goes("Left a message")
	if b.taps > 3 {
		t.Errorf("a follow-up takes %d taps, at most 3 are right", b.taps)
	}
	b.page("directory")
	b.says("988")
	b.shot("directory")
	b.page("people")
	b.goes("Rosa Lind")
	b.shot("person-full")
	o.away.Store(false)
	b.page("today")
	b.until(`document.querySelector("#status").innerText.includes("Verified")`)
	b.shot("today-verified")
}
