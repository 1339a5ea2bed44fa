package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// TestEncryptedBackup makes a backup that the server itself cannot open, and plays its
// theft and its return: without the key no word of it can be read, with a bit turned it is
// refused, and with the key it is the database that it was.
func TestEncryptedBackup(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	words := "canary-words-of-a-backup"
	dev, err := o.enrol(t.Context(), o.clinician, "Car 12 laptop", path("car12"), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dev.Edit(t.Context(), func(e *client.Edit) error {
		_, err := e.Create(&tandemv1.Encounter{Narrative: &words})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := dev.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}

	key := decode[struct{ Recipient string }](t, must(t, "", "backup", "key", "--json", "--to", path("offline.key")))
	must(t, "", "backup", "key", "--to", path("other.key"))
	if info, err := os.Stat(path("offline.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
	if r := tandem(t.Context(), "", "backup", "key", "--to", path("offline.key")); r.code != exitUsage {
		t.Errorf("a key over another: exit code %d", r.code)
	}
	secret, err := os.ReadFile(path("offline.key"))
	if err != nil {
		t.Fatal(err)
	}
	wrong := strings.TrimSpace(string(secret[bytes.Index(secret, []byte("AGE-SECRET")):]))
	if r := tandem(t.Context(), "", "backup", "make", "--data", o.dir, "--to", path("not.age"), "--to-age", wrong); r.code != exitUsage || strings.Contains(r.err+r.out, wrong) {
		t.Errorf("a secret key for a public one: exit code %d, %s", r.code, r.err)
	}

	// No file is encrypted to keys of both sorts: that is said before anything is made.
	classic, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range [][]string{{"backup", "make", "--to", path("not.age")}, {"export", "--to", path("not"), "--purpose", "x", "--recipient", "y", "--basis", "research"}} {
		args := append(cmd, "--data", o.dir, "--to-age", classic.Recipient().String(), "--to-age", hybrid.Recipient().String())
		if r := tandem(t.Context(), "", args...); r.code != exitUsage || !strings.Contains(r.err, "do not go together") {
			t.Errorf("%s to keys of both sorts: exit code %d, %s", cmd[0], r.code, r.err)
		}
	}

	// The same in the clear shows that the search finds.
	must(t, "", "backup", "make", "--data", o.dir, "--to", path("plain.db"))
	made := decode[struct {
		Encrypted bool
		Orgs      []struct{ Seq uint64 }
	}](t, must(t, "", "backup", "make", "--json", "--data", o.dir, "--to", path("monday.age"), "--to-age", key.Recipient))
	if !made.Encrypted || len(made.Orgs) != 1 || made.Orgs[0].Seq == 0 {
		t.Errorf("made: %+v", made)
	}
	for name, want := range map[string]bool{"plain.db": true, "monday.age": false} {
		b, err := os.ReadFile(path(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, mark := range []string{words, "SQLite format 3", "Maya", "CREATE TABLE"} {
			if got := bytes.Contains(b, []byte(mark)); got != want {
				t.Errorf("%s holds %q: %t", name, mark, got)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(o.dir, "*.tmp*")); len(left) > 0 {
		t.Errorf("left in the data directory: %v", left)
	}

	// It comes back with its key alone, and whole.
	sealed, err := os.ReadFile(path("monday.age"))
	if err != nil {
		t.Fatal(err)
	}
	turned := bytes.Clone(sealed)
	turned[len(turned)/2] ^= 1
	for name, b := range map[string][]byte{"turned.age": turned, "short.age": sealed[:len(sealed)-1000], "header.age": sealed[:40]} {
		if err := os.WriteFile(path(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	restore := func(from, data string, more ...string) ran {
		return tandem(t.Context(), "", append([]string{"restore", "--from", path(from), "--keys", filepath.Join(o.dir, "keys.json"), "--journal", filepath.Join(o.dir, "security.journal"), "--data", path(data)}, more...)...)
	}
	for name, c := range map[string]struct {
		from string
		more []string
		code int
	}{
		"without a key":      {"monday.age", nil, exitUsage},
		"with another key":   {"monday.age", []string{"--identity", path("other.key")}, exitBadInput},
		"with no key at all": {"monday.age", []string{"--identity", path("plain.db")}, exitBadInput},
		"with a bit turned":  {"turned.age", []string{"--identity", path("offline.key")}, exitBadInput},
		"cut off":            {"short.age", []string{"--identity", path("offline.key")}, exitBadInput},
		"its header alone":   {"header.age", []string{"--identity", path("offline.key")}, exitBadInput},
	} {
		if r := restore(c.from, "nothing", c.more...); r.code != c.code {
			t.Errorf("%s: exit code %d, %s", name, r.code, r.err)
		}
		if _, err := os.Stat(path("nothing")); !os.IsNotExist(err) {
			t.Errorf("%s: something was restored", name)
		}
	}
	if r := restore("monday.age", "again", "--identity", path("offline.key")); r.code != exitOK {
		t.Fatalf("with its key: exit code %d, %s", r.code, r.err)
	}
	must(t, "", "verify", "--data", path("again"))
	if b, err := os.ReadFile(filepath.Join(path("again"), "tandem.db")); err != nil || !bytes.Contains(b, []byte(words)) {
		t.Errorf("the restored database lacks the words: %v", err)
	}
	if left, _ := filepath.Glob(path(".restore-*")); len(left) > 0 {
		t.Errorf("a copy in the clear is left: %v", left)
	}
	// The tools of age open it too.
	id, err := age.ParseX25519Identity(wrong)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := age.Decrypt(bytes.NewReader(sealed), id); err != nil {
		t.Error(err)
	}
}
