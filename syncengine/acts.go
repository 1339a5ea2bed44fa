package syncengine

import (
	"errors"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
)

// ItemKind says why a human is asked about a record.
type ItemKind string

// The kinds of work item that a change can open.
const (
	// ItemDiffers: a path holds two different values.
	ItemDiffers ItemKind = "differs"
	// ItemOlderVersion: an act on the whole record was made on a screen that did
	// not show its present state.
	ItemOlderVersion ItemKind = "acted_on_older_version"
	// ItemNotInSigned: a value stands beside the signed version that its signer
	// had not seen.
	ItemNotInSigned ItemKind = "not_in_signed_version"
	// ItemLateEdit: a plain write met a signed, locked or voided record.
	ItemLateEdit ItemKind = "late_edit"
	// ItemByPolicy: a last-accepted field displaced a value that its author had not
	// seen. Opened closed.
	ItemByPolicy ItemKind = "closed_by_policy"
)

// Item is a work item. It holds no values: they are read from the record, through
// its own scope.
type Item struct {
	Kind ItemKind
	// Path, where the item is about one; zero for the whole record.
	Path Path
}

// ErrWaiting says that a sign or amend names a head that this history has not
// accepted: the change waits in quarantine for it.
var ErrWaiting = errors.New("the act names a value that has not arrived")

// errNoRecord says that a write other than a create has no record to write to.
var errNoRecord = errors.New("the record is not there")

// Applied is what a change did to one record.
type Applied struct {
	// Record is the new state.
	Record *Record
	// State is the same, taken apart.
	State *State
	// Items are what a human will be asked, or, by policy, will not.
	Items []Item
	// Plain: every path has one head, and it is displayed. Two replicas that apply
	// the same change to the same plain record hold the same bytes.
	Plain bool
	// fields are those of the record's body; nil where they are not at hand.
	fields []Field
}

// Apply applies the writes of one change to one record; rec is nil where there is
// none. It changes neither rec nor w; the result may share memory with w, and
// depends on rec, w, by and hist alone.
func Apply(k *Kind, rec *Record, w *tandemv1.RecordWrite, by Writer, hist History) (*Applied, error) {
	if rec == nil {
		if w.GetAct() != tandemv1.Act_ACT_CREATE {
			return nil, errNoRecord
		}
		return create(k, w, by, hist)
	}
	s, err := Decode(rec)
	if err != nil {
		return nil, err
	}
	m := &merger{kind: k, s: s, by: by, hist: hist}
	sealed := s.sealed(k)
	items, err := m.act(w)
	if err != nil {
		return nil, err
	}
	if sealed && !s.sealed(k) {
		for i := range s.Paths {
			s.Paths[i].Displayed = k.choose(s.Paths[i].Path.Field, s.Paths[i].Heads)
		}
	}
	return m.finish(rec.ID, w.GetKind(), items), nil
}

// create makes a record. Its body is taken over byte for byte, unless a later
// write of one of its paths has arrived before it.
func create(k *Kind, w *tandemv1.RecordWrite, by Writer, hist History) (*Applied, error) {
	fields, err := ParseBody(w.GetBody())
	if err != nil {
		return nil, err
	}
	id, _ := IDFromBytes(w.GetRecord())
	s := &State{
		Origin: Origin{Created: by.Stamp, Author: by.Author, Device: by.Device, AtMS: by.AtMS},
		Import: encodeImport(w.GetImportedFrom()),
		Paths:  make([]PathState, 0, len(fields)),
	}
	if c := w.GetCompartment(); c != k.Compartment {
		s.Compartment = c
	}
	heads := make([]Head, len(fields))
	for i, f := range fields {
		awaited, err := hist.Awaited(f.Path, by.Stamp)
		if err != nil {
			return nil, err
		}
		if !awaited && (!planted.Is(planted.UnknownDropped) || k.Fields[f.Path.Field] != nil) {
			heads[i] = s.createdHead(f.Raw)
			s.Paths = append(s.Paths, PathState{Path: f.Path, Heads: heads[i : i+1 : i+1]})
		}
	}
	m := &merger{kind: k, s: s, by: by, hist: hist}
	if len(s.Paths) == len(fields) {
		// Spliced together again it would be the same.
		m.body, m.fields = w.GetBody(), fields
	}
	return m.finish(id, w.GetKind(), nil), nil
}

