package server

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// WipeToldError says that an order to wipe a device cannot be taken back: it was told, or
// may have been.
type WipeToldError struct {
	// AtMS is when.
	AtMS int64
}

// Error implements error.
func (e *WipeToldError) Error() string {
	return "the device was told to wipe itself on " + time.UnixMilli(e.AtMS).UTC().Format("2006-01-02 at 15:04 UTC") +
		": the order cannot be taken back; enrol the device anew once it has wiped itself"
}

// ErrNoWipe says that there is no order to take back.
var ErrNoWipe = errors.New("the device is not ordered to wipe itself: there is nothing to take back")

// Errors of a receipt.
var (
	// ErrReceiptForm: the request is no receipt.
	ErrReceiptForm = errors.New("the receipt of a wipe is malformed")
	// ErrReceipt: no store that was ordered to wipe itself has signed it.
	ErrReceipt = errors.New("the receipt is not that of a store which was ordered to wipe itself")
)

// WipeDevice orders a device to wipe itself. It is shut out from now on; at its next
// contact it is told, sends what it had not sent, which goes to quarantine for a lead,
// erases its store and acknowledges that. Until then the order stays open. Ordering it
// again changes nothing.
func (a *Admin) WipeDevice(ctx context.Context, device syncengine.ID) error {
	return a.wipeDevice(ctx, device, syncengine.ID{}, a.writing(ctx))
}

func (a *Admin) wipeDevice(ctx context.Context, device, by syncengine.ID, within Within) error {
	if !by.IsZero() {
		return a.giveWipe(device, by, within)
	}
	all, err := a.Replicas(ctx)
	if err != nil {
		return err
	}
	mine := slices.DeleteFunc(all, func(r *syncengine.Replica) bool { return r.Device != device })
	if len(mine) > 0 && !slices.ContainsFunc(mine, func(r *syncengine.Replica) bool { return r.WipeOrderedMS == 0 }) {
		return nil
	}
	return a.giveWipe(device, by, within)
}

func (a *Admin) giveWipe(device, by syncengine.ID, within Within) error {
	now := a.now().UnixMilli()
	return a.revoke("device", device, fieldDeviceState, "wipe_pending",
		&store.JournalEvent{What: store.EventWiped, Device: device.String()}, tandemv1.AuditAct_AUDIT_ACT_WIPE_ORDERED,
		func(r *syncengine.Replica) {
			if r.Device == device && r.WipeOrderedMS == 0 {
				orderWipe(r, now)
			}
		}, by, within)
}

// orderWipe marks a replica as ordered to wipe itself.
func orderWipe(r *syncengine.Replica, atMS int64) {
	r.WipeShut = !r.Revoked
	r.Revoked, r.WipeOrderedMS = true, atMS
}

// unwipe takes the order back.
func unwipe(r *syncengine.Replica) {
	if r.WipeOrderedMS == 0 {
		return
	}
	if r.WipeShut {
		r.Revoked = false
	}
	r.WipeOrderedMS, r.WipedMS, r.WipeToldMS, r.WipeShut = 0, 0, 0, false
}

// WithdrawWipe takes the order to wipe a device back, as long as none of its stores was
// told: it lets in again those that the order alone had shut out. Once one was told, be it
// that the answer was lost, the order stands.
func (a *Admin) WithdrawWipe(ctx context.Context, device syncengine.ID) error {
	return a.withdrawWipe(device, syncengine.ID{}, a.writing(ctx))
}

func (a *Admin) withdrawWipe(device, by syncengine.ID, within Within) error {
	now := a.now().UnixMilli()
	change, err := syncengine.NewID(now, a.rand)
	if err != nil {
		return err
	}
	return within(func(tx *store.Tx) error {
		rec, err := a.find(tx, "device", device)
		if err != nil {
			return err
		}
		all, err := tx.Replicas()
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(r *syncengine.Replica) bool { return r.Device != device })
		code, ordered := "revoked", false
		for _, r := range all {
			if r.WipeToldMS != 0 || r.WipedMS != 0 {
				return &WipeToldError{AtMS: max(r.WipeToldMS, r.WipeOrderedMS)}
			}
			ordered = ordered || r.WipeOrderedMS != 0
			if r.WipeShut {
				code = "active"
			}
		}
		if !ordered {
			return ErrNoWipe
		}
		if is, err := isSuspended(tx, device); err != nil {
			return err
		} else if is && code == "active" {
			code = "suspended"
		}
		encoded, err := setCode(a.org.ID, change, rec, fieldDeviceState, code, now)
		if err != nil {
			return err
		}
		tx.WakeAll()
		// The journal first, as with the order itself.
		if err := tx.Journal(&store.JournalEvent{What: store.EventUnwiped, Device: device.String(), Change: encoded}); err != nil {
			return err
		}
		for _, r := range all {
			next := *r
			unwipe(&next)
			if err := tx.SaveReplica(&next); err != nil {
				return err
			}
		}
		if err := applyLocal(a.engine(), tx, encoded, now); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_WIPE_WITHDRAWN, Person: idBytes(by), Subject: device[:], Kind: rec.Kind})
	})
}

