package faultfs

import (
	"cmp"
	"errors"
	"io"

	"github.com/tandem-response/tandem/internal/vfs"
)

// file is an open file.
type file struct {
	disk *Disk
	ino  *inode
	seat *vfs.Seat
}

var _ vfs.Shared = (*file)(nil)

// ReadAt implements vfs.File.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	err := f.disk.call(false, -1)
	if errors.Is(err, ErrHalf) {
		p = p[:len(p)/2]
	} else if err != nil {
		return 0, err
	}
	if off >= int64(len(f.ino.data)) {
		return 0, cmp.Or(err, io.EOF)
	}
	n := copy(p, f.ino.data[off:])
	if err != nil {
		return n, err
	}
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
	c := change{off, append([]byte{}, p...)}
	err := f.change(c, max(0, end-has))
	if errors.Is(err, ErrHalf) {
		c.data = c.data[:len(p)/2]
		f.ino.data = c.apply(f.ino.data)
		f.ino.pending = append(f.ino.pending, c)
		return len(c.data), err
	}
	if err != nil {
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
	f.disk.wait()
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
	f.seat.Leave()
	return nil
}

// called counts a call that changes nothing on the disk; takes as for Disk.call.
func (f *file) called(takes int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.disk.call(false, takes)
}

// Lock implements vfs.Shared.
func (f *file) Lock(to vfs.Level) error {
	if err := f.called(-1); err != nil {
		return err
	}
	return f.seat.Lock(to)
}

// Unlock implements vfs.Shared. It works without power: a connection must be able to
// let go.
func (f *file) Unlock(to vfs.Level) error { return f.seat.Unlock(to) }

// Reserved implements vfs.Shared.
func (f *file) Reserved() (bool, error) {
	if err := f.called(-1); err != nil {
		return false, err
	}
	return f.seat.Reserved()
}

// ShmMap implements vfs.Shared.
func (f *file) ShmMap(n, size int, extend bool) ([]byte, error) {
	takes := int64(-1)
	regions, _ := f.ino.sharing.Regions()
	if missing := n - regions + 1; missing > 0 && extend {
		takes = int64(missing * size)
	}
	if err := f.called(takes); err != nil {
		return nil, err
	}
	return f.seat.ShmMap(n, size, extend)
}

// ShmLock implements vfs.Shared.
func (f *file) ShmLock(first, n int, lock, exclusive bool) error {
	if lock {
		if err := f.called(-1); err != nil {
			return err
		}
	}
	return f.seat.ShmLock(first, n, lock, exclusive)
}

// ShmUnmap implements vfs.Shared.
func (f *file) ShmUnmap(remove bool) error { return f.seat.ShmUnmap(remove) }
