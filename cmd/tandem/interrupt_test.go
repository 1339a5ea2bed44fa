package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
)

// TestInterrupt: Ctrl-C in the midst of an import and of a sync is exit code 130; an
// import is whole or not there, a sync goes on where it was, and the same command
// brings the work to its end.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	const rows = 3000
	h, _ := newHome(t, homeOptions{})
	store := t.TempDir()
	dev, err := h.enrol(t.Context(), h.clinician, "Car 12 laptop", store, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	file := spreadsheet(t, rows, 5)
	rng := rand.New(rand.NewPCG(3, 5))
	for _, work := range []struct {
		args []string
		// queued is whether so many saves may wait after an interruption.
		queued func(n float64) bool
	}{
		{[]string{"import", "--store", store, "--mapping", toronto, file}, func(n float64) bool { return n == 0 }},
		{[]string{"sync", "--store", store}, func(n float64) bool { return n >= 0 && n <= rows }},
	} {
		interrupted := 0
		// The moment moves ahead until the work comes to its end before it.
		for moment := 4 * time.Millisecond; ; moment += time.Duration(rng.Int64N(int64(120 * time.Millisecond))) {
			cmd := exec.CommandContext(t.Context(), "tandem", work.args...)
			var printed bytes.Buffer
			cmd.Stdout, cmd.Stderr = &printed, &printed
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			err, over := opened(store, ended)
			if !over {
				time.Sleep(moment)
				_ = cmd.Process.Signal(os.Interrupt)
				err = <-ended
			}
			if err == nil {
				break
			}
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != exitInterrupted {
				t.Fatalf("%s, interrupted: %v\n%s", work.args[0], err, &printed)
			}
			if !strings.Contains(printed.String(), "run the command again") {
				t.Errorf("%s, interrupted, says\n%s", work.args[0], &printed)
			}
			interrupted++
			st := decode[map[string]any](t, must(t, "", "status", "--store", store, "--json"))
			if n, ok := st["queued"].(float64); !ok || !work.queued(n) {
				t.Fatalf("%s, interrupted: %v saves wait", work.args[0], st["queued"])
			}
		}
		if interrupted < 2 {
			t.Errorf("%s was interrupted %d times: the test shows nothing", work.args[0], interrupted)
		}
		t.Logf("%s: interrupted %d times", work.args[0], interrupted)
	}
	must(t, "", "sync", "--store", store)
	st := decode[map[string]any](t, must(t, "", "status", "--store", store, "--json"))
	n, err := h.count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if v := decode[verified](t, must(t, "", "verify", "--store", store, "--json")); st["queued"] != 0.0 || v.Changes != rows || v.Records != n || n < rows {
		t.Errorf("in the end %v saves wait, the device has %d records and %d changes, the server %d records", st["queued"], v.Records, v.Changes, n)
	}
}

// opened waits until a process has the store open, or has ended.
func opened(store string, ended <-chan error) (err error, over bool) { //nolint:revive // The error is the process's, not this function's.
	for {
		if _, err := os.Stat(filepath.Join(store, "device.db-wal")); err == nil {
			return nil, false
		}
		select {
		case err := <-ended:
			return err, true
		case <-time.After(time.Millisecond):
		}
	}
}
