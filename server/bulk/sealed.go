package bulk

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
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
// done nobody is given the key. done is told what will be fetched.
func seal(w io.Writer, own age.Recipient, to []age.Recipient, done func(Fetched)) (io.WriteCloser, error) {
	outer, err := age.Encrypt(w, own)
	if err != nil {
		return nil, err
	}
	p := &passing{to: outer, sum: sha256.New()}
	s := &sealed{Writer: p, closers: []io.Closer{outer}, passed: p, done: done}
	if len(to) > 0 {
		inner, err := age.Encrypt(p, to...)
		if err != nil {
			return nil, err
		}
		// The inner encryption ends before the outer one.
		s.Writer, s.closers = inner, []io.Closer{inner, outer}
	}
	return s, nil
}

// Fetched is a file as it is fetched: encrypted to recipients, where there are any.
type Fetched struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// AsFetched is a file of the manifest with the size and the SHA-256 that it has when it is
// fetched, where it is encrypted to recipients.
func (d *Done) AsFetched(f export.File) export.File {
	if is, ok := d.Fetched[f.Name]; ok {
		f.Bytes, f.SHA256 = is.Bytes, is.SHA256
	}
	return f
}

// passing looks at what passes to the outer encryption.
type passing struct {
	to   io.Writer
	sum  hash.Hash
	size int64
}

// Write implements io.Writer.
func (p *passing) Write(b []byte) (int, error) {
	n, err := p.to.Write(b)
	p.sum.Write(b[:n])
	p.size += int64(n)
	return n, err
}

// sealed is a file that is being encrypted.
type sealed struct {
	io.Writer

	closers []io.Closer
	passed  *passing
	done    func(Fetched)
}

// Close implements io.Closer.
func (s *sealed) Close() (err error) {
	for _, c := range s.closers {
		err = errors.Join(err, c.Close())
	}
	s.done(Fetched{s.passed.size, hex.EncodeToString(s.passed.sum.Sum(nil))})
	return err
}

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

// whole reports whether a file on the disk is what it was when it was written.
func whole(path string, identity age.Identity, is Fetched) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	o := &Opened{f: f}
	defer func() {
		// It was only read.
		_ = o.Close()
	}()
	sum := sha256.New()
	if o.decrypt(identity) != nil {
		return false
	}
	_, err = io.Copy(sum, o)
	return err == nil && hex.EncodeToString(sum.Sum(nil)) == is.SHA256
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
