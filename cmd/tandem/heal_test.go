package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/syncengine"
)

var restores = flag.Int("restores", 2, "how often TestHeal restores the server's database from a copy")

// TestHeal copies and sets back stores of real processes: a device's directory is
// cloned, a device's database is replaced by an older copy, and the server's is
// restored from a backup. Nothing that was acknowledged is missing in the end, all
// edits of both lines are there, and everybody holds the same.
func TestHeal(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "tandem")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the binary: %v\n%s", err, out)
	}
	t.Run("clone", func(t *testing.T) { healClone(newRig(t, bin)) })
	t.Run("device set back", func(t *testing.T) { healDevice(newRig(t, bin)) })
	t.Run("row damaged", func(t *testing.T) { healRow(newRig(t, bin)) })
	t.Run("server restored", func(t *testing.T) { healServer(newRig(t, bin)) })
}

// copyFiles copies the files of a directory that is in use by nobody; an old file of
// the target that the source lacks goes.
func copyFiles(t *testing.T, from, to string, names ...string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(from, name))
		if os.IsNotExist(err) {
			if err := os.Remove(filepath.Join(to, name)); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func deviceFiles() []string { return []string{"device.db", "device.db-wal", "device.db-shm"} }

// confirm confirms every replica that waits for it, as an admin.
func (r *rig) confirm() (confirmed int) {
	r.t.Helper()
	h := r.home()
	all, err := h.admin.Replicas(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if err := h.store.Close(); err != nil {
		r.t.Fatal(err)
	}
	for _, one := range all {
		if one.Unconfirmed {
			r.must(r.admin("replica", "confirm", one.ID.String())...)
			confirmed++
		}
	}
	return confirmed
}

// status is a device's.
func (r *rig) status(name string) *client.Status {
	r.t.Helper()
	dev, err := client.Open(r.t.Context(), r.path(name), client.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	st, err := dev.Status(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		r.t.Fatal(err)
	}
	return st
}

// alike syncs devices and checks that all hold what the server holds: every imported
// row, once, and every acknowledged save.
func (r *rig) alike(devices ...string) {
	r.t.Helper()
	for range 3 {
		for _, name := range devices {
			r.must(r.syncing(name)...)
		}
	}
	there, digests := r.atServer()
	r.kept("the server", there)
	rows := 0
	for _, n := range r.rows {
		rows += n
	}
	numbers := map[string]syncengine.ID{}
	for id, in := range there.byID {
		if in.GetNumber() == "" {
			continue
		}
		if other, seen := numbers[in.GetNumber()]; seen {
			r.t.Errorf("the server has the call %s twice, as %s and %s", in.GetNumber(), id, other)
		}
		numbers[in.GetNumber()] = id
	}
	if len(there.byID) < rows {
		r.t.Errorf("the server has %d calls, %d were imported", len(there.byID), rows)
	}
	for _, name := range devices {
		here, held := r.on(name)
		if here.Queued != 0 {
			r.t.Errorf("%s: %d saves still wait", name, here.Queued)
		}
		if len(here.byID) != len(there.byID) || !maps.Equal(held, digests) {
			r.t.Errorf("%s has %d calls, the server %d; digests\n%v\n%v", name, len(here.byID), len(there.byID), held, digests)
		}
		st := r.status(name)
		if st.Forked || st.Unconfirmed || st.Recovering || st.Repairing || st.Lost != 0 || st.VerifiedMS == 0 {
			r.t.Errorf("%s in the end: %+v", name, st)
		}
	}
}

func healClone(r *rig) {
	r.enrol("first", "reader")
	r.must(r.importing("first", r.file(80))...)
	r.must(r.syncing("first")...)
	r.must(r.importing("first", r.file(30))...)
	copyFiles(r.t, r.path("first"), r.path("twin"), deviceFiles()...)
	// Both have the last file unsent, and go on apart.
	r.must(r.importing("first", r.file(20))...)
	r.must(r.importing("twin", r.file(25))...)
	r.save("twin", false)
	r.save("first", false)
	r.must(r.syncing("first")...)
	r.must(r.syncing("twin")...)
	if st := r.status("twin"); !st.Unconfirmed || st.Queued != 0 {
		r.t.Errorf("the copy, after its first contact: %+v", st)
	}
	there, _ := r.atServer()
	r.kept("the server", there)
	if n := r.confirm(); n == 0 {
		r.t.Error("there was nothing to confirm")
	}
	r.alike("first", "twin", "reader")
}

func healDevice(r *rig) {
	r.enrol("device", "reader")
	r.must(r.importing("device", r.file(60))...)
	r.must(r.syncing("device")...)
	copyFiles(r.t, r.path("device"), r.path("image"), deviceFiles()...)
	r.must(r.importing("device", r.file(40))...)
	r.save("device", false)
	r.must(r.syncing("device")...)
	copyFiles(r.t, r.path("image"), r.path("device"), deviceFiles()...)
	r.must(r.importing("device", r.file(30))...)
	r.must(r.syncing("device")...)
	// A code of its person confirms it as well as an admin.
	h := r.home()
	code, err := h.code(r.t.Context(), r.clinician, "again")
	if err != nil {
		r.t.Fatal(err)
	}
	if err := h.store.Close(); err != nil {
		r.t.Fatal(err)
	}
	must(r.t, code, "enroll", "--store", r.path("device"))
	r.alike("device", "reader")
}

// healRow damages a row of a device as a failing disk does: verify sees it, and a
// comparison with the server mends it.
func healRow(r *rig) {
	r.enrol("device")
	r.must(r.importing("device", r.file(60))...)
	r.must(r.syncing("device")...)
	if err := alter(filepath.Join(r.path("device"), "device.db"), "UPDATE rec SET body = x'0a00' WHERE n = (SELECT max(n) FROM rec)"); err != nil {
		r.t.Fatal(err)
	}
	verify := r.start("verify", "--store", r.path("device"))
	if code := r.end(verify); code != exitDiffers {
		r.t.Errorf("verify of a damaged store: exit code %d", code)
	}
	r.must("sync", "--store", r.path("device"), "--repair")
	r.alike("device")
	if st := r.status("device"); st.Note == "" {
		r.t.Error("the status does not say that a row was mended")
	}
}

func healServer(r *rig) {
	files := []string{"tandem.db", "tandem.db-wal", "tandem.db-shm"}
	devices := []string{"first", "second"}
	r.enrol(devices...)
	for drill := range *restores {
		r.must(r.importing("first", r.file(40))...)
		for _, name := range devices {
			r.must(r.syncing(name)...)
		}
		r.kill(r.server)
		copyFiles(r.t, r.path("server"), r.path("backup"), files...)
		r.serve()
		// What follows is acknowledged, and only in the newer state of the database.
		r.must(r.importing("second", r.file(30))...)
		r.save("first", false)
		r.save("second", true)
		late := fmt.Sprintf("late%d", drill)
		r.enrol(late)
		devices = append(devices, late)
		for _, name := range devices {
			r.must(r.syncing(name)...)
		}
		r.kill(r.server)
		copyFiles(r.t, r.path("backup"), r.path("server"), files...)
		remembered := true
		switch drill % 3 {
		case 1:
			// The mark and the journal went with the rest: the devices show that it was set
			// back, and nobody has heard of the new one.
			remembered = false
			for _, name := range []string{"highwater.json", "security.journal"} {
				if err := os.Remove(filepath.Join(r.path("server"), name)); err != nil && !os.IsNotExist(err) {
					r.t.Fatal(err)
				}
			}
		case 2:
			r.must("admin", "recover", "begin", "--data", r.path("server"))
		}
		r.serve()
		for _, name := range devices {
			r.must(r.syncing(name)...)
			if st := r.status(name); !st.Recovering {
				r.t.Errorf("drill %d: %s does not know that the server was restored: %+v", drill, name, st)
			}
		}
		r.must("status", "--data", r.path("server"))
		r.must("admin", "recover", "confirm", "--data", r.path("server"))
		if n := r.confirm(); (n > 0) == remembered {
			r.t.Errorf("drill %d: of devices that the backup does not know %d wait to be confirmed", drill, n)
		}
		r.alike(devices...)
		if r.t.Failed() {
			r.t.FailNow()
		}
	}
}
