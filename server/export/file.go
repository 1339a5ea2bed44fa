package export

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// ErrExists says that there is something where the export should go.
var ErrExists = errors.New("there is something at that place already: name a directory that does not exist yet")

// ErrBusy says that another export is being written to the same place.
var ErrBusy = errors.New("another export to that place is being written: wait for it, or name another directory")

// unfinished is the end of the name of a directory that is being written.
const unfinished = ".unfinished"

// directory is an export that is being written: under another name until it is whole.
type directory struct {
	to, at string
	// encrypt is nil for files in the clear.
	encrypt func(string, io.Writer) (io.WriteCloser, error)
	lock    *flock.Flock
	files   []*file
	// journal is that of the part that is being made, nil where it has none.
	journal *journal
	// kept are the names of the files that an earlier attempt has finished.
	kept map[string]bool
}

// newDirectory makes the directory, and lets nobody else write to it.
func newDirectory(to string) (*directory, error) {
	d := &directory{to: filepath.Clean(to)}
	d.at = d.to + unfinished
	if _, err := os.Lstat(d.to); err == nil {
		return nil, ErrExists
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := os.Mkdir(d.at, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("making the export's directory: %w", err)
	}
	d.lock = flock.New(d.at+".lock", flock.SetPermissions(0o600))
	if ok, err := d.lock.TryLock(); err != nil {
		return nil, fmt.Errorf("locking the export's directory: %w", err)
	} else if !ok {
		return nil, ErrBusy
	}
	return d, nil
}

// spool is where the state lies that the export is made of, where it lies anywhere.
func (d *directory) spool() string { return d.to + spoolEnd }

// keep removes what an export that was killed left of its own, but for what it has kept: all of
// that, or nothing.
func (d *directory) keep(k *Kept, whole func(string, File) bool) error {
	if d.kept = d.stillWhole(k.Files, whole); d.kept != nil && k.Within != nil {
		d.kept[journalName] = true
	}
	if err := d.clear(); err != nil {
		return fmt.Errorf("removing an export that was broken off: %w", err)
	}
	return nil
}

// stillWhole finds the files that were kept as they lie here, none where one is amiss.
func (d *directory) stillWhole(kept []File, whole func(string, File) bool) map[string]bool {
	names := map[string]bool{}
	for _, f := range kept {
		for _, end := range []string{"", ".age"} {
			if at := filepath.Join(d.at, f.Name+end); isFile(at) && whole != nil && whole(at, f) {
				names[f.Name+end] = true
			}
		}
	}
	if len(names) != len(kept) {
		return nil
	}
	return names
}

func isFile(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}

// clear removes what was not kept.
func (d *directory) clear() error {
	entries, err := os.ReadDir(d.at)
	for _, e := range entries {
		if !d.kept[e.Name()] {
			err = errors.Join(err, os.RemoveAll(filepath.Join(d.at, e.Name())))
		}
	}
	return err
}

func (d *directory) unlock() error {
	return errors.Join(os.Remove(d.lock.Path()), d.lock.Unlock())
}

// abandon removes what was written, or leaves it for the next attempt to look through.
func (d *directory) abandon(leave bool) error {
	var err error
	for _, f := range d.files {
		if f.f != nil {
			err = errors.Join(err, f.f.Close())
		}
	}
	if d.journal != nil {
		err = errors.Join(err, d.journal.f.Close())
	}
	if !leave {
		err = errors.Join(err, os.RemoveAll(d.at), os.RemoveAll(d.spool()))
	}
	return errors.Join(err, d.unlock())
}

// Discard removes what an export to a directory has left unfinished, and the spool of one whose
// Keep was told of it: that is there until then, whatever becomes of the export.
func Discard(to string) error {
	to = filepath.Clean(to)
	return errors.Join(os.RemoveAll(to+unfinished), os.RemoveAll(to+spoolEnd))
}

// commit gives the directory its name. Every file is on the disk by then.
func (d *directory) commit() error {
	if err := syncDir(d.at); err != nil {
		return err
	}
	if err := os.Rename(d.at, d.to); err != nil {
		return fmt.Errorf("naming the export: %w", err)
	}
	return errors.Join(syncDir(filepath.Dir(d.to)), d.unlock())
}

func syncDir(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// open is a file that is being written, nil where there is none of that name.
func (d *directory) open(name string) *file {
	for _, f := range d.files {
		if f.name == name {
			return f
		}
	}
	return nil
}

// flush writes what waits in memory.
func (d *directory) flush() (err error) {
	for _, f := range d.files {
		err = errors.Join(err, f.b.Flush())
	}
	return err
}

// file is one file of an export.
type file struct {
	dir  *directory
	name string
	f    *os.File
	b    *bufio.Writer
	sum  hash.Hash
	size int64
	rows int64
	// sealed encrypts what reaches the disk, nil where nothing does.
	sealed io.WriteCloser
}

func (d *directory) create(name string) (*file, error) {
	at := filepath.Join(d.at, name)
	if d.encrypt != nil {
		at += ".age"
	}
	f, err := os.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making a file of the export: %w", err)
	}
	out := &file{dir: d, name: name, f: f, sum: sha256.New()}
	d.files = append(d.files, out)
	if d.encrypt != nil {
		if out.sealed, err = d.encrypt(name, f); err != nil {
			return nil, fmt.Errorf("encrypting the export: %w", err)
		}
	}
	out.b = bufio.NewWriterSize(counting{out}, 32<<10)
	return out, nil
}

// counting takes what is written, before it is encrypted.
type counting struct{ f *file }

func (c counting) Write(b []byte) (int, error) {
	to := io.Writer(c.f.f)
	if c.f.sealed != nil {
		to = c.f.sealed
	}
	n, err := to.Write(b)
	c.f.size += int64(n)
	c.f.sum.Write(b[:n])
	if err != nil {
		return n, fmt.Errorf("writing the export: %w", err)
	}
	if l := c.f.dir.journal; l != nil {
		return n, l.add(c.f.name, b)
	}
	return n, nil
}

var _ io.Writer = counting{}

// finish puts the file on the disk and says what is in it.
func (f *file) finish() (File, error) {
	err := f.b.Flush()
	if f.sealed != nil {
		err = errors.Join(err, f.sealed.Close())
	}
	err = errors.Join(err, f.f.Sync(), f.f.Close())
	f.f = nil
	return File{Name: f.name, Rows: f.rows, Bytes: f.size, SHA256: hex.EncodeToString(f.sum.Sum(nil))}, err
}
