package seal

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
)

const (
	draftBits = 24
	// DraftDropped is the version of a draft that is no more.
	DraftDropped = 1<<draftBits - 1
	// MaxDraft is the highest number of a draft.
	MaxDraft = 1<<(64-draftBits) - 1
)

// DraftNumber is the number of an entry that holds a version of a draft.
func DraftNumber(draft, version uint64) uint64 {
	return draft<<draftBits | version&DraftDropped
}

// DraftOf returns the draft and the version that the number of an entry says.
func DraftOf(number uint64) (draft, version uint64) {
	return number >> draftBits, number & DraftDropped
}

// Draft is a version of a draft.
type Draft struct {
	// Number of the entry: see DraftNumber.
	Number uint64
	// Signature by the replica's key: see SignDraft.
	Signature []byte
	// Raw is an encoded change that holds the draft; empty where it is no more.
	Raw []byte
}

// draftContext is what the signature of a draft signs first.
const draftContext = "tandem-draft-v1"

func draftMessage(number uint64, raw []byte) []byte {
	sum := sha256.Sum256(raw)
	return append(binary.BigEndian.AppendUint64([]byte(draftContext), number), sum[:]...)
}

// SignDraft signs a version of a draft by the replica's key.
func SignDraft(key ed25519.PrivateKey, number uint64, raw []byte) []byte {
	return ed25519.Sign(key, draftMessage(number, raw))
}

// Signed reports whether the draft is signed by the key.
func (d *Draft) Signed(key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, draftMessage(d.Number, d.Raw), d.Signature)
}

// AppendDraft appends a sealed version of a draft, with its signature.
func (s *Session) AppendDraft(dst []byte, d *Draft) []byte {
	h := s.head
	h.Kind, h.Number, h.Signed = KindDraft, d.Number, true
	s.plain = append(append(s.plain[:0], d.Signature...), d.Raw...)
	return s.seal(dst, &h)
}

// OpenDraft opens a sealed draft. Its signature has not been checked. The error is
// ErrNoKey, ErrForged or ErrDamaged.
func (o *Opener) OpenDraft(e *Entry) (*Draft, error) {
	d := &Draft{Number: e.Number}
	plain, err := o.open(e, KindDraft)
	if err != nil {
		return nil, err
	}
	if !e.Signed {
		return nil, ErrDamaged
	}
	d.Signature, d.Raw, err = unsign(e, plain)
	return d, err
}
