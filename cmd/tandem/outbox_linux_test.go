package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
)

var outboxSize = flag.Int("outbox", 8, "how many MB of saves a device of TestGreatOutbox comes back with")

// TestGreatOutbox lets a device come back with many MB of saves; 50 are tried with -outbox 50. They all arrive, in the
// memory that the server sets aside for anybody; a device with one save does not wait
// until they have.
func TestGreatOutbox(t *testing.T) {
	t.Parallel()
	const perSave, textBytes = 3, 16 << 10
	size := *outboxSize << 20
	r := newRig(t, "tandem")
	r.enrol("greedy", "modest")
	open := func(name string) *client.Client {
		t.Helper()
		dev, err := client.Open(t.Context(), r.path(name), client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = dev.Close() })
		return dev
	}
	save := func(dev *client.Client, records, text int) {
		t.Helper()
		if _, err := dev.Edit(t.Context(), func(e *client.Edit) error {
			for range records {
				// What compresses well would be small on its way.
				var b strings.Builder
				for b.Len() < text {
					fmt.Fprintf(&b, "%016x", r.rng.Uint64())
				}
				if _, err := e.Create(&tandemv1.Encounter{Narrative: new(b.String())}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	greedy, modest := open("greedy"), open("modest")
	for range 1 + size/perSave/textBytes {
		save(greedy, perSave, textBytes)
	}
	st, err := greedy.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.QueuedBytes < int64(size) {
		t.Fatalf("%d bytes wait, %d are wanted", st.QueuedBytes, size)
	}
	done := make(chan error, 1)
	go func() {
		_, err := greedy.Sync(t.Context())
		done <- err
	}()
	beside := 0
	for finished := false; !finished; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			finished = true
		default:
			save(modest, 1, 100)
			// What it has to fetch meanwhile is another matter.
			if _, err := modest.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			beside++
		}
	}
	t.Logf("%d MB in %d saves; %d syncs of another device beside them; the server took %d MiB", st.QueuedBytes>>20, st.Queued, beside, peakOf(t, r.server)>>20)
	if beside < 2 {
		t.Errorf("the other device synced %d times meanwhile", beside)
	}
	if peak := peakOf(t, r.server); peak > herdMemory {
		t.Errorf("the server took %d MiB", peak>>20)
	}
	for name, dev := range map[string]*client.Client{"greedy": greedy, "modest": modest} {
		if st, err := dev.Status(t.Context()); err != nil || st.Queued != 0 || st.NotAccepted != 0 {
			t.Errorf("%s: %+v, error %v", name, st, err)
		}
	}
}

// TestReadOnly: on a disk that takes no more writes, as after a fault of the file system,
// nothing claims to have been done, what to look at is said, and with the disk in order
// again the same words do it.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	const tmpfs = "a file system that can be made read-only: run the tests as root, where tmpfs may be mounted"
	disk := t.TempDir()
	if os.Geteuid() != 0 {
		need.Missing(t, tmpfs)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64m"); err != nil {
		need.Missing(t, fmt.Sprintf("%s (%v)", tmpfs, err))
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	r := newRigOn(t, "tandem", "")
	r.serve()
	served := r.dir
	r.dir = disk
	writable := func(yes bool) {
		t.Helper()
		flags := uintptr(syscall.MS_REMOUNT)
		if !yes {
			flags |= syscall.MS_RDONLY
		}
		if err := syscall.Mount("tmpfs", disk, "tmpfs", flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	device := r.path("device")
	r.dir = served
	h := r.home()
	code, err := h.code(t.Context(), r.clinician, "device")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	must(t, code, "enroll", "--server", "http://"+r.addr, "--store", device)
	calls, data := r.file(20), disk+"/server"
	must(t, "", "backup", "--data", r.path("server"), "--to", r.path("copy"))
	must(t, "", "restore", "--from", r.path("copy"), "--keys", r.path("server/keys.json"), "--journal", r.path("server/security.journal"), "--data", data)
	for name, words := range map[string][]string{
		"an import": {"import", "--store", device, "--mapping", toronto, calls},
		"a sync":    {"sync", "--store", device},
		"a server":  {"serve", "--data", data, "--listen", "127.0.0.1:0"},
		"an admin":  {"admin", "org", "create", "--data", data, "--name", "Another County"},
	} {
		writable(false)
		told := tandem(t.Context(), "", words...)
		writable(true)
		t.Logf("%s: exit code %d: %s", name, told.code, strings.TrimSpace(told.err))
		if told.code == exitOK || !strings.Contains(told.err, "read") && !strings.Contains(told.err, "write") {
			t.Errorf("%s: exit code %d\n%s%s", name, told.code, told.out, told.err)
		}
	}
	must(t, "", "import", "--store", device, "--mapping", toronto, calls)
	must(t, "", "sync", "--store", device)
	must(t, "", "verify", "--store", device)
	must(t, "", "verify", "--data", data)
}
