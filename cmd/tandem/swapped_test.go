//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// TestSwapped takes the files of the database away from under a running server, in the
// ways in which people do: it is noticed before anything more is acknowledged, whoever
// runs the server is told what to do, and with the files back it goes on without a
// restart. What was acknowledged is there when the server is killed.
func TestSwapped(t *testing.T) {
	t.Parallel()
	rename := func(t *testing.T, from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	for name, swap := range map[string]func(t *testing.T, r *rig, db string) (back func()){
		"moved away": func(t *testing.T, _ *rig, db string) func() {
			rename(t, db, db+".old")
			return func() { rename(t, db+".old", db) }
		},
		"an older copy in its place": func(t *testing.T, r *rig, db string) func() {
			rename(t, db, db+".new")
			rename(t, r.path("copy"), db)
			return func() { rename(t, db+".new", db) }
		},
		"the log moved away": func(t *testing.T, _ *rig, db string) func() {
			rename(t, db+"-wal", db+".log")
			return func() { rename(t, db+".log", db+"-wal") }
		},
		"the directory moved away": func(t *testing.T, r *rig, _ string) func() {
			rename(t, r.path("server"), r.path("elsewhere"))
			return func() { rename(t, r.path("elsewhere"), r.path("server")) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRigOn(t, "tandem", "")
			r.serve()
			f := &fleet{rig: r, addrs: []string{r.addr}}
			r.enrol("device")
			r.must("backup", "--data", r.path("server"), "--to", r.path("copy"))
			r.must(r.importing("device", r.file(20))...)
			r.must(r.syncing("device")...)
			r.must(r.importing("device", r.file(20))...)
			back := swap(t, r, r.path("server/tandem.db"))
			told := r.start(r.syncing("device")...)
			if code := r.end(told); code != exitNoAnswer {
				t.Errorf("a device's sync: exit code %d\n%s%s", code, told.Stdout, told.Stderr)
			}
			if here, _ := r.on("device"); here.Queued != 20 {
				t.Errorf("%d of 20 saves wait", here.Queued)
			}
			f.unready(name, "moved, replaced or removed")
			back()
			f.unready(name, "")
			r.must(r.syncing("device")...)
			if here, _ := r.on("device"); here.Queued != 0 {
				t.Errorf("%d saves still wait", here.Queued)
			}
			if !r.kill(r.server) {
				t.Fatal("the server ended by itself")
			}
			if there, _ := r.atServer(); there.Changes-r.changes != 40 {
				t.Errorf("the server has %d changes, 40 were acknowledged", there.Changes-r.changes)
			}
		})
	}
}

// TestStoreSwapped takes the files of a device's store away from under it: no save is
// said to be kept that went into a file without a name.
func TestStoreSwapped(t *testing.T) {
	t.Parallel()
	for _, inVault := range []bool{false, true} {
		h, dir := newHome(t, homeOptions{})
		o := client.Options{Vault: inVault}
		if inVault {
			o.Passphrase = func(context.Context, bool) ([]byte, error) { return []byte("correct horse battery staple"), nil }
		}
		dev, err := h.enrol(t.Context(), h.clinician, "Car 12 laptop", filepath.Join(dir, "store"), o)
		if err != nil {
			t.Fatal(err)
		}
		save := func() error {
			_, err := dev.Edit(t.Context(), func(e *client.Edit) error {
				_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
				return err
			})
			return err
		}
		if err := save(); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"device.db", "device.db-wal"} {
			path := filepath.Join(dir, "store", name)
			if err := os.Rename(path, path+".old"); err != nil {
				t.Fatal(err)
			}
			if err := save(); !errors.Is(err, client.ErrSwapped) {
				t.Errorf("%s is gone: a save says %v", name, err)
			}
			if err := os.Rename(path+".old", path); err != nil {
				t.Fatal(err)
			}
			if err := save(); err != nil {
				t.Errorf("%s is back: %v", name, err)
			}
		}
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	}
}
