package client

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// A sync with nothing to say is one request. restBytes is what it may take on the wire
// both ways, headers and proofs among them: less than two seconds at 9.6 kbit/s.
const restBytes = 2000

// countedConn counts the bytes of a connection.
type countedConn struct {
	net.Conn

	n *atomic.Int64
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// TestAtRest: at rest nothing more is sent, in either direction, and what a sync takes
// then does not grow with what the device holds or has sent.
func TestAtRest(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	var wire atomic.Int64
	counted := func(opts *Options) {
		opts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &countedConn{conn, &wire}, nil
		}
	}
	c, other := o.enrol(o.clinician, t.TempDir(), counted), o.enrol(o.second, t.TempDir())
	head := func() (h syncengine.HistoryHead) {
		t.Helper()
		if err := o.st.Read(t.Context(), o.org.ID, func(view syncengine.ServerView) (err error) {
			h, err = view.Head()
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return h
	}
	// least is the smallest sync at each size: headers are packed by what went before.
	var least []int64
	for _, records := range []int{1, 200, 600} {
		for i := range records {
			who := c
			if i%2 == 1 {
				who = other
			}
			create(t, who, &tandemv1.Incident{CallType: new("welfare_check"), Number: new(fmt.Sprintf("%d-%d", records, i)), NotesOps: new("words that take some room")})
		}
		for range 2 {
			mustSync(t, other)
			mustSync(t, c)
		}
		stood, smallest := head(), int64(0)
		for range 5 {
			before := wire.Load()
			m := mustSync(t, c)
			took := wire.Load() - before
			if m.Requests != 1 || m.Rows != 0 || m.Applied+m.NotAccepted != 0 || m.Cuts != 0 {
				t.Errorf("%d records: a sync at rest moved %+v", records, m)
			}
			if took > restBytes {
				t.Errorf("%d records: a sync at rest takes %d bytes", records, took)
			}
			if smallest == 0 || took < smallest {
				smallest = took
			}
		}
		least = append(least, smallest)
		if head() != stood {
			t.Errorf("%d records: the history went on at rest", records)
		}
	}
	if first, last := least[0], least[len(least)-1]; first == 0 || last > first+first/4 {
		t.Errorf("a sync at rest takes %v bytes on the wire: it grows with what is held", least)
	}
	t.Logf("a sync at rest takes %v bytes on the wire", least)
	// What does move is seen.
	create(t, other, &tandemv1.Incident{CallType: new("welfare_check")})
	mustSync(t, other)
	if m := mustSync(t, c); m.Rows != 1 || m.Cuts != 1 {
		t.Errorf("a new record: %+v", m)
	}
}
