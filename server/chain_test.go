package server_test

import (
	"crypto/ed25519"
	"testing"
	"time"

	"connectrpc.com/connect"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/audit"
	"google.golang.org/protobuf/proto"
)

// chainOf is one delivery of a device's audit chain: entries from a number on, after a hash.
func chainOf(t *testing.T, d *device, first uint64, prev syncengine.Hash, codes ...string) (req *tandemv1.AuditRequest, end syncengine.Hash) {
	t.Helper()
	req = &tandemv1.AuditRequest{First: first, Prev: prev[:]}
	end = prev
	for i, code := range codes {
		raw := must[[]byte](t)(proto.Marshal(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_GONE_THROUGH, Code: code, AtMs: 1}))
		req.Entries = append(req.Entries, raw)
		end = audit.ChainHash(d.replica, first+uint64(i), end, raw)
	}
	req.Signature = audit.SignChain(d.key, d.replica, first+uint64(len(codes))-1, end)
	return req, end
}

// TestChainBreaks delivers audit chains that are not whole: entries that never came, a
// second line under the same numbers, and forged ones. What does not fit is kept behind an
// entry that says so, and the verifier says it too; what is forged is refused.
func TestChainBreaks(t *testing.T) { each(t, testChainBreaks) }

func testChainBreaks(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 85)
	ctx := t.Context()
	kept := func(d *device, req *tandemv1.AuditRequest) uint64 {
		t.Helper()
		return must[*tandemv1.AuditResponse](t)(d.sync.Audit(ctx, req)).GetKept()
	}
	act := func(a tandemv1.AuditAct, d *device) (n int) {
		for _, e := range w.audited(a) {
			if syncengine.ID(e.GetReplica()) == d.replica {
				n++
			}
		}
		return n
	}
	notes := func() (faults, notes int) {
		err := w.s.ReadAudit(ctx, w.org.ID, func(l *store.AuditLog) error {
			r, err := l.Check(nil)
			if err == nil {
				faults, notes = len(r.Faults), len(r.Notes)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return faults, notes
	}

	report := func() (r *audit.Report) {
		_ = w.s.ReadAudit(ctx, w.org.ID, func(l *store.AuditLog) (err error) {
			r, err = l.Check(nil)
			return err
		})
		return r
	}
	whole := w.enrolled(1, w.clinician)
	one, end := chainOf(t, whole, 1, syncengine.Hash{}, "a", "b")
	two, _ := chainOf(t, whole, 3, end, "c")
	for range 2 {
		if kept(whole, one) != 2 {
			t.Error("a whole chain is not kept")
		}
	}
	if kept(whole, two) != 3 {
		t.Error("a whole chain does not go on")
	}
	if n := act(tandemv1.AuditAct_AUDIT_ACT_FROM_DEVICE, whole); n != 3 {
		t.Errorf("a whole chain of 3 is %d entries", n)
	}
	if faults, said := notes(); faults != 0 || said != 0 {
		t.Errorf("a whole chain: %d faults, %d notes", faults, said)
	}

	gap := w.enrolled(2, w.clinician)
	first, end := chainOf(t, gap, 1, syncengine.Hash{}, "a")
	_, end = chainOf(t, gap, 2, end, "never", "sent")
	later, end := chainOf(t, gap, 4, end, "d", "e")
	if kept(gap, first) != 1 || kept(gap, later) != 5 {
		t.Error("what comes after a gap is not kept")
	}
	gaps := w.audited(tandemv1.AuditAct_AUDIT_ACT_CHAIN_GAP)
	if len(gaps) != 1 || gaps[0].GetOps()[0].GetFirst() != 2 || gaps[0].GetOps()[0].GetLast() != 3 {
		t.Errorf("the gap is noted as %v", gaps)
	}
	more, _ := chainOf(t, gap, 6, end, "f")
	if kept(gap, more) != 6 || len(w.audited(tandemv1.AuditAct_AUDIT_ACT_CHAIN_GAP)) != 1 {
		t.Error("a chain does not go on after its gap")
	}
	if faults, said := notes(); faults != 0 || said != 1 {
		t.Errorf("a gap: %d faults, %d notes", faults, said)
	}

	fork := w.enrolled(3, w.clinician)
	line, end := chainOf(t, fork, 1, syncengine.Hash{}, "a", "b")
	other, _ := chainOf(t, fork, 1, syncengine.Hash{}, "a", "something else")
	beside, _ := chainOf(t, fork, 3, syncengine.Hash{7}, "c")
	if kept(fork, line) != 2 || kept(fork, other) != 2 || act(tandemv1.AuditAct_AUDIT_ACT_CHAIN_FORK, fork) != 1 {
		t.Errorf("two lines under the same numbers: %d entries", act(tandemv1.AuditAct_AUDIT_ACT_CHAIN_FORK, fork))
	}
	if kept(fork, beside) != 3 || act(tandemv1.AuditAct_AUDIT_ACT_CHAIN_FORK, fork) != 2 || act(tandemv1.AuditAct_AUDIT_ACT_FROM_DEVICE, fork) != 3 {
		t.Errorf("a line that goes on from elsewhere: %d forks, %d entries", act(tandemv1.AuditAct_AUDIT_ACT_CHAIN_FORK, fork), act(tandemv1.AuditAct_AUDIT_ACT_FROM_DEVICE, fork))
	}
	if faults, said := notes(); faults != 0 || said != 3 {
		t.Errorf("two forks: %d faults, %d notes: %v", faults, said, report())
	}

	// Forged: signed by another, for another replica, of an act that is the server's.
	size := len(w.audited(tandemv1.AuditAct_AUDIT_ACT_FROM_DEVICE))
	good, _ := chainOf(t, whole, 4, end, "d")
	for name, bad := range map[string]func(*tandemv1.AuditRequest){
		"another's key":    func(r *tandemv1.AuditRequest) { r.Signature = ed25519.Sign(gap.key, []byte("x")) },
		"another's chain":  func(r *tandemv1.AuditRequest) { r.Signature = later.GetSignature() },
		"an entry changed": func(r *tandemv1.AuditRequest) { r.Entries[0] = line.GetEntries()[0] },
		"number zero":      func(r *tandemv1.AuditRequest) { r.First = 0 },
		"an act of servers": func(r *tandemv1.AuditRequest) {
			r.Entries[0] = must[[]byte](t)(proto.Marshal(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_ENROLLED}))
		},
	} {
		req := proto.CloneOf(good)
		bad(req)
		if _, err := whole.sync.Audit(ctx, req); codeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(w.audited(tandemv1.AuditAct_AUDIT_ACT_FROM_DEVICE)); n != size {
		t.Errorf("forged entries are in the log: %d more", n-size)
	}
}

// TestRefusalsAreNoted refuses calls of a device that was let in and of one that was not:
// each is counted in an entry that says whose call it was and what was called, and a flood
// of them is not a flood of entries.
func TestRefusalsAreNoted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite, 86)
	ctx := t.Context()
	d := w.enrolled(1, w.clinician)
	if _, err := d.enroll.Rekey(ctx, &tandemv1.RekeyRequest{Rollover: d.rollover(keyOf(90), 0).sign(t)}); err != nil {
		t.Fatal(err)
	}
	thief := *d
	thief.way = &way{base: d.way.base, key: keyOf(91), certificate: d.way.certificate, nonce: d.way.nonce}
	thief.connect(w.http.URL)
	for range 40 {
		if _, err := d.call(ctx, &tandemv1.SyncRequest{}); codeOf(err) != connect.CodePermissionDenied {
			t.Fatalf("the former key: %v", err)
		}
		if _, err := thief.call(ctx, &tandemv1.SyncRequest{}); codeOf(err) != connect.CodeUnauthenticated {
			t.Fatalf("another's key: %v", err)
		}
	}
	w.pass(2 * time.Minute)
	// The next refusal takes along what was counted.
	_, _ = d.call(ctx, &tandemv1.SyncRequest{})
	counted, entries := map[string]uint64{}, 0
	for _, e := range w.audited(tandemv1.AuditAct_AUDIT_ACT_REFUSED) {
		entries++
		who := "nobody"
		if len(e.GetReplica()) > 0 {
			if syncengine.ID(e.GetReplica()) != d.replica || syncengine.ID(e.GetPerson()) != d.person {
				t.Errorf("a refusal is laid to another: %v", e)
			}
			who = "device"
		}
		counted[who+" "+e.GetCode()] += e.GetCount()
	}
	if got := counted["device forbidden SyncService/"]; got != 41 {
		t.Errorf("refused to the former key: %d calls are noted, of 41 (%v)", got, counted)
	}
	if got := counted["nobody unauthenticated invalid_dpop_proof SyncService/"]; got != 40 {
		t.Errorf("refused to a stranger: %d calls are noted, of 40 (%v)", got, counted)
	}
	if entries > 6 {
		t.Errorf("81 refusals are %d entries", entries)
	}
}
