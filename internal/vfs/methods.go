package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// CodeError is a result code of SQLite as an error.
type CodeError int32

// Error names the number.
func (c CodeError) Error() string { return fmt.Sprintf("SQLite code %d", int32(c)) }

// cFile is SQLite's file object: the table of methods, and the number of the file
// here.
type cFile struct {
	base   sqlite3.Tsqlite3_file
	handle uintptr
}

// openFile is what the number stands for.
type openFile struct {
	File

	mount *Mount
	name  string
	// fresh: its name is not durable yet. temporary: it goes when it is closed.
	fresh, temporary bool
	shared           Shared
}

// methods is the table of methods. Version 2 is without memory-mapped reading.
var methods = sqlite3.Tsqlite3_io_methods{
	FiVersion: 2, FxClose: pointer(xClose), FxRead: pointer(xRead), FxWrite: pointer(xWrite), FxTruncate: pointer(xTruncate),
	FxSync: pointer(xSync), FxFileSize: pointer(xFileSize), FxLock: pointer(xLock), FxUnlock: pointer(xUnlock),
	FxCheckReservedLock: pointer(xCheckReservedLock), FxFileControl: pointer(xFileControl), FxSectorSize: pointer(xSectorSize),
	FxDeviceCharacteristics: pointer(xDeviceCharacteristics), FxShmMap: pointer(xShmMap), FxShmLock: pointer(xShmLock),
	FxShmBarrier: pointer(xShmBarrier), FxShmUnmap: pointer(xShmUnmap),
}

// pointer is a top-level function as a function pointer of C, as the translated
// sources hold them.
func pointer(f any) uintptr { return (*[2]uintptr)(unsafe.Pointer(&f))[1] }

// at is memory of C as a value of Go. C's memory does not move and is not
// collected, which is what go vet would warn of.
func at[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

func bytesAt(p uintptr, n int) []byte { return unsafe.Slice(at[byte](p), n) }

func mountOf(vfs uintptr) *Mount {
	m, _ := mounts.Load(at[sqlite3.Tsqlite3_vfs](vfs).FpAppData)
	return m.(*Mount) //nolint:forcetypeassert,errcheck // The map holds nothing else, and SQLite knows only what it holds.
}

func fileOf(p uintptr) *openFile {
	f, _ := files.Load(at[cFile](p).handle)
	return f.(*openFile) //nolint:forcetypeassert,errcheck // As above.
}

// code is an error in SQLite's terms: its own code, full where the disk is full, or
// what is usual for the call.
func code(err error, full, usual int32) int32 {
	if err == nil {
		return sqlite3.SQLITE_OK
	}
	if c, ok := errors.AsType[CodeError](err); ok {
		return int32(c)
	}
	switch {
	case errors.Is(err, ErrBusy):
		return sqlite3.SQLITE_BUSY
	case errors.Is(err, syscall.ENOSPC):
		return full
	}
	return usual
}

func xOpen(_ *libc.TLS, vfs, zName, p uintptr, flags int32, pOut uintptr) int32 {
	file := at[cFile](p)
	*file = cFile{}
	m := mountOf(vfs)
	f := &openFile{mount: m}
	if zName == 0 {
		f.temporary = true
		f.name = filepath.Join(os.TempDir(), fmt.Sprintf("%s-%d.tmp", m.Name, m.temporary.Add(1)))
	} else {
		f.name = libc.GoString(zName)
	}
	f.temporary = f.temporary || flags&sqlite3.SQLITE_OPEN_DELETEONCLOSE != 0
	mode := os.O_RDONLY
	if flags&sqlite3.SQLITE_OPEN_READWRITE != 0 {
		mode = os.O_RDWR
	}
	if flags&sqlite3.SQLITE_OPEN_CREATE != 0 {
		mode |= os.O_CREATE
		const logs = sqlite3.SQLITE_OPEN_WAL | sqlite3.SQLITE_OPEN_MAIN_JOURNAL | sqlite3.SQLITE_OPEN_SUPER_JOURNAL
		if flags&logs != 0 {
			there, err := Exists(m.FS, f.name)
			if err != nil {
				return sqlite3.SQLITE_CANTOPEN
			}
			f.fresh = !there
		}
	}
	if flags&sqlite3.SQLITE_OPEN_EXCLUSIVE != 0 {
		mode |= os.O_EXCL
	}
	var err error
	if f.File, err = m.FS.OpenFile(f.name, mode); err != nil {
		return code(err, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CANTOPEN)
	}
	f.shared, _ = f.File.(Shared)
	if pOut != 0 {
		*at[int32](pOut) = flags
	}
	file.handle = handles.Add(1)
	files.Store(file.handle, f)
	file.base.FpMethods = uintptr(unsafe.Pointer(&methods))
	return sqlite3.SQLITE_OK
}

func xDelete(_ *libc.TLS, vfs, zName uintptr, syncDir int32) int32 {
	m, name := mountOf(vfs), libc.GoString(zName)
	err := m.FS.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return sqlite3.SQLITE_IOERR_DELETE_NOENT
	}
	if err != nil {
		return code(err, sqlite3.SQLITE_IOERR_DELETE, sqlite3.SQLITE_IOERR_DELETE)
	}
	if syncDir != 0 {
		err = m.FS.SyncDir(filepath.Dir(name))
	}
	return code(err, sqlite3.SQLITE_IOERR_DIR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
}

// xAccess reports, as the driver for Unix does, an empty file as none.
func xAccess(_ *libc.TLS, vfs, zName uintptr, flags int32, pOut uintptr) int32 {
	size, err := mountOf(vfs).FS.Size(libc.GoString(zName))
	there := err == nil && (size > 0 || flags != sqlite3.SQLITE_ACCESS_EXISTS)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return code(err, sqlite3.SQLITE_IOERR_ACCESS, sqlite3.SQLITE_IOERR_ACCESS)
	}
	*at[int32](pOut) = 0
	if there {
		*at[int32](pOut) = 1
	}
	return sqlite3.SQLITE_OK
}

