package vault_test

import (
	"bytes"
	"database/sql"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-response/tandem/client/vault"
	"github.com/tandem-response/tandem/internal/faultfs"
	"github.com/tandem-response/tandem/internal/vfs"
	_ "modernc.org/sqlite"
)

var (
	cuts  = flag.Int("cuts", 80, "how often TestPowerCuts cuts the power")
	flips = flag.Int("flips", 150, "how many bits TestFlips flips")
	older = flag.Int("older", 60, "how many older pages and files TestOlder puts back")
)

// box is a database in a vault on a disk.
type box struct {
	name string
	fs   *vault.FS
	m    *vfs.Mount
}

// round is a test's part that cleans up after itself: of thousands none is held on to
// until the test ends.
type round struct {
	testing.TB

	last []func()
}

// Cleanup implements testing.TB.
func (r *round) Cleanup(f func()) { r.last = append(r.last, f) }

func (r *round) end() {
	for _, f := range slices.Backward(r.last) {
		f()
	}
}

func open(tb testing.TB, base vfs.FS, name string, key *vault.DataKey) *box {
	tb.Helper()
	v, err := vault.New(base, name, key)
	if err != nil {
		tb.Fatal(err)
	}
	m, err := vfs.New(v)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(m.Close)
	return &box{name, v, m}
}

func (b *box) db(tb testing.TB, options ...string) *sql.DB {
	tb.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(b.name)+"?_error_rc=1&vfs="+b.m.Name+"&_pragma=temp_store(memory)&_pragma=secure_delete(1)"+strings.Join(options, ""))
	if err != nil {
		tb.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

const (
	full    = "&_pragma=synchronous(full)"
	shorter = "&_pragma=wal_autocheckpoint(10)"
)

func run(tb testing.TB, db *sql.DB, statement string, args ...any) {
	tb.Helper()
	if _, err := db.ExecContext(tb.Context(), statement, args...); err != nil {
		tb.Fatalf("%s: %v", statement, err)
	}
}

func text(tb testing.TB, db *sql.DB, query string) (s string) {
	tb.Helper()
	if err := db.QueryRowContext(tb.Context(), query).Scan(&s); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	return s
}

func intact(tb testing.TB, b *box, db *sql.DB) {
	tb.Helper()
	if line := text(tb, db, "PRAGMA integrity_check"); line != "ok" {
		tb.Fatalf("integrity_check: %s", line)
	}
	if faults, err := b.fs.Check(); err != nil || len(faults) > 0 {
		tb.Fatalf("check: %q, %v", faults, err)
	}
}

// fill makes tables of all shapes and rows that a scan for markers would find.
func fill(tb testing.TB, db *sql.DB, rows int) {
	tb.Helper()
	run(tb, db, "CREATE TABLE t (n INTEGER PRIMARY KEY, b TEXT NOT NULL) STRICT")
	run(tb, db, "CREATE INDEX t_b ON t (b)")
	run(tb, db, "CREATE VIRTUAL TABLE words USING fts5 (w)")
	run(tb, db, "BEGIN")
	for i := range rows {
		if i%20 == 19 {
			run(tb, db, "COMMIT")
			run(tb, db, "BEGIN")
		}
		note := fmt.Sprintf("planted-marker %d ", i) + strings.Repeat("what a person wrote ", i%300)
		run(tb, db, "INSERT INTO t VALUES ($1, $2)", i, note)
		run(tb, db, "INSERT INTO words VALUES ($1)", note)
	}
	run(tb, db, "DELETE FROM t WHERE n % 3 = 0")
	run(tb, db, "COMMIT")
}

// A store in a vault holds what was written, on a real disk too, and shows none of it.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, base := range map[string]vfs.FS{"system": vfs.System{}, "faultfs": faultfs.New(1)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, key := filepath.Join(t.TempDir(), "a.db"), vault.NewDataKey()
			b := open(t, base, path, key)
			db := b.db(t, full, shorter)
			fill(t, db, 300)
			// A transaction that does not fit the cache comes back to frames that it wrote.
			run(t, db, "PRAGMA cache_size = 5")
			for i := range 5 {
				tx, err := db.BeginTx(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				for range 6 {
					if _, err := tx.ExecContext(t.Context(), "UPDATE t SET b = b || $1", i); err != nil {
						t.Fatal(err)
					}
				}
				if i%2 == 0 {
					err = tx.Rollback()
				} else {
					err = tx.Commit()
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			run(t, db, "CREATE TEMP TABLE s AS SELECT * FROM t ORDER BY b")
			intact(t, b, db)
			want := text(t, db, "SELECT count(*) || ' ' || sum(length(b)) FROM t")
			quiet(t, base, path)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			quiet(t, base, path)
			again := open(t, base, path, key)
			db = again.db(t)
			intact(t, again, db)
			if got := text(t, db, "SELECT count(*) || ' ' || sum(length(b)) FROM t"); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			run(t, db, "VACUUM")
			run(t, db, "PRAGMA wal_checkpoint(TRUNCATE)")
			intact(t, again, db)
			other := open(t, base, path, vault.NewDataKey()).db(t)
			if err := other.PingContext(t.Context()); err == nil {
				t.Error("another key opens it")
			}
		})
	}
}

// content returns the bytes of a file, none where there is no such file.
func content(tb testing.TB, base vfs.FS, name string) []byte {
	tb.Helper()
	size, err := base.Size(name)
	if err != nil {
		return nil
	}
	f, err := base.OpenFile(name, os.O_RDONLY)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && size > 0 {
		tb.Fatal(err)
	}
	return b
}

