package store

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/internal/vfs"
)

// version is one migration: its number and its statements, in the words of an engine.
type version struct {
	number     int
	statements []string
}

func versionsFor(t *testing.T, d *dialect) (all []version) {
	t.Helper()
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(files, "*.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("no migrations: %v", err)
	}
	for _, name := range names {
		f, err := tokenFS{files, d}.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		v := version{}
		if _, err := fmt.Sscanf(name, "%d_", &v.number); err != nil {
			t.Fatalf("%s has no number", name)
		}
		up, _, _ := strings.Cut(string(text), "-- +goose Down")
		v.statements = cutStatements(up)
		all = append(all, v)
	}
	return all
}

// cutStatements cuts at each semicolon outside of texts, comments and the bodies of
// triggers.
func cutStatements(script string) (all []string) {
	start, quoted, comment := 0, false, false
	for i := range len(script) {
		switch c := script[i]; {
		case comment:
			comment = c != '\n'
		case c == '\'':
			quoted = !quoted
		case quoted:
		case strings.HasPrefix(script[i:], "--"):
			comment = true
		case c == ';':
			text := script[start : i+1]
			if words := strings.ToUpper(text); strings.Contains(words, "CREATE TRIGGER") && !strings.HasSuffix(words, "END;") {
				continue
			}
			all, start = append(all, text), i+1
		}
	}
	return all
}

// definitions are the tables of a database and the versions that it counts itself at,
// without the comments in them.
func definitions(t *testing.T, dir string) string {
	t.Helper()
	db, err := sql.Open("sqlite", (&Store{disk: vfs.At(t.Context())}).dsn(filepath.Join(dir, databaseName), "mode=ro"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var out strings.Builder
	for _, query := range []string{
		"SELECT name || ': ' || coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%' ORDER BY name",
		"SELECT 'version ' || version_id FROM goose_db_version WHERE is_applied ORDER BY version_id",
	} {
		c, err := newConn(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		err = c.each(query, nil, func(rows *sql.Rows) error {
			var line string
			err := rows.Scan(&line)
			fmt.Fprintln(&out, line)
			return err
		})
		if err := errors.Join(err, c.close()); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// killedAfter leaves a database as a process leaves it that dies after some
// statements of its making or upgrade: the files as they are then.
func killedAfter(t *testing.T, all []version, after int) (dir string) {
	t.Helper()
	work := t.TempDir()
	db, err := sql.Open("sqlite", (&Store{disk: vfs.At(t.Context())}).dsn(filepath.Join(work, databaseName), "mode=rwc", "_txlock=immediate", fmt.Sprintf("page_size(%d)", pageSize), "journal_mode(wal)", "cache_size(1)"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	run := func(text string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	run(fmt.Sprintf("PRAGMA application_id = %d", applicationID))
	run("CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now')))")
	run("INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1)")
	for _, v := range all {
		run("BEGIN IMMEDIATE")
		for _, text := range v.statements {
			if after == 0 {
				return copyFiles(t, work)
			}
			run(text)
			after--
		}
		run(fmt.Sprintf("INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, 1)", v.number))
		if after == 0 {
			return copyFiles(t, work)
		}
		run("COMMIT")
	}
	return copyFiles(t, work)
}

// copyFiles copies what outlives the process that has a database open.
func copyFiles(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range []string{databaseName, databaseName + "-wal"} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if os.IsNotExist(err) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// A database whose making or upgrade was killed at any statement is brought to its end
// by the next open, to the very tables of one that was never interrupted, and is of
// use.
func TestKilledMigration(t *testing.T) {
	t.Parallel()
	all := versionsFor(t, &sqliteDialect)
	total := 0
	for _, v := range all {
		total += len(v.statements)
	}
	use := func(dir string) error {
		s, err := Open(t.Context(), dir, Options{Create: true})
		if err != nil {
			return err
		}
		if _, err := s.CreateOrg(t.Context(), "Example County"); err != nil {
			return err
		}
		return s.Close()
	}
	whole := t.TempDir()
	if err := use(whole); err != nil {
		t.Fatal(err)
	}
	want := definitions(t, whole)
	for after := range total + 1 {
		dir := killedAfter(t, all, after)
		if err := use(dir); err != nil {
			t.Fatalf("killed after statement %d of %d: %v", after, total, err)
		}
		if got := strip(definitions(t, dir)); got != strip(want) {
			t.Fatalf("killed after statement %d: got\n%s\nwant\n%s", after, got, want)
		}
	}
}

// strip leaves out what the migrator leaves out: comments and blank lines.
func strip(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "--")
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// Metrics that were frozen before reports left out records of a substance use program are
// taken to count some, but for an org that never had a scope of such records.
func TestFrozenBeforeWithoutSUD(t *testing.T) {
	t.Parallel()
	all := versionsFor(t, &sqliteDialect)
	all = all[:slices.IndexFunc(all, func(v version) bool { return v.number == 42 })]
	// Two orgs, of which the second has a scope of such records.
	all[len(all)-1].statements = append(all[len(all)-1].statements,
		"INSERT INTO scope (org, num, owner, owner_id, compartment, open) VALUES (1, 1, 1, x'01', 3, 1), (2, 1, 1, x'01', 4, 1)",
		"INSERT INTO metric_snapshot (org, program, first_day, end_day, zone, seq, hash, created_ms, body) VALUES (1, x'', '2026-01-01', '2026-02-01', 'UTC', 1, x'', 1, x''), (2, x'', '2026-01-01', '2026-02-01', 'UTC', 1, x'', 1, x'')")
	total := 0
	for _, v := range all {
		total += len(v.statements)
	}
	// It is killed in one that is not there, when those have been committed.
	dir := killedAfter(t, append(all, version{statements: []string{"SELECT 1", "SELECT 1"}}), total+1)
	s, err := Open(t.Context(), dir, Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var got []int64
	err = s.snapshot(t.Context(), noOrg, func(c *conn) error {
		return c.each("SELECT without_sud FROM metric_snapshot ORDER BY org", nil, func(rows *sql.Rows) error {
			var one int64
			err := rows.Scan(&one)
			got = append(got, one)
			return err
		})
	})
	if err != nil || !slices.Equal(got, []int64{1, 0}) {
		t.Errorf("got %v, %v", got, err)
	}
}
