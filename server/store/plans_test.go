package store

import (
	"database/sql"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// wide is a line of a plan that goes through all of an org or of a desk.
var wide = regexp.MustCompile(`^SCAN |\(org=\?( AND desk=\?)?\)$`)

// What is over of a desk's work is deleted by its time. What one record's work and one record's
// erasure delete is looked up by that record, and what a device has in quarantine by that device,
// however many others there are. SQLite plans by the statement alone, since no figures of the
// tables are kept.
func TestPlans(t *testing.T) {
	s, err := Open(t.Context(), t.TempDir(), Options{Create: true, Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for _, statement := range append([]string{oldWork, noWork, noLikeness, notSeen, heldOf}, aboutErased...) {
		args := []any{1, 2, 3, 4}
		for !strings.Contains(statement, fmt.Sprintf("$%d", len(args))) {
			args = args[:len(args)-1]
		}
		if err := s.writer.each("EXPLAIN QUERY PLAN "+statement, args, func(rows *sql.Rows) error {
			var id, parent, unused int
			var line string
			err := rows.Scan(&id, &parent, &unused, &line)
			if wide.MatchString(line) && !strings.HasPrefix(line, "SEARCH scope ") {
				t.Errorf("%s\n%s", statement, line)
			}
			return err
		}); err != nil {
			t.Fatal(fmt.Errorf("%s: %w", statement, err))
		}
	}
}
