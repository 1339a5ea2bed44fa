package tandem_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tandem-response/tandem"

// A floor is a package of this module with the packages below it, or a path
// that ends in /... and stands for a package and all under it.
type floor struct {
	path  string
	below []string // what it may import of this module
	tests []string // what its tests may import besides
}

// floors lists every floor, highest first; a package stands on the first that
// fits it. Imports run downwards only.
var floors = []floor{
	{
		// The binary, where client and server meet.
		path:  "cmd/...",
		below: []string{"client/...", "server/...", "web/...", "syncengine", "syncengine/record", "syncengine/seal", "syncengine/audit", "syncengine/form", "syncengine/directory", "syncengine/media", "gen/...", "internal/fieldsync", "docs/packs"},
		tests: []string{"internal/need", "internal/pgtest"},
	},
	{
		// The simulator drives the code that ships, so it may see both ends.
		path:  "syncengine/simtest/...",
		below: []string{"client/...", "server/...", "syncengine", "syncengine/record", "syncengine/seal", "syncengine/audit", "gen/...", "internal/faultfs", "internal/vfs", "internal/planted"},
		tests: []string{"internal/need", "internal/pgtest", "internal/storetest", "internal/tamper"},
	},
	{
		// Records as files; its codebook quotes the contract.
		path:  "server/export",
		below: []string{"proto", "server/store", "syncengine", "syncengine/record", "gen/..."},
		tests: []string{"server", "client/mapping", "internal/need", "internal/pgtest", "internal/storetest"},
	},
	{
		// Exports as jobs, and the API that asks for them.
		path:  "server/bulk",
		below: []string{"server", "server/export", "server/jobs", "server/people", "server/store", "syncengine", "gen/..."},
		tests: []string{"syncengine/record", "internal/need", "internal/pgtest", "internal/storetest"},
	},
	{
		// The pages of leads and admins, and what recurs for them.
		path:  "server/console",
		below: []string{"server", "server/bulk", "server/export", "server/jobs", "server/people", "server/report", "server/store", "web/...", "syncengine", "syncengine/record", "syncengine/audit", "syncengine/form", "syncengine/directory", "gen/..."},
		tests: []string{"client", "internal/browsertest", "internal/need", "internal/pgtest", "internal/storetest"},
	},
	{
		path:  "client/...",
		below: []string{"web/...", "syncengine", "syncengine/record", "syncengine/seal", "syncengine/audit", "syncengine/form", "syncengine/directory", "syncengine/media", "gen/...", "internal/vfs"},
		tests: []string{"server/...", "internal/browsertest", "internal/faultfs", "internal/need"},
	},
	{
		path:  "server/...",
		below: []string{"web/...", "syncengine", "syncengine/record", "syncengine/seal", "syncengine/audit", "syncengine/form", "syncengine/directory", "syncengine/media", "gen/...", "internal/vfs"},
		tests: []string{"client/...", "internal/faultfs", "internal/need", "internal/pgtest", "internal/storetest", "internal/tamper"},
	},
	{
		// What field app and console share; it knows no storage.
		path:  "web/...",
		below: []string{"syncengine", "syncengine/record", "syncengine/form", "syncengine/directory", "gen/..."},
		tests: []string{"internal/need"},
	},
	{
		path:  "syncengine/record",
		below: []string{"syncengine", "syncengine/form", "gen/...", "internal/planted"},
		tests: []string{"internal/need"},
	},
	{
		// The file that outlives a device's store; both ends read it.
		path:  "syncengine/seal",
		below: []string{"syncengine", "gen/..."},
		tests: []string{"internal/need"},
	},
	{
		// The log of who did what; the server keeps it, devices keep what proves it.
		path:  "syncengine/audit",
		below: []string{"syncengine", "gen/..."},
		tests: []string{"internal/need"},
	},
	{
		// Questionnaires: what is asked, what is missing, what is scored.
		path:  "syncengine/form",
		below: []string{"gen/..."},
		tests: []string{"internal/need"},
	},
	{
		// The directory of services: what is read into it, and what is shown of it.
		path:  "syncengine/directory",
		below: []string{"gen/..."},
		tests: []string{"internal/need"},
	},
	{
		// Files that people attach: what is taken, and what of one is kept.
		path:  "syncengine/media",
		tests: []string{"internal/need"},
	},
	{
		path:  "syncengine",
		below: []string{"gen/...", "internal/planted"},
		tests: []string{"internal/need"},
	},
	{path: "gen/...", below: []string{"gen/..."}},
	{path: "proto"},      // the text of the contract, for codebooks
	{path: "docs/packs"}, // a form pack, for the demo
	{path: "internal/fieldsync", below: []string{"gen/..."}},                         // the benchmark's documents
	{path: "internal/vfs", tests: []string{"internal/faultfs"}},                      // where stores meet the disk
	{path: "internal/faultfs", below: []string{"internal/vfs"}},                      // for tests alone, and the simulator
	{path: "internal/planted"},                                                       // bugs for the simulator to find
	{path: "internal/tamper"},                                                        // for tests alone: hostile messages
	{path: "internal/pgtest", below: []string{"internal/need"}},                      // for tests alone: a PostgreSQL of their own
	{path: "internal/browsertest", below: []string{"internal/need"}},                 // for tests alone: a real browser
	{path: "internal/storetest", below: []string{"server/store", "internal/pgtest"}}, // for tests alone: a store's engines
	{path: "internal/need"},                                                          // for tests alone: on no list but those of tests
	{path: "", tests: []string{"internal/need"}},                                     // the root: the tests of the repository
}

