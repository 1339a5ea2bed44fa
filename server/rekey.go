package server

import (
	"bytes"
	"context"
	"errors"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// maxFormer bounds the keys that a replica may have had: one a week for twenty years.
const maxFormer = 1024

// Rekey implements tandemv1connect.EnrollServiceHandler. Who asks has been let in by the
// certificate of the key that is to be replaced.
func (s *enrolling) Rekey(ctx context.Context, req *tandemv1.RekeyRequest) (*tandemv1.RekeyResponse, error) {
	answer, err := s.rekey(ctx, req)
	if err != nil {
		return nil, s.refuse(err)
	}
	return answer, nil
}

func (s *Server) rekey(ctx context.Context, req *tandemv1.RekeyRequest) (*tandemv1.RekeyResponse, error) {
	was := auth.FromContext(ctx)
	if was == nil {
		return nil, errors.New("a request without identity has come as far as its handler")
	}
	next, ok := auth.VerifyRollover(req.GetRollover(), was.Replica, was.Key)
	if !ok {
		return nil, ErrRekeyForm
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
	now := *was
	now.Key, now.KeyID = bytes.Clone(next.Key), org.KeyID()
	fresh := false
	err = s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
		fresh = false
		r, err := tx.Replica(was.Replica)
		if err != nil {
			return err
		}
		if r == nil {
			return syncengine.ErrUnknownReplica
		}
		if n := len(r.Former); n > 0 && bytes.Equal(r.Former[n-1].Key, was.Key) && bytes.Equal(r.Key, now.Key) {
			// It was done, and the answer was lost.
			now.Generation = uint64(n)
			return nil
		}
		if !bytes.Equal(r.Key, was.Key) {
			return syncengine.ErrFormerKey
		}
		if len(r.Former) >= maxFormer || slices.ContainsFunc(r.Former, func(f syncengine.FormerKey) bool { return bytes.Equal(f.Key, now.Key) }) {
			return ErrRekeyForm
		}
		rekeyed := withKey(r, now.Key, next.Ops)
		now.Generation = uint64(len(rekeyed.Former))
		// The journal first: where this is interrupted, its replay does it.
		err = tx.Journal(&store.JournalEvent{
			What: store.EventRekeyed, Replica: r.ID.String(), Person: r.Person.String(), Device: r.Device.String(),
			Key: now.Key, Generation: now.Generation, Ops: next.Ops,
		})
		if err != nil {
			return err
		}
		// What waits for news under the old key hears that it is over.
		tx.WakeAll()
		fresh = true
		if err := tx.SaveReplica(rekeyed); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_REKEYED, Person: r.Person[:], Replica: r.ID[:], Subject: r.Device[:],
			Key: now.Key, Number: now.Generation,
		})
	})
	if err != nil {
		return nil, err
	}
	certificate, err := auth.Certify(org.Signing, &now)
	if err != nil {
		return nil, err
	}
	if fresh {
		s.log.Info().Stringer("org", org.ID).Stringer("replica", was.Replica).Uint64("generation", now.Generation).Msg("a device has another key")
	}
	return &tandemv1.RekeyResponse{
		Certificate: certificate, ServerMs: s.now().UnixMilli(), Schema: syncengine.Schema, Successors: org.Successors(was.KeyID),
	}, nil
}

// withKey is a replica with another key; the one before was good for ops up to one.
func withKey(r *syncengine.Replica, key []byte, ops uint64) *syncengine.Replica {
	next := *r
	next.Former = append(slices.Clip(r.Former), syncengine.FormerKey{Key: r.Key, Ops: ops})
	next.Key = key
	return &next
}

// keyed makes a replica's key that of its certificate, where the org has certified a later
// one than the database knows: it was set back to before the device got it.
func (s *Server) keyed(ctx context.Context, org *store.Org, id *auth.Identity) error {
	return s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
		r, err := tx.Replica(id.Replica)
		if err != nil || r == nil || uint64(len(r.Former)) >= id.Generation {
			return err
		}
		next := withKey(r, id.Key, r.Highest)
		for uint64(len(next.Former)) < id.Generation {
			next.Former = append(next.Former, syncengine.FormerKey{})
		}
		if err := tx.SaveReplica(next); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_REKEYED, Person: r.Person[:], Replica: r.ID[:], Subject: r.Device[:],
			Key: id.Key, Number: id.Generation, Code: "certified",
		})
	})
}

// proved refuses whoever comes with a key that the replica does not have any more. A
// replica that has no entry is judged elsewhere.
func (s *Server) proved(ctx context.Context, org *store.Org, id *auth.Identity) error {
	return s.store.Read(ctx, org.ID, func(view syncengine.ServerView) error {
		r, err := view.Replica(id.Replica)
		if err != nil || r == nil {
			return err
		}
		if !bytes.Equal(r.Key, id.Key) {
			return syncengine.ErrFormerKey
		}
		return itself(r, id)
	})
}
