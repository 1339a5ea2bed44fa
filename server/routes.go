package server

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/gen/tandem/v1/tandemv1connect"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/syncengine"
)

// Bounds of one request's body, as it comes and inflated. The largest push is 4 MiB
// of changes.
const (
	maxWire     = 6 << 20
	maxInflated = 8 << 20
	// An enrolment comes from nobody known, and is short.
	maxEnrolment = 16 << 10
)

// signInRoute is where people sign in with a browser.
const signInRoute = "/signin"

// fhirRoute is where programs of others fetch FHIR resources.
const fhirRoute = "/fhir/"

// consoleRoute is where leads and admins work.
const consoleRoute = "/console"

// routes puts the services together: what stands further out sees a request first.
func (s *Server) routes() http.Handler {
	options := append(compressions(),
		connect.WithReadMaxBytes(maxInflated),
		connect.WithRecover(func(ctx context.Context, _ connect.Spec, _ http.Header, p any) error {
			return s.recovered(ctx, p)
		}),
	)
	mux := http.NewServeMux()
	path, enroll := tandemv1connect.NewEnrollServiceHandler(&enrolling{s}, options...)
	mux.Handle(path, worded(http.MaxBytesHandler(s.admitted(enroll), maxEnrolment)))
	mux.Handle(tandemv1connect.EnrollServiceReinstanceProcedure, worded(s.auth.Middleware(noteIdentity(http.MaxBytesHandler(s.admitted(enroll), maxEnrolment)))))
	mux.Handle(tandemv1connect.EnrollServiceRekeyProcedure, worded(s.auth.Middleware(noteIdentity(http.MaxBytesHandler(s.admitted(enroll), maxEnrolment)))))
	path, sync := tandemv1connect.NewSyncServiceHandler(&syncing{s}, options...)
	mux.Handle(path, worded(s.auth.Middleware(noteIdentity(http.MaxBytesHandler(s.admitted(sync), maxWire)))))
	// It bounds bodies and requests itself: a crowd of browsers keeps no device out.
	mux.Handle(signInRoute, s.people)
	mux.Handle(signInRoute+"/", s.people)
	// They too; and they are for everybody.
	for _, route := range []string{"/survey/", "/outcomes", "/outcomes/"} {
		mux.Handle(route, s.public)
	}
	if s.fhir != nil {
		mux.Handle(fhirRoute, s.fhir)
	}
	if s.console != nil {
		mux.Handle(consoleRoute+"/", s.console)
		mux.Handle("GET "+consoleRoute, http.RedirectHandler(consoleRoute+"/", http.StatusSeeOther))
	}
	mux.HandleFunc("GET /healthz", healthy)
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("GET /server-key", s.serverKey)
	return s.logged(mux)
}

// requestNote is what the log learns of a request on its way in.
type requestNote struct {
	org, replica               string
	orgID, replicaID, personID syncengine.ID
}

type noteKey struct{}

// noteIdentity notes who has been let in.
func noteIdentity(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note, ok := r.Context().Value(noteKey{}).(*requestNote)
		if id := auth.FromContext(r.Context()); ok && id != nil {
			note.org, note.replica = id.Org.String(), id.Replica.String()
			note.orgID, note.replicaID, note.personID = id.Org, id.Replica, id.Person
		}
		next.ServeHTTP(w, r)
	})
}

// logged sets the headers of every answer and writes one line for each. It names
// ids that stand for a database and an organization, nothing of a person and nothing
// that came in the request but its path where that is one of ours.
func (s *Server) logged(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set(SchemaHeader, schemaVersion)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("DPoP-Nonce", s.auth.Nonce())
		if r.Method != http.MethodPost {
			forBrowsers(h, r)
		}
		began, start := s.now(), time.Now()
		note := &requestNote{}
		counted := &countingWriter{ResponseWriter: w, status: http.StatusOK}
		_, route := mux.Handler(r)
		s.traced(r, route, func(r *http.Request) (int, *requestNote) {
			mux.ServeHTTP(counted, r.WithContext(context.WithValue(r.Context(), noteKey{}, note)))
			return counted.status, note
		})
		s.metrics.answered(route, counted.status, time.Since(start))
		s.refused(r.Context(), h, counted.status, route, note)
		level := zerolog.InfoLevel
		if counted.status >= http.StatusInternalServerError {
			level = zerolog.ErrorLevel
		}
		e := s.log.WithLevel(level).Str("route", route).Int("status", counted.status).
			Int64("request_bytes", max(r.ContentLength, 0)).Int64("answer_bytes", counted.bytes).Dur("took", s.now().Sub(began))
		if note.replica != "" {
			e = e.Str("org", note.org).Str("replica", note.replica)
		}
		e.Msg("request")
	})
}

// forBrowsers sets what a browser obeys: nothing is loaded, framed or told to others, and
// the address is never tried in clear (RFC 6797, section 7.2: over TLS alone). Calls are
// POST and are made by no browser.
func forBrowsers(h http.Header, r *http.Request) {
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// countingWriter notes status and size of an answer.
type countingWriter struct {
	http.ResponseWriter

	status int
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (w *countingWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the writer beneath.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush implements http.Flusher.
func (w *countingWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }
