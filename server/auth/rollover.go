package auth

import (
	"crypto/ed25519"
	"encoding/json"

	"github.com/go-jose/go-jose/v4"
	"github.com/tandem-response/tandem/syncengine"
)

// rolloverType is the type of both tokens of a rollover.
const rolloverType = "tandem-rekey+jws"

// Rollover is what a device says that gets another key.
type Rollover struct {
	Key ed25519.PublicKey
	// Ops is the newest op that the old key may have signed.
	Ops uint64
}

// maxOps bounds the number of an op.
const maxOps = 1 << 62

// VerifyRollover reads the rollover of a replica from its old key to a new one, as in RFC
// 8555, section 7.3.5: what the new key signs, with its own key in the header, names the
// replica and the old key; the old key signs that. So nobody gives a replica a key that
// they do not have, or a key of theirs to a replica that is not.
func VerifyRollover(compact string, replica syncengine.ID, old ed25519.PublicKey) (*Rollover, bool) {
	if len(compact) > 2*maxToken {
		return nil, false
	}
	outer, err := jose.ParseSignedCompact(compact, algorithms)
	if err != nil || len(outer.Signatures) != 1 || outer.Signatures[0].Protected.ExtraHeaders[jose.HeaderType] != rolloverType {
		return nil, false
	}
	payload, err := outer.Verify(old)
	if err != nil {
		return nil, false
	}
	inner, err := jose.ParseSignedCompact(string(payload), algorithms)
	if err != nil || len(inner.Signatures) != 1 {
		return nil, false
	}
	head := inner.Signatures[0].Protected
	if head.ExtraHeaders[jose.HeaderType] != rolloverType || head.JSONWebKey == nil {
		return nil, false
	}
	key, ok := head.JSONWebKey.Key.(ed25519.PublicKey)
	if !ok || len(key) != ed25519.PublicKeySize || key.Equal(old) {
		return nil, false
	}
	said, err := inner.Verify(key)
	if err != nil {
		return nil, false
	}
	var c struct {
		Account string          `json:"account"`
		OldKey  jose.JSONWebKey `json:"oldKey"`
		Ops     uint64          `json:"ops"`
	}
	if json.Unmarshal(said, &c) != nil || c.Account != replica.String() || c.Ops > maxOps {
		return nil, false
	}
	if named, ok := c.OldKey.Key.(ed25519.PublicKey); !ok || !named.Equal(old) {
		return nil, false
	}
	return &Rollover{Key: key, Ops: c.Ops}, true
}
