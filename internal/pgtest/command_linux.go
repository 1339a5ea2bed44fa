package pgtest

import (
	"os/exec"
	"syscall"
	"testing"
)

// Command is a program that runs as PostgreSQL does, as somebody who is not root, with
// PostgreSQL's programs on its PATH, in a directory that becomes theirs. It is told to end
// (SIGTERM), with all that it has started, when the test ends.
func Command(tb testing.TB, dir, path string, args ...string) *exec.Cmd {
	tb.Helper()
	bin := programs(tb)
	if err := own(dir); err != nil {
		tb.Fatal(err)
	}
	c := exec.CommandContext(tb.Context(), path, args...) //nolint:gosec // What the test names.
	c.Dir = dir
	c.Env = []string{"LC_ALL=C", "HOME=" + dir, "PATH=" + dir + ":" + bin + ":/usr/local/bin:/usr/bin:/bin"}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: other(), Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGTERM) }
	return c
}
