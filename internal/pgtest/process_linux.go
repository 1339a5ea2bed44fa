package pgtest

import (
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
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
