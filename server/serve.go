package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"
)

// ErrPlain refuses to speak to a network without TLS.
var ErrPlain = errors.New("without TLS the server listens on loopback alone: give a certificate and its key, or listen on 127.0.0.1")

// Timeouts of a connection. They leave room for a page over a link of 9600 bit/s;
// idle connections cost little.
const (
	headerTimeout   = 20 * time.Second
	bodyTimeout     = 15 * time.Minute
	idleTimeout     = 3 * time.Minute
	shutdownTimeout = 15 * time.Second
	maxHeader       = 16 << 10
	// headerTable is how many bytes of headers a connection may remember: in the usual four
	// kilobytes the proofs, new with each request, push out the certificate every few
	// requests, and it is sent again.
	headerTable = 16 << 10
)

// Front listens. It is there before its server, so that whoever asks is told that the
// database is still being brought up to date, and until the last request under way has
// its answer. Safe for concurrent use.
type Front struct {
	o      FrontOptions
	server atomic.Pointer[Server]
	config atomic.Pointer[tls.Config]
	ending atomic.Bool
}

// FrontOptions are how a front ends.
type FrontOptions struct {
	Log zerolog.Logger
	// Linger is how long it goes on taking requests after it has begun to say that it is
	// ending, so that a balancer takes note.
	Linger time.Duration
	// Grace is how long requests under way may take after that; 0 is 15 s.
	Grace time.Duration
}

// NewFront returns a front without a server.
func NewFront(o FrontOptions) *Front {
	if o.Grace <= 0 {
		o.Grace = shutdownTimeout
	}
	return &Front{o: o}
}

// Open lets a server answer. Before, it judges again what an older version did not know
// and has put into quarantine.
func (f *Front) Open(ctx context.Context, s *Server) error {
	if err := errors.Join(s.relink(ctx), s.rehome(ctx), s.retry(ctx)); err != nil {
		return err
	}
	f.server.Store(s)
	if err := s.addKeys(f.config.Load()); err != nil {
		return err
	}
	if f.ending.Load() {
		s.End()
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s := f.server.Load(); s != nil {
		s.ServeHTTP(w, r)
		return
	}
	w.Header().Set(SchemaHeader, schemaVersion)
	w.Header().Set("Cache-Control", "no-store")
	switch r.URL.Path {
	case "/healthz":
		healthy(w, r)
	case "/readyz":
		sayReady(w, unreadyStarting)
	default:
		w.Header().Set("Retry-After", retryIn(busyHint))
		// The error of writing is that of the connection.
		_ = connect.NewErrorWriter().Write(w, r, connect.NewError(connect.CodeUnavailable, errStarting))
	}
}

// Operations answers /healthz, /readyz and, from the server's Metrics, /metrics: what is
// for whoever runs the server and for no device. It needs no sign-in, so it belongs on a
// listener of its own that devices do not reach.
func (f *Front) Operations() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthy)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if s := f.server.Load(); s != nil {
			s.ready(w, r)
			return
		}
		sayReady(w, unreadyStarting)
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		s := f.server.Load()
		if s == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		s.metrics.ServeHTTP(w, r)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

// Serve answers on a listener until ctx is done. Then it says that it is ending, answers
// those who wait for news, and lets requests under way finish, for a while. config is nil
// for plain HTTP, which is for loopback alone: otherwise the error is ErrPlain. HTTP/2
// works on both.
func (f *Front) Serve(ctx context.Context, listener net.Listener, config *tls.Config) error {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	if config == nil {
		if !Loopback(listener.Addr()) {
			return errors.Join(ErrPlain, listener.Close())
		}
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP2(true)
		config = config.Clone()
		config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	}
	f.config.Store(config)
	if s := f.server.Load(); s != nil {
		if err := s.addKeys(config); err != nil {
			return errors.Join(err, listener.Close())
		}
	}
	return f.serve(ctx, listener, config, protocols)
}

// Loopback reports whether nobody but this machine reaches an address.
func Loopback(addr net.Addr) bool {
	at, ok := addr.(*net.TCPAddr)
	return ok && at.IP.IsLoopback()
}

func (f *Front) serve(ctx context.Context, listener net.Listener, config *tls.Config, protocols *http.Protocols) error {
	h := &http.Server{
		Handler: f, Protocols: protocols, TLSConfig: config, ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout,
		WriteTimeout: bodyTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		HTTP2: &http.HTTP2Config{MaxDecoderHeaderTableSize: headerTable},
		// Its lines name addresses, so they are for whoever asks for them.
		ErrorLog: slog.NewLogLogger(zerolog.NewSlogHandler(f.o.Log), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		f.ending.Store(true)
		if s := f.server.Load(); s != nil {
			s.End()
		}
		time.Sleep(f.o.Linger)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.o.Grace)
		defer cancel()
		err := h.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			f.o.Log.Warn().Dur("grace", f.o.Grace).Msg("requests under way took longer than they may: they are broken off, their devices try again")
			err = h.Close()
		}
		ended <- err
	})
	var err error
	if config == nil {
		err = h.Serve(listener)
	} else {
		err = h.ServeTLS(listener, "", "")
	}
	if stop() {
		return err
	}
	if err = <-ended; errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Serve answers on a listener as a Front does.
func (s *Server) Serve(ctx context.Context, listener net.Listener, config *tls.Config) error {
	f := NewFront(FrontOptions{Log: s.log})
	if err := f.Open(ctx, s); err != nil {
		return errors.Join(err, listener.Close())
	}
	return f.Serve(ctx, listener, config)
}
