package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/gen/tandem/v1/tandemv1connect"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// schemaHeader stands on every answer of a Tandem server: what lacks it came from
// something in between.
const schemaHeader = "Tandem-Schema"

// Dial opens a connection; it has the form of net.Dialer.DialContext.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// link is the way to one server. Safe for concurrent use.
type link struct {
	sync   tandemv1connect.SyncServiceClient
	enroll tandemv1connect.EnrollServiceClient
	base   http.RoundTripper
	// prover is nil before enrolment; greeting is what is asked for a nonce.
	prover   *prover
	greeting string
	// trust is nil where there is no TLS of ours.
	trust *trust
	// read reads the device's clocks.
	read func() reading
}

// parseServer checks the address of a server: https, or http to this machine.
func parseServer(address string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("that is no server address: give it as https://host or https://host:port")
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	switch u.Scheme {
	case "https":
		return u, nil
	case "http":
		if loopback(u.Hostname()) {
			return u, nil
		}
		return nil, errors.New("http:// is for a server on this same machine only: use https://")
	}
	return nil, errors.New("a server address begins with https://")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || (ip != nil && ip.IsLoopback())
}

// newLink prepares the way to a server; p is nil before enrolment.
func newLink(u *url.URL, o *Options, p *prover, v *trust, read func() reading) *link {
	base := o.Transport
	if base == nil {
		t := newTransport(u, o, v)
		base = t
		if t.TLSClientConfig != nil {
			base = newKeyed(t, u, v)
		}
	}
	hc := &http.Client{
		Transport: &guard{base: base, prover: p, agent: "tandem/" + o.Version},
		// A redirect is not followed: it is a login page, or it takes the
		// certificate somewhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	opts := zstdOptions()
	return &link{
		sync:   tandemv1connect.NewSyncServiceClient(hc, u.String(), opts...),
		enroll: tandemv1connect.NewEnrollServiceClient(hc, u.String(), opts...),
		base:   base, trust: v, read: read, prover: p, greeting: u.JoinPath("healthz").String(),
	}
}

// greet asks for a nonce where there is none that is sure to be taken: a few bytes
// and a round trip, in place of a refusal of a whole request. It also finds out what
// is in the way before anything of a person's leaves the device.
func (l *link) greet(ctx context.Context, met *contact) error {
	if l.prover == nil || l.prover.fresh() {
		return nil
	}
	met.unsent = true
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.greeting, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "tandem")
	resp, err := l.base.RoundTrip(req)
	if err != nil {
		return err
	}
	// A body would belong to something on the way.
	_ = resp.Body.Close()
	if resp.Header.Get(schemaHeader) == "" {
		met.foreign = resp.StatusCode
		return errForeign
	}
	l.prover.learn(resp.Header)
	met.unsent = false
	return nil
}

// newDialer connects. Of several addresses of a server it tries the next beside one that
// does not answer, or after it: the time is divided among them.
func newDialer() *net.Dialer {
	return &net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}
}

// headerTable is how many bytes of headers both ends of a connection may remember, where
// the server does. A proof is new with each request and takes up to a kilobyte of them: in
// the usual four it pushes out the certificate, which is then sent again and again.
const headerTable = 16 << 10

func newTransport(u *url.URL, o *Options, v *trust) *http.Transport {
	dial := o.Dial
	if dial == nil {
		dial = newDialer().DialContext
	}
	t := &http.Transport{
		DialContext: dial, Proxy: http.ProxyFromEnvironment, DisableCompression: true,
		TLSHandshakeTimeout: 15 * time.Second, IdleConnTimeout: 5 * time.Minute,
		MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		Protocols: new(http.Protocols),
		// A connection that has died is found out while a request waits for news.
		HTTP2: &http.HTTP2Config{SendPingTimeout: o.ping, PingTimeout: o.ping, MaxEncoderHeaderTableSize: headerTable},
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
			if resp.StatusCode == http.StatusProxyAuthRequired {
				return errProxyPassword
			}
			return nil
		},
	}
	if u.Scheme == "http" {
		t.Proxy = nil
		t.Protocols.SetUnencryptedHTTP2(true)
		return t
	}
	t.Protocols.SetHTTP1(true)
	t.Protocols.SetHTTP2(true)
	t.TLSClientConfig = &tls.Config{
		MinVersion: tls.VersionTLS12, Time: v.known,
		// The certificate is verified there, with its chain and its name.
		InsecureSkipVerify: true, //nolint:gosec // See trust.
		VerifyConnection:   v.verify,
	}
	return t
}

// newTrust prepares the check of the server's certificate; pin are the keys that it is
// known by, nil before any.
func (c *Client) newTrust(u *url.URL, roots, pin []byte) (*trust, error) {
	v := &trust{host: u.Hostname(), known: c.serverNow, wall: c.opts.Now, key: pin}
	if len(roots) == 0 {
		return v, nil
	}
	v.roots = x509.NewCertPool()
	if !v.roots.AppendCertsFromPEM(roots) {
		return nil, errors.New("the file of certificate authorities holds no certificate in PEM form")
	}
	return v, nil
}

