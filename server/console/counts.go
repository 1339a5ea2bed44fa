package console

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/syncengine"
)

// Bounds of what is counted: reports of metrics read every record.
const (
	// fresh is for how long a count is good where the database has moved on.
	fresh = 10 * time.Minute
	// mostCounting are under way or wait for their turn, one after another, mostOfOrg of them
	// an org's and one a person's; mostCounted are kept.
	mostCounting = 8
	mostOfOrg    = 3
	mostCounted  = 24
	// longest is how long one may take, unasked how long it goes on when nobody asks for it any
	// more: a page that follows it asks every few seconds, one in the background once a minute.
	longest = 10 * time.Minute
	unasked = 90 * time.Second
)

// Errors of counting.
var (
	// errCounting says that too much is being counted: of this person, of their org, or in all.
	errCounting = errors.New("too many reports are being counted")
	// errCountLong says that a count took longer than one may.
	errCountLong = errors.New("counting took too long")
	// errUnasked ends a count that nobody waits for.
	errUnasked = errors.New("nobody waits for this count any more")
)

// counts makes what takes long to count, one at a time, beside the pages that ask for it,
// and keeps the last of it in memory. Safe for concurrent use.
type counts struct {
	log    zerolog.Logger
	ending context.Context //nolint:containedctx // It is the server's end, and no request's.
	now    func() time.Time
	turn   chan struct{}

	mu   sync.Mutex
	kept map[string]*count
}

// asker is who asks for a count. One who only follows what was asked for before ends nothing
// for it; one who asks by hand ends the count that they asked for last, unless somebody else
// waits for it too.
type asker struct {
	org, person syncengine.ID
	follows     bool
}

// count is one question with its answer, once done is closed.
type count struct {
	question string
	org      syncengine.ID
	done     chan struct{}
	// read counts records, for who waits.
	read  atomic.Int64
	begun time.Time
	// seq is the state that was there when it began, used when somebody asked last.
	seq  uint64
	used time.Time
	// wait are who waits for it, asked when one of them has asked last, by no clock that is
	// set; lonely ends it a while after.
	wait   map[syncengine.ID]bool
	asked  time.Time
	lonely *time.Timer
	end    context.CancelCauseFunc

	tally
}

// tally is what was counted, or why it was not.
type tally struct {
	value any
	err   error
}

// counter makes the answer to a question. It returns when its context ends.
type counter func(context.Context, *atomic.Int64) (any, error)

func newCounts(log zerolog.Logger, ending context.Context, now func() time.Time) *counts { //nolint:revive // It is no request's context.
	return &counts{log: log, ending: ending, now: now, turn: make(chan struct{}, 1), kept: map[string]*count{}}
}

// ended reports whether the answer is there.
func (n *count) ended() bool {
	select {
	case <-n.done:
		return true
	default:
		return false
	}
}

// of returns the answer to a question over the state at seq, or one that was begun a short
// while ago; where there is none it is begun. It waits for a moment, and returns what is
// under way then. anew takes no answer of an older state.
func (c *counts) of(ctx context.Context, who asker, question string, seq uint64, anew bool, do counter) (*count, error) {
	n, err := c.find(who, question, seq, anew, do)
	if err != nil {
		return nil, err
	}
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case <-n.done:
	case <-wait.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if !n.ended() || n.err == nil {
		return n, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(n)
	if errors.Is(n.err, errUnasked) {
		// It was this person who asked for another one, on another page.
		return nil, errCounting
	}
	return nil, n.err
}

func (c *counts) find(who asker, question string, seq uint64, anew bool, do counter) (*count, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	n := c.kept[question]
	if n != nil && (!n.ended() || n.seq == seq || !anew && now.Sub(n.begun) < fresh) {
		n.used = now
	} else {
		n = nil
	}
	if !who.follows {
		c.leave(who.person, n)
	}
	if n == nil {
		if c.full(who) {
			return nil, errCounting
		}
		n = c.begin(who.org, question, seq, do)
	}
	if !n.ended() {
		n.wait[who.person], n.asked = true, time.Now()
		n.lonely.Reset(unasked)
	}
	return n, nil
}

// leave has a person wait for no count but one; what nobody waits for ends.
func (c *counts) leave(person syncengine.ID, but *count) {
	for _, n := range c.kept {
		if n == but || n.ended() || !n.wait[person] {
			continue
		}
		delete(n.wait, person)
		if len(n.wait) == 0 {
			c.forget(n)
			n.end(errUnasked)
		}
	}
}

// full reports whether no other may be begun.
func (c *counts) full(who asker) bool {
	all, org := 0, 0
	for _, n := range c.kept {
		if n.ended() {
			continue
		}
		if n.wait[who.person] {
			return true
		}
		all++
		if n.org == who.org {
			org++
		}
	}
	return all >= mostCounting || org >= mostOfOrg
}

func (c *counts) begin(org syncengine.ID, question string, seq uint64, do counter) *count {
	var oldest *count
	for _, n := range c.kept {
		if n.ended() && (oldest == nil || n.used.Before(oldest.used)) {
			oldest = n
		}
	}
	if oldest != nil && len(c.kept) >= mostCounted {
		c.forget(oldest)
	}
	ctx, end := context.WithCancelCause(c.ending)
	n := &count{question: question, org: org, done: make(chan struct{}), begun: c.now(), used: c.now(), seq: seq, wait: map[syncengine.ID]bool{}, end: end}
	n.lonely = time.AfterFunc(unasked, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !n.ended() && time.Since(n.asked) >= unasked {
			c.forget(n)
			end(errUnasked)
		}
	})
	c.kept[question] = n
	go c.make(ctx, n, do)
	return n
}

// forget drops an answer, so that the next who asks has it counted again. mu is held.
func (c *counts) forget(n *count) {
	if c.kept[n.question] == n {
		delete(c.kept, n.question)
	}
}

// make counts, when its turn has come. It goes on without the page that asked.
func (c *counts) make(ctx context.Context, n *count, do counter) {
	defer close(n.done)
	defer n.end(nil)
	defer n.lonely.Stop()
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		n.err = context.Cause(ctx)
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, longest, errCountLong)
	defer cancel()
	// What does not heed its end is left alone: its turn is the next one's.
	made := make(chan tally, 1)
	go func() { made <- c.tally(ctx, n, do) }()
	select {
	case n.tally = <-made:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		n.value, n.err = nil, context.Cause(ctx)
	}
}

// tally is what do makes.
func (c *counts) tally(ctx context.Context, n *count, do counter) (made tally) {
	defer func() {
		// It is on no request's own goroutine: a record that nobody can read ends no server.
		if fault := recover(); fault != nil {
			c.log.Error().Str("panic", fmt.Sprintf("%T", fault)).Bytes("stack", debug.Stack()).Msg("counting failed")
			made.err = errors.New("counting failed")
		}
	}()
	made.value, made.err = do(ctx, &n.read)
	return made
}
