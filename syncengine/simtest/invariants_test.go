package simtest_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/syncengine/simtest"
)

// promised is the page of promises, invariantCount how many invariants there are.
const (
	promised       = "../../docs/promises.md"
	invariantCount = 30
)

// checker matches a word that may be the name of a function here.
var checker = regexp.MustCompile(`\b[a-z]+(?:[A-Z][a-z]*)*\b`)

// TestInvariantsAreThePromises: the simulator's table has each invariant of the page of
// promises once; what it says is checked here by functions that there are is, on the page,
// a promise that the simulator holds, and the page names the simulator for no other.
func TestInvariantsAreThePromises(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(promised)
	if err != nil {
		t.Fatal(err)
	}
	functions := map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				functions[fn.Name.Name] = true
			}
		}
	}
	table := map[string]string{}
	for _, i := range simtest.Invariants {
		if _, twice := table[i.Name]; twice || i.Promise == "" || i.Checked == "" {
			t.Errorf("%s stands twice, or says too little", i.Name)
		}
		table[i.Name] = i.Checked
	}
	for _, fault := range compareInvariants(string(page), table, functions) {
		t.Error(fault)
	}
}

func TestInvariantsAreGuarded(t *testing.T) {
	t.Parallel()
	functions := map[string]bool{"whole": true}
	table, page := map[string]string{}, ""
	for i := 1; i <= invariantCount; i++ {
		table[fmt.Sprintf("I%d", i)] = "whole"
		page += fmt.Sprintf("| I%d | words | words | `syncengine/simtest` TestWorlds |\n", i)
	}
	with := func(name, checked string) map[string]string {
		next := map[string]string{}
		maps.Copy(next, table)
		if next[name] = checked; checked == "" {
			delete(next, name)
		}
		return next
	}
	elsewhere := strings.Replace(page, "| I7 | words | words | `syncengine/simtest` TestWorlds |", "| I7 | words | words | `client` TestX |", 1)
	for name, tc := range map[string]struct {
		page  string
		table map[string]string
		want  string // part of the only fault; empty: none
	}{
		"whole":                      {page, table, ""},
		"one is missing here":        {page, with("I7", ""), "I7"},
		"one too many":               {page, with("I31", "whole"), "I31"},
		"a function that is gone":    {page, with("I7", "other checks"), "I7"},
		"on the page no simulator":   {elsewhere, table, "I7"},
		"on neither":                 {elsewhere, with("I7", "the client's tests"), ""},
		"on the page alone":          {page, with("I7", "the client's tests"), "I7"},
		"one is missing on the page": {strings.Replace(page, "| I7 |", "| I6 |", 1), table, "I7"},
	} {
		faults := compareInvariants(tc.page, tc.table, functions)
		if (tc.want == "") != (len(faults) == 0) || tc.want != "" && (len(faults) != 1 || !strings.Contains(faults[0], tc.want)) {
			t.Errorf("%s: %q", name, faults)
		}
	}
}

// compareInvariants returns a sentence for each difference between the page and the
// table: which invariants there are, and which of them the simulator checks.
func compareInvariants(page string, table map[string]string, functions map[string]bool) (faults []string) {
	rows := map[string]bool{}
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		name := strings.TrimSpace(cells[0])
		if len(cells) == 4 && strings.HasPrefix(name, "I") {
			rows[name] = strings.Contains(cells[3], "`syncengine/simtest`")
		}
	}
	known := map[string]bool{}
	for i := 1; i <= invariantCount; i++ {
		name := fmt.Sprintf("I%d", i)
		known[name] = true
		checked, here := table[name]
		there, onPage := rows[name]
		if !here || !onPage {
			faults = append(faults, fmt.Sprintf("%s: in the simulator's table: %t, on the page of promises: %t", name, here, onPage))
			continue
		}
		checks := false
		for _, word := range checker.FindAllString(checked, -1) {
			checks = checks || functions[word]
		}
		checks = checks || strings.Contains(checked, "TestWorlds") || strings.HasPrefix(checked, "every check")
		if checks != there {
			faults = append(faults, fmt.Sprintf("%s: the simulator's table names a check of its own: %t (%s); the page of promises names the simulator: %t", name, checks, checked, there))
		}
	}
	for name := range table {
		if !known[name] {
			faults = append(faults, name+" is no invariant")
		}
	}
	return faults
}
