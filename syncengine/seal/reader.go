package seal

import (
	"bytes"
	"errors"
	"io"
)

// Damage is a stretch of a file in which no whole entry stands.
type Damage struct {
	Offset, Length int64
	// Tail: it reaches to the end of the file.
	Tail bool
}

// Reader reads the entries of a file one after the other, past what is damaged. Not
// safe for concurrent use.
type Reader struct {
	r   io.Reader
	buf []byte
	// at is the place of buf in the file; the first done bytes of buf have been read.
	at     int64
	done   int
	ended  error
	damage []Damage
}

// NewReader reads a file from its beginning.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next returns the next whole entry and its place in the file. It is valid until the
// next call. At the end the error is io.EOF; another one is that of the underlying
// reader.
func (r *Reader) Next() (e Entry, offset int64, err error) {
	from := r.at + int64(r.done)
	for {
		if err := r.fill(HeaderSize); err != nil {
			return Entry{}, 0, err
		}
		rest := r.buf[r.done:]
		if len(rest) < HeaderSize {
			r.done = len(r.buf)
			r.note(from, true)
			return Entry{}, 0, r.ended
		}
		if size, ok := measure(rest); ok {
			if err := r.fill(size); err != nil {
				return Entry{}, 0, err
			}
			if rest = r.buf[r.done:]; len(rest) >= size {
				if e, err := decode(rest[:size:size]); err == nil {
					offset = r.at + int64(r.done)
					r.note(from, false)
					r.done += size
					return e, offset, nil
				}
			}
		}
		// The next place where an entry may begin: a mark, or what may be the start of
		// one at the end of what is at hand.
		rest = rest[1:]
		if i := bytes.Index(rest, mark); i >= 0 {
			r.done += 1 + i
		} else {
			r.done += 1 + max(len(rest)-len(mark)+1, 0)
		}
	}
}

// Damage returns the damage that was passed so far, in order.
func (r *Reader) Damage() []Damage { return r.damage }

// note notes that what lies between a place and the present one is damage.
func (r *Reader) note(from int64, last bool) {
	if to := r.at + int64(r.done); to > from {
		r.damage = append(r.damage, Damage{Offset: from, Length: to - from, Tail: last})
	}
}

// readSize is how much is read at once, at least.
const readSize = 1 << 18

// fill sees to it that n bytes are at hand, or all there are.
func (r *Reader) fill(n int) error {
	for len(r.buf)-r.done < n && r.ended == nil {
		if r.done > 0 {
			r.at += int64(r.done)
			r.buf = append(r.buf[:0], r.buf[r.done:]...)
			r.done = 0
		}
		have := len(r.buf)
		want := max(n, readSize)
		if cap(r.buf) < want {
			r.buf = append(make([]byte, 0, want), r.buf...)
		}
		m, err := r.r.Read(r.buf[have:want])
		r.buf = r.buf[:have+m]
		if err != nil {
			r.ended = err
		}
	}
	if r.ended != nil && !errors.Is(r.ended, io.EOF) {
		return r.ended
	}
	return nil
}
