package simtest_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tandem-response/tandem/internal/planted"
	"github.com/tandem-response/tandem/syncengine/simtest"
)

var rewrite = flag.Bool("sim.rewrite", false, "write the traces of the scripts in testdata anew")

// divider stands between a script and its trace.
const divider = "-- trace --\n"

// TestScripts plays every script of testdata and compares what happens with the
// trace that stands below it.
func TestScripts(t *testing.T) {
	if planted.On {
		return // a bug changes traces; that it is found is TestPlantedBugs' affair
	}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d scripts in testdata, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := strings.Cut(string(raw), divider)
			r := simtest.Play(script)
			got := strings.Join(r.Events, "\n") + "\n"
			if r.Failed != nil {
				t.Fatalf("%v\n%s", r.Failed, got)
			}
			if *rewrite {
				if err := os.WriteFile(file, []byte(script+divider+got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("the trace differs (-sim.rewrite writes it anew):\n%s", diff)
			}
		})
	}
}
