package export

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Errors of an export that cannot be read back in. Nothing was changed.
var (
	// ErrNoExport: there is none.
	ErrNoExport = errors.New("there is no export: name a directory that \"tandem export\" has made, with its manifest.json")
	// ErrNotWhole: it does not hold everything there was.
	ErrNotWhole = errors.New("this export is a part: only the operator's full set as CSV can be read back, of all kinds and without period, --since or a person's rights")
	// ErrForSpreadsheet: an apostrophe may be a spreadsheet's or somebody's.
	ErrForSpreadsheet = errors.New("this export was made for spreadsheets, with an apostrophe before what they would run: export with --machine to read it back in")
	// ErrSealed: its files are encrypted.
	ErrSealed = errors.New("the files are encrypted: decrypt each with age first, and take the .age off its name")
	// ErrNewer: a newer version has written it.
	ErrNewer = errors.New("the export is of a newer version of Tandem: update this program")
	// ErrDamaged: a file is not the one that was written.
	ErrDamaged = errors.New("it is not the file that was exported (bytes or SHA-256 differ from the manifest): copy the export again")
)

// Unreadable reports whether an error says that an export cannot be read back.
func Unreadable(err error) bool {
	for _, wrong := range []error{ErrNoExport, ErrNotWhole, ErrForSpreadsheet, ErrSealed, ErrNewer, ErrDamaged} {
		if errors.Is(err, wrong) {
			return true
		}
	}
	_, unknown := errors.AsType[*UnknownKindError](err)
	return unknown
}

// Package is an export in a directory, to be read back.
type Package struct {
	// Manifest of the export, and Digest, its SHA-256.
	Manifest *Manifest
	Digest   syncengine.Hash
	// Org that it is of.
	Org syncengine.ID

	dir    string
	domain *record.Domain
	tables map[uint32][]*table
	kinds  []*syncengine.Kind
	files  map[string]File
}

// maxManifest bounds what is read as a manifest.
const maxManifest = 1 << 20

// Open looks at an export: what its manifest says, and which files there are.
func Open(dir string) (*Package, error) {
	if _, err := os.Stat(filepath.Join(dir, "manifest.json.age")); err == nil {
		return nil, ErrSealed
	}
	f, err := os.Open(filepath.Join(dir, "manifest.json"))
	if err != nil {
		return nil, errors.Join(ErrNoExport, err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	p := &Package{Manifest: &Manifest{}, Digest: sha256.Sum256(text), dir: dir, domain: record.New(), tables: map[uint32][]*table{}, files: map[string]File{}}
	if err := json.Unmarshal(text, p.Manifest); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", ErrNoExport)
	}
	if err := p.whole(); err != nil {
		return nil, err
	}
	return p, p.list()
}

// whole refuses what is no full export.
func (p *Package) whole() (err error) {
	m := p.Manifest
	switch {
	case !strings.HasPrefix(m.Format, "tandem-export "):
		return ErrNoExport
	case m.Schema > schemaVersion:
		return ErrNewer
	case m.Format != "tandem-export csv 1" || m.Set != Full || m.Since != 0 || m.From != "" || m.Until != "" || m.Person != "":
		return ErrNotWhole
	case m.ExcelSafe:
		return ErrForSpreadsheet
	}
	if p.Org, err = syncengine.ParseID(m.Org); err != nil {
		return ErrNoExport
	}
	all, err := tables(p.domain, nil, m.Labels)
	if err != nil {
		return err
	}
	for _, t := range all {
		if t.field == nil && slices.Contains(m.Kinds, t.kind.Name) {
			p.kinds = append(p.kinds, t.kind)
		} else if t.field == nil && t.kind.Name != "note" {
			return fmt.Errorf("%w: there is no %s.csv", ErrNotWhole, t.name)
		}
		p.tables[t.kind.Number] = append(p.tables[t.kind.Number], t)
	}
	// What hangs on records of several kinds comes after them.
	slices.SortStableFunc(p.kinds, func(a, b *syncengine.Kind) int { return hangs(p.domain, a) - hangs(p.domain, b) })
	for _, name := range m.Kinds {
		if p.domain.KindByName(name) == nil {
			return &UnknownKindError{Kind: name}
		}
	}
	return nil
}

// refName is the message that refers to a record of any kind.
var refName = (*tandemv1.RecordRef)(nil).ProtoReflect().Descriptor().FullName()

func hangs(domain *record.Domain, k *syncengine.Kind) int {
	fields := domain.NewMessage(k.Number).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if m := fields.Get(i).Message(); m != nil && m.FullName() == refName {
			return 1
		}
	}
	return 0
}

