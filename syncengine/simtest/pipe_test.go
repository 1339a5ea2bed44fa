package simtest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// radio is a link in virtual time: all connections over it share its rate in each
// direction, and every byte takes half a round trip besides. While it is off nothing
// can be dialled; going off, it cuts what is open, as a car does that drives out of
// reach.
type radio struct {
	rate float64 // bytes a second, each way
	rtt  time.Duration

	mu    sync.Mutex
	off   bool
	free  [2]time.Time // when each direction is free again
	bytes [2]int64     // carried, up and down, what TLS adds included
	cuts  int
	open  map[*end]bool
	in    chan net.Conn
	done  chan struct{}
}

const (
	up = iota
	down
)

// packet is what is carried at once.
const packet = 256

func newRadio(bits float64, rtt time.Duration) *radio {
	return &radio{rate: bits / 8, rtt: rtt, open: map[*end]bool{}, in: make(chan net.Conn), done: make(chan struct{})}
}

// set turns the signal on or off.
func (r *radio) set(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.off = !on
	if on {
		return
	}
	if len(r.open) > 0 {
		r.cuts++
	}
	for e := range r.open {
		e.cut()
	}
	clear(r.open)
	for direction := range r.free {
		// What had not left yet never will.
		left := max(time.Until(r.free[direction]), 0)
		r.bytes[direction] -= int64(left.Seconds() * r.rate)
		r.free[direction] = time.Time{}
	}
}

// carried returns the bytes so far.
func (r *radio) carried() (int64, int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes[up], r.bytes[down]
}

// slot takes the next turn in a direction and returns when it ends.
func (r *radio) slot(direction, n int) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); r.free[direction].Before(now) {
		r.free[direction] = now
	}
	r.free[direction] = r.free[direction].Add(time.Duration(float64(n) / r.rate * float64(time.Second)))
	r.bytes[direction] += int64(n)
	return r.free[direction]
}

var errNoSignal = errors.New("network is unreachable")

// dial has the form of net.Dialer.DialContext. A handshake takes a round trip.
func (r *radio) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	select {
	case <-time.After(r.rtt):
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.done:
		return nil, net.ErrClosed
	}
	r.mu.Lock()
	if r.off {
		r.mu.Unlock()
		return nil, errNoSignal
	}
	a, b := &end{radio: r, direction: up, wake: make(chan struct{}, 1)}, &end{radio: r, direction: down, wake: make(chan struct{}, 1)}
	a.peer, b.peer = b, a
	r.open[a] = true
	r.mu.Unlock()
	select {
	case r.in <- b:
		return a, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.done:
		return nil, net.ErrClosed
	}
}

// Accept implements net.Listener.
func (r *radio) Accept() (net.Conn, error) {
	select {
	case c := <-r.in:
		return c, nil
	case <-r.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (r *radio) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.done:
	default:
		close(r.done)
	}
	return nil
}

// Addr implements net.Listener.
func (r *radio) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8443} }

// end is one end of a connection.
type end struct {
	radio     *radio
	direction int // of what is written here
	peer      *end

	mu       sync.Mutex
	arriving []parcel
	deadline time.Time
	closed   error
	wake     chan struct{}
}

// parcel is what arrives at a time; no data is the end of the stream.
type parcel struct {
	at   time.Time
	data []byte
}

func (e *end) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *end) fail(err error) {
	e.mu.Lock()
	if e.closed == nil {
		e.closed = err
	}
	e.mu.Unlock()
	e.signal()
}

// cut breaks the connection on both ends.
func (e *end) cut() {
	e.fail(errNoSignal)
	e.peer.fail(errNoSignal)
}

func (e *end) state() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

// Read implements net.Conn.
func (e *end) Read(p []byte) (int, error) {
	for {
		e.mu.Lock()
		now := time.Now()
		var until time.Time
		switch {
		case e.closed != nil:
			defer e.mu.Unlock()
			return 0, e.closed
		case !e.deadline.IsZero() && !now.Before(e.deadline):
			e.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(e.arriving) > 0 && !now.Before(e.arriving[0].at):
			defer e.mu.Unlock()
			first := &e.arriving[0]
			if first.data == nil {
				return 0, io.EOF
			}
			n := copy(p, first.data)
			if first.data = first.data[n:]; len(first.data) == 0 {
				e.arriving = slices.Delete(e.arriving, 0, 1)
			}
			return n, nil
		case len(e.arriving) > 0:
			until = e.arriving[0].at
		}
		if !e.deadline.IsZero() && (until.IsZero() || e.deadline.Before(until)) {
			until = e.deadline
		}
		e.mu.Unlock()
		var timer <-chan time.Time
		if !until.IsZero() {
			timer = time.After(until.Sub(now))
		}
		select {
		case <-e.wake:
		case <-timer:
		}
	}
}