// xFullPathname takes names as they are: the stores give absolute ones.
func xFullPathname(_ *libc.TLS, _, zName uintptr, n int32, zOut uintptr) int32 {
	name := libc.GoString(zName)
	if vol := filepath.VolumeName(strings.TrimPrefix(name, "/")); vol != "" {
		// An address of a file has a slash before the drive.
		name = strings.TrimPrefix(name, "/")
	}
	if len(name)+1 > int(n) || !filepath.IsAbs(name) {
		return sqlite3.SQLITE_CANTOPEN
	}
	out := bytesAt(zOut, len(name)+1)
	copy(out, name)
	out[len(name)] = 0
	return sqlite3.SQLITE_OK
}

func xClose(_ *libc.TLS, p uintptr) int32 {
	f := fileOf(p)
	files.Delete(at[cFile](p).handle)
	err := f.Close()
	if f.temporary {
		err = errors.Join(err, f.mount.FS.Remove(f.name))
	}
	return code(err, sqlite3.SQLITE_IOERR_CLOSE, sqlite3.SQLITE_IOERR_CLOSE)
}

func xRead(_ *libc.TLS, p, buf uintptr, n int32, off int64) int32 {
	b := bytesAt(buf, int(n))
	got, err := fileOf(p).ReadAt(b, off)
	switch {
	case got == len(b):
		return sqlite3.SQLITE_OK
	case err == nil || errors.Is(err, io.EOF):
		clear(b[got:])
		return sqlite3.SQLITE_IOERR_SHORT_READ
	}
	return code(err, sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_READ)
}

