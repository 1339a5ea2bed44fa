package simtest

import (
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/faultfs"
	"github.com/tandem-response/tandem/syncengine"
)

// action is something that can happen in a step.
type action struct {
	name   string
	weight int
	// fault actions are missing from some worlds and frequent in others.
	fault bool
	do    func(w *World) error
}

// actions are everything that can happen. An action that does not apply does
// nothing.
var actions []action

func init() {
	actions = []action{
		{"save", 35, false, (*World).capture},
		{"ask", 32, false, (*World).ask},
		{"deliver", 85, false, (*World).deliver},
		{"lose", 5, true, (*World).lose},
		{"double", 4, true, (*World).double},
		{"give up", 5, true, (*World).giveUp},
		{"kill", 2, true, (*World).killOne},
		{"damage", 2, true, (*World).damage},
		{"server dies", 3, true, (*World).serverDies},
		{"transfer", 4, true, (*World).transfer},
		{"reassign", 4, true, (*World).reassign},
		{"image", 3, true, (*World).takeImage},
		{"roll back", 3, true, (*World).rollBack},
		{"delay", 3, true, (*World).delay},
		{"ask twice", 3, true, (*World).askTwice},
		{"read twice", 2, true, (*World).readTwice},
		{"put back", 1, true, (*World).putBackUnderWay},
		{"clock", 1, true, (*World).turnClock},
		{"attack", 4, true, (*World).attack},
		{"tamper", 2, true, (*World).tamper},
		{"poison", 1, true, (*World).poison},
		{"rename", 2, true, (*World).rename},
	}
}

// killOne ends a device's process.
func (w *World) killOne() error {
	if d := w.pick(); d != nil {
		w.event("%s is killed", d.name)
		w.kill(d)
	}
	return nil
}

// kill ends a device's process: what it had in flight reaches nobody.
func (w *World) kill(d *device) {
	d.life++
	d.out, d.ask = nil, true
}

// takeImage copies a device's disk.
func (w *World) takeImage() error {
	if d := w.pick(); d != nil {
		w.event("%s is backed up", d.name)
		d.image = d.picture()
	}
	return nil
}

// A picture is a copy of a device's disk, and of what its screens show.
type picture struct {
	store   *deviceStore
	cut     uint64
	oracle  *serverStore
	corrupt bool
	disk    *faultfs.Disk
}

func (d *device) picture() *picture {
	return &picture{d.store.image(), d.cut, d.oracle, d.corrupt, d.mirror.copy()}
}

// rollBack puts an old copy of a device's disk back: two histories under one
// replica id, unless nothing was written in between.
func (w *World) rollBack() error {
	copied := slices.DeleteFunc(slices.Clone(w.devices), func(d *device) bool { return d.image == nil })
	if len(copied) == 0 {
		return nil
	}
	return w.putBack(one(w, copied))
}

// putBack puts the copy of a device's disk in the place of what came after.
func (w *World) putBack(d *device) error {
	old := d.image
	d.image = nil
	w.event("%s is rolled back from op %d to op %d", d.name, d.store.state.NextOp, old.store.state.NextOp)
	w.seen("rolled back")
	if old.store.state.NextOp < d.store.state.NextOp {
		w.seen("rolled back over a save")
	}
	w.lost(d.store, old.store)
	d.store = old.store
	if err := d.mirror.putBack(d.store, old.disk); err != nil {
		return err
	}
	w.kill(d)
	d.replica = d.store.state.Replica
	d.key = w.keys[d.replica]
	d.cut, d.oracle, d.corrupt = old.cut, old.oracle, old.corrupt
	d.restored, d.seen = true, seen{}
	return w.check(d)
}

// putBackUnderWay puts a device's disk back to before a save whose push is on its
// way, and lets its user write something else.
func (w *World) putBackUnderWay() error {
	d := w.pick()
	if d == nil || len(d.out) > 0 {
		return nil
	}
	image, next := d.picture(), d.store.state.NextOp
	if err := w.captureOn(d); err != nil {
		return err
	}
	if d.store.state.NextOp == next {
		return nil
	}
	if err := w.send(d, syncengine.PlanOptions{WallMS: w.wall(d), PushBytes: 1 << 20}); err != nil {
		return err
	}
	w.hold(w.wire[len(w.wire)-1])
	d.image = image
	if err := w.putBack(d); err != nil {
		return err
	}
	for range 1 + w.rng.IntN(3) {
		if err := w.captureOn(d); err != nil {
			return err
		}
	}
	w.class = tandemv1.Class_CLASS_URGENT
	err := w.captureOn(d)
	w.class = 0
	if err != nil {
		return err
	}
	return w.send(d, syncengine.PlanOptions{WallMS: w.wall(d), PushBytes: 1})
}

// turnClock sets a device's clock, to anything.
func (w *World) turnClock() error {
	if d := w.pick(); d != nil {
		d.skewMS, d.frozen = (w.rng.Int64N(21)-10)*365*86_400_000, w.odds(4)
		w.event("%s's clock is wrong by %d", d.name, d.skewMS)
	}
	return nil
}
