package export

import (
	"archive/zip"
	"bufio"
	"compress/flate"
	"crypto/cipher"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrLongText says that a text does not fit into a cell of a workbook.
var ErrLongText = errors.New("a text is longer than the 32,767 characters that a cell of a workbook holds: export csv or parquet")

// Limits of a workbook.
const (
	sheetRows = 1_048_575
	cellText  = 32_767
	sheetName = 31
)

// workbook is the name of the one file.
const workbook = "records.xlsx"

// xlsxForm is one workbook with a sheet for each table. A sheet is written, packed, into a
// file of its own, since rows of all tables come mixed; at the end they are put together.
type xlsxForm struct {
	job    *job
	sheets []*sheet
	of     map[*table]*sheet
	rows   int64
	names  map[string]bool
}

func (*xlsxForm) tabular() bool { return true }

func (x *xlsxForm) begin(tables []*table) error {
	x.of, x.names = map[*table]*sheet{}, map[string]bool{}
	for _, t := range tables {
		x.of[t] = x.sheet(t.name, t.columns)
	}
	return nil
}

// part does nothing: the workbook is one part.
func (*xlsxForm) part() error { return nil }

// sheet adds a sheet.
func (x *xlsxForm) sheet(name string, columns []column) *sheet {
	at := name[:min(len(name), sheetName)]
	for n := 2; x.names[at]; n++ {
		more := "_" + strconv.Itoa(n)
		at = name[:min(len(name), sheetName-len(more))] + more
	}
	x.names[at] = true
	s := &sheet{x: x, name: at, full: name, columns: columns}
	x.sheets = append(x.sheets, s)
	return s
}

func (x *xlsxForm) write(of []*table, _ *row, e *entry) error {
	for i, t := range of {
		for _, cells := range e.rows[i] {
			s := x.of[t]
			if s.rows == sheetRows {
				if err := s.finish(); err != nil {
					return err
				}
				s = x.sheet(t.name, t.columns)
				x.of[t] = s
			}
			x.rows++
			if err := s.line(cells); err != nil {
				return fmt.Errorf("%s, row %d: %w", s.name, s.rows+1, err)
			}
		}
	}
	return nil
}

// end writes codebook, codes and what it is all about, and puts the sheets together.
func (x *xlsxForm) end() error {
	for name, fill := range map[string]func(lines, *job) error{"Codebook": codebook, "Codes": codeLists} {
		var s *sheet
		if err := fill(func(cells ...any) error {
			if s == nil {
				columns := make([]column, len(cells))
				for i, c := range cells {
					columns[i].name, _ = c.(string)
				}
				s = &sheet{x: x, name: name, columns: columns}
				return nil
			}
			return s.line(cells)
		}, x.job); err != nil {
			return err
		}
		// In the same order each time.
		if name == "Codebook" {
			x.sheets = append([]*sheet{s}, x.sheets...)
		} else {
			x.sheets = append(x.sheets, s)
		}
	}
	about := &sheet{x: x, name: "About", columns: []column{{name: "About this workbook / Sobre este libro"}}}
	for line := range strings.Lines(readmeOf(XLSX)) {
		if err := about.line([]any{strings.TrimSpace(line)}); err != nil {
			return err
		}
	}
	x.sheets = append(x.sheets, about)
	f, err := x.job.dir.create(workbook)
	if err != nil {
		return err
	}
	f.rows = x.rows
	return x.assemble(f.b)
}

// remove removes what an export that failed has left.
func (x *xlsxForm) remove() {
	for _, s := range x.sheets {
		if s.part != nil {
			s.part.remove()
		}
	}
}

// sheet is one of them.
type sheet struct {
	x       *xlsxForm
	name    string
	full    string
	columns []column
	rows    int
	part    *part
	b       []byte
	ended   bool
}

// open makes the file, once there is a row.
func (s *sheet) open() (err error) {
	if s.part, err = newPart(s.x.job.dir); err != nil {
		return err
	}
	b := append(s.b[:0], xml.Header+`<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetViews><sheetView workbookViewId="0">`+
		`<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews><cols>`...)
	for i, c := range s.columns {
		width := min(max(utf8.RuneCountInString(c.name)+4, 12), 60)
		switch c.typ {
		case typeID, typeInstant:
			width = max(width, 28)
		case typeLocal:
			width = max(width, 30)
		case "":
			width = 24
		}
		b = fmt.Appendf(b, `<col min="%d" max="%d" width="%d" customWidth="1"/>`, i+1, i+1, width)
	}
	b = append(b, `</cols><sheetData><row r="1">`...)
	for i, c := range s.columns {
		b = text(b, i, 1, styleHeader, c.name)
	}
	s.b = append(b, `</row>`...)
	return s.part.write(s.b)
}

// line writes a row.
func (s *sheet) line(cells []any) error {
	if s.part == nil {
		if err := s.open(); err != nil {
			return err
		}
	}
	s.rows++
	at := s.rows + 1
	b := append(s.b[:0], `<row r="`...)
	b = append(strconv.AppendInt(b, int64(at), 10), `">`...)
	for i, v := range cells {
		switch v := v.(type) {
		case string:
			if utf16Length(v) > cellText {
				return ErrLongText
			}
			if i < len(s.columns) && s.columns[i].typ == typeDate {
				if on, err := time.Parse(time.DateOnly, v); err == nil && on.Year() > 1900 {
					b = number(b, i, at, styleDate, serial(on))
					continue
				}
			}
			b = text(b, i, at, styleText, v)
		case int64:
			b = number(b, i, at, styleNone, strconv.FormatInt(v, 10))
		case float64:
			b = number(b, i, at, styleNone, strconv.FormatFloat(v, 'g', -1, 64))
		case bool:
			b = append(cell(b, i, at, styleNone), ` t="b"><v>`...)
			b = append(b, map[bool]byte{false: '0', true: '1'}[v])
			b = append(b, `</v></c>`...)
		case time.Time:
			if v.Year() > 1900 {
				b = number(b, i, at, styleInstant, serial(v))
			} else {
				b = text(b, i, at, styleText, v.Format(instantText))
			}
		}
	}
	s.b = append(b, `</row>`...)
	return s.part.write(s.b)
}

// instantText is how an instant is written.
const instantText = "2006-01-02T15:04:05.000Z"

// finish ends the sheet. One without rows has its header alone.
func (s *sheet) finish() error {
	if s.ended {
		return nil
	}
	s.ended = true
	if s.part == nil {
		if err := s.open(); err != nil {
			return err
		}
	}
	b := append(s.b[:0], `</sheetData>`...)
	if len(s.columns) > 0 {
		b = fmt.Appendf(b, `<autoFilter ref="A1:%s%d"/>`, letters(len(s.columns)-1), s.rows+1)
	}
	if err := s.part.write(append(b, `</worksheet>`...)); err != nil {
		return err
	}
	return s.part.finish()
}

// Styles of cells, by their place in styles.xml.
const (
	styleNone = iota
	styleHeader
	styleText
	styleDate
	styleInstant
)

func cell(b []byte, i, at, style int) []byte {
	b = append(append(b, `<c r="`...), letters(i)...)
	b = append(strconv.AppendInt(b, int64(at), 10), '"')
	if style != styleNone {
		b = append(strconv.AppendInt(append(b, ` s="`...), int64(style), 10), '"')
	}
	return b
}

func number(b []byte, i, at, style int, v string) []byte {
	b = append(append(cell(b, i, at, style), `><v>`...), v...)
	return append(b, `</v></c>`...)
}

func text(b []byte, i, at, style int, v string) []byte {
	b = append(cell(b, i, at, style), ` t="inlineStr"><is><t xml:space="preserve">`...)
	b = escape(b, v)
	return append(b, `</t></is></c>`...)
}

// escaped is what reads as an escape and is none.
var escaped = regexp.MustCompile(`_x[0-9A-Fa-f]{4}_`)

// escape writes text for a cell: what XML cannot hold as the format has it.
func escape(b []byte, s string) []byte {
	if strings.Contains(s, "_x") {
		s = escaped.ReplaceAllStringFunc(s, func(found string) string { return "_x005F" + found })
	}
	for _, r := range s {
		switch {
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '\n', r == '\t', r >= ' ' && r != 0xfffe && r != 0xffff:
			b = utf8.AppendRune(b, r)
		default:
			b = fmt.Appendf(b, "_x%04X_", r)
		}
	}
	return b
}

// letters are the name of a column.
func letters(i int) string {
	var b []byte
	for i++; i > 0; i = (i - 1) / 26 {
		b = append([]byte{byte('A' + (i-1)%26)}, b...)
	}
	return string(b)
}

func utf16Length(s string) (n int) {
	if len(s) <= cellText {
		return len(s)
	}
	for _, r := range s {
		if n++; r > 0xffff {
			n++
		}
	}
	return n
}

// serial is a time as workbooks count: days since the last of 1899.
func serial(t time.Time) string {
	ms := t.Sub(time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)).Milliseconds()
	return strconv.FormatFloat(float64(ms)/dayMS, 'f', -1, 64)
}

