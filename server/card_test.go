package server_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// cards are the alert cards that a device is sent, and all that it is sent.
func cards(t *testing.T, d *device) (found []*tandemv1.AlertCard, raw []byte) {
	t.Helper()
	kind := record.New().KindByName("alert_card").Number
	for _, row := range d.readLong() {
		all := must[[]byte](t)(proto.Marshal(row))
		raw = append(raw, all...)
		if row.GetKind() != kind || row.GetScopes() == 0 {
			continue
		}
		card := &tandemv1.AlertCard{}
		if err := proto.Unmarshal(row.GetBody(), card); err != nil {
			t.Fatal(err)
		}
		found = append(found, card)
	}
	return found, raw
}

// Police partners see a card of an alert that a lead approved for them, which follows the
// alert and the person and names neither; and nothing before, after, or else.
func TestAlertCard(t *testing.T) { each(t, testAlertCard) }

func testAlertCard(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 77)
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
	act := func(d *device, id syncengine.ID, kind string, a tandemv1.Act, text string) {
		t.Helper()
		apply(d, m.write(d, &matrixCell{kind: kind, object: id}, matrixAct{act: a, text: text}))
	}
	want := func(when string, names ...string) []byte {
		t.Helper()
		found, raw := cards(t, police)
		var got []string
		for _, c := range found {
			if c.GetLifecycle() == "active" {
				got = append(got, c.GetName())
			} else if c.Name != nil || c.Text != nil || c.Category != nil || c.BirthYear != nil || c.Address != nil {
				t.Errorf("%s: a card that is taken back still says %v", when, c)
			}
		}
		if !slices.Equal(got, names) {
			t.Errorf("%s: the partner sees %v, want %v", when, got, names)
		}
		return raw
	}
	who, alert, clinical := w.id(), w.id(), w.id()
	team := ` team_id: "` + w.team.String() + `" `
	apply(clinician, clinician.change(who, "person", mCreate,
		team+`lifecycle: "active" dob: "1992-03-04" names: {element: "nnnnnnnn" given: "Ana" family: "Example"} do_not_contact_reason: "`+marker+`"`))
	about := team + ` person_id: "` + who.String() + `" category: "animal" expires_on: "2024-01-01" `
	apply(clinician, clinician.change(alert, "safety_alert", mCreate,
		about+`lifecycle: "proposed" text: "a dog" audience: "team_with_le" basis: "observed_in_public" address: "1 Example Way"`))
	apply(clinician, clinician.change(clinical, "safety_alert", mCreate, about+`lifecycle: "active" audience: "clinical" text: "`+marker+`"`))
	want("proposed")
	act(lead, alert, "safety_alert", mApprove, `lifecycle: "active" approved_by: "`+boss.String()+`"`)
	raw := want("approved", "Ana Example")
	found, _ := cards(t, police)
	if c := found[0]; c.GetBirthYear() != 1992 || c.GetText() != "a dog" || c.GetAddress() != "1 Example Way" || c.GetExpiresOn() != "2024-01-01" {
		t.Errorf("got the card %v", c)
	}
	for what, id := range map[string]syncengine.ID{"person": who, "alert": alert, "clinical alert": clinical} {
		if bytes.Contains(raw, id[:12]) || strings.Contains(string(raw), id.String()) {
			t.Errorf("the partner is sent the id of the %s", what)
		}
	}
	if bytes.Contains(raw, []byte(marker)) {
		t.Error("the partner is sent what is clinical")
	}
	if found, _ := cards(t, clinician); len(found) != 1 {
		t.Errorf("the clinician sees %d cards, want the team's one", len(found))
	}
	act(clinician, who, "person", mSet, `dob: "1991-03-04"`)
	want("the person is older", "Ana Example")
	if found, _ := cards(t, police); found[0].GetBirthYear() != 1991 {
		t.Errorf("the card does not follow the person: %v", found[0])
	}
	act(lead, alert, "safety_alert", mSet, `audience: "clinical"`)
	want("for clinicians alone")
	act(lead, alert, "safety_alert", mSet, `audience: "team_with_le"`)
	want("for the partner again", "Ana Example")
	act(lead, alert, "safety_alert", mClose, `lifecycle: "retired"`)
	want("retired")
}

// An alert of a substance use program has no card, whoever approves it.
func TestNoCardOfSubstanceUse(t *testing.T) { each(t, testNoCardOfSubstanceUse) }

func testNoCardOfSubstanceUse(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 78)
	both := must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{
		Name: "Lead Person", Discipline: "supervisor", Roles: []string{"clinician", "lead"}, Agency: w.agency, Teams: []syncengine.ID{w.team},
	}))
	lead, police := w.enrolled(1, both), w.enrolled(2, w.partner)
	m := &matrixWorld{w: w}
	for i, in := range []tandemv1.Compartment{mSUD, 0} {
		who, alert := w.id(), w.id()
		person := lead.change(who, "person", mCreate, `team_id: "`+w.team.String()+`" lifecycle: "active" descriptor: "grey coat"`)
		made := lead.change(alert, "safety_alert", mCreate, `team_id: "`+w.team.String()+`" lifecycle: "proposed" person_id: "`+who.String()+
			`" category: "animal" text: "a dog" audience: "team_with_le" basis: "consent" expires_on: "2024-01-01"`)
		person.Records[0].Compartment, made.Records[0].Compartment = in, in
		lead.must(lead.push(person, made))
		lead.must(lead.push(m.write(lead, &matrixCell{kind: "safety_alert", object: alert}, matrixAct{
			act: mApprove, text: `lifecycle: "active" approved_by: "` + both.String() + `"`,
		})))
		if found, _ := cards(t, police); len(found) != i {
			t.Errorf("in %v: the partner sees %d cards, want %d", in, len(found), i)
		}
	}
}

// A rule over several records opens its work item where both can be read, and tells the
// author nothing.
func TestRulesAmongRecordsOpenItems(t *testing.T) { each(t, testRulesAmongRecordsOpenItems) }

func testRulesAmongRecordsOpenItems(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 79)
	d := w.enrolled(1, w.clinician)
	m := &matrixWorld{w: w}
	who, call := w.id(), w.id()
	team := `team_id: "` + w.team.String() + `" `
	created := d.must(d.push(
		d.change(who, "person", mCreate, team+`lifecycle: "active" descriptor: "grey coat"`),
		d.change(call, "follow_up", mCreate, team+`lifecycle: "planned" person_id: "`+who.String()+`"`),
	))
	changed := d.must(d.push(m.write(d, &matrixCell{kind: "person", object: who}, matrixAct{act: mSet, text: `do_not_contact: true`})))
	for _, o := range append(created.GetOutcomes(), changed.GetOutcomes()...) {
		if o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
			t.Errorf("the author is told %v", o)
		}
	}
	items, err := w.s.Items(t.Context(), w.org.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(items) != 1 || items[0].Record != call || items[0].Kind != "rule_V23" {
		t.Errorf("got items %+v, want one of the follow-up", items)
	}
}
