package bulk

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"filippo.io/age"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/syncengine"
)

// seal encrypts what lies on the disk with the export's own key, and inside of that, where
// there are recipients, to them: the server cannot open it either, and until the export is
// done nobody can.
func seal(w io.Writer, own age.Recipient, to []age.Recipient) (io.WriteCloser, error) {
	outer, err := age.Encrypt(w, own)
	if err != nil || len(to) == 0 {
		return outer, err
	}
	inner, err := age.Encrypt(outer, to...)
	return &sealed{inner, outer}, err
}

// sealed is a writer inside of another.
type sealed struct {
	io.WriteCloser

	outer io.Closer
}

// Close implements io.Closer: the inner encryption ends before the outer one.
func (s *sealed) Close() error { return errors.Join(s.WriteCloser.Close(), s.outer.Close()) }

// Opened is a file of an export as it is fetched, from any place in it.
type Opened struct {
	*io.SectionReader

	f *os.File
	// Tag tells this content from all others.
	Tag string
}

// Close implements io.Closer.
func (o *Opened) Close() error { return o.f.Close() }

// Open opens a file of an export that is done, by the name of [Request.FileName]: as it was
// before the server encrypted it. It can be read from any place, so that a fetch that was
// broken off goes on.
func (e *Exports) Open(id syncengine.ID, r *Request, done *Done, name string) (*Opened, error) {
	files := append(slices.Clone(done.Manifest.Files), export.File{Name: "manifest.json"})
	at := slices.IndexFunc(files, func(f export.File) bool { return r.FileName(f.Name) == name })
	if at < 0 {
		return nil, ErrNone
	}
	identity, err := age.ParseX25519Identity(done.Key)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(e.dir(id), files[at].Name+".age"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrElsewhere
	} else if err != nil {
		return nil, err
	}
	o := &Opened{f: f, Tag: id.String() + "-" + files[at].SHA256}
	if err := o.decrypt(identity); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return o, nil
}

func (o *Opened) decrypt(identity age.Identity) error {
	info, err := o.f.Stat()
	if err != nil {
		return err
	}
	plain, size, err := age.DecryptReaderAt(o.f, info.Size(), identity)
	if err == nil {
		o.SectionReader = io.NewSectionReader(plain, 0, size)
	}
	return err
}
