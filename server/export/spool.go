package export

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"time"

	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// A spool is one state of an org in a file: its records in the order of their ids, in blocks that
// are each sealed with AES-256-GCM under the place that they have, and at the end the state and
// where each block begins. Its key is in the job alone: of a spool whose job is over nobody can
// read anything.

// errSpool says that a spool is not the one that was written.
var errSpool = errors.New("what an export has read from the database is damaged: it begins anew")

// spoolEnd is the end of the name of a spool.
const spoolEnd = ".spool"

// Sizes of a spool.
const (
	// spoolBlock is how many bytes of records a block has at least, but for the last one.
	spoolBlock = 16 << 10
	// spoolHeld is how many blocks are held for those who look up one record.
	spoolHeld = 128
	spoolKey  = 32
)

// spooled is what a spool says of its state.
type spooled struct {
	Head  syncengine.HistoryHead `json:"head"`
	Kinds []store.KindCount      `json:"kinds"`
	// AtMS is when that was, by the database's clock.
	AtMS int64 `json:"at_ms"`
	// IDs is the key of a set whose ids are its own, On the day on which its ages are reckoned.
	IDs []byte    `json:"ids,omitempty"`
	On  time.Time `json:"on,omitzero"`
	// Scopes that records are in, by number.
	Scopes []syncengine.ScopeKey `json:"scopes"`
	// Index has, for each block, the id of its first record and where it begins, which is where
	// the one before it ends.
	Index []byte `json:"index"`
}

// indexed is how many bytes the index has of a block.
const indexed = len(syncengine.ID{}) + 8

// blocks counts them.
func (s *spooled) blocks() int { return len(s.Index) / indexed }

// first is the id of a block's first record.
func (s *spooled) first(place int) []byte { return s.Index[place*indexed:][:len(syncengine.ID{})] }

// at is where a block begins.
func (s *spooled) at(place int) int64 {
	return int64(binary.BigEndian.Uint64(s.Index[place*indexed+len(syncengine.ID{}):]))
}

// spoolSeal is the cipher of a key.
func spoolSeal(key []byte) (cipher.AEAD, error) {
	if len(key) != spoolKey {
		return nil, errSpool
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// spoolNonce is that of a block by its place, or of the end.
func spoolNonce(place int) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 4, 12), uint64(int64(place)))
}

// atEnd is the place of the end.
const atEnd = -1

// spoolWriter writes one.
type spoolWriter struct {
	f    *os.File
	key  []byte
	seal cipher.AEAD
	says spooled
	// scopes are the numbers of those that were met.
	scopes map[syncengine.ScopeKey]uint64
	block  []byte
	first  syncengine.ID
	at     int64
}

func newSpoolWriter(path string) (*spoolWriter, error) {
	w := &spoolWriter{key: make([]byte, spoolKey), scopes: map[syncengine.ScopeKey]uint64{}}
	if _, err := rand.Read(w.key); err != nil {
		return nil, err
	}
	var err error
	if w.seal, err = spoolSeal(w.key); err != nil {
		return nil, err
	}
	if w.f, err = os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("making room for what is exported: %w", err)
	}
	return w, nil
}

// add takes the next record by id.
func (w *spoolWriter) add(rec *syncengine.StoredRecord) error {
	if len(w.block) == 0 {
		w.first = rec.ID
	}
	b := append(w.block, rec.ID[:]...)
	b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(rec.Kind)), rec.Seq)
	b = binary.AppendUvarint(b, uint64(len(rec.Scopes)))
	for _, scope := range rec.Scopes {
		number, ok := w.scopes[scope]
		if !ok {
			number = uint64(len(w.says.Scopes))
			w.scopes[scope] = number
			w.says.Scopes = append(w.says.Scopes, scope)
		}
		b = binary.AppendUvarint(b, number)
	}
	for _, part := range [][]byte{rec.Stamps, rec.Body} {
		b = append(binary.AppendUvarint(b, uint64(len(part))), part...)
	}
	if w.block = b; len(b) < spoolBlock {
		return nil
	}
	return w.flush()
}

// flush ends a block.
func (w *spoolWriter) flush() error {
	if len(w.block) == 0 {
		return nil
	}
	place := w.says.blocks()
	w.says.Index = binary.BigEndian.AppendUint64(append(w.says.Index, w.first[:]...), uint64(w.at))
	err := w.put(w.block, place)
	w.block = w.block[:0]
	return err
}

func (w *spoolWriter) put(b []byte, place int) error {
	n, err := w.f.Write(w.seal.Seal(nil, spoolNonce(place), b, nil))
	w.at += int64(n)
	if err != nil {
		return fmt.Errorf("writing what is exported: %w", err)
	}
	return nil
}

// finish puts it on the disk.
func (w *spoolWriter) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	text, err := json.Marshal(&w.says)
	if err != nil {
		return err
	}
	end := w.at
	if err := w.put(text, atEnd); err != nil {
		return err
	}
	if _, err := w.f.Write(binary.BigEndian.AppendUint64(nil, uint64(end))); err != nil {
		return fmt.Errorf("writing what is exported: %w", err)
	}
	return w.f.Sync()
}

func (w *spoolWriter) close() error { return w.f.Close() }

