package client

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/gen/tandem/v1/tandemv1connect"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// What may stand between a device and its server. None of it is an answer: the
// store stays as it is, and everything is sent once the way is free.
func middleboxes(tb testing.TB) map[string]http.HandlerFunc {
	tb.Helper()
	page := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			discard(r)
			if contentType != "" {
				w.Header().Set("Content-Type", contentType)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	ours := func(body []byte, change func(http.Header)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			discard(r)
			w.Header().Set(schemaHeader, "1")
			w.Header().Set("Content-Type", "application/proto")
			if change != nil {
				change(w.Header())
			}
			_, _ = w.Write(body)
		}
	}
	whole := func(change func(*tandemv1.SyncResponse)) []byte {
		answer, err := proto.Marshal(&tandemv1.SyncAnswer{
			Outcomes: []*tandemv1.Outcome{{Op: 1, Code: tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED}}, Trailer: &tandemv1.Trailer{},
		})
		if err != nil {
			tb.Fatal(err)
		}
		resp := syncengine.Frame(answer, 1)
		if change != nil {
			change(resp)
		}
		raw, err := proto.Marshal(resp)
		if err != nil {
			tb.Fatal(err)
		}
		return raw
	}
	old, err := proto.Marshal(&tandemv1.SyncAnswer{
		Outcomes: []*tandemv1.Outcome{{Op: 1, Code: tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED}}, Trailer: &tandemv1.Trailer{Ask: []byte("not this")},
	})
	if err != nil {
		tb.Fatal(err)
	}
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	bomb := encoder.EncodeAll(make([]byte, maxInflated*8), nil)
	return map[string]http.HandlerFunc{
		"login page":          page(200, "text/html", "<html>Welcome to the hotel</html>"),
		"login page as proto": page(200, "application/proto", "<html>Welcome to the hotel</html>"),
		"redirect":            func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
		"redirect 308": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/login", http.StatusPermanentRedirect)
		},
		"not found":                      page(404, "text/html", "<h1>Not Found</h1>"),
		"proxy wants a name":             page(407, "text/html", "<h1>Proxy Authentication Required</h1>"),
		"too large for the proxy":        page(413, "text/html", "<h1>Request Entity Too Large</h1>"),
		"network wants a login":          page(511, "text/html", "<h1>Network Authentication Required</h1>"),
		"gateway":                        page(502, "text/html", "<h1>Bad Gateway</h1>"),
		"forbidden by the proxy":         page(403, "text/html", "<h1>Blocked</h1>"),
		"unauthorised by the proxy":      page(401, "application/json", `{"code":"unauthenticated"}`),
		"unimplemented by the proxy":     page(501, "application/json", `{"code":"unimplemented"}`),
		"empty":                          page(200, "application/proto", ""),
		"empty, our header":              ours(nil, nil),
		"no body at all":                 page(204, "", ""),
		"wrong content type, our header": ours(whole(nil), func(h http.Header) { h.Set("Content-Type", "text/plain") }),
		"json, our header":               ours([]byte(`{}`), func(h http.Header) { h.Set("Content-Type", "application/json") }),
		"a gzip lie":                     ours(whole(nil), func(h http.Header) { h.Set("Content-Encoding", "gzip") }),
		"a zstd lie":                     ours(whole(nil), func(h http.Header) { h.Set("Content-Encoding", "zstd") }),
		"a bomb":                         ours(bomb, func(h http.Header) { h.Set("Content-Encoding", "zstd") }),
		"endless": func(w http.ResponseWriter, r *http.Request) {
			ours(nil, nil)(w, r)
			for chunk := make([]byte, 1<<16); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		},
		"cut off": func(w http.ResponseWriter, r *http.Request) {
			body := whole(nil)
			ours(body[:len(body)-3], nil)(w, r)
		},
		"torn off": func(w http.ResponseWriter, r *http.Request) {
			ours(whole(nil)[:8], nil)(w, r)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"another count":  ours(whole(func(r *tandemv1.SyncResponse) { r.Count++ }), nil),
		"another digest": ours(whole(func(r *tandemv1.SyncResponse) { r.Digest[3] ^= 1 }), nil),
		"another answer": ours(whole(func(r *tandemv1.SyncResponse) { r.Answer[1] ^= 1 }), nil),
		"an old answer":  ours(whole(func(r *tandemv1.SyncResponse) { proto.Merge(r, syncengine.Frame(old, 1)) }), nil),
		"no end mark":    ours(whole(func(r *tandemv1.SyncResponse) { r.End = "" }), nil),
		"no header": func(w http.ResponseWriter, r *http.Request) {
			discard(r)
			w.Header().Set("Content-Type", "application/proto")
			_, _ = w.Write(whole(nil))
		},
	}
}

