package server

import (
	"bytes"
	"context"
	"errors"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// Reinstance implements tandemv1connect.EnrollServiceHandler. Who asks has been let in
// by the certificate of the replica that its store was.
func (s *enrolling) Reinstance(ctx context.Context, req *tandemv1.ReinstanceRequest) (*tandemv1.ReinstanceResponse, error) {
	answer, err := s.reinstance(ctx, req)
	if err != nil {
		return nil, s.refuse(err)
	}
	return answer, nil
}

// maxUnconfirmed is how many replicas of one device may wait to be confirmed.
const maxUnconfirmed = 64

func (s *Server) reinstance(ctx context.Context, req *tandemv1.ReinstanceRequest) (*tandemv1.ReinstanceResponse, error) {
	was := auth.FromContext(ctx)
	if was == nil {
		return nil, errors.New("a request without identity has come as far as its handler")
	}
	id, ok := syncengine.IDFromBytes(req.GetReplica())
	if !ok || id.IsZero() || id == was.Replica || !auth.VerifyReinstance(req.GetPublicKey(), req.GetProof(), was.Replica, id) {
		return nil, ErrEnrolForm
	}
	org, err := s.store.Signer(ctx, was.Org)
	if err != nil {
		return nil, err
	}
	if err := follows(org, was, req.GetFollows()); err != nil {
		return nil, err
	}
	if err := s.meet(ctx, org, was, nil); err != nil {
		return nil, err
	}
	if err := s.notSuspended(ctx, was); err != nil {
		return nil, err
	}
	if err := s.proved(ctx, org, was); err != nil {
		return nil, err
	}
	all, err := s.store.Replicas(ctx, org.ID)
	if err != nil {
		return nil, err
	}
	waiting := 0
	for _, r := range all {
		if r.Device == was.Device && r.Unconfirmed && r.ID != id {
			waiting++
		}
	}
	if waiting >= maxUnconfirmed {
		return nil, ErrTooManyReplicas
	}
	now := *was
	now.Replica, now.Key, now.Generation, now.KeyID = id, bytes.Clone(req.GetPublicKey()), 0, org.KeyID()
	err = s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
		old, err := tx.Replica(was.Replica)
		if err != nil {
			return err
		}
		if old == nil {
			return syncengine.ErrUnknownReplica
		}
		known, err := tx.Replica(id)
		if err != nil {
			return err
		}
		if known != nil {
			if known.Replaces == was.Replica && bytes.Equal(known.Key, now.Key) {
				return nil
			}
			return ErrReplicaTaken
		}
		err = tx.Audit(&tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_REINSTANCED, Person: old.Person[:], Replica: id[:], Subject: was.Replica[:], Key: now.Key,
		})
		if err != nil {
			return err
		}
		return tx.SaveReplica(&syncengine.Replica{
			ID: id, Person: old.Person, Device: old.Device, Key: now.Key, Revoked: old.Revoked, Unconfirmed: true, Replaces: was.Replica,
			WipeOrderedMS: old.WipeOrderedMS, WipeToldMS: old.WipeToldMS, WipeShut: old.WipeShut,
		})
	})
	if err != nil {
		return nil, err
	}
	certificate, err := auth.Certify(org.Signing, &now)
	if err != nil {
		return nil, err
	}
	s.log.Warn().Stringer("replica", was.Replica).Stringer("now", id).Msg("a copied or restored store has a replica id of its own")
	return &tandemv1.ReinstanceResponse{
		Certificate: certificate, ServerMs: s.now().UnixMilli(), Schema: syncengine.Schema, Successors: org.Successors(was.KeyID),
	}, nil
}

// Reconcile implements tandemv1connect.SyncServiceHandler.
func (s *syncing) Reconcile(ctx context.Context, req *tandemv1.ReconcileRequest) (*tandemv1.ReconcileResponse, error) {
	id, org, err := s.caller(ctx)
	if err != nil {
		return nil, s.refuse(err)
	}
	if err := s.known(ctx, org, id, req.GetEpoch()); err != nil {
		return nil, s.refuse(err)
	}
	var answer *tandemv1.ReconcileAnswer
	count := 0
	engine := s.engineFor(org, id)
	read := func() error {
		return s.store.Read(ctx, org.ID, func(view syncengine.ServerView) (err error) {
			answer, count, err = engine.Reconcile(view, id.Replica, req, s.now().UnixMilli())
			return err
		})
	}
	if err = read(); errors.Is(err, syncengine.ErrReverted) {
		proof := &tandemv1.SyncRequest{Epoch: req.GetEpoch(), Positions: []*tandemv1.ScopePosition{{Position: req.GetPosition()}}}
		err = s.beginEpoch(ctx, org, func(tx *store.Tx, epoch syncengine.ID) (bool, error) {
			return engine.Mint(tx, id.Replica, proof, epoch)
		})
		if err == nil {
			err = read()
		}
	}
	if err != nil {
		return nil, s.refuse(err)
	}
	raw, err := proto.Marshal(answer)
	if err != nil {
		return nil, s.refuse(err)
	}
	return syncengine.FrameReconcile(raw, count), nil
}

