package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/internal/need"
)

// A bench of the program itself takes every step against a server in a process of its
// own, measures that process apart, and says what it found as a table and as a file.
func TestBench(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, profiled := filepath.Join(dir, "bench.json"), filepath.Join(dir, "profiles")
	out, err := exec.CommandContext(t.Context(), "tandem", "bench", "--records", "40,20", "--live", "3", "--crews", "3", "--each", "4", "--write", file, "--profile", profiled).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"push-20.cpu.pprof", "push-40.memory.pprof", "live-40.cpu.pprof"} {
		if info, err := os.Stat(filepath.Join(profiled, name)); err != nil || info.Size() == 0 {
			t.Errorf("the profiles that were asked for: %v, %v", info, err)
		}
	}
	for _, words := range []string{"20 documents of", "fan-in: 3 devices, 12 documents", "at 40 costs, as a multiple of one at 20"} {
		if !strings.Contains(string(out), words) {
			t.Errorf("the table does not say %q:\n%s", words, out)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r benchReport
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Runs) != 2 || r.Server != "own process" || r.Engine != "sqlite" || r.Machine.CPUs == 0 || r.Growth == nil || r.Growth.Push <= 0 || len(r.Between) == 0 {
		t.Fatalf("%+v", r)
	}
	for i, n := range []int{20, 40} {
		b := r.Runs[i]
		if b.Records != n || b.Raw.SQLite <= 0 || b.Raw.Snapshot <= 0 || b.Raw.Append4P50 <= 0 || b.BodyBytes <= 0 || b.ServerDisk <= 0 || b.DeviceDisk <= 0 || b.SealedDisk <= 0 {
			t.Errorf("%+v", b)
		}
		if b.Making == nil || b.Chunked == nil || b.Bootstrap == nil {
			t.Fatal("nothing was pulled in chunks")
		}
		for name, s := range map[string]*benchStep{"save": &b.Save, "push": &b.Push, "settle": &b.Settle, "pull": &b.Pull, "chunks made": b.Making, "chunks": b.Chunked, "bootstrap": b.Bootstrap, "edit": &b.Edit, "live": &b.Live.benchStep, "fan-in": &b.FanIn.benchStep} {
			if s.MS <= 0 || s.Documents == 0 || (name != "save" && (s.Up <= 0 || s.Down <= 0 || s.Net >= s.Up+s.Down)) {
				t.Errorf("%s: %+v", name, s)
			}
			// The server's part is told where the system tells processes apart.
			if runtime.GOOS == "linux" && name != "save" && (s.ServerCPU <= 0 || s.ServerCPU >= s.CPU || s.ServerPeak <= 0) {
				t.Errorf("%s: the server's CPU is %f of %f µs, its memory %f MB", name, s.ServerCPU, s.CPU, s.ServerPeak)
			}
		}
		// What these cost is counted, not timed. The device's own changes come back in an
		// answer of their own only where nothing else comes for a second.
		if b.NoOp.Net > 340 || b.Live.Net > 3_900 {
			t.Errorf("without proof a no-op takes %.0f bytes, a live document %.0f: want at most 340 and 3,900", b.NoOp.Net, b.Live.Net)
		}
		for _, want := range []string{"G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "G9", "G14"} {
			if !slices.ContainsFunc(b.Goals, func(g benchGoal) bool { return g.Goal == want && g.Aim >= 0 && (g.Met == (g.Got <= g.Aim)) != g.Least }) {
				t.Errorf("%s is not set against what is aimed at: %+v", want, b.Goals)
			}
		}
		if b.FanIn.Documents != 12 || b.FanIn.Errors != 0 || b.Live.P99 < b.Live.P50 || b.NoOp.Bytes <= b.NoOp.Net {
			t.Errorf("fan-in %+v, live %+v, no-op %+v", b.FanIn, b.Live, b.NoOp)
		}
	}
}

