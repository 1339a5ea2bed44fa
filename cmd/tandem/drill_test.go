package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/internal/pgtest"
)

// TestDrill runs the drill of docs/operations.md, its very commands: from one file to two
// servers over PostgreSQL, a primary that dies, and back to an earlier moment. Each step
// is checked by tandem verify, as the page says.
func TestDrill(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	blocks := regexp.MustCompile("(?s)```sh drill\n(.*?)```").FindAllSubmatch(page, -1)
	for _, block := range blocks {
		script.Write(block[1])
	}
	if len(blocks) < 6 || strings.Count(script.String(), "\ncheck") < 6 {
		t.Fatalf("the page has %d steps of a drill", len(blocks))
	}
	// A reader takes the commands out of the page by a command that stands there.
	take := regexp.MustCompile(`(?m)^(awk .* operations\.md) > drill\.sh$`).FindSubmatch(page)
	if take == nil {
		t.Fatal("the page does not say how to take the commands out of it")
	}
	reader := exec.CommandContext(t.Context(), "bash", "-c", string(take[1]))
	reader.Dir = "../../docs"
	if taken, err := reader.Output(); err != nil || string(taken) != script.String() {
		t.Fatalf("the page's command takes other commands out of it: %v\n%s", err, taken)
	}
	// Others must get there, and the path of a socket is short.
	dir, err := os.MkdirTemp("", "drill-") //nolint:usetesting // Its directories are root's alone.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "tandem"), ".").CombinedOutput(); err != nil {
		t.Fatalf("building the binary: %v\n%s", err, out)
	}
	mapping, err := os.ReadFile(toronto)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "toronto.yaml"), mapping, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := pgtest.Command(t, dir, "bash", "-c", script.String())
	for i, name := range []string{"A", "B"} {
		addr, err := freeAddr()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(cmd.Env, name+"="+addr)
		if i == 0 {
			// Sockets in a directory of its own: any number will do.
			cmd.Env = append(cmd.Env, "PORT="+strconv.Itoa(5501))
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "The drill has ended well.") {
		for _, log := range []string{"a.log", "b.log", "pg-a.log", "pg-b.log", "pg-c.log"} {
			if text, err := os.ReadFile(filepath.Join(dir, log)); err == nil {
				t.Logf("%s:\n%s", log, text[max(0, len(text)-3000):])
			}
		}
		t.Fatalf("the drill: %v\n%s", err, out)
	}
	if n := strings.Count(string(out), "Everything holds."); n < 6 {
		t.Errorf("only %d steps were verified\n%s", n, out)
	}
}