func (l *link) close() {
	if c, ok := l.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// contact is what one call met on its way.
type contact struct {
	// brings: the request brings what was written, and says so, for a server that has too
	// much to do (RFC 9218, section 4.1).
	brings bool
	// reached: an answer with our header came. The rest is known only then.
	reached bool
	status  int
	// foreign is the status of an answer that is not ours, 0 for none.
	foreign int
	// began is when a connection was at hand for the request that was answered, took
	// the time from there to the end of the answer.
	began time.Time
	took  time.Duration
	// came is what the device's clocks said then.
	came reading
	// torn: the request could not be written whole to a connection that had been used
	// before and had died since.
	torn bool
	// unsent: no connection was to be had, so that nothing of the request has left.
	unsent bool
	// freshNonce: the server wants the proof with the nonce it just gave.
	freshNonce bool
	retryAfter time.Duration
	// suspended: the server says that it is why it refuses.
	suspended bool
	up, down  atomic.Int64
}

type contactKey struct{}

// errProxyPassword says that a proxy wants to know who asks.
var errProxyPassword = errors.New("the proxy asks for a password")

// errForeign says that an answer is not from a Tandem server.
var errForeign = errors.New("the answer is not from a Tandem server")

// errStale says that an answer is an older one, which something on the way has kept.
var errStale = errors.New("the answer is to another request")

// guard signs requests and lets through only answers that are ours.
type guard struct {
	base   http.RoundTripper
	prover *prover
	agent  string
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	met, ok := req.Context().Value(contactKey{}).(*contact)
	if !ok {
		met = &contact{}
	}
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", g.agent)
	if met.brings {
		req.Header.Set("Priority", "u=1")
	}
	if g.prover != nil {
		if err := g.prover.sign(req); err != nil {
			return nil, err
		}
	}
	met.up.Add(max(req.ContentLength, 0))
	asked, got, reused := false, false, false
	met.began, met.unsent, met.torn = time.Now(), false, false
	// The hook may be called while the request has failed already.
	var torn atomic.Bool
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GetConn:      func(string) { asked = true },
		GotConn:      func(at httptrace.GotConnInfo) { got, reused, met.began = true, at.Reused, time.Now() },
		WroteRequest: func(wrote httptrace.WroteRequestInfo) { torn.Store(wrote.Err != nil) },
	}))
	resp, err := g.base.RoundTrip(req)
	if err != nil {
		met.unsent, met.torn = asked && !got, reused && torn.Load() && req.Context().Err() == nil
		if idle, ok := g.base.(interface{ CloseIdleConnections() }); ok && met.torn {
			// Those beside it have most likely died with it.
			idle.CloseIdleConnections()
		}
		return nil, err
	}
	if resp.Header.Get(schemaHeader) == "" || (resp.StatusCode == http.StatusOK && !isProto(resp.Header)) {
		met.foreign = resp.StatusCode
		_ = resp.Body.Close()
		return nil, errForeign
	}
	met.reached, met.status = true, resp.StatusCode
	met.retryAfter = retryAfter(resp.Header)
	met.suspended = resp.Header.Get(suspendedHeader) != ""
	met.freshNonce = resp.StatusCode == http.StatusUnauthorized && strings.Contains(resp.Header.Get("WWW-Authenticate"), "use_dpop_nonce")
	if g.prover != nil {
		g.prover.learn(resp.Header)
	}
	limit := int64(maxWire)
	if resp.StatusCode != http.StatusOK {
		limit = 64 << 10
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: limit, met: met}
	return resp, nil
}

func isProto(h http.Header) bool {
	media, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && media == "application/proto"
}

func retryAfter(h http.Header) time.Duration {
	hint := h.Get("Retry-After")
	seconds, err := strconv.Atoi(hint)
	// Bounded before it becomes a duration, which it may be too large for.
	d := time.Duration(min(seconds, 3600)) * time.Second
	if err != nil {
		// A date is the server's, as is what it says of now.
		at, err := http.ParseTime(hint)
		now, nerr := http.ParseTime(h.Get("Date"))
		if err != nil || nerr != nil {
			return 0
		}
		d = at.Sub(now)
	}
	return min(max(d, 0), time.Hour)
}

// boundedBody fails where an answer is longer than any of ours.
type boundedBody struct {
	io.ReadCloser

	left int64
	met  *contact
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.met.down.Add(int64(n))
	if b.left -= int64(n); b.left < 0 {
		return 0, errBomb
	}
	return n, err
}

// exchange sends one request and returns the complete answer. What did not come
// whole is a *ContactError.
func (l *link) exchange(ctx context.Context, req *tandemv1.SyncRequest) (*tandemv1.SyncAnswer, *contact, error) {
	met := &contact{brings: len(req.GetRuns()) > 0}
	req.Ask = binary.BigEndian.AppendUint64(make([]byte, 0, askSize), chance{}.Uint64())
	met.began = time.Now()
	if err := l.greet(ctx, met); err != nil {
		return nil, met, met.verdict(ctx, err)
	}
	resp, err := call(ctx, met, func(ctx context.Context) (*tandemv1.SyncResponse, error) { return l.sync.Sync(ctx, req) })
	if err != nil {
		return nil, met, err
	}
	met.took, met.came = time.Since(met.began), l.read()
	answer, err := syncengine.Unframe(resp, unpack)
	if err != nil {
		return nil, met, &ContactError{Kind: ErrNetwork, Words: foreignWords, Err: err}
	}
	if ask := answer.GetTrailer().GetAsk(); len(ask) > 0 && !bytes.Equal(ask, req.GetAsk()) {
		return nil, met, &ContactError{Kind: ErrNetwork, Words: foreignWords, Err: errStale}
	}
	return answer, met, nil
}