func xWrite(_ *libc.TLS, p, buf uintptr, n int32, off int64) int32 {
	_, err := fileOf(p).WriteAt(bytesAt(buf, int(n)), off)
	return code(err, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
}

func xTruncate(_ *libc.TLS, p uintptr, size int64) int32 {
	return code(fileOf(p).Truncate(size), sqlite3.SQLITE_IOERR_TRUNCATE, sqlite3.SQLITE_IOERR_TRUNCATE)
}

func xSync(_ *libc.TLS, p uintptr, _ int32) int32 {
	f := fileOf(p)
	if err := f.Sync(); err != nil {
		return code(err, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_FSYNC)
	}
	if f.fresh {
		if err := f.mount.FS.SyncDir(filepath.Dir(f.name)); err != nil {
			return code(err, sqlite3.SQLITE_IOERR_DIR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
		}
		f.fresh = false
	}
	return sqlite3.SQLITE_OK
}

func xFileSize(_ *libc.TLS, p, out uintptr) int32 {
	size, err := fileOf(p).Size()
	*at[int64](out) = size
	return code(err, sqlite3.SQLITE_IOERR_FSTAT, sqlite3.SQLITE_IOERR_FSTAT)
}

func xLock(_ *libc.TLS, p uintptr, level int32) int32 {
	f := fileOf(p)
	if f.shared == nil {
		return sqlite3.SQLITE_OK
	}
	return code(f.shared.Lock(Level(level)), sqlite3.SQLITE_IOERR_LOCK, sqlite3.SQLITE_IOERR_LOCK)
}

func xUnlock(_ *libc.TLS, p uintptr, level int32) int32 {
	f := fileOf(p)
	if f.shared == nil {
		return sqlite3.SQLITE_OK
	}
	return code(f.shared.Unlock(Level(level)), sqlite3.SQLITE_IOERR_UNLOCK, sqlite3.SQLITE_IOERR_UNLOCK)
}

func xCheckReservedLock(_ *libc.TLS, p, out uintptr) int32 {
	f := fileOf(p)
	*at[int32](out) = 0
	if f.shared == nil {
		return sqlite3.SQLITE_OK
	}
	held, err := f.shared.Reserved()
	if held {
		*at[int32](out) = 1
	}
	return code(err, sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK, sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK)
}

func xFileControl(*libc.TLS, uintptr, int32, uintptr) int32 { return sqlite3.SQLITE_NOTFOUND }

func xSectorSize(*libc.TLS, uintptr) int32 { return 4096 }

func xDeviceCharacteristics(*libc.TLS, uintptr) int32 {
	return sqlite3.SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

func xShmMap(_ *libc.TLS, p uintptr, n, size, extend int32, out uintptr) int32 {
	*at[uintptr](out) = 0
	f := fileOf(p)
	if f.shared == nil {
		return sqlite3.SQLITE_IOERR_SHMMAP
	}
	region, err := f.shared.ShmMap(int(n), int(size), extend != 0)
	if err != nil {
		return code(err, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP)
	}
	if region != nil {
		*at[uintptr](out) = uintptr(unsafe.Pointer(unsafe.SliceData(region)))
	}
	return sqlite3.SQLITE_OK
}

func xShmLock(_ *libc.TLS, p uintptr, first, n, flags int32) int32 {
	f := fileOf(p)
	if f.shared == nil {
		return sqlite3.SQLITE_IOERR_SHMLOCK
	}
	err := f.shared.ShmLock(int(first), int(n), flags&sqlite3.SQLITE_SHM_LOCK != 0, flags&sqlite3.SQLITE_SHM_EXCLUSIVE != 0)
	return code(err, sqlite3.SQLITE_IOERR_SHMLOCK, sqlite3.SQLITE_IOERR_SHMLOCK)
}

// fence orders memory: an atomic operation is a full barrier.
var fence atomic.Int64

func xShmBarrier(*libc.TLS, uintptr) { fence.Add(1) }

func xShmUnmap(_ *libc.TLS, p uintptr, remove int32) int32 {
	f := fileOf(p)
	if f.shared == nil {
		return sqlite3.SQLITE_OK
	}
	return code(f.shared.ShmUnmap(remove != 0), sqlite3.SQLITE_IOERR_SHMMAP, sqlite3.SQLITE_IOERR_SHMMAP)
}
