package store

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// channel is that on which processes tell each other of commits.
const channel = "tandem"

// maxMessage is the longest message, in bytes; PostgreSQL takes 8000.
const maxMessage = 7900

// Bounds of a messenger: what waits to be told, how long it tries at the end, and how
// long it waits before it listens again.
const (
	maxMessages = 256
	lastWords   = 2 * time.Second
	listenAgain = 500 * time.Millisecond
)

// message tells that the commits of an org after from up to seq touched some scopes;
// nil: not known which.
type message struct {
	org       syncengine.ID
	from, seq uint64
	touched   map[syncengine.ScopeKey]bool
}

// messenger tells other processes of the commits of this one, and hears of theirs. Its
// word is a hint: one that is lost costs the time until the next poll and nothing else.
// It speaks after a commit and outside of it, since PostgreSQL lets transactions that
// notify commit only one after another. Safe for concurrent use.
type messenger struct {
	s      *Store
	config *pgx.ConnConfig
	// self is how this process calls itself.
	self string

	mu      sync.Mutex
	waiting []message
	wake    chan struct{}
	talking bool
	// mouth is the sender's own.
	mouth *pgx.Conn
}

func newMessenger(s *Store, config *pgx.ConnConfig) *messenger {
	return &messenger{s: s, config: config, wake: make(chan struct{}, 1)}
}

// tell sends word of commits, soon.
func (m *messenger) tell(org syncengine.ID, from, seq uint64, touched map[syncengine.ScopeKey]bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(message{org, from, seq, touched})
	if !m.talking {
		m.s.mu.Lock()
		defer m.s.mu.Unlock()
		if m.s.closed {
			return // close sends it.
		}
		m.talking = true
		m.s.done.Go(m.talk)
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// add puts a message behind those that wait, or into the last of them where it goes
// on from there.
func (m *messenger) add(next message) {
	if n := len(m.waiting); n > 0 && m.waiting[n-1].org == next.org && m.waiting[n-1].seq == next.from {
		last := &m.waiting[n-1]
		last.seq = next.seq
		if next.touched == nil {
			last.touched = nil
		}
		if last.touched != nil {
			for k := range next.touched {
				last.touched[k] = true
			}
		}
		return
	}
	if len(m.waiting) == maxMessages {
		m.waiting = m.waiting[1:]
	}
	m.waiting = append(m.waiting, next)
}

func (m *messenger) talk() {
	ctx, cancel := m.s.untilClosed()
	defer cancel()
	for {
		select {
		case <-m.wake:
			m.send(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// send sends what waits. What cannot be sent is dropped.
func (m *messenger) send(ctx context.Context) {
	m.mu.Lock()
	waiting := m.waiting
	m.waiting = nil
	m.mu.Unlock()
	for _, w := range waiting {
		if m.mouth == nil || m.mouth.IsClosed() {
			c, err := pgx.ConnectConfig(ctx, m.config)
			if err != nil {
				return
			}
			m.mouth = c
		}
		if _, err := m.mouth.Exec(ctx, "SELECT pg_notify($1, $2)", channel, m.format(w)); err != nil {
			return
		}
	}
}

// close sends what still waits. Nobody tells or listens any more.
func (m *messenger) close() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.s.writer.ctx), lastWords)
	defer cancel()
	m.send(ctx)
	if m.mouth != nil {
		_ = m.mouth.Close(ctx)
	}
}

// listen hears what other processes tell, until the store closes.
func (m *messenger) listen() {
	ctx, cancel := m.s.untilClosed()
	defer cancel()
	for ctx.Err() == nil {
		// What was told meanwhile was missed.
		if err := m.hear(ctx); err == nil || ctx.Err() != nil {
			return
		}
		select {
		case <-time.After(listenAgain):
		case <-ctx.Done():
		}
	}
}

// hear listens on one connection until it breaks.
func (m *messenger) hear(ctx context.Context) error {
	c, err := pgx.ConnectConfig(ctx, m.config)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		_ = c.Close(closing)
	}()
	if _, err := c.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	// What was told before is found by looking.
	if err := m.s.pollOnce(); err != nil {
		return err
	}
	for {
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		if w, ok := m.parse(n.Payload); ok {
			m.s.watch.tell(w.org, w.from, w.seq, w.touched)
		}
	}
}

// scopeSize is the length of a scope in a message.
const scopeSize = 19

// format writes a message: who speaks, the org, from, seq, and the scopes or "*".
func (m *messenger) format(w message) string {
	head := fmt.Sprintf("%s %s %d %d ", m.self, w.org, w.from, w.seq)
	if w.touched == nil || len(head)+base64.RawStdEncoding.EncodedLen(scopeSize*len(w.touched)) > maxMessage {
		return head + "*"
	}
	scopes := make([]byte, 0, scopeSize*len(w.touched))
	for k := range w.touched {
		scopes = append(scopes, byte(k.Owner))
		scopes = append(scopes, k.OwnerID[:]...)
		scopes = append(scopes, byte(k.Compartment), 0)
		if k.Open {
			scopes[len(scopes)-1] = 1
		}
	}
	return head + base64.RawStdEncoding.EncodeToString(scopes)
}

// parse is the inverse of format; false for what this process has told itself, and for
// what is no message.
func (m *messenger) parse(text string) (w message, ok bool) {
	parts := strings.Split(text, " ")
	if len(parts) != 5 || parts[0] == m.self {
		return w, false
	}
	var errs [3]error
	w.org, errs[0] = syncengine.ParseID(parts[1])
	w.from, errs[1] = strconv.ParseUint(parts[2], 10, 64)
	w.seq, errs[2] = strconv.ParseUint(parts[3], 10, 64)
	if errs != [3]error{} {
		return w, false
	}
	if parts[4] == "*" {
		return w, true
	}
	scopes, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil || len(scopes)%scopeSize != 0 {
		return w, false
	}
	w.touched = map[syncengine.ScopeKey]bool{}
	for ; len(scopes) > 0; scopes = scopes[scopeSize:] {
		w.touched[syncengine.ScopeKey{
			Owner: syncengine.OwnerKind(scopes[0]), OwnerID: syncengine.ID(scopes[1:17]),
			Compartment: tandemv1.Compartment(scopes[17]), Open: scopes[18] == 1,
		}] = true
	}
	return w, true
}

// introduce gives the process a name of chance.
func (m *messenger) introduce(rand io.Reader) error {
	var name [8]byte
	_, err := io.ReadFull(rand, name[:])
	m.self = hex.EncodeToString(name[:])
	return err
}

// untilClosed returns a context that ends when the store closes.
func (s *Store) untilClosed() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(s.writer.ctx)
	go func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
