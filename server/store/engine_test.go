package store_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// engine is what a test's store keeps its tables in.
type engine = storetest.Engine

var (
	sqlite   = storetest.SQLite
	postgres = storetest.Postgres
)

func each(t *testing.T, test func(t *testing.T, on engine)) {
	t.Helper()
	storetest.Each(t, test)
}

// place is where a store is.
type place struct{ dir, database string }

func (p place) options(o store.Options) store.Options {
	o.Database, o.Volatile = p.database, true
	return o
}

func (p place) open(t *testing.T, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), p.dir, p.options(o))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// existing makes a store with an org and closes it.
func existing(t *testing.T, on engine) (place, syncengine.ID) {
	t.Helper()
	p := place{t.TempDir(), on.Database(t)}
	s := p.open(t, store.Options{Create: true})
	o, err := s.CreateOrg(t.Context(), "Example County")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return p, o.ID
}

// kept keeps a copy of the database and returns what sets it back.
func (p place) kept(t *testing.T) (back func()) {
	t.Helper()
	if p.database != "" {
		return pgtest.Shared(t).Kept(t, p.database)
	}
	path := filepath.Join(p.dir, "tandem.db")
	backup, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := os.WriteFile(path, backup, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// bytes returns everything in the database, one value after another.
func (p place) bytes(t *testing.T) string {
	t.Helper()
	if p.database == "" {
		file, err := os.ReadFile(filepath.Join(p.dir, "tandem.db"))
		if err != nil {
			t.Fatal(err)
		}
		return string(file)
	}
	db := p.behind(t)
	var all strings.Builder
	for table := range p.tables(t, db) {
		rows, err := db.QueryContext(t.Context(), "SELECT * FROM tandem."+table)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
			}
			for _, v := range values {
				fmt.Fprintf(&all, "%s\n", *v.(*any)) //nolint:errcheck // Made above.
			}
		}
		if rows.Err() != nil {
			t.Fatal(rows.Err())
		}
	}
	return all.String()
}

// behind opens the database behind the store's back, where no fence stands.
func (p place) behind(t *testing.T) *sql.DB {
	t.Helper()
	driver, address := "sqlite", filepath.Join(p.dir, "tandem.db")
	if p.database != "" {
		driver, address = "pgx", pgtest.Above(t, p.database)+"&search_path=tandem"
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// tables returns the tables of the store, each with the columns that its key and its
// indexes lead with.
func (p place) tables(t *testing.T, db *sql.DB) map[string][]string {
	t.Helper()
	query := `SELECT m.name, COALESCE((SELECT c.name FROM pragma_index_info(i.name) c WHERE c.seqno = 0), '')
		FROM sqlite_schema m JOIN pragma_index_list(m.name) i WHERE m.type = 'table' AND m.name NOT LIKE 'goose%' AND m.name NOT LIKE 'sqlite%'
		UNION ALL SELECT m.name, c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c ON c.cid = 0
		WHERE m.type = 'table' AND m.name NOT LIKE 'goose%' AND m.name NOT LIKE 'sqlite%'`
	if p.database != "" {
		query = `SELECT c.relname, COALESCE((SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = i.indkey[0]), '')
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_index i ON i.indrelid = c.oid
			WHERE n.nspname = 'tandem' AND c.relkind IN ('r', 'p') AND c.relname <> 'goose_db_version'
			UNION ALL SELECT c.relname, a.attname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1
			WHERE n.nspname = 'tandem' AND c.relkind IN ('r', 'p') AND c.relname <> 'goose_db_version'`
	}
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := map[string][]string{}
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		found[table] = append(found[table], column)
	}
	if rows.Err() != nil || len(found) < 20 {
		t.Fatalf("found %d tables: %v", len(found), rows.Err())
	}
	return found
}

// The org's number leads every table and every index: the key to lock, to shard and to
// page by.
func TestOrgLeads(t *testing.T) { each(t, testOrgLeads) }

func testOrgLeads(t *testing.T, on engine) {
	t.Parallel()
	at, _ := existing(t, on)
	for table, leads := range at.tables(t, at.behind(t)) {
		for _, column := range leads {
			// The table of orgs is found by the org's own number and its own id.
			if column == "org" || table == "org" && (column == "num" || column == "id") {
				continue
			}
			t.Errorf("%s, or an index of it, leads with %s", table, column)
		}
	}
}
