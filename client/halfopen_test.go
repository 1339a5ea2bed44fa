package client

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// tunnel dials, and lets every connection that there is go silent: nothing that is
// written arrives, nothing comes, and neither end hears of it.
type tunnel struct {
	mu    sync.Mutex
	conns []*silent
}

func (w *tunnel) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s := &silent{Conn: conn, gone: make(chan struct{}), closed: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, s)
	return s, nil
}

// enter makes all connections silent, and returns how many there were.
func (w *tunnel) enter() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		select {
		case <-c.closed:
		default:
			n++
		}
		close(c.gone)
	}
	w.conns = nil
	return n
}

// silent is a connection that may go silent.
type silent struct {
	net.Conn

	once         sync.Once
	gone, closed chan struct{}
}

func (s *silent) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	select {
	case <-s.gone:
		<-s.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (s *silent) Write(p []byte) (int, error) {
	select {
	case <-s.gone:
		return len(p), nil
	default:
		return s.Conn.Write(p)
	}
}

func (s *silent) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Conn.Close()
}

// TestHalfOpen: a connection that has died without a word, as in a tunnel, is found out
// by pings; what is saved meanwhile goes over a new one, long before a request would have
// been given up.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	var w tunnel
	news := make(chan struct{})
	c, e := newEnrolled(t, func(o *Options) {
		o.Dial, o.ping = w.dial, 200*time.Millisecond
	})
	waits := make(chan struct{}, 1)
	e.mu.Lock()
	e.hold = func(req *tandemv1.SyncRequest) {
		if req.GetWaitMs() > 0 {
			select {
			case waits <- struct{}{}:
			default:
			}
			<-news
		}
	}
	e.mu.Unlock()
	over := sync.OnceFunc(func() { close(news) })
	t.Cleanup(over)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	<-waits
	if w.enter() == 0 {
		t.Fatal("there is no connection")
	}
	create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		st, err := c.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if st.Queued == 0 {
			break
		}
		if time.Since(began) > slack/2 {
			t.Fatal("the save is on its way through a connection that has died")
		}
	}
	stop()
	over()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
