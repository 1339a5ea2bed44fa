package syncengine_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"pgregory.net/rapid"
)

// drawRaw draws one canonical field with the path that it is of.
func drawRaw(t *rapid.T) syncengine.Field {
	content := rapid.SliceOfN(rapid.Byte(), 0, 12)
	field := rapid.Uint32Range(1, 499).Draw(t, "field")
	num := protowire.Number(field)
	key := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xff}), syncengine.ElementKeySize, syncengine.ElementKeySize)
	switch {
	case field >= 300:
		k := key.Draw(t, "element")
		msg := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), k)
		msg = append(msg, content.Draw(t, "content")...)
		raw := protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), msg)
		return syncengine.Field{Path: syncengine.Path{Field: field, Key: string(k)}, Raw: raw}
	case field >= 200:
		code := content.Draw(t, "code")
		raw := protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), code)
		return syncengine.Field{Path: syncengine.Path{Field: field, Key: string(code)}, Raw: raw}
	}
	var raw []byte
	switch rapid.IntRange(0, 3).Draw(t, "type") {
	case 0:
		raw = protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), rapid.Uint64().Draw(t, "varint"))
	case 1:
		raw = protowire.AppendFixed32(protowire.AppendTag(nil, num, protowire.Fixed32Type), rapid.Uint32().Draw(t, "fixed32"))
	case 2:
		raw = protowire.AppendFixed64(protowire.AppendTag(nil, num, protowire.Fixed64Type), rapid.Uint64().Draw(t, "fixed64"))
	default:
		raw = protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), content.Draw(t, "bytes"))
	}
	return syncengine.Field{Path: syncengine.Path{Field: field}, Raw: raw}
}

// drawFields draws the fields of a body, in order.
func drawFields(t *rapid.T, least int) []syncengine.Field {
	path := func(f syncengine.Field) syncengine.Path { return f.Path }
	fields := rapid.SliceOfNDistinct(rapid.Custom(drawRaw), least, 12, path).Draw(t, "fields")
	slices.SortFunc(fields, func(a, b syncengine.Field) int { return a.Path.Compare(b.Path) })
	return fields
}

func splice(fields []syncengine.Field) (body []byte) {
	for _, f := range fields {
		body = append(body, f.Raw...)
	}
	return body
}

// A body of canonical fields in order parses into exactly these, and splices to
// the same bytes.
func TestParseBody(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		fields := drawFields(t, 0)
		got, err := syncengine.ParseBody(splice(fields))
		if err != nil {
			t.Fatal(err)
		}
		same := slices.EqualFunc(got, fields, func(a, b syncengine.Field) bool {
			return a.Path == b.Path && bytes.Equal(a.Raw, b.Raw)
		})
		if !same {
			t.Fatalf("got %v, want %v", got, fields)
		}
		for _, f := range fields {
			if err := syncengine.CheckRaw(f.Path, f.Raw); err != nil {
				t.Fatalf("%v: %v", f.Path, err)
			}
			if got := (&syncengine.Record{Body: splice(fields)}).Field(f.Path.Field); got == nil {
				t.Fatalf("%v: Field does not find it", f.Path)
			}
		}
	})
}

// longer returns the varint v in one byte more than it needs.
func longer(v uint64) []byte {
	b := protowire.AppendVarint(nil, v)
	b[len(b)-1] |= 0x80
	return append(b, 0)
}

// tagOf returns number, wire type and size of the tag of a raw field.
func tagOf(raw []byte) (num protowire.Number, typ protowire.Type, tag uint64, size int) {
	num, typ, size = protowire.ConsumeTag(raw)
	return num, typ, protowire.EncodeTag(num, typ), size
}

