package report

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

var solverTables = flag.Int("report.tables", 3000, "random tables of TestNoHiddenCellIsBounded")

// program is a linear program over variables of 0 and more: what a reader knows of what is
// hidden. It is solved by the simplex method, with the rule of Bland, so that it ends.
type program struct {
	n     int
	equal [][]float64 // coefficients of equations, and last what they come to
}

// extent returns the least and the largest value of a variable; ok is false where nothing
// fits at all.
func (p *program) extent(x int) (least, most float64, ok bool) {
	least, ok = p.minimum(x, 1)
	if !ok {
		return 0, 0, false
	}
	negative, _ := p.minimum(x, -1)
	return least, -negative, true
}

// minimum returns the least value of sign times a variable; -Inf where there is none.
func (p *program) minimum(x int, sign float64) (float64, bool) {
	m, n := len(p.equal), p.n
	// Columns: variables, one artificial variable for each equation, the right side.
	t := make([][]float64, m)
	basis := make([]int, m)
	for i, e := range p.equal {
		t[i] = make([]float64, n+m+1)
		flip := 1.0
		if e[n] < 0 {
			flip = -1
		}
		for j := range n {
			t[i][j] = flip * e[j]
		}
		t[i][n+i], t[i][n+m], basis[i] = 1, flip*e[n], n+i
	}
	cost := make([]float64, n+m)
	for j := n; j < n+m; j++ {
		cost[j] = 1
	}
	value, _ := simplex(t, basis, cost, n+m)
	if value > 1e-6 {
		return 0, false
	}
	// What is left of artificial variables is 0; they may not come back.
	for i, b := range basis {
		if b < n {
			continue
		}
		for j := range n {
			if math.Abs(t[i][j]) > 1e-9 {
				pivot(t, basis, i, j)
				break
			}
		}
	}
	cost = make([]float64, n+m)
	cost[x] = sign
	value, bounded := simplex(t, basis, cost, n)
	if !bounded {
		return math.Inf(-1), true
	}
	return value, true
}

func simplex(t [][]float64, basis []int, cost []float64, usable int) (value float64, bounded bool) {
	width := len(cost)
	for range 10_000 {
		enter := -1
		for j := range usable {
			reduced := cost[j]
			for i, b := range basis {
				reduced -= cost[b] * t[i][j]
			}
			if reduced < -1e-9 {
				enter = j
				break
			}
		}
		if enter < 0 {
			value = 0
			for i, b := range basis {
				value += cost[b] * t[i][width]
			}
			return value, true
		}
		leave, best := -1, math.Inf(1)
		for i := range t {
			if t[i][enter] > 1e-9 {
				if ratio := t[i][width] / t[i][enter]; ratio < best-1e-12 || ratio < best+1e-12 && leave >= 0 && basis[i] < basis[leave] {
					leave, best = i, ratio
				}
			}
		}
		if leave < 0 {
			return 0, false
		}
		pivot(t, basis, leave, enter)
	}
	panic("the simplex method goes round in circles")
}

func pivot(t [][]float64, basis []int, row, col int) {
	by := t[row][col]
	for j := range t[row] {
		t[row][j] /= by
	}
	for i := range t {
		if f := t[i][col]; i != row && f != 0 {
			for j := range t[i] {
				t[i][j] -= f * t[row][j]
			}
		}
	}
	basis[row] = col
}

