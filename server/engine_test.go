package server_test

import (
	"os"
	"testing"

	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/internal/storetest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// engine is what the server of a test keeps its tables in.
type engine = storetest.Engine

var (
	sqlite   = storetest.SQLite
	postgres = storetest.Postgres
)

func each(t *testing.T, test func(t *testing.T, on engine)) {
	t.Helper()
	storetest.Each(t, test)
}
