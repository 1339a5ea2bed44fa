package main

import (
	"bufio"
	"bytes"
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
	"sync"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

var (
	herdDevices = flag.Int("devices", 60, "how many devices TestHerd lets reconnect at once")
	herdChanges = flag.Int("changes", 20, "how many changes each of them has")
)

// Bounds that hold however slow the machine is.
const (
	herdTeam     = 10
	herdMemory   = 512 << 20
	herdRequests = 40 // of a device, on average
)

// TestHerd lets many devices that were enrolled and have worked without a network find
// it at the same moment, at a server that has just started. All get rid of what they
// have, and see it and what their teams wrote; the server's memory stays bounded, and
// nobody asks again and again. With -devices 1000 it takes minutes:
//
//	go test ./cmd/tandem -run TestHerd -devices 1000 -timeout 30m -v
func TestHerd(t *testing.T) {
	h := newHerd(t)
	h.enrol()
	h.work()
	h.kill(h.server)
	h.serve()
	before := cpuTime()
	times := h.reconnect()
	devices := cpuTime() - before
	slices.Sort(times)
	metrics := h.metrics()
	requests, refused := sumOf(t, metrics, `tandem_requests_total{`), sumOf(t, metrics, `tandem_refused_total{`)
	peak := h.peak()
	h.end()
	cpu := h.server.ProcessState.UserTime() + h.server.ProcessState.SystemTime()
	t.Logf("%d devices × %d changes: all drained after %v; a device took p50 %v, p99 %v; %.0f requests, %.0f of them told to come back; %.0f changes in %.0f commits; the server took %v of CPU and %d MiB of memory at most, the devices beside it %v of CPU",
		len(times), *herdChanges, times[len(times)-1].Round(time.Millisecond), times[len(times)/2].Round(time.Millisecond), times[len(times)*99/100].Round(time.Millisecond),
		requests, refused, sumOf(t, metrics, "tandem_commit_changes_sum"), sumOf(t, metrics, "tandem_commit_changes_count"), cpu.Round(10*time.Millisecond), peak>>20, devices.Round(10*time.Millisecond))
	if peak > herdMemory {
		t.Errorf("the server took %d MiB", peak>>20)
	}
	if requests > float64(herdRequests**herdDevices) {
		t.Errorf("%.0f requests of %d devices: a storm", requests, *herdDevices)
	}
	there, _ := h.atServer()
	if got, want := there.Changes-h.before, *herdDevices**herdChanges; got != want {
		t.Errorf("the server has %d changes of the devices, want %d", got, want)
	}
}

// herd is a server process and its devices.
type herd struct {
	*rig

	ops     string
	staff   []syncengine.ID
	devices []*client.Client
	news    []chan struct{}
	before  int
}

func newHerd(t *testing.T) *herd {
	t.Helper()
	ops, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	h := &herd{rig: &rig{t: t, bin: "tandem", dir: t.TempDir()}, ops: ops}
	if h.addr, err = freeAddr(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.kill(h.server) })
	return h
}

// serve starts the server.
func (h *herd) serve() {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), h.bin, "serve", "--data", h.path("server"), "--listen", h.addr, "--ops-listen", h.ops)
	log := &bytes.Buffer{}
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.server = cmd
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		_ = cmd.Wait()
		h.t.Fatalf("the server says %q: %v\n%s", line, err, log)
	}
}

// all does something with every device, a few at a time.
func (h *herd) all(do func(ctx context.Context, i int) error) {
	h.t.Helper()
	var wg sync.WaitGroup
	turns := make(chan struct{}, 8)
	for i := range *herdDevices {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			if err := do(h.t.Context(), i); err != nil {
				h.t.Error(err)
			}
		})
	}
	wg.Wait()
	if h.t.Failed() {
		h.t.FailNow()
	}
}

