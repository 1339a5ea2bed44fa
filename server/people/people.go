package people

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// Policy says who needs a second factor.
type Policy string

// Who needs a second factor. Who has one is asked for it always.
const (
	// Everybody who signs in with a browser.
	Everybody Policy = "all"
	// Admins alone.
	Admins Policy = "admins"
)

// Options are how people sign in. The zero value is safe.
type Options struct {
	// Origin is scheme and host under which browsers reach the server. Without it there are
	// no passkeys and no provider.
	Origin string
	// Idle is how long a session lasts that nobody uses, 15 minutes for 0; Absolute how
	// long any lasts, 12 hours for 0.
	Idle, Absolute time.Duration
	// SecondFactor says who needs one; empty is Everybody.
	SecondFactor Policy
	// Cost of hashing a passphrase; the zero value is that of today.
	Cost Cost
	// Provider is an OpenID Connect provider that people may sign in at; nil for none.
	Provider *Provider
	// Proxies are the networks of proxies whose word on where a request comes from counts.
	Proxies []netip.Prefix
	// Refused is told of sign-ins that were refused and concern no account that is there,
	// or come too fast: code says why. Nil: nobody.
	Refused func(ctx context.Context, code string)
	// Log takes what goes wrong: no names, no content.
	Log zerolog.Logger
	// Clock is the wall clock; nil is the system's.
	Clock func() time.Time
	// Rand makes tokens and salts; nil is crypto/rand's.
	Rand io.Reader
}

// Check says what of the options cannot be.
func (o *Options) Check() error {
	switch {
	case o.Idle < 0 || o.Absolute < 0 || o.Absolute > 0 && o.Absolute < o.Idle:
		return errors.New("a session lasts at least as long as it may lie idle, and both are more than 0")
	case o.Idle > 0 && o.Idle < time.Minute:
		return errors.New("a session may lie idle for a minute at least")
	case o.SecondFactor != "" && o.SecondFactor != Everybody && o.SecondFactor != Admins:
		return fmt.Errorf("a second factor is for %q or for %q", Everybody, Admins)
	}
	return nil
}

// Defaults of Options.
const (
	defaultIdle     = 15 * time.Minute
	defaultAbsolute = 12 * time.Hour
	// pendingLife is how long a sign-in may wait for its second factor.
	pendingLife = 10 * time.Minute
)

// Bounds of one request of a browser.
const (
	maxForm     = 16 << 10
	formTimeout = 20 * time.Second
	// open is how many are worked on at once, queue how long one waits for its turn.
	open  = 32
	queue = 5 * time.Second
)

// People signs people in. Its pages are under /signin; other handlers let in who has signed
// in by Require. It is an http.Handler, safe for concurrent use.
type People struct {
	o       Options
	store   *store.Store
	hasher  *hasher
	origins *http.CrossOriginProtection
	mux     *http.ServeMux
	turns   chan struct{}
	rand    io.Reader
	// elsewhere is the provider; nil for none.
	elsewhere *elsewhere
	// passkeys makes and checks passkeys; nil for none.
	passkeys *webauthn.WebAuthn
}

// New returns the sign-in of people over a store.
func New(st *store.Store, o Options) (*People, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	o.Origin = strings.TrimSuffix(o.Origin, "/")
	if o.Idle == 0 {
		o.Idle = defaultIdle
	}
	if o.Absolute == 0 {
		o.Absolute = max(defaultAbsolute, o.Idle)
	}
	if o.SecondFactor == "" {
		o.SecondFactor = Everybody
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Refused == nil {
		o.Refused = func(context.Context, string) {}
	}
	p := &People{o: o, store: st, origins: http.NewCrossOriginProtection(), turns: make(chan struct{}, open), rand: &lockedReader{r: o.Rand}}
	if o.Origin != "" {
		if err := p.origins.AddTrustedOrigin(o.Origin); err != nil {
			return nil, fmt.Errorf("the origin of browsers: %w", err)
		}
	}
	var err error
	if p.hasher, err = newHasher(o.Cost, p.rand); err != nil {
		return nil, fmt.Errorf("the cost of a passphrase: %w", err)
	}
	if p.elsewhere, err = newElsewhere(&p.o); err != nil {
		return nil, err
	}
	p.passkeys = newPasskeys(o.Origin)
	p.mux = p.routes()
	return p, nil
}

// lockedReader lets one goroutine at a time read.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

// Read implements io.Reader.
func (l *lockedReader) Read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(b)
}