func (m *merger) finish(id ID, kind uint32, items []Item) *Applied {
	a := &Applied{State: m.s, Items: items, Plain: true, fields: m.fields}
	for i := range m.s.Paths {
		p := &m.s.Paths[i]
		a.Plain = a.Plain && len(p.Heads) == 1 && p.Displayed == 0
	}
	for _, p := range m.closedByPolicy {
		if planted.Is(planted.PolicySilent) {
			break
		}
		a.Items = append(a.Items, Item{Kind: ItemByPolicy, Path: p})
	}
	a.Record = &Record{ID: id, Kind: kind, Body: m.body, Stamps: m.s.encodeStamps(false)}
	if m.body == nil {
		a.Record.Body = m.s.encodeBody()
	}
	return a
}

// act applies the writes of an act to a record that is there.
func (m *merger) act(w *tandemv1.RecordWrite) ([]Item, error) {
	writes, err := writesOf(w)
	if err != nil {
		return nil, err
	}
	sealed := m.s.sealed(m.kind)
	switch w.GetAct() {
	case tandemv1.Act_ACT_CREATE, tandemv1.Act_ACT_SET, tandemv1.Act_ACT_APPEND:
		if sealed {
			return m.lateAll(writes, true)
		}
	case tandemv1.Act_ACT_RESOLVE:
		m.settle = true
		if sealed {
			return m.lateAll(writes, false)
		}
	case tandemv1.Act_ACT_SIGN, tandemv1.Act_ACT_AMEND:
		if sealed && !m.names(writes, Path{Field: FieldLifecycle}) {
			items, err := m.lateAll(writes, true)
			return append(items, Item{Kind: ItemOlderVersion}), err
		}
		return m.sign(writes, w.GetSeen())
	default:
		older, err := m.older(w.GetSeen())
		if err != nil {
			return nil, err
		}
		items, err := m.all(writes)
		if older {
			items = append(items, Item{Kind: ItemOlderVersion})
		}
		return items, err
	}
	return m.all(writes)
}

// all applies plain writes and names the paths they leave open.
func (m *merger) all(writes []Write) (items []Item, err error) {
	for _, w := range writes {
		if err := m.write(w); err != nil {
			return nil, err
		}
	}
	return m.open(writes, ItemDiffers), nil
}

func (m *merger) lateAll(writes []Write, join bool) ([]Item, error) {
	for _, w := range writes {
		if err := m.late(w, join); err != nil {
			return nil, err
		}
	}
	return m.open(writes, ItemLateEdit), nil
}

// open lists the written paths that a human is to settle.
func (m *merger) open(writes []Write, kind ItemKind) (items []Item) {
	for _, w := range writes {
		p := m.s.at(w.Path)
		if p != nil && m.kind.asks(p) {
			items = append(items, Item{Kind: kind, Path: w.Path})
		}
	}
	return items
}

// names reports whether the write of a path names the displayed head as a base.
func (m *merger) names(writes []Write, path Path) bool {
	p := m.s.at(path)
	for _, w := range writes {
		if w.Path == path && p != nil && p.Displayed != noneDisplayed {
			return slices.Contains(w.Bases, p.Heads[p.Displayed].Stamp)
		}
	}
	return false
}

// writesOf decodes the writes of an act. A create on a record that is there is a
// write of each of its paths with the base zero.
func writesOf(w *tandemv1.RecordWrite) ([]Write, error) {
	if w.GetAct() == tandemv1.Act_ACT_CREATE {
		fields, err := ParseBody(w.GetBody())
		if err != nil {
			return nil, err
		}
		writes := make([]Write, 0, len(fields))
		for _, f := range fields {
			writes = append(writes, Write{Path: f.Path, Raw: f.Raw, Bases: []Stamp{0}})
		}
		return writes, nil
	}
	writes := make([]Write, 0, len(w.GetWrites()))
	for _, pw := range w.GetWrites() {
		write := Write{Path: Path{Field: pw.GetField(), Key: string(pw.GetKey())}, Bases: DecodeStamps(pw.GetBases())}
		if !keyed(write.Path) {
			return nil, ErrPathMismatch
		}
		if len(pw.GetValue()) > 0 {
			write.Raw = pw.GetValue()
			if err := CheckRaw(write.Path, write.Raw); err != nil {
				return nil, err
			}
		}
		writes = append(writes, write)
	}
	return writes, nil
}
