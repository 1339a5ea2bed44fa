package mapping

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// shape is what a field takes.
type shape uint8

const (
	text shape = iota + 1
	code
	boolean
	whole
	decimal
	moment   // an Instant
	codes    // a set of codes
	elements // a list of messages
)

// target is a field as sources see it.
type target struct {
	name string
	desc protoreflect.FieldDescriptor
	// list is the code list; empty where the field has none.
	list   string
	mapped *Mapping
	shape  shape
}

// set reports whether the field takes several values.
func (t target) set() bool { return t.shape == codes || t.shape == elements }

var (
	instantName = (&tandemv1.Instant{}).ProtoReflect().Descriptor().FullName()
	number      = regexp.MustCompile(`^[+-]?[0-9]{1,15}(\.[0-9]{1,15})?$`)
)

func newTarget(m *Mapping, name string, desc protoreflect.FieldDescriptor, list string) (target, error) {
	t := target{name: name, desc: desc, list: list, mapped: m}
	switch {
	case desc.IsList() && desc.Kind() == protoreflect.StringKind && list != "":
		t.shape = codes
	case desc.IsList() && desc.Kind() == protoreflect.MessageKind:
		t.shape = elements
	case desc.IsList():
		return t, errors.New("takes values that no spreadsheet has")
	case desc.Kind() == protoreflect.StringKind && list != "":
		t.shape = code
	case desc.Kind() == protoreflect.StringKind:
		t.shape = text
	case desc.Kind() == protoreflect.BoolKind:
		t.shape = boolean
	case desc.Kind() == protoreflect.Uint32Kind:
		t.shape = whole
	case desc.Kind() == protoreflect.DoubleKind:
		t.shape = decimal
	case desc.Kind() == protoreflect.MessageKind && desc.Message().FullName() == instantName:
		t.shape = moment
	case desc.Kind() == protoreflect.MessageKind:
		return t, fmt.Errorf("holds several values: name one of them, for example %s.%s", name, desc.Message().Fields().Get(0).Name())
	default:
		return t, errors.New("takes values that no spreadsheet has")
	}
	return t, nil
}

// parse returns the value that a text stands for. The error says what the field
// takes, and not what it was given.
func (t target) parse(s string) (protoreflect.Value, error) {
	switch t.shape {
	case text:
		return protoreflect.ValueOfString(s), nil
	case code, codes:
		if !t.mapped.domain.HasCode(t.list, s) {
			return protoreflect.Value{}, errors.New("is no code of the list " + t.list)
		}
		return protoreflect.ValueOfString(s), nil
	case boolean:
		switch strings.ToLower(s) {
		case "true":
			return protoreflect.ValueOfBool(true), nil
		case "false":
			return protoreflect.ValueOfBool(false), nil
		}
		return protoreflect.Value{}, errors.New("is neither true nor false")
	case whole:
		v, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return protoreflect.Value{}, errors.New("is no whole number from 0 on")
		}
		return protoreflect.ValueOfUint32(uint32(v)), nil
	case decimal:
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || !number.MatchString(s) || math.IsInf(v, 0) {
			return protoreflect.Value{}, errors.New("is no decimal number")
		}
		return protoreflect.ValueOfFloat64(v), nil
	}
	return protoreflect.Value{}, errors.New("has no form that one text could give")
}

// fieldPlan is one field of the mapping: where it goes and what it comes from.
type fieldPlan struct {
	target target
	// path leads to it through messages.
	path []protoreflect.FieldDescriptor
	from source
	// elements are the sources of the elements of a list of messages.
	elements []elementPlan
}

// elementPlan is one element of a list of messages.
type elementPlan struct {
	fields []fieldPlan
}

// envelope lists the fields that an import sets itself.
var envelope = map[string]string{
	"agency_id":   "the device's own person decides it",
	"program_id":  "the device's own person decides it",
	"team_id":     "the device's own person decides it",
	"lifecycle":   "imports end as their kind does",
	"void_reason": "nothing is imported void",
	"tz":          "it is the mapping's zone",
	"schema":      "it is this version's",
}

// readField reads one entry of fields.
func (m *Mapping) readField(e entry) (fieldPlan, error) {
	if why, own := envelope[e.key]; own {
		return fieldPlan{}, fault(e.at, "%s cannot be mapped: %s", e.key, why)
	}
	msg := m.domain.NewMessage(m.kind.Number).ProtoReflect().Descriptor()
	return m.readPlan(e, e.key, msg, m.kind.Name)
}

