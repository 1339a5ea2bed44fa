package mapping

import (
	"slices"
	"strconv"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Parts of a date, coarse to fine. The precision of an instant is its finest part.
const (
	year = iota
	month
	day
	hour
	minute
	second
	parts
)

var (
	partNames  = [parts]string{"year", "month", "day", "hour", "minute", "second"}
	partLow    = [parts]int{1, 1, 1, 0, 0, 0}
	partHigh   = [parts]int{9999, 12, 31, 23, 59, 59}
	precisions = [parts]string{month: "month", day: "day", hour: "hour", minute: "minute"}
)

// months are the names, and beginnings of three letters or more, of the months.
var months = [12][]string{
	{"january", "enero"},
	{"february", "febrero"},
	{"march", "marzo"},
	{"april", "abril"},
	{"may", "mayo"},
	{"june", "junio"},
	{"july", "julio"},
	{"august", "agosto"},
	{"september", "septiembre", "setiembre"},
	{"october", "octubre"},
	{"november", "noviembre"},
	{"december", "diciembre"},
}

// parseMonth reads a month by number or by its English or Spanish name, 0 for none.
func parseMonth(s string) int {
	if n, ok := digits(s, 2); ok {
		return n
	}
	s = strings.TrimSuffix(strings.ToLower(s), ".")
	if len(s) < 3 {
		return 0
	}
	for i, names := range months {
		if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, s) }) {
			return i + 1
		}
	}
	return 0
}