// bodyFaults turn the canonical fields of a body into one that is not canonical;
// nil where the fault does not fit the drawn field.
var bodyFaults = map[string]struct {
	err   error
	spoil func(t *rapid.T, fields []syncengine.Field, i int) []byte
}{
	"two fields change places": {syncengine.ErrFieldOrder, func(_ *rapid.T, fields []syncengine.Field, i int) []byte {
		if i == 0 {
			return nil
		}
		fields[i-1], fields[i] = fields[i], fields[i-1]
		return splice(fields)
	}},
	"a field stands twice": {syncengine.ErrFieldOrder, func(_ *rapid.T, fields []syncengine.Field, i int) []byte {
		return splice(slices.Insert(fields, i, fields[i]))
	}},
	"a tag is too long": {syncengine.ErrNotMinimal, func(_ *rapid.T, fields []syncengine.Field, i int) []byte {
		_, _, tag, size := tagOf(fields[i].Raw)
		fields[i].Raw = append(longer(tag), fields[i].Raw[size:]...)
		return splice(fields)
	}},
	"a number or length is too long": {syncengine.ErrNotMinimal, func(_ *rapid.T, fields []syncengine.Field, i int) []byte {
		_, typ, _, size := tagOf(fields[i].Raw)
		v, n := protowire.ConsumeVarint(fields[i].Raw[size:])
		if typ != protowire.VarintType && typ != protowire.BytesType || n == 10 {
			return nil
		}
		raw := append(slices.Clone(fields[i].Raw[:size]), longer(v)...)
		fields[i].Raw = append(raw, fields[i].Raw[size+n:]...)
		return splice(fields)
	}},
	"the body ends inside a field": {syncengine.ErrTruncated, func(t *rapid.T, fields []syncengine.Field, i int) []byte {
		body := splice(fields[:i])
		return append(body, fields[i].Raw[:rapid.IntRange(1, len(fields[i].Raw)-1).Draw(t, "cut")]...)
	}},
	"a group": {syncengine.ErrWireType, func(_ *rapid.T, fields []syncengine.Field, i int) []byte {
		num, _, _, _ := tagOf(fields[i].Raw)
		fields[i].Raw = protowire.AppendTag(protowire.AppendTag(nil, num, protowire.StartGroupType), num, protowire.EndGroupType)
		return splice(fields[:i+1])
	}},
	"a wire type that does not exist": {syncengine.ErrWireType, func(_ *rapid.T, fields []syncengine.Field, i int) []byte {
		num, _, _, _ := tagOf(fields[i].Raw)
		fields[i].Raw = protowire.AppendVarint(nil, uint64(num)<<3|7)
		return splice(fields[:i+1])
	}},
	"an element that is no message or string": {syncengine.ErrWireType, func(_ *rapid.T, fields []syncengine.Field, i int) []byte {
		num, _, _, _ := tagOf(fields[i].Raw)
		if num < 200 {
			return nil
		}
		fields[i].Raw = protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), 1)
		return splice(fields[:i+1])
	}},
	"a number beyond the shapes": {syncengine.ErrFieldNumber, func(t *rapid.T, fields []syncengine.Field, _ int) []byte {
		num := rapid.SampledFrom([]protowire.Number{500, 501, 1 << 20, protowire.MaxValidNumber}).Draw(t, "number")
		return protowire.AppendVarint(protowire.AppendTag(splice(fields), num, protowire.VarintType), 1)
	}},
	"the number zero": {syncengine.ErrFieldNumber, func(_ *rapid.T, fields []syncengine.Field, _ int) []byte {
		return append([]byte{0, 0}, splice(fields)...)
	}},
	"an element without its key": {syncengine.ErrElementKey, func(t *rapid.T, fields []syncengine.Field, i int) []byte {
		num, _, _, _ := tagOf(fields[i].Raw)
		if num < 300 {
			return nil
		}
		key := fields[i].Path.Key
		msg := rapid.SampledFrom([][]byte{
			nil, append([]byte{0x0a, 7}, key[:7]...), append([]byte{0x0a, 9, 0}, key...), append([]byte{0x12, 8}, key...),
			append([]byte{0x0a, 0x88, 0}, key...), {0x0a, 8},
		}).Draw(t, "message")
		fields[i].Raw = protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), msg)
		return splice(fields[:i+1])
	}},
}

func TestParseBodyRefusesWhatIsNotCanonical(t *testing.T) {
	t.Parallel()
	for name, fault := range bodyFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			met := false
			rapid.Check(t, func(t *rapid.T) {
				fields := drawFields(t, 1)
				body := fault.spoil(t, fields, rapid.IntRange(0, len(fields)-1).Draw(t, "at"))
				if body == nil {
					return
				}
				met = true
				if _, err := syncengine.ParseBody(body); !errors.Is(err, fault.err) {
					t.Fatalf("body %x: got %v, want %v", body, err, fault.err)
				}
			})
			if !met {
				t.Error("no draw met the fault")
			}
		})
	}
}

