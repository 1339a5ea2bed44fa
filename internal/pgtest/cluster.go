package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/jackc/pgx/v5"
	"github.com/tandem-response/tandem/internal/need"
)

// Roles of a cluster.
const (
	// Role owns the databases of tests; it is nothing more.
	Role = "tandem"
	// Superuser is for what a test does behind the back of what it tests.
	Superuser = "postgres"
)

// Cluster is a running PostgreSQL.
type Cluster struct {
	bin, base string
	run       *process
	lock      *flock.Flock
	// settings are those it always starts with.
	settings []string
	// shared by the tests of a binary.
	shared bool

	mu        sync.Mutex
	databases int
	templates map[string]*template
}

type template struct {
	once sync.Once
	name string
	err  error
}

var (
	sharedOnce sync.Once
	sharedHere *Cluster
	errShared  error
)

// Main runs the tests of a package and ends the PostgreSQL that they share.
func Main(m *testing.M) int {
	defer func() {
		if sharedHere != nil {
			sharedHere.Stop()
		}
	}()
	return m.Run()
}

// Shared returns the cluster that all tests of the binary share, without fsync.
func Shared(tb testing.TB) *Cluster {
	tb.Helper()
	bin := programs(tb)
	sharedOnce.Do(func() {
		if sharedHere, errShared = start(bin, "fsync=off", "full_page_writes=off"); errShared == nil {
			sharedHere.shared = true
		}
	})
	if errShared != nil {
		tb.Fatal(errShared)
	}
	return sharedHere
}

// Start starts a cluster for one test, which keeps what it promises: with fsync.
// Settings are further ones, name=value.
func Start(tb testing.TB, settings ...string) *Cluster {
	tb.Helper()
	c, err := start(programs(tb), settings...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Stop)
	return c
}

// programs returns the directory of PostgreSQL's programs.
func programs(tb testing.TB) string {
	tb.Helper()
	if !supported {
		need.Missing(tb, "a system on which tests start PostgreSQL: run them on Linux")
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path)
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		need.Missing(tb, "PostgreSQL: apt-get install postgresql")
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4])
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }))
}

// name begins that of the directory of a cluster.
const name = "tandem-pg-"

// leftFor is how old the directory of a process that has died must be to be removed.
const leftFor = 10 * time.Minute

// start makes a cluster and starts it.
func start(bin string, settings ...string) (*Cluster, error) {
	c, err := prepare(bin, settings...)
	if err != nil {
		return nil, err
	}
	if err := c.initialize(); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// prepare makes the directory of a cluster.
func prepare(bin string, settings ...string) (*Cluster, error) {
	tidy()
	base, err := os.MkdirTemp("", name)
	if err != nil {
		return nil, err
	}
	c := &Cluster{bin: bin, base: base, settings: settings, templates: map[string]*template{}}
	c.lock = flock.New(filepath.Join(base, "lock"))
	if err := errors.Join(c.lock.Lock(), own(base)); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) initialize() error {
	err := c.program("initdb", "-D", c.data(), "-U", Superuser, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
	if err != nil {
		return err
	}
	if err := c.Up(); err != nil {
		return err
	}
	return c.do("CREATE ROLE " + Role + " LOGIN")
}

// program runs a program of PostgreSQL to its end.
func (c *Cluster) program(name string, args ...string) error {
	if text, err := command(filepath.Join(c.bin, name), args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, text)
	}
	return nil
}

// tidy removes what test processes have left that were killed.
func tidy() {
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), name+"*"))
	for _, dir := range old {
		info, err := os.Stat(dir)
		if err != nil || time.Since(info.ModTime()) < leftFor {
			continue
		}
		l := flock.New(filepath.Join(dir, "lock"))
		if got, err := l.TryLock(); err == nil && got {
			_ = os.RemoveAll(dir)
			_ = l.Unlock()
		}
	}
}

func (c *Cluster) data() string { return filepath.Join(c.base, "data") }

