package export

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// errCell says that a cell is not what its column holds.
var errCell = errors.New("it is not what the column holds")

// csvReader reads what csvWriter has written, byte for byte: encoding/csv takes the carriage
// return out of a line end inside a cell.
type csvReader struct {
	r     *bufio.Reader
	cells []string
	cell  []byte
}

var errCSV = errors.New("it is not CSV as an export writes it")

// line returns the cells of the next line, io.EOF after the last. They are good until the
// next call.
func (c *csvReader) line() ([]string, error) {
	c.cells = c.cells[:0]
	if _, err := c.r.Peek(1); err != nil {
		return nil, err
	}
	for {
		end, err := c.next()
		if err != nil {
			return nil, err
		}
		c.cells = append(c.cells, string(c.cell))
		if end {
			return c.cells, nil
		}
	}
}

// next reads a cell; end says that it is the last of its line.
func (c *csvReader) next() (end bool, err error) {
	c.cell = c.cell[:0]
	quoted, closed := false, false
	for first := true; ; first = false {
		b, err := c.r.ReadByte()
		if errors.Is(err, io.EOF) {
			err = errCSV
		}
		switch {
		case err != nil:
			return false, err
		case first && b == '"':
			quoted = true
		case quoted && !closed && b == '"':
			closed = true
		case quoted && !closed:
			c.cell = append(c.cell, b)
		case closed && b == '"':
			c.cell, closed = append(c.cell, b), false
		case b == ',':
			return false, nil
		case b == '\r':
			if b, err = c.r.ReadByte(); err != nil || b != '\n' {
				return false, errors.Join(errCSV, err)
			}
			return true, nil
		case closed || b == '"' || b == '\n':
			return false, errCSV
		default:
			c.cell = append(c.cell, b)
		}
	}
}

// setScalar sets a field to what scalar has made a cell of.
func setScalar(m protoreflect.Message, f protoreflect.FieldDescriptor, cell string) error {
	var v protoreflect.Value
	var err error
	if m == nil {
		return errCell
	}
	switch f.Kind() {
	case protoreflect.StringKind:
		v = protoreflect.ValueOfString(cell)
	case protoreflect.BytesKind:
		var b []byte
		b, err = hex.DecodeString(cell)
		v = protoreflect.ValueOfBytes(b)
	case protoreflect.BoolKind:
		if v = protoreflect.ValueOfBool(cell == "true"); cell != "true" && cell != "false" {
			err = errCell
		}
	case protoreflect.DoubleKind:
		var n float64
		n, err = strconv.ParseFloat(cell, 64)
		v = protoreflect.ValueOfFloat64(n)
	case protoreflect.FloatKind:
		var n float64
		n, err = strconv.ParseFloat(cell, 32)
		v = protoreflect.ValueOfFloat32(float32(n))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		var n int64
		n, err = strconv.ParseInt(cell, 10, 32)
		v = protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		var n int64
		n, err = strconv.ParseInt(cell, 10, 64)
		v = protoreflect.ValueOfInt64(n)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		var n uint64
		n, err = strconv.ParseUint(cell, 10, 32)
		v = protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		var n int64
		n, err = strconv.ParseInt(cell, 10, 64)
		v = protoreflect.ValueOfUint64(uint64(n))
	default:
		return fmt.Errorf("a field of kind %s: %w", f.Kind(), errCell)
	}
	if err != nil {
		// What strconv says would repeat the cell.
		return errCell
	}
	m.Set(f, v)
	return nil
}

var instantForm = regexp.MustCompile(`^(-?[0-9]{4,9})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})\.([0-9]{3})Z$`)

// readInstant reads an instant as csvWriter writes it, of any year.
func readInstant(cell string) (ms int64, err error) {
	parts := instantForm.FindStringSubmatch(cell)
	if parts == nil {
		return 0, errCell
	}
	var n [7]int
	for i := range n {
		if n[i], err = strconv.Atoi(parts[i+1]); err != nil {
			return 0, errCell
		}
	}
	t := time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], n[6]*int(time.Millisecond), time.UTC)
	return t.UnixMilli(), nil
}
