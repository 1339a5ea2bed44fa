package vault

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/tandem-response/tandem/internal/vfs"
)

const (
	// logHeader and frameHeader are SQLite's, frame one frame of its log.
	logHeader   = 32
	frameHeader = 24
	frame       = frameHeader + PageSize
	// frameTrailer is what a frame says besides: the generation of the log, and how
	// many frames were known to be on the disk when it was written.
	frameTrailer = 16
	sealedFrame  = frame + frameTrailer + overhead
)

// log is what is known of the log, for all that have it open.
type log struct {
	mu sync.Mutex
	head
	// next is the end of the last transaction in the log as far as it was written by
	// this process, synced how many frames of whole transactions are on the disk.
	next, synced int64
	// pending is the header of a frame whose page has not come yet: that of the frame
	// waiting, -1 for none, and writer who wrote it.
	pending [frameHeader]byte
	waiting int64
	writer  *logFile
	loaded  bool
}

// kept returns the generation of the log, and how many frames of it are on the disk.
func (l *log) kept() (generation uint64, frames int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.generation, l.synced
}

func frameAt(n int64) int64 { return headSize + n*sealedFrame }

// logBytes is the size of a log as SQLite sees it.
func logBytes(size int64) int64 {
	if size == 0 {
		return 0
	}
	rest := max(size-headSize, 0)
	return logHeader + rest/sealedFrame*frame + min(rest%sealedFrame, frame-1)
}

// logFile is the log, open.
type logFile struct {
	vfs.File

	v   *FS
	buf []byte
}

// ReadAt implements vfs.File.
func (f *logFile) ReadAt(p []byte, off int64) (done int, err error) {
	l := &f.v.log
	l.mu.Lock()
	err = f.settle()
	header := l.header
	l.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if off == 0 && len(p) == logHeader {
		return f.recover(p)
	}
	if off < logHeader {
		// SQLite begins a checksum anew.
		return copy(p, header[off:]), nil
	}
	n, in := (off-logHeader)/frame, (off-logHeader)%frame
	if in+int64(len(p)) > frame {
		return 0, errors.New("more than a frame of the log")
	}
	plain, err := f.frame(f.buf, n)
	switch {
	case errors.Is(err, errSeal) && in == 0 && len(p) == frame:
		// SQLite looks for the end of the log, and recover has found that there is
		// nothing behind it: zeros are no frame.
		clear(p)
		return len(p), nil
	case errors.Is(err, errSeal):
		return 0, f.v.damage("frame %d of the log is not what was written there", n+1)
	case err != nil:
		return 0, err
	}
	return copy(p, plain[in:frame]), nil
}

// frame reads a frame into buf: with its trailer, io.EOF beyond the end.
func (f *logFile) frame(buf []byte, n int64) ([]byte, error) {
	got, err := f.File.ReadAt(buf[:sealedFrame], frameAt(n))
	if got == sealedFrame {
		return f.v.seal.open(buf[:sealedFrame], kindFrame, n)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return nil, io.EOF
}

// recover returns the log's header, which SQLite reads before it looks for the end of
// the log, and looks for that end first: what a power cut leaves is a log that ends
// behind the last transaction that was synced, or later. One that ends sooner is
// damaged.
func (f *logFile) recover(p []byte) (int, error) {
	d, l := &f.v.pages, &f.v.log
	d.mu.Lock()
	newest, frames := d.generation, d.frames
	d.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.load(f, newest); err != nil {
		return 0, err
	}
	if l.at < 0 {
		clear(p)
		return len(p), nil
	}
	if l.generation < newest {
		return 0, f.v.damage("the log is an older one")
	}
	sums := newChecksum(l.header[:])
	var whole, promised int64
	intact := sums.ok
	for n := int64(0); ; n++ {
		plain, err := f.frame(f.buf, n)
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, errSeal) {
			intact = false
			continue
		}
		if err != nil {
			return 0, err
		}
		generation, synced := binary.BigEndian.Uint64(plain[frame:]), int64(binary.BigEndian.Uint64(plain[frame+8:]))
		switch {
		case generation > l.generation:
			return 0, f.v.damage("the head of the log is an older one")
		case generation < l.generation:
			intact = false
			continue
		}
		promised = max(promised, synced)
		if intact = intact && sums.next(plain[:frame]); intact && commits(plain) {
			whole = n + 1
		}
	}
	if l.generation == newest && whole < frames {
		return 0, f.v.damage("the log is an older one")
	}
	if promised > whole {
		return 0, f.v.damage("frame %d of the log is not what was written there, and others behind it are", whole+1)
	}
	// What stands there need not be on the disk yet.
	l.next, l.synced = whole, 0
	return copy(p, l.header[:]), nil
}

// load reads the head of the log; newest is the newest generation that pages came
// from. mu is held.
func (l *log) load(f *logFile, newest uint64) error {
	if err := l.read(f.v.seal, f.File); err != nil {
		return err
	}
	if l.at < 0 && l.spoiled > 0 {
		return f.v.damage("the head of the log cannot be read")
	}
	if l.at < 0 {
		l.generation = newest
	}
	l.loaded, l.waiting = true, -1
	return nil
}

// commits reports whether a frame is the last of a transaction.
func commits(header []byte) bool { return binary.BigEndian.Uint32(header[4:]) != 0 }

