package tandem_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// SQLite looks at the value of a bare parameter after LIMIT when it prepares a statement,
// and so prepares it anew each time one is bound, which takes longer than most of them
// take to run. Behind an operator it does not look.
func TestNoBareLimit(t *testing.T) {
	bare := regexp.MustCompile(`LIMIT [?$]`)
	for _, dir := range []string{"client", filepath.Join("server", "store")} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if at := bare.FindIndex(text); at != nil {
				t.Errorf("%s: write LIMIT +? (or a cast, which PostgreSQL understands too): %s", path, text[at[0]:min(at[1]+8, len(text))])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
