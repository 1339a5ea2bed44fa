package syncengine_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// checkOnly is the domain as far as Prepare asks it: it refuses bulk changes.
type checkOnly struct{ syncengine.Rules }

func (checkOnly) Check(c *tandemv1.Change) *syncengine.Refusal {
	if c.GetClass() == tandemv1.Class_CLASS_BULK {
		return &syncengine.Refusal{Code: tandemv1.Refusal_REFUSAL_FORBIDDEN}
	}
	return nil
}

var (
	replicaKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	publicKey  = publicOf(replicaKey)
	replicaID  = idOf('p', 9)
)

// publicOf is the public half: the last 32 bytes of a private key.
func publicOf(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.SeedSize:])
}

func rawChange(t *testing.T, n uint64, class tandemv1.Class) []byte {
	t.Helper()
	id := idOf('c', n)
	raw, err := proto.Marshal(&tandemv1.Change{Id: id[:], Class: class})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// push is a signed request of runs; a run begins with its first op.
func push(runs ...*tandemv1.Run) *tandemv1.SyncRequest {
	req := &tandemv1.SyncRequest{Runs: runs}
	var ends []syncengine.Hash
	for _, run := range runs {
		prev := syncengine.Hash(run.GetPrevHash())
		for i, raw := range run.GetChanges() {
			op := run.GetFirstOp() + uint64(i)
			prev = syncengine.HashEnvelope(replicaID, op, prev, sha256.Sum256(raw))
		}
		ends = append(ends, prev)
	}
	req.Signature = syncengine.SignBatch(replicaKey, syncengine.HashBatch(ends))
	return req
}

func runOf(first uint64, prev syncengine.Hash, changes ...[]byte) *tandemv1.Run {
	return &tandemv1.Run{FirstOp: first, PrevHash: prev[:], Changes: changes}
}

// The envelope hash is the one of its specification.
func TestHashEnvelope(t *testing.T) {
	t.Parallel()
	prev, body := syncengine.Hash{1}, syncengine.Hash{2}
	spec := slices.Concat([]byte("tandem-envelope-v1"), replicaID[:], binary.BigEndian.AppendUint64(nil, 5), prev[:], body[:])
	if got, want := syncengine.HashEnvelope(replicaID, 5, prev, body), syncengine.Hash(sha256.Sum256(spec)); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPrepare(t *testing.T) {
	t.Parallel()
	normal, bulk := tandemv1.Class_CLASS_NORMAL, tandemv1.Class_CLASS_BULK
	zero, err := proto.Marshal(&tandemv1.Change{Id: append([]byte("c1234567"), make([]byte, 8)...)})
	if err != nil {
		t.Fatal(err)
	}
	changes := [][]byte{
		rawChange(t, 1, normal), rawChange(t, 2, bulk), {0xff}, zero, make([]byte, syncengine.MaxChange+1),
	}
	// Urgent work first: ops 8 and on stand before op 3.
	before := syncengine.Hash{8}
	got, err := syncengine.Prepare(checkOnly{}, replicaID, publicKey, push(runOf(8, before, changes...), runOf(3, syncengine.Hash{3}, changes[0])))
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		op      uint64
		id      syncengine.ID
		refusal tandemv1.Refusal
		decoded bool
	}{
		{op: 8, id: idOf('c', 1), decoded: true},
		{op: 9, id: idOf('c', 2), refusal: tandemv1.Refusal_REFUSAL_FORBIDDEN, decoded: true},
		{op: 10, refusal: tandemv1.Refusal_REFUSAL_UNDECODABLE},
		{op: 11, refusal: tandemv1.Refusal_REFUSAL_INVALID, decoded: true},
		{op: 12, refusal: tandemv1.Refusal_REFUSAL_OVERSIZE},
		{op: 3, id: idOf('c', 1), decoded: true},
	}
	if len(got) != len(want) {
		t.Fatalf("got %d changes, want %d", len(got), len(want))
	}
	prev := before
	for i, w := range want {
		g := got[i]
		raw := changes[i%len(changes)]
		if i == 5 {
			prev = syncengine.Hash{3}
		}
		hash := syncengine.HashEnvelope(replicaID, w.op, prev, sha256.Sum256(raw))
		if g.Op != w.op || g.ID != w.id || (g.Change != nil) != w.decoded || g.Prev != prev || g.Hash != hash || !bytes.Equal(g.Raw, raw) {
			t.Errorf("change %d: got op %d, id %v, decoded %v, hash %v after %v; want op %d, id %v, decoded %v, hash %v after %v",
				i, g.Op, g.ID, g.Change != nil, g.Hash, g.Prev, w.op, w.id, w.decoded, hash, prev)
		}
		var code tandemv1.Refusal
		if g.Refusal != nil {
			code = g.Refusal.Code
		}
		if code != w.refusal {
			t.Errorf("change %d: got refusal %v, want %v", i, code, w.refusal)
		}
		prev = hash
	}
	if none, err := syncengine.Prepare(checkOnly{}, replicaID, nil, &tandemv1.SyncRequest{}); err != nil || none != nil {
		t.Errorf("an empty push: got %v, %v", none, err)
	}
}

func TestPrepareRefuses(t *testing.T) {
	t.Parallel()
	one := rawChange(t, 1, tandemv1.Class_CLASS_NORMAL)
	large := make([]byte, syncengine.MaxChange)
	many := slices.Repeat([][]byte{one}, syncengine.MaxPushChanges+1)
	for name, tc := range map[string]struct {
		req  *tandemv1.SyncRequest
		want error
	}{
		"too many changes": {push(runOf(1, syncengine.Hash{}, many...)), syncengine.ErrPushTooLarge},
		"too many bytes": {
			push(runOf(1, syncengine.Hash{}, slices.Repeat([][]byte{large}, syncengine.MaxPush/syncengine.MaxChange+1)...)), syncengine.ErrPushTooLarge,
		},
		"op zero":            {push(runOf(0, syncengine.Hash{}, one)), syncengine.ErrPushForm},
		"an op beyond reach": {push(runOf(1<<62+1, syncengine.Hash{}, one)), syncengine.ErrPushForm},
		"a short hash": {
			&tandemv1.SyncRequest{Runs: []*tandemv1.Run{{FirstOp: 1, PrevHash: make([]byte, 31), Changes: [][]byte{one}}}}, syncengine.ErrPushForm,
		},
		"an op twice": {push(runOf(1, syncengine.Hash{}, one, one), runOf(2, syncengine.Hash{}, one)), syncengine.ErrPushForm},
	} {
		if got, err := syncengine.Prepare(checkOnly{}, replicaID, publicKey, tc.req); !errors.Is(err, tc.want) || got != nil {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
}

// The signature covers every byte of every change, of each run, their order, their
// numbers, what stands before them, and the replica.
func TestSignatureCoversThePush(t *testing.T) {
	t.Parallel()
	one, two := rawChange(t, 1, tandemv1.Class_CLASS_NORMAL), rawChange(t, 2, tandemv1.Class_CLASS_NORMAL)
	good := func() *tandemv1.SyncRequest {
		return push(runOf(4, syncengine.Hash{1}, one, two), runOf(9, syncengine.Hash{2}, two))
	}
	if _, err := syncengine.Prepare(checkOnly{}, replicaID, publicKey, good()); err != nil {
		t.Fatal(err)
	}
	other := publicOf(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	for name, tc := range map[string]struct {
		key     ed25519.PublicKey
		replica syncengine.ID
		spoil   func(req *tandemv1.SyncRequest)
	}{
		"another key":     {other, replicaID, nil},
		"no key":          {nil, replicaID, nil},
		"another replica": {publicKey, idOf('p', 8), nil},
		"no signature":    {publicKey, replicaID, func(r *tandemv1.SyncRequest) { r.Signature = nil }},
		"another number":  {publicKey, replicaID, func(r *tandemv1.SyncRequest) { r.Runs[0].FirstOp++ }},
		"another past":    {publicKey, replicaID, func(r *tandemv1.SyncRequest) { r.Runs[0].PrevHash[0]++ }},
		"another order":   {publicKey, replicaID, func(r *tandemv1.SyncRequest) { slices.Reverse(r.Runs[0].Changes) }},
		"one less":        {publicKey, replicaID, func(r *tandemv1.SyncRequest) { r.Runs[0].Changes = r.Runs[0].Changes[:1] }},
		"one run less":    {publicKey, replicaID, func(r *tandemv1.SyncRequest) { r.Runs = r.Runs[1:] }},
		"one byte": {publicKey, replicaID, func(r *tandemv1.SyncRequest) {
			r.Runs[0].Changes[0] = bytes.Clone(r.Runs[0].Changes[0])
			r.Runs[0].Changes[0][5]++
		}},
	} {
		req := good()
		if tc.spoil != nil {
			tc.spoil(req)
		}
		if got, err := syncengine.Prepare(checkOnly{}, tc.replica, tc.key, req); !errors.Is(err, syncengine.ErrSignature) || got != nil {
			t.Errorf("%s: got %v, want %v", name, err, syncengine.ErrSignature)
		}
	}
}

// Stamps are compared for equality only, and are the last 8 bytes of the id.
func TestIDs(t *testing.T) {
	t.Parallel()
	id, err := syncengine.NewID(1_700_000_000_000, bytes.NewReader([]byte("0123456789")))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(syncengine.StampOf(id)); got != fmt.Sprintf("%x", "23456789") {
		t.Errorf("stamp: got %s", got)
	}
	if back, err := syncengine.ParseID(id.String()); err != nil || back != id {
		t.Errorf("%v through its text: got %v, %v", id, back, err)
	}
	if early, err := syncengine.NewID(-5, bytes.NewReader(make([]byte, 10))); err != nil || !early.IsZero() {
		t.Errorf("a clock before 1970: got %v, %v", early, err)
	}
	if _, err := syncengine.NewID(0, bytes.NewReader(nil)); err == nil {
		t.Error("no chance at hand: got an id")
	}
	for _, text := range []string{"", "01ARZ3NDEKTSV4RRFFQ69G5FA", "01ARZ3NDEKTSV4RRFFQ69G5FAU", "81ARZ3NDEKTSV4RRFFQ69G5FAV"} {
		if got, err := syncengine.ParseID(text); err == nil {
			t.Errorf("%q: got %v", text, got)
		}
	}
	if _, ok := syncengine.IDFromBytes(make([]byte, 15)); ok {
		t.Error("15 bytes are an id")
	}
	stamps := []syncengine.Stamp{0, 1, 1<<64 - 1}
	if got := syncengine.DecodeStamps(append(syncengine.EncodeStamps(stamps), 1, 2)); !slices.Equal(got, stamps) {
		t.Errorf("stamps through bytes: got %v, want %v", got, stamps)
	}
}

// A complete answer comes through its frame; anything less is no answer.
func TestFrame(t *testing.T) {
	t.Parallel()
	raw, err := proto.Marshal(&tandemv1.SyncAnswer{Outcomes: []*tandemv1.Outcome{{Op: 3}}, Trailer: &tandemv1.Trailer{}})
	if err != nil {
		t.Fatal(err)
	}
	good := func() *tandemv1.SyncResponse { return syncengine.Frame(raw, 1) }
	if got, err := syncengine.Unframe(good(), nil); err != nil || len(got.GetOutcomes()) != 1 {
		t.Fatalf("got %v, %v", got, err)
	}
	for name, spoil := range map[string]func(r *tandemv1.SyncResponse){
		"empty":          func(r *tandemv1.SyncResponse) { proto.Reset(r) },
		"cut":            func(r *tandemv1.SyncResponse) { r.Answer = r.Answer[:1] },
		"a byte changed": func(r *tandemv1.SyncResponse) { r.Answer = bytes.Clone(r.Answer); r.Answer[1]++ },
		"another count":  func(r *tandemv1.SyncResponse) { r.Count++ },
		"another digest": func(r *tandemv1.SyncResponse) { r.Digest[0]++ },
		"no digest":      func(r *tandemv1.SyncResponse) { r.Digest = nil },
		"no end":         func(r *tandemv1.SyncResponse) { r.End = "" },
		"no schema":      func(r *tandemv1.SyncResponse) { r.Schema = 0 },
		"no trailer": func(r *tandemv1.SyncResponse) {
			proto.Reset(r)
			proto.Merge(r, syncengine.Frame(nil, 0))
		},
		"not a message": func(r *tandemv1.SyncResponse) {
			proto.Reset(r)
			proto.Merge(r, syncengine.Frame([]byte{0xff}, 0))
		},
	} {
		r := good()
		spoil(r)
		if got, err := syncengine.Unframe(r, nil); !errors.Is(err, syncengine.ErrIncomplete) || got != nil {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, syncengine.ErrIncomplete)
		}
	}
}
