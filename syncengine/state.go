package syncengine

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sort"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/encoding/protowire"
)

// Origin is the creating change of a record.
type Origin struct {
	// Created is its stamp: that of every path of the body that has no exception.
	Created Stamp
	// Author and Device are record ids.
	Author, Device ID
	// AtMS is the device's wall clock, ms since the Unix epoch.
	AtMS int64
}

// Head is one value of a path that nobody has written over.
type Head struct {
	// Stamp of the change that wrote it.
	Stamp Stamp
	// Raw is the field's tag, length and value; nil for an absence (cleared, or the
	// element removed).
	Raw []byte
	// Author, Device and times of the write; known only where the path has several
	// heads, or where the writer is at hand.
	Author, Device   ID
	AtMS, ReceivedMS int64
}

// noneDisplayed marks a path whose heads all came after the record was sealed.
const noneDisplayed = -1

// PathState is the heads of one path, in the order the server accepted them.
type PathState struct {
	Path  Path
	Heads []Head
	// Displayed is the index of the displayed head, noneDisplayed for none.
	Displayed int
}

// Shown returns the displayed raw value, nil where the path shows nothing.
func (p *PathState) Shown() []byte {
	if p.Displayed == noneDisplayed {
		return nil
	}
	return p.Heads[p.Displayed].Raw
}

// held returns the stamp of the displayed head, zero where none is displayed.
func (p *PathState) held() Stamp {
	if p.Displayed == noneDisplayed {
		return 0
	}
	return p.Heads[p.Displayed].Stamp
}

// Open reports whether a human is to settle the path: two heads differ.
func (p *PathState) Open() bool {
	for _, h := range p.Heads[1:] {
		if !sameValue(h.Raw, p.Heads[0].Raw) {
			return true
		}
	}
	return p.Displayed == noneDisplayed
}

// sameValue is byte equality in which an absence equals only an absence.
func sameValue(a, b []byte) bool {
	return (a == nil) == (b == nil) && bytes.Equal(a, b)
}

// find returns the index of the head with a stamp, -1 where there is none.
func (p *PathState) find(s Stamp) int {
	return slices.IndexFunc(p.Heads, func(h Head) bool { return h.Stamp == s })
}

// State is a record taken apart: every path that has a head. Paths stand in
// order. Not safe for concurrent use.
type State struct {
	Origin
	// Compartment, where stricter than the kind's; zero otherwise.
	Compartment tandemv1.Compartment
	// Import is the encoded origin of an imported record, nil otherwise.
	Import []byte
	// Rev counts signed and amended states; 0 is a draft.
	Rev uint32
	// Paths, in order.
	Paths []PathState
}

// Errors of stamps that are not canonical.
var (
	errStamps   = errors.New("stamps are not in their canonical encoding")
	errMismatch = errors.New("stamps and body do not fit together")
)

// Decode takes a record apart. The state shares memory with body and stamps.
func Decode(rec *Record) (*State, error) {
	fields, err := ParseBody(rec.Body)
	if err != nil {
		return nil, fmt.Errorf("body of a record: %w", err)
	}
	s, exceptions, err := decodeStamps(rec.Stamps)
	if err != nil {
		return nil, fmt.Errorf("stamps of a record: %w", err)
	}
	s.Paths = make([]PathState, 0, len(fields)+len(exceptions))
	// The heads of plain paths stand together; each has its own place.
	heads := make([]Head, len(fields))
	for len(fields) > 0 || len(exceptions) > 0 {
		var order int
		switch {
		case len(exceptions) == 0:
			order = -1
		case len(fields) == 0:
			order = 1
		default:
			order = fields[0].Path.Compare(exceptions[0].Path)
		}
		if order < 0 {
			heads[0] = s.createdHead(fields[0].Raw)
			s.Paths = append(s.Paths, PathState{Path: fields[0].Path, Heads: heads[:1:1]})
			fields, heads = fields[1:], heads[1:]
			continue
		}
		p := exceptions[0]
		exceptions = exceptions[1:]
		if !p.fits(order == 0) {
			return nil, errMismatch
		}
		if order == 0 {
			p.Heads[p.Displayed].Raw = fields[0].Raw
			fields = fields[1:]
		}
		for i := range p.Heads {
			if p.Heads[i].cleared() {
				p.Heads[i].Raw = nil
			}
		}
		s.Paths = append(s.Paths, p)
	}
	return s, nil
}

