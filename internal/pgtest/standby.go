package pgtest

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Standby starts a standby that streams from the cluster, for one test. Where commits
// wait for it is said by Synchronous.
func (c *Cluster) Standby(tb testing.TB, settings ...string) *Cluster {
	tb.Helper()
	s, err := prepare(c.bin, settings...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Stop)
	if err := s.follow(c); err != nil {
		tb.Fatal(err)
	}
	return s
}

// Follow makes a cluster anew, which is down or is brought down, as a standby of another
// one. Its address stays.
func (c *Cluster) Follow(tb testing.TB, primary *Cluster) {
	tb.Helper()
	c.Kill()
	release(c.data())
	err := os.RemoveAll(c.data())
	if err == nil {
		err = c.follow(primary)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func (c *Cluster) follow(primary *Cluster) error {
	err := c.program("pg_basebackup", "-D", c.data(), "-h", primary.base, "-U", Superuser, "-X", "stream", "-c", "fast", "-R", "--no-sync")
	if err != nil {
		return err
	}
	if err := c.Up(); err != nil {
		return err
	}
	// What the primary waits for is no matter of its copy's: nobody streams from that.
	for _, statement := range []string{"ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()"} {
		if err := c.do(statement); err != nil {
			return err
		}
	}
	return c.until("the standby streams", "EXISTS (SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming')")
}

// Synchronous says whether commits wait until a standby has them on its disk, and waits
// until that is in force. It stays so after a restart.
func (c *Cluster) Synchronous(tb testing.TB, on bool) {
	tb.Helper()
	names, in := "", "NOT EXISTS (SELECT 1 FROM pg_stat_replication WHERE sync_state <> 'async')"
	if on {
		names, in = "*", "EXISTS (SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync')"
	}
	for _, statement := range []string{"ALTER SYSTEM SET synchronous_standby_names = '" + names + "'", "SELECT pg_reload_conf()"} {
		if err := c.do(statement); err != nil {
			tb.Fatal(err)
		}
	}
	if err := c.until("the standby is waited for, or not", in); err != nil {
		tb.Fatal(err)
	}
}

// Stall keeps a standby from receiving anything more.
func (c *Cluster) Stall(tb testing.TB) {
	tb.Helper()
	for _, statement := range []string{"ALTER SYSTEM SET primary_conninfo = 'host=/nowhere'", "SELECT pg_reload_conf()"} {
		if err := c.do(statement); err != nil {
			tb.Fatal(err)
		}
	}
	if err := c.until("the standby receives nothing", "NOT EXISTS (SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming')"); err != nil {
		tb.Fatal(err)
	}
}

// Promote makes a standby a primary.
func (c *Cluster) Promote(tb testing.TB) {
	tb.Helper()
	if err := c.program("pg_ctl", "promote", "-w", "-D", c.data()); err != nil {
		tb.Fatal(err)
	}
}

// Across returns the address of the same database on several clusters: whoever connects
// tries them in this order.
func Across(tb testing.TB, address string, clusters ...*Cluster) string {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	bases := make([]string, 0, len(clusters))
	for _, c := range clusters {
		bases = append(bases, c.base)
	}
	q := u.Query()
	q.Set("host", strings.Join(bases, ","))
	u.RawQuery = q.Encode()
	return u.String()
}

// Archived are the settings of a cluster that keeps its log in an archive, which
// outlives it: a directory that Archive has made.
func Archived(archive string) []string {
	return []string{"archive_mode=on", fmt.Sprintf("archive_command=test ! -f %[1]s/%%f && cp %%p %[1]s/%%f", archive)}
}

// Archive makes a directory for the log of a cluster.
func Archive(tb testing.TB) string {
	tb.Helper()
	dir, err := apart(tb)
	if err != nil {
		tb.Fatal(err)
	}
	return dir
}

// apart makes a directory for whom PostgreSQL runs as, who may not go into that of a test.
func apart(tb testing.TB) (string, error) {
	tb.Helper()
	dir, err := os.MkdirTemp("", "tandem-log-") //nolint:usetesting // See above.
	if err != nil {
		return "", err
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir, own(dir)
}

// BaseBackup copies a running cluster; the copy's directory goes with the cluster.
func (c *Cluster) BaseBackup(tb testing.TB) string {
	tb.Helper()
	dir, err := apart(tb)
	if err != nil {
		tb.Fatal(err)
	}
	err = c.program("pg_basebackup", "-D", filepath.Join(dir, "data"), "-h", c.base, "-U", Superuser, "-X", "none", "-c", "fast", "--no-sync", "--no-manifest")
	if err != nil {
		tb.Fatal(err)
	}
	return dir
}

// Moment returns the present time as the cluster knows it, as a target of Restored.
func (c *Cluster) Moment(tb testing.TB) string {
	tb.Helper()
	now, err := c.Ask("SELECT clock_timestamp()::text")
	if err != nil {
		tb.Fatal(err)
	}
	return now
}

// Archive waits until everything that was committed is in the archive.
func (c *Cluster) Archive(tb testing.TB) {
	tb.Helper()
	segment, err := c.Ask("SELECT pg_walfile_name(pg_switch_wal())")
	if err == nil {
		err = c.until("the log is archived", "SELECT last_archived_wal >= '"+segment+"' FROM pg_stat_archiver")
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// Restored starts a cluster, for one test, from a base backup and an archive, as it was
// at a moment; it goes on from there.
func Restored(tb testing.TB, backup, archive, moment string, settings ...string) *Cluster {
	tb.Helper()
	c, err := prepare(programs(tb), settings...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Stop)
	if err := copyOf(filepath.Join(backup, "data"), c.data()); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.data(), "recovery.signal"), nil, 0o644); err != nil { //nolint:gosec // PostgreSQL removes it, and runs as somebody else.
		tb.Fatal(err)
	}
	err = c.Up("restore_command=cp "+archive+"/%f %p", "recovery_target_time="+moment, "recovery_target_action=promote")
	if err == nil {
		err = c.until("it is restored", "NOT pg_is_in_recovery()")
	}
	if err != nil {
		tb.Fatal(err)
	}
	return c
}
