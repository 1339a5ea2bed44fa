package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// The org may sign with another key than at enrolment. A device follows from the key that
// it knows to the newest one, each announced by the one before, and never back: what is
// said with a key that it has left behind it does not take.

// errOrgKey: what is said of the org's keys leads nowhere from the one that is known.
var errOrgKey = errors.New("the organization's new key does not follow from the one that this device knows")

// followedOrg is an enrolment with the org's newest key and the certificate that it has
// signed. The error is errOrgKey, or says what is wrong with the certificate.
func followedOrg(was *tandemv1.EnrollResponse, said []*tandemv1.OrgSuccessor, certificate string, key ed25519.PrivateKey, replica syncengine.ID) (*tandemv1.EnrollResponse, error) {
	org, _ := syncengine.IDFromBytes(was.GetOrg())
	newest, steps, err := syncengine.FollowOrgKey(org, was.GetOrgKey(), said)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errOrgKey, err)
	}
	next := proto.CloneOf(was)
	next.OrgKey, next.Certificate = newest, certificate
	next.Successors = append(next.Successors, steps...)
	_, err = acceptEnrolment(next, key, replica)
	return next, err
}

// errRenewed: the store has got another certificate while one was on its way.
var errRenewed = errors.New("the device has got another certificate meanwhile")

// enrolledAs makes sure that the store is still enrolled as an identity says: what follows
// from that is not to take back a key of the org. The error is errRenewed.
func (t *tx) enrolledAs(me *identity) error {
	raw, err := t.meta(metaEnrolment)
	if err != nil {
		return err
	}
	var present tandemv1.EnrollResponse
	if proto.Unmarshal(raw, &present) != nil || present.GetCertificate() != me.certificate {
		return errRenewed
	}
	return nil
}

// orgKeys are the keys that the org has signed with, as far as the device knows, the first
// one first; with what an answer says of newer ones.
func orgKeys(me *identity, renewal *tandemv1.OrgRenewal) []ed25519.PublicKey {
	org, _ := syncengine.IDFromBytes(me.answer.GetOrg())
	keys, _ := syncengine.OrgKeys(org, me.answer.GetOrgKey(), slices.Concat(me.answer.GetSuccessors(), renewal.GetSuccessors()))
	return keys
}

// takeRenewal goes over to the org's newest key and the certificate that it has signed.
// What is not right is left: the device goes on with what it has, which is as good as before.
func (c *Client) takeRenewal(ctx context.Context, renewal *tandemv1.OrgRenewal) error {
	me, err := c.identity()
	if err != nil || renewal.GetCertificate() == "" || renewal.GetCertificate() == me.certificate {
		return err
	}
	enrolment, err := followedOrg(me.answer, renewal.GetSuccessors(), renewal.GetCertificate(), me.key, me.replica)
	if err != nil {
		return err
	}
	kept, err := proto.Marshal(enrolment)
	if err != nil {
		return fmt.Errorf("keeping the organization's new key: %w", err)
	}
	taken := false
	err = c.store.write(context.WithoutCancel(ctx), "keeping the organization's new key", func(t *tx) error {
		taken = false
		present, err := t.meta(metaEnrolment)
		if err != nil {
			return err
		}
		var was tandemv1.EnrollResponse
		if proto.Unmarshal(present, &was) != nil || was.GetCertificate() != me.certificate {
			// The store has got another key or name meanwhile.
			return nil //nolint:nilerr // What the store has is looked at, not mended.
		}
		taken = true
		if err := t.setMeta(metaEnrolment, kept); err != nil {
			return err
		}
		if bytes.Equal(was.GetOrgKey(), enrolment.GetOrgKey()) {
			return nil
		}
		return t.addEvent(&Event{AtMS: c.opts.Now().UnixMilli(), Note: "the organization signs with a new key, which the one before has announced"})
	})
	if err != nil || !taken {
		return err
	}
	// The store may have got another key or name since.
	if err := c.loadIdentity(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	old := c.link
	c.link = nil
	c.mu.Unlock()
	if old != nil {
		old.close()
	}
	c.log.Info().Msg("the organization has a new key")
	return nil
}
