package server

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net/http"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// A device knows its server by the key that it met at enrolment. A server with another
// key proves that it is the same one: it signs with the org key, for the device that
// asks, which keys it has. Only keys of its own certificates are stated, so that
// whoever passes the question on gets nothing that fits their own key.

// KeyOf is by what a device knows a certificate's key.
func KeyOf(cert *x509.Certificate) []byte {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return sum[:]
}

// addKeys notes the keys of the certificates that the server serves with.
func (s *Server) addKeys(config *tls.Config) error {
	if config == nil {
		return nil
	}
	s.keysMu.Lock()
	defer s.keysMu.Unlock()
	certs := slices.Clone(config.Certificates)
	if config.GetCertificate != nil {
		now, err := config.GetCertificate(&tls.ClientHelloInfo{})
		if err != nil {
			return err
		}
		certs = append(certs, *now)
	}
	for _, c := range certs {
		leaf := c.Leaf
		if leaf == nil {
			var err error
			if leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
				return err
			}
		}
		s.keys = append(s.keys, KeyOf(leaf))
	}
	slices.SortFunc(s.keys, bytes.Compare)
	s.keys = slices.CompactFunc(s.keys, bytes.Equal)
	return nil
}

// AddCertificate notes the key of a renewed certificate before it is served with, so that
// a device which meets it can be told. Safe for concurrent use.
func (f *Front) AddCertificate(cert *tls.Certificate) error {
	config := &tls.Config{}
	if c := f.config.Load(); c != nil {
		config = c.Clone()
	}
	config.Certificates = append(slices.Clone(config.Certificates), *cert)
	f.config.Store(config)
	if s := f.server.Load(); s != nil {
		return s.addKeys(config)
	}
	return nil
}

// serverKey states the server's keys.
func (s *Server) serverKey(w http.ResponseWriter, r *http.Request) {
	id, err := syncengine.ParseID(r.URL.Query().Get("org"))
	nonce, nerr := hex.DecodeString(r.URL.Query().Get("nonce"))
	s.keysMu.Lock()
	keys := slices.Clone(s.keys)
	s.keysMu.Unlock()
	if err != nil || nerr != nil || len(nonce) != syncengine.NonceSize || len(keys) == 0 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	org, err := s.store.Org(r.Context(), id)
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if !org.Certifies() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	raw, err := proto.Marshal(&tandemv1.ServerKeys{
		Keys: keys, Signature: ed25519.Sign(org.Signing, syncengine.ServerKeysText(id, nonce, keys)), Successors: org.Successors(""),
	})
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/proto")
	_, _ = w.Write(raw)
}
