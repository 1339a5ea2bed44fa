package mapping_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/tandem-response/tandem/client/mapping"
)

// secret stands where a file has what no message may show.
const secret = "Jane Roe 555-0100"

const badMapping = head + "fields:\n  notes_ops: {column: note}\n  call_type: {column: type, values: {Overdose: overdose}}\nignore: [x]\n"

func utf16Text(s string, order binary.ByteOrder, mark bool) string {
	var b bytes.Buffer
	units := utf16.Encode([]rune(s))
	if mark {
		units = append([]uint16{0xfeff}, units...)
	}
	for _, u := range units {
		var two [2]byte
		order.PutUint16(two[:], u)
		b.Write(two[:])
	}
	return b.String()
}

func gzipped(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// read returns how many rows a file gives, what is wrong with the others, and the
// error that ends it.
func read(t testing.TB, m *mapping.Mapping, text string) (good int, bad []string, err error) {
	t.Helper()
	file, err := m.File(t.Context(), strings.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	sum, err := file.Check(t.Context(), into, nil)
	for _, e := range sum.Errors {
		bad = append(bad, e.Error())
	}
	return sum.Good, bad, err
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	const header, row = "note,type,x\n", secret + ",Overdose,1\n"
	columns := make([]string, 10_000)
	for i := range columns {
		columns[i] = fmt.Sprint("c", i)
	}
	columns[0], columns[1], columns[2] = "note", "type", "x"
	for name, tc := range map[string]struct {
		text string
		file string   // part of the error that ends it
		rows []string // parts of the errors of rows
		good int
	}{
		"good":                     {text: header + row + row, good: 2},
		"with a mark":              {text: "\uFEFF" + header + row, good: 1},
		"with CRLF":                {text: strings.ReplaceAll(header+row, "\n", "\r\n"), good: 1},
		"with mixed line ends":     {text: "note,type,x\r\n" + row + strings.Replace(row, "\n", "\r\n", 1), good: 2},
		"columns in another order": {text: "x,type,note\n1,Overdose," + secret + "\n", good: 1},
		"rows of empty cells":      {text: header + row + ",,\n\n , ,\n" + row, good: 2},
		"gzip":                     {text: gzipped(t, header+row), good: 1},

		"empty":                   {text: "", file: "the file is empty"},
		"a mark alone":            {text: "\uFEFF", file: "the file is empty"},
		"line ends alone":         {text: "\n\n", file: "the file is empty"},
		"gzip of nothing":         {text: gzipped(t, ""), file: "the file is empty"},
		"header alone":            {text: header, file: "the file holds no rows below its header"},
		"header and empty rows":   {text: header + ",,\n\n", file: "the file holds no rows"},
		"UTF-16, little endian":   {text: utf16Text(header+row, binary.LittleEndian, true), file: `the file is UTF-16: save it again as "CSV UTF-8"`},
		"UTF-16, big endian":      {text: utf16Text(header+row, binary.BigEndian, true), file: "the file is UTF-16"},
		"UTF-16 without a mark":   {text: utf16Text(header+row, binary.LittleEndian, false), file: "the file holds NUL bytes, as UTF-16 and binary files do"},
		"UTF-16 in gzip":          {text: gzipped(t, utf16Text(header+row, binary.LittleEndian, true)), file: "the file is UTF-16"},
		"a workbook":              {text: "PK\x03\x04" + row, file: "the file is a workbook (xlsx, ods) or a zip archive"},
		"an old workbook":         {text: "\xd0\xcf\x11\xe0\xa1\xb1" + row, file: "the file is a workbook (xls)"},
		"gzip in gzip":            {text: gzipped(t, gzipped(t, header+row)), file: "the file is compressed twice"},
		"gzip, cut short":         {text: gzipped(t, header+row)[:30], file: "the file is compressed and damaged"},
		"gzip, 2 bytes":           {text: gzipped(t, header+row)[:2], file: "the file is compressed and damaged"},
		"gzip, a byte flipped":    {text: flip(gzipped(t, header+row), 14), file: "the file is compressed and damaged"},
		"gzip with more behind":   {text: gzipped(t, header+row) + "more", file: "the file is compressed and damaged"},
		"10,000 columns":          {text: strings.Join(columns, ",") + "\n" + row, file: "line 1 has 10000 columns: 1000 are the most"},
		"a missing column":        {text: "note,x\n" + secret + ",1\n", file: `line 1 lacks the columns "type", which the mapping takes`},
		"a column too many":       {text: "note,type,x,extra\n" + row, file: `line 1 has the columns "extra", which the mapping neither takes nor ignores`},
		"a missing and one more":  {text: "note,typ,x\n" + row, file: `line 1 lacks the columns "type", which the mapping takes; it has the columns "typ", which`},
		"a column twice":          {text: "note,type,x,note\n" + row, file: `line 1 has several columns called "note"`},
		"a column without a name": {text: "note,type,x,\n" + row, file: "line 1 has columns without a name"},
		"no header":               {text: row + row, file: `line 1 holds none of the mapping's columns, "note", "type"`},
		"another delimiter":       {text: strings.ReplaceAll(header+row, ",", ";"), file: "line 1 holds none of the mapping's columns"},
		"old Mac line ends":       {text: strings.ReplaceAll(header+row, "\n", "\r"), file: "line 1 ends with a carriage return alone"},
		"a quote in the header":   {text: "note,ty\"pe,x\n" + row, file: "line 1 has a misplaced quote"},
		"an open quote, header":   {text: "note,\"type,x\n" + row + row, file: "line 1 opens a quote that is not closed"},
		"an open quote":           {text: header + row + "\"" + row + row, file: "line 3 opens a quote that is not closed", good: 1},
		"quotes that cross lines": {text: header + "\"" + row + "\"" + row + row, file: "line 2 opens a quote that is not closed"},
		"a long row":              {text: header + row + strings.Repeat(secret, 1<<17) + ",Overdose,1\n" + row, file: "the file holds a row of more than 1048576 bytes", good: 1},
		"a long header":           {text: strings.Repeat("note,", 1<<19), file: "the file holds a row of more than 1048576 bytes"},

		"a quote inside a cell": {
			text: header + row + "\"" + secret + "\" x,Overdose,1\n5\" of rain,Overdose,1\n" + row, good: 2,
			rows: []string{"line 3 has a quote that is not closed, or something between", "line 4 has a quote inside a cell that does not begin with one"},
		},
		"an open quote at the end": {text: header + row + "\"" + secret, rows: []string{"line 3 has a quote that is not closed"}, good: 1},
		"a cell too many":          {text: header + row + "1," + row + row, rows: []string{"line 3 has 4 cells where the header has 3 columns"}, good: 2},
		"a row cut short":          {text: header + row + secret + ",Over", rows: []string{"line 3 is the last and has no line end"}, good: 1},
		"a last cell cut short":    {text: header + row + strings.TrimSuffix(row, "\n"), rows: []string{"line 3 is the last and has no line end: the file may have been cut short"}, good: 1},
		"no UTF-8":                 {text: header + row + "Jos\xe9,Overdose,1\n", rows: []string{"line 3 holds, in cell 1, bytes that are not UTF-8"}, good: 1},
		"no UTF-8, ignored":        {text: header + row + "a,Overdose,\xff\n", rows: []string{"line 3 holds, in cell 3, bytes"}, good: 1},
		"a NUL far down":           {text: header + strings.Repeat(row, 300) + "a\x00b,Overdose,1\n", rows: []string{"line 302 holds, in cell 1, a NUL byte"}, good: 300},
		"a control character":      {text: header + row + "a\x1bb,Overdose,1\n", rows: []string{"line 3 holds, in cell 1, a control character"}, good: 1},
		"a huge cell":              {text: header + row + strings.Repeat("x", 600_000) + ",Overdose,1\n" + row, rows: []string{`line 3: column "note" does not fit the field notes_ops`}, good: 2},
		"a huge cell, ignored":     {text: header + "n,Overdose," + strings.Repeat("x", 600_000) + "\n", good: 1},
		"an unknown value":         {text: header + row + row + "n," + secret + ",1\n", rows: []string{`line 4: column "type" holds a value that the mapping does not list`}, good: 2},
		"a formula as a value":     {text: header + row + "n,=1+1,1\n", rows: []string{`line 3: column "type" holds a value that the mapping does not list`}, good: 1},
		"lines of several lines":   {text: header + "\"a\nb\",Overdose,1\nn,none,1\n", rows: []string{`line 4: column "type"`}, good: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good, bad, err := read(t, load(t, badMapping), tc.text)
			switch {
			case tc.file == "" && err != nil:
				t.Fatalf("got error %v, want none", err)
			case tc.file != "":
				if _, ok := errors.AsType[*mapping.FileError](err); !ok || !strings.HasPrefix(err.Error(), tc.file) {
					t.Errorf("got error %v, want a FileError that begins %q", err, tc.file)
				}
			}
			if good != tc.good || !slices.EqualFunc(bad, tc.rows, strings.HasPrefix) {
				t.Errorf("got %d good rows and %q, want %d and %q", good, bad, tc.good, tc.rows)
			}
			for _, s := range append(bad, fmt.Sprint(err)) {
				if strings.Contains(s, "Jane") || strings.Contains(s, "0100") || strings.Contains(s, "Jos") {
					t.Errorf("the message shows what is in the file: %s", s)
				}
			}
		})
	}
}

func flip(s string, at int) string { return s[:at] + string(s[at]^0x40) + s[at+1:] }

func TestFormsOfFiles(t *testing.T) {
	t.Parallel()
	got, err := oneRow(t, load(t, head+"encoding: windows-1252\ndelimiter: ;\nfields:\n  notes_ops: {column: descripción}\n"), "descripci\xf3n\nni\xf1o \x80\n")
	if err != nil || got.GetNotesOps() != "niño €" {
		t.Errorf("windows-1252: got %v, %v", got, err)
	}
	got, err = oneRow(t, load(t, head+"delimiter: tab\nfields:\n  notes_ops: {column: a}\nignore: [b]\n"), "a\tb\nx, y\tz\n")
	if err != nil || got.GetNotesOps() != "x, y" {
		t.Errorf("tabs: got %v, %v", got, err)
	}
	got, err = oneRow(t, load(t, head+"final_newline: optional\nfields:\n  notes_ops: {column: a}\n"), "a\nx")
	if err != nil || got.GetNotesOps() != "x" {
		t.Errorf("an open last line: got %v, %v", got, err)
	}
	_, err = oneRow(t, load(t, head+"encoding: windows-1252\nfields:\n  notes_ops: {column: a}\n"), "\uFEFFa\nx\n")
	if err == nil || !strings.Contains(err.Error(), "set encoding to utf-8") {
		t.Errorf("UTF-8 for windows-1252: got %v", err)
	}
}

// A small file that expands without end is given up early.
func TestExpansionIsBounded(t *testing.T) {
	t.Parallel()
	// What is compressed may stand behind what is compressed: 100 MB in some 300 kB.
	packed := strings.Repeat(gzipped(t, strings.Repeat("a,Overdose,1\n", 80_000)), 100)
	source := &countingSeeker{r: strings.NewReader(packed)}
	_, err := load(t, badMapping).File(t.Context(), source)
	if err == nil || !strings.Contains(err.Error(), "expands beyond measure") {
		t.Fatalf("got %v, want an error that says so", err)
	}
	if source.n >= int64(len(packed)) {
		t.Errorf("read %d of %d bytes before giving up", source.n, len(packed))
	}
}

type countingSeeker struct {
	r *strings.Reader
	n int64
}

func (c *countingSeeker) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

func (c *countingSeeker) Seek(offset int64, whence int) (int64, error) {
	c.n = 0
	return c.r.Seek(offset, whence)
}

func TestAChangedFileIsNoticed(t *testing.T) {
	t.Parallel()
	text := []byte("note,type,x\na,Overdose,1\nb,Overdose,1\n")
	file, err := load(t, badMapping).File(t.Context(), bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	text[12] = 'c'
	_, err = file.Check(t.Context(), into, nil)
	if err == nil || !strings.Contains(err.Error(), "changed while it was read") {
		t.Errorf("got %v, want an error that says the file changed", err)
	}
}

func TestAnImportNeedsATeam(t *testing.T) {
	t.Parallel()
	file := mustFile(t, load(t, badMapping), "note,type,x\na,Overdose,1\n")
	if _, err := file.Check(t.Context(), mapping.Envelope{}, nil); err == nil || !strings.Contains(err.Error(), "team") {
		t.Errorf("got %v, want an error that names the team", err)
	}
}

func TestRowsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	file := mustFile(t, load(t, badMapping), "note,type,x\n"+strings.Repeat("a,Overdose,1\n", 50_000))
	rows := 0
	var last error
	for _, err := range file.Rows(ctx, into) {
		if last = err; err == nil {
			rows++
		}
		cancel()
	}
	if !errors.Is(last, context.Canceled) || rows >= 50_000 {
		t.Errorf("got %d rows, then %v, want few, then %v", rows, last, context.Canceled)
	}
}

// lines is a spreadsheet of any length that nobody holds in memory.
type lines struct {
	header, line string
	count, at    int64
}

func (l *lines) size() int64 { return int64(len(l.header)) + l.count*int64(len(l.line)) }

func (l *lines) Read(b []byte) (int, error) {
	if l.at >= l.size() {
		return 0, io.EOF
	}
	var rest string
	if l.at < int64(len(l.header)) {
		rest = l.header[l.at:]
	} else {
		rest = l.line[(l.at-int64(len(l.header)))%int64(len(l.line)):]
	}
	n := copy(b, rest)
	l.at += int64(n)
	return n, nil
}

func (l *lines) Seek(offset int64, whence int) (int64, error) {
	l.at = offset
	if whence == io.SeekEnd {
		l.at += l.size()
	}
	return l.at, nil
}

// Not parallel: what others hold would be counted.
func TestMemoryDoesNotGrowWithTheFile(t *testing.T) {
	source := &lines{header: "note,type,x\n", line: "a,Overdose," + strings.Repeat("x", 8<<10) + "\n", count: 8000}
	file, err := load(t, badMapping).File(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	start, most, rows := heap(), uint64(0), 0
	for _, err := range file.Rows(t.Context(), into) {
		if err != nil {
			t.Fatal(err)
		}
		if rows++; rows%2000 == 0 {
			most = max(most, heap())
		}
	}
	if grown := int64(most) - int64(start); rows != 8000 || grown > 8<<20 {
		t.Errorf("reading %d rows of %d MB held %d kB more than before, want at most 8 MB", rows, source.size()>>20, grown>>10)
	}
}
