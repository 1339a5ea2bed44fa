package store_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// open opens a database, in the directory of a place where it names none.
func opening(t *testing.T, p place, o store.Options) error {
	t.Helper()
	s, err := store.Open(t.Context(), p.dir, o)
	if err != nil {
		return err
	}
	return s.Close()
}

func TestPostgresRefuses(t *testing.T) {
	t.Parallel()
	other := func(t *testing.T, p place, change func(*url.URL)) string {
		t.Helper()
		u, err := url.Parse(p.database)
		if err != nil {
			t.Fatal(err)
		}
		change(u)
		return u.String()
	}
	for name, tc := range map[string]struct {
		// spoil changes the database, or returns another address.
		spoil func(t *testing.T, p place) string
		o     store.Options
		want  error
	}{
		"no address":       {func(*testing.T, place) string { return "host=/tmp password=hunter2" }, store.Options{}, store.ErrAddress},
		"a broken address": {func(*testing.T, place) string { return "postgres://u:hunter2@[::1/x" }, store.Options{}, store.ErrAddress},
		"nobody there":     {func(*testing.T, place) string { return "postgres://u:hunter2@127.0.0.1:1/x" }, store.Options{}, store.ErrUnreachable},
		"no such database": {func(t *testing.T, p place) string {
			return other(t, p, func(u *url.URL) { u.Path = "/nothing" })
		}, store.Options{}, store.ErrNoSuchDatabase},
		"no such role": {func(t *testing.T, p place) string {
			return other(t, p, func(u *url.URL) { u.User = url.User("nobody_known") })
		}, store.Options{}, store.ErrSignIn},
		"a superuser": {func(t *testing.T, p place) string { return pgtest.Above(t, p.database) }, store.Options{Volatile: true}, store.ErrAboveFence},
		"no fsync":    {func(_ *testing.T, p place) string { return p.database }, store.Options{}, store.ErrVolatile},
		"an empty database beside its keys": {func(t *testing.T, p place) string {
			run(t, p.behind(t), "DROP SCHEMA tandem CASCADE")
			return p.database
		}, store.Options{Create: true, Volatile: true}, store.ErrEmptied},
		"another program's tables": {func(t *testing.T, p place) string {
			run(t, p.behind(t), "DROP SCHEMA tandem CASCADE", "CREATE SCHEMA tandem AUTHORIZATION tandem", "CREATE TABLE tandem.songs (title text)")
			return p.database
		}, store.Options{Volatile: true}, store.ErrOtherApplication},
		"a newer version": {func(t *testing.T, p place) string {
			run(t, p.behind(t), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)")
			return p.database
		}, store.Options{Volatile: true}, store.ErrNewer},
		"a role without rights": {func(t *testing.T, p place) string {
			run(t, p.behind(t), "DROP SCHEMA tandem CASCADE", "DROP ROLE IF EXISTS stranger", "CREATE ROLE stranger LOGIN")
			return other(t, p, func(u *url.URL) { u.User = url.User("stranger") })
		}, store.Options{Create: true, Volatile: true}, store.ErrNoRights},
		"bytes for text": {func(t *testing.T, p place) string {
			run(t, p.behind(t), "DROP DATABASE IF EXISTS bytes_for_text", "CREATE DATABASE bytes_for_text OWNER tandem ENCODING 'SQL_ASCII' TEMPLATE template0")
			return other(t, p, func(u *url.URL) { u.Path = "/bytes_for_text" })
		}, store.Options{Create: true, Volatile: true}, store.ErrEncoding},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := existing(t, postgres)
			tc.o.Database = tc.spoil(t, p)
			err := opening(t, p, tc.o)
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the error tells the password")
			}
		})
	}
}