// reader makes of a published table the program of all tables that a reader may think of:
// from what is shown and from the rules alone.
func reader(g *grid) (p *program, hidden []int, names []string) {
	p = &program{}
	var counts []count
	variable := func(name string, c count) int {
		names, counts = append(names, name), append(counts, c)
		return len(counts) - 1
	}
	cells := make([][]int, len(g.cell))
	for i := range g.cell {
		for j, c := range g.cell[i] {
			cells[i] = append(cells[i], variable(fmt.Sprintf("cell %d,%d", i, j), c))
		}
	}
	rows, cols := make([]int, len(g.rows)), make([]int, len(g.cols))
	for i, c := range g.rows {
		rows[i] = variable(fmt.Sprintf("row %d", i), c)
	}
	for j, c := range g.cols {
		cols[j] = variable(fmt.Sprintf("column %d", j), c)
	}
	all := variable("all", g.all)
	shared := make([]int, len(g.cols))
	if g.overlapping {
		for j := range g.cols {
			shared[j] = variable("shared", count{n: -1})
		}
	}
	type sum struct {
		is   int
		less []int
		of   []int
	}
	var sums []sum
	for i := range rows {
		sums = append(sums, sum{is: rows[i], of: cells[i]})
	}
	for j := range cols {
		s := sum{is: cols[j]}
		for i := range cells {
			s.of = append(s.of, cells[i][j])
		}
		if g.overlapping {
			s.less = []int{shared[j]}
		}
		sums = append(sums, s)
	}
	sums = append(sums, sum{is: all, of: cols})
	// Bounds and, where rows share, that no part is more than the whole become equations
	// with a variable that takes up the slack.
	slack := len(counts)
	type bound struct {
		v    int
		than int // -1: than the number
		n    int
	}
	var most []bound
	for v, c := range counts {
		if c.hide == HiddenSmall {
			most = append(most, bound{v, -1, g.k - 1})
		}
	}
	if g.overlapping {
		for i := range cells {
			for j := range cells[i] {
				most = append(most, bound{cells[i][j], cols[j], 0})
			}
		}
	}
	p.n = slack + len(most)
	// A hidden number is its least value and more: what is more is the variable.
	least := func(v int) (base float64, free bool) {
		c := counts[v]
		switch {
		case c.n == -1:
			return 0, true
		case c.hide == HiddenSmall:
			return 1, true
		case c.hide == HiddenProtecting:
			return float64(g.k), true
		}
		return float64(c.n), false
	}
	term := func(e []float64, v int, sign float64) {
		base, free := least(v)
		if e[p.n] -= sign * base; free {
			e[v] += sign
		}
	}
	for _, s := range sums {
		e := make([]float64, p.n+1)
		for _, v := range s.of {
			term(e, v, 1)
		}
		for _, v := range s.less {
			term(e, v, -1)
		}
		term(e, s.is, -1)
		p.equal = append(p.equal, e)
	}
	for i, b := range most {
		e := make([]float64, p.n+1)
		term(e, b.v, 1)
		if b.than >= 0 {
			term(e, b.than, -1)
		}
		e[slack+i] = 1
		e[p.n] += float64(b.n)
		p.equal = append(p.equal, e)
	}
	for v, c := range counts {
		if c.hide != "" {
			hidden = append(hidden, v)
		}
	}
	return p, hidden, names
}

// givenAway returns the first number that a reader can work out, empty where there is none.
func givenAway(t *testing.T, g *grid) string {
	p, hidden, names := reader(g)
	for _, v := range hidden {
		least, most, ok := p.extent(v)
		if !ok {
			t.Fatalf("no table fits what is shown of %+v", g)
		}
		if most-least < 0.5 {
			return names[v]
		}
	}
	return ""
}

