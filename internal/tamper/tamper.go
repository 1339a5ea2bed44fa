// Package tamper changes protobuf messages as a hostile or broken sender would. It
// is for tests alone: fuzz targets and generators of bad input give it a script of
// bytes, and the same script does the same to the same message.
package tamper

import (
	"bytes"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Inner says which bytes fields hold encoded messages, by full name of the field:
// Message looks into those too.
type Inner map[protoreflect.FullName]proto.Message

// slot is one place of a message where something can be changed.
type slot struct {
	msg   protoreflect.Message
	field protoreflect.FieldDescriptor
	// i is the index in a list, -1 where the slot is the field itself.
	i int
	// back writes a message that was decoded from bytes back into them.
	back func()
}

func (s *slot) get() protoreflect.Value {
	if s.i >= 0 {
		return s.msg.Get(s.field).List().Get(s.i)
	}
	return s.msg.Get(s.field)
}

func (s *slot) set(v protoreflect.Value) {
	if s.i >= 0 {
		s.msg.Mutable(s.field).List().Set(s.i, v)
	} else {
		s.msg.Set(s.field, v)
	}
}

// Message changes m by a script: three bytes a step, which choose a place and what is
// done to it. Texts that no encoder would write (invalid UTF-8) are left to scripts
// over encoded bytes.
func Message(m proto.Message, inner Inner, script []byte) {
	for ; len(script) >= 3; script = script[3:] {
		slots := collect(nil, m.ProtoReflect(), inner, func() {}, 0)
		if len(slots) == 0 {
			return
		}
		at := int(script[0])<<8 | int(script[1])
		s, other := &slots[at%len(slots)], &slots[(at/7+int(script[2]))%len(slots)]
		apply(s, other, script[2])
		s.back()
	}
}

// collect returns all places of a message. Those of fields that are not set come too:
// setting them is one way to lie.
func collect(slots []slot, m protoreflect.Message, inner Inner, back func(), depth int) []slot {
	fields := m.Descriptor().Fields()
	for n := range fields.Len() {
		f := fields.Get(n)
		slots = append(slots, slot{m, f, -1, back})
		if depth > 6 || f.IsMap() || !m.Has(f) {
			continue
		}
		count := -1
		if f.IsList() {
			count = m.Get(f).List().Len()
		}
		for i := min(count, 0); i < max(count, 0); i++ {
			s := slot{m, f, i, back}
			if i >= 0 {
				slots = append(slots, s)
			} else if count >= 0 {
				continue
			}
			slots = within(slots, s, inner, depth)
		}
	}
	return slots
}

// within adds the places inside a value that is a message, or the bytes of one.
func within(slots []slot, s slot, inner Inner, depth int) []slot {
	switch s.field.Kind() {
	case protoreflect.MessageKind:
		return collect(slots, s.get().Message(), inner, s.back, depth+1)
	case protoreflect.BytesKind:
		kind := inner[s.field.FullName()]
		if kind == nil {
			return slots
		}
		msg := kind.ProtoReflect().New().Interface()
		if proto.Unmarshal(s.get().Bytes(), msg) != nil {
			return slots
		}
		return collect(slots, msg.ProtoReflect(), inner, func() {
			if raw, err := proto.Marshal(msg); err == nil {
				s.set(protoreflect.ValueOfBytes(raw))
				s.back()
			}
		}, depth+1)
	}
	return slots
}

func apply(s, other *slot, how byte) {
	if s.i < 0 && s.field.IsList() {
		list(s, how)
		return
	}
	switch s.field.Kind() {
	case protoreflect.MessageKind:
		if how%2 == 0 {
			unknown(s.msg, how)
		} else if s.i < 0 {
			s.msg.Clear(s.field)
		}
	case protoreflect.BytesKind:
		s.set(protoreflect.ValueOfBytes(mangle(s.get().Bytes(), other, how)))
	case protoreflect.StringKind:
		s.set(protoreflect.ValueOfString(texts[int(how)%len(texts)]))
	case protoreflect.BoolKind:
		s.set(protoreflect.ValueOfBool(!s.get().Bool()))
	case protoreflect.EnumKind:
		numbers := []protoreflect.EnumNumber{0, -1, 99, math.MaxInt32, s.get().Enum() + 1}
		s.set(protoreflect.ValueOfEnum(numbers[int(how)%len(numbers)]))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		numbers := []uint32{0, 1, math.MaxUint32, 1 << 31, uint32(s.get().Uint()) + 1, uint32(s.get().Uint()) - 1, 65, 200, 300, 400, 500}
		s.set(protoreflect.ValueOfUint32(numbers[int(how)%len(numbers)]))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		numbers := []uint64{0, 1, math.MaxUint64, 1 << 63, 1 << 62, math.MaxInt64, s.get().Uint() + 1, s.get().Uint() - 1, s.get().Uint() << 1}
		s.set(protoreflect.ValueOfUint64(numbers[int(how)%len(numbers)]))
	case protoreflect.Int64Kind:
		// With the years 1 and 9999.
		numbers := []int64{0, -1, math.MaxInt64, math.MinInt64, -62_135_596_800_000, 253_402_300_799_000, s.get().Int() + 1}
		s.set(protoreflect.ValueOfInt64(numbers[int(how)%len(numbers)]))
	}
}

// texts that have broken something somewhere.
var texts = []string{
	"", "\x00", "../../etc/passwd", "%s%n", "'; DROP TABLE change; --", "\u202eevil\u2066", "a\u200bb\u200d\ufeff", "=1+1", "<script>",
	strings.Repeat("é", 70_000), "\U0001F937\U0001F3FD", "9999-12-31T23:59:60Z", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "81ARZ3NDEKTSV4RRFFQ69G5FAV", "\ufffd",
}

// list changes a repeated field as a whole.
func list(s *slot, how byte) {
	all := s.msg.Get(s.field).List()
	if all.Len() == 0 {
		if l := s.msg.Mutable(s.field).List(); how%2 == 0 {
			l.Append(l.NewElement())
		}
		return
	}
	l := s.msg.Mutable(s.field).List()
	i := int(how/8) % l.Len()
	switch how % 8 {
	case 0:
		s.msg.Clear(s.field)
	case 1:
		l.Truncate(l.Len() - 1)
	case 2, 3:
		l.Append(copied(l.Get(i)))
	case 4:
		first, last := copied(l.Get(0)), copied(l.Get(l.Len()-1))
		l.Set(0, last)
		l.Set(l.Len()-1, first)
	case 5:
		for range min(300, 40_000/l.Len()) {
			l.Append(copied(l.Get(i)))
		}
	case 6:
		l.Append(l.NewElement())
	case 7:
		l.Set(i, l.NewElement())
	}
}

// copied lets a list hold an element twice without the two being one.
func copied(v protoreflect.Value) protoreflect.Value {
	switch x := v.Interface().(type) {
	case protoreflect.Message:
		return protoreflect.ValueOfMessage(proto.Clone(x.Interface()).ProtoReflect())
	case []byte:
		return protoreflect.ValueOfBytes(slices.Clone(x))
	}
	return v
}

// mangle changes bytes; other's may take their place.
func mangle(b []byte, other *slot, how byte) []byte {
	b = slices.Clone(b)
	at := 0
	if len(b) > 0 {
		at = int(how/12) * 37 % len(b)
	}
	switch how % 12 {
	case 0:
		return nil
	case 1:
		return b[:at]
	case 2:
		return append(b, 0)
	case 3, 4:
		if len(b) > 0 {
			b[at] ^= 1 << (how / 12 % 8)
		}
	case 5:
		return bytes.Repeat([]byte{0xff}, max(len(b), 8))
	case 6:
		return make([]byte, max(len(b), 16))
	case 7:
		return append(b, b...)
	case 8, 9:
		if (other.i >= 0 || !other.field.IsList()) && other.field.Kind() == protoreflect.BytesKind {
			return slices.Clone(other.get().Bytes())
		}
	case 10:
		return slices.Insert(b, at, 0x80, 0x80, 0x01)
	case 11:
		// A field of an unknown number in the middle of things.
		return slices.Insert(b, at, protowire.AppendVarint(protowire.AppendTag(nil, 150, protowire.VarintType), 7)...)
	}
	return b
}

// unknown adds a field of a number that no version has.
func unknown(m protoreflect.Message, how byte) {
	raw := protowire.AppendTag(nil, protowire.Number(5000+int(how)), protowire.BytesType)
	m.SetUnknown(append(slices.Clone(m.GetUnknown()), protowire.AppendBytes(raw, bytes.Repeat([]byte{how}, int(how)))...))
}
