package pgtest

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

const supported = true

// other returns whom PostgreSQL runs as, which must not be root; nil for the user of
// the tests.
func other() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
		if uerr == nil && gerr == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	return &syscall.Credential{Uid: 65534, Gid: 65534}
}

// own gives a directory to whom PostgreSQL runs as.
func own(dir string) error {
	if who := other(); who != nil {
		return os.Chown(dir, int(who.Uid), int(who.Gid))
	}
	return nil
}

// command is a program of PostgreSQL, which ends with the test process.
func command(path string, args ...string) *exec.Cmd {
	c := exec.Command(path, args...) //nolint:gosec,noctx // A program of PostgreSQL; end ends it.
	c.Dir = "/"
	c.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: other(), Pdeathsig: syscall.SIGQUIT}
	return c
}

// process is a running server.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

func run(cmd *exec.Cmd, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = out, out
	p := &process{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// It dies with the thread that has started it.
		runtime.LockOSThread()
		err := cmd.Start()
		_ = out.Close()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(p.ended)
	}()
	return p, <-started
}

// end ends the server and waits for it.
func (p *process) end(crash bool) {
	how := syscall.SIGINT
	if crash {
		how = syscall.SIGQUIT
	}
	_ = p.cmd.Process.Signal(how)
	<-p.ended
}

// kill ends the server and all processes that it has started. Each is a session of its
// own, so that no signal reaches them together: the first one stands still until the
// others are dead, so that it starts nothing more.
func (p *process) kill() {
	first := p.cmd.Process.Pid
	_ = syscall.Kill(first, syscall.SIGSTOP)
	for _, pid := range children(first) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = syscall.Kill(first, syscall.SIGKILL)
	<-p.ended
}

// children returns the processes that a process has started.
func children(of int) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// The name, in parentheses, may hold anything.
		_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(of) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// release removes the shared memory that a killed server has left, which outlives its
// processes.
func release(data string) {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return
	}
	const line, remove = 6, 0
	lines := strings.Split(string(text), "\n")
	if len(lines) <= line {
		return
	}
	if fields := strings.Fields(lines[line]); len(fields) == 2 {
		if id, err := strconv.Atoi(fields[1]); err == nil {
			_, _, _ = syscall.Syscall(syscall.SYS_SHMCTL, uintptr(id), remove, 0)
		}
	}
}

// copyOf copies a directory of PostgreSQL's as whom it runs as.
func copyOf(from, to string) error { return command("/bin/cp", "-a", from, to).Run() }
