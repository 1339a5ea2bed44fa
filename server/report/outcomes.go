//nolint:misspell // Half of it is Spanish.
package report

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// DefaultK is the number below which a count is small, where a program states none.
const DefaultK = 11

// ErrNoProgram says that a program is not there.
var ErrNoProgram = errors.New("there is no such program: \"tandem admin list\" shows their ids")

// errEmptyPeriod says that a period holds no moment.
var errEmptyPeriod = errors.New("the period is empty: its end must come after its start")

// OutcomeOptions are what a report of outcomes is about.
type OutcomeOptions struct {
	// Zone is the agency's; nil is UTC.
	Zone *time.Location
	// From and To bound the period [From, To); a zero one leaves it open.
	From, To time.Time
	// AsOf is the moment up to which days are held to have passed. It must be given: a
	// report never asks a clock.
	AsOf time.Time
	// Program limits the report to one; zero is every program.
	Program syncengine.ID
	// Programs limits a report without a Program to several; none is every program.
	Programs []syncengine.ID
	// WithoutSUD leaves out records of a substance use program (42 CFR Part 2), for readers
	// who may not read them.
	WithoutSUD bool
	// Read counts the records that were read so far, for who waits; nil for nobody.
	Read *atomic.Int64
	// Population has how many people live there, by breakdown and group; nil for nothing
	// known.
	Population map[string]map[string]int
}

// Outcomes is a report of the metrics. Its JSON is stable: keys are added, never renamed;
// the same state and options give the same bytes.
type Outcomes struct {
	// Period that was asked for, AsOf the moment up to which days have passed.
	Period Period `json:"period"`
	AsOf   string `json:"as_of"`
	// Seq is the sequence of the state that was counted, where it is known.
	Seq uint64 `json:"seq,omitempty"`
	// Program and ProgramName are those of a report on one; its id is nil for all.
	Program     *string `json:"program"`
	ProgramName Text    `json:"program_name"`
	// K is the number below which a count is small.
	K int `json:"k"`
	// Public: small counts and what would give them away are withheld, Withheld of them.
	Public   bool `json:"public"`
	Withheld int  `json:"withheld"`
	// WithoutSUD: records of a substance use program (42 CFR Part 2) are not counted.
	WithoutSUD bool `json:"without_sud,omitempty"`
	// Uncertain calls are in no figure: their time is too coarse to tell whether they are
	// in the period. Undated ones have none.
	Uncertain Figure `json:"uncertain"`
	Undated   Figure `json:"undated"`
	// Metrics in order.
	Metrics []Metric `json:"metrics"`
}

// Metric is one metric with its words and figures.
type Metric struct {
	ID          string `json:"id"`
	Title       Text   `json:"title"`
	Definition  Text   `json:"definition"`
	Numerator   Text   `json:"numerator"`
	Denominator Text   `json:"denominator"`
	Unit        Text   `json:"unit"`
	Source      Text   `json:"source"`
	// NoData says why there is no figure at all; nil where there is one.
	NoData   *Text     `json:"no_data"`
	Measures []Measure `json:"measures"`
}

// Measure is one number of a metric.
type Measure struct {
	Key   string `json:"key"`
	Label Text   `json:"label"`
	Unit  Text   `json:"unit"`
	Shape Shape  `json:"shape"`
	All   Cell   `json:"all"`
	// NoData says why there is no figure; nil where there is one. It is never 0 for that.
	NoData     *Text       `json:"no_data"`
	Breakdowns []Breakdown `json:"breakdowns,omitempty"`

	rule *measure
	// full are all breakdowns, sets the rows that its figures count: what is published is
	// made of them.
	full []Breakdown
	sets rowSets
}

// Breakdown is a measure by groups.
type Breakdown struct {
	By     string  `json:"by"`
	Groups []Group `json:"groups"`
	// Withheld: no group can be told without giving a small one away.
	Withheld bool `json:"withheld,omitempty"`
	// Overlapping: somebody may be in several groups, which then do not add up to all.
	Overlapping bool `json:"overlapping,omitempty"`
}

// Group is one group of a breakdown.
type Group struct {
	Code string `json:"code"`
	Cell

	// Ratio is the group's rate to that of all; nil where there is none.
	Ratio *float64 `json:"ratio,omitempty"`
	// PerThousand is the number for each 1,000 inhabitants, of whom there are Inhabitants.
	PerThousand *float64 `json:"per_thousand,omitempty"`
	Inhabitants *int     `json:"inhabitants,omitempty"`
	// UnderServed: more would be better, the ratio is below 0.8, and the group is large
	// enough to say so: it counts [DefaultK] at least, or for each 1,000 inhabitants would if
	// its ratio were 1.
	UnderServed bool `json:"under_served,omitempty"`
}

