package server_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// sharing is a world in which a clinician and a lead pass things on.
type sharing struct {
	*world

	clinician, lead *device
	who             syncengine.ID
}

func newSharing(t *testing.T, on engine, seed byte) *sharing {
	t.Helper()
	w := newWorld(t, on, seed)
	boss := must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{
		Name: "Lead Person", Discipline: "supervisor", Roles: []string{"lead"}, Agency: w.agency, Teams: []syncengine.ID{w.team},
	}))
	s := &sharing{world: w, clinician: w.enrolled(1, w.clinician), lead: w.enrolled(2, boss), who: w.id()}
	s.made(s.clinician.change(s.who, "person", mCreate, s.in()+`lifecycle: "active" names: {element: "nnnnnnnn" given: "Ana" family: "Example"}`))
	return s
}

func (s *sharing) in() string { return `team_id: "` + s.team.String() + `" ` }

// made applies a change of the clinician's.
func (s *sharing) made(change *tandemv1.Change) { s.by(s.clinician, change) }

func (s *sharing) by(d *device, changes ...*tandemv1.Change) {
	s.t.Helper()
	// The nonce ages while time passes.
	_, _ = d.sync.Sync(s.t.Context(), &tandemv1.SyncRequest{})
	for _, o := range d.must(d.push(changes...)).GetOutcomes() {
		if o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
			s.t.Fatalf("got %v", o)
		}
	}
}

func (s *sharing) set(d *device, id syncengine.ID, kind string, act tandemv1.Act, text string) {
	s.t.Helper()
	reason := ""
	if act != mSet {
		reason = "for a test"
	}
	s.by(d, (&matrixWorld{w: s.world}).write(d, &matrixCell{kind: kind, object: id}, matrixAct{act: act, text: text, reason: reason}))
}

// accounting is what was passed on about the person, as the operator asks.
func (s *sharing) accounting() []server.Disclosed {
	s.t.Helper()
	return must[*server.Accounting](s.t)(s.admin.Disclosures(s.t.Context(), syncengine.ID{}, s.who, time.Time{})).Disclosures
}

// A referral that is sent with somebody's name is a disclosure, recorded by sending it, and
// so is the card of an alert that police partners are shown: once for each recipient and
// extent, by whom it was, and whatever becomes of the referral.
func TestSharingIsRecorded(t *testing.T) { each(t, testSharingIsRecorded) }