// barred lists imports from outside the module that a floor must do without.
// A path stands for the package and all under it.
var barred = []struct {
	floor  string
	paths  []string
	remedy string
}{
	{
		floor: "syncengine",
		paths: pure,
		remedy: "the engine has no I/O, clock, logger or chance of its own: " +
			"take the value, an io.Reader or the transaction as a parameter",
	},
	{
		floor: "syncengine/record",
		paths: pure,
		remedy: "the engine has no I/O, clock, logger or chance of its own: " +
			"take the value, an io.Reader or the transaction as a parameter",
	},
	{
		floor: "syncengine/seal",
		paths: pure,
		remedy: "the format has no I/O, clock, logger or chance of its own: " +
			"take the value, an io.Reader or the transaction as a parameter",
	},
	{
		floor: "syncengine/audit",
		paths: pure,
		remedy: "the format has no I/O, clock, logger or chance of its own: " +
			"take the value, an io.Reader or the transaction as a parameter",
	},
	{
		floor: "syncengine/form",
		paths: pure,
		remedy: "forms have no I/O, clock, logger or chance of their own: " +
			"take the value or an io.Reader as a parameter",
	},
	{
		floor: "syncengine/directory",
		paths: pure,
		remedy: "the directory has no I/O, clock, logger or chance of its own: " +
			"take the value, an fs.FS or an io.Reader as a parameter",
	},
	{
		floor: "syncengine/media",
		paths: pure,
		remedy: "files are looked at as bytes, without I/O, clock, logger or chance: " +
			"take the bytes as a parameter",
	},
	{
		floor:  "web/...",
		paths:  []string{"database/sql", "modernc.org", "github.com/jackc", "github.com/pressly/goose/v3"},
		remedy: "web knows no storage: take what the page shows through an interface that client and server meet",
	},
}

// pure lists what the engine must not import.
var pure = []string{
	"context", "crypto/rand", "database/sql", "log", "math/rand", "net", "os",
	"runtime", "syscall", "testing", "unsafe",
	"connectrpc.com/connect", "github.com/rs/zerolog", "golang.org/x/sync", "modernc.org",
}

// A pkg is what go list says of a package.
type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func TestFloors(t *testing.T) {
	t.Parallel()
	pkgs := listPackages(t)
	if len(pkgs) < 3 {
		t.Fatalf("go list found %d packages: run the test in a checkout of the module", len(pkgs))
	}
	for _, fault := range checkFloors(pkgs) {
		t.Error(fault)
	}
}

