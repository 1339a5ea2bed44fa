package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

var (
	kills    = flag.Int("kills", 20, "how often TestKill kills the device, and how often the server")
	killSeed = flag.Uint64("killseed", 1, "seed of the moments at which TestKill kills")
)

// TestKill kills processes of the real binary without warning, at moments spread
// over their work: a device that imports, syncs, saves, and saves while it syncs;
// and a server to which two devices send. Whatever was acknowledged, to a person or
// to a device, is at the server in the end, once, and everybody holds the same.
func TestKill(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "tandem")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the binary: %v\n%s", err, out)
	}
	t.Run("device", func(t *testing.T) { killDevice(newRig(t, bin)) })
	t.Run("server", func(t *testing.T) { killServer(newRig(t, bin)) })
}

// rig is a server and its devices as processes, in one directory.
type rig struct {
	t        *testing.T
	bin, dir string
	addr     string
	// database is the address of a PostgreSQL database, empty for a file.
	database string
	// env are variables that a server has beside the test's own.
	env       []string
	server    *exec.Cmd
	rng       *rand.Rand
	clinician syncengine.ID
	// changes is how many there were at the server before devices wrote.
	changes int
	// rows counts the imported files' rows by file.
	rows map[string]int
	// saved counts the edits of every record whose save was acknowledged.
	saved map[syncengine.ID]int
	// moment is, for every kind of work, the span within which kills fall; it follows
	// how long the work takes.
	moment map[string]time.Duration
}

func newRig(t *testing.T, bin string) *rig {
	r := newRigOn(t, bin, "")
	r.serve()
	return r
}

// newRigOn sets the server's data up; nothing serves it yet.
func newRigOn(t *testing.T, bin, database string) *rig {
	r := &rig{
		t: t, bin: bin, database: database, dir: t.TempDir(), rng: rand.New(rand.NewPCG(*killSeed, uint64(len(t.Name())))),
		rows: map[string]int{}, saved: map[syncengine.ID]int{}, moment: map[string]time.Duration{},
	}
	var err error
	if r.addr, err = freeAddr(); err != nil {
		t.Fatal(err)
	}
	h := &home{}
	if h.store, err = store.Open(t.Context(), r.path("server"), store.Options{Create: true, Database: database}); err != nil {
		t.Fatal(err)
	}
	if err := h.people(t.Context(), homeOptions{}); err != nil {
		t.Fatal(err)
	}
	r.clinician = h.clinician
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.kill(r.server) })
	t.Logf("seed %d, to be given as -killseed", *killSeed)
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// start starts a process of the binary.
func (r *rig) start(args ...string) *exec.Cmd {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), r.bin, args...)
	cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	return cmd
}

// end waits for a process and returns its exit code; -1 where it was killed.
func (r *rig) end(cmd *exec.Cmd) int {
	r.t.Helper()
	if err := cmd.Wait(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			r.t.Fatal(err)
		}
	}
	return cmd.ProcessState.ExitCode()
}

// must runs the binary to its end.
func (r *rig) must(args ...string) {
	r.t.Helper()
	cmd := r.start(args...)
	if code := r.end(cmd); code != exitOK {
		r.t.Fatalf("tandem %s: exit code %d\n%s%s", strings.Join(args, " "), code, cmd.Stdout, cmd.Stderr)
	}
}

// serve starts the server, at the address that the devices know.
func (r *rig) serve() {
	r.t.Helper()
	r.server = r.serving("--data", r.path("server"), "--listen", r.addr)
}

// serving starts a server and waits until it serves.
func (r *rig) serving(args ...string) *exec.Cmd {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), r.bin, append([]string{"serve"}, args...)...)
	log := new(bytes.Buffer)
	cmd.Stderr, cmd.Env = log, append(os.Environ(), r.env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		_ = cmd.Wait()
		r.t.Fatalf("the server says %q: %v\n%s", line, err, log)
	}
	return cmd
}

// kill ends a process without warning.
func (r *rig) kill(cmd *exec.Cmd) (killed bool) {
	if cmd == nil || cmd.ProcessState != nil {
		return false
	}
	_ = cmd.Process.Kill()
	return r.end(cmd) == -1
}

