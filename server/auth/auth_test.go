package auth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/syncengine"
)

const address = "https://tandem.example.org/tandem.v1.SyncService/Sync"

// device is a replica with its certificate, and what is needed to check it.
type device struct {
	t           *testing.T
	v           *auth.Verifier
	now         time.Time
	id          auth.Identity
	key, org    ed25519.PrivateKey
	certificate string
	made        int
}

func newKey(fill byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(fill), ed25519.SeedSize)))
}

func newDevice(t *testing.T, origin string) *device {
	t.Helper()
	d := &device{t: t, now: time.UnixMilli(1_700_000_000_000), key: newKey('k'), org: newKey('o')}
	d.id = auth.Identity{
		Org: syncengine.ID{1}, Person: syncengine.ID{2}, Device: syncengine.ID{3}, Replica: syncengine.ID{4},
		Key: ed25519.PublicKey(d.key[ed25519.SeedSize:]),
	}
	var err error
	if d.certificate, err = auth.Certify(d.org, &d.id); err != nil {
		t.Fatal(err)
	}
	d.v, err = auth.NewVerifier(auth.Options{
		Keys: func(_ context.Context, org syncengine.ID, _ string) (ed25519.PublicKey, error) {
			if org != d.id.Org {
				return nil, nil
			}
			return ed25519.PublicKey(d.org[ed25519.SeedSize:]), nil
		},
		Origin: origin, NonceKey: []byte("a key for nonces"), Clock: func() time.Time { return d.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// claims of a good proof; a test spoils one of them.
func (d *device) claims() map[string]any {
	d.made++
	sum := sha256.Sum256([]byte(d.certificate))
	return map[string]any{
		"jti": "number " + string(rune('a'+d.made)), "htm": "POST", "htu": address, "iat": 5,
		"ath": base64.RawURLEncoding.EncodeToString(sum[:]), "nonce": d.v.Nonce(),
	}
}

func sign(t *testing.T, key any, alg jose.SignatureAlgorithm, typ string, embed bool, claims any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{EmbedJWK: embed}).WithType(jose.ContentType(typ)))
	if err != nil {
		t.Fatal(err)
	}
	return compact(t, signer, claims)
}

// compact is the token of claims.
func compact(tb testing.TB, signer jose.Signer, claims any) string {
	tb.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		tb.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		tb.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func (d *device) proof(claims any) string {
	return sign(d.t, d.key, jose.EdDSA, "dpop+jwt", true, claims)
}

func (d *device) request(proof string) *http.Request {
	r := httptest.NewRequestWithContext(d.t.Context(), http.MethodPost, address, nil)
	r.Header.Set("Authorization", "DPoP "+d.certificate)
	r.Header.Set("DPoP", proof)
	return r
}

func TestVerify(t *testing.T) {
	t.Parallel()
	d := newDevice(t, "")
	got, err := d.v.Verify(d.request(d.proof(d.claims())))
	if err != nil {
		t.Fatal(err)
	}
	if got.Org != d.id.Org || got.Person != d.id.Person || got.Device != d.id.Device || got.Replica != d.id.Replica || !got.Key.Equal(d.id.Key) {
		t.Errorf("got %+v, want %+v", got, d.id)
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	with := func(name string, value any) func(d *device) *http.Request {
		return func(d *device) *http.Request {
			c := d.claims()
			if value == nil {
				delete(c, name)
			} else {
				c[name] = value
			}
			return d.request(d.proof(c))
		}
	}
	header := func(change func(d *device, h http.Header)) func(d *device) *http.Request {
		return func(d *device) *http.Request {
			r := d.request(d.proof(d.claims()))
			change(d, r.Header)
			return r
		}
	}
	for name, tc := range map[string]struct {
		request func(d *device) *http.Request
		want    error
	}{
		"no certificate":          {header(func(_ *device, h http.Header) { h.Del("Authorization") }), auth.ErrCertificate},
		"a bearer":                {header(func(d *device, h http.Header) { h.Set("Authorization", "Bearer "+d.certificate) }), auth.ErrCertificate},
		"two certificates":        {header(func(d *device, h http.Header) { h.Add("Authorization", "DPoP "+d.certificate) }), auth.ErrCertificate},
		"a certificate too long":  {header(func(_ *device, h http.Header) { h.Set("Authorization", "DPoP "+strings.Repeat("a", 5000)) }), auth.ErrCertificate},
		"a certificate cut short": {header(func(d *device, h http.Header) { h.Set("Authorization", "DPoP "+d.certificate[:len(d.certificate)-4]) }), auth.ErrCertificate},
		"a proof as certificate":  {header(func(d *device, h http.Header) { h.Set("Authorization", "DPoP "+d.proof(d.claims())) }), auth.ErrCertificate},
		"another org's key": {header(func(d *device, h http.Header) {
			c, err := auth.Certify(newKey('x'), &d.id)
			if err != nil {
				d.t.Fatal(err)
			}
			h.Set("Authorization", "DPoP "+c)
		}), auth.ErrCertificate},
		"an org that is not here": {header(func(d *device, h http.Header) {
			id := d.id
			id.Org = syncengine.ID{9}
			c, err := auth.Certify(d.org, &id)
			if err != nil {
				d.t.Fatal(err)
			}
			h.Set("Authorization", "DPoP "+c)
		}), auth.ErrCertificate},
		"no proof":   {header(func(_ *device, h http.Header) { h.Del("DPoP") }), auth.ErrProof},
		"two proofs": {header(func(d *device, h http.Header) { h.Add("DPoP", d.proof(d.claims())) }), auth.ErrProof},
		"a proof of another key": {func(d *device) *http.Request {
			return d.request(sign(d.t, newKey('x'), jose.EdDSA, "dpop+jwt", true, d.claims()))
		}, auth.ErrProof},
		"a proof without its key": {func(d *device) *http.Request {
			return d.request(sign(d.t, d.key, jose.EdDSA, "dpop+jwt", false, d.claims()))
		}, auth.ErrProof},
		"a proof of another type": {func(d *device) *http.Request {
			return d.request(sign(d.t, d.key, jose.EdDSA, "jwt", true, d.claims()))
		}, auth.ErrProof},
		"a symmetric proof": {func(d *device) *http.Request {
			return d.request(sign(d.t, []byte(strings.Repeat("s", 32)), jose.HS256, "dpop+jwt", false, d.claims()))
		}, auth.ErrProof},
		"a proof without signature": {func(d *device) *http.Request {
			p := d.proof(d.claims())
			return d.request(p[:strings.LastIndexByte(p, '.')+1])
		}, auth.ErrProof},
		"another method":         {with("htm", "GET"), auth.ErrProof},
		"another path":           {with("htu", "https://tandem.example.org/tandem.v1.EnrollService/Enroll"), auth.ErrProof},
		"a query":                {with("htu", address+"?a=b"), auth.ErrProof},
		"another certificate":    {with("ath", base64.RawURLEncoding.EncodeToString(make([]byte, 32))), auth.ErrProof},
		"no certificate's hash":  {with("ath", nil), auth.ErrProof},
		"no number":              {with("jti", nil), auth.ErrProof},
		"a number too long":      {with("jti", strings.Repeat("n", 200)), auth.ErrProof},
		"no time":                {with("iat", nil), auth.ErrProof},
		"no nonce":               {with("nonce", nil), auth.ErrNonce},
		"a nonce of one's own":   {with("nonce", "AAAAAAAAAAAAAAAAAAAAAA"), auth.ErrNonce},
		"a claim of wrong form":  {with("jti", 7), auth.ErrProof},
		"no claims":              {func(d *device) *http.Request { return d.request(d.proof("words")) }, auth.ErrProof},
		"a proof that is a word": {func(d *device) *http.Request { return d.request("word") }, auth.ErrProof},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t, "")
			if id, err := d.v.Verify(tc.request(d)); !errors.Is(err, tc.want) || id != nil {
				t.Errorf("got %v, %v, want %v", id, err, tc.want)
			}
		})
	}
}

func TestProofIsGoodOnce(t *testing.T) {
	t.Parallel()
	d := newDevice(t, "")
	proof := d.proof(d.claims())
	var wg sync.WaitGroup
	var let sync.Map
	for i := range 20 {
		wg.Go(func() {
			if _, err := d.v.Verify(d.request(proof)); err == nil {
				let.Store(i, true)
			} else if !errors.Is(err, auth.ErrProof) {
				t.Errorf("got %v, want ErrProof", err)
			}
		})
	}
	wg.Wait()
	n := 0
	let.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("one proof let %d requests in", n)
	}
	// Nor later, as long as its nonce lives.
	d.now = d.now.Add(4 * time.Minute)
	if _, err := d.v.Verify(d.request(proof)); err == nil {
		t.Error("a proof was good again in the next interval")
	}
}

