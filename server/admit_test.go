package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/gen/tandem/v1/tandemv1connect"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// posted is an answer to a request of bytes.
type posted struct {
	status int
	header http.Header
	text   []byte
}

// post posts a body to the sync service, signed by the device.
func (d *device) post(ctx context.Context, body io.Reader, length int64, header ...string) (*posted, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.w.http.URL+tandemv1connect.SyncServiceSyncProcedure, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = length
	req.Header.Set("Content-Type", "application/proto")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := d.way.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return &posted{resp.StatusCode, resp.Header, text}, err
}

// bounded puts a server with other bounds in the place of the world's.
func (w *world) bounded(bounds server.Admission) {
	w.t.Helper()
	w.srv.End()
	w.http.Close()
	w.startWith(bounds)
}

// http1 lets the device speak HTTP/1.1.
func (d *device) http1() {
	t := &http.Transport{ExpectContinueTimeout: time.Hour}
	d.w.t.Cleanup(t.CloseIdleConnections)
	d.way.base = t
}

// A server that has no room refuses before it has read anything of the body, and says
// when to come back.
func TestRefusalComesBeforeTheBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite, 90)
	first, second := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	w.bounded(server.Admission{Open: 1})
	for _, d := range []*device{first, second} {
		d.http1()
		d.connect(w.http.URL)
		_, _ = d.sync.Sync(t.Context(), &tandemv1.SyncRequest{})
	}
	waiting, answered := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer answered()
	wg.Go(func() { _, _ = first.call(waiting, &tandemv1.SyncRequest{WaitMs: 40_000}) })
	for open := 0; open != 1; open, _, _, _ = server.Under(w.srv) {
		time.Sleep(time.Millisecond)
	}
	body := &watched{Reader: strings.NewReader(strings.Repeat("x", 1000))}
	resp, err := second.post(t.Context(), body, 1000, "Expect", "100-continue")
	if err != nil {
		t.Fatal(err)
	}
	seconds, err := strconv.Atoi(resp.header.Get("Retry-After"))
	if resp.status != http.StatusServiceUnavailable || err != nil || seconds < 1 || resp.header.Get(server.SchemaHeader) == "" {
		t.Errorf("got %d with %v", resp.status, resp.header)
	}
	if n := body.n.Load(); n > 0 {
		t.Errorf("%d bytes of the body were read", n)
	}
	answered()
	wg.Wait()
	for open := 1; open != 0; open, _, _, _ = server.Under(w.srv) {
		time.Sleep(time.Millisecond)
	}
	if _, err := second.call(t.Context(), &tandemv1.SyncRequest{}); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
}

// watched counts what is read of it.
type watched struct {
	io.Reader

	n atomic.Int64
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.n.Add(int64(n))
	return n, err
}

