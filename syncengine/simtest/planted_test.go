//go:build plantedbugs

package simtest_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/internal/planted"
	"github.com/tandem-response/tandem/syncengine/simtest"
)

var bug = flag.String("sim.bug", "", "plant this bug alone, in every test")

// TestPlantedBugs plants one bug after another and runs worlds until one fails, half
// as many at most as a test run has. A bug that none finds says that the simulator is
// too weak.
func TestPlantedBugs(t *testing.T) {
	var lines []string
	found := 0
	for _, row := range planted.Table {
		if *bug != "" && *bug != row.Name {
			continue
		}
		r, runs, syncs := hunt(row.Bug)
		if r == nil {
			t.Errorf("%s (%s: %s): not found in %d seeds, %d syncs", row.Name, row.Class, row.Breaks, runs, syncs)
			continue
		}
		found++
		lines = append(lines, fmt.Sprintf("%-20s seed %5d, by %-7s %6d syncs: %s", row.Name, r.Seed, r.Failed.Invariant+",", syncs, row.Class))
	}
	slices.Sort(lines)
	t.Logf("%d planted bugs found\n%s", found, strings.Join(lines, "\n"))
}

// hunt runs worlds with a bug until one fails; nil where none does.
func hunt(b planted.Bug) (_ *simtest.Report, runs, syncs int) {
	planted.Plant(b)
	defer planted.Plant(planted.None)
	var over atomic.Bool
	a := run(*first, *steps, func(n uint64) bool { return over.Load() || n >= uint64(*seeds)/2 }, func(r *simtest.Report) {
		if r.Failed != nil {
			over.Store(true)
		}
	})
	if len(a.failed) == 0 {
		return nil, a.runs, a.syncs
	}
	return a.failed[0], a.runs, a.syncs
}

func TestMain(m *testing.M) {
	flag.Parse()
	for _, row := range planted.Table {
		if row.Name == *bug {
			planted.Plant(row.Bug)
		}
	}
	os.Exit(pgtest.Main(m))
}
