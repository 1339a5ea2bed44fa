package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A drill for which there is no room says what it needs and what is there, before it reads
// the copy, and leaves nothing behind.
func TestDrillRoom(t *testing.T) {
	t.Parallel()
	_, dir := newHome(t, homeOptions{})
	// A file of 15 TiB of which nothing is on the disk.
	huge := filepath.Join(t.TempDir(), "huge.db")
	f, err := os.Create(huge)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(15 << 40); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r := tandem(t.Context(), "", "backup", "drill", "--data", dir, "--from", huge)
	if r.code != exitBadInput || !strings.Contains(r.err, "needs about 15728704 MiB") || !strings.Contains(r.err, "MiB free") {
		t.Errorf("exit code %d, %s", r.code, r.err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "drill*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
