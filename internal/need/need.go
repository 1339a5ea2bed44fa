// Package need lets a test say what it lacks. It is the only way for a test of
// this module to skip: what is skipped on a laptop fails where TANDEM_TEST_ALL=1
// is set, as it is in .ci/run, so that no check goes missing unseen.
package need

import (
	"os"
	"os/exec"
	"testing"
)

// All reports whether every test must run: TANDEM_TEST_ALL is 1.
func All() bool { return os.Getenv("TANDEM_TEST_ALL") == "1" }

// Missing ends the test: what names the thing that is not there and how to get
// it, for example "chromium: apt-get install chromium". The test is skipped, or
// fails where every test must run.
func Missing(tb testing.TB, what string) {
	tb.Helper()
	if All() {
		tb.Fatalf("TANDEM_TEST_ALL=1 and missing %s", what)
	}
	tb.Skipf("missing %s", what)
}

// Program returns the path of the program called name. Where there is none the
// test ends as Missing ends it; how tells how to get the program.
func Program(tb testing.TB, name, how string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(tb, name+": "+how)
	}
	return path
}

// Long skips the test under -short, which the caller of go test chose. Nothing
// is missing then, so TANDEM_TEST_ALL does not change it.
func Long(tb testing.TB) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("long test: run without -short")
	}
}
