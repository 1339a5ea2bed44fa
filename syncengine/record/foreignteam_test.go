package record_test

import (
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// An administrator puts nobody into a team of another agency, but a police partner, who
// sees operations alone there.
func TestForeignTeam(t *testing.T) {
	t.Parallel()
	d := record.New()
	far, programB, agencyB := id(20), id(21), id(22)
	there := map[syncengine.ID]*syncengine.Record{
		teamA: stored(t, &tandemv1.Team{Name: new("Ours"), ProgramId: new(programA.String())}), programA: stored(t, &tandemv1.Program{Model: new("crt"), AgencyId: new(agencyA.String())}),
		far: stored(t, &tandemv1.Team{Name: new("Theirs"), ProgramId: new(programB.String())}), programB: stored(t, &tandemv1.Program{Model: new("crt"), AgencyId: new(agencyB.String())}),
	}
	look := func(id syncengine.ID) (*syncengine.Record, error) { return there[id], nil }
	staff := func(role string, teams ...syncengine.ID) *tandemv1.Staff {
		m := &tandemv1.Staff{AgencyId: new(agencyA.String()), DisplayName: new("Sam"), Roles: []string{role}, Lifecycle: new(record.Active)}
		for _, team := range teams {
			m.TeamIds = append(m.TeamIds, team.String())
		}
		return m
	}
	const set = tandemv1.Act_ACT_SET
	guest := staff("clinician", far)
	leading := staff("clinician", far)
	leading.Roles = append(leading.Roles, "lead")
	limited := staff("le_partner", far)
	limited.Roles = append(limited.Roles, "clinician")
	for _, tc := range []struct {
		name   string
		before *tandemv1.Staff
		w      *tandemv1.RecordWrite
		want   bool
	}{
		{"a clinician of one's own team", nil, createOf(t, staff("clinician", teamA)), true},
		{"a clinician of another agency's team", nil, createOf(t, staff("clinician", teamA, far)), false},
		{"a lead of a team that is not there", nil, createOf(t, staff("lead", id(30))), false},
		{"a police partner of another agency's team", nil, createOf(t, staff("le_partner", far)), true},
		{"a team more", staff("clinician", teamA), actOn(t, set, staff("clinician", teamA), func(m *tandemv1.Staff) { m.TeamIds = append(m.TeamIds, far.String()) }), false},
		{"a role more", staff("le_partner", far), actOn(t, set, staff("le_partner", far), func(m *tandemv1.Staff) { m.Roles = []string{"lead"} }), false},
		{"who was put there by the operator gets a new name", guest, actOn(t, set, guest, func(m *tandemv1.Staff) { m.DisplayName = new("Samira") }), true},
		{"leads there no more", leading, actOn(t, set, leading, func(m *tandemv1.Staff) { m.Roles = []string{"clinician"} }), true},
		{"is a police partner no more", limited, actOn(t, set, limited, func(m *tandemv1.Staff) { m.Roles = []string{"clinician"} }), false},
		{"and leaves", guest, actOn(t, set, guest, func(m *tandemv1.Staff) { m.TeamIds = nil }), true},
	} {
		var rec *syncengine.Record
		if tc.before != nil {
			rec = stored(t, tc.before)
		}
		if got := d.AllowedOn(someone("admin"), tc.w, rec, look); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
		if !d.AllowedOn(&syncengine.Principal{Server: true}, tc.w, rec, look) {
			t.Errorf("%s: the operator may not", tc.name)
		}
	}
}