func TestNonceAges(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]error{
		0: nil, 5 * time.Minute: nil, 10 * time.Minute: auth.ErrNonce, 24 * time.Hour: auth.ErrNonce, -5 * time.Minute: auth.ErrNonce,
	} {
		d := newDevice(t, "")
		c := d.claims()
		d.now = d.now.Add(wait)
		if _, err := d.v.Verify(d.request(d.proof(c))); !errors.Is(err, want) {
			t.Errorf("after %v: got %v, want %v", wait, err, want)
		}
	}
	// A process that has just started accepts what one beside it gave out.
	first, second := newDevice(t, ""), newDevice(t, "")
	c := first.claims()
	second.now = first.now.Add(5 * time.Minute)
	if _, err := second.v.Verify(second.request(second.proof(c))); err != nil {
		t.Errorf("a nonce of another process with the same key: %v", err)
	}
}

func TestMemoryForProofsIsBounded(t *testing.T) {
	t.Parallel()
	d := newDevice(t, "")
	auth.SetProofLimit(d.v, 3)
	before := d.v.Nonce()
	var proofs []string
	for range 4 {
		proof := d.proof(d.claims())
		proofs = append(proofs, proof)
		if _, err := d.v.Verify(d.request(proof)); err != nil {
			t.Fatal(err)
		}
	}
	if d.v.Nonce() == before {
		t.Error("the nonce was kept although its proofs were forgotten")
	}
	for i, proof := range proofs {
		if _, err := d.v.Verify(d.request(proof)); err == nil {
			t.Errorf("proof %d was good twice", i)
		}
	}
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	d := newDevice(t, "https://TANDEM.example.org")
	if _, err := d.v.Verify(d.request(d.proof(d.claims()))); err != nil {
		t.Errorf("the origin itself: %v", err)
	}
	for _, url := range []string{"http://tandem.example.org/tandem.v1.SyncService/Sync", "https://other.example.org/tandem.v1.SyncService/Sync"} {
		c := d.claims()
		c["htu"] = url
		if _, err := d.v.Verify(d.request(d.proof(c))); !errors.Is(err, auth.ErrProof) {
			t.Errorf("%s: got %v, want ErrProof", url, err)
		}
	}
	if _, err := auth.NewVerifier(auth.Options{Origin: "tandem.example.org"}); err == nil {
		t.Error("an origin without a scheme was taken")
	}
}

