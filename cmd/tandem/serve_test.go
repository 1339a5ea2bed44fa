package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/server/store"
)

// deploy is where what an operator installs stands.
const deploy = "../../docs/deploy/"

// effective are the settings that serve says are in force.
func effective(t *testing.T, args ...string) map[string]string {
	t.Helper()
	r := tandem(t.Context(), "", append([]string{"serve", "--check-config", "--json", "--data", filepath.Join(t.TempDir(), "data")}, args...)...)
	out := decode[struct {
		OK       bool              `json:"ok"`
		Problems []string          `json:"problems"`
		Settings map[string]string `json:"settings"`
	}](t, r.out)
	if r.code != exitOK || !out.OK || len(out.Problems) > 0 {
		t.Fatalf("exit code %d: %s%s", r.code, r.out, r.err)
	}
	return out.Settings
}

func settingsFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tandem.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestExampleConfig: the example that comes with the program loads, says what the
// program does without it where it claims to, and names every setting.
func TestExampleConfig(t *testing.T) {
	t.Parallel()
	got := effective(t, "--config", deploy+"tandem.yaml")
	for name, value := range effective(t) {
		if name != "data" && got[name] != value {
			t.Errorf("%s: the example has %q, the default is %q", name, got[name], value)
		}
	}
	text, err := os.ReadFile(deploy + "tandem.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range commands(t) {
		if strings.Join(path(n), " ") != "serve" {
			continue
		}
		for _, f := range n.Flags {
			named := regexp.MustCompile(`(?m)^(# )?` + f.Name + `: \S`).Match(text)
			if want := !slices.Contains(notInFiles, f.Name); named != want {
				t.Errorf("the example names %s: %t, want %t", f.Name, named, want)
			}
			if len(f.Envs) == 0 && !slices.Contains(notInFiles, f.Name) {
				t.Errorf("no variable sets %s", f.Name)
			}
		}
	}
	// What is commented out is right too.
	all := regexp.MustCompile(`(?m)^# ([a-z-]+: \S+)$`).ReplaceAllString(string(text), "$1")
	all = regexp.MustCompile(`(?m)^(tls-|front-cert|oidc-secret-file).*$`).ReplaceAllString(all, "")
	if got := effective(t, "--config", settingsFile(t, all)); got["ops-beyond-loopback"] != "true" || got["min-read-schema"] != "1" {
		t.Errorf("with what is commented out: %v", got)
	}
}

// TestConfigOrder: a flag goes before a variable, that before the file, that before what
// is built in.
func TestConfigOrder(t *testing.T) {
	t.Setenv("TANDEM_WORKING", "30")
	t.Setenv("TANDEM_QUEUE", "3s")
	file := settingsFile(t, "queue: 2s\nworking: 20\ndevice-requests: 2\n")
	got := effective(t, "--config", file, "--queue", "4s")
	for name, want := range map[string]string{"queue": "4s", "working": "30", "device-requests": "2", "open-requests": "20000"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

// TestConfigRefused: whatever is wrong is said in one line that names the place and what
// to do, and nothing is served.
func TestConfigRefused(t *testing.T) {
	t.Parallel()
	exposed := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(exposed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		text string
		args []string
		want []string
	}{
		"an unknown setting":          {"listen: 127.0.0.1:0\nlisten_on: x\n", nil, []string{":2:", `"listen_on"`, `"listen"`}},
		"a name with underscores":     {"tls_cert: x\n", nil, []string{":1:", `did you mean "tls-cert"`}},
		"a setting twice":             {"queue: 5s\nqueue: 6s\n", nil, []string{":2:", "twice"}},
		"a time without a unit":       {"queue: 5\n", nil, []string{":1:", "--queue", "missing unit"}},
		"a time below 0":              {"grace: -5s\n", nil, []string{"more than 0"}},
		"a time beyond all":           {"grace: 99999999999h\n", nil, []string{":1:", "--grace"}},
		"no number":                   {"working: many\n", nil, []string{":1:", "--working"}},
		"0":                           {"working: 0\n", nil, []string{"more than 0"}},
		"a size without a unit":       {"memory: 128\n", nil, []string{":1:", "128MiB"}},
		"too little memory":           {"memory: 1MiB\n", nil, []string{"64 MiB"}},
		"a list":                      {"listen: [a, b]\n", nil, []string{":1:", "one value"}},
		"nothing":                     {"listen:\n", nil, []string{":1:", "one value"}},
		"a list of settings":          {"- listen\n", nil, []string{":1:", "name: value"}},
		"two documents":               {"queue: 5s\n---\nqueue: 6s\n", nil, []string{"more than one document"}},
		"no YAML":                     {"queue: [\n", nil, []string{"is no YAML"}},
		"a flag of the command alone": {"json: true\n", nil, []string{":1:", `"json"`}},
		"no certificate there":        {"tls-cert: /none\ntls-key: /none\n", nil, []string{":1:", "/none"}},
		"a certificate alone":         {"tls-cert: " + exposed + "\n", nil, []string{"go together"}},
		"no address":                  {"listen: nowhere\n", nil, []string{"no address"}},
		"plain to the network":        {"listen: 192.0.2.1:80\n", nil, []string{"without TLS"}},
		"metrics to the network":      {"ops-listen: 192.0.2.1:80\n", nil, []string{"no sign-in"}},
		"an origin with a path":       {"origin: https://tandem.example.org/sync\n", nil, []string{"scheme and host alone"}},
		"a schema to come":            {"min-read-schema: 1000\n", nil, []string{"beyond this server's own"}},
		"data in a file":              {"", []string{"--data", exposed}, []string{"is a file"}},
		"no file":                     {"", []string{"--config", filepath.Join(t.TempDir(), "none.yaml")}, []string{"cannot be read"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"serve", "--check-config", "--data", filepath.Join(t.TempDir(), "data"), "--listen", "127.0.0.1:0"}, tc.args...)
			if strings.Contains(tc.text, "listen") {
				args = slices.Delete(args, 4, 6)
			}
			if tc.args == nil || tc.args[0] != "--config" {
				args = append(args, "--config", settingsFile(t, tc.text))
			}
			r := tandem(t.Context(), "", args...)
			said, _, _ := strings.Cut(r.err, "\n")
			if r.code != exitUsage {
				t.Errorf("exit code %d: %s", r.code, r.err)
			}
			for _, want := range tc.want {
				if !strings.Contains(said, want) {
					t.Errorf("it says %q, want %q in it", said, want)
				}
			}
		})
	}
}

