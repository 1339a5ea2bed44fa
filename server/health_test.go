package server_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/gen/tandem/v1/tandemv1connect"
	"github.com/tandem-response/tandem/internal/faultfs"
	"github.com/tandem-response/tandem/internal/vfs"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
)

// asked is the answer of a handler's page.
func asked(t *testing.T, url string) (status int, body string, header http.Header) {
	t.Helper()
	resp, err := http.DefaultClient.Do(must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text := must[[]byte](t)(io.ReadAll(resp.Body))
	return resp.StatusCode, string(text), resp.Header
}

// Before its server is there a front says so: the process lives, it is not ready, and a
// device is told to come back, by what it takes for a server's own word.
func TestFrontBeforeItsServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite, 100)
	d := w.enrolled(1, w.clinician)
	front := server.NewFront(server.FrontOptions{})
	l := listen(t)
	ctx, end := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := front.Serve(ctx, l, nil); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer end()
	url := "http://" + l.Addr().String()
	if code, _, h := asked(t, url+"/healthz"); code != http.StatusNoContent || h.Get(server.SchemaHeader) == "" {
		t.Errorf("/healthz: %d, %v", code, h)
	}
	if code, body, _ := asked(t, url+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, `"ready":false`) || !strings.Contains(body, "brought up to date") {
		t.Errorf("/readyz: %d, %s", code, body)
	}
	d.connect(url)
	if _, err := d.call(t.Context(), &tandemv1.SyncRequest{}); err == nil || !strings.Contains(err.Error(), "starting") || d.way.last.Get("Retry-After") == "" || d.way.last.Get(server.SchemaHeader) == "" {
		t.Errorf("a device is told %v, %v", err, d.way.last)
	}
	if err := front.Open(t.Context(), w.srv); err != nil {
		t.Fatal(err)
	}
	if code, body, _ := asked(t, url+"/readyz"); code != http.StatusOK {
		t.Errorf("/readyz: %d, %s", code, body)
	}
	_, _ = d.call(t.Context(), &tandemv1.SyncRequest{})
	if _, err := d.call(t.Context(), &tandemv1.SyncRequest{}); err != nil {
		t.Error(err)
	}
}

// A server whose disk is full is not ready, says why, and is ready again when there is
// room.
func TestNotReadyOnAFullDisk(t *testing.T) {
	t.Parallel()
	disk := faultfs.New(1)
	mount, err := vfs.New(disk)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mount.Close)
	st, err := store.Open(mount.Use(t.Context()), t.TempDir(), store.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	if _, err := st.CreateOrg(t.Context(), "Example County"); err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(st, server.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		faults faultfs.Faults
		status int
		says   string
	}{
		{faultfs.Faults{}, http.StatusOK, `{"ready":true}`},
		{faultfs.Faults{FailAt: 1, FailFor: 1 << 30, Err: syscall.ENOSPC}, http.StatusServiceUnavailable, "the disk is full: free some space"},
		{faultfs.Faults{FailAt: 1, FailFor: 1 << 30, Err: syscall.EIO}, http.StatusServiceUnavailable, "cannot be written"},
		{faultfs.Faults{}, http.StatusOK, `{"ready":true}`},
	} {
		disk.Set(tc.faults)
		server.ProbeAnew(srv)
		got := recorded(t, srv, "/readyz")
		if got.Code != tc.status || !strings.Contains(got.Body.String(), tc.says) || (got.Header().Get("Retry-After") == "") != (tc.status == http.StatusOK) {
			t.Errorf("with %+v: %d, %s", tc.faults, got.Code, got.Body)
		}
	}
}

// recorded is what a handler answers.
func recorded(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w
}

// What is under way when the server is stopped is finished: who waits for news is
// answered, a push in the middle of its commit is acknowledged, and meanwhile the server
// says that it is ending.
func TestGracefulEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite, 102)
	waiter, pusher := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	front := server.NewFront(server.FrontOptions{Grace: time.Minute})
	if err := front.Open(t.Context(), w.srv); err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- front.Serve(ctx, l, nil) }()
	for _, d := range []*device{waiter, pusher} {
		d.connect("http://" + l.Addr().String())
		_, _ = d.call(t.Context(), &tandemv1.SyncRequest{})
	}
	reading, _ := waiter.read()
	reading.WaitMs = 50_000
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
	answered := make(chan error, 1)
	go func() {
		_, err := waiter.call(t.Context(), reading)
		answered <- err
	}()
	push := pusher.push(pusher.creation(encounter(w, "at the end")))
	wg.Go(func() {
		answer, err := pusher.call(t.Context(), push)
		if err != nil || len(answer.GetOutcomes()) != 1 {
			t.Errorf("a push under way when the server ends: %v, %v", answer.GetOutcomes(), err)
		}
	})
	// One waits for news, one for its commit.
	for open, working := 0, 0; open != 2 || working != 1; open, _, working, _ = server.Under(w.srv) {
		time.Sleep(time.Millisecond)
	}
	end()
	if err := <-answered; err != nil {
		t.Errorf("who waited for news: %v", err)
	}
	ops := recorded(t, front.Operations(), "/readyz")
	if ops.Code != http.StatusServiceUnavailable || !strings.Contains(ops.Body.String(), "ending") {
		t.Errorf("/readyz: %d, %s", ops.Code, ops.Body)
	}
	select {
	case err := <-served:
		t.Errorf("it has ended with a push under way: %v", err)
	default:
	}
	close(release)
	wg.Wait()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// A request that takes longer than it may does not keep a server from ending.
func TestEndHasADeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite, 103)
	d := w.enrolled(1, w.clinician)
	front := server.NewFront(server.FrontOptions{Grace: 50 * time.Millisecond, Log: zerolog.New(w.log)})
	if err := front.Open(t.Context(), w.srv); err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- front.Serve(ctx, l, nil) }()
	d.connect("http://" + l.Addr().String())
	_, _ = d.call(t.Context(), &tandemv1.SyncRequest{})
	drip, pipe := io.Pipe()
	defer pipe.Close()
	go func() { _, _ = pipe.Write([]byte("x")) }()
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+l.Addr().String()+tandemv1connect.SyncServiceSyncProcedure, drip))
	req.Header.Set("Content-Type", "application/proto")
	go func() {
		if resp, err := d.way.RoundTrip(req); err == nil {
			_ = resp.Body.Close()
		}
	}()
	for open := 0; open != 1; open, _, _, _ = server.Under(w.srv) {
		time.Sleep(time.Millisecond)
	}
	end()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if !strings.Contains(w.log.String(), "broken off") {
		t.Errorf("the log says nothing of it: %s", w.log)
	}
}
