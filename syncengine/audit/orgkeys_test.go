package audit

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// A log whose org has replaced its key is held to the checkpoints of each key, for the part
// in which that one signed; a former key signs nothing further on.
func TestOrgKeysOfALog(t *testing.T) {
	t.Parallel()
	second := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	third := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize))
	epoch := syncengine.ID{9}
	step := syncengine.SignOrgSuccessor(org, 1, key, second, 5, 6)
	said, err := proto.Marshal(step)
	if err != nil {
		t.Fatal(err)
	}
	var log [][]byte
	for _, e := range []*tandemv1.AuditEntry{
		{Act: tandemv1.AuditAct_AUDIT_ACT_BEGAN, Epoch: epoch[:]}, {Act: tandemv1.AuditAct_AUDIT_ACT_EXPORTED},
		{Act: tandemv1.AuditAct_AUDIT_ACT_ORG_KEYED, Key: public(second), Number: 1, Entry: said}, {Act: tandemv1.AuditAct_AUDIT_ACT_EXPORTED},
	} {
		raw, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, raw)
	}
	signed := func(size int, by ed25519.PrivateKey) *Checkpoint {
		var tree Tree
		for _, raw := range log[:size] {
			tree.Append(raw)
		}
		c := &Checkpoint{Org: org, Epoch: epoch, Size: tree.Size(), Root: tree.Root(), AtMS: 7}
		c.Sign(by)
		return c
	}
	check := func(ring []ed25519.PublicKey, some ...*Checkpoint) *Report {
		var kept []Witness
		for _, c := range some {
			kept = append(kept, Witness{Checkpoint: c, From: "kept"})
		}
		c := NewCheck(org, ring, nil, kept)
		for n, raw := range log {
			c.Add(int64(n), raw)
		}
		return c.End()
	}
	ring, _ := syncengine.OrgKeys(org, public(key), []*tandemv1.OrgSuccessor{step})
	if r := check(ring, signed(2, key), signed(3, second), signed(4, second)); len(r.Faults) > 0 || r.Checkpoints != 3 {
		t.Errorf("each by the key of its part: %+v", r)
	}
	for name, c := range map[string]*Checkpoint{
		"a former key after it was replaced": signed(4, key), "at the entry that replaces it": signed(3, key),
		"a key before it was made": signed(2, second), "a stranger's": signed(4, third),
	} {
		if r := check(ring, c); len(r.Faults) != 1 || r.Checkpoints != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// Whoever has a former key and can write to the database takes it up again.
	back, err := Encode(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_ORG_KEYED, Key: public(key), Entry: said})
	if err != nil {
		t.Fatal(err)
	}
	log = append(log, back)
	if r := check(ring, signed(4, second), signed(5, key)); len(r.Faults) != 2 || r.Signed != 4 {
		t.Errorf("a log that goes back to a former key: %+v", r)
	}
	log = log[:4]
	if r := check([]ed25519.PublicKey{public(key)}, signed(2, key)); len(r.Faults) != 1 || !strings.Contains(r.Faults[0], "announced") {
		t.Errorf("a key that nobody has announced: %+v", r)
	}

	for name, tc := range map[string]struct {
		anchor ed25519.PublicKey
		said   []*tandemv1.OrgSuccessor
		holds  bool
	}{
		"by the newest key":            {public(second), []*tandemv1.OrgSuccessor{step}, true},
		"by the first":                 {public(key), []*tandemv1.OrgSuccessor{step}, true},
		"by a stranger's":              {public(third), []*tandemv1.OrgSuccessor{step}, false},
		"by the first, no connection":  {public(key), nil, false},
		"by the newest, no connection": {public(second), nil, false},
	} {
		var file bytes.Buffer
		e, err := NewExport(&file, org, public(second), tc.said, nil, int64(len(log)), []*Checkpoint{signed(2, key), signed(4, second)})
		for n, raw := range log {
			if err == nil {
				err = e.Add(int64(n), raw)
			}
		}
		if err == nil {
			err = e.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
		r, err := CheckExport(&file, tc.anchor, func(syncengine.ID, []ed25519.PublicKey) ([]Witness, error) { return nil, nil })
		if err != nil || (len(r.Faults) == 0) != tc.holds {
			t.Errorf("an export, held to the org %s: %+v, %v", name, r, err)
		}
	}
}
