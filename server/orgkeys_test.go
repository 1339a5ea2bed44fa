package server_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// rotated gives the org of a world another key.
func (w *world) rotated(grace time.Duration) {
	w.t.Helper()
	w.org = w.rotates(grace)
}

// rotates is rotated while others look at the world.
func (w *world) rotates(grace time.Duration) *store.Org {
	w.t.Helper()
	must[*tandemv1.OrgSuccessor](w.t)(w.s.RotateSigning(w.t.Context(), w.org.ID, grace))
	return must[*store.Org](w.t)(w.s.Org(w.t.Context(), w.org.ID))
}

// renewed lets a device take what an answer says of the org's keys.
func (d *device) renewed(answer *tandemv1.SyncAnswer) (steps int) {
	d.w.t.Helper()
	r := answer.GetTrailer().GetRenewal()
	newest, followed, err := syncengine.FollowOrgKey(d.w.org.ID, d.answer.GetOrgKey(), r.GetSuccessors())
	if err != nil {
		d.w.t.Fatal(err)
	}
	d.answer.OrgKey = newest
	if r != nil {
		d.answer.Certificate, d.way.certificate = r.GetCertificate(), r.GetCertificate()
	}
	return len(followed)
}

// later lets time pass, after which devices need a nonce anew.
func (w *world) later(d time.Duration, devices ...*device) {
	w.t.Helper()
	w.pass(d)
	for _, one := range devices {
		_, _ = one.sync.Sync(w.t.Context(), &tandemv1.SyncRequest{})
	}
}

func applied(answer *tandemv1.SyncAnswer) bool {
	return len(answer.GetOutcomes()) == 1 && answer.GetOutcomes()[0].GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED
}

// While the org gets one key after another, devices push and pull as before; each finds its
// way to the newest key, also one that was away meanwhile, whose sealed words are opened.
func TestOrgKeys(t *testing.T) { each(t, testOrgKeys) }

func testOrgKeys(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 96)
	busy, away := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	sealed := away.sealedOf(away.creation(encounter(w, marker)))
	var under sync.WaitGroup
	done := make(chan struct{})
	under.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			answer, err := busy.call(t.Context(), busy.push(busy.creation(encounter(w, "meanwhile"))))
			if err != nil || !applied(answer) {
				t.Errorf("push %d during a rotation: %v, %v", n, answer.GetOutcomes(), err)
				return
			}
			if _, err := busy.call(t.Context(), &tandemv1.SyncRequest{Budget: 1 << 20, Positions: []*tandemv1.ScopePosition{{}}}); err != nil {
				t.Errorf("pull %d during a rotation: %v", n, err)
				return
			}
			busy.renewed(answer)
		}
	})
	first, seed := w.org.PublicKey(), base64.StdEncoding.EncodeToString(w.org.Signing.Seed())
	var now *store.Org
	for range 3 {
		now = w.rotates(time.Hour)
	}
	close(done)
	under.Wait()
	w.org = now
	w.later(2*time.Hour, away, busy)

	answer := away.must(&tandemv1.SyncRequest{})
	if n := away.renewed(answer); n != 3 || !bytes.Equal(away.answer.GetOrgKey(), w.org.PublicKey()) || bytes.Equal(away.answer.GetOrgKey(), first) {
		t.Errorf("a device that was away follows %d keys", n)
	}
	if answer := away.must(&tandemv1.SyncRequest{}); answer.GetTrailer().GetRenewal() != nil {
		t.Error("a device that has followed is told again")
	}
	if got := results(busy.deliver(sealed...)); got != "TAKEN,TAKEN" {
		t.Errorf("what was sealed before is %s", got)
	}
	late := w.enrolled(3, w.clinician)
	keys, before := syncengine.OrgKeys(w.org.ID, late.answer.GetOrgKey(), late.answer.GetSuccessors())
	if len(keys) != 4 || before != 0 || !keys[0].Equal(first) || !bytes.Equal(late.answer.GetOrgKey(), w.org.PublicKey()) {
		t.Errorf("a device that is enrolled now knows %d keys", len(keys))
	}
	entries := w.audited(tandemv1.AuditAct_AUDIT_ACT_ORG_KEYED)
	if len(entries) != 3 || entries[2].GetNumber() != 3 || !bytes.Equal(entries[2].GetKey(), w.org.PublicKey()) {
		t.Errorf("the audit log has %v", entries)
	}
	if report, err := w.admin.CheckAudit(t.Context(), nil); err != nil || len(report.Faults) > 0 || report.Checkpoints < 3 {
		t.Errorf("the audit log: %+v, %v", report, err)
	}
	file := must[[]byte](t)(os.ReadFile(filepath.Join(w.dir, "keys.json")))
	if bytes.Contains(file, []byte(seed)) {
		t.Error("the first key is kept")
	}
}

