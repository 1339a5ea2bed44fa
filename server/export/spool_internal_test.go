package export

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// spoolOfMany writes a spool of records of two kinds, of which one is larger than a block.
func spoolOfMany(t *testing.T) (path string, key []byte, all []*syncengine.StoredRecord) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "a.spool")
	w, err := newSpoolWriter(path)
	if err != nil {
		t.Fatal(err)
	}
	w.says = spooled{Head: syncengine.HistoryHead{Epoch: syncengine.ID{3}, Seq: 77, Hash: syncengine.Hash{4}}, Kinds: []store.KindCount{{Kind: 1, Records: 2, Bytes: 3}}, AtMS: 5}
	for n := range 3000 {
		rec := &syncengine.StoredRecord{Seq: uint64(1000 + n), Scopes: []syncengine.ScopeKey{{OwnerID: syncengine.ID{byte(n % 3)}}, {Open: true}}}
		rec.ID, rec.Kind, rec.Stamps, rec.Body = syncengine.ID{byte(n >> 8), byte(n), 1}, uint32(5+n%2), []byte{byte(n)}, []byte("body of one")
		if n == 2900 {
			rec.Body = make([]byte, 3*spoolBlock)
		}
		all = append(all, rec)
		if err := w.add(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.finish(), w.close()); err != nil {
		t.Fatal(err)
	}
	return path, w.key, all
}

