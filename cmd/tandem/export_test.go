package main

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExport: a spreadsheet goes in at a device and comes out at the server, call by
// call; who may not is told so.
func TestExport(t *testing.T) {
	t.Parallel()
	h, dir := newHome(t, homeOptions{})
	car := filepath.Join(t.TempDir(), "car")
	code, err := h.code(t.Context(), h.clinician, "Car 12 laptop")
	if err != nil {
		t.Fatal(err)
	}
	must(t, code, "enroll", "--server", h.url, "--store", car)
	must(t, "", "import", "--store", car, "--mapping", toronto, spreadsheet(t, 30, 1))
	must(t, "", "sync", "--store", car)

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
	done := decode[exported](t, must(t, "", append(args, "--json")...))
	if done.Records < 30 || done.Seq == 0 || len(done.Manifest) != 64 {
		t.Errorf("%+v", done)
	}
	f, err := os.Open(filepath.Join(to, "incidents.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil || len(lines) != 31 {
		t.Fatalf("%d lines: %v", len(lines), err)
	}
	if r := tandem(t.Context(), "", args...); r.code != exitBadInput || !strings.Contains(r.err, "does not exist yet") {
		t.Errorf("written over: exit code %d, %s", r.code, r.err)
	}
	log := must(t, "", "admin", "audit", "list", "--data", dir, "--json")
	if strings.Count(log, "export csv") != 1 || strings.Count(log, "exported csv") != 1 {
		t.Errorf("the audit log:\n%s", log)
	}
}
