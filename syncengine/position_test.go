package syncengine_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"pgregory.net/rapid"
)

func newSecrets(t interface{ Fatal(args ...any) }, secret string) *syncengine.Secrets {
	s, err := syncengine.NewSecrets([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// drawPosition draws one as answers give them: at the end of a cut, of a snapshot that a
// verdict was told at, or anywhere.
func drawPosition(t *rapid.T) syncengine.Position {
	p := drawAny(t)
	switch rapid.IntRange(0, 2).Draw(t, "form") {
	case 1:
		p.Seq, p.Record, p.Cut, p.Since = p.At, syncengine.ID(bytes.Repeat([]byte{0xff}, 16)), p.At, p.At
	case 2:
		p.Seq, p.Record, p.Cut, p.Since = 0, syncengine.ID{}, 0, p.At
	}
	return p
}

func drawAny(t *rapid.T) syncengine.Position {
	return syncengine.Position{
		Epoch: idOf('e', rapid.Uint64().Draw(t, "epoch")), Seq: rapid.Uint64().Draw(t, "seq"),
		Record: idOf('r', rapid.Uint64().Draw(t, "record")), Commit: [8]byte(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "commit")),
		Cut: rapid.Uint64().Draw(t, "cut"), Since: rapid.Uint64().Draw(t, "since"), At: rapid.Uint64().Draw(t, "at"),
	}
}

// A position opens for the replica and the org that it was sealed for, as it was
// sealed, and for nobody else; equal ones seal to equal bytes, which say nothing.
func TestPositions(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secrets, other := newSecrets(t, "one org"), newSecrets(t, "another org")
		replica, stranger := idOf('p', 1), idOf('p', 2)
		p := drawPosition(t)
		sealed := secrets.Seal(replica, p)
		if got, err := secrets.Open(replica, sealed); err != nil || got != p {
			t.Fatalf("got %v, %v, want %v", got, err, p)
		}
		if !bytes.Equal(secrets.Seal(replica, p), sealed) {
			t.Fatal("the same position seals to other bytes")
		}
		if bytes.Equal(secrets.Seal(stranger, p), sealed) {
			t.Fatal("the position of another replica seals to the same bytes")
		}
		if p.Since == p.At && p.Cut == p.Seq && (p.Seq == 0 || p.Seq == p.At) && len(sealed) > 61 {
			t.Fatalf("%v takes %d bytes; it stands twice in every request and answer", p, len(sealed))
		}
		if bytes.Contains(sealed, p.Record[8:]) || bytes.Contains(sealed, p.Epoch[8:]) {
			t.Fatal("the sealed position shows its content")
		}
		spoilt := bytes.Clone(sealed)
		spoilt[rapid.IntRange(0, len(sealed)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		cut := sealed[:rapid.IntRange(1, len(sealed)-1).Draw(t, "cut")]
		for name, open := range map[string]func() (syncengine.Position, error){
			"another replica": func() (syncengine.Position, error) { return secrets.Open(stranger, sealed) },
			"another org":     func() (syncengine.Position, error) { return other.Open(replica, sealed) },
			"a bit changed":   func() (syncengine.Position, error) { return secrets.Open(replica, spoilt) },
			"cut":             func() (syncengine.Position, error) { return secrets.Open(replica, cut) },
			"longer":          func() (syncengine.Position, error) { return secrets.Open(replica, append(bytes.Clone(sealed), 0)) },
		} {
			if got, err := open(); !errors.Is(err, syncengine.ErrPosition) || got != (syncengine.Position{}) {
				t.Fatalf("%s: got %v, %v, want %v", name, got, err, syncengine.ErrPosition)
			}
		}
	})
	if got, err := newSecrets(t, "one org").Open(syncengine.ID{}, nil); err != nil || got != (syncengine.Position{}) {
		t.Errorf("no position: got %v, %v, want the start", got, err)
	}
}

// A position in the form that had neither Since nor At, as golden.txt once held it,
// opens, and rests on no more than it says.
func TestFormerPosition(t *testing.T) {
	t.Parallel()
	secrets := newSecrets(t, "a secret of the golden org, 32 B")
	sealed, err := hex.DecodeString("90bc8655a09f64492f3a9fe148f352b9317bbe06e08c8897a873aaf69e61ce8e14ea8a2b2de93a5ba79e97eb2ca69170a28c487f64c2297fbfb9e858c0f827e853e2a768837b7ddcd2bf03a581935e32dd868215")
	if err != nil {
		t.Fatal(err)
	}
	got, err := secrets.Open(idOf('p', 1), sealed)
	if err != nil || got.Seq != 1<<40 || got.At != got.Seq || got.Since != got.Seq || got.Cut != 0 || got.Record != sampleID {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Positions stand in order of sequence, then record.
func TestComparePositions(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, q := drawPosition(t), drawPosition(t)
		if rapid.Bool().Draw(t, "same sequence") {
			q.Seq = p.Seq
		}
		want := cmp.Or(cmp.Compare(p.Seq, q.Seq), bytes.Compare(p.Record[:], q.Record[:]))
		if got := p.Compare(q); got != want || q.Compare(p) != -want {
			t.Fatalf("%v, %v: got %d, want %d", p, q, got, want)
		}
	})
}

// A scope's id depends on everything that makes it, and on the org's secret.
func TestScopeIDs(t *testing.T) {
	t.Parallel()
	clinical, ops := tandemv1.Compartment_COMPARTMENT_CLINICAL, tandemv1.Compartment_COMPARTMENT_OPS
	keys := []syncengine.ScopeKey{
		{Owner: syncengine.OwnerTeam, OwnerID: idOf('t', 1), Compartment: clinical, Open: true},
		{Owner: syncengine.OwnerTeam, OwnerID: idOf('t', 1), Compartment: clinical},
		{Owner: syncengine.OwnerTeam, OwnerID: idOf('t', 1), Compartment: ops, Open: true},
		{Owner: syncengine.OwnerTeam, OwnerID: idOf('t', 2), Compartment: clinical, Open: true},
		{Owner: syncengine.OwnerProgram, OwnerID: idOf('t', 1), Compartment: clinical, Open: true},
	}
	seen := map[syncengine.ScopeID]bool{}
	var ids []syncengine.ScopeID
	for _, secret := range []string{"one org", "another org"} {
		for _, k := range keys {
			id := newSecrets(t, secret).ScopeID(k)
			if seen[id] {
				t.Errorf("%v of %s: id %x stands for another scope too", k, secret, id)
			}
			seen[id] = true
			ids = append(ids, id)
		}
	}
	want := syncengine.HashScopeSet(ids)
	slices.Reverse(ids)
	before := slices.Clone(ids)
	if got := syncengine.HashScopeSet(ids); !bytes.Equal(got, want) || !slices.Equal(ids, before) {
		t.Errorf("hash of the set in another order: got %x, want %x, and the set as it was", got, want)
	}
	if got := syncengine.HashScopeSet(ids[1:]); bytes.Equal(got, want) {
		t.Error("a smaller set has the same hash")
	}
	if got, empty := syncengine.HashScopeSet(nil), sha256.Sum256(nil); !bytes.Equal(got, empty[:16]) {
		t.Errorf("hash of no scopes: got %x, want %x", got, empty[:16])
	}
}

// Derived ids are the same on a replay and differ in all that they derive from.
func TestDerivedIDs(t *testing.T) {
	t.Parallel()
	secrets := newSecrets(t, "one org")
	change := idOf('c', 1)
	if secrets.DeriveID(change, "rule", 1) != newSecrets(t, "one org").DeriveID(change, "rule", 1) {
		t.Error("a replay derives another id")
	}
	ids := []syncengine.ID{
		secrets.DeriveID(change, "rule", 1), secrets.DeriveID(change, "rule", 2), secrets.DeriveID(change, "other", 1),
		secrets.DeriveID(idOf('c', 2), "rule", 1), newSecrets(t, "another org").DeriveID(change, "rule", 1),
	}
	for i, id := range ids {
		if slices.Contains(ids[:i], id) || id.IsZero() {
			t.Errorf("id %d: %v stands for another derivation too", i, id)
		}
	}
}