// What a key that was replaced has certified is good for replicas that are known, and for
// no others once its grace is over.
func TestFormerOrgKey(t *testing.T) { each(t, testFormerOrgKey) }

func testFormerOrgKey(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 97)
	d := w.enrolled(1, w.clinician)
	stolen := w.org.Signing
	w.rotated(time.Hour)
	forge := func(fill byte, replica syncengine.ID, generation uint64) *device {
		f := w.newDevice(fill)
		f.replica = replica
		f.person, f.dev, f.way.nonce = d.person, d.dev, d.way.nonce
		f.way.certificate = must[string](t)(auth.Certify(stolen, &auth.Identity{
			Org: w.org.ID, Person: d.person, Device: d.dev, Replica: replica, Key: ed25519.PublicKey(f.key[ed25519.SeedSize:]), Generation: generation,
		}))
		return f
	}
	early := forge(8, syncengine.ID{0xdd, 8}, 0)
	if answer := early.must(early.push(early.creation(encounter(w, "early")))); !applied(answer) {
		t.Errorf("within its grace: %v", answer.GetOutcomes())
	}
	w.pass(2 * time.Hour)
	// A server that has met none of them yet.
	w.restart(func() {}, d)
	// In this order: once a replica was met, its key alone counts.
	for _, tc := range []struct {
		what string
		f    *device
		want connect.Code
	}{
		{"a replica that is not known", forge(9, syncengine.ID{0xdd, 9}, 0), connect.CodeUnauthenticated},
		{"another key of one that is", forge(10, d.replica, 1), connect.CodeUnauthenticated},
		{"the place of one that is", forge(11, d.replica, 0), connect.CodePermissionDenied},
	} {
		tc.f.way.nonce = d.way.nonce
		_, err := tc.f.call(t.Context(), tc.f.push(tc.f.creation(encounter(w, marker))))
		if codeOf(err) != tc.want {
			t.Errorf("%s after its grace: %v", tc.what, err)
		}
	}
	// Whoever was let in by it stays in, however late.
	if answer := d.must(d.push(d.creation(encounter(w, "still here")))); !applied(answer) || d.renewed(answer) != 1 {
		t.Errorf("a device of before, after its grace: %v", answer)
	}
	// What it says of a replica that is known is not believed either.
	own := d.way.certificate
	for what, id := range map[string]auth.Identity{
		"another person": {Person: w.second, Device: d.dev}, "another device": {Person: d.person, Device: syncengine.ID{0xde, 1}},
	} {
		id.Org, id.Replica, id.Key = w.org.ID, d.replica, ed25519.PublicKey(d.key[ed25519.SeedSize:])
		d.way.certificate = must[string](t)(auth.Certify(stolen, &id))
		answer, err := d.call(t.Context(), d.push(d.creation(encounter(w, marker))))
		if codeOf(err) != connect.CodeUnauthenticated {
			t.Errorf("as %s: %v, %v", what, answer.GetTrailer().GetRenewal(), err)
		}
		if _, err := d.sync.Audit(t.Context(), &tandemv1.AuditRequest{}); codeOf(err) != connect.CodeUnauthenticated {
			t.Errorf("the audit log as %s: %v", what, err)
		}
		if _, err := d.sync.Deliver(t.Context(), &tandemv1.DeliverRequest{}); codeOf(err) != connect.CodeUnauthenticated {
			t.Errorf("a delivery as %s: %v", what, err)
		}
	}
	d.way.certificate = own
	// A key that is good for nothing new at once takes those before it along.
	w.rotated(100 * time.Hour)
	w.rotated(0)
	last := w.org.Keys()
	for _, key := range last[:3] {
		if name := store.NameOfKey(key); !w.org.Over(name, w.clock().UnixMilli()) {
			t.Errorf("key %s is good for something new still", name)
		}
	}
}

// A database that is set back to before a rotation is brought after it: devices that have
// followed are let in. A keys file that is set back is refused.
func TestOrgKeysSurviveARestore(t *testing.T) { each(t, testOrgKeysSurviveARestore) }

