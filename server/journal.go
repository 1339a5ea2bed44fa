package server

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// ReplayJournal makes the database of each org true to the security journal: replicas
// that were certified have their rows, and who was shut out is. It is done at each
// start of a server, and must be done before a server that was set back answers. It
// may be repeated.
func (s *Server) ReplayJournal(ctx context.Context) error {
	orgs, err := s.store.Orgs(ctx)
	if err != nil {
		return err
	}
	for _, org := range orgs {
		events, err := s.store.Journal(ctx, org.ID)
		if err != nil {
			return err
		}
		if err := org.Holds(events); err != nil {
			return err
		}
		if err := s.store.Announce(ctx, org.ID); err != nil {
			return err
		}
		if err := s.store.JournalKeys(ctx, org.ID); err != nil {
			return err
		}
		if len(events) == 0 {
			continue
		}
		err = s.store.Write(ctx, org.ID, len(events), func(tx *store.Tx) error {
			return s.replay(tx, org, events)
		})
		if err != nil {
			return err
		}
		if err := s.settleErased(ctx, org, events); err != nil {
			return err
		}
	}
	return nil
}

// replay makes one org true to its events.
func (s *Server) replay(tx *store.Tx, org *store.Org, events []*store.JournalEvent) error {
	held, err := tx.Replicas()
	if err != nil {
		return err
	}
	// What the journal does not know was there before it.
	state := map[syncengine.ID]*syncengine.Replica{}
	for _, r := range held {
		next := *r
		state[r.ID] = &next
	}
	certified := map[syncengine.ID]bool{}
	for _, e := range events {
		if id, err := syncengine.ParseID(e.Replica); err == nil && e.What == store.EventEnrolled {
			certified[id] = true
		}
	}
	var changes [][]byte
	known, accounts, suspended := map[syncengine.ID]bool{}, map[syncengine.ID]bool{}, map[syncengine.ID]bool{}
	for _, e := range events {
		// An id that the event does not have is zero, which is nobody's.
		replica, _ := syncengine.ParseID(e.Replica)
		person, _ := syncengine.ParseID(e.Person)
		device, _ := syncengine.ParseID(e.Device)
		switch e.What {
		case store.EventEnrolled:
			known[replica] = true
			if state[replica] == nil {
				state[replica] = &syncengine.Replica{ID: replica, Person: person, Device: device, Key: e.Key}
			}
		case store.EventRekeyed:
			if r := state[replica]; r != nil && uint64(len(r.Former))+1 == e.Generation {
				*r = *withKey(r, e.Key, e.Ops)
			}
		case store.EventDisabled, store.EventEnabled:
			accounts[person] = e.What == store.EventDisabled
		case store.EventSuspended, store.EventLifted:
			suspended[device] = e.What == store.EventSuspended
			changes = append(changes, e.Change)
		case store.EventRevoked:
			for id, r := range state {
				// Who was certified later than this is not meant.
				if (known[id] || !certified[id]) && (id == replica || r.Device == device || r.Person == person) {
					r.Revoked, r.WipeShut = true, false
				}
			}
			changes = append(changes, e.Change)
		case store.EventWipeTold:
			if r := state[replica]; r != nil && r.WipeOrderedMS != 0 && r.WipeToldMS == 0 {
				r.WipeToldMS = e.AtMS
			}
		case store.EventUnwiped:
			for _, r := range state {
				if r.Device == device {
					unwipe(r)
				}
			}
			changes = append(changes, e.Change)
		case store.EventWiped:
			if r := state[replica]; r != nil {
				// It has acknowledged the order.
				r.WipedMS = e.AtMS
			}
			for _, r := range state {
				// All of the device are meant, whenever they were certified.
				if !device.IsZero() && r.Device == device && r.WipeOrderedMS == 0 {
					orderWipe(r, e.AtMS)
				}
			}
			changes = append(changes, e.Change)
		}
	}
	replayed := uint64(0)
	for id, r := range state {
		i := slices.IndexFunc(held, func(h *syncengine.Replica) bool { return h.ID == id })
		if i >= 0 && held[i].Revoked == r.Revoked && held[i].WipeOrderedMS == r.WipeOrderedMS && held[i].WipedMS == r.WipedMS && held[i].WipeToldMS == r.WipeToldMS &&
			held[i].WipeShut == r.WipeShut && bytes.Equal(held[i].Key, r.Key) {
			continue
		}
		replayed++
		if err := tx.SaveReplica(r); err != nil {
			return err
		}
	}
	n, err := replaySuspensions(tx, suspended, slices.Collect(maps.Values(state)))
	if err != nil {
		return err
	}
	replayed += n
	for staff, disabled := range accounts {
		changed, err := people.Replay(tx, staff, disabled)
		if err != nil {
			return err
		}
		if changed {
			replayed++
		}
	}
	if replayed > 0 {
		if err := tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_JOURNAL_REPLAYED, Count: replayed}); err != nil {
			return err
		}
	}
	changes = slices.DeleteFunc(changes, func(raw []byte) bool { return len(raw) == 0 })
	if len(changes) == 0 {
		return nil
	}
	batch, err := s.engine(org).Begin(tx, s.now().UnixMilli())
	if err != nil {
		return err
	}
	for _, raw := range changes {
		if _, err := batch.Local(operator, raw); err != nil {
			return err
		}
	}
	_, err = batch.Commit()
	return err
}

