package server_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// stored returns a record as the server has it.
func (w *world) stored(raw []byte) *syncengine.StoredRecord {
	w.t.Helper()
	var rec *syncengine.StoredRecord
	err := w.s.Read(w.t.Context(), w.org.ID, func(v syncengine.ServerView) (err error) {
		rec, err = v.Record(syncengine.ID(raw))
		return err
	})
	if err != nil || rec == nil {
		w.t.Fatal(rec, err)
	}
	return rec
}

// open reports whether a record is in a scope of the open tier.
func open(rec *syncengine.StoredRecord) bool {
	return slices.ContainsFunc(rec.Scopes, func(k syncengine.ScopeKey) bool { return k.Open })
}

// tend lets days pass with the janitor running each of them.
func (w *world) tend(days int) (sum server.Tidied) {
	w.t.Helper()
	for range days {
		w.pass(24 * time.Hour)
		done, err := w.srv.Tidy(w.t.Context(), w.org.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		sum.Aged += done.Aged
		sum.Locked += done.Locked
		sum.Expired += done.Expired
	}
	return sum
}

// renew lets a device learn the nonce of now.
func (d *device) renew() { _, _ = d.call(d.w.t.Context(), &tandemv1.SyncRequest{}) }

func TestJanitor(t *testing.T) { each(t, testJanitor) }

func testJanitor(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 61)
	d := w.enrolled(1, w.clinician)
	incident := func(lifecycle string) *tandemv1.Change {
		return d.creation(&tandemv1.Incident{
			AgencyId: new(w.agency.String()), ProgramId: new(w.program.String()), TeamId: new(w.team.String()), Lifecycle: &lifecycle,
			CallType: new("welfare_check"), Contact: new("contact_made"), ClearedAt: &tandemv1.Instant{AtMs: new(int64(1_700_000_000_000)), Origin: new("tap")},
		})
	}
	working, cleared, chart := incident("open"), incident("cleared"), d.creation(encounter(w, marker))
	for _, o := range d.must(d.push(working, cleared, chart)).GetOutcomes() {
		if o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
			t.Fatalf("got %v", o)
		}
	}
	ids := [][]byte{working.GetRecords()[0].GetRecord(), cleared.GetRecords()[0].GetRecord(), chart.GetRecords()[0].GetRecord()}
	states := func() (s []*syncengine.StoredRecord) {
		for _, id := range ids {
			s = append(s, w.stored(id))
		}
		return s
	}
	before := states()
	if done := w.tend(3); done != (server.Tidied{}) {
		t.Errorf("after 3 days: %+v", done)
	}
	if done := w.tend(2); done != (server.Tidied{Locked: 1}) {
		t.Errorf("after 5 days: %+v", done)
	}
	if now := states(); now[1].Lifecycle() != record.Locked || open(now[1]) || !open(now[0]) || !open(now[2]) {
		t.Errorf("after 5 days the cleared call is %s, open %t", now[1].Lifecycle(), open(now[1]))
	}
	if done := w.tend(27); done != (server.Tidied{Aged: 1}) {
		t.Errorf("after 32 days: %+v", done)
	}
	now := states()
	if open(now[0]) || !open(now[2]) || now[0].Hash != before[0].Hash || now[0].Seq <= before[0].Seq {
		t.Errorf("after 32 days: the call is open %t, the chart %t; the call changed %t", open(now[0]), open(now[2]), now[0].Hash != before[0].Hash)
	}
	// A change brings it back, and it ages anew.
	v := now[0]
	state, err := syncengine.Decode(&v.Record)
	if err != nil {
		t.Fatal(err)
	}
	path := syncengine.Path{Field: 41} // notes_ops
	edit := d.creation(&tandemv1.Incident{})
	edit.Records = []*tandemv1.RecordWrite{{
		Record: ids[0], Kind: v.Kind, Act: tandemv1.Act_ACT_SET,
		Writes: []*tandemv1.PathWrite{{Field: path.Field, Value: syncengine.StringField(path.Field, "Two dogs."), Bases: syncengine.EncodeStamps(state.Bases(path, false))}},
	}}
	d.renew()
	if o := d.must(d.push(edit)).GetOutcomes(); o[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
		t.Fatalf("got %v", o)
	}
	if !open(w.stored(ids[0])) {
		t.Error("a change does not bring it back")
	}
	if done := w.tend(32); done != (server.Tidied{Aged: 2}) {
		t.Errorf("after 64 days: %+v", done)
	}
	// What a device holds is what the server says, by digest.
	reader := w.enrolled(2, w.second)
	if _, rows := reader.read(); len(rows) < 3 {
		t.Errorf("a new device got %d rows", len(rows))
	}
	report, err := w.s.Verify(t.Context(), w.org.ID)
	if err != nil || len(report.Faults) > 0 {
		t.Errorf("verify: %v, %v", report, err)
	}
}

