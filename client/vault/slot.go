package vault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/tandem-response/tandem/internal/vfs"
)

const (
	// slotSize is a sector: a drive keeps one or loses it, whole.
	slotSize = 512
	// headSize is the head of a file: two slots, written by turns.
	headSize = 2 * slotSize
)

// Kinds of blocks.
const (
	kindPage     = 'P'
	kindFrame    = 'F'
	kindPageSlot = 'p'
	kindLogSlot  = 'l'
)

// slot is one state of a file's head.
type slot struct {
	// serial numbers the states of the file.
	serial uint64
	// generation of the log: of a database's head, the newest that pages came from, and
	// how many frames of it they came from at least.
	generation uint64
	frames     int64
	// writing: pages are being written, sum does not hold.
	writing bool
	// sum of the pages' terms, and how many there are.
	sum   sum
	pages int64
	// header is the log's own, as SQLite wrote it.
	header [logHeader]byte
}

// slotVersion is the version of the format, of the head and of all behind it.
const slotVersion = 1

func (s *slot) marshal() []byte {
	b := make([]byte, 0, slotSize)
	b = binary.BigEndian.AppendUint32(b, slotVersion)
	b = binary.BigEndian.AppendUint64(b, s.serial)
	b = binary.BigEndian.AppendUint64(b, s.generation)
	w := byte(0)
	if s.writing {
		w = 1
	}
	b = append(append(b, w), s.sum[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.pages))
	b = binary.BigEndian.AppendUint64(b, uint64(s.frames))
	b = append(b, s.header[:]...)
	return b[:slotSize]
}

var errVersion = errors.New("the vault has a format that this version of the app does not know: update the app")

func (s *slot) unmarshal(b []byte) error {
	if binary.BigEndian.Uint32(b) != slotVersion {
		return errVersion
	}
	s.serial, s.generation, s.writing = binary.BigEndian.Uint64(b[4:]), binary.BigEndian.Uint64(b[12:]), b[20] != 0
	b = b[21:]
	b = b[copy(s.sum[:], b):]
	s.pages = int64(binary.BigEndian.Uint64(b))
	s.frames = int64(binary.BigEndian.Uint64(b[8:]))
	copy(s.header[:], b[16:])
	return nil
}

// head is the head of a file.
type head struct {
	kind byte
	slot
	// at is the slot that holds the newest state, -1 before there is one.
	at int
	// spoiled counts slots that hold something else than a state.
	spoiled int
}

// read reads the head; a file without one is in the state zero.
func (h *head) read(s *sealer, f io.ReaderAt) error {
	h.slot, h.at, h.spoiled = slot{}, -1, 0
	b := make([]byte, headSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for i := 0; (i+1)*slotSize <= n; i++ {
		one := b[i*slotSize : (i+1)*slotSize]
		if zero(one) {
			continue
		}
		plain, err := s.open(one, h.kind, int64(i))
		if errors.Is(err, errSeal) {
			h.spoiled++
			continue
		}
		var got slot
		if err == nil {
			err = got.unmarshal(plain)
		}
		if err != nil {
			return err
		}
		if h.at < 0 || got.serial > h.serial {
			h.slot, h.at = got, i
		}
	}
	return nil
}

// write puts the next state beside the newest; it lasts with the next sync.
func (h *head) write(s *sealer, f io.WriterAt, next slot) error {
	next.serial = h.serial + 1
	at := 1 - max(h.at, 0)
	if h.at < 0 {
		at = 0
	}
	b := next.marshal()
	if err := s.seal(b, h.kind, int64(at)); err != nil {
		return err
	}
	if _, err := f.WriteAt(b, int64(at)*slotSize); err != nil {
		return err
	}
	h.slot, h.at = next, at
	return nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// DamageError says what of a vault is not what was written. It reaches SQLite's caller
// as a damaged database.
type DamageError struct{ What string }

// Error names the place.
func (e *DamageError) Error() string { return "the vault is damaged: " + e.What }

// errDamaged is SQLITE_CORRUPT: it comes through where an extended code would not, as
// when a database is opened.
const errDamaged = vfs.CodeError(11)

// Unwrap is the code for SQLite.
func (*DamageError) Unwrap() error { return errDamaged }

// damage notes a fault, and is the error for it.
func (v *FS) damage(format string, args ...any) error {
	e := &DamageError{What: fmt.Sprintf(format, args...)}
	v.fault.CompareAndSwap(nil, e)
	return e
}

// Fault returns the first damage that was met, nil for none.
func (v *FS) Fault() error {
	if e := v.fault.Load(); e != nil {
		return e
	}
	return nil
}

type faultPointer = atomic.Pointer[DamageError]
