package server

import (
	"context"
	"errors"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// ErrNoReplica says that a replica which was named is not there.
var ErrNoReplica = errors.New("there is no such replica: \"tandem admin replica list\" shows their ids")

// Replicas returns all replicas of the org, in the order of their enrolment: each is
// one life of a device's store. Of a device with several, the later ones say which
// they replace.
func (a *Admin) Replicas(ctx context.Context) ([]*syncengine.Replica, error) {
	return a.store.Replicas(ctx, a.org.ID)
}

// ConfirmReplica ends the time in which a replica only sends: somebody has made sure
// that the store is in the right hands. A device whose record went with a restore gets
// one again.
func (a *Admin) ConfirmReplica(ctx context.Context, id syncengine.ID) error {
	now := a.now().UnixMilli()
	engine := &syncengine.Server{Rules: record.New(), Secrets: a.org.Secrets}
	return a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		stored, err := tx.Replica(id)
		if err != nil {
			return err
		}
		if stored == nil {
			return ErrNoReplica
		}
		device, err := tx.Record(stored.Device)
		if err != nil {
			return err
		}
		if device == nil {
			made, err := newCreation(a.org.ID, stored.Device, &tandemv1.Device{
				Lifecycle: new("active"), Schema: schema(), Label: new("recovered device"), PublicKey: stored.Key,
				State: new("enrolled"), AssignedStaffIds: []string{stored.Person.String()},
			}, now, a.rand, nobody)
			if err != nil {
				return err
			}
			if err := made.apply(engine, tx, now); err != nil {
				return err
			}
		}
		r := *stored
		r.Unconfirmed = false
		tx.WakeAll()
		if err := tx.SaveReplica(&r); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_REPLICA_CONFIRMED, Person: r.Person[:], Replica: r.ID[:], Subject: r.Device[:],
		})
	})
}

// Recovery is how far the healing after a restore has come.
type Recovery struct {
	// Recovering: nobody has confirmed people, devices and grants yet, and no page is
	// served.
	Recovering bool
	// Epoch of the history, Seq where it stands.
	Epoch syncengine.ID
	Seq   uint64
	// Replicas that may send, in the order of their enrolment.
	Replicas []RecoveredReplica
}

// RecoveredReplica is what one replica has brought back.
type RecoveredReplica struct {
	*syncengine.Replica
	// Reported: it has said in this epoch where it stands, and has sent all that it
	// could.
	Reported bool
	// LostOps is how many of its changes cannot come back as changes.
	LostOps uint64
}

// Recovery says what came back after a restore, from whom, and who has not reported.
func (a *Admin) Recovery(ctx context.Context) (*Recovery, error) {
	r := &Recovery{}
	err := a.store.Read(ctx, a.org.ID, func(view syncengine.ServerView) error {
		head, err := view.Head()
		r.Recovering, r.Epoch, r.Seq = head.Recovering, head.Epoch, head.Seq
		return err
	})
	if err != nil {
		return nil, err
	}
	all, err := a.Replicas(ctx)
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		if one.Revoked || one.Forked {
			continue
		}
		rr := RecoveredReplica{Replica: one, Reported: one.Epoch == r.Epoch && one.Waits == 0}
		for _, gap := range one.Lost {
			rr.LostOps += gap.Last - gap.First + 1
		}
		r.Replicas = append(r.Replicas, rr)
	}
	return r, nil
}

// BeginRecovery begins a new epoch: after a restore, before the server runs again.
func (a *Admin) BeginRecovery(ctx context.Context) error {
	_, err := a.store.MintEpoch(ctx, a.org.ID)
	return err
}

// ConfirmRecovery lets the server send pages again: people, devices and grants have
// been checked. false where there was nothing to confirm.
func (a *Admin) ConfirmRecovery(ctx context.Context) (bool, error) {
	return a.store.ConfirmRecovery(ctx, a.org.ID)
}