// Where the clock goes back, or ahead by more than two days, nothing happens until an
// admin has looked.
func TestJanitorStops(t *testing.T) { each(t, testJanitorStops) }

func testJanitorStops(t *testing.T, on engine) {
	t.Parallel()
	for name, tc := range map[string]struct {
		jump  time.Duration
		stops bool
	}{
		"two days":        {48 * time.Hour, false},
		"a day":           {24 * time.Hour, false},
		"more":            {48*time.Hour + time.Second, true},
		"ten years":       {10 * 365 * 24 * time.Hour, true},
		"back by a while": {-time.Hour, true},
		"back by years":   {-10 * 365 * 24 * time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, on, 62)
			d := w.enrolled(1, w.clinician)
			chart := d.creation(encounter(w, marker))
			d.must(d.push(chart))
			w.tend(61)
			if rec := w.stored(chart.GetRecords()[0].GetRecord()); open(rec) {
				t.Fatal("it is open after 61 days")
			}
			second := d.creation(encounter(w, marker))
			d.renew()
			d.must(d.push(second))
			w.tend(1)
			head := w.head()
			w.pass(tc.jump)
			for range 3 {
				if _, err := w.srv.Tidy(t.Context(), w.org.ID); errors.Is(err, server.ErrJanitorStopped) != tc.stops {
					t.Errorf("got %v, want stopped %t", err, tc.stops)
				}
				w.pass(time.Minute)
			}
			last, stopped, err := w.admin.Janitor(t.Context())
			if err != nil || stopped.IsZero() == tc.stops || last.IsZero() {
				t.Errorf("last %v, stopped %v, %v", last, stopped, err)
			}
			if !tc.stops {
				return
			}
			if w.head() != head || !open(w.stored(second.GetRecords()[0].GetRecord())) {
				t.Error("it did something all the same")
			}
			if err := w.admin.AllowJanitor(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := w.srv.Tidy(t.Context(), w.org.ID); err != nil {
				t.Errorf("an admin has looked, and yet: %v", err)
			}
		})
	}
}

// A mark that a wrong clock has made is no reason to take anything for quiet: the server
// began with a clock of years ago, and an admin has set it right since.
func TestJanitorForgetsAWrongClock(t *testing.T) { each(t, testJanitorForgetsAWrongClock) }

func testJanitorForgetsAWrongClock(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 65)
	const years = 10 * 365 * 24 * time.Hour
	w.pass(-years)
	d := w.enrolled(1, w.clinician)
	chart := d.creation(encounter(w, marker))
	d.must(d.push(chart))
	if _, err := w.srv.Tidy(t.Context(), w.org.ID); err != nil {
		t.Fatal(err)
	}
	w.pass(years)
	if _, err := w.srv.Tidy(t.Context(), w.org.ID); !errors.Is(err, server.ErrJanitorStopped) {
		t.Fatalf("the clock is right now: %v", err)
	}
	if err := w.admin.AllowJanitor(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.tend(2)
	if !open(w.stored(chart.GetRecords()[0].GetRecord())) {
		t.Error("what was written the day before yesterday was taken for quiet")
	}
	w.tend(61)
	if open(w.stored(chart.GetRecords()[0].GetRecord())) {
		t.Error("it is open after 63 days")
	}
}

// What a device says of its time is kept beside what the server makes of it; a clock
// that is years off is flagged, and what it wrote is kept like everything.
func TestSuspectClock(t *testing.T) { each(t, testSuspectClock) }

