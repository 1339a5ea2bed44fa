package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
)

// A person on two teams says which one records made on the command line belong to; the error
// names them, and nothing is imported.
func TestImportOfTwoTeams(t *testing.T) {
	t.Parallel()
	h, _ := newHome(t, homeOptions{})
	day, err := h.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Day team", Program: h.program})
	if err != nil {
		t.Fatal(err)
	}
	both, err := h.admin.AddStaff(t.Context(), server.StaffOptions{
		Name: "Dee", Discipline: "nurse", Roles: []string{"clinician"}, Agency: h.clinic, Teams: []syncengine.ID{h.team, day},
	})
	if err != nil {
		t.Fatal(err)
	}
	code, err := h.code(t.Context(), both, "Tablet 4")
	if err != nil {
		t.Fatal(err)
	}
	car := filepath.Join(t.TempDir(), "car")
	must(t, code, "enroll", "--server", h.url, "--store", car)
	must(t, "", "sync", "--store", car)
	load := []string{"import", "--store", car, "--mapping", toronto}
	for name, args := range map[string][]string{"none": nil, "another": {"--team", h.clinic.String()}} {
		r := tandem(t.Context(), "", append(append(load, args...), spreadsheet(t, 3, 1))...)
		for _, want := range []string{"--team", day.String() + " (Day team)", h.team.String() + " (Night team)"} {
			if r.code != exitUsage || !strings.Contains(r.err, want) {
				t.Errorf("%s: exit code %d, without %q: %s", name, r.code, want, r.err)
			}
		}
	}
	must(t, "", append(load, "--team", day.String(), spreadsheet(t, 3, 1))...)
	dev, err := client.Open(t.Context(), car, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dev.Close() }()
	views := mustList(t, dev, "incident")
	if len(views) != 3 {
		t.Fatalf("%d calls", len(views))
	}
	for _, v := range views {
		if m, ok := v.Message.(*tandemv1.Incident); !ok || m.GetTeamId() != day.String() {
			t.Errorf("a call is of %v", v.Message)
		}
	}
}
