package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// Bounds of one delivery of a device's entries, and of one entry.
const (
	MaxEntries = 1000
	MaxEntry   = 16 << 10
)

// Encode returns the bytes of an entry.
func Encode(e *tandemv1.AuditEntry) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(e)
}

// Decode opens an entry.
func Decode(raw []byte) (*tandemv1.AuditEntry, error) {
	e := &tandemv1.AuditEntry{}
	if err := proto.Unmarshal(raw, e); err != nil {
		return nil, err
	}
	return e, nil
}

// ChainHash is the hash of an entry of a device's chain: SHA-256 of
// "tandem-audit-entry-v1" ‖ replica ‖ number, 8 bytes big endian ‖ the hash before ‖
// the entry. The hash before the first, number 1, is 32 zero bytes.
func ChainHash(replica syncengine.ID, number uint64, before syncengine.Hash, entry []byte) syncengine.Hash {
	b := append([]byte("tandem-audit-entry-v1"), replica[:]...)
	b = binary.BigEndian.AppendUint64(b, number)
	b = append(b, before[:]...)
	return sha256.Sum256(append(b, entry...))
}

func chainText(replica syncengine.ID, number uint64, hash syncengine.Hash) []byte {
	b := append([]byte("tandem-audit-chain-v1"), replica[:]...)
	b = binary.BigEndian.AppendUint64(b, number)
	return append(b, hash[:]...)
}

// SignChain signs a device's chain: Ed25519 over "tandem-audit-chain-v1" ‖ replica ‖
// number of its newest entry, 8 bytes big endian ‖ the chain's hash there.
func SignChain(key ed25519.PrivateKey, replica syncengine.ID, number uint64, hash syncengine.Hash) []byte {
	return ed25519.Sign(key, chainText(replica, number, hash))
}

// ChainSigned reports whether a replica's key has signed its chain so.
func ChainSigned(key ed25519.PublicKey, replica syncengine.ID, number uint64, hash syncengine.Hash, signature []byte) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, chainText(replica, number, hash), signature)
}

// deviceActs are those that a device may deliver.
func deviceAct(a tandemv1.AuditAct) bool { return a >= tandemv1.AuditAct_AUDIT_ACT_READ }

// FromDevice reports whether an entry is one that a device may deliver.
func FromDevice(raw []byte) bool {
	if len(raw) == 0 || len(raw) > MaxEntry {
		return false
	}
	e, err := Decode(raw)
	return err == nil && deviceAct(e.GetAct())
}
