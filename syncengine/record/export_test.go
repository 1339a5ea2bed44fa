package record

import (
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Lists returns the names of the code lists.
func (d *Domain) Lists() []string {
	var names []string
	for name := range d.lists {
		names = append(names, name)
	}
	return names
}

// StateMachine returns the codes that a table of transitions knows, with those
// that follow each; nil where there is no table.
func StateMachine(list string) map[string][]string { return transitions[list] }

// StateMachines returns the names of the tables of transitions.
func StateMachines() []string {
	var names []string
	for name := range transitions {
		names = append(names, name)
	}
	return names
}

// Slow reports whether a kind needs the validator in Check.
func (d *Domain) Slow(kind string) bool { return d.byName[kind].table.slow }

// Descriptor returns the descriptor of a kind.
func (d *Domain) Descriptor(kind string) protoreflect.MessageDescriptor {
	return d.byName[kind].message.Descriptor()
}

// FaultName is what Check says of a raw field, by the name of the message and the
// number of the field.
func FaultName(desc protoreflect.MessageDescriptor, number uint32, raw []byte) (string, error) {
	b := builder{domain: New(), tables: map[protoreflect.FullName]*table{}}
	t, err := b.table(desc)
	if err != nil {
		return "", err
	}
	return t.at(number).faultName(raw), nil
}

// Invalid is what the validator says of a message.
func (d *Domain) Invalid(msg proto.Message) []string { return d.invalid(msg) }

// MatrixCell is one right, for the tests of the matrix.
type MatrixCell struct {
	Kind, Role string
	Fields     []string
	Only       []tandemv1.Compartment
}

// MatrixCells returns every right.
func MatrixCells() []MatrixCell {
	var out []MatrixCell
	for kind, roles := range matrix {
		for role, cells := range roles {
			for _, c := range cells {
				out = append(out, MatrixCell{Kind: kind, Role: role, Fields: c.fields, Only: c.in})
			}
		}
	}
	return out
}

// RuleWords are the words of one rule.
type RuleWords struct{ Name, Kind, EN, ES string }

// Rules returns the rules over several fields.
func Rules() []RuleWords {
	var out []RuleWords
	for _, r := range rules {
		out = append(out, RuleWords{r.name, r.kind, r.en, r.es})
	}
	return out
}
