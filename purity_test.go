package tandem_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// clock lists what package time offers besides types and arithmetic: the
// current time, waiting, and zones read from the machine.
var clock = []string{
	"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick",
	"Local", "LoadLocation",
}

func TestEngineIsPure(t *testing.T) {
	t.Parallel()
	var sources []string
	for _, dir := range []string{"syncengine", "syncengine/record", "syncengine/seal", "syncengine/audit"} {
		found, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, found...)
	}
	sources = slices.DeleteFunc(sources, func(s string) bool { return strings.HasSuffix(s, "_test.go") })
	if len(sources) == 0 {
		t.Fatal("no source of the engine found: run the test in a checkout of the module")
	}
	for _, name := range sources {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range checkPure(fset, file) {
			t.Error(fault)
		}
	}
}

func TestEnginePurityIsGuarded(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		source string
		want   string // part of the only fault; empty: none
	}{
		"types of time":        {`import "time"; func f(at time.Time) time.Duration { return time.Hour }`, ""},
		"the clock":            {`import "time"; func f() time.Time { return time.Now() }`, "time.Now"},
		"the clock as a value": {`import "time"; var now = time.Now`, "time.Now"},
		"the clock, renamed":   {`import clock "time"; var now = clock.Since`, "clock.Since"},
		"the clock, unnamed":   {`import . "time"; var now = Now`, "names no package"},
		"a zone":               {`import "time"; var here = time.Local`, "time.Local"},
		"a field called Now":   {`type s struct{ Now int64 }; func f(time s) int64 { return time.Now }`, ""},
		"a goroutine":          {`func f() { go f() }`, "goroutine"},
		"a wait group":         {`import "sync"; func f(g *sync.WaitGroup) { g.Go(func() {}) }`, "goroutine"},
		"standard output":      {`import "fmt"; func f() { fmt.Println("here") }`, "fmt.Println"},
		"a formatted string":   {`import "fmt"; func f() string { return fmt.Sprintln("here") }`, ""},
		"the builtin print":    {`func f() { println("here") }`, "println"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, "p.go", "package p; "+tc.source, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			got := checkPure(fset, file)
			switch {
			case tc.want == "" && len(got) > 0:
				t.Errorf("got %q, want no fault", got)
			case tc.want != "" && (len(got) != 1 || !strings.Contains(got[0], tc.want)):
				t.Errorf("got %q, want one fault that says %q", got, tc.want)
			}
		})
	}
}

// checkPure returns a sentence for each place where the file looks at a clock,
// starts a goroutine or prints.
func checkPure(fset *token.FileSet, file *ast.File) (faults []string) {
	timeName, fmtName := importName(file, "time"), importName(file, "fmt")
	fault := func(at ast.Node, what, remedy string) {
		faults = append(faults, fmt.Sprintf("%s: %s; %s", fset.Position(at.Pos()), what, remedy))
	}
	for _, imp := range file.Imports {
		if imp.Name != nil && imp.Name.Name == "." {
			fault(imp, "the import "+imp.Path.Value+" names no package", "import it under its name")
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			fault(n, "a goroutine in the engine", "return what is to be done and let the caller run it")
		case *ast.CallExpr:
			switch fun := n.Fun.(type) {
			case *ast.SelectorExpr:
				if fun.Sel.Name == "Go" {
					fault(n, "a goroutine in the engine", "return what is to be done and let the caller run it")
				}
			case *ast.Ident:
				if fun.Name == "print" || fun.Name == "println" {
					fault(n, "the engine prints with "+fun.Name, "return what happened and let the caller log it")
				}
			}
		case *ast.SelectorExpr:
			base, ok := n.X.(*ast.Ident)
			if !ok {
				break
			}
			switch what := base.Name + "." + n.Sel.Name; {
			case base.Name == timeName && slices.Contains(clock, n.Sel.Name):
				fault(n, "the engine uses "+what, "take the time as a parameter")
			case base.Name == fmtName && strings.HasPrefix(n.Sel.Name, "Print"):
				fault(n, "the engine prints with "+what, "return what happened and let the caller log it")
			}
		}
		return true
	})
	return faults
}

// importName returns the name under which the file knows the import, or empty
// where it does not import it. The last element of path must be its name.
func importName(file *ast.File, path string) string {
	for _, imp := range file.Imports {
		if imp.Path.Value != `"`+path+`"` {
			continue
		}
		if imp.Name != nil {
			return imp.Name.Name
		}
		return path[strings.LastIndexByte(path, '/')+1:]
	}
	return ""
}
