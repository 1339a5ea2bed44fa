package client

import (
	"crypto/rand"
	"os"
	"path/filepath"

	"github.com/tandem-response/tandem/internal/vfs"
)

// reserveSize is room for the index of the log, and for the verdicts on some
// thousand changes.
const reserveSize = 1 << 20

// reserve is a file that takes up room on the disk, so that there is some to be had
// when the disk is full: without a byte to spare SQLite cannot so much as open a
// database. Its content says nothing, and does not compress. Not safe for concurrent
// use; the store's lock guards it.
type reserve struct {
	fs   vfs.FS
	path string
	// released: the room has been given up and is in use.
	released bool
}

// keep makes the reserve where it is not there and there is room for it. A store
// works without.
func (r *reserve) keep() {
	if size, err := r.fs.Size(r.path); err == nil && size == reserveSize {
		r.released = false
		return
	}
	content := make([]byte, reserveSize)
	_, _ = rand.Read(content)
	f, err := r.fs.OpenFile(r.path, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		// Some systems look for room no sooner.
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = r.fs.Remove(r.path)
		return
	}
	_ = r.fs.SyncDir(filepath.Dir(r.path))
	r.released = false
}

// release gives the room up; false where there was none.
func (r *reserve) release() bool {
	if r.released || r.fs.Remove(r.path) != nil {
		return false
	}
	r.released = true
	return true
}
