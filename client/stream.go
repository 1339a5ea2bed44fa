package client

import (
	"bytes"
	"context"
	"maps"
	"sync"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// lanes are the requests of a stream that are under way: which changes they carry,
// until their verdicts are taken in. Safe for concurrent use; a nil one is empty.
type lanes struct {
	mu    sync.Mutex
	taken *sync.Cond
	ops   map[uint64]bool
}

func newLanes() *lanes {
	l := &lanes{ops: map[uint64]bool{}}
	l.taken = sync.NewCond(&l.mu)
	return l
}

// under returns the ops under way.
func (l *lanes) under() map[uint64]bool {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.ops)
}

// add notes what a request carries, before anything else is planned.
func (l *lanes) add(plan *syncengine.Planned) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, op := range plan.Ops {
		l.ops[op] = true
	}
}

// done notes that a request has been taken in, or came to nothing.
func (l *lanes) done(plan *syncengine.Planned) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, op := range plan.Ops {
		delete(l.ops, op)
	}
	l.taken.Broadcast()
}

// wait waits until no other request carries a change that an answer's snapshot
// includes: the verdict on it is under way, and comes first.
func (l *lanes) wait(own *syncengine.Planned, processed []*tandemv1.OpRange) {
	mine := make(map[uint64]bool, len(own.Ops))
	for _, op := range own.Ops {
		mine[op] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.carries(mine, processed) {
		l.taken.Wait()
	}
}

func (l *lanes) carries(mine map[uint64]bool, processed []*tandemv1.OpRange) bool {
	for op := range l.ops {
		if mine[op] {
			continue
		}
		for _, r := range processed {
			if op >= r.GetFirst() && op <= r.GetLast() {
				return true
			}
		}
	}
	return false
}

// flight is one request under way.
type flight struct {
	plan   *syncengine.Planned
	began  time.Time
	answer *tandemv1.SyncAnswer
	met    *contact
	err    error
	done   chan struct{}
	cancel context.CancelFunc
}

// launch signs and sends a planned request.
func (c *Client) launch(ctx context.Context, way *link, me *identity, plan *syncengine.Planned) *flight {
	plan.Request.Signature = syncengine.SignBatch(me.key, plan.Newest)
	ctx, cancel := context.WithTimeout(ctx, c.patience(plan.Request, want{}))
	f := &flight{plan: plan, began: c.opts.Now(), done: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(f.done)
		f.answer, f.met, f.err = way.exchange(ctx, plan.Request)
	}()
	return f
}

// drop ends what is under way and waits until it has ended.
func (f *flight) drop() {
	if f != nil {
		f.cancel()
		<-f.done
	}
}

// stream pushes until nothing is queued, in two lanes at once, so that device and
// server work at the same time. The first lane fetches pages as well.
func (c *Client) stream(ctx context.Context, moved *Moved) error {
	way, me, err := c.way()
	if err != nil {
		return err
	}
	select {
	case c.pushing <- struct{}{}:
		defer func() { <-c.pushing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s := &stream{c: c, way: way, me: me, lanes: newLanes(), moved: moved}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.plain(ctx); err != nil {
			stop(err)
		}
	})
	if err := s.paged(ctx); err != nil {
		stop(err)
	}
	wg.Wait()
	return context.Cause(ctx)
}

// stream is one call of Client.stream.
type stream struct {
	c     *Client
	way   *link
	me    *identity
	lanes *lanes
	mu    sync.Mutex
	moved *Moved
}

// land takes in the answer of a flight; going is false where the lane should end.
func (s *stream) land(ctx context.Context, f *flight) (going bool, err error) {
	defer s.lanes.done(f.plan)
	r := &round{sent: len(f.plan.Ops), up: f.met.up.Load(), down: f.met.down.Load()}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.moved.add(r)
	}()
	if f.err != nil {
		return false, s.c.broke(ctx, f.plan, want{}, r, f.met, f.began, f.err)
	}
	r.measure(f.plan, f.answer, f.met)
	if f.answer.GetPage() != nil {
		s.lanes.wait(f.plan, f.answer.GetTrailer().GetProcessed())
	}
	if err := s.c.receive(ctx, s.me, f.plan.Request, f.answer, r, f.began); err != nil {
		return false, err
	}
	return !r.got.Forked && r.progress(), nil
}

// plain is the lane without pages: one request after the other.
func (s *stream) plain(ctx context.Context) error {
	for {
		plan, _, err := s.c.plan(ctx, want{push: true, lanes: s.lanes})
		if err != nil || len(plan.Ops) == 0 {
			return err
		}
		f := s.c.launch(ctx, s.way, s.me, plan)
		<-f.done
		f.cancel()
		if going, err := s.land(ctx, f); err != nil || !going {
			return err
		}
	}
}

// paged is the lane with pages, two requests deep: as soon as an answer is there the
// next request goes out, and while the server works on that the device takes the
// answer in. The next request can be planned before, because the answer says all
// that it depends on: which changes have their verdict, and where the device will
// stand. Where it turns out to stand elsewhere, the page is dropped like any that
// does not fit.
func (s *stream) paged(ctx context.Context) error {
	var under *flight
	defer func() { under.drop() }()
	for {
		if under == nil {
			plan, _, err := s.c.plan(ctx, want{push: true, page: true, lanes: s.lanes})
			if err != nil || len(plan.Ops) == 0 {
				return err
			}
			under = s.c.launch(ctx, s.way, s.me, plan)
		}
		at := under
		<-at.done
		at.cancel()
		under = nil
		if at.err == nil {
			next, err := s.planAfter(ctx, at)
			if err != nil {
				s.lanes.done(at.plan)
				return err
			}
			if next != nil && len(next.Ops) > 0 {
				under = s.c.launch(ctx, s.way, s.me, next)
			}
		}
		if going, err := s.land(ctx, at); err != nil || !going {
			return err
		}
	}
}

// planAfter plans the request after one whose answer is there and not taken in yet;
// nil where the answer changes more than can be told beforehand.
func (s *stream) planAfter(ctx context.Context, f *flight) (*syncengine.Planned, error) {
	page := f.answer.GetPage()
	if page.GetScopeSet() != nil || len(page.GetReady()) > 0 || len(page.GetTo()) != len(page.GetFrom()) {
		return nil, nil
	}
	for _, o := range f.answer.GetOutcomes() {
		if o.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_FORK {
			return nil, nil
		}
	}
	next, r, err := s.c.plan(ctx, want{push: true, page: true, lanes: s.lanes})
	if err != nil || r.ask {
		return nil, err
	}
	for _, to := range page.GetTo() {
		for _, at := range next.Request.GetPositions() {
			if bytes.Equal(at.GetScope(), to.GetScope()) {
				at.Position = to.GetPosition()
			}
		}
	}
	return next, nil
}
