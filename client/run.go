package client

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// Run keeps the device in step until ctx ends: it pushes when there is something to
// push and waits at the server for news, each without waiting for the other. After
// a failure it pauses, longer each time; a success in one direction ends the pause
// of the other. It returns ctx's error, or an error of the store; a disk that is full
// is one to wait out: what waits still goes up.
func (c *Client) Run(ctx context.Context) error {
	if _, _, err := c.way(); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	wg.Go(func() { stop(c.pushLoop(ctx)) })
	wg.Go(func() { stop(c.pullLoop(ctx)) })
	wg.Wait()
	return context.Cause(ctx)
}

// Wake ends the pauses of Run: the app knows that the network is back.
func (c *Client) Wake() {
	signal(c.wakePush)
	signal(c.wakePull)
}

// pushLoop sends what there is to send.
func (c *Client) pushLoop(ctx context.Context) error {
	var b backoff
	for {
		r, err := c.round(ctx, want{push: true})
		switch {
		case fatal(ctx, err):
			return err
		case err != nil || r.got.Forked:
			if err := rest(ctx, &b, c.wakePush, err); err != nil {
				return err
			}
			continue
		}
		if b.failures > 0 {
			b.reset()
			signal(c.wakePull)
		}
		if r.queued {
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
		s, err := c.Status(ctx)
		if err != nil || s.Applied == 0 {
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
func (c *Client) pullLoop(ctx context.Context) error {
	var b backoff
	wait := time.Duration(0)
	for {
		began := time.Now()
		r, err := c.round(ctx, want{page: true, wait: wait})
		switch {
		case fatal(ctx, err):
			return err
		case err != nil:
			wait = 0
			if err := rest(ctx, &b, c.wakePull, err); err != nil {
				return err
			}
			continue
		}
		if b.failures > 0 {
			b.reset()
			signal(c.wakePush)
		}
		if wait > 0 && r.got.Rows == 0 && time.Since(began) < firstPause {
			// It did not wait and has no news: it is not asked in a tight circle.
			if err := pause(ctx, firstPause, c.wakePull); err != nil {
				return err
			}
		}
		wait = pollWait
		if r.got.More || r.got.Scopes || r.got.Dropped {
			wait = 0
		}
	}
}

// rest pauses after a failure.
func rest(ctx context.Context, b *backoff, wake <-chan struct{}, err error) error {
	var hint time.Duration
	if contact, ok := errors.AsType[*ContactError](err); ok {
		hint = contact.RetryAfter
		if errors.Is(err, ErrRefused) || errors.Is(err, ErrRejected) {
			// Only a person can change that; there is no hurry.
			b.failures = max(b.failures, 9)
		}
	}
	return pause(ctx, b.pause(hint, chance{}), wake)
}

// pause waits for d, or to be woken.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
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