// Figure is a number, or why it is not shown.
type Figure struct {
	// N is nil where it is hidden or there is none.
	N *int `json:"n"`
	// Hidden: small is a count below k; protecting is one that would give such a count
	// away.
	Hidden string `json:"hidden,omitempty"`
}

// How a figure is hidden.
const (
	HiddenSmall      = "small"
	HiddenProtecting = "protecting"
)

func figure(n int) Figure { return Figure{N: &n} }

// Cell is what a measure comes to: of its fields those that its shape has.
type Cell struct {
	// Count of a count; for the others the number of rows that have a value.
	Count Figure `json:"count"`
	// Numerator and Denominator of a rate, Percent to the whole number.
	Numerator   *Figure `json:"numerator,omitempty"`
	Denominator *Figure `json:"denominator,omitempty"`
	Percent     *int    `json:"percent,omitempty"`
	// Unreliable: the denominator is below 20.
	Unreliable bool `json:"unreliable,omitempty"`
	// Median and P90 of a time, Sum of a total, Mean of answers that are numbers.
	Median *float64 `json:"median,omitempty"`
	P90    *float64 `json:"p90,omitempty"`
	Sum    *float64 `json:"sum,omitempty"`
	Mean   *float64 `json:"mean,omitempty"`
	// Mix counts codes, the most frequent first.
	Mix []Code `json:"mix,omitempty"`
	// Unknown counts the rows that it is about and that say nothing; UnknownPercent is
	// their share.
	Unknown        Figure `json:"unknown"`
	UnknownPercent *int   `json:"unknown_percent,omitempty"`
}

// Code is a code with its count.
type Code struct {
	Code  string `json:"code"`
	Label Text   `json:"label"`
	Figure
}

// ComputeOutcomes counts all metrics over one state. It keeps short rows of codes and
// times in memory, some 300 bytes a record, and no record's text.
func ComputeOutcomes(src Source, o OutcomeOptions) (*Outcomes, error) {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.AsOf.IsZero() {
		return nil, errors.New("a report needs the moment up to which days have passed")
	}
	if !o.From.IsZero() && !o.To.IsZero() && !o.From.Before(o.To) {
		return nil, errEmptyPeriod
	}
	b := newBook(&o)
	// The year of the report is known once programs are.
	if err := b.each(src, "program", typed(b.program)); err != nil {
		return nil, err
	}
	program, known := b.byProgram[o.Program]
	if !known && !o.Program.IsZero() || slices.ContainsFunc(o.Programs, func(id syncengine.ID) bool { _, ok := b.byProgram[id]; return !ok }) {
		return nil, ErrNoProgram
	}
	b.year = newCounter(CallOptions{Zone: o.Zone, From: b.yearBegan(program, known), To: o.To})
	if err := b.read(src); err != nil {
		return nil, err
	}
	r := &Outcomes{
		Period:      Period{From: b.clock.options.moment(o.From), To: b.clock.options.moment(o.To), Zone: o.Zone.String()},
		AsOf:        o.AsOf.In(o.Zone).Format(time.RFC3339),
		K:           DefaultK,
		ProgramName: Text{"All programs", "Todos los programas"},
		Uncertain:   figure(b.uncertain), Undated: figure(b.undated),
	}
	var names [2][]string
	for i := range b.programs {
		p := &b.programs[i]
		if b.about(int32(i)) {
			r.K = max(r.K, p.k)
			names[0], names[1] = append(names[0], p.name.In("en")), append(names[1], p.name.In("es"))
		}
	}
	if len(o.Programs) > 0 {
		r.ProgramName = Text{strings.Join(names[0], ", "), strings.Join(names[1], ", ")}
	}
	if known {
		p := &b.programs[program]
		r.Program, r.ProgramName, r.K = new(p.id.String()), p.name, p.k
	}
	for i := range metrics {
		r.Metrics = append(r.Metrics, b.metric(&metrics[i]))
	}
	return r, nil
}

// yearStarts are the days on which the reporting years of the report's programs begin.
func (b *book) yearStarts() (starts []string) {
	for i := range b.programs {
		if start := b.programs[i].yearStart; b.about(int32(i)) && !slices.Contains(starts, start) {
			starts = append(starts, start)
		}
	}
	return starts
}

