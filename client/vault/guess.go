package vault

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
)

const (
	costSize  = 4 + 4 + 1
	guessSalt = 16
)

// AppendGuess appends what a secret can be checked against: what one guess of it costs,
// a salt of 16 bytes, and what Argon2id makes of the two. It is for secrets that open
// nothing by themselves.
func AppendGuess(dst, secret, salt []byte, c Cost) []byte {
	dst = binary.BigEndian.AppendUint32(dst, c.Time)
	dst = binary.BigEndian.AppendUint32(dst, c.MemoryKiB)
	dst = append(append(dst, c.Threads), salt[:guessSalt]...)
	return append(dst, stretch(secret, salt[:guessSalt], c)...)
}

// FitsGuess reports whether a secret is the one that something was appended for.
func FitsGuess(kept, secret []byte) (bool, error) {
	if len(kept) != costSize+guessSalt+KeySize {
		return false, errors.New("not something to check a guess against")
	}
	c := Cost{Time: binary.BigEndian.Uint32(kept), MemoryKiB: binary.BigEndian.Uint32(kept[4:]), Threads: kept[8]}
	if !c.valid() {
		return false, errors.New("not something to check a guess against")
	}
	got := stretch(secret, kept[costSize:costSize+guessSalt], c)
	return subtle.ConstantTimeCompare(got, kept[costSize+guessSalt:]) == 1, nil
}