// Without Create nothing is made where nothing is.
func TestPostgresIsNotMadeUnasked(t *testing.T) {
	t.Parallel()
	p := place{t.TempDir(), pgtest.Shared(t).Database(t)}
	if err := opening(t, p, p.options(store.Options{})); !errors.Is(err, store.ErrNoDatabase) {
		t.Fatalf("got %v, want ErrNoDatabase", err)
	}
	var n int
	if err := p.behind(t).QueryRowContext(t.Context(), "SELECT count(*) FROM pg_namespace WHERE nspname = 'tandem'").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d schemas were made: %v", n, err)
	}
}

// Servers that start at the same time on an empty database make its tables once.
func TestPostgresMadeByMany(t *testing.T) {
	t.Parallel()
	database := pgtest.Shared(t).Database(t)
	var wg sync.WaitGroup
	for range 4 {
		p := place{t.TempDir(), database}
		wg.Go(func() {
			if err := opening(t, p, p.options(store.Options{Create: true, Serve: true})); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// A statement that forgets to say which org it means sees and changes the rows of its
// transaction's org and no others.
func TestFence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres, 61)
	bad := w.encounter()
	bad.Disposition = new("Not A Code")
	w.push(w.creation(w.staff, w.id(), w.encounter()), w.creation(w.staff, w.id(), bad))
	mine, err := w.s.CreateOrg(t.Context(), "Other County")
	if err != nil {
		t.Fatal(err)
	}
	at := place{w.dir, w.database}
	db := at.behind(t)
	tables := at.tables(t, db)
	count := func(table string) (n int64) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	filled := 0
	for table := range tables {
		before := count(table)
		if before > 0 {
			filled++
		}
		write := func(do func(tx *store.Tx) error) error { return w.s.Write(t.Context(), mine.ID, 1, do) }
		err := write(func(tx *store.Tx) error {
			n, err := tx.Number("SELECT count(*) FROM " + table)
			if want := map[bool]int64{true: 1}[table == "org"]; err == nil && n != want {
				t.Errorf("%s: the other org sees %d rows, want its own, %d", table, n, want)
			}
			if err != nil || table == "org" {
				return err
			}
			return tx.Exec("DELETE FROM " + table)
		})
		if err != nil {
			t.Fatalf("%s: %v", table, err)
		}
		if after := count(table); after != before {
			t.Errorf("%s: %d rows after another org deleted what it sees, %d before", table, after, before)
		}
		// Nor can rows be put on the other side, or moved there.
		if table != "history" {
			continue
		}
		for _, statement := range []string{
			"INSERT INTO history (org, seq, hash) VALUES (1, 999, 'x')",
			"INSERT INTO history (org, seq, hash) VALUES (2, 999, 'x'); UPDATE history SET org = 1",
		} {
			err := write(func(tx *store.Tx) error {
				for s := range strings.SplitSeq(statement, ";") {
					if err := tx.Exec(s); err != nil {
						return err
					}
				}
				return nil
			})
			if err == nil || !strings.Contains(err.Error(), "row-level security") {
				t.Errorf("%s: got %v", statement, err)
			}
		}
		if after := count(table); after != before {
			t.Errorf("%s: %d rows, %d before", table, after, before)
		}
	}
	if filled < 8 {
		t.Errorf("only %d tables have rows: the test shows little", filled)
	}
	// Outside of a transaction of an org nothing is seen at all.
	plain, err := sql.Open("pgx", w.database+"&search_path=tandem")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for table := range tables {
		var n int
		if err := plain.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d rows are seen without an org: %v", table, n, err)
		}
	}
	w.verified()
}

// Texts are compared byte by byte, whatever the language of the database.
func TestPostgresOrder(t *testing.T) {
	t.Parallel()
	p, _ := existing(t, postgres)
	var n, c int
	err := p.behind(t).QueryRowContext(t.Context(), `SELECT count(*), count(*) FILTER (WHERE l.collname = 'C')
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace s ON s.oid = c.relnamespace
		JOIN pg_collation l ON l.oid = a.attcollation
		WHERE s.nspname = 'tandem' AND c.relkind = 'r' AND a.attnum > 0 AND a.atttypid = 'text'::regtype`).Scan(&n, &c)
	if err != nil || n == 0 || c != n {
		t.Errorf("%d of %d columns of text are in the order of bytes: %v", c, n, err)
	}
}

// A failed statement that a write passes over does not become half a commit.
func TestAFailedStatementIsNotPassedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres, 62)
	before := w.head()
	err := w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		// Nothing is left to be written at the end, where a failure would show.
		if err := tx.SaveMark(1, 2); err != nil {
			return err
		}
		_ = tx.Exec("SELECT 1/0")
		return nil
	})
	if err == nil {
		t.Error("a write in which a statement failed was reported as done")
	}
	if after := w.head(); after != before {
		t.Errorf("it left %v, before was %v", after, before)
	}
	// One that reports it before it wrote spoils nothing for those beside it.
	good := 0
	errs := w.together(
		func(tx *store.Tx) error { good++; return bump(tx) },
		func(tx *store.Tx) error { return tx.Exec("SELECT 1/0") },
		func(tx *store.Tx) error { return bump(tx) },
	)
	if errs[0] != nil || errs[1] == nil || errs[2] != nil {
		t.Errorf("got %v", errs)
	}
	if got, want := w.head().Seq, before.Seq+2; got != want {
		t.Errorf("the history stands at %d, want %d", got, want)
	}
}

