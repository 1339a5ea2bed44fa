package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
)

const (
	tagSize   = 16
	nonceSize = 12
	saltSize  = aes.BlockSize
	// overhead is what sealing adds to a block: tag, nonce, and the masked salt.
	overhead = tagSize + nonceSize + saltSize
	// perSalt is how many blocks are sealed under one derived key. Their nonces are
	// random, so that the chance of a pair among them is below 2^-55.
	perSalt = 1 << 20
	// mostKeys bounds the derived keys that are kept.
	mostKeys = 128
)

// errSeal says that a block is not what was sealed in that place.
var errSeal = errors.New("a block of the vault is not what was written there")

// ErrLocked says that the vault's key is not in memory.
var ErrLocked = errors.New("the store is locked: unlock it with its passphrase")

// sealer seals blocks with AES-256-GCM. Each block has a random nonce, and the key of
// each is derived from the data key and a random salt, which is drawn anew at each
// start and after perSalt blocks: together they are as long as a nonce must be to be
// drawn at random for ever. The salt is masked, so that nothing in a file repeats.
// Safe for concurrent use.
type sealer struct {
	data [KeySize]byte
	// mask hides salts, tally is for the sums of pages.
	mask, tally cipher.Block

	mu   sync.Mutex
	salt [saltSize]byte
	now  cipher.AEAD
	left int
	keys map[[saltSize]byte]cipher.AEAD
	// dropped: the keys have been forgotten.
	dropped bool
}

func newSealer(key *DataKey) (*sealer, error) {
	s := &sealer{data: key.b, keys: map[[saltSize]byte]cipher.AEAD{}}
	for into, label := range map[*cipher.Block]string{&s.mask: "tandem vault: mask", &s.tally: "tandem vault: tally"} {
		sub, err := hkdf.Key(sha256.New, s.data[:], nil, label, KeySize)
		if err != nil {
			return nil, err
		}
		if *into, err = aes.NewCipher(sub); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// derive returns the key of a salt. mu is held.
func (s *sealer) derive(salt [saltSize]byte) (cipher.AEAD, error) {
	if a := s.keys[salt]; a != nil {
		return a, nil
	}
	if s.dropped {
		return nil, ErrLocked
	}
	key, err := hkdf.Key(sha256.New, s.data[:], salt[:], "tandem vault: block", KeySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	if len(s.keys) >= mostKeys {
		clear(s.keys)
	}
	s.keys[salt] = a
	return a, nil
}

// current returns the key that blocks are sealed with.
func (s *sealer) current() (cipher.AEAD, [saltSize]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped {
		return nil, s.salt, ErrLocked
	}
	if s.left == 0 {
		_, _ = rand.Read(s.salt[:])
		a, err := s.derive(s.salt)
		if err != nil {
			return nil, s.salt, err
		}
		s.now, s.left = a, perSalt
	}
	s.left--
	return s.now, s.salt, nil
}

// place is what a block is bound to: what it is, and where it stands.
func place(kind byte, number int64) [9]byte {
	var p [9]byte
	p[0] = kind
	binary.BigEndian.PutUint64(p[1:], uint64(number))
	return p
}

// seal seals the first len(b)-overhead bytes of b in place.
func (s *sealer) seal(b []byte, kind byte, number int64) error {
	a, salt, err := s.current()
	if err != nil {
		return err
	}
	n := len(b) - overhead
	nonce := b[n+tagSize : n+tagSize+nonceSize]
	_, _ = rand.Read(nonce)
	at := place(kind, number)
	a.Seal(b[:0], nonce, b[:n], at[:])
	s.masked(b[n+tagSize+nonceSize:], nonce, salt[:])
	return nil
}

// open opens a sealed block in place and returns what was sealed; errSeal where it was
// not sealed so, in this place.
func (s *sealer) open(b []byte, kind byte, number int64) ([]byte, error) {
	n := len(b) - overhead
	nonce := b[n+tagSize : n+tagSize+nonceSize]
	var salt [saltSize]byte
	s.masked(salt[:], nonce, b[n+tagSize+nonceSize:])
	s.mu.Lock()
	a, err := s.derive(salt)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	at := place(kind, number)
	plain, err := a.Open(b[:0], nonce, b[:n+tagSize], at[:])
	if err != nil {
		return nil, errSeal
	}
	return plain, nil
}

// masked masks a salt, or lays it open.
func (s *sealer) masked(dst, nonce, salt []byte) {
	var m [aes.BlockSize]byte
	copy(m[:], nonce)
	s.mask.Encrypt(m[:], m[:])
	for i := range m {
		dst[i] = salt[i] ^ m[i]
	}
}

// term is what a page adds to the sum of all: a number that only who has the key can
// tell, of the page's place and its tag, which no two versions of it share.
func (s *sealer) term(number int64, trailer []byte) (t sum) {
	binary.BigEndian.PutUint64(t[:], uint64(number))
	s.tally.Encrypt(t[:], t[:])
	for i, b := range trailer[:tagSize] {
		t[i] ^= b
	}
	s.tally.Encrypt(t[:], t[:])
	return t
}

// drop forgets the keys.
func (s *sealer) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.data[:])
	clear(s.keys)
	s.now, s.left, s.dropped = nil, 0, true
}

// sum is that of the terms of all pages.
type sum [aes.BlockSize]byte

// with adds a term, or takes it away.
func (s sum) with(t sum) sum {
	for i := range s {
		s[i] ^= t[i]
	}
	return s
}
