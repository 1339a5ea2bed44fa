package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

var (
	herdDevices = flag.Int("devices", 40, "how many devices TestHerd lets reconnect at once")
	herdChanges = flag.Int("changes", 20, "how many changes each of them has")
	herdServers = flag.Int("servers", 2, "how many server processes TestHerd has over PostgreSQL")
	herdOrgs    = flag.Int("orgs", 1, "how many organizations the devices of TestHerd are of: each device holds a record of every device and person of its own")
	herdDir     = flag.String("herddir", "", "directory for the servers' data and the devices' stores of TestHerd, in place of a temporary one: a file system in memory needs 3 MB a device")
	herdOpen    = flag.Int("open", 0, "how many stores of devices each process of TestHerd has open at once, a device's being closed while it waits; 0 keeps all open")
	herdProfile = flag.String("herdprofile", "", "directory for CPU profiles of the processes of TestHerd")
)

// Bounds that hold however slow the machine is.
const (
	herdTeam   = 10
	codesAhead = 16
	herdMemory = 512 << 20
	// Requests of a device, on average: so many to send and see what there is, and so many
	// in each half minute that it listens.
	herdRequests, herdListens = 40, 3
)

// TestHerd lets many devices that were enrolled and have worked without a network find
// it at the same moment, at servers that have just started. All get rid of what they
// have, and see it and what their teams wrote; each server's memory stays bounded, and
// nobody asks again and again. All devices are open at once, in processes of
// devicesOfAProcess, unless -open has them take turns. With -devices 1000 it takes minutes:
//
//	go test ./cmd/tandem -run TestHerd/sqlite -devices 1000 -timeout 30m -v
//	go test ./cmd/tandem -run TestHerd/postgres -devices 5000 -orgs 50 -servers 2 -open 300 -timeout 90m -v
//
// Each device holds the directory of its org, two records for each of its devices: with
// one org of 5,000 that is 50 million rows to be sent. A store takes 4 MB while it is open.
// Its last line is a row of the table in docs/operations.md.
func TestHerd(t *testing.T) {
	if *herdProfile != "" {
		t.Setenv(profileVariable, *herdProfile)
	}
	t.Run("sqlite", func(t *testing.T) { newHerd(t, "", 1).run() })
	t.Run("postgres", func(t *testing.T) { newHerd(t, pgtest.Start(t).Database(t), *herdServers).run() })
	t.Run("in turns", func(t *testing.T) {
		h := newHerd(t, "", 1)
		h.devices, h.open = min(*herdDevices, 2*herdTeam), 4
		h.run()
	})
}

// run takes a herd through its day.
func (h *herd) run() {
	t := h.t
	h.enrol()
	for i := range h.servers {
		h.kill(h.servers[i])
	}
	h.tell("open", "open")
	for i := range h.servers {
		h.up(i)
	}
	began := time.Now()
	h.tell("run", "running")
	times := h.drained()
	took := time.Since(began)
	devices, servers := h.sum(h.tell("cpu", "cpu")), time.Duration(0)
	for _, s := range h.servers {
		servers += spent(t, s)
	}
	h.tell("see", "seen")
	saw := time.Since(began)

	var metrics strings.Builder
	for _, ops := range h.ops {
		code, text := get(t, "http://"+ops+"/metrics")
		if code != 200 {
			t.Fatalf("metrics: %d", code)
		}
		metrics.WriteString(text)
	}
	requests, refused := sumOf(t, metrics.String(), `tandem_requests_total{`), sumOf(t, metrics.String(), `tandem_refused_total{`)
	h.tell("end", "")
	var peaks []string
	for _, s := range h.servers {
		peak := peakOf(t, s)
		peaks = append(peaks, strconv.FormatInt(peak>>20, 10))
		if peak > herdMemory {
			t.Errorf("a server took %d MiB", peak>>20)
		}
		h.interrupt(s)
	}
	t.Logf("%d requests, %d of them told to come back; %d changes in %d commits; the devices were open in %d processes",
		int(requests), int(refused), int(sumOf(t, metrics.String(), "tandem_commit_changes_sum")), int(sumOf(t, metrics.String(), "tandem_commit_changes_count")), len(h.packs))
	t.Logf("| engine | servers | orgs | devices × changes | all sent | p50 | p99 | all see their team's | server CPU | server memory, MiB | device CPU |")
	seconds := func(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s" }
	slices.Sort(times)
	t.Logf("| %s | %d | %d | %d × %d | %s | %s | %s | %s | %s | %s | %s |", h.engine(), len(h.servers), *herdOrgs, len(times), *herdChanges, seconds(took),
		seconds(times[len(times)/2]), seconds(times[len(times)*99/100]), seconds(saw), seconds(servers), strings.Join(peaks, ", "), seconds(devices))

	if requests > (herdRequests+herdListens*saw.Seconds()/30)*float64(h.devices) {
		t.Errorf("%.0f requests of %d devices: a storm", requests, h.devices)
	}
	if got, want := h.atServers()-h.changes, h.devices**herdChanges; got != want {
		t.Errorf("the server has %d changes of the devices, want %d", got, want)
	}
}

// herd is server processes and processes of devices.
type herd struct {
	*fleet

	ops   []string
	packs []*pack
	// devices there are in all; open is how many stores of each pack are open at once, 0
	// for all.
	devices, open int
}

// newHerd prepares servers that do not serve yet.
func newHerd(t *testing.T, database string, servers int) *herd {
	t.Helper()
	dir := t.TempDir()
	if *herdDir != "" {
		made, err := os.MkdirTemp(*herdDir, "herd") //nolint:usetesting // It is to be on another file system.
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(made); err != nil {
				t.Error(err)
			}
		})
		dir = made
	}
	bin := "tandem"
	if *herdProfile != "" {
		bin = "tandem-profiled"
	}
	h := &herd{fleet: &fleet{rig: &rig{t: t, bin: bin, dir: dir, database: database}, servers: make([]*exec.Cmd, servers)}, devices: *herdDevices, open: *herdOpen}
	addr := func() string {
		t.Helper()
		addr, err := freeAddr()
		if err != nil {
			t.Fatal(err)
		}
		return addr
	}
	h.addr = addr()
	for range servers {
		h.addrs, h.ops = append(h.addrs, addr()), append(h.ops, addr())
	}
	if servers == 1 {
		h.addrs[0] = h.addr
	}
	t.Cleanup(func() {
		for _, p := range h.packs {
			h.kill(p.cmd)
		}
		for _, s := range h.servers {
			h.kill(s)
		}
	})
	return h
}

