package audit

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"golang.org/x/mod/sumdb/tlog"
)

// TestTree: the edge alone gives the roots that tlog computes from every hash, and
// proofs read from kept nodes and entries hold between any two sizes, and no others.
func TestTree(t *testing.T) {
	t.Parallel()
	const size = 2*Block + 77
	tree, entries, nodes := &Tree{}, [][]byte{}, map[[2]int64]Hash{}
	var hashes []Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (out []Hash, err error) {
		for _, i := range indexes {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	roots := []Hash{tree.Root()}
	for i := range int64(size) {
		entry := fmt.Appendf(nil, "entry %d", i)
		entries = append(entries, entry)
		more, err := tlog.StoredHashes(i, entry, reader)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, more...)
		for _, n := range tree.Append(entry) {
			nodes[[2]int64{int64(n.Level), n.N}] = n.Hash
		}
		want, err := tlog.TreeHash(i+1, reader)
		if err != nil || tree.Root() != want {
			t.Fatalf("size %d: root %s, want %s: %v", i+1, tree.Root(), want, err)
		}
		roots = append(roots, want)
		if tree, err = OpenTree(tree.Size(), tree.Edge()); err != nil {
			t.Fatal(err)
		}
	}
	source := Source{
		Node: func(level int, n int64) (Hash, error) {
			h, ok := nodes[[2]int64{int64(level), n}]
			if !ok {
				return h, ErrTree
			}
			return h, nil
		},
		Entries: func(from, to int64) ([][]byte, error) { return entries[from:to], nil },
	}
	for older := int64(1); older <= size; older += 37 {
		for newer := older; newer <= size; newer += 41 {
			proof, err := ProveExtends(newer, older, source)
			if err != nil {
				t.Fatal(err)
			}
			a, b := &Checkpoint{Size: older, Root: roots[older]}, &Checkpoint{Size: newer, Root: roots[newer]}
			if !Extends(b, a, proof) {
				t.Errorf("%d is not proved to extend %d", newer, older)
			}
			a.Root[7] ^= 1
			if Extends(b, a, proof) {
				t.Errorf("%d is proved to extend what it does not", newer)
			}
		}
	}
	if Extends(&Checkpoint{Size: 3, Root: roots[3]}, &Checkpoint{Size: 4, Root: roots[4]}, nil) {
		t.Error("a shorter log extends a longer one")
	}
}

var (
	org = syncengine.ID{1, 2, 3}
	key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
)

// public is the public half of a key.
func public(k ed25519.PrivateKey) ed25519.PublicKey { return ed25519.PublicKey(k[ed25519.SeedSize:]) }

// TestCheckpoint: packed and as a note it is the same; nothing of it can be changed. Its
// text and signature are what they were when this was written.
func TestCheckpoint(t *testing.T) {
	t.Parallel()
	c := &Checkpoint{Org: org, Epoch: syncengine.ID{9}, Size: 1_000_000, AtMS: 1_700_000_000_000}
	c.Root[0] = 5
	c.Sign(key)
	packed := c.Pack()
	const most = 120
	if len(packed) > most {
		t.Errorf("%d bytes in every answer", len(packed))
	}
	again, err := Unpack(org, c.Epoch, packed)
	if err != nil || !again.Signed(public(key)) {
		t.Fatalf("%+v: %v", again, err)
	}
	if other, err := Unpack(org, syncengine.ID{8}, packed); err != nil || other.Signed(public(key)) {
		t.Errorf("it is good for another epoch: %v", err)
	}
	text := c.Note(public(key))
	parsed, err := ParseNote(text, org, public(key))
	if err != nil || parsed.Size != c.Size || parsed.Root != c.Root || parsed.AtMS != c.AtMS || parsed.Epoch != c.Epoch {
		t.Fatalf("%+v: %v", parsed, err)
	}
	if _, err := ParseNote(strings.Replace(text, "1000000", "1000001", 1), org, public(key)); err == nil {
		t.Error("a note that was changed is taken")
	}
	const want = "tandem-audit/01081G00000000000000000000\n1000000\nBQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\ntime 1700000000000\nepoch 0900000000"
	if !strings.HasPrefix(text, want) {
		t.Errorf("the text has changed:\n%s", text)
	}
	for i := range packed {
		bent := bytes.Clone(packed)
		bent[i] ^= 1
		if c, err := Unpack(org, syncengine.ID{9}, bent); err == nil && c.Signed(public(key)) {
			t.Errorf("byte %d may be changed", i)
		}
	}
}

// TestChains: the check follows what devices signed, and says where a chain was broken.
func TestChains(t *testing.T) {
	t.Parallel()
	replica, device := syncengine.ID{4}, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	encode := func(e *tandemv1.AuditEntry) []byte {
		raw, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	read := func(n byte) []byte {
		return encode(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_READ, Subject: bytes.Repeat([]byte{n}, 16)})
	}
	from := func(n uint64, raw []byte) []byte {
		return encode(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_FROM_DEVICE, Replica: replica[:], Number: n, Entry: raw})
	}
	one := ChainHash(replica, 1, syncengine.Hash{}, read(1))
	two := ChainHash(replica, 2, one, read(2))
	end := func(n uint64, hash syncengine.Hash) []byte {
		return encode(&tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_CHAIN, Replica: replica[:], Number: n, Hash: hash[:], Signature: SignChain(device, replica, n, hash),
		})
	}
	for name, tc := range map[string]struct {
		entries [][]byte
		fault   string
	}{
		"whole":          {[][]byte{from(1, read(1)), from(2, read(2)), end(2, two)}, ""},
		"two deliveries": {[][]byte{from(1, read(1)), end(1, one), from(2, read(2)), end(2, two)}, ""},
		"one taken out":  {[][]byte{from(2, read(2)), end(2, two)}, "goes from 0 to 2"},
		"one changed":    {[][]byte{from(1, read(3)), from(2, read(2)), end(2, two)}, "not those that it signed"},
		"one put in":     {[][]byte{from(1, read(1)), from(2, read(2)), end(2, two), from(3, read(3))}, "are not signed by it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := NewCheck(org, []ed25519.PublicKey{public(key)}, map[syncengine.ID]ed25519.PublicKey{replica: public(device)}, nil)
			for n, raw := range tc.entries {
				c.Add(int64(n), raw)
			}
			got := strings.Join(c.End().Faults, "\n")
			if (tc.fault == "") != (got == "") || !strings.Contains(got, tc.fault) {
				t.Errorf("faults %q, want %q", got, tc.fault)
			}
		})
	}
}
