package form_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine/form"
	"google.golang.org/protobuf/proto"
)

var rewrite = flag.Bool("rewrite", false, "write the packs as Export writes them")

const packs = "../../docs/packs"

// pack reads a form pack of the repository.
func pack(tb testing.TB, name string) *tandemv1.Form {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join(packs, name, "questionnaire.json"))
	if err != nil {
		tb.Fatal(err)
	}
	f, notes, err := form.Import(raw)
	if err != nil || len(notes) > 0 {
		tb.Fatalf("%s: %v %v", name, err, notes)
	}
	return f
}

// Every pack has a licence, reads without a note, and is written back byte for byte.
func TestPacks(t *testing.T) {
	t.Parallel()
	dirs, err := os.ReadDir(packs)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, d := range dirs {
		if !d.IsDir() {
			continue
		}
		seen++
		f := pack(t, d.Name())
		written, err := form.Export(f)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(packs, d.Name(), "questionnaire.json")
		if *rewrite {
			if err := os.WriteFile(file, written, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(raw) != string(written) {
			t.Errorf("%s is not as Export writes it: run the test with -rewrite", file)
		}
		if text, err := os.ReadFile(filepath.Join(packs, d.Name(), "LICENSE.md")); err != nil || len(text) == 0 {
			t.Errorf("%s has no LICENSE.md: %v", d.Name(), err)
		}
		if f.GetLicence() == "" || f.GetTitle().GetEs() == "" {
			t.Errorf("%s states no licence, or has no Spanish title", d.Name())
		}
		raw, err = proto.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > 200<<10 {
			t.Errorf("%s takes %d bytes: it does not go into one change", d.Name(), len(raw))
		}
	}
	if seen < 2 {
		t.Fatalf("%d packs", seen)
	}
}

// The pack of the screener holds codes and rules, and not one word of the instrument.
func TestScreenerHasNoWording(t *testing.T) {
	t.Parallel()
	f := pack(t, "cssrs-screener")
	for _, it := range f.GetDefinition().GetItems() {
		if it.GetText() != nil || len(it.GetOptions()) > 0 {
			t.Errorf("item %s has words", it.GetLinkId())
		}
		if len(it.GetCodes()) != 1 || it.GetCodes()[0].GetSystem() != "http://loinc.org" || it.GetCodes()[0].Display != nil {
			t.Errorf("item %s has not one LOINC code without words", it.GetLinkId())
		}
	}
	faults := form.Publishable(f)
	if len(faults) != 7 || !strings.Contains(faults.Error(), "tandem admin form wording") {
		t.Errorf("without wording it could be published, but for %v", faults)
	}
}

// TestScreener plays every way of answering the screener against the rule as it is
// published, worked out here by itself.
func TestScreener(t *testing.T) {
	t.Parallel()
	def := pack(t, "cssrs-screener").GetDefinition()
	ids := []string{"1", "2", "3", "4", "5", "6", "6.recent"}
	played := map[string]int{}
	for n := range 1 << len(ids) {
		yes := map[string]bool{}
		answers := form.Answers{}
		for i, id := range ids {
			yes[id] = n>>i&1 == 1
			answers[id] = []*tandemv1.FormValue{form.Bool(yes[id])}
		}
		skipped := map[string]bool{"3": !yes["2"], "4": !yes["2"], "5": !yes["2"], "6.recent": !yes["6"]}
		is := func(id string) bool { return yes[id] && !skipped[id] }
		want := "none"
		switch {
		case is("4") || is("5") || is("6") && is("6.recent"):
			want = "high"
		case is("3") || is("6"):
			want = "moderate"
		case is("1") || is("2"):
			want = "low"
		}
		r := form.Evaluate(def, answers)
		risk := r.Score("risk")
		if got := risk.Band.GetCode(); got != want || !risk.Complete || !r.Complete {
			t.Errorf("%v: got %s, complete %t, want %s", yes, got, risk.Complete, want)
		}
		for _, it := range r.Items {
			if it.Enabled == skipped[it.GetLinkId()] {
				t.Errorf("%v: item %s is asked: %t", yes, it.GetLinkId(), it.Enabled)
			}
		}
		played[want]++
	}
	if len(played) != 4 {
		t.Errorf("played %v", played)
	}
	// With questions open, what is found so far counts, and nothing found means nothing.
	for _, tc := range []struct {
		yes, no  []string
		band     string
		complete bool
	}{
		{nil, nil, "", false},
		{nil, []string{"1", "2"}, "", false},
		{[]string{"1"}, nil, "low", false},
		{[]string{"1", "2", "3"}, nil, "moderate", false},
		{[]string{"2", "4"}, nil, "high", true},
		{[]string{"6"}, []string{"1", "2"}, "moderate", false},
		{[]string{"6"}, []string{"1", "2", "6.recent"}, "moderate", true},
	} {
		answers := form.Answers{}
		for _, id := range tc.yes {
			answers[id] = []*tandemv1.FormValue{form.Bool(true)}
		}
		for _, id := range tc.no {
			answers[id] = []*tandemv1.FormValue{form.Bool(false)}
		}
		risk := form.Evaluate(def, answers).Score("risk")
		if risk.Band.GetCode() != tc.band || risk.Complete != tc.complete {
			t.Errorf("yes %v no %v: got %q complete %t, want %q %t", tc.yes, tc.no, risk.Band.GetCode(), risk.Complete, tc.band, tc.complete)
		}
	}
}

// The readiness assessment is complete in both languages, and its shares follow the rule:
// the sum by three times the number of answers but those that do not apply.
func TestReadiness(t *testing.T) {
	t.Parallel()
	f := pack(t, "readiness")
	if faults := append(form.Publishable(f), form.Untranslated(f)...); len(faults) > 0 {
		t.Fatal(faults)
	}
	def := f.GetDefinition()
	groups, questions := 0, 0
	for _, it := range def.GetItems() {
		switch {
		case it.GetType() == "group":
			groups++
		case it.Parent != nil:
			questions++
			if len(it.GetLinks()) == 0 || len(it.GetOptions()) != 5 {
				t.Errorf("item %s has no resource, or another scale", it.GetLinkId())
			}
		}
	}
	if groups != 10 || questions != 50 {
		t.Errorf("%d areas and %d statements, want 10 and 50", groups, questions)
	}
	answers := form.Answers{}
	rate := func(area string, codes ...string) {
		for i, c := range codes {
			if c != "" {
				answers[area+"."+string(rune('1'+i))] = []*tandemv1.FormValue{form.Code(c)}
			}
		}
	}
	rate("community", "3", "3", "3", "3", "3")
	rate("needs", "1", "1", "1", "1", "1")
	rate("triage", "0", "0", "1", "na", "na")
	rate("staffing", "3", "2", "1", "", "") // 60 %
	rate("safety", "3", "3", "", "", "")    // 40 %: it has a value and stays out of the mean
	rate("referral", "na", "na", "na", "na", "na")
	before := form.Answers{"community.1": {form.Code("0")}, "needs.1": {form.Code("3")}}
	a := form.Assess(def, answers, before)
	want := map[string]float64{"community": 100, "needs": 33, "triage": 11, "staffing": 67, "safety": 100}
	bands := map[string]string{"community": "established", "needs": "early", "triage": "early", "staffing": "established", "safety": "established"}
	for _, area := range a.Areas {
		v, ok := want[area.GetCode()]
		switch {
		case !ok && area.Value != nil:
			t.Errorf("%s: got %v, want none", area.GetCode(), *area.Value)
		case ok && (area.Value == nil || *area.Value != v || area.Band.GetCode() != bands[area.GetCode()]):
			t.Errorf("%s: got %v %s, want %v %s", area.GetCode(), area.Value, area.Band.GetCode(), v, bands[area.GetCode()])
		}
	}
	// (100 + 33.3 + 11.1 + 66.7) / 4
	if v := a.Overall.Value; v == nil || *v != 53 || a.Overall.Band.GetCode() != "developing" {
		t.Errorf("overall: got %v, want 53", v)
	}
	var lowest []string
	for _, l := range a.Lowest {
		lowest = append(lowest, l.GetCode())
	}
	if got := strings.Join(lowest, " "); got != "triage needs staffing" {
		t.Errorf("lowest: %s", got)
	}
	if by, ok := a.Areas[0].Change(); !ok || by != 100 {
		t.Errorf("change of the first area: %v %t", by, ok)
	}
	if by, ok := a.Areas[1].Change(); !ok || by != 33-100 {
		t.Errorf("change of the second area: %v %t", by, ok)
	}
	if _, ok := a.Areas[2].Change(); ok {
		t.Error("an area that was not rated before has a change")
	}
	// needs 5, triage 3, staffing 1
	if len(a.Advice) != 9 || a.Advice[0].Item.GetLinkId() != "needs.1" || a.Complete {
		t.Errorf("%d pieces of advice, the first on %v, complete %t", len(a.Advice), a.Advice[0].Item.GetLinkId(), a.Complete)
	}
	es, en := a.Summary(f, "es"), a.Summary(f, "en")
	for _, want := range []string{"Dónde es más bajo", "Clasificación de llamadas: 11 %, Inicial", "988 Línea", "Preparación del programa: 53 %, En desarrollo"} {
		if !strings.Contains(es, want) {
			t.Errorf("the Spanish page lacks %q:\n%s", want, es)
		}
	}
	for _, want := range []string{"Where it is lowest", "Needs and data: 33 %, Early (before 100 %, -67)", "Referral network: too little is answered (5/5)"} {
		if !strings.Contains(en, want) {
			t.Errorf("the English page lacks %q:\n%s", want, en)
		}
	}
}
