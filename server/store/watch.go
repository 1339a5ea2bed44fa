package store

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/tandem-response/tandem/syncengine"
)

// pollEvery is how often commits of other processes are looked for while somebody
// waits, beside what those tell by themselves.
const pollEvery = time.Second

// watch wakes those who wait for commits.
type watch struct {
	mu       sync.Mutex
	watchers map[*Watcher]struct{}
	// seen is what watchers of an org were told of.
	seen    map[syncengine.ID]*told
	polling bool
	// listening: other processes are heard.
	listening bool
	// every is pollEvery.
	every time.Duration
}

// told is what watchers of an org were told of: everything up to seq, and beyond it
// the commits of ahead, from the sequence before each to its own. Of what is in
// between, the word of another process is on its way, or lost.
type told struct {
	seq   uint64
	ahead map[uint64]uint64
}

// maxAhead bounds what is kept of commits whose predecessors are not known.
const maxAhead = 1024

// add notes that all were told of the commits after from up to seq.
func (t *told) add(from, seq uint64) {
	if from > t.seq {
		if seq > t.ahead[from] && len(t.ahead) < maxAhead {
			t.ahead[from] = seq
		}
		return
	}
	for t.seq = max(t.seq, seq); ; {
		next := t.seq
		for from, seq := range t.ahead {
			if from <= t.seq {
				next = max(next, seq)
				delete(t.ahead, from)
			}
		}
		if next == t.seq {
			return
		}
		t.seq = next
	}
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
			if s.remote != nil && !s.watch.listening {
				s.watch.listening = true
				s.done.Go(s.remote.listen)
			}
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

// tell wakes those who wait for one of the scopes, touched by the commits after from
// up to seq; nil: not known which.
func (w *watch) tell(org syncengine.ID, from, seq uint64, touched map[syncengine.ScopeKey]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.seen[org]
	if t == nil {
		t = &told{ahead: map[uint64]uint64{}}
		w.seen[org] = t
	}
	t.add(from, seq)
	// What only notes something, in the audit log for one, is no news.
	news := touched == nil || seq > from || len(touched) > 0
	for one := range w.watchers {
		if one.org == org && news && (touched == nil || one.waitsFor(touched)) {
			select {
			case one.c <- struct{}{}:
			default:
			}
		}
	}
}

// forget wakes everybody: what was told may not hold any more.
func (w *watch) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.seen)
	for one := range w.watchers {
		select {
		case one.c <- struct{}{}:
		default:
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
	tick := time.NewTicker(s.watch.every)
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
	return s.snapshot(s.writer.ctx, noOrg, func(c *conn) error {
		return c.each("SELECT id, seq FROM org", nil, func(rows *sql.Rows) error {
			var id syncengine.ID
			var seq int64
			if err := rows.Scan((*scanID)(&id), &seq); err != nil {
				return err
			}
			s.watch.mu.Lock()
			t := s.watch.seen[id]
			news := t == nil || uint64(seq) > t.seq
			s.watch.mu.Unlock()
			if news {
				s.watch.tell(id, 0, uint64(seq), nil)
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
