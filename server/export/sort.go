package export

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"
)

// In a set whose ids are its own, the order of the records must be that of those ids: the
// order in which they were made would say when. Rows wait in files until all are known.

// heldMost is how many bytes of rows wait in memory, of all tables together.
const heldMost = 16 << 20

// sorter puts the entries of one kind in order.
type sorter struct {
	dir    *directory
	held   *int
	tables []*table
	lines  [][]byte
	size   int
	runs   []*spilled
}

// spilled is a file of rows, under a key that nobody keeps.
type spilled struct {
	f   *os.File
	key secret
}

// add takes an entry: its place is by id.
func (s *sorter) add(id string, e *entry) {
	line := []byte(id)
	for _, rows := range e.rows {
		line = binary.AppendUvarint(line, uint64(len(rows)))
		for _, cells := range rows {
			line = appendCells(line, cells)
		}
	}
	s.lines = append(s.lines, line)
	s.size += len(line) + 24
	*s.held += len(line) + 24
}

// entry reads one back.
func (s *sorter) entry(line []byte) (*entry, error) {
	b := line[min(len(line), idLength):]
	e := &entry{rows: make([][][]any, len(s.tables))}
	for i, t := range s.tables {
		rows, size := binary.Uvarint(b)
		if size <= 0 {
			return nil, errCells
		}
		b = b[size:]
		for range rows {
			cells := make([]any, len(t.columns))
			var err error
			if b, err = readCells(b, cells); err != nil {
				return nil, err
			}
			e.rows[i] = append(e.rows[i], cells)
		}
	}
	if len(b) > 0 {
		return nil, errCells
	}
	return e, nil
}

// idLength is that of an id as text.
const idLength = 26

// spill writes what is held to a file.
func (s *sorter) spill() error {
	slices.SortFunc(s.lines, bytes.Compare)
	f, err := os.CreateTemp(s.dir.at, "rows-*")
	if err != nil {
		return fmt.Errorf("making room for rows: %w", err)
	}
	to := &spilled{f: f}
	s.runs = append(s.runs, to)
	stream, err := to.key.begin()
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(cipher.StreamWriter{S: stream, W: f}, 64<<10)
	var head [4]byte
	for _, line := range s.lines {
		binary.BigEndian.PutUint32(head[:], uint32(len(line)))
		if _, err := w.Write(head[:]); err != nil {
			return err
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	*s.held -= s.size
	s.lines, s.size = nil, 0
	return w.Flush()
}

// run is one file of rows in order, or those in memory.
type run struct {
	line []byte
	r    *bufio.Reader
	rest [][]byte
}

func (r *run) next() error {
	if r.r == nil {
		if len(r.rest) == 0 {
			return io.EOF
		}
		r.line, r.rest = r.rest[0], r.rest[1:]
		return nil
	}
	var head [4]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return err
	}
	r.line = make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(r.r, r.line)
	return err
}

// runs are a heap, the least line on top.
type runs []*run

func (r runs) Len() int           { return len(r) }
func (r runs) Less(i, j int) bool { return bytes.Compare(r[i].line, r[j].line) < 0 }
func (r runs) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }

// Push adds a run; nothing else is ever pushed.
func (r *runs) Push(x any) {
	if one, ok := x.(*run); ok {
		*r = append(*r, one)
	}
}

// Pop removes the last one.
func (r *runs) Pop() any {
	last := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return last
}

// each calls f for every entry in order, and removes the files.
func (s *sorter) each(f func(*entry) error) (err error) {
	defer func() { err = errors.Join(err, s.remove()) }()
	slices.SortFunc(s.lines, bytes.Compare)
	all := runs{{rest: s.lines}}
	for _, file := range s.runs {
		if _, err := file.f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		stream, err := file.key.stream()
		if err != nil {
			return err
		}
		all = append(all, &run{r: bufio.NewReaderSize(cipher.StreamReader{S: stream, R: file.f}, 64<<10)})
	}
	open := runs{}
	for _, r := range all {
		if err := r.next(); err == nil {
			open = append(open, r)
		} else if !errors.Is(err, io.EOF) {
			return err
		}
	}
	heap.Init(&open)
	for len(open) > 0 {
		e, err := s.entry(open[0].line)
		if err != nil {
			return err
		}
		if err := f(e); err != nil {
			return err
		}
		switch err := open[0].next(); {
		case err == nil:
			heap.Fix(&open, 0)
		case errors.Is(err, io.EOF):
			heap.Pop(&open)
		default:
			return err
		}
	}
	return nil
}

func (s *sorter) remove() (err error) {
	*s.held -= s.size
	s.lines, s.size = nil, 0
	for _, file := range s.runs {
		err = errors.Join(err, file.f.Close(), os.Remove(file.f.Name()))
	}
	s.runs = nil
	return err
}

// A row as bytes: a letter and a value for each cell.

func appendCells(b []byte, cells []any) []byte {
	for _, v := range cells {
		switch v := v.(type) {
		case string:
			b = append(binary.AppendUvarint(append(b, 's'), uint64(len(v))), v...)
		case int64:
			b = binary.AppendVarint(append(b, 'i'), v)
		case float64:
			b = binary.BigEndian.AppendUint64(append(b, 'f'), math.Float64bits(v))
		case bool:
			b = append(b, 'b', map[bool]byte{true: 1}[v])
		case time.Time:
			b = binary.AppendVarint(append(b, 't'), v.UnixMilli())
		default:
			b = append(b, 'n')
		}
	}
	return b
}

var errCells = errors.New("a row that waited to be put in order is damaged")

func readCells(b []byte, cells []any) (rest []byte, err error) {
	for i := range cells {
		if len(b) == 0 {
			return nil, errCells
		}
		kind := b[0]
		var n int64
		var size int
		b = b[1:]
		switch kind {
		case 's':
			length, size := binary.Uvarint(b)
			if size <= 0 || length > uint64(len(b)-size) {
				return nil, errCells
			}
			cells[i] = string(b[size : size+int(length)])
			b = b[size+int(length):]
			continue
		case 'i', 't':
			if n, size = binary.Varint(b); size <= 0 {
				return nil, errCells
			}
			cells[i] = n
			if kind == 't' {
				cells[i] = time.UnixMilli(n).UTC()
			}
		case 'f':
			if size = 8; len(b) < size {
				return nil, errCells
			}
			cells[i] = math.Float64frombits(binary.BigEndian.Uint64(b))
		case 'b':
			if size = 1; len(b) < size {
				return nil, errCells
			}
			cells[i] = b[0] == 1
		case 'n':
			cells[i] = nil
		default:
			return nil, errCells
		}
		b = b[size:]
	}
	return b, nil
}

// heaviest is the sorter that holds most.
func heaviest(all []*sorter) *sorter {
	return slices.MaxFunc(all, func(a, b *sorter) int { return cmp.Compare(a.size, b.size) })
}