// tellWipe notes, before an answer that holds the order leaves, that the replica is told.
// It reports whether the order still stands.
func (s *Server) tellWipe(ctx context.Context, org *store.Org, id syncengine.ID) (stands bool, err error) {
	now := s.now().UnixMilli()
	err = s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
		r, err := tx.Replica(id)
		if err != nil {
			return err
		}
		stands = r != nil && r.WipeOrderedMS != 0
		if !stands || r.WipeToldMS != 0 {
			return nil
		}
		if err := tx.Journal(&store.JournalEvent{What: store.EventWipeTold, Replica: id.String()}); err != nil {
			return err
		}
		next := *r
		next.WipeToldMS = now
		if err := tx.SaveReplica(&next); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_WIPE_TOLD, Person: r.Person[:], Replica: id[:], Subject: r.Device[:]})
	})
	return stands, err
}

// DeviceState is how a device stands, as an admin sees it.
type DeviceState struct {
	ID syncengine.ID
	// Label and State, a code of device_state, are what its record says.
	Label, State string
	// People that it is, or was, enrolled for.
	People []syncengine.ID
	// Stores that it has: those that no other has replaced. Revoked: none of them is
	// sent anything.
	Stores  int
	Revoked bool
	// OrderedMS is when it was ordered to wipe itself, 0 for never. Wiped is how many of
	// its stores have acknowledged that, WipedMS when all had; 0 while the order is open.
	// ToldMS is when one of them was first told: the order can be taken back while it is 0.
	OrderedMS, WipedMS, ToldMS int64
	Wiped                      int
	// SuspendedMS is since when it is suspended, 0 where it is not: also of one that is ordered
	// to wipe itself, until it is told.
	SuspendedMS int64
}

// Devices returns all devices, in the order of their ids.
func (a *Admin) Devices(ctx context.Context) (devices []*DeviceState, err error) {
	domain := record.New()
	err = a.store.EachRecord(ctx, a.org.ID, domain.KindByName("device").Number, func(rec *syncengine.StoredRecord) error {
		msg, err := domain.Message(&rec.Record)
		if err != nil {
			return err
		}
		d := &DeviceState{ID: rec.ID}
		if m, ok := msg.(*tandemv1.Device); ok {
			d.Label, d.State = m.GetLabel(), m.GetState()
		}
		devices = append(devices, d)
		return nil
	})
	if err != nil {
		return nil, err
	}
	all, err := a.Replicas(ctx)
	if err != nil {
		return nil, err
	}
	suspended, err := a.store.Suspensions(ctx, a.org.ID)
	if err != nil {
		return nil, err
	}
	for _, d := range devices {
		d.count(all)
		d.suspendedBy(suspended)
	}
	slices.SortFunc(devices, func(x, y *DeviceState) int { return x.ID.Compare(y.ID) })
	return devices, nil
}

// count fills in what the device's replicas say.
func (d *DeviceState) count(all []*syncengine.Replica) {
	revoked := 0
	for _, r := range current(all, d.ID) {
		d.Stores++
		if r.Revoked {
			revoked++
		}
		if r.WipeOrderedMS != 0 {
			d.OrderedMS = max(d.OrderedMS, r.WipeOrderedMS)
		}
		if r.WipeToldMS != 0 && (d.ToldMS == 0 || r.WipeToldMS < d.ToldMS) {
			d.ToldMS = r.WipeToldMS
		}
		if r.WipedMS != 0 {
			d.Wiped++
			d.WipedMS = max(d.WipedMS, r.WipedMS)
		}
		if !slices.Contains(d.People, r.Person) {
			d.People = append(d.People, r.Person)
		}
	}
	d.Revoked = d.Stores > 0 && revoked == d.Stores
	if d.Wiped < d.Stores {
		d.WipedMS = 0
	}
}

