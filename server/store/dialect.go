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
	// insert begins an insert of several rows that may leave some of them standing
	// where it fails, because the transaction is rolled back then.
	insert string
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
	// Without it SQLite keeps a copy of every page that the statement touches.
	insert: "INSERT OR FAIL INTO ",
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

// values returns "INSERT INTO into VALUES (…), (…) tail" for rows of width columns.
func (d *dialect) values(into string, rows, width int, tail string) string {
	var b strings.Builder
	if tail == "" {
		b.WriteString(d.insert)
	} else {
		b.WriteString("INSERT INTO ")
	}
	b.WriteString(into)
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
