package export

import (
	"bufio"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/tandem-response/tandem/syncengine"
)

// A journal is what the files of a part are given while it is made, in that order and sealed. The
// files of a part that was broken off cannot be gone on with where they lie: what encrypts them, and
// to whom, is nobody's to take up again. They are written once more from the journal, up to the
// place that was kept last, and the part goes on with the record after that.

// piece is how many records a part passes on before its place is kept. A part with no more is made
// without a journal.
const piece = 10_000

// Within is a place inside of a part.
type Within struct {
	// After is the last record that the part has made, by id.
	After syncengine.ID `json:"after"`
	// Journal is how many bytes of it hold until there, and Rows what the files have by then.
	Journal int64            `json:"journal"`
	Rows    map[string]int64 `json:"rows"`
}

// journaled reports whether a part keeps its place. Parquet says at the end of a file where all of
// it stands, which only the one who has written the file knows. Where there is no room for a journal
// beside the files the part is made without.
func (j *job) journaled(p kindsPart) bool {
	if j.o.Keep == nil || j.whole() || j.o.Format == Parquet || p.records <= piece {
		return false
	}
	needs := (p.bytes + p.records*spoolEach) * journalTimes[j.o.Format]
	// The files are as large again.
	return j.kept.Within != nil || spoolRoom(j.dir.at, 2*needs) == nil
}

// journalTimes is about how many times the bytes of records are in files of a form.
var journalTimes = map[string]int64{CSV: 2, FHIR: 4}

// journal is one that is written.
type journal struct {
	f     *os.File
	seal  cipher.AEAD
	place uint64
	size  int64
}

// journalNonce is the size of those of AES-GCM. Each is a random one: what was written behind the
// place that was kept is written again, under the same key.
const journalNonce = 12

func (d *directory) journalPath() string { return filepath.Join(d.at, journalName) }

// journalName is no name of a file that is passed on.
const journalName = "journal"

// journalSeal is the cipher of a part's journal, whose key comes of that of the spool.
func (j *job) journalSeal(parts int) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, j.kept.Key, nil, fmt.Sprintf("journal of part %d", parts), spoolKey)
	if err != nil {
		return nil, err
	}
	return spoolSeal(key)
}

// Sizes of a journal's blocks: of what a file is given, and of all that is sealed. The length of a
// block is not, and nothing is made as long as it says before it is known to be one.
const (
	journalPiece = 64 << 10
	journalMost  = journalPiece + 1<<10
)

// add notes what a file is given.
func (l *journal) add(name string, b []byte) error {
	for some := range slices.Chunk(b, journalPiece) {
		if err := l.put(name, some); err != nil {
			return err
		}
	}
	return nil
}

// put writes a block.
func (l *journal) put(name string, b []byte) error {
	text := append(binary.AppendUvarint(nil, uint64(len(name))), name...)
	text = append(text, b...)
	block := make([]byte, 4+journalNonce, 4+journalNonce+len(text)+l.seal.Overhead())
	binary.BigEndian.PutUint32(block, uint32(len(text)+l.seal.Overhead()))
	if _, err := rand.Read(block[4:]); err != nil {
		return err
	}
	block = l.seal.Seal(block, block[4:], text, binary.BigEndian.AppendUint64(nil, l.place))
	n, err := l.f.Write(block)
	l.place++
	l.size += int64(n)
	if err != nil {
		return fmt.Errorf("writing what is exported: %w", err)
	}
	return nil
}

// readJournal calls f with what the files were given, as far as the journal holds. The error is
// errSpool where that is not what was written.
func readJournal(path string, seal cipher.AEAD, size int64, f func(name string, b []byte) error) (place uint64, err error) {
	from, err := os.Open(path)
	if err != nil {
		return 0, errors.Join(errSpool, err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	r := bufio.NewReaderSize(io.LimitReader(from, size), 64<<10)
	for left := size; left > 0; place++ {
		var head [4 + journalNonce]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return 0, errSpool
		}
		n := int64(binary.BigEndian.Uint32(head[:]))
		if left -= int64(len(head)) + n; left < 0 || n > journalMost {
			return 0, errSpool
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return 0, errSpool
		}
		text, err := seal.Open(b[:0], head[4:], b, binary.BigEndian.AppendUint64(nil, place))
		if err != nil {
			return 0, errSpool
		}
		s := spoolReader{b: text}
		name := s.take(s.uint())
		if s.bad {
			return 0, errSpool
		}
		if err := f(string(name), s.b); err != nil {
			return 0, err
		}
	}
	return place, nil
}

// holds reports whether the journal that was kept is what it was.
func (j *job) holds(k *Kept) bool {
	seal, err := j.journalSeal(k.Parts)
	if err == nil {
		_, err = readJournal(j.dir.journalPath(), seal, k.Within.Journal, func(string, []byte) error { return nil })
	}
	return err == nil
}

// replay writes the files of a part as they were at the place that was kept, and begins to note
// what they are given from there.
func (j *job) replay() (err error) {
	l := &journal{}
	if l.seal, err = j.journalSeal(j.kept.Parts); err != nil {
		return err
	}
	if in := j.kept.Within; in != nil {
		l.size = in.Journal
		if l.place, err = readJournal(j.dir.journalPath(), l.seal, l.size, func(name string, b []byte) error {
			f := j.dir.open(name)
			if f == nil {
				if f, err = j.dir.create(name); err != nil {
					return err
				}
				f.rows = in.Rows[name]
			}
			_, err := f.b.Write(b)
			return err
		}); err != nil {
			return err
		}
		if err := j.dir.flush(); err != nil {
			return err
		}
	}
	if l.f, err = os.OpenFile(j.dir.journalPath(), os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return fmt.Errorf("making room for what is exported: %w", err)
	}
	j.dir.journal = l
	if err := l.f.Truncate(l.size); err != nil {
		return err
	}
	_, err = l.f.Seek(l.size, io.SeekStart)
	return err
}

// hold keeps the place after a record.
func (j *job) hold(after syncengine.ID) error {
	if err := errors.Join(j.from.failed, j.dir.flush()); err != nil {
		return err
	}
	in := &Within{After: after, Journal: j.dir.journal.size, Rows: map[string]int64{}}
	for _, f := range j.dir.files {
		in.Rows[f.name] = f.rows
	}
	if err := errors.Join(j.dir.journal.f.Sync(), syncDir(j.dir.at)); err != nil {
		return err
	}
	if err := j.progressed(); err != nil {
		return err
	}
	j.kept.Within = in
	return j.o.Keep(j.kept)
}

// progressed notes what the export has come to.
func (j *job) progressed() (err error) {
	j.kept.Records, j.kept.LeftOut = j.n, j.left
	if f, ok := j.form.(*fhirForm); ok {
		var text json.RawMessage
		if text, err = f.save(); err == nil {
			j.kept.Form = text
		}
	}
	return err
}

// endJournal removes that of a part whose files are whole.
func (d *directory) endJournal() error {
	if d.journal == nil {
		return nil
	}
	err := d.journal.f.Close()
	d.journal = nil
	return errors.Join(err, os.Remove(d.journalPath()))
}
