package record

import (
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxDepth is how deep messages may stand in messages.
const maxDepth = 8

// faultName returns the name of the first field at fault in a raw field: f's own,
// or dotted one of a message in it; empty where there is none. It judges wire type,
// range of numbers, text, formats, and that messages are canonical inside.
func (f *field) faultName(raw []byte) string {
	_, typ, n := protowire.ConsumeTag(raw)
	if n < 0 {
		return f.name
	}
	rest, bad := f.consume(raw[n:], typ, maxDepth)
	if bad == "" && len(rest) != 0 {
		return f.name
	}
	return bad
}

// consume judges one value at the start of b and returns what follows it, or the
// name of the field at fault.
func (f *field) consume(b []byte, typ protowire.Type, depth int) (rest []byte, bad string) {
	if f.wire != typ {
		return nil, f.name
	}
	ok := true
	switch typ {
	case protowire.VarintType:
		v, n := protowire.ConsumeVarint(b)
		if n < 0 || n != protowire.SizeVarint(v) || f.maximum != 0 && v > f.maximum {
			return nil, f.name
		}
		ok = f.format == nil || f.format.takesNumber(float64(int64(v)))
		b = b[n:]
	case protowire.Fixed32Type:
		if len(b) < 4 {
			return nil, f.name
		}
		b = b[4:]
	case protowire.Fixed64Type:
		if len(b) < 8 {
			return nil, f.name
		}
		ok = f.format == nil || f.format.takesNumber(double(b))
		b = b[8:]
	case protowire.BytesType:
		v, n := protowire.ConsumeBytes(b)
		if n < 0 || n != protowire.SizeBytes(len(v)) {
			return nil, f.name
		}
		b = b[n:]
		if f.message != nil {
			if sub := f.message.faultName(v, depth-1); sub != "" {
				return nil, f.name + "." + sub
			}
			break
		}
		ok = (!f.text || textBytes(v)) && (f.format == nil || f.format.takes(v))
	}
	if !ok {
		return nil, f.name
	}
	return b, ""
}

// faultName returns the name of the first field at fault in a message: fields in
// order of number, none twice but repeated ones, minimal varints, no groups, and
// those that are required there.
func (t *table) faultName(b []byte, depth int) string {
	if depth < 0 {
		return "depth"
	}
	found := 0
	for last := uint64(0); len(b) > 0; {
		tag, n := protowire.ConsumeVarint(b)
		num, typ := tag>>3, protowire.Type(tag&7)
		if n < 0 || n != protowire.SizeVarint(tag) || num < 1 || num > uint64(protowire.MaxValidNumber) {
			return "tag"
		}
		f := t.at(uint32(num))
		if num < last || num == last && f != nil && !f.repeated {
			return fieldName(f, num)
		}
		if f != nil {
			var bad string
			if b, bad = f.consume(b[n:], typ, depth); bad != "" {
				return bad
			}
			if f.required() && num != last {
				found++
			}
		} else if b = skipCanonical(b[n:], typ); b == nil {
			return fieldName(nil, num)
		}
		last = num
	}
	if found < t.required {
		return t.firstRequired
	}
	return ""
}

// required reports whether a message must have the field.
func (f *field) required() bool { return f.format != nil && f.format.required }

// skipCanonical returns what follows a value that this version does not know, nil
// where it is not canonical.
func skipCanonical(b []byte, typ protowire.Type) []byte {
	n := -1
	switch typ {
	case protowire.VarintType:
		v, m := protowire.ConsumeVarint(b)
		if m == protowire.SizeVarint(v) {
			n = m
		}
	case protowire.Fixed32Type:
		n = 4
	case protowire.Fixed64Type:
		n = 8
	case protowire.BytesType:
		v, m := protowire.ConsumeBytes(b)
		if m == protowire.SizeBytes(len(v)) {
			n = m
		}
	}
	if n < 0 || n > len(b) {
		return nil
	}
	return b[n:]
}

// fieldName names a field, by number where this version does not know it.
func fieldName(f *field, number uint64) string {
	if f != nil {
		return f.name
	}
	return "field_" + strconv.FormatUint(number, 10)
}
