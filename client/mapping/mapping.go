package mapping

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // A mapping means the same on a machine that has no zones.

	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"go.yaml.in/yaml/v3"
)

// Mapping says what the columns of a spreadsheet mean. Immutable; safe for
// concurrent use.
type Mapping struct {
	domain  *record.Domain
	name    string
	version int
	kind    *syncengine.Kind
	zone    *time.Location
	// lifecycle is the state that records end in.
	lifecycle string

	latin        bool // encoding is windows-1252
	comma        rune
	finalNewline bool // required
	empty        map[string]bool

	// columns are the names that fields and key take, each once; sources know them by
	// place.
	columns []string
	keys    []int // empty: the id comes from file and row
	ignored []string
	fields  []fieldPlan
}

// Name returns the mapping's name, which is part of the ids of its records.
func (m *Mapping) Name() string { return m.name }

// Version returns the mapping's version.
func (m *Mapping) Version() int { return m.version }

// Kind returns the name of the kind of record that rows become.
func (m *Mapping) Kind() string { return m.kind.Name }

// Origin returns what the records say they come from: name@version.
func (m *Mapping) Origin() string { return m.name + "@" + strconv.Itoa(m.version) }

// Open loads the mapping file at path.
func Open(path string) (*Mapping, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the mapping: %w", err)
	}
	defer func() { _ = f.Close() }()
	m, err := Load(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Load reads a mapping. Errors name the line and what to write instead.
func Load(r io.Reader) (*Mapping, error) {
	m, err := load(r)
	if err != nil {
		return nil, fmt.Errorf("mapping: %w", err)
	}
	return m, nil
}

func load(r io.Reader) (*Mapping, error) {
	root, err := document(r)
	if err != nil {
		return nil, err
	}
	top, err := readObject(root, "a mapping", "name", "version", "kind", "zone", "key", "encoding",
		"delimiter", "final_newline", "empty_values", "fields", "ignore")
	if err != nil {
		return nil, err
	}
	m := &Mapping{domain: record.New()}
	for _, step := range []func(object) error{
		m.readName, m.readKind, m.readZone, m.readForm, m.readKey, m.readFields, m.readIgnore,
	} {
		if err := step(top); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Mapping) readName(top object) error {
	n, err := top.must("name", "a short name that is never changed, for example springfield-calls")
	if err != nil {
		return err
	}
	if m.name, err = readText(n, "name"); err != nil {
		return err
	}
	if !isName(m.name) {
		return fault(n, "name must be up to 100 small letters, digits and hyphens, and begin with a letter")
	}
	if n, err = top.must("version", "a whole number, 1 for a new mapping"); err != nil {
		return err
	}
	m.version, err = strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || m.version < 1 || m.version > 1_000_000 {
		return fault(n, "version must be a whole number, 1 for a new mapping")
	}
	return nil
}

func isName(s string) bool {
	if len(s) > 100 || s == "" || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }) < 0
}

func (m *Mapping) readKind(top object) error {
	n, err := top.must("kind", "for example incident")
	if err != nil {
		return err
	}
	name, err := readText(n, "kind")
	if err != nil {
		return err
	}
	if m.kind = m.domain.KindByName(name); m.kind == nil {
		var names []string
		for _, k := range m.domain.Kinds() {
			names = append(names, k.Name)
		}
		return fault(n, "there is no kind %q: the kinds are %s", name, strings.Join(names, ", "))
	}
	// What was imported is past: where a kind can be locked, it is. Otherwise it
	// starts as a new record does.
	states := m.domain.Codes(m.domain.FieldCodes(name, "lifecycle"))
	m.lifecycle = states[0].Code
	if m.kind.Sealed[record.Locked] {
		m.lifecycle = record.Locked
	}
	return nil
}

func (m *Mapping) readZone(top object) error {
	n, err := top.must("zone", "the IANA name of the time zone of the file, for example America/Chicago")
	if err != nil {
		return err
	}
	name, err := readText(n, "zone")
	if err != nil {
		return err
	}
	if m.zone, err = time.LoadLocation(name); err != nil || name == "Local" {
		return fault(n, "there is no time zone %q: take an IANA name, for example America/Chicago", name)
	}
	return nil
}

