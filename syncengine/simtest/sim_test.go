package simtest_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-response/tandem/internal/planted"
	"github.com/tandem-response/tandem/syncengine/simtest"
)

var (
	seeds = flag.Int("sim.seeds", 20_000, "how many seeds TestWorlds runs")
	first = flag.Uint64("sim.first", 1, "the first of them")
	steps = flag.Int("sim.steps", 70, "steps of a run before the faults stop")
	long  = flag.Duration("sim.long", 0, "how long TestWorlds runs, however many seeds that takes")
	seed  = flag.Uint64("sim.seed", 0, "run this seed alone, with every event")
)

// few is how many seeds run where time is short: under -short, where the race
// detector slows everything down, and where the planted bugs have the time.
const few = 300

// all is from how many seeds on every rare event must have been reached, and
// minSyncs what so many must come to.
const (
	all      = 20_000
	minSyncs = 1_000_000
)

// tally is what many runs came to.
type tally struct {
	mu     sync.Mutex
	runs   int
	syncs  int
	seen   map[string]int
	failed []*simtest.Report
	// differ are seeds that did not do the same twice.
	differ []uint64
}

func (a *tally) add(r *simtest.Report, same bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.runs++
	a.syncs += r.Syncs
	for what, n := range r.Seen {
		a.seen[what] += n
	}
	if r.Failed != nil {
		a.failed = append(a.failed, r)
	}
	if !same {
		a.differ = append(a.differ, r.Seed)
	}
}

// Many short worlds find more than a few long ones; some things take long to come
// about, as that what waits in quarantine is tried again by itself. So one world in
// longEvery has longSteps.
const longEvery, longSteps = 20, 200

// run runs seeds from one on until stop says so, one in fifty of them twice.
func run(from uint64, steps int, stop func(n uint64) bool, done func(r *simtest.Report)) *tally {
	// Worlds are small and short-lived: the garbage of many is cheap to keep.
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	a := &tally{seen: map[string]int{}}
	var next atomic.Uint64
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for n := next.Add(1) - 1; !stop(n); n = next.Add(1) - 1 {
				o := simtest.Options{Seed: from + n, Steps: steps}
				if n%longEvery == longEvery-1 {
					o.Steps = max(steps, longSteps)
				}
				r := simtest.Run(o)
				a.add(r, o.Seed%50 != 0 || simtest.Run(o).Trace == r.Trace)
				done(r)
			}
		})
	}
	group.Wait()
	slices.SortFunc(a.failed, func(a, b *simtest.Report) int { return cmp.Compare(a.Seed, b.Seed) })
	return a
}

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
	count := uint64(*seeds)
	if testing.Short() || slow || planted.On {
		count = min(count, few)
	}
	stop := func(n uint64) bool { return n >= count }
	if *long > 0 {
		end := time.Now().Add(*long)
		stop = func(uint64) bool { return time.Now().After(end) }
	}
	a := run(*first, *steps, stop, func(*simtest.Report) {})
	t.Logf("%d seeds, %d syncs", a.runs, a.syncs)
	for _, what := range slices.Sorted(maps.Keys(a.seen)) {
		t.Logf("%8d %s", a.seen[what], what)
	}
	for _, seed := range a.differ {
		t.Errorf("I30: seed %d does not do the same twice", seed)
	}
	if a.runs >= all {
		for _, what := range simtest.Rare {
			if a.seen[what] == 0 {
				t.Errorf("I30: never reached: %s", what)
			}
		}
		if a.syncs < minSyncs {
			t.Errorf("%d seeds came to %d syncs, which is fewer than %d", a.runs, a.syncs, minSyncs)
		}
	}
	if len(a.failed) > 0 {
		kinds := map[string]int{}
		for i, r := range a.failed {
			kinds[r.Failed.Invariant]++
			if i < 20 {
				what, _, _ := strings.Cut(r.Failed.Error(), "\n")
				t.Logf("seed %d at step %d: %s", r.Seed, r.At, what)
			}
		}
		t.Errorf("%d of %d seeds failed: %v", len(a.failed), a.runs, kinds)
		fail(t, a.failed[0])
	}
}

// once are runs that broke a promise before what they found was mended. The seeds
// are those that find the same in the world as it is now.
var once = []struct {
	seed  uint64
	steps int
	found string
}{
	{92, 70, "I1: a verdict on an op of the store's former life was taken for the present one"},
	{327, 70, "I17: a replica whose other life had shown a fork was not told, and waited for pages for ever"},
	{1970, 70, "I23: of a push of several runs only the newest was bound by the signature"},
	{17, 70, "I5: a revoked device that compared what it held with the server kept it"},
	{3500, 200, "I1: a verdict from before the server was set back hid that the change was gone"},
	{18, 70, "I16: a store that became another replica's wrapped a damaged save anew"},
	{3013, 70, "I1: the sealed copy of a damaged save was not delivered again after the server was set back"},
	{11973, 70, "I17: the sealed copy of a damaged save was delivered before a save that it needs"},
	{8739, 200, "I11: a change that was to be read again was taken for shown"},
	{5278, 70, "I1: a verdict on a delivered copy was of a history that the server had lost"},
	{836, 70, "I17: saves of two lives of a store came to wait for one another, and were never sent"},
	{6256, 70, "I9: of a row that was damaged into what the server has, the questions were those of before"},
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
