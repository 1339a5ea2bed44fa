package client

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// Run keeps the device in step until ctx ends: it pushes when there is something to
// push and waits at the server for news, each without waiting for the other. After
// a failure it pauses, longer each time; a success in one direction ends the pause
// of the other. It returns ctx's error, or an error of the store; a disk that is full
// is one to wait out: what waits still goes up. Where an admin has ordered the device to
// be wiped, Run carries that out, and its error is ErrWiped.
func (c *Client) Run(ctx context.Context) error {
	err := c.run(ctx)
	var b backoff
	for c.ordered.Load() && ctx.Err() == nil {
		err = c.obey(ctx)
		if _, contact := errors.AsType[*ContactError](err); !contact || errors.Is(err, ErrWiped) {
			return err
		}
		c.log.Warn().Err(err).Msg("the device is to be wiped, and what is unsent could not be sent yet")
		if err := c.rest(ctx, &b, c.wakePush, err); err != nil {
			return err
		}
	}
	return err
}

func (c *Client) run(ctx context.Context) error {
	if _, _, err := c.way(); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	first := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { stop(c.pushLoop(ctx, first)) })
	wg.Go(func() { stop(c.pullLoop(ctx, first)) })
	wg.Go(func() { stop(c.expireLoop(ctx)) })
	wg.Go(func() { stop(c.auditLoop(ctx)) })
	wg.Go(func() { stop(c.filesLoop(ctx)) })
	wg.Wait()
	return context.Cause(ctx)
}

// Wake ends the pauses of Run: the app knows that the network is back, or another.
func (c *Client) Wake() {
	c.mu.Lock()
	if c.link != nil {
		// What is idle may be a connection over the network before.
		c.link.close()
	}
	c.files.probed = time.Time{}
	c.mu.Unlock()
	signal(c.wakePush)
	signal(c.wakePull)
	signal(c.files.wake)
}

// pushLoop sends what there is to send. It closes first when it has made its first
// try: what waits to be sent goes before what may be news.
func (c *Client) pushLoop(ctx context.Context, first chan<- struct{}) error {
	var b backoff
	var once sync.Once
	for {
		var r *round
		err := c.rescue(ctx)
		if err == nil {
			r, err = c.round(ctx, want{push: true})
		}
		if smaller(err) {
			continue
		}
		once.Do(func() { close(first) })
		switch {
		case fatal(ctx, err):
			return err
		case err != nil || r.got.Forked:
			c.unsent.Store(true)
			if err := c.rest(ctx, &b, c.wakePush, err); err != nil {
				return err
			}
			continue
		}
		c.unsent.Store(false)
		if b.failures > 0 {
			b.reset()
			signal(c.wakePull)
		}
		if r.queued || r.sent > 0 && c.spoiled.Load() {
			continue
		}
		if err := c.idle(ctx, r.applied); err != nil {
			return err
		}
	}
}

// settleWait is how long an applied change waits for the cut that shows it as such,
// before it is asked for.
const settleWait = 2 * time.Second

