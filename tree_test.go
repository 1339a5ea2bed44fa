package tandem_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/internal/need"
)

// private lists what no file of the repository may name: places on the machine
// where it was written, and hosts that packages were fetched from. Written in
// pieces, so that this file does not name them either.
var private = []struct {
	what   string
	match  *regexp.Regexp
	remedy string
}{
	{
		what:   "a path of the machine it was written on",
		match:  regexp.MustCompile(`(?:^|[^A-Za-z0-9_.~/-])(?:/` + `work/|/` + `tmp/(?:tandem|buf|golangci))`),
		remedy: "write the path from the root of the repository, or take it from the environment",
	},
	{
		what: "the host of a package registry",
		match: regexp.MustCompile(`(?i)\b(?:` + strings.Join([]string{
			"proxy" + `\.golang\.org`, "sum" + `\.golang\.org`, "index" + `\.golang\.org`,
			"registry" + `\.npmjs\.org`, "registry" + `\.yarnpkg\.com`,
			"(?:deb|security|ftp|snapshot)" + `\.debian\.org`, "files" + `\.pythonhosted\.org`,
		}, "|") + `)\b`),
		remedy: "name the package alone: which registry serves it is the affair of each machine",
	},
}

func TestNoPrivatePlaces(t *testing.T) {
	t.Parallel()
	for _, name := range trackedFiles(t) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range checkPrivate(name, text) {
			t.Error(fault)
		}
	}
}

func TestPrivatePlacesAreGuarded(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"cd /" + "work/main && go build":                         "a.md:2 names a path",
		`"/` + `tmp/tandem/ARCH.md"`:                             "a.md:2 names a path",
		"GOPROXY=https://proxy" + ".golang.org":                  "a.md:2 names the host",
		"\"resolved\": \"https://registry" + ".npmjs.org/htmx\"": "a.md:2 names the host",
		"https://example.org/work/plan":                          "",
		"see network/work/plan, or ~" + "/work" + "/plan":        "",
		"mkdir -p /tmp/store":                                    "",
		"golang.org/x/text v0.43.0 h1:Cu/Wv0JdZvo2s":             "",
	} {
		got := checkPrivate("a.md", []byte("first line\n"+text+"\n"))
		switch {
		case want == "" && len(got) > 0:
			t.Errorf("%q: got %q, want no fault", text, got)
		case want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], want)):
			t.Errorf("%q: got %q, want one fault that begins %q", text, got, want)
		}
	}
}

// checkPrivate returns a sentence for each private place that text names.
func checkPrivate(name string, text []byte) (faults []string) {
	for _, p := range private {
		for _, at := range p.match.FindAllIndex(text, -1) {
			line := 1 + bytes.Count(text[:at[1]], []byte("\n"))
			faults = append(faults, fmt.Sprintf("%s:%d names %s; %s", name, line, p.what, p.remedy))
		}
	}
	return faults
}

func TestSkipsSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	for _, name := range trackedFiles(t) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range checkSkips(t, name, text) {
			t.Error(fault)
		}
	}
}

func TestSkipsAreGuarded(t *testing.T) {
	t.Parallel()
	const head = "package p\nimport (\"testing\"; \"pgregory.net/rapid\")\n"
	for name, tc := range map[string]struct {
		file, text string
		faults     int
	}{
		"a silent skip":         {"p_test.go", head + `func TestX(t *testing.T) { t.Sk` + `ipNow() }`, 1},
		"a skip with a word":    {"p_test.go", head + `func TestX(t *testing.T) { t.Run("", func(u *testing.T) { u.Skipf("no %s", "net") }) }`, 1},
		"a skip in a helper":    {"p.go", head + `func need(tb testing.TB) { tb.Skip("no net") }`, 1},
		"rapid drops a draw":    {"p_test.go", head + `func TestX(t *testing.T) { rapid.Check(t, func(rt *rapid.T) { rt.Sk` + `ip("odd") }) }`, 0},
		"rapid drops its own t": {"p_test.go", head + `func TestX(t *testing.T) { rapid.Check(t, func(t *rapid.T) { t.Sk` + `ip("odd") }); t.Sk` + `ip("x") }`, 1},
		"another Skip":          {"p.go", head + `func f(d interface{ Skip(int) }) { d.Skip(3) }`, 0},
		"the helper itself":     {"internal/need/need.go", head + `func f(tb testing.TB) { tb.Skip("x") }`, 0},
		"a script that skips":   {"cmd/tandem/testdata/scripts/a.txtar", "# about\n[!net] skip 'no net'\nexec x\n", 1},
		"a script in English":   {"cmd/tandem/testdata/scripts/a.txtar", "# does not skip\nexec x --skip\n-- f --\nskip\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := checkSkips(t, tc.file, []byte(tc.text)); len(got) != tc.faults {
				t.Errorf("got %q, want %d faults", got, tc.faults)
			}
		})
	}
}

