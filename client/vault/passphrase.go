package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

// Cost is what Argon2id is asked to spend on one guess.
type Cost struct {
	// Time is the number of passes, MemoryKiB the memory, Threads the lanes.
	Time      uint32 `json:"time"`
	MemoryKiB uint32 `json:"memory_kib"`
	Threads   uint8  `json:"threads"`
}

// DefaultCost is what a laptop spends: 64 MiB, three times over.
var DefaultCost = Cost{Time: 3, MemoryKiB: 64 << 10, Threads: 4}

// below reports whether a cost is less than another in any part.
func (c Cost) below(o Cost) bool { return c.Time < o.Time || c.MemoryKiB < o.MemoryKiB }

// mostMemory bounds what a key file may ask for: 1 GiB.
const mostMemory = 1 << 20

func (c Cost) valid() bool {
	return c.Time > 0 && c.Time <= 64 && c.MemoryKiB >= 8*uint32(c.Threads) && c.MemoryKiB <= mostMemory && c.Threads > 0
}

// MinPassphrase is how many characters a passphrase has at least: five short words.
const MinPassphrase = 15

// ErrWeak says that a passphrase is too short.
var ErrWeak = errors.New("the passphrase is too short: take five words, or at least 15 characters")

// folded brings a passphrase to one form, whatever keyboard typed it.
func folded(passphrase []byte) []byte { return norm.NFC.Bytes(passphrase) }

func strong(passphrase []byte) error {
	if p := folded(passphrase); utf8.RuneCount(p) < MinPassphrase || distinct(p) < 5 {
		return ErrWeak
	}
	return nil
}

// distinct counts different bytes.
func distinct(p []byte) (n int) {
	var seen [256]bool
	for _, c := range p {
		if !seen[c] {
			seen[c] = true
			n++
		}
	}
	return n
}

// stretch makes a key of what a person knows.
func stretch(secret, salt []byte, c Cost) []byte {
	return argon2.IDKey(secret, salt, c.Time, c.MemoryKiB, c.Threads, KeySize)
}

// wrapped is a key sealed under another.
type wrapped struct {
	Nonce  []byte `json:"nonce"`
	Sealed []byte `json:"sealed"`
}

func gcm(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

// wrap seals a data key.
func wrap(kek []byte, key *DataKey, context []byte) (*wrapped, error) {
	a, err := gcm(kek)
	if err != nil {
		return nil, err
	}
	w := &wrapped{Nonce: make([]byte, a.NonceSize())}
	_, _ = rand.Read(w.Nonce)
	w.Sealed = a.Seal(nil, w.Nonce, key.b[:], context)
	return w, nil
}

// unwrap opens it; errSeal where the key is another one.
func (w *wrapped) unwrap(kek, context []byte) (*DataKey, error) {
	a, err := gcm(kek)
	if err != nil {
		return nil, err
	}
	if len(w.Nonce) != a.NonceSize() {
		return nil, errSeal
	}
	b, err := a.Open(nil, w.Nonce, w.Sealed, context)
	if err != nil || len(b) != KeySize {
		return nil, errSeal
	}
	key := &DataKey{b: [KeySize]byte(b)}
	clear(b)
	return key, nil
}