// readPlan reads the entry of a field of msg; prefix is the name of msg, dotted, as
// the domain knows it.
func (m *Mapping) readPlan(e entry, name string, msg protoreflect.MessageDescriptor, prefix string) (fieldPlan, error) {
	var plan fieldPlan
	parts := strings.Split(name, ".")
	for i, part := range parts {
		desc := msg.Fields().ByName(protoreflect.Name(part))
		if desc == nil {
			return plan, fault(e.at, "%s has no field %q", prefix, part)
		}
		if i < len(parts)-1 {
			if desc.IsList() || desc.Kind() != protoreflect.MessageKind || desc.Message().FullName() == instantName {
				return plan, fault(e.at, "%s has no parts that could be named", part)
			}
			msg = desc.Message()
			prefix = part
		}
		plan.path = append(plan.path, desc)
	}
	last := plan.path[len(plan.path)-1]
	if last.Kind() == protoreflect.BytesKind {
		return plan, fault(e.at, "%s cannot be mapped: it is made by the import", name)
	}
	var err error
	if plan.target, err = newTarget(m, name, last, fieldRules(last).GetCodes()); err != nil {
		return plan, fault(e.at, "%s %s", name, err)
	}
	o, err := readObject(e.value, name, sourceKeys...)
	if err != nil {
		return plan, err
	}
	if plan.target.shape == elements {
		plan.elements, err = m.readElements(o, plan.target)
		return plan, err
	}
	plan.from, err = m.readSource(o, plan.target)
	return plan, err
}

// readElements reads the elements of a list of messages.
func (m *Mapping) readElements(o object, t target) ([]elementPlan, error) {
	n := o.get("elements")
	if n == nil || len(o.entries) != 1 || n.Kind != yaml.SequenceNode || len(n.Content) == 0 || len(n.Content) > 100 {
		return nil, fault(o.node, "%s is a list: write elements, with one entry for each", t.name)
	}
	var plans []elementPlan
	for _, c := range n.Content {
		fields, err := readObject(c, "an element of "+t.name)
		if err != nil {
			return nil, err
		}
		if len(fields.entries) == 0 {
			return nil, fault(c, "an element of %s is empty", t.name)
		}
		var plan elementPlan
		for _, e := range fields.entries {
			f, err := m.readPlan(e, e.key, t.desc.Message(), t.name)
			if err != nil {
				return nil, err
			}
			f.target.name = t.name + "." + f.target.name
			plan.fields = append(plan.fields, f)
		}
		plans = append(plans, plan)
	}
	return plans, nil
}

// put sets the field in msg to what the row says. It returns whether the row said
// anything.
func (p *fieldPlan) put(msg protoreflect.Message, r *row) (said bool) {
	if p.target.shape == elements {
		for i := range p.elements {
			said = p.putElement(msg, r, i) || said
		}
		return said
	}
	values, bad := p.from.read(r)
	if bad.reason != "" {
		r.fault(bad.column, p.target.name, bad.reason)
		return false
	}
	if len(values) == 0 {
		return false
	}
	for _, step := range p.path[:len(p.path)-1] {
		msg = msg.Mutable(step).Message()
	}
	if !p.target.set() {
		msg.Set(p.target.desc, values[0])
		return !p.from.constant
	}
	list := msg.Mutable(p.target.desc).List()
	for _, v := range values {
		if !has(list, v) {
			list.Append(v)
		}
	}
	r.several = r.several || list.Len() > 1
	return !p.from.constant
}

func has(list protoreflect.List, v protoreflect.Value) bool {
	for i := range list.Len() {
		if list.Get(i).String() == v.String() {
			return true
		}
	}
	return false
}

// putElement adds an element where the row says anything of it; constants alone
// make none, unless there is nothing else.
func (p *fieldPlan) putElement(msg protoreflect.Message, r *row, at int) bool {
	element := p.target.desc.Message()
	list := msg.Mutable(p.target.desc).List()
	one := list.NewElement()
	said, constant := false, true
	for i := range p.elements[at].fields {
		f := &p.elements[at].fields[i]
		said = f.put(one.Message(), r) || said
		constant = constant && f.from.constant
	}
	if !said && !constant {
		if list.Len() == 0 {
			msg.Clear(p.target.desc)
		}
		return false
	}
	one.Message().Set(element.Fields().ByNumber(1), protoreflect.ValueOfBytes(elementID(r.id, uint32(p.target.desc.Number()), at)))
	list.Append(one)
	return said
}

// elementID derives the id of an element, so that the same row makes the same.
func elementID(id syncengine.ID, field uint32, at int) []byte {
	h := sha256.New()
	h.Write([]byte("tandem-import-element-v1"))
	h.Write(id[:])
	var b [8]byte
	binary.BigEndian.PutUint32(b[:4], field)
	binary.BigEndian.PutUint32(b[4:], uint32(at))
	h.Write(b[:])
	return h.Sum(nil)[:syncengine.ElementKeySize]
}
