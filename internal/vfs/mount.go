package vfs

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Mount is a file system with the name under which SQLite knows it.
type Mount struct {
	// FS is the file system.
	FS FS
	// Name is for the parameter vfs of a database's address; empty for SQLite's own
	// driver.
	Name string

	handle, vfs uintptr
	temporary   atomic.Int64
}

var (
	system = &Mount{FS: System{}}
	// mounts and files are what C holds numbers of: it never holds a pointer of Go's.
	mounts, files sync.Map // uintptr → *Mount, *openFile
	handles       atomic.Uintptr
)

type contextKey struct{}

// Use returns a context in which stores are opened on this mount.
func (m *Mount) Use(ctx context.Context) context.Context {
	return context.WithValue(ctx, contextKey{}, m)
}

// At returns the mount that stores of a context are opened on: the system's where
// none was set.
func At(ctx context.Context) *Mount {
	if m, ok := ctx.Value(contextKey{}).(*Mount); ok {
		return m
	}
	return system
}

// listing is held while SQLite's list of file systems changes, and while its head is
// copied.
var listing sync.Mutex

// New makes a file system known to SQLite. Close forgets it.
func New(fs FS) (*Mount, error) {
	tls := libc.NewTLS()
	defer tls.Close()
	if rc := sqlite3.Xsqlite3_initialize(tls); rc != sqlite3.SQLITE_OK {
		return nil, fmt.Errorf("starting SQLite: code %d", rc)
	}
	m := &Mount{FS: fs, handle: handles.Add(1)}
	m.Name = fmt.Sprintf("tandem-%d", m.handle)
	name, err := libc.CString(m.Name)
	if err != nil {
		return nil, fmt.Errorf("mounting a file system: %w", err)
	}
	m.vfs = libc.Xcalloc(tls, 1, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
	listing.Lock()
	defer listing.Unlock()
	v := at[sqlite3.Tsqlite3_vfs](m.vfs)
	// Chance, sleep and time stay the system's.
	*v = *at[sqlite3.Tsqlite3_vfs](sqlite3.Xsqlite3_vfs_find(tls, 0))
	v.FpNext, v.FzName, v.FpAppData = 0, name, m.handle
	v.FszOsFile = int32(unsafe.Sizeof(cFile{}))
	v.FxOpen, v.FxDelete, v.FxAccess, v.FxFullPathname = pointer(xOpen), pointer(xDelete), pointer(xAccess), pointer(xFullPathname)
	v.FxGetLastError = 0
	if v.FiVersion > 2 {
		v.FiVersion = 2
	}
	mounts.Store(m.handle, m)
	if rc := sqlite3.Xsqlite3_vfs_register(tls, m.vfs, 0); rc != sqlite3.SQLITE_OK {
		m.forget(tls)
		return nil, fmt.Errorf("mounting a file system: SQLite code %d", rc)
	}
	return m, nil
}

// Close forgets a file system. No database may be open on it.
func (m *Mount) Close() {
	tls := libc.NewTLS()
	defer tls.Close()
	listing.Lock()
	defer listing.Unlock()
	sqlite3.Xsqlite3_vfs_unregister(tls, m.vfs)
	m.forget(tls)
}

func (m *Mount) forget(tls *libc.TLS) {
	mounts.Delete(m.handle)
	libc.Xfree(tls, at[sqlite3.Tsqlite3_vfs](m.vfs).FzName)
	libc.Xfree(tls, m.vfs)
}

// NewRegion returns zeroed memory that SQLite may share between connections. It is
// not Go's: FreeRegion gives it back.
func NewRegion(size int) []byte {
	tls := libc.NewTLS()
	defer tls.Close()
	p := libc.Xcalloc(tls, 1, libc.Tsize_t(size))
	if p == 0 {
		return nil
	}
	return bytesAt(p, size)
}

// FreeRegion gives memory of NewRegion back.
func FreeRegion(region []byte) {
	tls := libc.NewTLS()
	defer tls.Close()
	libc.Xfree(tls, uintptr(unsafe.Pointer(unsafe.SliceData(region))))
}
