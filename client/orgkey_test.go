package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	serverstore "github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// rotate gives the office's org another key.
func (o *office) rotate() *serverstore.Org {
	o.t.Helper()
	if _, err := o.st.RotateSigning(o.t.Context(), o.org.ID, time.Hour); err != nil {
		o.t.Fatal(err)
	}
	org, err := o.st.Org(o.t.Context(), o.org.ID)
	if err != nil {
		o.t.Fatal(err)
	}
	return org
}

// orgKeyOf is the org's key as a device knows it.
func orgKeyOf(tb testing.TB, c *Client) ed25519.PublicKey {
	tb.Helper()
	me, err := c.identity()
	if err != nil {
		tb.Fatal(err)
	}
	return me.answer.GetOrgKey()
}

// A device that nobody attends follows the org's keys while it syncs, one that was away
// follows several at once, and one that asks for a key of its own meanwhile gets it.
func TestOrgKey(t *testing.T) {
	t.Parallel()
	o, dir := newOffice(t), t.TempDir()
	c := o.enrol(o.clinician, dir)
	mustSync(t, c)
	first := orgKeyOf(t, c)

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	second := o.rotate().PublicKey()
	for n := 0; !second.Equal(orgKeyOf(t, c)); n++ {
		word := incident(t, c, "meanwhile")
		for !o.has(word) {
			time.Sleep(5 * time.Millisecond)
		}
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
	away := incident(t, c, "while away")
	if err := c.SaveDraft(t.Context(), "form", []byte(typedWords)); err != nil {
		t.Fatal(err)
	}
	shut(t, c)

	o.rotate()
	o.rotate()
	newest := o.rotate().PublicKey()
	// Its words are opened by what another device brings, before it comes itself.
	other := o.enrol(o.second, t.TempDir())
	sum, err := other.Deliver(t.Context(), SealedPath(dir))
	if err != nil || sum.Damaged+sum.NotTaken[tandemv1.Delivery_DELIVERY_UNPROVED]+sum.NotTaken[tandemv1.Delivery_DELIVERY_FORGED] > 0 || !o.has(away) {
		t.Errorf("what was sealed before three rotations: %+v, %v", sum, err)
	}
	c = newClient(t, dir)
	// A key of its own, with a certificate that a key has signed which it does not know yet.
	if err := c.RenewKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	own := keyID(t, c)
	mustSync(t, c)
	if keyID(t, c) == own || !newest.Equal(orgKeyOf(t, c)) {
		t.Errorf("the device's key was replaced: %t, the org's is the newest: %t", keyID(t, c) != own, newest.Equal(orgKeyOf(t, c)))
	}
	shut(t, c)
	c = newClient(t, dir)
	mustSync(t, c)
	if !newest.Equal(orgKeyOf(t, c)) {
		t.Error("another key after a restart")
	}
	me, err := c.identity()
	if err != nil {
		t.Fatal(err)
	}
	if ring := orgKeys(me, nil); len(ring) != 5 || !ring[0].Equal(first) {
		t.Errorf("the device knows %d keys of the org", len(ring))
	}
	kept, err := c.Audit(t.Context())
	if err != nil || kept.Rewritten != "" || len(kept.Checkpoints) == 0 || !kept.Checkpoints[len(kept.Checkpoints)-1].Signed(newest) {
		t.Errorf("it keeps of the audit log %+v, %v", kept, err)
	}
	o.audited()
}

// What leads nowhere, back, or to another's certificate is not taken, and the device goes
// on with what it has.
func TestOrgKeyRefused(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := o.enrol(o.clinician, t.TempDir())
	mustSync(t, c)
	zero := *c.me
	firstOrg := o.org
	o.rotate()
	mustSync(t, c)
	one := *c.me
	secondOrg := o.rotate()
	mustSync(t, c)
	two := *c.me
	if bytes.Equal(zero.answer.GetOrgKey(), one.answer.GetOrgKey()) || bytes.Equal(one.answer.GetOrgKey(), two.answer.GetOrgKey()) {
		t.Fatal("the device has not followed")
	}
	stranger := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	certify := func(by ed25519.PrivateKey, key ed25519.PrivateKey) string {
		certificate, err := auth.Certify(by, &auth.Identity{
			Org: o.org.ID, Person: o.clinician, Replica: two.replica, Key: publicKey(key), KeyID: "forged",
		})
		if err != nil {
			t.Fatal(err)
		}
		return certificate
	}
	steps := two.answer.GetSuccessors()
	broken := proto.CloneOf(syncengine.SignOrgSuccessor(o.org.ID, 3, secondOrg.Signing, stranger, 1, 2))
	broken.Signature[0] ^= 1
	for name, renewal := range map[string]*tandemv1.OrgRenewal{
		"an older chain with its certificate": {Successors: steps[:1], Certificate: one.certificate},
		"the first certificate alone":         {Certificate: zero.certificate},
		"a certificate of a former key":       {Successors: steps, Certificate: certify(firstOrg.Signing, two.key)},
		"another device's certificate":        {Successors: steps, Certificate: certify(secondOrg.Signing, stranger)},
		"a stranger's key, unannounced":       {Certificate: certify(stranger, two.key)},
		"a stranger's key after a former one": {
			Successors:  []*tandemv1.OrgSuccessor{syncengine.SignOrgSuccessor(o.org.ID, 1, firstOrg.Signing, stranger, 1, 2)},
			Certificate: certify(stranger, two.key),
		},
		"a broken chain": {Successors: []*tandemv1.OrgSuccessor{broken}, Certificate: certify(stranger, two.key)},
		"no certificate": {Successors: []*tandemv1.OrgSuccessor{syncengine.SignOrgSuccessor(o.org.ID, 3, secondOrg.Signing, stranger, 1, 2)}},
	} {
		err := c.takeRenewal(t.Context(), renewal)
		if (err == nil) != (name == "no certificate") {
			t.Errorf("%s: %v", name, err)
		}
		if c.me.certificate != two.certificate || !bytes.Equal(c.me.answer.GetOrgKey(), two.answer.GetOrgKey()) {
			t.Fatalf("%s was taken", name)
		}
	}
	word := incident(t, c, "goes on")
	mustSync(t, c)
	if !o.has(word) {
		t.Error("the device goes on no more")
	}
}