func (h *herd) engine() string {
	if h.database == "" {
		return "SQLite"
	}
	return "PostgreSQL"
}

// data is the directory of a server; the first one's is where the org was made.
func (h *herd) data(i int) string {
	if i == 0 {
		return h.path("server")
	}
	return h.fleet.data(i)
}

// up starts one of the servers.
func (h *herd) up(i int) {
	h.t.Helper()
	args := []string{"--data", h.data(i), "--listen", h.addrs[i], "--ops-listen", h.ops[i], "--origin", "http://" + h.addr}
	if h.database != "" {
		args = append(args, "--database", h.database)
	}
	h.servers[i] = h.serving(args...)
}

// enrol makes the teams and the devices, and lets the devices work without a network.
func (h *herd) enrol() {
	t, ctx := h.t, h.t.Context()
	st, err := store.Open(ctx, h.path("server"), store.Options{Create: true, Database: h.database})
	if err != nil {
		t.Fatal(err)
	}
	var counties []county
	for n := range *herdOrgs {
		org, err := st.CreateOrg(ctx, fmt.Sprintf("Prairie County %d Crisis Response", n))
		if err != nil {
			t.Fatal(err)
		}
		c, admin := county{org: org}, server.NewAdmin(st, org, server.AdminOptions{})
		c.agency = patient(t, admin.AddAgency)(ctx, server.AgencyOptions{Name: "Prairie Behavioral Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"})
		c.program = patient(t, admin.AddProgram)(ctx, server.ProgramOptions{NameEN: "Co-Response", Model: "crt", Agency: c.agency})
		counties = append(counties, c)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	keys, err := os.ReadFile(filepath.Join(h.data(0), "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range h.servers {
		if i > 0 {
			if err := os.MkdirAll(h.data(i), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(h.data(i), "keys.json"), keys, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		h.up(i)
	}
	var hiring sync.WaitGroup
	for i := 0; i < h.devices; i += devicesOfAProcess {
		h.gather(i, min(devicesOfAProcess, h.devices-i))
		p := h.packs[len(h.packs)-1]
		hiring.Go(func() { h.hire(p, i, counties) })
	}
	hiring.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, p := range h.packs {
		h.hear(p, "ready")
	}
	h.changes = h.atServers()
}

// Who is told to come back later does so, when it was told, and gives up in the end. What is
// no matter of waiting is not done again.
func TestHerdComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testHerdComesBack)
}

func testHerdComesBack(t *testing.T) {
	tries, busy := 0, &client.ContactError{Kind: client.ErrBusy, Words: "the server is busy", RetryAfter: time.Minute}
	began := time.Now()
	if err := again(t.Context(), func() error {
		if tries++; tries < 3 {
			return busy
		}
		return nil
	}); err != nil || tries != 3 || time.Since(began) != 2*time.Minute {
		t.Errorf("%d tries in %v: %v", tries, time.Since(began), err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := again(over, func() error { return busy }); !errors.Is(err, client.ErrBusy) {
		t.Errorf("with no time left: %v", err)
	}
	tries = 0
	if err := again(t.Context(), func() error { tries++; return client.ErrRefused }); !errors.Is(err, client.ErrRefused) || tries != 1 {
		t.Errorf("%d tries: %v", tries, err)
	}
}

// county is an org in which devices are enrolled.
type county struct {
	org             *store.Org
	agency, program syncengine.ID
}

// hire makes the people of a pack, the first of which has this number, and lets their
// devices enrol and work while it makes the next ones.
func (h *herd) hire(p *pack, first int, counties []county) {
	t, ctx := h.t, h.t.Context()
	st, err := store.Open(ctx, h.path("server"), store.Options{Database: h.database})
	if err != nil {
		t.Error(err)
		return
	}
	// Teams are whole.
	ofAnOrg := (h.devices + *herdOrgs*herdTeam - 1) / (*herdOrgs * herdTeam) * herdTeam
	var team syncengine.ID
	for i := range p.devices {
		c := counties[(first+i)/ofAnOrg]
		admin := server.NewAdmin(st, c.org, server.AdminOptions{})
		if i%herdTeam == 0 {
			team = patient(t, admin.AddTeam)(ctx, server.TeamOptions{Name: fmt.Sprint("Team ", (first+i)/herdTeam), Program: c.program})
		}
		who := patient(t, admin.AddStaff)(ctx, server.StaffOptions{
			Name: fmt.Sprint("Person ", first+i), Discipline: "nurse", Roles: []string{"clinician"}, Agency: c.agency, Teams: []syncengine.ID{team},
		})
		code := patient(t, func(ctx context.Context, who syncengine.ID) (*server.Code, error) {
			return admin.IssueCode(ctx, who, fmt.Sprint("Laptop ", first+i))
		})(ctx, who)
		h.say(p, code.Code)
		// Codes expire: not many lie before a pack at once.
		if i >= codesAhead {
			h.hear(p, "made")
		}
	}
	for range min(codesAhead, p.devices) {
		h.hear(p, "made")
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

// patient is what an admin does, again where the database was too busy for it: devices that
// were made before are enrolling.
func patient[O, V any](t *testing.T, do func(context.Context, O) (V, error)) func(context.Context, O) V {
	return func(ctx context.Context, o O) V {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, herdPatience)
		defer cancel()
		for {
			v, err := do(ctx, o)
			if err == nil {
				return v
			}
			if !errors.Is(err, store.ErrStorage) || ctx.Err() != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
	}
}

// atServers verifies what the servers have and counts its changes.
func (h *herd) atServers() (changes int) {
	t := h.t
	t.Helper()
	st, err := store.Open(t.Context(), h.path("server"), store.Options{Database: h.database})
	if err != nil {
		t.Fatal(err)
	}
	orgs, err := st.Orgs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, org := range orgs {
		found, err := st.Verify(t.Context(), org.ID)
		if err != nil {
			t.Fatal(err)
		}
		if len(found.Faults) > 0 {
			t.Fatalf("the server: %v", found.Faults)
		}
		changes += found.Changes
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return changes
}

// drained is how long each device took to get rid of what it had and to see it.
func (h *herd) drained() (times []time.Duration) {
	h.t.Helper()
	for _, p := range h.packs {
		for range p.devices {
			times = append(times, h.took(h.hear(p, "drained")))
		}
	}
	return times
}

// took reads a time that a pack tells, in milliseconds.
func (h *herd) took(text string) time.Duration {
	h.t.Helper()
	ms, err := strconv.Atoi(text)
	if err != nil {
		h.t.Fatalf("a pack of devices says %q", text)
	}
	return time.Duration(ms) * time.Millisecond
}

func (h *herd) sum(texts []string) (sum time.Duration) {
	h.t.Helper()
	for _, text := range texts {
		sum += h.took(text)
	}
	return sum
}

// sumOf is the sum of the metrics whose lines begin so.
func sumOf(t *testing.T, metrics, begins string) (sum float64) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(begins)+`[^\n]* (\S+)$|^`+regexp.QuoteMeta(begins)+` (\S+)$`).FindAllStringSubmatch(metrics, -1) {
		v, err := strconv.ParseFloat(m[1]+m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	return sum
}

// peakOf is the most memory that a process has had, in bytes; 0 where this system does
// not tell.
func peakOf(t *testing.T, cmd *exec.Cmd) int64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "status"))
	if err != nil {
		return 0
	}
	m := regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`).FindSubmatch(text)
	if m == nil {
		return 0
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// ticks of the kernel's clock of processor time in a second.
const ticks = 100

// spent is the processor time of a running process so far; 0 where this system does not
// tell.
func spent(t *testing.T, cmd *exec.Cmd) (sum time.Duration) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "stat"))
	if err != nil {
		return 0
	}
	// The name of the program, in brackets, may hold spaces.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(n) * time.Second / ticks
	}
	return sum
}

// interrupt stops a server as an operator does, and it ends well.
func (h *herd) interrupt(cmd *exec.Cmd) {
	h.t.Helper()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		h.t.Fatal(err)
	}
	if code := h.end(cmd); code != exitOK {
		h.t.Errorf("a server ended with exit code %d", code)
	}
}
