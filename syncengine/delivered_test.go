package syncengine_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/syncengine"
)

// carried is a chain of changes of one replica, signed at the ops named.
func carried(key ed25519.PrivateKey, replica syncengine.ID, n int, signed ...int) []syncengine.Delivered {
	var out []syncengine.Delivered
	prev := syncengine.Hash{}
	for i := range n {
		d := syncengine.Delivered{Op: uint64(i + 1), Prev: prev, Raw: fmt.Appendf(nil, "save %d", i+1)}
		prev = syncengine.HashEnvelope(replica, d.Op, d.Prev, sha256.Sum256(d.Raw))
		for _, op := range signed {
			if op == i+1 {
				d.Signature = syncengine.SignBatch(key, prev)
			}
		}
		out = append(out, d)
	}
	return out
}

func TestDeliveredIsProved(t *testing.T) {
	t.Parallel()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	stranger := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize))
	replica := syncengine.ID{1}
	without := func(all []syncengine.Delivered, op int) []syncengine.Delivered {
		return append(append([]syncengine.Delivered{}, all[:op-1]...), all[op:]...)
	}
	altered := carried(key, replica, 5, 5)
	altered[2].Raw = []byte("other words")
	turned := carried(key, replica, 4, 4)
	turned[0], turned[3] = turned[3], turned[0]
	for name, tc := range map[string]struct {
		delivered []syncengine.Delivered
		want      string // p for each proved change, in order of op
	}{
		"signed at the end":       {carried(key, replica, 5, 5), "ppppp"},
		"in any order":            {turned, "pppp"},
		"signed in the middle":    {carried(key, replica, 5, 3), "ppp--"},
		"signed by nobody":        {carried(key, replica, 3), "---"},
		"signed by a stranger":    {carried(stranger, replica, 3, 3), "---"},
		"of another replica":      {carried(key, syncengine.ID{2}, 3, 3), "---"},
		"one is missing":          {without(carried(key, replica, 5, 5), 3), "--pp"},
		"one missing, two signed": {without(carried(key, replica, 5, 2, 5), 3), "pppp"},
		"one was altered":         {altered, "---pp"},
		"twice":                   {append(carried(key, replica, 2, 2), carried(key, replica, 2)...), "pp"},
		"op zero":                 {[]syncengine.Delivered{{Raw: []byte("x")}}, ""},
	} {
		var got strings.Builder
		last := uint64(0)
		for _, c := range syncengine.PrepareDelivered(checkOnly{}, replica, ed25519.PublicKey(key[ed25519.SeedSize:]), tc.delivered) {
			if c.Op < last {
				t.Errorf("%s: op %d stands after %d", name, c.Op, last)
			}
			last = c.Op
			if c.Proved {
				got.WriteString("p")
			} else {
				got.WriteString("-")
			}
		}
		if got.String() != tc.want {
			t.Errorf("%s: proved %q, want %q", name, got.String(), tc.want)
		}
	}
}

// Two proved changes under one op are judged one after the other.
func TestRounds(t *testing.T) {
	t.Parallel()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	one := carried(key, syncengine.ID{1}, 2, 1, 2)
	other := syncengine.Delivered{Op: 2, Prev: one[1].Prev, Raw: []byte("other words")}
	other.Signature = syncengine.SignBatch(key, syncengine.HashEnvelope(syncengine.ID{1}, 2, other.Prev, sha256.Sum256(other.Raw)))
	all := syncengine.PrepareDelivered(checkOnly{}, syncengine.ID{1}, ed25519.PublicKey(key[ed25519.SeedSize:]), append(one, other))
	rounds := syncengine.Rounds(all)
	if len(rounds) != 2 || len(rounds[0]) != 2 || len(rounds[1]) != 1 || rounds[1][0].Op != 2 {
		t.Errorf("got %d rounds of %v", len(rounds), rounds)
	}
}
