package syncengine

import "slices"

// serverKeysContext is what a statement of a server's keys signs first.
const serverKeysContext = "tandem-server-keys-v1"

// NonceSize is the size of what a device makes its question for the server's keys one of
// its own by, in bytes.
const NonceSize = 32

// ServerKeysText is what the org key signs to state that a server has TLS keys, each by
// the SHA-256 of its SubjectPublicKeyInfo, to a device that asks with a nonce.
func ServerKeysText(org ID, nonce []byte, keys [][]byte) []byte {
	return slices.Concat([]byte(serverKeysContext), org[:], nonce, slices.Concat(keys...))
}
