package auth_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/syncengine"
)

// FuzzVerify: whatever stands in the two headers, a request is let in only as the
// device whose certificate the org signed, with a proof by that device's key.
func FuzzVerify(f *testing.F) {
	org, key := newKey('o'), newKey('k')
	id := &auth.Identity{
		Org: syncengine.ID{1}, Person: syncengine.ID{2}, Device: syncengine.ID{3}, Replica: syncengine.ID{4}, Key: ed25519.PublicKey(key[ed25519.SeedSize:]),
	}
	certificate, err := auth.Certify(org, id)
	if err != nil {
		f.Fatal(err)
	}
	verifier := func(t testing.TB) *auth.Verifier {
		t.Helper()
		v, err := auth.NewVerifier(auth.Options{
			Keys: func(_ context.Context, of syncengine.ID, _ string) (ed25519.PublicKey, error) {
				if of != id.Org {
					return nil, nil
				}
				return ed25519.PublicKey(org[ed25519.SeedSize:]), nil
			},
			NonceKey: []byte("a key for nonces"), Clock: func() time.Time { return time.UnixMilli(1_700_000_000_000) },
		})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	d := &device{v: verifier(f), key: key, certificate: certificate}
	token := func(k any, alg jose.SignatureAlgorithm, typ string, embed bool, claims any) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: k}, (&jose.SignerOptions{EmbedJWK: embed}).WithType(jose.ContentType(typ)))
		if err != nil {
			f.Fatal(err)
		}
		return compact(f, signer, claims)
	}
	good := token(key, jose.EdDSA, "dpop+jwt", true, d.claims())
	for _, seed := range [][2]string{
		{"DPoP " + certificate, good}, {"DPoP " + certificate, ""}, {"Bearer " + certificate, good}, {"DPoP " + good, certificate},
		{"DPoP " + certificate, token([]byte(strings.Repeat("s", 32)), jose.HS256, "dpop+jwt", false, d.claims())},
		{"DPoP " + certificate, token(newKey('x'), jose.EdDSA, "dpop+jwt", true, d.claims())},
		{"DPoP e30.e30.", "e30.e30."}, {"DPoP eyJhbGciOiJub25lIn0.e30.", `{"payload":"","signatures":[]}`}, {"DPoP ..", ".."},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, authorization, proof string) {
		defer need.Brief(t)()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, address, nil)
		r.Header["Authorization"], r.Header["Dpop"] = []string{authorization}, []string{proof}
		got, err := verifier(t).Verify(r)
		switch {
		case err == nil && (got.Org != id.Org || got.Replica != id.Replica || got.Person != id.Person || !got.Key.Equal(id.Key)):
			t.Fatalf("let in as %+v", got)
		case err != nil && (got != nil || !errors.Is(err, auth.ErrCertificate) && !errors.Is(err, auth.ErrProof) && !errors.Is(err, auth.ErrNonce)):
			t.Fatalf("got %v, %v", got, err)
		}
	})
}

// FuzzCode: codes that differ in nothing but how they are written are one code; no
// text is a proof of possession that its key has not signed.
func FuzzCode(f *testing.F) {
	for _, seed := range []string{"", "0123-4567-89AB", " 01ab cdef-ghjk\n", "O0Il1", strings.Repeat("x", 65), "\x00\xff", "ſ\u0130ß", "İ"} {
		f.Add(seed)
	}
	key, replica := newKey('k'), syncengine.ID{4}
	public := ed25519.PublicKey(key[ed25519.SeedSize:])
	f.Fuzz(func(t *testing.T, code string) {
		defer need.Brief(t)()
		folded := auth.FoldCode(code)
		if strings.ContainsAny(folded, " -\t\r\n") {
			t.Fatalf("%q folds to %q", code, folded)
		}
		if len(code) <= 64 && len(folded) <= 64 && auth.HashCode(folded) != auth.HashCode(code) {
			t.Fatalf("%q and %q are two codes", code, folded)
		}
		proof := ed25519.Sign(key, append([]byte("tandem-enroll-v1"+folded), replica[:]...))
		if got := auth.VerifyEnrolment(public, proof, code, replica); got != (len(code) <= 64) {
			t.Fatalf("%q: the proof of it: %t", code, got)
		}
		if auth.VerifyEnrolment(public, proof, code+"7", replica) || auth.VerifyEnrolment(public, []byte(code), code, replica) || auth.VerifyEnrolment([]byte(code), proof, code, replica) {
			t.Fatalf("%q: a proof of something else was taken", code)
		}
	})
}
