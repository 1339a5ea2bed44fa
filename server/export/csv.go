package export

import (
	"io"
	"strconv"
	"strings"
	"time"
)

// csvWriter writes lines as RFC 4180 has them: commas, CRLF, quotes only where a cell
// needs them. Text goes out byte for byte, line ends inside a cell included, which
// encoding/csv does not do with CRLF.
type csvWriter struct {
	w io.Writer
	b []byte
	// safe puts an apostrophe before text that a spreadsheet would run.
	safe bool
}

// header writes the names of the columns.
func (c *csvWriter) header(columns []column) error {
	cells := make([]any, len(columns))
	for i := range columns {
		cells[i] = columns[i].name
	}
	return c.line(cells...)
}

// line writes one line of cells: nil, string, int64, float64, bool or time.Time.
func (c *csvWriter) line(cells ...any) error {
	c.b = c.b[:0]
	for i, v := range cells {
		if i > 0 {
			c.b = append(c.b, ',')
		}
		c.cell(v)
	}
	c.b = append(c.b, '\r', '\n')
	_, err := c.w.Write(c.b)
	return err
}

func (c *csvWriter) cell(v any) {
	switch v := v.(type) {
	case string:
		c.text(v)
	case int64:
		c.b = strconv.AppendInt(c.b, v, 10)
	case float64:
		c.b = strconv.AppendFloat(c.b, v, 'f', -1, 64)
	case bool:
		c.b = strconv.AppendBool(c.b, v)
	case time.Time:
		c.b = v.UTC().AppendFormat(c.b, "2006-01-02T15:04:05.000Z")
	}
}

// text writes a string. Only text is guarded against being run as a formula: a number
// below zero is a number.
func (c *csvWriter) text(s string) {
	guard := c.safe && s != "" && strings.IndexByte("=+-@\t\r\n", s[0]) >= 0
	quote := strings.ContainsAny(s, ",\"\r\n")
	if quote {
		c.b = append(c.b, '"')
	}
	if guard {
		c.b = append(c.b, '\'')
	}
	if quote {
		s = strings.ReplaceAll(s, `"`, `""`)
	}
	c.b = append(c.b, s...)
	if quote {
		c.b = append(c.b, '"')
	}
}
