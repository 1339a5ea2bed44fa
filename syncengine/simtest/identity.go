package simtest

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// identities is what a world knows of copies: of devices' stores and of the server.
type identities struct {
	// keys of every replica that ever was.
	keys map[syncengine.ID]*key
	// backup is a copy of the server's database; earlier are histories that it was set
	// back from.
	backup  *serverStore
	earlier []*serverStore
	// bodies are hashes of what devices captured.
	bodies map[syncengine.ID]syncengine.Hash
	// gone are changes of which a device's copy was destroyed.
	gone map[syncengine.ID]bool
	// poisoned are changes that nobody can read: the server has an id of its own for each.
	poisoned map[syncengine.ID]bool
	// unshown: the server was set back, and no device has shown that to it yet.
	unshown bool
}

// copies reports whether stores are copied, set back and damaged in this world: the
// product's stores that run beside others cannot follow there. Of those actions they
// see what comes of a device's disk that is put back: replicas of their own.
func (w *World) copies() bool { return w.Dir == "" }

func init() {
	actions = append(actions,
		action{"clone", 1, true, (*World).clone},
		action{"back up server", 2, true, (*World).backUp},
		action{"restore server", 1, true, (*World).restore},
		action{"confirm", 4, false, (*World).confirm},
		action{"corrupt", 3, true, (*World).corruptRow},
	)
	Rare = append(Rare, "cloned", "reinstanced", "adopted", "restored", "epoch minted", "new epoch", "offered again", "astray",
		"old position", "reconciled", "corrupted", "digest differs", "comparison dropped", "reinstanced over a save", "recovery confirmed")
}

func withOp(o *tandemv1.Outcome, op uint64, envelope []byte) *tandemv1.Outcome {
	o = proto.CloneOf(o)
	o.Op, o.Envelope = op, envelope
	return o
}

// clone copies a device with all that is on its disk: two go on as one replica.
func (w *World) clone() error {
	d := w.pick()
	if d == nil || len(w.devices) >= 8 || !w.copies() {
		return nil
	}
	twin := *d
	twin.name = fmt.Sprintf("d%d", len(w.devices))
	twin.store, twin.image, twin.out, twin.seen = d.store.image(), nil, nil, seen{}
	twin.ask, twin.restored, d.restored = true, true, true
	w.devices = append(w.devices, &twin)
	w.event("%s is a copy of %s at op %d", twin.name, d.name, d.store.state.NextOp)
	w.seen("cloned")
	return w.check(&twin)
}

// backUp copies the server's database.
func (w *World) backUp() error {
	if !w.copies() {
		return nil
	}
	w.backup = w.server.image()
	w.janitor.keep()
	w.event("the server is backed up at %d", w.backup.head.Seq)
	return nil
}

// restore puts the copy of the server's database back. Nobody tells the server.
func (w *World) restore() error {
	if w.backup == nil || w.odds(3) {
		return nil
	}
	return w.setBack()
}

func (w *World) setBack() error {
	w.event("the server is set back from %d to %d", w.server.head.Seq, w.backup.head.Seq)
	w.seen("restored")
	w.unshown = true
	w.earlier = append(w.earlier, w.server)
	w.server = w.backup.image()
	w.janitor.setBack()
	for key := range w.verdicts {
		c, err := w.server.ChangeByOp(key.replica, key.op)
		if err != nil {
			return err
		}
		if delete(w.verdicts, key); c != nil {
			w.verdicts[key] = c.Outcome
		}
	}
	if w.eve != nil {
		// She took what was at the server. What is not there again is not hers to know.
		w.eve.sent = nil
		w.wire = slices.DeleteFunc(w.wire, func(m *message) bool { return m.device == w.eve.device })
	}
	for node := range w.nodes {
		w.restart(node)
	}
	return nil
}

// everKnown reports whether a record was ever at the server.
func (w *World) everKnown(id syncengine.ID) bool {
	return w.server.records[id] != nil || slices.ContainsFunc(w.earlier, func(s *serverStore) bool { return s.records[id] != nil })
}

// wasLost reports whether the server once held a change that it then lost: what came
// after it may have overtaken it, before its device could know.
func (w *World) wasLost(id syncengine.ID) bool {
	return slices.ContainsFunc(w.earlier, func(s *serverStore) bool { return s.changes[id] != nil })
}

