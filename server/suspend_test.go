package server_test

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// Of a device that is suspended nothing is taken and nothing is sent to it, by no call of
// any of its stores, also after the database was set back; another device of its person, and
// other people's, work on. What it has kept is applied once that is lifted.
func TestSuspendedDevice(t *testing.T) { each(t, testSuspendedDevice) }

func testSuspendedDevice(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 83)
	ctx := t.Context()
	one, own, other := w.enrolled(1, w.clinician), w.enrolled(3, w.clinician), w.enrolled(2, w.second)
	one.must(one.push(one.creation(encounter(w, "before"))))
	// Its store was copied: both are of the one device.
	twin := one.copied(9)
	all := []*device{one, twin, own, other}
	back := w.copied()
	w.pass(time.Second)
	for _, d := range all {
		d.connect(w.http.URL)
		// The nonce is that of the server before.
		_, _ = d.call(ctx, &tandemv1.SyncRequest{})
	}
	refused := func(what string, err error) {
		t.Helper()
		var refusal *connect.Error
		if !errors.As(err, &refusal) || refusal.Code() != connect.CodePermissionDenied || refusal.Meta().Get(server.SuspendedHeader) == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := one.call(ctx, &tandemv1.SyncRequest{WaitMs: 40_000})
		waiting <- err
	}()
	if err := w.admin.LiftDevice(ctx, one.dev); !errors.Is(err, server.ErrNotSuspended) {
		t.Errorf("lifted what stands nowhere: %v", err)
	}
	for range 2 {
		if err := w.admin.SuspendDevice(ctx, one.dev); err != nil {
			t.Fatal(err)
		}
	}
	refused("who waits for news", <-waiting)
	kept := one.push(one.creation(encounter(w, marker)))
	shut := func() {
		t.Helper()
		head := w.head()
		_, err := one.call(ctx, kept)
		refused("a push", err)
		for by, d := range map[string]*device{"": one, ", by its other store": twin} {
			_, err := d.call(ctx, &tandemv1.SyncRequest{})
			refused("a pull"+by, err)
			_, err = d.sync.Reconcile(ctx, &tandemv1.ReconcileRequest{})
			refused("a comparison"+by, err)
			_, err = d.sync.Audit(ctx, &tandemv1.AuditRequest{})
			refused("its own log"+by, err)
			_, err = d.sync.Deliver(ctx, &tandemv1.DeliverRequest{})
			refused("a delivery"+by, err)
			_, err = d.sync.BreakGlass(ctx, &tandemv1.BreakGlassRequest{})
			refused("an emergency"+by, err)
			_, err = d.sync.GetBlobChunk(ctx, &tandemv1.GetBlobChunkRequest{})
			refused("a file"+by, err)
			_, err = d.put(w.id(), 0, nil)
			refused("a piece of a file"+by, err)
			_, err = d.enroll.Rekey(ctx, &tandemv1.RekeyRequest{Rollover: d.rollover(keyOf(90), 0).sign(t)})
			refused("another key"+by, err)
			_, err = d.enroll.Reinstance(ctx, d.reinstance(w.newDevice(91)))
			refused("another replica"+by, err)
		}
		if w.head() != head {
			t.Error("something of it was taken")
		}
		own.must(&tandemv1.SyncRequest{})
		other.must(&tandemv1.SyncRequest{})
	}
	shut()
	devices := must[[]*server.DeviceState](t)(w.admin.Devices(ctx))
	i := slices.IndexFunc(devices, func(s *server.DeviceState) bool { return s.ID == one.dev })
	if s := devices[i]; s.State != "suspended" || s.SuspendedMS == 0 || s.Revoked {
		t.Errorf("the list says %+v", s)
	}

	w.restart(back, all...)
	shut()
	head := w.head()
	if err := w.srv.ReplayJournal(ctx); err != nil || w.head() != head {
		t.Errorf("a second replay has written something, %v", err)
	}

	if err := w.admin.LiftDevice(ctx, one.dev); err != nil {
		t.Fatal(err)
	}
	if got := refusals(one.must(kept)); got != "APPLIED:UNSPECIFIED" {
		t.Errorf("what it has kept: %s", got)
	}

	// An order to wipe it goes before; where that is taken back it is suspended as it was.
	if err := errors.Join(w.admin.SuspendDevice(ctx, one.dev), w.admin.WipeDevice(ctx, one.dev), w.admin.WithdrawWipe(ctx, one.dev)); err != nil {
		t.Fatal(err)
	}
	_, err := one.call(ctx, &tandemv1.SyncRequest{})
	refused("after the order was taken back", err)
	if err := w.admin.WipeDevice(ctx, one.dev); err != nil {
		t.Fatal(err)
	}
	if !ordered(one.must(&tandemv1.SyncRequest{})) {
		t.Error("a device that was suspended does not hear of the order to wipe itself")
	}
	if err := w.admin.RevokeDevice(ctx, other.dev); err != nil {
		t.Fatal(err)
	}
	if err := w.admin.SuspendDevice(ctx, other.dev); !errors.Is(err, server.ErrDeviceOut) {
		t.Errorf("suspended what is shut out: %v", err)
	}
	if _, absent := errors.AsType[*server.AbsentError](w.admin.SuspendDevice(ctx, w.clinician)); !absent {
		t.Error("a person was suspended as a device")
	}
	for _, act := range []tandemv1.AuditAct{tandemv1.AuditAct_AUDIT_ACT_DEVICE_SUSPENDED, tandemv1.AuditAct_AUDIT_ACT_DEVICE_LIFTED} {
		if len(w.audited(act)) == 0 {
			t.Errorf("%s is not in the audit log", act)
		}
	}
}

