package vault

import (
	"encoding/binary"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/tandem-response/tandem/internal/vfs"
)

// FS is the file system that keeps one database sealed, on another that keeps bytes. It
// has that database and its log, and nothing else: temporary files are in memory, and
// a rollback journal is refused. One process at a time may use the database; who uses
// it sees to that.
type FS struct {
	base vfs.FS
	name string
	seal *sealer
	// making: the database is being made whole by a copy, in one go.
	making bool

	sharing vfs.Sharing
	pages   pages
	log     log
	fault   faultPointer

	mu     sync.Mutex
	memory map[string]*memory
}

// is reports whether a name is that of the database with a suffix: SQLite writes names
// with slashes everywhere.
func (v *FS) is(name, suffix string) bool {
	return filepath.ToSlash(name) == filepath.ToSlash(v.name)+suffix
}

// New returns the file system of the database at an absolute path. The key may be
// dropped once it is made.
func New(base vfs.FS, name string, key *DataKey) (*FS, error) {
	s, err := newSealer(key)
	if err != nil {
		return nil, err
	}
	v := &FS{base: base, name: name, seal: s, memory: map[string]*memory{}}
	v.pages.kind, v.log.kind = kindPageSlot, kindLogSlot
	return v, nil
}

// Drop forgets the keys: nothing can be read or written any more.
func (v *FS) Drop() { v.seal.drop() }

const (
	logSuffix     = "-wal"
	journalSuffix = "-journal"
	temporary     = ".tmp"
)

// OpenFile implements vfs.FS.
func (v *FS) OpenFile(name string, flag int) (vfs.File, error) {
	switch {
	case v.is(name, ""):
		f, err := v.base.OpenFile(name, flag)
		if err != nil {
			return nil, err
		}
		p := &pageFile{v: v, File: f, Seat: v.sharing.Join(), buf: make([]byte, sealedPage)}
		if err := v.pages.load(v, f); err != nil {
			_ = p.Close()
			return nil, err
		}
		return p, nil
	case v.is(name, logSuffix) && !v.making:
		f, err := v.base.OpenFile(name, flag)
		if err != nil {
			return nil, err
		}
		return &logFile{v: v, File: f, buf: make([]byte, sealedFrame)}, nil
	case strings.HasSuffix(name, temporary), v.making && v.is(name, journalSuffix):
		return v.openMemory(name, flag)
	}
	return nil, fs.ErrPermission
}

// Remove implements vfs.FS.
func (v *FS) Remove(name string) error {
	v.mu.Lock()
	_, held := v.memory[name]
	delete(v.memory, name)
	v.mu.Unlock()
	switch {
	case held:
		return nil
	case v.is(name, logSuffix):
		return v.base.Remove(name)
	}
	return fs.ErrNotExist
}

// Rename implements vfs.FS. SQLite renames nothing.
func (v *FS) Rename(string, string) error { return fs.ErrPermission }

// Size implements vfs.FS. A journal that somebody put beside the database is none.
func (v *FS) Size(name string) (int64, error) {
	v.mu.Lock()
	m := v.memory[name]
	v.mu.Unlock()
	if m != nil {
		return m.Size()
	}
	switch {
	case v.is(name, ""):
		size, err := v.base.Size(name)
		return v.pageBytes(size), err
	case v.is(name, logSuffix):
		size, err := v.base.Size(name)
		return logBytes(size), err
	}
	return 0, fs.ErrNotExist
}

// SyncDir implements vfs.FS.
func (v *FS) SyncDir(dir string) error { return v.base.SyncDir(dir) }

// emptyPage is the first page of a database that nothing was written to: one that
// keeps a log from its first page on, so that there is never a journal.
var emptyPage = func() []byte {
	p := make([]byte, PageSize)
	copy(p, "SQLite format 3\x00")
	binary.BigEndian.PutUint16(p[16:], PageSize)
	p[18], p[19] = 2, 2 // the log, for writing and reading
	p[21], p[22], p[23] = 64, 32, 32
	binary.BigEndian.PutUint32(p[24:], 1) // changes
	binary.BigEndian.PutUint32(p[28:], 1) // pages
	binary.BigEndian.PutUint32(p[44:], 4) // format of the schema
	binary.BigEndian.PutUint32(p[56:], 1) // UTF-8
	binary.BigEndian.PutUint32(p[92:], 1) // changes, again
	const version = 3_053_000
	binary.BigEndian.PutUint32(p[96:], version)
	p[100] = 0x0d                                 // an empty leaf of a table,
	binary.BigEndian.PutUint16(p[105:], PageSize) // its content at the end
	return p
}()

// memory is a file in memory.
type memory struct {
	mu sync.Mutex
	b  []byte
}

func (v *FS) openMemory(name string, flag int) (vfs.File, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	m := v.memory[name]
	switch {
	case m != nil && flag&os.O_EXCL != 0:
		return nil, fs.ErrExist
	case m == nil && flag&os.O_CREATE == 0:
		return nil, fs.ErrNotExist
	case m == nil:
		m = &memory{}
		v.memory[name] = m
	}
	return m, nil
}

// ReadAt implements vfs.File.
func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if off >= int64(len(m.b)) {
		return 0, io.EOF
	}
	n := copy(p, m.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements vfs.File.
func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if end := off + int64(len(p)); end > int64(len(m.b)) {
		m.resize(end)
	}
	return copy(m.b[off:], p), nil
}

func (m *memory) resize(size int64) {
	next := make([]byte, size, max(size, 2*int64(cap(m.b))))
	copy(next, m.b)
	m.b = next
}

// Truncate implements vfs.File.
func (m *memory) Truncate(size int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if size < int64(len(m.b)) {
		m.b = m.b[:size:size]
	} else {
		m.resize(size)
	}
	return nil
}

// Size implements vfs.File.
func (m *memory) Size() (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.b)), nil
}

// Sync implements vfs.File.
func (*memory) Sync() error { return nil }

// Close implements vfs.File.
func (*memory) Close() error { return nil }
