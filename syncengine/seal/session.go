package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Errors of keys and of opening.
var (
	// ErrKey: bytes are no key of the kind that is asked for.
	ErrKey = errors.New("that is no key of a sealed outbox")
	// ErrNoKey: an entry is sealed to a key that is not at hand.
	ErrNoKey = errors.New("the entry is sealed to a key that is not held here: restore the server's keys file from its backup")
	// ErrForged: an entry does not open under its key.
	ErrForged = errors.New("the entry does not open under the key it names: it was altered, or is not for this organization")
)

const (
	infoContext   = "tandem-sealed-v1"
	exportContext = "tandem-sealed-keys-v1"

	nonceSize   = 12
	overhead    = 16
	adSize      = offLength
	publicSize  = 32
	sessionKeys = 64
)

func suite() (hpke.KEM, hpke.KDF, hpke.AEAD) {
	return hpke.DHKEM(ecdh.X25519()), hpke.HKDFSHA256(), hpke.AES256GCM()
}

func info(org, replica syncengine.ID) []byte {
	return append(append([]byte(infoContext), org[:]...), replica[:]...)
}

// PrivateKey opens what was sealed to its public half.
type PrivateKey struct {
	key    hpke.PrivateKey
	public []byte
}

// Format implements fmt.Formatter: the key is not printed.
func (*PrivateKey) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("(private key)")) }

// SeedSize is the size of the seed of a private key, in bytes.
const SeedSize = 32

// NewPrivateKey derives a key from its seed (DeriveKeyPair of RFC 9180). The error is
// ErrKey.
func NewPrivateKey(seed []byte) (*PrivateKey, error) {
	if len(seed) != SeedSize {
		return nil, ErrKey
	}
	kem, _, _ := suite()
	key, err := kem.DeriveKeyPair(seed)
	if err != nil {
		return nil, ErrKey
	}
	return &PrivateKey{key: key, public: key.PublicKey().Bytes()}, nil
}

// Public returns the public half, 32 bytes.
func (k *PrivateKey) Public() []byte { return k.public }

// ID returns the id of the key.
func (k *PrivateKey) ID() KeyID { return IDOf(k.public) }

// IDOf returns the id of a public key.
func IDOf(public []byte) KeyID {
	sum := sha256.Sum256(public)
	return KeyID(sum[:8])
}

// keys are those of one session.
type keys struct {
	aead  cipher.AEAD
	nonce hash.Hash
	sum   [sha256.Size]byte
}

func newKeys(secret []byte) (*keys, error) {
	block, err := aes.NewCipher(secret[:32])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &keys{aead: aead, nonce: hmac.New(sha256.New, secret[32:])}, nil
}

// Session seals the changes and witnesses of one replica. Not safe for concurrent
// use.
type Session struct {
	*keys
	head  Header
	plain []byte
}

// NewSession begins a session with an organization's public key. The error is ErrKey.
func NewSession(public []byte, org, replica syncengine.ID) (*Session, error) {
	kem, kdf, aead := suite()
	if len(public) != publicSize {
		return nil, ErrKey
	}
	key, err := kem.NewPublicKey(public)
	if err != nil {
		return nil, ErrKey
	}
	enc, sender, err := hpke.NewSender(key, kdf, aead, info(org, replica))
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrKey, err)
	}
	secret, err := sender.Export(exportContext, sessionKeys)
	if err != nil {
		return nil, err
	}
	s := &Session{head: Header{Org: org, Replica: replica, Key: IDOf(public), Enc: [32]byte(enc)}}
	s.keys, err = newKeys(secret)
	return s, err
}

// Key returns the id of the key that the session seals to.
func (s *Session) Key() KeyID { return s.head.Key }

// Change is an own change.
type Change struct {
	Op    uint64
	Class tandemv1.Class
	// Prev is the envelope hash of the op before.
	Prev syncengine.Hash
	// Signature over its envelope hash; nil where a later op speaks for it.
	Signature []byte
	// Raw is the encoded change.
	Raw []byte
}

// AppendChange appends a sealed change.
func (s *Session) AppendChange(dst []byte, c *Change) []byte {
	h := s.head
	h.Kind, h.Class, h.Number, h.Signed = KindChange, c.Class, c.Op, len(c.Signature) > 0
	s.plain = append(append(append(s.plain[:0], c.Prev[:]...), c.Signature...), c.Raw...)
	return s.seal(dst, &h)
}

// Witness is a record as the device last had it.
type Witness struct {
	// Serial number, of the device's own.
	Serial uint64
	Record syncengine.ID
	Kind   uint32
	// Hash is the row hash.
	Hash syncengine.RowHash
	// Signature by the replica's key: see SignWitness.
	Signature    []byte
	Body, Stamps []byte
}

// witnessContext is what the signature of a witness signs first.
const witnessContext = "tandem-witness-v1"

func witnessMessage(record syncengine.ID, row syncengine.RowHash) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(witnessContext), record[:]...), uint64(row))
}

// SignWitness signs a witness by the replica's key.
func SignWitness(key ed25519.PrivateKey, record syncengine.ID, row syncengine.RowHash) []byte {
	return ed25519.Sign(key, witnessMessage(record, row))
}

// Signed reports whether the witness is signed by the key, and its hash that of its
// content.
func (w *Witness) Signed(key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && syncengine.HashRow(w.Body, w.Stamps) == w.Hash &&
		ed25519.Verify(key, witnessMessage(w.Record, w.Hash), w.Signature)
}

