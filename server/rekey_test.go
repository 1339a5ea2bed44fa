package server_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"connectrpc.com/connect"
	"github.com/go-jose/go-jose/v4"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// rolledOver is what a device says that gets another key.
type rolledOver struct {
	outer, inner ed25519.PrivateKey
	account      syncengine.ID
	oldKey       ed25519.PrivateKey
	ops          uint64
	typ          string
}

func (r rolledOver) sign(t *testing.T) string {
	t.Helper()
	token := func(key ed25519.PrivateKey, o *jose.SignerOptions, payload []byte) []byte {
		signer := must[jose.Signer](t)(jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, o.WithType(jose.ContentType(r.typ))))
		signed := must[*jose.JSONWebSignature](t)(signer.Sign(payload))
		return []byte(must[string](t)(signed.CompactSerialize()))
	}
	said := must[[]byte](t)(json.Marshal(struct { //nolint:errchkjson // It is checked.
		Account string          `json:"account"`
		OldKey  jose.JSONWebKey `json:"oldKey"`
		Ops     uint64          `json:"ops"`
	}{r.account.String(), jose.JSONWebKey{Key: r.oldKey.Public()}, r.ops}))
	inner := token(r.inner, &jose.SignerOptions{EmbedJWK: true}, said)
	return string(token(r.outer, &jose.SignerOptions{}, inner))
}

// rolloverOf is a good one.
func (d *device) rollover(next ed25519.PrivateKey, ops uint64) rolledOver {
	return rolledOver{outer: d.key, inner: next, account: d.replica, oldKey: d.key, ops: ops, typ: "tandem-rekey+jws"}
}

func keyOf(fill byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{fill}, ed25519.SeedSize))
}

// TestRekey gives a device another key: the old one is good for nothing then but for
// asking for the same again, and not for a third key.
func TestRekey(t *testing.T) { each(t, testRekey) }

func testRekey(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 81)
	ctx := t.Context()
	d := w.enrolled(1, w.clinician)
	if _, err := d.call(ctx, d.push(d.creation(encounter(w, "before")))); err != nil {
		t.Fatal(err)
	}
	next, ops := keyOf(90), uint64(1)
	pushed, last := d.op, d.last

	for name, bad := range map[string]func(*rolledOver){
		"signed by another than the old key": func(r *rolledOver) { r.outer = keyOf(91) },
		"for another replica":                func(r *rolledOver) { r.account[3] ^= 1 },
		"in the place of another key":        func(r *rolledOver) { r.oldKey = keyOf(92) },
		"another kind of token":              func(r *rolledOver) { r.typ = "dpop+jwt" },
		"to the same key":                    func(r *rolledOver) { r.inner = d.key },
		"ops beyond all":                     func(r *rolledOver) { r.ops = 1<<62 + 1 },
	} {
		r := d.rollover(next, ops)
		bad(&r)
		if _, err := d.enroll.Rekey(ctx, &tandemv1.RekeyRequest{Rollover: r.sign(t)}); codeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Nobody proves the new key but who has it.
	flat := must[jose.Signer](t)(jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: d.key}, (&jose.SignerOptions{}).WithType("tandem-rekey+jws")))
	if _, err := d.enroll.Rekey(ctx, &tandemv1.RekeyRequest{Rollover: must[string](t)(must[*jose.JSONWebSignature](t)(flat.Sign([]byte("{}"))).CompactSerialize())}); codeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("without a second token: %v", err)
	}

	good := d.rollover(next, ops).sign(t)
	first := must[*tandemv1.RekeyResponse](t)(d.enroll.Rekey(ctx, &tandemv1.RekeyRequest{Rollover: good}))
	// The answer was lost.
	again := must[*tandemv1.RekeyResponse](t)(d.enroll.Rekey(ctx, &tandemv1.RekeyRequest{Rollover: good}))
	if again.GetCertificate() != first.GetCertificate() {
		t.Error("the same call gives two certificates")
	}
	if _, err := d.enroll.Rekey(ctx, &tandemv1.RekeyRequest{Rollover: d.rollover(keyOf(93), ops).sign(t)}); codeOf(err) != connect.CodePermissionDenied {
		t.Errorf("a third key by the first: %v", err)
	}

	// Nothing is left to the old key.
	d.shutOut(t, "after the rollover")

	// The new one goes on where the old one was.
	d.key, d.way.key, d.way.certificate = next, next, first.GetCertificate()
	d.op, d.last = pushed, last
	if a, err := d.call(ctx, d.push(d.creation(encounter(w, "after")))); err != nil || len(a.GetOutcomes()) != 1 || a.GetOutcomes()[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
		t.Fatalf("a push with the new key: %v, %v", a, err)
	}
	rekeyed := 0
	for _, e := range w.audited(tandemv1.AuditAct_AUDIT_ACT_REKEYED) {
		if bytes.Equal(e.GetKey(), next[ed25519.SeedSize:]) && bytes.Equal(e.GetReplica(), d.replica[:]) {
			rekeyed++
		}
	}
	if rekeyed != 1 {
		t.Errorf("%d entries of the audit log", rekeyed)
	}
}

