package store_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// database opens the file of a data directory by itself.
func database(t *testing.T, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "tandem.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func run(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  error
	}{
		"no database": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "tandem.db")); err != nil {
				t.Fatal(err)
			}
		}, store.ErrNoDatabase},
		"an emptied file beside its keys": {func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, "tandem.db"), 0); err != nil {
				t.Fatal(err)
			}
		}, store.ErrEmptied},
		"one byte": {func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, "tandem.db"), 1); err != nil {
				t.Fatal(err)
			}
		}, store.ErrNotDatabase},
		"text": {func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "tandem.db"), []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, store.ErrNotDatabase},
		"a header and rubbish": {func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "tandem.db"), []byte("SQLite format 3\x00"+strings.Repeat("\xff", 9000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, store.ErrNotDatabase},
		"another program's database": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "tandem.db")); err != nil {
				t.Fatal(err)
			}
			run(t, database(t, dir), "CREATE TABLE songs (title TEXT)")
		}, store.ErrOtherApplication},
		"another program's mark": {func(t *testing.T, dir string) {
			run(t, database(t, dir), "PRAGMA application_id = 77")
		}, store.ErrOtherApplication},
		"a newer version": {func(t *testing.T, dir string) {
			run(t, database(t, dir), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)")
		}, store.ErrNewer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, _ := existing(t, sqlite)
			dir := at.dir
			tc.spoil(t, dir)
			before, _ := os.ReadFile(filepath.Join(dir, "tandem.db"))
			s, err := store.Open(t.Context(), dir, store.Options{})
			if err == nil {
				_ = s.Close()
			}
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			after, _ := os.ReadFile(filepath.Join(dir, "tandem.db"))
			if string(before) != string(after) {
				t.Error("the file was changed by an open that was refused")
			}
		})
	}
}

func TestOpenResumesAnUnfinishedCreation(t *testing.T) {
	t.Parallel()
	for name, statements := range map[string][]string{
		"nothing but a file": nil,
		"nothing but a mark": {"PRAGMA journal_mode = wal", "PRAGMA application_id = 1416516470"},
		"the migrator's own": {"CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now')))", "INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "tandem.db"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			run(t, database(t, dir), statements...)
			s, err := store.Open(t.Context(), dir, store.Options{Create: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := s.CreateOrg(t.Context(), "Example County"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestKeysFile(t *testing.T) { each(t, testKeysFile) }

func testKeysFile(t *testing.T, on engine) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  error
	}{
		"missing": {func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, store.ErrKeysMissing},
		"damaged": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(`{"version":1,"orgs":[{"id":"secret`), 0o600); err != nil {
				t.Fatal(err)
			}
		}, store.ErrKeysUnreadable},
		"of another database": {func(t *testing.T, path string) {
			at, _ := existing(t, on)
			text, err := os.ReadFile(filepath.Join(at.dir, "keys.json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}, store.ErrKeysMissing},
		"readable by others": {func(t *testing.T, path string) {
			if runtime.GOOS == "windows" {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				return
			}
			if err := os.Chmod(path, 0o644); err != nil {
				t.Fatal(err)
			}
		}, store.ErrKeysExposed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if runtime.GOOS == "windows" && tc.want == store.ErrKeysExposed { //nolint:errorlint // It compares the case, not an error.
				tc.want = store.ErrKeysMissing
			}
			at, org := existing(t, on)
			tc.spoil(t, filepath.Join(at.dir, "keys.json"))
			s := at.open(t, store.Options{})
			defer s.Close()
			_, err := s.Org(t.Context(), org)
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Error("the error quotes the keys file")
			}
		})
	}
}

func TestKeysStayOutOfTheDatabase(t *testing.T) { each(t, testKeysStayOutOfTheDatabase) }

func testKeysStayOutOfTheDatabase(t *testing.T, on engine) {
	t.Parallel()
	at, org := existing(t, on)
	s := at.open(t, store.Options{})
	o, err := s.Org(t.Context(), org)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(at.bytes(t), string(o.Signing.Seed())) {
		t.Error("the private key of the org is in the database")
	}
	info, err := os.Stat(filepath.Join(at.dir, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("keys.json has mode %v, want 0600", info.Mode().Perm())
	}
}

func TestTwoServers(t *testing.T) {
	t.Parallel()
	at, org := existing(t, sqlite)
	dir := at.dir
	first, err := store.Open(t.Context(), dir, store.Options{Serve: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), dir, store.Options{Serve: true}); !errors.Is(err, store.ErrInUse) {
		t.Fatalf("a second server: got %v, want ErrInUse", err)
	}
	beside, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatalf("a command beside the server: %v", err)
	}
	defer beside.Close()
	w := first.Watch(org)
	defer w.Close()
	if !w.Wait(t.Context()) {
		t.Fatal("the first look found nothing")
	}
	w.Only([]syncengine.ScopeKey{{Owner: syncengine.OwnerTeam}})
	err = beside.Write(t.Context(), org, 1, func(tx *store.Tx) error {
		h, err := tx.Head()
		if err != nil {
			return err
		}
		h.Seq++
		return tx.SetHead(h)
	})
	if err != nil {
		t.Fatal(err)
	}
	if !w.Wait(t.Context()) {
		t.Error("the server did not notice a commit of another process")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := store.Open(t.Context(), dir, store.Options{Serve: true})
	if err != nil {
		t.Fatalf("after the first server has ended: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOrgs(t *testing.T) { each(t, testOrgs) }

func testOrgs(t *testing.T, on engine) {
	t.Parallel()
	at, org := existing(t, on)
	s := at.open(t, store.Options{})
	defer s.Close()
	if _, err := s.Org(t.Context(), syncengine.ID{1}); !errors.Is(err, store.ErrUnknownOrg) {
		t.Errorf("an org that is not there: got %v", err)
	}
	for _, name := range []string{"", "  ", strings.Repeat("x", 201)} {
		if _, err := s.CreateOrg(t.Context(), name); !errors.Is(err, store.ErrName) {
			t.Errorf("name of %d bytes: got %v, want ErrName", len(name), err)
		}
	}
	second, err := s.CreateOrg(t.Context(), "Second")
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.Orgs(t.Context())
	if err != nil || len(all) != 2 || all[0].ID != org || all[1].ID != second.ID || all[1].Name != "Second" {
		t.Fatalf("got %v, %v", all, err)
	}
	var heads [2]syncengine.HistoryHead
	for i, o := range all {
		err := s.Read(t.Context(), o.ID, func(v syncengine.ServerView) (err error) {
			heads[i], err = v.Head()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if heads[0].Epoch == heads[1].Epoch || heads[0].Epoch.IsZero() {
		t.Error("two orgs share an epoch")
	}
}

func TestClosed(t *testing.T) { each(t, testClosed) }

func testClosed(t *testing.T, on engine) {
	t.Parallel()
	at, org := existing(t, on)
	s := at.open(t, store.Options{})
	if _, err := s.Org(t.Context(), org); err != nil {
		t.Fatal(err)
	}
	w := s.Watch(org)
	if !w.Wait(t.Context()) {
		t.Fatal("the first look found nothing")
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if w.Wait(context.WithoutCancel(t.Context())) {
		t.Error("a watcher of a closed store was told of a commit")
	}
	nothing := func(*store.Tx) error { return nil }
	if err := s.Write(t.Context(), org, 1, nothing); !errors.Is(err, store.ErrClosed) {
		t.Errorf("write: got %v, want ErrClosed", err)
	}
	if err := s.Read(t.Context(), org, func(syncengine.ServerView) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("read: got %v, want ErrClosed", err)
	}
}