// list holds the files of the manifest against the tables and the directory.
func (p *Package) list() error {
	named := map[string]bool{"codebook.csv": true, "codes.csv": true, "README.txt": true}
	for _, k := range p.kinds {
		for _, t := range p.tables[k.Number] {
			named[t.name+".csv"] = true
		}
	}
	for _, f := range p.Manifest.Files {
		if !named[f.Name] {
			return fmt.Errorf("%s: %w", f.Name, ErrNewer)
		}
		info, err := os.Lstat(filepath.Join(p.dir, f.Name))
		if err != nil || !info.Mode().IsRegular() || info.Size() != f.Bytes {
			return fmt.Errorf("%s: %w", f.Name, ErrDamaged)
		}
		p.files[f.Name] = f
	}
	return nil
}

// A RowError says where an export cannot be read; never a value.
type RowError struct {
	File string
	// Line counts records of the file, the header is 1. Column is empty for the whole line.
	Line   int
	Column string
	Err    error
}

// Error implements error.
func (e *RowError) Error() string {
	if e.Column == "" {
		return fmt.Sprintf("%s, line %d: %v", e.File, e.Line, e.Err)
	}
	return fmt.Sprintf("%s, line %d, %s: %v", e.File, e.Line, e.Column, e.Err)
}

// Unwrap implements error.
func (e *RowError) Unwrap() error { return e.Err }

// Errors of lines.
var (
	errUnknownColumn = errors.New("there is no such column in this version: update this program, or export again")
	errOrder         = errors.New("the lines are not in the order of an export")
	errOrphan        = errors.New("it is of a record that is not there")
)

// Each calls f for each record, those first that others name. Every file is whole when it
// returns without an error; before that f must do nothing that cannot be taken back.
func (p *Package) Each(ctx context.Context, f func(*syncengine.Loaded) error) error {
	n := int64(0)
	for _, k := range p.kinds {
		if err := p.kind(ctx, k, func(l *syncengine.Loaded) error { n++; return f(l) }); err != nil {
			return err
		}
	}
	if n != p.Manifest.Records {
		return fmt.Errorf("manifest.json: %w", ErrDamaged)
	}
	return nil
}

// Check holds every file against the manifest, and reads every record, without doing
// anything. read is told of each record; nil: nobody.
func (p *Package) Check(ctx context.Context, read func()) error {
	for name := range p.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := p.openFile(name)
		if err != nil {
			return err
		}
		if err := f.close(true); err != nil {
			return err
		}
	}
	return p.Each(ctx, func(*syncengine.Loaded) error {
		if read != nil {
			read()
		}
		return nil
	})
}

// kind reads the tables of a kind side by side.
func (p *Package) kind(ctx context.Context, k *syncengine.Kind, f func(*syncengine.Loaded) error) (err error) {
	var files []*tableFile
	defer func() {
		for _, file := range files {
			err = errors.Join(err, file.close(err == nil))
		}
	}()
	for _, t := range p.tables[k.Number] {
		file, err := p.openTable(t)
		if err != nil {
			return err
		}
		files = append(files, file)
	}
	var last syncengine.ID
	for head := files[0]; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		r := &row{rec: &syncengine.StoredRecord{}, kind: k, stamps: &tandemv1.Stamps{}, msg: p.domain.NewMessage(k.Number).ProtoReflect()}
		if more, err := head.read(r); err != nil {
			return err
		} else if !more {
			break
		}
		if r.rec.ID.Compare(last) <= 0 {
			return head.fault("id", errOrder)
		}
		last = r.rec.ID
		for _, child := range files[1:] {
			if err := child.gather(r); err != nil {
				return err
			}
		}
		l, err := p.loaded(r)
		if err != nil {
			return head.fault("", err)
		}
		if err := f(l); err != nil {
			return err
		}
	}
	for _, child := range files[1:] {
		if more, err := child.peek(); err != nil || more {
			return errors.Join(err, child.fault("", errOrphan))
		}
	}
	return nil
}

// loaded is the record of a row.
func (p *Package) loaded(r *row) (*syncengine.Loaded, error) {
	body, err := p.domain.Body(r.msg.Interface())
	if err != nil {
		return nil, err
	}
	id := r.rec.ID
	w := &tandemv1.RecordWrite{Record: id[:], Kind: r.kind.Number, Act: tandemv1.Act_ACT_CREATE, Body: body, ImportedFrom: r.stamps.GetImportedFrom()}
	if in := r.stamps.GetCompartment(); in != r.kind.Compartment {
		w.Compartment = in
	}
	l := &syncengine.Loaded{Write: w, AtMS: r.stamps.GetAtMs(), Rev: r.stamps.GetRev()}
	l.Author, _ = syncengine.IDFromBytes(r.stamps.GetAuthor())
	l.Device, _ = syncengine.IDFromBytes(r.stamps.GetDevice())
	return l, nil
}

// tableFile is a table that is being read.
type tableFile struct {
	*loadFile

	t *table
	// columns by place in the file, nil for those that follow from others.
	columns []*column
	csv     *csvReader
	line    int
	// next is a line that was read ahead.
	next []string
}

