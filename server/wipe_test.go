package server_test

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// receipt is what a device of the world would send once it is wiped.
func (d *device) receipt() *tandemv1.WipedRequest {
	org := d.w.org.ID
	return &tandemv1.WipedRequest{
		Org: org[:], Replica: d.replica[:], Order: syncengine.WipeOrder,
		Signature: syncengine.SignWiped(d.key, org, d.replica, syncengine.WipeOrder),
	}
}

// ordered reports whether an answer orders a wipe.
func ordered(answer *tandemv1.SyncAnswer) bool {
	return slices.ContainsFunc(answer.GetTrailer().GetOrders(), func(o *tandemv1.Order) bool {
		return o.GetAct() == syncengine.ActWipe && o.GetNumber() == syncengine.WipeOrder
	})
}

// An order to wipe is told at every contact, ends a wait for news, and stays open until
// the device's own receipt has come. It outlives a database that is set back, and so does
// the receipt.
func TestWipeOrder(t *testing.T) { each(t, testWipeOrder) }

func testWipeOrder(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 81)
	ctx := t.Context()
	one, other := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	state := func(d *device) *server.DeviceState {
		t.Helper()
		all := must[[]*server.DeviceState](t)(w.admin.Devices(ctx))
		i := slices.IndexFunc(all, func(s *server.DeviceState) bool { return s.ID == d.dev })
		if i < 0 {
			t.Fatal("the device is not listed")
		}
		return all[i]
	}
	back := w.copied()
	// The server of a test begins its random numbers anew.
	w.pass(time.Second)
	one.connect(w.http.URL)
	other.connect(w.http.URL)
	for _, d := range []*device{one, other} {
		// The nonce is that of the server before.
		_, _ = d.call(ctx, &tandemv1.SyncRequest{})
	}

	waiting := make(chan *tandemv1.SyncAnswer, 1)
	go func() {
		answer, err := one.call(ctx, &tandemv1.SyncRequest{WaitMs: 40_000})
		if err != nil {
			t.Error(err)
		}
		waiting <- answer
	}()
	if _, err := one.enroll.Wiped(ctx, one.receipt()); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("a receipt without an order: %v", err)
	}
	if err := w.admin.WipeDevice(ctx, one.dev); err != nil {
		t.Fatal(err)
	}
	if !ordered(<-waiting) {
		t.Error("who waits for news is not told")
	}
	if !ordered(one.must(&tandemv1.SyncRequest{})) || ordered(other.must(&tandemv1.SyncRequest{})) {
		t.Error("the order is told to another device, or not at the next contact")
	}
	if got := refusals(one.must(one.push(one.creation(encounter(w, marker))))); got != "QUARANTINED:REVOKED" {
		t.Errorf("what it still sends: %s", got)
	}

	// Nobody else ends it.
	for name, change := range map[string]func(r *tandemv1.WipedRequest){
		"another key": func(r *tandemv1.WipedRequest) {
			r.Signature = syncengine.SignWiped(other.key, w.org.ID, one.replica, syncengine.WipeOrder)
		},
		"another replica":       func(r *tandemv1.WipedRequest) { r.Replica = other.replica[:] },
		"a replica that is not": func(r *tandemv1.WipedRequest) { r.Replica = w.agency[:] },
		"another org":           func(r *tandemv1.WipedRequest) { r.Org = w.agency[:] },
		"another order":         func(r *tandemv1.WipedRequest) { r.Order++ },
		"another order, signed": func(r *tandemv1.WipedRequest) {
			r.Order++
			r.Signature = syncengine.SignWiped(one.key, w.org.ID, one.replica, r.GetOrder())
		},
		"no signature": func(r *tandemv1.WipedRequest) { r.Signature = nil },
		"a batch's signature": func(r *tandemv1.WipedRequest) {
			r.Signature = syncengine.SignBatch(one.key, syncengine.Hash{1})
		},
	} {
		r := one.receipt()
		change(r)
		if _, err := one.enroll.Wiped(ctx, r); connect.CodeOf(err) != connect.CodePermissionDenied && connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: got %v", name, err)
		}
		if s := state(one); s.WipedMS != 0 || s.State != "wipe_pending" {
			t.Fatalf("%s ends the order: %+v", name, s)
		}
	}
	for range 2 {
		if _, err := one.enroll.Wiped(ctx, one.receipt()); err != nil {
			t.Fatal(err)
		}
		if s := state(one); s.WipedMS != w.clock().UnixMilli() || s.State != "wiped" {
			t.Errorf("its own receipt: %+v", s)
		}
	}
	at := w.head()
	if _, err := one.enroll.Wiped(ctx, one.receipt()); err != nil || w.head() != at {
		t.Errorf("a receipt that is repeated has written something, %v", err)
	}
	// A store that shows up again is a copy.
	if !ordered(one.must(&tandemv1.SyncRequest{})) {
		t.Error("a copy of a wiped store is not ordered to wipe itself")
	}
	done := state(one)

	w.restart(back, one, other)
	if s := state(one); s.OrderedMS == 0 || s.WipedMS == 0 || !s.Revoked {
		t.Errorf("after the database was set back: %+v, before %+v", s, done)
	}
	if !ordered(one.must(&tandemv1.SyncRequest{})) || ordered(other.must(&tandemv1.SyncRequest{})) {
		t.Error("after the database was set back the order is told to another device, or to none")
	}
	head := w.head()
	if err := w.srv.ReplayJournal(ctx); err != nil {
		t.Fatal(err)
	}
	if w.head() != head {
		t.Error("a second replay has written something")
	}
}