func TestMiddleboxes(t *testing.T) {
	t.Parallel()
	for name, box := range middleboxes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, e := newEnrolled(t)
			for range 3 {
				create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
			}
			// The first contact of a process asks; the second would send.
			if _, err := c.round(t.Context(), want{push: true, page: true}); err != nil {
				t.Fatal(err)
			}
			before := dump(t, c)
			hits := 0
			e.set(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				hits++
				box(w, r)
			}))
			_, err := c.Sync(t.Context())
			contact, ok := errors.AsType[*ContactError](err)
			if !ok || !errors.Is(err, ErrNetwork) || contact.Words == "" {
				t.Errorf("got %v, want a network fault with words", err)
			}
			if hits != 1 {
				t.Errorf("it was asked %d times, want once: a redirect is not followed and nothing is sent again", hits)
			}
			if after := dump(t, c); after != before {
				t.Errorf("the store changed:\n%s\nwas\n%s", after, before)
			}
			if s := mustStatus(t, c); s.Queued != 3 || s.LastFault == "" {
				t.Errorf("got %d queued, last fault %q", s.Queued, s.LastFault)
			}
			e.set(nil)
			e.requests = nil
			moved, err := c.Sync(t.Context())
			if err != nil || moved.Applied != 3 || len(e.taken) != 3 {
				t.Errorf("with the way free: applied %d, at the server %d, error %v", moved.Applied, len(e.taken), err)
			}
			if len(e.requests) < 2 || len(e.requests[0]) != 0 || len(e.requests[1]) != 3 {
				t.Errorf("got requests with ops %v, want one that asks and then one that sends all", e.requests)
			}
			mustVerify(t, c)
		})
	}
}

// dump is everything in the store but the ring of contacts.
func dump(t *testing.T, c *Client) string {
	t.Helper()
	var out strings.Builder
	err := c.store.write(t.Context(), "dumping", func(x *tx) error {
		for _, table := range []string{"meta", "replica", "scope", "rec", "incoming", "outbox", "outbox_raw", "outbox_write", "draft"} {
			rows, err := c.store.conn.QueryContext(x.ctx, "SELECT * FROM "+table)
			if err != nil {
				return err
			}
			columns, err := rows.Columns()
			if err != nil {
				return err
			}
			err = eachRow(rows, func(scan func(...any) error) error {
				values := make([]any, len(columns))
				into := make([]any, len(columns))
				for i := range values {
					into[i] = &values[i]
				}
				err := scan(into...)
				fmt.Fprintf(&out, "%s %x\n", table, values)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// A push that arrived and whose answer did not costs no bodies.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	c, e := newEnrolled(t)
	for range 3 {
		create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
	}
	if _, err := c.round(t.Context(), want{push: true}); err != nil {
		t.Fatal(err)
	}
	e.set(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.honest().ServeHTTP(httptest.NewRecorder(), r)
		http.Error(w, "gateway", http.StatusBadGateway)
	}))
	if _, err := c.Sync(t.Context()); !errors.Is(err, ErrNetwork) {
		t.Fatalf("got %v", err)
	}
	if len(e.taken) != 3 {
		t.Fatalf("the server has %d changes, want 3", len(e.taken))
	}
	e.set(nil)
	e.requests = nil
	moved, err := c.Sync(t.Context())
	if err != nil || moved.Applied != 3 {
		t.Errorf("got %+v, error %v", moved, err)
	}
	for _, ops := range e.requests {
		if len(ops) > 0 {
			t.Errorf("ops %v were sent again", ops)
		}
	}
}

func TestServersWord(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status     int
		retryAfter string
		want       error
	}{
		"unauthorised":  {401, "", ErrRefused},
		"forbidden":     {403, "", ErrRefused},
		"busy":          {429, "7", ErrBusy},
		"unavailable":   {503, "7", ErrBusy},
		"broken":        {500, "", ErrBusy},
		"bad request":   {400, "", ErrRejected},
		"precondition":  {412, "", ErrRejected},
		"unimplemented": {501, "", ErrBusy},
		"no such call":  {404, "", ErrRejected},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, e := newEnrolled(t)
			create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
			e.set(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				discard(r)
				w.Header().Set(schemaHeader, "1")
				w.Header().Set("Retry-After", tc.retryAfter)
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(tc.status)
			}))
			_, err := c.Sync(t.Context())
			contact, ok := errors.AsType[*ContactError](err)
			if !ok || !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if (contact.RetryAfter > 0) != (tc.retryAfter != "") {
				t.Errorf("got hint %v", contact.RetryAfter)
			}
			if s := mustStatus(t, c); s.Queued != 1 {
				t.Errorf("got %d queued", s.Queued)
			}
		})
	}
}