// Write implements net.Conn. Like a socket it takes what it is given and sends it
// later: net/http closes connections under a lock, and whoever waits for a lock stops
// virtual time.
func (e *end) Write(p []byte) (int, error) {
	for part := range slices.Chunk(p, packet) {
		if err := e.state(); err != nil {
			return 0, err
		}
		sent := e.radio.slot(e.direction, len(part))
		e.deliver(parcel{at: sent.Add(e.radio.rtt / 2), data: slices.Clone(part)})
	}
	return len(p), nil
}

func (e *end) deliver(p parcel) {
	e.peer.mu.Lock()
	e.peer.arriving = append(e.peer.arriving, p)
	e.peer.mu.Unlock()
	e.peer.signal()
}

// Close implements net.Conn.
func (e *end) Close() error {
	if e.state() == nil {
		e.fail(net.ErrClosed)
		e.deliver(parcel{at: time.Now().Add(e.radio.rtt / 2)})
	}
	e.radio.mu.Lock()
	delete(e.radio.open, e)
	e.radio.mu.Unlock()
	return nil
}

// SetReadDeadline implements net.Conn.
func (e *end) SetReadDeadline(t time.Time) error {
	e.mu.Lock()
	e.deadline = t
	e.mu.Unlock()
	e.signal()
	return nil
}

// SetDeadline implements net.Conn.
func (e *end) SetDeadline(t time.Time) error { return e.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn: a write takes as long as the link takes.
func (e *end) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr implements net.Conn.
func (e *end) LocalAddr() net.Addr { return e.radio.Addr() }

// RemoteAddr implements net.Conn.
func (e *end) RemoteAddr() net.Addr { return e.radio.Addr() }

// valley is a real server at the end of a radio link, over TLS and HTTP/1.1: HTTP/2
// writes under a lock, and so stops virtual time.
type valley struct {
	town

	radio *radio
	store *store.Store
	org   syncengine.ID
	srv   *server.Server
	roots []byte
}

func newValley(t *testing.T, r *radio, change ...func(http.Handler) http.Handler) *valley {
	t.Helper()
	v := &valley{town: town{t: t, staff: map[string]syncengine.ID{}}, radio: r}
	var err error
	if v.store, err = store.Open(t.Context(), t.TempDir(), store.Options{Create: true}); err != nil {
		t.Fatal(err)
	}
	org, err := v.store.CreateOrg(t.Context(), "Example County")
	if err != nil {
		t.Fatal(err)
	}
	v.org = org.ID
	if v.srv, err = server.New(v.store, server.Options{Log: zerolog.Nop()}); err != nil {
		t.Fatal(err)
	}
	v.admin = server.NewAdmin(v.store, org, server.AdminOptions{})
	v.setUp()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	v.roots = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	var handler http.Handler = v.srv
	for _, f := range change {
		handler = f(handler)
	}
	h := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, Protocols: new(http.Protocols), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	h.Protocols.SetHTTP1(true)
	h.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	ended := make(chan error, 1)
	go func() { ended <- h.ServeTLS(r, "", "") }()
	t.Cleanup(func() {
		v.srv.End()
		r.set(false)
		_ = h.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		if err := v.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// car enrols a device over the link.
func (v *valley) car(name string) *client.Client {
	v.t.Helper()
	c, err := client.Open(v.t.Context(), v.t.TempDir(), client.Options{
		Version: "test", Dial: v.radio.dial, Roots: v.roots,
	})
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			v.t.Error(err)
		}
	})
	code, err := v.admin.IssueCode(v.t.Context(), v.staff[name], "car of "+name)
	if err != nil {
		v.t.Fatal(err)
	}
	if err := c.Enroll(v.t.Context(), "https://127.0.0.1:8443", code.Code); err != nil {
		v.t.Fatal(err)
	}
	return c
}

// has reports whether the server has a record.
func (v *valley) has(id syncengine.ID) bool {
	v.t.Helper()
	found := false
	err := v.store.Read(v.t.Context(), v.org, func(view syncengine.ServerView) error {
		rec, err := view.Record(id)
		found = rec != nil
		return err
	})
	if err != nil {
		v.t.Fatal(err)
	}
	return found
}
