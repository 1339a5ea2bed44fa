package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

func TestPauses(t *testing.T) {
	t.Parallel()
	src := rand.NewPCG(1, 2)
	var b backoff
	spread := map[time.Duration]bool{}
	for i := range 40 {
		bound := min(maxPause, firstPause<<min(i, 12))
		got := b.pause(0, src)
		if got < 0 || got > bound {
			t.Errorf("pause %d: got %v, want at most %v", i, got, bound)
		}
		spread[got] = true
	}
	if len(spread) < 35 {
		t.Errorf("only %d of 40 pauses differ", len(spread))
	}
	if got := b.pause(20*time.Minute, src); got < 20*time.Minute {
		t.Errorf("the server asks for 20 minutes: got %v", got)
	}
	// Who is told the same does not come back at the same moment, and not before.
	clear(spread)
	for range 40 {
		got := b.pause(40*time.Second, src)
		if got < 40*time.Second || got > 45*time.Second {
			t.Errorf("the server asks for 40 s: got %v", got)
		}
		spread[got.Truncate(100*time.Millisecond)] = true
	}
	if len(spread) < 15 {
		t.Errorf("told to come back after 40 s they do so at %d moments", len(spread))
	}
	b.reset()
	if got := b.pause(0, src); got > firstPause {
		t.Errorf("after a success: got %v", got)
	}
}

// timed is a request over a link of a rate, in bytes a second, and a round trip.
func timed(rate float64, rtt time.Duration, raw, up, down int64) sample {
	return sample{
		took: rtt + time.Duration(float64(up+down+headUp+headDown)/rate*float64(time.Second)) + time.Second, held: time.Second,
		up: up, down: down, raw: int(raw),
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		rate       float64
		rtt        time.Duration
		push, page int
	}{
		"loopback":    {500e6, 100 * time.Microsecond, maxFast, maxFast},
		"LTE":         {400e3, 60 * time.Millisecond, maxPush, maxPage},
		"20 kbit/s":   {2500, 800 * time.Millisecond, 34 << 10, 16 << 10},
		"9.6 kbit/s":  {1200, 2 * time.Second, 24 << 10, 12 << 10},
		"barely":      {50, 8 * time.Second, minPush, minPage},
		"a satellite": {2e6, 700 * time.Millisecond, maxPush, maxPage},
	} {
		var p pace
		p.reset()
		for range 12 {
			p.learn(timed(tc.rate, tc.rtt, 0, 200, 200))
			p.learn(timed(tc.rate, tc.rtt, int64(p.push), int64(p.push)/2, 300))
			p.learn(timed(tc.rate, tc.rtt, 0, 200, int64(p.page)))
		}
		if !within(p.push, tc.push) || !within(p.page, tc.page) {
			t.Errorf("%s: pushes of %d, pages of %d, want about %d and %d", name, p.push, p.page, tc.push, tc.page)
		}
		if got := p.window(); got > mostWindow {
			t.Errorf("%s: a window of %v", name, got)
		}
		for range 20 {
			p.broke()
		}
		if p.push != minPush || p.page != minPage {
			t.Errorf("%s, broken: pushes of %d, pages of %d", name, p.push, p.page)
		}
	}
}

// within reports whether a size is about as wanted; bounds are met exactly.
func within(got, want int) bool {
	if want == minPush || want == maxPush || want == maxFast {
		return got == want
	}
	return got > want*2/3 && got < want*3/2
}

// A link that has carried a request at once is given much more, one that took its time
// a little more.
func TestPaceGrows(t *testing.T) {
	t.Parallel()
	for rate, want := range map[float64]int{500e6: firstPush * leap, 200e3: firstPush * leap, 50e3: firstPush * growth} {
		var p pace
		p.reset()
		p.learn(timed(rate, 5*time.Millisecond, 0, 200, 200))
		if p.push > firstPush*growth {
			t.Errorf("%.0f bytes a second: pushes of %d before any", rate, p.push)
		}
		p.push = firstPush
		p.learn(timed(rate, 5*time.Millisecond, firstPush, firstPush/2, 300))
		if p.push != want {
			t.Errorf("%.0f bytes a second: pushes of %d after the first, want %d", rate, p.push, want)
		}
	}
}

