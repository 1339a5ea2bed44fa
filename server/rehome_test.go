package server_test

import (
	"bytes"
	"errors"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// shared are the rules of a version in which the whole team read reviews.
type shared struct{ syncengine.Rules }

func (s *shared) Scopes(org syncengine.ID, rec *syncengine.Record, look syncengine.Lookup) ([]syncengine.ScopeKey, []syncengine.ID, error) {
	own, followers, err := s.Rules.Scopes(org, rec, look)
	if rec.Kind == record.New().KindByName("review").Number && len(own) > 0 {
		own = own[:1]
		own[0].Compartment = tandemv1.Compartment_COMPARTMENT_CLINICAL
	}
	return own, followers, err
}

// A review reaches its team's leads and who made what was reviewed; nobody else. One that
// an earlier version had put where the whole team reads it leaves the others' devices once
// the server is updated.
func TestReviewsAreOwn(t *testing.T) { each(t, testReviewsAreOwn) }

func testReviewsAreOwn(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 96)
	author, colleague, police := w.enrolled(1, w.clinician), w.enrolled(2, w.second), w.enrolled(3, w.partner)
	lead := w.enrolled(4, must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{
		Name: "Lena", Discipline: "supervisor", Roles: []string{"lead"}, Agency: w.agency, Teams: []syncengine.ID{w.team},
	})))
	visit := author.creation(encounter(w, marker))
	applied := func(a *tandemv1.SyncAnswer) {
		t.Helper()
		for _, o := range a.GetOutcomes() {
			if o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
				t.Fatalf("got %v", o)
			}
		}
	}
	applied(author.must(author.push(visit)))
	reviewed := func() []byte {
		t.Helper()
		c := lead.creation(&tandemv1.Review{
			AgencyId: new(w.agency.String()), TeamId: new(w.team.String()), Lifecycle: new("recorded"), Decision: new("noted"), Comment: new(marker),
			Target: &tandemv1.RecordRef{Kind: new("encounter"), Id: new(syncengine.ID(visit.Records[0].Record).String())}, Rev: new(uint32(0)),
			StateHash: make([]byte, 32), By: new(lead.person.String()), At: &tandemv1.Instant{AtMs: new(w.clock().UnixMilli())},
		})
		applied(lead.must(lead.push(c)))
		return c.Records[0].Record
	}
	reads := func(d *device, review []byte) (there bool) {
		t.Helper()
		_, rows := d.read()
		for _, r := range rows {
			there = there || bytes.Equal(r.GetRecord(), review) && len(r.GetBody()) > 0
		}
		return there
	}
	holds := func(when string, review []byte, want map[*device]bool) {
		t.Helper()
		for d, there := range want {
			if reads(d, review) != there {
				t.Errorf("%s: device %v holds the review: %t", when, d.person, !there)
			}
		}
	}
	own := map[*device]bool{lead: true, author: true, colleague: false, police: false}
	holds("new", reviewed(), own)

	var now syncengine.Rules
	server.SetRules(w.srv, func(r syncengine.Rules) syncengine.Rules {
		now = r
		return &shared{r}
	})
	old := reviewed()
	holds("of an earlier version", old, map[*device]bool{lead: true, author: true, colleague: true, police: false})
	next, _ := colleague.read()
	server.SetRules(w.srv, func(syncengine.Rules) syncengine.Rules { return now })
	for range 2 {
		if err := server.Rehome(t.Context(), w.srv); err != nil {
			t.Fatal(err)
		}
	}
	gone := false
	for _, r := range colleague.must(next).GetPage().GetRows() {
		gone = gone || bytes.Equal(r.GetRecord(), old) && r.GetScopes() == 0 && len(r.GetBody()) == 0
	}
	if !gone {
		t.Error("a colleague's device is not told that a review has left it")
	}
	holds("moved", old, own)
	if r, err := w.s.Verify(t.Context(), w.org.ID); err != nil || len(r.Faults) > 0 {
		t.Errorf("verified: %+v: %v", r, err)
	}
}

