package form

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// Whatever the checker and the reader of a file can say is said in Spanish too, of the same
// things in the same order; and nothing is translated that nobody says.
func TestFaultsAreSaidInSpanish(t *testing.T) {
	verb := regexp.MustCompile(`%[a-z]`)
	said := map[string]bool{}
	text := func(e ast.Expr) (string, bool) {
		lit, ok := e.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return "", false
		}
		s, err := strconv.Unquote(lit.Value)
		return s, err == nil
	}
	at := map[string]int{"says": 0, "lacks": 0, "item": 1, "score": 1, "fault": 1}
	for _, name := range []string{"check.go", "import.go", "json.go"} {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				how, n0 := "", 0
				switch fun := n.Fun.(type) {
				case *ast.SelectorExpr:
					how, n0 = fun.Sel.Name, at[fun.Sel.Name]
				case *ast.Ident: // The fault of conditions, which has its place already.
					if how = fun.Name; how != "fault" {
						return true
					}
				}
				if _, ok := at[how]; !ok || len(n.Args) <= n0 {
					return true
				}
				en, ok := text(n.Args[n0])
				if !ok || en == "" {
					return true // Handed on by one that was given it.
				}
				said[en] = true
				if es := spanish[en]; es == "" || es == en || !slices.Equal(verb.FindAllString(es, -1), verb.FindAllString(en, -1)) {
					t.Errorf("%s: %q is %q in Spanish", set.Position(n.Pos()), en, es)
				}
			case *ast.CompositeLit: // A fault that is made without says has both itself.
				has := map[string]bool{}
				for _, e := range n.Elts {
					if kv, ok := e.(*ast.KeyValueExpr); ok {
						if k, ok := kv.Key.(*ast.Ident); ok {
							has[k.Name] = true
						}
					}
				}
				if has["What"] && !has["ES"] {
					t.Errorf("%s: a fault without Spanish", set.Position(n.Pos()))
				}
			}
			return true
		})
	}
	if len(said) < 100 {
		t.Errorf("only %d faults were found", len(said))
	}
	for en := range spanish {
		if !said[en] {
			t.Errorf("nobody says %q", en)
		}
	}
}
