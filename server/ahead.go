package server

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// Bounds of what is read ahead: pages at once, and how long one is kept. A page is at
// most a megabyte.
const (
	maxAhead  = 8
	keptAhead = 5 * time.Second
)

// ahead holds the pages that devices which fetch many are expected to ask for next,
// each read while the one before it is compressed, sent and unpacked: without that,
// a first pull waits for the server's reading half of the time. A page is given out
// only where it is the very answer that would be read now. Safe for concurrent use.
type ahead struct {
	mu    sync.Mutex
	pages map[syncengine.ID]*aheadPage
}

// aheadPage is one page, by the replica that it is for.
type aheadPage struct {
	req    *tandemv1.SyncRequest
	done   chan struct{}
	answer *syncengine.Answer
	// head and replica are what it was read at.
	head    syncengine.HistoryHead
	replica *syncengine.Replica
	expiry  *time.Timer
}

// put keeps a page to come, unless too many are.
func (a *ahead) put(replica syncengine.ID, p *aheadPage) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pages[replica] == nil && len(a.pages) >= maxAhead {
		return false
	}
	if a.pages == nil {
		a.pages = map[syncengine.ID]*aheadPage{}
	}
	p.expiry = time.AfterFunc(keptAhead, func() { a.drop(replica, p) })
	a.pages[replica] = p
	return true
}

// drop forgets a page that nobody has asked for.
func (a *ahead) drop(replica syncengine.ID, p *aheadPage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pages[replica] == p {
		delete(a.pages, replica)
	}
}

// take removes the page of a replica; nil where there is none for the request. A page
// that is smaller than what is asked for will do.
func (a *ahead) take(replica syncengine.ID, req *tandemv1.SyncRequest) *aheadPage {
	a.mu.Lock()
	p := a.pages[replica]
	delete(a.pages, replica)
	a.mu.Unlock()
	if p == nil {
		return nil
	}
	p.expiry.Stop()
	if req.GetBudget() < p.req.GetBudget() || !syncengine.SameRequest(p.req, req) {
		return nil
	}
	return p
}

// readAhead begins to read what will be asked for after answer.
func (s *Server) readAhead(ctx context.Context, org *store.Org, id *auth.Identity, req *tandemv1.SyncRequest, answer *tandemv1.SyncAnswer) {
	if len(req.GetRuns()) > 0 || req.GetWaitMs() > 0 {
		return
	}
	next := syncengine.Following(req, answer)
	if next == nil {
		return
	}
	p := &aheadPage{req: next, done: make(chan struct{})}
	if !s.ahead.put(id.Replica, p) {
		return
	}
	go func() {
		defer close(p.done)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keptAhead)
		defer cancel()
		err := s.store.Read(ctx, org.ID, func(view syncengine.ServerView) (err error) {
			if p.head, err = view.Head(); err != nil {
				return err
			}
			if p.replica, err = view.Replica(id.Replica); err != nil || p.replica == nil {
				return err
			}
			p.answer, err = s.engineFor(org, id).Answer(view, id.Replica, next, nil, s.now().UnixMilli())
			return err
		})
		if err != nil {
			// The request itself will meet it, and say so.
			p.answer = nil
		}
	}()
}

// readBefore returns the answer that was read ahead; nil where there is none, or
// where anything has happened since that an answer depends on: the history, or what
// is known of the replica.
func (s *Server) readBefore(ctx context.Context, org *store.Org, id *auth.Identity, req *tandemv1.SyncRequest) (*syncengine.Answer, error) {
	p := s.ahead.take(id.Replica, req)
	if p == nil {
		return nil, nil
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p.answer == nil {
		return nil, nil
	}
	same := false
	err := s.store.Read(ctx, org.ID, func(view syncengine.ServerView) error {
		head, err := view.Head()
		if err != nil {
			return err
		}
		r, err := view.Replica(id.Replica)
		same = head == p.head && r != nil && bytes.Equal(r.Key, id.Key) && sameReplica(r, p.replica)
		return err
	})
	if err != nil || !same {
		return nil, err
	}
	p.answer.Message.Trailer.ServerMs = s.now().UnixMilli()
	return p.answer, nil
}

func sameReplica(a, b *syncengine.Replica) bool {
	return bytes.Equal(a.Key, b.Key) && a.Person == b.Person && a.Device == b.Device && a.Revoked == b.Revoked && a.Suspended == b.Suspended && a.Forked == b.Forked && a.WipeOrderedMS == b.WipeOrderedMS &&
		a.Highest == b.Highest && a.HighestHash == b.HighestHash && slices.Equal(a.Ranges, b.Ranges)
}
