package server_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// lookFor is a request to look a record up.
func lookFor(id []byte, about bool) *tandemv1.SyncRequest {
	return &tandemv1.SyncRequest{Positions: []*tandemv1.ScopePosition{{}}, Lookup: &tandemv1.Lookup{Record: id, About: about, Reason: "continuity"}}
}

// TestLookupTellsNothing: what is not there, what is another team's and what lies in
// quarantine look the same to who may not read it, and the log tells them apart from what
// was found.
func TestLookupTellsNothing(t *testing.T) {
	each(t, func(t *testing.T, on engine) {
		w := newWorld(t, on, 61)
		far := must[syncengine.ID](t)(w.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Day", Program: w.program}))
		elsewhere := must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{
			Name: "Elsewhere", Discipline: "nurse", Roles: []string{"clinician"}, Agency: w.agency, Teams: []syncengine.ID{far},
		}))
		police, clinician, other := w.enrolled(1, w.partner), w.enrolled(2, w.clinician), w.enrolled(3, elsewhere)
		clinical, call := clinician.creation(encounter(w, marker)), clinician.creation(incident(w.team, "another team's call"))
		clinician.must(clinician.push(clinical, call))
		lying := other.creation(incident(w.team, "not his to make"))
		other.must(other.push(lying))
		absent := w.id()
		want := observed(police.must(lookFor(absent[:], true)))
		for name, id := range map[string][]byte{"clinical": clinical.Records[0].Record, "in quarantine": lying.Records[0].Record} {
			for _, about := range []bool{false, true} {
				req := lookFor(id, about)
				if got := observed(police.must(req)); got != want {
					t.Errorf("%s: the partner is told\n%s\nand of what is not there\n%s", name, got, want)
				}
			}
		}
		if a := other.must(lookFor(call.Records[0].Record, false)); len(a.GetLookedUp()) != 0 {
			t.Error("a clinician looks into the calls of another team")
		}
		if a := other.must(lookFor(clinical.Records[0].Record, false)); len(a.GetLookedUp()) != 1 || !strings.Contains(string(a.GetLookedUp()[0].GetBody()), marker) {
			t.Errorf("what another team of the program wrote is not found: %v", a.GetLookedUp())
		}
		// What is no longer his to read he is told to forget, what never was there too.
		req := &tandemv1.SyncRequest{Positions: []*tandemv1.ScopePosition{{}}, LookedUp: [][]byte{clinical.Records[0].Record, absent[:]}}
		if a := police.must(req); len(a.GetForget()) != 2 {
			t.Errorf("the partner is to forget %d of 2", len(a.GetForget()))
		}
		if a := other.must(req); len(a.GetForget()) != 1 || syncengine.ID(a.GetForget()[0]) != absent {
			t.Errorf("a clinician is to forget %d of 1", len(a.GetForget()))
		}
		if _, err := other.call(t.Context(), lookFor([]byte("short"), false)); codeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("an id that is none: %v", err)
		}
		var found, log int
		if err := w.admin.Lookups(t.Context(), 100, func(l *store.LoggedLookup) error {
			found, log = found+l.Found, log+1
			return nil
		}); err != nil || log != 7 || found != 1 {
			t.Errorf("the log has %d lines with %d records: %v", log, found, err)
		}
	})
}

// TestLookupsAreBounded: nobody reads the whole program by lookups.
func TestLookupsAreBounded(t *testing.T) {
	each(t, func(t *testing.T, on engine) {
		w := newWorld(t, on, 62)
		d, second := w.enrolled(1, w.clinician), w.enrolled(2, w.clinician)
		n := 0
		for ; n < 1000; n++ {
			if _, err := d.call(t.Context(), lookFor(d.person[:], false)); err != nil {
				if codeOf(err) != connect.CodeResourceExhausted || !strings.Contains(err.Error(), server.ErrLookups.Error()) {
					t.Fatal(err)
				}
				break
			}
		}
		if n != 120 {
			t.Errorf("%d lookups within an hour", n)
		}
		if _, err := second.call(t.Context(), lookFor(d.person[:], false)); codeOf(err) != connect.CodeResourceExhausted {
			t.Errorf("the person's other device: %v", err)
		}
		d.must(&tandemv1.SyncRequest{Positions: []*tandemv1.ScopePosition{{}}})
		w.pass(time.Hour + time.Second)
		// The nonce is old by now.
		_, _ = d.call(t.Context(), &tandemv1.SyncRequest{})
		d.must(lookFor(d.person[:], false))
	})
}

// TestRelink: a server whose records an older version has stored finds what they are about.
func TestRelink(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite, 63)
	d := w.enrolled(1, w.clinician)
	person := d.creation(&tandemv1.Person{TeamId: new(w.team.String()), Lifecycle: new("active"), Descriptor_: new("tall")})
	d.must(d.push(person))
	for range 3 {
		e := encounter(w, marker)
		id := syncengine.ID(person.Records[0].Record)
		e.PersonId = new(id.String())
		if o := d.must(d.push(d.creation(e))).GetOutcomes()[0]; o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
			t.Fatalf("got %v", o)
		}
	}
	db, err := sql.Open("sqlite", filepath.Join(w.dir, "tandem.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range []string{"PRAGMA busy_timeout = 5000", "DELETE FROM about", "UPDATE org SET linked = 0"} {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	look := func() int { return len(d.must(lookFor(person.Records[0].Record, true)).GetLookedUp()) }
	if n := look(); n != 1 {
		t.Fatalf("%d are found although nothing is noted", n)
	}
	ctx, end := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	l := listen(t)
	wg.Go(func() {
		if err := w.srv.Serve(ctx, l, nil); err != nil {
			t.Error(err)
		}
	})
	for began := time.Now(); look() != 4 && time.Since(began) < 20*time.Second; {
		time.Sleep(200 * time.Millisecond)
	}
	if n := look(); n != 4 {
		t.Errorf("%d of 4 are found", n)
	}
	end()
	wg.Wait()
}
