package client

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// spoil flips a byte of the words of an unsent save in the file of a closed store, where
// the save waits and not where its record stands.
func spoil(t *testing.T, dir string, op uint64, words string) {
	t.Helper()
	c := newClient(t, dir)
	var raw []byte
	err := c.store.write(t.Context(), "reading a save", func(tx *tx) error {
		return tx.row(`SELECT raw FROM outbox_raw WHERE op = $1`, []any{int64(op)}, &raw)
	})
	if err != nil {
		t.Fatal(err)
	}
	shut(t, c)
	path := filepath.Join(dir, databaseFile)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The id of the change stands before the body in the change alone.
	at := bytes.Index(file, raw[:24])
	if at < 0 || bytes.Count(file, raw[:24]) != 1 {
		t.Fatalf("the save stands in the file %d times", bytes.Count(file, raw[:24]))
	}
	i := bytes.Index(file[at:], []byte(words))
	if i < 0 || i > len(raw) {
		t.Fatal("its words do not stand behind its id")
	}
	file[at+i+1] ^= 0x20
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedSave: a save that the disk has damaged stops no other; its sealed copy goes in
// its place, and what was typed comes back whole.
func TestDamagedSave(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"first", "middle", "last"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			dir := t.TempDir()
			c := o.enrol(o.clinician, dir)
			mustSync(t, c)
			var ids []syncengine.ID
			for i := range 3 {
				ids = append(ids, incident(t, c, word(i)))
			}
			v, err := c.Get(t.Context(), ids[0])
			if err != nil {
				t.Fatal(err)
			}
			as[*tandemv1.Incident](t, v).NotesOps = new("written over the first")
			if _, err := c.Edit(t.Context(), func(e *Edit) error { return e.Set(v, v.Message) }); err != nil {
				t.Fatal(err)
			}
			shut(t, c)
			op, words := uint64(1), word(0)
			switch how {
			case "middle":
				op, words = 2, word(1)
			case "last":
				op, words = 4, "written over"
			}
			spoil(t, dir, op, words)
			c = newClient(t, dir)
			m := mustSync(t, c)
			if m.Applied != 3 || m.NotAccepted != 0 {
				t.Errorf("%d of 3 whole saves are applied, %d not accepted", m.Applied, m.NotAccepted)
			}
			if got := o.numbers(); !slices.Equal(got, []string{word(0), word(1), word(2)}) {
				t.Errorf("the server has %q", got)
			}
			mustSync(t, c)
			for i, id := range ids {
				v, err := c.Get(t.Context(), id)
				if err != nil || as[*tandemv1.Incident](t, v).GetNumber() != word(i) || (i == 0) != (as[*tandemv1.Incident](t, v).GetNotesOps() != "") {
					t.Errorf("record %d: %v %v", i, v, err)
				}
			}
			s, err := c.Status(t.Context())
			if err != nil || s.Damaged != 0 || s.Queued != 0 || s.Sealed.Damaged != 0 || s.Note == "" {
				t.Errorf("at the end: %+v %v", s, err)
			}
			if v, err := c.Verify(t.Context()); err != nil || !v.OK() {
				t.Errorf("the store: %v %v", v, err)
			}
			if q := o.quarantined(); len(q) > 0 {
				t.Errorf("in quarantine are %v", q)
			}
			if r, err := o.st.Verify(t.Context(), o.org.ID); err != nil || len(r.Faults) > 0 {
				t.Errorf("the server: %v %v", r, err)
			}
		})
	}
}

// TestDamagedForGood: without a sealed copy the others go all the same; what can still be
// read is kept and told of, and it is never sent or shown as what was typed. The store may
// take another id meanwhile.
func TestDamagedForGood(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := t.TempDir()
	c := o.enrol(o.clinician, dir)
	mustSync(t, c)
	first := incident(t, c, word(1))
	incident(t, c, word(2))
	shut(t, c)
	if err := os.Remove(SealedPath(dir)); err != nil {
		t.Fatal(err)
	}
	spoil(t, dir, 1, word(1))
	if err := os.Remove(SealedPath(dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	c = newClient(t, dir)
	if m := mustSync(t, c); m.Applied != 1 {
		t.Errorf("%d of 1 are applied", m.Applied)
	}
	if got := o.numbers(); !slices.Equal(got, []string{word(2)}) {
		t.Errorf("the server has %q", got)
	}
	lost, err := c.Damaged(t.Context())
	if err != nil || len(lost) != 1 || lost[0].Op != 1 || len(lost[0].Values) == 0 || !strings.Contains(lost[0].Words, "no sealed copy") {
		t.Fatalf("damaged are %+v: %v", lost, err)
	}
	if text := fmt.Sprint(lost[0].Values); !strings.Contains(strings.ToUpper(text), word(1)[2:]) {
		t.Errorf("what can still be read is %s", text)
	}
	if _, err := c.Get(t.Context(), first); !errors.Is(err, ErrNotFound) {
		t.Errorf("the damaged record is shown: %v", err)
	}
	incident(t, c, word(3))
	if m := mustSync(t, c); m.Applied != 1 {
		t.Errorf("%d of 1 later saves are applied", m.Applied)
	}
	if s, err := c.Status(t.Context()); err != nil || s.Damaged != 1 || s.Queued != 0 {
		t.Errorf("status: %+v %v", s, err)
	}
	incident(t, c, word(4))
	err = c.store.write(t.Context(), "another id", func(t *tx) error { return c.device.Reinstance(t, syncengine.ID{1, 2, 3}) })
	if err != nil {
		t.Fatal(err)
	}
	var raw []byte
	err = c.store.write(t.Context(), "reading", func(tx *tx) error {
		return tx.row(`SELECT raw FROM retired WHERE op = 1 AND state = 8`, nil, &raw)
	})
	if err != nil || len(raw) == 0 {
		t.Errorf("its bytes are gone with the id: %v", err)
	}
	queued, err := c.queuedOps(t.Context())
	if err != nil || len(queued) != 1 {
		t.Errorf("under the new id %v wait: %v", queued, err)
	}
}

// TestMissingEntriesAreDelivered: what was sealed later than it was saved proves itself
// like the rest.
func TestMissingEntriesAreDelivered(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := t.TempDir()
	c := o.enrol(o.clinician, dir)
	mustSync(t, c)
	for i := range 3 {
		incident(t, c, word(i))
	}
	shut(t, c)
	if err := os.Remove(SealedPath(dir)); err != nil {
		t.Fatal(err)
	}
	c = newClient(t, dir)
	shut(t, c)
	other := o.enrol(o.second, t.TempDir())
	done, err := other.Deliver(t.Context(), SealedPath(dir))
	if err != nil || done.Taken != 3 || done.Left() > 0 {
		t.Errorf("delivered %+v: %v", done, err)
	}
	if got := o.numbers(); len(got) != 3 {
		t.Errorf("the server has %q", got)
	}
}
