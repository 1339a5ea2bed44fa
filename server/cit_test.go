package server_test

import (
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
)

// TestPolicePartnerOpens has a police partner open incidents: in a team whose program has
// no clinician at the scene, there alone, and nothing but incidents.
func TestPolicePartnerOpens(t *testing.T) { each(t, testPolicePartnerOpens) }

func testPolicePartnerOpens(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 83)
	id := must[syncengine.ID](t)
	cit := id(w.admin.AddProgram(t.Context(), server.ProgramOptions{NameEN: "Crisis officers", Model: "cit", Agency: w.agency, Partners: []syncengine.ID{w.police}}))
	officers := id(w.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Officers", Program: cit}))
	both := w.enrolled(1, id(w.admin.AddStaff(t.Context(), server.StaffOptions{
		Name: "Officer", Discipline: "officer", Roles: []string{"le_partner"}, Agency: w.police, Teams: []syncengine.ID{w.team, officers},
	})))
	incident := func(team syncengine.ID) *tandemv1.Incident {
		return &tandemv1.Incident{AgencyId: new(w.agency.String()), TeamId: new(team.String()), Lifecycle: new("open"), Schema: new(uint32(1)), CallType: new("welfare_check")}
	}
	if got := refusals(both.must(both.push(both.creation(incident(officers))))); got != "APPLIED:UNSPECIFIED" {
		t.Errorf("in a team of model cit: %s", got)
	}
	if got := refusals(both.must(both.push(both.creation(incident(w.team))))); got != "QUARANTINED:FORBIDDEN" {
		t.Errorf("in a team of model crt: %s", got)
	}
	seen := encounter(w, "seen")
	seen.TeamId = new(officers.String())
	if got := refusals(both.must(both.push(both.creation(seen)))); got != "QUARANTINED:FORBIDDEN" {
		t.Errorf("an encounter: %s", got)
	}
	// The program takes a clinician along: from then on the officer opens none.
	w.change(cit, "program", 21, "crt")
	if got := refusals(both.must(both.push(both.creation(incident(officers))))); got != "QUARANTINED:FORBIDDEN" {
		t.Errorf("after the model has changed: %s", got)
	}
}
