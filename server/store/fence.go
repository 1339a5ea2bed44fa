package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
)

// The second fence by org, on PostgreSQL: row-level security, forced upon the owner of
// the tables too. Each transaction says which org it is of, and no statement in it
// sees, changes or adds a row of another one, whatever its WHERE forgets. A transaction
// of no org sees the table of orgs alone. The first fence is every query's own.
//
// It is raised around the migrations, whatever tables those make, so that no migration
// has to think of it and none can forget it. Migrations themselves work outside it.

// fenced are the tables with their key of the org, and whether the fence stands.
func fencedTables(ctx context.Context, db *sql.DB) (tables []fencedTable, err error) {
	rows, err := db.QueryContext(ctx, `SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AND
			EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'by_org')
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'goose_db_version' ORDER BY c.relname`, schemaName)
	if err != nil {
		return nil, classify(err)
	}
	defer rows.Close()
	for rows.Next() {
		var t fencedTable
		if err := rows.Scan(&t.name, &t.stands); err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	return tables, classify(rows.Err())
}

type fencedTable struct {
	name   string
	stands bool
}

// ofOrg is the org that the transaction is of, as SQL; a subquery, so that it is
// computed once a statement.
const ofOrg = "(SELECT CAST(NULLIF(current_setting('" + fenceSetting + "', true), '') AS BIGINT))"

// raise puts up the fence of a table.
func (t *fencedTable) raise() string {
	own := "org = " + ofOrg
	if t.name == "org" {
		own = "num = " + ofOrg + " OR " + ofOrg + fmt.Sprintf(" = %d", noOrg)
	}
	return fmt.Sprintf(`ALTER TABLE %[1]s ENABLE ROW LEVEL SECURITY; ALTER TABLE %[1]s FORCE ROW LEVEL SECURITY;
		DROP POLICY IF EXISTS by_org ON %[1]s; CREATE POLICY by_org ON %[1]s USING (%[2]s) WITH CHECK (%[2]s);`, t.name, own)
}

// migrateFenced brings a database to the version of this program and raises the fence.
// Where there is something to migrate the owner of the tables is let through meanwhile.
func migrateFenced(ctx context.Context, d *dialect, db *sql.DB) error {
	err := migrate(ctx, d, db, func() error {
		tables, err := fencedTables(ctx, db)
		for _, t := range tables {
			if err == nil {
				_, err = db.ExecContext(ctx, "ALTER TABLE "+t.name+" NO FORCE ROW LEVEL SECURITY")
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	tables, err := fencedTables(ctx, db)
	if err != nil {
		return err
	}
	tables = slices.DeleteFunc(tables, func(t fencedTable) bool { return t.stands })
	for _, t := range tables {
		if err := scriptOn(ctx, db, t.raise()); err != nil {
			return fmt.Errorf("raising the fence by org: %w", err)
		}
	}
	return nil
}