// assemble writes the workbook.
func (x *xlsxForm) assemble(to io.Writer) error {
	defer x.remove()
	z := zip.NewWriter(to)
	var types, sheets, links strings.Builder
	for i, s := range x.sheets {
		fmt.Fprintf(&types, `<Override PartName="/xl/worksheets/sheet%d.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>`, i+1)
		fmt.Fprintf(&sheets, `<sheet name="%s" sheetId="%d" r:id="rId%d"/>`, s.name, i+1, i+1)
		fmt.Fprintf(&links, `<Relationship Id="rId%d" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet%d.xml"/>`, i+1, i+1)
	}
	const ns, rel = "http://schemas.openxmlformats.org/", `Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/`
	for _, f := range []struct{ name, text string }{
		{"[Content_Types].xml", `<Types xmlns="` + ns + `package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>` +
			`<Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>` +
			`<Override PartName="/xl/styles.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.styles+xml"/>` + types.String() + `</Types>`},
		{"_rels/.rels", `<Relationships xmlns="` + ns + `package/2006/relationships"><Relationship Id="rId1" ` + rel + `officeDocument" Target="xl/workbook.xml"/></Relationships>`},
		{"xl/workbook.xml", `<workbook xmlns="` + ns + `spreadsheetml/2006/main" xmlns:r="` + ns + `officeDocument/2006/relationships"><sheets>` + sheets.String() + `</sheets></workbook>`},
		{"xl/_rels/workbook.xml.rels", `<Relationships xmlns="` + ns + `package/2006/relationships">` + links.String() +
			`<Relationship Id="rIdS" ` + rel + `styles" Target="styles.xml"/></Relationships>`},
		{"xl/styles.xml", styles},
	} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Deflate})
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, xml.Header+f.text); err != nil {
			return err
		}
	}
	for i, s := range x.sheets {
		if err := s.finish(); err != nil {
			return err
		}
		if err := s.part.copyTo(z, fmt.Sprintf("xl/worksheets/sheet%d.xml", i+1)); err != nil {
			return err
		}
	}
	return z.Close()
}