// meeting is what this process has seen of a replica's entry, and in which era of the store.
type meeting struct {
	era            uint64
	person, device syncengine.ID
}

// known lets replicas in whose entries this process has seen, and meets the others.
func (s *Server) known(ctx context.Context, org *store.Org, id *auth.Identity, claimed []byte) error {
	era := s.store.Era()
	now := meeting{era, id.Person, id.Device}
	if met, ok := s.met.Load(id.Replica); ok && met == now {
		return nil
	}
	if err := s.meet(ctx, org, id, claimed); err != nil {
		return err
	}
	s.met.Store(id.Replica, now)
	return nil
}

// reverted begins a new epoch where a request has shown that the database was set
// back, and answers it then.
func (s *Server) reverted(ctx context.Context, org *store.Org, id *auth.Identity, req *tandemv1.SyncRequest, outcomes []*tandemv1.Outcome) (answer *syncengine.Answer, quiet bool, err error) {
	engine := s.engine(org)
	err = s.beginEpoch(ctx, org, func(tx *store.Tx, epoch syncengine.ID) (bool, error) {
		return engine.Mint(tx, id.Replica, req, epoch)
	})
	if err != nil {
		return nil, false, err
	}
	return s.answer(ctx, org, id, req, outcomes)
}

// meet makes an entry for a replica that has a certificate and is not known: the
// database was set back to before its enrolment.
func (s *Server) meet(ctx context.Context, org *store.Org, id *auth.Identity, claimed []byte) error {
	known, behind := false, false
	err := s.store.Read(ctx, org.ID, func(view syncengine.ServerView) error {
		r, err := view.Replica(id.Replica)
		known = r != nil
		behind = known && uint64(len(r.Former)) < id.Generation
		return errors.Join(err, itself(r, id))
	})
	if err == nil && (behind || !known) {
		// Another server may have replaced the key just now.
		org, err = s.store.OrgAnew(ctx, org.ID)
	}
	if err == nil && (behind || !known) && org.Over(id.KeyID, s.now().UnixMilli()) {
		// The certificate alone would be what lets it in, and its key is good for that no more.
		return errFormerOrgKey
	}
	if err == nil && behind {
		return s.keyed(ctx, org, id)
	}
	if err != nil || known {
		return err
	}
	from, _ := syncengine.IDFromBytes(claimed)
	engine := s.engine(org)
	return s.beginEpoch(ctx, org, func(tx *store.Tx, epoch syncengine.ID) (bool, error) {
		minted, err := engine.Adopt(tx, &syncengine.Replica{
			ID: id.Replica, Person: id.Person, Device: id.Device, Key: id.Key, Former: make([]syncengine.FormerKey, min(id.Generation, maxFormer)),
		}, from, epoch)
		if err != nil {
			return minted, err
		}
		return minted, tx.Audit(&tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_READMITTED, Person: id.Person[:], Replica: id.Replica[:], Subject: id.Device[:], Key: id.Key,
		})
	})
}

// beginEpoch runs what may begin a new epoch.
func (s *Server) beginEpoch(ctx context.Context, org *store.Org, begin func(tx *store.Tx, epoch syncengine.ID) (bool, error)) error {
	if err := s.store.Confirm(ctx); err != nil {
		return err
	}
	epoch, err := org.Secrets.NewEpoch(s.rand)
	if err != nil {
		return err
	}
	minted := false
	err = s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) (err error) {
		minted, err = begin(tx, epoch)
		return err
	})
	if err != nil || !minted {
		return err
	}
	// Who was shut out since the backup stays shut out.
	if err := s.ReplayJournal(ctx); err != nil {
		return err
	}
	s.log.Error().Stringer("org", org.ID).Stringer("epoch", epoch).
		Msg("the database was set back to an older state: devices send again what it lacks; check people, devices and grants, then run tandem admin recover confirm")
	return nil
}
