package report_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// An agency's own codes count as the core codes that they are a kind of, also those that it
// does not offer any more: the metrics are the same to the last figure.
func TestOwnCodesCount(t *testing.T) {
	t.Parallel()
	of := func(w *world) (all []string) {
		t.Helper()
		r, err := report.ComputeOutcomes(w, options(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range r.Metrics {
			for i := range m.Measures {
				all = append(all, m.ID+"."+m.Measures[i].Key+": "+figures(&m.Measures[i]))
			}
		}
		return all
	}
	want, w, changed := of(march(t)), march(t), 0
	own := map[string]map[string]string{
		"disposition":  {"transport_ed_involuntary": "x_ex_hold", "left_with_support": "x_ex_left", "transport_medical": "x_ex_clinic"},
		"intervention": {"screening": "x_ex_scan", "safety_plan": "x_ex_plan"},
		"call_type":    {"welfare_check": "x_ex_check"},
	}
	for _, r := range w.rows {
		swap := func(list string, code *string) {
			if code != nil && own[list][*code] != "" {
				*code, changed = own[list][*code], changed+1
			}
		}
		switch m := r.msg.(type) {
		case *tandemv1.Incident:
			swap("call_type", m.CallType)
		case *tandemv1.Encounter:
			swap("disposition", m.Disposition)
			for i := range m.GetInterventions() {
				swap("intervention", &m.Interventions[i])
			}
		}
	}
	if changed < 6 {
		t.Fatalf("only %d codes are other ones", changed)
	}
	for list, codes := range own {
		m := &tandemv1.CodeSet{Lifecycle: new("active"), List: new(list)}
		for core, code := range codes {
			m.Entries = append(m.Entries, &tandemv1.CodeEntry{Element: el(byte(len(m.GetEntries()) + 1)), Code: new(code), En: new("Own"), MapsTo: new(core), Retired: new(code == "x_ex_left")})
		}
		w.add(m)
	}
	if diff := cmp.Diff(want, of(w)); diff != "" {
		t.Error(diff)
	}
}

// So does the report of calls, which counts a call once for two own actions of one kind.
func TestOwnCodesOfCalls(t *testing.T) {
	t.Parallel()
	own := &record.OwnCodes{}
	for list, entry := range map[string][]string{
		"call_type": {"x_ex_check", "welfare_check"}, "contact": {"x_ex_seen", "contact_made"}, "le_action": {"x_ex_paper", "protective_custody", "x_ex_form", "protective_custody"},
	} {
		m := &tandemv1.CodeSet{Lifecycle: new("active"), List: &list}
		for i := 0; i < len(entry); i += 2 {
			m.Entries = append(m.Entries, &tandemv1.CodeEntry{Element: el(byte(i + 1)), Code: &entry[i], En: new("Own"), MapsTo: &entry[i+1]})
		}
		own.Add(m)
	}
	count := func(typ, contact string, actions ...string) *report.CallReport {
		domain := record.New()
		in := &tandemv1.Incident{Lifecycle: new("closed"), CallType: &typ, Contact: &contact, LeActions: actions, ArrivedAt: &tandemv1.Instant{AtMs: new(int64(1))}}
		body, err := domain.Body(in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := report.Calls(func(f func(*syncengine.Record) error) error {
			return f(&syncengine.Record{Kind: domain.KindOf(in).Number, Body: body})
		}, report.CallOptions{Own: own})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if diff := cmp.Diff(count("welfare_check", "contact_made", "protective_custody"), count("x_ex_check", "x_ex_seen", "x_ex_paper", "x_ex_form")); diff != "" {
		t.Error(diff)
	}
}
