package client

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Moved is what a sync moved.
type Moved struct {
	// Applied own changes are at the server, Conflicting of those beside another's
	// value, NotAccepted ones are kept there and were not applied.
	Applied, Conflicting, NotAccepted int
	// Rows of record state that came, other than those that only confirm own changes.
	Rows int
	// Cuts is how often what the screens show moved to a new cut.
	Cuts int
	// Requests, and the bytes of their bodies as they went over the wire.
	Requests           int
	BytesUp, BytesDown int64
	// Verified counts the scopes whose digest equalled the server's at the newest
	// cut, Differing those whose digest did not.
	Verified, Differing int
}

// ErrForked says that the server keeps seeing another history under the name of this
// store, although it has taken a new one. What is here stays here.
var ErrForked = errors.New("this store is used in two places at once: end the other one, then sync again; nothing is lost")

// errStalled says that a server answers and nothing comes of it.
var errStalled = &ContactError{Kind: ErrRejected, Words: "the server answers and gives no verdict on what was sent: it may need an update"}

// Sync pushes and pulls until nothing is left to do in either direction. What it
// moved before an error is in Moved. Where the disk has no room for what comes, what
// waits goes up all the same, and the error is ErrDiskFull. Safe to call beside Run.
//
// Where an admin has ordered the device to be wiped, Sync carries that out, and its error
// is ErrWiped.
func (c *Client) Sync(ctx context.Context) (*Moved, error) {
	moved, err := c.syncAll(ctx)
	if _, contact := errors.AsType[*ContactError](err); c.ordered.Load() && !contact && ctx.Err() == nil {
		err = c.obey(ctx)
	}
	return moved, err
}

func (c *Client) syncAll(ctx context.Context) (*Moved, error) {
	moved := &Moved{}
	stalled, forks := 0, 0
	var next ahead
	defer next.drop()
	var full error
	late := false
	for {
		if err := c.mend(ctx); err != nil {
			return moved, err
		}
		r, err := c.round(ctx, want{push: true, page: full == nil, next: &next})
		moved.add(r)
		if smaller(err) {
			continue
		}
		if errors.Is(err, ErrDiskFull) && full == nil {
			full = err
			next.drop()
			continue
		}
		if err != nil {
			return moved, err
		}
		if full != nil && !r.queued {
			return moved, full
		}
		if r.got.Forked {
			// It gets a name of its own, and goes on.
			if forks++; forks > maxForks {
				return moved, ErrForked
			}
			continue
		}
		if r.idle() && c.spoiled.Load() && !late {
			// What a damaged save waited for has been sent: now its sealed copy goes.
			late = true
			continue
		}
		if r.idle() {
			if due, err := c.due(ctx); err != nil {
				return moved, err
			} else if !due {
				if err := c.sendAudit(ctx); err != nil {
					return moved, err
				}
				// What is wrong with files is no fault of what was written.
				if err := c.sendFiles(ctx, false); ctx.Err() != nil {
					return moved, ctx.Err()
				} else if err != nil {
					c.log.Warn().Err(err).Msg("files wait")
				}
				// What has left the device has left its files, unless somebody reads it.
				return moved, c.store.write(ctx, "scrubbing the log", func(*tx) error { return nil })
			}
		}
		if r.progress() {
			stalled = 0
		} else if stalled++; stalled > 4 {
			return moved, errStalled
		}
		if r.queued && r.sent > 0 && full == nil {
			if err := c.stream(ctx, moved); errors.Is(err, ErrDiskFull) {
				full = err
			} else if err != nil && !smaller(err) {
				return moved, err
			}
		}
	}
}

// maxForks is how many new names one sync takes.
const maxForks = 3

// want is what a request is for.
type want struct {
	push, page bool
	wait       time.Duration
	// next is a page that may be under way already; nil where none is to be.
	next *ahead
	// lanes: changes that other requests carry are left out.
	lanes *lanes
	// poll decides on waits, nil where there is none.
	poll *poll
	// last: the store is to be wiped, and this sends what is left.
	last bool
}

