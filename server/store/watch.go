package store

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/tandem-response/tandem/syncengine"
)

// pollEvery is how often commits of other processes are looked for while somebody
// waits.
const pollEvery = time.Second

// watch wakes those who wait for commits.
type watch struct {
	mu       sync.Mutex
	watchers map[*Watcher]struct{}
	// seen is the newest sequence of each org that watchers were told of.
	seen    map[syncengine.ID]uint64
	polling bool
}

// Watcher waits for commits that touch certain scopes of an org.
type Watcher struct {
	// C receives after such a commit; several may be told as one.
	C <-chan struct{}

	c     chan struct{}
	org   syncengine.ID
	store *Store
	// scopes that it waits for; nil: any.
	scopes map[syncengine.ScopeKey]bool
}

// Watch begins to wait for commits of an org. A commit between Watch and a later
// read is not missed. The watcher must be closed.
func (s *Store) Watch(org syncengine.ID) *Watcher {
	w := &Watcher{c: make(chan struct{}, 1), org: org, store: s}
	w.C = w.c
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	s.watch.watchers[w] = struct{}{}
	if !s.watch.polling {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed {
			s.watch.polling = true
			s.done.Go(s.poll)
		}
	}
	return w
}

// Only limits the watcher to commits that touch one of the scopes. What C holds
// already stays.
func (w *Watcher) Only(scopes []syncengine.ScopeKey) {
	set := make(map[syncengine.ScopeKey]bool, len(scopes))
	for _, k := range scopes {
		set[k] = true
	}
	w.store.watch.mu.Lock()
	defer w.store.watch.mu.Unlock()
	w.scopes = set
}

// Close ends the wait.
func (w *Watcher) Close() {
	w.store.watch.mu.Lock()
	defer w.store.watch.mu.Unlock()
	delete(w.store.watch.watchers, w)
}

// tell wakes those who wait for one of the touched scopes; nil: not known which.
func (w *watch) tell(org syncengine.ID, seq uint64, touched map[syncengine.ScopeKey]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[org] = max(seq, w.seen[org])
	for one := range w.watchers {
		if one.org == org && (touched == nil || one.waitsFor(touched)) {
			select {
			case one.c <- struct{}{}:
			default:
			}
		}
	}
}

func (w *Watcher) waitsFor(touched map[syncengine.ScopeKey]bool) bool {
	if w.scopes == nil {
		return true
	}
	for k := range touched {
		if w.scopes[k] {
			return true
		}
	}
	return false
}

// poll looks for commits of other processes until nobody waits.
func (s *Store) poll() {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.closing:
			return
		}
		s.watch.mu.Lock()
		if len(s.watch.watchers) == 0 {
			s.watch.polling = false
			s.watch.mu.Unlock()
			return
		}
		s.watch.mu.Unlock()
		// A failure shows to whoever reads or writes next.
		_ = s.pollOnce()
	}
}

// pollOnce wakes the watchers of orgs that have come further than they were told.
func (s *Store) pollOnce() error {
	return s.reading(s.writer.ctx, func(c *conn) error {
		return c.each("SELECT id, seq FROM org", nil, func(rows *sql.Rows) error {
			var id syncengine.ID
			var seq int64
			if err := rows.Scan((*scanID)(&id), &seq); err != nil {
				return err
			}
			s.watch.mu.Lock()
			seen, known := s.watch.seen[id]
			s.watch.mu.Unlock()
			if !known || uint64(seq) > seen {
				s.watch.tell(id, uint64(seq), nil)
			}
			return nil
		})
	})
}

// Wait returns when a commit has touched the watcher's scopes, or when ctx is done
// or the store closes: then false.
func (w *Watcher) Wait(ctx context.Context) bool {
	select {
	case <-w.C:
		return true
	case <-ctx.Done():
	case <-w.store.closing:
	}
	return false
}
