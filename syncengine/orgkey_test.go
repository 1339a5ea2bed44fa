package syncengine_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// Whoever trusts a key of an org follows to the newest one, never back, and takes nothing
// of a chain that is broken or another org's.
func TestFollowOrgKey(t *testing.T) {
	t.Parallel()
	org, other := syncengine.ID{1}, syncengine.ID{2}
	var keys []ed25519.PrivateKey
	var public []ed25519.PublicKey
	for i := range 5 {
		key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i + 1)}, ed25519.SeedSize))
		keys, public = append(keys, key), append(public, ed25519.PublicKey(key[ed25519.SeedSize:]))
	}
	step := func(org syncengine.ID, from, to int) *tandemv1.OrgSuccessor {
		return syncengine.SignOrgSuccessor(org, uint64(to), keys[from], keys[to], 1000, 2000)
	}
	chain := []*tandemv1.OrgSuccessor{step(org, 0, 1), step(org, 1, 2), step(org, 2, 3)}
	with := func(i int, change func(*tandemv1.OrgSuccessor)) []*tandemv1.OrgSuccessor {
		broken := slices.Clone(chain)
		broken[i] = proto.CloneOf(chain[i])
		change(broken[i])
		return broken
	}
	for name, tc := range map[string]struct {
		from, to int
		said     []*tandemv1.OrgSuccessor
		broken   bool
	}{
		"nothing is said":            {from: 0, to: 0},
		"one step":                   {from: 2, to: 3, said: chain},
		"all steps":                  {from: 0, to: 3, said: chain},
		"the newest is known":        {from: 3, to: 3, said: chain},
		"an older chain, replayed":   {from: 2, to: 2, said: chain[:2]},
		"a key that is not of it":    {from: 4, to: 4, said: chain},
		"another org's":              {from: 0, to: 0, said: []*tandemv1.OrgSuccessor{step(other, 0, 1)}, broken: true},
		"the predecessor's missing":  {from: 0, to: 0, said: with(1, func(s *tandemv1.OrgSuccessor) { s.Signature = nil }), broken: true},
		"the successor's missing":    {from: 0, to: 0, said: with(1, func(s *tandemv1.OrgSuccessor) { s.Consent = s.GetSignature() }), broken: true},
		"another time":               {from: 0, to: 0, said: with(0, func(s *tandemv1.OrgSuccessor) { s.UntilMs++ }), broken: true},
		"a key of another length":    {from: 0, to: 0, said: with(0, func(s *tandemv1.OrgSuccessor) { s.Key = s.GetKey()[:31] }), broken: true},
		"a step left out":            {from: 0, to: 1, said: []*tandemv1.OrgSuccessor{chain[0], chain[2]}},
		"a generation that is off":   {from: 0, to: 0, said: []*tandemv1.OrgSuccessor{chain[0], syncengine.SignOrgSuccessor(org, 4, keys[1], keys[2], 1, 2)}, broken: true},
		"in the wrong order, partly": {from: 0, to: 1, said: []*tandemv1.OrgSuccessor{chain[1], chain[0]}},
		"far too many":               {from: 0, to: 0, said: slices.Repeat(chain, syncengine.MaxOrgKeys), broken: true},
	} {
		newest, _, err := syncengine.FollowOrgKey(org, public[tc.from], tc.said)
		if !newest.Equal(public[tc.to]) || errors.Is(err, syncengine.ErrOrgKeys) != tc.broken {
			t.Errorf("%s: to key %d, %v", name, slices.IndexFunc(public, func(k ed25519.PublicKey) bool { return k.Equal(newest) }), err)
		}
	}
	for from := range 4 {
		ring, before := syncengine.OrgKeys(org, public[from], chain)
		if len(ring) != 4 || before != 0 || !ring[0].Equal(public[0]) || !ring[3].Equal(public[3]) {
			t.Errorf("from key %d the org has %d keys, %d before", from, len(ring), before)
		}
	}
	// Nobody puts a key before another without its word.
	forged := proto.CloneOf(step(org, 4, 1))
	forged.Consent = forged.GetSignature()
	if ring, _ := syncengine.OrgKeys(org, public[1], []*tandemv1.OrgSuccessor{forged}); len(ring) != 1 {
		t.Error("a key was put before one that does not know it")
	}
}
