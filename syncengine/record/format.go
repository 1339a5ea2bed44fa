package record

import (
	"encoding/binary"
	"math"
	"regexp"
	"regexp/syntax"
	"unicode/utf8"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// format is the protovalidate annotations of one field in a form that judges raw
// bytes, since a server judges every field of every change that is pushed. A rule
// that it has no form for makes the field's kind fall back to the validator; a
// test holds both to the same verdicts.
type format struct {
	required       bool
	minLen, maxLen int // of a string, in characters
	length         int // of bytes; 0 for any
	pattern        func([]byte) bool
	low, high      float64 // of a number, where ranged
	ranged         bool
}

// newFormat returns the format of a field, nil where it has none; ok is false
// where a rule has no form here.
func newFormat(desc protoreflect.FieldDescriptor) (f *format, ok bool) {
	rules, _ := proto.GetExtension(desc.Options(), validate.E_Field).(*validate.FieldRules)
	if rules == nil {
		return nil, true
	}
	f = &format{low: math.Inf(-1), high: math.Inf(1)}
	ok = f.take(rules.ProtoReflect())
	if desc.IsList() {
		// Limits on the number of elements hold at entry only: writes come singly.
		f.required = false
	}
	return f, ok
}

// take takes over rules that are set in m or in the messages of its type.
func (f *format) take(m protoreflect.Message) (ok bool) {
	ok = true
	m.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		ok = f.takeOne(d, v) && ok
		return true
	})
	return ok
}

func (f *format) takeOne(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
	switch d.FullName() {
	case "buf.validate.FieldRules.required":
		f.required = v.Bool()
	case "buf.validate.FieldRules.string", "buf.validate.FieldRules.bytes", "buf.validate.FieldRules.uint32",
		"buf.validate.FieldRules.int64", "buf.validate.FieldRules.double", "buf.validate.FieldRules.repeated":
		return f.take(v.Message())
	case "buf.validate.RepeatedRules.items":
		return f.take(v.Message())
	case "buf.validate.StringRules.min_len":
		f.minLen = int(v.Uint())
	case "buf.validate.StringRules.max_len":
		f.maxLen = int(v.Uint())
	case "buf.validate.StringRules.pattern":
		p, err := newPattern(v.String())
		f.pattern = p
		return err == nil
	case "buf.validate.BytesRules.len":
		f.length = int(v.Uint())
	case "buf.validate.UInt32Rules.gte":
		f.low, f.ranged = float64(v.Uint()), true
	case "buf.validate.UInt32Rules.lte":
		f.high, f.ranged = float64(v.Uint()), true
	case "buf.validate.Int64Rules.gte":
		f.low, f.ranged = float64(v.Int()), true
		return exact(v.Int())
	case "buf.validate.Int64Rules.lte":
		f.high, f.ranged = float64(v.Int()), true
		return exact(v.Int())
	case "buf.validate.DoubleRules.gte":
		f.low, f.ranged = v.Float(), true
	case "buf.validate.DoubleRules.lte":
		f.high, f.ranged = v.Float(), true
	default:
		return false
	}
	return true
}

// exact reports whether a bound, and what lies beside it, compares exactly as a
// float.
func exact(v int64) bool { return v > -1<<53 && v < 1<<53 }

// takes reports whether the bytes of a string or of bytes have the format.
func (f *format) takes(v []byte) bool {
	if f.length != 0 && len(v) != f.length {
		return false
	}
	// No string has more characters than bytes.
	if f.minLen > 0 && utf8.RuneCount(v) < f.minLen {
		return false
	}
	if f.maxLen > 0 && len(v) > f.maxLen && utf8.RuneCount(v) > f.maxLen {
		return false
	}
	return f.pattern == nil || f.pattern(v)
}

// takesNumber reports whether a number has the format. Not-a-number has none.
func (f *format) takesNumber(v float64) bool {
	return !f.ranged || v >= f.low && v <= f.high
}

// double reads a number of 8 bytes.
func double(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }

// newPattern returns a matcher of a regular expression. Those of the contract are
// mostly sequences of character classes of which only the last varies in length:
// these need no automaton.
func newPattern(expr string) (func([]byte) bool, error) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if seq, ok := newSequence(re); ok {
		return seq.match, nil
	}
	compiled, err := regexp.Compile(expr)
	if err != nil {
		return nil, err
	}
	return compiled.Match, nil
}

// run is a class of ASCII characters that stands from low to high times; high is
// -1 for any number.
type run struct {
	class     [4]uint32
	low, high int
}

func (r *run) has(c byte) bool { return c < utf8.RuneSelf && r.class[c/32]&(1<<(c%32)) != 0 }

// sequence is an anchored expression of runs, of fixed length but for the last.
type sequence []run

func (s sequence) match(b []byte) bool {
	for i := range s {
		r := &s[i]
		n := 0
		for n < len(b) && (r.high < 0 || n < r.high) && r.has(b[n]) {
			n++
		}
		if n < r.low {
			return false
		}
		b = b[n:]
	}
	return len(b) == 0
}

// newSequence makes a sequence of an expression, where it is one.
func newSequence(re *syntax.Regexp) (sequence, bool) {
	if re.Op != syntax.OpConcat || len(re.Sub) < 3 ||
		re.Sub[0].Op != syntax.OpBeginText || re.Sub[len(re.Sub)-1].Op != syntax.OpEndText {
		return nil, false
	}
	var seq sequence
	for _, sub := range re.Sub[1 : len(re.Sub)-1] {
		r := run{low: 1, high: 1}
		switch sub.Op {
		case syntax.OpRepeat:
			r.low, r.high = sub.Min, sub.Max
			sub = sub.Sub[0]
		case syntax.OpStar:
			r.low, r.high = 0, -1
			sub = sub.Sub[0]
		case syntax.OpPlus:
			r.low, r.high = 1, -1
			sub = sub.Sub[0]
		}
		if sub.Op != syntax.OpCharClass || sub.Flags&syntax.FoldCase != 0 {
			return nil, false
		}
		for i := 0; i < len(sub.Rune); i += 2 {
			if sub.Rune[i+1] >= utf8.RuneSelf {
				return nil, false
			}
			for c := sub.Rune[i]; c <= sub.Rune[i+1]; c++ {
				r.class[c/32] |= 1 << (c % 32)
			}
		}
		if len(seq) > 0 && seq[len(seq)-1].low != seq[len(seq)-1].high {
			return nil, false
		}
		seq = append(seq, r)
	}
	return seq, true
}
