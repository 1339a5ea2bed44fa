package main

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/tandem-response/tandem/internal/need"
)

// TestContainer: the binary needs no other file, what the image copies is there, and it
// starts what exists.
func TestContainer(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(deploy + "Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if word, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok && word != "#" {
			lines[word] = append(lines[word], rest)
		}
	}
	if from := lines["FROM"]; len(from) != 1 || from[0] != "scratch" {
		t.Errorf("FROM %q", from)
	}
	build := regexp.MustCompile(`(?m)^#\s+(CGO_ENABLED=0) go (build .*) -o tandem \./cmd/tandem$`).FindStringSubmatch(string(text))
	if build == nil {
		t.Fatal("it does not say how the binary is built")
	}
	bin := filepath.Join(t.TempDir(), "tandem")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin, ".")
	cmd.Env = append(os.Environ(), build[1], "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", build[2], err, out)
	}
	f, err := elf.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	libs, err := f.ImportedLibraries()
	if err != nil || len(libs) > 0 {
		t.Errorf("the binary wants %v, %v", libs, err)
	}
	if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Error("the binary wants an interpreter")
	}
	for _, copied := range lines["COPY"] {
		words := strings.Fields(copied)
		for _, name := range words[:len(words)-1] {
			if _, err := os.Stat("../../" + name); err != nil && name != "tandem" {
				t.Errorf("COPY %s: %v", name, err)
			}
		}
	}
	var entry []string
	if len(lines["ENTRYPOINT"]) != 1 || json.Unmarshal([]byte(lines["ENTRYPOINT"][0]), &entry) != nil || fmt.Sprint(entry) != "[/tandem serve]" {
		t.Errorf("it starts %q", lines["ENTRYPOINT"])
	}
	serve := commands(t)[slices.IndexFunc(commands(t), func(n *kong.Node) bool { return n.Name == "serve" })]
	for word := range strings.FieldsSeq(strings.Join(lines["ENV"], " ")) {
		name, _, _ := strings.Cut(word, "=")
		if !slices.ContainsFunc(serve.Flags, func(f *kong.Flag) bool { return slices.Contains(f.Envs, name) }) {
			t.Errorf("ENV %s sets nothing", name)
		}
	}
	inImage(t, bin, strings.Fields(strings.Join(lines["ENV"], " ")), entry)
}

// inImage runs the binary with the files, the user and the settings of the image, and
// nothing else of this machine but its network.
func inImage(t *testing.T, bin string, env, entry []string) {
	t.Helper()
	if os.Geteuid() != 0 {
		need.Missing(t, "a root directory of its own for the server: run the tests as root")
	}
	const user = 65532
	root := t.TempDir()
	copyFiles(t, filepath.Dir(bin), root, "tandem")
	if err := errors.Join(
		os.Chmod(filepath.Join(root, "tandem"), 0o755),
		os.Mkdir(filepath.Join(root, "data"), 0o700), os.Chown(filepath.Join(root, "data"), user, user),
	); err != nil {
		t.Fatal(err)
	}
	started := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Env, cmd.Dir = env, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: user, Gid: user}}
		return cmd
	}
	out, err := started("/tandem", "admin", "org", "create", "--name", "Example County").CombinedOutput()
	if err != nil {
		t.Fatalf("an org: %v\n%s", err, out)
	}
	// A machine without Go, without a shell: the server and three devices of a night shift.
	if out, err := started("/tandem", "demo", "--once", "--json", "--dir", "/data/demo").CombinedOutput(); err != nil || !bytes.Contains(out, []byte(`"converged":true`)) {
		t.Errorf("a night shift: %v\n%s", err, out)
	}
	ops, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	server := started(append(entry, "--listen", "127.0.0.1:0", "--ops-listen", ops)...)
	var log bytes.Buffer
	server.Stderr = &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	for ready := false; !ready; {
		select {
		case err := <-ended:
			t.Fatalf("it does not serve: %v\n%s", err, &log)
		case <-time.After(50 * time.Millisecond):
			var d net.Dialer
			if c, err := d.DialContext(t.Context(), "tcp", ops); err == nil {
				_ = c.Close()
				code, _ := get(t, "http://"+ops+"/readyz")
				ready = code/100 == 2
			}
		}
	}
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it ends with %v\n%s", err, &log)
	}
}
