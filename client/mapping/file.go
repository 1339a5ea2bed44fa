package mapping

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-response/tandem/syncengine"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/transform"
)

// Limits of files.
const (
	// maxColumns is the most columns that a file or a mapping may have.
	maxColumns = 1000
	// maxRow is the most bytes of a row.
	maxRow = 1 << 20
	// maxFile is the most bytes of a file, expanded.
	maxFile = 4 << 30
	// A compressed file may expand to freeExpansion bytes and beyond that to
	// maxExpansion times its size.
	freeExpansion = 16 << 20
	maxExpansion  = 100
	// headSize is how much of a file is looked at to tell what it is.
	headSize = 4096
	// maxNamed is how many columns a message names.
	maxNamed = 8
)

// FileError says why a file cannot be read, as a whole or from a line on.
type FileError struct {
	// Line in the file; 0 for the file as a whole.
	Line int
	// Reason, and what to do. It holds no value of the file.
	Reason string
}

// Error returns line and reason.
func (e *FileError) Error() string {
	if e.Line == 0 {
		return "the file " + e.Reason
	}
	return fmt.Sprintf("line %d %s", e.Line, e.Reason)
}

func wholeFile(format string, args ...any) error {
	return &FileError{Reason: fmt.Sprintf(format, args...)}
}

// File is a spreadsheet that fits a mapping. It reads its source, which must stay
// open and unchanged, from the start at every Rows and Check; only one may run at a
// time.
type File struct {
	mapping *Mapping
	source  io.ReadSeeker
	gzipped bool
	// packed is the size of the source, size that of the text in it.
	packed, size int64
	hash         syncengine.Hash
	// openEnd: the last line has no line end.
	openEnd bool
	// header is the number of columns, places where in a row the mapping's stand.
	header int
	places []int
}

// File opens a spreadsheet: it reads it once for its hash, and checks encoding,
// size and header. The source may be gzip-compressed.
func (m *Mapping) File(ctx context.Context, source io.ReadSeeker) (*File, error) {
	f := &File{mapping: m, source: source}
	var err error
	if f.packed, err = source.Seek(0, io.SeekEnd); err != nil {
		return nil, fmt.Errorf("reading the file: %w", err)
	}
	if f.packed == 0 {
		return nil, wholeFile("is empty")
	}
	s, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := s.Read(buf)
		f.size += int64(n)
		if n > 0 {
			f.openEnd = !bytes.HasSuffix(buf[:n], []byte("\n"))
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fileFault(err)
		}
	}
	f.hash = s.sum()
	if f.size == 0 {
		return nil, wholeFile("is empty")
	}
	if s, err = f.open(ctx); err != nil {
		return nil, err
	}
	r := f.reader(s)
	if err := f.readHeader(r); err != nil {
		return nil, err
	}
	return f, nil
}

// Hash returns the SHA-256 of the file; of a compressed one, of what it holds.
func (f *File) Hash() syncengine.Hash { return f.hash }

// Size returns the number of bytes that rows count their end in.
func (f *File) Size() int64 { return f.size }

var errDamaged = wholeFile("is compressed and damaged, or not whole: get it again from where it came")

// fileFault returns the words for an error of reading.
func fileFault(err error) error {
	switch {
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, io.ErrUnexpectedEOF):
		return errDamaged
	}
	if _, ok := errors.AsType[flate.CorruptInputError](err); ok {
		return errDamaged
	}
	if _, ok := errors.AsType[*FileError](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("reading the file: %w", err)
}

// stream is the text of a file: expanded, hashed, without its mark, as UTF-8.
type stream struct {
	ctx    context.Context
	text   io.Reader
	hashed *hashed
}

// hashed hashes what is read through it, and ends where it is too much.
type hashed struct {
	r    io.Reader
	hash hash.Hash
	left int64
}

func (h *hashed) Read(b []byte) (int, error) {
	n, err := h.r.Read(b)
	h.hash.Write(b[:n])
	if h.left -= int64(n); h.left < 0 {
		return 0, wholeFile("is larger than an import takes, or expands beyond measure: split it")
	}
	return n, err
}

func (s *stream) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.text.Read(b)
}

func (s *stream) sum() syncengine.Hash { return syncengine.Hash(s.hashed.hash.Sum(nil)) }

// open starts the file's text from its beginning and refuses what is no text.
func (f *File) open(ctx context.Context) (*stream, error) {
	if _, err := f.source.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading the file: %w", err)
	}
	raw := bufio.NewReaderSize(f.source, 64<<10)
	head, err := raw.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the file: %w", err)
	}
	h := &hashed{r: raw, hash: sha256.New(), left: maxFile}
	if f.gzipped = bytes.HasPrefix(head, []byte{0x1f, 0x8b}); f.gzipped {
		z, err := gzip.NewReader(raw)
		if err != nil {
			return nil, errDamaged
		}
		h.r, h.left = z, min(maxFile, freeExpansion+maxExpansion*f.packed)
	}
	text := bufio.NewReaderSize(h, 64<<10)
	head, err = text.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fileFault(err)
	}
	if err := checkHead(head); err != nil {
		return nil, err
	}
	if mark := "\uFEFF"; bytes.HasPrefix(head, []byte(mark)) {
		if f.mapping.latin {
			return nil, wholeFile("is UTF-8, and the mapping says windows-1252: set encoding to utf-8")
		}
		if _, err := text.Discard(len(mark)); err != nil {
			return nil, fileFault(err)
		}
	}
	s := &stream{ctx: ctx, text: text, hashed: h}
	if f.mapping.latin {
		s.text = transform.NewReader(text, charmap.Windows1252.NewDecoder())
	}
	return s, nil
}