// quiet asserts that the files of a database say nothing: no marker, and bytes as
// evenly spread as chance spreads them.
func quiet(tb testing.TB, base vfs.FS, path string) {
	tb.Helper()
	for _, suffix := range []string{"", "-wal", "-journal", "-shm"} {
		b := content(tb, base, path+suffix)
		for _, marker := range []string{"planted-marker", "SQLite format", "CREATE", "person"} {
			if bytes.Contains(b, []byte(marker)) {
				tb.Errorf("the file %q shows %q", suffix, marker)
			}
		}
		const head = 1024
		if len(b) < 100_000 {
			continue
		}
		if x := unevenness(b[head:]); math.Abs(x) > 6 {
			tb.Errorf("the bytes of the file %q are not evenly spread: %.1f standard deviations", suffix, x)
		}
	}
}

// unevenness is how many standard deviations the spread of bytes is from chance's.
func unevenness(b []byte) float64 {
	var counts [256]float64
	for _, c := range b {
		counts[c]++
	}
	want, square := float64(len(b))/256, 0.0
	for _, n := range counts {
		square += (n - want) * (n - want) / want
	}
	return (square - 255) / math.Sqrt(2*255)
}

// Readers see whole commits while a writer and checkpoints are at work.
func TestConnections(t *testing.T) {
	t.Parallel()
	b := open(t, vfs.System{}, filepath.Join(t.TempDir(), "a.db"), vault.NewDataKey())
	db := b.db(t, "&_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=wal_autocheckpoint(20)")
	run(t, db, "CREATE TABLE t (n INTEGER PRIMARY KEY, v INTEGER NOT NULL, pad BLOB) STRICT")
	for i := range 50 {
		run(t, db, "INSERT INTO t VALUES ($1, 0, randomblob(3000))", i)
	}
	var group sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		r := b.db(t, "&_pragma=query_only(1)&_pragma=busy_timeout(10000)&_pragma=cache_size(5)")
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var sum int
				if err := r.QueryRowContext(t.Context(), "SELECT sum(v) FROM t").Scan(&sum); err != nil || sum != 0 {
					t.Errorf("a reader sees a sum of %d, error %v", sum, err)
					return
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(2, 2))
	for range 200 {
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
	intact(t, b, db)
}

// A power cut loses nothing that was acknowledged, and what it leaves is never taken for
// damage. Without the syncs, or on a drive that lies, saves are lost: and where the log
// can show it, the loss is reported.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		rounds      int
		synchronous string
		lies, loses bool
	}{
		"full":   {*cuts, "full", false, false},
		"normal": {40, "normal", false, true},
		"a liar": {40, "full", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lost := 0
			key := vault.NewDataKey()
			path := filepath.Join(filepath.Dir(t.TempDir()), "a.db")
			for n := range uint64(tc.rounds) {
				d := faultfs.New(n)
				d.Set(faultfs.Faults{Lies: tc.lies})
				rng := rand.New(rand.NewPCG(n, 3))
				saved := 0
				// Some cuts fall upon one another.
				for life := range 1 + rng.IntN(3) {
					r := &round{TB: t}
					b := open(r, d, path, key)
					db := b.db(r, "&_pragma=wal_autocheckpoint(10)&_pragma=cache_size(8)&_pragma=synchronous("+tc.synchronous+")")
					if life == 0 {
						run(t, db, "CREATE TABLE t (n INTEGER PRIMARY KEY, b BLOB) STRICT")
					}
					d.Set(faultfs.Faults{CutAt: 1 + rng.IntN(150), Lies: tc.lies})
					for !d.Out() {
						if err := save(t, db, rng, saved); err == nil {
							saved++
						}
					}
					r.end()
					d = d.Restart()
					what, got := look(t, d, path, key, saved)
					if what != "" {
						lost++
						if !tc.loses {
							t.Fatalf("round %d: %s", n, what)
						}
						break
					}
					saved = got
				}
			}
			if tc.loses && lost == 0 {
				t.Errorf("none of %d cuts lost anything: the cuts do not bite", tc.rounds)
			}
			t.Logf("%d of %d cuts lost something", lost, tc.rounds)
		})
	}
}

// save makes a commit of a few pages, some of which are given up first.
func save(tb testing.TB, db *sql.DB, rng *rand.Rand, n int) error {
	tb.Helper()
	if rng.IntN(6) == 0 {
		tx, err := db.BeginTx(tb.Context(), nil)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(tb.Context(), "UPDATE t SET b = randomblob(length(b) + 9)")
		if rerr := tx.Rollback(); err != nil || rerr != nil {
			return fmt.Errorf("giving up: %w, %w", err, rerr)
		}
	}
	_, err := db.ExecContext(tb.Context(), "INSERT INTO t VALUES ($1, randomblob($2))", n, rng.IntN(30_000))
	return err
}

// look says what is wrong with what a cut left, and how many saves it holds.
func look(tb testing.TB, d *faultfs.Disk, path string, key *vault.DataKey, saved int) (string, int) {
	tb.Helper()
	r := &round{TB: tb}
	defer r.end()
	b := open(r, d, path, key)
	db := b.db(r)
	var got int
	var line string
	err := db.QueryRowContext(tb.Context(), "SELECT count(*) FROM t").Scan(&got)
	if err == nil {
		err = db.QueryRowContext(tb.Context(), "PRAGMA integrity_check").Scan(&line)
	}
	_, _ = db.ExecContext(tb.Context(), "PRAGMA wal_checkpoint(TRUNCATE)")
	faults, cerr := b.fs.Check()
	if err != nil || line != "ok" || got < saved || got > saved+1 || len(faults) > 0 || cerr != nil {
		return fmt.Sprintf("%d of %d commits, %q, %v; check %q, %v", got, saved, line, err, faults, cerr), got
	}
	return "", got
}