// TestSpoolRead: what was written is read, in order and one by one.
func TestSpoolRead(t *testing.T) {
	t.Parallel()
	path, key, all := spoolOfMany(t)
	s, err := openSpool(t.Context(), path, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	if head, err := s.Head(); err != nil || head.Seq != 77 || head.Epoch != (syncengine.ID{3}) || s.AtMS != 5 || s.blocks() < 3 {
		t.Errorf("%+v, %d blocks: %v", head, s.blocks(), err)
	}
	for _, kinds := range [][]uint32{nil, {5}, {6, 7}, {5, 6}} {
		var got []*syncengine.StoredRecord
		if err := s.EachOf(kinds, func(rec *syncengine.StoredRecord) error {
			got = append(got, rec)
			return nil
		}); err != nil {
			t.Error(err)
		}
		want := slices.DeleteFunc(slices.Clone(all), func(rec *syncengine.StoredRecord) bool { return kinds != nil && !slices.Contains(kinds, rec.Kind) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v: %s", kinds, diff)
		}
	}
	for _, rec := range all {
		if got, err := s.Record(rec.ID); err != nil || cmp.Diff(rec, got) != "" {
			t.Errorf("%v: %+v", err, got)
		}
	}
	for _, id := range []syncengine.ID{{}, {0, 7}, {9}} {
		if got, err := s.Record(id); err != nil || got != nil {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
	}
}

// TestSpoolDamage: whatever is done to a spool is found before it is gone on from.
func TestSpoolDamage(t *testing.T) {
	t.Parallel()
	path, key, _ := spoolOfMany(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(b, key []byte) error {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openSpool(t.Context(), path, key)
		if err != nil {
			return err
		}
		return errors.Join(s.check(), s.close())
	}
	if err := try(whole, key); err != nil {
		t.Fatal(err)
	}
	wrong := map[string][]byte{"empty": nil, "cut": whole[:len(whole)-1], "halved": whole[:len(whole)/2], "longer": append(slices.Clone(whole), 0)}
	for at := 0; at < len(whole); at += 997 {
		b := slices.Clone(whole)
		b[at] ^= 1
		if err := try(b, key); !errors.Is(err, errSpool) {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
	for name, b := range wrong {
		if err := try(b, key); !errors.Is(err, errSpool) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A block in the place of another one of the same length.
	swapped := slices.Clone(whole)
	if err := try(whole, key); err != nil {
		t.Fatal(err)
	}
	s, err := openSpool(t.Context(), path, key)
	if err != nil {
		t.Fatal(err)
	}
	first, second, third := s.at(0), s.at(1), s.at(2)
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if second-first != third-second {
		t.Fatal("the blocks differ in length")
	}
	copy(swapped[first:], whole[second:third])
	copy(swapped[second:], whole[first:second])
	other := slices.Clone(key)
	other[0] ^= 1
	for name, err := range map[string]error{"swapped": try(swapped, key), "another key": try(whole, other), "no key": try(whole, nil)} {
		if !errors.Is(err, errSpool) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSpoolRoom: nothing is spooled that would not leave room for others.
func TestSpoolRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	room, err := diskRoom(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := spoolRoom(dir, room/4); err != nil {
		t.Error(err)
	}
	if err := spoolRoom(dir, room/4*3); !errors.Is(err, store.ErrDisk) {
		t.Error(err)
	}
	// Only what it has whole counts in full.
	j := newJob(Options{Kinds: []string{"incident"}})
	if err := j.choose(); err != nil {
		t.Fatal(err)
	}
	all := []store.KindCount{{Kind: j.domain.KindByName("incident").Number, Records: 2, Bytes: 1000}, {Kind: j.domain.KindByName("note").Number, Records: 3, Bytes: 1 << 40}}
	if got := j.spoolNeeds(all); got < 1000 || got > 2000 {
		t.Errorf("%d bytes", got)
	}
}

// NoRoom has a disk be full for those who spool, until the test ends.
func NoRoom(t *testing.T) {
	t.Helper()
	was := roomOn
	roomOn = func(string) (int64, error) { return 4096, nil }
	t.Cleanup(func() { roomOn = was })
}

// TestSpoolKeys: the key of one spool opens no other one, and nobody else may read either.
func TestSpoolKeys(t *testing.T) {
	t.Parallel()
	path, key, _ := spoolOfMany(t)
	other, its, _ := spoolOfMany(t)
	for at, key := range map[string][]byte{path: its, other: key} {
		if s, err := openSpool(t.Context(), at, key); !errors.Is(err, errSpool) {
			t.Errorf("opened by the key of another one: %v, %v", s != nil, err)
		}
		if info, err := os.Stat(at); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
}

// TestRowsSealed: rows that wait on the disk to be put in order cannot be read there, and come back.
func TestRowsSealed(t *testing.T) {
	t.Parallel()
	dir, held := t.TempDir(), 0
	s := &sorter{dir: &directory{at: dir}, held: &held, tables: []*table{{columns: make([]column, 1)}}}
	row := func(city string) *entry { return &entry{rows: [][][]any{{{city}}}} }
	var want []string
	for n := range 300 {
		city := "PLAINCITY " + strconv.Itoa(1000+n)
		want = append(want, city)
		s.add(syncengine.ID{byte(n >> 8), byte(n)}.String(), row(city))
		if n%100 == 50 {
			if err := s.spill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, name := range files {
		if b, err := os.ReadFile(name); err != nil || bytes.Contains(b, []byte("PLAINCITY")) {
			t.Errorf("in the clear, or not there: %v", err)
		}
	}
	var got []string
	if err := s.each(func(e *entry) error {
		city, _ := e.rows[0][0][0].(string)
		got = append(got, city)
		return nil
	}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// SpoolText is all that is in the records of a spool.
func SpoolText(t *testing.T, path string, key []byte) (text string) {
	t.Helper()
	s, err := openSpool(t.Context(), path, key)
	if err == nil {
		err = s.EachOf(nil, func(rec *syncengine.StoredRecord) error {
			text += string(rec.Body) + string(rec.Stamps)
			return nil
		})
		err = errors.Join(err, s.close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// failing is a state of which one record cannot be looked up.
type failing struct {
	source

	err error
}

func (f failing) Record(id syncengine.ID) (*syncengine.StoredRecord, error) {
	if id == (syncengine.ID{1}) {
		return nil, f.err
	}
	return nil, nil //nolint:nilnil // There is none.
}

// TestLookupFails: no part is done of which a record could not be looked up, whoever asked for that
// and went on.
func TestLookupFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	j := newJob(Options{Format: XLSX})
	j.from, j.form = &sure{source: failing{err: broken}}, &csvForm{}
	f := &fhirForm{job: j, from: j.from, here: map[syncengine.ID]bool{}}
	if f.has("person", "Patient", syncengine.ID{2}) || j.keep() != nil {
		t.Error("what is not there is no error")
	}
	if f.has("person", "Patient", syncengine.ID{1}) || !errors.Is(j.keep(), broken) {
		t.Error("went on")
	}
	if f.has("person", "Patient", syncengine.ID{3}) || !errors.Is(j.keep(), broken) {
		t.Error("forgot it")
	}
}
