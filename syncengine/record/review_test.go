package record_test

import (
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

func TestReview(t *testing.T) {
	t.Parallel()
	d := record.New()
	call := func(f func(*tandemv1.Incident)) proto.Message {
		m := incidentMessage(t)
		f(m)
		return m
	}
	contact := func(f func(*tandemv1.Encounter)) proto.Message {
		m := encounterMessage(t)
		m.Lifecycle = new(record.Signed)
		f(m)
		return m
	}
	refer := func(f func(*tandemv1.Referral)) proto.Message {
		m := referralMessage(t)
		f(m)
		return m
	}
	for _, tc := range []struct {
		name string
		msg  proto.Message
		want []string
	}{
		{"a complete incident", call(func(*tandemv1.Incident) {}), nil},
		{"a complete encounter", contact(func(*tandemv1.Encounter) {}), nil},
		{"a complete referral", refer(func(*tandemv1.Referral) {}), nil},
		{"V1", call(func(m *tandemv1.Incident) { m.ArrivedAt = at(1) }), []string{"rule_V1"}},
		{"V1, known to the day alone", call(func(m *tandemv1.Incident) {
			m.ArrivedAt = &tandemv1.Instant{AtMs: new(at(1).GetAtMs()), Precision: new("day")}
		}), nil},
		{"V2", call(func(m *tandemv1.Incident) { m.Contact = nil }), []string{"rule_V2"}},
		{"V3", call(func(m *tandemv1.Incident) { m.ClearedAt = at(80 * 60) }), []string{"rule_V3"}},
		{"V3, 40 hours are said at entry alone", call(func(m *tandemv1.Incident) { m.ClearedAt = at(40 * 60) }), nil},
		{"V6, no types", call(func(m *tandemv1.Incident) { m.ForceUsed = new("yes") }), []string{"rule_V6"}},
		{"V6, types alone", call(func(m *tandemv1.Incident) { m.ForceTypes = []string{"cew"} }), []string{"rule_V6"}},
		{"V6, discharge", call(func(m *tandemv1.Incident) {
			m.ForceUsed, m.ForceTypes = new("yes"), []string{"firearm_discharged"}
		}), []string{"rule_V6"}},
		{"V7", call(func(m *tandemv1.Incident) { m.LeInvolvement = new("none") }), []string{"rule_V7"}},
		{"V7, none and none", call(func(m *tandemv1.Incident) {
			m.LeInvolvement, m.LeActions, m.ForceUsed = new("none"), []string{"none"}, nil
		}), nil},
		{"exclusive", call(func(m *tandemv1.Incident) { m.LeActions = []string{"none", "standby"} }), []string{"rule_exclusive"}},
		{"V26 at clear", call(func(m *tandemv1.Incident) { m.Source = nil }), []string{"rule_V26"}},
		{"nothing is asked of an open call", call(func(m *tandemv1.Incident) { m.Lifecycle, m.Source, m.Contact = new("open"), nil, nil }), nil},
		{"nothing is asked of a void one", call(func(m *tandemv1.Incident) { m.Lifecycle, m.ArrivedAt = new("void"), at(1) }), nil},
		{"V9", contact(func(m *tandemv1.Encounter) { m.EndedAt = at(1) }), []string{"rule_V9"}},
		{"V10", contact(func(m *tandemv1.Encounter) { m.Disposition = new("transport_detox") }), []string{"rule_V10"}},
		{"V11", contact(func(m *tandemv1.Encounter) {
			m.Disposition, m.TransportBy = new("transport_ed_involuntary"), new("police")
		}), []string{"rule_V11"}},
		{"V12", contact(func(m *tandemv1.Encounter) { m.Interventions = []string{"screening"} }), []string{"rule_V12"}},
		{"V12, refused in words", contact(func(m *tandemv1.Encounter) {
			m.Interventions, m.Disposition = nil, new("refused_services")
		}), nil},
		{"V12, refused without words", contact(func(m *tandemv1.Encounter) {
			m.Interventions, m.Disposition, m.Narrative = nil, new("refused_services"), new("  ")
		}), []string{"rule_V12"}},
		{"V26 at sign", contact(func(m *tandemv1.Encounter) { m.CfEd, m.Substance = nil, nil }), []string{"rule_V26"}},
		{"V26, nothing is asked of a draft", contact(func(m *tandemv1.Encounter) { m.Lifecycle, m.Substance = new("draft"), nil }), nil},
		{"V18, closed", refer(func(m *tandemv1.Referral) { m.State = new("closed") }), []string{"rule_V18"}},
		{"V18, not closed", refer(func(m *tandemv1.Referral) { m.Outcome = new("no_show") }), []string{"rule_V18"}},
		{"V18, connected", refer(func(m *tandemv1.Referral) { m.State, m.Outcome = new("closed"), new("connected") }), []string{"rule_V18"}},
		{"V19", refer(func(m *tandemv1.Referral) { m.InfoShared = new("summary") }), []string{"rule_V19"}},
		{"V19 with a basis", refer(func(m *tandemv1.Referral) { m.InfoShared, m.ShareBasis = new("summary"), new("treatment") }), nil},
		{"roles", &tandemv1.Staff{Roles: []string{"le_partner", "lead"}}, []string{"rule_roles"}},
	} {
		if got := d.Review(stored(t, tc.msg)); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
	imported := storedBy(t, author, call(func(m *tandemv1.Incident) { m.Lifecycle, m.Contact = new("locked"), nil }),
		func(w *tandemv1.RecordWrite) {
			w.ImportedFrom = &tandemv1.Import{Mapping: "m", File: make([]byte, 32), Row: 2}
		})
	if got := d.Review(imported); got != nil {
		t.Errorf("an import: got %v, want nothing", got)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	d := record.New()
	type found struct {
		rule  string
		field string
		warn  bool
	}
	validate := func(m proto.Message, e record.Entry) (out []found) {
		e.NowMS = nowMS
		for _, p := range d.Validate(m, e) {
			if p.EN == "" || p.ES == "" || p.Text("es") != p.ES || p.Text("en") != p.EN {
				t.Errorf("%s has no words in both languages", p.Rule)
			}
			for _, f := range p.Fields {
				if d.KindOf(m) != nil && d.FieldLabel(d.KindOf(m).Name, f, "en") == f {
					t.Errorf("%s names %s, which has no label", p.Rule, f)
				}
			}
			f := ""
			if len(p.Fields) > 0 {
				f = p.Fields[0]
			}
			out = append(out, found{p.Rule, f, p.Warn})
		}
		return out
	}
	oneTap := &tandemv1.Incident{TeamId: new(teamA.String()), Number: new("U7-260914-04"), CallType: new("other"), Lifecycle: new(record.Open)}
	for _, tc := range []struct {
		name  string
		msg   proto.Message
		entry record.Entry
		want  []found
	}{
		{"complete", incidentMessage(t), record.Entry{}, nil},
		{"complete, to be signed", encounterMessage(t), record.Entry{Target: record.Signed}, nil},
		{"one tap is saved", oneTap, record.Entry{}, []found{
			{"V26", "source", true}, {"V26", "response_mode", true}, {"V26", "responders", true},
			{"V26", "place_type", true}, {"V26", "dispatched_at", true},
		}},
		{"and not cleared", oneTap, record.Entry{Target: record.Cleared}, []found{
			{"V26", "source", false}, {"V26", "response_mode", false}, {"V26", "responders", false},
			{"V26", "place_type", false}, {"V26", "dispatched_at", false},
			{"V26", "cleared_at", false}, {"V2", "contact", false}, {"V26", "le_involvement", false},
		}},
		{"an import is asked for nothing", oneTap, record.Entry{Target: record.Locked, Imported: true}, nil},
		{"nobody", &tandemv1.Person{TeamId: new(teamA.String())}, record.Entry{}, []found{{"V26", "names", false}}},
		{"somebody in a red coat", &tandemv1.Person{TeamId: new(teamA.String()), Descriptor_: new("red coat")}, record.Entry{}, nil},
		{"V24", &tandemv1.Person{Descriptor_: new("x"), Zip5: new("1460")}, record.Entry{}, []found{{"V24", "zip5", false}}},
		{"V24, control", &tandemv1.Person{Descriptor_: new("x\x00")}, record.Entry{}, []found{{"V24", "descriptor", false}}},
		{"V25", &tandemv1.Person{Descriptor_: new("x"), Gender: new("from_tomorrow")}, record.Entry{}, []found{{"V25", "gender", false}}},
		{
			"V25, it stood there", &tandemv1.Person{Descriptor_: new("x"), Gender: new("from_tomorrow")},
			record.Entry{Before: &tandemv1.Person{Gender: new("from_tomorrow")}}, nil,
		},
		{
			"V25, not recorded is an import's", &tandemv1.Incident{Source: new("not_recorded"), Lifecycle: new("locked")},
			record.Entry{Imported: true}, nil,
		},
		{"V13", &tandemv1.Person{Descriptor_: new("x"), Dob: new("2090-01-01")}, record.Entry{}, []found{{"V13", "dob", true}}},
		{
			"V13, age", &tandemv1.Person{Descriptor_: new("x"), Dob: new("1990"), ApproxAge: new(uint32(50))},
			record.Entry{}, []found{{"V13", "dob", true}},
		},
		{
			"V29", &tandemv1.Person{Descriptor_: new("x"), Phones: []*tandemv1.PersonPhone{{Element: []byte("12345678"), Number: new("911")}}},
			record.Entry{}, []found{{"V29", "phones", true}},
		},
		{"a change is no record", &tandemv1.Change{}, record.Entry{}, []found{{"V25", "", false}}},
		{
			"an element without id", &tandemv1.Person{Names: []*tandemv1.PersonName{{}}},
			record.Entry{}, []found{{"V24", "", false}},
		},
	} {
		if got := validate(tc.msg, tc.entry); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
	late := incidentMessage(t)
	late.ClearedAt = at(60*13 + 15)
	if got, want := validate(late, record.Entry{}), []found{{"V3", "arrived_at", true}, {"V4", "cleared_at", true}}; !slices.Equal(got, want) {
		t.Errorf("times: got %v, want %v", got, want)
	}
}

// Every rule says what is wrong in both languages and names fields that there are.
func TestRulesHaveWords(t *testing.T) {
	t.Parallel()
	d := record.New()
	for _, r := range record.Rules() {
		if r.EN == "" || r.ES == "" {
			t.Errorf("%s has no words in both languages", r.Name)
		}
		if d.KindByName(r.Kind) == nil {
			t.Errorf("%s is about %s, which is no kind", r.Name, r.Kind)
		}
	}
}
