package store

import (
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
)

// dialect names what differs between the engines; all other SQL is shared text
// with the placeholders $1, $2 ….
type dialect struct {
	// goose is the name under which the migrator knows the engine.
	goose goose.Dialect
	// tokens of migrations and what they stand for.
	tokens *strings.Replacer
	// anonymous: a placeholder in a generated list is a bare "?", which binds faster
	// than a numbered one.
	anonymous bool
}

var sqliteDialect = dialect{
	goose: goose.DialectSQLite3,
	tokens: strings.NewReplacer(
		"{{int}}", "INTEGER",
		"{{bytes}}", "BLOB",
		"{{strict}}", "STRICT",
		// Rows of a few dozen bytes: the key is the row. Never for bodies.
		"{{packed}}", "STRICT, WITHOUT ROWID",
	),
	anonymous: true,
}

// list returns "(p, p, …)" of n placeholders, the first of them number first.
func (d *dialect) list(b *strings.Builder, first, n int) {
	b.WriteByte('(')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		if d.anonymous {
			b.WriteByte('?')
			continue
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(first + i))
	}
	b.WriteByte(')')
}

// in returns "head (p, …) tail", where head ends in IN and uses the placeholders
// before first.
func (d *dialect) in(head string, first, n int, tail string) string {
	var b strings.Builder
	b.WriteString(head)
	b.WriteByte(' ')
	d.list(&b, first, n)
	b.WriteString(tail)
	return b.String()
}

// values returns "head VALUES (…), (…) tail" for rows of width columns.
func (d *dialect) values(head string, rows, width int, tail string) string {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString(" VALUES ")
	for r := range rows {
		if r > 0 {
			b.WriteByte(',')
		}
		d.list(&b, 1+r*width, width)
	}
	b.WriteString(tail)
	return b.String()
}
