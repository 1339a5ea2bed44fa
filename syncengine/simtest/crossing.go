package simtest

import (
	"slices"

	"github.com/tandem-response/tandem/syncengine"
)

func init() {
	actions = append(actions,
		action{"crossing", 2, false, (*World).crossing},
		action{"lose a decision", 1, true, (*World).loseDecision},
	)
	Rare = append(Rare, "released while an answer was under way", "decision lost")
}

// crossing is a release that happens while an answer from before it is under way, and
// whose verdict overtakes that answer: the answer's snapshot does not include it.
func (w *World) crossing() error {
	d := w.pick()
	if d == nil {
		return nil
	}
	if r := w.server.replicas[d.replica]; r == nil || r.Revoked || r.Forked {
		return nil
	}
	ops := d.quarantinedOps()
	if len(ops) == 0 {
		return nil
	}
	calm := w.calm
	w.calm = true
	defer func() { w.calm = calm }()
	old, err := w.answered(d, 1<<20)
	if err != nil {
		return err
	}
	for _, op := range ops {
		done, err := w.tryRelease(w.office.people[3], op.Change)
		if err != nil {
			return err
		}
		if done {
			w.event("%s is released while an answer to %s is under way", op.Change, d.name)
			w.seen("released while an answer was under way")
			break
		}
	}
	verdict, err := w.answered(d, 0)
	if err != nil {
		return err
	}
	if err := w.move(verdict); err != nil {
		return err
	}
	return w.move(old)
}

// loseDecision is a decision that the server loses when it has told it, with no cut.
func (w *World) loseDecision() error {
	lying := w.server.lyingIDs()
	if len(lying) == 0 || !w.copies() {
		return nil
	}
	id := one(w, lying)
	replica := w.server.changes[id].Replica
	i := slices.IndexFunc(w.devices, func(d *device) bool { return d.replica == replica })
	if r := w.server.replicas[replica]; i < 0 || r == nil || r.Revoked || r.Forked {
		return nil
	}
	d, calm := w.devices[i], w.calm
	w.calm = true
	defer func() { w.calm = calm }()
	if err := w.backUp(); err != nil {
		return err
	}
	acts := len(w.server.acts)
	if err := w.decideOn(w.office.people[3], id, 3+w.rng.IntN(3), 0, true); err != nil || len(w.server.acts) == acts {
		return err
	}
	verdict, err := w.answered(d, 0)
	if err != nil {
		return err
	}
	if err := w.setBack(); err != nil {
		return err
	}
	w.seen("decision lost")
	return w.move(verdict)
}

// answered sends a request that pushes nothing, and returns its answer.
func (w *World) answered(d *device, pageBytes uint32) (*message, error) {
	if err := w.send(d, syncengine.PlanOptions{WallMS: w.wall(d), PageBytes: pageBytes}); err != nil {
		return nil, err
	}
	m := w.take(len(w.wire) - 1)
	for m.stage != answered {
		if err := w.move(m); err != nil {
			return nil, err
		}
		w.wire = slices.DeleteFunc(w.wire, func(o *message) bool { return o == m })
	}
	return m, nil
}

// tryRelease reports whether somebody could release a change.
func (w *World) tryRelease(who *person, id syncengine.ID) (bool, error) {
	var done *syncengine.Committed
	acts := len(w.server.acts)
	err := w.write(0, true, func(tx syncengine.ServerTx) error {
		p, err := w.engine.Principal(tx, &syncengine.Replica{Person: who.id})
		if err != nil {
			return err
		}
		b, err := w.engine.Begin(tx, w.nowMS)
		if err != nil {
			return err
		}
		if _, err = b.Release(p, id); err != nil {
			return err
		}
		done, err = b.Commit()
		return err
	})
	if err != nil {
		return false, nil //nolint:nilerr // It is not one that can be released.
	}
	w.committed(done)
	return true, w.decided(who, w.server.acts[acts:])
}