func TestFloorsAreGuarded(t *testing.T) {
	t.Parallel()
	p := func(path string, imports ...string) pkg {
		q := pkg{ImportPath: module + "/" + path}
		for _, imp := range imports {
			if rel, ours := strings.CutPrefix(imp, "~/"); ours {
				imp = module + "/" + rel
			}
			q.Imports = append(q.Imports, imp)
		}
		return q
	}
	inTest := func(q pkg) pkg {
		return pkg{ImportPath: q.ImportPath, TestImports: q.Imports}
	}
	inXTest := func(q pkg) pkg {
		return pkg{ImportPath: q.ImportPath, XTestImports: q.Imports}
	}
	for name, tc := range map[string]struct {
		pkg  pkg
		want string // part of the only fault; empty: none
	}{
		"cmd sees both ends":                {p("cmd/tandem", "~/client", "~/server", "~/syncengine/record", "os", "fmt"), ""},
		"cmd sees the simulator":            {p("cmd/tandem", "~/syncengine/simtest"), "nothing imports simtest"},
		"simulator sees both ends":          {p("syncengine/simtest", "~/client", "~/server/store", "math/rand/v2"), ""},
		"simulator's own outside test":      {inXTest(p("syncengine/simtest", "~/syncengine/simtest")), ""},
		"a test sees the simulator":         {inTest(p("client", "~/syncengine/simtest")), "nothing imports simtest"},
		"client sees the engine":            {p("client", "~/syncengine", "~/syncengine/record", "~/gen/tandem/v1", "~/client/vault"), ""},
		"client sees server":                {p("client/app", "~/server/store"), "client and server never import each other"},
		"server sees client":                {p("server", "~/client"), "client and server never import each other"},
		"client's test sees server":         {inXTest(p("client", "~/server", "~/internal/need")), ""},
		"server's test sees client":         {inTest(p("server/store", "~/client")), ""},
		"record sees client":                {p("syncengine/record", "~/client"), "imports run downwards"},
		"record's test sees client":         {inXTest(p("syncengine/record", "~/client")), "imports run downwards"},
		"engine sees record":                {p("syncengine", "~/syncengine/record"), "imports run downwards"},
		"engine sees gen":                   {p("syncengine", "~/gen/tandem/v1", "fmt", "crypto/sha256", "time", "io"), ""},
		"gen sees the engine":               {p("gen/tandem/v1", "~/syncengine"), "imports run downwards"},
		"engine sees the file system":       {p("syncengine", "os"), "no I/O"},
		"engine sees the network":           {p("syncengine", "net/http"), "no I/O"},
		"engine rolls dice":                 {p("syncengine", "math/rand/v2"), "no I/O"},
		"engine takes chance for itself":    {p("syncengine/record", "crypto/rand"), "no I/O"},
		"engine logs":                       {p("syncengine/record", "github.com/rs/zerolog"), "no I/O"},
		"engine's test reads a file":        {inTest(p("syncengine", "os", "math/rand/v2", "testing")), ""},
		"a path that only begins alike":     {p("syncengine", "netherlands.example/osprey"), ""},
		"web sees the database":             {p("web", "database/sql"), "knows no storage"},
		"web sees the store":                {p("web/layout", "~/server/store"), "imports run downwards"},
		"a drawer":                          {p("internal/util"), "stands on no floor"},
		"shipped code sees the test helper": {p("client", "~/internal/need"), "for tests alone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := checkFloors([]pkg{tc.pkg})
			switch {
			case tc.want == "" && len(got) > 0:
				t.Errorf("got %q, want no fault", got)
			case tc.want != "" && (len(got) != 1 || !strings.Contains(got[0], tc.want)):
				t.Errorf("got %q, want one fault that says %q", got, tc.want)
			}
		})
	}
}

// checkFloors returns a sentence for each import that breaks the floors.
func checkFloors(pkgs []pkg) (faults []string) {
	for _, p := range pkgs {
		path := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		i := slices.IndexFunc(floors, func(f floor) bool { return fits(f.path, path) })
		if i < 0 {
			faults = append(faults, path+" stands on no floor: put the code into a package that exists, "+
				"or add the package to floors in layout_test.go with the reason for it")
			continue
		}
		own := floors[i]
		below := append(slices.Clone(own.below), own.path)
		for _, imp := range p.Imports {
			faults = append(faults, checkImport(path, imp, below)...)
			faults = append(faults, checkBarred(path, imp)...)
		}
		for _, imp := range slices.Concat(p.TestImports, p.XTestImports) {
			faults = append(faults, checkImport(path, imp, append(slices.Clone(below), own.tests...))...)
		}
	}
	return faults
}

// checkImport checks one import of this module's own packages.
func checkImport(path, imp string, allowed []string) []string {
	rel, ours := strings.CutPrefix(imp, module+"/")
	if !ours || slices.ContainsFunc(allowed, func(a string) bool { return fits(a, rel) }) {
		return nil
	}
	remedy := "imports run downwards only: move what both need to the lower floor, " +
		"or let the lower floor state an interface that the higher meets"
	switch {
	case fits("syncengine/simtest/...", rel):
		remedy = "nothing imports simtest: move what you need of it below, or write the test in simtest"
	case fits("internal/need", rel), fits("internal/tamper", rel):
		remedy = "the package is for tests alone"
	case fits("client/...", path) && fits("server/...", rel), fits("server/...", path) && fits("client/...", rel):
		remedy = "client and server never import each other: move what both need to syncengine, or join them in cmd/tandem"
	}
	return []string{fmt.Sprintf("%s imports %s; %s", path, rel, remedy)}
}

// checkBarred checks one import from outside the module.
func checkBarred(path, imp string) (faults []string) {
	for _, b := range barred {
		if !fits(b.floor, path) {
			continue
		}
		if slices.ContainsFunc(b.paths, func(p string) bool { return fits(p+"/...", imp) }) {
			faults = append(faults, fmt.Sprintf("%s imports %s; %s", path, imp, b.remedy))
		}
	}
	return faults
}

// fits reports whether path is the pattern, or under it where it ends in /....
func fits(pattern, path string) bool {
	stem, deep := strings.CutSuffix(pattern, "/...")
	return path == stem || deep && strings.HasPrefix(path, stem+"/")
}

// listPackages returns the packages of this module, build errors left aside:
// the compiler reports those.
func listPackages(t *testing.T) (pkgs []pkg) {
	t.Helper()
	out := goCommand(t, "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return pkgs
		}
		if err != nil {
			t.Fatalf("read the answer of go list: %v", err)
		}
		pkgs = append(pkgs, p)
	}
}

// goCommand runs go with args in the root of the module and returns its output.
func goCommand(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return out
}
