package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// Who is written down on a record is read with it, in whatever way it is read, until nobody
// is any more.
func TestCoAuthorsAreKept(t *testing.T) { each(t, testCoAuthorsAreKept) }

func testCoAuthorsAreKept(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 38)
	first, second := w.id(), w.id()
	w.applied(w.push(w.creation(w.staff, first, w.encounter()), w.creation(w.staff, second, w.encounter())))
	for _, want := range [][]syncengine.ID{{{1}, {2}}, {{3}}, nil} {
		w.write(func(tx *store.Tx) error {
			old, err := tx.Record(first)
			if err != nil {
				return err
			}
			next := *old
			next.CoAuthors = want
			return tx.SaveRecord(&next)
		})
		if err := w.s.Close(); err != nil {
			t.Fatal(err)
		}
		w.open()
		read := func(v syncengine.ServerView) {
			for id, want := range map[syncengine.ID][]syncengine.ID{first: want, second: nil} {
				rec, err := v.Record(id)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, rec.CoAuthors); diff != "" {
					t.Errorf("%s:\n%s", id, diff)
				}
			}
		}
		if err := w.s.Read(t.Context(), w.org.ID, func(v syncengine.ServerView) error {
			read(v)
			// By page it is the same.
			pages(t, w, v)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		w.write(func(tx *store.Tx) error {
			read(tx)
			return nil
		})
	}
	w.verified()
}
