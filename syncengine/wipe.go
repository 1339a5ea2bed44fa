package syncengine

import (
	"crypto/ed25519"
	"encoding/binary"
)

// The order to wipe a device: its act, and its number, of which a device has one.
const (
	ActWipe   = "wipe"
	WipeOrder = 1
)

// wipedContext is what the signature of a receipt signs first.
const wipedContext = "tandem-wiped-v1"

func wipedMessage(org, replica ID, order uint64) []byte {
	return binary.BigEndian.AppendUint64(append(append([]byte(wipedContext), org[:]...), replica[:]...), order)
}

// SignWiped signs the receipt of a store that was wiped by order, by its replica's key.
func SignWiped(key ed25519.PrivateKey, org, replica ID, order uint64) []byte {
	return ed25519.Sign(key, wipedMessage(org, replica, order))
}

// VerifyWiped reports whether a receipt is signed by a replica's key.
func VerifyWiped(key ed25519.PublicKey, signature []byte, org, replica ID, order uint64) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, wipedMessage(org, replica, order), signature)
}
