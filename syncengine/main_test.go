package syncengine_test

import (
	"flag"
	"os"
	"testing"
)

// update writes the golden files anew.
var update = flag.Bool("update", false, "write testdata/golden.txt anew")

// full adds what takes minutes.
var full = flag.Bool("worlds.full", false, "small worlds: let replicas resolve in any order of delivery too, 2.6 million worlds")

// Properties are checked on 1,000 draws unless -rapid.checks says otherwise.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "1000"); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(m.Run())
}
