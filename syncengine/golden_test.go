package syncengine_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// goldenRecords are records at the ends of three short histories.
func goldenRecords(tb testing.TB) map[string]*syncengine.Record {
	tb.Helper()
	path := func(field uint32, key string) syncengine.Path { return syncengine.Path{Field: field, Key: key} }
	created := []syncengine.Stamp{0x0102030405060708}
	create := &change{stamp: created[0], act: tandemv1.Act_ACT_CREATE, edits: []edit{
		{path: path(fLifecycle, ""), text: "draft"}, {path: path(fText, ""), text: "calm"}, {path: path(fRisk, ""), text: "low"},
		{path: path(fCodes, "police")}, {path: path(fPhones, "element1"), text: "555"}, {path: path(fNewEvents, "element1"), text: "x"},
	}}
	edits := []*change{
		{stamp: 2, act: tandemv1.Act_ACT_SET, edits: []edit{
			{path: path(fText, ""), text: "upset", bases: created}, {path: path(fRisk, ""), text: "none", bases: created},
			{path: path(fCodes, "police"), absent: true, bases: created},
		}},
		{stamp: 3, act: tandemv1.Act_ACT_SET, edits: []edit{
			{path: path(fText, ""), text: "angry", bases: created}, {path: path(fRisk, ""), text: "high", bases: created},
		}},
	}
	signed := []*change{
		{stamp: 4, act: tandemv1.Act_ACT_SIGN, edits: []edit{{path: path(fLifecycle, ""), text: "signed", bases: created}}},
		{stamp: 5, act: tandemv1.Act_ACT_SET, edits: []edit{{path: path(fNew, ""), text: "late", bases: []syncengine.Stamp{0}}}},
	}
	out := map[string]*syncengine.Record{}
	s := newShelf()
	play := func(name string, changes ...*change) {
		for _, c := range changes {
			if c.act == tandemv1.Act_ACT_SIGN {
				c.seen = s.state().Seen()
			}
			if _, err := s.accept(c); err != nil {
				tb.Fatal(err)
			}
		}
		out[name] = s.rec
	}
	play("created", create)
	play("edited", edits...)
	play("signed", signed...)
	return out
}

// goldenVectors are the bytes that every version of the format must agree on.
func goldenVectors(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	add := func(name string, b []byte) { fmt.Fprintf(&out, "%s %s\n", name, hex.EncodeToString(b)) }
	recs := goldenRecords(t)
	for _, name := range []string{"created", "edited", "signed"} {
		rec := recs[name]
		st, err := syncengine.Decode(rec)
		if err != nil {
			t.Fatal(err)
		}
		add(name+"_body", rec.Body)
		add(name+"_stamps", rec.Stamps)
		add(name+"_seen", st.Seen())
		hash := syncengine.HashSeen(st.Seen())
		fmt.Fprintf(&out, "%s_state_hash %v\n", name, hash)
		fmt.Fprintf(&out, "%s_row_hash %016x\n", name, uint64(rec.Hash()))
		fmt.Fprintf(&out, "%s_digest_term %v\n", name, syncengine.Term(rec.ID, rec.Hash()))
	}
	secrets, err := syncengine.NewSecrets([]byte("a secret of the golden org, 32 B"))
	if err != nil {
		t.Fatal(err)
	}
	replica, other := idOf('p', 1), idOf('t', 2)
	body := sha256.Sum256([]byte("a change"))
	first := syncengine.HashEnvelope(replica, 1, syncengine.Hash{}, body)
	second := syncengine.HashEnvelope(replica, 2, first, body)
	add("envelope_1", first[:])
	add("envelope_2", second[:])
	add("bases", syncengine.EncodeStamps([]syncengine.Stamp{0, 1, 0x0102030405060708}))
	position := syncengine.Position{Epoch: other, Seq: 1 << 40, Record: sampleID, Commit: second.Short()}
	add("position", secrets.Seal(replica, position))
	scopes := []syncengine.ScopeKey{
		{Owner: syncengine.OwnerTeam, OwnerID: other, Compartment: tandemv1.Compartment_COMPARTMENT_CLINICAL, Open: true},
		{Owner: syncengine.OwnerOrg, OwnerID: other, Compartment: tandemv1.Compartment_COMPARTMENT_REF},
	}
	var ids []syncengine.ScopeID
	for i, k := range scopes {
		id := secrets.ScopeID(k)
		ids = append(ids, id)
		add(fmt.Sprintf("scope_%d", i+1), id[:])
	}
	add("scope_set", syncengine.HashScopeSet(ids))
	derived := secrets.DeriveID(replica, "rule", 3)
	add("derived_id", derived[:])
	frame := syncengine.Frame([]byte("an answer"), 2)
	add("frame_digest", frame.GetDigest())
	return out.String()
}

// The bytes on the wire and in stores stay what they are: a change here is a change
// of the format, which needs a new version of it.
func TestGolden(t *testing.T) {
	t.Parallel()
	const name = "testdata/golden.txt"
	got := goldenVectors(t)
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(want), "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(lines) || lines[i] != line {
			t.Errorf("line %d: got %s", i+1, line)
		}
	}
	if len(lines) != strings.Count(got, "\n")+1 {
		t.Errorf("%s has %d lines, want %d", name, len(lines), strings.Count(got, "\n")+1)
	}
}
