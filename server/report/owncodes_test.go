package report_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/report"
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