// A server that runs already is measured with codes that its admin has made, and gets
// nothing but the documents.
func TestBenchRemote(t *testing.T) {
	t.Parallel()
	h, _ := newHome(t, homeOptions{})
	var codes strings.Builder
	for range 4 {
		code, err := h.code(t.Context(), h.clinician, "bench")
		if err != nil {
			t.Fatal(err)
		}
		codes.WriteString(code + "\n")
	}
	file := filepath.Join(t.TempDir(), "codes.txt")
	if err := os.WriteFile(file, []byte(codes.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := h.count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"bench", "--json", "--records", "10", "--live", "1", "--crews", "2", "--each", "3", "--server", h.url, "--codes", file}
	r := decode[benchReport](t, must(t, "", args...))
	if r.Server != "remote" || r.Engine != "unknown" || len(r.Runs) != 1 || r.Runs[0].FanIn.Documents != 6 || r.Growth != nil {
		t.Errorf("%+v", r)
	}
	// What warms up counts too, and the four devices.
	if after, err := h.count(t.Context()); err != nil || after-before < 10+1+warmUp+6 {
		t.Errorf("the server has %d records more, %v", after-before, err)
	}
	if r := tandem(t.Context(), "", args...); r.code == exitOK {
		t.Error("the codes were used, and it runs all the same")
	}
}

// What a bench is told wrongly, it says what to do about, and measures nothing.
func TestBenchRefused(t *testing.T) {
	t.Parallel()
	codes := filepath.Join(t.TempDir(), "codes.txt")
	if err := os.WriteFile(codes, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for says, args := range map[string]string{
		"at least 1":                  "--records 0",
		"--devices at least 2":        "--devices 1",
		"--server and --codes go tog": "--server http://127.0.0.1:1",
		"takes one --records":         "--records 1,2 --server http://127.0.0.1:1 --codes " + codes,
		"too few codes":               "--records 1 --server http://127.0.0.1:1 --codes " + codes,
		"leave --database away":       "--records 1 --database postgres://u@127.0.0.1:1/x --server http://127.0.0.1:1 --codes " + codes,
		"want postgres://":            "--records 1 --database nonsense",
	} {
		if r := tandem(t.Context(), "", append([]string{"bench"}, strings.Fields(args)...)...); r.code != exitUsage || !strings.Contains(r.err, says) {
			t.Errorf("%s: exit code %d, want %d with %q\n%s", args, r.code, exitUsage, says, r.err)
		}
	}
}

// The readers of the kernel's files know this process.
func TestMachine(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		need.Program(t, "a Linux kernel", "run it on Linux")
	}
	pid := os.Getpid()
	for range 1 << 20 {
		_ = strings.Repeat("x", 8)
	}
	parent, spent, ok := statOf(pid)
	if !ok || parent != os.Getppid() || processTime(pid) <= 0 || spent < 0 || machineBusy() <= 0 || familyTime(pid) < spent {
		t.Errorf("parent %d, want %d; %v by threads, %v by the process; the machine %v", parent, os.Getppid(), processTime(pid), spent, machineBusy())
	}
	if mb := familyMB(pid); mb < 1 || mb > 1<<20 {
		t.Errorf("%f MB", mb)
	}
	cmd := exec.CommandContext(t.Context(), "tandem", "serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, child := range childrenOf(pid) {
		found = found || child == cmd.Process.Pid
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if !found {
		t.Errorf("%d is no child of %d", cmd.Process.Pid, pid)
	}
	if m := thisMachine(); m.MemoryMB == 0 || m.Kernel == "" || m.Go == "" {
		t.Errorf("%+v", m)
	}
}

// The bench of the vault sets each step in a vault against the same in the clear, and says
// what is aimed at.
func TestBenchVault(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "tandem", "bench", "vault", "--records", "30", "--rounds", "1", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var r vaultReport
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	aims := map[string]float64{"save": 1.3, "push": 1.3, "pull": 1.3, "open": 1.3, "scan": 1.6}
	for _, s := range r.Steps {
		if s.Most != aims[s.Name] || s.Each < 1 || s.Plain <= 0 || s.Vault <= 0 || s.Ratio != s.Vault/s.Plain {
			t.Errorf("%+v", s)
		}
		delete(aims, s.Name)
	}
	if len(aims) > 0 || r.Records != 30 {
		t.Errorf("steps that are missing: %v of %d records", aims, r.Records)
	}
	if err := exec.CommandContext(t.Context(), "tandem", "bench", "vault", "--rounds", "0").Run(); err == nil {
		t.Error("no rounds at all are taken")
	}
}

// A benched server is set up as the bench says, whatever is set for a server of one's own.
func TestBenchedEnv(t *testing.T) {
	t.Parallel()
	got := benchedEnv([]string{"PATH=/bin", "TANDEM_LISTEN=0.0.0.0:8440", "TANDEM_DATABASE=postgres://own", "PGPASSWORD=x"}, "postgres://bench")
	if want := []string{"PATH=/bin", "PGPASSWORD=x", "TANDEM_DATABASE=postgres://bench"}; !slices.Equal(got, want) {
		t.Errorf("it gets %q, want %q", got, want)
	}
}
