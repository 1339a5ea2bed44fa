package export_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// TestFormulas: no cell of an export for people begins as a formula does, and what was
// changed for that is told from what was written; for machines every text is as it was.
// What records say is in no name of a file.
func TestFormulas(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite)
	var names []string
	var people []proto.Message
	for _, first := range []string{"=", "+", "-", "@", "\t", "\n", "'", "''=", "a", "9", "../../etc/", "C:\\", "\u202e"} {
		names = append(names, first+"cmd|'/C calc'!A0")
		people = append(people, w.person(0, names[len(names)-1]))
	}
	w.add(0, people...)
	for _, safe := range []bool{true, false} {
		o := w.options()
		o.ExcelSafe, o.Notes, o.Drafts, o.Void = safe, true, true, true
		dir, m := w.write(o)
		for _, f := range m.Files {
			if !regexp.MustCompile(`^[A-Za-z_]+\.(csv|txt|json)$`).MatchString(f.Name) || filepath.Base(f.Name) != f.Name {
				t.Errorf("a file is called %q", f.Name)
			}
		}
		found := map[string]bool{}
		for table, rows := range w.read(dir) {
			for _, row := range rows {
				for column, cell := range row {
					if table == "person_names.csv" && column == "family" {
						found[cell] = true
					}
					if safe && cell != "" && strings.ContainsRune("=@\t\r\n", rune(cell[0])) {
						t.Errorf("%s: %s begins as a formula: %q", table, column, cell)
					}
				}
			}
		}
		for _, name := range names {
			want := name
			if safe && strings.ContainsRune("=+-@\t\r\n", rune(name[0])) {
				want = "'" + name
			}
			if !found[want] {
				t.Errorf("safe %v: %q is not %q; there are %v", safe, name, want, found)
			}
		}
	}
}

// TestPart2Notice: what leaves with records of a substance use program bears the law's
// statement, first.
func TestPart2Notice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite)
	for _, sud := range []bool{true, false} {
		o := w.options()
		o.SUD = sud
		dir, _ := w.write(o)
		if got := strings.HasPrefix(w.files(dir)["README.txt"], record.Part2Notice); got != sud {
			t.Errorf("with such records %v: the statement is there: %v", sud, got)
		}
	}
}
