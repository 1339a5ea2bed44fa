package server_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

func TestAdminRefuses(t *testing.T) { each(t, testAdminRefuses) }

func testAdminRefuses(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 30)
	ctx, a := t.Context(), w.admin
	head := w.head()
	agency := server.AgencyOptions{Name: "Some Agency", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"}
	staff := server.StaffOptions{Name: clinicianName, Discipline: "nurse", Roles: []string{"clinician"}, Agency: w.agency, Teams: []syncengine.ID{w.team}}
	for name, tc := range map[string]struct {
		do   func() error
		says string
	}{
		"an agency without a name": {func() error {
			o := agency
			o.Name = " "
			_, err := a.AddAgency(ctx, o)
			return err
		}, "name"},
		"an agency of an unknown type": {func() error {
			o := agency
			o.Type = "circus"
			_, err := a.AddAgency(ctx, o)
			return err
		}, "type"},
		"an agency in no time zone": {func() error {
			o := agency
			o.TimeZone = "5 o'clock"
			_, err := a.AddAgency(ctx, o)
			return err
		}, "agency_tz"},
		"a program of no agency": {func() error {
			_, err := a.AddProgram(ctx, server.ProgramOptions{NameEN: "P", Model: "crt"})
			return err
		}, "no such agency"},
		"a program with a team as partner": {func() error {
			_, err := a.AddProgram(ctx, server.ProgramOptions{NameEN: "P", Model: "crt", Agency: w.agency, Partners: []syncengine.ID{w.team}})
			return err
		}, "no such agency"},
		"a team of no program": {func() error {
			_, err := a.AddTeam(ctx, server.TeamOptions{Name: "T", Program: w.agency})
			return err
		}, "no such program"},
		"a team without a name": {func() error {
			_, err := a.AddTeam(ctx, server.TeamOptions{Program: w.program})
			return err
		}, "name"},
		"staff without a role": {func() error {
			o := staff
			o.Roles = nil
			_, err := a.AddStaff(ctx, o)
			return err
		}, "role"},
		"staff with an unknown role": {func() error {
			o := staff
			o.Roles = []string{"wizard"}
			_, err := a.AddStaff(ctx, o)
			return err
		}, "no such role"},
		"a police partner who is a clinician": {func() error {
			o := staff
			o.Roles = []string{"clinician", "le_partner"}
			_, err := a.AddStaff(ctx, o)
			return err
		}, "police partner"},
		"staff of no agency": {func() error {
			o := staff
			o.Agency = w.id()
			_, err := a.AddStaff(ctx, o)
			return err
		}, "no such agency"},
		"staff of no team": {func() error {
			o := staff
			o.Teams = []syncengine.ID{w.program}
			_, err := a.AddStaff(ctx, o)
			return err
		}, "no such team"},
		"staff of an unknown discipline": {func() error {
			o := staff
			o.Discipline = "juggler"
			_, err := a.AddStaff(ctx, o)
			return err
		}, "discipline"},
		"a code for nobody": {func() error {
			_, err := a.IssueCode(ctx, w.team, deviceLabel)
			return err
		}, "no such staff"},
		"a code without a label": {func() error {
			_, err := a.IssueCode(ctx, w.clinician, " ")
			return err
		}, "label"},
		"a code with a label without end": {func() error {
			_, err := a.IssueCode(ctx, w.clinician, strings.Repeat("x", 200))
			return err
		}, "label"},
	} {
		err := tc.do()
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: got %v, want an error that says %q", name, err, tc.says)
			continue
		}
		if errors.Is(err, store.ErrFailedTwice) || strings.Contains(err.Error(), clinicianName) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if w.head() != head {
		t.Error("what was refused moved the history")
	}
	if kept := must[[]*syncengine.StoredChange](t)(w.s.Quarantined(ctx, w.org.ID)); len(kept) > 0 {
		t.Errorf("what was refused went to quarantine: %d changes", len(kept))
	}
}

func TestSameSeedSameServer(t *testing.T) { each(t, testSameSeedSameServer) }

func testSameSeedSameServer(t *testing.T, on engine) {
	t.Parallel()
	type run struct {
		head    syncengine.HistoryHead
		digests map[syncengine.ScopeKey]syncengine.Sum
		ids     []syncengine.ID
	}
	var runs [2]run
	for i := range runs {
		w := newWorld(t, on, 31)
		d := w.enrolled(1, w.clinician)
		d.must(d.push(d.creation(encounter(w, marker))))
		report := must[*store.Report](t)(w.s.Verify(t.Context(), w.org.ID))
		if len(report.Faults) > 0 {
			t.Fatal(report.Faults)
		}
		runs[i] = run{w.head(), report.Digests, []syncengine.ID{w.org.ID, w.agency, w.team, w.clinician, d.dev}}
	}
	if runs[0].head != runs[1].head {
		t.Errorf("histories %v and %v", runs[0].head, runs[1].head)
	}
	for k, sum := range runs[0].digests {
		if runs[1].digests[k] != sum {
			t.Errorf("digests of %v differ", k)
		}
	}
	for i, id := range runs[0].ids {
		if runs[1].ids[i] != id {
			t.Errorf("id %d: %v and %v", i, id, runs[1].ids[i])
		}
	}
}

func TestAdminBesideAServer(t *testing.T) { each(t, testAdminBesideAServer) }

func testAdminBesideAServer(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 32)
	d := w.enrolled(1, w.clinician)
	req, _ := d.read()
	beside, err := store.Open(t.Context(), w.dir, store.Options{Database: w.database, Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	org, err := beside.Org(t.Context(), w.org.ID)
	if err != nil {
		t.Fatal(err)
	}
	admin := server.NewAdmin(beside, org, server.AdminOptions{})
	if _, err := admin.AddTeam(t.Context(), server.TeamOptions{Name: "Day", Program: w.program}); err != nil {
		t.Fatal(err)
	}
	req.WaitMs = 40_000
	rows := d.must(req).GetPage().GetRows()
	if len(rows) != 1 || rows[0].GetKind() != record.New().KindByName("team").Number {
		t.Errorf("who waited got %d rows, want the new team", len(rows))
	}
}