// WriteAt implements vfs.File.
func (f *logFile) WriteAt(p []byte, off int64) (int, error) {
	d, l := &f.v.pages, &f.v.log
	d.mu.Lock()
	newest := d.generation
	d.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.loaded {
		if err := l.load(f, newest); err != nil {
			return 0, err
		}
	}
	n, in := (off-logHeader)/frame, (off-logHeader)%frame
	var err error
	switch {
	case off == 0 && len(p) == logHeader:
		err = f.restart(p, newest)
	case off >= logHeader && in == 0 && len(p) == frameHeader:
		if err = f.settle(); err == nil {
			copy(l.pending[:], p)
			l.waiting, l.writer = n, f
		}
	case off >= logHeader && in == frameHeader && len(p) == PageSize && l.waiting == n && l.writer == f:
		copy(f.buf, l.pending[:])
		copy(f.buf[frameHeader:], p)
		l.waiting = -1
		err = f.put(n)
	case off >= logHeader && in == frameHeader && len(p) == PageSize:
		// A page that the same transaction has written before. SQLite corrects the
		// header later.
		if err = f.settle(); err == nil {
			err = f.change(n, frameHeader, p)
		}
	default:
		err = errors.New("not a frame of the log")
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// restart begins a new generation of the log. mu is held.
func (f *logFile) restart(header []byte, newest uint64) error {
	l := &f.v.log
	next := slot{generation: max(l.generation, newest) + 1}
	copy(next.header[:], header)
	l.next, l.synced, l.waiting = 0, 0, -1
	// Of two slots the one of the newer generation counts, whatever has become of the
	// log in between.
	l.serial = next.generation - 1
	return l.write(f.v.seal, f.File, next)
}

// put seals and writes the frame in buf. mu is held.
func (f *logFile) put(n int64) error {
	l := &f.v.log
	// A transaction that was given up is written over.
	l.synced = min(l.synced, n)
	l.next = min(l.next, n)
	binary.BigEndian.PutUint64(f.buf[frame:], l.generation)
	binary.BigEndian.PutUint64(f.buf[frame+8:], uint64(l.synced))
	commit := commits(f.buf)
	if err := f.v.seal.seal(f.buf, kindFrame, n); err != nil {
		return err
	}
	if _, err := f.File.WriteAt(f.buf, frameAt(n)); err != nil {
		return err
	}
	if commit {
		l.next = n + 1
	}
	return nil
}

// settle writes a header whose page does not come: SQLite corrects that of a frame
// which stands there already. mu is held.
func (f *logFile) settle() error {
	l := &f.v.log
	n := l.waiting
	if n < 0 || l.writer != f {
		return nil
	}
	l.waiting = -1
	return f.change(n, 0, l.pending[:])
}

// change writes over part of a frame that stands there already. mu is held.
func (f *logFile) change(n int64, in int, b []byte) error {
	plain, err := f.frame(f.buf, n)
	if errors.Is(err, errSeal) {
		return f.v.damage("frame %d of the log is not what was written there", n+1)
	}
	if errors.Is(err, io.EOF) {
		// Its write failed; SQLite has given it up.
		return nil
	}
	if err != nil {
		return err
	}
	copy(plain[in:], b)
	return f.put(n)
}

// Sync implements vfs.File.
func (f *logFile) Sync() error {
	l := &f.v.log
	l.mu.Lock()
	err := f.settle()
	whole, generation := l.next, l.generation
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if err := f.File.Sync(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.generation == generation {
		l.synced = min(whole, l.next)
	}
	return nil
}

// Truncate implements vfs.File.
func (f *logFile) Truncate(size int64) error {
	l := &f.v.log
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = -1
	if size < logHeader {
		l.next, l.synced = 0, 0
		if err := f.File.Truncate(0); err != nil {
			return err
		}
		l.at = -1
		return nil
	}
	n, in := (size-logHeader)/frame, (size-logHeader)%frame
	l.next, l.synced = min(l.next, n), min(l.synced, n)
	return f.File.Truncate(frameAt(n) + in)
}

// Size implements vfs.File.
func (f *logFile) Size() (int64, error) {
	size, err := f.File.Size()
	return logBytes(size), err
}

// Close implements vfs.File.
func (f *logFile) Close() error {
	l := &f.v.log
	l.mu.Lock()
	err := f.settle()
	l.mu.Unlock()
	clear(f.buf)
	return errors.Join(err, f.File.Close())
}

// checksum is that of SQLite's log, which runs through it from its header on.
type checksum struct {
	order binary.ByteOrder
	salts [8]byte
	a, b  uint32
	ok    bool
}

func newChecksum(header []byte) *checksum {
	c := &checksum{order: binary.LittleEndian, salts: [8]byte(header[16:24])}
	if header[3]&1 != 0 {
		c.order = binary.BigEndian
	}
	c.add(header[:24])
	c.ok = c.a == binary.BigEndian.Uint32(header[24:]) && c.b == binary.BigEndian.Uint32(header[28:])
	return c
}

func (c *checksum) add(p []byte) {
	if c.order == binary.LittleEndian {
		for ; len(p) >= 8; p = p[8:] {
			c.a += binary.LittleEndian.Uint32(p) + c.b
			c.b += binary.LittleEndian.Uint32(p[4:]) + c.a
		}
		return
	}
	for ; len(p) >= 8; p = p[8:] {
		c.a += c.order.Uint32(p) + c.b
		c.b += c.order.Uint32(p[4:]) + c.a
	}
}

// next reports whether a frame follows on those before.
func (c *checksum) next(b []byte) bool {
	if [8]byte(b[8:16]) != c.salts || binary.BigEndian.Uint32(b) == 0 {
		return false
	}
	c.add(b[:8])
	c.add(b[frameHeader:frame])
	return c.a == binary.BigEndian.Uint32(b[16:]) && c.b == binary.BigEndian.Uint32(b[20:])
}
