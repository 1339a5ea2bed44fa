package client

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// authority signs certificates for one name.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

const serverName = "tandem.example"

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Example CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "Example CA"}}, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	return a
}

// issue makes a certificate with a key of its own.
func (a *authority) issue() tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: serverName}, DNSNames: []string{serverName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}
}

// serve runs the office's server with a certificate, and returns where.
func (o *office) serve(cert tls.Certificate, front ...[]byte) (address string, end func()) {
	o.t.Helper()
	srv, err := server.New(o.st, server.Options{Log: zerolog.Nop(), Keys: front})
	if err != nil {
		o.t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(o.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		o.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := srv.Serve(ctx, l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}); err != nil {
			o.t.Error(err)
		}
	})
	end = sync.OnceFunc(func() { cancel(); wg.Wait() })
	o.t.Cleanup(end)
	return l.Addr().String(), end
}

// impostor holds a certificate for the server's name, and passes on to a real server
// whatever it is asked, over the path it is told to.
type impostor struct {
	mu    sync.Mutex
	paths []string
	bad   []string
	// forge is the key that it vouches for itself.
	forge []byte
}

// sign states a key as the org would.
func (i *impostor) sign(w http.ResponseWriter, r *http.Request) {
	org, _ := syncengine.ParseID(r.URL.Query().Get("org"))
	nonce, _ := hex.DecodeString(r.URL.Query().Get("nonce"))
	keys := [][]byte{i.forge}
	raw, _ := proto.Marshal(&tandemv1.ServerKeys{
		Keys: keys, Signature: ed25519.Sign(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), syncengine.ServerKeysText(org, nonce, keys)),
	})
	_, _ = w.Write(raw)
}

func (o *office) impostor(cert tls.Certificate, to func() string, roots *x509.CertPool, pass func(*http.Request) bool) (*impostor, string) {
	o.t.Helper()
	i := &impostor{}
	on := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: serverName, MinVersion: tls.VersionTLS12}}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	if err != nil {
		o.t.Fatal(err)
	}
	h := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		i.mu.Lock()
		i.paths = append(i.paths, r.URL.Path)
		if r.Header.Get("Authorization") != "" || r.Header.Get("DPoP") != "" || len(body) > 0 {
			i.bad = append(i.bad, r.URL.Path)
		}
		i.mu.Unlock()
		if i.forge != nil && r.URL.Path == "/server-key" {
			i.sign(w, r)
			return
		}
		if !pass(r) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		out := r.Clone(r.Context())
		out.URL.Scheme, out.URL.Host, out.RequestURI, out.Body = "https", to(), "", io.NopCloser(bytes.NewReader(body))
		resp, err := on.RoundTrip(out)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	})}
	go func() { _ = h.Serve(l) }()
	o.t.Cleanup(func() { _ = h.Close(); on.CloseIdleConnections() })
	return i, l.Addr().String()
}

// TestServerKey: a device sends to the key that it met at enrolment. Another one, be it
// vouched for by the same authority, gets nothing, until the org's own key vouches for
// it; then it is the one that is known.
func TestServerKey(t *testing.T) {
	t.Parallel()
	ca, o := newAuthority(t), newOffice(t)
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	first, second, third := ca.issue(), ca.issue(), ca.issue()
	at, end := o.serve(first)
	var mu sync.Mutex
	where := at
	here := func() string {
		mu.Lock()
		defer mu.Unlock()
		return where
	}
	var c *Client
	goTo := func(address string) {
		mu.Lock()
		where = address
		mu.Unlock()
		if c != nil {
			c.Wake()
		}
	}
	dir := t.TempDir()
	change := func(opts *Options) {
		opts.Roots = ca.pem
		opts.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, here())
		}
	}
	c = newClient(t, dir, change)
	code, err := o.admin.IssueCode(t.Context(), o.clinician, "tablet")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Enroll(t.Context(), "https://"+serverName, code.Code); err != nil {
		t.Fatal(err)
	}
	mustSync(t, c)

	// Whoever holds a certificate of that name, and passes the question on.
	never := func(*http.Request) bool { return false }
	ask := func(r *http.Request) bool { return r.URL.Path == "/server-key" }
	for name, tc := range map[string]struct {
		pass  func(*http.Request) bool
		forge bool
		says  string
	}{
		"answers nothing": {never, false, "HTTP status 404"}, "passes the question on": {ask, false, "vouches for another key"},
		"signs by a key of its own": {never, true, "does not vouch"},
	} {
		incident(t, c, name)
		spy, address := o.impostor(third, func() string { return at }, roots, tc.pass)
		if tc.forge {
			spy.forge = server.KeyOf(third.Leaf)
		}
		goTo(address)
		_, err := c.Sync(t.Context())
		contact, ok := errors.AsType[*ContactError](err)
		if !errors.Is(err, ErrServerKey) || !ok || !errors.Is(contact.Kind, ErrServerKey) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := c.Lookup(t.Context(), syncengine.ID{7}, false, "continuity"); !errors.Is(err, ErrServerKey) {
			t.Errorf("%s: a lookup: got %v", name, err)
		}
		spy.mu.Lock()
		if len(spy.bad) > 0 || len(spy.paths) == 0 || slices.ContainsFunc(spy.paths, func(p string) bool { return p != "/server-key" }) {
			t.Errorf("%s: it got %v, with words or proofs %v", name, spy.paths, spy.bad)
		}
		spy.mu.Unlock()
	}
	if s, err := c.Status(t.Context()); err != nil || s.Queued != 3 || s.LastFault == "" {
		t.Errorf("after the impostors: %+v %v", s, err)
	}
	goTo(at)
	if m := mustSync(t, c); m.Applied != 3 {
		t.Errorf("%d of 3 are applied", m.Applied)
	}

	// The server's own new key, and after that the old one has gone.
	// The org has replaced its own key meanwhile, which vouches for the server's.
	end()
	o.rotate()
	o.rotate()
	at, end = o.serve(second)
	goTo(at)
	incident(t, c, "renewed")
	if m := mustSync(t, c); m.Applied != 1 {
		t.Errorf("%d of 1 are applied", m.Applied)
	}
	shut(t, c)
	c = newClient(t, dir, change)
	if key := server.KeyOf(second.Leaf); !slices.Equal(c.me.pin, key) {
		t.Error("the new key is not kept")
	}
	end()
	spy, address := o.impostor(first, func() string { return at }, roots, never)
	goTo(address)
	if _, err := c.Sync(t.Context()); !errors.Is(err, ErrServerKey) {
		t.Errorf("the key that was exchanged: got %v", err)
	}
	if len(spy.bad) > 0 {
		t.Errorf("it got %v", spy.bad)
	}

	// A proxy in front, whose certificate the server was told of.
	back, _ := o.serve(second, server.KeyOf(third.Leaf))
	_, address = o.impostor(third, func() string { return back }, roots, func(*http.Request) bool { return true })
	goTo(address)
	incident(t, c, "through the proxy")
	if m := mustSync(t, c); m.Applied != 1 {
		t.Errorf("%d of 1 are applied", m.Applied)
	}
	goTo(back)
	mustSync(t, c)
}
