package faultfs_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/tandem-response/tandem/internal/faultfs"
	"github.com/tandem-response/tandem/internal/vfs"
	_ "modernc.org/sqlite"
)

func mount(tb testing.TB, d *faultfs.Disk) *vfs.Mount {
	tb.Helper()
	m, err := vfs.New(d)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(m.Close)
	return m
}

// open opens a database on a disk; options are of the address.
func open(tb testing.TB, m *vfs.Mount, options string) *sql.DB {
	tb.Helper()
	path := filepath.ToSlash(filepath.Join(filepath.Dir(tb.TempDir()), "a.db"))
	db, err := sql.Open("sqlite", "file:"+path+"?_error_rc=1&vfs="+m.Name+options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func run(tb testing.TB, db *sql.DB, statement string, args ...any) {
	tb.Helper()
	if _, err := db.ExecContext(tb.Context(), statement, args...); err != nil {
		tb.Fatalf("%s: %v", statement, err)
	}
}

func number(tb testing.TB, db *sql.DB, query string) (n int) {
	tb.Helper()
	if err := db.QueryRowContext(tb.Context(), query).Scan(&n); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	return n
}

func intact(tb testing.TB, db *sql.DB) {
	tb.Helper()
	var line string
	if err := db.QueryRowContext(tb.Context(), "PRAGMA integrity_check").Scan(&line); err != nil || line != "ok" {
		tb.Fatalf("integrity_check: %q, %v", line, err)
	}
}

// Every journal mode works on the seam, and reads back after the disk was restarted.
func TestModes(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"wal", "delete", "truncate", "persist"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			d := faultfs.New(1)
			db := open(t, mount(t, d), "&_pragma=journal_mode("+mode+")&_pragma=synchronous(full)")
			run(t, db, "CREATE TABLE t (n INTEGER PRIMARY KEY, b BLOB) STRICT")
			for i := range 100 {
				run(t, db, "INSERT INTO t VALUES ($1, randomblob(3000))", i)
			}
			run(t, db, "DELETE FROM t WHERE n % 3 = 0")
			run(t, db, "VACUUM")
			intact(t, db)
			want := number(t, db, "SELECT sum(length(b)) FROM t")
			again := open(t, mount(t, d.Restart()), "")
			intact(t, again)
			if got := number(t, again, "SELECT sum(length(b)) FROM t"); got != want {
				t.Errorf("after a restart: got %d bytes, want %d", got, want)
			}
		})
	}
}

