package faultfs

import (
	"io"
	"slices"

	"github.com/tandem-response/tandem/internal/vfs"
)

// file is an open file.
type file struct {
	disk  *Disk
	ino   *inode
	level vfs.Level
	// shared and exclusive are the slots of shared memory that it has locked; mapped:
	// it uses the memory.
	shared, exclusive uint8
	mapped            bool
}

var _ vfs.Shared = (*file)(nil)

// ReadAt implements vfs.File.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.call(false, -1); err != nil {
		return 0, err
	}
	if off >= int64(len(f.ino.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.ino.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// change does a write or a truncation.
func (f *file) change(c change, takes int64) error {
	if err := f.disk.call(true, takes); err != nil {
		return err
	}
	f.ino.data = c.apply(f.ino.data)
	f.ino.pending = append(f.ino.pending, c)
	return f.disk.power()
}

// WriteAt implements vfs.File.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	end := (off + int64(len(p)) + block - 1) / block * block
	has := int64(len(f.ino.data)+block-1) / block * block
	if err := f.change(change{off, append([]byte{}, p...)}, max(0, end-has)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Truncate implements vfs.File.
func (f *file) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.change(change{at: size}, -1)
}

// Sync implements vfs.File. One that fails may have forgotten what it was to write,
// so that the next one has nothing to do, as systems do.
func (f *file) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.call(true, -1); err != nil {
		if !f.disk.dead && f.disk.rng.IntN(2) == 0 {
			f.ino.pending = nil
		}
		return err
	}
	if err := f.disk.power(); err != nil || f.disk.faults.Lies {
		return err
	}
	for _, c := range f.ino.pending {
		f.ino.durable = c.apply(f.ino.durable)
	}
	f.ino.pending = nil
	return nil
}

// Size implements vfs.File.
func (f *file) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.ino.data)), f.disk.call(false, -1)
}

// Close implements vfs.File.
func (f *file) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.unmap()
	delete(f.ino.files, f)
	return nil
}

// others returns the highest level that another connection holds.
func (f *file) others() (highest vfs.Level) {
	for o := range f.ino.files {
		if o != f {
			highest = max(highest, o.level)
		}
	}
	return highest
}

// Lock implements vfs.Shared.
func (f *file) Lock(to vfs.Level) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.call(false, -1); err != nil || f.level >= to {
		return err
	}
	others := f.others()
	switch {
	case to == vfs.ReadLock && others >= vfs.PendingLock, to >= vfs.ReservedLock && others >= vfs.ReservedLock:
		return vfs.ErrBusy
	case to == vfs.ExclusiveLock && others >= vfs.ReadLock:
		// No reader comes in any more; those that are there go in time.
		f.level = vfs.PendingLock
		return vfs.ErrBusy
	}
	f.level = to
	return nil
}

// Unlock implements vfs.Shared. It works without power: a connection must be able to
// let go.
func (f *file) Unlock(to vfs.Level) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.level = min(f.level, to)
	return nil
}

// Reserved implements vfs.Shared.
func (f *file) Reserved() (bool, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return max(f.level, f.others()) >= vfs.ReservedLock, f.disk.call(false, -1)
}

// ShmMap implements vfs.Shared.
func (f *file) ShmMap(n, size int, extend bool) ([]byte, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	takes := int64(-1)
	missing := n - len(f.ino.regions) + 1
	if missing > 0 && extend {
		takes = int64(missing * size)
	}
	if err := f.disk.call(false, takes); err != nil {
		return nil, err
	}
	f.mapped = true
	if missing > 0 && !extend {
		return nil, nil
	}
	for len(f.ino.regions) <= n {
		f.ino.regions = append(f.ino.regions, vfs.NewRegion(size))
	}
	return f.ino.regions[n], nil
}

// ShmLock implements vfs.Shared.
func (f *file) ShmLock(first, n int, lock, exclusive bool) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	mask := uint8((1<<n - 1) << first)
	if !lock {
		f.shared &^= mask
		f.exclusive &^= mask
		return nil
	}
	if err := f.disk.call(false, -1); err != nil {
		return err
	}
	for o := range f.ino.files {
		if o != f && (o.exclusive&mask != 0 || exclusive && o.shared&mask != 0) {
			return vfs.ErrBusy
		}
	}
	if exclusive {
		f.exclusive |= mask
	} else {
		f.shared |= mask
	}
	return nil
}

// ShmUnmap implements vfs.Shared.
func (f *file) ShmUnmap(bool) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.unmap()
	return nil
}

// unmap lets go of the memory; the last one gives it back.
func (f *file) unmap() {
	if !f.mapped {
		return
	}
	f.mapped, f.shared, f.exclusive = false, 0, 0
	for o := range f.ino.files {
		if o.mapped {
			return
		}
	}
	for r := range slices.Values(f.ino.regions) {
		vfs.FreeRegion(r)
	}
	f.ino.regions = nil
}
