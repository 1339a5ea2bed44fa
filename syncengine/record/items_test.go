package record_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// TestItemsHaveWords: whatever the engine asks of a person has words in both languages.
func TestItemsHaveWords(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	d, kinds := record.New(), 0
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "ItemKind" {
				return true
			}
			lit, ok := spec.Values[0].(*ast.BasicLit)
			if !ok {
				t.Fatalf("%s: an item's code is no text", name)
			}
			code, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			kinds++
			if en, es := d.ItemWords(syncengine.ItemKind(code), 0); en == code || es == code || en == es {
				t.Errorf("%s has the words %q and %q", code, en, es)
			}
			return true
		})
	}
	if kinds < 6 {
		t.Errorf("only %d kinds of item were found", kinds)
	}
	incident := d.KindByName("incident").Number
	if en, es := d.ItemWords("rule_V1", incident); en == es || en == "rule_V1" {
		t.Errorf("a rule has the words %q and %q", en, es)
	}
	if en, _ := d.ItemWords("of a newer version", incident); en != "of a newer version" {
		t.Errorf("an item of a newer version reads %q", en)
	}
}
