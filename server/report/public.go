package report

import (
	"math/bits"
	"slices"
)

// brokenDown are the measures that a public report breaks down, and publicDims by what:
// one measure for each kind of row, so that no two of its tables can be subtracted.
var brokenDown = map[string]bool{
	"M1.people": true, "M7.transported": true, "M11.force": true, "M13.within_30_days": true, "M15.within_72_hours": true, "M16.completed": true,
}

var publicDims = []string{byAge, byGender, byHousing, byLang, byRace}

// ForPublic returns what of a report may be published: small counts are hidden, with what
// would give them away; Withheld says how many figures that are. It must be a report that
// [ComputeOutcomes] has made in this process.
func (r *Outcomes) ForPublic() *Outcomes {
	out := *r
	out.Public, out.Metrics, out.Withheld = true, nil, 0
	out.Uncertain, out.Undated = r.Uncertain.public(r.K, &out.Withheld), r.Undated.public(r.K, &out.Withheld)
	known := map[base][]rowSet{}
	for _, m := range r.Metrics {
		shown := m
		shown.Measures = []Measure{}
		for _, x := range m.Measures {
			if x.rule.published {
				shown.Measures = append(shown.Measures, x.public(m.ID, r.K, known, &out.Withheld))
			}
		}
		out.Metrics = append(out.Metrics, shown)
	}
	return &out
}

func (f Figure) public(k int, withheld *int) Figure {
	if f.N == nil || !small(*f.N, k) {
		return f
	}
	*withheld++
	return Figure{Hidden: HiddenSmall}
}

func (f Figure) value() int {
	if f.N == nil {
		return 0
	}
	return *f.N
}

// hidden returns a figure as a grid has it.
func hidden(c count, withheld *int) Figure {
	if c.hide == "" {
		return figure(c.n)
	}
	*withheld++
	return Figure{Hidden: c.hide}
}

// public hides what of a measure must be. known are the sets of rows that what was shown
// before counts.
func (m Measure) public(metric string, k int, known map[base][]rowSet, withheld *int) Measure {
	whole := m.All
	m.Breakdowns, m.All = nil, Cell{}
	if m.NoData != nil {
		if m.rule.absent == nil {
			// How many say nothing may be few.
			m.NoData = &Text{"No record says so in the period.", "Ningún registro lo dice en el período."}
		}
		return m
	}
	n, unknown := whole.Count.value(), whole.Unknown.value()
	hid := 0
	c := Cell{Count: whole.Count.public(k, &hid), Unknown: whole.Unknown.public(k, &hid)}
	if c.Unknown.N != nil && c.Count.N != nil {
		c.UnknownPercent = percent(unknown, n+unknown)
	}
	shown := m.sets.of(c.Count.N != nil, c.Unknown.N != nil)
	switch m.Shape {
	case ShapeCount, ShapeTotal:
	case ShapeRate:
		yes, _, of := overall(whole.Numerator.value(), n, k)
		c.Numerator, c.Denominator, c.Unreliable = new(hidden(yes, &hid)), new(hidden(of, &hid)), whole.Unreliable
		if yes.hide == "" && of.hide == "" {
			c.Percent = whole.Percent
			shown = append(shown, m.sets.hit, m.sets.miss)
		}
	case ShapeTime:
		if n >= k {
			c.Median, c.P90 = whole.Median, whole.P90
		}
	case ShapeMix:
		c.Mix = publicMix(whole, k, &hid)
		all := n >= k
		for _, code := range c.Mix {
			if all = all && code.N != nil; code.N != nil {
				shown = append(shown, m.sets.codes[code.Code])
			}
		}
		if all {
			c.Mean = whole.Mean
		}
	}
	if subtractable(known[m.rule.base], shown, k) {
		hid, shown = 1, nil
		c = Cell{Count: Figure{Hidden: HiddenProtecting}, Unknown: Figure{Hidden: HiddenProtecting}, Median: c.Median, P90: c.P90}
		if m.Shape == ShapeRate {
			c.Numerator, c.Denominator = &Figure{Hidden: HiddenProtecting}, &Figure{Hidden: HiddenProtecting}
		}
	}
	*withheld += hid
	m.All = c
	known[m.rule.base] = append(known[m.rule.base], shown...)
	if brokenDown[metric+"."+m.Key] && c.Count.Hidden != HiddenProtecting {
		for _, b := range m.full {
			if slices.Contains(publicDims, b.By) {
				m.Breakdowns = append(m.Breakdowns, b.public(m.Shape, whole, k, withheld))
			}
		}
	}
	return m
}

// overall says how the figures of a rate of all are hidden.
func overall(hit, of, k int) (yes, no, all count) {
	yes, no, all = count{n: hit}, count{n: of - hit}, count{n: of}
	if small(of, k) {
		all.hide = HiddenSmall
	}
	if small(yes.n, k) {
		yes.hide = HiddenSmall
	}
	if small(no.n, k) {
		no.hide = HiddenSmall
	}
	switch {
	case yes.hide != "" && no.hide == "" && no.n > 0:
		no.hide = HiddenProtecting
	case no.hide != "" && yes.hide == "" && yes.n > 0:
		yes.hide = HiddenProtecting
	}
	return yes, no, all
}

