package simtest

import (
	"errors"
	"fmt"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

func init() {
	actions = append(actions, []action{
		{"decide", 5, false, (*World).decideOne},
		{"fix", 3, false, (*World).fix},
		{"withdraw", 1, false, (*World).withdraw},
		{"revoke", 1, true, (*World).revoke},
	}...)
	Rare = append(Rare, "released", "released in a bundle", "release refused", "dismissed", "replaced by a lead", "fixed", "withdrawn", "retried", "revoked", "quarantined REFUSAL_REVOKED", "sent to a revoked device", "revoked before it was confirmed")
}

// grantOf is the hash of the scopes that a device holds, as its changes name it.
func grantOf(d *device) []byte {
	if len(d.store.scopes) == 0 {
		return nil
	}
	ids := make([]syncengine.ScopeID, 0, len(d.store.scopes))
	for _, s := range d.store.scopes {
		ids = append(ids, s.ID)
	}
	return syncengine.HashScopeSet(ids)[:8]
}

// decideOne is a lead, or somebody who is none, who decides on something in quarantine.
func (w *World) decideOne() error {
	lying := w.server.lyingIDs()
	if len(lying) == 0 {
		return nil
	}
	id := one(w, lying)
	who := w.office.people[3]
	if w.odds(4) {
		who = one(w, w.office.people)
	}
	what := w.rng.IntN(6)
	fail, stay := w.mishap(), !w.fault(20)
	return w.decideOn(who, id, what, fail, stay)
}

// decideOn is a person's decision: a release below 4, 4 a dismissal, 5 a lead's own
// change in its place.
func (w *World) decideOn(who *person, id syncengine.ID, what, fail int, stay bool) error {
	acts := len(w.server.acts)
	var out *tandemv1.Outcome
	var done *syncengine.Committed
	err := w.write(fail, stay, func(tx syncengine.ServerTx) error {
		p, err := w.engine.Principal(tx, &syncengine.Replica{Person: who.id})
		if err != nil {
			return err
		}
		b, err := w.engine.Begin(tx, w.nowMS)
		if err != nil {
			return err
		}
		switch {
		case what < 4:
			out, err = b.Release(p, id)
		case what == 4:
			out, err = b.Dismiss(p, id, "made by mistake")
		default:
			out, err = b.Replace(p, w.leadsOwn(who, w.server.changes[id]))
		}
		if err != nil {
			return err
		}
		done, err = b.Commit()
		return err
	})
	_, refused := errors.AsType[*syncengine.RefusalError](err)
	switch {
	case errors.Is(err, errStorage), err == nil && !stay:
		w.event("the server died over a decision")
		return nil
	case errors.Is(err, syncengine.ErrNoItem):
		w.event("%s may not decide on %s", who.name, id)
		return w.hidden(who, id)
	case refused:
		w.event("%s cannot decide so on %s: %v", who.name, id, err)
		w.seen("release refused")
		return nil
	case err != nil:
		return fmt.Errorf("a decision: %w", err)
	}
	w.committed(done)
	w.event("%s decides on %s: %v, %d acts", who.name, id, out.GetCode(), len(w.server.acts)-acts)
	return w.decided(who, w.server.acts[acts:])
}

// leadsOwn is a lead's change in place of another's.
func (w *World) leadsOwn(who *person, c *syncengine.StoredChange) []byte {
	next := syncengine.Supersede(w.decoded.of(c.BodyHash, c.Body))
	id := w.newID()
	next.Id, next.Author, next.Schema = id[:], who.id[:], syncengine.Schema
	next.Replaces = slices.Clone(c.ID[:])
	next.Time = &tandemv1.ChangeTime{WallMs: w.nowMS}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(next)
	if err != nil {
		panic(err)
	}
	return raw
}

// decided is I23 for what was let out of quarantine: its author once held the grant it
// was written under, that gave the right to each act and reached each record at some
// time, and whoever let it out leads, and reaches each record where it is.
func (w *World) decided(who *person, acts []syncengine.QuarantineAct) error {
	for i, a := range acts {
		switch a.Kind {
		case syncengine.ActDismissed:
			w.seen("dismissed")
			continue
		case syncengine.ActReplaced:
			w.seen("replaced by a lead")
			continue
		case syncengine.ActReleased:
		default:
			continue
		}
		w.seen("released")
		if i > 0 {
			w.seen("released in a bundle")
		}
		c := w.server.changes[a.Change]
		change := w.decoded.of(c.BodyHash, c.Body)
		r := w.server.replicas[c.Replica]
		entitled := slices.ContainsFunc(w.held[c.Author], func(p *syncengine.Principal) bool {
			return w.wasEntitled(p, change)
		})
		if r == nil || r.Person != c.Author || !entitled {
			return &ViolationError{"I23", fmt.Sprintf("%s released %s, which its author never had the right to", who.name, c.ID)}
		}
		p, err := w.engine.Principal(w.server, &syncengine.Replica{Person: who.id})
		if err != nil {
			return err
		}
		grants := w.rules.Grants(w.office.org, p)
		for _, wr := range change.GetRecords() {
			rec := w.server.stateAt(syncengine.ID(wr.GetRecord()), a.Seq)
			if rec == nil || !anyScope(rec.Scopes, grants) || !slices.Contains(p.Roles, "lead") {
				return &ViolationError{"I23", fmt.Sprintf("%s released %s beyond their reach", who.name, c.ID)}
			}
		}
	}
	return nil
}

func anyScope(a, b []syncengine.ScopeKey) bool {
	return slices.ContainsFunc(a, func(k syncengine.ScopeKey) bool { return slices.Contains(b, k) })
}

// wasEntitled reports whether a change was within what somebody once held.
func (w *World) wasEntitled(p *syncengine.Principal, change *tandemv1.Change) bool {
	grants := w.rules.Grants(w.office.org, p)
	ids := make([]syncengine.ScopeID, 0, len(grants))
	for _, k := range grants {
		ids = append(ids, w.engine.Secrets.ScopeID(k))
	}
	if g := change.GetGrant(); len(g) > 0 && string(g) != string(syncengine.HashScopeSet(ids)[:8]) {
		return false
	}
	for _, wr := range change.GetRecords() {
		reached := slices.ContainsFunc(w.server.versions[syncengine.ID(wr.GetRecord())], func(r *syncengine.StoredRecord) bool {
			return anyScope(r.Scopes, grants)
		})
		if !reached || !w.rules.Allowed(p, wr) {
			return false
		}
	}
	return true
}

// hidden checks that who may not decide on a change is not shown what it says.
func (w *World) hidden(who *person, id syncengine.ID) error {
	items, err := w.itemsOf(who)
	for _, item := range items {
		if item.Change.ID == id && (item.Whole || item.Change.Body != nil || item.Decoded != nil) {
			return &ViolationError{"I5", fmt.Sprintf("%s sees %s and may not decide on it", who.name, id)}
		}
	}
	return err
}

func (w *World) itemsOf(who *person) ([]*syncengine.QuarantineItem, error) {
	p, err := w.engine.Principal(w.server, &syncengine.Replica{Person: who.id})
	if err != nil {
		return nil, err
	}
	return w.engine.Quarantined(w.server, p)
}

// quarantinedOps lists the own changes of a device that lie in quarantine.
func (d *device) quarantinedOps() (ops []*syncengine.Op) {
	d.store.each(1, func(op *syncengine.Op) {
		if op.State == syncengine.OpQuarantined {
			ops = append(ops, op)
		}
	})
	return ops
}

// fix is an author who writes an own change again that was not accepted.
func (w *World) fix() error {
	d := w.pick()
	if d == nil || len(d.store.ops) > 60 {
		return nil
	}
	ops := d.quarantinedOps()
	if len(ops) == 0 {
		return nil
	}
	op := one(w, ops)
	c := syncengine.Supersede(w.decoded.of(op.Envelope, op.Raw))
	for _, wr := range c.GetRecords() {
		if w.odds(2) && len(wr.GetWrites()) > 1 {
			wr.Writes = wr.GetWrites()[:1]
		}
	}
	w.event("%s fixes op %d", d.name, op.Number)
	w.seen("fixed")
	return w.saveChange(d, c)
}

// withdraw is an author who takes an own change back.
func (w *World) withdraw() error {
	d := w.pick()
	if d == nil {
		return nil
	}
	ops := d.quarantinedOps()
	if len(ops) == 0 {
		return nil
	}
	op := one(w, ops)
	w.event("%s withdraws op %d", d.name, op.Number)
	w.seen("withdrawn")
	return w.saveChange(d, syncengine.Withdrawal(op.Change))
}

// revoke takes a device's access away, or gives it back.
func (w *World) revoke() error {
	d := w.pick()
	if d == nil {
		return nil
	}
	return w.setRevoked(d, !w.revoked(d.replica))
}

func (w *World) setRevoked(d *device, revoked bool) error {
	if w.server.replicas[d.replica] == nil {
		return nil
	}
	r := *w.server.replicas[d.replica]
	r.Revoked = revoked
	w.event("%s is revoked: %v", d.name, revoked)
	w.seen("revoked")
	for _, m := range w.wire {
		// A waiting request ends: what it waits for is no longer its to have.
		m.woken = m.woken || m.device == d || m.call != nil && m.call.replica == d.replica
	}
	return w.write(0, true, func(tx syncengine.ServerTx) error { return tx.SaveReplica(&r) })
}

// revoked reports whether a replica is.
func (w *World) revoked(replica syncengine.ID) bool {
	r := w.server.replicas[replica]
	return r != nil && r.Revoked
}

// noteGrants remembers what everybody is granted now.
func (w *World) noteGrants() error {
	for _, person := range w.office.people {
		r, err := w.rightsOf(person.id)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(w.held[person.id], func(h *syncengine.Principal) bool {
			return slices.Equal(h.Roles, r.is.Roles) && slices.Equal(h.Teams, r.is.Teams)
		}) {
			w.held[person.id] = append(w.held[person.id], r.is)
		}
	}
	return nil
}

// retried is I17 for what waits: no change lies in a bundle whose records are all
// there, unless its author has lost rights meanwhile.
func (w *World) retried() error {
	for _, a := range w.server.acts {
		if a.Kind == syncengine.ActRetried {
			w.seen("retried")
		}
	}
	for _, id := range w.server.lyingIDs() {
		c := w.server.changes[id]
		if c.Outcome.GetRefusal() != tandemv1.Refusal_REFUSAL_BUNDLED || len(w.held[c.Author]) > 1 || w.server.replicas[c.Replica].Revoked {
			continue
		}
		p, err := w.engine.Principal(w.server, w.server.replicas[c.Replica])
		if err != nil {
			return err
		}
		grants := w.rules.Grants(w.office.org, p)
		waits := false
		for _, wr := range w.decoded.of(c.BodyHash, c.Body).GetRecords() {
			rec := w.server.records[syncengine.ID(wr.GetRecord())]
			// What the author may do to a record as it stands now they may not have been
			// allowed when it came.
			waits = waits || rec == nil || !anyScope(rec.Scopes, grants) || !w.rules.AllowedOn(p, wr, &rec.Record, nil) || len(w.server.versions[rec.ID]) > 1
		}
		if !waits {
			return &ViolationError{"I17", fmt.Sprintf("%s waits for records that are there", id)}
		}
	}
	return nil
}

// codesOnly is the eighth rule of the wall: what a revoked replica is answered are
// codes, and that it holds nothing.
func (w *World) codesOnly(d *device, a *tandemv1.SyncAnswer) error {
	w.seen("sent to a revoked device")
	for _, o := range a.GetOutcomes() {
		if len(o.GetFields()) > 0 || o.GetReason() != "" {
			return &ViolationError{"I5", d.name + " is revoked and told more than codes"}
		}
	}
	p := a.GetPage()
	if len(p.GetRows())+len(p.GetScopes())+len(p.GetTo())+len(p.GetScopeSet().GetScopes()) > 0 || len(a.GetTrailer().GetDigests()) > 0 {
		return &ViolationError{"I5", d.name + " is revoked and sent more than codes"}
	}
	return nil
}

// purged is I5 and I17 for a revoked device: it holds nothing of the server's, and all
// that it wrote is there.
func (w *World) purged(d *device) error {
	if w.server.replicas[d.replica].Unconfirmed {
		w.seen("revoked before it was confirmed")
	}
	for id, r := range d.store.records {
		if r.HasBase || r.Scopes != 0 {
			return &ViolationError{"I5", fmt.Sprintf("%s is revoked and holds %s", d.name, id)}
		}
	}
	if len(d.store.finds) > 0 {
		return &ViolationError{"I5", d.name + " is revoked and keeps what it has looked up"}
	}
	if len(d.store.scopes) > 0 || len(d.store.staged) > 0 {
		return &ViolationError{"I5", d.name + " is revoked and holds scopes"}
	}
	for n := uint64(1); n < d.store.state.NextOp; n++ {
		op := d.store.ops[n]
		c, err := w.server.ChangeByOp(d.replica, n)
		if err != nil {
			return err
		}
		if op.State == syncengine.OpDamaged {
			if err := w.endedDamaged(d, op, c); err != nil {
				return err
			}
			continue
		}
		if op.State == syncengine.OpQueued || c == nil || c.Op != n {
			return &ViolationError{"I17", fmt.Sprintf("op %d of %s, which is revoked, is not at the server", n, d.name)}
		}
	}
	return nil
}