func testOrgKeysSurviveARestore(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 98)
	d := w.enrolled(1, w.clinician)
	stolen := w.org.Signing
	back := w.copied()
	d.connect(w.http.URL)
	old := must[[]byte](t)(os.ReadFile(filepath.Join(w.dir, "keys.json")))
	w.rotated(time.Hour)
	w.rotated(time.Hour)
	_, _ = d.call(t.Context(), &tandemv1.SyncRequest{})
	if d.renewed(d.must(&tandemv1.SyncRequest{})) != 2 {
		t.Fatal("the device has not followed")
	}
	newest := w.org.PublicKey()
	w.restart(back, d)
	if !w.org.PublicKey().Equal(newest) || !must[*store.Org](t)(w.s.Signer(t.Context(), w.org.ID)).Certifies() {
		t.Error("the org signs with another key after the restore")
	}
	if answer := d.must(d.push(d.creation(encounter(w, "after the restore")))); !applied(answer) || answer.GetTrailer().GetRenewal() != nil {
		t.Errorf("a device that has followed, after the restore: %v", answer)
	}
	// One introduction that is good for nothing any more holds up nothing else that its
	// courier brings.
	w.rotated(0)
	must[syncengine.HistoryHead](t)(w.s.MintEpoch(t.Context(), w.org.ID))
	forged := w.newDevice(9)
	forged.replica, forged.answer = syncengine.ID{0xdd, 9}, proto.CloneOf(d.answer)
	forged.answer.Certificate = must[string](t)(auth.Certify(stolen, &auth.Identity{
		Org: w.org.ID, Person: d.person, Device: d.dev, Replica: forged.replica, Key: ed25519.PublicKey(forged.key[ed25519.SeedSize:]),
	}))
	sealed := append(forged.sealedOf(forged.creation(encounter(w, marker))), d.sealedOf(d.creation(encounter(w, "carried")))...)
	if got := results(d.deliver(sealed...)); got != "TAKEN,UNKNOWN_REPLICA,TAKEN,TAKEN" {
		t.Errorf("with an introduction of a former key: %s", got)
	}
	if n := len(w.audited(tandemv1.AuditAct_AUDIT_ACT_ORG_KEYED)); n != 3 {
		t.Errorf("the log of the restored database tells of %d keys", n)
	}
	if report, err := w.admin.CheckAudit(t.Context(), nil); err != nil || len(report.Faults) > 0 {
		t.Errorf("the audit log: %+v, %v", report, err)
	}
	w.srv.End()
	w.http.Close()
	if err := w.s.Close(); err != nil {
		t.Fatal(err)
	}
	back()
	if err := os.WriteFile(filepath.Join(w.dir, "keys.json"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	w.open(store.Options{})
	if _, err := server.New(w.s, server.Options{Clock: w.clock}); !errors.Is(err, store.ErrKeysLost) {
		t.Errorf("with the keys of before: %v", err)
	}
}

// A server whose keys file is older than the newest key lets in whoever was certified since,
// takes in and sends out, and certifies nobody until it has the key.
func TestOrgKeysBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres, 99)
	d := w.enrolled(1, w.clinician)
	second := t.TempDir()
	keys := filepath.Join(second, "keys.json")
	copyKeys := func() {
		if err := os.WriteFile(keys, must[[]byte](t)(os.ReadFile(filepath.Join(w.dir, "keys.json"))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	copyKeys()
	here := w.dir
	w.rotated(time.Hour)
	if d.renewed(d.must(&tandemv1.SyncRequest{})) != 1 {
		t.Fatal("the device has not followed")
	}
	w.restart(func() { w.dir = second }, d)
	if answer := d.must(d.push(d.creation(encounter(w, "beside")))); !applied(answer) {
		t.Errorf("at a server with the keys of before: %v", answer.GetOutcomes())
	}
	kept, stop := context.WithCancel(t.Context())
	var keeping sync.WaitGroup
	keeping.Go(func() { _ = w.srv.KeepJournal(kept) })
	for !strings.Contains(w.log.String(), "this server certifies nobody") {
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	keeping.Wait()
	was := must[[]byte](t)(os.ReadFile(keys))
	if _, err := w.s.RotateSigning(t.Context(), w.org.ID, 0); !errors.Is(err, store.ErrKeysBehind) {
		t.Errorf("a rotation there: %v", err)
	}
	if !bytes.Equal(was, must[[]byte](t)(os.ReadFile(keys))) {
		t.Error("a refused rotation has changed the keys file")
	}
	late, code := w.newDevice(4), w.code(w.second)
	_, err := late.enroll.Enroll(t.Context(), late.enrolment(code))
	if codeOf(err) != connect.CodeUnavailable {
		t.Errorf("an enrolment there: %v", err)
	}
	w.dir = here
	copyKeys()
	w.dir = second
	answer := must[*tandemv1.EnrollResponse](t)(late.enroll.Enroll(t.Context(), late.enrolment(code)))
	if !bytes.Equal(answer.GetOrgKey(), w.org.PublicKey()) || len(answer.GetSuccessors()) != 1 {
		t.Error("with the new keys it enrols with another key")
	}
}

// A device of a version that does not follow its org's keys gets no certificate that it would
// not take: nothing is done, and it goes on with what it has.
func TestOrgKeyNotFollowed(t *testing.T) { each(t, testOrgKeyNotFollowed) }

func testOrgKeyNotFollowed(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 101)
	d := w.enrolled(1, w.clinician)
	w.rotated(time.Hour)
	rollover := d.rollover(keyOf(90), 0).sign(t)
	if _, err := d.enroll.Rekey(t.Context(), &tandemv1.RekeyRequest{Rollover: rollover}); codeOf(err) != connect.CodeUnavailable {
		t.Errorf("another key: %v", err)
	}
	id := syncengine.ID{0xee, 1}
	next := &tandemv1.ReinstanceRequest{
		PublicKey: keyOf(91)[ed25519.SeedSize:], Replica: id[:],
		Proof: ed25519.Sign(keyOf(91), append(append([]byte("tandem-reinstance-v1"), d.replica[:]...), id[:]...)),
	}
	if _, err := d.enroll.Reinstance(t.Context(), next); codeOf(err) != connect.CodeUnavailable {
		t.Errorf("another replica: %v", err)
	}
	if all := must[[]*syncengine.Replica](t)(w.s.Replicas(t.Context(), w.org.ID)); len(all) != 1 {
		t.Errorf("there are %d replicas", len(all))
	}
	if answer := d.must(d.push(d.creation(encounter(w, "as before")))); !applied(answer) {
		t.Errorf("with the key of before: %v", answer.GetOutcomes())
	}
	next.Follows = true
	if answer, err := d.enroll.Reinstance(t.Context(), next); err != nil || len(answer.GetSuccessors()) != 1 {
		t.Errorf("another replica that follows: %v", err)
	}
	answer, err := d.enroll.Rekey(t.Context(), &tandemv1.RekeyRequest{Rollover: d.rollover(keyOf(90), d.op).sign(t), Follows: true})
	if err != nil || len(answer.GetSuccessors()) != 1 {
		t.Errorf("another key that follows: %v", err)
	}
}

// A server that has not looked at the org's keys since another one replaced them lets nobody
// new in by a key whose grace is over, nor does one whose clock is behind.
func TestFormerOrgKeyElsewhere(t *testing.T) { each(t, testFormerOrgKeyElsewhere) }

func testFormerOrgKeyElsewhere(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 102)
	d := w.enrolled(1, w.clinician)
	d.must(&tandemv1.SyncRequest{})
	stolen := w.org.Signing
	beside := must[*store.Store](t)(store.Open(t.Context(), w.dir, store.Options{
		Clock: func() time.Time { return w.clock().Add(time.Hour) }, Database: w.database, Volatile: true,
	}))
	t.Cleanup(func() { _ = beside.Close() })
	must[*store.Org](t)(beside.Signer(t.Context(), w.org.ID))
	forged := w.newDevice(9)
	forged.replica, forged.person, forged.dev, forged.way.nonce = syncengine.ID{0xdd, 9}, d.person, d.dev, d.way.nonce
	forged.way.certificate = must[string](t)(auth.Certify(stolen, &auth.Identity{
		Org: w.org.ID, Person: d.person, Device: d.dev, Replica: forged.replica, Key: ed25519.PublicKey(forged.key[ed25519.SeedSize:]),
	}))
	push := forged.push(forged.creation(encounter(w, marker)))
	must[*tandemv1.OrgSuccessor](t)(beside.RotateSigning(t.Context(), w.org.ID, 0))
	if _, err := forged.call(t.Context(), push); codeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("after a rotation at another server: %v", err)
	}
}