// round is what one request did.
type round struct {
	sent int
	ask  bool
	got  *syncengine.Received
	up   int64
	down int64
	// queued, applied: changes in those states are left.
	queued, applied bool
	// waited: it waited for news at the server. paged: it asked for a page, where there
	// may be one.
	waited, paged bool
	// measured is how the request went, came what the clocks said when its answer was
	// there.
	measured sample
	came     reading
}

// measure notes how a request went.
func (r *round) measure(plan *syncengine.Planned, answer *tandemv1.SyncAnswer, met *contact) {
	r.came = met.came
	r.measured = sample{
		took: met.took, held: time.Duration(answer.GetTrailer().GetHeldMs()) * time.Millisecond,
		up: r.up, down: r.down, raw: plan.Bytes,
	}
}

// smaller reports whether a request failed because something on the way takes
// smaller ones only, and one is worth trying at once.
func smaller(err error) bool {
	contact, ok := errors.AsType[*ContactError](err)
	return ok && contact.large && contact.smaller
}

// idle reports whether nothing is left to do.
func (r *round) idle() bool {
	return r.paged && !r.queued && !r.got.More && !r.got.Dropped && !r.got.Scopes && (r.got.Flipped || r.sent == 0 || !r.applied)
}

// progress reports whether anything came of the request.
func (r *round) progress() bool {
	return len(r.got.Outcomes) > 0 || r.got.Rows > 0 || r.got.Flipped || r.got.Scopes || r.got.Epoch || r.got.Astray || r.ask
}

func (m *Moved) add(r *round) {
	if r == nil {
		return
	}
	m.Requests++
	m.BytesUp += r.up
	m.BytesDown += r.down
	if r.got == nil {
		return
	}
	m.Rows += r.got.Rows - r.got.Echoes
	for _, o := range r.got.Outcomes {
		switch o.GetCode() {
		case tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED_WITH_CONFLICT:
			m.Applied++
			m.Conflicting++
		case tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED:
			m.Applied++
		case tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED:
			m.NotAccepted++
		}
	}
	if r.got.Flipped {
		m.Cuts++
		m.Verified, m.Differing = len(r.got.Verified), len(r.got.Differing)
	}
}

// round makes one request and takes in its answer. Where no whole answer came
// nothing has changed but what the next request does: it carries no changes and
// asks what arrived.
//
// Where the store is to be wiped the error is ErrWipeOrdered, unless the request is one of
// the last.
func (c *Client) round(ctx context.Context, w want) (*round, error) {
	r, err := c.request(ctx, w)
	if errors.Is(err, errSuperseded) {
		return c.request(ctx, w)
	}
	return r, err
}

