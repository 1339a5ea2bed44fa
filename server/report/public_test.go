package report_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/syncengine"
)

// stored are records as a store has them.
type stored []*syncengine.Record

// Each implements report.Source.
func (s stored) Each(kind uint32, f func(*syncengine.StoredRecord) error) error {
	for _, rec := range s {
		if rec.Kind != kind {
			continue
		}
		if err := f(&syncengine.StoredRecord{Record: *rec, Plain: true}); err != nil {
			return err
		}
	}
	return nil
}

// TestTorontoOutcomes: the metrics count what the file counts, say of nothing else that it
// is 0, and what is published of it hides nothing of it, since nothing in it is small.
func TestTorontoOutcomes(t *testing.T) {
	t.Parallel()
	var all stored
	if err := toronto(t)(func(rec *syncengine.Record) error {
		all = append(all, rec)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	zone := mustZone(t, "America/Toronto")
	r, err := report.ComputeOutcomes(all, report.OutcomeOptions{
		Zone: zone, From: time.Date(2014, 1, 1, 0, 0, 0, 0, zone), To: time.Date(2015, 1, 1, 0, 0, 0, 0, zone), AsOf: time.Date(2026, 1, 1, 0, 0, 0, 0, zone),
	})
	if err != nil {
		t.Fatal(err)
	}
	calls, err := report.Calls(toronto(t), report.CallOptions{Zone: zone})
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]*report.Outcomes{"for staff": r, "for the public": r.ForPublic()} {
		if n := *found(t, x, "M2.calls").All.Count.N; n != 22176 {
			t.Errorf("%s: got %d calls, want 22176", name, n)
		}
		types := found(t, x, "M2.by_type").All.Mix
		if len(types) != len(calls.ByType) {
			t.Errorf("%s: got types %v, want %v", name, types, calls.ByType)
		}
		for _, c := range types {
			if c.N == nil || *c.N != calls.ByType[c.Code] {
				t.Errorf("%s: %s: got %v, want %d", name, c.Code, c.N, calls.ByType[c.Code])
			}
		}
		for _, silent := range []string{"M2.contact_rate", "M3.minutes", "M7.transported", "M8.averted", "M11.force", "M13.within_30_days", "M16.completed", "M22.unmet"} {
			if m := found(t, x, silent); m.NoData == nil || m.All.Percent != nil || m.All.Median != nil {
				t.Errorf("%s: %s of a file that says nothing of it: got %+v", name, silent, m.All)
			}
		}
	}
}

// big is a month with enough of everything to publish.
func big(t testing.TB) *world {
	w := &world{tb: t}
	for seed := range uint64(12) {
		next := randomWorld(t, 100+seed)
		for _, r := range next.rows {
			// Ids of one world are of no other.
			r.id[0] = byte(seed + 1)
			rename(r.msg, byte(seed+1))
			w.rows = append(w.rows, r)
		}
	}
	return w
}

// TestPublicHidesSmall: nothing that is published is a count of 1 to 10, in any form.
func TestPublicHidesSmall(t *testing.T) {
	t.Parallel()
	r, err := report.ComputeOutcomes(big(t), options(t))
	if err != nil {
		t.Fatal(err)
	}
	public := r.ForPublic()
	var text, table bytes.Buffer
	if err := public.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	if err := public.WriteCSV(&table, "en"); err != nil {
		t.Fatal(err)
	}
	if public.Withheld == 0 {
		t.Error("nothing is withheld: the world proves nothing")
	}
	var tree any
	if err := json.Unmarshal(text.Bytes(), &tree); err != nil {
		t.Fatal(err)
	}
	shown := 0
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if n, ok := v["n"].(float64); ok {
				if shown++; n > 0 && n < 11 {
					t.Errorf("%s is %v", at, n)
				}
			}
			for k, x := range v {
				walk(at+"."+k, x)
			}
		case []any:
			for _, x := range v {
				walk(at, x)
			}
		}
	}
	walk("report", tree)
	rows, err := csv.NewReader(&table).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows[1:] {
		for _, i := range []int{10, 11, 12, 18} {
			if len(row[i]) == 1 && row[i] >= "1" && row[i] <= "9" || row[i] == "10" {
				t.Errorf("the table shows %s in %v", row[i], row)
			}
		}
	}
	if shown < 30 {
		t.Errorf("%d figures are shown: the test proves little", shown)
	}
	again, err := report.ComputeOutcomes(big(t), options(t))
	if err != nil {
		t.Fatal(err)
	}
	var twice bytes.Buffer
	if err := again.ForPublic().WriteJSON(&twice); err != nil || !bytes.Equal(twice.Bytes(), text.Bytes()) {
		t.Errorf("the same state and options give other bytes: %v", err)
	}
	read, err := report.ReadOutcomes(text.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, lang := range []string{"en", "es"} {
		var fresh, kept bytes.Buffer
		if err := public.WriteHTML(&fresh, report.HTMLOptions{Lang: lang}); err != nil {
			t.Fatal(err)
		}
		if err := read.WriteHTML(&kept, report.HTMLOptions{Lang: lang}); err != nil || !bytes.Equal(fresh.Bytes(), kept.Bytes()) {
			t.Errorf("%s: a report that was kept is shown otherwise: %v", lang, err)
		}
	}
}

