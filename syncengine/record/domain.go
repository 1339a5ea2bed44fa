package record

import (
	"fmt"
	"slices"
	"sync"

	"buf.build/go/protovalidate"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Domain knows the kinds. Immutable; safe for concurrent use.
type Domain struct {
	kinds     map[uint32]*kind
	byName    map[string]*kind
	byMessage map[protoreflect.FullName]*kind
	order     []*kind
	lists     map[string]*list
	validator protovalidate.Validator
}

var _ syncengine.Rules = (*Domain)(nil)

// New returns the domain. It is built from the descriptors at the first call;
// every call returns the same one. It panics where the contract that was
// compiled in contradicts itself, which the tests of this package exclude.
func New() *Domain { return built() }

var built = sync.OnceValue(func() *Domain {
	d, err := build()
	if err != nil {
		panic("the contract contradicts itself: " + err.Error())
	}
	return d
})

// contract lists the files that hold kinds and code lists.
var contract = []protoreflect.FileDescriptor{
	tandemv1.File_tandem_v1_codes_proto,
	tandemv1.File_tandem_v1_common_proto,
	tandemv1.File_tandem_v1_reference_proto,
	tandemv1.File_tandem_v1_operations_proto,
	tandemv1.File_tandem_v1_clinical_proto,
	tandemv1.File_tandem_v1_care_proto,
}

func build() (*Domain, error) {
	d := &Domain{
		kinds:     map[uint32]*kind{},
		byName:    map[string]*kind{},
		byMessage: map[protoreflect.FullName]*kind{},
		lists:     map[string]*list{},
	}
	for _, file := range contract {
		lists, _ := proto.GetExtension(file.Options(), tandemv1.E_CodeLists).([]*tandemv1.CodeList)
		for _, l := range lists {
			if d.lists[l.GetName()] != nil {
				return nil, fmt.Errorf("code list %s stands twice", l.GetName())
			}
			d.lists[l.GetName()] = newList(l)
		}
	}
	b := builder{domain: d, tables: map[protoreflect.FullName]*table{}}
	var messages []proto.Message
	for _, file := range contract {
		for i := range file.Messages().Len() {
			desc := file.Messages().Get(i)
			if !proto.HasExtension(desc.Options(), tandemv1.E_Kind) {
				continue
			}
			k, err := b.kind(desc)
			if err != nil {
				return nil, err
			}
			if d.kinds[k.Number] != nil || d.byName[k.Name] != nil {
				return nil, fmt.Errorf("kind %s stands twice", k.Name)
			}
			d.kinds[k.Number], d.byName[k.Name], d.byMessage[desc.FullName()] = k, k, k
			d.order = append(d.order, k)
			messages = append(messages, k.message.New().Interface())
		}
	}
	slices.SortFunc(d.order, func(a, b *kind) int { return int(a.Number) - int(b.Number) })
	for _, fill := range []func() error{d.fillRights, d.fillRequired, d.fillReview} {
		if err := fill(); err != nil {
			return nil, err
		}
	}
	var err error
	d.validator, err = protovalidate.New(
		protovalidate.WithMessages(messages...),
		protovalidate.WithDisableLazy(),
		// No rule of the contract reads the clock; one that did would see 1970.
		protovalidate.WithNowFunc(func() *timestamppb.Timestamp { return &timestamppb.Timestamp{} }),
	)
	if err != nil {
		return nil, fmt.Errorf("building the validator: %w", err)
	}
	return d, nil
}

// Kind returns the kind of a number, nil where this version does not know it.
func (d *Domain) Kind(number uint32) *syncengine.Kind {
	if k := d.kinds[number]; k != nil {
		return &k.Kind
	}
	return nil
}

// KindByName returns the kind of a name, nil where this version does not know it.
func (d *Domain) KindByName(name string) *syncengine.Kind {
	if k := d.byName[name]; k != nil {
		return &k.Kind
	}
	return nil
}

// KindOf returns the kind whose message msg is, nil for other messages.
func (d *Domain) KindOf(msg proto.Message) *syncengine.Kind {
	if k := d.kindOf(msg); k != nil {
		return &k.Kind
	}
	return nil
}

func (d *Domain) kindOf(msg proto.Message) *kind {
	if msg == nil {
		return nil
	}
	return d.byMessage[msg.ProtoReflect().Descriptor().FullName()]
}

// Kinds returns every kind in order of number.
func (d *Domain) Kinds() []*syncengine.Kind {
	kinds := make([]*syncengine.Kind, len(d.order))
	for i, k := range d.order {
		kinds[i] = &k.Kind
	}
	return kinds
}

// NewMessage returns an empty generated message of a kind, nil where this version
// does not know the kind.
func (d *Domain) NewMessage(number uint32) proto.Message {
	if k := d.kinds[number]; k != nil {
		return k.message.New().Interface()
	}
	return nil
}