// digits reads a number of one digit to most digits.
func digits(s string, most int) (int, bool) {
	if s == "" || len(s) > most || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// calendar is a date as a row states it: a part is -1 where it says nothing.
type calendar [parts]int

// nothing is a calendar that says nothing.
var nothing = calendar{-1, -1, -1, -1, -1, -1}

// datePart is where one part of a date comes from.
type datePart struct {
	column int // -1 for a constant
	value  int
}

// readDate reads a date of parts, or of text with a layout.
func (m *Mapping) readDate(o object, n *yaml.Node, t target) (source, error) {
	date, err := readObject(n, "date", "year", "month", "day", "hour", "minute", "text", "layout")
	if err != nil {
		return source{}, err
	}
	empty, err := readEmpty(o.get("empty_values"), m.empty)
	if err != nil {
		return source{}, err
	}
	ifEmpty, err := choice(o.get("empty"), "empty of "+t.name, "unset", "error")
	if err != nil {
		return source{}, err
	}
	var read func(r *row) (calendar, bad)
	var columns []int
	if date.get("text") != nil || date.get("layout") != nil {
		read, columns, err = m.readDateText(date, empty)
	} else {
		read, columns, err = m.readDateParts(date, empty)
	}
	if err != nil {
		return source{}, err
	}
	return source{columns: columns, read: func(r *row) ([]protoreflect.Value, bad) {
		c, wrong := read(r)
		switch {
		case wrong.reason != "":
			return nil, wrong
		case c == nothing:
			return policy{fail: ifEmpty == "error"}.take(columns[0], "is empty, and the mapping wants a date")
		}
		at, reason := c.instant(m.zone)
		if reason != "" {
			return nil, bad{columns[0], reason}
		}
		return []protoreflect.Value{protoreflect.ValueOfMessage(at.ProtoReflect())}, bad{}
	}}, nil
}

// readDateParts reads a date that has a column for each part.
func (m *Mapping) readDateParts(date object, empty map[string]bool) (func(*row) (calendar, bad), []int, error) {
	var plan [parts]*datePart
	var columns []int
	known := year // the first part that is not known
	for i := range second {
		n := date.get(partNames[i])
		if n == nil {
			continue
		}
		if known < i {
			return nil, nil, fault(n, "%s without %s says nothing: leave it out, or map it to a text", partNames[i], partNames[known])
		}
		known = i + 1
		p, err := m.readDatePart(n, i)
		if err != nil {
			return nil, nil, err
		}
		plan[i] = p
		if p.column >= 0 {
			columns = append(columns, p.column)
		}
	}
	if plan[month] == nil {
		return nil, nil, fault(date.node, "a date needs year and month at least")
	}
	if len(columns) == 0 {
		return nil, nil, fault(date.node, "a date needs a column: the same time for every row is no time")
	}
	return func(r *row) (calendar, bad) {
		c := nothing
		said := false
		for i, p := range plan {
			switch {
			case p == nil:
				continue
			case p.column < 0:
				c[i] = p.value
				continue
			}
			cell := r.cells[p.column]
			if empty[strings.ToLower(cell)] {
				continue
			}
			said = true
			v, ok := parsePart(i, cell)
			if !ok {
				return c, bad{p.column, "does not hold a " + partNames[i]}
			}
			c[i] = v
		}
		if !said {
			return nothing, bad{}
		}
		return c, bad{}
	}, columns, nil
}

func (m *Mapping) readDatePart(n *yaml.Node, part int) (*datePart, error) {
	if n.Kind == yaml.MappingNode {
		o, err := readObject(n, partNames[part], "constant")
		if err != nil {
			return nil, err
		}
		c, err := o.must("constant", "for example {constant: 2014}, or the name of a column")
		if err != nil {
			return nil, err
		}
		v, ok := parsePart(part, c.Value)
		if !ok {
			return nil, fault(c, "%q is no %s", c.Value, partNames[part])
		}
		return &datePart{column: -1, value: v}, nil
	}
	name, err := readText(n, partNames[part])
	if err != nil {
		return nil, err
	}
	at, err := m.column(n, name)
	return &datePart{column: at}, err
}

// parsePart reads one part of a date.
func parsePart(part int, s string) (int, bool) {
	most := 2
	switch part {
	case month:
		v := parseMonth(s)
		return v, v >= 1 && v <= 12
	case year:
		if most = 4; len(s) != 4 {
			return 0, false
		}
	}
	v, ok := digits(s, most)
	return v, ok && v >= partLow[part] && v <= partHigh[part]
}

// instant returns the start of the finest period that is known, or why there is
// none.
func (c calendar) instant(zone *time.Location) (_ *tandemv1.Instant, reason string) {
	finest := -1
	for i, v := range c {
		if v < 0 {
			continue
		}
		if i != finest+1 {
			return nil, "is part of a date that leaves a gap: a finer part is there and a coarser one is not"
		}
		finest = i
	}
	if finest < month {
		return nil, "is part of a date that has no month"
	}
	for i := finest + 1; i < parts; i++ {
		c[i] = partLow[i]
	}
	if c[day] > time.Date(c[year], time.Month(c[month])+1, 0, 0, 0, 0, 0, time.UTC).Day() {
		return nil, "is part of a date whose month has no such day"
	}
	at := time.Date(c[year], time.Month(c[month]), c[day], c[hour], c[minute], c[second], 0, zone)
	if !c.on(at) {
		ok := false
		if finest < hour {
			at, ok = c.firstMoment(zone)
		}
		if !ok {
			return nil, "is part of a time that the clocks of the mapping's zone skipped"
		}
	}
	// Of a time that came twice the first is meant.
	for _, earlier := range []time.Duration{time.Hour, 30 * time.Minute} {
		if before := at.Add(-earlier); c.on(before) {
			at = before
		}
	}
	if at.UnixMilli() < 0 {
		return nil, "is part of a time before 1970"
	}
	moment := &tandemv1.Instant{AtMs: new(at.UnixMilli()), Origin: new("import")}
	if p := precisions[finest]; p != "" {
		moment.Precision = &p
	}
	return moment, ""
}

// on reports whether the clocks show c at a moment.
func (c calendar) on(at time.Time) bool {
	return at.Day() == c[day] && at.Hour() == c[hour] && at.Minute() == c[minute]
}

// firstMoment returns the first moment of a day whose midnight the zone skipped;
// ok is false where it skipped the day.
func (c calendar) firstMoment(zone *time.Location) (_ time.Time, ok bool) {
	noon := time.Date(c[year], time.Month(c[month]), c[day], 12, 0, 0, 0, zone)
	for minutes := range 24 * 60 {
		at := noon.Add(time.Duration(minutes)*time.Minute - 14*time.Hour)
		if at.Day() == c[day] && at.Month() == time.Month(c[month]) {
			return at, true
		}
	}
	return time.Time{}, false
}

// token is a part of a layout: a part of a date, AM/PM, or what stands between.
type token struct {
	part    int
	half    bool
	between string
}

// layoutWords are the tokens of layouts.
var layoutWords = []struct {
	word string
	tok  token
}{
	{"YYYY", token{part: year}},
	{"MON", token{part: month}},
	{"MM", token{part: month}},
	{"DD", token{part: day}},
	{"hh", token{part: hour}},
	{"mm", token{part: minute}},
	{"ss", token{part: second}},
	{"AM", token{part: hour, half: true}},
}

const layoutHow = "layout must be made of YYYY, MM or MON, DD, hh, mm, ss and AM, for example MM/DD/YYYY hh:mm"

// readLayout splits a layout and checks that its parts leave no gap.
func readLayout(n *yaml.Node) ([]token, error) {
	s, err := readText(n, "layout")
	if err != nil {
		return nil, err
	}
	var tokens []token
	var seen [parts]bool
	half := false
next:
	for s != "" {
		for _, w := range layoutWords {
			rest, ok := strings.CutPrefix(s, w.word)
			if !ok {
				continue
			}
			if w.tok.half && half || !w.tok.half && seen[w.tok.part] {
				return nil, fault(n, "%s stands twice in the layout", w.word)
			}
			half = half || w.tok.half
			seen[w.tok.part] = seen[w.tok.part] || !w.tok.half
			tokens = append(tokens, w.tok)
			s = rest
			continue next
		}
		if c := s[0]; c >= 'A' && c <= 'Z' && c != 'T' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return nil, fault(n, layoutHow)
		}
		tokens = append(tokens, token{part: -1, between: s[:1]})
		s = s[1:]
	}
	for i := 1; i < parts; i++ {
		if seen[i] && !seen[i-1] {
			return nil, fault(n, "the layout has %s without %s", partNames[i], partNames[i-1])
		}
	}
	if !seen[month] {
		return nil, fault(n, "a date needs year and month at least: "+layoutHow)
	}
	if half && !seen[hour] {
		return nil, fault(n, "the layout has AM without hh")
	}
	return tokens, nil
}

