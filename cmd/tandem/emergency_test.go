package main

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// tunnel is a transport without signal, as long as dark says so.
type tunnel struct {
	http.RoundTripper

	dark atomic.Bool
}

// RoundTrip implements http.RoundTripper.
func (r *tunnel) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.dark.Load() {
		return nil, errors.New("no signal")
	}
	return r.RoundTripper.RoundTrip(req)
}

// TestBreakGlass: in an emergency a clinician opens one person's record that is not theirs
// to read, for 60 minutes and with a reason; what is private stays closed, a police
// partner opens nothing, and a lead is told and reviews it, once.
func TestBreakGlass(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := &canary{t: t, h: o.home, rng: rand.New(rand.NewPCG(35, 7))}
	now := time.Now()
	maya, dale := c.device("maya", o.clinician), c.device("dale", o.officer)
	elsewhere := o.otherTeam("Elsewhere", true)
	far := &canaryDevice{name: "far", dir: t.TempDir(), answers: &answers{base: &http.Transport{}}, changed: make(chan []syncengine.ID, 1000)}
	var err error
	far.dev, err = o.enrol(t.Context(), elsewhere, "far", far.dir, client.Options{
		Transport: far.answers, Now: func() time.Time { return now }, Boot: func() ([]byte, time.Duration) { return []byte("bootboot"), time.Hour + time.Until(now) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.dev.Close() })
	leading := o.teamMate(elsewhere, "lead")
	lead := c.device("lead", leading)
	person := c.create(maya, &tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new(c.plant("given", false))}}})
	encounter := c.create(maya, &tandemv1.Encounter{PersonId: new(person.String()), Narrative: new(c.plant("narrative", false))})
	other := c.create(maya, &tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new(c.plant("another", false))}}})
	if _, err := maya.dev.Edit(t.Context(), func(e *client.Edit) (err error) {
		_, err = e.Create(&tandemv1.Note{
			Target: &tandemv1.RecordRef{Kind: new("person"), Id: new(person.String())}, Type: new("private_psychotherapy"), Text: new(c.plant("private", false)),
		}, client.WithCompartment(tandemv1.Compartment_COMPARTMENT_PRIVATE))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	c.sync(maya, far, dale, lead)

	const reason = "found unconscious, need to know of allergies"
	if _, err := far.dev.Lookup(t.Context(), person, true, reason); !errors.Is(err, client.ErrNothing) {
		t.Fatalf("it is no emergency to look this up: %v", err)
	}
	for name, tc := range map[string]struct {
		d      *canaryDevice
		id     syncengine.ID
		reason string
		want   error
	}{
		"a police partner":  {dale, person, reason, syncengine.ErrNoEmergency},
		"no reason":         {far, person, "urgent", client.ErrEmergencyReason},
		"no person":         {far, encounter, reason, client.ErrNothing},
		"what is not there": {far, syncengine.ID{9}, reason, client.ErrNothing},
	} {
		if _, err := tc.d.dev.BreakGlass(t.Context(), tc.id, tc.reason); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
	e, err := far.dev.BreakGlass(t.Context(), person, reason)
	if err != nil || e.Offline || len(e.Records) != 2 || e.Records[0].ID != person || e.Records[1].ID != encounter {
		t.Fatalf("opened %+v: %v", e, err)
	}
	c.sync(far)
	if v, err := far.dev.Get(t.Context(), encounter); err != nil || as[*tandemv1.Encounter](t, v).GetNarrative() != c.markers[1].text {
		t.Errorf("the visit: %v %v", v, err)
	}
	for _, m := range c.markers {
		if has := len(far.inFiles(m)) > 0; has != (m.field == "given" || m.field == "narrative") {
			t.Errorf("%s is in a file: %t", m.field, has)
		}
		if dale.answers.has(m) {
			t.Errorf("%s has come to the partner", m.field)
		}
	}
	if _, err := far.dev.Get(t.Context(), other); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("another person's record: %v", err)
	}

	// The lead is told; their own nobody reviews, and nobody of another program.
	c.sync(lead, maya)
	if n := mustStatus(t, lead.dev).Emergencies; n != 3 {
		t.Errorf("%d wait for the lead, want those of a person, of a visit and of nothing", n)
	}
	var listed struct {
		ID, Subject, Reason string
		Sent                int
	}
	r := tandem(t.Context(), "", "admin", "emergency", "list", "--data", o.dir, "--as", leading.String(), "--limit", "1", "--json")
	if err := json.Unmarshal([]byte(r.out), &listed); err != nil || r.code != exitOK || listed.ID != e.ID.String() || listed.Subject != person.String() || listed.Reason != reason || listed.Sent != 2 {
		t.Fatalf("listed %d %s %s: %v", r.code, r.out, r.err, err)
	}
	review := func(as, emergency syncengine.ID) ran {
		return tandem(t.Context(), "", "admin", "emergency", "review", "--data", o.dir, "--as", as.String(), "--justified", "--note", "spoke with the ward", emergency.String())
	}
	own, err := lead.dev.BreakGlass(t.Context(), person, reason)
	if err != nil {
		t.Fatal(err)
	}
	if r := review(leading, own.ID); r.code != exitBadInput {
		t.Errorf("a lead reviews their own: %d %s", r.code, r.err)
	}
	for name, as := range map[string]syncengine.ID{"who did it": elsewhere, "somebody of another program": o.lead} {
		if r := review(as, e.ID); r.code != exitBadInput {
			t.Errorf("%s reviews it: %d %s", name, r.code, r.err)
		}
	}
	if r := review(leading, e.ID); r.code != exitOK {
		t.Errorf("the review: %d %s", r.code, r.err)
	}
	if r := review(leading, e.ID); r.code != exitBadInput || !strings.Contains(r.err, "before") {
		t.Errorf("another review: %d %s", r.code, r.err)
	}
	c.sync(lead)
	if n := mustStatus(t, lead.dev).Emergencies; n != 2 {
		t.Errorf("%d wait for the lead after a review, want 2", n)
	}
	log := tandem(t.Context(), "", "admin", "audit", "list", "--data", o.dir, "--limit", "0").out
	for _, act := range []string{"BROKE_GLASS", "EMERGENCY_OPENED", "EMERGENCY_REVIEWED", "EMERGENCIES_READ"} {
		if !strings.Contains(log, act) {
			t.Errorf("%s does not stand in the audit log", act)
		}
	}

	// It ends by itself.
	now = now.Add(59 * time.Minute)
	if _, err := far.dev.Get(t.Context(), person); err != nil {
		t.Errorf("after 59 minutes: %v", err)
	}
	now = now.Add(2 * time.Minute)
	if _, err := far.dev.Get(t.Context(), person); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("after an hour: %v", err)
	}
	c.sync(far)
	for _, m := range c.markers {
		if files := far.inFiles(m); len(files) > 0 {
			t.Errorf("%s is in %v after an hour", m.field, files)
		}
	}

	// By the commands.
	if err := lead.dev.Close(); err != nil {
		t.Fatal(err)
	}
	open := func(more ...string) ran {
		return tandem(t.Context(), "", append([]string{"emergency", "open", "--store", lead.dir, "--reason", reason, person.String()}, more...)...)
	}
	if r := open(); r.code != exitOK || !strings.Contains(r.out, "person "+person.String()) || !strings.Contains(r.out, "A lead will ask") {
		t.Errorf("opened: %d %s %s", r.code, r.out, r.err)
	}
	r = open("--json")
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	type opened struct {
		Emergency, Record string
		Offline           bool
	}
	first := decode[opened](t, lines[0])
	if r.code != exitOK || len(lines) != 2 || first.Record != person.String() || first.Offline {
		t.Errorf("opened: %d %s %s", r.code, r.out, r.err)
	}
	second := o.teamMate(elsewhere, "lead")
	type reviewed struct {
		ID        string
		Justified bool
	}
	id := first.Emergency
	r = tandem(t.Context(), "", "admin", "emergency", "review", "--data", o.dir, "--as", second.String(), "--unjustified", "--note", "a drill", id, "--json")
	if got := decode[reviewed](t, r.out); r.code != exitOK || got.ID != id || got.Justified {
		t.Errorf("reviewed: %d %s %s", r.code, r.out, r.err)
	}
}

