package tandem_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// guessable are the sources that may use chance that can be foretold, each with what for.
// Ids, codes, tokens, nonces and keys come from crypto/rand, which no other source may do
// without.
var guessable = map[string]string{
	"client/retry.go":              "spreads retries",
	"client/poll.go":               "spreads polls",
	"client/mobile/loop.go":        "spreads retries",
	"cmd/tandem/demo.go":           "a made-up night",
	"cmd/tandem/benchvault.go":     "a made-up workload",
	"internal/fieldsync/docs.go":   "a made-up workload",
	"internal/faultfs/disk.go":     "faults of a test",
	"syncengine/simtest/rot.go":    "faults of a simulation",
	"syncengine/simtest/world.go":  "a simulation",
	"syncengine/simtest/mirror.go": "a simulation",
}

func TestSecretsAreRandom(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "node_modules" || path == "gen" || path == "tools" || strings.HasPrefix(d.Name(), ".") && path != ".") {
			if err == nil {
				err = fs.SkipDir
			}
			return err
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		path = filepath.ToSlash(path)
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range file.Imports {
			if slices.Contains([]string{`"math/rand"`, `"math/rand/v2"`}, i.Path.Value) {
				found[path] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path := range found {
		if guessable[path] == "" {
			t.Errorf("%s draws from math/rand, which can be foretold: take crypto/rand, or say in this test what it is for", path)
		}
	}
	for path := range guessable {
		if !found[path] {
			t.Errorf("%s does not draw from math/rand any more: take it off the list", path)
		}
	}
}
