package server_test

import (
	"os"
	"testing"

	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/server/store"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// engine is what the server of a test keeps its tables in.
type engine struct {
	name string
	// database makes one for a test and returns its address, empty for a file in the
	// data directory.
	database func(tb testing.TB) string
}

var (
	sqlite   = engine{"sqlite", func(testing.TB) string { return "" }}
	postgres = engine{"postgres", postgresDatabase}
)

// each runs a test on both engines.
func each(t *testing.T, test func(t *testing.T, on engine)) {
	t.Helper()
	t.Parallel()
	for _, on := range []engine{sqlite, postgres} {
		t.Run(on.name, func(t *testing.T) { test(t, on) })
	}
}

// postgresDatabase returns a database with the tables and nothing in them.
func postgresDatabase(tb testing.TB) string {
	tb.Helper()
	return pgtest.Shared(tb).Copy(tb, "tables", func(address string) error {
		s, err := store.Open(tb.Context(), tb.TempDir(), store.Options{Create: true, Database: address, Volatile: true})
		if err != nil {
			return err
		}
		return s.Close()
	})
}
