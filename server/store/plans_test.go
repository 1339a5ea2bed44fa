package store

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// wide is a line of a plan that goes through all of an org or of a desk.
var wide = regexp.MustCompile(`^SCAN |\(org=\?( AND desk=\?)?\)$`)

// What one record's work and one record's erasure delete is looked up by that record, and what a
// device has in quarantine by that device, however many others there are. SQLite plans by the statement alone, since no figures of the tables are kept.
func TestPlans(t *testing.T) {
	s, err := Open(t.Context(), t.TempDir(), Options{Create: true, Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for _, statement := range append([]string{noWork, noLikeness, notSeen, heldOf}, aboutErased...) {
		args := []any{1, 2, 3}
		if !strings.Contains(statement, "$3") {
			args = args[:2]
		}
		rows, err := s.writer.c.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+statement, args...)
		if err != nil {
			t.Fatal(fmt.Errorf("%s: %w", statement, err))
		}
		for rows.Next() {
			var id, parent, unused int
			var line string
			if err := rows.Scan(&id, &parent, &unused, &line); err != nil {
				t.Fatal(err)
			}
			if wide.MatchString(line) && !strings.HasPrefix(line, "SEARCH scope ") {
				t.Errorf("%s\n%s", statement, line)
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
