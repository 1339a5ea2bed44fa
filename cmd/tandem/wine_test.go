package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/internal/need"
)

// underWine starts the binary for Windows under wine, as a laptop would: help, enrolment, a
// save and a sync with a server of this system, which then holds what was written.
func underWine(t *testing.T, exe string) {
	wine := need.Program(t, "wine", "apt-get install --no-install-recommends wine wine64")
	r := newRigOn(t, "tandem", "")
	// The rig's directory is not wine's: that fills one of its own at its first start.
	prefix := filepath.Join(t.TempDir(), "wine")
	env := append(os.Environ(), "WINEPREFIX="+prefix, "WINEARCH=win64", "WINEDEBUG=-all", "WINEDLLOVERRIDES=mscoree,mshtml=")
	run := func(stdin, name string, args ...string) (out string, err error) {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env, cmd.Stdin = env, strings.NewReader(stdin)
		said, err := cmd.CombinedOutput()
		return string(said), err
	}
	t.Cleanup(func() {
		// Its services outlive the program, and write to the directory.
		stop := exec.CommandContext(context.WithoutCancel(t.Context()), "wineserver", "--kill", "--wait")
		stop.Env = env
		_ = stop.Run()
	})
	if said, err := run("", wine, "wineboot", "--init"); err != nil {
		t.Fatalf("wineboot: %v\n%s", err, said)
	}
	missing := filepath.Join(prefix, "drive_c/windows/system32/bcryptprimitives.dll")
	if _, err := os.Stat(missing); os.IsNotExist(err) {
		t.Log("this wine lacks bcryptprimitives.dll, of which Go's runtime takes random bytes: a stand-in is put there")
		if err := os.WriteFile(missing, forwarder("bcryptprimitives.dll", "ProcessPrng", "ADVAPI32.SystemFunction036"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	windows := func(stdin string, args ...string) string {
		t.Helper()
		out, err := run(stdin, wine, append([]string{exe}, args...)...)
		if err != nil {
			t.Fatalf("tandem.exe %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
	if out := windows("", "--help"); !strings.Contains(out, "Usage: tandem") {
		t.Errorf("its help: %s", out)
	}
	r.serve()
	h := r.home()
	code, err := h.code(t.Context(), r.clinician, "Car 12 laptop")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	before, _ := r.atServer()
	store := `Z:` + strings.ReplaceAll(r.path("windows"), "/", `\`)
	mapping, err := filepath.Abs(toronto)
	if err != nil {
		t.Fatal(err)
	}
	windows(code, "enroll", "--server", "http://"+r.addr, "--store", store)
	windows("", "import", "--store", store, "--mapping", `Z:`+mapping, `Z:`+r.file(20))
	windows("", "sync", "--store", store)
	windows("", "verify", "--store", store)
	there, digests := r.atServer()
	if n := there.Changes - before.Changes; n < 20 || len(there.byID) != 20 {
		t.Errorf("the server has %d changes more, and %d calls; 20 were imported", n, len(there.byID))
	}
	// The same store, as this system reads it.
	here, held := r.on("windows")
	if here.Queued != 0 || len(here.byID) != 20 {
		t.Errorf("the store has %d calls, %d of them unsent", len(here.byID), here.Queued)
	}
	for scope, digest := range held {
		if digests[scope] != digest {
			t.Errorf("scope %s differs from the server's", scope)
		}
	}
	r.kill(r.server)
}

// forwarder is a library for Windows on amd64 that holds no code: its one function is that
// of another library.
func forwarder(name, function, to string) []byte {
	const base, raw, size = 0x1000, 0x200, 0x200
	section := make([]byte, size)
	// The directory, the tables of addresses, names and ordinals, then the names.
	at := uint32(40)
	word := func(v uint32) (rva uint32) {
		binary.LittleEndian.PutUint32(section[at:], v)
		at += 4
		return base + at - 4
	}
	functions, names, ordinals := word(0), word(0), word(0)
	text := func(s string) (rva uint32) {
		rva = base + at
		at += uint32(copy(section[at:], s)) + 1
		return rva
	}
	library, exported, forwarded := text(name), text(function), text(to)
	put := func(rva, v uint32) { binary.LittleEndian.PutUint32(section[rva-base:], v) }
	put(functions, forwarded)
	put(names, exported)
	for i, v := range []uint32{0, 0, 0, library, 1, 1, 1, functions, names, ordinals} {
		put(base+4*uint32(i), v)
	}

	var file bytes.Buffer
	write := func(v any) { _ = binary.Write(&file, binary.LittleEndian, v) }
	dos := make([]byte, 64)
	copy(dos, "MZ")
	dos[60] = 64
	write(dos)
	write([]byte("PE\x00\x00"))
	// amd64, one section, an optional header of 240 bytes; a library that takes any address.
	write([]uint16{0x8664, 1, 0, 0, 0, 0, 0, 0, 240, 0x2022})
	write([]uint16{0x20b, 0})
	write([]uint32{0, size, 0, 0, 0})
	write(uint64(0x180000000))
	write([]uint32{0x1000, 0x200})
	write([]uint16{6, 0, 0, 0, 6, 0})
	// No version, two pages in memory, a page of headers, no checksum; a console's.
	write([]uint32{0, 0x2000, raw, 0})
	write([]uint16{3, 0x100})
	write([]uint64{0x100000, 0x1000, 0x100000, 0x1000})
	write([]uint32{0, 16, base, size})
	write(make([]byte, 15*8))
	write([]byte(".edata\x00\x00"))
	// Where it is in memory and in the file; it is read.
	write([]uint32{size, base, size, raw, 0, 0, 0, 0x40000040})
	write(make([]byte, raw-file.Len()))
	write(section)
	return file.Bytes()
}
