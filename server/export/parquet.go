package export

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// Limits of what waits in memory: of one table before it becomes a row group, and of all.
const (
	groupBytes = 16 << 20
	allBytes   = 32 << 20
)

// parquetForm is a Parquet file for each kind, with a list for each field that holds
// several values.
type parquetForm struct {
	job   *job
	kinds []*parquetKind
	of    map[*table]*parquetKind
	held  int
	meta  map[string]string
}

func (*parquetForm) tabular() bool { return true }

// leaf is a column of a Parquet file: one of the table, or of a child.
type leaf struct {
	table, column int
	typ           string
}

type parquetKind struct {
	tables []*table
	schema *parquet.Schema
	leaves []leaf
	file   *file
	w      *parquet.GenericWriter[any]
	held   int
	row    parquet.Row
}

func (p *parquetForm) begin(tables []*table) error {
	// The metadata of each file names the codebook, so it comes first.
	if err := p.job.describe(); err != nil {
		return err
	}
	var book bytes.Buffer
	if p.job.o.BOM {
		book.WriteString(bom)
	}
	w := &csvWriter{w: &book, safe: p.job.o.ExcelSafe}
	if err := codebook(w.line, p.job); err != nil {
		return err
	}
	sum := sha256.Sum256(book.Bytes())
	p.meta = map[string]string{
		"tandem.schema": strconv.Itoa(schemaVersion), "tandem.seq": strconv.FormatUint(p.job.cut.Seq, 10), "tandem.codebook_sha256": hex.EncodeToString(sum[:]),
	}
	p.of = map[*table]*parquetKind{}
	for _, t := range tables {
		if t.field == nil {
			k := &parquetKind{tables: p.job.byKind[t.kind.Number]}
			k.shape()
			p.kinds = append(p.kinds, k)
			p.of[t] = k
		}
	}
	return nil
}

// listName is the name of the list of a child.
func listName(t *table) string { return string(t.field.Name()) }

// shape makes the schema, and finds the column of the table that each column of the file is.
func (k *parquetKind) shape() {
	root := parquet.Group{}
	at := map[string]leaf{}
	for n, t := range k.tables {
		if n == 0 {
			for i, c := range t.columns {
				root[c.name] = parquet.Optional(node(c.typ))
				at[c.name] = leaf{0, i, c.typ}
			}
			continue
		}
		element := parquet.Group{}
		for i, c := range t.columns {
			if i < keyColumns {
				continue
			}
			element[c.name] = parquet.Optional(node(c.typ))
			at[listName(t)+"\x00"+c.name] = leaf{n, i, c.typ}
		}
		root[listName(t)] = parquet.List(element)
	}
	k.schema = parquet.NewSchema(k.tables[0].name, root)
	for _, path := range k.schema.Columns() {
		if len(path) == 1 {
			k.leaves = append(k.leaves, at[path[0]])
		} else {
			k.leaves = append(k.leaves, at[path[0]+"\x00"+path[len(path)-1]])
		}
	}
}

// keyColumns of a child are the id of its record and its place.
const keyColumns = 2

func node(typ string) parquet.Node {
	switch typ {
	case typeInstant:
		return parquet.Timestamp(parquet.Millisecond)
	case typeDate:
		return parquet.Date()
	case typeInteger:
		return parquet.Int(64)
	case typeNumber:
		return parquet.Leaf(parquet.DoubleType)
	case typeBoolean:
		return parquet.Leaf(parquet.BooleanType)
	case typeCode:
		return parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
	default:
		return parquet.String()
	}
}

// value is a cell as Parquet has it, and about how many bytes it takes. A day that is none,
// such as one in a month too short for it, is null.
func value(v any, typ string) (parquet.Value, int) {
	switch v := v.(type) {
	case string:
		if typ != typeDate {
			return parquet.ByteArrayValue([]byte(v)), len(v) + 4
		}
		if on, err := time.Parse(time.DateOnly, v); err == nil {
			return parquet.Int32Value(int32(on.Unix() / (24 * 60 * 60))), 4
		}
	case int64:
		return parquet.Int64Value(v), 8
	case float64:
		return parquet.DoubleValue(v), 8
	case bool:
		return parquet.BooleanValue(v), 1
	case time.Time:
		return parquet.Int64Value(v.UnixMilli()), 8
	}
	return parquet.NullValue(), 1
}

func (k *parquetKind) open(p *parquetForm) (err error) {
	if k.file, err = p.job.dir.create(k.tables[0].name + ".parquet"); err != nil {
		return err
	}
	k.w = parquet.NewGenericWriter[any](k.file.b, k.schema, &parquet.WriterConfig{
		CreatedBy: "tandem", Compression: &zstd.Codec{Level: zstd.SpeedDefault}, PageBufferSize: 64 << 10, WriteBufferSize: 16 << 10,
		KeyValueMetadata: p.meta, DataPageStatistics: true,
	})
	return nil
}

func (p *parquetForm) write(of []*table, _ *row, e *entry) error {
	k := p.of[of[0]]
	if k.w == nil {
		if err := k.open(p); err != nil {
			return err
		}
	}
	size := 0
	k.row = k.row[:0]
	put := func(v any, typ string, repetition, present, column int) {
		cell, n := value(v, typ)
		if cell.IsNull() {
			present--
		}
		k.row = append(k.row, cell.Level(repetition, present, column))
		size += n
	}
	for column, l := range k.leaves {
		rows := e.rows[l.table]
		if l.table == 0 {
			put(rows[0][l.column], l.typ, 0, 1, column)
			continue
		}
		if len(rows) == 0 {
			k.row = append(k.row, parquet.NullValue().Level(0, 0, column))
		}
		for n, cells := range rows {
			put(cells[l.column], l.typ, min(n, 1), 2, column)
		}
	}
	k.file.rows++
	if _, err := k.w.WriteRows([]parquet.Row{k.row}); err != nil {
		return fmt.Errorf("%s: %w", k.file.name, err)
	}
	k.held += size
	p.held += size
	if k.held > groupBytes {
		return k.flush(p)
	}
	if p.held > allBytes {
		most := k
		for _, other := range p.kinds {
			if other.held > most.held {
				most = other
			}
		}
		return most.flush(p)
	}
	return nil
}

// flush ends a row group.
func (k *parquetKind) flush(p *parquetForm) error {
	p.held -= k.held
	k.held = 0
	return k.w.Flush()
}

func (p *parquetForm) end() error {
	for _, k := range p.kinds {
		if k.w == nil {
			if err := k.open(p); err != nil {
				return err
			}
		}
		if err := k.w.Close(); err != nil {
			return fmt.Errorf("%s: %w", k.file.name, err)
		}
		p.held -= k.held
		k.w = nil
	}
	return nil
}
