package app_test

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// chipsOf are the codes of a page's chips of a name, in order, and the one that is chosen.
func chipsOf(page, name string) (codes []string, on string) {
	for _, m := range regexp.MustCompile(`name="`+name+`" value="([a-z_0-9]+)"( checked)?`).FindAllStringSubmatch(page, -1) {
		codes = append(codes, m[1])
		if m[2] != "" {
			on = m[1]
		}
	}
	return codes, on
}

// Where a new call comes from and what it is are learned per team: the chips at hand are
// those that the team uses most, behind any number of calls of another team that the same
// person is in. The source is asked for with no tap where it is the usual one.
func TestChipsOfSource(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	id := func(id syncengine.ID, err error) syncengine.ID {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	program := id(o.admin.AddProgram(t.Context(), server.ProgramOptions{NameEN: "Outreach", Model: "crt", Agency: o.clinic}))
	day := id(o.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Day", Program: program}))
	night := o.ask(o.maya).session().Teams[0]
	a := o.ask(id(o.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Ana Sosa", Discipline: "counselor", Roles: []string{"clinician"}, Agency: o.clinic, Teams: []syncengine.ID{night, day}})))
	at := time.Now().Add(-48 * time.Hour)
	takes := func(team syncengine.ID, n int, source, kind string) {
		t.Helper()
		a.dev.WorkFor(team)
		if _, err := a.dev.Bulk(t.Context(), func(b *client.Bulk) error {
			for i := range n {
				at = at.Add(time.Second)
				if _, err := b.Edit(func(e *client.Edit) error {
					_, err := e.Create(&tandemv1.Incident{Number: new(fmt.Sprintf("%s-%d", source, i)), Source: &source, CallType: &kind, ResponseMode: new("co_response"), ReceivedAt: &tandemv1.Instant{AtMs: new(at.UnixMilli()), Origin: new("tap")}})
					return err
				}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	takes(night, 3, "school_request", "missing_person")
	takes(night, 2, "walk_in", "syringe_disposal")
	takes(day, 160, "provider_request", "outreach")
	a.post("shift", url.Values{"team": {night.String()}})
	page := a.get("today")
	codes, on := chipsOf(page, "source")
	if len(codes) < 8 || !slices.Equal(codes[:2], []string{"school_request", "walk_in"}) || on != "dispatch_911" {
		t.Errorf("the sources of the night team are %q, chosen is %s", codes, on)
	}
	if types := regexp.MustCompile(`name="type" value="([a-z_]+)"`).FindAllStringSubmatch(page, 9); len(types) < 9 || types[0][1] != "missing_person" || types[1][1] != "syringe_disposal" {
		t.Errorf("the types of the night team are %q", types)
	}
	if !strings.Contains(page, `<small data-says="source">`+record.New().Label("incident_source", "dispatch_911", "en")) {
		t.Error("the page does not say which source is chosen")
	}
	for said, want := range map[string]string{"": "dispatch_911", "walk_in": "walk_in", "nowhere": "dispatch_911"} {
		w := a.post("call", url.Values{"type": {"welfare_check"}, "source": {"", said}})
		_, call, _ := strings.Cut(w.Header().Get("Location"), "call/")
		v, err := a.dev.Get(t.Context(), id(syncengine.ParseID(call)))
		if err != nil {
			t.Fatal(err)
		}
		if m, ok := v.Message.(*tandemv1.Incident); !ok || m.GetSource() != want {
			t.Errorf("a call from %q comes from %s", said, m.GetSource())
		}
	}
	a.post("shift", url.Values{"team": {day.String()}, "source": {"walk_in"}})
	if codes, on := chipsOf(a.get("today"), "source"); codes[0] != "provider_request" || on != "walk_in" {
		t.Errorf("the sources of the day team are %q, chosen is %s", codes, on)
	}
}
