package tandem_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// fuzzed matches the beginning of what a fuzz target does with an input, and its first
// line.
var fuzzed = regexp.MustCompile(`\.Fuzz\(func\(([a-z]+) \*testing\.T[^{]*\{\n\s*([^\n]*)`)

// TestFuzzTargetsAreBrief: every fuzz target fails on an input that makes it hang.
func TestFuzzTargetsAreBrief(t *testing.T) {
	t.Parallel()
	targets := 0
	for _, name := range trackedFiles(t) {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		faults, found := checkBrief(name, string(text))
		targets += found
		for _, fault := range faults {
			t.Error(fault)
		}
	}
	if targets < 20 {
		t.Errorf("only %d fuzz targets were found", targets)
	}
}

func TestBriefnessIsGuarded(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"f.Fuzz" + "(func(t *testing.T, b []byte) {\n\t\tdefer need.Brief(t)()\n":    0,
		"f.Fuzz" + "(func(t *testing.T, b []byte) {\n\t\tx := b\n":                   1,
		"f.Fuzz" + "(func(tb *testing.T, b []byte) {\n\t\tdefer need.Brief(t)()\n":   1,
		"f.Fuzz" + "(func(t *testing.T, b []byte) {\n\t\tdefer need.Brief(t)\n\t\t_": 1,
	} {
		if faults, found := checkBrief("x_test.go", text); len(faults) != want || found != 1 {
			t.Errorf("%q: %q, %d found", text, faults, found)
		}
	}
}

// checkBrief returns a sentence for each fuzz target that does not bound its inputs.
func checkBrief(name, text string) (faults []string, found int) {
	for _, m := range fuzzed.FindAllStringSubmatch(text, -1) {
		found++
		if m[2] != "defer need.Brief("+m[1]+")()" {
			faults = append(faults, fmt.Sprintf("%s: a fuzz target begins with %q; begin it with defer need.Brief(%s)()", name, m[2], m[1]))
		}
	}
	return faults, found
}