// idle waits until there may be something to push. Where changes were just applied,
// the cut that includes them comes by pullLoop; it is asked for where it does not.
func (c *Client) idle(ctx context.Context, applied bool) error {
	var settle <-chan time.Time
	if applied {
		timer := time.NewTimer(settleWait)
		defer timer.Stop()
		settle = timer.C
	}
	select {
	case <-settle:
		if unsettled, err := c.unsettled(ctx); err != nil || !unsettled {
			return err
		}
		if _, err := c.round(ctx, want{page: true}); fatal(ctx, err) {
			return err
		}
		return c.idle(ctx, false)
	case <-c.work:
	case <-c.wakePush:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// pullLoop waits for news and takes it in.
func (c *Client) pullLoop(ctx context.Context, first <-chan struct{}) error {
	select {
	case <-first:
	case <-ctx.Done():
		return ctx.Err()
	}
	var b backoff
	var p, before poll
	wait := time.Duration(0)
	for {
		held := p
		var r *round
		err := c.mend(ctx)
		if err == nil {
			r, err = c.round(ctx, want{page: true, wait: wait, poll: &p})
		}
		switch {
		case fatal(ctx, err):
			return err
		case errors.Is(err, errCut):
			before = held
		case err != nil:
			c.unheard.Store(true)
			if wait > 0 && before.wait > 0 {
				// The network had gone, then: that tells nothing of proxies.
				p = before
			}
			wait = 0
			if err := c.rest(ctx, &b, c.wakePull, err); err != nil {
				return err
			}
			if err := c.afterPush(ctx); err != nil {
				return err
			}
			continue
		case b.failures > 0:
			b.reset()
			signal(c.wakePush)
		}
		if err == nil {
			c.unheard.Store(false)
			before = poll{}
			c.mu.Lock()
			p.came(time.Now(), wait, r.news(), r.measured, c.pace.rtt)
			c.mu.Unlock()
			if r.got.More || r.got.Scopes || r.got.Dropped || r.got.Forked {
				wait = 0
				continue
			}
			if wait > 0 && !r.news() && r.measured.took < firstPause {
				// It did not wait and has no news: it is not asked in a tight circle.
				if err := pause(ctx, firstPause, c.wakePull); err != nil {
					return err
				}
			}
		}
		var rest time.Duration
		if wait, rest = p.next(time.Now(), chance{}); rest > 0 {
			if woken, err := pauseWoken(ctx, rest, c.wakePull); err != nil {
				return err
			} else if woken {
				// Another network, perhaps.
				p.fresh()
			}
		}
	}
}

// giveWay is how long pullLoop lets pushLoop go first.
const giveWay = 2 * time.Second

// afterPush returns when what waits to be sent has been tried, where it failed before:
// both loops are woken when the network is back, and on a slow link the second
// connection costs as much as an urgent change.
func (c *Client) afterPush(ctx context.Context) error {
	if c.unsent.Load() {
		if err := pause(ctx, giveWay, c.wakePull); err != nil {
			return err
		}
	}
	return c.pushed(ctx)
}

// unsettled reports whether there are changes at the server that are not in a cut that
// the device shows.
func (c *Client) unsettled(ctx context.Context) (is bool, err error) {
	err = c.store.read(ctx, "reading what is applied", func(rtx *sql.Tx) error {
		return rtx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM outbox WHERE state = 2 AND state IN (2, 4))`).Scan(&is)
	})
	return is, err
}

// news reports whether an answer brought anything.
func (r *round) news() bool { return r.got.Rows > 0 || r.got.Scopes || len(r.got.Outcomes) > 0 }

// rest pauses after a failure.
func (c *Client) rest(ctx context.Context, b *backoff, wake <-chan struct{}, err error) error {
	var hint time.Duration
	if contact, ok := errors.AsType[*ContactError](err); ok {
		hint = contact.RetryAfter
		if errors.Is(err, ErrRefused) || errors.Is(err, ErrRejected) {
			// Only a person can change that; there is no hurry.
			b.failures = max(b.failures, 9)
		}
	}
	d := b.pause(hint, chance{})
	c.mu.Lock()
	least := c.retries.spend(time.Now())
	c.mu.Unlock()
	if least > 0 {
		if err := pause(ctx, least, nil); err != nil {
			return err
		}
	}
	return pause(ctx, d-least, wake)
}

// pause waits for d, or to be woken.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	_, err := pauseWoken(ctx, d, wake)
	return err
}

// pauseWoken waits for d, or to be woken, and reports which it was.
func pauseWoken(ctx context.Context, d time.Duration, wake <-chan struct{}) (woken bool, err error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
		woken = true
	case <-ctx.Done():
		err = ctx.Err()
	}
	return woken, err
}

// fatal reports whether an error ends Run: the end of ctx, or the store's, other
// than that the disk is full.
func fatal(ctx context.Context, err error) bool {
	if err == nil {
		return false
	}
	_, contact := errors.AsType[*ContactError](err)
	return ctx.Err() != nil || !contact && !errors.Is(err, ErrDiskFull)
}

// chance is crypto/rand as a source of numbers.
type chance struct{}

// Uint64 implements rand.Source.
func (chance) Uint64() uint64 {
	var b [8]byte
	// It never fails (crypto/rand).
	_, _ = rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}