// A copy of a store has the order too, under its own name. Where the original shows up as
// well, both are to acknowledge: the device is wiped when the last one has.
func TestWipeOfACopy(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		original bool
		stores   int
	}{"the copy alone": {false, 1}, "the original first": {true, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sqlite, 82)
			ctx := t.Context()
			one := w.enrolled(1, w.clinician)
			if err := w.admin.WipeDevice(ctx, one.dev); err != nil {
				t.Fatal(err)
			}
			copied := w.newDevice(9)
			_, err := one.enroll.Reinstance(ctx, &tandemv1.ReinstanceRequest{
				PublicKey: copied.key[ed25519.SeedSize:], Replica: copied.replica[:],
				Proof: ed25519.Sign(copied.key, slices.Concat([]byte("tandem-reinstance-v1"), one.replica[:], copied.replica[:])),
			})
			if err != nil {
				t.Fatal(err)
			}
			if r := w.replica(copied); r.WipeOrderedMS == 0 || !r.Revoked {
				t.Errorf("the copy: %+v", r)
			}
			if tc.original {
				if _, err := one.enroll.Wiped(ctx, one.receipt()); err != nil {
					t.Fatal(err)
				}
				all := must[[]*server.DeviceState](t)(w.admin.Devices(ctx))
				if s := all[0]; s.State != "wipe_pending" || s.WipedMS != 0 || s.Wiped != 1 || s.Stores != 2 {
					t.Errorf("with the copy still there: %+v", s)
				}
				w.pass(time.Second)
			}
			copied.person, copied.dev = one.person, one.dev
			if _, err := copied.enroll.Wiped(ctx, copied.receipt()); err != nil {
				t.Fatal(err)
			}
			all := must[[]*server.DeviceState](t)(w.admin.Devices(ctx))
			if len(all) != 1 || all[0].State != "wiped" || all[0].WipedMS == 0 || all[0].Wiped != tc.stores || all[0].Stores != tc.stores {
				t.Errorf("got %+v", all[0])
			}
		})
	}
}

// An order to wipe a device can be taken back until one of its stores is told, and then
// not any more, also after the database was set back; both are in the audit log. What was
// shut out by the order alone is let in again.
func TestWipeTakenBack(t *testing.T) { each(t, testWipeTakenBack) }