// checkHead refuses files that are no CSV by how they begin.
func checkHead(head []byte) error {
	const save = `save it again as "CSV UTF-8"`
	for magic, what := range map[string]string{
		"\xff\xfe":         "is UTF-16",
		"\xfe\xff":         "is UTF-16",
		"\x00\x00\xfe\xff": "is UTF-32",
		"PK\x03\x04":       "is a workbook (xlsx, ods) or a zip archive",
		"\xd0\xcf\x11\xe0": "is a workbook (xls)",
		"\x1f\x8b":         "is compressed twice",
		"SQLite format 3":  "is a database",
		"%PDF-":            "is a PDF",
	} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return wholeFile("%s: %s", what, save)
		}
	}
	if bytes.IndexByte(head, 0) >= 0 {
		return wholeFile("holds NUL bytes, as UTF-16 and binary files do: %s", save)
	}
	return nil
}

// rowReader reads CSV rows of bounded size.
type rowReader struct {
	*csv.Reader
	limit *rowLimit
}

// rowLimit ends a stream where a row grows too long.
type rowLimit struct {
	r    io.Reader
	read int64
	// rowEnd is where the last whole row ended.
	rowEnd int64
}

var errLongRow = errors.New("long row")

func (l *rowLimit) Read(b []byte) (int, error) {
	if l.read-l.rowEnd > maxRow {
		return 0, errLongRow
	}
	n, err := l.r.Read(b)
	l.read += int64(n)
	return n, err
}

func (f *File) reader(s *stream) *rowReader {
	limit := &rowLimit{r: s}
	r := csv.NewReader(limit)
	r.Comma = f.mapping.comma
	r.FieldsPerRecord = -1
	r.ReuseRecord = true
	return &rowReader{Reader: r, limit: limit}
}

// next returns the next row, and the line it starts in. A *csv.ParseError is one
// after which the next row can be read.
func (r *rowReader) next() (cells []string, line int, err error) {
	cells, err = r.Read()
	r.limit.rowEnd = r.InputOffset()
	if wrong, ok := errors.AsType[*csv.ParseError](err); ok {
		if wrong.Line == wrong.StartLine {
			return nil, wrong.StartLine, wrong
		}
		return nil, 0, &FileError{wrong.StartLine, "opens a quote that is not closed where it should be: from there on rows " +
			"cannot be told apart. Close it, or write a quote inside a cell twice"}
	}
	if errors.Is(err, errLongRow) {
		return nil, 0, wholeFile("holds a row of more than %d bytes: look for a quote that is not closed", maxRow)
	}
	if err != nil {
		if !errors.Is(err, io.EOF) {
			err = fileFault(err)
		}
		return nil, 0, err
	}
	line, _ = r.FieldPos(0)
	return cells, line, nil
}

// readHeader reads the first row and finds the mapping's columns in it.
func (f *File) readHeader(r *rowReader) error {
	cells, line, err := r.next()
	if errors.Is(err, io.EOF) {
		return wholeFile("is empty")
	}
	if wrong, ok := errors.AsType[*csv.ParseError](err); ok {
		return &FileError{wrong.StartLine, "has a misplaced quote: write a quote inside a cell twice, and quotes around the cell"}
	}
	if err != nil {
		return err
	}
	if len(cells) > maxColumns {
		return &FileError{line, fmt.Sprintf("has %d columns: %d are the most", len(cells), maxColumns)}
	}
	names := make([]string, len(cells))
	for i, c := range cells {
		if strings.ContainsRune(c, '\r') {
			return &FileError{line, `ends with a carriage return alone, as old Macs wrote it: save the file again as "CSV UTF-8"`}
		}
		names[i] = strings.TrimSpace(c)
	}
	f.header = len(names)
	return f.findColumns(line, names)
}

// findColumns finds the mapping's columns in the header. It names columns of the
// file only where they are surely that, and not a row of data.
func (f *File) findColumns(line int, names []string) error {
	m := f.mapping
	f.places = make([]int, len(m.columns))
	var missing []string
	for i, c := range m.columns {
		if f.places[i] = slices.Index(names, c); f.places[i] < 0 {
			missing = append(missing, c)
		}
	}
	if len(missing) == len(m.columns) && len(missing) > 0 {
		return &FileError{line, fmt.Sprintf("holds none of the mapping's columns, %s: the first line must name the columns, "+
			"encoding and delimiter must be those of the mapping, and lines must end with a newline", named(missing))}
	}
	var faults []string
	if len(missing) > 0 {
		faults = append(faults, "lacks the columns "+named(missing)+", which the mapping takes")
	}
	var unknown, twice []string
	nameless := 0
	for i, name := range names {
		switch {
		case name == "":
			nameless++
		case slices.Index(names, name) < i:
			if !slices.Contains(twice, name) {
				twice = append(twice, name)
			}
		case !slices.Contains(m.columns, name) && !slices.Contains(m.ignored, name):
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		faults = append(faults, "has the columns "+named(unknown)+", which the mapping neither takes nor ignores: add them to fields or to ignore")
	}
	if len(twice) > 0 {
		faults = append(faults, "has several columns called "+named(twice)+": give each a name of its own")
	}
	if nameless > 0 {
		faults = append(faults, "has columns without a name: name or remove them")
	}
	if len(faults) > 0 {
		return &FileError{line, strings.Join(faults, "; it ")}
	}
	return nil
}

// named lists columns in quotes, not too many and none too long.
func named(columns []string) string {
	var out []string
	for _, c := range columns[:min(len(columns), maxNamed)] {
		if r := []rune(c); len(r) > 60 {
			c = string(r[:60]) + "…"
		}
		out = append(out, strconv.Quote(c))
	}
	if more := len(columns) - len(out); more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}

// filePrefix is how templates name the file.
func (f *File) filePrefix() string { return hex.EncodeToString(f.hash[:4]) }
