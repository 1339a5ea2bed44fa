package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-response/tandem/internal/pgtest"
)

// balancer passes connections on to the servers in turn, and to the next one where one
// does not answer. It knows nothing of what passes.
type balancer struct {
	listener net.Listener
	servers  []string

	mu   sync.Mutex
	next int
}

func balance(t *testing.T, addr string, servers ...string) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{listener: l, servers: servers}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				// Too many open files, as a rule.
				time.Sleep(gathers)
				continue
			}
			go b.pass(c)
		}
	})
}

func (b *balancer) pass(c net.Conn) {
	defer c.Close()
	b.mu.Lock()
	first := b.next
	b.next++
	b.mu.Unlock()
	for i := range b.servers {
		s, err := net.Dial("tcp", b.servers[(first+i)%len(b.servers)]) //nolint:noctx // It is on this machine.
		if err != nil {
			continue
		}
		defer s.Close()
		ended := make(chan struct{}, 2)
		for _, way := range [][2]net.Conn{{c, s}, {s, c}} {
			go func() {
				_, _ = io.Copy(way[1], way[0])
				ended <- struct{}{}
			}()
		}
		<-ended
		return
	}
}

// fleet is servers over one PostgreSQL database, each with a directory of its own,
// behind one address.
type fleet struct {
	*rig
	addrs   []string
	servers []*exec.Cmd
}

func newFleet(t *testing.T, bin, database string, n int) *fleet {
	t.Helper()
	f := &fleet{rig: newRigOn(t, bin, database), servers: make([]*exec.Cmd, n)}
	keys, err := os.ReadFile(f.path("server/keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		addr, err := freeAddr()
		if err != nil {
			t.Fatal(err)
		}
		f.addrs = append(f.addrs, addr)
		if err := os.MkdirAll(f.data(i), 0o700); err != nil {
			t.Fatal(err)
		}
		// What each of them needs of the others: the keys.
		if err := os.WriteFile(filepath.Join(f.data(i), "keys.json"), keys, 0o600); err != nil {
			t.Fatal(err)
		}
		f.up(i)
	}
	t.Cleanup(func() {
		for _, s := range f.servers {
			f.kill(s)
		}
	})
	balance(t, f.addr, f.addrs...)
	return f
}

func (f *fleet) data(i int) string { return f.path("server-" + string(rune('a'+i))) }

// up starts one of the servers.
func (f *fleet) up(i int) {
	f.t.Helper()
	f.servers[i] = f.serving("--data", f.data(i), "--database", f.database, "--listen", f.addrs[i], "--origin", "http://"+f.addr)
}

// killsOfAFleet is how many kills one fleet goes through: what every round verifies grows
// with what was written.
const killsOfAFleet = 50

// TestKillServers kills servers over one PostgreSQL, one at a time and without warning,
// while two devices sync through a balancer. What was acknowledged is there, once.
func TestKillServers(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t)
	bin := filepath.Join(t.TempDir(), "tandem")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the binary: %v\n%s", err, out)
	}
	broken := 0
	for done := 0; done < *kills; done += killsOfAFleet {
		f := newFleet(t, bin, cluster.Database(t), 2)
		f.rng = rand.New(rand.NewPCG(*killSeed, uint64(done)))
		broken += f.killServers(min(killsOfAFleet, *kills-done))
		for _, s := range f.servers {
			f.kill(s)
		}
		t.Logf("%d of %d kills broke a sync", broken, min(done+killsOfAFleet, *kills))
	}
}

// killServers kills servers so many times, and returns how often that broke a sync.
func (f *fleet) killServers(times int) (broken int) {
	t := f.t
	devices := []string{"first", "second"}
	f.enrol(devices...)
	for round := range times {
		f.must(f.importing("first", f.file(60))...)
		f.save("second", false)
		var procs []*exec.Cmd
		for _, name := range devices {
			procs = append(procs, f.start(f.syncing(name)...))
		}
		f.await("serve")
		down := f.rng.IntN(len(f.servers))
		if !f.kill(f.servers[down]) {
			t.Fatal("a server ended by itself")
		}
		if f.broke("serve", devices, procs) {
			broken++
		}
		f.upheld(round, devices)
		f.up(down)
	}
	f.settle(devices...)
	return broken
}