// reinstance is what a store asks that was copied: another becomes a replica of its own.
func (d *device) reinstance(copied *device) *tandemv1.ReinstanceRequest {
	return &tandemv1.ReinstanceRequest{
		PublicKey: copied.key[ed25519.SeedSize:], Replica: copied.replica[:],
		Proof: ed25519.Sign(copied.key, slices.Concat([]byte("tandem-reinstance-v1"), d.replica[:], copied.replica[:])),
	}
}

// copied is a second store of a device.
func (d *device) copied(fill byte) *device {
	d.w.t.Helper()
	twin := d.w.newDevice(fill)
	answer := must[*tandemv1.ReinstanceResponse](d.w.t)(d.enroll.Reinstance(d.w.t.Context(), d.reinstance(twin)))
	twin.way.certificate, twin.person, twin.dev = answer.GetCertificate(), d.person, d.dev
	return twin
}

// What another device hands in of one that is suspended stays where it is.
func TestSuspendedDelivery(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite, 84)
	one, other := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	entries := one.sealedOf(one.creation(encounter(w, marker)))
	if err := w.admin.SuspendDevice(t.Context(), one.dev); err != nil {
		t.Fatal(err)
	}
	if got := results(other.deliver(entries...)); got != "TAKEN,SUSPENDED" {
		t.Errorf("got %s", got)
	}
	if err := w.admin.LiftDevice(t.Context(), one.dev); err != nil {
		t.Fatal(err)
	}
	if got := results(other.deliver(entries...)); got != "TAKEN,TAKEN" {
		t.Errorf("got %s", got)
	}
}

// A code is no way around a suspension: not one that was made before it, and not one by which
// the suspended store itself would be enrolled again. Another device of its person is enrolled
// by a code that was made since, and all is as before once it is lifted.
func TestSuspendedEnrolment(t *testing.T) { each(t, testSuspendedEnrolment) }

