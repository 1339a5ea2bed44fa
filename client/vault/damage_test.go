package vault_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/tandem-response/tandem/client/vault"
	"github.com/tandem-response/tandem/internal/faultfs"
)

// layout of the files, from outside: the head, then pages or frames.
const (
	headBytes  = 1024
	pageBytes  = vault.PageSize + 44
	frameBytes = vault.PageSize + 24 + 16 + 44
)

// shelf is a database in a vault, as it was after each of some commits, at rest and
// with its log.
type shelf struct {
	path string
	key  *vault.DataKey
	// rest are the disks after the database was closed, live those as the power would
	// have left them after the same commit: the log holds what came since.
	rest, live []*faultfs.Disk
	// answers are what a reader gets after each.
	answers []string
}

func newShelf(tb testing.TB, commits int) *shelf {
	tb.Helper()
	s := &shelf{path: filepath.Join(filepath.Dir(tb.TempDir()), "a.db"), key: vault.NewDataKey()}
	d := faultfs.New(1)
	b := open(tb, d, s.path, s.key)
	db := b.db(tb, full)
	fill(tb, db, 60)
	run(tb, db, "CREATE TABLE draft (k TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID")
	run(tb, db, "PRAGMA wal_checkpoint(TRUNCATE)")
	rng := rand.New(rand.NewPCG(4, 4))
	for i := range commits {
		run(tb, db, "BEGIN")
		run(tb, db, "INSERT OR REPLACE INTO draft VALUES ($1, $2)", fmt.Sprint(i%7), fmt.Sprint("typing ", rng.Uint64()))
		run(tb, db, "UPDATE t SET b = $2 WHERE n = $1", 1+rng.IntN(50), fmt.Sprint("planted-marker ", rng.Uint64()))
		run(tb, db, "COMMIT")
		s.live = append(s.live, d.Copy(uint64(i)))
		s.answers = append(s.answers, answers(tb, db))
		at := d.Copy(uint64(i))
		r := &round{TB: tb}
		again := open(r, at, s.path, s.key).db(r, full)
		run(tb, again, "PRAGMA wal_checkpoint(TRUNCATE)")
		if err := again.Close(); err != nil {
			tb.Fatal(err)
		}
		r.end()
		s.rest = append(s.rest, at)
	}
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
	return s
}

// answers is all that a reader can ask for.
func answers(tb testing.TB, db *sql.DB) (all string) {
	tb.Helper()
	for _, query := range []string{"SELECT n, b FROM t ORDER BY n", "SELECT k, body FROM draft ORDER BY k", "SELECT rowid, w FROM words ORDER BY rowid", "SELECT count(*), b FROM t INDEXED BY t_b GROUP BY b"} {
		part, err := lines(tb, db, query)
		if err != nil {
			return err.Error()
		}
		all += part
	}
	return all
}

func lines(tb testing.TB, db *sql.DB, query string) (all string, err error) {
	tb.Helper()
	rows, err := db.QueryContext(tb.Context(), query)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	for rows.Next() {
		var a, b string
		if err := rows.Scan(&a, &b); err != nil {
			return "", err
		}
		all += a + " " + b + "\n"
	}
	return all, rows.Err()
}

// look opens a disk and says what was found, and what a reader gets.
func (s *shelf) look(tb testing.TB, d *faultfs.Disk) (found, got string) {
	tb.Helper()
	r := &round{TB: tb}
	defer r.end()
	b := open(r, d, s.path, s.key)
	db := b.db(r, full)
	if err := db.PingContext(tb.Context()); err != nil {
		return err.Error(), ""
	}
	got = answers(tb, db)
	if _, err := db.ExecContext(tb.Context(), "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return err.Error(), got
	}
	faults, err := b.fs.Check()
	if err != nil || len(faults) > 0 {
		return fmt.Sprint(faults, err), got
	}
	return "", got
}

