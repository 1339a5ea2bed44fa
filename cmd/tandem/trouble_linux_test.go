package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/internal/pgtest"
)

// TestTroubleWithPostgres lets PostgreSQL fail in the ways in which it does: it has no
// connection left, somebody holds the org's row, its disk is full, it restarts. The
// server says so in clear words, devices are told to come back, and it goes on when the
// trouble is over, without a restart.
func TestTroubleWithPostgres(t *testing.T) {
	t.Parallel()
	const tmpfs = "a file system of a few megabytes: run the tests as root, where tmpfs may be mounted"
	disk := t.TempDir()
	if os.Geteuid() != 0 {
		need.Missing(t, tmpfs)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=40m"); err != nil {
		need.Missing(t, fmt.Sprintf("%s (%v)", tmpfs, err))
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	// PostgreSQL runs as somebody else.
	for _, dir := range []string{disk, filepath.Dir(disk)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tables := filepath.Join(disk, "tables")
	if err := os.Mkdir(tables, 0o700); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "tandem")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the binary: %v\n%s", err, out)
	}
	cluster := pgtest.Start(t, "max_connections=24")
	// After the cluster, and so before its end.
	f := newFleet(t, bin, cluster.DatabaseOn(t, tables), 1)
	server := f.servers[0]
	f.enrol("device")
	trouble := func(name, says string, begin func() (end func())) {
		f.must(f.importing("device", f.file(20))...)
		end := begin()
		begun := time.Now()
		told := f.start(f.syncing("device")...)
		if code := f.end(told); code != exitNoAnswer {
			t.Errorf("%s: a device's sync: exit code %d\n%s%s", name, code, told.Stdout, told.Stderr)
		}
		f.unready(name, says)
		if here, _ := f.on("device"); here.Queued != 20 {
			t.Errorf("%s: %d of 20 saves wait", name, here.Queued)
		}
		end()
		f.unready(name, "")
		f.must(f.syncing("device")...)
		if here, _ := f.on("device"); here.Queued != 0 {
			t.Errorf("%s is over: %d saves still wait", name, here.Queued)
		}
		if server.ProcessState != nil {
			t.Fatalf("%s ended the server", name)
		}
		f.atServer()
		t.Logf("%s: seen and over after %v", name, time.Since(begun))
	}
	trouble("no connection left", "no connection left", func() func() { return crowd(t, f.database) })
	trouble("a long transaction", "not been written for 5 seconds", func() func() { return hold(t, f.database) })
	trouble("a full disk", "the disk is full", func() func() {
		rest := filepath.Join(disk, "rest")
		fill(t, rest)
		return func() {
			if err := os.Remove(rest); err != nil {
				t.Fatal(err)
			}
		}
	})
	trouble("a database that is away", "does not answer", func() func() {
		cluster.Down(true)
		return func() {
			if err := cluster.Up(); err != nil {
				t.Fatal(err)
			}
		}
	})
	f.alike("device")
}

// unready waits until the server says that it is not ready, and why; or for an empty
// text, that it is.
func (f *fleet) unready(name, says string) {
	f.t.Helper()
	var last readyAnswer
	for begun := time.Now(); time.Since(begun) < 2*time.Minute; time.Sleep(100 * time.Millisecond) {
		last = f.ready()
		if says == "" && last.status == http.StatusOK {
			return
		}
		if says != "" && last.status == http.StatusServiceUnavailable && strings.Contains(last.Why, says) {
			if last.retry == "" {
				f.t.Errorf("%s: nobody is told when to come back", name)
			}
			return
		}
	}
	f.t.Fatalf("%s: /readyz says %+v, want %q", name, last, says)
}

type readyAnswer struct {
	Ready  bool
	Why    string
	status int
	retry  string
}

func (f *fleet) ready() (a readyAnswer) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.addrs[0]+"/readyz", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		f.t.Fatal(err)
	}
	a.status, a.retry = resp.StatusCode, resp.Header.Get("Retry-After")
	return a
}

// crowd takes every connection that there is for others than the superuser, those of
// the server too.
func crowd(t *testing.T, database string) (end func()) {
	t.Helper()
	above, err := pgx.Connect(t.Context(), pgtest.Above(t, database))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	full := make(chan struct{})
	go func() {
		defer close(done)
		var taken []*pgx.Conn
		for said := false; ctx.Err() == nil; {
			c, err := pgx.Connect(ctx, database+"&application_name=crowd")
			if err == nil {
				taken = append(taken, c)
				continue
			}
			if !said && len(taken) > 0 {
				close(full)
				said = true
			}
			time.Sleep(time.Millisecond)
		}
		for _, c := range taken {
			_ = c.Close(context.WithoutCancel(t.Context()))
		}
	}()
	<-full
	// Those of the server go, and are taken before it has them again.
	const evict = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'tandem' AND usename = 'tandem'"
	for left := 1; left > 0; time.Sleep(20 * time.Millisecond) {
		if err := above.QueryRow(t.Context(), evict).Scan(&left); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		cancel()
		<-done
		_ = above.Close(context.WithoutCancel(t.Context()))
	}
}

// hold begins a transaction that has the org's row and does not end.
func hold(t *testing.T, database string) (end func()) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), pgtest.Above(t, database))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), "BEGIN; UPDATE tandem.org SET seq = seq"); err != nil {
		t.Fatal(err)
	}
	return func() { _ = c.Close(context.WithoutCancel(t.Context())) }
}