// yearBegan is when the reporting year began that the end of the period is in.
func (b *book) yearBegan(program int32, known bool) time.Time {
	start := "01-01"
	if known {
		start = b.programs[program].yearStart
	} else if starts := b.yearStarts(); len(starts) == 1 {
		start = starts[0]
	}
	first, err := time.Parse("01-02", start)
	if err != nil {
		first = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	last := b.o.AsOf
	if !b.o.To.IsZero() && b.o.To.Before(last) {
		last = b.o.To.Add(-time.Nanosecond)
	}
	last = last.In(b.o.Zone)
	began := time.Date(last.Year(), first.Month(), first.Day(), 0, 0, 0, 0, b.o.Zone)
	if began.After(last) {
		began = began.AddDate(-1, 0, 0)
	}
	return began
}

func (b *book) metric(m *metric) Metric {
	out := Metric{
		ID: m.id, Title: m.title, Definition: m.definition, Numerator: m.numerator, Denominator: m.denominator, Unit: m.unit, Source: m.source,
		Measures: []Measure{},
	}
	for i := range m.measures {
		out.Measures = append(out.Measures, b.measure(m, &m.measures[i]))
	}
	if m.id == "M24" {
		out.Measures = b.experience()
		if len(out.Measures) == 0 {
			out.NoData = &Text{
				"No anonymous survey was answered in the period.",
				"No se respondió ninguna encuesta anónima en el período.",
			}
		}
	}
	return out
}

func (b *book) measure(of *metric, m *measure) Measure {
	out := Measure{Key: m.key, Label: m.label, Unit: m.unit, Shape: m.shape, NoData: m.absent, rule: m}
	if of.id == "M20" && m.key == "conflicts" {
		out.All = cell(m, &tally{of: b.written, hit: b.conflicted})
		if b.written == 0 {
			out.NoData = &nothing
		}
		return out
	}
	all, by := b.evaluate(m, &out.sets)
	out.All = cell(m, all)
	if out.NoData == nil {
		out.NoData = silence(m, all)
	}
	if of.id == "M21" && b.o.Population == nil {
		out.NoData = &Text{"No population table was given, so there is no rate.", "No se indicó una tabla de población, así que no hay tasa."}
	}
	if out.NoData != nil {
		return out
	}
	dims := slices.Sorted(maps.Keys(by))
	if !of.equity && of.id != "M21" && of.id != "M22" {
		dims = m.dims
	}
	for _, dim := range dims {
		if of.id == "M22" && dim != byHour && dim != byZIP && dim != byBeat || dim == byModel && !of.compared && of.id != "M1" && of.id != "M2" ||
			of.id == "M21" && b.o.Population[dim] == nil {
			continue
		}
		out.Breakdowns = append(out.Breakdowns, b.breakdown(m, dim, all, by[dim]))
	}
	out.full = out.Breakdowns
	return out
}

var nothing = Text{"There is no record in the period that this is about.", "No hay en el período ningún registro al que se refiera."}

// silence says why a measure has no figure; nil where it has one. A count of nothing is 0.
func silence(m *measure, t *tally) *Text {
	switch {
	case t.of > 0 || m.shape == ShapeCount && t.unknown == 0:
		return nil
	case t.unknown > 0:
		return &Text{"None of the " + strconv.Itoa(t.unknown) + " records says so.", "Ninguno de los " + strconv.Itoa(t.unknown) + " registros lo dice."}
	}
	return &nothing
}

func (b *book) breakdown(m *measure, dim string, all *tally, by map[string]*tally) Breakdown {
	out := Breakdown{By: dim, Groups: []Group{}, Overlapping: dim == byRace || m.base == ofIncidents && slices.Contains(ofPersons, dim) || m.base == ofPeople && dim == byModel}
	// Different people are counted in every group that they were seen in.
	out.Overlapping = out.Overlapping || m.shape == ShapeCount && m.base == ofEncounters
	groups := slices.Collect(maps.Keys(by))
	people := b.o.Population[dim]
	whole := 0.0
	if m.perThousand {
		whole = perThousandOfAll(dim, people, by)
		for code, n := range people {
			if by[code] == nil && n > 0 {
				// Who lives there and was not helped at all.
				groups = append(groups, code)
			}
		}
	}
	sortGroups(dim, groups)
	for _, code := range groups {
		t := by[code]
		if t == nil {
			t = &tally{}
		}
		g := Group{Code: code, Cell: cell(m, t)}
		switch {
		case m.shape == ShapeRate && t.of > 0 && all.hit > 0:
			ratio := float64(t.hit) / float64(t.of) / (float64(all.hit) / float64(all.of))
			g.Ratio = new(hundredth(ratio))
			g.UnderServed = m.better && ratio < 0.8 && t.of >= DefaultK && code != groupUnknown
		case m.perThousand && people[code] > 0:
			rate := 1000 * float64(t.of) / float64(people[code])
			g.PerThousand, g.Inhabitants = new(tenth(rate)), new(people[code])
			if whole > 0 {
				g.Ratio = new(hundredth(rate / whole))
				g.UnderServed = rate/whole < 0.8 && whole*float64(people[code])/1000 >= DefaultK && code != groupUnknown
			}
		}
		out.Groups = append(out.Groups, g)
	}
	return out
}

// perThousandOfAll is how many different people of the groups of a table were helped for each
// 1,000 who live there; 0 where it cannot be told. Of whom it is not known, no group has them.
// Of several races the table counts people in each and among those of two or more, as groups
// do: all but the last, less the last, has them once.
func perThousandOfAll(dim string, people map[string]int, by map[string]*tally) float64 {
	live, helped := 0, map[int64]bool{}
	for code, n := range people {
		if dim == byRace && code == groupSeveral {
			live -= n
		} else {
			live += n
		}
		if t := by[code]; t != nil && n > 0 {
			maps.Copy(helped, t.seen)
		}
	}
	if live <= 0 {
		return 0
	}
	return 1000 * float64(len(helped)) / float64(live)
}

func hundredth(v float64) float64 { return math.Round(v*100) / 100 }

// cell gives a tally the figures of a measure's shape.
func cell(m *measure, t *tally) Cell {
	c := Cell{Count: figure(t.of), Unknown: figure(t.unknown), UnknownPercent: percent(t.unknown, t.of+t.unknown)}
	switch m.shape {
	case ShapeRate:
		rate := newRate(t.hit, t.of)
		c.Numerator, c.Denominator = new(figure(t.hit)), new(figure(t.of))
		c.Percent, c.Unreliable = rate.Percent, rate.Unreliable
	case ShapeTime:
		if t.of > 0 {
			slices.Sort(t.values)
			c.Median, c.P90 = new(tenth(quantile(t.values, 0.5))), new(tenth(quantile(t.values, 0.9)))
		}
	case ShapeTotal:
		if t.of > 0 {
			c.Sum = new(tenth(t.sum))
		}
	case ShapeMix:
		c.Mix = mix(m.list, t.codes)
	}
	return c
}

func mix(list string, codes map[string]int) []Code {
	domain := record.New()
	out := make([]Code, 0, len(codes))
	for code, n := range codes {
		label := Text{code, code}
		if list != "" {
			label = Text{domain.Label(list, code, "en"), domain.Label(list, code, "es")}
		}
		out = append(out, Code{code, label, figure(n)})
	}
	slices.SortFunc(out, func(x, y Code) int { return cmp.Or(cmp.Compare(*y.N, *x.N), cmp.Compare(x.Code, y.Code)) })
	return out
}

// experience counts the answers to each question of the surveys that were answered.
func (b *book) experience() (all []Measure) {
	type question struct {
		form syncengine.ID
		link string
	}
	counts, responses := map[question]map[string]int{}, map[syncengine.ID][]int32{}
	given := map[question]map[int32][]string{}
	for i := range b.responses {
		r := &b.responses[i]
		if r.place != inside {
			continue
		}
		responses[r.form] = append(responses[r.form], int32(i))
		for _, a := range r.answers {
			q := question{r.form, a.link}
			if counts[q] == nil {
				counts[q], given[q] = map[string]int{}, map[int32][]string{}
			}
			counts[q][a.value]++
			given[q][int32(i)] = append(given[q][int32(i)], a.value)
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(responses), syncengine.ID.Compare) {
		f := b.forms[id]
		for _, it := range f.GetDefinition().GetItems() {
			q := question{id, it.GetLinkId()}
			codes := counts[q]
			if len(codes) == 0 {
				continue
			}
			m := Measure{
				Key: f.GetCode() + "." + strconv.Itoa(int(f.GetVersion())) + "." + it.GetLinkId(), Label: itemText(it.GetText()),
				Unit: Text{"answers", "respuestas"}, Shape: ShapeMix, rule: &measure{shape: ShapeMix, base: ofResponses, published: true},
			}
			// Who answered one question and not another may be few.
			for _, i := range responses[id] {
				m.sets.add(i, verdict{unknown: given[q][i] == nil, codes: given[q][i]})
			}
			n, sum, numbers := 0, 0.0, true
			for code, times := range codes {
				n += times
				value, ok := worth(it.GetOptions(), code)
				numbers = numbers && ok
				sum += value * float64(times)
			}
			m.All = Cell{Count: figure(n), Unknown: figure(0), Mix: mix("", codes)}
			if !it.GetRepeats() {
				m.All.Unknown = figure(len(responses[id]) - n)
				m.All.UnknownPercent = percent(len(responses[id])-n, len(responses[id]))
			}
			if numbers {
				m.All.Mean = new(hundredth(sum / float64(n)))
			}
			for i := range m.All.Mix {
				m.All.Mix[i].Label = answerText(it.GetOptions(), m.All.Mix[i].Code)
			}
			all = append(all, m)
		}
	}
	return all
}
