// Command gobind makes the bindings of client/mobile for Java and Objective-C, and fails
// where anything of its API would be left out.
//
// The gobind of golang.org/x/mobile reads a package with all that it imports, twice, from
// source: minutes and gigabytes for one that brings a database. What it uses are the
// exported declarations, so it is given those alone: the files of the package without
// imports, bodies and what is not exported. A declaration that needs more than the
// package itself has does not compile then, and would not have been bound either.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	module = "github.com/tandem-response/tandem"
	bound  = "client/mobile"
)

func main() {
	root := flag.String("root", filepath.Join("..", ".."), "root of the repository")
	out := flag.String("out", "", "directory for the bindings (default: none are kept)")
	lang := flag.String("lang", "java,objc", "languages")
	flag.Parse()
	if err := run(*root, *out, *lang); err != nil {
		fmt.Fprintln(os.Stderr, "gobind:", err)
		os.Exit(1)
	}
}

func run(root, out, lang string) (err error) {
	tmp, err := os.MkdirTemp("", "tandem-gobind-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if out == "" {
		out = filepath.Join(tmp, "out")
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	shape := filepath.Join(tmp, "shape")
	if err := shapeOf(root, shape); err != nil {
		return err
	}
	cmd := exec.Command("go", "tool", "gobind", "-lang="+lang, "-outdir="+out, "./"+bound)
	cmd.Dir = shape
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	if said, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(said)) > 0 {
		return fmt.Errorf("golang.org/x/mobile/cmd/gobind: %w\n%s", errors.Join(err, errors.New("it said something")), said)
	}
	files, faults, err := look(out)
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		return fmt.Errorf("not all of %s can be bound: take other types (see its doc.go)\n%s", bound, strings.Join(faults, "\n"))
	}
	if files == 0 {
		return errors.New("no bindings were made")
	}
	fmt.Printf("%d files of bindings for %s, nothing left out\n", files, lang)
	return nil
}

// look counts the files of bindings, and finds what they leave out.
func look(out string) (files int, faults []string, err error) {
	err = filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "// skipped ") {
				faults = append(faults, filepath.Base(path)+": "+strings.TrimSpace(line))
			}
		}
		return nil
	})
	return files, faults, err
}

// shapeOf writes a module that holds the exported declarations of the package.
func shapeOf(root, shape string) error {
	dir := filepath.Join(shape, filepath.FromSlash(bound))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	own := filepath.Join(root, "tools", "gobind")
	text, err := os.ReadFile(filepath.Join(own, "go.mod"))
	if err != nil {
		return err
	}
	text = bytes.Replace(text, []byte("module "+module+"/tools/gobind\n"), []byte("module "+module+"\n"), 1)
	sums, err := os.ReadFile(filepath.Join(own, "go.sum"))
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{"go.mod": text, "go.sum": sums} {
		if err := os.WriteFile(filepath.Join(shape, name), text, 0o600); err != nil {
			return err
		}
	}
	names, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(bound), "*.go"))
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := strip(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// strip returns a file without imports, bodies and what is not exported.
func strip(name string) ([]byte, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var decls []ast.Decl
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || exported(d.Recv.List[0].Type)) {
				d.Body = &ast.BlockStmt{List: []ast.Stmt{&ast.ExprStmt{X: &ast.CallExpr{Fun: ast.NewIdent("panic"), Args: []ast.Expr{ast.NewIdent("nil")}}}}}
				decls = append(decls, d)
			}
		case *ast.GenDecl:
			if d.Tok != token.IMPORT && keep(d) {
				decls = append(decls, d)
			}
		}
	}
	file.Decls, file.Imports = decls, nil
	// Only comments that belong to a declaration can still be placed.
	file.Comments = nil
	var b bytes.Buffer
	if err := format.Node(&b, fset, file); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// keep drops what is not exported from a declaration, and reports whether anything is
// left.
func keep(d *ast.GenDecl) bool {
	var specs []ast.Spec
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if !s.Name.IsExported() {
				continue
			}
			if t, ok := s.Type.(*ast.StructType); ok {
				var fields []*ast.Field
				for _, f := range t.Fields.List {
					if len(f.Names) == 0 && exported(f.Type) || len(f.Names) > 0 && f.Names[0].IsExported() {
						fields = append(fields, f)
					}
				}
				t.Fields.List = fields
			}
			specs = append(specs, s)
		case *ast.ValueSpec:
			if s.Names[0].IsExported() {
				specs = append(specs, s)
			}
		}
	}
	d.Specs = specs
	return len(specs) > 0
}

// exported reports whether a type is one of the package's that others see.
func exported(t ast.Expr) bool {
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	name, ok := t.(*ast.Ident)
	return ok && name.IsExported()
}
