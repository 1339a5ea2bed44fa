package client

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Errors of lookups.
var (
	// ErrNothing: there is no such record, or its person may not read it; the server does
	// not say which.
	ErrNothing = errors.New("nothing that you may read is there under that id")
	// ErrReason: a lookup needs a reason.
	ErrReason = errors.New("say why you look it up, in 3 to 500 letters: the server keeps it with your name")
	// ErrNoLookups: the server looks nothing up for this store now.
	ErrNoLookups = errors.New("the server answers no lookups of this store now: see tandem status for what is to be done first")
	// ErrLookAnew: rights have changed while the lookup was under way.
	ErrLookAnew = errors.New("what this device may hold has changed meanwhile: sync, then look it up again")
)

// Found is what a lookup found.
type Found struct {
	// Records, the one that was asked for first.
	Records []*View
	// More: there are more than one lookup shows.
	More bool
}

// Lookup asks the server for a record that this device does not hold, and with about for
// those about it: a person's, or a call's. It finds what the person may read now. The
// server keeps who looked, when and why. What it finds stays here for 24 hours, in no
// scope: it is read, not written.
func (c *Client) Lookup(ctx context.Context, id syncengine.ID, about bool, reason string) (*Found, error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	reason = strings.TrimSpace(reason)
	if n := utf8.RuneCountInString(reason); n < 3 || len(reason) > syncengine.MaxReason {
		return nil, ErrReason
	}
	if err := c.mend(ctx); err != nil {
		return nil, err
	}
	way, me, err := c.way()
	if err != nil {
		return nil, err
	}
	ask := &tandemv1.Lookup{Record: bytes.Clone(id[:]), About: about, Reason: reason}
	var plan *syncengine.Planned
	err = c.store.write(ctx, "planning a lookup", func(t *tx) (err error) {
		plan, err = c.device.Plan(t, syncengine.PlanOptions{WallMS: c.opts.Now().UnixMilli(), Lookup: ask})
		return err
	})
	if err != nil {
		return nil, err
	}
	r, began := &round{}, c.opts.Now()
	call, cancel := context.WithTimeout(ctx, slack+lookupTime)
	defer cancel()
	answer, met, err := way.exchange(call, plan.Request)
	r.up, r.down = met.up.Load(), met.down.Load()
	if err != nil {
		return nil, c.broke(ctx, plan, want{}, r, met, began, err)
	}
	r.measure(plan, answer, met)
	if err := c.receive(ctx, me, plan.Request, answer, r, began); err != nil {
		return nil, err
	}
	switch t := answer.GetTrailer(); {
	case r.got.Forked || t.GetUnconfirmed() || t.GetRecovering():
		return nil, ErrNoLookups
	case r.got.Dropped:
		return nil, ErrLookAnew
	case len(r.got.LookedUp) == 0:
		return nil, ErrNothing
	}
	found := &Found{More: r.got.LookedUpMore}
	for _, id := range r.got.LookedUp {
		v, err := c.lookedUp(ctx, id)
		if err != nil {
			return nil, err
		}
		found.Records = append(found.Records, v)
	}
	return found, nil
}

// lookupTime is what the largest find may take on the slowest link.
const lookupTime = 4 * time.Minute

// LookedUp returns what has been looked up within the last 24 hours, the newest first.
func (c *Client) LookedUp(ctx context.Context) ([]*View, error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	finds, err := c.finds(ctx, selectFinds, c.leased() != nil)
	if err == nil && len(finds) == 0 {
		err = c.leased()
	}
	if err != nil {
		return nil, err
	}
	return finds, c.noteReads(ctx, tandemv1.AuditAct_AUDIT_ACT_LISTED, finds...)
}

// ForgetLookups removes what has been looked up, before its time is over.
func (c *Client) ForgetLookups(ctx context.Context) (n int, err error) {
	err = c.store.write(ctx, "forgetting lookups", func(t *tx) error {
		finds, err := t.LookedUp()
		if err != nil {
			return err
		}
		n = len(finds)
		for _, l := range finds {
			if err := t.DropLookedUp(l.ID); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// lookedUp returns a record as it was looked up. ErrNotFound where it was not, or its
// time is over.
func (c *Client) lookedUp(ctx context.Context, id syncengine.ID) (*View, error) {
	finds, err := c.finds(ctx, selectFind, c.leased() != nil, id[:])
	if err != nil {
		return nil, err
	}
	if len(finds) == 0 {
		if err := c.leased(); err != nil {
			return nil, err
		}
		return nil, ErrNotFound
	}
	return finds[0], c.noteReads(ctx, tandemv1.AuditAct_AUDIT_ACT_READ, finds[0])
}

// Finds that may be shown: where the first argument is true, because charts are closed,
// only what an emergency has opened.
const (
	selectFinds = selectLookedUp + ` WHERE (until <> 0 OR NOT $1) ORDER BY at DESC, id`
	selectFind  = selectLookedUp + ` WHERE (until <> 0 OR NOT $1) AND id = $2`
)

// finds returns those that are not too old.
func (c *Client) finds(ctx context.Context, query string, args ...any) (finds []*View, err error) {
	now := c.aged()
	err = c.store.read(ctx, "reading what was looked up", func(rtx *sql.Tx) error {
		rows, err := rtx.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		return eachRow(rows, func(scan func(...any) error) error {
			l, err := scanLookedUp(scan)
			if err != nil || l.Expired(now) {
				return err
			}
			v, err := c.newView(&syncengine.DeviceRecord{Record: l.Record, HasBase: true})
			if err != nil {
				return err
			}
			v.LookedUpMS = l.AtMS
			finds = append(finds, v)
			return nil
		})
	})
	return finds, err
}

// aged is the server's time, as late as the device's clocks can tell: a clock that was
// set back while the device was off does not lengthen what ends by itself.
func (c *Client) aged() int64 {
	s, r := c.clock.now(), c.read()
	now, bound := s.at(r)
	if bound < 0 {
		now = max(r.wallMS, s.HighMS) + s.offset()
	}
	return now
}

// Expire purges what was looked up too long ago, and ends emergencies whose time is over.
// Open, Run and each page that comes do it too: it is for who keeps a device in step
// without Run. ErrDiskFull passes by itself.
func (c *Client) Expire(ctx context.Context) error {
	if _, err := c.identity(); err != nil {
		// Nobody can have looked anything up, and no server has told the time.
		return nil //nolint:nilerr // See above.
	}
	return c.store.write(ctx, "purging old lookups", c.expireIn)
}

func (c *Client) expireIn(t *tx) error {
	now := c.aged()
	if _, err := c.device.Expire(t, now); err != nil {
		return err
	}
	return t.endEmergencies(now)
}

// expireEvery is how often a running client looks for what is too old.
const expireEvery = 10 * time.Minute

// expireLoop purges, while Run runs, what was looked up too long ago.
func (c *Client) expireLoop(ctx context.Context) error {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := c.Expire(ctx); err != nil && !errors.Is(err, ErrDiskFull) {
			return err
		}
	}
}
