package auth

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/tandem-response/tandem/syncengine"
)

// Errors of a request that is not let in. Their texts are fixed.
var (
	// ErrCertificate: there is no certificate, or none of this server.
	ErrCertificate = errors.New("no valid device certificate: enrol the device again")
	// ErrProof: the proof is missing, was used before, or is not of this request.
	ErrProof = errors.New("no valid proof of the device's key for this request")
	// ErrBusy stands for an error of Options.Keys in the answer.
	ErrBusy = errors.New("the server cannot check devices at the moment: try again later")
	// ErrNonce: the proof lacks the server's newest nonce.
	ErrNonce = errors.New("the proof needs the nonce of this answer: try again")
)

const (
	// proofType is the type of a proof (RFC 9449, section 4.2).
	proofType = "dpop+jwt"
	// maxToken bounds certificate and proof, in bytes.
	maxToken        = 4096
	maxNumber       = 128
	maxCertificates = 4096
	// maxProofs bounds the proofs remembered for one nonce: 8 MB or so.
	maxProofs = 1 << 18
)

// Options are how requests are checked.
type Options struct {
	// Keys returns the public key of an org that a name stands for, the first one's being
	// empty; nil where there is none.
	Keys func(ctx context.Context, org syncengine.ID, name string) (ed25519.PublicKey, error)
	// Origin is scheme and host under which devices reach the server, for example
	// https://tandem.example.org; proofs must name it. Empty: any, since the server
	// may not know what the proxy before it is called; the path must fit all the same.
	Origin string
	// NonceKey makes the nonces; processes that serve one address share it. Nil: one
	// of the process's own.
	NonceKey []byte
	// Clock is the wall clock; nil is the system's.
	Clock func() time.Time
	// Rand makes the nonce key where none is given; nil is crypto/rand's.
	Rand io.Reader
}

// Verifier checks requests. Safe for concurrent use.
type Verifier struct {
	keys   func(ctx context.Context, org syncengine.ID, name string) (ed25519.PublicKey, error)
	origin *url.URL
	now    func() time.Time

	mu           sync.Mutex
	nonces       nonces
	certificates map[string]*certified
}

// NewVerifier returns a verifier.
func NewVerifier(o Options) (*Verifier, error) {
	v := &Verifier{keys: o.Keys, now: o.Clock, certificates: map[string]*certified{}}
	v.nonces.key, v.nonces.limit = o.NonceKey, maxProofs
	if v.now == nil {
		v.now = time.Now
	}
	if v.nonces.key == nil {
		r := o.Rand
		if r == nil {
			r = rand.Reader
		}
		v.nonces.key = make([]byte, 32)
		if _, err := io.ReadFull(r, v.nonces.key); err != nil {
			return nil, fmt.Errorf("making a key for nonces: %w", err)
		}
	}
	if o.Origin != "" {
		u, err := url.Parse(o.Origin)
		if err != nil || u.Scheme == "" || u.Host == "" {
			return nil, errors.New("the origin must be scheme and host, like https://tandem.example.org")
		}
		v.origin = u
	}
	return v, nil
}

// Nonce returns the newest nonce.
func (v *Verifier) Nonce() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.nonces.newest(v.now())
}

// proofClaims are what a proof says.
type proofClaims struct {
	Number      string   `json:"jti"`
	Method      string   `json:"htm"`
	URL         string   `json:"htu"`
	IssuedAt    *float64 `json:"iat"`
	Certificate string   `json:"ath"`
	Nonce       string   `json:"nonce"`
}

// Verify returns who a request comes from, by its headers alone. The error is
// ErrCertificate, ErrProof or ErrNonce, or one of Options.Keys. A proof is good for
// one request.
func (v *Verifier) Verify(r *http.Request) (*Identity, error) {
	scheme, certificate, _ := strings.Cut(single(r.Header, "Authorization"), " ")
	if !strings.EqualFold(scheme, "DPoP") || certificate == "" {
		return nil, ErrCertificate
	}
	cert, err := v.check(r.Context(), certificate)
	if err != nil {
		return nil, err
	}
	proof := single(r.Header, "DPoP")
	if proof == "" {
		return nil, ErrProof
	}
	jws, err := jose.ParseSignedCompact(proof, algorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return nil, ErrProof
	}
	head := jws.Signatures[0].Protected
	if head.ExtraHeaders[jose.HeaderType] != proofType || head.JSONWebKey == nil {
		return nil, ErrProof
	}
	key, ok := head.JSONWebKey.Key.(ed25519.PublicKey)
	if !ok || len(key) != ed25519.PublicKeySize {
		return nil, ErrProof
	}
	if of, err := thumbprint(key); err != nil || of != cert.thumbprint {
		return nil, ErrProof
	}
	payload, err := jws.Verify(key)
	if err != nil {
		return nil, ErrProof
	}
	var c proofClaims
	if json.Unmarshal(payload, &c) != nil || !v.fits(&c, r, certificate) {
		return nil, ErrProof
	}
	sum := sha256.Sum256([]byte(cert.thumbprint + " " + c.Number))
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.nonces.accepts(c.Nonce, v.now()) {
		return nil, ErrNonce
	}
	if !v.nonces.once(proofID(sum[:16])) {
		return nil, ErrProof
	}
	id := cert.Identity
	id.Key = key
	return &id, nil
}

// single returns the value of a header that must stand exactly once, empty
// otherwise.
func single(h http.Header, name string) string {
	if values := h.Values(name); len(values) == 1 && len(values[0]) <= maxToken {
		return values[0]
	}
	return ""
}

// fits reports whether a proof was made for a request with a certificate. The time
// of its making is not judged: the nonce bounds its age.
func (v *Verifier) fits(c *proofClaims, r *http.Request, certificate string) bool {
	if c.Method != r.Method || c.IssuedAt == nil || c.Number == "" || len(c.Number) > maxNumber {
		return false
	}
	sum := sha256.Sum256([]byte(certificate))
	if c.Certificate != base64.RawURLEncoding.EncodeToString(sum[:]) {
		return false
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Path != r.URL.Path || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	return v.origin == nil || strings.EqualFold(u.Scheme, v.origin.Scheme) && strings.EqualFold(u.Host, v.origin.Host)
}