// Connections that break are made anew, without a word where nothing was under way.
func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres, 63)
	db := place{w.dir, w.database}.behind(t)
	for n := range 5 {
		w.applied(w.push(w.creation(w.staff, w.id(), w.encounter())))
		head := w.head()
		run(t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'tandem'")
		if n%2 == 0 {
			w.write(bump)
		}
		if got := w.head(); got.Epoch != head.Epoch {
			t.Fatal("a broken connection began a new epoch")
		}
		w.verified()
	}
}

// While PostgreSQL is away reads and writes say that it may be tried again; when it is
// back they go on, and what was acknowledged is there.
func TestPostgresRestarts(t *testing.T) {
	t.Parallel()
	c := pgtest.Start(t)
	w := newWorld(t, engine{Name: "postgres", Database: func(tb testing.TB) string { return c.Database(tb) }}, 64)
	for n := range 3 {
		w.applied(w.push(w.creation(w.staff, w.id(), w.encounter())))
		before := w.head()
		c.Down(n%2 == 0)
		err := w.s.Write(t.Context(), w.org.ID, 1, bump)
		if !errors.Is(err, store.ErrStorage) {
			t.Fatalf("a write while it is away: got %v, want ErrStorage", err)
		}
		if err := w.s.Read(t.Context(), w.org.ID, func(syncengine.ServerView) error { return nil }); !errors.Is(err, store.ErrUnreachable) {
			t.Fatalf("a read while it is away: got %v, want ErrUnreachable", err)
		}
		if err := c.Up(); err != nil {
			t.Fatal(err)
		}
		if after := w.head(); after != before {
			t.Fatalf("it came back at %v, was at %v", after, before)
		}
		w.verified()
	}
}

// A database that is set back while servers run is noticed by them.
func TestPostgresSetBackUnderAServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres, 65)
	w.applied(w.push(w.creation(w.staff, w.id(), w.encounter())))
	if err := w.s.Close(); err != nil {
		t.Fatal(err)
	}
	back := pgtest.Shared(t).Kept(t, w.database)
	w.open()
	for range 3 {
		w.write(bump)
	}
	newest := w.head()
	db := place{w.dir, w.database}.behind(t)
	const evict = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'tandem'"
	run(t, db, evict)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	back()
	patience, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		head := w.head()
		if head.Epoch != newest.Epoch {
			if !head.Recovering || head.Seq <= newest.Seq {
				t.Errorf("the new epoch stands at %v", head)
			}
			return
		}
		if patience.Err() != nil {
			t.Fatal("nobody noticed")
		}
		time.Sleep(time.Millisecond)
	}
}

