package client

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// prover makes the headers that bind a request to the replica's key: the
// certificate as a DPoP-bound token and a proof of possession (RFC 9449). Safe for
// concurrent use.
type prover struct {
	certificate string
	// hash is ath: base64url(SHA-256(certificate)).
	hash   string
	signer jose.Signer
	now    func() time.Time

	mu    sync.Mutex
	nonce string
	// learned is when the nonce came.
	learned time.Time
}

// nonceLife is how long a nonce is sure to be taken.
const nonceLife = 5 * time.Minute

// fresh reports whether a request is likely to be taken with the nonce at hand.
func (p *prover) fresh() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nonce != "" && time.Since(p.learned) < nonceLife
}

func newProver(key ed25519.PrivateKey, certificate string, now func() time.Time) (*prover, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key},
		(&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	if err != nil {
		return nil, fmt.Errorf("preparing the device's key: %w", err)
	}
	sum := sha256.Sum256([]byte(certificate))
	return &prover{
		certificate: certificate, hash: base64.RawURLEncoding.EncodeToString(sum[:]),
		signer: signer, now: now,
	}, nil
}

// proofClaims are the claims of RFC 9449, section 4.2.
type proofClaims struct {
	ID       string `json:"jti"`
	Method   string `json:"htm"`
	URL      string `json:"htu"`
	IssuedAt int64  `json:"iat"`
	Token    string `json:"ath"`
	Nonce    string `json:"nonce,omitempty"`
}

// sign adds the headers to a request.
func (p *prover) sign(req *http.Request) error {
	p.mu.Lock()
	nonce := p.nonce
	p.mu.Unlock()
	target := url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Path: req.URL.Path}
	claims, err := json.Marshal(proofClaims{
		ID: rand.Text(), Method: req.Method, URL: target.String(),
		IssuedAt: p.now().Unix(), Token: p.hash, Nonce: nonce,
	})
	if err != nil {
		return fmt.Errorf("making a proof: %w", err)
	}
	signed, err := p.signer.Sign(claims)
	if err != nil {
		return fmt.Errorf("making a proof: %w", err)
	}
	proof, err := signed.CompactSerialize()
	if err != nil {
		return fmt.Errorf("making a proof: %w", err)
	}
	req.Header.Set("Authorization", "DPoP "+p.certificate)
	req.Header.Set("DPoP", proof)
	return nil
}

// learn keeps the nonce of the last answer.
func (p *prover) learn(h http.Header) {
	nonce := h.Get("DPoP-Nonce")
	if nonce == "" || len(nonce) > 512 {
		return
	}
	p.mu.Lock()
	p.nonce, p.learned = nonce, time.Now()
	p.mu.Unlock()
}