// Pushes that wait behind a commit that takes long are told to come back, each at
// another time; what was told so has not been done, and is done later.
func TestOverloadSaysWhenToComeBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite, 91)
	var devices []*device
	for i := range 12 {
		devices = append(devices, w.enrolled(byte(i+1), []syncengine.ID{w.clinician, w.second}[i%2]))
	}
	w.bounded(server.Admission{Working: 2, Queue: 50 * time.Millisecond})
	for _, d := range devices {
		d.connect(w.http.URL)
		_, _ = d.sync.Sync(t.Context(), &tandemv1.SyncRequest{})
	}
	stuck, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.s.Write(t.Context(), w.org.ID, 1, func(*store.Tx) error {
			close(stuck)
			<-release
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	<-stuck
	requests := make([]*tandemv1.SyncRequest, len(devices))
	results := make([]error, len(devices))
	for i, d := range devices {
		requests[i] = d.push(d.creation(encounter(w, "x")))
	}
	var refused atomic.Int32
	for i, d := range devices {
		wg.Go(func() {
			if _, results[i] = d.call(t.Context(), requests[i]); results[i] != nil {
				refused.Add(1)
			}
		})
	}
	// Two are worked on; the others cannot have their turn.
	for refused.Load() < int32(len(devices)-2) {
		time.Sleep(time.Millisecond)
	}
	close(release)
	wg.Wait()
	hints := map[string]int{}
	for i, err := range results {
		if err == nil {
			continue
		}
		fault, ok := errors.AsType[*connect.Error](err)
		if !ok || fault.Code() != connect.CodeUnavailable {
			t.Fatalf("device %d: %v", i, err)
		}
		after := fault.Meta().Get("Retry-After")
		if n, err := strconv.Atoi(after); err != nil || n < 1 {
			t.Errorf("device %d is told to come back after %q", i, after)
		}
		hints[after]++
		// It comes back.
		answer, err := devices[i].call(t.Context(), requests[i])
		if err != nil || len(answer.GetOutcomes()) != 1 || answer.GetOutcomes()[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
			t.Errorf("device %d: %v, %v", i, answer.GetOutcomes(), err)
		}
	}
	t.Logf("told to come back: %v", hints)
	checkIdle(t, w)
}

// checkIdle waits until a server has nothing open, and checks that it keeps nothing.
func checkIdle(t *testing.T, w *world) {
	t.Helper()
	open, waiting, working, held := server.Under(w.srv)
	for range 5000 {
		if open == 0 {
			break
		}
		time.Sleep(time.Millisecond)
		open, waiting, working, held = server.Under(w.srv)
	}
	if open != 0 || waiting != 0 || working != 0 || held != 0 {
		t.Errorf("at rest: %d open, %d waiting, %d working, %d bytes", open, waiting, working, held)
	}
}

// Senders that let their headers or bodies drip, and a device that sends as much as it
// can, keep nobody else from their turn although there are few turns.
func TestSlowAndGreedyStarveNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite, 92)
	slow, greedy, honest := w.enrolled(1, w.clinician), w.enrolled(2, w.clinician), w.enrolled(3, w.second)
	w.bounded(server.Admission{Working: 2})
	for _, d := range []*device{slow, greedy, honest} {
		d.connect(w.http.URL)
		_, _ = d.sync.Sync(t.Context(), &tandemv1.SyncRequest{})
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for range 100 {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(w.http.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST "+tandemv1connect.SyncServiceSyncProcedure+" HTTP/1.1\r\nHost: x\r\nX-"); err != nil {
			t.Fatal(err)
		}
	}
	// More than it may have open: the older ones give way.
	slow.http1()
	for range 12 {
		drip, pipe := io.Pipe()
		wg.Go(func() {
			<-ctx.Done()
			_ = pipe.Close()
		})
		wg.Go(func() { _, _ = pipe.Write([]byte("x")) })
		wg.Go(func() { _, _ = slow.post(ctx, drip, 100_000) })
	}
	var changes []*tandemv1.Change
	for range 40 {
		changes = append(changes, greedy.creation(encounter(w, strings.Repeat("much ", 100))))
	}
	much, err := proto.Marshal(greedy.push(changes...))
	if err != nil {
		t.Fatal(err)
	}
	var turns, crowded atomic.Int32
	for range 20 {
		wg.Go(func() {
			for ctx.Err() == nil {
				resp, err := greedy.post(ctx, bytes.NewReader(much), int64(len(much)))
				switch {
				case err != nil:
				case resp.status == http.StatusOK:
					turns.Add(1)
				case resp.status == http.StatusTooManyRequests && resp.header.Get("Retry-After") != "":
					crowded.Add(1)
					time.Sleep(time.Millisecond)
				default:
					t.Errorf("the greedy device is told %d: %s", resp.status, resp.text)
				}
			}
		})
	}
	for turns.Load() == 0 || crowded.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	for n := range 20 {
		answer, err := honest.call(t.Context(), honest.push(honest.creation(encounter(w, fmt.Sprint("save ", n)))))
		if err != nil || len(answer.GetOutcomes()) != 1 {
			t.Fatalf("save %d: %v, %v", n, answer.GetOutcomes(), err)
		}
	}
	if open, _, _, _ := server.Under(w.srv); open > 8*3 {
		t.Errorf("three devices have %d requests open", open)
	}
	stop()
	wg.Wait()
	t.Logf("meanwhile the greedy device had %d turns and was refused %d times", turns.Load(), crowded.Load())
	checkIdle(t, w)
}

// A body that stops coming is given up; one that only comes slowly is not.
func TestBodyThatStopsIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*device){"HTTP/1.1": (*device).http1, "HTTP/2": func(*device) {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sqlite, 93)
			d := w.enrolled(1, w.clinician)
			prepare(d)
			server.SetBodyGrace(w.srv, 200*time.Millisecond)
			whole, err := proto.Marshal(d.push(d.creation(encounter(w, strings.Repeat("long ", 400)))))
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := d.post(t.Context(), &stopping{text: whole[:1000], ctx: t.Context()}, int64(len(whole))); err == nil {
				if resp.status != http.StatusServiceUnavailable {
					t.Errorf("a body that stops: %d", resp.status)
				}
			}
			checkIdle(t, w)
			resp, err := d.post(t.Context(), &stopping{text: whole, ctx: t.Context(), ends: true}, int64(len(whole)))
			if err != nil || resp.status != http.StatusOK {
				t.Errorf("a body that comes: %v, %v", resp, err)
			}
		})
	}
}

// stopping is a body that gives out so much, and then ends or waits.
type stopping struct {
	text []byte
	ctx  context.Context //nolint:containedctx // It is a body.
	ends bool
	once sync.Once
	shut chan struct{}
}

func (s *stopping) Read(p []byte) (int, error) {
	s.once.Do(func() { s.shut = make(chan struct{}) })
	n := copy(p, s.text)
	s.text = s.text[n:]
	switch {
	case n > 0:
		return n, nil
	case s.ends:
		return 0, io.EOF
	}
	select {
	case <-s.ctx.Done():
	case <-s.shut:
	}
	return 0, io.ErrUnexpectedEOF
}

func (s *stopping) Close() error {
	s.once.Do(func() { s.shut = make(chan struct{}) })
	select {
	case <-s.shut:
	default:
		close(s.shut)
	}
	return nil
}
