package client

import (
	"context"
	"errors"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Bulk captures many saves in one transaction: all of them are stored when it
// returns nil, none otherwise. Each is a change of its own, of class bulk unless it
// says otherwise. Until it returns, other saves wait and reads show none of it.
// Cancelling ctx ends it with nothing stored.
func (c *Client) Bulk(ctx context.Context, fn func(*Bulk) error) (saved int, err error) {
	if _, err := c.identity(); err != nil {
		return 0, err
	}
	var made *captured
	err = c.store.write(ctx, "saving in bulk", func(t *tx) error {
		rights, err := c.rights(t)
		if err != nil {
			return err
		}
		b := &Bulk{c: c, t: t, ctx: ctx, rights: rights}
		if err := fn(b); err != nil {
			return err
		}
		if b.broken != nil {
			return b.broken
		}
		saved, made = b.saved, &t.captured
		return ctx.Err()
	})
	if err != nil {
		return 0, err
	}
	c.seal(ctx, made)
	c.log.Info().Int("changes", saved).Msg("saved in bulk")
	signal(c.work)
	return saved, nil
}

// Bulk is a transaction of many saves. Not safe for concurrent use.
type Bulk struct {
	c      *Client
	t      *tx
	ctx    context.Context //nolint:containedctx // It lives within one call of Client.Bulk.
	rights *syncengine.Principal
	saved  int
	// broken: the transaction cannot be used any more.
	broken error
}

// Edit captures one save. An *InvalidError leaves nothing of that save behind and
// the transaction usable, so that a row can be reported and the next one tried; any
// other error ends the transaction.
func (b *Bulk) Edit(fn func(*Edit) error) (*Saved, error) {
	if err := errors.Join(b.broken, b.ctx.Err()); err != nil {
		return nil, err
	}
	e := b.c.newEdit()
	e.Class(tandemv1.Class_CLASS_BULK)
	if err := fn(e); err != nil {
		return nil, err
	}
	if e.empty() {
		return &Saved{}, nil
	}
	saved, err := b.c.capture(b.t, e, b.rights)
	if err != nil {
		if _, ok := errors.AsType[*InvalidError](err); !ok {
			b.broken = err
		}
		return nil, err
	}
	b.saved++
	return saved, nil
}

// Exists reports whether the device holds a record, shown or not, this
// transaction's own included.
func (b *Bulk) Exists(id syncengine.ID) (bool, error) {
	r, err := b.t.Record(id)
	return r != nil, err
}
