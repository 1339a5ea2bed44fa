package syncengine

import (
	"math"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/encoding/protowire"
)

// clearedMark stands in Head.Raw while stamps are decoded: the head is an absence.
var clearedMark = []byte{}

func (h *Head) cleared() bool { return h.Raw != nil && len(h.Raw) == 0 }

// isID reports whether b is an id; the zero id is left out.
func isID(b []byte) bool {
	id, ok := IDFromBytes(b)
	return ok && !id.IsZero()
}

// wireField is one field of a canonical message.
type wireField struct {
	num   protowire.Number
	typ   protowire.Type
	value uint64
	bytes []byte
}

// nextField reads a field of a message whose fields stand in order of number and
// whose zero values are left out; only `repeated` may stand more than once.
func nextField(b []byte, last, repeated protowire.Number) (f wireField, rest []byte, err error) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 || n != protowire.SizeTag(num) || num < last || (num == last && num != repeated) {
		return f, nil, errStamps
	}
	f.num, f.typ = num, typ
	b = b[n:]
	switch typ {
	case protowire.VarintType:
		v, n := protowire.ConsumeVarint(b)
		if n < 0 || n != protowire.SizeVarint(v) || v == 0 {
			return f, nil, errStamps
		}
		f.value = v
		return f, b[n:], nil
	case protowire.Fixed64Type:
		v, n := protowire.ConsumeFixed64(b)
		if n < 0 || v == 0 {
			return f, nil, errStamps
		}
		f.value = v
		return f, b[n:], nil
	case protowire.BytesType:
		v, n := protowire.ConsumeBytes(b)
		if n < 0 || n != protowire.SizeBytes(len(v)) || len(v) == 0 {
			return f, nil, errStamps
		}
		f.bytes = v
		return f, b[n:], nil
	}
	return f, nil, errStamps
}

// decodeHeader decodes what stands outside the paths.
func decodeHeader(stamps []byte) (*State, error) {
	s := &State{}
	_, err := s.decode(stamps, false)
	return s, err
}

// decodeStamps decodes stamps; heads that are absences carry clearedMark.
func decodeStamps(stamps []byte) (*State, []PathState, error) {
	s := &State{}
	paths, err := s.decode(stamps, true)
	return s, paths, err
}

func (s *State) decode(b []byte, withPaths bool) (paths []PathState, err error) {
	var f wireField
	var last protowire.Number
	for len(b) > 0 {
		if f, b, err = nextField(b, last, stampsPaths); err != nil {
			return nil, err
		}
		last = f.num
		switch {
		case f.num == stampsCreated && f.typ == protowire.Fixed64Type:
			s.Created = Stamp(f.value)
		case f.num == stampsAuthor && isID(f.bytes):
			s.Author = ID(f.bytes)
		case f.num == stampsDevice && isID(f.bytes):
			s.Device = ID(f.bytes)
		case f.num == stampsAt && f.typ == protowire.VarintType:
			s.AtMS = int64(f.value)
		case f.num == stampsPaths && f.typ == protowire.BytesType:
			if !withPaths {
				continue
			}
			p, err := decodePath(f.bytes)
			if err != nil {
				return nil, err
			}
			if len(paths) > 0 && paths[len(paths)-1].Path.Compare(p.Path) >= 0 || s.plain(&p) {
				return nil, errStamps
			}
			paths = append(paths, p)
		case f.num == stampsCompartment && f.typ == protowire.VarintType && f.value <= math.MaxInt32:
			s.Compartment = tandemv1.Compartment(f.value)
		case f.num == stampsImport && f.typ == protowire.BytesType:
			s.Import = f.bytes
		case f.num == stampsRev && f.typ == protowire.VarintType && f.value <= 1<<31:
			s.Rev = uint32(f.value)
		default:
			return nil, errStamps
		}
	}
	if s.Created == 0 {
		return nil, errStamps
	}
	return paths, nil
}

// plain reports whether a path need not be listed: its only head is the creating
// change's, and is displayed.
func (s *State) plain(p *PathState) bool {
	return len(p.Heads) == 1 && p.Displayed == 0 && p.Heads[0].Stamp == s.Created && !p.Heads[0].cleared()
}

