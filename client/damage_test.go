package client

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/faultfs"
	"github.com/tandem-response/tandem/syncengine"
)

// Damage to what a person wrote, in the records or in the changes that wait, is
// found wherever it lies: by verify, or sooner. None of it reaches the server.
func TestDamage(t *testing.T) {
	t.Parallel()
	w := newDisked(t)
	ctx := t.Context()
	l := w.start(w.device.Copy(1), w.server.Copy(1), 1)
	const marker = "what-a-person-wrote"
	var ids []syncengine.ID
	save := func() {
		ids = append(ids, create(t, l.c, &tandemv1.Incident{CallType: new("outreach"), NotesOps: new(marker + strings.Repeat(" more", 60))}))
	}
	for range 24 {
		save()
	}
	_, err := l.c.Sync(ctx)
	w.must(err)
	w.must(l.c.Close())
	device, srv := l.device, l.server
	path := filepath.Join(w.dir, databaseFile)
	older, err := device.Read(path)
	w.must(err)
	w.must(l.open(2))
	for range 12 {
		save()
	}
	v, err := l.c.Get(ctx, ids[0])
	w.must(err)
	_, err = l.c.Edit(ctx, func(e *Edit) error {
		msg := as[*tandemv1.Incident](t, v)
		msg.NotesOps = new(marker + " again")
		return e.Set(v, msg)
	})
	w.must(err)
	w.must(l.stop())
	now, err := device.Read(path)
	w.must(err)

	damaged := map[string]*faultfs.Disk{}
	for at := 0; ; {
		i := bytes.Index(now[at:], []byte(marker))
		if i < 0 {
			break
		}
		at += i + len(marker)
		d := device.Copy(uint64(at))
		w.must(d.Flip(path, int64(at-3)*8+int64(at%8)))
		damaged[fmt.Sprintf("a bit of byte %d", at-3)] = d
	}
	flips := len(damaged)
	const page = 8192
	for at := 0; at+page <= len(older); at += page {
		was, is := older[at:at+page], now[at:at+page]
		// Only pages that are still what they were: of records and of changes.
		if bytes.Equal(was, is) || was[0] != is[0] || !bytes.Contains(is, []byte(marker)) {
			continue
		}
		d := device.Copy(uint64(at))
		w.must(d.Swap(path, int64(at), was))
		damaged[fmt.Sprintf("an older page %d", at/page+1)] = d
	}
	if flips < 30 || len(damaged) == flips {
		t.Fatalf("%d flips, %d older pages", flips, len(damaged)-flips)
	}
	for what, d := range damaged {
		if err := w.findsDamage(d, srv.Copy(1), ids); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	t.Logf("%d flipped bits and %d older pages, all found", flips, len(damaged)-flips)
}

// findsDamage opens, verifies and syncs a damaged store.
func (w *disked) findsDamage(device, srv *faultfs.Disk, ids []syncengine.ID) error {
	ctx := w.tb.Context()
	l, err := w.tryStart(device, srv, 4)
	if err != nil {
		if errors.Is(err, ErrDamaged) {
			return nil
		}
		return fmt.Errorf("opening: %w", err)
	}
	defer func() { _ = l.stop() }()
	v, err := l.c.Verify(ctx)
	switch {
	case err != nil && !errors.Is(err, ErrDamaged):
		return fmt.Errorf("verify: %w", err)
	case err == nil && v.OK():
		return errors.New("verify finds nothing")
	case err == nil && slices.ContainsFunc(v.Faults, func(f string) bool { return strings.Contains(f, "person-wrote") }):
		return fmt.Errorf("the report holds what was typed: %q", v.Faults)
	}
	if _, err := l.c.Sync(ctx); err != nil && !errors.Is(err, ErrDamaged) {
		return fmt.Errorf("sync: %w", err)
	}
	r, err := l.st.Verify(ctx, w.org)
	if err != nil || len(r.Faults) > 0 {
		return fmt.Errorf("the server: %q, %w", r.Faults, err)
	}
	return l.st.Read(ctx, w.org, func(view syncengine.ServerView) error {
		for _, id := range ids {
			rec, err := view.Record(id)
			if err != nil {
				return err
			}
			if rec != nil && !bytes.Contains(rec.Body, []byte("what-a-person-wrote")) {
				return fmt.Errorf("record %s reached the server damaged", id)
			}
		}
		return nil
	})
}
