package mapping

import (
	"slices"
	"strconv"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// source gives the values of a field for a row: none, one, or for a set several.
type source struct {
	read func(r *row) ([]protoreflect.Value, bad)
	// columns it comes from, by place in the mapping.
	columns []int
	// constant: the same for every row.
	constant bool
}

// bad says why a source has no value for a row: the column and the reason. No
// reason is no fault.
type bad struct {
	column int
	reason string
}

// sourceKeys are the keys of a field, and with which of the main keys each of the
// others may stand.
var (
	sourceKeys = []string{"constant", "column", "template", "date", "set", "elements", "values", "unknown", "split", "empty", "empty_values"}
	mainKeys   = []string{"constant", "column", "template", "date", "set", "elements"}
	sideKeys   = map[string][]string{
		"column":   {"values", "unknown", "split", "empty", "empty_values"},
		"template": {"empty", "empty_values"},
		"date":     {"empty", "empty_values"},
	}
)

func fieldRules(desc protoreflect.FieldDescriptor) *tandemv1.FieldRules {
	rules, _ := proto.GetExtension(desc.Options(), tandemv1.E_Field).(*tandemv1.FieldRules)
	return rules
}

// readSource reads where a field's value comes from.
func (m *Mapping) readSource(o object, t target) (source, error) {
	var main entry
	for _, e := range o.entries {
		if !slices.Contains(mainKeys, e.key) {
			continue
		}
		if main.key != "" {
			return source{}, fault(e.at, "%s takes its value from %s already: write one of both", t.name, main.key)
		}
		main = e
	}
	if main.key == "" {
		return source{}, fault(o.node, "%s needs one of %s", t.name, strings.Join(mainKeys, ", "))
	}
	for _, e := range o.entries {
		if e.key != main.key && !slices.Contains(sideKeys[main.key], e.key) {
			return source{}, fault(e.at, "%s stands with %s and means nothing there", e.key, main.key)
		}
	}
	if (t.shape == moment) != (main.key == "date") {
		if t.shape == moment {
			return source{}, fault(main.at, "%s is a time: write date, with year and month at least", t.name)
		}
		return source{}, fault(main.at, "%s is no time: date means nothing there", t.name)
	}
	switch main.key {
	case "constant":
		values, err := readValues(main.value, t)
		if err != nil {
			return source{}, err
		}
		if len(values) == 0 {
			return source{}, fault(main.value, "the constant of %s is empty: leave the field out", t.name)
		}
		return source{constant: true, read: func(*row) ([]protoreflect.Value, bad) { return values, bad{} }}, nil
	case "column":
		return m.readColumn(o, t)
	case "template":
		return m.readTemplate(o, main.value, t)
	case "date":
		return m.readDate(o, main.value, t)
	case "set":
		return m.readSet(main.value, t)
	}
	return source{}, fault(main.at, "%s is no list of messages: elements mean nothing there", t.name)
}

// readValues reads what a constant or an entry of values sets: nothing, a value,
// or for sets a list of values.
func readValues(n *yaml.Node, t target) ([]protoreflect.Value, error) {
	switch {
	case isNull(n):
		return nil, nil
	case n.Kind == yaml.SequenceNode && t.set():
		var values []protoreflect.Value
		for _, c := range n.Content {
			one, err := readValues(c, t)
			if err != nil {
				return nil, err
			}
			values = append(values, one...)
		}
		return values, nil
	}
	s, err := readText(n, "a value of "+t.name)
	if err != nil {
		return nil, err
	}
	v, err := t.parse(s)
	if err != nil {
		return nil, fault(n, "%q for %s %s", s, t.name, err)
	}
	return []protoreflect.Value{v}, nil
}

// policy is what to do with a cell that says nothing, or nothing known.
type policy struct {
	fail   bool
	values []protoreflect.Value
}

// readPolicy reads error, unset or a value; the first is what an absent node means.
func readPolicy(n *yaml.Node, t target, absent string) (policy, error) {
	word := absent
	if n != nil {
		if isNull(n) {
			return policy{}, fault(n, "write error, unset or the value to take")
		}
		word = n.Value
	}
	switch {
	case word == "error" && (n == nil || n.Kind == yaml.ScalarNode):
		return policy{fail: true}, nil
	case word == "unset" && (n == nil || n.Kind == yaml.ScalarNode):
		return policy{}, nil
	}
	values, err := readValues(n, t)
	return policy{values: values}, err
}

// readColumn reads a source that is a column.
func (m *Mapping) readColumn(o object, t target) (source, error) {
	name, err := readText(o.get("column"), "column")
	if err != nil {
		return source{}, err
	}
	at, err := m.column(o.get("column"), name)
	if err != nil {
		return source{}, err
	}
	empty, err := readEmpty(o.get("empty_values"), m.empty)
	if err != nil {
		return source{}, err
	}
	ifEmpty, err := readPolicy(o.get("empty"), t, "unset")
	if err != nil {
		return source{}, err
	}
	cell, err := readCell(o, t)
	if err != nil {
		return source{}, err
	}
	split := ""
	if n := o.get("split"); n != nil {
		if !t.set() {
			return source{}, fault(n, "%s takes one value: split means nothing there", t.name)
		}
		if split, err = readText(n, "split"); err != nil {
			return source{}, err
		}
	}
	return source{columns: []int{at}, read: func(r *row) ([]protoreflect.Value, bad) {
		whole := r.cells[at]
		if empty[strings.ToLower(whole)] {
			return ifEmpty.take(at, "is empty, and the mapping wants a value")
		}
		if split == "" {
			return cell(whole, at)
		}
		var values []protoreflect.Value
		for part := range strings.SplitSeq(whole, split) {
			if part = strings.TrimSpace(part); empty[strings.ToLower(part)] {
				continue
			}
			some, wrong := cell(part, at)
			if wrong.reason != "" {
				return nil, wrong
			}
			values = append(values, some...)
		}
		return values, bad{}
	}}, nil
}

func (p policy) take(column int, reason string) ([]protoreflect.Value, bad) {
	if p.fail {
		return nil, bad{column, reason}
	}
	return p.values, bad{}
}

// readCell reads values and unknown: what one text of a column means.
func readCell(o object, t target) (func(s string, column int) ([]protoreflect.Value, bad), error) {
	n := o.get("values")
	if n == nil {
		if u := o.get("unknown"); u != nil && t.shape != code && t.shape != codes {
			return nil, fault(u, "unknown means nothing without values")
		}
		if t.shape == boolean {
			return nil, fault(o.node, "%s is true or false: write values, for example {Yes: true, No: false}", t.name)
		}
		unknown, err := readPolicy(o.get("unknown"), t, "error")
		if err != nil {
			return nil, err
		}
		return func(s string, column int) ([]protoreflect.Value, bad) {
			v, err := t.parse(s)
			switch {
			case err == nil:
				return []protoreflect.Value{v}, bad{}
			case t.shape == code || t.shape == codes:
				return unknown.take(column, "holds a value that "+err.Error())
			}
			return nil, bad{column, "holds a value that " + err.Error()}
		}, nil
	}
	object, err := readObject(n, "values of "+t.name)
	if err != nil {
		return nil, err
	}
	known := make(map[string][]protoreflect.Value, len(object.entries))
	for _, e := range object.entries {
		key := fold(e.key)
		if _, twice := known[key]; twice {
			return nil, fault(e.at, "%q stands twice in values of %s: case and the space around it are of no matter", e.key, t.name)
		}
		if known[key], err = readValues(e.value, t); err != nil {
			return nil, err
		}
	}
	unknown, err := readPolicy(o.get("unknown"), t, "error")
	if err != nil {
		return nil, err
	}
	return func(s string, column int) ([]protoreflect.Value, bad) {
		if values, ok := known[strings.ToLower(s)]; ok {
			return values, bad{}
		}
		return unknown.take(column, "holds a value that the mapping does not list: add it to values, or say what to do under unknown")
	}, nil
}

// readSet reads a set that several columns make.
func (m *Mapping) readSet(n *yaml.Node, t target) (source, error) {
	if t.shape != codes || n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return source{}, fault(n, "set is for sets of codes: a list with one entry a column")
	}
	var parts []source
	var columns []int
	for _, c := range n.Content {
		o, err := readObject(c, "an entry of the set "+t.name, append([]string{"column"}, sideKeys["column"]...)...)
		if err != nil {
			return source{}, err
		}
		if _, err := o.must("column", "the column of this entry"); err != nil {
			return source{}, err
		}
		part, err := m.readColumn(o, t)
		if err != nil {
			return source{}, err
		}
		parts = append(parts, part)
		columns = append(columns, part.columns...)
	}
	return source{columns: columns, read: func(r *row) ([]protoreflect.Value, bad) {
		var values []protoreflect.Value
		for _, part := range parts {
			some, wrong := part.read(r)
			if wrong.reason != "" {
				return nil, wrong
			}
			values = append(values, some...)
		}
		return values, bad{}
	}}, nil
}

