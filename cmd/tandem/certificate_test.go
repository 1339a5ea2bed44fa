package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
)

// pair is a certificate for loopback, signed by itself, with its key, in PEM form.
func pair(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"tandem.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, form, form, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// TestCertificateRenewed: a server takes a renewed certificate into use while it serves,
// not one that is half written, and a device that knows the old key goes on.
func TestCertificateRenewed(t *testing.T) {
	t.Parallel()
	dir, place := t.TempDir(), t.TempDir()
	data, certFile, keyFile := filepath.Join(dir, "data"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	oldCert, oldKey := pair(t, 1)
	newCert, newKey := pair(t, 2)
	write := func(name string, text []byte) {
		t.Helper()
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(certFile, oldCert)
	write(keyFile, oldKey)
	h := &home{}
	var err error
	if h.store, err = store.Open(t.Context(), data, store.Options{Create: true}); err != nil {
		t.Fatal(err)
	}
	if err := h.people(t.Context(), homeOptions{}); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "--data", data, "--tls-cert", certFile, "--tls-key", keyFile, "--tls-reload", "10ms")
	h.url = s.url
	dev, err := h.enrol(t.Context(), h.clinician, "Car 12 laptop", place, client.Options{Roots: append(oldCert, newCert...)})
	if err != nil {
		t.Fatal(err)
	}
	shown := func() int64 {
		t.Helper()
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(append(oldCert, newCert...))
		c, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conn, ok := c.(*tls.Conn)
		if !ok {
			t.Fatal("no TLS")
		}
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := shown(); got != 1 {
		t.Fatalf("certificate %d is shown", got)
	}
	hello, err := strict(t, append(oldCert, newCert...), s.url+"/healthz")
	if err != nil || hello != "max-age=31536000" {
		t.Errorf("a browser is told of transport security %q, %v", hello, err)
	}
	// The new certificate with the old key: half of a renewal.
	write(certFile, newCert)
	for range 20 {
		time.Sleep(10 * time.Millisecond)
		if got := shown(); got != 1 {
			t.Fatalf("certificate %d is shown, and its key is not there yet", got)
		}
	}
	write(keyFile, newKey)
	for shown() != 2 {
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := dev.Edit(t.Context(), func(e *client.Edit) error {
		_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	// Opened again, it makes a connection of its own, which shows the new key.
	reopened, err := client.Open(t.Context(), place, client.Options{Roots: append(oldCert, newCert...)})
	if err != nil {
		t.Fatal(err)
	}
	defer reopened.Close()
	if m, err := reopened.Sync(t.Context()); err != nil || m.Applied != 1 {
		t.Errorf("after the renewal: %+v, %v", m, err)
	}
	if code := s.stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, s.log)
	}
	if log := s.log.String(); !strings.Contains(log, "cannot be used; the one before goes on") || !strings.Contains(log, "the certificate was renewed") {
		t.Errorf("the log says\n%s", log)
	}
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
}

// strict asks for a page and returns for how long it is to be asked for over TLS alone.
func strict(t *testing.T, roots []byte, url string) (string, error) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", err
	}
	return resp.Header.Get("Strict-Transport-Security"), resp.Body.Close()
}

// TestSuites: nothing is spoken that does not authenticate what it encrypts.
func TestSuites(t *testing.T) {
	t.Parallel()
	for _, id := range aead {
		if name := tls.CipherSuiteName(id); !strings.HasPrefix(name, "TLS_ECDHE_") || !strings.Contains(name, "GCM") && !strings.Contains(name, "POLY1305") {
			t.Errorf("%s", name)
		}
	}
	for _, s := range tls.InsecureCipherSuites() {
		for _, id := range aead {
			if s.ID == id {
				t.Errorf("%s is insecure", s.Name)
			}
		}
	}
}