// Readers and a writer share the log: every sum that a reader sees is of one commit.
func TestConnections(t *testing.T) {
	t.Parallel()
	m := mount(t, faultfs.New(2))
	const busy = "&_pragma=busy_timeout(10000)"
	db := open(t, m, busy+"&_txlock=immediate&_pragma=journal_mode(wal)&_pragma=wal_autocheckpoint(20)")
	db.SetMaxOpenConns(1)
	run(t, db, "CREATE TABLE t (n INTEGER PRIMARY KEY, v INTEGER NOT NULL) STRICT")
	for i := range 50 {
		run(t, db, "INSERT INTO t VALUES ($1, 0)", i)
	}
	readers := open(t, m, busy+"&_pragma=query_only(1)")
	readers.SetMaxOpenConns(4)
	var group sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var sum int
				if err := readers.QueryRowContext(t.Context(), "SELECT sum(v) FROM t").Scan(&sum); err != nil || sum != 0 {
					t.Errorf("a reader sees a sum of %d, error %v", sum, err)
					return
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(2, 2))
	for range 300 {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, add := range []int{7, -7} {
			if _, err := tx.ExecContext(t.Context(), "UPDATE t SET v = v + $1 WHERE n = $2", add, rng.IntN(50)); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	group.Wait()
	intact(t, db)
}

// What each setting promises through a power cut. Without a sync at each commit, or
// on a drive that lies about it, commits are lost; without the order that syncs
// give, so is the database.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	const rounds = 150
	for name, tc := range map[string]struct {
		synchronous string
		lies, loses bool
	}{
		"full":    {"full", false, false},
		"normal":  {"normal", false, true},
		"a liar":  {"full", true, true},
		"nothing": {"off", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lost := 0
			for round := range uint64(rounds) {
				d := faultfs.New(round)
				d.Set(faultfs.Faults{Lies: tc.lies})
				db := open(t, mount(t, d), "&_pragma=journal_mode(wal)&_pragma=wal_autocheckpoint(10)&_pragma=synchronous("+tc.synchronous+")")
				run(t, db, "CREATE TABLE t (n INTEGER PRIMARY KEY, b BLOB) STRICT")
				rng := rand.New(rand.NewPCG(round, 3))
				d.Set(faultfs.Faults{CutAt: 1 + rng.IntN(120), Lies: tc.lies})
				saved := 0
				for !d.Out() {
					if _, err := db.ExecContext(t.Context(), "INSERT INTO t VALUES ($1, randomblob($2))", saved, rng.IntN(4000)); err == nil {
						saved++
					}
				}
				_ = db.Close()
				again := open(t, mount(t, d.Restart()), "")
				var got int
				var line string
				err := again.QueryRowContext(t.Context(), "SELECT count(*) FROM t").Scan(&got)
				if err == nil {
					err = again.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&line)
				}
				if err != nil || line != "ok" || got < saved || got > saved+1 {
					lost++
					if !tc.loses {
						t.Errorf("round %d: %d of %d commits, %q, %v", round, got, saved, line, err)
					}
				}
				_ = again.Close()
			}
			if tc.loses && lost == 0 {
				t.Errorf("none of %d cuts lost anything: the cuts do not bite", rounds)
			}
			t.Logf("%d of %d cuts lost something", lost, rounds)
		})
	}
}

// The same seed and calls leave the same bytes.
func TestSeeds(t *testing.T) {
	t.Parallel()
	leave := func(seed uint64) string {
		d := faultfs.New(seed)
		db := open(t, mount(t, d), "&_pragma=journal_mode(wal)&_pragma=synchronous(off)")
		defer db.Close()
		run(t, db, "CREATE TABLE t (n INTEGER PRIMARY KEY, b TEXT) STRICT")
		d.Set(faultfs.Faults{})
		for i := range 20 {
			run(t, db, "INSERT INTO t VALUES ($1, hex(zeroblob(900)))", i)
		}
		ops, calls, _ := d.Counts()
		return fmt.Sprint(ops, calls, d.Restart().Used())
	}
	if a, b := leave(7), leave(7); a != b {
		t.Errorf("got %s, then %s", a, b)
	}
}

// A full disk is SQLITE_FULL, a failing one an I/O error, and both pass.
func TestFaults(t *testing.T) {
	t.Parallel()
	d := faultfs.New(5)
	db := open(t, mount(t, d), "&_pragma=journal_mode(wal)&_pragma=synchronous(full)")
	run(t, db, "CREATE TABLE t (n INTEGER PRIMARY KEY, b BLOB) STRICT")
	insert := func() string {
		_, err := db.ExecContext(t.Context(), "INSERT INTO t (b) VALUES (randomblob(20000))")
		return fmt.Sprint(err)
	}
	d.Set(faultfs.Faults{Limit: d.Used()})
	if got := insert(); got != "database or disk is full (13)" {
		t.Errorf("a full disk: got %q", got)
	}
	d.Set(faultfs.Faults{FailAt: 1, FailFor: 1000, Err: syscall.EIO})
	if got := insert(); got == "<nil>" {
		t.Error("a broken disk takes an insert")
	}
	d.Set(faultfs.Faults{})
	if got := insert(); got != "<nil>" {
		t.Errorf("a disk that is well again: got %q", got)
	}
	intact(t, db)
	if got := number(t, db, "SELECT count(*) FROM t"); got != 1 {
		t.Errorf("got %d rows, want 1", got)
	}
}
