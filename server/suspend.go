package server

import (
	"context"
	"errors"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// Errors of a suspension. Nothing was changed.
var (
	// ErrDeviceOut: there is nothing to suspend.
	ErrDeviceOut = errors.New("the device is shut out already, or was never enrolled: there is nothing to suspend")
	// ErrNotSuspended: there is nothing to lift.
	ErrNotSuspended = errors.New("the device is not suspended: there is nothing to lift")
	// ErrDeviceMoved: somebody has done something with the device meanwhile.
	ErrDeviceMoved = errors.New("the device stands otherwise than it did, and nothing was done with it: look at it again")
)

// Within makes the transaction in which something is done: the store's own, or one in which
// whoever does it shows a second factor.
type Within func(do func(*store.Tx) error) error

// writing is the store's own.
func (a *Admin) writing(ctx context.Context) Within {
	return func(do func(*store.Tx) error) error { return a.store.Write(ctx, a.org.ID, 1, do) }
}

// DeviceAct is what is done with a device.
type DeviceAct int

// Acts on a device.
const (
	// Suspend: nothing is taken of it and nothing sent to it, until that is lifted. Nothing is
	// removed, and what is unsent stays on it. To suspend one that is changes nothing.
	Suspend DeviceAct = iota
	// Lift ends that.
	Lift
	// Revoke is RevokeDevice, Wipe WipeDevice, KeepUnwiped WithdrawWipe.
	Revoke
	Wipe
	KeepUnwiped
)

// ActOnDevice does something with a device as an act of somebody: an active admin of its
// agency, or, zero, whoever runs the server. It is done in a transaction that within makes,
// and an admin's is refused ([ErrDeviceMoved]) where the device does not stand so that they
// could ([DeviceState.Acts]).
func (a *Admin) ActOnDevice(ctx context.Context, by, device syncengine.ID, act DeviceAct, within Within) error {
	if !by.IsZero() {
		made := within
		within = func(do func(*store.Tx) error) error {
			return made(func(tx *store.Tx) error {
				if err := a.mayAct(tx, by, device, act); err != nil {
					return err
				}
				return do(tx)
			})
		}
	}
	switch act {
	case Suspend, Lift:
		return a.suspension(by, device, act == Suspend, within)
	case Wipe:
		return a.wipeDevice(ctx, device, by, within)
	case KeepUnwiped:
		return a.withdrawWipe(device, by, within)
	case Revoke:
	}
	return a.revoke("device", device, fieldDeviceState, "revoked",
		&store.JournalEvent{What: store.EventRevoked, Device: device.String()}, tandemv1.AuditAct_AUDIT_ACT_REVOKED,
		func(r *syncengine.Replica) {
			if r.Device == device {
				r.Revoked, r.WipeShut = true, false
			}
		}, by, within)
}

// Acts are what an admin can do with a device as it stands, the mildest first.
func (d *DeviceState) Acts() []DeviceAct {
	switch {
	case d.Stores == 0 || d.WipedMS != 0 || d.ToldMS != 0:
		return nil
	case d.OrderedMS != 0:
		return []DeviceAct{KeepUnwiped}
	case d.Revoked:
		return []DeviceAct{Wipe}
	case d.SuspendedMS != 0:
		return []DeviceAct{Lift, Revoke, Wipe}
	}
	return []DeviceAct{Suspend, Revoke, Wipe}
}

// mayAct refuses who does not oversee a device, and what cannot be done with it now.
func (a *Admin) mayAct(tx *store.Tx, by, device syncengine.ID, act DeviceAct) error {
	rec, err := a.find(tx, "device", device)
	if err != nil {
		return err
	}
	if err := oversees(tx, by, rec, "device"); err != nil {
		return err
	}
	all, err := tx.Replicas()
	if err != nil {
		return err
	}
	suspended, err := tx.Suspensions()
	if err != nil {
		return err
	}
	d := &DeviceState{ID: device}
	d.count(all)
	d.suspendedBy(suspended)
	if !slices.Contains(d.Acts(), act) {
		return ErrDeviceMoved
	}
	return nil
}

// RevokeDevice shuts a device out: what it still sends goes to quarantine, and it is
// sent nothing.
func (a *Admin) RevokeDevice(ctx context.Context, device syncengine.ID) error {
	return a.ActOnDevice(ctx, syncengine.ID{}, device, Revoke, a.writing(ctx))
}

// SuspendDevice suspends a device, and LiftDevice ends that, as acts of whoever runs the server.
func (a *Admin) SuspendDevice(ctx context.Context, device syncengine.ID) error {
	return a.ActOnDevice(ctx, syncengine.ID{}, device, Suspend, a.writing(ctx))
}

// LiftDevice ends a suspension.
func (a *Admin) LiftDevice(ctx context.Context, device syncengine.ID) error {
	return a.ActOnDevice(ctx, syncengine.ID{}, device, Lift, a.writing(ctx))
}

// suspension begins or ends one.
func (a *Admin) suspension(by, device syncengine.ID, begin bool, within Within) error {
	now := a.now().UnixMilli()
	change, err := syncengine.NewID(now, a.rand)
	if err != nil {
		return err
	}
	code, event, act := "active", store.EventLifted, tandemv1.AuditAct_AUDIT_ACT_DEVICE_LIFTED
	if begin {
		code, event, act = "suspended", store.EventSuspended, tandemv1.AuditAct_AUDIT_ACT_DEVICE_SUSPENDED
	}
	return within(func(tx *store.Tx) error {
		rec, err := a.find(tx, "device", device)
		if err != nil {
			return err
		}
		is, err := isSuspended(tx, device)
		if err != nil || is && begin {
			return err
		}
		if !is && !begin {
			return ErrNotSuspended
		}
		all, err := tx.Replicas()
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(current(all, device), func(r *syncengine.Replica) bool { return !r.Revoked }) {
			return ErrDeviceOut
		}
		encoded, err := setCode(a.org.ID, change, rec, fieldDeviceState, code, now)
		if err != nil {
			return err
		}
		// Who waits for news hears of it now.
		tx.WakeAll()
		// The journal first: where this is interrupted, its replay does it.
		if err := tx.Journal(&store.JournalEvent{What: event, Device: device.String(), Change: encoded}); err != nil {
			return err
		}
		if err := suspend(tx, device, by, begin); err != nil {
			return err
		}
		if err := applyLocal(a.engine(), tx, encoded, now); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: act, Person: idBytes(by), Subject: device[:], Kind: rec.Kind})
	})
}