func TestMiddleware(t *testing.T) {
	t.Parallel()
	d := newDevice(t, "")
	body := &untouched{t: t}
	h := d.v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := auth.FromContext(r.Context()); id == nil || id.Replica != d.id.Replica {
			t.Errorf("got identity %v", id)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	for name, tc := range map[string]struct {
		proof     func(c map[string]any) string
		status    int
		challenge string
	}{
		"good":       {func(c map[string]any) string { return d.proof(c) }, 204, ""},
		"no nonce":   {func(c map[string]any) string { delete(c, "nonce"); return d.proof(c) }, 401, `DPoP error="use_dpop_nonce"`},
		"no method":  {func(c map[string]any) string { delete(c, "htm"); return d.proof(c) }, 401, `DPoP error="invalid_dpop_proof"`},
		"not signed": {func(map[string]any) string { return "" }, 401, `DPoP error="invalid_dpop_proof"`},
	} {
		r := d.request(tc.proof(d.claims()))
		r.Header.Set("Content-Type", "application/proto")
		r.Body = body
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tc.status || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), tc.challenge) {
			t.Errorf("%s: got %d, %q", name, w.Code, w.Header().Get("WWW-Authenticate"))
		}
		if w.Header().Get("DPoP-Nonce") != d.v.Nonce() {
			t.Errorf("%s: the answer does not carry the newest nonce", name)
		}
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, address, nil)
	h.ServeHTTP(w, r)
	if got, want := w.Header().Get("WWW-Authenticate"), `DPoP error="invalid_token", algs="EdDSA"`; got != want {
		t.Errorf("without anything: got %q, want %q", got, want)
	}
}