// What something on the way lets through is found, kept to, and tried again later.
func TestCeiling(t *testing.T) {
	t.Parallel()
	var p pace
	p.reset()
	const limit = 40 << 10
	for range 6 {
		p.learn(timed(500e6, time.Millisecond, int64(p.push), int64(p.push), 300))
	}
	tries := 0
	for ; p.push > limit; tries++ {
		if !p.tooLarge(p.push) {
			t.Fatal("nothing smaller is tried")
		}
	}
	if tries > 6 || p.push < limit/4 {
		t.Errorf("after %d tries: pushes of %d", tries, p.push)
	}
	for i := range 3*trusted - 1 {
		before := p.ceiling
		p.learn(timed(500e6, time.Millisecond, int64(p.push), int64(p.push), 300))
		if p.ceiling != before && (i+1)%trusted != 0 {
			t.Errorf("after %d pushes: a ceiling of %d, was %d", i+1, p.ceiling, before)
		}
	}
	if p.tooLarge(minPush) {
		t.Error("less than the least is tried")
	}
}

// What was measured outlives the process; what it kept is no more than a guess.
func TestPaceKept(t *testing.T) {
	t.Parallel()
	var p, q pace
	p.reset()
	for range 8 {
		p.learn(timed(1200, 2*time.Second, 8<<10, 4<<10, 300))
	}
	p.tooLarge(12 << 10)
	q.load([]byte(`{"rtt_ms":2000,"up":1200,"down":1200,"ratio":0.5,"ceiling":6144}`))
	if q.ceiling != p.ceiling || q.push != 6144 || q.page > 13<<10 || q.eta(10<<10) < 4*time.Second {
		t.Errorf("got %+v", q)
	}
	for _, raw := range []string{"", "x", `{"rtt_ms":-1}`, `{"ratio":-2}`, `{"up":-5,"ratio":1}`} {
		var fresh pace
		fresh.reset()
		if q.load([]byte(raw)); q != fresh {
			t.Errorf("%q: got %+v", raw, q)
		}
	}
}

// A device that fails and fails asks ever more seldom, whatever wakes it.
func TestRetryBudget(t *testing.T) {
	t.Parallel()
	var b budget
	now := time.Unix(0, 0)
	for i := range retryBurst {
		if d := b.spend(now); d != 0 {
			t.Errorf("try %d waits %v", i, d)
		}
	}
	asked := 0
	for end := now.Add(time.Hour); now.Before(end); asked++ {
		now = now.Add(max(b.spend(now), time.Millisecond))
	}
	if most := int(time.Hour/retryRefill) + 2; asked > most || asked < most/2 {
		t.Errorf("asked %d times in an hour, want about %d", asked, most)
	}
	if d := b.spend(now.Add(time.Hour)); d != 0 {
		t.Errorf("after an hour of rest a try waits %v", d)
	}
}