func testWipeTakenBack(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 85)
	ctx := t.Context()
	one, other := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	state := func(d *device) *server.DeviceState {
		t.Helper()
		all := must[[]*server.DeviceState](t)(w.admin.Devices(ctx))
		return all[slices.IndexFunc(all, func(s *server.DeviceState) bool { return s.ID == d.dev })]
	}
	if err := w.admin.WithdrawWipe(ctx, one.dev); !errors.Is(err, server.ErrNoWipe) {
		t.Errorf("without an order: %v", err)
	}
	if _, absent := errors.AsType[*server.AbsentError](w.admin.WithdrawWipe(ctx, w.agency)); !absent {
		t.Error("an agency is taken for a device")
	}
	wipe := func(d *device) {
		t.Helper()
		w.pass(time.Minute)
		if err := w.admin.WipeDevice(ctx, d.dev); err != nil {
			t.Fatal(err)
		}
	}
	back := w.copied()
	fresh := func() {
		for _, d := range []*device{one, other} {
			d.connect(w.http.URL)
			_, _ = d.call(ctx, &tandemv1.SyncRequest{})
		}
	}
	w.pass(time.Second)
	for range 2 {
		wipe(one)
		if s := state(one); !s.Revoked || s.OrderedMS == 0 || s.ToldMS != 0 || s.State != "wipe_pending" {
			t.Errorf("ordered, it is %+v", s)
		}
		if err := w.admin.WithdrawWipe(ctx, one.dev); err != nil {
			t.Fatal(err)
		}
		if s := state(one); s.Revoked || s.OrderedMS != 0 || s.State != "active" {
			t.Errorf("taken back, it is %+v", s)
		}
	}
	fresh()
	if ordered(one.must(&tandemv1.SyncRequest{})) {
		t.Error("an order that was taken back is told")
	}
	if got := refusals(one.must(one.push(one.creation(encounter(w, marker))))); got != "APPLIED:UNSPECIFIED" {
		t.Errorf("what it sends: %s", got)
	}

	// Who was shut out before stays out.
	if err := w.admin.RevokeDevice(ctx, other.dev); err != nil {
		t.Fatal(err)
	}
	wipe(other)
	if err := w.admin.WithdrawWipe(ctx, other.dev); err != nil {
		t.Fatal(err)
	}
	if s := state(other); !s.Revoked || s.OrderedMS != 0 || s.State != "revoked" {
		t.Errorf("shut out before, it is %+v", s)
	}

	// Once it was told it stands.
	wipe(one)
	told := w.clock().UnixMilli()
	if !ordered(one.must(&tandemv1.SyncRequest{})) {
		t.Fatal("the order is not told")
	}
	w.pass(time.Hour)
	refused := func(when string) {
		t.Helper()
		// The journal's times are its own by a millisecond or so.
		err := w.admin.WithdrawWipe(ctx, one.dev)
		if e, ok := errors.AsType[*server.WipeToldError](err); !ok || e.AtMS-told > 5 || e.AtMS < told || !strings.Contains(err.Error(), "was told") {
			t.Errorf("%s: %v", when, err)
		}
		if s := state(one); !s.Revoked || s.OrderedMS == 0 || s.ToldMS-told > 5 || s.ToldMS < told {
			t.Errorf("%s it is %+v", when, s)
		}
	}
	refused("told")
	acts := map[tandemv1.AuditAct]int{}
	err := w.admin.AuditLog(ctx, func(l *store.AuditLog) error {
		return l.Each(0, func(_ int64, raw []byte) error {
			e := &tandemv1.AuditEntry{}
			err := proto.Unmarshal(raw, e)
			acts[e.GetAct()]++
			return err
		})
	})
	if err != nil || acts[tandemv1.AuditAct_AUDIT_ACT_WIPE_WITHDRAWN] != 3 || acts[tandemv1.AuditAct_AUDIT_ACT_WIPE_TOLD] != 1 || acts[tandemv1.AuditAct_AUDIT_ACT_WIPE_ORDERED] != 4 {
		t.Errorf("the audit log has %v, %v", acts, err)
	}

	w.restart(back, one, other)
	refused("after the database was set back")
	if s := state(other); !s.Revoked || s.OrderedMS != 0 {
		t.Errorf("after the database was set back the one that was shut out is %+v", s)
	}
	if _, err := one.enroll.Wiped(ctx, one.receipt()); err != nil {
		t.Fatal(err)
	}
	refused("wiped")
}

// Of taking an order back and telling it, whichever comes first holds: no device is told
// of an order that was taken back.
func TestWipeTakenBackRaced(t *testing.T) { each(t, testWipeTakenBackRaced) }

func testWipeTakenBackRaced(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 86)
	one := w.enrolled(1, w.clinician)
	kept, lost := 0, 0
	for range 12 {
		w.pass(time.Minute)
		if err := w.admin.WipeDevice(t.Context(), one.dev); err != nil {
			t.Fatal(err)
		}
		took := make(chan error, 1)
		go func() { took <- w.admin.WithdrawWipe(t.Context(), one.dev) }()
		told := ordered(one.must(&tandemv1.SyncRequest{}))
		err := <-took
		if _, refused := errors.AsType[*server.WipeToldError](err); refused != told || !refused && err != nil {
			t.Fatalf("told: %v, taken back: %v", told, err)
		}
		if told {
			lost++
			break
		}
		kept++
	}
	t.Logf("taken back %d times, told %d times", kept, lost)
}
