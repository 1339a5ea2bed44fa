package record_test

import (
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// TestEmergency is who may open what of one person in an emergency: clinicians, peers and
// leads what teams of their own agency wrote, but nothing private and nothing of a
// substance use program.
func TestEmergency(t *testing.T) {
	t.Parallel()
	d := record.New()
	far, lost, programB, programC, agencyB := id(20), id(21), id(22), id(23), id(24)
	team := func(program syncengine.ID) *syncengine.Record {
		return stored(t, &tandemv1.Team{Name: new("Team"), ProgramId: new(program.String())})
	}
	program := func(agency syncengine.ID) *syncengine.Record {
		return stored(t, &tandemv1.Program{Model: new("crt"), AgencyId: new(agency.String())})
	}
	there := map[syncengine.ID]*syncengine.Record{
		teamB: team(programB), programB: program(agencyA), far: team(programC), programC: program(agencyB), lost: team(id(30)),
	}
	look := func(id syncengine.ID) (*syncengine.Record, error) { return there[id], nil }
	for _, tc := range []struct {
		name  string
		roles []string
		scope syncengine.ScopeKey
		want  bool
	}{
		{"a clinician, a visit of another program", []string{"clinician"}, key(syncengine.OwnerTeam, teamB, clinical, true), true},
		{"an old one", []string{"clinician"}, key(syncengine.OwnerTeam, teamB, clinical, false), true},
		{"a peer", []string{"peer"}, key(syncengine.OwnerTeam, teamB, clinical, true), true},
		{"a lead", []string{"lead"}, key(syncengine.OwnerTeam, teamB, clinical, true), true},
		{"a call", []string{"clinician"}, key(syncengine.OwnerTeam, teamB, ops, true), true},
		{"substance use treatment", []string{"clinician", "lead"}, key(syncengine.OwnerTeam, teamB, sud, true), false},
		{"a private note", []string{"clinician", "lead"}, key(syncengine.OwnerPerson, other, private, true), false},
		{"another agency's team", []string{"clinician"}, key(syncengine.OwnerTeam, far, clinical, true), false},
		{"a team of no known program", []string{"clinician"}, key(syncengine.OwnerTeam, lost, clinical, true), false},
		{"a team that is not there", []string{"clinician"}, key(syncengine.OwnerTeam, id(31), clinical, true), false},
		{"a police partner", []string{"le_partner"}, key(syncengine.OwnerTeam, teamB, ops, true), false},
		{"a police partner whose record says more", []string{"le_partner", "clinician"}, key(syncengine.OwnerTeam, teamB, clinical, true), false},
		{"an admin", []string{"admin"}, key(syncengine.OwnerTeam, teamB, clinical, true), false},
		{"an auditor", []string{"auditor"}, key(syncengine.OwnerTeam, teamB, clinical, true), false},
	} {
		p := &syncengine.Principal{Person: author, Agency: agencyA, Roles: tc.roles, Teams: []syncengine.ID{teamA}, Programs: []syncengine.ID{programA}}
		got, err := d.MayReadInEmergency(org, p, []syncengine.ScopeKey{tc.scope}, look)
		if err != nil || got != tc.want {
			t.Errorf("%s: got %t, %v, want %t", tc.name, got, err, tc.want)
		}
	}
	for role, want := range map[string]bool{"clinician": true, "peer": true, "lead": true, "le_partner": false, "admin": false, "auditor": false, "analyst": false} {
		p := &syncengine.Principal{Person: author, Agency: agencyA, Roles: []string{role}}
		if got := d.BreaksGlass(p, stored(t, personMessage(t))); got != want {
			t.Errorf("%s: got %t, want %t", role, got, want)
		}
		if d.BreaksGlass(p, stored(t, encounterMessage(t))) {
			t.Errorf("%s opens a visit as if it were a person", role)
		}
	}
}
