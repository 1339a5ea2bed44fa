package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/syncengine"
)

// tallies asks for counts that take as long as nobody lets them end.
type tallies struct {
	*counts
	tb                  testing.TB
	made, running, most atomic.Int64
	release             chan struct{}
}

func newTallies(t *testing.T) *tallies {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	t.Cleanup(end)
	return &tallies{counts: newCounts(zerolog.Nop(), ctx, time.Now), tb: t, release: make(chan struct{})}
}

// slow counts until it is released, or ended.
func (c *tallies) slow(ctx context.Context, read *atomic.Int64) (any, error) {
	c.most.Store(max(c.most.Load(), c.running.Add(1)))
	defer c.running.Add(-1)
	read.Store(7)
	select {
	case <-c.release:
		return c.made.Add(1), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// by is a person of an org.
func by(org, person byte) asker {
	return asker{org: syncengine.ID{org}, person: syncengine.ID{org, person}}
}

func (c *tallies) ask(who asker, question string, seq uint64, anew bool) *count {
	c.tb.Helper()
	n, err := c.of(c.tb.Context(), who, question, seq, anew, c.slow)
	if err != nil {
		c.tb.Fatal(err)
	}
	return n
}

func (c *tallies) refused(who asker, question string) {
	c.tb.Helper()
	if _, err := c.of(c.tb.Context(), who, question, 1, false, c.slow); !errors.Is(err, errCounting) {
		c.tb.Errorf("%q: %v, want %v", question, err, errCounting)
	}
}

// Counts are made one at a time, wait in a short line, and are kept: as long as the state
// stands, and a short while after it has moved.
func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTallies(t)
		first := c.ask(by(1, 1), "a", 1, false)
		if first.ended() || first.read.Load() != 7 {
			t.Fatalf("under way: ended %v, %d read", first.ended(), first.read.Load())
		}
		if c.ask(by(1, 2), "a", 2, true) != first {
			t.Error("what is under way was begun twice")
		}
		for i := range byte(mostCounting - 1) {
			c.ask(by(2+i, 1), fmt.Sprint(i), 1, false)
		}
		c.refused(by(100, 1), "one more")
		close(c.release)
		synctest.Wait()
		if c.most.Load() != 1 || c.made.Load() != mostCounting {
			t.Errorf("%d at once, %d made", c.most.Load(), c.made.Load())
		}

		of := func(question string, seq uint64, anew bool) *count {
			t.Helper()
			return c.ask(by(1, 1), question, seq, anew)
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
		if _, err := c.of(t.Context(), by(1, 1), "b", 1, false, func(context.Context, *atomic.Int64) (any, error) { return nil, broken }); !errors.Is(err, broken) {
			t.Errorf("a failure: %v", err)
		}
		if _, err := c.of(t.Context(), by(1, 1), "b", 1, false, func(context.Context, *atomic.Int64) (any, error) { panic("fault") }); err == nil || errors.Is(err, broken) {
			t.Errorf("a fault: %v", err)
		}
		if n := of("b", 1, false); !n.ended() || n.err != nil {
			t.Errorf("after a failure: %v", n.err)
		}
	})
}

// A person has one count under way and an org a few: who asks for another one by hand ends
// the one before, unless somebody else waits for it; a page that only follows ends nothing.
func TestCountsOfOnePerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTallies(t)
		me, other := by(1, 1), by(1, 2)
		follows := me
		follows.follows = true
		first := c.ask(me, "first", 1, false)
		c.refused(follows, "second")
		if first.ended() {
			t.Fatal("a page that follows has ended a count")
		}
		second := c.ask(me, "second", 1, false)
		synctest.Wait()
		if !first.ended() || !errors.Is(first.err, errUnasked) || second.ended() {
			t.Fatalf("the first: ended %v, %v; the second: ended %v", first.ended(), first.err, second.ended())
		}
		if c.ask(other, "second", 1, false) != second {
			t.Fatal("two who ask for the same have it counted twice")
		}
		third := c.ask(me, "third", 1, false)
		synctest.Wait()
		if second.ended() || third.ended() {
			t.Fatal("what somebody else waits for has ended")
		}
		for i := range byte(mostOfOrg - 2) {
			c.ask(by(1, 10+i), fmt.Sprint(i), 1, false)
		}
		c.refused(by(1, 30), "one more of the org")
		c.ask(by(2, 1), "another org's", 1, false)
		close(c.release)
		synctest.Wait()
	})
}

// A count that takes too long ends, whether it heeds that or not, and so does one that nobody
// asks for any more: others have their turn.
func TestCountsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTallies(t)
		stuck := make(chan struct{})
		n, err := c.of(t.Context(), by(1, 1), "stuck", 1, false, func(context.Context, *atomic.Int64) (any, error) {
			<-stuck
			return 1, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		next := c.ask(by(2, 1), "next", 1, false)
		for time.Since(n.begun) < longest-time.Minute {
			time.Sleep(time.Minute)
			c.ask(by(2, 1), "next", 1, false)
			if _, err := c.of(t.Context(), by(1, 1), "stuck", 1, false, nil); err != nil {
				t.Fatalf("after %s: %v", time.Since(n.begun), err)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !n.ended() || !errors.Is(n.err, errCountLong) || n.value != nil {
			t.Fatalf("stuck: ended %v, %v", n.ended(), n.err)
		}
		if next.ended() || next.read.Load() != 7 {
			t.Fatal("the next one has not had its turn")
		}
		if _, err := c.of(t.Context(), by(1, 1), "stuck", 1, false, c.slow); !errors.Is(err, errCountLong) {
			t.Errorf("nobody is told that it took too long: %v", err)
		}

		// Nobody looks again.
		time.Sleep(unasked)
		synctest.Wait()
		if !next.ended() || !errors.Is(next.err, errUnasked) || c.running.Load() != 0 {
			t.Errorf("nobody waits: ended %v, %v", next.ended(), next.err)
		}
		if len(c.kept) != 0 {
			t.Errorf("%d are kept", len(c.kept))
		}
		close(stuck)
	})
}

// A page that has asked often enough by itself says so, and what the person is to do: what
// nobody asks for ends.
func TestPageStopsAsking(t *testing.T) {
	t.Parallel()
	for _, lang := range []string{"en", "es"} {
		for look, again := range map[string]bool{"": true, fmt.Sprint(mostLooks - 1): true, fmt.Sprint(mostLooks): false} {
			w := httptest.NewRecorder()
			v := &visit{w: w, r: httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/console/outcomes?look="+look, nil), lang: lang}
			says := v.lookAgain("outcomes", url.Values{}, &count{})
			if (w.Header().Get("Refresh") != "") != again || strings.Contains(says, said.In(lang, "lookAgain")) == again {
				t.Errorf("after %q looks: %q, and it says %q", look, w.Header().Get("Refresh"), says)
			}
		}
	}
}