// Up starts the server of a cluster, with the settings that it was made with and further
// ones, and waits until it answers.
func (c *Cluster) Up(settings ...string) error {
	args := []string{"-D", c.data(), "-k", c.base}
	for _, s := range slices.Concat([]string{
		"listen_addresses=", "dynamic_shared_memory_type=mmap", "max_connections=200", "shared_buffers=64MB", "unix_socket_permissions=0777", "log_min_messages=warning",
	}, c.settings, settings) {
		args = append(args, "-c", s)
	}
	run, err := run(command(filepath.Join(c.bin, "postgres"), args...), filepath.Join(c.base, "log"))
	if err != nil {
		return fmt.Errorf("starting PostgreSQL: %w", err)
	}
	c.run = run
	for {
		err := c.do("SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-run.ended:
			text, _ := os.ReadFile(filepath.Join(c.base, "log"))
			return fmt.Errorf("starting PostgreSQL: %w\n%s", err, text)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Down ends the server: at once, as a crash does, or in order.
func (c *Cluster) Down(crash bool) {
	if c.run != nil {
		c.run.end(crash)
		c.run = nil
	}
}

// Kill ends every process of the server at once, without a word to anybody, as the loss
// of its machine does.
func (c *Cluster) Kill() {
	if c.run != nil {
		c.run.kill()
		c.run = nil
	}
}

// Stop ends the server and removes the cluster.
func (c *Cluster) Stop() {
	c.Down(true)
	release(c.data())
	if c.lock != nil {
		_ = c.lock.Unlock()
	}
	_ = os.RemoveAll(c.base)
}

// address returns that of a database for a role.
func (c *Cluster) address(role, database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(role), Path: "/" + database, RawQuery: url.Values{"host": {c.base}}.Encode()}
	return u.String()
}

// do runs a statement as the superuser.
func (c *Cluster) do(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.address(Superuser, "postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

// Ask returns what a query answers to the superuser, as text.
func (c *Cluster) Ask(query string) (answer string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.address(Superuser, "postgres"))
	if err != nil {
		return "", err
	}
	err = conn.QueryRow(ctx, query).Scan(&answer)
	return answer, errors.Join(err, conn.Close(ctx))
}

// until waits until a query answers yes.
func (c *Cluster) until(what, query string) error {
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		answer, err := c.Ask("SELECT (" + query + ")::text")
		if err == nil && answer == "true" {
			return nil
		}
		if time.Since(begun) > time.Minute {
			return errors.Join(fmt.Errorf("waited for a minute until %s", what), err)
		}
	}
}

// create makes a database, owned by Role.
func (c *Cluster) create(from string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.databases++
	database := fmt.Sprintf("t%d", c.databases)
	statement := fmt.Sprintf("CREATE DATABASE %s OWNER %s", database, Role)
	if from != "" {
		statement += " TEMPLATE " + from
	}
	return database, c.do(statement)
}

// Database makes an empty database for a test and returns its address, for Role.
func (c *Cluster) Database(tb testing.TB) string {
	tb.Helper()
	return c.copied(tb, "")
}

// DatabaseOn makes an empty database for a test whose tables are in a directory, a small
// file system for instance.
func (c *Cluster) DatabaseOn(tb testing.TB, dir string) string {
	tb.Helper()
	err := own(dir)
	if err == nil {
		err = c.do("CREATE TABLESPACE apart LOCATION '" + dir + "'")
	}
	if err != nil {
		tb.Fatal(err)
	}
	address := c.Database(tb)
	u, err := url.Parse(address)
	if err == nil {
		err = c.do("ALTER DATABASE " + strings.TrimPrefix(u.Path, "/") + " SET TABLESPACE apart")
	}
	if err != nil {
		tb.Fatal(err)
	}
	return address
}

// Copy makes a database for a test, a copy of what fill has put into an empty one, and
// returns its address. fill runs once for a template's name; it must leave nobody
// connected.
func (c *Cluster) Copy(tb testing.TB, name string, fill func(address string) error) string {
	tb.Helper()
	c.mu.Lock()
	t := c.templates[name]
	if t == nil {
		t = &template{}
		c.templates[name] = t
	}
	c.mu.Unlock()
	t.once.Do(func() {
		if t.name, t.err = c.create(""); t.err == nil {
			t.err = fill(c.address(Role, t.name))
		}
	})
	if t.err != nil {
		tb.Fatal(t.err)
	}
	return c.copied(tb, t.name)
}

// Like makes a database for a test, a copy of another one as it is now, when nobody may be
// connected to that one.
func (c *Cluster) Like(tb testing.TB, address string) string {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	return c.copied(tb, strings.TrimPrefix(u.Path, "/"))
}

func (c *Cluster) copied(tb testing.TB, from string) string {
	tb.Helper()
	database, err := c.create(from)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		// A cluster of one test goes as a whole.
		if c.shared && c.run != nil {
			_ = c.do("DROP DATABASE " + database + " WITH (FORCE)")
		}
	})
	return c.address(Role, database)
}

// Above returns the address of the same database for the superuser, whom no fence
// binds.
func Above(tb testing.TB, address string) string {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	u.User = url.User(Superuser)
	return u.String()
}

// Kept keeps a copy of a database as it is now, when nobody may be connected, and returns
// what puts it back, which breaks every connection.
func (c *Cluster) Kept(tb testing.TB, address string) (back func()) {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	here := strings.TrimPrefix(u.Path, "/")
	kept, err := c.create(here)
	if err != nil {
		tb.Fatal(err)
	}
	return func() {
		tb.Helper()
		for _, statement := range []string{"DROP DATABASE " + here + " WITH (FORCE)", "CREATE DATABASE " + here + " OWNER " + Role + " TEMPLATE " + kept} {
			if err := c.do(statement); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// Cut breaks every connection with a database, as a network or a restart does. Who was
// connected may connect again.
func (c *Cluster) Cut(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	return c.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + strings.TrimPrefix(u.Path, "/") + "'")
}
