package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
)

func jsonLine(t *testing.T, out string) (line map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), &line); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return line
}

// TestPurge: what is past its retention is purged beside a running server, when two admins
// say so, and no byte of it is left in the data directory.
func TestPurge(t *testing.T) {
	t.Parallel()
	h, dir := newHome(t, homeOptions{})
	admin := func(name string) string {
		id, err := h.admin.AddStaff(t.Context(), server.StaffOptions{Name: name, Discipline: "other", Roles: []string{"admin"}, Agency: h.clinic, Teams: []syncengine.ID{h.team}})
		if err != nil {
			t.Fatal(err)
		}
		return id.String()
	}
	one, two := admin("One Admin"), admin("Two Admin")
	// Written by a clock of long ago.
	const word = "PlantedPurgedWords"
	past := server.NewAdmin(h.store, h.org, server.AdminOptions{Clock: func() time.Time { return time.Date(2005, 1, 1, 0, 0, 0, 0, time.UTC) }})
	for range 3 {
		if _, err := past.Change(t.Context(), h.clinician, func(c *server.Composer) error {
			_, err := c.Create(&tandemv1.Person{
				AgencyId: new(h.clinic.String()), TeamId: new(h.team.String()), Lifecycle: new("active"), ApproxAge: new(uint32(40)), Descriptor_: new(word),
			})
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if out := must(t, "", "admin", "purge", "list", "--data", dir); !strings.Contains(out, "May be purged now: 3 people and 0 calls, 3 records.") {
		t.Errorf("%s", out)
	}
	reason := []string{"--data", dir, "--reason", "past its retention"}
	purge := jsonLine(t, must(t, "", append([]string{"admin", "purge", "ask", "--json", "--as", one}, reason...)...))
	id, _ := purge["purge"].(string)
	if purge["state"] != "asked" || purge["records"] != float64(3) {
		t.Errorf("%v", purge)
	}
	refused := func(code int, says string, args ...string) {
		t.Helper()
		if r := tandem(t.Context(), "", args...); r.code != code || !strings.Contains(r.err, says) {
			t.Errorf("%v: exit %d, %s", args, r.code, r.err)
		}
	}
	refused(exitUsage, "say --yes", "admin", "purge", "approve", "--data", dir, "--as", two, id)
	refused(exitBadInput, "somebody else", "admin", "purge", "approve", "--data", dir, "--as", one, "--yes", id)
	refused(exitBadInput, "active admins", "admin", "purge", "approve", "--data", dir, "--as", h.clinician.String(), "--yes", id)
	refused(exitBadInput, "open already", append([]string{"admin", "purge", "ask", "--as", two}, reason...)...)
	if got := jsonLine(t, must(t, "", "admin", "purge", "refuse", "--data", dir, "--as", two, "--json", id)); got["state"] != "refused" {
		t.Errorf("%v", got)
	}
	id, _ = jsonLine(t, must(t, "", append([]string{"admin", "purge", "ask", "--json", "--as", two}, reason...)...))["purge"].(string)
	done := jsonLine(t, must(t, "", "admin", "purge", "approve", "--data", dir, "--as", one, "--yes", "--json", id))
	if done["state"] != "done" || done["erased"] != float64(3) {
		t.Errorf("%v", done)
	}
	show := []string{"admin", "purge", "show", "--data", dir, id}
	if out := must(t, "", show...); !strings.Contains(out, "Purge "+id+": done") || !strings.Contains(out, "     3  person\n") || !strings.Contains(out, "0 of the records") || strings.Contains(out, "Admin") {
		t.Errorf("%s", out)
	}
	if got := jsonLine(t, must(t, "", append(show, "--json")...)); got["erased_by_kind"].(map[string]any)["person"] != float64(3) || got["kept"] != float64(0) { //nolint:errcheck // It panics otherwise, which is a failure too.
		t.Errorf("%v", got)
	}
	refused(exitBadInput, "no purge of that id", "admin", "purge", "show", "--data", dir, one)
	refused(exitBadInput, "no purge", "admin", "purge", "approve", "--data", dir, "--as", one, "--yes", id)
	refused(exitBadInput, "nothing that is past", append([]string{"admin", "purge", "ask", "--as", two}, reason...)...)
	must(t, "", "verify", "--data", dir)
	must(t, "", "verify", "audit", "--data", dir)
	if got := jsonLine(t, must(t, "", "admin", "purge", "list", "--data", dir, "--json")); got["purgeable"] != float64(0) {
		t.Errorf("%v", got)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if raw, err := os.ReadFile(f); err == nil && bytes.Contains(raw, []byte(word)) {
			t.Errorf("%s holds what was purged", filepath.Base(f))
		}
	}
}
