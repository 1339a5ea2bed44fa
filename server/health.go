package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/tandem-response/tandem/server/store"
)

const (
	// probeFor is how long what a probe of the database found is good for, probeTime how
	// long one may take.
	probeFor, probeTime = 5 * time.Second, 5 * time.Second
)

// Why a server is not ready, in words for whoever runs it.
const (
	unreadyStarting = "starting: the database is being opened and brought up to date"
	unreadyEnding   = "ending: requests under way are finished, new ones belong elsewhere"
	unreadyFull     = "the disk is full: free some space"
	unreadySlow     = "the database has not been written for 5 seconds: see the server's log"
	unreadyReplaced = "the database is an old primary, in whose place a standby was promoted: name the new one in the address, or make this one its standby"
	unreadyCrowded  = "PostgreSQL has no connection left: raise max_connections or run fewer servers"
	unreadyAway     = "PostgreSQL does not answer: see that it runs and that the address is right"
	unreadySwapped  = "the database's files were moved, replaced or removed while the server runs: put them back, or stop it and restore a backup"
	unreadyStorage  = "the database cannot be written: see the server's log"
)

// probe finds out whether the database can be written, at most every few seconds.
type probe struct {
	mu    sync.Mutex
	at    time.Time
	found string
}

// unready says why the server should get no requests now; empty where it should.
func (s *Server) unready(ctx context.Context) string {
	if s.ending.Err() != nil {
		return unreadyEnding
	}
	s.probe.mu.Lock()
	defer s.probe.mu.Unlock()
	if !s.probe.at.IsZero() && time.Since(s.probe.at) < probeFor {
		return s.probe.found
	}
	before := s.probe.found
	s.probe.found = s.canWrite(ctx)
	s.probe.at = time.Now()
	if s.probe.found != before {
		s.log.Warn().Str("was", before).Str("is", s.probe.found).Msg("readiness changed")
	}
	return s.probe.found
}

// canWrite writes to the database.
func (s *Server) canWrite(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTime)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.store.CanWrite(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		return unreadySlow
	}
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.DeadlineExceeded):
		return unreadySlow
	case errors.Is(err, store.ErrDisk):
		return unreadyFull
	case errors.Is(err, store.ErrClosed):
		return unreadyEnding
	case errors.Is(err, store.ErrSwapped):
		return unreadySwapped
	case errors.Is(err, store.ErrSuperseded):
		return unreadyReplaced
	case errors.Is(err, store.ErrCrowded):
		return unreadyCrowded
	case errors.Is(err, store.ErrUnreachable):
		return unreadyAway
	}
	s.log.Error().Err(err).Msg("the database cannot be written")
	return unreadyStorage
}

// healthy answers that the process is there. A device asks it for a nonce, so it has no
// body.
func healthy(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// readiness is the body of /readyz.
type readiness struct {
	Ready bool   `json:"ready"`
	Why   string `json:"why,omitempty"`
}

// sayReady answers whether requests should come here.
func sayReady(w http.ResponseWriter, why string) {
	w.Header().Set("Content-Type", "application/json")
	if why != "" {
		w.Header().Set("Retry-After", retryIn(busyHint))
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// The error of writing is that of the connection.
	_ = json.NewEncoder(w).Encode(readiness{Ready: why == "", Why: why}) //nolint:errchkjson // See above.
}

// ready answers whether the server takes requests: not while it ends, nor where the
// database cannot be written.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) { sayReady(w, s.unready(r.Context())) }
