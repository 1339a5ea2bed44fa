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
	"github.com/tandem-response/tandem/syncengine/audit"
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
	// Nor does a log count that is signed with a key of before.
	kept, err := c.Audit(t.Context())
	if err != nil || len(kept.Checkpoints) == 0 {
		t.Fatalf("it keeps of the audit log %+v, %v", kept, err)
	}
	anchor := kept.Checkpoints[len(kept.Checkpoints)-1]
	for _, tc := range []struct {
		name   string
		by     ed25519.PrivateKey
		counts bool
	}{{"a former key", firstOrg.Signing, false}, {"the newest key", secondOrg.Signing, true}} {
		other := &audit.Checkpoint{Org: o.org.ID, Epoch: anchor.Epoch, Size: anchor.Size + 5, Root: audit.Hash{1}, AtMS: anchor.AtMS + 1}
		other.Sign(tc.by)
		err := c.store.write(t.Context(), "taking in an answer", func(t *tx) error {
			return c.audited(t, &two, &tandemv1.AuditRequest{}, anchor, &tandemv1.AuditResponse{Epoch: anchor.Epoch[:], Checkpoint: other.Pack()})
		})
		if err != nil {
			t.Fatal(err)
		}
		if kept, err = c.Audit(t.Context()); err != nil || (kept.Rewritten != "") != tc.counts {
			t.Errorf("another log that %s has signed: %q, %v", tc.name, kept.Rewritten, err)
		}
	}
	word := incident(t, c, "goes on")
	mustSync(t, c)
	if !o.has(word) {
		t.Error("the device goes on no more")
	}
}

// A key of the device's own that was on its way while the device followed the org's is taken
// without going back, and what is in memory after a renewal is what the store has.
func TestOrgKeyMeanwhile(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := o.enrol(o.clinician, t.TempDir())
	mustSync(t, c)
	way, me, err := c.way()
	if err != nil {
		t.Fatal(err)
	}
	key, err := c.freshKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	signed, err := rollover(me, key, 0)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := way.enroll.Rekey(t.Context(), &tandemv1.RekeyRequest{Rollover: signed})
	if err != nil {
		t.Fatal(err)
	}
	now := o.rotate()
	renewal := func(of ed25519.PrivateKey) *tandemv1.OrgRenewal {
		device, _ := syncengine.IDFromBytes(me.answer.GetDevice())
		certificate, err := auth.Certify(now.Signing, &auth.Identity{
			Org: o.org.ID, Person: o.clinician, Device: device, Replica: me.replica, Key: publicKey(of), KeyID: now.KeyID(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return &tandemv1.OrgRenewal{Successors: now.Successors(""), Certificate: certificate}
	}
	if err := c.takeRenewal(t.Context(), renewal(me.key)); err != nil || !now.PublicKey().Equal(orgKeyOf(t, c)) {
		t.Fatalf("the org's key is not followed: %v", err)
	}
	if err := c.takeKey(t.Context(), me, key, answer); !errors.Is(err, ErrNetwork) || !now.PublicKey().Equal(orgKeyOf(t, c)) {
		t.Errorf("a certificate of the key before: %v", err)
	}
	// It is asked again, as what the device is now.
	word := incident(t, c, "after both")
	mustSync(t, c)
	if own, err := c.identity(); err != nil || !own.key.Equal(key) || !now.PublicKey().Equal(orgKeyOf(t, c)) || !o.has(word) {
		t.Errorf("after both it has its new key: %t, %v", own.key.Equal(key), err)
	}

	now = o.rotate()
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	err = c.store.write(t.Context(), "taking another key", func(t *tx) error { return t.setMeta(metaKey, other.Seed()) })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.takeRenewal(t.Context(), renewal(key)); err != nil {
		t.Fatal(err)
	}
	if own, err := c.identity(); err != nil || !own.key.Equal(other) {
		t.Errorf("in memory is another key than in the store, %v", err)
	}
}

// A replica id that was on its way while the device followed the org's key is not taken with
// the certificate of the key before: it is asked for again.
func TestReplicaMeanwhile(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := o.enrol(o.clinician, t.TempDir())
	mustSync(t, c)
	me, err := c.identity()
	if err != nil {
		t.Fatal(err)
	}
	device, _ := syncengine.IDFromBytes(me.answer.GetDevice())
	now := o.rotate()
	certificate, err := auth.Certify(now.Signing, &auth.Identity{
		Org: o.org.ID, Person: o.clinician, Device: device, Replica: me.replica, Key: publicKey(me.key), KeyID: now.KeyID(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.takeRenewal(t.Context(), &tandemv1.OrgRenewal{Successors: now.Successors(""), Certificate: certificate}); err != nil {
		t.Fatal(err)
	}
	key, other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize)), syncengine.ID{9}
	c.pushing <- struct{}{}
	err = c.rename(t.Context(), me, key, other, me.answer, "of the key before")
	<-c.pushing
	if !errors.Is(err, ErrNetwork) || !errors.Is(err, errRenewed) {
		t.Errorf("an id with a certificate of the key before: %v", err)
	}
	own, err := c.identity()
	if err != nil || own.replica != me.replica || !own.key.Equal(me.key) || !now.PublicKey().Equal(orgKeyOf(t, c)) {
		t.Errorf("it is another replica, or knows the key before again: %v", err)
	}
	word := incident(t, c, "goes on as it was")
	mustSync(t, c)
	if !o.has(word) {
		t.Error("the device goes on no more")
	}
}

// What a server says of its keys has room for all that its org may have had.
func TestServerKeysRoom(t *testing.T) {
	t.Parallel()
	was, key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)), ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	said := &tandemv1.ServerKeys{Keys: [][]byte{make([]byte, keySize), make([]byte, keySize)}, Signature: make([]byte, ed25519.SignatureSize)}
	for n := range syncengine.MaxOrgKeys {
		said.Successors = append(said.Successors, syncengine.SignOrgSuccessor(syncengine.ID{1}, uint64(n)+1, was, key, 1<<41, 1<<41))
	}
	if size := proto.Size(said); size > maxServerKeys {
		t.Errorf("%d bytes do not fit into %d", size, maxServerKeys)
	}
}
