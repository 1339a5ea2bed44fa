package auth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/tandem-response/tandem/syncengine"
)

// certificateType is the type of a certificate (RFC 7515, section 4.1.9).
const certificateType = "tandem-replica+jwt"

// algorithms are those that signatures may use: the one.
var algorithms = []jose.SignatureAlgorithm{jose.EdDSA}

// claims are what a certificate says.
type claims struct {
	Org     string `json:"org"`
	Subject string `json:"sub"`
	Device  string `json:"device"`
	Replica string `json:"replica"`
	// Generation counts the keys that the replica had before this one.
	Generation uint64 `json:"generation,omitempty"`
	Confirm    struct {
		Thumbprint string `json:"jkt"`
	} `json:"cnf"`
}

// Certify returns the certificate of a replica, signed by the org's key, which id.KeyID
// names. Equal identities get equal certificates.
func Certify(org ed25519.PrivateKey, id *Identity) (string, error) {
	c := claims{Org: id.Org.String(), Subject: id.Person.String(), Device: id.Device.String(), Replica: id.Replica.String(), Generation: id.Generation}
	var err error
	if c.Confirm.Thumbprint, err = thumbprint(id.Key); err != nil {
		return "", fmt.Errorf("certifying a replica: %w", err)
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("certifying a replica: %w", err)
	}
	o := (&jose.SignerOptions{}).WithType(certificateType)
	if id.KeyID != "" {
		o = o.WithHeader("kid", id.KeyID)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: org}, o)
	if err != nil {
		return "", fmt.Errorf("certifying a replica: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("certifying a replica: %w", err)
	}
	return signed.CompactSerialize()
}

// thumbprint returns the JWK thumbprint (RFC 7638) of a key.
func thumbprint(key ed25519.PublicKey) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: key}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// certified is a certificate that has been checked: an identity but for the key, of
// which it names the thumbprint.
type certified struct {
	Identity
	thumbprint string
}

// check verifies a certificate. The error is ErrCertificate, or one of keys.
func (v *Verifier) check(ctx context.Context, certificate string) (*certified, error) {
	v.mu.Lock()
	known := v.certificates[certificate]
	v.mu.Unlock()
	if known != nil {
		return known, nil
	}
	jws, err := jose.ParseSignedCompact(certificate, algorithms)
	if err != nil || len(jws.Signatures) != 1 || jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType] != certificateType {
		return nil, ErrCertificate
	}
	var c claims
	if json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &c) != nil {
		return nil, ErrCertificate
	}
	out := &certified{thumbprint: c.Confirm.Thumbprint}
	out.Generation = c.Generation
	for _, f := range []struct {
		id   *syncengine.ID
		text string
	}{{&out.Org, c.Org}, {&out.Person, c.Subject}, {&out.Device, c.Device}, {&out.Replica, c.Replica}} {
		if *f.id, err = syncengine.ParseID(f.text); err != nil {
			return nil, ErrCertificate
		}
	}
	out.KeyID = jws.Signatures[0].Protected.KeyID
	key, err := v.keys(ctx, out.Org, out.KeyID)
	if err != nil {
		return nil, err
	}
	if key == nil {
		return nil, ErrCertificate
	}
	if _, err := jws.Verify(key); err != nil {
		return nil, ErrCertificate
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	// What a certificate says never changes, so what has been checked may be kept;
	// forgetting all of it costs one check each.
	if len(v.certificates) >= maxCertificates {
		clear(v.certificates)
	}
	v.certificates[certificate] = out
	return out, nil
}

// Certified returns whom a certificate names, with the key that it is bound to: what
// a sealed outbox says of its replica, where no proof of possession comes along. The
// error is ErrCertificate, or one of keys.
func (v *Verifier) Certified(ctx context.Context, certificate string, key ed25519.PublicKey) (*Identity, error) {
	if len(key) != ed25519.PublicKeySize {
		return nil, ErrCertificate
	}
	known, err := v.check(ctx, certificate)
	if err != nil {
		return nil, err
	}
	if sum, err := thumbprint(key); err != nil || sum != known.thumbprint {
		return nil, ErrCertificate
	}
	id := known.Identity
	id.Key = bytes.Clone(key)
	return &id, nil
}
