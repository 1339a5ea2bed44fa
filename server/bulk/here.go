package bulk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// hereKind is that of what exports into a directory of the operator's leave to the next attempt.
// It has ended from the beginning, so that no server takes it up, and goes with the others that are
// older than a day.
const hereKind = "export.here"

// hereFor is how long that is kept: a spool is gone on from no longer.
const hereFor = 24 * time.Hour

// ErrStrayed says that what was exported does not stand any more by the time that it is whole.
var ErrStrayed = errors.New("something was erased by law, or a record or the rights of those who export changed, while the export was made: run the command once more")

// Here is an export into a directory of the operator's. Where one was killed, and the same is asked
// for again into the same directory, it goes on. The key of what lies there meanwhile is in the
// database alone, for a day; what is stopped or fails leaves nothing.
type Here struct {
	Store *store.Store
	Org   *store.Org
	Admin *server.Admin
	To    string
	// Note is what is kept of it: ID, Teams, Seq and What are set here.
	Note *server.ExportNote
	// Keys are those that the export's Encrypt encrypts to.
	Keys []string
}

// left is what an attempt leaves to the next one.
type left struct {
	ID syncengine.ID `json:"id"`
	// At is the day on which ages are reckoned.
	At   time.Time `json:"at"`
	Keys []string  `json:"keys,omitempty"`
	// Noted is the sequence for which disclosures and the first entry were written.
	Noted uint64 `json:"noted,omitempty"`
	// Sealed is the SHA-256 of each encrypted file as it lies there.
	Sealed map[string]string `json:"sealed,omitempty"`
	Kept   *export.Kept      `json:"kept"`
	// instead is what was left of another export to the same place.
	instead syncengine.ID
}

// Write makes the export. The hash is that of its manifest, ID, Begin, End and what is kept are set
// here.
func (h *Here) Write(ctx context.Context, o export.Options) (m *export.Manifest, digest syncengine.Hash, err error) {
	l, err := h.find(ctx, o)
	if err != nil {
		return nil, digest, err
	}
	o.ID, o.At, o.Kept, h.Note.ID = l.ID, l.At, l.Kept, l.ID
	h.watch(&o, l)
	o.Keep = func(k *export.Kept) error {
		l.Kept = k
		return h.save(ctx, l)
	}
	o.Begin = func(cut export.Cut) error {
		h.Note.Teams, h.Note.Seq, h.Note.What = cut.Teams, cut.Seq, cut.What
		if l.Noted == cut.Seq {
			return nil
		}
		if err := h.Admin.BeginExport(ctx, h.Note); err != nil || l.Kept == nil {
			return err
		}
		l.Noted = cut.Seq
		return h.save(ctx, l)
	}
	o.End = func(m *export.Manifest, of syncengine.Hash) error {
		if digest = of; l.Kept != nil {
			if err := h.stands(ctx, o, l.Kept); err != nil {
				return err
			}
		}
		return h.Admin.EndExport(ctx, h.Note, m.Records, of)
	}
	m, err = export.Write(ctx, h.Store, h.Org, h.To, o)
	if l.Kept == nil && errors.Is(err, store.ErrDisk) {
		// There is no room to go on from: it is made of the database itself.
		o.Keep = nil
		m, err = export.Write(ctx, h.Store, h.Org, h.To, o)
	}
	if l.Kept == nil || errors.Is(err, export.ErrBusy) {
		return m, digest, err
	}
	return m, digest, errors.Join(err, h.forget(context.WithoutCancel(ctx), l.ID), export.Discard(h.To))
}

// place tells directories apart.
func (h *Here) place() ([]byte, error) {
	at, err := filepath.Abs(h.To)
	sum := sha256.Sum256([]byte(at))
	return sum[:], err
}

// find is what an attempt at the same has left, or a new beginning.
func (h *Here) find(ctx context.Context, o export.Options) (*left, error) {
	begin := &left{ID: o.ID, At: o.At, Keys: h.Keys, Sealed: map[string]string{}}
	place, err := h.place()
	if err != nil {
		return nil, err
	}
	var was *left
	err = h.Store.Jobs(ctx, h.Org.ID, hereKind, 1000, func(j *store.Job) error {
		l := &left{Sealed: map[string]string{}}
		if !bytes.Equal(j.Payload, place) {
			return nil
		}
		if begin.instead = j.ID; json.Unmarshal(j.Result, l) == nil && l.Kept != nil {
			was = l
		}
		return nil
	})
	if err != nil || was == nil || !slices.Equal(was.Keys, h.Keys) {
		return begin, err
	}
	o.ID, o.At = was.ID, was.At
	if same, err := was.Kept.Of(o); err != nil || !same {
		return begin, err
	}
	return was, nil
}

// save writes down how far it is, and takes the place of what was left there before.
func (h *Here) save(ctx context.Context, l *left) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	place, err := h.place()
	if err != nil {
		return err
	}
	return h.Store.Write(ctx, h.Org.ID, 1, func(tx *store.Tx) error {
		j, err := tx.Job(l.ID)
		if err != nil {
			return err
		}
		if j == nil {
			if err := tx.DropJob(l.instead); err != nil {
				return err
			}
			j = &store.Job{ID: l.ID, Kind: hereKind, Name: l.ID.String(), Payload: place}
			if _, err := tx.AddJob(j); err != nil {
				return err
			}
		}
		j.Result, j.EndedMS = text, j.CreatedMS
		if err := tx.SaveJob(j); err != nil {
			return err
		}
		now, err := tx.NowMS()
		if err == nil {
			_, err = tx.DropJobs(hereKind, now-hereFor.Milliseconds())
		}
		return err
	})
}

// forget removes what was left, and its key with it.
func (h *Here) forget(ctx context.Context, id syncengine.ID) error {
	return h.Store.Write(ctx, h.Org.ID, 1, func(tx *store.Tx) error { return tx.DropJob(id) })
}

// stands refuses what is not to be handed out any more.
func (h *Here) stands(ctx context.Context, o export.Options, k *export.Kept) error {
	still, err := export.Stands(ctx, h.Store, h.Org, h.To, o, k)
	if err != nil {
		return err
	}
	return h.Store.Write(ctx, h.Org.ID, 1, func(tx *store.Tx) error {
		stands, err := still(tx)
		if err == nil && !stands {
			err = ErrStrayed
		}
		return err
	})
}

// watch notes what files are as they lie on the disk, and compares them with that.
func (h *Here) watch(o *export.Options, l *left) {
	encrypt := o.Encrypt
	o.Whole = func(path string, f export.File) bool {
		want := f.SHA256
		if encrypt != nil {
			want = l.Sealed[f.Name]
		}
		return sumOf(path) == want
	}
	if encrypt == nil {
		return
	}
	o.Encrypt = func(name string, w io.Writer) (io.WriteCloser, error) {
		sum := sha256.New()
		to, err := encrypt(name, io.MultiWriter(w, sum))
		return &summed{to, func() { l.Sealed[name] = hex.EncodeToString(sum.Sum(nil)) }}, err
	}
}

// summed calls done once it is closed.
type summed struct {
	io.WriteCloser

	done func()
}

// Close implements io.Closer.
func (s *summed) Close() error {
	err := s.WriteCloser.Close()
	s.done()
	return err
}

// sumOf is the SHA-256 of a file, nothing where it cannot be read.
func sumOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	if errors.Join(err, f.Close()) != nil {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil))
}
