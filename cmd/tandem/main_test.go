package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rs/zerolog"
)

// TestMain lets the test binary be run again as tandem, as a device that saves until it is
// killed, and as many devices that find the network.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tandem": main, "tandem-saves": saves, "tandem-pack": devices, "tandem-profiled": profiled})
}

// ran is what a command line came to.
type ran struct {
	code     int
	out, err string
}

// tandem runs one command line in this process.
func tandem(ctx context.Context, stdin string, args ...string) ran {
	var out, errs bytes.Buffer
	code := run(ctx, args, stdio{in: strings.NewReader(stdin), out: &out, err: &errs})
	return ran{code: code, out: out.String(), err: errs.String()}
}

// must runs a command line that has to succeed, and returns what it printed.
func must(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	r := tandem(t.Context(), stdin, args...)
	if r.code != exitOK {
		t.Fatalf("tandem %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r.out
}

// lastLine is the last line of what a command printed.
func lastLine(out string) string {
	out = strings.TrimSuffix(out, "\n")
	return out[strings.LastIndexByte(out, '\n')+1:]
}

// decode reads the last line, which is JSON.
func decode[T any](t *testing.T, out string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(lastLine(out)), &v); err != nil {
		t.Fatalf("the last line is not JSON: %v\n%s", err, out)
	}
	return v
}

// newHome starts a server in this process.
func newHome(t *testing.T, o homeOptions) (h *home, dir string) {
	t.Helper()
	dir = t.TempDir()
	h, err := openHome(&app{ctx: t.Context(), log: zerolog.Nop()}, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	return h, dir
}

// toronto is the mapping of the calls that tests import.
const toronto = "../../testdata/mappings/toronto.yaml"

// spreadsheet writes a file of calls for that mapping. Files with other marks hold
// other calls.
func spreadsheet(t *testing.T, rows, mark int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("event_year,event_month,event_dow,event_hour,event_type,division,apprehension_made,hood_140\n")
	for i := range rows {
		fmt.Fprintf(&b, "2016,May,Monday,%d,Overdose,D%d,No,%d\n", i%24, mark, i)
	}
	file := filepath.Join(t.TempDir(), "calls.csv")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
