package pgtest

import (
	"os/exec"
	"syscall"
	"testing"
)

// Command is a program that runs as PostgreSQL does, as somebody who is not root, in a
// directory of its own under the file system's root of temporary files, with PostgreSQL's
// programs on its PATH. What it starts ends with it at the latest when it is told to
// (SIGTERM): it is a process group.
func Command(tb testing.TB, dir, path string, args ...string) *exec.Cmd {
	tb.Helper()
	bin := programs(tb)
	if err := own(dir); err != nil {
		tb.Fatal(err)
	}
	c := exec.CommandContext(tb.Context(), path, args...)
	c.Dir = dir
	c.Env = []string{"LC_ALL=C", "HOME=" + dir, "PATH=" + dir + ":" + bin + ":/usr/local/bin:/usr/bin:/bin"}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: other(), Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGTERM) }
	return c
}
