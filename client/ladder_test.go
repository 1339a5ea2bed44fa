package client

import (
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
)

// An episode and its planned calls are one save, counted from when it was opened; for who
// is not to be contacted there is an episode and no call.
func TestLadder(t *testing.T) {
	t.Parallel()
	c, _ := newEnrolled(t)
	for _, stop := range []bool{false, true} {
		person := mustGet(t, c, create(t, c, &tandemv1.Person{Descriptor_: new("man, 40s, red coat"), DoNotContact: &stop}))
		opened := int64(1_700_000_000_000)
		var id syncengine.ID
		saved, err := c.Edit(t.Context(), func(e *Edit) (err error) {
			id, err = e.OpenEpisode(t.Context(), person, &tandemv1.Episode{OpenedAt: &tandemv1.Instant{AtMs: &opened, Origin: new("tap")}})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		episode := as[*tandemv1.Episode](t, mustGet(t, c, id))
		if episode.GetPersonId() != person.ID.String() || episode.GetWindowDays() != 60 || episode.GetLeadStaffId() == "" || episode.GetOpenedAt().GetAtMs() != opened {
			t.Errorf("got %v", episode)
		}
		calls, err := c.List(t.Context(), "follow_up", Filter{Parent: id}, Oldest, 0)
		if err != nil {
			t.Fatal(err)
		}
		var hours []uint32
		for _, v := range calls {
			m := as[*tandemv1.FollowUp](t, v)
			hours = append(hours, m.GetTargetHours())
			if due := opened + int64(m.GetTargetHours())*3_600_000; m.GetDueAt().GetAtMs() != due || m.GetPersonId() != person.ID.String() || v.Lifecycle != "planned" {
				t.Errorf("the call after %d hours is %v, %s", m.GetTargetHours(), m, v.Lifecycle)
			}
		}
		want := []uint32{24, 72, 168, 336, 720, 1440}
		if stop {
			want = nil
		}
		if !slices.Equal(hours, want) || len(saved.Records) != 1+len(want) {
			t.Errorf("not to be contacted %t: calls after %v hours in a save of %d records, want %v", stop, hours, len(saved.Records), want)
		}
	}
	if _, err := c.Edit(t.Context(), func(e *Edit) error {
		_, err := e.OpenEpisode(t.Context(), mustGet(t, c, create(t, c, &tandemv1.Incident{CallType: new("outreach")})), &tandemv1.Episode{})
		return err
	}); err == nil {
		t.Error("a call has an episode")
	}
}

// Of who is in two teams of two programs, an episode and its calls are of the program whose
// work is done, or whose team they name, and the server takes them.
func TestLadderOfTwoPrograms(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	id := func(id syncengine.ID, err error) syncengine.ID {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	outreach := id(o.admin.AddProgram(t.Context(), server.ProgramOptions{NameEN: "Outreach", Model: "crt", Agency: o.agency}))
	day := id(o.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Day", Program: outreach}))
	ana := id(o.admin.AddStaff(t.Context(), server.StaffOptions{
		Name: "Ana Sosa", Discipline: "social_worker", Roles: []string{"clinician"}, Agency: o.agency, Teams: []syncengine.ID{o.team, day},
	}))
	c := o.enrol(ana, t.TempDir())
	mustSync(t, c)
	s, err := c.Session()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.Teams, []syncengine.ID{o.team, day}) || s.Programs[0] == outreach {
		t.Fatalf("teams %v, programs %v", s.Teams, s.Programs)
	}
	for name, of := range map[string]struct{ works, named syncengine.ID }{
		"whose work is done": {works: day}, "which is named": {works: o.team, named: day},
	} {
		c.WorkFor(of.works)
		person := mustGet(t, c, create(t, c, &tandemv1.Person{Descriptor_: new(name), TeamId: new(day.String()), ProgramId: new(outreach.String())}))
		m := &tandemv1.Episode{}
		if !of.named.IsZero() {
			m.TeamId = new(of.named.String())
		}
		var episode syncengine.ID
		if _, err := c.Edit(t.Context(), func(e *Edit) (err error) {
			episode, err = e.OpenEpisode(t.Context(), person, m)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if m := as[*tandemv1.Episode](t, mustGet(t, c, episode)); m.GetTeamId() != day.String() || m.GetProgramId() != outreach.String() {
			t.Errorf("the team %s: the episode is of team %s, program %s", name, m.GetTeamId(), m.GetProgramId())
		}
		calls, err := c.List(t.Context(), "follow_up", Filter{Parent: episode}, Oldest, 0)
		if err != nil || len(calls) != 6 {
			t.Fatalf("%d calls, %v", len(calls), err)
		}
		for _, v := range calls {
			if m := as[*tandemv1.FollowUp](t, v); m.GetTeamId() != day.String() || m.GetProgramId() != outreach.String() {
				t.Errorf("the team %s: a call is of team %s, program %s", name, m.GetTeamId(), m.GetProgramId())
			}
		}
	}
	mustSync(t, c)
	if refused, err := c.Quarantined(t.Context()); err != nil || len(refused) > 0 {
		t.Errorf("%d are refused, %v", len(refused), err)
	}
}