// A bit that turns is found: in the database always, in the log unless it lies behind
// the last transaction but one, where it cannot be told from a torn write; then the
// answer is that of before, whole. What the device had sent of it the server misses at
// the next contact.
func TestFlips(t *testing.T) {
	t.Parallel()
	s := newShelf(t, 12)
	rng := rand.New(rand.NewPCG(6, 6))
	last := len(s.rest) - 1
	whole, err := s.rest[last].Read(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if found, got := s.look(t, s.rest[last].Copy(1)); found != "" || got != s.answers[last] {
		t.Fatalf("undamaged: %s", found)
	}
	for range *flips {
		d := s.rest[last].Copy(1)
		bit := rng.Int64N(int64(len(whole)) * 8)
		if err := d.Flip(s.path, bit); err != nil {
			t.Fatal(err)
		}
		if found, _ := s.look(t, d); found == "" {
			t.Errorf("bit %d of byte %d is not found", bit%8, bit/8)
		}
	}
	log, err := s.live[last].Read(s.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.live[last-1].Read(s.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	silent := 0
	for range *flips {
		d := s.live[last].Copy(1)
		bit := rng.Int64N(int64(len(log)) * 8)
		if err := d.Flip(s.path+"-wal", bit); err != nil {
			t.Fatal(err)
		}
		found, got := s.look(t, d)
		switch {
		case found != "":
		case got == s.answers[last] && bit/8 < headBytes:
			// The slot of a state that has passed.
		case got == s.answers[last-1]:
			silent++
			if bit/8 < int64(len(before)) {
				t.Errorf("bit %d of byte %d of the log costs a commit and is not found", bit%8, bit/8)
			}
		default:
			t.Errorf("bit %d of byte %d of the log is not found", bit%8, bit/8)
		}
	}
	t.Logf("%d bits of the database, all found; %d of the log, %d of them in its last transaction", *flips, *flips, silent)
}

// A page or a file that is put back as it was earlier is found where it changes an
// answer, also where the answer is one that no index or digest covers. The whole of the
// files put back is a store of that time, which the server knows by its outbox.
func TestOlder(t *testing.T) {
	t.Parallel()
	s := newShelf(t, 12)
	rng := rand.New(rand.NewPCG(8, 8))
	changed, same := 0, 0
	for changed+same < *older {
		now := 1 + rng.IntN(len(s.rest)-1)
		was := rng.IntN(now)
		var d *faultfs.Disk
		var what string
		switch rng.IntN(5) {
		case 0, 1, 2:
			d = s.rest[now].Copy(1)
			old, err := s.rest[was].Read(s.path)
			if err != nil {
				t.Fatal(err)
			}
			page := rng.Int64N(int64(len(old)-headBytes) / pageBytes)
			at := headBytes + page*pageBytes
			what = fmt.Sprintf("page %d of commit %d in %d", page+1, was, now)
			if err := d.Swap(s.path, at, old[at:at+pageBytes]); err != nil {
				t.Fatal(err)
			}
		case 3:
			// The database at rest, with the log of an earlier time.
			d = s.rest[now].Copy(1)
			old, err := s.live[was].Read(s.path + "-wal")
			if err != nil {
				t.Fatal(err)
			}
			what = fmt.Sprintf("the log of commit %d in %d", was, now)
			put(t, d, s.path+"-wal", old)
		case 4:
			// The log as it is, with a frame of an earlier time.
			d = s.live[now].Copy(1)
			log, err := d.Read(s.path + "-wal")
			if err != nil {
				t.Fatal(err)
			}
			before, err := s.live[now-1].Read(s.path + "-wal")
			if err != nil {
				t.Fatal(err)
			}
			// In the last transaction it is as a torn write is.
			from := headBytes + rng.Int64N((int64(len(log))-headBytes)/frameBytes)*frameBytes
			to := headBytes + rng.Int64N((int64(len(before))-headBytes)/frameBytes)*frameBytes
			if from == to {
				continue
			}
			what = fmt.Sprintf("the frame at %d in the place of that at %d, commit %d", from, to, now)
			if err := d.Swap(s.path+"-wal", to, log[from:from+frameBytes]); err != nil {
				t.Fatal(err)
			}
		}
		found, got := s.look(t, d)
		switch {
		case got == s.answers[now]:
			same++
		case found == "":
			t.Fatalf("%s: changes an answer and is not found", what)
		default:
			changed++
		}
	}
	if changed == 0 {
		t.Error("nothing that was put back changed an answer")
	}
	t.Logf("%d changed an answer and were found, %d changed none", changed, same)
}

// put writes a file.
func put(tb testing.TB, d *faultfs.Disk, name string, b []byte) {
	tb.Helper()
	f, err := d.OpenFile(name, os.O_CREATE|os.O_RDWR)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		tb.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		tb.Fatal(err)
	}
	if err := d.SyncDir(filepath.Dir(name)); err != nil {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
}

// A page that is emptied, moved, or cut off is refused, and the head of the database is.
func TestMoved(t *testing.T) {
	t.Parallel()
	s := newShelf(t, 3)
	last := len(s.rest) - 1
	whole, err := s.rest[last].Read(s.path)
	if err != nil {
		t.Fatal(err)
	}
	for name, harm := range map[string]func(d *faultfs.Disk) error{
		"a page emptied": func(d *faultfs.Disk) error { return d.Swap(s.path, headBytes+2*pageBytes, make([]byte, pageBytes)) },
		"a page moved": func(d *faultfs.Disk) error {
			return d.Swap(s.path, headBytes+2*pageBytes, whole[headBytes+3*pageBytes:][:pageBytes])
		},
		"the head emptied":    func(d *faultfs.Disk) error { return d.Swap(s.path, 0, make([]byte, headBytes)) },
		"everything emptied":  func(d *faultfs.Disk) error { return d.Swap(s.path, 0, make([]byte, len(whole))) },
		"the slots exchanged": func(d *faultfs.Disk) error { return d.Swap(s.path, 0, append(whole[512:1024:1024], whole[:512]...)) },
		"the end cut off": func(d *faultfs.Disk) error {
			f, err := d.OpenFile(s.path, os.O_RDWR)
			if err != nil {
				return err
			}
			if err := f.Truncate(int64(len(whole)) - pageBytes); err != nil {
				return err
			}
			return f.Sync()
		},
	} {
		d := s.rest[last].Copy(1)
		if err := harm(d); err != nil {
			t.Fatal(err)
		}
		if found, _ := s.look(t, d); found == "" {
			t.Errorf("%s: not found", name)
		}
	}
}