func TestCheckRawRefusesAnotherPath(t *testing.T) {
	t.Parallel()
	text := syncengine.StringField(fText, "calm")
	code := syncengine.StringField(fCodes, "police")
	for name, tc := range map[string]struct {
		path syncengine.Path
		raw  []byte
	}{
		"another field":   {syncengine.Path{Field: fRisk}, text},
		"a key too many":  {syncengine.Path{Field: fText, Key: "x"}, text},
		"another element": {syncengine.Path{Field: fCodes, Key: "ems"}, code},
		"no key":          {syncengine.Path{Field: fCodes}, code},
		"two fields":      {syncengine.Path{Field: fText}, slices.Concat(text, code)},
	} {
		if err := syncengine.CheckRaw(tc.path, tc.raw); !errors.Is(err, syncengine.ErrPathMismatch) {
			t.Errorf("%s: got %v, want %v", name, err, syncengine.ErrPathMismatch)
		}
	}
	if err := syncengine.CheckRaw(syncengine.Path{Field: fText}, nil); !errors.Is(err, syncengine.ErrTruncated) {
		t.Errorf("nothing: got %v, want %v", err, syncengine.ErrTruncated)
	}
}

func TestShapes(t *testing.T) {
	t.Parallel()
	for from, want := range map[uint32]syncengine.Shape{
		0: syncengine.ShapeInvalid, 1: syncengine.ShapeSingular, 199: syncengine.ShapeSingular,
		200: syncengine.ShapeCodeSet, 299: syncengine.ShapeCodeSet, 300: syncengine.ShapeElementSet,
		399: syncengine.ShapeElementSet, 400: syncengine.ShapeAppend, 499: syncengine.ShapeAppend, 500: syncengine.ShapeInvalid,
	} {
		if got := syncengine.ShapeOf(from); got != want {
			t.Errorf("field %d: got shape %d, want %d", from, got, want)
		}
	}
}

func TestRawValues(t *testing.T) {
	t.Parallel()
	str, yes := syncengine.StringField(fText, "né"), syncengine.BoolField(9, true)
	if got, ok := syncengine.RawString(str); got != "né" || !ok {
		t.Errorf("RawString of a string: got %q, %v", got, ok)
	}
	if got, ok := syncengine.RawVarint(yes); got != 1 || !ok {
		t.Errorf("RawVarint of true: got %d, %v", got, ok)
	}
	if v, ok := syncengine.RawVarint(syncengine.BoolField(9, false)); v != 0 || !ok {
		t.Errorf("RawVarint of false: got %d, %v", v, ok)
	}
	for name, raw := range map[string][]byte{"nothing": nil, "a cut string": str[:3], "a number": yes} {
		if got, ok := syncengine.RawString(raw); ok {
			t.Errorf("RawString of %s: got %q", name, got)
		}
	}
	for name, raw := range map[string][]byte{"nothing": nil, "a cut number": yes[:1], "a string": str} {
		if got, ok := syncengine.RawVarint(raw); ok {
			t.Errorf("RawVarint of %s: got %d", name, got)
		}
	}
}

// What ParseBody takes is the message's canonical encoding: other readers of the
// format agree that it is one, and its fields splice to the same bytes.
func FuzzParseBody(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(slices.Concat(syncengine.StringField(fLifecycle, "draft"), syncengine.StringField(fText, "calm"), syncengine.StringField(fCodes, "police")))
	f.Add(edit{path: syncengine.Path{Field: fPhones, Key: "element1"}, text: "555"}.raw())
	f.Add([]byte{0xa0, 0x01, 0x80, 0x00})
	f.Fuzz(func(t *testing.T, body []byte) {
		defer need.Brief(t)()
		fields, err := syncengine.ParseBody(body)
		if err != nil {
			return
		}
		if !bytes.Equal(splice(fields), body) {
			t.Fatal("the fields do not splice to the body")
		}
		if err := proto.Unmarshal(body, &emptypb.Empty{}); err != nil {
			t.Fatalf("no protobuf message: %v", err)
		}
		for i, field := range fields {
			if i > 0 && fields[i-1].Path.Compare(field.Path) >= 0 {
				t.Fatalf("path %v after %v", field.Path, fields[i-1].Path)
			}
			if err := syncengine.CheckRaw(field.Path, field.Raw); err != nil {
				t.Fatalf("path %v: %v", field.Path, err)
			}
			if num, _, _, size := tagOf(field.Raw); size != protowire.SizeTag(num) {
				t.Fatalf("path %v: a tag that is too long", field.Path)
			}
		}
		create := &tandemv1.RecordWrite{Record: sampleID[:], Kind: kindNumber, Act: tandemv1.Act_ACT_CREATE, Body: body}
		applied, err := syncengine.Apply(kind, nil, create, writerOf(1), newShelf())
		if err != nil {
			t.Fatalf("create: %v", err)
		}
		if !bytes.Equal(applied.Record.Body, body) {
			t.Fatal("a creation alters the body")
		}
	})
}
