package syncengine

import (
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Record is one record in its stored and wire form: body and stamps are spliced
// bytes that nobody re-marshals.
type Record struct {
	ID   ID
	Kind uint32
	// Body holds the displayed value of every path.
	Body []byte
	// Stamps is the canonical encoding of who wrote what: see State.
	Stamps []byte
	// Split keeps what the body was split into; nil where nobody keeps that, as in every
	// record that is stored.
	Split *SplitBody
}

// SplitBody keeps the fields of a body, for who reads a record several times on end. The
// zero one is filled by the first who asks for [Record.Fields]: others must not read the
// record at the same time.
type SplitBody struct {
	done   bool
	body   []byte
	fields []Field
	err    error
}

// splitOf keeps the fields of a body that was split already; nil fields leave that to who
// asks first.
func splitOf(body []byte, fields []Field) *SplitBody {
	if fields == nil {
		return &SplitBody{}
	}
	return &SplitBody{done: true, body: body, fields: fields}
}

// of reports whether it is that of a body.
func (s *SplitBody) of(body []byte) bool {
	return len(s.body) == len(body) && (len(body) == 0 || &s.body[0] == &body[0])
}

// Fields returns the paths of the body: see ParseBody. Who gets them does not change
// them.
func (r *Record) Fields() ([]Field, error) {
	switch s := r.Split; {
	case s == nil || s.done && !s.of(r.Body):
		return ParseBody(r.Body)
	case !s.done:
		fields, err := ParseBody(r.Body)
		*s = SplitBody{done: true, body: r.Body, fields: fields, err: err}
	}
	return r.Split.fields, r.Split.err
}

// Hash returns the row hash.
func (r *Record) Hash() RowHash { return HashRow(r.Body, r.Stamps) }

// Field returns the raw value of a singular field as displayed, nil where it is
// absent.
func (r *Record) Field(field uint32) []byte {
	for b := r.Body; len(b) > 0; {
		number, _, raw, err := splitField(b)
		if err != nil || number > field {
			return nil
		}
		if number == field {
			return raw
		}
		b = b[len(raw):]
	}
	return nil
}

// Text returns the string value of a singular field as displayed, empty where it
// is absent.
func (r *Record) Text(field uint32) string {
	s, _ := RawString(r.Field(field))
	return s
}

// Codes returns the codes of a code-set field as displayed, in byte order.
func (r *Record) Codes(field uint32) []string {
	var codes []string
	for b := r.Body; len(b) > 0; {
		f, err := parseField(b)
		if err != nil || f.Path.Field > field {
			break
		}
		if f.Path.Field == field {
			codes = append(codes, f.Path.Key)
		}
		b = b[len(f.Raw):]
	}
	return codes
}

// Lifecycle returns the displayed lifecycle code.
func (r *Record) Lifecycle() string { return r.Text(FieldLifecycle) }

// Compartment returns who may ever see the record: the kind's own compartment
// unless a stricter one was set at creation.
func (r *Record) Compartment(k *Kind) tandemv1.Compartment {
	if s, err := decodeHeader(r.Stamps); err == nil && s.Compartment != 0 {
		return s.Compartment
	}
	return k.Compartment
}

// Origin returns who created the record, on which device, when by its clock, and
// under which stamp.
func (r *Record) Origin() (Origin, error) {
	s, err := decodeHeader(r.Stamps)
	if err != nil {
		return Origin{}, err
	}
	return s.Origin, nil
}
