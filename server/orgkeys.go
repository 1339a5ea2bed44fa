package server

import (
	"context"
	"errors"

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
