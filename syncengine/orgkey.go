package syncengine

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// An org signs with one key at a time: certificates of replicas, checkpoints of its audit
// log, which TLS keys its server has. A key that takes the place of another is announced
// by both, so that whoever trusts one key of the org finds the others, in either
// direction, and needs nobody else for it.

// orgKeyContext is what the announcement of an org's key signs first.
const orgKeyContext = "tandem-org-key-v1"

// MaxOrgKeys bounds the keys that an org may have had: one a month for eighty years.
const MaxOrgKeys = 1024

// ErrOrgKeys says that what is said of an org's keys does not lead from one to the next.
var ErrOrgKeys = errors.New("the organization's keys do not follow from one another: nothing of it is taken")

func orgKeyText(org ID, s *tandemv1.OrgSuccessor) []byte {
	b := append([]byte(orgKeyContext), org[:]...)
	b = binary.BigEndian.AppendUint64(b, s.GetGeneration())
	b = binary.BigEndian.AppendUint64(b, uint64(s.GetMadeMs()))
	b = binary.BigEndian.AppendUint64(b, uint64(s.GetUntilMs()))
	return append(append(b, s.GetWas()...), s.GetKey()...)
}

// SignOrgSuccessor announces the key that takes the place of another, which had generation
// keys before its successor has one more. untilMS is until when what was certified before
// lets in who is not known.
func SignOrgSuccessor(org ID, generation uint64, was, key ed25519.PrivateKey, madeMS, untilMS int64) *tandemv1.OrgSuccessor {
	s := &tandemv1.OrgSuccessor{
		Generation: generation, Was: was[ed25519.SeedSize:], Key: key[ed25519.SeedSize:], MadeMs: madeMS, UntilMs: untilMS,
	}
	text := orgKeyText(org, s)
	s.Signature, s.Consent = ed25519.Sign(was, text), ed25519.Sign(key, text)
	return s
}

// orgSuccessor reports whether both keys have signed an announcement.
func orgSuccessor(org ID, s *tandemv1.OrgSuccessor) bool {
	if s.GetGeneration() == 0 || len(s.GetWas()) != ed25519.PublicKeySize || len(s.GetKey()) != ed25519.PublicKeySize || bytes.Equal(s.GetWas(), s.GetKey()) {
		return false
	}
	text := orgKeyText(org, s)
	return ed25519.Verify(s.GetWas(), text, s.GetSignature()) && ed25519.Verify(s.GetKey(), text, s.GetConsent())
}

// FollowOrgKey goes from a key of an org that is trusted to the newest one that follows
// from it, and returns the announcements on the way. Where none of them continues from the
// key, as where they are of a time before it, the key is the newest. The error is
// ErrOrgKeys where one that claims to continue does not: nothing is to be believed then.
func FollowOrgKey(org ID, key ed25519.PublicKey, said []*tandemv1.OrgSuccessor) (newest ed25519.PublicKey, followed []*tandemv1.OrgSuccessor, err error) {
	if len(said) > MaxOrgKeys {
		return key, nil, ErrOrgKeys
	}
	newest = key
	for _, s := range said {
		if !bytes.Equal(s.GetWas(), newest) {
			continue
		}
		if n := len(followed); !orgSuccessor(org, s) || n > 0 && s.GetGeneration() != followed[n-1].GetGeneration()+1 {
			return key, nil, ErrOrgKeys
		}
		newest, followed = s.GetKey(), append(followed, s)
	}
	return newest, followed, nil
}

// OrgKeys returns the keys of an org, the first one first, as far as announcements connect
// them with one that is trusted, and how many keys the org had before the first of them.
func OrgKeys(org ID, trusted ed25519.PublicKey, said []*tandemv1.OrgSuccessor) (keys []ed25519.PublicKey, before uint64) {
	_, later, err := FollowOrgKey(org, trusted, said)
	if err != nil {
		later = nil
	}
	if len(later) > 0 {
		before = later[0].GetGeneration() - 1
	}
	keys = []ed25519.PublicKey{trusted}
	for i := min(len(said), MaxOrgKeys) - 1; i >= 0; i-- {
		if s := said[i]; bytes.Equal(s.GetKey(), keys[0]) && orgSuccessor(org, s) {
			keys, before = append([]ed25519.PublicKey{s.GetWas()}, keys...), s.GetGeneration()-1
		}
	}
	for _, s := range later {
		keys = append(keys, s.GetKey())
	}
	return keys, before
}
