package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
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
	b.reset()
	if got := b.pause(0, src); got > firstPause {
		t.Errorf("after a success: got %v", got)
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	var p pace
	p.reset()
	for range 20 {
		p.took(time.Millisecond, true, true)
	}
	if p.push != maxPush || p.page != maxPage {
		t.Errorf("on a fast link: got %+v", p)
	}
	p.took(time.Minute, true, false)
	if p.push != maxPush/2 || p.page != maxPage {
		t.Errorf("after a slow push: got %+v", p)
	}
	for range 20 {
		p.broke()
	}
	if p.push != minPush || p.page != minPage {
		t.Errorf("on a broken link: got %+v", p)
	}
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
	mustVerify(t, c)
}
