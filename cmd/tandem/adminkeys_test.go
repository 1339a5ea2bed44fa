package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// An operator replaces the organization's key beside a running server: devices go on, the
// log holds for whoever knows any of the keys, and a backup of before is restored with the
// newest keys and with no others.
func TestRotateOrg(t *testing.T) {
	t.Parallel()
	h, dir := newHome(t, homeOptions{})
	tmp := t.TempDir()
	at := func(name string) string { return filepath.Join(tmp, name) }
	car := func(name string) string {
		code, err := h.code(t.Context(), h.clinician, name)
		if err != nil {
			t.Fatal(err)
		}
		must(t, code, "enroll", "--server", h.url, "--store", at(name))
		must(t, "", "sync", "--store", at(name))
		return at(name)
	}
	here, away := car("here"), car("away")
	must(t, "", "backup", "make", "--data", dir, "--to", at("monday.db"))
	old, err := os.ReadFile(filepath.Join(dir, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("old.json"), old, 0o600); err != nil {
		t.Fatal(err)
	}

	for _, grace := range []string{"-1h", "9000h", "soon"} {
		if r := tandem(t.Context(), "", "admin", "keys", "rotate-org", "--data", dir, "--grace="+grace); r.code != exitUsage || !strings.Contains(r.err, "--grace") {
			t.Errorf("--grace %s: exit code %d, %s", grace, r.code, r.err)
		}
	}
	if made := decode[orgKey](t, must(t, "", "admin", "keys", "rotate-org", "--data", dir, "--json")); made.Number != 2 || !made.Present {
		t.Errorf("it made %+v", made)
	}
	must(t, "", "sync", "--store", here)
	var both sync.WaitGroup
	var two [2]ran
	for i := range two {
		both.Go(func() {
			two[i] = tandem(t.Context(), "", "admin", "keys", "rotate-org", "--data", dir, "--grace", "0s")
		})
	}
	both.Wait()
	made := 0
	for _, r := range two {
		switch {
		case r.code == exitOK:
			made++
		case !strings.Contains(r.err, "this one has changed nothing"):
			t.Errorf("two at once: exit code %d, %s", r.code, r.err)
		}
	}
	if keys := strings.Count(must(t, "", "admin", "keys", "list", "--data", dir, "--json"), "\n"); made == 0 || keys != 2+made {
		t.Errorf("%d were made at once, and %d keys are listed", made, keys)
	}
	if listed := must(t, "", "admin", "keys", "list", "--data", dir); strings.Count(listed, "readmits nobody") != 1+made || strings.Contains(listed, "nil") {
		t.Errorf("the keys are listed as\n%s", listed)
	}
	must(t, "", "admin", "audit", "export", "--data", dir, "--to", at("audit.jsonl"))
	for _, args := range [][]string{
		{"--data", dir, "--store", here, "--store", away}, {"--file", at("audit.jsonl"), "--store", away}, {"--file", at("audit.jsonl"), "--store", here},
	} {
		if v := decode[verifiedAudit](t, must(t, "", append([]string{"verify", "audit", "--json"}, args...)...)); !v.OK || v.Checkpoints < 2 {
			t.Errorf("%v: %+v", args, v)
		}
	}
	must(t, "", "sync", "--store", away)
	must(t, "", "sync", "--store", here)
	must(t, "", "verify", "audit", "--data", dir, "--store", here, "--store", away)

	restore := func(to, keys string) ran {
		return tandem(t.Context(), "", "restore", "--from", at("monday.db"), "--keys", keys, "--journal", filepath.Join(dir, "security.journal"), "--data", at(to))
	}
	if r := restore("wrong", at("old.json")); r.code == exitOK || !strings.Contains(r.err, "put its newest copy in its place") {
		t.Errorf("a restore with the keys of before: exit code %d, %s", r.code, r.err)
	}
	if _, err := os.Stat(at("wrong")); err == nil {
		t.Error("it has left something")
	}
	if r := restore("right", filepath.Join(dir, "keys.json")); r.code != exitOK {
		t.Errorf("a restore with the newest keys: exit code %d, %s", r.code, r.err)
	}
	must(t, "", "backup", "make", "--data", dir, "--to", at("friday.db"))
	late := tandem(t.Context(), "", "restore", "--from", at("friday.db"), "--keys", at("old.json"), "--journal", filepath.Join(dir, "security.journal"), "--data", at("late"))
	if late.code == exitOK || !strings.Contains(late.err, "put its newest copy in its place") {
		t.Errorf("a restore of a backup of after the rotation with the keys of before: exit code %d, %s", late.code, late.err)
	}
	listed := must(t, "", "admin", "keys", "list", "--data", at("right"), "--json")
	if keys := strings.Count(listed, "\n"); keys != 2+made {
		t.Errorf("the restored server has %d keys", keys)
	}
	must(t, "", "verify", "audit", "--data", at("right"))
}