// untouched is a body that nobody may read.
type untouched struct{ t *testing.T }

func (u *untouched) Read([]byte) (int, error) {
	u.t.Error("a body was read before its sender was known")
	return 0, io.EOF
}

func (u *untouched) Close() error { return nil }

func TestKeysThatCannotBeRead(t *testing.T) {
	t.Parallel()
	d := newDevice(t, "")
	v, err := auth.NewVerifier(auth.Options{Keys: func(context.Context, syncengine.ID, string) (ed25519.PublicKey, error) {
		return nil, errors.New("the disk is on fire")
	}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	v.Middleware(http.NotFoundHandler()).ServeHTTP(w, d.request(d.proof(d.claims())))
	if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "fire") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestCodes(t *testing.T) {
	t.Parallel()
	random := rand.NewChaCha8([32]byte{7})
	seen := map[string]bool{}
	for range 1000 {
		code, err := auth.NewCode(random)
		if err != nil {
			t.Fatal(err)
		}
		if len(code) != 14 || strings.Trim(code, "0123456789ABCDEFGHJKMNPQRSTVWXYZ-") != "" || seen[code] {
			t.Fatalf("got code %q", code)
		}
		seen[code] = true
	}
	if _, err := auth.NewCode(strings.NewReader("short")); err == nil {
		t.Error("a code was made without enough randomness")
	}
	want := auth.HashCode("01AB-CDEF-GH1K")
	for _, same := range []string{"01ab-cdef-gh1k", " 01ABCDEFGH1K\n", "O1ABCDEFGHIK", "o l a b c d e f g h i k"} {
		if auth.HashCode(same) != want {
			t.Errorf("%q is not taken for the same code", same)
		}
	}
	if auth.HashCode("01AB-CDEF-GH1J") == want {
		t.Error("two codes have one hash")
	}
}

func TestProofOfPossession(t *testing.T) {
	t.Parallel()
	key, replica := newKey('k'), syncengine.ID{4}
	public := ed25519.PublicKey(key[ed25519.SeedSize:])
	proof := ed25519.Sign(key, append([]byte("tandem-enroll-v1ABCD"), replica[:]...))
	if !auth.VerifyEnrolment(public, proof, "ab-cd", replica) {
		t.Error("a good proof was refused")
	}
	if auth.VerifyEnrolment(public, proof, "ab-ce", replica) || auth.VerifyEnrolment(public, proof, "ab-cd", syncengine.ID{5}) ||
		auth.VerifyEnrolment(ed25519.PublicKey(newKey('x')[ed25519.SeedSize:]), proof, "ab-cd", replica) || auth.VerifyEnrolment(public[:31], proof, "ab-cd", replica) ||
		auth.VerifyEnrolment(public, nil, "ab-cd", replica) {
		t.Error("a proof of something else was taken")
	}
}

func TestGuesses(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(0)
	g := auth.NewGuesses(func() time.Time { return now })
	wrong := 0
	for g.Allowed() {
		if g.Wrong(); wrong > 1000 {
			t.Fatal("guessing has no bound")
		}
		wrong++
	}
	now = now.Add(10 * time.Second)
	again := 0
	for g.Allowed() {
		g.Wrong()
		again++
	}
	if wrong > 100 || again > 10 {
		t.Errorf("%d guesses at once, and %d after 10 s", wrong, again)
	}
}
