package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/tandem-response/tandem/client"
)

// turns lets all devices find the network with a bounded number of their stores open: a
// device has its store open while it syncs, and closed while it waits for the time that a
// server told it, or for its team. That is how a device is used whose app is opened to
// sync; the time that it waits for its turn here counts as the server's.
func (g *grazing) turns(ctx context.Context) {
	began := time.Now()
	open := make(chan struct{}, g.open)
	for i := range g.count {
		g.drains.Add(1)
		g.sees.Go(func() {
			drained := false
			done := func() {
				if !drained {
					drained = true
					g.drains.Done()
				}
			}
			defer done()
			for {
				open <- struct{}{}
				v, err := g.visit(ctx, i)
				<-open
				if err != nil {
					g.note(fmt.Errorf("device %d: %w", g.first+i, err))
					return
				}
				if v.drained && !drained {
					fmt.Fprintln(os.Stdout, "drained", time.Since(began).Milliseconds())
					done()
				}
				if v.sees {
					return
				}
				select {
				case <-time.After(v.wait):
				case <-ctx.Done():
					return
				}
			}
		})
	}
}

// visit is how a device stands after a sync.
type visit struct {
	// drained: all that it had is sent and in a cut of its own; sees: so is its team's.
	drained, sees bool
	// wait is how long it stays away.
	wait time.Duration
}

// Pauses of devices that take turns: after a sync that a server did not put off, and after
// one that had no answer.
const turnPause, turnBroken = 10 * time.Second, time.Second

// visit opens a device, syncs it once and closes it.
func (g *grazing) visit(ctx context.Context, i int) (v visit, err error) {
	dev, err := g.store(ctx, i, nil)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	v.wait = turnPause
	if _, err := dev.Sync(ctx); err != nil {
		contact, ok := errors.AsType[*client.ContactError](err)
		if !ok || !errors.Is(err, client.ErrBusy) && !errors.Is(err, client.ErrNetwork) {
			return v, err
		}
		if v.wait = contact.RetryAfter; v.wait == 0 {
			v.wait = turnBroken
		}
	}
	// As the app does, so that devices which were told the same time do not come together.
	v.wait += rand.N(v.wait / 8)
	s, err := dev.Status(ctx)
	if err != nil {
		return v, err
	}
	if s.NotAccepted > 0 {
		return v, fmt.Errorf("%d saves were not accepted", s.NotAccepted)
	}
	counts, err := dev.Counts(ctx)
	v.drained = s.Queued == 0 && s.Applied == 0
	v.sees = v.drained && counts["incident"] == g.team(i)*g.change
	return v, err
}
