package report

import "math"

// Suppression: how small counts stay hidden in what is published.
//
// A count of 1 to k-1 is small and is not shown. What would give one away by subtraction
// is not shown either: it protects. 0 is shown. A reader of a published table knows the
// rules, and so knows that a small count is 1 to k-1 and a protecting one k or more. The
// engine holds a table to be safe only when, of all that it hides, nothing is fixed to one
// value by all that it shows, for a reader who knows that much.

// grid is a table of counts with its sums, as it may be published: cells by row and column,
// the sum of each row, of each column, and of all. hide says of each how it is hidden.
type grid struct {
	k    int
	cell [][]count
	// rows are the sums of rows; nil where a table has one column and no such sums.
	rows []count
	// cols and all are shown elsewhere too: whether they are hidden is settled, and not
	// changed here.
	cols []count
	all  count
	// overlapping: rows may share what they count, and add up to more than a column's sum.
	overlapping bool
	// alone leaves out what protects; for the tests of those tests.
	alone bool
}

// count is one number of a grid.
type count struct {
	n    int
	hide string
}

func small(n, k int) bool { return n > 0 && n < k }

// protect hides what must be. It reports false where the table cannot be shown at all.
func (g *grid) protect() bool {
	for i := range g.cell {
		if g.rows != nil && small(g.rows[i].n, g.k) {
			g.rows[i].hide = HiddenSmall
		}
		for j := range g.cell[i] {
			if small(g.cell[i][j].n, g.k) {
				g.cell[i][j].hide = HiddenSmall
			}
		}
	}
	if g.alone {
		return true
	}
	for {
		if changed, ok := g.complete(); !ok {
			return false
		} else if changed {
			continue
		}
		at, fixed := g.fixed()
		if !fixed {
			return true
		}
		if !g.hideBeside(at) {
			return false
		}
	}
}

// complete hides a second cell in each line that has one hidden and shows its sum.
func (g *grid) complete() (changed, ok bool) {
	for i := range g.cell {
		if g.rows == nil || g.rows[i].hide != "" {
			continue
		}
		hidden, least := 0, -1
		for j, c := range g.cell[i] {
			switch {
			case c.hide != "":
				hidden++
			case c.n > 0 && (least < 0 || c.n < g.cell[i][least].n):
				least = j
			}
		}
		switch {
		case hidden != 1:
		case least >= 0:
			g.cell[i][least].hide, changed = HiddenProtecting, true
		default:
			// Its sum is the cell: then that is small, and hidden.
			return false, false
		}
	}
	for j := range g.cols {
		if g.cols[j].hide != "" {
			continue
		}
		hidden, least := 0, -1
		for i := range g.cell {
			switch c := g.cell[i][j]; {
			case c.hide != "":
				hidden++
			case c.n > 0 && (least < 0 || c.n < g.cell[least][j].n):
				least = i
			}
		}
		if hidden != 1 || g.overlapping {
			continue
		}
		if least < 0 {
			return false, false
		}
		g.cell[least][j].hide, changed = HiddenProtecting, true
	}
	return changed, true
}

// hideBeside hides one more cell, the smallest that is shown and is not 0: in the column of
// a place, else in its row.
func (g *grid) hideBeside(at [2]int) bool {
	var least *count
	try := func(c *count) {
		if c.hide == "" && c.n > 0 && (least == nil || c.n < least.n) {
			least = c
		}
	}
	for i := range g.cell {
		try(&g.cell[i][at[1]])
	}
	if least == nil {
		for j := range g.cell[at[0]] {
			try(&g.cell[at[0]][j])
		}
	}
	if least == nil {
		for i := range g.rows {
			try(&g.rows[i])
		}
	}
	if least == nil {
		return false
	}
	least.hide = HiddenProtecting
	return true
}

// arc is a number as a flow: sums make every table of counts a circulation.
type arc struct {
	from, to int
	n        int
	lo, hi   int
	hidden   bool
}

func (g *grid) bounds(c count) (lo, hi int) {
	switch c.hide {
	case HiddenSmall:
		return 1, g.k - 1
	case HiddenProtecting:
		return g.k, math.MaxInt
	}
	return c.n, c.n
}

// fixed returns the place of a hidden number that can have one value alone. The true
// table is one that a reader may think of; another one differs from it by a ring of
// numbers that go up and down by 1, because the sums of such tables are totally
// unimodular: so a number is fixed where no ring goes through it.
func (g *grid) fixed() ([2]int, bool) {
	rows, cols := len(g.cell), len(g.cols)
	source, sink := rows+cols, rows+cols+1
	var arcs []arc
	add := func(from, to int, c count) {
		lo, hi := g.bounds(c)
		arcs = append(arcs, arc{from, to, c.n, lo, hi, c.hide != ""})
	}
	var places [][2]int
	for i := range g.cell {
		for j, c := range g.cell[i] {
			add(i, rows+j, c)
			if g.overlapping {
				// No group is larger than all of them together.
				last := &arcs[len(arcs)-1]
				last.hi = min(last.hi, max(g.cols[j].n, last.n))
			}
			places = append(places, [2]int{i, j})
		}
	}
	for i := range g.cell {
		if g.rows == nil {
			arcs = append(arcs, arc{source, i, 0, math.MinInt, math.MaxInt, false})
		} else {
			add(source, i, g.rows[i])
		}
		places = append(places, [2]int{i, 0})
	}
	for j, c := range g.cols {
		add(rows+j, sink, c)
		places = append(places, [2]int{0, j})
		if g.overlapping {
			// How much rows share is unknown; that it may be less is not relied on.
			arcs = append(arcs, arc{rows + j, source, 0, 0, math.MaxInt, false})
			places = append(places, [2]int{0, j})
		}
	}
	add(sink, source, g.all)
	places = append(places, [2]int{0, 0})
	for x, a := range arcs {
		if !a.hidden {
			continue
		}
		if a.n < a.hi && reaches(arcs, x, a.to, a.from, sink+1) || a.n > a.lo && reaches(arcs, x, a.from, a.to, sink+1) {
			continue
		}
		return places[x], true
	}
	return [2]int{}, false
}

// reaches reports whether 1 can be moved from a node to another without an arc.
func reaches(arcs []arc, without, from, to, nodes int) bool {
	seen := make([]bool, nodes)
	seen[from] = true
	for queue := []int{from}; len(queue) > 0; queue = queue[1:] {
		if queue[0] == to {
			return true
		}
		for x, a := range arcs {
			switch {
			case x == without:
			case a.from == queue[0] && a.n < a.hi && !seen[a.to]:
				seen[a.to] = true
				queue = append(queue, a.to)
			case a.to == queue[0] && a.n > a.lo && !seen[a.from]:
				seen[a.from] = true
				queue = append(queue, a.from)
			}
		}
	}
	return false
}