// TestBreakGlassWithoutSignal: where charts are closed because a device had no contact for
// long, one person's record opens for 60 minutes, and the server learns of it afterwards.
func TestBreakGlassWithoutSignal(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := &canary{t: t, h: o.home, rng: rand.New(rand.NewPCG(36, 7))}
	now := time.Now()
	link := &tunnel{RoundTripper: &http.Transport{}}
	maya := &canaryDevice{name: "maya", dir: t.TempDir(), answers: &answers{base: link}, changed: make(chan []syncengine.ID, 1000)}
	var err error
	maya.dev, err = o.enrol(t.Context(), o.clinician, "maya", maya.dir, client.Options{
		Transport: maya.answers, Now: func() time.Time { return now }, Boot: func() ([]byte, time.Duration) { return []byte("bootboot"), time.Hour + time.Until(now) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { maya.dev.Close() })
	lead := c.device("lead", o.lead)
	person := c.create(maya, &tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new("Rosa")}}})
	encounter := c.create(maya, &tandemv1.Encounter{PersonId: new(person.String()), Narrative: new("allergic to penicillin")})
	note := c.create(maya, &tandemv1.Note{
		Target: &tandemv1.RecordRef{Kind: new("encounter"), Id: new(encounter.String())}, Type: new("case"), Text: new("sister knows"),
	})
	other := c.create(maya, &tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new("Ada")}}})
	c.sync(maya)

	link.dark.Store(true)
	now = now.Add(31 * 24 * time.Hour)
	if _, err := maya.dev.Get(t.Context(), person); !errors.Is(err, client.ErrLease) {
		t.Fatalf("charts are not closed: %v", err)
	}
	e, err := maya.dev.BreakGlass(t.Context(), person, "seizure in the car, no hospital near")
	if err != nil || !e.Offline || len(e.Records) != 3 || e.Records[0].ID != person {
		t.Fatalf("opened %+v: %v", e, err)
	}
	for _, id := range []syncengine.ID{person, encounter, note} {
		if _, err := maya.dev.Get(t.Context(), id); err != nil {
			t.Errorf("what was opened: %v", err)
		}
	}
	if _, err := maya.dev.Get(t.Context(), other); !errors.Is(err, client.ErrLease) {
		t.Errorf("another person's record: %v", err)
	}
	if _, err := maya.dev.List(t.Context(), "person", client.Filter{}, client.Newest, 0); !errors.Is(err, client.ErrLease) {
		t.Errorf("the list: %v", err)
	}
	if _, err := maya.dev.BreakGlass(t.Context(), syncengine.ID{9}, "seizure in the car, no hospital near"); !errors.Is(err, client.ErrNothingHeld) {
		t.Errorf("somebody who is not here: %v", err)
	}
	now = now.Add(61 * time.Minute)
	if _, err := maya.dev.Get(t.Context(), person); !errors.Is(err, client.ErrLease) {
		t.Errorf("after an hour: %v", err)
	}

	link.dark.Store(false)
	now = time.Now()
	c.sync(maya, maya, lead)
	if n := mustStatus(t, lead.dev).Emergencies; n != 2 {
		t.Errorf("%d wait for the lead, want 2", n)
	}
	// Who is shut out meanwhile is told so, and nothing stays open.
	now = now.Add(31 * 24 * time.Hour)
	if err := o.admin.RevokePerson(t.Context(), o.clinician); err != nil {
		t.Fatal(err)
	}
	if _, err := maya.dev.BreakGlass(t.Context(), person, "seizure in the car, no hospital near"); err == nil {
		t.Error("somebody who is shut out opens a record")
	}
	if _, err := maya.dev.Get(t.Context(), person); !errors.Is(err, client.ErrLease) {
		t.Errorf("what somebody opens who is shut out: %v", err)
	}
	r := tandem(t.Context(), "", "admin", "emergency", "list", "--data", o.dir)
	if r.code != exitOK || !strings.Contains(r.out, "3 held and 0 sent") || !strings.Contains(r.out, "no hospital near") {
		t.Errorf("listed: %d %s %s", r.code, r.out, r.err)
	}
}
