package client

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/internal/vfs"
)

// statements cuts a script into its statements: at each semicolon outside of texts,
// comments and the bodies of triggers.
func statements(t *testing.T, script string) (all []string) {
	t.Helper()
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
	if len(all) == 0 {
		t.Fatal("the script has no statements")
	}
	return all
}

// tables are the definitions of everything in a database.
func tables(t *testing.T, path string) string {
	t.Helper()
	db, err := sql.Open("sqlite", (&store{disk: vfs.At(t.Context())}).dsn(path, "mode=ro"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = eachRow(rows, func(scan func(...any) error) error {
		var kind, name, text string
		err := scan(&kind, &name, &text)
		fmt.Fprintln(&out, kind, name, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var version int
	if err := db.QueryRowContext(t.Context(), "PRAGMA user_version").Scan(&version); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&out, "version", version)
	return out.String()
}

// killed leaves a database as a process leaves it that dies after some statements of a
// transaction, with some versions complete: the files as they are then.
func killed(t *testing.T, scripts [][]string, after int) (dir string) {
	t.Helper()
	work := t.TempDir()
	path := filepath.Join(work, databaseFile)
	db, err := sql.Open("sqlite", (&store{disk: vfs.At(t.Context())}).dsn(path, "mode=rwc", "_pragma=journal_mode(wal)", "_pragma=cache_size(1)"))
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
	versions, err := schemaVersions()
	if err != nil {
		t.Fatal(err)
	}
	for i, script := range scripts {
		run("BEGIN IMMEDIATE")
		for _, text := range script {
			if after == 0 {
				return copied(t, work)
			}
			run(text)
			after--
		}
		run(fmt.Sprintf("PRAGMA application_id = %d", applicationID))
		run(fmt.Sprintf("PRAGMA user_version = %d", versions[i]))
		if after == 0 {
			return copied(t, work)
		}
		run("COMMIT")
	}
	return copied(t, work)
}

// copied copies the files of a directory that a process has open, but those that die
// with it.
func copied(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range []string{databaseFile, databaseFile + "-wal"} {
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

// A store whose making or upgrade was killed at any statement is brought to its end by
// the next open, to the very tables of one that was never interrupted.
func TestKilledMigration(t *testing.T) {
	t.Parallel()
	versions, err := schemaVersions()
	if err != nil {
		t.Fatal(err)
	}
	var scripts [][]string
	total := 0
	for i, version := range versions {
		text, err := schemaFiles.ReadFile(fmt.Sprintf("schema/%04d.sql", version))
		if err != nil {
			t.Fatal(err)
		}
		scripts = append(scripts, statements(t, string(text)))
		total += len(scripts[i])
	}
	whole := t.TempDir()
	if err := newClientAt(t, whole); err != nil {
		t.Fatal(err)
	}
	want := tables(t, filepath.Join(whole, databaseFile))
	for after := range total + 1 {
		dir := killed(t, scripts, after)
		if err := newClientAt(t, dir); err != nil {
			t.Fatalf("killed after statement %d of %d: %v", after, total, err)
		}
		if got := tables(t, filepath.Join(dir, databaseFile)); got != want {
			t.Fatalf("killed after statement %d: got\n%s\nwant\n%s", after, got, want)
		}
	}
}

// newClientAt opens a store and closes it.
func newClientAt(t *testing.T, dir string) error {
	t.Helper()
	c, err := Open(t.Context(), dir, Options{Version: "test"})
	if err != nil {
		return err
	}
	mustStatus(t, c)
	return c.Close()
}