func TestNonces(t *testing.T) {
	t.Parallel()
	c, e := newEnrolled(t)
	create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
	for _, nonce := range []string{"second", "third"} {
		e.mu.Lock()
		e.nonce = nonce
		e.mu.Unlock()
		if _, err := c.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := e.counts["use_dpop_nonce"]; got != 2 {
		t.Errorf("the server asked %d times for its nonce, want 2", got)
	}
	if got := e.counts["invalid_dpop_proof"]; got != 0 {
		t.Errorf("%d proofs were wrong", got)
	}
	// A server that never likes the nonce is asked twice, not for ever.
	hits := 0
	e.set(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits++
		discard(r)
		w.Header().Set(schemaHeader, "1")
		w.Header().Set("DPoP-Nonce", fmt.Sprint(hits))
		w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	if _, err := c.Sync(t.Context()); !errors.Is(err, ErrRefused) || hits != 2 {
		t.Errorf("got %v after %d requests", err, hits)
	}
}

func TestServerAddresses(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"https://tandem.example": true, "https://tandem.example:8443/base/": true, "http://127.0.0.1:8080": true,
		"http://localhost:1": true, "http://[::1]:1": true,
		"http://tandem.example": false, "http://192.168.1.9": false, "http://127.0.0.1.example": false, "http://localhost.example": false,
		"tandem.example": false, "ftp://tandem.example": false, "": false, "https://": false,
		"https://user:pass@tandem.example": false, "https://tandem.example?x=1": false, "https://tandem.example#x": false,
	} {
		if _, err := parseServer(address); (err == nil) != ok {
			t.Errorf("%q: got %v, want ok %t", address, err, ok)
		}
	}
}

func TestEnrollRefused(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	c := newClient(t, t.TempDir())
	const code = "BAD-CODE-77"
	err := c.Enroll(t.Context(), e.url, code)
	if !errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "77") {
		t.Errorf("a wrong code: got %v", err)
	}
	e.set(middleboxes(t)["login page"])
	if err := c.Enroll(t.Context(), e.url, "goodcode"); !errors.Is(err, ErrNetwork) {
		t.Errorf("a login page: got %v", err)
	}
	// An answer that was lost: the same key asks again.
	var first []byte
	e.set(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		e.honest().ServeHTTP(httptest.NewRecorder(), r)
		e.mu.Lock()
		first = bytes.Clone(e.key)
		e.mu.Unlock()
		panic(http.ErrAbortHandler)
	}))
	if err := c.Enroll(t.Context(), e.url, "goodcode"); !errors.Is(err, ErrNetwork) {
		t.Errorf("a lost answer: got %v", err)
	}
	e.set(nil)
	if err := c.Enroll(t.Context(), e.url, " good - code "); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, e.key) {
		t.Error("the second try came with another key")
	}
	if err := c.Enroll(t.Context(), e.url, "goodcode"); !errors.Is(err, ErrEnrolled) {
		t.Errorf("enrolling twice: got %v", err)
	}
	s, err := c.Session()
	if err != nil || s.Name != "Sam Rivera" || s.Person != e.ids.person || len(s.Teams) != 1 {
		t.Errorf("got session %+v, error %v", s, err)
	}
}

// A certificate that another org signed, or that is for another key, is refused.
func TestForeignCertificate(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*tandemv1.EnrollResponse){
		"another org":    func(r *tandemv1.EnrollResponse) { r.OrgKey[0] ^= 1 },
		"no certificate": func(r *tandemv1.EnrollResponse) { r.Certificate = "" },
		"no person":      func(r *tandemv1.EnrollResponse) { r.Person = nil },
	} {
		e := newEdge(t)
		c := newClient(t, t.TempDir())
		e.set(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, h := tandemv1connect.NewEnrollServiceHandler(&crooked{e, change})
			w.Header().Set(schemaHeader, "1")
			r.Header.Set("Accept-Encoding", "identity")
			h.ServeHTTP(w, r)
		}))
		if err := c.Enroll(t.Context(), e.url, "goodcode"); !errors.Is(err, ErrNetwork) {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := c.Session(); !errors.Is(err, ErrNotEnrolled) {
			t.Errorf("%s: the store is enrolled", name)
		}
	}
}

type crooked struct {
	*edge

	change func(*tandemv1.EnrollResponse)
}

func (c *crooked) Enroll(ctx context.Context, req *tandemv1.EnrollRequest) (*tandemv1.EnrollResponse, error) {
	resp, err := c.edge.Enroll(ctx, req)
	if err == nil {
		resp = proto.CloneOf(resp)
		c.change(resp)
	}
	return resp, err
}

// Over TLS the server is known by the authority that was given at enrolment, now
// and later.
func TestAuthority(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.honest().ServeHTTP(w, r) }))
	srv.EnableHTTP2 = true
	// What it says of the handshakes that are refused here is expected.
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	e.url = srv.URL
	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	dir := t.TempDir()
	c := newClient(t, dir)
	if err := c.Enroll(t.Context(), srv.URL, "goodcode"); !errors.Is(err, ErrNetwork) {
		t.Errorf("an unknown authority: got %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = newClient(t, dir, func(o *Options) { o.Roots = []byte("nothing") })
	if err := c.Enroll(t.Context(), srv.URL, "goodcode"); err == nil || errors.Is(err, ErrNetwork) {
		t.Errorf("a file without certificates: got %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = newClient(t, dir, func(o *Options) { o.Roots = roots })
	if err := c.Enroll(t.Context(), srv.URL, "goodcode"); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	// Without the file, and with a clock before the certificate.
	c = newClient(t, dir, func(o *Options) {
		o.Now = func() time.Time { return time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC) }
	})
	create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
	if m, err := c.Sync(t.Context()); err != nil || m.Applied != 1 {
		t.Errorf("got %+v, %v", m, err)
	}
}
