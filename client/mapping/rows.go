package mapping

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Envelope is whose records the rows become: those of the person who imports.
type Envelope struct {
	// Agency, Program and Team are record ids; a zero one is left out.
	Agency, Program, Team syncengine.ID
}

// Row is one row that can be imported.
type Row struct {
	// Line it starts in, the header being in line 1. Number counts rows, the header
	// being row 1; rows of empty cells count, lines without anything do not.
	Line   int
	Number uint64
	// End is how far into the file it reaches; see File.Size.
	End int64
	// Record is its id.
	Record syncengine.ID
	// Write makes it.
	Write *tandemv1.RecordWrite
}

// RowError says why a row cannot be imported. The rows after it can still be read.
type RowError struct {
	// Line and Number as in Row.
	Line   int
	Number uint64
	// Problems of the row; those of columns in order of the mapping.
	Problems []Problem
}

// Problem is one fault of a row. It holds no value of the row.
type Problem struct {
	// Columns at fault; none for the row as a whole.
	Columns []string
	// Field that the value was meant for; empty for none.
	Field string
	// Reason, to be read after the names of the columns.
	Reason string
}

// Error returns the line, and columns and reasons.
func (e *RowError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "line %d", e.Line)
	for i, p := range e.Problems {
		switch {
		case i == 0 && len(p.Columns) > 0:
			b.WriteString(": ")
		case i == 0:
			b.WriteString(" ")
		default:
			b.WriteString("; ")
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// String returns columns and reason.
func (p Problem) String() string {
	switch len(p.Columns) {
	case 0:
		return p.Reason
	case 1:
		return "column " + named(p.Columns) + " " + p.Reason
	}
	return "one of columns " + named(p.Columns) + " " + p.Reason
}

// row is the row at hand.
type row struct {
	file   string
	number uint64
	id     syncengine.ID
	// cells in the order of the mapping's columns.
	cells    []string
	problems []Problem
	// several: a set has more than one value, which may exclude each other.
	several bool
	mapping *Mapping
}

func (r *row) fault(column int, field, reason string) {
	r.problems = append(r.problems, Problem{Columns: []string{r.mapping.columns[column]}, Field: field, Reason: reason})
}

// errChanged says that the file is not the one that was opened.
var errChanged = wholeFile("changed while it was read: nothing of it can be relied on; start again")

// Rows returns the rows, each with a nil error, or with a *RowError, after which
// the rows go on. Any other error is the last: a *FileError, one of ctx or one of
// the source. The same file and envelope give the same rows each time.
func (f *File) Rows(ctx context.Context, into Envelope) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		if err := f.each(ctx, into, yield); err != nil {
			yield(Row{}, err)
		}
	}
}

// each yields rows and returns the error that ends them, nil where yield did.
func (f *File) each(ctx context.Context, into Envelope, yield func(Row, error) bool) error {
	if into.Team.IsZero() && f.mapping.kind.Compartment != tandemv1.Compartment_COMPARTMENT_REF {
		return errors.New("an import needs the team that its records belong to")
	}
	s, err := f.open(ctx)
	if err != nil {
		return err
	}
	r := f.reader(s)
	if err := f.readHeader(r); err != nil {
		return err
	}
	b := newBuilder(f, into)
	read := 0
	for number := uint64(2); ; number++ {
		cells, line, err := r.next()
		at := Row{Line: line, Number: number, End: r.InputOffset()}
		wrong, misquoted := errors.AsType[*csv.ParseError](err)
		switch {
		case errors.Is(err, io.EOF):
			if s.sum() != f.hash {
				return errChanged
			}
			if read == 0 {
				return wholeFile("holds no rows below its header")
			}
			return nil
		case misquoted:
			read++
			if !yield(at, &RowError{line, number, []Problem{{Reason: quoteReason(wrong)}}}) {
				return nil
			}
			continue
		case err != nil:
			return err
		}
		if blank(cells) {
			continue
		}
		read++
		half := f.openEnd && at.End >= f.size && f.mapping.finalNewline
		if problems := b.build(&at, cells, half); len(problems) > 0 {
			if !yield(at, &RowError{line, number, problems}) {
				return nil
			}
			continue
		}
		if !yield(at, nil) {
			return nil
		}
	}
}

