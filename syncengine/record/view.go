package record

import (
	"bytes"
	"slices"
	"sort"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// view reads a record's displayed values by name, for rules over several fields.
type view struct {
	kind   *kind
	fields []syncengine.Field
	// nowMS is the device's clock where a form asks, zero at the server.
	nowMS int64
}

// raw returns the raw values of a field, one for each element.
func (v *view) raw(name string) []syncengine.Field {
	f := v.kind.table.byName[name]
	if f == nil {
		return nil
	}
	from := sort.Search(len(v.fields), func(i int) bool { return v.fields[i].Path.Field >= f.number })
	to := from
	for to < len(v.fields) && v.fields[to].Path.Field == f.number {
		to++
	}
	return v.fields[from:to]
}

// has reports whether a field holds anything: a string of spaces is nothing.
func (v *view) has(name string) bool {
	raw := v.raw(name)
	if len(raw) == 0 {
		return false
	}
	if f := v.kind.table.byName[name]; f.text && !f.repeated {
		return strings.TrimSpace(v.code(name)) != ""
	}
	return true
}

// code returns the string of a singular field, empty where it is absent.
func (v *view) code(name string) string {
	raw := v.raw(name)
	if len(raw) != 1 {
		return ""
	}
	s, _ := syncengine.RawString(raw[0].Raw)
	return s
}

// holds reports whether a set of codes has one.
func (v *view) holds(name, code string) bool {
	return slices.ContainsFunc(v.raw(name), func(f syncengine.Field) bool { return f.Path.Key == code })
}

// instant returns the moment of a field, and whether it is known to the hour or
// better: coarser ones are not compared.
func (v *view) instant(name string) (ms int64, ok bool) {
	raw := v.raw(name)
	if len(raw) != 1 {
		return 0, false
	}
	msg, _ := syncengine.RawString(raw[0].Raw)
	return instantOf([]byte(msg))
}

// instantOf is instant of an encoded Instant.
func instantOf(msg []byte) (ms int64, ok bool) {
	known := false
	for b := msg; len(b) > 0; {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, false
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return 0, false
		}
		switch {
		case num == 1 && typ == protowire.VarintType:
			at, _ := protowire.ConsumeVarint(b[n:])
			ms, known = int64(at), true
		case num == 3 && typ == protowire.BytesType:
			switch p, _ := protowire.ConsumeString(b[n:]); p {
			case "minute", "hour":
			default:
				return 0, false
			}
		}
		b = b[n+m:]
	}
	return ms, known
}

// imported reports whether a record came from an import.
func imported(rec *syncengine.Record) bool { return importOf(rec) != nil }

// importOf returns the encoded import that a record came from, nil for none: its stamps say
// so in field 7.
func importOf(rec *syncengine.Record) []byte {
	for b := rec.Stamps; len(b) > 0; {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return nil
		}
		if num >= 7 {
			from, _ := protowire.ConsumeBytes(b[n:])
			if num > 7 {
				return nil
			}
			return from
		}
		b = b[n+m:]
	}
	return nil
}

// sameRow reports whether a record came from the same row of the same file by the same
// mapping.
func sameRow(from *tandemv1.Import, rec *syncengine.Record) bool {
	raw, was := importOf(rec), &tandemv1.Import{}
	return from != nil && raw != nil && proto.Unmarshal(raw, was) == nil &&
		was.GetMapping() == from.GetMapping() && bytes.Equal(was.GetFile(), from.GetFile()) && was.GetRow() == from.GetRow()
}