// randomGrid is a table with many small counts and zeros.
func randomGrid(r *rand.Rand) *grid {
	g := &grid{k: []int{5, 11}[r.IntN(2)]}
	wide := 1 + r.IntN(2)
	if r.IntN(4) == 0 {
		wide = 3
	}
	g.overlapping = r.IntN(4) == 0
	most := []int{3, 12, 30, 200}[r.IntN(4)]
	for range 1 + r.IntN(6) {
		row, sum := make([]count, wide), 0
		for j := range row {
			if r.IntN(4) > 0 {
				row[j].n = r.IntN(most + 1)
			}
			sum += row[j].n
		}
		g.cell, g.rows = append(g.cell, row), append(g.rows, count{n: sum})
	}
	if wide == 1 {
		g.rows = nil
	}
	g.cols = make([]count, wide)
	for j := range g.cols {
		largest := 0
		for i := range g.cell {
			g.cols[j].n += g.cell[i][j].n
			largest = max(largest, g.cell[i][j].n)
		}
		if g.overlapping {
			g.cols[j].n = largest + r.IntN(g.cols[j].n-largest+1)
		}
		g.all.n += g.cols[j].n
	}
	// As the figures of all are shown before any breakdown is.
	switch wide {
	case 2:
		g.cols[0], g.cols[1], g.all = overall(g.cols[0].n, g.all.n, g.k)
	default:
		one := count{n: g.all.n}
		if small(one.n, g.k) {
			one.hide = HiddenSmall
		}
		if g.all = one; wide == 1 {
			g.cols[0] = one
		} else {
			hidden, other := 0, -1
			for j := range g.cols {
				if small(g.cols[j].n, g.k) {
					g.cols[j].hide = HiddenSmall
					hidden++
				} else if g.cols[j].n > 0 {
					other = j
				}
			}
			if hidden == 1 && other >= 0 {
				g.cols[other].hide = HiddenProtecting
			}
		}
	}
	return g
}

// TestNoHiddenCellIsBounded has a solver look for a hidden number that what is published
// leaves one value alone.
func TestNoHiddenCellIsBounded(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	shown, withheld, protecting := 0, 0, 0
	for n := range *solverTables {
		g := randomGrid(r)
		if sum := givenAwayBefore(t, g); sum {
			continue // The sums of all give each other away: no breakdown can mend that.
		}
		if !g.protect() {
			withheld++
			continue
		}
		shown++
		for i := range g.cell {
			for _, c := range g.cell[i] {
				if small(c.n, g.k) && c.hide == "" {
					t.Fatalf("table %d shows %d: %+v", n, c.n, g)
				}
				if c.hide == HiddenProtecting {
					protecting++
				}
			}
		}
		if name := givenAway(t, g); name != "" {
			t.Fatalf("table %d: %s has one value alone: %+v", n, name, g)
		}
	}
	t.Logf("%d tables shown with %d cells that protect, %d withheld", shown, protecting, withheld)
	if shown < *solverTables/3 || protecting == 0 {
		t.Errorf("%d of %d tables are shown with %d cells that protect: the test proves little", shown, *solverTables, protecting)
	}
}

// givenAwayBefore reports whether the sums by themselves leave one of them no choice.
func givenAwayBefore(t *testing.T, g *grid) bool {
	bare := &grid{k: g.k, cell: [][]count{g.cols}, rows: []count{g.all}, cols: g.cols, all: g.all}
	return givenAway(t, bare) != ""
}

// TestSolverBites: without what protects, the solver finds what is given away.
func TestSolverBites(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	caught := 0
	for range 300 {
		g := randomGrid(r)
		if givenAwayBefore(t, g) {
			continue
		}
		if g.alone = true; g.protect() && givenAway(t, g) != "" {
			caught++
		}
	}
	if caught < 50 {
		t.Errorf("the solver caught %d of 300 tables without what protects", caught)
	}
	// By hand: 20 people, all of them in two groups of 10; 12 in groups of 1 and 11.
	for _, cells := range [][]int{{10, 10, 0}, {1, 11}, {5, 40}} {
		g := &grid{k: 11}
		for _, n := range cells {
			g.cell = append(g.cell, []count{{n: n}})
			g.all.n += n
		}
		g.cols = []count{g.all}
		g.alone = true
		g.protect()
		if givenAway(t, g) == "" {
			t.Errorf("%v without what protects: nothing is given away", cells)
		}
		g.alone = false
		if g.protect() && givenAway(t, g) != "" {
			t.Errorf("%v is shown as %+v, which gives it away", cells, g)
		}
	}
}
