package main

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// withCalls is a home whose server has the 30 calls of a spreadsheet from a device.
func withCalls(t *testing.T) (h *home, dir string) {
	t.Helper()
	h, dir = newHome(t, homeOptions{})
	car := filepath.Join(t.TempDir(), "car")
	code, err := h.code(t.Context(), h.clinician, "Car 12 laptop")
	if err != nil {
		t.Fatal(err)
	}
	must(t, code, "enroll", "--server", h.url, "--store", car)
	must(t, "", "import", "--store", car, "--mapping", toronto, spreadsheet(t, 30, 1))
	must(t, "", "sync", "--store", car)
	return h, dir
}

// TestExport: a spreadsheet goes in at a device and comes out at the server, call by
// call; who may not is told so.
func TestExport(t *testing.T) {
	t.Parallel()
	h, dir := withCalls(t)

	to := filepath.Join(t.TempDir(), "out")
	args := []string{"export", "--data", dir, "--to", to, "--purpose", "a test", "--recipient", "nobody", "--basis", "research"}
	for _, c := range []struct {
		more []string
		code int
		want string
	}{
		{[]string{"--as", h.clinician.String()}, exitBadInput, "may not export"},
		{[]string{"--as", "x"}, exitUsage, "--as"},
		{[]string{"--basis", "because"}, exitUsage, "basis"},
		{[]string{"--kind", "incidents"}, exitUsage, "incidents"},
	} {
		if r := tandem(t.Context(), "", append(args, c.more...)...); r.code != c.code || !strings.Contains(r.err, c.want) || strings.Contains(r.err, "\n\n") {
			t.Errorf("%v: exit code %d, %s", c.more, r.code, r.err)
		}
		if _, err := os.Stat(to); err == nil {
			t.Fatalf("%v: something was exported", c.more)
		}
	}
	if r := tandem(t.Context(), "", append(args, "--preview")...); r.code != exitUsage {
		t.Errorf("--preview with --to: exit code %d, %s", r.code, r.err)
	}
	count := must(t, "", append(slices.Concat(args[:3], args[5:]), "--preview")...)
	if !strings.Contains(count, "      30 rows") || !strings.Contains(count, "incidents.csv") {
		t.Errorf("the preview:\n%s", count)
	}
	done := decode[exported](t, must(t, "", append(args, "--json")...))
	if done.Records < 30 || done.Seq == 0 || len(done.Manifest) != 64 {
		t.Errorf("%+v", done)
	}
	text, err := os.ReadFile(filepath.Join(to, "incidents.csv"))
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(lines) != 31 {
		t.Fatalf("%d lines: %v", len(lines), err)
	}
	if r := tandem(t.Context(), "", args...); r.code != exitBadInput || !strings.Contains(r.err, "does not exist yet") {
		t.Errorf("written over: exit code %d, %s", r.code, r.err)
	}
	key := must(t, "", "backup", "key", "--to", filepath.Join(t.TempDir(), "key"))
	key = key[strings.Index(key, "age1"):]
	key = key[:strings.IndexFunc(key, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'z') })]
	for _, c := range []struct {
		more []string
		file string
	}{
		{[]string{"--format", "xlsx"}, "records.xlsx"},
		{[]string{"--format", "parquet", "--from", "2000-01-01"}, "incidents.parquet"},
		{[]string{"--format", "fhir", "--type", "Practitioner", "--to-age", key}, "Practitioner.ndjson.age"},
		{[]string{"--fields", "safe_harbor", "--until", "2100-12-31", "--since", "1"}, "incidents.csv"},
		{[]string{"--fields", "limited", "--agreement", "agreement 1"}, "incidents.csv"},
	} {
		at := filepath.Join(t.TempDir(), "out")
		must(t, "", slices.Concat(args[:3], []string{"--to", at}, args[5:], c.more)...)
		if _, err := os.Stat(filepath.Join(at, c.file)); err != nil {
			t.Errorf("%v: %v", c.more, err)
		}
	}
	for _, wrong := range [][]string{{"--fields", "limited"}, {"--from", "yesterday"}, {"--format", "fhir", "--fields", "safe_harbor"}, {"--type", "Binary"}, {"--to-age", "x"}} {
		if r := tandem(t.Context(), "", slices.Concat(args[:3], []string{"--to", filepath.Join(t.TempDir(), "out")}, args[5:], wrong)...); r.code != exitUsage {
			t.Errorf("%v: exit code %d, %s", wrong, r.code, r.err)
		}
	}
	log := must(t, "", "admin", "audit", "list", "--data", dir, "--json")
	if strings.Count(log, "export csv") != 3 || strings.Count(log, "exported csv safe_harbor") != 1 || strings.Count(log, "exported fhir") != 1 || strings.Count(log, "export preview") != 1 {
		t.Errorf("the audit log:\n%s", log)
	}
}

// TestImportExport: what the operator exports makes another server, which exports the same.
func TestImportExport(t *testing.T) {
	t.Parallel()
	_, dir := withCalls(t)
	out := func(data string, more ...string) string {
		to := filepath.Join(t.TempDir(), "out")
		must(t, "", append([]string{"export", "--data", data, "--to", to, "--purpose", "another server", "--recipient", "ourselves", "--basis", "payment_ops"}, more...)...)
		return to
	}
	again := filepath.Join(t.TempDir(), "again")
	if r := tandem(t.Context(), "", "import", "export", out(dir), "--data", again); r.code != exitBadInput || !strings.Contains(r.err, "--machine") {
		t.Errorf("for a spreadsheet: exit code %d, %s", r.code, r.err)
	}
	if _, err := os.Stat(again); err == nil {
		t.Error("what was refused has made a directory")
	}
	whole := out(dir, "--machine", "--drafts", "--void", "--notes", "--sud")
	done := decode[reimported](t, must(t, "", "import", "export", whole, "--data", again, "--json"))
	if done.Added != done.Records || done.Records < 30 {
		t.Errorf("%+v", done)
	}
	if r := tandem(t.Context(), "", "import", "export", whole, "--data", again); r.code != exitUsage || !strings.Contains(r.err, "nothing is written over") {
		t.Errorf("into a server that is there: exit code %d, %s", r.code, r.err)
	}
	second := out(again, "--machine", "--drafts", "--void", "--notes", "--sud")
	for _, name := range []string{"incident_le_actions.csv", "codebook.csv", "codes.csv", "README.txt"} {
		a, err := os.ReadFile(filepath.Join(whole, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(second, name))
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs, %v", name, err)
		}
	}
	log := must(t, "", "admin", "audit", "list", "--data", again, "--json")
	if strings.Count(log, "IMPORTED") != 2 {
		t.Errorf("the audit log:\n%s", log)
	}
	must(t, "", "verify", "--data", again)
}