func decodePath(b []byte) (p PathState, err error) {
	var f wireField
	var last protowire.Number
	displayed, none := 0, false
	for len(b) > 0 {
		if f, b, err = nextField(b, last, pathHeads); err != nil {
			return p, err
		}
		last = f.num
		switch {
		case f.num == pathField && f.typ == protowire.VarintType && f.value < 500:
			p.Path.Field = uint32(f.value)
		case f.num == pathKey && f.typ == protowire.BytesType:
			p.Path.Key = string(f.bytes)
		case f.num == pathDisplayed && f.typ == protowire.VarintType && f.value < 1<<20:
			displayed = int(f.value)
		case f.num == pathHeads && f.typ == protowire.BytesType:
			h, err := decodeHead(f.bytes)
			if err != nil {
				return p, err
			}
			p.Heads = append(p.Heads, h)
		case f.num == pathNone && f.typ == protowire.VarintType && f.value == 1:
			none = true
		default:
			return p, errStamps
		}
	}
	return p, p.place(displayed, none)
}

// place sets Displayed from its wire form and refuses the forms that are not
// canonical.
func (p *PathState) place(displayed int, none bool) error {
	bad := !keyed(p.Path) || len(p.Heads) == 0 || displayed > len(p.Heads)
	for i, h := range p.Heads {
		bad = bad || hasHead(p.Heads[:i], h.Stamp)
	}
	switch {
	case none:
		p.Displayed = noneDisplayed
		bad = bad || displayed != 0
	case len(p.Heads) == 1:
		h := p.Heads[0]
		bad = bad || displayed != 0 || !h.Author.IsZero() || !h.Device.IsZero() || h.AtMS != 0 || h.ReceivedMS != 0
	default:
		p.Displayed = displayed - 1
		bad = bad || displayed == 0
	}
	if bad {
		return errStamps
	}
	return nil
}

// keyed reports whether a path has a key of its field's shape.
func keyed(p Path) bool {
	switch ShapeOf(p.Field) {
	case ShapeSingular:
		return p.Key == ""
	case ShapeCodeSet:
		return true
	case ShapeElementSet, ShapeAppend:
		return len(p.Key) == ElementKeySize
	}
	return false
}

func decodeHead(b []byte) (h Head, err error) {
	var f wireField
	var last protowire.Number
	cleared := false
	for len(b) > 0 {
		if f, b, err = nextField(b, last, 0); err != nil {
			return h, err
		}
		last = f.num
		switch {
		case f.num == headStamp && f.typ == protowire.Fixed64Type:
			h.Stamp = Stamp(f.value)
		case f.num == headCleared && f.typ == protowire.VarintType && f.value == 1:
			cleared = true
		case f.num == headValue && f.typ == protowire.BytesType:
			h.Raw = f.bytes
		case f.num == headAuthor && isID(f.bytes):
			h.Author = ID(f.bytes)
		case f.num == headDevice && isID(f.bytes):
			h.Device = ID(f.bytes)
		case f.num == headAt && f.typ == protowire.VarintType:
			h.AtMS = int64(f.value)
		case f.num == headReceived && f.typ == protowire.VarintType:
			h.ReceivedMS = int64(f.value)
		default:
			return h, errStamps
		}
	}
	if h.Stamp == 0 || (cleared && h.Raw != nil) {
		return h, errStamps
	}
	if cleared {
		h.Raw = clearedMark
	}
	return h, nil
}

// hasPaths reports whether stamps list any path, so that a record whose every path
// stands as it was created need not be taken apart.
func hasPaths(stamps []byte) bool {
	for len(stamps) > 0 {
		num, typ, n := protowire.ConsumeTag(stamps)
		if n < 0 {
			return true
		}
		if num == stampsPaths {
			return true
		}
		m := protowire.ConsumeFieldValue(num, typ, stamps[n:])
		if m < 0 {
			return true
		}
		stamps = stamps[n+m:]
	}
	return false
}
