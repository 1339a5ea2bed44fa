package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client"
)

// TestNoRoom fills the disk before each kind of file that is written beside the databases:
// a copy, what is made of a copy, the audit log for others, the security journal, a new
// device's store. Each says that the disk is full and leaves nothing behind that could be
// taken for the whole; with room again the same words do it.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "24m")
	on := func(name string) string { return filepath.Join(disk, name) }
	r := newRigOn(t, "tandem", "")
	r.server = r.serving("--data", r.path("server"), "--listen", r.addr, "--journal", on("security.journal"))
	r.enrol("device", "lost")
	r.must(r.importing("device", r.file(300))...)
	r.must(r.syncing("device")...)
	data, copied := r.path("server"), r.path("copy")
	r.must("backup", "--data", data, "--to", copied)

	enrol := func(name, place string) []string {
		t.Helper()
		h := r.home()
		code, err := h.code(t.Context(), r.clinician, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.store.Close(); err != nil {
			t.Fatal(err)
		}
		return []string{code, "enroll", "--server", "http://" + r.addr, "--store", place}
	}
	dev, err := client.Open(t.Context(), r.path("lost"), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lost, err := dev.Session()
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}

	full := func(name string, args ...string) {
		t.Helper()
		told := tandem(t.Context(), args[0], args[1:]...)
		if told.code == exitOK || !strings.Contains(told.err, "full") && !strings.Contains(told.err, "no space left") {
			t.Errorf("%s: exit code %d\n%s%s", name, told.code, told.out, told.err)
		}
	}
	room := func() {
		t.Helper()
		if err := os.Remove(on("rest")); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		// left is what must not be there afterwards.
		name, left string
		args       []string
	}{
		{"a backup", "monday.db", []string{"", "backup", "--data", data, "--to", on("monday.db")}},
		{"a restore", "data", []string{"", "restore", "--from", copied, "--keys", filepath.Join(data, "keys.json"), "--journal", on("security.journal"), "--data", on("data")}},
		{"an export of the audit log", "audit.jsonl", []string{"", "admin", "audit", "export", "--data", data, "--to", on("audit.jsonl")}},
		{"a new store", "", enrol("newer", on("store"))},
	} {
		fill(t, on("rest"))
		full(tc.name, tc.args...)
		if _, err := os.Stat(on(tc.left)); tc.left != "" && err == nil {
			t.Errorf("%s: %s is there", tc.name, tc.left)
		}
		room()
		must(t, tc.args[0], tc.args[1:]...)
	}

	// The journal's last page takes a few lines more; then nobody is let in or shut out.
	fill(t, on("rest"))
	var waits []string
	for i := 0; waits == nil; i++ {
		args := enrol(fmt.Sprint("new", i), r.path(fmt.Sprint("new", i)))
		if told := tandem(t.Context(), args[0], args[1:]...); told.code != exitOK {
			waits = args
		} else if i > 30 {
			t.Fatal("the journal takes everything")
		}
	}
	revoke := []string{"", "admin", "revoke", "--data", data, "--device", lost.Device.String()}
	full("a revocation", revoke...)
	room()
	must(t, waits[0], waits[1:]...)
	must(t, revoke[0], revoke[1:]...)

	// What was acknowledged is there, the copies are whole, and who was shut out is out.
	must(t, "", "verify", "--data", on("data"))
	must(t, "", "sync", "--store", on("store"))
	must(t, "", "sync", "--store", waits[len(waits)-1])
	r.must(r.syncing("lost")...)
	if here, _ := r.on("lost"); len(here.byID) > 0 {
		t.Errorf("who was shut out holds %d calls", len(here.byID))
	}
	if here, _ := r.atServer(); len(here.byID) != 300 {
		t.Errorf("the server has %d calls of 300", len(here.byID))
	}
}
