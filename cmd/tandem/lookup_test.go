package main

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
)

// otherTeam adds a team to the program of the office's, or to a program of its own, with
// a member.
func (o *office) otherTeam(name string, apart bool) (staff syncengine.ID) {
	o.t.Helper()
	id := func(id syncengine.ID, err error) syncengine.ID {
		o.t.Helper()
		if err != nil {
			o.t.Fatal(err)
		}
		return id
	}
	agency := id(syncengine.ParseID(o.record(o.clinician).Text(syncengine.FieldAgency)))
	program := id(syncengine.ParseID(o.record(o.team).Text(syncengine.FieldProgram)))
	if apart {
		program = id(o.admin.AddProgram(o.t.Context(), server.ProgramOptions{NameEN: name, Model: "crt", Agency: agency}))
	}
	team := id(o.admin.AddTeam(o.t.Context(), server.TeamOptions{Name: name, Program: program}))
	return id(o.admin.AddStaff(o.t.Context(), server.StaffOptions{
		Name: name, Discipline: "social_worker", Roles: []string{"clinician"}, Agency: agency, Teams: []syncengine.ID{team},
	}))
}

// teamMate adds a member to the teams of another.
func (o *office) teamMate(of syncengine.ID, role string) syncengine.ID {
	o.t.Helper()
	agency, err := syncengine.ParseID(o.record(of).Text(syncengine.FieldAgency))
	if err != nil {
		o.t.Fatal(err)
	}
	staff, err := o.admin.AddStaff(o.t.Context(), server.StaffOptions{
		Name: role, Discipline: "supervisor", Roles: []string{role}, Agency: agency, Teams: o.teams(of),
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return staff
}

// TestLookup: who works in a program reads what its other teams wrote, one record at a
// time; it stands beside the cut, is not written and not found by name, and leaves every
// file after a day. To everybody else it looks as if there were nothing.
func TestLookup(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := &canary{t: t, h: o.home, rng: rand.New(rand.NewPCG(31, 7))}
	now := time.Now()
	maya := c.device("maya", o.clinician)
	cal := &canaryDevice{name: "cal", dir: t.TempDir(), answers: &answers{base: &http.Transport{}}, changed: make(chan []syncengine.ID, 1000)}
	var err error
	cal.dev, err = o.enrol(t.Context(), o.otherTeam("Day", false), "cal", cal.dir, client.Options{
		Transport: cal.answers, Now: func() time.Time { return now }, Boot: func() ([]byte, time.Duration) { return []byte("bootboot"), time.Hour + time.Until(now) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cal.dev.Close() })
	c.sync(cal)
	far, dale := c.device("far", o.otherTeam("Elsewhere", true)), c.device("dale", o.officer)

	incident := c.create(maya, &tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new("ops")})
	person := c.create(maya, &tandemv1.Person{Descriptor_: new(c.plant("descriptor", false)), Names: []*tandemv1.PersonName{{Given: new(c.plant("given", false))}}})
	encounter := c.create(maya, &tandemv1.Encounter{IncidentId: new(incident.String()), PersonId: new(person.String()), Narrative: new(c.plant("narrative", false))})
	var private syncengine.ID
	if _, err := maya.dev.Edit(t.Context(), func(e *client.Edit) (err error) {
		private, err = e.Create(&tandemv1.Note{
			Target: &tandemv1.RecordRef{Kind: new("person"), Id: new(person.String())}, Type: new("private_psychotherapy"), Text: new(c.plant("private", false)),
		}, client.WithCompartment(tandemv1.Compartment_COMPARTMENT_PRIVATE))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	c.sync(maya, cal, far, dale)
	before := mustStatus(t, cal.dev)

	for name, tc := range map[string]struct {
		d  *canaryDevice
		id syncengine.ID
	}{
		"another program's":    {far, person},
		"the partner's":        {dale, person},
		"a private note":       {cal, private},
		"a call of a team":     {cal, incident},
		"what is not there":    {cal, syncengine.ID{7}},
		"the partner's absent": {dale, syncengine.ID{7}},
	} {
		if _, err := tc.d.dev.Lookup(t.Context(), tc.id, true, "continuity"); !errors.Is(err, client.ErrNothing) || err.Error() != client.ErrNothing.Error() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := cal.dev.Lookup(t.Context(), person, true, " "); !errors.Is(err, client.ErrReason) {
		t.Errorf("without a reason: %v", err)
	}

	found, err := cal.dev.Lookup(t.Context(), person, true, "on the way to a call")
	if err != nil || len(found.Records) != 2 || found.Records[0].ID != person || found.Records[1].ID != encounter || found.More {
		t.Fatalf("found %+v: %v", found, err)
	}
	v, err := cal.dev.Get(t.Context(), person)
	if err != nil || v.LookedUpMS == 0 || as[*tandemv1.Person](t, v).GetDescriptor_() != c.markers[0].text {
		t.Fatalf("the person as looked up: %+v %v", v, err)
	}
	for _, m := range c.markers {
		if has := len(cal.inFiles(m)) > 0; has != (m.field != "private") {
			t.Errorf("%s is in a file: %v", m.field, has)
		}
		if len(far.inFiles(m)) > 0 || len(dale.inFiles(m)) > 0 || far.answers.has(m) || dale.answers.has(m) {
			t.Errorf("%s has come where it may not be", m.field)
		}
	}
	as[*tandemv1.Person](t, v).Descriptor_ = new("overwritten")
	if _, err := cal.dev.Edit(t.Context(), func(e *client.Edit) error { return e.Set(v, v.Message) }); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("what was looked up was written: %v", err)
	}
	if hits, err := cal.dev.Search(t.Context(), c.markers[1].text, 10); err != nil || len(hits) > 0 {
		t.Errorf("the search finds %d: %v", len(hits), err)
	}
	if list, err := cal.dev.List(t.Context(), "person", client.Filter{}, client.Newest, 0); err != nil || len(list) > 0 {
		t.Errorf("the list has %d: %v", len(list), err)
	}
	c.sync(cal)
	after := mustStatus(t, cal.dev)
	if after.Records != before.Records || !slices.EqualFunc(after.Scopes, before.Scopes, func(a, b client.ScopeStatus) bool { return a.Digest == b.Digest }) {
		t.Error("the lookup has changed the cut")
	}
	if list, err := cal.dev.LookedUp(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("%d lookups are kept: %v", len(list), err)
	}

	// A day later; until then it is there.
	now = now.Add(23 * time.Hour)
	if _, err := cal.dev.Get(t.Context(), person); err != nil {
		t.Errorf("after 23 hours: %v", err)
	}
	now = now.Add(time.Hour + time.Second)
	if _, err := cal.dev.Get(t.Context(), person); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("after a day: %v", err)
	}
	if err := cal.dev.Close(); err != nil {
		t.Fatal(err)
	}
	r := tandem(t.Context(), "", "lookup", "list", "--store", cal.dir)
	if r.code != exitOK || !strings.Contains(r.out, "person "+person.String()) {
		t.Errorf("with today's clock: %d %s %s", r.code, r.out, r.err)
	}
	cal.dev, err = client.Open(t.Context(), cal.dir, client.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range c.markers {
		if files := cal.inFiles(m); len(files) > 0 {
			t.Errorf("%s is in %v after a day", m.field, files)
		}
	}
	if v, err := cal.dev.Verify(t.Context()); err != nil || !v.OK() {
		t.Errorf("the store: %v %v", v, err)
	}
}

// TestLookupEnds: what was looked up leaves the device when its person may no longer read
// it, and when the device is shut out; every lookup stands in the server's log.
func TestLookupEnds(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := &canary{t: t, h: o.home, rng: rand.New(rand.NewPCG(41, 7))}
	staff := o.otherTeam("Day", false)
	maya, cal := c.device("maya", o.clinician), c.device("cal", staff)
	person := c.create(maya, &tandemv1.Person{Descriptor_: new(c.plant("descriptor", false))})
	c.create(maya, &tandemv1.Encounter{PersonId: new(person.String()), Narrative: new(c.plant("narrative", false))})
	c.sync(maya)
	look := func() {
		t.Helper()
		if _, err := cal.dev.Lookup(t.Context(), person, true, "follow-up visit"); err != nil {
			t.Fatal(err)
		}
		for _, m := range c.markers {
			if len(cal.inFiles(m)) == 0 {
				t.Fatalf("%s is in no file: the search would miss it", m.field)
			}
		}
	}
	gone := func(when string) {
		t.Helper()
		if _, err := cal.dev.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, m := range c.markers {
			if files := cal.inFiles(m); len(files) > 0 {
				t.Errorf("%s: %s is in %v", when, m.field, files)
			}
		}
	}
	look()
	home := o.teams(staff)[0]
	o.inTeam(staff, home, false)
	gone("out of the program")
	o.inTeam(staff, home, true)
	c.sync(cal)
	look()
	if err := cal.dev.Close(); err != nil {
		t.Fatal(err)
	}
	must(t, "", "lookup", "forget", "--store", cal.dir)
	for _, m := range c.markers {
		if files := cal.inFiles(m); len(files) > 0 {
			t.Errorf("forgotten, and %s is in %v", m.field, files)
		}
	}
	if r := tandem(t.Context(), "", "lookup", "get", "--store", cal.dir, "--reason", "continuity", syncengine.ID{9}.String()); r.code != exitBadInput {
		t.Errorf("nothing there: exit code %d: %s", r.code, r.err)
	}
	if out := must(t, "", "lookup", "get", "--store", cal.dir, "--reason", "continuity", "--about", person.String()); !strings.Contains(out, c.markers[1].text) {
		t.Errorf("get prints %s", out)
	}
	var err error
	if cal.dev, err = client.Open(t.Context(), cal.dir, client.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cal.dev.Close() })
	must(t, "", "admin", "revoke", "--data", o.dir, "--staff", staff.String())
	gone("shut out")

	log := must(t, "", "admin", "lookups", "--data", o.dir, "--json")
	if n := strings.Count(log, "\n"); n != 4 || strings.Count(log, `"follow-up visit"`) != 2 || strings.Count(log, `"found":2`) != 3 || strings.Count(log, `"found":0`) != 1 {
		t.Errorf("the log of lookups:\n%s", log)
	}
}
