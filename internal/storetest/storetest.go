// Package storetest runs a test on each engine that a server's store may keep its tables
// in. A package that uses it calls pgtest.Main from its TestMain.
package storetest

import (
	"testing"

	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/server/store"
)

// Engine is what the store of a test keeps its tables in.
type Engine struct {
	// Name is that of subtests.
	Name string
	// Database makes one for a test and returns its address, empty for a file in the
	// data directory.
	Database func(tb testing.TB) string
}

// The engines. Each database of Postgres has the tables and nothing in them.
var (
	SQLite   = Engine{"sqlite", func(testing.TB) string { return "" }}
	Postgres = Engine{"postgres", tables}
)

// Each runs a test on both engines: what it holds, it holds of either.
func Each(t *testing.T, test func(t *testing.T, on Engine)) {
	t.Helper()
	t.Parallel()
	for _, on := range []Engine{SQLite, Postgres} {
		t.Run(on.Name, func(t *testing.T) { test(t, on) })
	}
}

func tables(tb testing.TB) string {
	tb.Helper()
	return pgtest.Shared(tb).Copy(tb, "tables", func(address string) error {
		s, err := store.Open(tb.Context(), tb.TempDir(), store.Options{Create: true, Database: address, Volatile: true})
		if err != nil {
			return err
		}
		return s.Close()
	})
}
