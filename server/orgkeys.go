package server

import (
	"bytes"
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

// errOtherReplica: a certificate says of a replica that it is another person's or device's
// than it is. A key of the org that was stolen has signed it.
var errOtherReplica = errors.New("a certificate names another person or device than its replica has")

// errFollowsNot: a device of a version that follows no keys of its org asks for a certificate
// which it would not take, after the server had taken its key for replaced.
var errFollowsNot = errors.New("a device that does not follow the organization's new key asks for a certificate of it")

// follows refuses whoever asks for a certificate of a key that they do not follow to.
func follows(org *store.Org, was *auth.Identity, said bool) error {
	if !said && was.KeyID != org.KeyID() {
		return errFollowsNot
	}
	return nil
}

// itself refuses a certificate that says of a replica that is known what it is not.
func itself(r *syncengine.Replica, id *auth.Identity) error {
	if r != nil && (r.Person != id.Person || r.Device != id.Device) {
		return errOtherReplica
	}
	return nil
}

// renew gives a device that comes with a certificate of an earlier key of its org the way to
// the present one, and its certificate signed with that.
func (s *Server) renew(ctx context.Context, org *store.Org, id *auth.Identity, t *tandemv1.Trailer) error {
	if t == nil || id.KeyID == org.KeyID() || !org.Certifies() {
		return nil
	}
	var r *syncengine.Replica
	err := s.store.Read(ctx, org.ID, func(view syncengine.ServerView) (err error) {
		r, err = view.Replica(id.Replica)
		return err
	})
	if err != nil || r == nil || r.Revoked || !bytes.Equal(r.Key, id.Key) {
		return err
	}
	// What the database knows, and nothing that only the certificate before says.
	certificate, err := auth.Certify(org.Signing, &auth.Identity{
		Org: org.ID, Person: r.Person, Device: r.Device, Replica: r.ID, Key: r.Key, Generation: uint64(len(r.Former)), KeyID: org.KeyID(),
	})
	if err != nil {
		return err
	}
	t.Renewal = &tandemv1.OrgRenewal{Successors: org.Successors(id.KeyID), Certificate: certificate}
	return nil
}