// piece is a part of a template: words, or what stands in braces.
type piece struct {
	words  string
	column int
	what   byte // 'w' words, 'c' column, 'r' row, 'f' file
}

// readTemplate reads text made of words, columns, row and file.
func (m *Mapping) readTemplate(o object, n *yaml.Node, t target) (source, error) {
	if t.shape != text {
		return source{}, fault(n, "%s is no text: a template means nothing there", t.name)
	}
	s, err := readText(n, "template")
	if err != nil {
		return source{}, err
	}
	pieces, err := m.pieces(n, s)
	if err != nil {
		return source{}, err
	}
	empty, err := readEmpty(o.get("empty_values"), m.empty)
	if err != nil {
		return source{}, err
	}
	ifEmpty, err := readPolicy(o.get("empty"), t, "unset")
	if err != nil {
		return source{}, err
	}
	var columns []int
	for _, p := range pieces {
		if p.what == 'c' {
			columns = append(columns, p.column)
		}
	}
	return source{columns: columns, read: func(r *row) ([]protoreflect.Value, bad) {
		var b strings.Builder
		said := len(columns) == 0
		for _, p := range pieces {
			switch p.what {
			case 'w':
				b.WriteString(p.words)
			case 'r':
				b.WriteString(strconv.FormatUint(r.number, 10))
			case 'f':
				b.WriteString(r.file)
			case 'c':
				if cell := r.cells[p.column]; !empty[strings.ToLower(cell)] {
					b.WriteString(cell)
					said = true
				}
			}
		}
		if !said {
			return ifEmpty.take(columns[0], "is empty, and the mapping wants a value")
		}
		return []protoreflect.Value{protoreflect.ValueOfString(strings.TrimSpace(b.String()))}, bad{}
	}}, nil
}

// pieces splits a template.
func (m *Mapping) pieces(n *yaml.Node, s string) ([]piece, error) {
	var pieces []piece
	for s != "" {
		words, rest, braced := strings.Cut(s, "{")
		if words != "" {
			pieces = append(pieces, piece{words: words, what: 'w'})
		}
		if !braced {
			break
		}
		name, rest, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, fault(n, "a brace of the template is not closed")
		}
		switch name {
		case "#row":
			pieces = append(pieces, piece{what: 'r'})
		case "#file":
			pieces = append(pieces, piece{what: 'f'})
		default:
			at, err := m.column(n, name)
			if err != nil {
				return nil, err
			}
			pieces = append(pieces, piece{what: 'c', column: at})
		}
		s = rest
	}
	return pieces, nil
}
