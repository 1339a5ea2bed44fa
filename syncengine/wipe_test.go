package syncengine_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/tandem-response/tandem/syncengine"
)

// A receipt signs what the protocol says, and is good for nothing else: of its store, its
// org and its order alone.
func TestWipedReceipt(t *testing.T) {
	t.Parallel()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{6}, ed25519.SeedSize))
	public := ed25519.PublicKey(key[ed25519.SeedSize:])
	org, replica := syncengine.ID{1}, syncengine.ID{2}
	message := slices.Concat([]byte("tandem-wiped-v1"), org[:], replica[:], binary.BigEndian.AppendUint64(nil, 7))
	signature := syncengine.SignWiped(key, org, replica, 7)
	if !ed25519.Verify(public, message, signature) {
		t.Error("the receipt signs something else than the protocol says")
	}
	if !syncengine.VerifyWiped(public, ed25519.Sign(key, message), org, replica, 7) {
		t.Error("a receipt as the protocol says is refused")
	}
	for name, ok := range map[string]bool{
		"another org":     syncengine.VerifyWiped(public, signature, replica, replica, 7),
		"another replica": syncengine.VerifyWiped(public, signature, org, org, 7),
		"another order":   syncengine.VerifyWiped(public, signature, org, replica, 8),
		"another key":     syncengine.VerifyWiped(ed25519.PublicKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))[ed25519.SeedSize:]), signature, org, replica, 7),
		"no key":          syncengine.VerifyWiped(nil, signature, org, replica, 7),
		"no signature":    syncengine.VerifyWiped(public, nil, org, replica, 7),
	} {
		if ok {
			t.Errorf("%s: accepted", name)
		}
	}
}
