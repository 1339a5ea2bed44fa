package tandem_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A moduleInfo is what go list says of a module.
type moduleInfo struct {
	Path    string
	Version string
	GoMod   string
	Replace *struct{ Path, Version string }
}

// The driver is generated against one version of libc and drives its memory by
// hand: any other version may compile and corrupt.
func TestLibcIsThatOfTheSQLiteDriver(t *testing.T) {
	t.Parallel()
	var sqlite, libc moduleInfo
	for path, into := range map[string]*moduleInfo{"modernc.org/sqlite": &sqlite, "modernc.org/libc": &libc} {
		if err := json.Unmarshal(goCommand(t, "list", "-m", "-json", path), into); err != nil {
			t.Fatalf("read the answer of go list -m %s: %v", path, err)
		}
		if into.Version == "" || into.Replace != nil {
			t.Fatalf("%s has version %q and replacement %v: require a released version in go.mod", path, into.Version, into.Replace)
		}
	}
	var driver struct{ Require []moduleInfo }
	if err := json.Unmarshal(goCommand(t, "mod", "edit", "-json", sqlite.GoMod), &driver); err != nil {
		t.Fatalf("read the go.mod of %s %s: %v", sqlite.Path, sqlite.Version, err)
	}
	if err := checkPair(sqlite, libc, driver.Require); err != nil {
		t.Error(err)
	}
}

func TestLibcPairIsGuarded(t *testing.T) {
	t.Parallel()
	sqlite := moduleInfo{Path: "modernc.org/sqlite", Version: "v1.60.1"}
	libc := moduleInfo{Path: "modernc.org/libc", Version: "v1.79.0"}
	wants := []moduleInfo{{Path: "modernc.org/memory", Version: "v1.79.0"}, {Path: "modernc.org/libc", Version: "v1.77.1"}}
	if err := checkPair(sqlite, libc, wants); err == nil || !strings.Contains(err.Error(), "go get modernc.org/libc@v1.77.1") {
		t.Errorf("a newer libc: got %v, want an error that tells which version to get", err)
	}
	if err := checkPair(sqlite, libc, wants[:1]); err == nil {
		t.Error("a driver that requires no libc: got no error, want one")
	}
	libc.Version = "v1.77.1"
	if err := checkPair(sqlite, libc, wants); err != nil {
		t.Errorf("the driver's own libc: got %v, want no error", err)
	}
}

// validate.proto is printed from the rules that tools/vendorvalidate links: they
// must be those that the product links.
func TestVendoredRulesAreThoseLinked(t *testing.T) {
	t.Parallel()
	const rules = "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go"
	var linked moduleInfo
	if err := json.Unmarshal(goCommand(t, "list", "-m", "-json", rules), &linked); err != nil {
		t.Fatalf("read the answer of go list -m %s: %v", rules, err)
	}
	var tool struct{ Require []moduleInfo }
	if err := json.Unmarshal(goCommand(t, "mod", "edit", "-json", "tools/vendorvalidate/go.mod"), &tool); err != nil {
		t.Fatalf("read tools/vendorvalidate/go.mod: %v", err)
	}
	i := slices.IndexFunc(tool.Require, func(m moduleInfo) bool { return m.Path == rules })
	if i < 0 || tool.Require[i].Version != linked.Version {
		t.Errorf("tools/vendorvalidate requires %+v, go.mod has %s %s: bring both to one version and print validate.proto anew, see tools/README.md",
			tool.Require, rules, linked.Version)
	}
}

// checkPair returns an error where libc is not the version that sqlite, whose
// go.mod requires wants, was made for.
func checkPair(sqlite, libc moduleInfo, wants []moduleInfo) error {
	for _, want := range wants {
		if want.Path != libc.Path {
			continue
		}
		if want.Version == libc.Version {
			return nil
		}
		return fmt.Errorf("%s %s was made for libc %s, go.mod has %s: run go get %s@%s, and where another module asks for more, take an older one of that",
			sqlite.Path, sqlite.Version, want.Version, libc.Version, want.Path, want.Version)
	}
	return fmt.Errorf("the go.mod of %s %s requires no %s: see which libc the driver now wants and change this test",
		sqlite.Path, sqlite.Version, libc.Path)
}
