package simtest_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// middlebox stands between devices and a server.
type middlebox struct {
	name string
	// works: everything goes through. begins: the first request of each kind does, and
	// enrols says that enrolments do.
	works, begins, enrols bool
	// around returns the box around the real server.
	around func(inner http.Handler) http.Handler
	// intercepts: the box ends TLS with a certificate of its own.
	intercepts bool
}

// page is an answer of the box's own.
func page(status int, body string) func(http.Handler) http.Handler {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			if status == http.StatusFound {
				w.Header().Set("Location", "https://127.0.0.1/login")
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
}

// altered lets the server answer and changes the answer.
func altered(change func(r *http.Request, answer *httptest.ResponseRecorder)) func(http.Handler) http.Handler {
	return func(inner http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer := httptest.NewRecorder()
			inner.ServeHTTP(answer, r)
			change(r, answer)
			replay(w, answer)
		})
	}
}

func replay(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	maps.Copy(w.Header(), answer.Header())
	w.Header().Del("Content-Length")
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// hung answers as HTTP/1.0 does: the end of the body is the end of the connection.
// part is how much of the body comes.
func hung(part func(n int) int) func(http.Handler) http.Handler {
	return func(inner http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer := httptest.NewRecorder()
			inner.ServeHTTP(answer, r)
			conn, out, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			defer conn.Close()
			answer.Header().Del("Content-Length")
			fmt.Fprintf(out, "HTTP/1.0 %03d %s\r\n", answer.Code, http.StatusText(answer.Code))
			_ = answer.Header().Write(out)
			_, _ = out.WriteString("\r\n")
			body := answer.Body.Bytes()
			_, _ = out.Write(body[:part(len(body))])
			_ = out.Flush()
		})
	}
}

func middleboxes() []middlebox {
	ours := func(r *http.Request) bool { return r.Method == http.MethodPost }
	return []middlebox{
		{name: "captive portal", around: page(200, "<html>Welcome to the hotel</html>")},
		{name: "TLS-intercepting proxy", intercepts: true},
		{name: "302 to a page", around: page(302, "<html>Log in</html>")},
		{name: "407", around: page(407, "<h1>Proxy Authentication Required</h1>")},
		{name: "511", around: page(511, "<h1>Network Authentication Required</h1>")},
		{name: "404 page", around: page(404, "<h1>Not Found</h1>")},
		{name: "empty 200", around: altered(func(r *http.Request, a *httptest.ResponseRecorder) {
			if ours(r) {
				a.Code, a.Body = 200, &bytes.Buffer{}
				a.Header().Set("Content-Type", "application/proto")
				a.Header().Del("Content-Encoding")
			}
		})},
		{name: "truncated 200", around: hung(func(n int) int { return n / 2 })},
		{name: "a gzip lie", around: altered(func(r *http.Request, a *httptest.ResponseRecorder) {
			if ours(r) {
				a.Header().Set("Content-Encoding", "gzip")
			}
		})},
		{name: "headers of answers stripped", around: altered(func(_ *http.Request, a *httptest.ResponseRecorder) {
			for _, name := range []string{"Tandem-Schema", "Dpop-Nonce", "Content-Encoding", "Www-Authenticate"} {
				a.Header().Del(name)
			}
		})},
		{name: "headers of requests stripped", enrols: true, around: func(inner http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Del("Authorization")
				r.Header.Del("DPoP")
				r.Header.Del("Content-Encoding")
				inner.ServeHTTP(w, r)
			})
		}},
		{name: "HTTP/1.0 only", works: true, around: hung(func(n int) int { return n })},
		{name: "no trailers", works: true, around: func(inner http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Del("TE")
				r.Trailer = nil
				altered(func(_ *http.Request, a *httptest.ResponseRecorder) { a.Header().Del("Trailer") })(inner).ServeHTTP(w, r)
			})
		}},
		{name: "no body above 64 kB", works: true, around: func(inner http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || len(body) > 64_000 {
					page(413, "<h1>Request Entity Too Large</h1>")(nil).ServeHTTP(w, r)
					return
				}
				r.Body = io.NopCloser(bytes.NewReader(body))
				inner.ServeHTTP(w, r)
			})
		}},
		{name: "every request twice", works: true, around: func(inner http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					panic(http.ErrAbortHandler)
				}
				first := httptest.NewRecorder()
				for _, answer := range []*httptest.ResponseRecorder{first, httptest.NewRecorder()} {
					again := r.Clone(r.Context())
					again.Body = io.NopCloser(bytes.NewReader(body))
					inner.ServeHTTP(answer, again)
				}
				replay(w, first)
			})
		}},
		{name: "a cache that serves an old answer", begins: true, enrols: true, around: func(inner http.Handler) http.Handler {
			var mu sync.Mutex
			kept := map[string]*httptest.ResponseRecorder{}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				answer := kept[r.URL.Path]
				if answer == nil {
					answer = httptest.NewRecorder()
					inner.ServeHTTP(answer, r)
					if answer.Code == http.StatusOK {
						kept[r.URL.Path] = answer
					}
				}
				replay(w, answer)
			})
		}},
	}
}

// street is a real server over TLS with something in the way.
type street struct {
	town

	mu    sync.Mutex
	front http.Handler
	inner http.Handler
	thief *httptest.Server
	dials string
	roots []byte
}

