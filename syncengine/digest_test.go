package syncengine_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"testing"

	"github.com/tandem-response/tandem/syncengine"
	"pgregory.net/rapid"
)

var two128 = new(big.Int).Lsh(big.NewInt(1), 128)

func drawSum(t *rapid.T) syncengine.Sum {
	n := rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, 1<<64 - 1}))
	return syncengine.Sum{Hi: n.Draw(t, "hi"), Lo: n.Draw(t, "lo")}
}

func bigOf(s syncengine.Sum) *big.Int { return new(big.Int).SetBytes(s.Bytes()) }

// Sums are numbers modulo 2^128.
func TestSums(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawSum(t), drawSum(t)
		if got, want := bigOf(a.Add(b)), new(big.Int).Add(bigOf(a), bigOf(b)); got.Cmp(want.Mod(want, two128)) != 0 {
			t.Fatalf("%v + %v: got %x, want %x", a, b, got, want)
		}
		if got := a.Add(b).Sub(b); got != a {
			t.Fatalf("%v + %v − %v: got %v", a, b, b, got)
		}
		if got, ok := syncengine.SumFromBytes(a.Bytes()); !ok || got != a {
			t.Fatalf("%v through bytes: got %v, %v", a, got, ok)
		}
	})
	for _, n := range []int{0, 15, 17} {
		if s, ok := syncengine.SumFromBytes(make([]byte, n)); ok {
			t.Errorf("%d bytes: got %v", n, s)
		}
	}
}

// A digest does not depend on the order in which rows came, and forgets a row that
// left.
func TestDigest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.Uint64(), 1, 20).Draw(t, "rows")
		var one, other syncengine.Digest
		want := new(big.Int)
		add := func(d *syncengine.Digest, row uint64) {
			id := idOf('r', row)
			b := syncengine.Bucket(id)
			if b != byte(row) {
				t.Fatalf("bucket of %v: got %d", id, b)
			}
			d[b] = d[b].Add(syncengine.Term(id, syncengine.RowHash(row/3)))
		}
		for _, row := range rows {
			add(&one, row)
			id := idOf('r', row)
			h := sha256.Sum256(binary.BigEndian.AppendUint64(bytes.Clone(id[:]), row/3))
			want.Add(want, new(big.Int).SetBytes(h[:16]))
		}
		extra := rapid.Uint64().Draw(t, "extra")
		add(&other, extra)
		for _, row := range rapid.Permutation(rows).Draw(t, "order") {
			add(&other, row)
		}
		id := idOf('r', extra)
		b := syncengine.Bucket(id)
		other[b] = other[b].Sub(syncengine.Term(id, syncengine.RowHash(extra/3)))
		if one != other {
			t.Fatal("the digests of the same rows differ")
		}
		if got := bigOf(one.Total()); got.Cmp(want.Mod(want, two128)) != 0 {
			t.Fatalf("total: got %x, want %x", got, want)
		}
	})
}

// A row's hash covers body and stamps as they stand one after the other.
func TestHashRow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body, stamps := rapid.SliceOf(rapid.Byte()).Draw(t, "body"), rapid.SliceOf(rapid.Byte()).Draw(t, "stamps")
		sum := sha256.Sum256(append(bytes.Clone(body), stamps...))
		rec := &syncengine.Record{Body: body, Stamps: stamps}
		if got, want := uint64(rec.Hash()), binary.BigEndian.Uint64(sum[:8]); got != want {
			t.Fatalf("got %x, want %x", got, want)
		}
	})
}