const styles = `<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><numFmts count="2"><numFmt numFmtId="164" formatCode="yyyy\-mm\-dd"/>` +
	`<numFmt numFmtId="165" formatCode="yyyy\-mm\-dd\ hh:mm:ss.000"/></numFmts><fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>` +
	`<font><b/><sz val="11"/><name val="Calibri"/></font></fonts><fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>` +
	`<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders><cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>` +
	`<cellXfs count="5"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/><xf numFmtId="49" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1" applyNumberFormat="1"/>` +
	`<xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/><xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>` +
	`<xf numFmtId="165" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs><cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>`

// part is a packed file that waits for its place in the workbook. It lies on the disk
// under a key that nobody keeps: an export that is encrypted leaves nothing in the clear.
type part struct {
	f      *os.File
	b      *bufio.Writer
	z      *flate.Writer
	key    secret
	sum    hash.Hash32
	plain  uint64
	packed uint64
}

func newPart(dir *directory) (*part, error) {
	f, err := os.CreateTemp(dir.at, "part-*")
	if err != nil {
		return nil, fmt.Errorf("making a sheet: %w", err)
	}
	p := &part{f: f, sum: crc32.NewIEEE()}
	stream, err := p.key.begin()
	if err != nil {
		return nil, err
	}
	p.b = bufio.NewWriterSize(cipher.StreamWriter{S: stream, W: f}, 32<<10)
	p.z, err = flate.NewWriter(p, flate.BestSpeed)
	return p, err
}

// Write takes what is packed.
func (p *part) Write(b []byte) (int, error) {
	p.packed += uint64(len(b))
	return p.b.Write(b)
}

// write packs.
func (p *part) write(b []byte) error {
	p.plain += uint64(len(b))
	p.sum.Write(b)
	_, err := p.z.Write(b)
	return err
}

func (p *part) finish() error {
	err := errors.Join(p.z.Close(), p.b.Flush())
	p.z, p.b = nil, nil
	return err
}

// copyTo puts it into the workbook as it is.
func (p *part) copyTo(z *zip.Writer, name string) error {
	w, err := z.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Deflate, CRC32: p.sum.Sum32(), CompressedSize64: p.packed, UncompressedSize64: p.plain})
	if err != nil {
		return err
	}
	if _, err := p.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	stream, err := p.key.stream()
	if err != nil {
		return err
	}
	_, err = io.Copy(w, cipher.StreamReader{S: stream, R: p.f})
	return err
}

func (p *part) remove() {
	_ = p.f.Close()
	_ = os.Remove(p.f.Name())
}
