package store

import (
	"encoding/binary"

	"github.com/tandem-response/tandem/syncengine"
)

// unpacker reads what the pack functions wrote; ok turns false where the bytes do
// not fit.
type unpacker struct {
	b  []byte
	ok bool
}

func unpack(b []byte) *unpacker { return &unpacker{b: b, ok: true} }

func (u *unpacker) more() bool { return u.ok && len(u.b) > 0 }

func (u *unpacker) uint() uint64 {
	v, n := binary.Uvarint(u.b)
	if n <= 0 {
		u.ok = false
		return 0
	}
	u.b = u.b[n:]
	return v
}

func (u *unpacker) take(n uint64) []byte {
	if n > uint64(len(u.b)) {
		u.ok = false
		return nil
	}
	v := u.b[:n:n]
	u.b = u.b[n:]
	return v
}

func (u *unpacker) path() syncengine.Path {
	p := syncengine.Path{Field: uint32(u.uint())}
	p.Key = string(u.take(u.uint()))
	return p
}

func (u *unpacker) err() error {
	if !u.ok {
		return ErrDamaged
	}
	return nil
}

func appendPath(b []byte, p syncengine.Path) []byte {
	b = binary.AppendUvarint(b, uint64(p.Field))
	b = binary.AppendUvarint(b, uint64(len(p.Key)))
	return append(b, p.Key...)
}

// packRanges packs ranges as gaps and lengths.
func packRanges(ranges []syncengine.OpRange) []byte {
	var b []byte
	var at uint64
	for _, r := range ranges {
		b = binary.AppendUvarint(b, r.First-at)
		b = binary.AppendUvarint(b, r.Last-r.First)
		at = r.Last
	}
	return b
}

func unpackRanges(b []byte) ([]syncengine.OpRange, error) {
	u := unpack(b)
	var ranges []syncengine.OpRange
	var at uint64
	for u.more() {
		r := syncengine.OpRange{First: at + u.uint()}
		r.Last = r.First + u.uint()
		at = r.Last
		ranges = append(ranges, r)
	}
	return ranges, u.err()
}

// packTouches packs touches by the distance of their sequences.
func packTouches(touches []syncengine.Touch) []byte {
	var b []byte
	var at uint64
	for _, t := range touches {
		b = binary.AppendUvarint(b, t.Seq-at)
		at = t.Seq
		b = binary.AppendUvarint(b, uint64(len(t.Paths)))
		for _, p := range t.Paths {
			b = appendPath(b, p)
		}
	}
	return b
}

func unpackTouches(b []byte) ([]syncengine.Touch, error) {
	u := unpack(b)
	var touches []syncengine.Touch
	var at uint64
	for u.more() {
		t := syncengine.Touch{Seq: at + u.uint()}
		at = t.Seq
		n := u.uint()
		if n > uint64(len(u.b)) {
			return nil, ErrDamaged
		}
		for range n {
			t.Paths = append(t.Paths, u.path())
		}
		touches = append(touches, t)
	}
	return touches, u.err()
}
