package console

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// Counts are made one at a time, wait in a short line, and are kept: as long as the state
// stands, and a short while after it has moved.
func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		c := newCounts(zerolog.Nop(), ctx, time.Now)
		var made, running, most atomic.Int64
		release := make(chan struct{})
		slow := func(_ context.Context, read *atomic.Int64) (any, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			read.Store(7)
			<-release
			return made.Add(1), nil
		}
		of := func(question string, seq uint64, anew bool) *count {
			t.Helper()
			n, err := c.of(t.Context(), question, seq, anew, slow)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		first := of("a", 1, false)
		if first.ended() || first.read.Load() != 7 {
			t.Fatalf("under way: ended %v, %d read", first.ended(), first.read.Load())
		}
		if of("a", 2, true) != first {
			t.Error("what is under way was begun twice")
		}
		for i := range mostCounting - 1 {
			of(fmt.Sprint(i), 1, false)
		}
		if _, err := c.of(t.Context(), "one more", 1, false, slow); !errors.Is(err, errCounting) {
			t.Errorf("one too many: %v", err)
		}
		close(release)
		synctest.Wait()
		if most.Load() != 1 || made.Load() != mostCounting {
			t.Errorf("%d at once, %d made", most.Load(), made.Load())
		}

		if of("a", 1, true) != first || of("a", 2, false) != first {
			t.Error("a count was made again without need")
		}
		if of("a", 2, true) == first {
			t.Error("a count of an older state was taken for a new one")
		}
		second := of("a", 2, false)
		time.Sleep(fresh)
		if of("a", 2, false) != second {
			t.Error("the state stands, and was counted again")
		}
		if of("a", 3, false) == second {
			t.Error("an old count of an older state is good still")
		}
		for i := range 3 * mostCounted {
			of(fmt.Sprint("more ", i), 3, false)
		}
		if len(c.kept) > mostCounted {
			t.Errorf("%d are kept", len(c.kept))
		}

		// What failed is said once, and counted again; a fault ends no server.
		broken := errors.New("broken")
		if _, err := c.of(t.Context(), "b", 1, false, func(context.Context, *atomic.Int64) (any, error) { return nil, broken }); !errors.Is(err, broken) {
			t.Errorf("a failure: %v", err)
		}
		if _, err := c.of(t.Context(), "b", 1, false, func(context.Context, *atomic.Int64) (any, error) { panic("fault") }); err == nil || errors.Is(err, broken) {
			t.Errorf("a fault: %v", err)
		}
		if n := of("b", 1, false); !n.ended() || n.err != nil {
			t.Errorf("after a failure: %v", n.err)
		}
		end()
	})
}