// enrol makes the teams and the devices.
func (h *herd) enrol() {
	t, ctx := h.t, h.t.Context()
	st, err := store.Open(ctx, h.path("server"), store.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	org, err := st.CreateOrg(ctx, "Prairie County Crisis Response")
	if err != nil {
		t.Fatal(err)
	}
	admin := server.NewAdmin(st, org, server.AdminOptions{})
	id := func(id syncengine.ID, err error) syncengine.ID {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	agency := id(admin.AddAgency(ctx, server.AgencyOptions{Name: "Prairie Behavioral Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"}))
	program := id(admin.AddProgram(ctx, server.ProgramOptions{NameEN: "Co-Response", Model: "crt", Agency: agency}))
	var team syncengine.ID
	for i := range *herdDevices {
		if i%herdTeam == 0 {
			team = id(admin.AddTeam(ctx, server.TeamOptions{Name: fmt.Sprint("Team ", i/herdTeam), Program: program}))
		}
		h.staff = append(h.staff, id(admin.AddStaff(ctx, server.StaffOptions{
			Name: fmt.Sprint("Person ", i), Discipline: "nurse", Roles: []string{"clinician"}, Agency: agency, Teams: []syncengine.ID{team},
		})))
	}
	h.serve()
	h.devices, h.news = make([]*client.Client, *herdDevices), make([]chan struct{}, *herdDevices)
	h.all(func(ctx context.Context, i int) error {
		code, err := admin.IssueCode(ctx, h.staff[i], fmt.Sprint("Laptop ", i))
		if err != nil {
			return err
		}
		h.news[i] = make(chan struct{}, 1)
		h.devices[i], err = client.Open(ctx, h.path(fmt.Sprint("device", i)), client.Options{OnChange: func([]syncengine.ID) {
			select {
			case h.news[i] <- struct{}{}:
			default:
			}
		}})
		if err != nil {
			return err
		}
		h.t.Cleanup(func() { _ = h.devices[i].Close() })
		return h.devices[i].Enroll(ctx, "http://"+h.addr, code.Code)
	})
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	there, _ := h.atServer()
	h.before = there.Changes
}

// work lets every device save without a network.
func (h *herd) work() {
	h.all(func(ctx context.Context, i int) error {
		for n := range *herdChanges {
			if _, err := h.devices[i].Edit(ctx, func(e *client.Edit) error {
				_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new(fmt.Sprint("call ", n, " of device ", i))})
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// reconnect lets all devices find the network, and returns how long each took to get
// rid of what it had and to see it.
func (h *herd) reconnect() []time.Duration {
	t := h.t
	ctx, stop := context.WithCancel(t.Context())
	times := make([]time.Duration, *herdDevices)
	var running, draining sync.WaitGroup
	began := time.Now()
	for i, dev := range h.devices {
		running.Go(func() {
			if err := dev.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		draining.Go(func() {
			look := time.NewTicker(10 * time.Second)
			defer look.Stop()
			for {
				select {
				case <-h.news[i]:
				case <-look.C:
				case <-ctx.Done():
					return
				}
				s, err := dev.Status(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				if s.NotAccepted > 0 {
					t.Errorf("device %d: %d saves were not accepted", i, s.NotAccepted)
					return
				}
				if s.Queued == 0 && s.Applied == 0 {
					times[i] = time.Since(began)
					return
				}
			}
		})
	}
	draining.Wait()
	stop()
	running.Wait()
	return times
}

// metrics is what the server counts.
func (h *herd) metrics() string {
	code, text := get(h.t, "http://"+h.ops+"/metrics")
	if code != 200 {
		h.t.Fatalf("metrics: %d", code)
	}
	return text
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

// peak is the most memory that the server has had, in bytes; 0 where this system does
// not tell.
func (h *herd) peak() int64 {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(h.server.Process.Pid), "status"))
	if err != nil {
		return 0
	}
	m := regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`).FindSubmatch(text)
	if m == nil {
		return 0
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		h.t.Fatal(err)
	}
	return n << 10
}

// end stops the server as an operator does, and it ends well.
func (h *herd) end() {
	h.t.Helper()
	if err := h.server.Process.Signal(os.Interrupt); err != nil {
		h.t.Fatal(err)
	}
	if code := h.rig.end(h.server); code != exitOK {
		h.t.Errorf("the server ended with exit code %d", code)
	}
}
