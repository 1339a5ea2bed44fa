package main

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestOutcomes is the way of an admin: a survey that strangers answer, metrics, a report
// that is published, and what everybody sees of it.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	h, dir := newHome(t, homeOptions{})
	ok := func(stdin string, args ...string) string {
		t.Helper()
		r := tandem(t.Context(), stdin, append(args, "--data", dir)...)
		if r.code != exitOK {
			t.Fatalf("tandem %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
		}
		return r.out
	}
	get := func(at string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+at, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d, %v", at, resp.StatusCode, err)
		}
		return string(text)
	}
	text := func(m map[string]any, key string) string {
		t.Helper()
		s, good := m[key].(string)
		if !good {
			t.Fatalf("no %s in %v", key, m)
		}
		return s
	}
	agency := text(decode[map[string]any](t, ok("", "admin", "agency", "create", "--name", "Example Health", "--type", "behavioral_health", "--tz", "UTC", "--json")), "id")
	program := text(decode[map[string]any](t, ok("", "admin", "program", "create", "--name", "Example mobile crisis", "--model", "mct", "--agency", agency, "--json")), "id")
	formID := text(decode[map[string]any](t, ok("", "admin", "form", "import", filepath.Join(formPacks, "experience"), "--agency", agency, "--json")), "id")
	ok("", "admin", "form", "publish", formID)
	link := text(decode[map[string]any](t, ok("", "admin", "survey", "open", "--program", program, "--form", formID, "--json")), "path")
	if r := tandem(t.Context(), "", "admin", "survey", "open", "--program", program, "--form", formID, "--data", dir); r.code != exitBadInput {
		t.Errorf("a second link: exit code %d %s", r.code, r.err)
	}
	if page := get(link + "?lang=es"); !strings.Contains(page, "Me escucharon") || !strings.Contains(page, "Example mobile crisis") {
		t.Errorf("the survey: got %.2000s", page)
	}
	for range 12 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url+link, strings.NewReader(url.Values{"q.respect": {"5"}, "q.again": {"true"}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("an answer: got %d", resp.StatusCode)
		}
	}
	if list := ok("", "admin", "survey", "list"); !strings.Contains(list, "12 answers, open") {
		t.Errorf("the list of links: got %s", list)
	}
	// The survey of today is in no report of a month that is over.
	today := time.Now().UTC()
	tomorrow := today.AddDate(0, 0, 1).Format(time.DateOnly)
	for to, want := range map[string]string{today.Format(time.DateOnly): "No data: No anonymous survey", tomorrow: "The team treated me with respect"} {
		got := ok("", "report", "outcomes", "--program", program, "--from", "2026-01-01", "--to", to)
		if _, after, _ := strings.Cut(got, "M24"); !strings.Contains(after, want) {
			t.Errorf("outcomes to %s: got %s", to, got)
		}
	}
	// The same state, day and flags are the same bytes.
	args := []string{"report", "outcomes", "--program", program, "--public", "--as-of", "2026-11-01", "--from", "2026-01-01", "--to", "2026-11-01"}
	for _, more := range [][]string{{"--json"}, {"--format", "csv", "--lang", "es"}, {"--format", "html"}} {
		if once, twice := ok("", append(args, more...)...), ok("", append(args, more...)...); once != twice || once == "" {
			t.Errorf("%v: twice not the same", more)
		}
	}
	if got := ok("", append(args, "--json")...); !strings.Contains(got, `"without_sud":true`) {
		t.Errorf("for the public it does not leave Part 2 records out: %.300s", got)
	}
	population := filepath.Join(t.TempDir(), "population.csv")
	if err := os.WriteFile(population, []byte("breakdown,group,people\ngender,woman,many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := tandem(t.Context(), "", "report", "outcomes", "--public", "--population", population, "--data", dir); r.code != exitUsage || !strings.Contains(r.err, "leave --population or --public out") {
		t.Errorf("a population for the public: exit code %d %s", r.code, r.err)
	}
	if r := tandem(t.Context(), "", "report", "outcomes", "--population", population, "--data", dir); r.code != exitBadInput || !strings.Contains(r.err, "line 2") {
		t.Errorf("a population that is no number: exit code %d %s", r.code, r.err)
	}
	id := text(decode[map[string]any](t, ok("", "report", "publish", "--program", program, "--from", "2026-01-01", "--to", "2026-02-01", "--json")), "id")
	if r := tandem(t.Context(), "", "report", "publish", "--program", program, "--from", "2026-01-15", "--to", "2026-01-20", "--data", dir); r.code != exitBadInput {
		t.Errorf("an overlap: exit code %d %s", r.code, r.err)
	}
	if list := ok("", "report", "list"); !strings.Contains(list, id) {
		t.Errorf("the list of reports: got %s", list)
	}
	for format, want := range map[string]string{"text": "M24 Experiencia", "csv": "metric,measure", "html": "Integridad de los datos", "json": `"public":true`} {
		if got := ok("", "report", "show", id, "--format", format, "--lang", "es"); !strings.Contains(got, want) {
			t.Errorf("%s: got %.500s", format, got)
		}
	}
	if page := get("/outcomes/" + id); !strings.Contains(page, "Example mobile crisis") {
		t.Errorf("the page: got %.500s", page)
	}
	if got := get("/outcomes/" + id + "/outcomes.json"); got != ok("", "report", "show", id, "--json") {
		t.Error("the page's JSON is not what was published")
	}
	ok("", "admin", "survey", "close", "--program", program)
	// What was done is in the log.
	log := ok("", "admin", "audit", "list", "--limit", "200", "--json")
	for _, act := range []string{"SURVEY_LINK", "SURVEY_ANSWERED", "REPORT_PUBLISHED"} {
		if !strings.Contains(log, act) {
			t.Errorf("the audit log has no %s", act)
		}
	}
}

// The days of a report are those of the program's agency, and not those of whichever agency
// was there first.
func TestReportZone(t *testing.T) {
	t.Parallel()
	_, dir := newHome(t, homeOptions{})
	run := func(args ...string) map[string]any {
		t.Helper()
		r := tandem(t.Context(), "", append(args, "--json", "--data", dir)...)
		if r.code != exitOK {
			t.Fatalf("tandem %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
		}
		return decode[map[string]any](t, r.out)
	}
	program := func(zone string) string {
		agency, _ := run("admin", "agency", "create", "--name", "Example Health", "--type", "behavioral_health", "--tz", zone)["id"].(string)
		id, _ := run("admin", "program", "create", "--name", "Example mobile crisis", "--model", "mct", "--agency", agency)["id"].(string)
		return id
	}
	zone := func(args ...string) any {
		t.Helper()
		period, _ := run(append([]string{"report", "outcomes", "--from", "2026-01-01", "--to", "2026-02-01"}, args...)...)["period"].(map[string]any)
		return period["zone"]
	}
	first, second := program("America/Chicago"), program("Pacific/Honolulu")
	for _, c := range []struct {
		args []string
		want string
	}{{[]string{"--program", first}, "America/Chicago"}, {[]string{"--program", second}, "Pacific/Honolulu"}, {[]string{"--program", second, "--zone", "UTC"}, "UTC"}} {
		if got := zone(c.args...); got != c.want {
			t.Errorf("%v: %v, want %s", c.args, got, c.want)
		}
	}
}
