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
)

// Bounds of what is counted: reports of metrics read every record.
const (
	// fresh is for how long a count is good where the database has moved on.
	fresh = 10 * time.Minute
	// mostCounting are under way or wait for their turn, one after another; mostCounted are
	// kept.
	mostCounting = 8
	mostCounted  = 24
)

// errCounting says that too much is being counted.
var errCounting = errors.New("too many reports are being counted")

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

// count is one question with its answer, once done is closed.
type count struct {
	done chan struct{}
	// read counts records, for who waits.
	read  atomic.Int64
	begun time.Time
	// seq is the state that was there when it began, used when somebody asked last.
	seq  uint64
	used time.Time

	value any
	err   error
}

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
func (c *counts) of(ctx context.Context, question string, seq uint64, anew bool, do func(context.Context, *atomic.Int64) (any, error)) (*count, error) {
	n, err := c.find(question, seq, anew, do)
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
	if n.ended() && n.err != nil {
		c.forget(question, n)
		return nil, n.err
	}
	return n, nil
}

func (c *counts) find(question string, seq uint64, anew bool, do func(context.Context, *atomic.Int64) (any, error)) (*count, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if n := c.kept[question]; n != nil && (!n.ended() || n.seq == seq || !anew && now.Sub(n.begun) < fresh) {
		n.used = now
		return n, nil
	}
	open, oldest := 0, ""
	for key, n := range c.kept {
		if !n.ended() {
			open++
		} else if oldest == "" || n.used.Before(c.kept[oldest].used) {
			oldest = key
		}
	}
	if open >= mostCounting {
		return nil, errCounting
	}
	if len(c.kept) >= mostCounted {
		delete(c.kept, oldest)
	}
	n := &count{done: make(chan struct{}), begun: now, used: now, seq: seq}
	c.kept[question] = n
	go c.make(n, do)
	return n, nil
}

// forget drops an answer, so that the next who asks has it counted again.
func (c *counts) forget(question string, n *count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept[question] == n {
		delete(c.kept, question)
	}
}

// make counts, when its turn has come. It goes on without the page that asked.
func (c *counts) make(n *count, do func(context.Context, *atomic.Int64) (any, error)) {
	defer close(n.done)
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-c.ending.Done():
		n.err = c.ending.Err()
		return
	}
	defer func() {
		// It is on no request's own goroutine: a record that nobody can read ends no server.
		if fault := recover(); fault != nil {
			c.log.Error().Str("panic", fmt.Sprintf("%T", fault)).Bytes("stack", debug.Stack()).Msg("counting failed")
			n.err = errors.New("counting failed")
		}
	}()
	n.value, n.err = do(c.ending, &n.read)
}