func (m *Mapping) readForm(top object) error {
	encoding, err := choice(top.get("encoding"), "encoding", "utf-8", "windows-1252")
	if err != nil {
		return err
	}
	m.latin = encoding == "windows-1252"
	delimiter, err := choice(top.get("delimiter"), "delimiter", ",", ";", "tab", "\t")
	if err != nil {
		return err
	}
	m.comma = rune(delimiter[0])
	if delimiter == "tab" {
		m.comma = '\t'
	}
	newline, err := choice(top.get("final_newline"), "final_newline", "required", "optional")
	if err != nil {
		return err
	}
	m.finalNewline = newline == "required"
	m.empty, err = readEmpty(top.get("empty_values"), nil)
	return err
}

// readEmpty reads texts that say as little as an empty cell, beside those of more.
func readEmpty(n *yaml.Node, more map[string]bool) (map[string]bool, error) {
	empty := map[string]bool{"": true}
	for s := range more {
		empty[s] = true
	}
	if n == nil {
		return empty, nil
	}
	texts, err := readTexts(n, "empty_values")
	for _, s := range texts {
		empty[fold(s)] = true
	}
	return empty, err
}

// fold returns a cell as values compare.
func fold(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

func (m *Mapping) readKey(top object) error {
	const how = "the columns that identify a row, for example [call_number], or file_row where the source has none"
	n, err := top.must("key", how)
	if err != nil {
		return err
	}
	if n.Kind == yaml.ScalarNode && n.Value == "file_row" {
		return nil
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return fault(n, "key must be %s", how)
	}
	names, err := readTexts(n, "key")
	if err != nil {
		return err
	}
	for _, name := range names {
		at, err := m.column(n, name)
		if err != nil {
			return err
		}
		m.keys = append(m.keys, at)
	}
	return nil
}

// column returns the place of a column that the mapping takes.
func (m *Mapping) column(n *yaml.Node, name string) (int, error) {
	name = strings.TrimSpace(name)
	if name == "" {
		return 0, fault(n, "a column must have a name")
	}
	if at := slices.Index(m.columns, name); at >= 0 {
		return at, nil
	}
	if len(m.columns) == maxColumns {
		return 0, fault(n, "more than %d columns", maxColumns)
	}
	m.columns = append(m.columns, name)
	return len(m.columns) - 1, nil
}

func (m *Mapping) readFields(top object) error {
	n, err := top.must("fields", "where the value of each field comes from")
	if err != nil {
		return err
	}
	fields, err := readObject(n, "fields")
	if err != nil {
		return err
	}
	if len(fields.entries) == 0 {
		return fault(n, "fields is empty: say where the value of each field comes from")
	}
	for _, e := range fields.entries {
		plan, err := m.readField(e)
		if err != nil {
			return err
		}
		m.fields = append(m.fields, plan)
	}
	if len(m.columns) == 0 {
		return fault(n, "no field takes a column: every row would be the same record")
	}
	return m.checkConstants(n)
}

// checkConstants refuses constants that no record takes, before any row is read.
func (m *Mapping) checkConstants(n *yaml.Node) error {
	msg := m.domain.NewMessage(m.kind.Number)
	r := &row{mapping: m}
	for i := range m.fields {
		if m.fields[i].from.constant {
			m.fields[i].put(msg.ProtoReflect(), r)
		}
	}
	for _, p := range m.domain.Validate(msg, record.Entry{Imported: true}) {
		return fault(n, "the constant of %s does not fit it: %s", strings.Join(p.Fields, ", "), p.EN)
	}
	return nil
}

func (m *Mapping) readIgnore(top object) error {
	n := top.get("ignore")
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		return fault(n, "ignore must be a list of columns")
	}
	names, err := readTexts(n, "ignore")
	if err != nil {
		return err
	}
	for _, name := range names {
		name = strings.TrimSpace(name)
		switch {
		case name == "":
			return fault(n, "a column must have a name")
		case slices.Contains(m.columns, name):
			return fault(n, "column %q is ignored and taken: do one of both", name)
		}
		m.ignored = append(m.ignored, name)
	}
	return nil
}