// compare sends one request of a comparison and returns the complete answer.
func (l *link) compare(ctx context.Context, req *tandemv1.ReconcileRequest) (*tandemv1.ReconcileAnswer, error) {
	resp, err := call(ctx, &contact{}, func(ctx context.Context) (*tandemv1.ReconcileResponse, error) { return l.sync.Reconcile(ctx, req) })
	if err != nil {
		return nil, err
	}
	answer, err := syncengine.UnframeReconcile(resp)
	if err != nil {
		return nil, &ContactError{Kind: ErrNetwork, Words: foreignWords, Err: err}
	}
	return answer, nil
}

// askSize is the size of what tells the answer to a request from an older one.
const askSize = 8

// call makes a call, once more where the server asks for its fresh nonce, or where
// the connection at hand turns out to have died before the request was written.
func call[T proto.Message](ctx context.Context, met *contact, send func(context.Context) (T, error)) (T, error) {
	ctx = context.WithValue(ctx, contactKey{}, met)
	resp, err := send(ctx)
	if err != nil && met.torn {
		resp, err = send(ctx)
	}
	if err != nil && met.freshNonce {
		met.freshNonce, met.reached, met.status = false, false, 0
		resp, err = send(ctx)
	}
	if err != nil {
		return resp, met.verdict(ctx, err)
	}
	return resp, nil
}

// suspendedHeader says, beside a refusal, that the device is suspended.
const suspendedHeader = "Tandem-Suspended"

const suspendedWords = "an administrator has suspended this device: the server takes nothing from it and sends it nothing until they lift that. Ask them; what is unsent stays here and is sent then"

const foreignWords = "no answer from the server: a login page or proxy may be in the way"

// verdict says what an error of a call means. Only an answer with our header is
// the server's word; everything else is the network's.
func (met *contact) verdict(ctx context.Context, err error) error {
	cause := wireCause(err)
	if errors.Is(err, ErrServerKey) {
		return &ContactError{
			Kind: ErrServerKey, Err: cause,
			Words: "the server shows another key than this device knows, and does not prove that the key is its own: nothing was sent. Another network may help; if it stays so, tell your administrator",
		}
	}
	// Stopped before the answer was whole: that is the caller's doing, not the network's.
	if (!met.reached || met.status == http.StatusOK) && ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return ctx.Err()
	}
	if !met.reached {
		if met.foreign != 0 {
			return &ContactError{
				Kind: ErrNetwork, Words: foreignWords, Err: fmt.Errorf("HTTP status %d", met.foreign),
				large: met.foreign == http.StatusRequestEntityTooLarge,
			}
		}
		if errors.Is(err, errProxyPassword) {
			return &ContactError{
				Kind: ErrNetwork, Err: cause,
				Words: "the network's proxy asks for a name and a password: ask who runs the network for them, and put them into HTTPS_PROXY, as http://name:password@proxy:port",
			}
		}
		return &ContactError{Kind: ErrNetwork, Words: "no answer from the server: there may be no signal, or the address is wrong", Err: cause}
	}
	switch met.status {
	case http.StatusOK:
		return &ContactError{Kind: ErrNetwork, Words: foreignWords, Err: cause}
	case http.StatusUnauthorized, http.StatusForbidden:
		if met.suspended {
			return &ContactError{Kind: ErrSuspended, Words: suspendedWords, Err: cause}
		}
		return &ContactError{Kind: ErrRefused, Words: "the server refuses this device: it is not enrolled there, or no longer; ask your administrator. What is unsent stays here", Err: cause}
	case http.StatusTooManyRequests:
		return &ContactError{Kind: ErrBusy, Words: "the server is busy; it will be tried again by itself", RetryAfter: met.retryAfter, Err: cause, quota: met.retryAfter == 0}
	}
	if met.status >= 500 {
		return &ContactError{Kind: ErrBusy, Words: "the server has trouble; it will be tried again by itself", RetryAfter: met.retryAfter, Err: cause}
	}
	if met.status == http.StatusRequestEntityTooLarge {
		return &ContactError{Kind: ErrNetwork, Words: "the request was too large for something on the way; a smaller one will be tried by itself", Err: cause, large: true}
	}
	return &ContactError{Kind: ErrRejected, Words: "the server did not take the request; it may need an update, or this device may", RetryAfter: met.retryAfter, Err: cause}
}

// wireCause is an error fit for a log: connect's code and message, which hold no
// values, without the address.
func wireCause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	if e, ok := errors.AsType[*connect.Error](err); ok {
		return fmt.Errorf("%s: %s", e.Code(), e.Message())
	}
	return err
}
