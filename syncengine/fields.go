package syncengine

import (
	"cmp"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Shape is what a field number says of the field, so that a field of a newer
// version can still be parsed, merged and forwarded by one that does not know it.
type Shape uint8

// The shapes, by range of field number.
const (
	// ShapeInvalid: no kind may use the number.
	ShapeInvalid Shape = iota
	// ShapeSingular (1–199): at most one value; the path has no key.
	ShapeSingular
	// ShapeCodeSet (200–299): a set of strings; an element's key is the string.
	ShapeCodeSet
	// ShapeElementSet (300–399): a set of messages; an element's key is its field
	// 1, 8 bytes.
	ShapeElementSet
	// ShapeAppend (400–499): messages that are only ever added, keyed as above.
	ShapeAppend
)

// ElementKeySize is the size of the key of an element that is a message.
const ElementKeySize = 8

// ShapeOf returns the shape of a field number.
func ShapeOf(field uint32) Shape {
	switch {
	case field >= 1 && field <= 199:
		return ShapeSingular
	case field >= 200 && field <= 299:
		return ShapeCodeSet
	case field >= 300 && field <= 399:
		return ShapeElementSet
	case field >= 400 && field <= 499:
		return ShapeAppend
	}
	return ShapeInvalid
}

// Path names what a write writes: a field, or an element of one.
type Path struct {
	// Field is the field number.
	Field uint32
	// Key is the element's key; empty for singular fields.
	Key string
}

// Compare orders paths by field number, then key bytes.
func (p Path) Compare(q Path) int {
	if c := cmp.Compare(p.Field, q.Field); c != 0 {
		return c
	}
	return cmp.Compare(p.Key, q.Key)
}

// Field is one path of a body with its raw tag, length and value.
type Field struct {
	// Path is what the bytes are the value of.
	Path Path
	// Raw is the tag, length and value. It shares memory with the body.
	Raw []byte
}

// Errors of bodies that are not canonical. They say what is wrong and no value.
var (
	ErrTruncated    = errors.New("body ends inside a field")
	ErrNotMinimal   = errors.New("a varint is longer than it need be")
	ErrWireType     = errors.New("a field has a wire type that bodies do not use")
	ErrFieldNumber  = errors.New("a field number is outside 1 to 499")
	ErrFieldOrder   = errors.New("fields are not in order of number, or elements not in order of key, or one stands twice")
	ErrElementKey   = errors.New("an element does not begin with its key")
	ErrPathMismatch = errors.New("the value is not of the path that it is written to")
)

// ParseBody splits a body into its paths. It refuses what is not canonical: see
// the errors of this file. The fields share memory with body.
func ParseBody(body []byte) ([]Field, error) {
	fields := make([]Field, 0, min(8+len(body)/64, 40))
	var last Path
	for len(body) > 0 {
		f, err := parseField(body)
		if err != nil {
			return nil, err
		}
		if len(fields) > 0 && f.Path.Compare(last) <= 0 {
			return nil, ErrFieldOrder
		}
		last = f.Path
		fields = append(fields, f)
		body = body[len(f.Raw):]
	}
	return fields, nil
}

// CheckRaw refuses a raw value that is not exactly one field of path p.
func CheckRaw(p Path, raw []byte) error {
	f, err := parseField(raw)
	if err != nil {
		return err
	}
	if len(f.Raw) != len(raw) || f.Path != p {
		return ErrPathMismatch
	}
	return nil
}

// parseField reads the field at the start of b.
func parseField(b []byte) (Field, error) {
	num, key, raw, err := splitField(b)
	if err != nil {
		return Field{}, err
	}
	return Field{Path: Path{Field: num, Key: string(key)}, Raw: raw}, nil
}

// splitField returns the number, the key and the whole of the field at the start of
// b. They share memory with b.
func splitField(b []byte) (field uint32, key, raw []byte, err error) {
	tag, n, err := consumeMinimal(b)
	if err != nil {
		return 0, nil, nil, err
	}
	num, typ := protowire.DecodeTag(tag)
	shape := ShapeInvalid
	if num >= 1 {
		shape = ShapeOf(uint32(num))
	}
	if shape == ShapeInvalid {
		return 0, nil, nil, ErrFieldNumber
	}
	payload, end, err := consumeValue(b, n, typ)
	if err != nil {
		return 0, nil, nil, err
	}
	switch shape {
	case ShapeCodeSet:
		if typ != protowire.BytesType {
			return 0, nil, nil, ErrWireType
		}
		key = payload
	case ShapeElementSet, ShapeAppend:
		if typ != protowire.BytesType {
			return 0, nil, nil, ErrWireType
		}
		var ok bool
		if key, ok = elementKey(payload); !ok {
			return 0, nil, nil, ErrElementKey
		}
	}
	return uint32(num), key, b[:end:end], nil
}

// consumeMinimal reads a varint that is no longer than it need be.
func consumeMinimal(b []byte) (uint64, int, error) {
	// Nearly all of them are one or two bytes long.
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1, nil
	}
	if len(b) > 1 && b[1] > 0 && b[1] < 0x80 {
		return uint64(b[0]&0x7f) | uint64(b[1])<<7, 2, nil
	}
	v, n := protowire.ConsumeVarint(b)
	if n < 0 {
		return 0, 0, ErrTruncated
	}
	if n != protowire.SizeVarint(v) {
		return 0, 0, ErrNotMinimal
	}
	return v, n, nil
}

