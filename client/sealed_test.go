package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
	"google.golang.org/protobuf/proto"
)

// opened returns the numbers of the incidents that a sealed outbox holds, by op, as
// the server's keys open it.
func (o *office) opened(path string) map[uint64]string {
	o.t.Helper()
	f, err := os.Open(path)
	if err != nil {
		o.t.Fatal(err)
	}
	defer f.Close()
	out := map[uint64]string{}
	opener, r := seal.NewOpener(o.org.Seal...), seal.NewReader(f)
	for {
		e, _, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			o.t.Fatal(err)
		}
		if e.Kind != seal.KindChange {
			continue
		}
		c, err := opener.OpenChange(&e)
		if err != nil {
			o.t.Fatal(err)
		}
		change := &tandemv1.Change{}
		if err := proto.Unmarshal(c.Raw, change); err != nil {
			o.t.Fatal(err)
		}
		// The number of an incident is among its first fields; the words are enough here.
		for n := range 50 {
			if word := fmt.Sprintf("W-%d;", n); bytes.Contains(c.Raw, []byte(word)) {
				out[c.Op] = word
			}
		}
	}
}

func word(n int) string { return fmt.Sprintf("W-%d;", n) }

func TestASaveIsSealed(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := t.TempDir()
	c := o.enrol(o.clinician, dir)
	incident(t, c, word(1))
	path := SealedPath(dir)
	if got := o.opened(path); len(got) != 1 || got[1] != word(1) {
		t.Errorf("after one save the file holds %v", got)
	}
	n, err := c.Bulk(t.Context(), func(b *Bulk) error {
		for i := range 40 {
			if _, err := b.Edit(func(e *Edit) error {
				_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), Number: new(word(i + 2))})
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || n != 40 {
		t.Fatalf("saved %d in bulk: %v", n, err)
	}
	got := o.opened(path)
	for i := range 41 {
		if got[uint64(i+1)] != word(i+1) {
			t.Errorf("op %d: the file holds %q", i+1, got[uint64(i+1)])
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("welfare_check")) {
		t.Error("words stand in the file in clear")
	}
	if s := mustStatus(t, c).Sealed; !s.On || s.Behind != 0 || s.Waiting != 0 || s.Fault != "" || s.Bytes != int64(len(raw)) {
		t.Errorf("got status %+v, file of %d bytes", s, len(raw))
	}
	list, err := ListSealed(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Replicas) != 1 || list.Damaged != 0 {
		t.Fatalf("got %+v", list)
	}
	r := list.Replicas[0]
	if r.Changes[tandemv1.Class_CLASS_NORMAL] != 1 || r.Changes[tandemv1.Class_CLASS_BULK] != 40 || !r.Introduced || !slices.Equal(r.Ops, []syncengine.OpRange{{First: 1, Last: 41}}) {
		t.Errorf("listed %+v", r)
	}
}

// Whoever saves at the same time shares writes, and nothing of it is lost.
func TestSavesShareASync(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := t.TempDir()
	c := o.enrol(o.clinician, dir)
	var wg sync.WaitGroup
	for n := range 24 {
		wg.Go(func() {
			if _, err := c.Edit(t.Context(), func(e *Edit) error {
				_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), Number: new(word(n))})
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := o.opened(SealedPath(dir)); len(got) != 24 {
		t.Errorf("the file holds %d of 24 saves", len(got))
	}
	if damaged := c.sealed().damaged; damaged != 0 {
		t.Errorf("%d places are damaged", damaged)
	}
}

// A process that ends between the commit of a save and its sealed entry, at any byte,
// leaves a store that seals it at the next start.
func TestMissingEntriesAreSealedAtOpen(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := t.TempDir()
	c := o.enrol(o.clinician, dir)
	incident(t, c, word(1))
	path := SealedPath(dir)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	incident(t, c, word(2))
	incident(t, c, word(3))
	shut(t, c)
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	entry := (len(after) - len(before)) / 2
	for _, length := range []int{0, 1, len(before) - 1, len(before), len(before) + 1, len(before) + seal.HeaderSize, len(before) + entry, len(after) - 1, len(after)} {
		if err := os.WriteFile(path, after[:length], 0o600); err != nil {
			t.Fatal(err)
		}
		c := newClient(t, dir)
		if got := o.opened(path); len(got) != 3 || got[1] != word(1) || got[2] != word(2) || got[3] != word(3) {
			t.Errorf("cut to %d of %d bytes: the file holds %v", length, len(after), got)
		}
		if s := mustStatus(t, c).Sealed; s.Behind != 0 || s.Damaged != 0 {
			t.Errorf("cut to %d of %d bytes: %+v", length, len(after), s)
		}
		if length == len(after) {
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, after) {
				t.Error("a whole file was changed by opening it")
			}
		}
		shut(t, c)
	}
	// The file is gone altogether.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	newClient(t, dir)
	if got := o.opened(path); len(got) != 3 {
		t.Errorf("made anew it holds %v", got)
	}
}

// What the server has acknowledged is sealed before its bytes leave the store.
func TestAcknowledgedIsKept(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := t.TempDir()
	c := o.enrol(o.clinician, dir)
	incident(t, c, word(1))
	c.device.Keep = 1
	f := c.sealed()
	if err := f.rewrite(func(*sealedEntry) bool { return true }); err != nil {
		t.Fatal(err)
	}
	f.sealed = nil
	if got := o.opened(f.path); len(got) != 0 {
		t.Fatalf("the file holds %v", got)
	}
	mustSync(t, c)
	if got := o.opened(f.path); got[1] != word(1) {
		t.Errorf("after the sync the file holds %v", got)
	}
	if s := mustStatus(t, c).Sealed; s.Waiting != 1 || s.LetGo != 0 {
		t.Errorf("got status %+v", s)
	}
}

// Damage in the middle costs what it hits, also in a file that goes on being used.
func TestDamagedEntry(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := t.TempDir()
	c := o.enrol(o.clinician, dir)
	for n := range 4 {
		incident(t, c, word(n+1))
	}
	mustSync(t, c)
	entries := slices.Clone(c.sealed().entries)
	shut(t, c)
	path := SealedPath(dir)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(entries, func(e sealedEntry) bool { return e.number == 2 })
	raw[entries[i].offset+entries[i].size/2] ^= 1
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	c = newClient(t, dir)
	incident(t, c, word(5))
	if got := o.opened(path); len(got) != 4 || got[2] != "" || got[5] != word(5) {
		t.Errorf("the file holds %v", got)
	}
	if s := mustStatus(t, c).Sealed; s.Damaged != 1 {
		t.Errorf("got status %+v", s)
	}
	if err := c.sealed().rewrite(func(*sealedEntry) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if got := o.opened(path); len(got) != 4 {
		t.Errorf("rewritten, the file holds %v", got)
	}
	incident(t, c, word(6))
	if got := o.opened(path); len(got) != 5 || got[6] != word(6) {
		t.Errorf("after the next save the file holds %v", got)
	}
}

// A device that cannot open the file works without it, and says so.
func TestSealedFileCannotBeOpened(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := t.TempDir()
	shut(t, o.enrol(o.clinician, dir))
	path := SealedPath(dir)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, dir)
	incident(t, c, word(1))
	if s := mustStatus(t, c).Sealed; s.On || s.Fault == "" {
		t.Errorf("got status %+v", s)
	}
	if moved := mustSync(t, c); moved.Applied != 1 {
		t.Errorf("got %+v", moved)
	}
}

// The org's key is exchanged while a device is away; what it sealed to the old one
// opens as before.
func TestNewKey(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := t.TempDir()
	c := o.enrol(o.clinician, dir)
	incident(t, c, word(1))
	first := c.me.sealKey
	if _, err := o.st.RotateSeal(t.Context(), o.org.ID); err != nil {
		t.Fatal(err)
	}
	incident(t, c, word(2))
	mustSync(t, c)
	if bytes.Equal(c.me.sealKey, first) {
		t.Fatal("the device seals to the old key after a sync")
	}
	incident(t, c, word(3))
	shut(t, c)
	c = newClient(t, dir)
	incident(t, c, word(4))
	keys := map[seal.KeyID]int{}
	raw, err := os.ReadFile(SealedPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	r := seal.NewReader(bytes.NewReader(raw))
	for e, _, err := r.Next(); err == nil; e, _, err = r.Next() {
		if e.Kind == seal.KindChange {
			keys[e.Key]++
		}
	}
	if len(keys) != 2 || keys[seal.IDOf(first)] != 2 {
		t.Errorf("entries by key: %v", keys)
	}
	if o.org, err = o.st.Org(t.Context(), o.org.ID); err != nil {
		t.Fatal(err)
	}
	if got := o.opened(SealedPath(dir)); len(got) != 4 {
		t.Errorf("the server opens %v", got)
	}
}

// loseStore removes a device's database and leaves its sealed outbox.
func loseStore(t *testing.T, dir string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "device.db*"))
	if err != nil || len(all) == 0 {
		t.Fatalf("no database to lose: %v", err)
	}
	for _, name := range all {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// The words of a store that is lost reach the server by another person's device, and
// are those of their author.
func TestALostStoreIsDelivered(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	lost := t.TempDir()
	c := o.enrol(o.clinician, lost)
	incident(t, c, word(1))
	mustSync(t, c)
	for n := range 20 {
		incident(t, c, word(n+2))
	}
	author := c.me.answer.GetPerson()
	shut(t, c)
	loseStore(t, lost)

	other := o.enrol(o.second, t.TempDir())
	done, err := other.Deliver(t.Context(), SealedPath(lost))
	if err != nil || done.Taken != 21 || done.Left() != 0 {
		t.Fatalf("delivered %+v, %v", done, err)
	}
	if got := o.numbers(); len(got) != 21 {
		t.Errorf("the server has %v", got)
	}
	mustSync(t, other)
	for _, v := range mustList(t, other, "incident") {
		if !bytes.Equal(v.Origin.Author[:], author) {
			t.Errorf("an incident is by %s", v.Origin.Author)
		}
	}
	head := o.seq()
	if done, err = other.Deliver(t.Context(), SealedPath(lost)); err != nil || done.Taken != 21 {
		t.Errorf("delivered again: %+v, %v", done, err)
	}
	if o.seq() != head {
		t.Error("a second delivery has written something")
	}

	// The author enrols again in the same directory: the file goes on, under a new
	// replica, and what the old one left is told of until it is delivered.
	again := o.enrol(o.clinician, lost)
	incident(t, again, word(30))
	if s := mustStatus(t, again).Sealed; s.Earlier != 21 {
		t.Errorf("got status %+v", s)
	}
	if done, err = again.Deliver(t.Context(), SealedPath(lost)); err != nil || done.Taken != 22 {
		t.Errorf("delivered by its author: %+v, %v", done, err)
	}
	if s := mustStatus(t, again).Sealed; s.Earlier != 0 {
		t.Errorf("after the delivery: %+v", s)
	}
	moved := mustSync(t, again)
	if moved.NotAccepted != 0 || len(o.numbers()) != 22 {
		t.Errorf("moved %+v; the server has %d incidents", moved, len(o.numbers()))
	}
}

// Another organization's device gets a clear refusal, and the server keeps nothing.
func TestDeliveredToAnotherOrg(t *testing.T) {
	t.Parallel()
	o, foreign := newOffice(t), newOffice(t)
	lost := t.TempDir()
	c := o.enrol(o.clinician, lost)
	incident(t, c, word(1))
	shut(t, c)
	stranger := foreign.enrol(foreign.clinician, t.TempDir())
	head := foreign.seq()
	done, err := stranger.Deliver(t.Context(), SealedPath(lost))
	if err != nil || done.Taken != 0 || done.NotTaken[tandemv1.Delivery_DELIVERY_FOREIGN] != 1 {
		t.Errorf("got %+v, %v", done, err)
	}
	if foreign.seq() != head {
		t.Error("the delivery has written something")
	}
}

// A file with a hole: what the signatures speak for is taken, the rest is not.
func TestDeliveredWithAHole(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	lost := t.TempDir()
	c := o.enrol(o.clinician, lost)
	if _, err := c.Bulk(t.Context(), func(b *Bulk) error {
		for n := range 40 {
			if _, err := b.Edit(func(e *Edit) error {
				_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), Number: new(word(n))})
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	entries := slices.Clone(c.sealed().entries)
	shut(t, c)
	raw, err := os.ReadFile(SealedPath(lost))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(entries, func(e sealedEntry) bool { return e.number == 20 })
	raw[entries[i].offset+entries[i].size/2] ^= 1
	if err := os.WriteFile(SealedPath(lost), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	other := o.enrol(o.second, t.TempDir())
	done, err := other.Deliver(t.Context(), SealedPath(lost))
	// Signed are 16, 32 and 40: of those before the hole 17, 18 and 19 stand alone.
	if err != nil || done.Taken != 36 || done.NotTaken[tandemv1.Delivery_DELIVERY_UNPROVED] != 3 || done.Damaged != 1 {
		t.Errorf("got %+v, %v", done, err)
	}
	if got := len(o.numbers()); got != 36 {
		t.Errorf("the server has %d incidents", got)
	}
}

// The server is set back to a copy of its database: what it had acknowledged since
// comes again from the sealed outbox, under the same ids.
func TestReoffer(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := t.TempDir()
	c := o.enrol(o.clinician, dir)
	incident(t, c, word(1))
	mustSync(t, c)
	restore := o.copyAway()
	kept := incident(t, c, word(2))
	incident(t, c, word(3))
	mustSync(t, c)
	if s := mustStatus(t, c); s.Queued != 0 || s.Applied != 0 {
		t.Fatalf("got status %+v", s)
	}
	restore()
	if got := o.numbers(); len(got) != 1 {
		t.Fatalf("the copy holds %v", got)
	}
	done, err := c.Reoffer(t.Context(), o.processed(c))
	if err != nil || done.Left() != 0 || done.Taken != 2 {
		t.Fatalf("offered again: %+v, %v", done, err)
	}
	if got := o.numbers(); !slices.Equal(got, []string{word(1), word(2), word(3)}) {
		t.Errorf("the server has %v", got)
	}
	if !o.has(kept) {
		t.Error("the record came back under another id")
	}
	if got := o.processed(c); !slices.Equal(got, []syncengine.OpRange{{First: 1, Last: 3}}) {
		t.Errorf("the server holds %v", got)
	}
	if done, err := c.Reoffer(t.Context(), o.processed(c)); err != nil || done.Taken != 0 {
		t.Errorf("nothing is lacking, yet %+v, %v", done, err)
	}
}
