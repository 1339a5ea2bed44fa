// Package server is a Tandem server over HTTP: enrolment and sync, with
// authentication before a body is read, bounded compression, and the long poll that
// makes changes arrive at once. It also makes the records that an operator sets up
// (Admin). All state is in the store, so any number of servers may come and go.
package server

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"go.opentelemetry.io/otel/trace"
)

// SchemaHeader names the service and its schema version on every answer, so that a
// device can tell the server's own answers from a proxy's.
const SchemaHeader = "Tandem-Schema"

// Options are how a server runs.
type Options struct {
	// Origin is scheme and host under which devices reach the server; proofs must
	// name it. Empty: any.
	Origin string
	// NonceKey makes the nonces of proofs; servers behind one address share it. Nil:
	// one of this server's own.
	NonceKey []byte
	// Log takes one line a request: no names, no content.
	Log zerolog.Logger
	// Clock is the wall clock; nil is the system's.
	Clock func() time.Time
	// Rand makes ids and keys; nil is crypto/rand's. It is read by one goroutine at a
	// time.
	Rand io.Reader
	// Keys are keys that devices may meet beside that of the certificates that Serve is
	// given, each by KeyOf: those of a proxy in front.
	Keys [][]byte
	// MinWriteSchema is the oldest schema version whose changes are applied; older ones
	// are kept in quarantine. MinReadSchema is the oldest that is sent record state. 0:
	// every one.
	MinWriteSchema, MinReadSchema uint32
	// Admission bounds what is taken on at once.
	Admission Admission
	// Metrics are what the store under it tells its commits to; nil for new ones.
	Metrics *Metrics
	// People are how people sign in with a browser. Origin, Log, Clock, Rand and Refused
	// are the server's.
	People people.Options
	// FHIR makes what answers under /fhir/, behind the sign-in of people; nil for nothing.
	FHIR func(*people.People) http.Handler
	// Traces are where spans of requests go; nil for nowhere.
	Traces trace.TracerProvider
	// Console makes the pages under /console/; nil for none.
	Console func(*Server) (http.Handler, error)
}

// Server answers devices. It is an http.Handler, safe for concurrent use.
type Server struct {
	store   *store.Store
	rules   syncengine.Rules
	origin  string
	auth    *auth.Verifier
	guesses *auth.Guesses
	people  *people.People
	fhir    http.Handler
	console http.Handler
	public  *report.Public
	log     zerolog.Logger
	now     func() time.Time
	rand    io.Reader
	handler http.Handler
	// met are the replicas that are known to have an entry, by id, with the store's era
	// in which that was seen.
	met sync.Map
	// behind are the orgs whose newest key this server is known to lack.
	behind sync.Map
	// minWrite and minRead are the oldest schema versions that are taken and served.
	minWrite, minRead uint32
	ahead             ahead
	chunks            *chunks
	refusals          refusals
	// keys are those that devices may meet.
	keysMu sync.Mutex
	keys   [][]byte

	admission   *admission
	errorWriter *connect.ErrorWriter
	metrics     *Metrics
	tracer      trace.Tracer
	devices     devices
	probe       probe
	// judging is held over judging a file.
	judging chan struct{}
	// ownHeld is the constant of that name.
	ownHeld time.Duration

	ending context.Context //nolint:containedctx // Done when waiting requests are to be answered.
	end    context.CancelFunc
}

// Address is scheme and host under which devices reach the server: those of Options.Origin,
// or where it has none those under which it was asked.
func (s *Server) Address(r *http.Request) string {
	if s.origin != "" {
		return s.origin
	}
	scheme := "https://"
	if host, _, err := net.SplitHostPort(r.Host); r.TLS == nil && err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback()) {
		scheme = "http://"
	}
	return scheme + r.Host
}