// publicMix hides small counts of codes that add up to what is shown.
func publicMix(c Cell, k int, withheld *int) []Code {
	sum := 0
	g := &grid{k: k}
	for _, code := range c.Mix {
		sum += code.value()
		g.cell = append(g.cell, []count{{n: code.value()}})
	}
	// Codes of which several may stand together add up to more than they are of.
	g.all, g.overlapping = count{n: c.Count.value()}, sum != c.Count.value()
	if small(g.all.n, k) {
		g.all.hide = HiddenSmall
	}
	g.cols = []count{g.all}
	if !g.protect() {
		*withheld += len(c.Mix)
		return nil
	}
	out := slices.Clone(c.Mix)
	for i := range out {
		out[i].Figure = hidden(g.cell[i][0], withheld)
	}
	// Their order would tell which of the hidden is the larger one.
	slices.SortStableFunc(out, func(x, y Code) int {
		if (x.N == nil) != (y.N == nil) {
			return map[bool]int{true: 1, false: -1}[x.N == nil]
		}
		if x.N == nil {
			return map[bool]int{true: -1, false: 1}[x.Code < y.Code]
		}
		return 0
	})
	return out
}

// public hides what of a breakdown must be.
func (b Breakdown) public(shape Shape, whole Cell, k int, withheld *int) Breakdown {
	out := Breakdown{By: b.By, Groups: []Group{}, Overlapping: b.Overlapping}
	g := &grid{k: k, overlapping: b.Overlapping}
	n := whole.Count.value()
	if shape == ShapeRate {
		yes, no, all := overall(whole.Numerator.value(), n, k)
		g.cols, g.all = []count{yes, no}, all
		for _, x := range b.Groups {
			hit, of := x.Numerator.value(), x.Count.value()
			g.cell = append(g.cell, []count{{n: hit}, {n: of - hit}})
			g.rows = append(g.rows, count{n: of})
		}
	} else {
		g.all = count{n: n}
		if small(n, k) {
			g.all.hide = HiddenSmall
		}
		g.cols = []count{g.all}
		for _, x := range b.Groups {
			g.cell = append(g.cell, []count{{n: x.Count.value()}})
		}
	}
	if !g.protect() {
		*withheld += len(b.Groups)
		out.Withheld = true
		return out
	}
	for i, x := range b.Groups {
		p := Group{Code: x.Code, Cell: Cell{Count: hidden(g.cell[i][0], new(int)), Unknown: x.Unknown.public(k, withheld)}}
		if shape == ShapeRate {
			p.Count = hidden(g.rows[i], new(int))
			p.Numerator, p.Denominator = new(hidden(g.cell[i][0], withheld)), new(hidden(g.rows[i], withheld))
			p.Unreliable = x.Unreliable
			if p.Numerator.N != nil && p.Denominator.N != nil {
				p.Percent = x.Percent
				if whole.Percent != nil && g.cols[0].hide == "" && g.all.hide == "" {
					p.Ratio, p.UnderServed = x.Ratio, x.UnderServed
				}
			}
		} else if p.Count.N == nil {
			*withheld++
		}
		out.Groups = append(out.Groups, p)
	}
	return out
}

// rowSets are the rows that the figures of a measure count.
type rowSets struct {
	hit, miss, unknown rowSet
	codes              map[string]rowSet
}

func (s *rowSets) add(i int32, v verdict) {
	switch {
	case v.unknown:
		s.unknown.add(i)
	case v.hit:
		s.hit.add(i)
	default:
		s.miss.add(i)
	}
	if v.unknown {
		return
	}
	for _, code := range v.codes {
		if s.codes == nil {
			s.codes = map[string]rowSet{}
		}
		set := s.codes[code]
		set.add(i)
		s.codes[code] = set
	}
}

// of returns the sets of those that are known and of those that are not, as far as they are
// shown, and of both.
func (s *rowSets) of(known, unknown bool) (all []rowSet) {
	of := s.hit.and(s.miss)
	if known {
		all = append(all, of)
	}
	if unknown {
		all = append(all, s.unknown)
	}
	if known && unknown {
		all = append(all, of.and(s.unknown))
	}
	return all
}

// rowSet is which rows of a base a figure counts.
type rowSet []uint64

func (s *rowSet) add(i int32) {
	for len(*s) <= int(i)/64 {
		*s = append(*s, 0)
	}
	(*s)[i/64] |= 1 << (i % 64)
}

func (s rowSet) word(i int) uint64 {
	if i < len(s) {
		return s[i]
	}
	return 0
}

func (s rowSet) and(other rowSet) rowSet {
	both := make(rowSet, max(len(s), len(other)))
	for i := range both {
		both[i] = s.word(i) | other.word(i)
	}
	return both
}

func (s rowSet) empty() bool { return !slices.ContainsFunc(s, func(w uint64) bool { return w != 0 }) }

// beyond counts the rows of s that are not in the other, and those the other way round.
func (s rowSet) beyond(other rowSet) (mine, theirs int) {
	for i := range max(len(s), len(other)) {
		mine += bits.OnesCount64(s.word(i) &^ other.word(i))
		theirs += bits.OnesCount64(other.word(i) &^ s.word(i))
	}
	return mine, theirs
}

// subtractable reports whether a figure, taken from one that is shown, leaves a small count.
func subtractable(shown, fresh []rowSet, k int) bool {
	for _, f := range fresh {
		for _, s := range shown {
			if f.empty() || s.empty() {
				continue
			}
			mine, theirs := f.beyond(s)
			if mine == 0 && small(theirs, k) || theirs == 0 && small(mine, k) {
				return true
			}
		}
	}
	return false
}
