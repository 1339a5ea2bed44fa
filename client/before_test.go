package client

import (
	"os"
	"testing"

	"github.com/tandem-response/tandem/syncengine/seal"
)

// TestForkedLineLeaves: what the replica that a store was has left in the sealed outbox
// goes when two verified backups hold it, and not before; what the other copy has sent
// under the same numbers is no reason.
func TestForkedLineLeaves(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := t.TempDir()
	c := o.enrol(o.clinician, dir)
	mustSync(t, c)
	bulk(t, c, 1, 10)
	mustSync(t, c)
	shut(t, c)
	twinDir := copied(t, dir)
	sealed, err := os.ReadFile(SealedPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(SealedPath(twinDir), sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	c, twin := newClient(t, dir), newClient(t, twinDir)
	bulk(t, c, 11, 15)
	mustSync(t, c)
	// The same numbers, other words.
	bulk(t, twin, 26, 15)
	mustSync(t, twin)
	if got := o.numbers(); len(got) != 40 {
		t.Fatalf("the server has %d of 40", len(got))
	}
	code, err := o.admin.IssueCode(t.Context(), o.clinician, "tablet")
	if err != nil {
		t.Fatal(err)
	}
	if err := twin.Confirm(t.Context(), code.Code); err != nil {
		t.Fatal(err)
	}
	mustSync(t, twin)
	// Small enough that a rewrite is worth its while, and nothing goes for its size.
	small := func() {
		f := twin.sealed()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.looked = 0
	}
	held := func() (earlier, own int) {
		f := twin.sealed()
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, e := range f.entries {
			switch {
			case e.kind != seal.KindChange:
			case e.own:
				own++
			default:
				earlier++
			}
		}
		return earlier, own
	}
	if earlier, own := held(); earlier != 25 || own != 15 {
		t.Fatalf("%d entries of the earlier line, %d of the present one", earlier, own)
	}
	if s := mustStatus(t, twin); s.Sealed.Earlier != 0 {
		t.Errorf("%d saves of the earlier line are thought to be unsent", s.Sealed.Earlier)
	}
	for range 3 {
		small()
		mustSync(t, twin)
		twin.askBefore.Store(true)
	}
	if earlier, own := held(); earlier != 25 || own != 15 {
		t.Errorf("without a backup %d and %d entries are left", earlier, own)
	}
	o.backUp()
	incident(t, c, word(41))
	mustSync(t, c)
	twin.askBefore.Store(true)
	small()
	mustSync(t, twin)
	if earlier, own := held(); earlier != 25 || own != 15 {
		t.Errorf("after one backup %d and %d entries are left", earlier, own)
	}
	o.backUp()
	for range 2 {
		small()
		mustSync(t, twin)
	}
	if earlier, own := held(); earlier != 0 || own != 0 {
		t.Errorf("after two backups %d and %d entries are left", earlier, own)
	}
	if s := mustStatus(t, twin); s.Sealed.LetGo != 0 || s.Sealed.Earlier != 0 {
		t.Errorf("the status says %+v", s.Sealed)
	}
}

// TestBackedOfAnother: nobody is told of the ops of another's replica.
func TestBackedOfAnother(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c, other := o.enrol(o.clinician, t.TempDir()), o.enrol(o.second, t.TempDir())
	incident(t, c, word(1))
	mustSync(t, c)
	mustSync(t, other)
	o.backUp()
	incident(t, c, word(2))
	mustSync(t, c)
	o.backUp()
	ask := func(by *Client, of *Client) int {
		t.Helper()
		way, _, err := by.way()
		if err != nil {
			t.Fatal(err)
		}
		answer, err := way.deliver(t.Context(), backedOf(of.me.replica))
		if err != nil {
			t.Fatal(err)
		}
		return len(answer.GetBacked())
	}
	if n := ask(other, c); n != 0 {
		t.Errorf("another is told of %d replicas", n)
	}
	if n := ask(c, c); n != 1 {
		t.Errorf("its own store is told of %d replicas", n)
	}
}
