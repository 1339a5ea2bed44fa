package export

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
)

// secret is the key of one file that is read again by who wrote it: it is kept nowhere, so that
// what is left of the file when that ends says nothing.
type secret [32]byte

// begin makes it, and returns the stream to write with.
func (s *secret) begin() (cipher.Stream, error) {
	if _, err := rand.Read(s[:]); err != nil {
		return nil, err
	}
	return s.stream()
}

// stream is that to read with.
func (s *secret) stream() (cipher.Stream, error) {
	block, err := aes.NewCipher(s[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewCTR(block, make([]byte, aes.BlockSize)), nil //nolint:gosec // Each key is of one file.
}
