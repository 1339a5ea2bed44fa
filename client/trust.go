package client

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"runtime/debug"
	"sync"
	"time"
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
// later, by the wall clock; and the key that the server had at the last contact is
// taken for its whole life. Safe for concurrent use.
type trust struct {
	roots *x509.CertPool
	host  string
	// known is the server's time, wall the device's.
	known, wall func() time.Time

	mu  sync.Mutex
	key []byte
}

// verify is a tls.Config's VerifyConnection.
func (v *trust) verify(state tls.ConnectionState) error {
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
	if bytes.Equal(v.pinned(), key[:]) {
		times = append(times, leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore)/2))
	}
	var first error
	for _, o.CurrentTime = range times {
		_, err := leaf.Verify(o)
		if err == nil {
			v.pin(key[:])
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: first}
}

// pinned returns the hash of the server's key, nil where none is known.
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

// metaPin is where the server's key is kept, as a hash.
const metaPin = "server_key"
