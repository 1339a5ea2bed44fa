package syncengine

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/bits"

	"github.com/tandem-response/tandem/internal/planted"
)

// Sum is a 128-bit additive multiset hash: the sum modulo 2^128 of one term a
// member, so that it can be kept incrementally and does not depend on order.
type Sum struct{ Hi, Lo uint64 }

// Term returns what a record adds to the digest of its scopes: the first 16 bytes
// of SHA-256(record id ‖ row hash, 8 bytes big endian), big endian.
func Term(record ID, row RowHash) Sum {
	var b [24]byte
	copy(b[:], record[:])
	binary.BigEndian.PutUint64(b[16:], uint64(row))
	h := sha256.Sum256(b[:])
	return Sum{Hi: binary.BigEndian.Uint64(h[:8]), Lo: binary.BigEndian.Uint64(h[8:16])}
}

// Add returns s + t modulo 2^128.
func (s Sum) Add(t Sum) Sum {
	lo, carry := bits.Add64(s.Lo, t.Lo, 0)
	hi, _ := bits.Add64(s.Hi, t.Hi, carry)
	return Sum{Hi: hi, Lo: lo}
}

// Sub returns s − t modulo 2^128.
func (s Sum) Sub(t Sum) Sum {
	lo, borrow := bits.Sub64(s.Lo, t.Lo, 0)
	hi, _ := bits.Sub64(s.Hi, t.Hi, borrow)
	return Sum{Hi: hi, Lo: lo}
}

// Bytes returns the sum as 16 bytes, big endian.
func (s Sum) Bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(make([]byte, 0, 16), s.Hi), s.Lo)
}

// SumFromBytes reads 16 bytes, big endian; ok is false for any other length.
func SumFromBytes(b []byte) (s Sum, ok bool) {
	if len(b) != 16 {
		return Sum{}, false
	}
	return Sum{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}, true
}

// String returns the sum in hex.
func (s Sum) String() string { return hex.EncodeToString(s.Bytes()) }

// Bucket returns the bucket of a record: the last byte of its id.
func Bucket(record ID) byte { return record[len(record)-1] }

// Digest is the digest of one scope, in 256 buckets by the last byte of the record
// id, so that a mismatch can be narrowed down.
type Digest [256]Sum

// Total returns the sum of the buckets: what a device compares.
func (d *Digest) Total() (total Sum) {
	for i := range d {
		if planted.Is(planted.DigestSkips) && i == 7 {
			continue
		}
		total = total.Add(d[i])
	}
	return total
}
