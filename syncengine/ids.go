package syncengine

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/oklog/ulid/v2"

	"github.com/tandem-response/tandem/internal/planted"
)

// ID identifies a record, change, person, device, replica or org: 16 bytes, a
// ULID where a device made it. Only equality and byte order mean anything; the
// time part is never interpreted.
type ID [16]byte

// NewID makes an ID from the wall clock's milliseconds and 10 bytes of rand.
// The milliseconds only make ids of one device sort near each other.
func NewID(wallMS int64, rand io.Reader) (ID, error) {
	u, err := ulid.New(uint64(max(wallMS, 0))&ulid.MaxTime(), rand)
	if err != nil {
		return ID{}, fmt.Errorf("making an id: %w", err)
	}
	return ID(u), nil
}

// ParseID reads the 26-character text form. The error names no input.
func ParseID(s string) (ID, error) {
	u, err := ulid.ParseStrict(s)
	if err != nil {
		return ID{}, fmt.Errorf("not a ULID: want 26 characters of Crockford base32")
	}
	return ID(u), nil
}

// IDFromBytes copies a 16-byte id; ok is false for any other length.
func IDFromBytes(b []byte) (id ID, ok bool) {
	if len(b) != len(id) {
		return ID{}, false
	}
	return ID(b), true
}

// String returns the 26-character text form.
func (id ID) String() string { return ulid.ULID(id).String() }

// IsZero reports whether the id is all zero: no id.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders ids by their bytes.
func (id ID) Compare(other ID) int { return ulid.ULID(id).Compare(ulid.ULID(other)) }

// Stamp is the identity of the change that wrote a value: the last 8 bytes of
// its id, big endian. Compared for equality only. Zero is the head of a path
// never written.
type Stamp uint64

// StampOf returns the stamp of a change id.
func StampOf(change ID) Stamp {
	s := Stamp(binary.BigEndian.Uint64(change[8:]))
	if planted.Is(planted.KeyReuse) {
		return s%509 + 1
	}
	return s
}

// String returns the stamp as 16 hex digits.
func (s Stamp) String() string { return fmt.Sprintf("%016x", uint64(s)) }

// Hash is a SHA-256.
type Hash [32]byte

// Short returns the first 8 bytes, as requests and answers carry them.
func (h Hash) Short() [8]byte { return [8]byte(h[:8]) }

// String returns the hash in hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// RowHash is the first 8 bytes of SHA-256(body ‖ stamps), big endian.
type RowHash uint64

// HashRow returns the row hash of a record's body and stamps.
func HashRow(body, stamps []byte) RowHash {
	h := sha256.New()
	h.Write(body)
	h.Write(stamps)
	var sum [sha256.Size]byte
	return RowHash(binary.BigEndian.Uint64(h.Sum(sum[:0])))
}