// await lets a moment pass, somewhere in the time that a kind of work takes.
func (r *rig) await(work string) {
	if r.moment[work] == 0 {
		r.moment[work] = 400 * time.Millisecond
	}
	time.Sleep(time.Duration(r.rng.Int64N(int64(r.moment[work]))))
}

// learn follows how long the work takes, so that kills fall on all of it and seldom
// after it.
func (r *rig) learn(work string, inTime bool) {
	if inTime {
		r.moment[work] = min(r.moment[work]*9/8, 5*time.Second)
	} else {
		r.moment[work] = max(r.moment[work]*3/4, 40*time.Millisecond)
	}
}

// enrol makes devices, and counts what the server has before they write.
func (r *rig) enrol(names ...string) {
	r.t.Helper()
	for _, name := range names {
		h := r.home()
		code, err := h.code(r.t.Context(), r.clinician, name)
		if err != nil {
			r.t.Fatal(err)
		}
		if err := h.store.Close(); err != nil {
			r.t.Fatal(err)
		}
		must(r.t, code, "enroll", "--server", "http://"+r.addr, "--store", r.path(name))
	}
	ours, _ := r.atServer()
	r.changes = ours.Changes
}

// home opens the server's data, beside the server if it runs.
func (r *rig) home() *home {
	r.t.Helper()
	st, err := store.Open(r.t.Context(), r.path("server"), store.Options{Database: r.database})
	if err != nil {
		r.t.Fatal(err)
	}
	orgs, err := st.Orgs(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return &home{store: st, org: orgs[0], admin: server.NewAdmin(st, orgs[0], server.AdminOptions{})}
}

// broke waits for syncs under which a server was killed, learns from them when to do it,
// and reports whether one got no answer.
func (r *rig) broke(moment string, devices []string, procs []*exec.Cmd) (broken bool) {
	r.t.Helper()
	for i, p := range procs {
		switch code := r.end(p); code {
		case exitOK:
		case exitNoAnswer:
			broken = true
		default:
			r.t.Fatalf("sync on %s: exit code %d\n%s%s", devices[i], code, p.Stdout, p.Stderr)
		}
	}
	r.learn(moment, broken)
	return broken
}

// upheld fails where a device was told that something is at the server which is not.
func (r *rig) upheld(round int, devices []string) {
	r.t.Helper()
	told := 0
	for _, name := range devices {
		here, _ := r.on(name)
		told += here.Changes - here.Queued
	}
	there, _ := r.atServer()
	if got := there.Changes - r.changes; got < told {
		r.t.Fatalf("round %d: devices were told of %d changes, the server has %d", round, told, got)
	}
}

// calls is what one end has.
type calls struct {
	byID    map[syncengine.ID]*tandemv1.Incident
	Changes int
	// Queued of a device's changes are not known to be at the server.
	Queued int
}

// add takes in a record.
func (c *calls) add(t *testing.T, rec *syncengine.Record) {
	t.Helper()
	msg, err := record.New().Message(rec)
	if err != nil {
		t.Fatal(err)
	}
	if in, ok := msg.(*tandemv1.Incident); ok {
		c.byID[rec.ID] = in
	}
}

// atServer reads and verifies the server's data; digests are those of its scopes.
func (r *rig) atServer() (*calls, map[string]string) {
	r.t.Helper()
	h := r.home()
	found, err := h.store.Verify(r.t.Context(), h.org.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(found.Faults) > 0 {
		r.t.Fatalf("the server: %v", found.Faults)
	}
	c := &calls{byID: map[syncengine.ID]*tandemv1.Incident{}, Changes: found.Changes}
	if err := h.store.EachRecord(r.t.Context(), h.org.ID, 0, func(rec *syncengine.StoredRecord) error {
		c.add(r.t, &rec.Record)
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	digests := map[string]string{}
	for key, sum := range found.Digests {
		id := h.org.Secrets.ScopeID(key)
		digests[fmt.Sprintf("%x", id[:])] = sum.String()
	}
	if err := h.store.Close(); err != nil {
		r.t.Fatal(err)
	}
	return c, digests
}

// on reads and verifies a device's store.
func (r *rig) on(name string) (*calls, map[string]string) {
	r.t.Helper()
	dev, err := client.Open(r.t.Context(), r.path(name), client.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	found, err := dev.Verify(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if !found.OK() {
		r.t.Fatalf("%s: %v", name, found.Faults)
	}
	st, err := dev.Status(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	c := &calls{byID: map[syncengine.ID]*tandemv1.Incident{}, Changes: found.Changes, Queued: st.Queued}
	if err := dev.Each(r.t.Context(), func(rec *syncengine.Record) error {
		c.add(r.t, rec)
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	digests := map[string]string{}
	for _, s := range found.Scopes {
		if s.Records > 0 {
			digests[s.ID] = s.Digest
		}
	}
	if err := dev.Close(); err != nil {
		r.t.Fatal(err)
	}
	return c, digests
}

// file writes a spreadsheet of calls that no other one has.
func (r *rig) file(rows int) string {
	r.t.Helper()
	path := spreadsheet(r.t, rows, len(r.rows))
	r.rows[path] = rows
	return path
}

// importing is the command that imports a file on a device.
func (r *rig) importing(name, file string) []string {
	return []string{"import", "--store", r.path(name), "--mapping", toronto, file}
}

// admin is a command for the server's data.
func (r *rig) admin(words ...string) []string {
	words = append([]string{"admin"}, words...)
	words = append(words, "--data", r.path("server"))
	if r.database != "" {
		words = append(words, "--database", r.database)
	}
	return words
}

func (r *rig) syncing(name string) []string { return []string{"sync", "--store", r.path(name)} }

// save runs a device that saves, kills it and takes note of what it acknowledged.
func (r *rig) save(name string, syncing bool) {
	r.t.Helper()
	args := []string{r.path(name)}
	if syncing {
		args = append(args, "sync")
	}
	cmd := exec.CommandContext(r.t.Context(), "tandem-saves", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "open" {
		r.t.Fatalf("the device that saves says %q", lines.Text())
	}
	stop := time.AfterFunc(time.Duration(r.rng.Int64N(int64(200*time.Millisecond))), func() { _ = cmd.Process.Kill() })
	defer stop.Stop()
	for lines.Scan() {
		var text string
		var edits int
		if _, err := fmt.Sscan(lines.Text(), &text, &edits); err != nil {
			r.t.Fatalf("the device that saves says %q", lines.Text())
		}
		id, err := syncengine.ParseID(text)
		if err != nil {
			r.t.Fatal(err)
		}
		r.saved[id] = edits
	}
	if code := r.end(cmd); code != -1 {
		r.t.Fatalf("the device that saves ended by itself with exit code %d", code)
	}
}

// kept checks that every acknowledged save is there, with its last acknowledged edit
// or the one that was under way.
func (r *rig) kept(where string, c *calls) {
	r.t.Helper()
	for id, acknowledged := range r.saved {
		in := c.byID[id]
		if in == nil {
			r.t.Fatalf("%s: the acknowledged record %s is lost", where, id)
		}
		var n int
		if _, err := fmt.Sscanf(in.GetNotesOps(), edits(0)[:len("edited ")]+"%d times", &n); err != nil || n < acknowledged || n > acknowledged+1 {
			r.t.Fatalf("%s: record %s holds edit %q, acknowledged was %d", where, id, in.GetNotesOps(), acknowledged)
		}
	}
}

// settle brings everything to its end without kills, and checks the whole.
func (r *rig) settle(devices ...string) {
	r.t.Helper()
	for file := range r.rows {
		r.must(r.importing(devices[0], file)...)
	}
	r.enrolLast("new")
	devices = append(devices, "new")
	for range 2 {
		for _, name := range devices {
			r.must(r.syncing(name)...)
		}
	}
	there, digests := r.atServer()
	r.kept("the server", there)
	numbers := map[string]syncengine.ID{}
	for id, in := range there.byID {
		if other, seen := numbers[in.GetNumber()]; seen {
			r.t.Errorf("the server has the call %s twice, as %s and %s", in.GetNumber(), id, other)
		}
		numbers[in.GetNumber()] = id
	}
	written := 0
	for _, name := range devices {
		here, held := r.on(name)
		written += here.Changes
		if here.Queued != 0 {
			r.t.Errorf("%s: %d saves still wait", name, here.Queued)
		}
		r.kept(name, here)
		if len(here.byID) != len(there.byID) {
			r.t.Errorf("%s has %d calls, the server %d", name, len(here.byID), len(there.byID))
		}
		if !maps.Equal(held, digests) {
			r.t.Errorf("%s differs from the server:\n%v\n%v", name, held, digests)
		}
	}
	if got := there.Changes - r.changes; got != written {
		r.t.Errorf("the server has %d changes of devices, they made %d", got, written)
	}
	imported := 0
	for _, rows := range r.rows {
		imported += rows
	}
	if got := len(there.byID); got < imported+len(r.saved) || len(r.saved) == 0 && got != imported {
		r.t.Errorf("the server has %d calls; %d were imported and %d saves acknowledged", got, imported, len(r.saved))
	}
	r.t.Logf("in the end: %d calls, %d changes, %d records with acknowledged saves", len(there.byID), written, len(r.saved))
}

// enrolLast makes a device after the others have written.
func (r *rig) enrolLast(name string) {
	before := r.changes
	was, _ := r.atServer()
	r.enrol(name)
	r.changes = before + r.changes - was.Changes
}

// killDevice kills the device at its work, and another one while it pulls.
func killDevice(r *rig) {
	t := r.t
	r.enrol("device", "reader")
	r.must(r.syncing("device")...)
	landed := map[string]int{}
	before, done := 0, 0
	for round := 0; done < *kills; round++ {
		if round > 4**kills {
			t.Fatalf("of %d processes only %d were killed at work", round, done)
		}
		const rows = 300
		what := []string{"import", "sync", "save", "save and sync", "pull"}[round%5]
		acknowledged := 0
		if strings.HasPrefix(what, "save") {
			had := len(r.saved)
			r.save("device", what == "save and sync")
			acknowledged = len(r.saved) - had
			landed[what]++
			done++
		} else {
			var args []string
			switch what {
			case "import":
				args = r.importing("device", r.file(rows))
			case "sync":
				// There is something to send.
				r.must(r.importing("device", r.file(rows))...)
				before += rows
				args = r.syncing("device")
			case "pull":
				r.must(r.syncing("device")...)
				args = r.syncing("reader")
			}
			cmd := r.start(args...)
			r.await(what)
			killed := r.kill(cmd)
			if r.learn(what, killed); killed {
				landed[what]++
				done++
			}
		}
		here, _ := r.on("device")
		r.kept("the device", here)
		grown := len(here.byID) - before
		switch {
		case what == "import" && grown != 0 && grown != rows:
			t.Fatalf("round %d: %d of %d rows were imported", round, grown, rows)
		case what == "import" && grown == rows:
			landed["import, after it was kept"]++
		case strings.HasPrefix(what, "save") && grown == acknowledged+1:
			// The one that was under way is there as well.
		case what != "import" && grown != acknowledged:
			t.Fatalf("round %d: %s: the device has %d more calls, %d were acknowledged", round, what, grown, acknowledged)
		}
		before = len(here.byID)
		if what == "pull" {
			there, _ := r.on("reader")
			if len(there.byID) > len(here.byID) {
				t.Fatalf("round %d: the reader has %d calls of %d", round, len(there.byID), len(here.byID))
			}
		}
	}
	t.Logf("killed: %v", landed)
	r.settle("device", "reader")
}

// killServer kills the server while two devices sync with it.
func killServer(r *rig) {
	t := r.t
	devices := []string{"first", "second"}
	r.enrol(devices...)
	broken := 0
	for round := 0; broken < *kills; round++ {
		if round > 4**kills {
			t.Fatalf("of %d kills only %d broke a sync", round, broken)
		}
		r.must(r.importing("first", r.file(60))...)
		r.save("second", false)
		var procs []*exec.Cmd
		for _, name := range devices {
			procs = append(procs, r.start(r.syncing(name)...))
		}
		r.await("serve")
		if !r.kill(r.server) {
			t.Fatal("the server ended by itself")
		}
		if r.broke("serve", devices, procs) {
			broken++
		}
		r.upheld(round, devices)
		r.serve()
	}
	t.Logf("%d kills broke a sync", broken)
	r.settle(devices...)
}
