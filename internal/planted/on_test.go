//go:build plantedbugs

package planted

import "testing"

func TestTableIsWhole(t *testing.T) {
	in := map[Bug]bool{}
	for _, row := range Table {
		if in[row.Bug] || row.Name == "" || row.Class == "" || row.Breaks == "" {
			t.Errorf("%v: a bug has one row, with its name, its class and what it breaks", row)
		}
		in[row.Bug] = true
	}
	for b := None + 1; b < count; b++ {
		if !in[b] {
			t.Errorf("bug %d has no row", b)
		}
	}
}
