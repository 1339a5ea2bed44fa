package main

import (
	"archive/zip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hsds is a directory as its source gives it, as CSV tables.
var hsds = filepath.Join("..", "..", "syncengine", "directory", "testdata", "hsds")

// TestDirectory: 988 is on top with no directory at all; a source is taken whole or not
// at all, and importing it again adds nothing.
func TestDirectory(t *testing.T) {
	t.Parallel()
	_, dir := newHome(t, homeOptions{})
	admin := func(code int, stdin string, args ...string) string {
		t.Helper()
		r := tandem(t.Context(), stdin, append(append([]string{"admin", "directory"}, args...), "--data", dir)...)
		if r.code != code {
			t.Fatalf("tandem admin directory %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.out, r.err)
		}
		return r.out + r.err
	}
	first := func(out string) string { return strings.TrimSpace(strings.SplitN(out, "\n", 2)[0]) }
	lifeline := func(out string, lines int) {
		t.Helper()
		if !strings.HasPrefix(first(out), "988 Suicide & Crisis Lifeline") || strings.Count(out, "\n") != lines {
			t.Errorf("want the lifeline on top of %d lines:\n%s", lines, out)
		}
	}
	lifeline(admin(exitOK, "", "list", "--need", "shelter", "--lang", "fr"), 1)
	agency := strings.TrimSpace(must(t, "", "admin", "agency", "create", "--name", "Example", "--type", "hospital", "--tz", "UTC", "--data", dir))

	// Broken: a service of nobody, after three that are whole.
	raw, err := os.ReadFile(filepath.Join(hsds, "services.csv"))
	if err != nil {
		t.Fatal(err)
	}
	broken := t.TempDir()
	if err := os.CopyFS(broken, os.DirFS(hsds)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(broken, "services.csv"), append(raw, "s4,o9,Lost,,,,active,,,,,,,\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := admin(exitBadInput, "", "import", broken, "--agency", agency); !strings.Contains(out, `services.csv:5: it is of the organization "o9"`) {
		t.Errorf("a broken source: %s", out)
	}
	lifeline(admin(exitOK, "", "list"), 1)

	if out := first(admin(exitOK, "", "import", hsds, "--agency", agency)); out != "4 added, 0 changed, 0 as before, 0 retired." {
		t.Error(out)
	}
	lifeline(admin(exitOK, "", "list"), 4) // What is closed for now is not shown.
	lifeline(admin(exitOK, "", "list", "--need", "crisis_bed", "--lang", "es", "--police-dropoff"), 2)
	again := filepath.Join("..", "..", "syncengine", "directory", "testdata", "services.json")
	if out := first(admin(exitOK, "", "import", again, "--agency", agency)); out != "0 added, 0 changed, 4 as before, 0 retired." {
		t.Errorf("the same as JSON: %s", out)
	}

	// The source changes, as a ZIP: one entry is another, one is gone.
	changed := strings.Replace(strings.Replace(string(raw), "Food pantry", "Food and meals", 1), "\ns3,", "\ns9,", 1)
	file := filepath.Join(t.TempDir(), "hsds.zip")
	zipped(t, file, map[string]string{"hsds/services.csv": changed})
	if out := first(admin(exitOK, "", "import", file, "--agency", agency)); out != "1 added, 2 changed, 1 as before, 0 retired." {
		t.Errorf("a changed source: %s", out)
	}
	if out := first(admin(exitOK, "", "import", file, "--agency", agency, "--retire-missing")); out != "0 added, 0 changed, 4 as before, 1 retired." {
		t.Errorf("retiring what is missing: %s", out)
	}
	if out := first(admin(exitOK, "", "import", hsds, "--agency", agency, "--retire-missing")); out != "0 added, 3 changed, 1 as before, 1 retired." {
		t.Errorf("the first source again: %s", out)
	}
	admin(exitBadInput, "[", "import", "-", "--agency", agency)
	admin(exitBadInput, "", "import", "nowhere.json", "--agency", agency)
	admin(exitUsage, "", "list", "--need", "gold")
}

// zipped makes a ZIP of the directory of the tests, with some files replaced.
func zipped(t *testing.T, name string, replace map[string]string) {
	t.Helper()
	f, err := os.Create(name) //nolint:gosec // A file of the test's own.
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(f)
	files, err := os.ReadDir(hsds)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range files {
		raw, err := os.ReadFile(filepath.Join(hsds, one.Name())) //nolint:gosec // See above.
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := replace["hsds/"+one.Name()]; ok {
			raw = []byte(text)
		}
		part, err := w.Create("hsds/" + one.Name())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write(raw); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{w.Close(), f.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
}
