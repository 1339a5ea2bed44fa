//go:build !linux

package pgtest

import (
	"errors"
	"os/exec"
	"testing"
)

const supported = false

type process struct{ ended chan struct{} }

func own(string) error { return nil }

func command(path string, args ...string) *exec.Cmd { return exec.Command(path, args...) }

func run(*exec.Cmd, string) (*process, error) { return nil, errors.ErrUnsupported }

func (p *process) end(bool) {}

func (p *process) kill() {}

func release(string) {}

func copyOf(string, string) error { return errors.ErrUnsupported }

// Command is there on Linux.
func Command(tb testing.TB, _, path string, args ...string) *exec.Cmd {
	tb.Helper()
	programs(tb)
	return exec.CommandContext(tb.Context(), path, args...)
}
