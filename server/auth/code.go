package auth

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tandem-response/tandem/syncengine"
)

// CodeLife is how long a code may be used.
const CodeLife = 15 * time.Minute

const (
	// alphabet is Crockford's base32: no I, L, O or U.
	alphabet  = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	codeChars = 12
	codeGroup = 4
	maxCode   = 64
)

// NewCode makes a one-time code of 60 random bits, in groups for reading aloud.
func NewCode(rand io.Reader) (string, error) {
	var random [codeChars]byte
	if _, err := io.ReadFull(rand, random[:]); err != nil {
		return "", fmt.Errorf("making a code: %w", err)
	}
	var b strings.Builder
	for i, r := range random {
		if i > 0 && i%codeGroup == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(alphabet[r&31])
	}
	return b.String(), nil
}

// FoldCode returns a code as its proof of possession signs it: in upper case,
// without spaces and hyphens.
func FoldCode(code string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '-', '\t', '\n', '\r':
			return -1
		}
		return r
	}, strings.ToUpper(code))
}

// lookAlike reads what people write for digits.
var lookAlike = strings.NewReplacer("O", "0", "I", "1", "L", "1")

// HashCode returns what is kept of a code. Letters that look like digits count as
// the digits.
func HashCode(code string) syncengine.Hash {
	if len(code) > maxCode {
		return syncengine.Hash{}
	}
	return sha256.Sum256([]byte(lookAlike.Replace(FoldCode(code))))
}

// enrolContext is what a proof of possession signs before code and replica id.
const enrolContext = "tandem-enroll-v1"

// VerifyEnrolment reports whether proof is the signature by key over the code and
// the replica id.
func VerifyEnrolment(key ed25519.PublicKey, proof []byte, code string, replica syncengine.ID) bool {
	if len(key) != ed25519.PublicKeySize || len(code) > maxCode {
		return false
	}
	return ed25519.Verify(key, append([]byte(enrolContext+FoldCode(code)), replica[:]...), proof)
}

// reinstanceContext is what a proof of possession signs first for a new replica of a
// store.
const reinstanceContext = "tandem-reinstance-v1"

// VerifyReinstance reports whether proof is the signature by key over the id of the
// replica that a store was and that of the new one.
func VerifyReinstance(key ed25519.PublicKey, proof []byte, was, replica syncengine.ID) bool {
	if len(key) != ed25519.PublicKeySize {
		return false
	}
	return ed25519.Verify(key, append(append([]byte(reinstanceContext), was[:]...), replica[:]...), proof)
}