// audited are the entries of the audit log of an act.
func (w *world) audited(act tandemv1.AuditAct) (entries []*tandemv1.AuditEntry) {
	w.t.Helper()
	err := w.s.ReadAudit(w.t.Context(), w.org.ID, func(log *store.AuditLog) error {
		return log.Each(0, func(_ int64, raw []byte) error {
			e := &tandemv1.AuditEntry{}
			if err := proto.Unmarshal(raw, e); err != nil {
				return err
			}
			if e.GetAct() == act {
				entries = append(entries, e)
			}
			return nil
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return entries
}

// shutOut makes every call of a device and wants it refused.
func (d *device) shutOut(t *testing.T, when string) {
	t.Helper()
	ctx := t.Context()
	calls := map[string]func(context.Context) error{
		"pull": func(ctx context.Context) error {
			_, err := d.call(ctx, &tandemv1.SyncRequest{Budget: 1 << 16})
			return err
		},
		"push": func(ctx context.Context) error {
			_, err := d.call(ctx, d.push(d.creation(encounter(d.w, "with the old key"))))
			return err
		},
		"reconcile": func(ctx context.Context) error {
			_, err := d.sync.Reconcile(ctx, &tandemv1.ReconcileRequest{})
			return err
		},
		"deliver": func(ctx context.Context) error {
			_, err := d.sync.Deliver(ctx, &tandemv1.DeliverRequest{})
			return err
		},
		"audit": func(ctx context.Context) error {
			_, err := d.sync.Audit(ctx, &tandemv1.AuditRequest{})
			return err
		},
		"emergency": func(ctx context.Context) error {
			_, err := d.sync.BreakGlass(ctx, &tandemv1.BreakGlassRequest{})
			return err
		},
		"another replica": func(ctx context.Context) error {
			id := syncengine.ID{9, 9}
			_, err := d.enroll.Reinstance(ctx, &tandemv1.ReinstanceRequest{
				PublicKey: keyOf(94)[ed25519.SeedSize:], Replica: id[:],
				Proof: ed25519.Sign(keyOf(94), append(append([]byte("tandem-reinstance-v1"), d.replica[:]...), id[:]...)),
			})
			return err
		},
	}
	for name, call := range calls {
		if err := call(ctx); codeOf(err) != connect.CodePermissionDenied {
			t.Errorf("%s: %s with the old key: %v", when, name, err)
		}
	}
}

// TestRekeySurvivesARestore sets the database back to before a device got another key: the
// journal gives the key back, and where the journal is gone too, the certificate does.
func TestRekeySurvivesARestore(t *testing.T) { each(t, testRekeySurvivesARestore) }

func testRekeySurvivesARestore(t *testing.T, on engine) {
	t.Parallel()
	for _, journal := range []bool{true, false} {
		w := newWorld(t, on, 82)
		if w.database != "" && !journal {
			// There the journal is a table too.
			continue
		}
		d := w.enrolled(1, w.clinician)
		d.must(d.push(d.creation(encounter(w, "before"))))
		back := w.copied()
		d.connect(w.http.URL)
		answer := must[*tandemv1.RekeyResponse](t)(d.enroll.Rekey(t.Context(), &tandemv1.RekeyRequest{Rollover: d.rollover(keyOf(90), 1).sign(t)}))
		old := *d
		old.way = &way{base: d.way.base, key: d.way.key, certificate: d.way.certificate}
		d.key, d.way.key, d.way.certificate = keyOf(90), keyOf(90), answer.GetCertificate()
		w.restart(func() {
			back()
			if !journal {
				if err := os.Remove(filepath.Join(w.dir, "security.journal")); err != nil {
					t.Fatal(err)
				}
			}
		}, &old)
		if journal {
			old.shutOut(t, "after a restore")
		}
		d.connect(w.http.URL)
		_, _ = d.sync.Sync(t.Context(), &tandemv1.SyncRequest{})
		if _, err := d.call(t.Context(), &tandemv1.SyncRequest{}); err != nil {
			t.Errorf("journal %t: the new key after a restore: %v", journal, err)
		}
		old.shutOut(t, "after the new key has shown itself")
		if r := w.replica(d); len(r.Former) != 1 || !bytes.Equal(r.Former[0].Key, old.key[ed25519.SeedSize:]) || r.Former[0].Ops != 1 {
			t.Errorf("journal %t: the former keys are %v", journal, r.Former)
		}
	}
}

// TestRekeyedSavesAreDelivered delivers what was sealed before and after: what the old key
// signed in its time counts, what it signs later does not.
func TestRekeyedSavesAreDelivered(t *testing.T) {
	t.Parallel()
	old, next := keyOf(1), keyOf(2)
	r := &syncengine.Replica{Key: next[ed25519.SeedSize:], Former: []syncengine.FormerKey{{Key: old[ed25519.SeedSize:], Ops: 7}}}
	for _, c := range []struct {
		name string
		key  ed25519.PrivateKey
		op   uint64
		want bool
	}{
		{"the old key in its time", old, 7, true},
		{"the old key later", old, 8, false},
		{"the new key", next, 8, true},
		{"a stranger's", keyOf(3), 1, false},
	} {
		raw := []byte("not looked into")
		hash := syncengine.HashEnvelope(r.ID, c.op, syncengine.Hash{}, syncengine.HashBody(raw))
		signature := ed25519.Sign(c.key, append([]byte("tandem-batch-v1"), hash[:]...))
		out := syncengine.PrepareDeliveredBy(record.New(), r, []syncengine.Delivered{{Op: c.op, Signature: signature, Raw: raw}})
		if len(out) != 1 || out[0].Proved != c.want {
			t.Errorf("%s: proved %v, want %t", c.name, out, c.want)
		}
	}
}