// many are rules by which everybody is in more teams than their staff record may say now, as
// one from before that was bounded.
type many struct{ syncengine.Rules }

func (m *many) Principal(rec *syncengine.Record, look syncengine.Lookup) (*syncengine.Principal, error) {
	p, err := m.Rules.Principal(rec, look)
	if err == nil {
		for i := range record.MaxTeams + 3 {
			p.Teams = append(p.Teams, syncengine.ID{0x7f, byte(i)})
		}
	}
	return p, err
}

// A person in more teams than a device can hold still syncs, always the same scopes; nobody
// gets into so many any more.
func TestManyTeams(t *testing.T) { each(t, testManyTeams) }

func testManyTeams(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 97)
	o := server.StaffOptions{Name: "Lena", Discipline: "supervisor", Roles: []string{"clinician", "lead"}, Agency: w.agency, Teams: []syncengine.ID{w.team}}
	lead := w.enrolled(1, must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), o)))
	for range record.MaxTeams {
		o.Teams = append(o.Teams, w.id())
	}
	if _, err := w.admin.AddStaff(t.Context(), o); !errors.Is(err, record.ErrTeams) {
		t.Errorf("somebody in %d teams: %v", len(o.Teams), err)
	}
	server.SetRules(w.srv, func(r syncengine.Rules) syncengine.Rules { return &many{r} })
	visit := lead.creation(encounter(w, marker))
	lead.must(lead.push(visit))
	set := lead.must(&tandemv1.SyncRequest{Budget: 1 << 20, Positions: []*tandemv1.ScopePosition{{}}}).GetPage().GetScopeSet()
	if len(set.GetScopes()) != 64 {
		t.Errorf("a device is to hold %d scopes", len(set.GetScopes()))
	}
	next, rows := lead.read()
	there := false
	for _, r := range rows {
		there = there || bytes.Equal(r.GetRecord(), visit.Records[0].Record)
	}
	if !there {
		t.Error("a visit of a team that the device holds does not reach it")
	}
	if again := lead.must(next).GetPage().GetScopeSet(); again != nil {
		t.Errorf("what the device holds is said to be another set: %d scopes", len(again.GetScopes()))
	}
}

// A review that is loaded before what it is about is read by who made that.
func TestLoadedReviews(t *testing.T) { each(t, testLoadedReviews) }

func testLoadedReviews(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 99)
	author := w.enrolled(1, w.clinician)
	visit := author.creation(encounter(w, marker)).GetRecords()[0]
	review := author.creation(&tandemv1.Review{
		AgencyId: new(w.agency.String()), TeamId: new(w.team.String()), Lifecycle: new("recorded"), Decision: new("noted"),
		Target: &tandemv1.RecordRef{Kind: new("encounter"), Id: new(syncengine.ID(visit.GetRecord()).String())}, Rev: new(uint32(0)),
		StateHash: make([]byte, 32), By: new(w.second.String()), At: &tandemv1.Instant{AtMs: new(w.clock().UnixMilli())},
	}).GetRecords()[0]
	loaded, err := w.admin.Load(t.Context(), []*syncengine.Loaded{
		{Write: review, Author: w.second, AtMS: w.clock().UnixMilli()}, {Write: visit, Author: author.person, AtMS: w.clock().UnixMilli()},
	})
	if err != nil || loaded != 2 {
		t.Fatalf("%d loaded: %v", loaded, err)
	}
	_, rows := author.read()
	there := false
	for _, r := range rows {
		there = there || bytes.Equal(r.GetRecord(), review.GetRecord()) && len(r.GetBody()) > 0
	}
	if !there {
		t.Error("who made what was reviewed does not get the review")
	}
	if r, err := w.s.Verify(t.Context(), w.org.ID); err != nil || len(r.Faults) > 0 {
		t.Errorf("verified: %+v: %v", r, err)
	}
}
