package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/internal/need"
)

// TestFullDisk: on a disk that is full nothing of an import stays, what was saved
// before is safe and can be read, and with room again the work goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "4m")
	h, _ := newHome(t, homeOptions{})
	store := filepath.Join(disk, "store")
	dev, err := h.enrol(t.Context(), h.clinician, "Car 12 laptop", store, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	before, calls := spreadsheet(t, 1, 1), spreadsheet(t, 4000, 2)
	importing := func(file string) ran {
		return tandem(t.Context(), "", "import", "--store", store, "--mapping", toronto, "--json", file)
	}
	if r := importing(before); r.code != exitOK {
		t.Fatalf("one call: exit code %d\n%s", r.code, r.err)
	}

	r := importing(calls)
	if r.code != exitFailed || !strings.Contains(r.err, "disk is full") || r.out != "" {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.err)
	}
	holds := func() {
		t.Helper()
		if st := decode[map[string]any](t, must(t, "", "status", "--store", store, "--json")); st["queued"] != 1.0 {
			t.Errorf("%v saves wait, one was made", st["queued"])
		}
		if v := decode[verified](t, must(t, "", "verify", "--store", store, "--json")); !v.OK || v.Changes != 1 {
			t.Errorf("verify finds %+v", v)
		}
	}
	holds()

	// Without a byte to spare the store gives up the room that it keeps: the save can
	// be read and sent.
	fill(t, filepath.Join(disk, "rest"))
	holds()
	must(t, "", "sync", "--store", store)
	if st := decode[map[string]any](t, must(t, "", "status", "--store", store, "--json")); st["queued"] != 0.0 {
		t.Errorf("%v saves still wait", st["queued"])
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=300m"); err != nil {
		t.Fatal(err)
	}
	r = importing(calls)
	if r.code != exitOK {
		t.Fatalf("with room again: exit code %d\n%s", r.code, r.err)
	}
	if done := decode[imported](t, r.out); done.Added != 4000 {
		t.Errorf("got %+v", done)
	}
	if v := decode[verified](t, must(t, "", "verify", "--store", store, "--json")); !v.OK || v.Changes != 4001 {
		t.Errorf("verify finds %v, %d changes", v.Faults, v.Changes)
	}
}

// fill takes what is left of a disk.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	for {
		if _, err := f.Write(block); err != nil {
			return
		}
	}
}

// smallDisk mounts a file system of a size, for example 4m, and returns where.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	const tmpfs = "a file system of a few megabytes: run the tests as root, where tmpfs may be mounted"
	disk := t.TempDir()
	if os.Geteuid() != 0 {
		need.Missing(t, tmpfs)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size="+size); err != nil {
		need.Missing(t, fmt.Sprintf("%s (%v)", tmpfs, err))
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	return disk
}
