package tandem_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The page that says what is promised, and the one of bugs that the tests have found.
const (
	promisesPage = "docs/promises.md"
	recordPage   = "docs/track-record.md"
	threatsPage  = "SECURITY.md"
	demandsPage  = "docs/requirements.md"
)

// notYet begins the last column of a row that no test holds.
const notYet = "not yet held:"

// invariants is the number of invariants: I1 to I30.
const invariants = 30

func TestEveryPromiseHasItsTest(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(promisesPage)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range checkPromises(string(text), testsOf) {
		t.Error(fault)
	}
}

func TestEveryBugFoundCanBeSeenAgain(t *testing.T) {
	t.Parallel()
	everyRowNamesItsTest(t, recordPage)
}

func TestEveryThreatHasItsDrill(t *testing.T) {
	t.Parallel()
	everyRowNamesItsTest(t, threatsPage)
}

func TestEveryRequirementHasItsTest(t *testing.T) {
	t.Parallel()
	everyRowNamesItsTest(t, demandsPage)
}

// everyRowNamesItsTest fails where the last column of a page's table names no test, or one
// that is not there.
func everyRowNamesItsTest(t *testing.T, page string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, row := range tableRows(string(text)) {
		rows++
		owners := owners(row[len(row)-1])
		if len(owners) == 0 && !strings.HasPrefix(row[len(row)-1], notYet) {
			t.Errorf("%s: %q names no test that plays it; write `package` TestName, or %q and why", page, row[0], notYet)
		}
		for _, fault := range checkOwners(page, owners, testsOf) {
			t.Error(fault)
		}
	}
	if rows == 0 {
		t.Fatalf("%s has no table", page)
	}
}

func TestPromisesAreGuarded(t *testing.T) {
	t.Parallel()
	tests := func(dir string) ([]string, error) {
		if dir != "client" {
			return nil, fmt.Errorf("no directory %s", dir)
		}
		return []string{"TestSaved"}, nil
	}
	var page strings.Builder
	page.WriteString("| | promise | tests |\n|---|---|---|\n")
	for i := range invariants {
		fmt.Fprintf(&page, "| I%d | words | `client` TestSaved |\n", i+1)
	}
	whole := page.String()
	for name, tc := range map[string]struct {
		page string
		want string // part of the only fault; empty: none
	}{
		"whole":                   {whole, ""},
		"an invariant is missing": {strings.Replace(whole, "| I7 |", "| I6 |", 1), "I7"},
		"no test named":           {strings.Replace(whole, "| I3 | words | `client` TestSaved |", "| I3 | words | soon |", 1), "I3"},
		"not held, said so":       {strings.Replace(whole, "| I3 | words | `client` TestSaved |", "| I3 | words | not yet held: needs exports |", 1), ""},
		"a test that is gone":     {strings.Replace(whole, "| I3 | words | `client` TestSaved |", "| I3 | words | `client` TestGone |", 1), "TestGone"},
		"a package that is gone":  {strings.Replace(whole, "| I3 | words | `client` TestSaved |", "| I3 | words | `old` TestSaved |", 1), "old"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faults := checkPromises(tc.page, tests)
			switch {
			case tc.want == "" && len(faults) > 0:
				t.Errorf("got %q, want no fault", faults)
			case tc.want != "" && (len(faults) != 1 || !strings.Contains(faults[0], tc.want)):
				t.Errorf("got %q, want one fault with %q", faults, tc.want)
			}
		})
	}
}

// checkPromises returns a sentence for each invariant without a row, each row that
// names neither a test nor that it is not held yet, and each test that is not there.
func checkPromises(page string, tests func(dir string) ([]string, error)) (faults []string) {
	seen := map[string]bool{}
	for _, row := range tableRows(page) {
		seen[row[0]] = true
		last := row[len(row)-1]
		named := owners(last)
		if len(named) == 0 && !strings.HasPrefix(last, notYet) {
			faults = append(faults, fmt.Sprintf("%s: %s names no test; write `package` TestName, or \"not yet held:\" and why", promisesPage, row[0]))
		}
		faults = append(faults, checkOwners(promisesPage, named, tests)...)
	}
	for i := 1; i <= invariants; i++ {
		if id := "I" + strconv.Itoa(i); !seen[id] {
			faults = append(faults, fmt.Sprintf("%s: %s has no row", promisesPage, id))
		}
	}
	return faults
}

// owner is a test and the directory of its package.
type owner struct{ dir, test string }

// ownerWords matches a package in backquotes, or a test of the one before it.
var ownerWords = regexp.MustCompile("`([a-z./]+)`|\\b((?:Test|Fuzz)[A-Za-z0-9]+)")

func owners(cell string) (found []owner) {
	dir := ""
	for _, m := range ownerWords.FindAllStringSubmatch(cell, -1) {
		if m[1] != "" {
			dir = m[1]
		} else {
			found = append(found, owner{dir, m[2]})
		}
	}
	return found
}

func checkOwners(page string, named []owner, tests func(dir string) ([]string, error)) (faults []string) {
	for _, o := range named {
		all, err := tests(o.dir)
		if err != nil {
			faults = append(faults, fmt.Sprintf("%s: %s in %q: %v", page, o.test, o.dir, err))
		} else if !slices.Contains(all, o.test) {
			faults = append(faults, fmt.Sprintf("%s: `%s` has no %s", page, o.dir, o.test))
		}
	}
	return faults
}

// tableRows returns the cells of the rows of a page's tables, without their heads.
func tableRows(page string) (rows [][]string) {
	head := true
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(line, "|"):
			head = true
		case strings.HasPrefix(line, "|---"):
			head = false
		case !head:
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	return rows
}

// testsOf returns the names of the tests and fuzz targets in a directory.
func testsOf(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(filepath.FromSlash(dir), "*_test.go"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no tests in %s", dir)
	}
	var names []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names, nil
}
