package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// commit makes n commits without changes and returns where the history stands.
func commits(t *testing.T, s *store.Store, org *store.Org, n int) (head syncengine.HistoryHead) {
	t.Helper()
	for range n {
		if err := s.Write(t.Context(), org.ID, 1, func(tx *store.Tx) (err error) {
			if head, err = tx.Head(); err != nil {
				return err
			}
			head.Seq++
			head.Hash[0]++
			return tx.SetHead(head)
		}); err != nil {
			t.Fatal(err)
		}
	}
	return head
}

func headOf(t *testing.T, s *store.Store, org *store.Org) (head syncengine.HistoryHead) {
	t.Helper()
	if err := s.Read(t.Context(), org.ID, func(v syncengine.ServerView) (err error) {
		head, err = v.Head()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return head
}

// A database that was replaced by an older copy is seen when it is opened, by the mark
// beside it; one that was not, and one whose mark was damaged, open as they were.
func TestDatabaseSetBack(t *testing.T) { each(t, testDatabaseSetBack) }

func testDatabaseSetBack(t *testing.T, on engine) {
	t.Parallel()
	at := place{t.TempDir(), on.Database(t)}
	open := func() *store.Store { return at.open(t, store.Options{Create: true}) }
	shut := func(s *store.Store) {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := open()
	org, err := s.CreateOrg(t.Context(), "Example County")
	if err != nil {
		t.Fatal(err)
	}
	old := commits(t, s, org, 3)
	shut(s)
	restore := at.kept(t)
	s = open()
	newer := commits(t, s, org, 2)
	shut(s)
	s = open()
	if head := headOf(t, s, org); head != newer {
		t.Errorf("after a restart: %v, want %v", head, newer)
	}
	shut(s)
	mark := filepath.Join(at.dir, "highwater.json")
	text, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	restore()
	if err := os.WriteFile(mark, text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	s = open()
	if head := headOf(t, s, org); head != old {
		t.Errorf("with half a mark: %v, want %v", head, old)
	}
	shut(s)
	restore()
	if err := os.WriteFile(mark, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open()
	head := headOf(t, s, org)
	if head.Epoch == old.Epoch || head.Seq != old.Seq+syncengine.KeptSequences || !head.Recovering {
		t.Errorf("set back from %v to %v, it stands at %v", newer, old, head)
	}
	if was, err := s.ConfirmRecovery(t.Context(), org.ID); err != nil || !was {
		t.Errorf("confirming: %v, %v", was, err)
	}
	shut(s)
	s = open()
	defer shut(s)
	confirmed := head
	confirmed.Recovering = false
	if again := headOf(t, s, org); again != confirmed {
		t.Errorf("after another restart: %v, want %v", again, confirmed)
	}
	found, err := s.Verify(t.Context(), org.ID)
	if err != nil || len(found.Faults) > 0 {
		t.Errorf("verify: %v, %v", found.Faults, err)
	}
}