// consumeValue returns the payload of a length-delimited value that starts at
// b[at:], and where the value ends.
func consumeValue(b []byte, at int, typ protowire.Type) (payload []byte, end int, err error) {
	rest := b[at:]
	switch typ {
	case protowire.VarintType:
		_, n, err := consumeMinimal(rest)
		return nil, at + n, err
	case protowire.Fixed32Type:
		if len(rest) < 4 {
			return nil, 0, ErrTruncated
		}
		return nil, at + 4, nil
	case protowire.Fixed64Type:
		if len(rest) < 8 {
			return nil, 0, ErrTruncated
		}
		return nil, at + 8, nil
	case protowire.BytesType:
		size, n, err := consumeMinimal(rest)
		if err != nil {
			return nil, 0, err
		}
		if size > uint64(len(rest)-n) {
			return nil, 0, ErrTruncated
		}
		end := at + n + int(size)
		return b[at+n : end], end, nil
	}
	return nil, 0, ErrWireType
}

// elementKey returns the 8 bytes of field 1 at the start of a message.
func elementKey(msg []byte) ([]byte, bool) {
	if len(msg) < 2+ElementKeySize || msg[0] != 0x0a || msg[1] != ElementKeySize {
		return nil, false
	}
	return msg[2 : 2+ElementKeySize], true
}

// RawString returns the string or bytes payload of a raw field, and whether it
// has one.
func RawString(raw []byte) (string, bool) {
	_, typ, n := protowire.ConsumeTag(raw)
	if n < 0 || typ != protowire.BytesType {
		return "", false
	}
	v, m := protowire.ConsumeBytes(raw[n:])
	if m < 0 {
		return "", false
	}
	return string(v), true
}

// RawVarint returns the varint payload of a raw field, and whether it has one.
func RawVarint(raw []byte) (uint64, bool) {
	_, typ, n := protowire.ConsumeTag(raw)
	if n < 0 || typ != protowire.VarintType {
		return 0, false
	}
	v, m := protowire.ConsumeVarint(raw[n:])
	return v, m >= 0
}

// StringField returns the raw field that holds s.
func StringField(field uint32, s string) []byte {
	b := protowire.AppendTag(nil, protowire.Number(field), protowire.BytesType)
	return protowire.AppendString(b, s)
}

// BoolField returns the raw field that holds v.
func BoolField(field uint32, v bool) []byte {
	b := protowire.AppendTag(nil, protowire.Number(field), protowire.VarintType)
	return protowire.AppendVarint(b, protowire.EncodeBool(v))
}

// String returns the path as field number and, for elements, the key in hex.
func (p Path) String() string {
	if p.Key == "" {
		return fmt.Sprint(p.Field)
	}
	return fmt.Sprintf("%d[%x]", p.Field, p.Key)
}
