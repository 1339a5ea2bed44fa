package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Errors of messages that are no bodies.
var (
	// ErrUnknownKind: this version does not know the kind.
	ErrUnknownKind = errors.New("the kind is unknown to this version: update the app")
	// ErrElement: an element of a list of messages has no id of 8 bytes, or two
	// different ones share an id. EnsureElements fills in what is missing.
	ErrElement = errors.New("every element of a list needs an id of its own, 8 bytes")
)

// Body returns the canonical body of a kind's message: what a create carries.
func (d *Domain) Body(msg proto.Message) ([]byte, error) {
	k := d.kindOf(msg)
	if k == nil {
		return nil, ErrUnknownKind
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(msg)
	if err != nil {
		return nil, fmt.Errorf("encoding a %s: %w", k.Name, err)
	}
	fields, err := splitBody(k.table, raw)
	if err != nil {
		return nil, fmt.Errorf("encoding a %s: %w", k.Name, err)
	}
	slices.SortStableFunc(fields, func(a, b syncengine.Field) int { return a.Path.Compare(b.Path) })
	body := make([]byte, 0, len(raw))
	for i, f := range fields {
		if i > 0 && fields[i-1].Path == f.Path {
			if !bytes.Equal(fields[i-1].Raw, f.Raw) {
				return nil, fmt.Errorf("encoding a %s: %w", k.Name, ErrElement)
			}
			continue
		}
		body = append(body, f.Raw...)
	}
	if _, err := syncengine.ParseBody(body); err != nil {
		return nil, fmt.Errorf("encoding a %s: %w", k.Name, err)
	}
	return body, nil
}

// splitBody cuts an encoded message into its paths, each canonical inside.
func splitBody(t *table, raw []byte) ([]syncengine.Field, error) {
	var fields []syncengine.Field
	for len(raw) > 0 {
		num, typ, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		m := protowire.ConsumeFieldValue(num, typ, raw[n:])
		if m < 0 {
			return nil, protowire.ParseError(m)
		}
		one, err := canonical(t.at(uint32(num)), raw[:n+m], n)
		if err != nil {
			return nil, err
		}
		raw = raw[n+m:]
		f := syncengine.Field{Path: syncengine.Path{Field: uint32(num)}, Raw: one}
		switch syncengine.ShapeOf(uint32(num)) {
		case syncengine.ShapeCodeSet:
			f.Path.Key, _ = syncengine.RawString(one)
		case syncengine.ShapeElementSet, syncengine.ShapeAppend:
			key, ok := elementOf(one)
			if !ok {
				return nil, ErrElement
			}
			f.Path.Key = key
		}
		fields = append(fields, f)
	}
	return fields, nil
}

// elementOf returns the element id of a raw field that is a message.
func elementOf(raw []byte) (string, bool) {
	_, _, n := protowire.ConsumeTag(raw)
	msg, m := protowire.ConsumeBytes(raw[max(n, 0):])
	if n < 0 || m < 0 || len(msg) < 2+syncengine.ElementKeySize || msg[0] != 0x0a || msg[1] != syncengine.ElementKeySize {
		return "", false
	}
	return string(msg[2 : 2+syncengine.ElementKeySize]), true
}

// canonical puts the fields of a message, and of those in it, in order of number.
// The value of raw starts at its byte at.
func canonical(f *field, raw []byte, at int) ([]byte, error) {
	if f == nil || f.message == nil || protowire.Type(raw[0]&7) != protowire.BytesType {
		return raw, nil
	}
	msg, n := protowire.ConsumeBytes(raw[at:])
	if n < 0 {
		return nil, protowire.ParseError(n)
	}
	type part struct {
		num protowire.Number
		raw []byte
	}
	var parts []part
	for rest := msg; len(rest) > 0; {
		num, typ, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		m := protowire.ConsumeFieldValue(num, typ, rest[n:])
		if m < 0 {
			return nil, protowire.ParseError(m)
		}
		one, err := canonical(f.message.at(uint32(num)), rest[:n+m], n)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part{num, one})
		rest = rest[n+m:]
	}
	slices.SortStableFunc(parts, func(a, b part) int { return int(a.num) - int(b.num) })
	sorted := make([]byte, 0, len(msg))
	for _, p := range parts {
		sorted = append(sorted, p.raw...)
	}
	if bytes.Equal(sorted, msg) {
		return raw, nil
	}
	out := append(make([]byte, 0, len(raw)), raw[:at]...)
	return protowire.AppendBytes(out, sorted), nil
}

// Message returns the generated message of a record's displayed values. Fields of
// a newer version are kept inside it.
func (d *Domain) Message(rec *syncengine.Record) (proto.Message, error) {
	msg := d.NewMessage(rec.Kind)
	if msg == nil {
		return nil, ErrUnknownKind
	}
	if err := proto.Unmarshal(rec.Body, msg); err != nil {
		return nil, fmt.Errorf("reading a %s: %w", d.kinds[rec.Kind].Name, err)
	}
	return msg, nil
}

// Diff returns the paths in which after differs from before, with after's raw
// values, in order; Raw is nil for a path that after clears. before may be nil.
// Both must be messages of one kind.
func (d *Domain) Diff(before, after proto.Message) ([]syncengine.Field, error) {
	if k := d.kindOf(after); k == nil || (before != nil && d.kindOf(before) != k) {
		return nil, ErrUnknownKind
	}
	var old []byte
	if before != nil {
		var err error
		if old, err = d.Body(before); err != nil {
			return nil, err
		}
	}
	body, err := d.Body(after)
	if err != nil {
		return nil, err
	}
	return DiffBodies(old, body)
}

// DiffBodies is Diff of two canonical bodies. The fields share memory with after.
func DiffBodies(before, after []byte) ([]syncengine.Field, error) {
	old, err := syncengine.ParseBody(before)
	if err != nil {
		return nil, err
	}
	now, err := syncengine.ParseBody(after)
	if err != nil {
		return nil, err
	}
	var writes []syncengine.Field
	for len(old) > 0 || len(now) > 0 {
		var order int
		switch {
		case len(old) == 0:
			order = 1
		case len(now) == 0:
			order = -1
		default:
			order = old[0].Path.Compare(now[0].Path)
		}
		switch {
		case order < 0:
			writes = append(writes, syncengine.Field{Path: old[0].Path})
		case order > 0 || !bytes.Equal(old[0].Raw, now[0].Raw):
			writes = append(writes, now[0])
		}
		if order <= 0 {
			old = old[1:]
		}
		if order >= 0 {
			now = now[1:]
		}
	}
	return writes, nil
}

// EnsureElements gives an id of 8 bytes from rand to each element of the
// message's lists of messages that has none.
func (d *Domain) EnsureElements(msg proto.Message, rand io.Reader) error {
	k := d.kindOf(msg)
	if k == nil {
		return ErrUnknownKind
	}
	m := msg.ProtoReflect()
	for _, f := range k.table.fields {
		if f == nil || !f.repeated || f.message == nil || !m.Has(f.desc) {
			continue
		}
		elements := m.Get(f.desc).List()
		id := f.desc.Message().Fields().ByNumber(1)
		for i := range elements.Len() {
			e := elements.Get(i).Message()
			if len(e.Get(id).Bytes()) != 0 {
				continue
			}
			var key [syncengine.ElementKeySize]byte
			if _, err := io.ReadFull(rand, key[:]); err != nil {
				return fmt.Errorf("making an element id: %w", err)
			}
			e.Set(id, protoreflect.ValueOfBytes(key[:]))
		}
	}
	return nil
}
