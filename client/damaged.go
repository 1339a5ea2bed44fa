package client

import (
	"context"
	"database/sql"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
)

// planWhole plans a request of whole changes. A change whose bytes are not those that
// were saved is set aside: it is not sent, and stops nothing. Where one is found, nothing
// is pushed by this request: its sealed copy goes first, since others may build on it.
func (c *Client) planWhole(t *tx, o syncengine.PlanOptions) (*syncengine.Planned, error) {
	for {
		plan, err := c.device.Plan(t, o)
		if err != nil {
			return nil, err
		}
		damaged, err := c.device.Damaged(t, plan)
		if err != nil || len(damaged) == 0 {
			return plan, err
		}
		if err := c.device.SetAside(t, damaged); err != nil {
			return nil, err
		}
		c.log.Error().Uints64("ops", damaged).Msg("saves are damaged on the disk: they are set aside")
		if err := t.addEvent(&Event{AtMS: o.WallMS, Note: "the disk has damaged saves that waited to be sent: they are kept apart, and their sealed copies are sent in their place"}); err != nil {
			return nil, err
		}
		c.spoiled.Store(true)
		o.PushBytes = 0
	}
}

// rescue delivers the sealed copies of damaged saves, once after something was found.
// The server judges them as if they had been sent.
func (c *Client) rescue(ctx context.Context) error {
	f := c.sealed()
	if f == nil || !c.spoiled.Swap(false) {
		return nil
	}
	lacking, waits := map[uint64]bool{}, false
	replica := syncengine.ID{}
	err := c.store.write(ctx, "reading the outbox", func(t *tx) error {
		st, err := t.State()
		if err != nil {
			return err
		}
		numbers, early, err := c.device.Lacking(t)
		for _, n := range numbers {
			lacking[n] = true
		}
		replica, waits = st.Replica, early
		return err
	})
	if waits {
		// What they need is sent first.
		c.spoiled.Store(true)
	}
	if err != nil || len(lacking) == 0 || f.me.replica != replica {
		return err
	}
	var outcomes []*tandemv1.Outcome
	var toldAt [][]byte
	_, err = c.deliver(ctx, f.path, func(h *seal.Header) bool {
		return h.Kind == seal.KindChange && h.Org == f.me.org && h.Replica == replica && lacking[h.Number]
	}, func(d *tandemv1.Delivered, at []byte) {
		if o := d.GetOutcome(); o != nil && syncengine.ID(d.GetReplica()) == replica {
			outcomes, toldAt = append(outcomes, o), append(toldAt, at)
		}
	})
	if err != nil {
		c.spoiled.Store(true)
		return err
	}
	return c.store.write(context.WithoutCancel(ctx), "taking in verdicts", func(t *tx) error {
		st, err := t.State()
		if err != nil || st.Replica != replica {
			return err
		}
		return c.device.Told(t, outcomes, toldAt...)
	})
}

// Damaged returns the own saves whose bytes the disk has damaged, oldest first. What can
// still be read of one is in its values; nothing of it is shown elsewhere, since it is not
// what was typed.
func (c *Client) Damaged(ctx context.Context) (out []NotAccepted, err error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	err = c.store.read(ctx, "reading what is damaged", func(rtx *sql.Tx) error {
		out, err = c.notAccepted(ctx, rtx, `o.state = 8`)
		return err
	})
	f := c.sealed()
	for i := range out {
		n := &out[i]
		switch {
		case n.Verdict == tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED:
			n.Words = "the disk damaged it; the server has it whole and could not apply it: " + n.Words
		case n.Verdict != tandemv1.OutcomeCode_OUTCOME_CODE_UNSPECIFIED:
			n.Words = "the disk damaged it; the server has it whole, and it comes back with the next sync"
		case f != nil && f.has(n.Op):
			n.Words = "the disk damaged it; its sealed copy is sent in its place with the next sync"
		default:
			n.Words = "the disk damaged it, and there is no sealed copy of it: look at what can still be read, enter it again, and tell your administrator"
		}
	}
	return out, err
}