func quoteReason(wrong *csv.ParseError) string {
	if errors.Is(wrong.Err, csv.ErrBareQuote) {
		return "has a quote inside a cell that does not begin with one: write it twice, and quotes around the cell"
	}
	return "has a quote that is not closed, or something between a closing quote and the next delimiter: " +
		"write a quote inside a cell twice"
}

func blank(cells []string) bool {
	return !slices.ContainsFunc(cells, func(c string) bool { return strings.TrimSpace(c) != "" })
}

// builder makes writes of rows.
type builder struct {
	file     *File
	mapping  *Mapping
	envelope []textField
	columns  map[string][]string // of each field, for problems that name fields
	keys     map[syncengine.ID]int
	row      row
}

// textField is a field that is the same in every record.
type textField struct {
	desc  protoreflect.FieldDescriptor
	value protoreflect.Value
}

func newBuilder(f *File, into Envelope) *builder {
	m := f.mapping
	b := &builder{
		file: f, mapping: m,
		columns: map[string][]string{},
		keys:    map[syncengine.ID]int{},
		row:     row{file: f.filePrefix(), mapping: m, cells: make([]string, len(m.columns))},
	}
	fields := m.domain.NewMessage(m.kind.Number).ProtoReflect().Descriptor().Fields()
	text := func(number protoreflect.FieldNumber, s string) {
		if s != "" {
			b.envelope = append(b.envelope, textField{fields.ByNumber(number), protoreflect.ValueOfString(s)})
		}
	}
	for number, id := range map[protoreflect.FieldNumber]syncengine.ID{
		syncengine.FieldAgency: into.Agency, syncengine.FieldProgram: into.Program, syncengine.FieldTeam: into.Team,
	} {
		if !id.IsZero() {
			text(number, id.String())
		}
	}
	text(syncengine.FieldLifecycle, m.lifecycle)
	text(syncengine.FieldTZ, m.zone.String())
	b.envelope = append(b.envelope, textField{fields.ByNumber(syncengine.FieldSchema), protoreflect.ValueOfUint32(syncengine.Schema)})
	for i := range m.fields {
		b.watch(&m.fields[i])
	}
	return b
}

// watch notes which columns a field takes its value from.
func (b *builder) watch(p *fieldPlan) {
	for i := range p.elements {
		for j := range p.elements[i].fields {
			f := &p.elements[i].fields[j]
			b.watch(f)
			b.columns[p.target.name] = append(b.columns[p.target.name], b.columns[f.target.name]...)
		}
	}
	for _, c := range p.from.columns {
		b.columns[p.target.name] = append(b.columns[p.target.name], b.mapping.columns[c])
	}
}

// build fills in at's id and write, or returns what is wrong with the row. half:
// the row ends with the file, in the middle of a line.
func (b *builder) build(at *Row, cells []string, half bool) []Problem {
	m := b.mapping
	if half {
		return []Problem{{Reason: "is the last and has no line end: the file may have been cut short. " +
			"Where it is whole, end the line, or say final_newline: optional in the mapping"}}
	}
	if len(cells) != b.file.header {
		return []Problem{{Reason: fmt.Sprintf("has %d cells where the header has %d columns", len(cells), b.file.header)}}
	}
	r := &b.row
	r.number, r.problems, r.several = at.Number, nil, false
	for i, c := range cells {
		if reason := b.unfit(c); reason != "" {
			return []Problem{{Reason: fmt.Sprintf("holds, in cell %d, %s", i+1, reason)}}
		}
	}
	for i, place := range b.file.places {
		r.cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[place], "\r", "\n"))
	}
	if !b.identify(at) {
		return r.problems
	}
	msg := m.domain.NewMessage(m.kind.Number)
	into := msg.ProtoReflect()
	for _, f := range b.envelope {
		into.Set(f.desc, f.value)
	}
	for i := range m.fields {
		m.fields[i].put(into, r)
	}
	if len(r.problems) > 0 {
		return r.problems
	}
	body, err := m.domain.Body(msg)
	if err != nil {
		return []Problem{{Reason: "makes no record: " + err.Error()}}
	}
	write := &tandemv1.RecordWrite{
		Record:       at.Record[:],
		Kind:         m.kind.Number,
		Act:          tandemv1.Act_ACT_CREATE,
		Body:         body,
		ImportedFrom: &tandemv1.Import{Mapping: m.Origin(), File: b.file.hash[:], Row: at.Number},
	}
	if problems := b.judge(msg, write); len(problems) > 0 {
		return problems
	}
	at.Write = write
	return nil
}

