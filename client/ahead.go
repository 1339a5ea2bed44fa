package client

import (
	"context"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
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
	guess := syncengine.Following(req, answer)
	if guess == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	*a = ahead{req: guess, done: make(chan struct{}), cancel: cancel}
	// What is sent is marked as it goes, while take compares with what was guessed.
	sent := proto.CloneOf(guess)
	go func() {
		defer close(a.done)
		a.answer, a.met, a.err = way.exchange(ctx, sent)
	}()
}

// take returns the answer to req, where that is under way; nothing elsewhere.
func (a *ahead) take(req *tandemv1.SyncRequest) (*tandemv1.SyncAnswer, *contact, error) {
	if a == nil || a.done == nil {
		return nil, nil, nil
	}
	if !syncengine.SameRequest(a.req, req) {
		a.drop()
		return nil, nil, nil
	}
	<-a.done
	answer, met, err := a.answer, a.met, a.err
	a.drop()
	return answer, met, err
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