func suspend(tx *store.Tx, device, by syncengine.ID, is bool) error {
	if is {
		return tx.Suspend(device, by)
	}
	return tx.LiftSuspension(device)
}

func isSuspended(tx *store.Tx, device syncengine.ID) (bool, error) {
	all, err := tx.Suspensions()
	return slices.ContainsFunc(all, func(s store.Suspension) bool { return s.Device == device }), err
}

// outForGood reports whether a device is shut out, and not by an order to wipe it alone: who
// takes that back finds it suspended as it was.
func outForGood(all []*syncengine.Replica, device syncengine.ID) bool {
	stores := current(all, device)
	return len(stores) > 0 && !slices.ContainsFunc(stores, func(r *syncengine.Replica) bool { return !r.Revoked || r.WipeShut })
}

// endSuspensions ends those of devices that are out for good: their records say so too.
func (a *Admin) endSuspensions(tx *store.Tx, all []*syncengine.Replica, now int64) error {
	suspended, err := tx.Suspensions()
	if err != nil {
		return err
	}
	for _, s := range suspended {
		if !outForGood(all, s.Device) {
			continue
		}
		if err := tx.LiftSuspension(s.Device); err != nil {
			return err
		}
		if err := a.suspendedIsOut(tx, s.Device, now); err != nil {
			return err
		}
	}
	return nil
}

// suspendedIsOut has the record of a device say that it is shut out, where it still says that it
// is suspended.
func (a *Admin) suspendedIsOut(tx *store.Tx, device syncengine.ID, now int64) error {
	rec, err := tx.Record(device)
	if err != nil || rec == nil || rec.Lifecycle() == record.Void || rec.Text(fieldDeviceState) != "suspended" {
		return err
	}
	change, err := syncengine.NewID(now, a.rand)
	if err != nil {
		return err
	}
	encoded, err := setCode(a.org.ID, change, rec, fieldDeviceState, "revoked", now)
	if err != nil {
		return err
	}
	if err := tx.Journal(&store.JournalEvent{What: store.EventLifted, Device: device.String(), Change: encoded}); err != nil {
		return err
	}
	return applyLocal(a.engine(), tx, encoded, now)
}

// replaySuspensions makes the suspensions true to the security journal, by the replicas as it
// has them, and counts those that were not.
func replaySuspensions(tx *store.Tx, suspended map[syncengine.ID]bool, all []*syncengine.Replica) (replayed uint64, err error) {
	for device, should := range suspended {
		should = should && !outForGood(all, device)
		is, err := isSuspended(tx, device)
		if err != nil {
			return 0, err
		}
		if is == should {
			continue
		}
		replayed++
		if err := suspend(tx, device, syncengine.ID{}, should); err != nil {
			return 0, err
		}
	}
	return replayed, nil
}

// oversees refuses who is no active admin of the agency that a record is of. That there is none
// and that it is not theirs is one answer.
func oversees(tx *store.Tx, by syncengine.ID, rec *syncengine.StoredRecord, kind string) error {
	agency, err := purgerOf(tx, by)
	if err == nil && (agency.IsZero() || rec.Text(syncengine.FieldAgency) != agency.String()) {
		err = &AbsentError{Kind: kind}
	}
	return err
}
