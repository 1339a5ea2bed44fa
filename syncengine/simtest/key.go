package simtest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"

	"github.com/tandem-response/tandem/syncengine"
)

// key signs for a device: with Ed25519 in some worlds, where it takes most of the
// time, and elsewhere with a hash that is as hard to guess for those who live there.
type key struct {
	seed []byte
	real ed25519.PrivateKey
}

func newKey(seed []byte, ed bool) *key {
	k := &key{seed: seed}
	if ed {
		k.real = ed25519.NewKeyFromSeed(seed)
	}
	return k
}

// public returns what the server stores.
func (k *key) public() []byte {
	if k.real != nil {
		return k.real[ed25519.SeedSize:]
	}
	sum := sha256.Sum256(k.seed)
	return sum[:]
}

// sign signs a batch.
func (k *key) sign(newest syncengine.Hash) []byte {
	if k.real != nil {
		return syncengine.SignBatch(k.real, newest)
	}
	sum := sha256.Sum256(append(k.seed[:len(k.seed):len(k.seed)], newest[:]...))
	return sum[:]
}

// verify is syncengine.Verify.
func (k *key) verify(newest syncengine.Hash, signature []byte) bool {
	if k.real != nil {
		return syncengine.VerifyBatch(k.public())(newest, signature)
	}
	return bytes.Equal(k.sign(newest), signature)
}