// fits reports whether decoded stamps agree with the body: the displayed value
// stands there and nowhere else, and every other head brings its own.
func (p *PathState) fits(inBody bool) bool {
	shown := false
	for i := range p.Heads {
		h := &p.Heads[i]
		if i != p.Displayed {
			if h.Raw == nil || (!h.cleared() && CheckRaw(p.Path, h.Raw) != nil) {
				return false
			}
			continue
		}
		if h.Raw != nil && !h.cleared() {
			return false
		}
		shown = h.Raw == nil
	}
	return shown == inBody
}

// createdHead is the head of a path that only the creating change wrote.
func (s *State) createdHead(raw []byte) Head {
	return Head{Stamp: s.Created, Raw: raw, Author: s.Author, Device: s.Device, AtMS: s.AtMS}
}

// at returns the state of a path, nil where it was never written.
func (s *State) at(p Path) *PathState {
	i, ok := s.index(p)
	if !ok {
		return nil
	}
	return &s.Paths[i]
}

func (s *State) index(p Path) (int, bool) {
	i := sort.Search(len(s.Paths), func(i int) bool { return s.Paths[i].Path.Compare(p) >= 0 })
	return i, i < len(s.Paths) && s.Paths[i].Path == p
}

// ensure returns the state of a path, adding an empty one in its place.
func (s *State) ensure(p Path) *PathState {
	i, ok := s.index(p)
	if !ok {
		s.Paths = slices.Insert(s.Paths, i, PathState{Path: p, Displayed: noneDisplayed})
	}
	return &s.Paths[i]
}

// drop removes a path without heads.
func (s *State) drop(p Path) {
	if i, ok := s.index(p); ok {
		s.Paths = slices.Delete(s.Paths, i, i+1)
	}
}

// Lifecycle returns the displayed lifecycle code.
func (s *State) Lifecycle() string {
	if p := s.at(Path{Field: FieldLifecycle}); p != nil {
		v, _ := RawString(p.Shown())
		return v
	}
	return ""
}

// sealed reports whether plain writes are no longer displayed.
func (s *State) sealed(k *Kind) bool { return k.Sealed[s.Lifecycle()] }

// asks reports whether a human is to settle a path. Elements that are only ever
// added never differ, but may stand hidden beside a sealed version.
func (k *Kind) asks(p *PathState) bool {
	if k.policyOf(p.Path.Field) == tandemv1.MergePolicy_MERGE_POLICY_APPEND {
		return p.Displayed == noneDisplayed
	}
	return p.Open()
}

// Conflicts returns the paths that a human is to settle, in order.
func (s *State) Conflicts(k *Kind) []Path {
	var open []Path
	for i := range s.Paths {
		p := &s.Paths[i]
		if k.asks(p) {
			open = append(open, p.Path)
		}
	}
	return open
}

// Heads returns the heads of a path, the displayed one first where one is
// displayed; nil where the path was never written. The slice is the caller's.
func (s *State) Heads(p Path) (heads []Head, displayed bool) {
	ps := s.at(p)
	if ps == nil {
		return nil, false
	}
	heads = slices.Clone(ps.Heads)
	if ps.Displayed == noneDisplayed {
		return heads, false
	}
	shown := heads[ps.Displayed]
	heads = append([]Head{shown}, slices.Delete(heads, ps.Displayed, ps.Displayed+1)...)
	return heads, true
}

// Bases returns the stamps that a write of p made on this screen names: every
// head whose value is the displayed one, or zero for a path never written. A
// resolve names all heads.
func (s *State) Bases(p Path, all bool) []Stamp {
	ps := s.at(p)
	if ps == nil {
		return []Stamp{0}
	}
	var bases []Stamp
	for _, h := range ps.Heads {
		if all || ps.Displayed == noneDisplayed || sameValue(h.Raw, ps.Shown()) {
			bases = append(bases, h.Stamp)
		}
	}
	return bases
}

