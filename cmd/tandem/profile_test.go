package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestProfiles sets up a laptop for two people with the commands that they type, and goes
// from one to the other.
func TestProfiles(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	laptop := filepath.Join(t.TempDir(), "laptop")
	pass := map[string]string{}
	for name, staff := range map[string]string{"ms": o.clinician.String(), "lr": o.second.String()} {
		pass[name] = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(pass[name], []byte("five dice words of "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		must(t, "", "profile", "add", "--dir", laptop, "--json", name)
		code := decode[struct{ Code string }](t, must(t, "", "admin", "code", "--data", o.dir, "--json", "--label", "Car 12 "+name, "--staff", staff)).Code
		must(t, code, "enroll", "--server", o.url, "--store", laptop, "--profile", name, "--passphrase-file", pass[name])
	}
	if r := tandem(t.Context(), "", "sync", "--store", laptop, "--passphrase-file", pass["ms"]); r.code != exitUsage || !strings.Contains(r.err, "tandem profile list") {
		t.Errorf("nobody is chosen: exit code %d, %s", r.code, r.err)
	}
	for _, name := range []string{"ms", "lr"} {
		must(t, "", "profile", "choose", "--dir", laptop, "--json", name)
		must(t, "", "sync", "--store", laptop, "--passphrase-file", pass[name])
	}
	type line struct {
		Profile, State string
		Chosen         bool
	}
	listed := map[string]line{}
	for text := range strings.Lines(must(t, "", "profile", "list", "--dir", laptop, "--json")) {
		l := decode[line](t, text)
		listed[l.Profile] = l
	}
	if len(listed) != 2 || listed["ms"] != (line{"ms", "sealed", false}) || listed["lr"] != (line{"lr", "sealed", true}) {
		t.Errorf("listed: %v", listed)
	}
	if r := tandem(t.Context(), "", "sync", "--store", laptop, "--passphrase-file", pass["ms"]); r.code != exitBadInput {
		t.Errorf("another's passphrase: exit code %d, %s", r.code, r.err)
	}
	must(t, "", "sync", "--store", laptop, "--profile", "ms", "--passphrase-file", pass["ms"])
	for _, bad := range [][]string{{"add", "--dir", laptop, "ms"}, {"add", "--dir", laptop, "No Name"}, {"choose", "--dir", laptop, "nobody"}, {"list", "--dir", t.TempDir()}} {
		if r := tandem(t.Context(), "", append([]string{"profile"}, bad...)...); r.code != exitUsage {
			t.Errorf("tandem profile %v: exit code %d, %s", bad, r.code, r.err)
		}
	}
}
