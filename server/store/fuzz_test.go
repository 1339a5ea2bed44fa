package store

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/syncengine"
)

// FuzzUnpack: packed columns are read as they were written, or are damaged; never
// more is read than there is.
func FuzzUnpack(f *testing.F) {
	id := syncengine.ID{1, 2, 3}
	f.Add(packRanges([]syncengine.OpRange{{First: 1, Last: 5}, {First: 9, Last: 9}}))
	f.Add(packTouches([]syncengine.Touch{{Seq: 7, Paths: []syncengine.Path{{Field: 20}, {Field: 200, Key: "police"}}}, {Seq: 9}}))
	f.Add(append([]byte{2, 3}, id[:]...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		defer need.Brief(t)()
		if ranges, err := unpackRanges(b); err == nil {
			again, err := unpackRanges(packRanges(ranges))
			if err != nil || len(again) != len(ranges) {
				t.Fatalf("ranges %v come back as %v, %v", ranges, again, err)
			}
		} else if !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
		if touches, err := unpackTouches(b); err == nil {
			again, err := unpackTouches(packTouches(touches))
			if err != nil || len(again) != len(touches) {
				t.Fatalf("touches %v come back as %v, %v", touches, again, err)
			}
		} else if !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
		piece := []byte("abc")
		whole, err := fill([]byte("rest"), b, func(syncengine.ID) ([]byte, error) { return piece, nil })
		switch {
		case err != nil && !errors.Is(err, ErrDamaged):
			t.Fatal(err)
		case err == nil && !bytes.Equal(bytes.ReplaceAll(whole, piece, nil), []byte("rest")):
			t.Fatalf("holes %x fill to %q", b, whole)
		}
	})
}
