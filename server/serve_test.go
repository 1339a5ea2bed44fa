package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
)

// certificate is a TLS certificate for 127.0.0.1 and the pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	pool := x509.NewCertPool()
	pool.AddCert(must[*x509.Certificate](t)(x509.ParseCertificate(der)))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	return must[net.Listener](t)((&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0"))
}

func TestServePlainOnLoopbackAlone(t *testing.T) { each(t, testServePlainOnLoopbackAlone) }

func testServePlainOnLoopbackAlone(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 40)
	if err := w.srv.Serve(t.Context(), other{listen(t)}, nil); !errors.Is(err, server.ErrPlain) {
		t.Errorf("got %v, want ErrPlain", err)
	}
}

// other is a listener that says it listens to a network.
type other struct{ net.Listener }

func (other) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443} }

func TestServe(t *testing.T) { each(t, testServe) }

func testServe(t *testing.T, on engine) {
	t.Parallel()
	cert, pool := certificate(t)
	for name, tc := range map[string]struct {
		config *tls.Config
		scheme string
		major  int64
		client func(p *http.Protocols)
	}{
		"plain, HTTP/1.1": {nil, "http://", 1, func(p *http.Protocols) { p.SetHTTP1(true) }},
		"plain, HTTP/2":   {nil, "http://", 2, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }},
		"TLS, HTTP/1.1":   {&tls.Config{Certificates: []tls.Certificate{cert}}, "https://", 1, func(p *http.Protocols) { p.SetHTTP1(true) }},
		"TLS, HTTP/2":     {&tls.Config{Certificates: []tls.Certificate{cert}}, "https://", 2, func(p *http.Protocols) { p.SetHTTP2(true) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, on, 41)
			counted := &countedRules{}
			server.SetRules(w.srv, func(r syncengine.Rules) syncengine.Rules {
				counted.Rules = r
				return counted
			})
			l := listen(t)
			ctx, end := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := w.srv.Serve(ctx, l, tc.config); err != nil {
					t.Error(err)
				}
			})
			d := w.newDevice(1)
			transport := &http.Transport{Protocols: &http.Protocols{}, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
			tc.client(transport.Protocols)
			defer transport.CloseIdleConnections()
			proto := &noting{base: transport}
			d.way.base = proto
			d.connect(tc.scheme + l.Addr().String())
			answer, err := d.enroll.Enroll(t.Context(), d.enrolment(w.code(w.clinician)))
			if err != nil {
				end()
				t.Fatal(err)
			}
			d.accept(answer)
			if got := proto.major.Load(); got != tc.major {
				t.Errorf("spoke HTTP/%d, want %d", got, tc.major)
			}
			// A request that waits is answered when the server ends, and Serve returns.
			req, _ := d.read()
			req.WaitMs = 40_000
			before := counted.n.Load()
			wg.Go(func() {
				if _, err := d.call(t.Context(), req); err != nil {
					t.Errorf("who waited when the server ended: %v", err)
				}
			})
			for counted.n.Load() == before {
				time.Sleep(time.Millisecond)
			}
			end()
			wg.Wait()
		})
	}
}

// noting notes how a server is spoken to.
type noting struct {
	base  http.RoundTripper
	major atomic.Int64
}

func (n *noting) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := n.base.RoundTrip(r)
	if err == nil {
		n.major.Store(int64(resp.ProtoMajor))
	}
	return resp, err
}

// countedRules counts the answers that are made.
type countedRules struct {
	syncengine.Rules

	n atomic.Int64
}

func (c *countedRules) Grants(org syncengine.ID, p *syncengine.Principal) []syncengine.ScopeKey {
	c.n.Add(1)
	return c.Rules.Grants(org, p)
}

func TestServeRefusesOldTLS(t *testing.T) { each(t, testServeRefusesOldTLS) }

func testServeRefusesOldTLS(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 42)
	cert, pool := certificate(t)
	l := listen(t)
	ctx, end := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.srv.Serve(ctx, l, &tls.Config{Certificates: []tls.Certificate{cert}}); err != nil {
			t.Error(err)
		}
	})
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}
	if c, err := dialer.DialContext(t.Context(), "tcp", l.Addr().String()); err == nil {
		t.Error("TLS 1.1 was spoken", c.Close())
	}
	end()
	wg.Wait()
}
