package store_test

import (
	"testing"

	"github.com/tandem-response/tandem/server/store"
)

// TestKindsNull: records of which nothing is there are counted too.
func TestKindsNull(t *testing.T) { each(t, testKindsNull) }

func testKindsNull(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 63)
	id := w.id()
	w.applied(w.push(w.creation(w.staff, id, w.encounter())))
	counts := func() (c store.KindCount) {
		t.Helper()
		if err := w.s.Snapshot(t.Context(), w.org.ID, func(snap *store.Snapshot) error {
			all, err := snap.Kinds()
			for _, of := range all {
				if of.Kind == encounterKind {
					c = of
				}
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := counts(); c.Records != 1 || c.Bytes == 0 {
		t.Errorf("%+v", c)
	}
	if err := w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		return tx.Exec("UPDATE record SET body = NULL, stamps = NULL WHERE id = $1", id[:])
	}); err != nil {
		t.Fatal(err)
	}
	if c := counts(); c.Records != 1 || c.Bytes != 0 {
		t.Errorf("of which nothing is there: %+v", c)
	}
}