func (p *Package) openTable(t *table) (*tableFile, error) {
	f, err := p.openFile(t.name + ".csv")
	if err != nil {
		return nil, err
	}
	file := &tableFile{loadFile: f, t: t, csv: &csvReader{r: bufio.NewReaderSize(f.r, 32<<10)}}
	return file, errors.Join(err, file.header())
}

// header finds the columns. A version that did not have all of them leaves some out.
func (f *tableFile) header() error {
	if mark, err := f.csv.r.Peek(len(bom)); err == nil && bytes.Equal(mark, []byte(bom)) {
		_, _ = f.csv.r.Discard(len(bom))
	}
	names, err := f.csv.line()
	if f.line = 1; err != nil {
		return f.fault("", err)
	}
	for i, name := range names {
		at := slices.IndexFunc(f.t.columns, func(c column) bool { return c.name == name })
		if at < 0 {
			return f.fault(name, errUnknownColumn)
		}
		if slices.Contains(names[:i], name) {
			return f.fault(name, errCSV)
		}
		f.columns = append(f.columns, &f.t.columns[at])
	}
	if names[0] != f.t.columns[0].name {
		return f.fault(f.t.columns[0].name, errCSV)
	}
	return nil
}

func (f *tableFile) fault(column string, err error) error {
	if _, said := errors.AsType[*RowError](err); said || err == nil {
		return err
	}
	return &RowError{File: f.name, Line: f.line, Column: column, Err: err}
}

// peek reads a line ahead.
func (f *tableFile) peek() (bool, error) {
	if f.next != nil {
		return true, nil
	}
	cells, err := f.csv.line()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	f.line++
	if err == nil && len(cells) != len(f.columns) {
		err = errCSV
	}
	f.next = cells
	return err == nil, f.fault("", err)
}

// read sets a row to the next line.
func (f *tableFile) read(r *row) (more bool, err error) {
	if more, err = f.peek(); !more {
		return false, err
	}
	for i, c := range f.columns {
		cell := f.next[i]
		if cell == "" || c.set == nil {
			continue
		}
		if err := c.set(r, cell); err != nil {
			if !errors.Is(err, errCell) {
				// What others say might repeat the cell.
				err = errCell
			}
			return false, f.fault(c.name, err)
		}
	}
	f.next = nil
	return true, nil
}

// gather adds the lines that are of a record to its list.
func (f *tableFile) gather(r *row) error {
	id := r.rec.ID.String()
	for element, inner := int64(0), int64(0); ; {
		more, err := f.peek()
		if err != nil || !more || f.next[0] != id {
			if more && f.next[0] < id {
				return f.fault("", errOrphan)
			}
			return err
		}
		list := r.msg.Mutable(f.t.field).List()
		r.ordinal, r.place, r.code = 0, 0, ""
		if f.t.field.Kind() != protoreflect.MessageKind {
			if _, err := f.read(r); err != nil {
				return err
			}
			list.Append(protoreflect.ValueOfString(r.code))
			element++
		} else {
			if element == 0 || f.next[1] != fmt.Sprint(element) {
				r.element = list.AppendMutable().Message()
				element, inner = element+1, 0
			}
			r.inner, r.place = nil, 0
			if at := f.innerAt(); at > 0 && f.next[at] != "" {
				r.inner = r.element.Mutable(f.t.inner).List().AppendMutable().Message()
				inner++
			}
			if _, err := f.read(r); err != nil {
				return err
			}
		}
		if r.ordinal != element || r.place != inner {
			return f.fault("ordinal", errOrder)
		}
	}
}

// innerAt is the column of the place of a value inside an element, at most 0 for none.
func (f *tableFile) innerAt() int {
	if f.t.inner == nil {
		return 0
	}
	name := strings.TrimSuffix(string(f.t.inner.Name()), "s") + "_ordinal"
	return slices.IndexFunc(f.columns, func(c *column) bool { return c.name == name })
}

// loadFile is a file of the package that is checked while it is read.
type loadFile struct {
	name string
	want File
	f    *os.File
	r    io.Reader
	sum  hash.Hash
	size *counter
}

type counter int64

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }

func (p *Package) openFile(name string) (*loadFile, error) {
	want, ok := p.files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, ErrDamaged)
	}
	f, err := os.Open(filepath.Join(p.dir, name))
	if err != nil {
		return nil, err
	}
	l := &loadFile{name: name, want: want, f: f, sum: sha256.New(), size: new(counter)}
	l.r = io.TeeReader(f, io.MultiWriter(l.sum, l.size))
	return l, nil
}

// close ends the reading; check holds what was read against the manifest.
func (l *loadFile) close(check bool) error {
	var err error
	if check {
		if _, err = io.Copy(io.Discard, l.r); err == nil && (int64(*l.size) != l.want.Bytes || hex.EncodeToString(l.sum.Sum(nil)) != l.want.SHA256) {
			err = fmt.Errorf("%s: %w", l.name, ErrDamaged)
		}
	}
	return errors.Join(err, l.f.Close())
}
