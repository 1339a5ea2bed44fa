package client

import (
	"bytes"
	"context"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

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

// stream pushes until nothing is queued, with pages in the answers, two requests
// deep: as soon as an answer is there the next request goes out, and while the
// server works on that the device takes the answer in. The next request can be
// planned before, because the answer says all that it depends on: which changes
// have their verdict, and where the device will stand. Where it turns out to stand
// elsewhere, the page is dropped like any that does not fit.
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
	var under *flight
	defer func() { under.drop() }()
	for {
		if under == nil {
			plan, _, err := c.plan(ctx, want{push: true, page: true})
			if err != nil || len(plan.Ops) == 0 {
				return err
			}
			under = c.launch(ctx, way, me, plan)
		}
		at := under
		<-at.done
		at.cancel()
		r := &round{sent: len(at.plan.Ops), up: at.met.up.Load(), down: at.met.down.Load()}
		if under = nil; at.err != nil {
			moved.add(r)
			return c.broke(ctx, r, at.began, at.err)
		}
		next, err := c.planAfter(ctx, at)
		if err != nil {
			return err
		}
		if next != nil && len(next.Ops) > 0 {
			under = c.launch(ctx, way, me, next)
		}
		err = c.receive(ctx, at.plan.Request, at.answer, r, at.began)
		moved.add(r)
		if err != nil {
			return err
		}
		if r.got.Forked || !r.progress() {
			return nil
		}
		c.mu.Lock()
		c.pace.took(c.opts.Now().Sub(at.began), true, r.got.Rows > 0)
		c.mu.Unlock()
	}
}

// planAfter plans the request after one whose answer is there and not taken in yet;
// nil where the answer changes more than can be told beforehand.
func (c *Client) planAfter(ctx context.Context, f *flight) (*syncengine.Planned, error) {
	page := f.answer.GetPage()
	if page.GetScopeSet() != nil || len(page.GetReady()) > 0 || len(page.GetTo()) != len(page.GetFrom()) {
		return nil, nil
	}
	for _, o := range f.answer.GetOutcomes() {
		if o.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_FORK {
			return nil, nil
		}
	}
	next, ask, err := c.plan(ctx, want{push: true, page: true, after: f.plan})
	if err != nil || ask {
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

// inFlight returns the ops that a request carries, and their size.
func inFlight(plan *syncengine.Planned) (ops map[uint64]bool, size int) {
	if plan == nil {
		return nil, 0
	}
	ops = make(map[uint64]bool, len(plan.Ops))
	for _, op := range plan.Ops {
		ops[op] = true
	}
	for _, run := range plan.Request.GetRuns() {
		for _, raw := range run.GetChanges() {
			size += len(raw)
		}
	}
	return ops, size
}
