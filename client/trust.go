package client

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tandem-response/tandem/syncengine"
)

// built is when this program was built, zero where that is not known.
var built = func() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			at, err := time.Parse(time.RFC3339, s.Value)
			if err == nil {
				return at
			}
		}
	}
	return time.Time{}
}()

// trust decides whether who answers over TLS is the server. It is the usual check of
// a certificate but for time, since a device's clock may be years off: a certificate
// is judged by the server's time as far as the device knows it and, where that is
// later, by the wall clock; and a key that the server is known by is taken for its whole
// life. Once there is one, no other is taken: see keyed. Safe for concurrent use.
type trust struct {
	roots *x509.CertPool
	host  string
	// known is the server's time, wall the device's.
	known, wall func() time.Time
	// org and its key vouch for the server's keys; nil before enrolment.
	org    syncengine.ID
	orgKey ed25519.PublicKey

	mu sync.Mutex
	// key are the hashes of the keys that the server is known by, one after another.
	key []byte
}

// verify is a tls.Config's VerifyConnection. The error is ErrServerKey where all is well
// with the certificate and its key is another.
func (v *trust) verify(state tls.ConnectionState) error {
	if err := v.chain(state); err != nil {
		return err
	}
	key := sha256.Sum256(state.PeerCertificates[0].RawSubjectPublicKeyInfo)
	pinned := v.pinned()
	switch {
	case len(pinned) == 0:
		v.pin(key[:])
	case !holdsKey(pinned, key[:]):
		return ErrServerKey
	}
	return nil
}

// chain checks the certificate with its chain, name and time.
func (v *trust) chain(state tls.ConnectionState) error {
	leaf := state.PeerCertificates[0]
	o := x509.VerifyOptions{Roots: v.roots, DNSName: v.host, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	key := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	known, wall := v.known(), v.wall()
	var times []time.Time
	if !known.IsZero() {
		times = append(times, known)
	}
	if wall.After(known) {
		times = append(times, wall)
	}
	if holdsKey(v.pinned(), key[:]) {
		times = append(times, leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore)/2))
	}
	var first error
	for _, o.CurrentTime = range times {
		_, err := leaf.Verify(o)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: first}
}

// pinned returns the hashes of the server's keys, nil where none is known.
func (v *trust) pinned() []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.key
}

func (v *trust) pin(key []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.key = bytes.Clone(key)
}

// metaPin is where the server's keys are kept, as hashes one after another.
const metaPin = "server_key"
