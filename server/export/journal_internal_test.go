package export

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestJournalLength: a journal gives back what was written, however long it was, and a length that
// is none is refused before room is made for it.
func TestJournalLength(t *testing.T) {
	seal, err := spoolSeal(make([]byte, spoolKey))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), journalName)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	l := &journal{f: f, seal: seal}
	want := bytes.Repeat([]byte("0123456789abcde"), 20_000)
	for _, b := range [][]byte{want[:7], want[7:]} {
		if err := l.add("people.csv", b); err != nil {
			t.Fatal(err)
		}
	}
	var got []byte
	if place, err := readJournal(path, seal, l.size, func(name string, b []byte) error {
		if name != "people.csv" {
			t.Errorf("a file %q", name)
		}
		got = append(got, b...)
		return nil
	}); err != nil || place != l.place || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, place %d of %d: %v", len(got), len(want), place, l.place, err)
	}
	// As long as that of many records: most of it is a hole here.
	const size = 1 << 30
	var first [1]byte
	_, err = f.ReadAt(first[:], 0)
	if err := errors.Join(err, f.Truncate(size)); err != nil {
		t.Fatal(err)
	}
	first[0] ^= 1 << 4
	_, err = f.WriteAt(first[:], 0)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = readJournal(path, seal, size, func(string, []byte) error { return nil })
	runtime.ReadMemStats(&after)
	if made := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, errSpool) || made > 1<<20 {
		t.Errorf("%v, with %d KiB", err, made>>10)
	}
}
