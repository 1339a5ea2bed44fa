package vault

import (
	"os"

	"github.com/tandem-response/tandem/internal/vfs"
)

// NewCopy returns the file system in which a database is made whole by a copy: SQLite
// writes it once, in any order. It is none until Finish has returned.
func NewCopy(base vfs.FS, name string, key *DataKey) (*FS, error) {
	v, err := New(base, name, key)
	if err != nil {
		return nil, err
	}
	v.making = true
	return v, nil
}

// Finish makes a database of the copy, on the disk: one that keeps a log.
func (v *FS) Finish() error {
	f, err := v.base.OpenFile(v.name, os.O_RDWR)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	p := &pageFile{v: v, File: f, buf: make([]byte, sealedPage)}
	first, err := p.page(0)
	if err != nil {
		return err
	}
	page := append([]byte{}, first[:PageSize]...)
	page[18], page[19] = emptyPage[18], emptyPage[19]
	if _, err := p.WriteAt(page, 0); err != nil {
		return err
	}
	v.pages.mu.Lock()
	defer v.pages.mu.Unlock()
	if err := v.pages.count(v, f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return v.pages.end(v, f)
}