// AppendWitness appends a sealed witness.
func (s *Session) AppendWitness(dst []byte, w *Witness) []byte {
	h := s.head
	h.Kind, h.Number, h.Signed = KindWitness, w.Serial, len(w.Signature) > 0
	p := append(append(s.plain[:0], w.Signature...), w.Record[:]...)
	p = binary.BigEndian.AppendUint32(p, w.Kind)
	p = binary.BigEndian.AppendUint64(p, uint64(w.Hash))
	p = binary.BigEndian.AppendUint32(p, uint32(len(w.Stamps)))
	s.plain = append(append(p, w.Stamps...), w.Body...)
	return s.seal(dst, &h)
}

// seal appends an entry that holds the plain text at hand.
func (s *Session) seal(dst []byte, h *Header) []byte {
	at := len(dst)
	dst = appendHeader(dst, h)
	dst = append(dst, tail[:]...)
	nonce := s.nonceOf(dst[at:at+adSize], s.plain)
	dst = append(dst, nonce...)
	dst = s.aead.Seal(dst, nonce, s.plain, dst[at:at+adSize])
	return finish(dst, at)
}

// nonceOf derives a nonce from all that is sealed.
func (k *keys) nonceOf(ad, plain []byte) []byte {
	k.nonce.Reset()
	k.nonce.Write(ad)
	k.nonce.Write(plain)
	return k.nonce.Sum(k.sum[:0])[:nonceSize]
}

// maxSessions bounds the sessions that an opener remembers.
const maxSessions = 256

// Opener opens entries with an organization's private keys. Not safe for concurrent
// use.
type Opener struct {
	private  map[KeyID]*PrivateKey
	sessions map[sessionOf]*keys
}

// sessionOf is what the keys of a session depend on.
type sessionOf struct {
	key          KeyID
	enc          [32]byte
	org, replica syncengine.ID
}

// NewOpener returns an opener with the keys that an organization has or had.
func NewOpener(private ...*PrivateKey) *Opener {
	o := &Opener{private: map[KeyID]*PrivateKey{}, sessions: map[sessionOf]*keys{}}
	for _, k := range private {
		o.private[k.ID()] = k
	}
	return o
}

// OpenChange opens a sealed change. Whose it is has not been proved: see
// [syncengine.PrepareSealed]. The error is ErrNoKey, ErrForged or ErrDamaged.
func (o *Opener) OpenChange(e *Entry) (*Change, error) {
	c := &Change{Op: e.Number, Class: e.Class}
	plain, err := o.open(e, KindChange)
	if err != nil {
		return nil, err
	}
	if len(plain) < len(c.Prev) {
		return nil, ErrDamaged
	}
	c.Prev, plain = syncengine.Hash(plain), plain[len(c.Prev):]
	if c.Signature, c.Raw, err = unsign(e, plain); err != nil {
		return nil, err
	}
	return c, nil
}

// unsign takes the signature off a plain text.
func unsign(e *Entry, plain []byte) (signature, rest []byte, err error) {
	if !e.Signed {
		return nil, plain, nil
	}
	if len(plain) < ed25519.SignatureSize {
		return nil, nil, ErrDamaged
	}
	return plain[:ed25519.SignatureSize], plain[ed25519.SignatureSize:], nil
}

// OpenWitness opens a sealed witness. Its signature has not been checked. The error
// is ErrNoKey, ErrForged or ErrDamaged.
func (o *Opener) OpenWitness(e *Entry) (*Witness, error) {
	w := &Witness{Serial: e.Number}
	plain, err := o.open(e, KindWitness)
	if err != nil {
		return nil, err
	}
	if w.Signature, plain, err = unsign(e, plain); err != nil {
		return nil, err
	}
	const fixed = 16 + 4 + 8 + 4
	if len(plain) < fixed {
		return nil, ErrDamaged
	}
	w.Record, w.Kind = syncengine.ID(plain), binary.BigEndian.Uint32(plain[16:])
	w.Hash = syncengine.RowHash(binary.BigEndian.Uint64(plain[20:]))
	stamps := binary.BigEndian.Uint32(plain[28:])
	if plain = plain[fixed:]; uint64(stamps) > uint64(len(plain)) {
		return nil, ErrDamaged
	}
	w.Stamps, w.Body = plain[:stamps:stamps], plain[stamps:]
	return w, nil
}

// open returns the plain text of an entry of a kind.
func (o *Opener) open(e *Entry, kind Kind) ([]byte, error) {
	if e.Kind != kind || len(e.Raw) < HeaderSize || len(e.Payload) < nonceSize+overhead {
		return nil, ErrDamaged
	}
	k, err := o.session(e)
	if err != nil {
		return nil, err
	}
	ad := append(make([]byte, 0, adSize), e.Raw[:adSize]...)
	clear(ad[offExpires:offKey])
	plain, err := k.aead.Open(nil, e.Payload[:nonceSize], e.Payload[nonceSize:], ad)
	if err != nil {
		return nil, ErrForged
	}
	return plain, nil
}

// session returns the keys of an entry's session.
func (o *Opener) session(e *Entry) (*keys, error) {
	of := sessionOf{e.Key, e.Enc, e.Org, e.Replica}
	if k := o.sessions[of]; k != nil {
		return k, nil
	}
	private := o.private[e.Key]
	if private == nil {
		return nil, ErrNoKey
	}
	_, kdf, aead := suite()
	recipient, err := hpke.NewRecipient(e.Enc[:], private.key, kdf, aead, info(e.Org, e.Replica))
	if err != nil {
		return nil, ErrForged
	}
	secret, err := recipient.Export(exportContext, sessionKeys)
	if err != nil {
		return nil, ErrForged
	}
	k, err := newKeys(secret)
	if err != nil {
		return nil, err
	}
	if len(o.sessions) >= maxSessions {
		clear(o.sessions)
	}
	o.sessions[of] = k
	return k, nil
}