// Commits of one process wake those who wait in another: by its word; where that is
// lost, at the next look; and where the word of one commit is lost and that of the next
// is heard, at the next look too.
func TestWakingAcrossProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres, 66)
	scopes := make([]syncengine.ScopeKey, 2)
	for i := range scopes {
		scopes[i] = syncengine.ScopeKey{Owner: syncengine.OwnerTeam, OwnerID: syncengine.ID{byte(i + 1)}, Compartment: 2, Open: i == 0}
	}
	seq := uint64(10_000)
	touch := func(s *store.Store, k syncengine.ScopeKey) {
		t.Helper()
		seq++
		err := s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
			head, err := tx.Head()
			if err != nil {
				return err
			}
			head.Seq = seq
			if err := tx.SaveMember(k, syncengine.Member{Record: syncengine.ID{1}, Seq: seq, Live: true}); err != nil {
				return err
			}
			return tx.SetHead(head)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	watch := func(s *store.Store, k syncengine.ScopeKey) *store.Watcher {
		watcher := s.Watch(w.org.ID)
		watcher.Only([]syncengine.ScopeKey{k})
		t.Cleanup(watcher.Close)
		return watcher
	}
	settle := func(watcher *store.Watcher) {
		// What is known when it begins to listen may wake it once.
		short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		watcher.Wait(short)
	}
	patience, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	t.Run("by word", func(t *testing.T) {
		s := w.beside()
		s.PollEvery(time.Hour)
		mine, other := watch(s, scopes[0]), watch(s, scopes[1])
		for s.Listens(t) == 0 {
			time.Sleep(time.Millisecond)
		}
		settle(mine)
		settle(other)
		touch(w.s, scopes[0])
		if !mine.Wait(patience) {
			t.Error("nobody told it")
		}
		select {
		case <-other.C:
			t.Error("it was told of a scope that it does not wait for")
		default:
		}
	})
	t.Run("without", func(t *testing.T) {
		s := w.beside()
		s.PollEvery(5 * time.Millisecond)
		s.Deafen()
		mine := watch(s, scopes[0])
		settle(mine)
		touch(w.s, scopes[0])
		if !mine.Wait(patience) {
			t.Error("it was never found")
		}
	})
	for name, tc := range map[string]struct {
		intervals [][2]uint64
		upTo      uint64
	}{
		"all":              {[][2]uint64{{0, 5}, {5, 7}, {7, 9}}, 9},
		"one is lost":      {[][2]uint64{{0, 5}, {7, 9}, {9, 12}}, 5},
		"one is late":      {[][2]uint64{{0, 5}, {7, 9}, {9, 12}, {5, 7}}, 12},
		"found by looking": {[][2]uint64{{0, 5}, {7, 9}, {0, 8}}, 9},
		"none of change":   {[][2]uint64{{0, 5}, {5, 5}}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			if upTo, _ := store.Told(tc.intervals...); upTo != tc.upTo {
				t.Errorf("told up to %d, want %d", upTo, tc.upTo)
			}
		})
	}
	many := make([][2]uint64, 5000)
	for i := range many {
		many[i] = [2]uint64{uint64(10*i + 1), uint64(10*i + 2)}
	}
	if _, ahead := store.Told(many...); ahead > 1024 {
		t.Errorf("it keeps %d commits whose predecessors it does not know", ahead)
	}
}

// Words that not every engine can hold are stored without what it cannot.
func TestTexts(t *testing.T) { each(t, testTexts) }

func testTexts(t *testing.T, on engine) {
	t.Parallel()
	p := place{t.TempDir(), on.Database(t)}
	s := p.open(t, store.Options{Create: true})
	defer s.Close()
	org, err := s.CreateOrg(t.Context(), "Example\x00 \xffCounty")
	if err != nil {
		t.Fatal(err)
	}
	if want := "Example\uFFFD \uFFFDCounty"; org.Name != want {
		t.Errorf("got %q, want %q", org.Name, want)
	}
}