func testSuspectClock(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 63)
	d := w.enrolled(1, w.clinician)
	right, wrong := d.creation(encounter(w, marker)), d.creation(encounter(w, marker))
	now := w.clock().UnixMilli()
	boot := []byte("12345678")
	right.Time = &tandemv1.ChangeTime{WallMs: now - 5000, MonoMs: 9000, Boot: boot, OffsetKnown: true, UncertaintyMs: 40, ContactMs: now - 10_000, ContactMonoMs: 4000}
	wrong.Time = &tandemv1.ChangeTime{WallMs: 0, MonoMs: 9000, Boot: boot, OffsetKnown: true, OffsetMs: now - 10_000 + 5000, UncertaintyMs: 40, ContactMs: now - 10_000, ContactMonoMs: 4000}
	for _, o := range d.must(d.push(right, wrong)).GetOutcomes() {
		if o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
			t.Errorf("got %v", o)
		}
	}
	err := w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		for _, c := range []*tandemv1.Change{right, wrong} {
			got, err := tx.Change(syncengine.ID(c.GetId()))
			if err != nil {
				return err
			}
			if got.AtMS != c.GetTime().GetWallMs() || got.CorrectedMS != now-5000 || got.UncertaintyMS != 40 {
				t.Errorf("as entered %d, corrected %d ± %d", got.AtMS, got.CorrectedMS, got.UncertaintyMS)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	items, err := w.s.Items(t.Context(), w.org.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	var flagged []syncengine.ID
	for _, i := range items {
		if i.Kind == syncengine.ItemTimeSuspect {
			flagged = append(flagged, i.Record)
		}
	}
	if want := syncengine.ID(wrong.GetRecords()[0].GetRecord()); len(flagged) != 1 || flagged[0] != want {
		t.Errorf("flagged are %v, want %v", flagged, want)
	}
}

// A consent and an alert end with their last day, by themselves and once: as a change that
// devices get, with the card that police partners see. What was revoked stays revoked.
func TestJanitorExpires(t *testing.T) { each(t, testJanitorExpires) }

func testJanitorExpires(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 63)
	m := &matrixWorld{w: w}
	boss := must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{
		Name: "Lead Person", Discipline: "supervisor", Roles: []string{"lead"}, Agency: w.agency, Teams: []syncengine.ID{w.team},
	}))
	clinician, lead, police := w.enrolled(1, w.clinician), w.enrolled(2, boss), w.enrolled(3, w.partner)
	apply := func(d *device, change *tandemv1.Change) {
		t.Helper()
		for _, o := range d.must(d.push(change)).GetOutcomes() {
			if o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
				t.Fatalf("got %v", o)
			}
		}
	}
	active := func() (n int) {
		t.Helper()
		police.renew()
		found, _ := cards(t, police)
		for _, c := range found {
			if c.GetLifecycle() == record.Active {
				n++
			}
		}
		return n
	}
	who := w.id()
	team := ` team_id: "` + w.team.String() + `" `
	apply(clinician, clinician.change(who, "person", mCreate, team+`lifecycle: "active" names: {element: "nnnnnnnn" given: "Ana" family: "Example"}`))
	last := w.clock().UTC().AddDate(0, 0, 2).Format(time.DateOnly)
	agreed := team + ` person_id: "` + who.String() + `" lifecycle: "active" type: "contact" decision: "given" signer: "person" method: "paper" given_on: "2023-01-01" `
	ends, open, revoked, alert := w.id(), w.id(), w.id(), w.id()
	apply(clinician, clinician.change(ends, "consent", mCreate, agreed+`expires_on: "`+last+`"`))
	apply(clinician, clinician.change(open, "consent", mCreate, agreed+`no_expiry: true`))
	apply(clinician, clinician.change(revoked, "consent", mCreate, agreed+`expires_on: "`+last+`"`))
	apply(clinician, m.write(clinician, &matrixCell{kind: "consent", object: revoked}, matrixAct{act: mSet, text: `lifecycle: "revoked" revoked_on: "` + last + `"`}))
	apply(clinician, clinician.change(alert, "safety_alert", mCreate,
		team+` person_id: "`+who.String()+`" category: "animal" expires_on: "`+last+`" lifecycle: "proposed" text: "a dog" audience: "team_with_le" basis: "observed_in_public"`))
	apply(lead, m.write(lead, &matrixCell{kind: "safety_alert", object: alert}, matrixAct{act: mApprove, text: `lifecycle: "active" approved_by: "` + boss.String() + `"`}))
	status := func(id syncengine.ID) string { return w.stored(id[:]).Lifecycle() }
	if done := w.tend(2); done.Expired != 0 || status(ends) != record.Active || active() != 1 {
		t.Errorf("on the last day: %+v, the consent is %s", done, status(ends))
	}
	if done := w.tend(2); done.Expired != 2 {
		t.Errorf("after it: %+v, want 2 expired", done)
	}
	if status(ends) != record.Expired || status(alert) != record.Expired || status(open) != record.Active || status(revoked) != record.Revoked {
		t.Errorf("the consents are %s, %s and %s, the alert is %s", status(ends), status(open), status(revoked), status(alert))
	}
	if n := active(); n != 0 {
		t.Errorf("the partner sees %d cards of what has ended", n)
	}
	if done := w.tend(3); done.Expired != 0 {
		t.Errorf("it ends again: %+v", done)
	}
}