// suspendedBy fills in since when it is suspended; count goes before.
func (d *DeviceState) suspendedBy(all []store.Suspension) {
	for _, s := range all {
		if s.Device == d.ID && d.ToldMS == 0 && d.WipedMS == 0 {
			d.SuspendedMS = s.SinceMS
		}
	}
}

// current are the stores of a device: its replicas but those that another one has
// replaced, and that have not come back since.
func current(all []*syncengine.Replica, device syncengine.ID) (stores []*syncengine.Replica) {
	for _, r := range all {
		replaced := slices.ContainsFunc(all, func(o *syncengine.Replica) bool { return o.Replaces == r.ID })
		if r.Device == device && (!replaced || r.WipedMS != 0) {
			stores = append(stores, r)
		}
	}
	return stores
}

// Wiped implements tandemv1connect.EnrollServiceHandler. Nobody has been let in: the
// receipt proves itself.
func (s *enrolling) Wiped(ctx context.Context, req *tandemv1.WipedRequest) (*tandemv1.WipedResponse, error) {
	if err := s.wiped(ctx, req); err != nil {
		return nil, s.refuse(err)
	}
	return &tandemv1.WipedResponse{Schema: syncengine.Schema}, nil
}

func (s *Server) wiped(ctx context.Context, req *tandemv1.WipedRequest) error {
	orgID, ok := syncengine.IDFromBytes(req.GetOrg())
	id, named := syncengine.IDFromBytes(req.GetReplica())
	if !ok || !named || len(req.GetSignature()) != ed25519.SignatureSize || req.GetOrder() != syncengine.WipeOrder {
		return ErrReceiptForm
	}
	org, err := s.store.Org(ctx, orgID)
	if errors.Is(err, store.ErrUnknownOrg) {
		return ErrReceipt
	}
	if err != nil {
		return err
	}
	done := false
	err = s.store.Read(ctx, orgID, func(view syncengine.ServerView) error {
		r, err := view.Replica(id)
		if err != nil {
			return err
		}
		if r == nil || r.WipeOrderedMS == 0 || !syncengine.VerifyWiped(r.Key, req.GetSignature(), orgID, id, req.GetOrder()) {
			return ErrReceipt
		}
		done = r.WipedMS != 0
		return nil
	})
	if err != nil || done {
		return err
	}
	now := s.now().UnixMilli()
	change, err := syncengine.NewID(now, s.rand)
	if err != nil {
		return err
	}
	err = s.store.Write(ctx, orgID, 1, func(tx *store.Tx) error { return s.noteWiped(tx, org, id, change, now) })
	if err == nil {
		s.log.Info().Stringer("org", orgID).Stringer("replica", id).Msg("a store was wiped by order")
	}
	return err
}

// noteWiped notes that a store is wiped and, where it was the last one of its device,
// that the device is.
func (s *Server) noteWiped(tx *store.Tx, org *store.Org, id, change syncengine.ID, now int64) error {
	r, err := tx.Replica(id)
	if err != nil {
		return err
	}
	if r == nil || r.WipeOrderedMS == 0 {
		return ErrReceipt
	}
	if r.WipedMS != 0 {
		return nil
	}
	if err := tx.Journal(&store.JournalEvent{What: store.EventWiped, Replica: id.String()}); err != nil {
		return err
	}
	next := *r
	next.WipedMS = now
	if err := tx.SaveReplica(&next); err != nil {
		return err
	}
	all, err := tx.Replicas()
	if err != nil {
		return err
	}
	device, err := tx.Record(r.Device)
	if err != nil {
		return err
	}
	open := slices.ContainsFunc(current(all, r.Device), func(o *syncengine.Replica) bool { return o.WipedMS == 0 })
	if device != nil && !open {
		encoded, err := setCode(org.ID, change, device, fieldDeviceState, "wiped", now)
		if err != nil {
			return err
		}
		if err := applyLocal(s.engine(org), tx, encoded, now); err != nil {
			return err
		}
	}
	return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_WIPED, Person: r.Person[:], Replica: id[:], Subject: r.Device[:]})
}
