package vault

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/tandem-response/tandem/internal/vfs"
)

const (
	// PageSize is that of a database in a vault.
	PageSize = 8192
	// sealedPage is what a page takes up.
	sealedPage = PageSize + overhead
)

// pages is what is known of the database's file, for all that have it open.
type pages struct {
	mu sync.Mutex
	head
	loaded bool
	// recount: a write failed half way, the sum is to be made anew. torn: the power went
	// in the middle of writing pages, some of which stand whole in the log alone.
	recount, torn bool
}

// pageAt is where a page stands in the file.
func pageAt(n int64) int64 { return headSize + n*sealedPage }

// pagesIn is how many whole pages a file of some size holds.
func pagesIn(size int64) int64 { return max(size-headSize, 0) / sealedPage }

// pageBytes is the size of a file as SQLite sees it. One without a page has its first.
func (v *FS) pageBytes(size int64) int64 {
	n := pagesIn(size)
	if n == 0 && !v.making {
		n = 1
	}
	return n * PageSize
}

// load reads the head at the first open.
func (p *pages) load(v *FS, f vfs.File) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded {
		return nil
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	if err := p.read(v.seal, f); err != nil {
		return err
	}
	switch {
	case p.at < 0 && (p.spoiled > 0 || size > headSize):
		return v.damage("the head of the database cannot be read: it was not written with this key, or not by this program")
	case p.writing:
		// The power went while pages were being written from the log: it still has them.
		size, err := v.base.Size(v.name + logSuffix)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err != nil || size <= headSize {
			return v.damage("pages were being written from the log, and there is no log")
		}
		if err := p.count(v, f); err != nil {
			return err
		}
		p.torn = true
	case pagesIn(size) < p.pages:
		return v.damage("the database has lost its end")
	}
	p.loaded = true
	return nil
}

// count makes the sum anew, of what stands in the file. mu is held.
func (p *pages) count(v *FS, f vfs.File) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	p.sum, p.pages = sum{}, pagesIn(size)
	for n := range p.pages {
		t, err := v.termAt(f, n)
		if err != nil {
			return err
		}
		p.sum = p.sum.with(t)
	}
	p.recount = false
	return nil
}

// termAt reads the term of a page.
func (v *FS) termAt(f io.ReaderAt, n int64) (sum, error) {
	var trailer [overhead]byte
	if _, err := f.ReadAt(trailer[:], pageAt(n)+PageSize); err != nil {
		return sum{}, err
	}
	return v.seal.term(n, trailer[:]), nil
}

// since returns the state with what is known of the log, which an older one lacks. mu is
// held.
func (p *pages) since(v *FS) slot {
	next := p.slot
	if generation, frames := v.log.kept(); generation > next.generation {
		next.generation, next.frames = generation, frames
	} else if generation == next.generation {
		next.frames = max(next.frames, frames)
	}
	return next
}

// begin notes on the disk that pages are being written. mu is held.
func (p *pages) begin(v *FS, f vfs.File) error {
	if p.writing || v.making {
		return nil
	}
	next := p.since(v)
	next.writing = true
	if err := p.write(v.seal, f, next); err != nil {
		return err
	}
	// What was there before must not be written over sooner.
	return f.Sync()
}

// end notes on the disk that they are there. mu is held.
func (p *pages) end(v *FS, f vfs.File) error {
	if p.recount {
		if err := p.count(v, f); err != nil {
			return err
		}
	}
	next := p.since(v)
	next.writing = false
	if err := p.write(v.seal, f, next); err != nil {
		return err
	}
	p.torn = false
	return f.Sync()
}

// pageFile is the database's file, open.
type pageFile struct {
	vfs.File
	*vfs.Seat

	v   *FS
	buf []byte
}

var _ vfs.Shared = (*pageFile)(nil)

// ReadAt implements vfs.File.
func (f *pageFile) ReadAt(p []byte, off int64) (done int, err error) {
	for done < len(p) {
		n, in := off/PageSize, off%PageSize
		page, err := f.page(n)
		if errors.Is(err, errSeal) && n == 0 && len(p) < PageSize {
			// SQLite asks for the size of pages, and for what tells it nothing as long as
			// there is a log. The first page itself may stand in the log alone.
			page, err = emptyPage, nil
		}
		if errors.Is(err, errSeal) {
			return done, f.v.damage("page %d of the database is not what was written there", n+1)
		}
		if err != nil {
			return done, err
		}
		k := copy(p[done:], page[in:])
		done, off = done+k, off+int64(k)
	}
	return done, nil
}

// page reads a page; io.EOF where there is none.
func (f *pageFile) page(n int64) ([]byte, error) {
	got, err := f.File.ReadAt(f.buf, pageAt(n))
	if got == len(f.buf) {
		return f.v.seal.open(f.buf, kindPage, n)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if n == 0 && !f.v.making {
		size, err := f.File.Size()
		if err == nil && pagesIn(size) == 0 {
			return emptyPage, nil
		}
	}
	return nil, io.EOF
}

// WriteAt implements vfs.File.
func (f *pageFile) WriteAt(p []byte, off int64) (int, error) {
	if off%PageSize != 0 || len(p)%PageSize != 0 {
		return 0, errors.New("part of a page")
	}
	d := &f.v.pages
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(f.v, f.File); err != nil {
		return 0, err
	}
	for at := 0; at < len(p); at += PageSize {
		if err := f.put(p[at:at+PageSize], off/PageSize+int64(at/PageSize)); err != nil {
			return at, err
		}
	}
	return len(p), nil
}

// put writes a page. mu is held.
func (f *pageFile) put(page []byte, n int64) error {
	d := &f.v.pages
	if n > d.pages && !d.recount {
		// Those between are written later, or never.
		d.recount = true
	}
	if n < d.pages && !d.recount {
		old, err := f.v.termAt(f.File, n)
		if err != nil {
			return err
		}
		d.sum = d.sum.with(old)
	}
	copy(f.buf, page)
	if err := f.v.seal.seal(f.buf, kindPage, n); err != nil {
		return err
	}
	d.sum = d.sum.with(f.v.seal.term(n, f.buf[PageSize:]))
	d.pages = max(d.pages, n+1)
	if _, err := f.File.WriteAt(f.buf, pageAt(n)); err != nil {
		d.recount = true
		return err
	}
	return nil
}

// Truncate implements vfs.File.
func (f *pageFile) Truncate(size int64) error {
	d := &f.v.pages
	d.mu.Lock()
	defer d.mu.Unlock()
	if size%PageSize != 0 {
		return errors.New("part of a page")
	}
	if err := d.begin(f.v, f.File); err != nil {
		return err
	}
	d.recount = true
	if size == 0 {
		return f.File.Truncate(headSize)
	}
	return f.File.Truncate(pageAt(size / PageSize))
}

// Sync implements vfs.File.
func (f *pageFile) Sync() error {
	if err := f.File.Sync(); err != nil {
		return err
	}
	d := &f.v.pages
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.writing {
		return nil
	}
	return d.end(f.v, f.File)
}

// Size implements vfs.File.
func (f *pageFile) Size() (int64, error) {
	size, err := f.File.Size()
	return f.v.pageBytes(size), err
}

// Close implements vfs.File.
func (f *pageFile) Close() error {
	f.Leave()
	clear(f.buf)
	return f.File.Close()
}