// readDateText reads a date that is text of one column or several.
func (m *Mapping) readDateText(date object, empty map[string]bool) (func(*row) (calendar, bad), []int, error) {
	for _, e := range date.entries {
		if e.key != "text" && e.key != "layout" {
			return nil, nil, fault(e.at, "%s stands with text and layout and means nothing there", e.key)
		}
	}
	n, err := date.must("text", "the columns that hold the date")
	if err != nil {
		return nil, nil, err
	}
	names, err := readTexts(n, "text")
	if err != nil {
		return nil, nil, err
	}
	if len(names) == 0 {
		return nil, nil, fault(n, "text must name the columns that hold the date")
	}
	var columns []int
	for _, name := range names {
		at, err := m.column(n, name)
		if err != nil {
			return nil, nil, err
		}
		columns = append(columns, at)
	}
	if n, err = date.must("layout", "how the date is written, for example MM/DD/YYYY hh:mm"); err != nil {
		return nil, nil, err
	}
	tokens, err := readLayout(n)
	if err != nil {
		return nil, nil, err
	}
	return func(r *row) (calendar, bad) {
		var said []string
		for _, at := range columns {
			if cell := r.cells[at]; !empty[strings.ToLower(cell)] {
				said = append(said, cell)
			}
		}
		if len(said) == 0 {
			return nothing, bad{}
		}
		c, ok := parseLayout(tokens, strings.Join(said, " "))
		if !ok {
			return nothing, bad{columns[0], "does not hold a date in the layout of the mapping"}
		}
		return c, bad{}
	}, columns, nil
}

// parseLayout reads a date. The time of day may be left out.
func parseLayout(tokens []token, s string) (calendar, bool) {
	c := nothing
	half := ""
	for i, tok := range tokens {
		if s == "" {
			rest := tokens[i:]
			dayDone := c[year] >= 0 && c[month] >= 0
			return c, dayDone && !slices.ContainsFunc(rest, func(t token) bool { return t.part >= 0 && t.part < hour }) && c[hour] < 0
		}
		switch {
		case tok.half:
			if len(s) < 2 {
				return c, false
			}
			half, s = strings.ToLower(s[:2]), s[2:]
		case tok.part < 0:
			rest, ok := strings.CutPrefix(s, tok.between)
			if !ok {
				return c, false
			}
			s = rest
		default:
			word := s[:wordEnd(tok.part, s)]
			v, ok := parsePart(tok.part, word)
			if !ok {
				return c, false
			}
			c[tok.part], s = v, s[len(word):]
		}
	}
	switch half {
	case "":
		return c, s == ""
	case "am", "pm":
		if c[hour] < 1 || c[hour] > 12 {
			return c, false
		}
		if c[hour] %= 12; half == "pm" {
			c[hour] += 12
		}
		return c, s == ""
	}
	return c, false
}

// wordEnd returns where the text of a part ends: digits up to their number, or for
// a month letters.
func wordEnd(part int, s string) int {
	most := 2
	if part == year {
		most = 4
	}
	end := 0
	for end < len(s) && end < most && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	if end == 0 && part == month {
		for end < len(s) && (s[end]|0x20 >= 'a' && s[end]|0x20 <= 'z') {
			end++
		}
	}
	return end
}
