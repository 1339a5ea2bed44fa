package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
)

// FS is a file system. Names are absolute. Safe for concurrent use.
type FS interface {
	// OpenFile opens a file; flag is of package os (O_RDONLY, O_RDWR, O_CREATE,
	// O_EXCL), a new file is its owner's alone. The error wraps fs.ErrNotExist or
	// fs.ErrExist where that is the reason. A new name lasts once SyncDir has
	// returned.
	OpenFile(name string, flag int) (File, error)
	// Remove removes a name; the error wraps fs.ErrNotExist where it is not there.
	// Who has the file open keeps it.
	Remove(name string) error
	// Rename gives a file another name, and takes that from the file which had it: at
	// once, so that after a power cut it has happened or has not. It lasts once SyncDir
	// has returned.
	Rename(from, to string) error
	// Size returns the size of a file; the error wraps fs.ErrNotExist where there is
	// none.
	Size(name string) (int64, error)
	// SyncDir makes durable which names a directory holds.
	SyncDir(dir string) error
}

// File is an open file. What was written lasts once Sync has returned.
type File interface {
	// ReadAt reads; a read beyond the end is short, with io.EOF.
	io.ReaderAt
	// WriteAt writes; the error wraps syscall.ENOSPC where the disk is full.
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
	Size() (int64, error)
}

// Level is how far a connection has locked a database file.
type Level int32

// The levels of a lock.
const (
	Unlocked Level = iota
	ReadLock
	ReservedLock
	PendingLock
	ExclusiveLock
)

// ErrBusy says that another connection has the lock.
var ErrBusy = errors.New("the file is locked by another connection")

// Shared is a File of a database that several connections use: locks, and the
// memory that they share about the log. Closing lets go of both.
type Shared interface {
	File
	// Lock raises the level, as SQLite's xLock does; ErrBusy where another
	// connection stands against it.
	Lock(to Level) error
	// Unlock lowers it, to Unlocked or ReadLock.
	Unlock(to Level) error
	// Reserved reports whether any connection holds ReservedLock or more.
	Reserved() (bool, error)
	// ShmMap returns region number n of size bytes, the same for all connections. It
	// is memory of [NewRegion]. Where the region is not there and extend is false it
	// returns nil.
	ShmMap(n, size int, extend bool) ([]byte, error)
	// ShmLock takes or gives up the slots from first on, shared or exclusively;
	// ErrBusy where another connection stands against it.
	ShmLock(first, n int, lock, exclusive bool) error
	// ShmUnmap lets go of the memory; remove says that nobody needs it any more.
	ShmUnmap(remove bool) error
}

// System is the file system of the operating system. SQLite has its own driver for
// that; this is what the stores do beside it.
type System struct{}

type systemFile struct{ *os.File }

// OpenFile implements FS.
func (System) OpenFile(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return systemFile{f}, nil
}

// Size implements File.
func (f systemFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Remove implements FS.
func (System) Remove(name string) error { return os.Remove(name) }

// Rename implements FS.
func (System) Rename(from, to string) error { return os.Rename(from, to) }

// Size implements FS.
func (System) Size(name string) (int64, error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// SyncDir implements FS. Windows keeps names by itself.
func (System) SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		_ = d.Close()
		return err
	}
	return d.Close()
}

// Exists reports whether a file is there.
func Exists(f FS, name string) (bool, error) {
	_, err := f.Size(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