func newStreet(t *testing.T) *street {
	t.Helper()
	s := &street{town: *newTown(t)}
	s.inner = s.http.Config.Handler
	s.front = s.inner
	honest := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		front := s.front
		s.mu.Unlock()
		front.ServeHTTP(w, r)
	})
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.http = httptest.NewUnstartedServer(honest)
	s.http.Config.ErrorLog = quiet
	s.http.StartTLS()
	t.Cleanup(s.http.Close)
	s.roots = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
	// The thief has a certificate for the same address, of an authority of its own.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s.thief = httptest.NewUnstartedServer(honest)
	s.thief.Config.ErrorLog = quiet
	s.thief.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.thief.StartTLS()
	t.Cleanup(s.thief.Close)
	return s
}

// place puts a box in the way, nil takes it away. The devices are told that the
// network is another.
func (s *street) place(b *middlebox, devices ...*client.Client) {
	s.mu.Lock()
	s.front, s.dials = s.inner, ""
	if b != nil && b.around != nil {
		s.front = b.around(s.inner)
	}
	if b != nil && b.intercepts {
		s.dials = s.thief.Listener.Addr().String()
	}
	s.mu.Unlock()
	s.http.CloseClientConnections()
	s.thief.CloseClientConnections()
	for _, c := range devices {
		c.Wake()
	}
}

func (s *street) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	if s.dials != "" {
		address = s.dials
	}
	s.mu.Unlock()
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// through is a device's way over the street.
func (s *street) through(o *client.Options) { o.Dial, o.Roots = s.dial, s.roots }

// Twelve things that stand between devices and servers, and a few more: what is
// unsent stays, nothing is taken for sent that is not, and all goes well once the
// way is free.
func TestMiddleboxes(t *testing.T) {
	t.Parallel()
	for _, box := range middleboxes() {
		t.Run(box.name, func(t *testing.T) {
			t.Parallel()
			s := newStreet(t)
			ana, _ := s.device("ana", s.through)
			ben, _ := s.device("ben", s.through)
			syncAll(t, ana, ben)
			t.Run("push", func(t *testing.T) { s.push(t, &box, ana) })
			t.Run("pull", func(t *testing.T) { s.pull(t, &box, ana, ben) })
			t.Run("enrol", func(t *testing.T) { s.enrol(t, &box) })
			syncAll(t, ana, ben)
			sameDigests(t, ana, ben)
		})
	}
}

// refused checks how a contact ended.
func (b *middlebox) refused(t *testing.T, err error) {
	t.Helper()
	contact, ok := errors.AsType[*client.ContactError](err)
	switch {
	case b.works && err != nil:
		t.Errorf("got %v, want all to go through", err)
	case !b.works && (!ok || contact.Words == ""):
		t.Errorf("got %v, want a fault of the contact with words", err)
	}
}

// fill saves notes on a call: so many that they take several requests through a
// narrow way, of text that hardly deflates.
func fill(t *testing.T, c *client.Client, saves int) {
	t.Helper()
	src := mathrand.New(mathrand.NewPCG(1, 64))
	call := save(t, c, func(e *client.Edit) error {
		_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
		return err
	})
	for range saves - 1 {
		text := make([]byte, 0, 900)
		for len(text) < cap(text)-20 {
			text = append(strconv.AppendUint(text, src.Uint64(), 36), '.')
		}
		save(t, c, func(e *client.Edit) error {
			_, err := e.Create(&tandemv1.Note{
				Target: &tandemv1.RecordRef{Kind: new("incident"), Id: new(call.Records[0].String())}, Type: new("case"), Text: new(string(text)),
			})
			return err
		})
	}
}

func (s *street) push(t *testing.T, box *middlebox, c *client.Client) {
	const saves = 300
	fill(t, c, saves)
	s.place(box, c)
	moved, err := c.Sync(t.Context())
	box.refused(t, err)
	left := pending(t, c)
	if !box.works && !box.begins && left != saves || box.works && left != 0 || moved.Applied != saves-left {
		t.Errorf("%d of %d saves are left, %d taken for applied", left, saves, moved.Applied)
	}
	s.place(nil, c)
	if _, err := c.Sync(t.Context()); err != nil {
		t.Fatalf("with the way free: %v", err)
	}
	if left := pending(t, c); left != 0 {
		t.Errorf("with the way free %d saves are left", left)
	}
	digests(t, c)
}

func (s *street) pull(t *testing.T, box *middlebox, from, to *client.Client) {
	fill(t, from, 3)
	syncAll(t, from)
	before, err := to.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.place(box, from, to)
	_, err = to.Sync(t.Context())
	box.refused(t, err)
	during, err := to.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if came := during["note"] - before["note"]; (came > 0) != box.works && !box.begins {
		t.Errorf("%d notes came", came)
	}
	s.place(nil, from, to)
	syncAll(t, from, to)
	sameDigests(t, from, to)
}

func (s *street) enrol(t *testing.T, box *middlebox) {
	o := client.Options{Version: "test"}
	s.through(&o)
	c, err := client.Open(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	code, err := s.admin.IssueCode(t.Context(), s.staff["ben"], "a new tablet")
	if err != nil {
		t.Fatal(err)
	}
	s.place(box, c)
	err = c.Enroll(t.Context(), s.http.URL, code.Code)
	if box.enrols {
		if err != nil {
			t.Errorf("an enrolment should go through: %v", err)
		}
	} else {
		box.refused(t, err)
	}
	_, enrolled := c.Session()
	if (err == nil) != (enrolled == nil) {
		t.Errorf("Enroll: %v, and yet the session: %v", err, enrolled)
	}
	s.place(nil, c)
	if err != nil {
		if err := c.Enroll(t.Context(), s.http.URL, code.Code); err != nil {
			t.Errorf("with the way free, the same code: %v", err)
		}
	}
	syncAll(t, c)
}
