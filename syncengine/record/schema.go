package record

import (
	"fmt"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// kind is one kind with what the rules derive from its descriptor.
type kind struct {
	syncengine.Kind
	rules   *tandemv1.KindRules
	message protoreflect.MessageType
	table   *table
	// rights by role; required fields by lifecycle code; rules over several fields.
	// shared: there is a right on the drafts of others (ofShared).
	rights   map[string][]cell
	shared   bool
	required map[string][]need
	review   []*rule
	// among are its rules over other records too; readBy the kinds whose rules read it.
	among  []*amongRule
	readBy []string
	// lists are all code lists.
	lists map[string]*list
	// about are the fields that name the records one is about.
	about []uint32
}

// table is what a walk over raw bytes must know of a message: its fields, by
// number and by name.
type table struct {
	fields []*field // by number; nil where the message has none
	byName map[string]*field
	// required is the number of fields that the message must have, firstRequired the
	// name of one. On kinds no field is: see required.go.
	required      int
	firstRequired string
	// slow: an annotation in it, or in a message in it, is the validator's alone.
	slow bool
}

// at returns the field of a number, nil where this version does not know it.
func (t *table) at(number uint32) *field {
	if uint64(number) < uint64(len(t.fields)) {
		return t.fields[number]
	}
	return nil
}

// field is one field of a kind, or of a message inside one.
type field struct {
	number   uint32
	name     string
	rules    *tandemv1.FieldRules
	desc     protoreflect.FieldDescriptor
	wire     protowire.Type
	text     bool // a string
	repeated bool
	maximum  uint64 // of a varint; zero for all of them
	message  *table // nil for scalars
	list     *list  // nil for fields without codes
	format   *format
	slow     bool // it has an annotation that is the validator's alone
}

// builder makes tables from descriptors.
type builder struct {
	domain *Domain
	tables map[protoreflect.FullName]*table
}

func (b *builder) kind(desc protoreflect.MessageDescriptor) (*kind, error) {
	rules, _ := proto.GetExtension(desc.Options(), tandemv1.E_Kind).(*tandemv1.KindRules)
	message, err := protoregistry.GlobalTypes.FindMessageByName(desc.FullName())
	if err != nil {
		return nil, fmt.Errorf("kind %s: %w", rules.GetName(), err)
	}
	t, err := b.table(desc)
	if err != nil {
		return nil, fmt.Errorf("kind %s: %w", rules.GetName(), err)
	}
	k := &kind{
		Kind: syncengine.Kind{
			Number:      rules.GetNumber(),
			Name:        rules.GetName(),
			Compartment: rules.GetCompartment(),
			Fields:      map[uint32]*syncengine.FieldRule{},
			Sealed:      map[string]bool{},
		},
		rules: rules, message: message, table: t, lists: b.domain.lists,
	}
	lifecycle := b.domain.lists[rules.GetLifecycle()]
	if lifecycle == nil {
		return nil, fmt.Errorf("kind %s: there is no code list %q for its lifecycle", k.Name, rules.GetLifecycle())
	}
	for _, c := range lifecycle.codes {
		if sealed[c.GetCode()] {
			k.Sealed[c.GetCode()] = true
		}
	}
	if k.Name == form {
		// Elsewhere what is retired may still be edited.
		k.Sealed[Retired] = true
	}
	for _, f := range t.byName {
		rule, err := f.engine()
		if err != nil {
			return nil, fmt.Errorf("kind %s: %w", k.Name, err)
		}
		k.Fields[f.number] = rule
	}
	for _, name := range []string{"person_id", "incident_id", "encounter_id"} {
		if f := t.byName[name]; f != nil {
			k.about = append(k.about, f.number)
		}
	}
	return k, nil
}

func (b *builder) table(desc protoreflect.MessageDescriptor) (*table, error) {
	if t := b.tables[desc.FullName()]; t != nil {
		return t, nil
	}
	t := &table{byName: map[string]*field{}}
	b.tables[desc.FullName()] = t
	for i := range desc.Fields().Len() {
		f, err := b.field(desc.Fields().Get(i))
		if err != nil {
			return nil, err
		}
		for len(t.fields) <= int(f.number) {
			t.fields = append(t.fields, nil)
		}
		t.fields[f.number], t.byName[f.name] = f, f
		if f.required() {
			if t.required++; t.firstRequired == "" {
				t.firstRequired = f.name
			}
		}
		t.slow = t.slow || f.slow || f.message != nil && f.message.slow
	}
	t.slow = t.slow || proto.HasExtension(desc.Options(), validate.E_Message)
	return t, nil
}

func (b *builder) field(desc protoreflect.FieldDescriptor) (*field, error) {
	rules, _ := proto.GetExtension(desc.Options(), tandemv1.E_Field).(*tandemv1.FieldRules)
	f := &field{
		number:   uint32(desc.Number()),
		name:     string(desc.Name()),
		rules:    rules,
		desc:     desc,
		repeated: desc.IsList(),
	}
	fault := func(what string) error { return fmt.Errorf("field %s: %s", desc.FullName(), what) }
	if desc.IsMap() || desc.ContainingOneof() != nil || desc.IsPacked() {
		return nil, fault("bodies have no maps, oneofs and packed fields")
	}
	switch desc.Kind() {
	case protoreflect.StringKind:
		f.wire, f.text = protowire.BytesType, true
	case protoreflect.BytesKind:
		f.wire = protowire.BytesType
	case protoreflect.BoolKind:
		f.wire, f.maximum = protowire.VarintType, 1
	case protoreflect.Uint32Kind:
		f.wire, f.maximum = protowire.VarintType, 1<<32-1
	case protoreflect.Uint64Kind, protoreflect.Int64Kind, protoreflect.Sint64Kind:
		f.wire = protowire.VarintType
	case protoreflect.FloatKind, protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind:
		f.wire = protowire.Fixed32Type
	case protoreflect.DoubleKind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		f.wire = protowire.Fixed64Type
	case protoreflect.MessageKind:
		f.wire = protowire.BytesType
		sub, err := b.table(desc.Message())
		if err != nil {
			return nil, err
		}
		f.message = sub
	default:
		return nil, fault("bodies have no fields of type " + desc.Kind().String())
	}
	if name := rules.GetCodes(); name != "" {
		if f.list = b.domain.lists[name]; f.list == nil {
			return nil, fault("there is no code list " + name)
		}
		if !f.text {
			return nil, fault("codes are strings")
		}
	}
	var ok bool
	f.format, ok = newFormat(desc)
	f.slow = !ok
	return f, nil
}

// engine returns what the engine must know of a field of a kind.
func (f *field) engine() (*syncengine.FieldRule, error) {
	rule := &syncengine.FieldRule{Number: f.number, Name: f.name, Policy: f.rules.GetMerge()}
	switch rule.Policy {
	case tandemv1.MergePolicy_MERGE_POLICY_UNSPECIFIED:
		return nil, fmt.Errorf("field %s has no merge policy", f.desc.FullName())
	case tandemv1.MergePolicy_MERGE_POLICY_SAFEST_HEAD:
		switch {
		case f.list != nil:
			rule.Caution = f.list.caution
		case f.desc.Kind() == protoreflect.BoolKind:
			rule.Caution = func(raw []byte) int {
				v, _ := syncengine.RawVarint(raw)
				return int(min(v, 1))
			}
		default:
			return nil, fmt.Errorf("field %s is shown by its safest head and has no order of caution: "+
				"give it a code list or make it a bool", f.desc.FullName())
		}
	case tandemv1.MergePolicy_MERGE_POLICY_STATE_MACHINE:
		steps := transitions[f.rules.GetCodes()]
		if steps == nil {
			return nil, fmt.Errorf("field %s is a state machine without a table of transitions", f.desc.FullName())
		}
		rule.Legal = steps.legal
		if order := safest[f.rules.GetCodes()]; order != nil {
			rule.Caution = cautionOf(order)
		}
	}
	return rule, nil
}
