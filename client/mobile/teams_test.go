package mobile

import (
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Who is in two teams says whose work is done; what is made without that is refused by name.
func TestWorkFor(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	d, _ := o.phone("Dee")
	who, err := d.Who()
	if err != nil || len(strings.Fields(who.Teams)) != 2 {
		t.Fatalf("%v, %v", who, err)
	}
	msg := &tandemv1.Incident{Number: new("D-1"), Source: new("dispatch_911"), CallType: new("welfare_check"), ResponseMode: new("co_response")}
	s := d.Begin()
	if _, err := s.Create("incident", body(t, msg)); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(s); ErrorCode(text(err)) != CodeInvalid || !strings.Contains(text(err), "team_id") {
		t.Errorf("a call of no team: %v", err)
	}
	for _, bad := range []string{"", "x", who.PersonID} {
		if err := d.WorkFor(bad); err == nil || !strings.Contains(ErrorWords(text(err)), "not in that team") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for team := range strings.FieldsSeq(who.Teams) {
		if err := d.WorkFor(team); err != nil {
			t.Fatal(err)
		}
		if got := incident(t, get(t, d, create(t, d, msg, false))); got.GetTeamId() != team || got.GetProgramId() == "" {
			t.Errorf("a call of %s is of %q, program %q", team, got.GetTeamId(), got.GetProgramId())
		}
	}
}
