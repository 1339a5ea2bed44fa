package client

import (
	"errors"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/faultfs"
	"github.com/tandem-response/tandem/syncengine"
)

// With not a byte to spare a closed store is opened, read and verified, and what
// waits goes up; a save is refused in clear words. With room again it all goes on,
// and the room that was given up is kept again.
func TestNoByteToSpare(t *testing.T) {
	t.Parallel()
	w := newDisked(t)
	ctx := t.Context()
	l := w.start(w.device.Copy(1), w.server.Copy(1), 1)
	var ids []syncengine.ID
	for range 40 {
		ids = append(ids, create(t, l.c, &tandemv1.Incident{CallType: new("outreach"), NotesOps: new("Waits to be sent.")}))
	}
	srv := l.server
	device := l.device
	w.must(l.stop())

	full := device.Copy(2)
	full.Set(faultfs.Faults{Limit: full.Used()})
	l = w.start(full, srv, 2)
	if s := mustStatus(t, l.c); s.Queued != len(ids) {
		t.Errorf("%d saves wait, want %d", s.Queued, len(ids))
	}
	mustVerify(t, l.c)
	if _, err := l.c.Sync(ctx); err != nil && !errors.Is(err, ErrDiskFull) {
		t.Fatalf("sync on a full disk: %v", err)
	}
	for _, id := range ids {
		mustGet(t, l.c, id)
	}
	if s := mustStatus(t, l.c); s.Queued != 0 {
		t.Errorf("%d saves still wait", s.Queued)
	}
	err := w.fillUp(l)
	if !errors.Is(err, ErrDiskFull) {
		t.Errorf("a save without room: got %v", err)
	}
	if _, err := l.c.Sync(ctx); err != nil && !errors.Is(err, ErrDiskFull) {
		t.Errorf("sync on a full disk: %v", err)
	}
	mustVerify(t, l.c)
	w.must(l.c.Close())

	full.Set(faultfs.Faults{})
	w.must(l.open(3))
	if size, err := full.Size(l.c.store.reserve.path); err != nil || size != reserveSize {
		t.Errorf("the reserve has %d bytes, error %v", size, err)
	}
	s := &shift{l: l, records: ids}
	if what, err := s.whole(ctx); what != "" || err != nil {
		t.Errorf("with room again: %s, error %v", what, err)
	}
	w.must(l.stop())
}

// A disk that fills up while the store is open: the save is refused, the verdicts on
// what was sent are taken in all the same.
func TestFullWhileOpen(t *testing.T) {
	t.Parallel()
	w := newDisked(t)
	l := w.start(w.device.Copy(1), w.server.Copy(1), 1)
	full := l.device
	full.Set(faultfs.Faults{Limit: full.Used() + 600<<10})
	if err := w.fillUp(l); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("a save without room: got %v", err)
	}
	queued := mustStatus(t, l.c).Queued
	if queued == 0 {
		t.Fatal("the disk was full from the start")
	}
	if _, err := full.Size(l.c.store.reserve.path); err != nil {
		t.Errorf("saves have taken the reserve: %v", err)
	}
	if _, err := l.c.Sync(t.Context()); err != nil && !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
	if s := mustStatus(t, l.c); s.Queued != 0 {
		t.Errorf("%d of %d saves still wait", s.Queued, queued)
	}
	mustVerify(t, l.c)
	w.must(l.stop())
}

// fillUp saves until there is no more room, and returns the error.
func (w *disked) fillUp(l *life) error {
	w.tb.Helper()
	for range 5000 {
		_, err := l.c.Edit(w.tb.Context(), func(e *Edit) error {
			_, err := e.Create(&tandemv1.Incident{CallType: new("outreach"), NotesOps: new("Takes up room on the disk, as notes do.")})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