func testSuspendedEnrolment(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 85)
	ctx := t.Context()
	one := w.enrolled(1, w.clinician)
	before, others := w.code(w.clinician), w.code(w.second)
	w.pass(time.Second)
	if err := w.admin.SuspendDevice(ctx, one.dev); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Second)
	enrol := func(d *device, code string) error {
		_, err := d.enroll.Enroll(ctx, d.enrolment(code))
		return err
	}
	if err := enrol(w.newDevice(2), before); err == nil || !strings.Contains(err.Error(), server.ErrCode.Error()) {
		t.Errorf("by a code from before: %v", err)
	}
	var refusal *connect.Error
	if err := enrol(one, w.code(w.clinician)); !errors.As(err, &refusal) || refusal.Meta().Get(server.SuspendedHeader) == "" {
		t.Errorf("the suspended store: %v", err)
	}
	for what, err := range map[string]error{
		"another person's": enrol(w.newDevice(3), others), "by a code since": enrol(w.newDevice(4), w.code(w.clinician)),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := w.admin.LiftDevice(ctx, one.dev); err != nil {
		t.Fatal(err)
	}
	one.must(&tandemv1.SyncRequest{})
	if err := enrol(w.newDevice(5), before); err != nil {
		t.Errorf("after it was lifted: %v", err)
	}
}

// Who is shut out for good is suspended no more, be it the device or its person, also where an
// older copy comes back; an order to wipe one leaves that as it is, and in sight.
func TestSuspendedAndOut(t *testing.T) { each(t, testSuspendedAndOut) }

func testSuspendedAndOut(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 88)
	ctx := t.Context()
	one, other, third := w.enrolled(1, w.clinician), w.enrolled(2, w.second), w.enrolled(3, w.second)
	since := func() (at map[syncengine.ID]int64) {
		t.Helper()
		at = map[syncengine.ID]int64{}
		for _, s := range must[[]store.Suspension](t)(w.s.Suspensions(ctx, w.org.ID)) {
			at[s.Device] = s.SinceMS
		}
		for _, d := range must[[]*server.DeviceState](t)(w.admin.Devices(ctx)) {
			if d.SuspendedMS != at[d.ID] {
				t.Errorf("the list says suspended %d, the table %d", d.SuspendedMS, at[d.ID])
			}
		}
		return at
	}
	for _, d := range []*device{one, other, third} {
		if err := w.admin.SuspendDevice(ctx, d.dev); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.admin.WipeDevice(ctx, third.dev); err != nil {
		t.Fatal(err)
	}
	if got := since(); len(got) != 3 {
		t.Errorf("of three that are suspended %d are", len(got))
	}
	back := w.copied()
	if err := w.admin.RevokeDevice(ctx, one.dev); err != nil {
		t.Fatal(err)
	}
	if got := since(); len(got) != 2 || got[one.dev] != 0 {
		t.Errorf("after one was shut out %d are", len(got))
	}
	w.restart(back, one, other)
	if got := since(); len(got) != 2 || got[one.dev] != 0 {
		t.Errorf("after an older copy has come back %d are", len(got))
	}
	if err := w.admin.WithdrawWipe(ctx, third.dev); err != nil {
		t.Fatal(err)
	}
	if got := since(); got[third.dev] == 0 {
		t.Error("after the order was taken back it is not suspended as it was")
	}
	if err := w.admin.RevokePerson(ctx, w.second); err != nil {
		t.Fatal(err)
	}
	if got := since(); len(got) != 0 {
		t.Errorf("after their person was shut out %d are", len(got))
	}
}

// suspending suspends a device once, while a change is looked at for the first time.
type suspending struct {
	syncengine.Rules
	suspend func()
}

func (r *suspending) Check(c *tandemv1.Change) *syncengine.Refusal {
	r.suspend()
	return r.Rules.Check(c)
}

// One that is suspended while a delivery is judged is answered so by entry: the caller's own
// device is not the one that is.
func TestSuspendedAmidDelivery(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite, 86)
	one, other := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	entries := one.sealedOf(one.creation(encounter(w, marker)))
	server.SetRules(w.srv, func(r syncengine.Rules) syncengine.Rules {
		return &suspending{r, sync.OnceFunc(func() {
			if err := w.admin.SuspendDevice(t.Context(), one.dev); err != nil {
				t.Error(err)
			}
		})}
	})
	if got := results(other.deliver(entries...)); got != "TAKEN,SUSPENDED" {
		t.Errorf("got %s", got)
	}
}
