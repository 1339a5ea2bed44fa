package store

import (
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
)

// dialect names what differs between the engines; all other SQL is shared text
// with the placeholders $1, $2 ….
type dialect struct {
	// name of the engine.
	name string
	// goose is the name under which the migrator knows the engine.
	goose goose.Dialect
	// tokens of migrations and what they stand for.
	tokens *strings.Replacer
	// anonymous: a placeholder in a generated list is a bare "?", which binds faster
	// than a numbered one.
	anonymous bool
	// near: a query costs no round trip, so that one more may spare many look-ups.
	near bool
	// insert begins an insert of several rows that may leave some of them standing
	// where it fails, because the transaction is rolled back then.
	insert string
	// batches are the numbers of rows that one statement inserts, the largest first; nil:
	// any number, each column one array.
	batches []int
	// begin begins a transaction that writes, view one that reads from one snapshot.
	begin, view string
	// fence says to a transaction which org it is of (noOrg: of none, it reads the
	// table of orgs), for the second fence by org; nil where the engine has none.
	fence func(org int64) string
	// locked ends the query of an org's row that begins each write, so that all writers
	// of an org, in whatever process, come one after another.
	locked string
	// check is a query that lets the engine check its own structures, empty for none:
	// it answers "ok", or a line for each fault.
	check string
	// layout is a query of all columns: table, column, in their order. What begins with an
	// underscore is not ours: Litestream keeps such tables in a file.
	layout string
	// hold keeps all others from writing until the end of the transaction.
	hold string
	// clock is a query of the database's wall clock, ms since the Unix epoch.
	clock string
	// remote: the database is another process, with connections that may break and
	// transactions that a failed statement ends.
	remote bool
}

// noOrg is the number of no org.
const noOrg = 0

var sqliteDialect = dialect{
	name:  "sqlite",
	goose: goose.DialectSQLite3,
	tokens: strings.NewReplacer(
		"{{int}}", "INTEGER",
		"{{bytes}}", "BLOB",
		"{{text}}", "TEXT",
		"{{strict}}", "STRICT",
		// Rows of a few dozen bytes: the key is the row. Never for bodies.
		"{{packed}}", "STRICT, WITHOUT ROWID",
	),
	anonymous: true,
	near:      true,
	// Without it SQLite keeps a copy of every page that the statement touches.
	insert:  "INSERT OR FAIL INTO ",
	batches: []int{64, 8, 1},
	// The write lock at once; the database has one writer.
	begin: "BEGIN IMMEDIATE",
	view:  "BEGIN",
	check: "PRAGMA integrity_check(20)",
	layout: `SELECT m.name, c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name <> 'goose_db_version' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\'
		AND m.name NOT LIKE '\_%' ESCAPE '\' ORDER BY m.name, c.cid`,
	clock: "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)",
}

var postgresDialect = dialect{
	name:  "postgres",
	goose: goose.DialectPostgres,
	tokens: strings.NewReplacer(
		"{{int}}", "BIGINT",
		"{{bytes}}", "BYTEA",
		// The order of bytes, as everywhere else: that of a language differs from
		// machine to machine, and may change under an index.
		"{{text}}", `TEXT COLLATE "C"`,
		"{{strict}}", "",
		"{{packed}}", "",
	),
	insert: "INSERT INTO ",
	// Each statement behind the lock of the org's row sees what was committed before the
	// lock was got; see transact.
	begin:  "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
	view:   "BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ",
	fence:  func(org int64) string { return "SET LOCAL " + fenceSetting + " = " + strconv.FormatInt(org, 10) },
	locked: " FOR UPDATE",
	layout: "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = '" + schemaName +
		"' AND table_name <> 'goose_db_version' ORDER BY table_name, ordinal_position",
	// Every writer begins at the table of orgs. A move takes as long as it takes.
	hold: "LOCK TABLE org IN EXCLUSIVE MODE; SET LOCAL idle_in_transaction_session_timeout = 0",
	// Not that of the transaction's beginning, which may have waited for its turn.
	clock:  "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
	remote: true,
}

// list returns "(p, p, …)" of n placeholders, the first of them number first.
func (d *dialect) list(b *strings.Builder, first, n int) {
	b.WriteByte('(')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		d.placeholder(b, first+i)
	}
	b.WriteByte(')')
}

// placeholder writes the one that follows those before it.
func (d *dialect) placeholder(b *strings.Builder, number int) {
	if d.anonymous {
		b.WriteByte('?')
		return
	}
	b.WriteByte('$')
	b.WriteString(strconv.Itoa(number))
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

// doNothing is the tail of an insert that leaves rows alone that are there.
const doNothing = " ON CONFLICT DO NOTHING"

// values returns "INSERT INTO into VALUES (…), (…) tail" for rows of width columns. The
// first shared columns have the same value in every row, and one placeholder each.
func (d *dialect) values(into string, rows, shared, width int, tail string) string {
	var b strings.Builder
	if tail == "" || tail == doNothing {
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
		if shared == 0 {
			d.list(&b, 1+r*width, width)
			continue
		}
		b.WriteByte('(')
		for i := range shared {
			if i > 0 {
				b.WriteByte(',')
			}
			if d.anonymous {
				b.WriteByte('?')
			} else {
				b.WriteByte('$')
			}
			b.WriteString(strconv.Itoa(1 + i))
		}
		for i := range width - shared {
			b.WriteByte(',')
			d.placeholder(&b, 1+shared+r*(width-shared)+i)
		}
		b.WriteByte(')')
	}
	b.WriteString(tail)
	return b.String()
}
