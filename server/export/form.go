package export

import (
	"errors"
	"strings"
)

// Formats of files.
const (
	CSV     = "csv"
	XLSX    = "xlsx"
	Parquet = "parquet"
	FHIR    = "fhir"
)

// Formats are all of them.
var Formats = []string{CSV, XLSX, Parquet, FHIR}

// ErrFormat says that there is no such form.
var ErrFormat = errors.New("there is no such form of files: take " + strings.Join(Formats, ", "))

// form is how records become files.
type form interface {
	// tabular: it takes entries, not records.
	tabular() bool
	// begin makes the files of a part, or goes on with those that are there.
	begin(tables []*table) error
	// write writes a record, as its entry where the form is tabular.
	write(of []*table, r *row, e *entry) error
	// part ends a part, of which nothing more comes. The files are finished by the job.
	part() error
	// end writes what describes the tables.
	end() error
}

func (j *job) newForm(from source) form {
	switch j.o.Format {
	case XLSX:
		return &xlsxForm{job: j}
	case Parquet:
		return &parquetForm{job: j}
	case FHIR:
		return j.newFHIR(from)
	}
	return &csvForm{job: j, files: map[*table]*csvFile{}}
}

// entry is what a record has in the tables of its kind, the first of which is that of the
// records: rows of cells for each table.
type entry struct{ rows [][][]any }

// entryOf takes what a record has in its tables.
func (j *job) entryOf(of []*table, r *row) (*entry, error) {
	e := &entry{rows: make([][][]any, len(of))}
	for n, t := range of {
		if err := t.each(r, func(r *row) error {
			cells := make([]any, len(t.columns))
			something := t.field == nil || j.veil == nil
			for i := range t.columns {
				cells[i] = t.columns[i].value(r)
				something = something || i > 1 && cells[i] != nil
			}
			// Where all that it said is withheld there is no row.
			if something {
				e.rows[n] = append(e.rows[n], cells)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (j *job) entry(of []*table, r *row) error {
	e, err := j.entryOf(of, r)
	if err != nil {
		return err
	}
	return j.form.write(of, r, e)
}

// waiting are entries that wait until all are known, and then come in the order of their
// ids.
type waiting struct {
	job  *job
	held int
	of   map[*table]*sorter
	all  []*sorter
}

func (j *job) newWaiting() *waiting { return &waiting{job: j, of: map[*table]*sorter{}} }

func (w *waiting) add(of []*table, r *row) error {
	e, err := w.job.entryOf(of, r)
	if err != nil {
		return err
	}
	s := w.of[of[0]]
	if s == nil {
		s = &sorter{dir: w.job.dir, held: &w.held, tables: of}
		w.of[of[0]] = s
		w.all = append(w.all, s)
	}
	id, _ := e.rows[0][0][0].(string)
	s.add(id, e)
	if w.held < heldMost {
		return nil
	}
	return heaviest(w.all).spill()
}

// release writes them; of nothing that waits there is nothing to write.
func (w *waiting) release() error {
	if w == nil {
		return nil
	}
	for _, s := range w.all {
		if err := s.each(func(e *entry) error { return w.job.form.write(s.tables, nil, e) }); err != nil {
			return errors.Join(err, w.remove())
		}
	}
	return nil
}

func (w *waiting) remove() (err error) {
	if w != nil {
		for _, s := range w.all {
			err = errors.Join(err, s.remove())
		}
	}
	return err
}

// csvForm is a CSV file for each table.
type csvForm struct {
	job   *job
	files map[*table]*csvFile
}

type csvFile struct {
	*file

	csv *csvWriter
}

func (*csvForm) tabular() bool { return true }

// bom is the byte order mark.
const bom = "\xef\xbb\xbf"

func (j *job) csv(name string) (*csvFile, error) {
	f, err := j.dir.create(name)
	if err != nil {
		return nil, err
	}
	if j.o.BOM {
		_, err = f.b.WriteString(bom)
	}
	return j.csvOn(f), err
}

func (j *job) csvOn(f *file) *csvFile {
	return &csvFile{file: f, csv: &csvWriter{w: f.b, safe: j.o.ExcelSafe}}
}

func (c *csvForm) begin(tables []*table) error {
	for _, t := range tables {
		if f := c.job.dir.open(t.name + ".csv"); f != nil {
			c.files[t] = c.job.csvOn(f)
			continue
		}
		f, err := c.job.csv(t.name + ".csv")
		if err != nil {
			return err
		}
		if err := f.csv.header(t.columns); err != nil {
			return err
		}
		c.files[t] = f
	}
	return nil
}

func (c *csvForm) write(of []*table, _ *row, e *entry) error {
	for i, t := range of {
		f := c.files[t]
		for _, cells := range e.rows[i] {
			f.rows++
			if err := f.csv.line(cells...); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *csvForm) part() error {
	clear(c.files)
	return nil
}

func (c *csvForm) end() error { return c.job.describe() }

// describe writes codebook and code lists as CSV.
func (j *job) describe() error {
	for name, fill := range map[string]func(lines, *job) error{"codebook.csv": codebook, "codes.csv": codeLists} {
		f, err := j.csv(name)
		if err != nil {
			return err
		}
		if err := fill(f.csv.line, j); err != nil {
			return err
		}
	}
	return nil
}
