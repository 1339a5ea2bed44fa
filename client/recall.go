package client

import (
	"sync"

	"connectrpc.com/connect"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// recall is what a link remembers of its small messages, so that the next ones are packed
// with them: see syncengine.Recall. It is in memory, and goes with the link. Safe for
// concurrent use.
type recall struct {
	mu           sync.Mutex
	pushed, came syncengine.Recall
	// missed is how often the server had forgotten the pushes that one leaned on.
	missed int
}

// maxMissed is how often a push is sent twice because the server has forgotten: another one
// behind the same address may answer each time.
const maxMissed = 2

// leaning is a request on its way.
type leaning struct {
	*recall

	req *tandemv1.SyncRequest
	// message is what the push is remembered as, before what it leans on.
	message, before []byte
}

// lean says in a request what is remembered, and packs its push where the server remembers
// what was pushed before.
func (r *recall) lean(req *tandemv1.SyncRequest) (*leaning, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	req.Recalls, _ = r.came.Newest()
	l := &leaning{recall: r, req: req}
	runs := req.GetRuns()
	if len(runs) == 0 || proto.Size(runs[0]) > syncengine.MaxRecall {
		return l, nil
	}
	message, err := syncengine.PushMessage(req)
	if err != nil || len(message) > syncengine.MaxRecall {
		return l, err
	}
	l.message = message
	name, before := r.pushed.Newest()
	if before == nil || r.missed >= maxMissed {
		return l, nil
	}
	packed, err := syncengine.PackRecalled(message, before)
	if err != nil {
		return l, err
	}
	l.before = before
	// The caller's request stays as it is: what it holds is taken in with the answer.
	l.req = without(req)
	l.req.PackedRuns, l.req.Recalled = packed, name
	return l, nil
}

// without is a copy of a request without its runs.
func without(req *tandemv1.SyncRequest) *tandemv1.SyncRequest {
	runs := req.GetRuns()
	req.Runs = nil
	bare := proto.CloneOf(req)
	req.Runs = runs
	return bare
}

// forgotten reports whether the server has refused a push because it leans on what it does
// not remember: nothing was done, and it goes in full.
func (l *leaning) forgotten(err error) bool {
	if l.before == nil || connect.CodeOf(err) != connect.CodeFailedPrecondition {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.missed++
	l.pushed.Forget()
	l.before = nil
	return true
}

// unpack is for syncengine.Unframe.
func (l *leaning) unpack(resp *tandemv1.SyncResponse) func([]byte) ([]byte, error) {
	if resp.GetRecalled() == 0 {
		return unpack
	}
	return func(packed []byte) ([]byte, error) {
		l.mu.Lock()
		before := l.came.At(resp.GetRecalled(), "")
		l.mu.Unlock()
		if before == nil {
			return nil, syncengine.ErrIncomplete
		}
		return syncengine.UnpackRecalled(packed, before)
	}
}

// remember takes in what the answer says of the push, and the answer itself.
func (l *leaning) remember(resp *tandemv1.SyncResponse, answer *tandemv1.SyncAnswer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if name := answer.GetTrailer().GetRecalls(); name != 0 && l.pushed.Keep(l.before, l.message, "") != name {
		l.pushed.Forget()
	}
	if answer.GetPage().GetScopeSet() != nil || len(answer.GetTrailer().GetOrders()) > 0 {
		// What was held may be held no longer.
		l.came.Forget()
	}
	if _, ok := syncengine.Recallable(answer); !ok || resp.GetRecalled() == 0 && len(resp.GetPacked()) > 0 {
		return
	}
	raw, before := resp.GetAnswer(), []byte(nil)
	if resp.GetRecalled() != 0 {
		before = l.came.At(resp.GetRecalled(), "")
		var err error
		if raw, err = syncengine.UnpackRecalled(resp.GetPacked(), before); err != nil {
			return
		}
	}
	l.came.Keep(before, raw, "")
}
