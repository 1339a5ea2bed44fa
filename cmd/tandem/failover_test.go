package main

import (
	"flag"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tandem-response/tandem/internal/pgtest"
)

var (
	failovers      = flag.Int("failovers", 1, "how often TestFailover kills a primary whose commits wait for the standby")
	lossyFailovers = flag.Int("lossyfailovers", 1, "how often TestFailover kills a primary whose standby receives nothing")
)

// doubled is two PostgreSQL servers, of which one is the primary and the other its standby,
// and a fleet that knows both.
type doubled struct {
	*fleet
	primary, standby *pgtest.Cluster
	// ways counts what was seen.
	ways map[string]int
	// longest and total are of the times from the kill to the next sync that got through.
	longest, total time.Duration
}

// TestFailover kills the primary under load, promotes its standby and lets the old
// primary come back beside it; the servers go on without a restart. Where commits wait
// for the standby nothing that was acknowledged is missing, and no new epoch begins.
// Where the standby lags, what it lacks comes back from the devices.
func TestFailover(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "tandem")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the binary: %v\n%s", err, out)
	}
	p := &doubled{primary: pgtest.Start(t), ways: map[string]int{}}
	database := p.primary.Database(t)
	p.standby = p.primary.Standby(t)
	p.fleet = newFleet(t, bin, pgtest.Across(t, database, p.primary, p.standby), 2)
	devices := []string{"first", "second"}
	p.enrol(devices...)
	for round := range *failovers {
		p.failSafe(round, devices)
	}
	p.t.Logf("%d synchronous failovers: %v, %v to the next sync, at most %v", *failovers, p.ways, p.total/time.Duration(max(1, *failovers)), p.longest)
	p.longest, p.total, p.ways = 0, 0, map[string]int{}
	for round := range *lossyFailovers {
		if round%5 == 0 {
			late := "late" + string(rune('a'+round/5))
			p.failLossy(round, devices, late)
			devices = append(devices, late)
		} else {
			p.failLossy(round, devices, "")
		}
	}
	p.t.Logf("%d failovers with a standby that lags: %v, %v to the next sync, at most %v", *lossyFailovers, p.ways, p.total/time.Duration(max(1, *lossyFailovers)), p.longest)
	p.alike(devices...)
}

// told is how many changes devices know to be at the server.
func (p *doubled) told(devices []string) (told int) {
	p.t.Helper()
	for _, name := range devices {
		here, _ := p.on(name)
		told += here.Changes - here.Queued
	}
	return told
}

// work gives two devices something to send.
func (p *doubled) work() {
	p.t.Helper()
	p.must(p.importing("first", p.file(40))...)
	p.save("second", false)
}

// fail kills the primary while devices sync, and in some rounds a server with it;
// promotes the standby, which has at least so many changes of devices; and starts the
// old primary again.
func (p *doubled) fail(round int, devices []string, least int) {
	p.t.Helper()
	var procs []*exec.Cmd
	for _, name := range devices {
		procs = append(procs, p.start(p.syncing(name)...))
	}
	p.await("failover")
	p.primary.Kill()
	killed := time.Now()
	if round%3 == 2 {
		p.kill(p.servers[0])
	}
	p.standby.Promote(p.t)
	p.primary, p.standby = p.standby, p.primary
	// Before the next device comes.
	if there, _ := p.atServer(); there.Changes-p.changes < least {
		p.t.Fatalf("round %d: the promoted standby has %d changes, %d were acknowledged", round, there.Changes-p.changes, least)
	}
	// It takes itself for the primary, and may be the first in the servers' address.
	if err := p.standby.Up(); err != nil {
		p.t.Fatal(err)
	}
	if round%3 == 2 {
		p.up(0)
		p.ways["a server died too"]++
	}
	if p.broke("failover", devices, procs) {
		p.ways["broke a sync"]++
	}
	for _, name := range devices {
		p.syncSoon(name, killed)
		if name == devices[0] {
			took := time.Since(killed)
			p.total += took
			p.longest = max(p.longest, took)
		}
	}
}

// syncSoon syncs a device as soon as a server can.
func (p *doubled) syncSoon(name string, since time.Time) {
	p.t.Helper()
	for {
		cmd := p.start(p.syncing(name)...)
		code := p.end(cmd)
		if code == exitOK {
			return
		}
		if code != exitNoAnswer || time.Since(since) > 2*time.Minute {
			p.t.Fatalf("sync on %s: exit code %d\n%s%s", name, code, cmd.Stdout, cmd.Stderr)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// again makes the old primary the standby of the new one.
func (p *doubled) again() {
	p.t.Helper()
	p.standby.Follow(p.t, p.primary)
}

func (p *doubled) failSafe(round int, devices []string) {
	p.t.Helper()
	p.primary.Synchronous(p.t, true)
	p.work()
	for _, name := range devices {
		p.must(p.syncing(name)...)
	}
	told := p.told(devices)
	p.work()
	p.fail(round, devices, told)
	told = p.told(devices)
	there, _ := p.atServer()
	if got := there.Changes - p.changes; got != told {
		p.t.Fatalf("round %d: devices were told of %d changes, the new primary has %d", round, told, got)
	}
	p.kept("the new primary", there)
	if p.status(devices[0]).Recovering {
		p.t.Fatalf("round %d: a new epoch began though nothing was lost", round)
	}
	p.again()
}

func (p *doubled) failLossy(round int, devices []string, late string) {
	p.t.Helper()
	p.primary.Synchronous(p.t, false)
	before, _ := p.atServer()
	p.standby.Stall(p.t)
	// What follows is acknowledged, and nowhere but at the primary.
	if late != "" {
		was := p.changes
		p.enrol(late)
		p.changes = was
		devices = append(devices, late)
	}
	p.work()
	for _, name := range devices {
		p.must(p.syncing(name)...)
	}
	after, _ := p.atServer()
	p.work()
	p.fail(round, devices, 0)
	if lost := after.Changes - before.Changes; lost == 0 {
		p.t.Fatalf("round %d: nothing was there to be lost", round)
	} else {
		p.ways["lost changes"] += lost
	}
	for _, name := range devices {
		if !p.status(name).Recovering {
			p.t.Fatalf("round %d: %s does not know that something was lost", round, name)
		}
	}
	p.must(p.admin("recover", "confirm")...)
	p.ways["replicas to confirm"] += p.confirm()
	for range 2 {
		for _, name := range devices {
			p.must(p.syncing(name)...)
		}
	}
	told := p.told(devices)
	there, _ := p.atServer()
	// What devices that the new primary did not know were given when they enrolled counts
	// among the server's own.
	if got := there.Changes - p.changes; got < told {
		p.t.Fatalf("round %d: devices made %d changes, the new primary has %d", round, told, got)
	}
	p.kept("the new primary", there)
	p.again()
}
