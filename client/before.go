package client

import (
	"bytes"
	"context"
	"database/sql"
	"maps"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
)

// A store that was copied or set back has a new replica id, and in its sealed outbox the
// entries of the replica that it was. They leave it by the rule that holds for all: when
// two verified backups of the server hold the change. That cannot be told by the old
// number alone, under which the server may hold the other copy's change; so it is the
// change itself that is looked for, under each number that it has had here.

// place is a number that a change has had, of a replica.
type place struct {
	replica syncengine.ID
	op      uint64
}

// before returns the earlier replicas that have entries in the file.
func (s *sealedFile) before() []syncengine.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[syncengine.ID]bool{}
	for i := range s.entries {
		if e := &s.entries[i]; e.kind == seal.KindChange && !e.own {
			found[e.replica] = true
		}
	}
	return slices.SortedFunc(maps.Keys(found), syncengine.ID.Compare)
}

// issuedBefore says of the changes of earlier replicas of this store, by replica and op,
// under which numbers the server has them or is sent them: the present one, and earlier
// ones under which they became part of its state.
func (c *Client) issuedBefore(ctx context.Context, f *sealedFile) (map[syncengine.ID]map[uint64][]place, error) {
	if len(f.before()) == 0 {
		return nil, nil
	}
	out := map[syncengine.ID]map[uint64][]place{}
	err := c.store.read(ctx, "reading about the sealed outbox", func(rtx *sql.Tx) error {
		at, was := map[syncengine.ID][]place{}, map[place]syncengine.ID{}
		rows, err := rtx.QueryContext(ctx, `SELECT replica, op, change, state FROM retired`)
		if err != nil {
			return err
		}
		err = eachRow(rows, func(scan func(...any) error) error {
			var p place
			var change syncengine.ID
			var state syncengine.OpState
			err := scan((*idColumn)(&p.replica), &p.op, (*idColumn)(&change), &state)
			was[p] = change
			if state == syncengine.OpSettled {
				at[change] = append(at[change], p)
			}
			return err
		})
		if err != nil {
			return err
		}
		rows, err = rtx.QueryContext(ctx, `SELECT op, change FROM outbox WHERE change IN (SELECT change FROM retired)`)
		if err != nil {
			return err
		}
		err = eachRow(rows, func(scan func(...any) error) error {
			p := place{replica: f.me.replica}
			var change syncengine.ID
			err := scan(&p.op, (*idColumn)(&change))
			at[change] = append(at[change], p)
			return err
		})
		for p, change := range was {
			if out[p.replica] == nil {
				out[p.replica] = map[uint64][]place{}
			}
			out[p.replica][p.op] = at[change]
		}
		return err
	})
	return out, err
}

// safeBefore returns the ops of earlier replicas whose changes two verified backups hold.
func (c *Client) safeBefore(ctx context.Context, f *sealedFile) (map[syncengine.ID][]syncengine.OpRange, error) {
	issued, err := c.issuedBefore(ctx, f)
	if err != nil || len(f.before()) == 0 {
		return nil, err
	}
	backed, err := c.ranges(ctx, metaBackedBefore)
	if err != nil {
		return nil, err
	}
	delivered, err := c.delivered(ctx)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	backed[f.me.replica] = f.backed
	safe := map[syncengine.ID][]syncengine.OpRange{}
	for i := range f.entries {
		e := &f.entries[i]
		if e.kind != seal.KindChange || e.own {
			continue
		}
		places := issued[e.replica][e.number]
		if syncengine.HoldsOp(delivered[e.replica], e.number) {
			// The server has proved that entry by its hash.
			places = append(slices.Clone(places), place{e.replica, e.number})
		}
		if slices.ContainsFunc(places, func(p place) bool { return syncengine.HoldsOp(backed[p.replica], p.op) }) {
			safe[e.replica] = syncengine.AddOp(safe[e.replica], e.number)
		}
	}
	return safe, nil
}

// backedOf asks what two backups hold of some replicas.
func backedOf(replicas ...syncengine.ID) *tandemv1.DeliverRequest {
	req := &tandemv1.DeliverRequest{}
	for _, id := range replicas {
		req.BackedOf = append(req.BackedOf, bytes.Clone(id[:]))
	}
	return req
}

// clearBefore asks the server what two verified backups hold of earlier replicas of this
// store, where they have entries left and it may have more to say, and lets those go.
func (c *Client) clearBefore(ctx context.Context) error {
	f := c.sealed()
	if f == nil || !c.askBefore.Swap(false) {
		return nil
	}
	earlier := f.before()
	if len(earlier) == 0 {
		return nil
	}
	way, _, err := c.way()
	if err != nil {
		return err
	}
	answer, err := way.deliver(ctx, backedOf(earlier...))
	if err != nil {
		c.askBefore.Store(true)
		return err
	}
	known := map[syncengine.ID][]syncengine.OpRange{}
	for _, b := range answer.GetBacked() {
		if id, ok := syncengine.IDFromBytes(b.GetReplica()); ok && slices.Contains(earlier, id) {
			known[id] = rangesOf(b.GetOps())
		}
	}
	if err := c.setRanges(ctx, metaBackedBefore, known); err != nil {
		return err
	}
	if err := c.compact(ctx, f); err != nil {
		// It goes another time.
		c.log.Error().Err(err).Msg("sealed outbox not rewritten")
	}
	return nil
}
