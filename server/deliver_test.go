package server_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"strings"
	"testing"

	"connectrpc.com/connect"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
	"google.golang.org/protobuf/proto"
)

// sealedOf seals changes as a device would, the last of them signed, behind the
// introduction of its replica.
func (d *device) sealedOf(changes ...*tandemv1.Change) [][]byte {
	d.w.t.Helper()
	s, err := seal.NewSession(d.answer.GetSealKey(), d.w.org.ID, d.replica)
	if err != nil {
		d.w.t.Fatal(err)
	}
	out := [][]byte{seal.AppendReplica(nil, d.w.org.ID, d.replica, d.key[ed25519.SeedSize:], d.answer.GetCertificate())}
	for i, c := range changes {
		raw := must[[]byte](d.w.t)(proto.Marshal(c))
		d.op++
		entry := &seal.Change{Op: d.op, Prev: d.last, Class: c.GetClass(), Raw: raw}
		d.last = syncengine.HashEnvelope(d.replica, d.op, d.last, sha256.Sum256(raw))
		if i == len(changes)-1 {
			entry.Signature = syncengine.SignBatch(d.key, d.last)
		}
		out = append(out, s.AppendChange(nil, entry))
	}
	return out
}

func (d *device) deliver(entries ...[]byte) []*tandemv1.Delivered {
	d.w.t.Helper()
	resp := must[*tandemv1.DeliverResponse](d.w.t)(d.sync.Deliver(d.w.t.Context(), &tandemv1.DeliverRequest{Entries: entries}))
	return must[*tandemv1.DeliverAnswer](d.w.t)(syncengine.UnframeDelivery(resp)).GetDelivered()
}

func results(delivered []*tandemv1.Delivered) string {
	words := make([]string, 0, len(delivered))
	for _, d := range delivered {
		words = append(words, strings.TrimPrefix(d.GetResult().String(), "DELIVERY_"))
	}
	return strings.Join(words, ",")
}

func TestDeliver(t *testing.T) { each(t, testDeliver) }

func testDeliver(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 31)
	one, two := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	entries := one.sealedOf(one.creation(encounter(w, marker)), one.creation(encounter(w, "more")))
	got := two.deliver(entries...)
	if results(got) != "TAKEN,TAKEN,TAKEN" {
		t.Fatalf("got %s", results(got))
	}
	for _, d := range got {
		if d.GetOutcome() != nil {
			t.Error("the verdict on another's change is told")
		}
	}
	head := w.head()
	got = one.deliver(entries...)
	if results(got) != "TAKEN,TAKEN,TAKEN" || got[1].GetOutcome().GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
		t.Errorf("by its own device: got %v", got)
	}
	if w.head() != head {
		t.Error("a second delivery has written something")
	}
	// The device itself pushes what was delivered for it: the verdict is there already.
	answer := one.must(&tandemv1.SyncRequest{Unsettled: []*tandemv1.OpRange{{First: 1, Last: 2}}})
	if len(answer.GetOutcomes()) != 2 || answer.GetTrailer().GetHighestOp() != 2 {
		t.Errorf("got %v", answer)
	}
}

func TestDeliverRefuses(t *testing.T) { each(t, testDeliverRefuses) }

func testDeliverRefuses(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 32)
	one, two := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	entries := one.sealedOf(one.creation(encounter(w, marker)), one.creation(encounter(w, "more")))
	head := w.head()
	check := func(what, want string, entries ...[]byte) {
		t.Helper()
		if got := results(two.deliver(entries...)); got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
		if w.head() != head {
			t.Fatalf("%s: something was written", what)
		}
	}
	check("without the signed one", "TAKEN,UNPROVED", entries[0], entries[1])
	torn := bytes.Clone(entries[1])
	torn[len(torn)-1] ^= 1
	check("damaged, and the signed one alone hangs in the air no more than it must", "DAMAGED", torn)

	stranger, err := seal.NewPrivateKey(bytes.Repeat([]byte{9}, seal.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	answer := one.answer
	one.answer = proto.CloneOf(answer)
	one.answer.SealKey = stranger.Public()
	check("sealed to another key", "TAKEN,NO_KEY", one.sealedOf(one.creation(encounter(w, "lost")))...)
	one.answer = answer

	// Anybody can seal to a public key, and say to be somebody.
	liar := w.newDevice(7)
	liar.answer, liar.replica = one.answer, one.replica
	liar.person, liar.dev = one.person, one.dev
	check("signed by another key", "FORGED,UNPROVED", liar.sealedOf(liar.creation(encounter(w, "lies")))...)
	nobody := w.newDevice(8)
	nobody.answer = one.answer
	nobody.person, nobody.dev = one.person, one.dev
	check("an unknown replica", "FORGED,UNKNOWN_REPLICA", nobody.sealedOf(nobody.creation(encounter(w, "lies")))...)
	org := w.org.ID
	w.org.ID[0] ^= 1
	foreign := one.sealedOf(one.creation(encounter(w, "elsewhere")))
	w.org.ID = org
	check("another org", "FOREIGN,FOREIGN", foreign...)

	if _, err := two.sync.Deliver(t.Context(), &tandemv1.DeliverRequest{Entries: make([][]byte, syncengine.MaxPushChanges+1)}); codeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("too many entries: got %v", err)
	}
	bare := w.newDevice(9)
	if _, err := bare.sync.Deliver(t.Context(), &tandemv1.DeliverRequest{Entries: entries}); codeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("without a certificate: got %v", err)
	}
}

