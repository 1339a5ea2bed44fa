package client

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
)

// The test binary runs again as a device of its own: one that holds a store open,
// or that saves until it is killed.
const (
	helperVariable = "TANDEM_CLIENT_TEST_HELPER"
	storeVariable  = "TANDEM_CLIENT_TEST_STORE"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(helperVariable); what != "" {
		os.Exit(helper(what, os.Getenv(storeVariable)))
	}
	os.Exit(m.Run())
}

// helper says on its output what is durable.
func helper(what, dir string) int {
	ctx := context.Background()
	c, err := Open(ctx, dir, Options{Version: "test"})
	if err != nil {
		fmt.Fprintln(os.Stdout, "error:", err)
		return 1
	}
	fmt.Fprintln(os.Stdout, "open")
	if what == "hold" {
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		return 0
	}
	for i := 0; ; i++ {
		_, err := c.Edit(ctx, func(e *Edit) error {
			_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), Number: new("K-" + strconv.Itoa(i))})
			return err
		})
		if err != nil {
			fmt.Fprintln(os.Stdout, "error:", err)
			return 1
		}
		fmt.Fprintln(os.Stdout, "saved", i)
	}
}

func startHelper(t *testing.T, what, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), helperVariable+"="+what, storeVariable+"="+dir)
	// An open input keeps the holder waiting.
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "open" {
		t.Fatalf("the helper says %q", lines.Text())
	}
	return cmd, lines
}

func TestStoreOfTwoProcesses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd, _ := startHelper(t, "hold", dir)
	c, err := Open(t.Context(), dir, Options{})
	if !errors.Is(err, ErrInUse) {
		t.Errorf("a store that another process has open: got %v", err)
	}
	if c != nil {
		t.Error("got a client")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	newClient(t, dir)
	if _, err := Open(t.Context(), dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("a store that this process has open: got %v", err)
	}
}

// No save that was reported is lost when the process is killed, wherever it is.
func TestKilled(t *testing.T) {
	t.Parallel()
	rounds := 4
	if need.All() {
		rounds = 25
	}
	c, e := newEnrolled(t)
	dir := filepath.Dir(storePath(t, c))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	saves := 0
	for round := range rounds {
		cmd, lines := startHelper(t, "save", dir)
		stop := time.AfterFunc(time.Duration(20+37*round)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		acknowledged := 0
		for lines.Scan() {
			if !strings.HasPrefix(lines.Text(), "saved ") {
				t.Fatalf("the helper says %q", lines.Text())
			}
			acknowledged++
		}
		stop.Stop()
		_ = cmd.Wait()
		c := newClient(t, dir)
		s := mustStatus(t, c)
		// The one that was under way may be there as well.
		if s.Queued < saves+acknowledged || s.Queued > saves+acknowledged+1 || s.Records != s.Queued {
			t.Fatalf("round %d: got %d changes and %d records, want %d", round, s.Queued, s.Records, saves+acknowledged)
		}
		saves = s.Queued
		mustVerify(t, c)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if saves == 0 {
		t.Fatal("no save was acknowledged: the test shows nothing")
	}
	c = newClient(t, dir)
	if _, err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(e.taken) != saves {
		t.Errorf("the server has %d changes, want %d", len(e.taken), saves)
	}
}

func storePath(t *testing.T, c *Client) string {
	t.Helper()
	var n int
	var name, path string
	if err := c.store.readDB.QueryRowContext(t.Context(), "PRAGMA database_list").Scan(&n, &name, &path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStoreRefuses(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, path string, statements ...string) {
		t.Helper()
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for _, s := range statements {
			if _, err := db.ExecContext(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, path string)
		want    error
	}{
		"a newer version": {func(t *testing.T, path string) {
			c := newClient(t, filepath.Dir(path))
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			run(t, path, "PRAGMA user_version = 9999")
		}, ErrNewer},
		"no database": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("not a database at all "), 400), 0o600); err != nil {
				t.Fatal(err)
			}
		}, ErrNoStore},
		"another application's": {func(t *testing.T, path string) {
			run(t, path, "PRAGMA application_id = 77", "CREATE TABLE t (x)")
		}, ErrNoStore},
		"nobody's": {func(t *testing.T, path string) {
			run(t, path, "CREATE TABLE t (x)")
		}, ErrNoStore},
		"cut off": {func(t *testing.T, path string) {
			c := newClient(t, filepath.Dir(path))
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, 5000); err != nil {
				t.Fatal(err)
			}
		}, ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), databaseFile)
			tc.prepare(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Open(t.Context(), filepath.Dir(path), Options{}); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			after, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestStoreIsDurableAndPrivate(t *testing.T) {
	t.Parallel()
	c := newClient(t, filepath.Join(t.TempDir(), "a", "store"))
	var synchronous, page int
	if err := c.store.conn.QueryRowContext(t.Context(), "PRAGMA page_size").Scan(&page); err != nil || page != 8192 {
		t.Errorf("a page has %d bytes, %v, want 8192, which rows of a kilobyte fill", page, err)
	}
	if err := c.store.conn.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&synchronous); err != nil || synchronous != 2 {
		t.Errorf("got synchronous %d, want 2 (FULL), error %v", synchronous, err)
	}
	if _, err := c.store.conn.ExecContext(t.Context(), "PRAGMA synchronous = normal"); err != nil {
		t.Fatal(err)
	}
	if err := c.store.assertDurable(t.Context()); err == nil {
		t.Error("a connection that can lose saves is taken")
	}
	for _, name := range []string{databaseFile, databaseFile + "-wal", lockFile} {
		info, err := os.Stat(filepath.Join(filepath.Dir(storePath(t, c)), name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %v", name, info.Mode())
		}
	}
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	c, _ := newEnrolled(t)
	kept := create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
	var pages int
	if err := c.store.conn.QueryRowContext(t.Context(), "PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	limit := func(n int) {
		t.Helper()
		if _, err := c.store.conn.ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", n)); err != nil {
			t.Fatal(err)
		}
	}
	limit(pages)
	const text = "He said that he would wait."
	var full error
	saved := 0
	for range 50 {
		_, full = c.Edit(t.Context(), func(e *Edit) error {
			_, err := e.Create(&tandemv1.Note{
				Target: &tandemv1.RecordRef{Kind: new("incident"), Id: new(kept.String())}, Type: new("case"),
				Text: new(strings.Repeat(text, 40)),
			})
			return err
		})
		if full != nil {
			break
		}
		saved++
	}
	if !errors.Is(full, ErrDiskFull) || strings.Contains(full.Error(), text) {
		t.Fatalf("a full disk: got %v", full)
	}
	if s := mustStatus(t, c); s.Queued != saved+1 || s.Records != saved+1 {
		t.Errorf("got %d changes and %d records, want %d", s.Queued, s.Records, saved+1)
	}
	mustVerify(t, c)
	// What is there can still be sent.
	if m, err := c.Sync(t.Context()); err != nil && !errors.Is(err, ErrDiskFull) {
		t.Errorf("sync on a full disk: got %+v, %v", m, err)
	}
	limit(1 << 20)
	create(t, c, &tandemv1.Incident{CallType: new("welfare_check")})
	mustVerify(t, c)
}

func TestClosed(t *testing.T) {
	t.Parallel()
	c, _ := newEnrolled(t)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Status: got %v", err)
	}
	if err := c.SaveDraft(t.Context(), "k", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("SaveDraft: got %v", err)
	}
}