// spool is one that is read. Not safe for concurrent use.
type spool struct {
	spooled

	ctx  context.Context //nolint:containedctx // It ends with the call of Write.
	f    *os.File
	seal cipher.AEAD
	end  int64
	held map[int][]byte
}

// openSpool opens a spool. The error is errSpool where it is not whole, or not of the key.
func openSpool(ctx context.Context, path string, key []byte) (_ *spool, err error) {
	s := &spool{ctx: ctx, held: map[int][]byte{}}
	if s.seal, err = spoolSeal(key); err != nil {
		return nil, err
	}
	if s.f, err = os.Open(path); err != nil {
		return nil, errors.Join(errSpool, err)
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *spool) open() error {
	info, err := s.f.Stat()
	if err != nil {
		return err
	}
	last := info.Size() - 8
	var at [8]byte
	if _, err := s.f.ReadAt(at[:], max(last, 0)); err != nil {
		return errSpool
	}
	if s.end = int64(binary.BigEndian.Uint64(at[:])); s.end < 0 || s.end > last {
		return errSpool
	}
	text, err := s.get(s.end, last, atEnd)
	if err == nil && json.Unmarshal(text, &s.spooled) != nil {
		err = errSpool
	}
	return err
}

func (s *spool) close() error { return s.f.Close() }

func (s *spool) get(from, to int64, place int) ([]byte, error) {
	b := make([]byte, max(to-from, 0))
	if _, err := s.f.ReadAt(b, from); err != nil {
		return nil, errors.Join(errSpool, err)
	}
	b, err := s.seal.Open(b[:0], spoolNonce(place), b, nil)
	if err != nil {
		return nil, errSpool
	}
	return b, nil
}

func (s *spool) block(place int) ([]byte, error) {
	to := s.end
	if place+1 < s.blocks() {
		to = s.at(place + 1)
	}
	return s.get(s.at(place), to, place)
}

// check reads all of it.
func (s *spool) check() error {
	for place := range s.blocks() {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if _, err := s.block(place); err != nil {
			return err
		}
	}
	return nil
}

// Head implements source.
func (s *spool) Head() (syncengine.HistoryHead, error) { return s.spooled.Head, nil }

// Kinds implements source.
func (s *spool) Kinds() ([]store.KindCount, error) { return s.spooled.Kinds, nil }

// Record implements source.
func (s *spool) Record(id syncengine.ID) (*syncengine.StoredRecord, error) {
	place := sort.Search(s.blocks(), func(i int) bool { return bytes.Compare(s.first(i), id[:]) > 0 }) - 1
	if place < 0 {
		return nil, nil //nolint:nilnil // There is none.
	}
	b, ok := s.held[place]
	if !ok {
		var err error
		if b, err = s.block(place); err != nil {
			return nil, err
		}
		if len(s.held) >= spoolHeld {
			clear(s.held)
		}
		s.held[place] = b
	}
	for len(b) > 0 {
		at := b
		r := spoolReader{b: b}
		r.skip()
		if b = r.b; r.bad {
			return nil, errSpool
		}
		if bytes.Equal(at[:len(id)], id[:]) {
			return s.record(&spoolReader{b: at})
		}
	}
	return nil, nil //nolint:nilnil // There is none.
}

// EachOf implements source.
func (s *spool) EachOf(kinds []uint32, f func(*syncengine.StoredRecord) error) error {
	for place := range s.blocks() {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		b, err := s.block(place)
		if err != nil {
			return err
		}
		for r := (&spoolReader{b: b}); len(r.b) > 0; {
			if len(kinds) > 0 && !slices.Contains(kinds, r.kind()) {
				if r.skip(); r.bad {
					return errSpool
				}
				continue
			}
			rec, err := s.record(r)
			if err != nil {
				return err
			}
			if err := f(rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// record takes the next one. Its bytes are those of the block.
func (s *spool) record(r *spoolReader) (*syncengine.StoredRecord, error) {
	rec := &syncengine.StoredRecord{}
	copy(rec.ID[:], r.take(uint64(len(rec.ID))))
	rec.Kind, rec.Seq = uint32(r.uint()), r.uint()
	for range r.uint() {
		number := r.uint()
		if r.bad || number >= uint64(len(s.Scopes)) {
			return nil, errSpool
		}
		rec.Scopes = append(rec.Scopes, s.Scopes[number])
	}
	rec.Stamps, rec.Body = r.take(r.uint()), r.take(r.uint())
	if r.bad {
		return nil, errSpool
	}
	return rec, nil
}

// spoolReader takes a block apart.
type spoolReader struct {
	b   []byte
	bad bool
}

func (r *spoolReader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *spoolReader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// kind is that of the next record, which is not taken.
func (r *spoolReader) kind() uint32 {
	ahead := spoolReader{b: r.b}
	ahead.take(uint64(len(syncengine.ID{})))
	return uint32(ahead.uint())
}

// skip takes a record and does nothing with it.
func (r *spoolReader) skip() {
	r.take(uint64(len(syncengine.ID{})))
	r.uint()
	r.uint()
	for range r.uint() {
		if r.uint(); r.bad {
			return
		}
	}
	r.take(r.uint())
	r.take(r.uint())
}