func (c *Client) request(ctx context.Context, w want) (*round, error) {
	if c.ordered.Load() && !w.last {
		return nil, ErrWipeOrdered
	}
	way, me, err := c.way()
	if err != nil {
		return nil, err
	}
	if w.push {
		select {
		case c.pushing <- struct{}{}:
			defer func() { <-c.pushing }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	plan, r, err := c.plan(ctx, w)
	if err != nil {
		return nil, err
	}
	if len(plan.Ops) > 0 {
		plan.Request.Signature = syncengine.SignBatch(me.key, plan.Newest)
	}
	began := c.opts.Now()
	if plan.Urgent {
		w.next.drop()
	}
	answer, met, err := w.next.take(plan.Request)
	if answer == nil && err == nil {
		call, cancel := context.WithTimeout(ctx, c.patience(plan.Request, w))
		answer, met, err = way.exchange(call, plan.Request)
		cancel()
	}
	r.up, r.down = met.up.Load(), met.down.Load()
	if c.superseded(ctx, me, err) {
		return nil, errSuperseded
	}
	if err != nil {
		return r, c.broke(ctx, plan, w, r, met, began, err)
	}
	r.measure(plan, answer, met)
	if !w.push {
		// A page may include what a push under way has brought about: it is taken in
		// after the verdicts, so that what it includes is known to be settled.
		if err := c.pushed(ctx); err != nil {
			return r, err
		}
	}
	if w.next != nil && !r.ask && len(plan.Ops) == 0 {
		w.next.start(ctx, way, plan.Request, answer, c.patience(plan.Request, w))
	}
	if err := c.receive(ctx, me, plan.Request, answer, r, began); err != nil {
		return r, err
	}
	c.mu.Lock()
	if w.push && (r.ask || len(plan.Ops) == 0) {
		c.asked, c.broken = true, false
	}
	c.mu.Unlock()
	if c.ordered.Load() && !w.last {
		return r, ErrWipeOrdered
	}
	return r, nil
}

// pushed waits until the push that is under way, if any, has been taken in.
func (c *Client) pushed(ctx context.Context) error {
	select {
	case c.pushing <- struct{}{}:
		<-c.pushing
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// plan builds the request, and notes what it is for.
func (c *Client) plan(ctx context.Context, w want) (plan *syncengine.Planned, r *round, err error) {
	c.mu.Lock()
	o := syncengine.PlanOptions{WallMS: c.opts.Now().UnixMilli(), WaitMS: uint32(w.wait.Milliseconds())}
	if w.page {
		o.PageBytes = uint32(c.pace.page)
	}
	push, asked, broken, fast := c.pace.push, c.asked, c.broken, c.pace.fast()
	o.Ceiling = c.pace.ceiling
	sealKey := uint32(0)
	if c.me != nil {
		sealKey = syncengine.ShortKeyID(c.me.sealKey)
	}
	c.mu.Unlock()
	r = &round{waited: w.wait > 0, paged: w.page}
	err = c.store.write(ctx, "planning a request", func(t *tx) error {
		if w.push {
			queued, err := t.any(anyQueued)
			if err != nil {
				return err
			}
			r.ask = queued && !asked
			o.Ask = r.ask
			if queued && (!r.ask || !broken) {
				// What is urgent need not wait until the rest is asked for.
				o.PushBytes, o.UrgentOnly = push, r.ask
				o.InFlight = w.lanes.under()
			}
		}
		var err error
		if plan, err = c.planWhole(t, o); err != nil {
			return err
		}
		plan.Request.SealKey, plan.Request.Packs = sealKey, !c.opts.PlainPull
		if err := t.nameCheckpoint(plan.Request); err != nil {
			return err
		}
		if err := t.askSeen(plan.Request); err != nil {
			return err
		}
		w.lanes.add(plan)
		urgent := plan.Urgent
		if r.ask && !urgent {
			if urgent, err = t.any(anyUrgent); err != nil {
				return err
			}
		}
		if urgent && !fast {
			// A page would hold up the next request on its way down.
			plan.Request.Budget, r.paged = 0, false
		}
		r.sent = len(plan.Ops)
		return nil
	})
	return plan, r, err
}

// patience is how long a request may take on the slowest link.
func (c *Client) patience(req *tandemv1.SyncRequest, w want) time.Duration {
	size := int(req.GetBudget())
	for _, run := range req.GetRuns() {
		for _, raw := range run.GetChanges() {
			size += len(raw)
		}
	}
	return slack + w.wait + time.Duration(size/slowest)*time.Second
}

// broke notes a request without an answer.
func (c *Client) broke(ctx context.Context, plan *syncengine.Planned, w want, r *round, met *contact, began time.Time, err error) error {
	contact, ok := errors.AsType[*ContactError](err)
	// A server that says that it is busy has taken nothing, and the link is as it was.
	busy := ok && errors.Is(err, ErrBusy)
	c.mu.Lock()
	if r.sent > 0 && !met.unsent && !busy {
		c.asked, c.broken = false, true
	}
	switch {
	case busy:
	case ok && contact.large && r.sent > 0:
		contact.smaller = c.pace.tooLarge(plan.Bytes) && r.sent > 1
	case ok && errors.Is(err, ErrNetwork) && w.poll.cut(time.Now(), w.wait, time.Since(met.began)):
		c.mu.Unlock()
		return errCut
	case !met.unsent:
		c.pace.broke()
	}
	c.mu.Unlock()
	if !ok {
		return err
	}
	c.log.Warn().Err(contact).Int("sent", r.sent).Msg("contact failed")
	event := &Event{AtMS: began.UnixMilli(), MS: c.opts.Now().Sub(began).Milliseconds(), BytesUp: r.up, BytesDown: r.down, Fault: contact.Words}
	noted := c.store.write(context.WithoutCancel(ctx), "noting a contact", func(t *tx) error {
		var last string
		if err := t.row(`SELECT fault FROM sync_event ORDER BY n DESC LIMIT 1`, nil, &last); err != nil || last == event.Fault {
			return err
		}
		return t.addEvent(event)
	})
	if noted != nil {
		c.log.Warn().Err(noted).Msg("contact not noted")
	}
	return err
}

// receive takes in a whole answer, in one transaction. Where the disk is full it
// takes the room that the store keeps for this.
func (c *Client) receive(ctx context.Context, me *identity, req *tandemv1.SyncRequest, answer *tandemv1.SyncAnswer, r *round, began time.Time) error {
	now, wipe := c.opts.Now(), false
	err := c.store.writeReserved(context.WithoutCancel(ctx), "taking in an answer", func(t *tx) (err error) {
		before, err := t.State()
		if err != nil {
			return err
		}
		if before.Replica != me.replica {
			// It answers a name that the store no longer has.
			r.got = &syncengine.Received{Dropped: true}
			return nil
		}
		if r.got, err = c.device.Receive(t, req, answer, now.UnixMilli()); err != nil {
			return err
		}
		if err := c.expireIn(t); err != nil {
			return err
		}
		if !r.got.Forked {
			// A copy takes a name of its own first, and is ordered again under that.
			if wipe, err = c.takeOrders(t, answer.GetTrailer().GetOrders()); err != nil {
				return err
			}
		}
		st, err := t.State()
		if err != nil {
			return err
		}
		if err := c.keepTime(t, st, answer, r); err != nil {
			return err
		}
		if err := c.keepCheckpoint(t, me, st, answer.GetTrailer(), r.got.Epoch); err != nil {
			return err
		}
		if err := c.keepPace(t, r); err != nil {
			return err
		}
		if r.queued, r.applied, err = t.left(); err != nil {
			return err
		}
		if err := t.noteDiffering(r.got); err != nil {
			return err
		}
		if err := t.noteSchemas(answer.GetTrailer()); err != nil {
			return err
		}
		if err := t.noteEmergencies(answer.GetTrailer()); err != nil {
			return err
		}
		if err := t.noteSeen(answer.GetTrailer(), r.got.Epoch); err != nil {
			return err
		}
		if r.got.Epoch {
			if err := t.resendFiles(); err != nil {
				return err
			}
		}
		event := &Event{
			AtMS: began.UnixMilli(), MS: now.Sub(began).Milliseconds(), Pushed: len(r.got.Outcomes), Received: r.got.Rows,
			BytesUp: r.up, BytesDown: r.down, Note: noteOf(r.got, before.Repair.Found),
		}
		healed, err := t.any(`SELECT coalesce((SELECT fault <> '' FROM sync_event ORDER BY n DESC LIMIT 1), 0)`)
		if err != nil || (!healed && event.Pushed == 0 && event.Received == 0 && event.Note == "") {
			return err
		}
		return t.addEvent(event)
	})
	if err != nil {
		r.got = nil
	}
	if errors.Is(err, syncengine.ErrIncomplete) {
		return &ContactError{Kind: ErrNetwork, Words: foreignWords, Err: err}
	}
	if err != nil {
		return err
	}
	if wipe {
		c.ordered.Store(true)
		c.log.Warn().Msg("an admin has ordered this device to be wiped: what is unsent goes first")
	}
	c.heard(ctx, answer.GetTrailer(), acknowledged{ops: len(r.got.Outcomes), drained: !r.queued})
	for _, id := range r.got.Differing {
		c.log.Error().Str("scope", hex.EncodeToString(id[:])).Msg("digest differs from the server's")
	}
	if len(r.got.Outcomes) > 0 || r.got.Rows > 0 {
		c.log.Info().Int("outcomes", len(r.got.Outcomes)).Int("rows", r.got.Rows).Bool("cut", r.got.Flipped).Msg("synced")
	}
	if len(r.got.Outcomes) > 0 || r.got.Flipped {
		signal(c.files.wake)
	}
	if r.got.Forked || r.got.Astray {
		c.unwell.Store(true)
	}
	if r.got.Epoch || r.got.Reoffered > 0 {
		c.spoiled.Store(true)
		c.mu.Lock()
		c.asked = false
		c.mu.Unlock()
		c.log.Warn().Int("again", r.got.Reoffered).Msg("the server was set back: what it has lost is sent again")
		signal(c.work)
	}
	if c.opts.OnChange != nil && len(r.got.Changed) > 0 {
		c.opts.OnChange(r.got.Changed)
	}
	return nil
}

// keepTime samples the server's time, and keeps the key that the server has shown.
func (c *Client) keepTime(t *tx, st *syncengine.DeviceState, answer *tandemv1.SyncAnswer, r *round) error {
	c.clock.sample(r.came, answer.GetTrailer().GetServerMs(), max(r.measured.took-r.measured.held, 0))
	now := c.clock.now()
	next := *st
	next.OffsetMS, next.OffsetKnown = now.offset(), true
	if err := t.SaveState(&next); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.link.trust; v != nil {
		if pin := v.pinned(); pin != nil && !bytes.Equal(pin, c.me.pin) {
			if err := t.setMeta(metaPin, pin); err != nil {
				return err
			}
			c.me.pin = pin
		}
	}
	if !c.clock.due(now) {
		return nil
	}
	return t.keepClock(now)
}

// keepPace learns from a request that went through. One that waited for news tells
// nothing of the link.
func (c *Client) keepPace(t *tx, r *round) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.waited {
		return nil
	}
	c.pace.learn(r.measured)
	return c.pace.save(t, &c.kept)
}

// errCut says that something on the way has ended a request that waited for news.
var errCut = &ContactError{Kind: ErrNetwork, Words: "something on the way does not let a request wait for news"}

// Questions of any and left. The second condition lets the partial index serve.
const (
	anyUrgent  = `SELECT EXISTS (SELECT 1 FROM outbox INDEXED BY outbox_queue WHERE state IN (1, 7) AND rank = 1)`
	anyQueued  = `SELECT EXISTS (SELECT 1 FROM outbox INDEXED BY outbox_queue WHERE state IN (1, 7))`
	selectLeft = anyQueued + `, EXISTS (SELECT 1 FROM outbox INDEXED BY outbox_judged WHERE state = 2 AND state IN (2, 4))`
)

// left reports whether changes are left that are to be sent, and whether any are applied
// and not settled.
func (t *tx) left() (queued, applied bool, err error) {
	if err := t.flush(); err != nil {
		return false, false, err
	}
	err = t.row(selectLeft, nil, &queued, &applied)
	return queued, applied, err
}

// any asks the tables a question, as the transaction sees them.
func (t *tx) any(query string) (yes bool, err error) {
	if err := t.flush(); err != nil {
		return false, err
	}
	err = t.row(query, nil, &yes)
	return yes, err
}

// metaDiffering holds the scopes whose digest was not the server's at the newest
// cut.
const metaDiffering = "differing"

func (t *tx) noteDiffering(got *syncengine.Received) error {
	if !got.Flipped {
		return nil
	}
	before, err := t.meta(metaDiffering)
	if err != nil || (len(before) == 0 && len(got.Differing) == 0) {
		return err
	}
	var ids []byte
	for _, id := range got.Differing {
		ids = append(ids, id[:]...)
	}
	return t.setMeta(metaDiffering, blob(ids))
}
