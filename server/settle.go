package server

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
)

// settling is how far a server has made itself sure of its database.
type settling struct {
	mu sync.Mutex
	// era is the store's in which that was done.
	era atomic.Uint64
}

// settled lets a request through once the database is the one that was known, or was
// found to be another one: after its connections have broken it may be a standby that
// was promoted, which lacks what was committed last. Then a new epoch has begun, and
// who was shut out is shut out again, before anybody is answered.
func (s *Server) settled(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.store.Era() != s.settling.era.Load() {
			if err := s.settle(r.Context()); err != nil {
				// The error of writing is that of the connection.
				_ = s.refusals.Write(w, r, s.refuse(err))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) settle(ctx context.Context) error {
	era := s.store.Era()
	if err := s.store.Settled(ctx); err != nil {
		return err
	}
	s.settling.mu.Lock()
	defer s.settling.mu.Unlock()
	if s.settling.era.Load() == era {
		return nil
	}
	if err := s.ReplayJournal(ctx); err != nil {
		return err
	}
	s.settling.era.Store(era)
	s.log.Warn().Uint64("times", era).Msg("connections to the database broke and were made anew")
	return nil
}
