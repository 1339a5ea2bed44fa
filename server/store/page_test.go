package store_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// sameState compares records without regard to their order.
func sameState(t *testing.T, what string, got, want []*syncengine.StoredRecord) {
	t.Helper()
	byID := func(recs []*syncengine.StoredRecord) []*syncengine.StoredRecord {
		return slices.SortedFunc(slices.Values(recs), func(a, b *syncengine.StoredRecord) int { return a.ID.Compare(b.ID) })
	}
	if d := cmp.Diff(byID(want), byID(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// pages compares every way of reading each scope; it returns the members that it
// has seen.
func pages(t *testing.T, w *world, v syncengine.ServerView) (all []syncengine.Member) {
	t.Helper()
	reader, ok := v.(syncengine.PageReader)
	if !ok {
		t.Fatal("the view reads no pages")
	}
	for scope := range w.verified().Digests {
		for _, limit := range []int{1, 3, 1000} {
			members, err := v.Members(scope, 0, syncengine.ID{}, limit)
			if err != nil {
				t.Fatal(err)
			}
			ids := make([]syncengine.ID, len(members))
			for i, m := range members {
				ids[i] = m.Record
			}
			want, err := v.Records(ids)
			if err != nil {
				t.Fatal(err)
			}
			of, err := reader.RecordsOf(members)
			if err != nil {
				t.Fatal(err)
			}
			sameState(t, "RecordsOf", of, want)
			got, recs, err := reader.Page(scope, 0, syncengine.ID{}, limit)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(members, got); d != "" {
				t.Errorf("the members of a page (-want +got):\n%s", d)
			}
			for i, rec := range recs {
				if rec == nil || rec.ID != got[i].Record {
					t.Fatal("a record of a page does not stand beside its member")
				}
			}
			sameState(t, "Page", recs, want)
			all = append(all, got...)
		}
	}
	return all
}

func TestPageIsMembersWithTheirRecords(t *testing.T) { each(t, testPageIsMembersWithTheirRecords) }

func testPageIsMembersWithTheirRecords(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 30)
	first := w.id()
	made := w.creation(w.staff, first, w.encounter())
	w.applied(w.push(made, w.creation(w.staff, w.id(), w.encounter()), w.creation(w.staff, w.id(), w.encounter())))
	stamp := syncengine.StampOf(syncengine.ID(made.GetId()))
	w.applied(w.push(w.edit(first, encounterKind, 44, "other text", stamp)))
	read := func() {
		if err := w.s.Read(t.Context(), w.org.ID, func(v syncengine.ServerView) error {
			if len(pages(t, w, v)) == 0 {
				t.Error("nothing was compared")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	read()
	// The same from disk alone.
	if err := w.s.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	read()
}

// A view reads what its snapshot holds, whatever has been committed since.
func TestPageKeepsToItsSnapshot(t *testing.T) { each(t, testPageKeepsToItsSnapshot) }

func testPageKeepsToItsSnapshot(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 31)
	first := w.id()
	made := w.creation(w.staff, first, w.encounter())
	w.applied(w.push(made))
	err := w.s.Read(t.Context(), w.org.ID, func(v syncengine.ServerView) error {
		before, err := v.Record(first)
		if err != nil {
			return err
		}
		stamp := syncengine.StampOf(syncengine.ID(made.GetId()))
		w.applied(w.push(w.edit(first, encounterKind, 44, "other text", stamp)))
		got, err := v.(syncengine.PageReader).RecordsOf([]syncengine.Member{{Record: first, Seq: before.Seq, Live: true}}) //nolint:errcheck // Tested above.
		sameState(t, "RecordsOf", got, []*syncengine.StoredRecord{before})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What a failed flush has lost is never committed, even where its error was.
func TestFailedFlushCommitsNothing(t *testing.T) { each(t, testFailedFlushCommitsNothing) }

func testFailedFlushCommitsNothing(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 32)
	before := w.head()
	err := w.s.Write(t.Context(), w.org.ID, 2, func(tx *store.Tx) error {
		for range 2 {
			// Two changes under one op, which the engine never makes.
			if err := tx.SaveChange(&syncengine.StoredChange{ID: w.id(), Replica: w.replica, Op: 7, Outcome: &tandemv1.Outcome{Op: 7}}); err != nil {
				return err
			}
		}
		if _, _, _, err := tx.CommitAt(1); err == nil {
			t.Error("two changes under one op were written")
		}
		return bump(tx)
	})
	if err == nil {
		t.Error("a transaction whose changes are lost was committed")
	}
	if got := w.head(); got != before {
		t.Error("a part of it is there")
	}
}