// Proxies that end waits early, answer for the server, or hold answers back, and a
// network that lets waits through again.
func TestPoll(t *testing.T) {
	t.Parallel()
	src := rand.NewPCG(3, 4)
	now := time.Unix(1e9, 0)
	passed := func(wait time.Duration) sample {
		return sample{took: wait + time.Second, held: wait, up: 200, down: 200}
	}
	t.Run("a proxy that ends what is idle for 30 s", func(t *testing.T) {
		t.Parallel()
		var p poll
		for i := range 30 {
			wait, rest := p.next(now, src)
			if rest != 0 {
				t.Fatalf("request %d: plain polling", i)
			}
			if wait > 30*time.Second {
				if !p.cut(now, wait, 30*time.Second) {
					t.Fatal("a cut is taken for the network's end")
				}
				continue
			}
			p.came(now, wait, false, passed(wait), time.Second)
		}
		if p.wait <= shortWait || p.wait > 35*time.Second {
			t.Errorf("it settles at waits of %v", p.wait)
		}
	})
	t.Run("a proxy that ends everything after 4 s", func(t *testing.T) {
		t.Parallel()
		var p poll
		at, requests := now, 0
		for end := now.Add(time.Hour); at.Before(end); requests++ {
			wait, rest := p.next(at, src)
			at = at.Add(rest + min(wait, 4*time.Second) + time.Second)
			if wait > 4*time.Second {
				p.cut(at, wait, 4*time.Second)
			}
		}
		if requests < 80 || requests > 260 {
			t.Errorf("%d requests in an hour", requests)
		}
	})
	for name, s := range map[string]sample{
		"a cache that answers for the server": {took: 10 * time.Millisecond, up: 200, down: 200},
		"a proxy that holds answers back":     {took: 60 * time.Second, held: 20 * time.Second, up: 200, down: 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var p poll
			for range oddities {
				wait, rest := p.next(now, src)
				if rest != 0 {
					t.Fatal("plain polling too early")
				}
				p.came(now, wait, false, s, time.Second)
			}
			if wait, rest := p.next(now, src); wait != 0 || rest < plainPause/2 || rest > 2*plainPause {
				t.Errorf("it waits %v after %v", wait, rest)
			}
			// Later it is tried again, and goes well.
			if wait, rest := p.next(now.Add(plainFor), src); wait == 0 || rest != 0 {
				t.Errorf("it is not tried again: %v, %v", wait, rest)
			}
		})
	}
	t.Run("the network's end is no proxy's", func(t *testing.T) {
		t.Parallel()
		var p poll
		wait, _ := p.next(now, src)
		if p.cut(now, wait, time.Second) || p.cut(now, wait, 2*time.Minute) || p.cut(now, 0, time.Minute) {
			t.Error("it is taken for a proxy's")
		}
	})
}

// running starts Run and stops it at the end of the test.
func running(t *testing.T, c *Client) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: got %v", err)
		}
	})
}

// waitFor waits until ok; the test's own deadline is the only one.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for !ok() {
		select {
		case <-t.Context().Done():
			t.Fatal("it never came")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// A request that waits for news, or never comes back, does not hold up a push.
func TestPushDoesNotWaitForPull(t *testing.T) {
	t.Parallel()
	c, e := newEnrolled(t)
	held := make(chan struct{})
	e.hold = func(req *tandemv1.SyncRequest) {
		if req.GetBudget() > 0 {
			<-held
		}
	}
	t.Cleanup(func() { close(held) })
	running(t, c)
	create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
	waitFor(t, func() bool { return len(e.pushed()) == 1 })
}

// After a failure Run pauses; the app's word that the network is back ends it.
func TestWake(t *testing.T) {
	t.Parallel()
	c, e := newEnrolled(t)
	var failed atomic.Int32
	e.set(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		discard(r)
		failed.Add(1)
		w.Header().Set(schemaHeader, "1")
		// So long that nothing but Wake ends the pause.
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
	running(t, c)
	waitFor(t, func() bool { return failed.Load() >= 2 })
	e.set(nil)
	waitFor(t, func() bool {
		c.Wake()
		return mustStatus(t, c).Queued == 0
	})
	if got := len(e.pushed()); got != 1 {
		t.Errorf("the server has %d changes, want 1", got)
	}
}

// A server that says that it is busy tells nothing of the link: what is sent does not get
// smaller, and is not asked for first.
func TestBusyIsNoBadLink(t *testing.T) {
	t.Parallel()
	c, e := newEnrolled(t)
	create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
	if _, err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusTooManyRequests} {
		e.set(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			discard(r)
			w.Header().Set(schemaHeader, "1")
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
		}))
		c.mu.Lock()
		before := c.pace
		c.mu.Unlock()
		_, err := c.Sync(t.Context())
		contact, ok := errors.AsType[*ContactError](err)
		if !ok || !errors.Is(err, ErrBusy) || contact.RetryAfter != 7*time.Second {
			t.Fatalf("%d: %v", status, err)
		}
		c.mu.Lock()
		if c.pace != before || c.broken || !c.asked {
			t.Errorf("%d: broken %t, asked %t, pace %+v, was %+v", status, c.broken, c.asked, c.pace, before)
		}
		c.mu.Unlock()
	}
	e.set(nil)
	if m, err := c.Sync(t.Context()); err != nil || m.Applied != 1 {
		t.Errorf("when it has time again: %+v, %v", m, err)
	}
}

