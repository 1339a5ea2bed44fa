package seal_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/tandem-response/tandem/syncengine/seal"
)

// A sealed draft opens as it was sealed, under its number and version, and its signature
// says whose it is; what was altered does not open.
func TestDraft(t *testing.T) {
	t.Parallel()
	private := privateKey(t, 5)
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{6}, ed25519.SeedSize))
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	s := session(t, private)
	for _, tc := range []struct{ draft, version uint64 }{{1, 1}, {1, seal.DraftDropped}, {seal.MaxDraft, 77}} {
		d := &seal.Draft{Number: seal.DraftNumber(tc.draft, tc.version), Raw: []byte("what was typed")}
		d.Signature = seal.SignDraft(key, d.Number, d.Raw)
		raw := s.AppendDraft(nil, d)
		if bytes.Contains(raw, d.Raw) {
			t.Error("the words stand there in clear")
		}
		e, err := seal.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		got, err := seal.NewOpener(private).OpenDraft(&e)
		if err != nil || !bytes.Equal(got.Raw, d.Raw) || got.Number != d.Number || e.Kind != seal.KindDraft {
			t.Fatalf("opened: %+v, %v", got, err)
		}
		if n, version := seal.DraftOf(got.Number); n != tc.draft || version != tc.version {
			t.Errorf("got draft %d, version %d", n, version)
		}
		if !got.Signed(publicOf(key)) || got.Signed(publicOf(other)) {
			t.Error("the signature is another's, or not its own")
		}
		// What is signed is what the protocol says: context, number, SHA-256 of the words.
		sum := sha256.Sum256(d.Raw)
		if !ed25519.Verify(publicOf(key), slices.Concat([]byte("tandem-draft-v1"), binary.BigEndian.AppendUint64(nil, d.Number), sum[:]), d.Signature) {
			t.Error("the signature is of something else")
		}
		got.Raw = append(got.Raw, '.')
		if got.Signed(publicOf(key)) {
			t.Error("the signature is good for other words")
		}
		got.Raw = got.Raw[:len(d.Raw)]
		got.Number++
		if got.Signed(publicOf(key)) {
			t.Error("the signature is good for another version")
		}
		if _, err := seal.NewOpener(privateKey(t, 8)).OpenDraft(&e); !errors.Is(err, seal.ErrNoKey) {
			t.Errorf("with another key: %v", err)
		}
		if _, err := seal.NewOpener(private).OpenChange(&e); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("as a change: %v", err)
		}
		bare := e
		bare.Signed = false
		if _, err := seal.NewOpener(private).OpenDraft(&bare); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("without a signature: %v", err)
		}
		change, err := seal.Parse(s.AppendChange(nil, &seal.Change{Op: d.Number, Raw: d.Raw, Signature: d.Signature}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := seal.NewOpener(private).OpenDraft(&change); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("a change as a draft: %v", err)
		}
		e.Raw[40] ^= 1
		if _, err := seal.NewOpener(private).OpenDraft(&e); !errors.Is(err, seal.ErrForged) {
			t.Errorf("under another number: %v", err)
		}
	}
}

// publicOf is the public half of a key: its last bytes (RFC 8032 as crypto/ed25519 keeps it).
func publicOf(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.SeedSize:])
}
