package simtest_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-response/tandem/syncengine/simtest"
)

var stores = flag.Int("sim.stores", 8, "how many seeds TestStores runs")

// TestStores runs worlds whose every transaction is run on the product's own stores
// as well, of device and of server, on disks whose power goes. They must hold what
// the world's own hold.
func TestStores(t *testing.T) {
	t.Parallel()
	var (
		mu    sync.Mutex
		syncs int
		seen  = map[string]int{}
		group sync.WaitGroup
		next  = make(chan uint64)
	)
	dir := t.TempDir()
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for seed := range next {
				o := simtest.Options{Seed: seed, Steps: *steps}
				o.Dir = filepath.Join(dir, fmt.Sprint(seed))
				r := simtest.Run(o)
				again := r
				if seed%10 == 0 {
					o.Dir = filepath.Join(dir, fmt.Sprint(seed, "twice"))
					again = simtest.Run(o)
				}
				mu.Lock()
				syncs += r.Syncs
				for what, n := range r.Seen {
					seen[what] += n
				}
				if r.Failed != nil {
					o.Log, o.Dir = true, filepath.Join(dir, fmt.Sprint(seed, "again"))
					events := simtest.Run(o).Events
					t.Errorf("seed %d at step %d: %v\n%s", seed, r.At, r.Failed, strings.Join(events[max(0, len(events)-20):], "\n"))
				} else if again.Trace != r.Trace {
					t.Errorf("I30: seed %d does not do the same twice", seed)
				}
				mu.Unlock()
			}
		})
	}
	for n := range uint64(*stores) {
		next <- *first + n
	}
	close(next)
	group.Wait()
	t.Logf("%d seeds, %d syncs, %d power cuts, %d of them took a transaction back",
		*stores, syncs, seen["power cut"], seen["power cut took a transaction back"])
	if seen["power cut"] == 0 || seen["power cut took a transaction back"] == 0 {
		t.Error("no power cut took a transaction back")
	}
}