// TestCheckConfigSaysEverything: all that is wrong is said at once.
func TestCheckConfigSaysEverything(t *testing.T) {
	t.Parallel()
	r := tandem(t.Context(), "", "serve", "--check-config", "--listen", "192.0.2.1:80", "--ops-listen", "192.0.2.1:81", "--memory", "1MiB", "--data", t.TempDir(),
		"--trusted-proxy", "10.0.0.0/99")
	for _, want := range []string{"without TLS", "no sign-in", "64 MiB", "--trusted-proxy"} {
		if r.code != exitUsage || strings.Count(r.err, want) != 1 {
			t.Errorf("exit code %d, want %q once: %s", r.code, want, r.err)
		}
	}
}

// serving is a server in this process, as serve runs it.
type serving struct {
	url, ops string
	log      *bytes.Buffer
	stop     func() int
}

func serve(t *testing.T, args ...string) *serving {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan int, 1)
	s := &serving{log: &bytes.Buffer{}}
	ops, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	s.ops = "http://" + ops
	args = append([]string{"serve", "--listen", "127.0.0.1:0", "--ops-listen", ops, "--json"}, args...)
	go func() {
		defer in.Close()
		ended <- run(ctx, args, stdio{out: in, err: s.log})
	}()
	code := -1
	s.stop = func() int {
		stop()
		if code < 0 {
			code = <-ended
		}
		return code
	}
	t.Cleanup(func() { s.stop() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("it does not serve: exit code %d\n%s", s.stop(), s.log)
	}
	s.url = decode[map[string]string](t, line)["url"]
	return s
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestOpsListener: metrics are on the operators' listener alone, readiness on both.
func TestOpsListener(t *testing.T) {
	t.Parallel()
	s := serve(t, "--data", filepath.Join(t.TempDir(), "data"))
	for _, base := range []string{s.url, s.ops} {
		if code, _ := get(t, base+"/healthz"); code != http.StatusNoContent {
			t.Errorf("%s/healthz: %d", base, code)
		}
		if code, body := get(t, base+"/readyz"); code != http.StatusOK || body != "{\"ready\":true}\n" {
			t.Errorf("%s/readyz: %d %s", base, code, body)
		}
	}
	if code, body := get(t, s.ops+"/metrics"); code != http.StatusOK || !strings.Contains(body, "tandem_ready 1\n") {
		t.Errorf("metrics: %d %s", code, body)
	}
	if code, _ := get(t, s.url+"/metrics"); code != http.StatusNotFound {
		t.Errorf("metrics where devices come: %d", code)
	}
	if code := s.stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, s.log)
	}
}

