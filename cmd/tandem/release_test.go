package main

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/internal/need"
)

var (
	releasePlatforms = flag.String("release.platforms", runtime.GOOS+"/"+runtime.GOARCH, "platforms that TestRelease builds for, by GOOS/GOARCH, or all")
	releaseCold      = flag.Bool("release.cold", false, "TestRelease compiles everything anew for each of its two builds")
)

// releaseOf builds a release of a commit in a time zone and returns its directory.
func releaseOf(t *testing.T, commit, zone string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "release")
	args := []string{"run", ".", "-out", out, "-ref", commit}
	if *releasePlatforms != "all" {
		args = append(args, "-platforms", *releasePlatforms)
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = "../../tools/release"
	// None of it may show in what is built.
	cmd.Env = append(os.Environ(), "TZ="+zone, "TMPDIR="+t.TempDir())
	if *releaseCold {
		cmd.Env = append(cmd.Env, "GOCACHE="+t.TempDir())
	}
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return out
}

// TestRelease: the same commit built twice, in two directories, is byte for byte the same;
// it is one static binary, which says its version, and the list of what is in it is whole.
func TestRelease(t *testing.T) {
	t.Parallel()
	need.Long(t)
	// Named once: what is committed meanwhile is another release.
	head, err := exec.CommandContext(t.Context(), need.Program(t, "git", "apt-get install git"), "rev-parse", "HEAD").Output()
	if err != nil {
		t.Fatal(err)
	}
	commit := strings.TrimSpace(string(head))
	first, second := releaseOf(t, commit, "UTC"), releaseOf(t, commit, "Asia/Kathmandu")
	files, err := os.ReadDir(first)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadDir(second); err != nil || len(again) != len(files) || len(files) < 3 {
		t.Fatalf("one build made %d files, the other %d: %v", len(files), len(again), err)
	}
	sums, err := os.ReadFile(filepath.Join(first, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := f.Name()
		if !alikeFiles(t, filepath.Join(first, name), filepath.Join(second, name)) {
			t.Errorf("%s differs between the two builds", name)
		}
		if name != "SHA256SUMS" && !bytes.Contains(sums, []byte("  "+name+"\n")) {
			t.Errorf("SHA256SUMS does not name %s", name)
		}
		if strings.HasPrefix(name, "tandem_") && !strings.HasSuffix(name, ".json") {
			shipped(t, first, name)
		}
	}
	cmd := exec.CommandContext(t.Context(), need.Program(t, "sha256sum", "apt-get install coreutils"), "--check", "--strict", "SHA256SUMS")
	cmd.Dir = first
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, said)
	}
}

func alikeFiles(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}

// shipped checks one binary of a release.
func shipped(t *testing.T, dir, name string) {
	t.Helper()
	file := filepath.Join(dir, name)
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	platform := strings.Split(strings.TrimSuffix(name, ".exe"), "_")
	version, goos, goarch := platform[1], platform[2], platform[3]
	if info.Main.Version != version {
		t.Errorf("%s is version %s", name, info.Main.Version)
	}
	listed, err := os.ReadFile(strings.TrimSuffix(file, ".exe") + ".cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	var bill struct {
		BOMFormat  string
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(listed, &bill); err != nil || bill.BOMFormat != "CycloneDX" || len(bill.Components) != len(info.Deps)+1 {
		t.Errorf("%s: the list has %d components, the binary %d modules and the standard library: %v", name, len(bill.Components), len(info.Deps), err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// The clone that it was built from, and the cache of modules.
	for _, place := range []string{"/tandem-release", "/pkg/mod/"} {
		if bytes.Contains(raw, []byte(place)) {
			t.Errorf("%s names a place of the machine that built it", name)
		}
	}
	static(t, goos, bytes.NewReader(raw))
	if goos == runtime.GOOS && goarch == runtime.GOARCH {
		out, err := exec.CommandContext(t.Context(), file, "--version").Output()
		if err != nil || strings.TrimSpace(string(out)) != version {
			t.Errorf("%s says %q: %v", name, out, err)
		}
	}
	if goos == "windows" && goarch == "amd64" {
		t.Run("under wine", func(t *testing.T) { underWine(t, file) })
	}
}

// static: nothing of the machine is linked when the program starts, but what every
// program of its system is linked with.
func static(t *testing.T, goos string, file io.ReaderAt) {
	t.Helper()
	switch goos {
	case "linux":
		f, err := elf.NewFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("the binary for Linux has a %v", p.Type)
			}
		}
	case "windows":
		f, err := pe.NewFile(file)
		if err != nil {
			t.Fatal(err)
		}
		libs, err := f.ImportedLibraries()
		if err != nil || len(libs) > 1 {
			t.Errorf("the binary for Windows is linked with %v: %v", libs, err)
		}
	case "darwin":
		f, err := macho.NewFile(file)
		if err != nil {
			t.Fatal(err)
		}
		libs, err := f.ImportedLibraries()
		if err != nil {
			t.Fatal(err)
		}
		for _, lib := range libs {
			if !strings.HasPrefix(lib, "/usr/lib/") && !strings.HasPrefix(lib, "/System/") {
				t.Errorf("the binary for macOS is linked with %s", lib)
			}
		}
	}
}