// judge returns what the rules of both ends have against a write.
func (b *builder) judge(msg proto.Message, write *tandemv1.RecordWrite) (problems []Problem) {
	// Who imports, and in which change, is not known here and not judged.
	refusal := b.mapping.domain.Check(&tandemv1.Change{Id: write.GetRecord(), Author: write.GetRecord(), Records: []*tandemv1.RecordWrite{write}})
	if refusal == nil && !b.row.several {
		return nil
	}
	for _, p := range b.mapping.domain.Validate(msg, record.Entry{Imported: true}) {
		problems = append(problems, b.problem(p))
	}
	if refusal != nil && len(problems) == 0 {
		problems = append(problems, Problem{Reason: "makes a record that the server would not take: " + strings.Join(refusal.Fields, ", ")})
	}
	return problems
}

// unfit says what of a cell is no text, empty where it is.
func (b *builder) unfit(cell string) string {
	switch {
	case record.Text(cell):
		return ""
	case !utf8.ValidString(cell):
		return `bytes that are not UTF-8: save the file again as "CSV UTF-8", or set encoding in the mapping`
	case strings.IndexByte(cell, 0) >= 0:
		return "a NUL byte: the file is damaged, or not text"
	case record.Text(strings.ReplaceAll(cell, "\r", "")):
		return ""
	}
	return "a control character: remove it"
}

// identify derives the record's id.
func (b *builder) identify(at *Row) bool {
	m, r := b.mapping, &b.row
	h := sha256.New()
	part := func(s string) {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(s)))
		h.Write(size[:])
		h.Write([]byte(s))
	}
	h.Write([]byte("tandem-import-v1"))
	part(m.name)
	if len(m.keys) == 0 {
		h.Write(b.file.hash[:])
		var number [8]byte
		binary.BigEndian.PutUint64(number[:], at.Number)
		h.Write(number[:])
	}
	said := len(m.keys) == 0
	for _, column := range m.keys {
		part(r.cells[column])
		said = said || !m.empty[strings.ToLower(r.cells[column])]
	}
	if !said {
		r.fault(m.keys[0], "", "is empty, and it is what identifies the row")
		return false
	}
	at.Record = syncengine.ID(h.Sum(nil)[:len(syncengine.ID{})])
	r.id = at.Record
	if len(m.keys) == 0 {
		return true
	}
	if line, twice := b.keys[r.id]; twice {
		r.fault(m.keys[0], "", fmt.Sprintf("repeats the key of line %d: give the row a key of its own, or name more columns under key", line))
		return false
	}
	b.keys[r.id] = at.Line
	return true
}

// problem turns what the domain says of fields into columns.
func (b *builder) problem(p record.Problem) Problem {
	reason := p.EN
	if p.Rule == "V24" {
		reason = "it does not have its form, or is too long"
	}
	out := Problem{Reason: "does not fit the record: " + reason}
	if len(p.Fields) > 0 {
		out.Field = p.Fields[0]
		out.Reason = "does not fit the field " + out.Field + ": " + reason
	}
	for _, name := range p.Fields {
		// A field of a message may have come whole: then its columns are the message's.
		for ; name != ""; name = name[:max(strings.LastIndexByte(name, '.'), 0)] {
			if columns := b.columns[name]; len(columns) > 0 {
				out.Columns = append(out.Columns, columns...)
				break
			}
		}
	}
	slices.Sort(out.Columns)
	out.Columns = slices.Compact(out.Columns)
	return out
}
