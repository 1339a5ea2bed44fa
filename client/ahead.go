package client

import (
	"bytes"
	"context"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/proto"
)

// ahead asks for the next page while the one before it is being stored. It guesses
// what the next request will be; where the guess was wrong the answer is ignored, as
// any answer that does not start where the device stands. Not safe for concurrent
// use; a nil one asks for nothing.
type ahead struct {
	req    *tandemv1.SyncRequest
	answer *tandemv1.SyncAnswer
	met    *contact
	err    error
	done   chan struct{}
	cancel context.CancelFunc
}

// start asks for the page after answer, where it is sure that there is one.
func (a *ahead) start(ctx context.Context, way *link, req *tandemv1.SyncRequest, answer *tandemv1.SyncAnswer, patience time.Duration) {
	guess := following(req, answer)
	if guess == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	*a = ahead{req: guess, done: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(a.done)
		a.answer, a.met, a.err = way.exchange(ctx, guess)
	}()
}

// following is the request after req, where answer is a page in the middle of many;
// nil elsewhere.
func following(req *tandemv1.SyncRequest, answer *tandemv1.SyncAnswer) *tandemv1.SyncRequest {
	page := answer.GetPage()
	if !answer.GetTrailer().GetMore() || page.GetScopeSet() != nil || len(page.GetTo()) == 0 || len(page.GetReady()) > 0 ||
		len(page.GetTo()) != len(page.GetFrom()) || len(req.GetWant()) > 0 {
		return nil
	}
	next := proto.CloneOf(req)
	for _, to := range page.GetTo() {
		for _, at := range next.GetPositions() {
			if bytes.Equal(at.GetScope(), to.GetScope()) {
				at.Position = to.GetPosition()
			}
		}
	}
	return next
}

// take returns the answer to req, where that is under way; nothing elsewhere.
func (a *ahead) take(req *tandemv1.SyncRequest) (*tandemv1.SyncAnswer, *contact, error) {
	if a == nil || a.done == nil {
		return nil, nil, nil
	}
	if !sameRequest(a.req, req) {
		a.drop()
		return nil, nil, nil
	}
	<-a.done
	answer, met, err := a.answer, a.met, a.err
	a.drop()
	return answer, met, err
}

// sameRequest reports whether two requests ask the same; the clock, the size of
// the page and what tells the answer are of no matter.
func sameRequest(a, b *tandemv1.SyncRequest) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	a.WallMs, a.Budget, a.Ask = b.GetWallMs(), b.GetBudget(), b.GetAsk()
	return proto.Equal(a, b)
}

// drop ends what is under way.
func (a *ahead) drop() {
	if a == nil || a.done == nil {
		return
	}
	a.cancel()
	<-a.done
	*a = ahead{}
}