// RevokePerson shuts a person out: the staff record is retired, and every device that
// was enrolled for the person may write to quarantine alone and read nothing.
func (a *Admin) RevokePerson(ctx context.Context, staff syncengine.ID) error {
	return a.revokePerson(staff, syncengine.ID{}, a.writing(ctx))
}

// ShutOut is RevokePerson as an act of somebody: an active admin of the person's agency, and
// nobody themself. It is done in a transaction that within makes, and not where the person is
// out already ([ErrMoved]).
func (a *Admin) ShutOut(by, staff syncengine.ID, within Within) error {
	return a.revokePerson(staff, by, func(do func(*store.Tx) error) error {
		return within(func(tx *store.Tx) error {
			rec, err := a.find(tx, "staff", staff)
			if err != nil {
				return err
			}
			if err := oversees(tx, by, rec, "staff"); err != nil {
				return err
			}
			if by == staff {
				return &RefusedError{Code: tandemv1.Refusal_REFUSAL_FORBIDDEN}
			}
			if rec.Lifecycle() != record.Active {
				return ErrMoved
			}
			return do(tx)
		})
	})
}

func (a *Admin) revokePerson(staff, by syncengine.ID, within Within) error {
	return a.revoke("staff", staff, syncengine.FieldLifecycle, "retired",
		&store.JournalEvent{What: store.EventRevoked, Person: staff.String()}, tandemv1.AuditAct_AUDIT_ACT_REVOKED,
		func(r *syncengine.Replica) {
			if r.Person == staff {
				r.Revoked, r.WipeShut = true, false
			}
		}, by, within)
}

// fieldDeviceState is where a device's record says how it stands.
const fieldDeviceState = 24

// revoke sets one field of a record, and shuts out the replicas that shut changes: as an act of
// somebody, zero for whoever runs the server, in a transaction that within makes.
func (a *Admin) revoke(kind string, id syncengine.ID, field uint32, code string, event *store.JournalEvent, act tandemv1.AuditAct, shut func(*syncengine.Replica), by syncengine.ID, within Within) error {
	now := a.now().UnixMilli()
	change, err := syncengine.NewID(now, a.rand)
	if err != nil {
		return err
	}
	engine := &syncengine.Server{Rules: record.New(), Secrets: a.org.Secrets}
	return within(func(tx *store.Tx) error {
		rec, err := a.find(tx, kind, id)
		if err != nil {
			return err
		}
		all, err := tx.Replicas()
		if err != nil {
			return err
		}
		encoded, err := setCode(a.org.ID, change, rec, field, code, now)
		if err != nil {
			return err
		}
		event.Change = encoded
		// Who waits for news hears of it now.
		tx.WakeAll()
		// The journal first: where this is interrupted, its replay shuts out.
		if err := tx.Journal(event); err != nil {
			return err
		}
		for i, r := range all {
			next := *r
			if shut(&next); next.Revoked == r.Revoked && next.WipeOrderedMS == r.WipeOrderedMS && next.WipeShut == r.WipeShut {
				continue
			}
			if err := tx.SaveReplica(&next); err != nil {
				return err
			}
			all[i] = &next
		}
		if err := applyLocal(engine, tx, encoded, now); err != nil {
			return err
		}
		if err := a.endSuspensions(tx, all, now); err != nil {
			return err
		}
		if kind == "staff" {
			if _, err := people.EndSessions(tx, id, syncengine.ID{}, "shut out"); err != nil {
				return err
			}
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: act, Person: idBytes(by), Subject: id[:], Kind: rec.Kind})
	})
}

// setCode is the change by which the server itself sets one code of a record.
func setCode(org, change syncengine.ID, rec *syncengine.StoredRecord, field uint32, code string, now int64) ([]byte, error) {
	state, err := syncengine.Decode(&rec.Record)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(&tandemv1.Change{
		Id: change[:], Author: org[:], Class: tandemv1.Class_CLASS_URGENT, Schema: syncengine.Schema,
		Time: &tandemv1.ChangeTime{WallMs: now, OffsetKnown: true},
		Records: []*tandemv1.RecordWrite{{Record: rec.ID[:], Kind: rec.Kind, Act: tandemv1.Act_ACT_SET, Writes: []*tandemv1.PathWrite{{
			Field: field, Value: syncengine.StringField(field, code), Bases: syncengine.EncodeStamps(state.Bases(syncengine.Path{Field: field}, true)),
		}}}},
	})
}

// applyLocal applies a change of the server's own.
func applyLocal(engine *syncengine.Server, tx *store.Tx, encoded []byte, now int64) error {
	batch, err := engine.Begin(tx, now)
	if err != nil {
		return err
	}
	out, err := batch.Local(operator, encoded)
	if err != nil {
		return err
	}
	if out.GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED {
		return fmt.Errorf("%w: %s %s", errNotApplied, out.GetRefusal(), strings.Join(out.GetFields(), " "))
	}
	_, err = batch.Commit()
	return err
}