// New returns a server over a store, which stays the caller's to close, after the
// server has ended.
func New(st *store.Store, o Options) (*Server, error) {
	s := &Server{store: st, rules: record.New(), guesses: auth.NewGuesses(o.Clock), log: o.Log, now: o.Clock, origin: strings.TrimRight(o.Origin, "/"), rand: &lockedReader{r: o.Rand}}
	s.ownHeld, s.judging = ownHeld, make(chan struct{}, maxJudged)
	s.minWrite, s.minRead = o.MinWriteSchema, o.MinReadSchema
	s.keys = slices.SortedFunc(slices.Values(o.Keys), bytes.Compare)
	if s.now == nil {
		s.now = time.Now
	}
	s.chunks = newChunks(s.now)
	if o.Rand == nil {
		s.rand = rand.Reader
	}
	var err error
	if s.admission, err = newAdmission(o.Admission); err != nil {
		return nil, err
	}
	s.errorWriter, s.tracer = connect.NewErrorWriter(), tracer(o.Traces)
	if s.metrics = o.Metrics; s.metrics == nil {
		s.metrics = NewMetrics()
	}
	if err := s.metrics.registry.Register(&gauges{s: s}); err != nil {
		return nil, fmt.Errorf("metrics are those of one server: %w", err)
	}
	s.auth, err = auth.NewVerifier(auth.Options{Keys: s.orgKey, Origin: o.Origin, NonceKey: o.NonceKey, Clock: s.now, Rand: s.rand})
	if err != nil {
		return nil, err
	}
	signIn := o.People
	signIn.Origin, signIn.Log, signIn.Clock, signIn.Rand = o.Origin, o.Log, s.now, s.rand
	signIn.Refused = s.refusedSignIn
	if s.people, err = people.New(st, signIn); err != nil {
		return nil, err
	}
	if o.FHIR != nil {
		s.fhir = o.FHIR(s.people)
	}
	s.public, err = report.NewPublic(st, report.PublicOptions{Take: s.takeSurvey, Address: s.people.Address, Origin: o.Origin, Log: o.Log, Clock: s.now})
	if err != nil {
		return nil, err
	}
	if err := s.ReplayJournal(context.Background()); err != nil {
		return nil, err
	}
	st.Renewed(func(ctx context.Context) error {
		s.log.Warn().Msg("connections to the database broke and were made anew")
		return s.ReplayJournal(ctx)
	})
	s.ending, s.end = context.WithCancel(context.Background())
	if o.Console != nil {
		if s.console, err = o.Console(s); err != nil {
			return nil, err
		}
	}
	s.handler = s.routes()
	return s, nil
}

// People is the sign-in of people with a browser.
func (s *Server) People() *people.People { return s.people }

// Ending returns a context that is done when waiting requests are to be answered.
func (s *Server) Ending() context.Context { return s.ending }

// lockedReader lets one goroutine at a time read.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

// Read implements io.Reader.
func (l *lockedReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// End answers requests that wait for news, and lets no further one wait. The server
// answers all others as before.
func (s *Server) End() { s.end() }

// orgKey returns a public key of an org for the check of certificates.
func (s *Server) orgKey(ctx context.Context, id syncengine.ID, name string) (ed25519.PublicKey, error) {
	org, err := s.store.Org(ctx, id)
	if err == nil && org.KeyOf(name) == nil {
		// Another server may have made it.
		org, err = s.store.OrgNow(ctx, id)
	}
	if errors.Is(err, store.ErrUnknownOrg) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return org.KeyOf(name), nil
}

// engine returns the protocol for an org.
func (s *Server) engine(org *store.Org) *syncengine.Server {
	return &syncengine.Server{
		Rules: s.rules, Secrets: org.Secrets, SealKey: org.SealKey(), MinWriteSchema: s.minWrite, MinReadSchema: s.minRead,
		Chunks: s.chunks,
	}
}

// engineFor is the engine for one who has proved a key.
func (s *Server) engineFor(org *store.Org, id *auth.Identity) *syncengine.Server {
	e := s.engine(org)
	e.Proved = id.Key
	return e
}

var schemaVersion = strconv.Itoa(syncengine.Schema)