// Encode splices the record together again: the body of displayed values and the
// canonical stamps.
func (s *State) Encode() (body, stamps []byte) {
	return s.encodeBody(), s.encodeStamps(false)
}

func (s *State) encodeBody() []byte {
	size := 0
	for i := range s.Paths {
		size += len(s.Paths[i].Shown())
	}
	body := make([]byte, 0, size)
	for i := range s.Paths {
		body = append(body, s.Paths[i].Shown()...)
	}
	return body
}

// Seen returns the heads on a screen that shows this state, in stamp form: what an
// act on the whole record carries. Its SHA-256 is the state hash of a review.
func (s *State) Seen() []byte { return s.encodeStamps(true) }

// Field numbers of Stamps, PathStamps and Head in the contract.
const (
	stampsCreated, stampsAuthor, stampsDevice, stampsAt       = 1, 2, 3, 4
	stampsPaths, stampsCompartment, stampsImport, stampsRev   = 5, 6, 7, 8
	pathField, pathKey, pathDisplayed, pathHeads, pathNone    = 1, 2, 3, 4, 5
	headStamp, headCleared, headValue, headAuthor, headDevice = 1, 2, 3, 4, 5
	headAt, headReceived                                      = 6, 7
)

func (s *State) encodeStamps(seen bool) []byte {
	b := make([]byte, 0, 64)
	b = appendFixed64(b, stampsCreated, uint64(s.Created))
	if !seen {
		b = appendBytes(b, stampsAuthor, idBytes(s.Author))
		b = appendBytes(b, stampsDevice, idBytes(s.Device))
		b = appendVarint(b, stampsAt, uint64(s.AtMS))
	}
	var entry []byte
	for i := range s.Paths {
		p := &s.Paths[i]
		if s.plainCreated(p) {
			continue
		}
		entry = p.encode(entry[:0], seen)
		b = appendMessage(b, stampsPaths, entry)
	}
	if seen {
		return b
	}
	b = appendVarint(b, stampsCompartment, uint64(s.Compartment))
	b = appendBytes(b, stampsImport, s.Import)
	return appendVarint(b, stampsRev, uint64(s.Rev))
}

// plainCreated reports whether a path stands as the creating change left it, and so
// has no entry in the stamps.
func (s *State) plainCreated(p *PathState) bool {
	return len(p.Heads) == 1 && p.Displayed == 0 && p.Heads[0].Stamp == s.Created && p.Heads[0].Raw != nil
}

func (p *PathState) encode(b []byte, seen bool) []byte {
	b = appendVarint(b, pathField, uint64(p.Path.Field))
	b = appendBytes(b, pathKey, []byte(p.Path.Key))
	if len(p.Heads) > 1 && p.Displayed != noneDisplayed {
		b = appendVarint(b, pathDisplayed, uint64(p.Displayed)+1)
	}
	var head []byte
	for i := range p.Heads {
		h := &p.Heads[i]
		head = appendFixed64(head[:0], headStamp, uint64(h.Stamp))
		head = appendVarint(head, headCleared, protowire.EncodeBool(h.Raw == nil))
		if !seen {
			if i != p.Displayed && h.Raw != nil {
				head = appendBytes(head, headValue, h.Raw)
			}
			if len(p.Heads) > 1 || p.Displayed == noneDisplayed {
				head = appendBytes(head, headAuthor, idBytes(h.Author))
				head = appendBytes(head, headDevice, idBytes(h.Device))
				head = appendVarint(head, headAt, uint64(h.AtMS))
				head = appendVarint(head, headReceived, uint64(h.ReceivedMS))
			}
		}
		b = appendMessage(b, pathHeads, head)
	}
	return appendVarint(b, pathNone, protowire.EncodeBool(p.Displayed == noneDisplayed))
}

// idBytes returns nil for no id, so that it is left out.
func idBytes(id ID) []byte {
	if id.IsZero() {
		return nil
	}
	return id[:]
}

func appendFixed64(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, num, protowire.Fixed64Type), v)
}

func appendVarint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return appendMessage(b, num, v)
}

func appendMessage(b []byte, num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}
