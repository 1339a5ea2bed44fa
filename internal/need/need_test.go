package need_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/internal/need"
)

// recorder is a testing.TB that notes how the test under it ended.
type recorder struct {
	testing.TB

	ended string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.ended = "failed: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.ended = "skipped: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// ending runs f as a test and returns how it ended; empty where it ran through.
func ending(t *testing.T, f func(tb testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r.ended
}

func TestMissing(t *testing.T) {
	lacking := func(tb testing.TB) {
		need.Program(tb, "no-such-program-of-tandem", "install it")
	}
	t.Setenv("TANDEM_TEST_ALL", "")
	if got, want := ending(t, lacking), "skipped: missing no-such-program-of-tandem: install it"; got != want {
		t.Errorf("without TANDEM_TEST_ALL: got %q, want %q", got, want)
	}
	t.Setenv("TANDEM_TEST_ALL", "1")
	if got := ending(t, lacking); !strings.HasPrefix(got, "failed: ") || !strings.Contains(got, "no-such-program-of-tandem: install it") {
		t.Errorf("with TANDEM_TEST_ALL=1: got %q, want a failure that names the program", got)
	}
}

func TestProgramPresent(t *testing.T) {
	t.Setenv("TANDEM_TEST_ALL", "1")
	if got := ending(t, func(tb testing.TB) { need.Program(tb, "go", "it runs this test") }); got != "" {
		t.Errorf("got %q, want the test to go on", got)
	}
}
