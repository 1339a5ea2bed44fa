package main

import (
	"os/exec"
	"testing"

	"github.com/tandem-response/tandem/internal/need"
)

// What the shell makes of a word is the text that it was made of.
func TestShellWord(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("sh")
	if err != nil {
		need.Missing(t, "sh")
	}
	for _, text := range []string{
		"", "tandem-data", "/var/lib/it's here", "postgres://tandem@/tandem?host=/run/postgresql&port=5432", "$HOME `x` \"y\" *", "a\\b\nc",
	} {
		out, err := exec.CommandContext(t.Context(), sh, "-c", "printf %s "+shellWord(text)).Output()
		if err != nil || string(out) != text {
			t.Errorf("%q became %q: %v", text, out, err)
		}
	}
	if got := shellWord("sqlite:/var/lib/tandem-1"); got != "sqlite:/var/lib/tandem-1" {
		t.Errorf("a plain word is quoted: %s", got)
	}
}