// Demo and bench run on PostgreSQL, and on an empty database alone; of the same seed the
// demo's digests are those that it has on a file.
func TestDemoAndBenchOnPostgres(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t)
	database := cluster.Database(t)
	there := decode[demoResult](t, must(t, "", "demo", "--once", "--json", "--seed", "5", "--database", database))
	here := decode[demoResult](t, must(t, "", "demo", "--once", "--json", "--seed", "5"))
	if !there.Converged || !reflect.DeepEqual(there, here) {
		t.Errorf("on PostgreSQL %+v\nin a file %+v", there, here)
	}
	for _, args := range [][]string{{"demo", "--once"}, {"bench", "--embedded", "--records", "1"}} {
		if r := tandem(t.Context(), "", append(args, "--database", database)...); r.code != exitUsage || !strings.Contains(r.err, "name an empty one") {
			t.Errorf("%v on what is there: exit code %d\n%s", args, r.code, r.err)
		}
	}
	// The second size finds the database empty again, and so does who comes after.
	empty := cluster.Database(t)
	for range 2 {
		r := decode[benchReport](t, must(t, "", "bench", "sync", "--records", "20,30", "--live", "2", "--crews", "2", "--each", "3", "--embedded", "--json", "--database", empty))
		if len(r.Runs) != 2 || r.Engine != "postgresql" || r.Machine.Postgres == "" || r.Growth == nil {
			t.Fatalf("bench: %+v", r)
		}
		for i, b := range r.Runs {
			if b.Records != 20+10*i || b.Push.PerSecond == 0 || b.Raw.Copy == 0 || b.Raw.Rows == 0 || b.Push.OfPostgres == 0 || b.ServerDisk == 0 {
				t.Errorf("run %d: %+v", i, b)
			}
		}
	}
}

// What tandem migrate is told wrongly, it says what to do about.
func TestMigrateRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, tc := range []struct {
		from, to string
		code     int
		says     string
	}{
		{"sqlite:" + dir, "sqlite:" + dir, exitUsage, "of one kind"},
		{"postgres://u@127.0.0.1:1/x", "postgres://u@127.0.0.1:1/y", exitUsage, "of one kind"},
		{dir, "postgres://u@127.0.0.1:1/x", exitUsage, "--from: want sqlite:DIR or postgres://"},
		{"sqlite:" + dir, "postgres://u:hunter2@127.0.0.1/x", exitUsage, "PGPASSWORD"},
		{"sqlite:" + dir, "postgres://u@127.0.0.1:1/x", exitUsage, "no Tandem server database here"},
	} {
		r := tandem(t.Context(), "", "migrate", "--from", tc.from, "--to", tc.to)
		if r.code != tc.code || !strings.Contains(r.err, tc.says) || strings.Contains(r.err, "hunter2") {
			t.Errorf("%s to %s: exit code %d, want %d with %q\n%s", tc.from, tc.to, r.code, tc.code, tc.says, r.err)
		}
	}
}

// The commands that set up and look at a server do so on PostgreSQL as well, and say
// what to do where they cannot.
func TestCommandsOnPostgres(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t)
	dir, database := t.TempDir(), cluster.Database(t)
	at := []string{"--data", dir, "--database", database}
	on := func(words ...string) []string { return append(words, at...) }
	if r := tandem(t.Context(), "", on("verify")...); r.code != exitUsage || !strings.Contains(r.err, "admin org") {
		t.Errorf("nothing there yet: exit code %d\n%s", r.code, r.err)
	}
	must(t, "", on("admin", "org", "create", "--name", "Example County")...)
	agency := decode[map[string]string](t, must(t, "", on("admin", "agency", "create", "--name", "Example Health", "--type", "behavioral_health", "--tz", "America/Chicago", "--json")...))
	if agency["id"] == "" {
		t.Errorf("got %v", agency)
	}
	if v := decode[verified](t, must(t, "", on("verify", "--json")...)); !v.OK || v.Records != 1 {
		t.Errorf("verify: %+v", v)
	}
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"verify", "--data", dir, "--database", "mysql://x"}, exitUsage, "postgres://USER@HOST/DATABASE"},
		{[]string{"verify", "--data", dir, "--database", "postgres://u:hunter2@127.0.0.1/x"}, exitUsage, "PGPASSWORD"},
		{[]string{"verify", "--data", dir, "--database", "postgres://u@127.0.0.1:1/x"}, exitNoAnswer, "does not answer"},
		{[]string{"verify", "--data", dir, "--database", pgtest.Above(t, database)}, exitFailed, "superuser"},
		{on("backup", "--to", filepath.Join(dir, "copy")), exitUsage, "pg_basebackup"},
		{[]string{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--database", "postgres://u@127.0.0.1:1/x"}, exitNoAnswer, "does not answer"},
	} {
		r := tandem(t.Context(), "", tc.args...)
		if r.code != tc.code || !strings.Contains(r.err, tc.says) {
			t.Errorf("%v: exit code %d, want %d with %q\n%s", tc.args, r.code, tc.code, tc.says, r.err)
		}
		if strings.Contains(r.err, "hunter2") {
			t.Error("a password is printed")
		}
	}
}