// TestUnit: systemd finds nothing wrong with the unit, and it starts what exists.
func TestUnit(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(deploy + "tandem.service")
	if err != nil {
		t.Fatal(err)
	}
	started := regexp.MustCompile(`(?m)^ExecStart(?:Pre)?=/usr/local/bin/tandem (.*)$`).FindAllStringSubmatch(string(text), -1)
	if len(started) != 2 {
		t.Fatalf("it starts %q", started)
	}
	for _, m := range started {
		args := strings.Fields(strings.Replace(m[1], "/etc/tandem/", deploy, 1))
		args = append(args, "--check-config", "--data", t.TempDir(), "--listen", "127.0.0.1:0")
		if strings.Count(m[1], "--check-config") == 1 {
			args = slices.Delete(args, slices.Index(args, "--check-config"), slices.Index(args, "--check-config")+1)
		}
		if r := tandem(t.Context(), "", args...); r.code != exitOK {
			t.Errorf("tandem %s: exit code %d: %s", m[1], r.code, r.err)
		}
	}
	for _, line := range []string{"NoNewPrivileges=yes", "ProtectSystem=strict", "User=tandem", "CapabilityBoundingSet=", "MemoryDenyWriteExecute=yes"} {
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("it lacks %s", line)
		}
	}
	analyze := need.Program(t, "systemd-analyze", "apt-get install systemd")
	// As installed: the binary must be there.
	bin, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "tandem.service")
	if err := os.WriteFile(unit, bytes.ReplaceAll(text, []byte("/usr/local/bin/tandem"), []byte(bin)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), analyze, "verify", unit).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("tandem.service")) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// TestOperationsPage: every metric that the page for operators names exists, each that
// exists is named, and so with settings and commands.
func TestOperationsPage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	h := newServed(t)
	_, metrics := get(t, h.ops+"/metrics")
	exist := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (tandem_\w+) `).FindAllStringSubmatch(metrics, -1) {
		exist[m[1]] = true
	}
	named := map[string]bool{}
	for _, name := range regexp.MustCompile(`tandem_\w+`).FindAllString(page, -1) {
		named[name] = true
		if !exist[name] {
			t.Errorf("there is no metric %s", name)
		}
	}
	for name := range exist {
		if !named[name] {
			t.Errorf("the page does not name %s", name)
		}
	}
	if len(exist) < 25 {
		t.Errorf("only %d metrics\n%s", len(exist), metrics)
	}
	all := commands(t)
	serve := all[slices.IndexFunc(all, func(n *kong.Node) bool { return n.Name == "serve" })]
	for _, m := range regexp.MustCompile("`(?:(TANDEM_[A-Z_]+)|([a-z]+-[a-z-]+)(?:: [^`]*)?)`").FindAllStringSubmatch(page, -1) {
		if !slices.ContainsFunc(serve.Flags, func(f *kong.Flag) bool { return f.Name == m[2] || slices.Contains(f.Envs, m[1]) }) {
			t.Errorf("there is no setting %s%s", m[1], m[2])
		}
	}
	for _, m := range regexp.MustCompile("(?m)(?:^|`|tandem )tandem ([a-z][a-z ]*[a-z])((?: [^`\n#]*)?)").FindAllStringSubmatch(page, -1) {
		words := strings.Fields(m[1])
		var node *kong.Node
		for _, n := range all {
			if p := path(n); len(p) <= len(words) && slices.Equal(p, words[:len(p)]) && (node == nil || len(p) > len(path(node))) {
				node = n
			}
		}
		if node == nil {
			t.Errorf("there is no command tandem %s", m[1])
			continue
		}
		for _, f := range regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(m[2], -1) {
			// A command that stands for another one takes its flags.
			flags := node.Flags
			for _, child := range node.Children {
				flags = append(slices.Clone(flags), child.Flags...)
			}
			if !slices.ContainsFunc(flags, func(k *kong.Flag) bool { return k.Name == f[1] }) {
				t.Errorf("tandem %s has no --%s", m[1], f[1])
			}
		}
	}
}

// newServed is a server as serve runs it, with an org that was backed up and a device
// that says it has a save and cannot send it.
func newServed(t *testing.T) *serving {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	h := &home{}
	var err error
	if h.store, err = store.Open(t.Context(), dir, store.Options{Create: true}); err != nil {
		t.Fatal(err)
	}
	if err := h.people(t.Context(), homeOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.BackUp(t.Context(), filepath.Join(t.TempDir(), "copy.db")); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "--data", dir)
	h.url = s.url
	large := &onlySmall{base: http.DefaultTransport}
	dev, err := h.enrol(t.Context(), h.clinician, "Car 12 laptop", t.TempDir(), client.Options{Transport: large})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dev.Edit(t.Context(), func(e *client.Edit) error {
		_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new(strings.Repeat("long ", 100))})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := dev.Sync(t.Context()); err == nil || large.passed == 0 {
		t.Fatalf("%d requests passed, error %v", large.passed, err)
	}
	if err := errors.Join(dev.Close(), h.store.Close()); err != nil {
		t.Fatal(err)
	}
	return s
}

// onlySmall is a network on which nothing large passes.
type onlySmall struct {
	base   http.RoundTripper
	passed int
}

// RoundTrip implements http.RoundTripper.
func (o *onlySmall) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.ContentLength > 300 && strings.HasSuffix(r.URL.Path, "/Sync") {
		return nil, errors.New("too large for this network")
	}
	if strings.HasSuffix(r.URL.Path, "/Sync") {
		o.passed++
	}
	return o.base.RoundTrip(r)
}
