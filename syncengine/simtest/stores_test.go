package simtest_test

import (
	"flag"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/syncengine/simtest"
)

var stores = flag.Int("sim.stores", 8, "how many seeds TestStores runs on each engine")

// TestStores runs worlds whose every transaction is run on the product's own stores
// as well, of device and of server, on disks whose power goes; or the server's on a
// PostgreSQL, to which every connection breaks. They must hold what the world's own
// hold.
func TestStores(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		seen := runStores(t, func(testing.TB, *simtest.Options) {})
		if seen["power cut"] == 0 || seen["power cut took a transaction back"] == 0 {
			t.Error("no power cut took a transaction back")
		}
	})
	t.Run("postgres", func(t *testing.T) {
		cluster := pgtest.Shared(t)
		seen := runStores(t, func(tb testing.TB, o *simtest.Options) {
			tb.Helper()
			o.Database = storetest.Postgres.Database(tb)
			o.Cut = func() error { return cluster.Cut(o.Database) }
		})
		if seen["connections cut"] == 0 || seen["cut connections took a transaction back"] == 0 {
			t.Error("no broken connection took a transaction back")
		}
	})
}

// runStores runs the seeds, one in ten of them twice, and returns what they have seen.
func runStores(t *testing.T, on func(tb testing.TB, o *simtest.Options)) map[string]int {
	t.Helper()
	var (
		mu    sync.Mutex
		syncs int
		seen  = map[string]int{}
		group sync.WaitGroup
		next  = make(chan uint64)
	)
	once := func(tb testing.TB, seed uint64, log bool) *simtest.Report {
		tb.Helper()
		o := simtest.Options{Seed: seed, Steps: *steps, Log: log, Dir: tb.TempDir()}
		on(tb, &o)
		return simtest.Run(o)
	}
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for seed := range next {
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					r := once(t, seed, false)
					if r.Failed != nil {
						events := once(t, seed, true).Events
						t.Errorf("at step %d: %v\n%s", r.At, r.Failed, strings.Join(events[max(0, len(events)-20):], "\n"))
					} else if seed%10 == 0 && once(t, seed, false).Trace != r.Trace {
						t.Errorf("I30: it does not do the same twice")
					}
					mu.Lock()
					defer mu.Unlock()
					syncs += r.Syncs
					for what, n := range r.Seen {
						seen[what] += n
					}
				})
			}
		})
	}
	for n := range uint64(*stores) {
		next <- *first + n
	}
	close(next)
	group.Wait()
	t.Logf("%d seeds, %d syncs, %d power cuts, %d of them took a transaction back; connections cut %d times, %d of them took one back",
		*stores, syncs, seen["power cut"], seen["power cut took a transaction back"],
		seen["connections cut"], seen["cut connections took a transaction back"])
	return seen
}
