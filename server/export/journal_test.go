package export_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// TestJournal: an export that is broken off again and again in the middle of a kind makes no more
// records anew than those after the place that was kept last, and its files are the same bytes as
// of one that nothing happened to.
func TestJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite)
	const people = 25_000
	w.fill(people)
	for _, format := range []string{export.CSV, export.FHIR} {
		t.Run(format, func(t *testing.T) {
			w.t = t
			o := w.options()
			o.Format, o.BOM, o.Labels = format, true, "es"
			dir, m := w.write(o)
			want := w.files(dir)
			var kept *export.Kept
			read, places := 0, 0
			o.Whole, o.Progress = asWritten, func(n int) { read += n }
			o.Keep = func(k *export.Kept) error {
				if kept = k; k.Within != nil {
					places++
					return errHalfway
				}
				return nil
			}
			to := filepath.Join(t.TempDir(), "out")
			err := errHalfway
			for tries := 0; errors.Is(err, errHalfway) && tries < 9; tries++ {
				o.Kept = kept
				_, err = export.Write(t.Context(), w.s, w.org, to, o)
			}
			w.ok(err)
			if places != people/10_000 || read != int(m.Records) {
				t.Errorf("%d places kept, %d records made for %d", places, read, m.Records)
			}
			if diff := cmp.Diff(want, w.files(to)); diff != "" {
				t.Error("the files differ")
			}
		})
	}
}

// TestJournalPartNotKept: where the end of a part could not be kept its journal is there still, from
// which the next attempt goes on.
func TestJournalPartNotKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite)
	w.fill(12_000)
	o := w.options()
	dir, m := w.write(o)
	var kept *export.Kept
	read, failed := 0, false
	o.Whole, o.Progress = asWritten, func(n int) { read += n }
	o.Keep = func(k *export.Kept) error {
		if k.Parts == 1 && !failed {
			failed = true
			return errHalfway
		}
		now := *k
		kept = &now
		return nil
	}
	to := filepath.Join(t.TempDir(), "out")
	if _, err := export.Write(t.Context(), w.s, w.org, to, o); !errors.Is(err, errHalfway) || kept.Within == nil {
		t.Fatalf("%v: %+v", err, kept)
	}
	o.Kept = kept
	_, err := export.Write(t.Context(), w.s, w.org, to, o)
	w.ok(err)
	if again := read - int(m.Records); again > 2500 {
		t.Errorf("%d records made again", again)
	}
	if diff := cmp.Diff(w.files(dir), w.files(to)); diff != "" {
		t.Error("the files differ")
	}
}

// TestJournalNoRoom: where there is no room for a journal beside the files a part is made without
// one.
func TestJournalNoRoom(t *testing.T) {
	w := newWorld(t, storetest.SQLite)
	w.fill(10_500)
	o := w.options()
	dir, _ := w.write(o)
	to, parts := filepath.Join(t.TempDir(), "out"), 0
	o.Keep = func(k *export.Kept) error {
		if k.Within != nil {
			t.Error("kept its place")
		}
		if parts = k.Parts; parts == 0 {
			export.NoRoom(t)
		}
		return nil
	}
	_, err := export.Write(t.Context(), w.s, w.org, to, o)
	w.ok(err)
	if parts == 0 {
		t.Error("no part was kept")
	}
	if diff := cmp.Diff(w.files(dir), w.files(to)); diff != "" {
		t.Error("the files differ")
	}
}

// fill keeps many people.
func (w *world) fill(people int) {
	w.t.Helper()
	msg := w.person(0, nasty)
	body, err := record.New().Body(msg)
	w.ok(err)
	w.ok(w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		for n := range people {
			id := syncengine.ID{9, 0, byte(n >> 8), byte(n)}
			if err := w.save(tx, &tandemv1.RecordWrite{Record: id[:], Kind: record.New().KindOf(msg).Number, Act: tandemv1.Act_ACT_CREATE, Body: body}); err != nil {
				return err
			}
		}
		return nil
	}))
}
