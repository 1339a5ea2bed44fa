package pgtest_test

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/tandem-response/tandem/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func ask(t *testing.T, address, query string) (answer string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context()) //nolint:errcheck // It has answered.
	if err := c.QueryRow(t.Context(), query).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func do(t *testing.T, address, statement string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context()) //nolint:errcheck // What it did is done.
	if _, err := c.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// Each test has a database of its own, with what its template holds.
func TestCopies(t *testing.T) {
	t.Parallel()
	fill := func(address string) error {
		do(t, address, "CREATE TABLE word AS SELECT 'template' AS word")
		return nil
	}
	c := pgtest.Shared(t)
	one, other := c.Copy(t, "word", fill), c.Copy(t, "word", fill)
	if got := ask(t, one, "UPDATE word SET word = 'mine' RETURNING word"); got != "mine" {
		t.Error(got)
	}
	if got := ask(t, other, "SELECT word FROM word"); got != "template" {
		t.Errorf("got %q of another test", got)
	}
	if got := ask(t, one, "SELECT rolsuper::text FROM pg_roles WHERE rolname = current_user"); got != "false" {
		t.Error("tests are run by a superuser")
	}
	if got := ask(t, pgtest.Above(t, one), "SELECT rolsuper::text FROM pg_roles WHERE rolname = current_user"); got != "true" {
		t.Error("there is no superuser")
	}
}

// A server that crashes comes back with what was committed.
func TestCrash(t *testing.T) {
	t.Parallel()
	c := pgtest.Start(t)
	address := c.Database(t)
	if got := ask(t, address, "SHOW fsync"); got != "on" {
		t.Error("it promises nothing")
	}
	do(t, address, "CREATE TABLE word AS SELECT 'kept' AS word")
	c.Down(true)
	if err := c.Up(); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, address, "SELECT word FROM word"); got != "kept" {
		t.Error(got)
	}
}