// Ctrl-C in the middle of a sync leaves everything to be sent.
func TestSyncCancelled(t *testing.T) {
	t.Parallel()
	c, e := newEnrolled(t)
	create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
	ctx, cancel := context.WithCancel(t.Context())
	e.set(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		discard(r)
		cancel()
		<-r.Context().Done()
	}))
	if _, err := c.Sync(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if s := mustStatus(t, c); s.Queued != 1 || s.LastFault != "" {
		t.Errorf("got %d queued, last fault %q", s.Queued, s.LastFault)
	}
	// Also when the answer has begun to arrive.
	ctx, cancel = context.WithCancel(t.Context())
	e.set(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		discard(r)
		w.Header().Set(schemaHeader, "1")
		w.Header().Set("Content-Type", "application/proto")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		time.AfterFunc(50*time.Millisecond, cancel)
		<-r.Context().Done()
	}))
	if _, err := c.Sync(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("in the middle of the answer: %v", err)
	}
	if s := mustStatus(t, c); s.Queued != 1 || s.LastFault != "" {
		t.Errorf("in the middle of the answer: %d queued, last fault %q", s.Queued, s.LastFault)
	}
	e.set(nil)
	if m, err := c.Sync(t.Context()); err != nil || m.Applied != 1 {
		t.Errorf("got %+v, %v", m, err)
	}
}

func TestNotAccepted(t *testing.T) {
	t.Parallel()
	c, e := newEnrolled(t)
	good := create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
	v := mustGet(t, c, good)
	as[*tandemv1.Incident](t, v).NotesOps = new("Two dogs.")
	if _, err := c.Edit(t.Context(), func(e *Edit) error { return e.Set(v, v.Message) }); err != nil {
		t.Fatal(err)
	}
	bad := create(t, c, &tandemv1.Incident{CallType: new("outreach")})
	e.judge = func(c *tandemv1.Change) *tandemv1.Outcome {
		w := c.GetRecords()[0]
		if w.GetAct() == tandemv1.Act_ACT_CREATE && syncengine.ID(w.GetRecord()) == good {
			return nil
		}
		return &tandemv1.Outcome{
			Code: tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED, Refusal: tandemv1.Refusal_REFUSAL_FORBIDDEN, Fields: []string{"0/act"},
		}
	}
	moved, err := c.Sync(t.Context())
	if err != nil || moved.Applied != 1 || moved.NotAccepted != 2 {
		t.Fatalf("got %+v, error %v", moved, err)
	}
	v = mustGet(t, c, good)
	if as[*tandemv1.Incident](t, v).GetNotesOps() != "" || len(v.NotAccepted) != 1 {
		t.Fatalf("got %d values that were not accepted beside the record", len(v.NotAccepted))
	}
	n := v.NotAccepted[0]
	if n.Op != 2 || n.Words == "" || len(n.Fields) != 1 || n.Fields[0] != "incident/act" || n.Decoded.GetRecords()[0].GetWrites() == nil {
		t.Errorf("got %+v", n)
	}
	if _, err := c.Get(t.Context(), bad); !errors.Is(err, ErrNotFound) {
		t.Errorf("a record whose creation was not accepted: got %v", err)
	}
	all, err := c.Quarantined(t.Context())
	if err != nil || len(all) != 2 || all[1].Records[0] != bad {
		t.Errorf("got %d not accepted, error %v", len(all), err)
	}
	if s := mustStatus(t, c); s.NotAccepted != 2 || s.Queued != 0 {
		t.Errorf("got status %+v", s)
	}
	// In whose place another save waits is decided: one corrected, then one taken back.
	decided := func(want ...bool) {
		t.Helper()
		all, err := c.Quarantined(t.Context())
		var got []bool
		for i := range all {
			got = append(got, all[i].Corrected)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("corrected are %v, want %v; %v", got, want, err)
		}
	}
	decided(false, false)
	if _, err := c.Withdraw(t.Context(), all[0].Op); err != nil {
		t.Fatal(err)
	}
	decided(true, false)
	if _, err := c.Fix(t.Context(), all[1].Op, func(*Fix) error { return nil }); err != nil {
		t.Fatal(err)
	}
	decided(true, true)
	mustVerify(t, c)
}
