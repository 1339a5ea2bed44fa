package report

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the table of the manual anew")

const (
	tableBegins = "<!-- The table of metrics: written by the test of this page. -->\n"
	tableEnds   = "<!-- End of the table. -->\n"
)

// TestManual: the manual has every metric as the table in the code has it.
func TestManual(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, m := range metrics {
		fmt.Fprintf(&b, "### %s %s\n\n%s\n\n- Counted: %s\n- Of: %s\n- From: %s\n", m.id, m.title.EN, m.definition.EN, m.numerator.EN, m.denominator.EN, m.source.EN)
		for _, x := range m.measures {
			public := ""
			if x.published {
				public = "; published"
			}
			if brokenDown[m.id+"."+x.key] {
				public += ", by group too"
			}
			fmt.Fprintf(&b, "- `%s`: %s (%s, %s%s)\n", x.key, x.label.EN, x.shape, x.unit.EN, public)
		}
		b.WriteString("\n")
	}
	file := filepath.Join("..", "..", "docs", "outcomes.md")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), tableBegins)
	table, after, ends := strings.Cut(rest, tableEnds)
	if !ok || !ends {
		t.Fatalf("%s has no table", file)
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(before+tableBegins+b.String()+tableEnds+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != b.String() {
		t.Errorf("%s is not the table in the code: go test ./server/report -run TestManual -rewrite", file)
	}
	for i, m := range metrics {
		if want := fmt.Sprintf("M%d", i+1); m.id != want {
			t.Errorf("metric %d is %s", i+1, m.id)
		}
		for _, text := range []Text{m.title, m.definition, m.numerator, m.denominator, m.unit, m.source} {
			if text.EN == "" || text.ES == "" {
				t.Errorf("%s lacks words: %+v", m.id, text)
			}
		}
		for _, x := range m.measures {
			if x.label.EN == "" || x.label.ES == "" || x.unit.EN == "" || x.unit.ES == "" {
				t.Errorf("%s.%s lacks words", m.id, x.key)
			}
		}
	}
	if len(metrics) != 24 {
		t.Errorf("%d metrics", len(metrics))
	}
}