// TestSubtraction: a figure is hidden whose difference to another one would be small.
func TestSubtraction(t *testing.T) {
	t.Parallel()
	w := &world{tb: t}
	for n := range 60 {
		d := "transport_ed_voluntary"
		if n%2 == 0 {
			d = "resolved_on_scene"
		}
		if n < 3 {
			// M7 counts them, M5 does not: shown both, the two would tell that it was three.
			d = "left_scene"
		}
		w.add(&tandemv1.Encounter{Lifecycle: new("signed"), Type: new("crisis_response"), StartedAt: clock(t, "03-05 14:00"), Disposition: &d})
	}
	r, err := report.ComputeOutcomes(w, options(t))
	if err != nil {
		t.Fatal(err)
	}
	public := r.ForPublic()
	if m5, m7 := found(t, public, "M5.resolved"), found(t, public, "M7.transported"); m5.All.Denominator.N != nil && m7.All.Denominator.N != nil {
		t.Errorf("shown: %d and %d", *m5.All.Denominator.N, *m7.All.Denominator.N)
	}
	if m := found(t, public, "M5.resolved"); m.All.Percent == nil {
		t.Error("the first of the two is hidden too")
	}
}

// TestReportPages has axe look at reports in a browser, one for the public on a phone and
// one for staff on a desk, in both languages; with TANDEM_SHOTS set to a directory it leaves pictures there.
func TestReportPages(t *testing.T) {
	t.Parallel()
	browser := need.Program(t, "chromium", "apt-get install chromium fonts-dejavu")
	axe, err := os.ReadFile(filepath.Join("..", "..", "tools", "axe", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		need.Missing(t, "axe: npm ci in tools/axe")
	}
	r, err := report.ComputeOutcomes(big(t), options(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, x := range map[string]struct {
		r          *report.Outcomes
		lang, size string
	}{"public-es": {r.ForPublic(), "es", "390,844"}, "staff-en": {r, "en", "1280,900"}} {
		var page bytes.Buffer
		if err := x.r.WriteHTML(&page, report.HTMLOptions{Lang: x.lang, Snapshot: "01HZZZZZZZZZZZZZZZZZZZZZZZ", Other: "?lang=es", CSV: "outcomes.csv", JSON: "outcomes.json"}); err != nil {
			t.Fatal(err)
		}
		checked := strings.Replace(page.String(), "</body>", "<script>"+string(axe)+`</script><script>
axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }).then((r) => {
  const found = r.violations.flatMap((v) => v.nodes.map((n) => v.id + ": " + n.html.slice(0, 160)));
  document.body.innerHTML = "<pre id=axe></pre>";
  document.getElementById("axe").textContent = "AXE " + r.passes.length + " " + JSON.stringify(found) + " END";
});</script></body>`, 1)
		file := filepath.Join(dir, name+".html")
		if err := os.WriteFile(file, []byte(checked), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--window-size="+x.size,
			"--user-data-dir="+filepath.Join(dir, "profile-"+name), "--dump-dom", "file://"+file).Output()
		if err != nil {
			t.Fatalf("%s: the browser: %v", name, err)
		}
		_, said, _ := strings.Cut(string(out), "AXE ")
		said, _, ok := strings.Cut(said, " END")
		passes, violations, _ := strings.Cut(said, " ")
		if !ok || passes == "0" || violations != "[]" {
			t.Errorf("%s at %s: axe passed %s rules and found %.2000s", name, x.size, passes, violations)
		}
		if shots := os.Getenv("TANDEM_SHOTS"); shots != "" {
			if err := os.WriteFile(filepath.Join(shots, name+".html"), page.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