func (p *People) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(*visit) error{
		"GET /signin":                 (*visit).home,
		"POST /signin":                (*visit).signIn,
		"GET /signin/begin":           (*visit).beginForm,
		"POST /signin/begin":          (*visit).begin,
		"GET /signin/passphrase":      (*visit).passphraseForm,
		"POST /signin/passphrase":     (*visit).changePassphrase,
		"GET /signin/factor":          (*visit).factorForm,
		"POST /signin/factor":         (*visit).factor,
		"GET /signin/factor/new":      (*visit).newFactorForm,
		"POST /signin/factor/new":     (*visit).newFactor,
		"POST /signin/factor/passkey": (*visit).factorPasskey,
		"GET /signin/passkey/new":     (*visit).passkeyForm,
		"POST /signin/passkey/new":    (*visit).addPasskey,
		"GET /signin/passkey/remove":  (*visit).removePasskeyForm,
		"POST /signin/passkey/remove": (*visit).removePasskey,
		"GET /signin/recovery":        (*visit).recoveryForm,
		"POST /signin/recovery":       (*visit).recovery,
		"GET " + providerPath:         (*visit).toProvider,
		"GET " + callbackPath:         (*visit).fromProvider,
		"POST /signin/end":            (*visit).end,
		"POST /signin/out":            (*visit).out,
	} {
		mux.HandleFunc(pattern, p.page(h))
	}
	mux.HandleFunc("GET /signin/style.css", file("style.css", "text/css; charset=utf-8"))
	mux.HandleFunc("GET /signin/passkey.js", file("passkey.js", "text/javascript; charset=utf-8"))
	return mux
}

// ServeHTTP implements http.Handler.
func (p *People) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	// "no-referrer" would make browsers send "Origin: null" with a form.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	if err := p.origins.Check(r); err != nil {
		p.o.Refused(r.Context(), "form of another site")
		http.Error(w, "this form was sent from another site: open the page itself", http.StatusForbidden)
		return
	}
	// A body that comes slowly holds nothing but its connection.
	control := http.NewResponseController(w)
	if r.Method == http.MethodPost {
		// Where the deadline cannot be set the server's own holds.
		_ = control.SetReadDeadline(time.Now().Add(formTimeout))
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	}
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), queue)
	defer cancel()
	select {
	case p.turns <- struct{}{}:
		defer func() { <-p.turns }()
	case <-ctx.Done():
		h.Set("Retry-After", "5")
		http.Error(w, "too many people sign in at once: try again in a moment", http.StatusServiceUnavailable)
		return
	}
	defer func() {
		if fault := recover(); fault != nil {
			// What panicked may hold anything.
			p.o.Log.Error().Str("panic", fmt.Sprintf("%T", fault)).Bytes("stack", debug.Stack()).Msg("a page of the sign-in failed")
			http.Error(w, "the server has failed; its operator finds the reason in its log", http.StatusInternalServerError)
		}
	}()
	p.mux.ServeHTTP(w, r)
}

// engine returns the protocol for an org, which knows who may do what.
func engine(org *store.Org) *syncengine.Server {
	return &syncengine.Server{Rules: record.New(), Secrets: org.Secrets}
}

// principal returns what a person may do now; without roles for one who does not work here,
// or no longer.
func principal(view store.PeopleView, org *store.Org, staff syncengine.ID) (*syncengine.Principal, error) {
	rec, err := view.Record(staff)
	if err != nil {
		return nil, err
	}
	if rec == nil || rec.Kind != record.New().KindByName("staff").Number {
		return &syncengine.Principal{}, nil
	}
	return engine(org).Principal(view, &syncengine.Replica{Person: staff})
}