// undetected reports whether a verdict may be that of a history that was lost, on a
// copy of a device whose other life has since been given another one. A copy that
// writes nothing is not detected, and while nobody has shown the loss there is no
// epoch to tell the two verdicts apart. So too of a decision about what is set aside,
// which a device may hear of without coming further in the history.
func (w *World) undetected(d *device, op *syncengine.Op) bool {
	return d.restored && w.wasLost(op.Change) || w.unshown && setAside(op) && w.hasEnded(op)
}

// hasEnded reports whether an own change ended so in a history that was lost.
func (w *World) hasEnded(op *syncengine.Op) bool {
	return slices.ContainsFunc(w.earlier, func(s *serverStore) bool {
		c := s.changes[op.Change]
		return c != nil && ended(op, c.Outcome)
	})
}

// lost notes the changes that are in a store and not in the one that takes its place.
func (w *World) lost(store, in *deviceStore) {
	kept := in.copies()
	for id := range store.copies() {
		if !kept[id] {
			w.gone[id] = true
		}
	}
}

// copies are the changes of which a store has the bytes.
func (d *deviceStore) copies() map[syncengine.ID]bool {
	out := map[syncengine.ID]bool{}
	for _, op := range d.ops {
		if op.Raw != nil && op.State != syncengine.OpDamaged {
			out[op.Change] = true
		}
	}
	for _, r := range d.retired {
		if r.Raw != nil && r.State != syncengine.OpDamaged {
			out[r.Change] = true
		}
	}
	return out
}

// destroyed reports whether no device has the bytes of a change any more, because of
// what was done to devices.
func (w *World) destroyed(id syncengine.ID) bool {
	gone := w.gone[id]
	for _, d := range w.devices {
		gone = gone || d.store.forgot[id]
		if d.store.copies()[id] {
			return false
		}
	}
	return gone
}

// adopt is the server that meets a replica which it does not know.
func (w *World) adopt(m *message, req *tandemv1.SyncRequest) error {
	if w.server.replicas[m.call.replica] != nil {
		return nil
	}
	w.event("the server does not know %s", m.device.name)
	w.seen("adopted")
	claimed, _ := syncengine.IDFromBytes(req.GetEpoch())
	return w.epoch(func(tx syncengine.ServerTx) (bool, error) {
		epoch, err := w.engine.Secrets.NewEpoch(w)
		if err != nil {
			return false, err
		}
		return w.engine.Adopt(tx, &syncengine.Replica{
			ID: m.call.replica, Person: m.device.person.id, Device: m.device.id, Key: m.call.key.public(),
		}, claimed, epoch)
	})
}

// mint is the server that sees by a request that it was set back.
func (w *World) mint(replica syncengine.ID, req *tandemv1.SyncRequest) error {
	return w.epoch(func(tx syncengine.ServerTx) (bool, error) {
		epoch, err := w.engine.Secrets.NewEpoch(w)
		if err != nil {
			return false, err
		}
		return w.engine.Mint(tx, replica, req, epoch)
	})
}

func (w *World) epoch(begin func(tx syncengine.ServerTx) (bool, error)) error {
	minted := false
	err := w.write(0, true, func(tx syncengine.ServerTx) (err error) {
		minted, err = begin(tx)
		return err
	})
	if err == nil && minted {
		if len(w.earlier) == 0 {
			return &ViolationError{"I15", "a new epoch begins although nothing was lost"}
		}
		w.event("a new epoch begins at %d", w.server.head.Seq)
		w.seen("epoch minted")
		w.unshown = false
	}
	return err
}

