package faultfs

import (
	"fmt"
	"io/fs"
)

// at returns the file of a name.
func (d *Disk) at(path string) (*inode, error) {
	if entry := d.names[path]; entry != nil && entry.now() != nil {
		return entry.now(), nil
	}
	return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
}

// Read returns the bytes of a file, as everybody sees them.
func (d *Disk) Read(path string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ino, err := d.at(path)
	if err != nil {
		return nil, err
	}
	return append([]byte{}, ino.data...), nil
}

// Flip turns one bit of a file, durably.
func (d *Disk) Flip(path string, bit int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	ino, err := d.at(path)
	if err != nil {
		return err
	}
	for _, b := range [][]byte{ino.data, ino.durable} {
		if bit/8 < int64(len(b)) {
			b[bit/8] ^= 1 << (bit % 8)
		}
	}
	return nil
}

// Swap puts older bytes of a file in the place of those that are there, durably: a
// page that was never written, or was written elsewhere.
func (d *Disk) Swap(path string, off int64, older []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	ino, err := d.at(path)
	if err != nil {
		return err
	}
	for _, b := range [][]byte{ino.data, ino.durable} {
		if off < int64(len(b)) {
			copy(b[off:], older)
		}
	}
	return nil
}