// scriptSkip matches the command by which a script ends its test.
var scriptSkip = regexp.MustCompile(`^(?:\[[^]]*\]\s*)*skip\b`)

// checkSkips returns a sentence for each place where a Go file or a test script
// skips by itself.
func checkSkips(t *testing.T, name string, text []byte) (faults []string) {
	t.Helper()
	fault := func(line int, remedy string) {
		faults = append(faults, fmt.Sprintf("%s:%d skips by itself; %s", name, line, remedy))
	}
	switch path.Ext(name) {
	case ".txtar":
		script, _, _ := bytes.Cut(text, []byte("\n-- "))
		for i, line := range strings.Split(string(script), "\n") {
			if scriptSkip.MatchString(line) {
				fault(i+1, "let the Go test that runs the script call need.Missing")
			}
		}
	case ".go":
		if path.Dir(name) == "internal/need" {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range ownSkips(file) {
			fault(fset.Position(at).Line, "call need.Missing with what is missing and how to get it, need.Long for a long test, "+
				"and return from a fuzz target for input that is not its own")
		}
	}
	return faults
}

// ownSkips returns where the file calls Skip, Skipf or SkipNow on a parameter
// that is a test or benchmark. A *rapid.T is none: it drops one draw, not a test.
func ownSkips(file *ast.File) (at []token.Pos) {
	var visit func(n ast.Node, tests []string)
	visit = func(n ast.Node, tests []string) {
		ast.Inspect(n, func(m ast.Node) bool {
			switch m := m.(type) {
			case *ast.FuncDecl:
				if m.Body != nil {
					visit(m.Body, testParams(m.Type, tests))
				}
				return false
			case *ast.FuncLit:
				visit(m.Body, testParams(m.Type, tests))
				return false
			case *ast.CallExpr:
				fun, ok := m.Fun.(*ast.SelectorExpr)
				if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, fun.Sel.Name) {
					break
				}
				if base, ok := fun.X.(*ast.Ident); ok && slices.Contains(tests, base.Name) {
					at = append(at, m.Pos())
				}
			}
			return true
		})
	}
	visit(file, nil)
	return at
}

// testParams returns the names in scope that are a test or benchmark inside a
// function of type f, given those outside it.
func testParams(f *ast.FuncType, outside []string) []string {
	names := slices.Clone(outside)
	for _, param := range f.Params.List {
		typ := param.Type
		if star, ok := typ.(*ast.StarExpr); ok {
			typ = star.X
		}
		sel, ok := typ.(*ast.SelectorExpr)
		test := ok && slices.Contains([]string{"T", "B", "F", "TB"}, sel.Sel.Name)
		if test {
			base, ok := sel.X.(*ast.Ident)
			test = ok && base.Name == "testing"
		}
		for _, name := range param.Names {
			names = slices.DeleteFunc(names, func(s string) bool { return s == name.Name })
			if test {
				names = append(names, name.Name)
			}
		}
	}
	return names
}

// trackedFiles returns the files that git tracks, and those that it would once
// they are added.
func trackedFiles(t *testing.T) []string {
	t.Helper()
	git := need.Program(t, "git", "install git")
	out, err := exec.CommandContext(t.Context(), git, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		need.Missing(t, "a git checkout: git clone the repository")
	}
	var names []string
	for name := range strings.SplitSeq(string(out), "\x00") {
		info, err := os.Lstat(name)
		if err == nil && info.Mode().IsRegular() {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		t.Fatal("git lists no file: run the test in a checkout of the repository")
	}
	return names
}
