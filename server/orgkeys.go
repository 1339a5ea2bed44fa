package server

import (
	"context"
	"errors"
	"fmt"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// errFormerOrgKey: a replica that is not known comes with a certificate of a key that the
// org has replaced, and whose grace is over.
var errFormerOrgKey = errors.New("a replica that is not known has a certificate of a key that was replaced")

// renew gives a device that comes with a certificate of an earlier key of its org the way to
// the present one, and its certificate signed with that.
func (s *Server) renew(ctx context.Context, org *store.Org, id *auth.Identity, t *tandemv1.Trailer) error {
	if t == nil || id.KeyID == org.KeyID() || !org.Certifies() {
		return nil
	}
	shut := false
	err := s.store.Read(ctx, org.ID, func(view syncengine.ServerView) error {
		r, err := view.Replica(id.Replica)
		shut = r == nil || r.Revoked
		return err
	})
	if err != nil || shut {
		return err
	}
	now := *id
	now.KeyID = org.KeyID()
	certificate, err := auth.Certify(org.Signing, &now)
	if err != nil {
		return err
	}
	t.Renewal = &tandemv1.OrgRenewal{Successors: org.Successors(id.KeyID), Certificate: certificate}
	return nil
}

// keysCurrent makes sure that the keys file has the newest key that the security journal
// knows of, and that the database is not behind it: a device that has been told of a key is
// let in with nothing else.
func (s *Server) keysCurrent(ctx context.Context, org *store.Org, events []*store.JournalEvent) error {
	if err := s.store.Announce(ctx, org.ID); err != nil {
		return err
	}
	for _, e := range events {
		if e.What == store.EventKeyed && org.KeyOf(store.NameOfKey(e.Key)) == nil && e.Generation > 0 {
			return fmt.Errorf("%w: it has %d of them, and the security journal knows of number %d",
				store.ErrKeysLost, len(org.Successors(""))+1, e.Generation+1)
		}
	}
	return nil
}