func testSharingIsRecorded(t *testing.T, on engine) {
	t.Parallel()
	s := newSharing(t, on, 83)
	place := must[syncengine.ID](t)(s.addResource())
	silent, sent := s.id(), s.id()
	about := s.in() + `person_id: "` + s.who.String() + `" lifecycle: "active" need: "crisis_bed" `
	s.made(s.clinician.change(silent, "referral", mCreate, about+`state: "sent" info_shared: "none" target_text: "the pantry"`))
	s.made(s.clinician.change(sent, "referral", mCreate, about+`state: "offered" info_shared: "summary" share_basis: "treatment" resource_id: "`+place.String()+`"`))
	if got := s.accounting(); len(got) != 0 {
		t.Fatalf("nothing was passed on: %+v", got)
	}
	s.pass(time.Hour)
	s.set(s.clinician, sent, "referral", mSet, `state: "sent"`)
	at := s.clock().UnixMilli()
	s.pass(time.Hour)
	got := s.accounting()
	if len(got) != 1 {
		t.Fatalf("a referral was sent: %+v", got)
	}
	d := got[0]
	if d.AtMS != at || d.Recipient != "Example House, Crisis beds" || d.Address != "1 Example Way, Exampleton" || d.Basis != "treatment" || d.Need != "crisis_bed" ||
		d.By != clinicianName || d.Referral != sent || d.Owed || d.Part2 || !slices.Equal(d.What, []string{"contact", "danger", "disposition", "identity", "presenting", "referrals"}) {
		t.Errorf("the accounting states %+v", d)
	}
	// What becomes of it makes no other one; another recipient does.
	s.set(s.clinician, sent, "referral", mSet, `state: "accepted"`)
	if got := s.accounting(); len(got) != 1 || got[0].AtMS != at {
		t.Errorf("accepted, it is %+v", got)
	}
	s.set(s.clinician, sent, "referral", mSet, `info_shared: "full"`)
	if got := s.accounting(); len(got) != 2 || got[1].AtMS != s.clock().UnixMilli() {
		t.Errorf("more was passed on: %+v", got)
	}
	// Whatever it says beside the entry of the directory, that one was told.
	s.set(s.clinician, sent, "referral", mSet, `target_text: "the house by the river"`)
	if got := s.accounting(); len(got) != 2 {
		t.Errorf("other words for the same place: %+v", got)
	}
	// Beside an entry that is not there, the words say to whom.
	gone, elsewhere := s.id(), s.id()
	s.made(s.clinician.change(elsewhere, "person", mCreate, s.in()+`lifecycle: "active" descriptor: "blue scarf"`))
	s.made(s.clinician.change(gone, "referral", mCreate, s.in()+`person_id: "`+elsewhere.String()+
		`" lifecycle: "active" need: "crisis_bed" state: "sent" info_shared: "summary" resource_id: "`+s.id().String()+`" target_text: "the shelter"`))
	s.set(s.clinician, gone, "referral", mSet, `target_text: "the clinic"`)
	if got := must[*server.Accounting](t)(s.admin.Disclosures(t.Context(), syncengine.ID{}, elsewhere, time.Time{})).Disclosures; len(got) != 2 || got[0].Recipient == got[1].Recipient {
		t.Errorf("another recipient that is in no directory: %+v", got)
	}
	// A lead voids one that was recorded in error.
	s.set(s.lead, s.accounting()[1].ID, "disclosure", mVoid, `lifecycle: "void" void_reason: "never sent"`)
	if got := s.accounting(); len(got) != 1 {
		t.Errorf("one of them was voided: %+v", got)
	}

	alert := s.id()
	s.made(s.clinician.change(alert, "safety_alert", mCreate, s.in()+`person_id: "`+s.who.String()+
		`" category: "animal" expires_on: "2024-01-01" lifecycle: "proposed" text: "a dog" audience: "team_with_le" basis: "imminent_threat"`))
	if got := s.accounting(); len(got) != 1 {
		t.Errorf("proposed, it is shown to nobody: %+v", got)
	}
	s.set(s.lead, alert, "safety_alert", mApprove, `lifecycle: "active" approved_by: "`+s.lead.person.String()+`"`)
	got = s.accounting()
	if len(got) != 2 || got[1].Recipient != "Example Police" || got[1].By != "Lead Person" || got[1].Basis != "imminent_threat" || !got[1].Owed || !slices.Equal(got[1].What, []string{"identity", "safety"}) {
		t.Errorf("police partners are shown a card: %+v", got)
	}
	// It follows the person, and that is no other disclosure; an address is.
	s.set(s.clinician, s.who, "person", mSet, `dob: "1991-03-04"`)
	if got := s.accounting(); len(got) != 2 {
		t.Errorf("the person is older: %+v", got)
	}
	// Nor is it one that the partner is called something else.
	chief := must[syncengine.ID](t)(s.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Chief Person", Discipline: "other", Roles: []string{"admin"}, Agency: s.police}))
	s.set(s.enrolled(3, chief), s.police, "agency", mSet, `name: "Example Police Department"`)
	s.set(s.clinician, s.who, "person", mSet, `dob: "1992-03-04"`)
	if got := s.accounting(); len(got) != 2 {
		t.Errorf("the partner has another name: %+v", got)
	}
	// Who makes a person known has shown the card that waited for it to nobody.
	waited, late := s.id(), s.id()
	s.made(s.clinician.change(waited, "safety_alert", mCreate, s.in()+`person_id: "`+late.String()+
		`" category: "animal" expires_on: "2024-01-01" lifecycle: "proposed" text: "a goat" audience: "team_with_le" basis: "imminent_threat"`))
	s.set(s.lead, waited, "safety_alert", mApprove, `lifecycle: "active" approved_by: "`+s.lead.person.String()+`"`)
	s.made(s.clinician.change(late, "person", mCreate, s.in()+`lifecycle: "active" descriptor: "green hat"`))
	if got := must[*server.Accounting](t)(s.admin.Disclosures(t.Context(), syncengine.ID{}, late, time.Time{})).Disclosures; len(got) != 1 || got[0].By != "" {
		t.Errorf("a person became known: %+v", got)
	}
	// Who approves an alert and writes of the person in one save has shown it.
	both, apart := s.id(), s.id()
	s.made(s.clinician.change(apart, "person", mCreate, s.in()+`lifecycle: "active" descriptor: "red shoes"`))
	s.made(s.clinician.change(both, "safety_alert", mCreate, s.in()+`person_id: "`+apart.String()+
		`" category: "animal" expires_on: "2024-01-01" lifecycle: "proposed" text: "a goose" audience: "team_with_le" basis: "imminent_threat"`))
	m := &matrixWorld{w: s.world}
	one := m.write(s.lead, &matrixCell{kind: "person", object: apart}, matrixAct{act: mSet, text: `dob: "1993-03-04"`})
	one.Records = append(one.Records, m.write(s.lead, &matrixCell{kind: "safety_alert", object: both}, matrixAct{
		act: mApprove, text: `lifecycle: "active" approved_by: "` + s.lead.person.String() + `"`, reason: "for a test",
	}).Records...)
	s.by(s.lead, one)
	if got := must[*server.Accounting](t)(s.admin.Disclosures(t.Context(), syncengine.ID{}, apart, time.Time{})).Disclosures; len(got) != 1 || got[0].By != "Lead Person" {
		t.Errorf("approved with a write of the person: %+v", got)
	}
	s.pass(time.Hour)
	s.set(s.lead, alert, "safety_alert", mSet, `address: "1 Example Way"`)
	if got := s.accounting(); len(got) != 3 || !slices.Contains(got[2].What, "location") {
		t.Errorf("the card has an address now: %+v", got)
	}
	// The server asks nothing of its own that it would refuse.
	overseer := must[syncengine.ID](t)(s.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Admin Person", Discipline: "other", Roles: []string{"admin"}, Agency: s.agency}))
	if lying := must[[]*syncengine.QuarantineItem](t)(s.admin.Quarantine(t.Context(), overseer)); len(lying) != 0 {
		t.Errorf("%d changes of the server's own lie in quarantine", len(lying))
	}
	// Neither police partners nor another person's accounting have any of it.
	if raw, err := s.admin.Disclosures(t.Context(), syncengine.ID{}, s.team, time.Time{}); err == nil {
		t.Errorf("a team has an accounting: %+v", raw)
	}
	none := s.id()
	s.made(s.clinician.change(none, "person", mCreate, s.in()+`lifecycle: "active" descriptor: "grey coat"`))
	if got := must[*server.Accounting](t)(s.admin.Disclosures(t.Context(), syncengine.ID{}, none, time.Time{})); len(got.Disclosures) != 0 {
		t.Errorf("about somebody else: %+v", got.Disclosures)
	}
}

// addResource adds an entry of the directory.
func (s *sharing) addResource() (syncengine.ID, error) {
	_, err := s.admin.ImportDirectory(s.t.Context(), s.agency, []*tandemv1.Resource{{
		ServiceName: &tandemv1.LocalizedText{En: new("Crisis beds")}, OrgName: new("Example House"), Category: []string{"crisis_bed"}, Status: new("active"),
		Address: new("1 Example Way"), City: new("Exampleton"), HsdsIds: []*tandemv1.ExternalKey{{Element: []byte("kkkkkkkk"), Table: new("service"), Value: new("a")}},
	}}, false)
	if err != nil {
		return syncengine.ID{}, err
	}
	entries, err := s.admin.Directory(s.t.Context())
	if err != nil {
		return syncengine.ID{}, err
	}
	return syncengine.ParseID(entries[0].ID)
}

// An accounting states the exports of teams that knew the person, what was passed on of a
// substance use program by consent, and what was passed on of a record that was merged into
// this one; and each that is drawn up is an entry in the audit log.
func TestAccounting(t *testing.T) { each(t, testAccounting) }

func testAccounting(t *testing.T, on engine) {
	t.Parallel()
	s := newSharing(t, on, 84)
	ctx := t.Context()
	exported := func(recipient, basis string) {
		t.Helper()
		s.pass(time.Hour)
		n := &server.ExportNote{ID: s.id(), Recipient: recipient, Purpose: "a report", Basis: basis, What: []string{"identity"}, Teams: []syncengine.ID{s.team}, Form: "csv"}
		if err := s.admin.BeginExport(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	exported("County health", "public_health")
	later := s.id()
	s.pass(time.Hour)
	s.made(s.clinician.change(later, "person", mCreate, s.in()+`lifecycle: "active" descriptor: "grey coat"`))
	exported("The auditor", "payment_ops")

	told := func(who syncengine.ID, in tandemv1.Compartment, recipient, basis string) {
		t.Helper()
		s.pass(time.Hour)
		c := s.clinician.change(s.id(), "disclosure", mCreate, s.in()+`lifecycle: "recorded" person_id: "`+who.String()+`" basis: "`+basis+`" recipient: "`+recipient+
			`" what: "identity" note: "on the phone" at: {at_ms: `+strconv.FormatInt(s.clock().UnixMilli(), 10)+`}`)
		c.Records[0].Compartment = in
		s.made(c)
	}
	told(s.who, mSUD, "The clinic", "consent")
	told(s.who, 0, "The house", "consent")
	told(later, 0, "The sheriff", "duty_to_warn")
	names := func(id syncengine.ID, since time.Time) (all, owed []string) {
		t.Helper()
		for _, d := range must[*server.Accounting](t)(s.admin.Disclosures(ctx, s.clinician.person, id, since)).Disclosures {
			all = append(all, d.Recipient)
			if d.Owed {
				owed = append(owed, d.Recipient)
			}
		}
		return all, owed
	}
	want := func(when string, id syncengine.ID, since time.Time, all, owed []string) {
		t.Helper()
		gotAll, gotOwed := names(id, since)
		if !slices.Equal(gotAll, all) || !slices.Equal(gotOwed, owed) {
			t.Errorf("%s: %q, owed %q; want %q, owed %q", when, gotAll, gotOwed, all, owed)
		}
	}
	want("asked", s.who, time.Time{}, []string{"County health", "The auditor", "The clinic", "The house"}, []string{"County health", "The clinic"})
	want("whoever came later", later, time.Time{}, []string{"The auditor", "The sheriff"}, []string{"The sheriff"})
	want("since a day", s.who, s.clock().Add(-90*time.Minute), []string{"The house"}, nil)
	// Merged, both have all of it.
	s.set(s.lead, later, "person", mMerge, `merged_into: "`+s.who.String()+`" lifecycle: "merged"`)
	for _, id := range []syncengine.ID{s.who, later} {
		want("merged", id, time.Time{}, []string{"County health", "The auditor", "The clinic", "The house", "The sheriff"}, []string{"County health", "The clinic", "The sheriff"})
	}
	read := 0
	err := s.admin.AuditLog(ctx, func(l *store.AuditLog) error {
		return l.Each(0, func(_ int64, raw []byte) error {
			e := &tandemv1.AuditEntry{}
			if err := proto.Unmarshal(raw, e); err != nil {
				return err
			}
			if e.GetAct() == tandemv1.AuditAct_AUDIT_ACT_DISCLOSURES_READ && syncengine.ID(e.GetPerson()) == s.clinician.person && e.GetCount() > 0 {
				read++
			}
			return nil
		})
	})
	if err != nil || read != 5 {
		t.Errorf("%d accountings in the audit log, want 5; %v", read, err)
	}
}
