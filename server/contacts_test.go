package server_test

import (
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
)

// How a device stood outlives the server's process, and other servers hear of it; since when
// it has unsent changes is not forgotten by a restart, nor is a device that is gone for long.
func TestContacts(t *testing.T) { each(t, testContacts) }

func testContacts(t *testing.T, on engine) {
	w := newWorld(t, on, 97)
	d, other := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	waits := &tandemv1.SyncRequest{OldestKept: d.op + 1, NewestOp: d.op + 3}
	d.must(waits)
	began := w.clock()
	other.must(&tandemv1.SyncRequest{SealKey: 1, WallMs: w.clock().Add(time.Hour).UnixMilli()})
	shared := func() {
		t.Helper()
		if err := w.srv.ShareContacts(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	is := func(of *device, at, since time.Time, unsent uint64, ahead time.Duration) {
		t.Helper()
		got := w.srv.Seen(w.org.ID)[of.replica]
		if !got.At.Equal(at) || got.Unsent != unsent || !got.Since.Equal(since) || got.Ahead != ahead {
			t.Errorf("it stands as %+v; at %v with %d since %v, %v ahead is right", got, at, unsent, since, ahead)
		}
	}
	is(d, began, began, 3, 0)
	shared()

	w.pass(48 * time.Hour)
	w.restart(func() {})
	if got := w.srv.Seen(w.org.ID); len(got) != 0 {
		t.Fatalf("a new process has heard of %v", got)
	}
	// It is there again before the new process has read what was noted.
	d.connect(w.http.URL)
	_, _ = d.sync.Sync(t.Context(), waits)
	d.must(waits)
	shared()
	is(d, w.clock(), began, 3, 0)
	is(other, began, time.Time{}, 0, time.Hour)
	if seen := w.srv.Seen(w.org.ID); seen[d.replica].Sealed || !seen[other.replica].Sealed {
		t.Error("which of them keeps what is unsent sealed is forgotten")
	}
	shared()
	noted := must[[]store.Contact](t)(w.s.Contacts(t.Context(), w.org.ID))
	if len(noted) != 2 {
		t.Errorf("%v are noted", noted)
	}

	// What it had is sent, which ends that: at this server, then at the next.
	w.pass(time.Minute)
	d.must(&tandemv1.SyncRequest{})
	is(d, w.clock(), time.Time{}, 0, 0)
	shared()
	w.pass(31 * 24 * time.Hour)
	w.restart(func() {})
	shared()
	is(d, w.clock().Add(-31*24*time.Hour), time.Time{}, 0, 0)
}
