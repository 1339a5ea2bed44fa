package simtest_test

import (
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-response/tandem/syncengine/simtest"
)

var (
	seeds = flag.Int("sim.seeds", 400, "how many seeds TestWorlds runs")
	first = flag.Uint64("sim.first", 1, "the first of them")
	steps = flag.Int("sim.steps", 150, "steps of a run")
	seed  = flag.Uint64("sim.seed", 0, "run this seed alone, with every event")
)

// TestWorlds runs worlds. What a seed does, it does for ever: a failure is rerun
// with -sim.seed.
func TestWorlds(t *testing.T) {
	if *seed != 0 {
		r := simtest.Run(simtest.Options{Seed: *seed, Steps: *steps, Log: true})
		t.Logf("seed %d:\n%s", *seed, strings.Join(r.Events, "\n"))
		if r.Failed != nil {
			fail(t, r)
		}
		return
	}
	var (
		mu     sync.Mutex
		syncs  int
		seen   = map[string]int{}
		failed []*simtest.Report
		group  sync.WaitGroup
		next   = make(chan uint64)
	)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for seed := range next {
				o := simtest.Options{Seed: seed, Steps: *steps}
				r := simtest.Run(o)
				again := r
				if seed%50 == 0 {
					again = simtest.Run(o)
				}
				mu.Lock()
				syncs += r.Syncs
				for what, n := range r.Seen {
					seen[what] += n
				}
				if r.Failed != nil {
					failed = append(failed, r)
				}
				if again.Trace != r.Trace {
					t.Errorf("I30: seed %d does not do the same twice", seed)
				}
				mu.Unlock()
			}
		})
	}
	for n := range uint64(*seeds) {
		next <- *first + n
	}
	close(next)
	group.Wait()
	t.Logf("%d seeds, %d syncs", *seeds, syncs)
	for _, what := range slices.Sorted(maps.Keys(seen)) {
		t.Logf("%8d %s", seen[what], what)
	}
	if *seeds >= 400 && *steps >= 150 {
		for _, what := range simtest.Rare {
			if seen[what] == 0 {
				t.Errorf("I30: never reached: %s", what)
			}
		}
	}
	if len(failed) > 0 {
		slices.SortFunc(failed, func(a, b *simtest.Report) int { return int(a.Seed) - int(b.Seed) })
		kinds := map[string]int{}
		for _, r := range failed {
			kinds[r.Failed.Invariant]++
			t.Logf("seed %d at step %d: %v", r.Seed, r.At, r.Failed)
		}
		t.Errorf("%d of %d seeds failed: %v", len(failed), *seeds, kinds)
		fail(t, failed[0])
	}
}

// once are runs that broke a promise before what they found was mended.
var once = []struct {
	seed  uint64
	steps int
	found string
}{
	{1000427, 150, "I1: a verdict on an op of the store's former life was taken for the present one"},
	{2004098, 250, "I11: the same, with the bytes of the present change dropped"},
	{700399, 150, "I17: a replica whose other life had shown a fork was not told, and waited for pages for ever"},
	{704738, 150, "I17: the same"},
}

// TestOnceFailed reruns them.
func TestOnceFailed(t *testing.T) {
	for _, o := range once {
		if r := simtest.Run(simtest.Options{Seed: o.seed, Steps: o.steps}); r.Failed != nil {
			t.Errorf("%s, again", o.found)
			fail(t, r)
		}
	}
}

// fail tells of a failed run in as few events as can be found.
func fail(t *testing.T, r *simtest.Report) {
	t.Helper()
	short := simtest.Shrink(r.Options)
	t.Errorf("seed %d broke %v\nshortened to %d steps, which broke %v:\n%s\nrerun: %s",
		r.Seed, r.Failed, short.Steps-len(short.Skip), short.Failed, strings.Join(short.Events, "\n"),
		fmt.Sprintf("go test ./syncengine/simtest -run TestWorlds -sim.seed %d -sim.steps %d -v", r.Seed, r.Steps))
}