// confirm is an admin who confirms what waits for that, but for what is revoked.
func (w *World) confirm() error {
	if !w.server.head.Recovering && !slices.ContainsFunc(w.devices, func(d *device) bool {
		r := w.server.replicas[d.replica]
		return r != nil && r.Unconfirmed && !r.Revoked
	}) {
		return nil
	}
	for _, m := range w.wire {
		m.woken = true
	}
	return w.write(0, true, func(tx syncengine.ServerTx) error {
		if w.server.head.Recovering && (w.calm || w.odds(2)) {
			w.event("the recovery is confirmed")
			w.seen("recovery confirmed")
			head := w.server.head
			head.Recovering = false
			return w.server.confirmHead(head)
		}
		for _, d := range w.devices {
			if r := w.server.replicas[d.replica]; r != nil && r.Unconfirmed && !r.Revoked && (w.calm || w.odds(2)) {
				w.event("%s is confirmed", d.name)
				now := *r
				now.Unconfirmed = false
				if err := tx.SaveReplica(&now); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// confirmHead stores the head without a commit.
func (s *serverStore) confirmHead(h syncengine.HistoryHead) error {
	old := s.head
	s.head = h
	s.undo = append(s.undo, func() { s.head = old })
	return s.call()
}

// corruptRow damages a row of a device: its bytes, as a failing disk does, and
// somebody has the store verified; or its whole entry, as a fault of ours would.
func (w *World) corruptRow() error {
	d := w.pick()
	if d == nil || len(d.store.records) == 0 || d.corrupt || !w.copies() {
		return nil
	}
	id := one(w, d.store.sorted())
	r := *d.store.records[id]
	older := d.oracle.versions[id]
	if r.Pending > 0 || len(older) == 0 {
		return nil
	}
	// A page of the file as it was earlier, or an entry that was never right.
	state, disk := one(w, older), w.odds(2)
	if disk && state.Hash == r.BaseHash {
		return nil
	}
	r.Body, r.Stamps = state.Body, state.Stamps
	if !disk {
		term, wrong := syncengine.Term(id, r.BaseHash), syncengine.RowHash(w.rng.Uint64())
		scopes := slices.Clone(d.store.scopes)
		for i := range scopes {
			if r.Scopes&(1<<scopes[i].Bit) != 0 {
				scopes[i].Sum = scopes[i].Sum.Sub(term).Add(syncengine.Term(id, wrong))
			}
		}
		d.store.scopes, r.BaseHash = scopes, wrong
	}
	d.store.records[id] = &r
	d.corrupt = true
	w.event("a row of %s is damaged: %s, by the disk %v", d.name, id, disk)
	w.seen("corrupted")
	if !disk {
		return nil
	}
	return d.transact(0, true, w.client.Repair)
}

// settleIdentity does at quiet what people do: they confirm, and verify.
func (w *World) settleIdentity(d *device) error {
	if err := w.confirm(); err != nil {
		return err
	}
	if !d.corrupt || d.store.state.Repair.Stage != syncengine.RepairNone {
		return nil
	}
	err := d.transact(0, true, w.client.Repair)
	// Where nothing is shown yet, everything is read from the start.
	d.corrupt = d.store.state.Repair.Stage != syncengine.RepairNone
	return err
}

// mend does what comes before a sync: a new replica for a forked store, and the next
// step of a reconciliation. It reports whether that takes the sync's place.
func (w *World) mend(d *device) (bool, error) {
	if d.store.state.Forked {
		return true, w.reinstance(d)
	}
	if err := w.rescue(d); err != nil {
		return false, err
	}
	if d.refused {
		// The answer to a sync says why.
		d.refused = false
		return false, nil
	}
	var req *tandemv1.ReconcileRequest
	err := d.transact(0, true, func(tx syncengine.DeviceTx) (err error) {
		req, err = w.client.PlanReconcile(tx, one(w, w.habits.pageBytes))
		return err
	})
	if err != nil || req == nil {
		return false, err
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		return false, err
	}
	c := &call{life: d.life, replica: d.replica, key: d.key, compare: req}
	d.out = append(d.out, c)
	m := &message{device: d, call: c, stage: asked, bytes: raw}
	w.wire = append(w.wire, m)
	w.event("%s compares from bucket %d on, %d scopes", d.name, req.GetFirst(), len(req.GetScopes()))
	for w.calm && len(w.wire) > 0 {
		if err := w.move(w.take(0)); err != nil {
			return true, err
		}
	}
	return true, nil
}

// reinstance gives a forked store a replica of its own.
func (w *World) reinstance(d *device) error {
	key := newKey(w.bytes(ed25519.SeedSize), w.habits.realKeys)
	id, revoked := w.newID(), w.revoked(d.replica)
	w.keys[id] = key
	err := w.write(0, true, func(tx syncengine.ServerTx) error {
		return tx.SaveReplica(&syncengine.Replica{
			ID: id, Person: d.person.id, Device: d.id, Key: key.public(), Revoked: revoked, Unconfirmed: true, Replaces: d.replica,
		})
	})
	if err != nil {
		return err
	}
	unsent := false
	d.store.each(1, func(op *syncengine.Op) { unsent = unsent || op.State == syncengine.OpQueued })
	fail, stay := w.mishap(), !w.fault(10)
	err = d.transact(fail, stay, func(tx syncengine.DeviceTx) error { return w.client.Reinstance(tx, id) })
	w.event("%s was %s and is now %s: %v %v", d.name, d.replica, id, err, stay)
	w.kill(d)
	if errors.Is(err, errStorage) || !stay {
		return w.check(d)
	}
	if err != nil {
		return err
	}
	d.replica, d.key, d.restored = id, key, false
	w.seen("reinstanced")
	if unsent {
		w.seen("reinstanced over a save")
	}
	return w.check(d)
}

// moveComparison moves a comparison on its way.
func (w *World) moveComparison(m *message) error {
	if m.stage == answered {
		return w.deliverComparison(m)
	}
	req := &tandemv1.ReconcileRequest{}
	if err := proto.Unmarshal(m.bytes, req); err != nil {
		return err
	}
	var ans *tandemv1.ReconcileAnswer
	count, wrote := 0, false
	err := w.read(func(view syncengine.ServerView) (err error) {
		ans, count, err = w.engine.Reconcile(view, m.call.replica, req, w.nowMS)
		wrote = len(w.server.undo) > 0
		return err
	})
	if wrote {
		return &ViolationError{"storage", "a comparison wrote"}
	}
	if errors.Is(err, syncengine.ErrUnknownReplica) {
		return nil
	}
	if errors.Is(err, syncengine.ErrReverted) {
		proof := &tandemv1.SyncRequest{Epoch: req.GetEpoch(), Positions: []*tandemv1.ScopePosition{{Position: req.GetPosition()}}}
		if err := w.mint(m.call.replica, proof); err != nil {
			return err
		}
		return w.moveComparison(m)
	}
	if err != nil {
		return fmt.Errorf("comparing with %s: %w", m.device.name, err)
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(ans)
	if err != nil {
		return err
	}
	resp, err := proto.MarshalOptions{Deterministic: true}.Marshal(syncengine.FrameReconcile(raw, count))
	if err != nil {
		return err
	}
	if err := w.reveals(m, ans); err != nil {
		return err
	}
	w.report.Syncs++
	w.event("the server compares with %s: %d scopes differ, until %d", m.device.name, len(ans.GetScopes()), ans.GetUntil())
	m.stage, m.bytes, m.from = answered, resp, w.server
	w.wire = append(w.wire, m)
	return nil
}

// reveals checks that a comparison names no record that its reader may not have.
func (w *World) reveals(m *message, ans *tandemv1.ReconcileAnswer) error {
	grants, err := w.grants(m.device, m.call.replica)
	if err != nil {
		return err
	}
	if w.revoked(m.call.replica) && len(ans.GetScopes())+len(ans.GetScopeSet().GetScopes()) > 0 {
		return &ViolationError{"I22", "a comparison with " + m.device.name + ", which is revoked, names records or scopes"}
	}
	for _, s := range ans.GetScopes() {
		for rows := s.GetRows(); len(rows) >= 24; rows = rows[24:] {
			rec := w.server.records[syncengine.ID(rows[:16])]
			if rec == nil || !reaches(grants, rec.Scopes) {
				return &ViolationError{"I5", "a comparison names a record to " + m.device.name + " that is in none of its scopes"}
			}
		}
	}
	return nil
}

// deliverComparison is a device that takes a comparison in, or dies over it.
func (w *World) deliverComparison(m *message) error {
	d, c := m.device, m.call
	resp := &tandemv1.ReconcileResponse{}
	var ans *tandemv1.ReconcileAnswer
	if proto.Unmarshal(m.bytes, resp) == nil {
		ans, _ = syncengine.UnframeReconcile(resp)
	}
	if c.life != d.life || c.replica != d.replica {
		return nil
	}
	d.out = slices.DeleteFunc(d.out, func(o *call) bool { return o == c })
	if ans == nil {
		return nil
	}
	fail, stay := w.mishap(), !w.fault(25)
	var got *syncengine.Received
	err := d.transact(fail, stay, func(tx syncengine.DeviceTx) (err error) {
		got, err = w.client.ReceiveReconcile(tx, c.compare, ans)
		return err
	})
	switch {
	case errors.Is(err, errStorage):
		return w.check(d)
	case err != nil:
		return fmt.Errorf("%s receives a comparison: %w", d.name, err)
	case !stay:
		w.kill(d)
		return w.check(d)
	}
	if d.refused = got.Dropped; got.Dropped {
		w.seen("comparison dropped")
	}
	w.event("%s wants %d rows, stage %d", d.name, len(d.store.state.Want), d.store.state.Repair.Stage)
	return w.check(d)
}