// What the neighbours in the file cannot prove, the change log may: the op after it
// has been pushed and names it.
// Of a draft the newest version is kept that its device has signed: a later one of somebody
// else, or the word of somebody else that it was dropped, does not keep it away. One that
// its device has dropped is kept by nobody.
func TestDeliverDrafts(t *testing.T) { each(t, testDeliverDrafts) }

func testDeliverDrafts(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 39)
	one, two := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	s := must[*seal.Session](t)(seal.NewSession(one.answer.GetSealKey(), w.org.ID, one.replica))
	version := func(d *device, n, version uint64, words string) []byte {
		id := w.id()
		c := one.authored(&tandemv1.Change{
			Id: id[:], Schema: syncengine.Schema, Time: &tandemv1.ChangeTime{WallMs: w.clock().UnixMilli()},
			Draft: &tandemv1.TypedDraft{Key: "form", Body: []byte(words)},
		})
		e := &seal.Draft{Number: seal.DraftNumber(n, version), Raw: must[[]byte](t)(proto.Marshal(c))}
		e.Signature = seal.SignDraft(d.key, e.Number, e.Raw)
		return s.AppendDraft(nil, e)
	}
	const dropped = seal.DraftDropped
	for _, tc := range []struct {
		entries    [][]byte
		want, kept string
	}{
		{[][]byte{version(one, 1, 2, "first"), version(one, 1, 3, "second")}, "TAKEN,TAKEN", "second"},
		{[][]byte{version(one, 2, 2, "true"), version(two, 2, 3, "forged"), version(two, 2, dropped, "")}, "TAKEN,UNPROVED,UNPROVED", "second,true"},
		{[][]byte{version(one, 3, 2, "typed"), version(one, 3, dropped, "")}, "TAKEN,TAKEN", "second,true"},
		{[][]byte{version(one, 4, 9, "third"), version(one, 5, 1, "fourth")}, "TAKEN,TAKEN", "second,true,third,fourth"},
	} {
		if got := results(two.deliver(tc.entries...)); got != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
		var kept []string
		for _, c := range must[[]*syncengine.StoredChange](t)(w.s.Quarantined(t.Context(), w.org.ID)) {
			change := &tandemv1.Change{}
			if err := proto.Unmarshal(c.Body, change); err != nil {
				t.Fatal(err)
			}
			kept = append(kept, string(change.GetDraft().GetBody()))
		}
		if got := strings.Join(kept, ","); got != tc.kept {
			t.Errorf("in quarantine are %s, want %s", got, tc.kept)
		}
	}
}

func TestDeliverIsProvedByTheLog(t *testing.T) { each(t, testDeliverIsProvedByTheLog) }

func testDeliverIsProvedByTheLog(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 33)
	one, two := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	entries := one.sealedOf(one.creation(encounter(w, marker)), one.creation(encounter(w, "more")))
	if got := results(two.deliver(entries[1])); got != "UNPROVED" {
		t.Fatalf("got %s", got)
	}
	third := one.push(one.creation(encounter(w, "pushed")))
	one.must(third)
	if got := results(two.deliver(entries[1])); got != "UNPROVED" {
		t.Errorf("op 1 before op 2 is known: got %s", got)
	}
	if got := results(two.deliver(entries[2])); got != "TAKEN" {
		t.Errorf("op 2: got %s", got)
	}
	if got := results(two.deliver(entries[1])); got != "TAKEN" {
		t.Errorf("op 1 after op 2: got %s", got)
	}
}

// A second history under one replica id is no reason to apply either twice.
func TestDeliverAFork(t *testing.T) { each(t, testDeliverAFork) }

func testDeliverAFork(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 34)
	one, two := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	one.must(one.push(one.creation(encounter(w, marker))))
	one.op, one.last = 0, syncengine.Hash{}
	if got := results(two.deliver(one.sealedOf(one.creation(encounter(w, "the other line")))...)); got != "TAKEN,FORK" {
		t.Errorf("got %s", got)
	}
}

// A witness that its replica has not signed is none.
func TestDeliverAWitness(t *testing.T) { each(t, testDeliverAWitness) }

func testDeliverAWitness(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 35)
	one, two := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	s, err := seal.NewSession(one.answer.GetSealKey(), w.org.ID, one.replica)
	if err != nil {
		t.Fatal(err)
	}
	sealed := func(key ed25519.PrivateKey, change func(*seal.Witness)) []byte {
		kept := &seal.Witness{Serial: 1, Record: w.id(), Kind: 12, Body: []byte("body"), Stamps: []byte("stamps")}
		kept.Hash = syncengine.HashRow(kept.Body, kept.Stamps)
		kept.Signature = seal.SignWitness(key, kept.Record, kept.Hash)
		change(kept)
		return s.AppendWitness(nil, kept)
	}
	plain := func(*seal.Witness) {}
	got := results(two.deliver(sealed(one.key, plain), sealed(two.key, plain), sealed(one.key, func(k *seal.Witness) { k.Signature = nil }),
		sealed(one.key, func(k *seal.Witness) { k.Body = []byte("other") })))
	if got != "TAKEN,UNPROVED,UNPROVED,UNPROVED" {
		t.Errorf("got %s", got)
	}
	if open, err := w.s.Witnesses(t.Context(), w.org.ID); err != nil || len(open) != 1 {
		t.Errorf("open are %v, %v", open, err)
	}
}
