//go:build linux

package client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"golang.org/x/net/dns/dnsmessage"
)

// directory is a name server on loopback that knows one name.
type directory struct {
	t    *testing.T
	conn net.PacketConn

	mu sync.Mutex
	// code is how it answers, addresses what the name stands for.
	code      dnsmessage.RCode
	addresses []netip.Addr
	asked     int
}

func newDirectory(t *testing.T) *directory {
	t.Helper()
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &directory{t: t, conn: conn}
	t.Cleanup(func() { _ = conn.Close() })
	go d.serve()
	return d
}

func (d *directory) set(code dnsmessage.RCode, addresses ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.code, d.addresses = code, nil
	for _, a := range addresses {
		d.addresses = append(d.addresses, netip.MustParseAddr(a))
	}
}

func (d *directory) questions() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

func (d *directory) serve() {
	packet := make([]byte, 1500)
	for {
		n, from, err := d.conn.ReadFrom(packet)
		if err != nil {
			return
		}
		var q dnsmessage.Message
		if q.Unpack(packet[:n]) != nil || len(q.Questions) != 1 {
			continue
		}
		d.mu.Lock()
		d.asked++
		a := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RCode: d.code, RecursionAvailable: true}, Questions: q.Questions}
		for _, addr := range d.addresses {
			head := dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 1}
			switch {
			case addr.Is4() && q.Questions[0].Type == dnsmessage.TypeA:
				a.Answers = append(a.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: addr.As4()}})
			case addr.Is6() && q.Questions[0].Type == dnsmessage.TypeAAAA:
				a.Answers = append(a.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
			}
		}
		d.mu.Unlock()
		if packed, err := a.Pack(); err == nil {
			_, _ = d.conn.WriteTo(packed, from)
		}
	}
}

// dial connects as the product does, but for the name of the server and who is asked
// for it.
func (d *directory) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := newDialer()
	dialer.Resolver = &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", d.conn.LocalAddr().String())
	}}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return dialer.DialContext(ctx, network, net.JoinHostPort("sync.tandem.example.", port))
}

// hole makes an address that takes no connection and refuses none: its queue is full, and
// what comes is dropped without a word.
func hole(t *testing.T, network, ip, port string) {
	t.Helper()
	addr := net.JoinHostPort(ip, port)
	tcp, err := net.ResolveTCPAddr(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	family, at := syscall.AF_INET, syscall.Sockaddr(&syscall.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To16()[12:])})
	if tcp.IP.To4() == nil {
		family, at = syscall.AF_INET6, &syscall.SockaddrInet6{Port: tcp.Port, Addr: [16]byte(tcp.IP)}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		need.Missing(t, "the address family of "+ip)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1), syscall.Bind(fd, at), syscall.Listen(fd, 0)); err != nil {
		need.Missing(t, "the address "+ip+" on loopback")
	}
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		cancel()
		if err != nil {
			return
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the queue of a listener does not fill")
}

// TestNames: a name that is not known, an answer that is wrong and an address that never
// answers are no signal, in words; nothing is lost, nothing of a person's goes to whoever
// the wrong answer names, and an address that does answer is found beside one that does
// not.
func TestNames(t *testing.T) {
	t.Parallel()
	d := newDirectory(t)
	d.set(dnsmessage.RCodeSuccess, "127.0.0.1")
	c, e := newEnrolled(t, func(o *Options) { o.Dial = d.dial })
	_, port, err := net.SplitHostPort(strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	hole(t, "tcp4", "127.0.0.2", port)
	hole(t, "tcp6", "::1", port)
	stranger(t, "127.0.0.3:"+port)
	done := 0
	for _, tc := range []struct {
		name      string
		code      dnsmessage.RCode
		addresses []string
		works     bool
	}{
		{"no such name", dnsmessage.RCodeNameError, nil, false},
		{"a name server in trouble", dnsmessage.RCodeServerFailure, nil, false},
		{"a name without an address", dnsmessage.RCodeSuccess, nil, false},
		{"another's address", dnsmessage.RCodeSuccess, []string{"127.0.0.3"}, false},
		{"an IPv6 black hole", dnsmessage.RCodeSuccess, []string{"::1", "127.0.0.1"}, true},
		{"a black hole first", dnsmessage.RCodeSuccess, []string{"127.0.0.2", "127.0.0.1"}, true},
	} {
		d.set(tc.code, tc.addresses...)
		before := d.questions()
		create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
		c.Wake() // What is idle is a connection from before.
		_, err := c.Sync(t.Context())
		if d.questions() == before {
			t.Fatalf("%s: nobody asked for the name", tc.name)
		}
		st, serr := c.Status(t.Context())
		if serr != nil {
			t.Fatal(serr)
		}
		if tc.works {
			if err != nil || st.Queued != 0 {
				t.Errorf("%s: %d saves wait, error %v", tc.name, st.Queued, err)
			}
			continue
		}
		done++
		if contact, ok := errors.AsType[*ContactError](err); !ok || !errors.Is(err, ErrNetwork) || contact.Words == "" {
			t.Errorf("%s: got %v", tc.name, err)
		}
		if st.Queued != done || st.LastFault == "" {
			t.Errorf("%s: %d saves wait, %d were made; the status says %q", tc.name, st.Queued, done, st.LastFault)
		}
	}
}

// stranger answers on an address, and is no server; a sync or a certificate must not
// reach it.
func stranger(t *testing.T, addr string) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", addr)
	if err != nil {
		need.Missing(t, "the address "+addr+" on loopback")
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.Header.Get("Authorization") != "" || r.Header.Get("DPoP") != "" {
			t.Errorf("%s %s was sent to another's address", r.Method, r.URL.Path)
		}
		_, _ = w.Write([]byte("<html>It works!</html>"))
	})}
	go srv.Serve(l) //nolint:errcheck // It ends with the test.
	t.Cleanup(func() { _ = srv.Close() })
}
