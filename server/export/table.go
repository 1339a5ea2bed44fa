package export

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	contract "github.com/tandem-response/tandem/proto"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Types of columns, as the codebook names them.
const (
	typeText    = "text"
	typeCode    = "code"
	typeID      = "id"
	typeDate    = "date"
	typeInstant = "instant"
	// typeLocal is an instant with the offset of the place where the record was made.
	typeLocal   = "instant_local"
	typeInteger = "integer"
	typeNumber  = "number"
	typeBoolean = "boolean"
	typeHex     = "hex"
	// typeJSON is what has no columns of its own, such as the questions of a form.
	typeJSON = "json"
)

// column is one column of a table.
type column struct {
	name, typ string
	// rules of the field, nil for columns that are no field of the record.
	rules *tandemv1.FieldRules
	// field itself, and what de-identification does with it: a field inside a message
	// that is dropped is dropped with it.
	field  protoreflect.FieldDescriptor
	harbor tandemv1.SafeHarbor
	// label of a code, for a column of labels, which follows that of the codes.
	label func(code string) any
	// meaning in words, for those.
	en, es, about string
	required      bool
	deprecated    bool
	// value of a row: nil, string, int64, float64, bool or time.Time.
	value func(r *row) any
	// set is what value was, from a cell that is not empty: nil for what follows from others.
	set func(r *row, cell string) error
}

// place finds the message in a row that a field is of: nil where it is absent, unless it is
// to be made.
type place func(r *row, made bool) protoreflect.Message

// table is one file of an export.
type table struct {
	name string
	kind *syncengine.Kind
	// field that the rows are elements of, nil for a table of records; inner is the field
	// of an element that holds several values again, each a row then.
	field    protoreflect.FieldDescriptor
	inner    protoreflect.FieldDescriptor
	columns  []column
	children []*table
}

// row is what a line is made of.
type row struct {
	rec    *syncengine.StoredRecord
	kind   *syncengine.Kind
	stamps *tandemv1.Stamps
	zone   *time.Location
	msg    protoreflect.Message
	// of a child: its place, and the element or the code.
	ordinal int64
	element protoreflect.Message
	code    string
	// level is how much coarser it was made in a de-identified set.
	level uint8
	// place and inner are those of a value inside the element.
	place int64
	inner protoreflect.Message
}

// plurals of kinds that do not just take an s.
var plurals = map[string]string{"agency": "agencies", "person": "people", "staff": "staff"}

// childNames are tables whose name is not that of kind and field.
var childNames = map[string]string{
	"incident_force_types":       "incident_force",
	"encounter_presenting_other": "encounter_presenting",
	"form_response_answers":      "form_answers",
}

func plural(kind string) string {
	if p, ok := plurals[kind]; ok {
		return p
	}
	return kind + "s"
}

// tables returns the tables of every kind, in the order of kind numbers.
func tables(domain *record.Domain, own *record.OwnCodes, lang string) ([]*table, error) {
	var all []*table
	for _, k := range domain.Kinds() {
		desc := domain.NewMessage(k.Number).ProtoReflect().Descriptor()
		b := &builder{domain: domain, own: own, lang: lang}
		t := &table{name: plural(k.Name), kind: k}
		t.columns = append(t.columns, column{name: "id", typ: typeID, en: "Record", es: "Registro", about: "Id of the record (ULID).", required: true,
			value: func(r *row) any { return r.rec.ID.String() }, set: func(r *row, cell string) (err error) {
				r.rec.ID, err = syncengine.ParseID(cell)
				return err
			}})
		t.columns = append(t.columns, stamped...)
		fields := desc.Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			if !f.IsList() {
				b.flatten(&t.columns, string(f.Name()), f, 0, func(r *row, _ bool) protoreflect.Message { return r.msg })
				continue
			}
			t.children = append(t.children, b.child(k, f))
		}
		all = append(all, t)
		all = append(all, t.children...)
	}
	return all, checkTables(all)
}

// checkTables refuses names that would be there twice.
func checkTables(all []*table) error {
	seen := map[string]bool{}
	for _, t := range all {
		if seen[t.name] {
			return fmt.Errorf("two tables called %s", t.name)
		}
		seen[t.name] = true
		columns := map[string]bool{}
		for _, c := range t.columns {
			if columns[c.name] {
				return fmt.Errorf("two columns of %s called %s", t.name, c.name)
			}
			columns[c.name] = true
		}
	}
	return nil
}

// stamped are the columns that every record has beside its fields.
var stamped = []column{
	{name: "seq", typ: typeInteger, required: true, en: "Sequence", es: "Secuencia", about: "Sequence of the record's newest state at the server.",
		value: func(r *row) any { return int64(r.rec.Seq) }},
	{name: "record_rev", typ: typeInteger, required: true, en: "Revision", es: "Revisión", about: "Signed and amended states so far; 0 is a draft.",
		value: func(r *row) any { return int64(r.stamps.GetRev()) }, set: func(r *row, cell string) error {
			rev, err := strconv.ParseUint(cell, 10, 32)
			r.stamps.Rev = uint32(rev)
			return err
		}},
	{name: "compartment", typ: typeText, required: true, en: "Compartment", es: "Compartimento", about: "Who may ever see the record: ref, ops, clinical or sud.",
		value: func(r *row) any { return compartmentName(r.rec.Compartment(r.kind)) }, set: func(r *row, cell string) error {
			in, ok := tandemv1.Compartment_value["COMPARTMENT_"+strings.ToUpper(cell)]
			if r.stamps.Compartment = tandemv1.Compartment(in); !ok {
				return errCell
			}
			return nil
		}},
	{name: "created_by", typ: typeID, en: "Created by", es: "Creado por", about: "Staff record of the author; the org's own id where the server made it.",
		value: func(r *row) any { return idText(r.stamps.GetAuthor()) }, set: func(r *row, cell string) error {
			id, err := syncengine.ParseID(cell)
			r.stamps.Author = id[:]
			return err
		}},
	{name: "created_on", typ: typeID, en: "Created on", es: "Creado en", about: "Device record; empty where the server made it.",
		value: func(r *row) any { return idText(r.stamps.GetDevice()) }, set: func(r *row, cell string) error {
			id, err := syncengine.ParseID(cell)
			r.stamps.Device = id[:]
			return err
		}},
	{name: "created_at", typ: typeInstant, en: "Created", es: "Creación", about: "Time of creation by the clock of the device.",
		value: func(r *row) any { return instant(r.stamps.GetAtMs()) }, set: func(r *row, cell string) (err error) {
			r.stamps.AtMs, err = readInstant(cell)
			return err
		}},
	{name: "created_at_local", typ: typeLocal, en: "Created, local time", es: "Creación, hora local", about: "The same with the offset of the record's time zone.",
		value: func(r *row) any { return local(instant(r.stamps.GetAtMs()), r.zone) }},
	{name: "import_mapping", typ: typeText, en: "Imported by mapping", es: "Importado con el mapeo", about: "Mapping of an imported record.",
		value: func(r *row) any { return orNil(r.stamps.GetImportedFrom().GetMapping()) }, set: func(r *row, cell string) error {
			r.imported().Mapping = cell
			return nil
		}},
	{name: "import_file", typ: typeHex, en: "Imported file", es: "Archivo importado", about: "SHA-256 of the file that it came from.",
		value: func(r *row) any { return hexText(r.stamps.GetImportedFrom().GetFile()) }, set: func(r *row, cell string) (err error) {
			r.imported().File, err = hex.DecodeString(cell)
			return err
		}},
	{name: "import_row", typ: typeInteger, en: "Imported row", es: "Fila importada", about: "Row in that file; the header is row 1.",
		value: func(r *row) any {
			if r.stamps.GetImportedFrom() == nil {
				return nil
			}
			return int64(r.stamps.GetImportedFrom().GetRow())
		}, set: func(r *row, cell string) error {
			// A device may say any number: one beyond what the column holds is one below zero there.
			n, err := strconv.ParseInt(cell, 10, 64)
			r.imported().Row = uint64(n)
			return err
		}},
}

func (r *row) imported() *tandemv1.Import {
	if r.stamps.ImportedFrom == nil {
		r.stamps.ImportedFrom = &tandemv1.Import{}
	}
	return r.stamps.ImportedFrom
}

// builder makes columns of the fields of the contract.
type builder struct {
	domain *record.Domain
	own    *record.OwnCodes
	lang   string
}

// child is the table of a field that holds several values.
func (b *builder) child(k *syncengine.Kind, f protoreflect.FieldDescriptor) *table {
	name := k.Name + "_" + string(f.Name())
	if n, ok := childNames[name]; ok {
		name = n
	}
	t := &table{name: name, kind: k, field: f}
	t.columns = []column{
		{name: k.Name + "_id", typ: typeID, required: true, en: "Record", es: "Registro", about: "Record that the value is of.",
			value: func(r *row) any { return r.rec.ID.String() }, set: func(r *row, cell string) (err error) {
				r.rec.ID, err = syncengine.ParseID(cell)
				return err
			}},
		{name: "ordinal", typ: typeInteger, required: true, en: "Place", es: "Posición", about: "Place among the values of the record, from 1.",
			value: func(r *row) any { return r.ordinal }, set: func(r *row, cell string) (err error) {
				r.ordinal, err = strconv.ParseInt(cell, 10, 64)
				return err
			}},
	}
	if f.Kind() != protoreflect.MessageKind {
		c := b.column("value", f, 0)
		c.required = true
		c.value = func(r *row) any { return r.code }
		c.set = func(r *row, cell string) error { r.code = cell; return nil }
		b.add(&t.columns, c)
		return t
	}
	fields := f.Message().Fields()
	for i := range fields.Len() {
		e := fields.Get(i)
		if !e.IsList() || e.Kind() != protoreflect.MessageKind {
			b.flatten(&t.columns, string(e.Name()), e, harborOf(f, 0), func(r *row, _ bool) protoreflect.Message { return r.element })
			continue
		}
		t.inner = e
		name := strings.TrimSuffix(string(e.Name()), "s")
		t.columns = append(t.columns, column{name: name + "_ordinal", typ: typeInteger, en: "Place of the value", es: "Posición del valor",
			about: "Place of the value in its element, from 1; empty where it has none.",
			value: func(r *row) any {
				if r.place == 0 {
					return nil
				}
				return r.place
			}, set: func(r *row, cell string) (err error) {
				r.place, err = strconv.ParseInt(cell, 10, 64)
				return err
			}})
		of := e.Message().Fields()
		for i := range of.Len() {
			b.flatten(&t.columns, name+"_"+string(of.Get(i).Name()), of.Get(i), harborOf(e, harborOf(f, 0)), func(r *row, _ bool) protoreflect.Message { return r.inner })
		}
	}
	return t
}

// deep reports whether a message holds lists, which have no columns.
func deep(m protoreflect.MessageDescriptor) bool {
	fields := m.Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); f.IsList() || f.Kind() == protoreflect.MessageKind && deep(f.Message()) {
			return true
		}
	}
	return false
}

// asJSON is a message as text, the same bytes each time.
func asJSON(m protoreflect.Message) any {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m.Interface())
	if err != nil {
		return nil
	}
	// Its white space is not stable on purpose.
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return nil
	}
	return compact.String()
}

// instantName is the message of moments.
var instantName = (*tandemv1.Instant)(nil).ProtoReflect().Descriptor().FullName()

// flatten adds the columns of a singular field, those inside a message under its name.
func (b *builder) flatten(into *[]column, name string, f protoreflect.FieldDescriptor, above tandemv1.SafeHarbor, of place) {
	if f.Kind() != protoreflect.MessageKind {
		c := b.column(name, f, above)
		c.value = func(r *row) any { return scalar(of(r, false), f) }
		c.set = func(r *row, cell string) error { return setScalar(of(r, true), f, cell) }
		b.add(into, c)
		return
	}
	inner := func(r *row, made bool) protoreflect.Message {
		m := of(r, made)
		switch {
		case m == nil:
			return nil
		case made:
			return m.Mutable(f).Message()
		case m.Has(f):
			return m.Get(f).Message()
		}
		return nil
	}
	if deep(f.Message()) {
		c := b.column(name, f, above)
		c.typ = typeJSON
		c.value = func(r *row) any {
			if m := inner(r, false); m != nil {
				return asJSON(m)
			}
			return nil
		}
		c.set = func(r *row, cell string) error {
			if m := inner(r, true); m != nil {
				return protojson.Unmarshal([]byte(cell), m.Interface())
			}
			return errCell
		}
		*into = append(*into, c)
		return
	}
	fields := f.Message().Fields()
	if f.Message().FullName() != instantName {
		for i := range fields.Len() {
			sub := fields.Get(i)
			b.flatten(into, name+"_"+string(sub.Name()), sub, harborOf(f, above), inner)
		}
		return
	}
	// A moment: in UTC and with the offset of its place, then how it is known.
	at := func(r *row) any {
		m := inner(r, false)
		if m == nil {
			return nil
		}
		return instant(m.Get(fields.ByName("at_ms")).Int())
	}
	utc := b.column(name, f, above)
	utc.typ, utc.value = typeInstant, at
	utc.set = func(r *row, cell string) error {
		ms, err := readInstant(cell)
		if m := inner(r, true); m != nil && err == nil {
			m.Set(fields.ByName("at_ms"), protoreflect.ValueOfInt64(ms))
			return nil
		}
		return errCell
	}
	there := b.column(name+"_local", f, above)
	there.typ, there.about = typeLocal, "The same with the offset of the record's time zone; UTC where that is not known."
	there.value = func(r *row) any { return local(at(r), r.zone) }
	*into = append(*into, utc, there)
	for _, sub := range []protoreflect.Name{"origin", "precision"} {
		b.flatten(into, name+"_"+string(sub), fields.ByName(sub), harborOf(f, above), inner)
	}
}

// add appends a column, and that of the labels where they are wanted.
func (b *builder) add(into *[]column, c column) {
	*into = append(*into, c)
	if c.typ != typeCode || b.lang == "" {
		return
	}
	list, value, lang := c.rules.GetCodes(), c.value, b.lang
	label := column{name: c.name + "_label", typ: typeText, rules: proto.CloneOf(c.rules), harbor: c.harbor, about: "Label of the code."}
	label.rules.Codes = nil
	label.label = func(code string) any { return b.own.Label(b.domain, list, code, lang) }
	label.value = func(r *row) any {
		code, ok := value(r).(string)
		if !ok {
			return nil
		}
		return label.label(code)
	}
	*into = append(*into, label)
}

// datePattern is what the contract asks of days.
const datePattern = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"

// harborOf is what de-identification does with a field that is inside of another: what is
// dropped above is dropped, and what is not stated is.
func harborOf(f protoreflect.FieldDescriptor, above tandemv1.SafeHarbor) tandemv1.SafeHarbor {
	rules, _ := proto.GetExtension(f.Options(), tandemv1.E_Field).(*tandemv1.FieldRules)
	if own := rules.GetSafeHarbor(); above != tandemv1.SafeHarbor_SAFE_HARBOR_DROP && own != 0 {
		return own
	}
	return tandemv1.SafeHarbor_SAFE_HARBOR_DROP
}

// column describes a field.
func (b *builder) column(name string, f protoreflect.FieldDescriptor, above tandemv1.SafeHarbor) column {
	rules, _ := proto.GetExtension(f.Options(), tandemv1.E_Field).(*tandemv1.FieldRules)
	c := column{name: name, rules: rules, en: rules.GetEn(), es: rules.GetEs(), typ: typeText, field: f, harbor: harborOf(f, above)}
	c.about = contract.Definition(string(f.Parent().Name()), string(f.Name()))
	if o, ok := f.Options().(interface{ GetDeprecated() bool }); ok {
		c.deprecated = o.GetDeprecated()
	}
	limits, _ := proto.GetExtension(f.Options(), validate.E_Field).(*validate.FieldRules)
	c.required = limits.GetRequired()
	switch f.Kind() {
	case protoreflect.BoolKind:
		c.typ = typeBoolean
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		c.typ = typeNumber
	case protoreflect.BytesKind:
		c.typ = typeHex
	case protoreflect.StringKind:
		switch {
		case rules.GetCodes() != "":
			c.typ = typeCode
		case rules.GetRef() != "":
			c.typ = typeID
		case limits.GetString().GetPattern() == datePattern:
			c.typ = typeDate
		}
	case protoreflect.MessageKind:
	default:
		c.typ = typeInteger
	}
	return c
}

// scalar is the value of a field, nil where it is absent.
func scalar(m protoreflect.Message, f protoreflect.FieldDescriptor) any {
	if m == nil || !m.Has(f) {
		return nil
	}
	switch v := m.Get(f).Interface().(type) {
	case string:
		return orNil(v)
	case []byte:
		return hexText(v)
	case int32:
		return int64(v)
	case uint32:
		return int64(v)
	case int64, float64, bool:
		return v
	case uint64:
		return int64(v)
	case float32:
		return float64(v)
	}
	return nil
}

// each calls f for each row that a record has in a table.
func (t *table) each(r *row, f func(*row) error) error {
	if t.field == nil {
		return f(r)
	}
	list := r.msg.Get(t.field).List()
	for i := range list.Len() {
		r.ordinal = int64(i) + 1
		if t.field.Kind() == protoreflect.MessageKind {
			r.element = list.Get(i).Message()
		} else {
			r.code = list.Get(i).String()
		}
		if err := t.values(r, f); err != nil {
			return err
		}
	}
	return nil
}

// values calls f for each value inside an element, once where there is none.
func (t *table) values(r *row, f func(*row) error) error {
	r.place, r.inner = 0, nil
	if t.inner == nil || r.element.Get(t.inner).List().Len() == 0 {
		return f(r)
	}
	list := r.element.Get(t.inner).List()
	for i := range list.Len() {
		r.place, r.inner = int64(i)+1, list.Get(i).Message()
		if err := f(r); err != nil {
			return err
		}
	}
	return nil
}

func compartmentName(c tandemv1.Compartment) string {
	return strings.ToLower(strings.TrimPrefix(c.String(), "COMPARTMENT_"))
}

func instant(ms int64) any {
	if ms == 0 {
		return nil
	}
	return time.UnixMilli(ms).UTC()
}

func local(at any, zone *time.Location) any {
	t, ok := at.(time.Time)
	if !ok {
		return nil
	}
	return t.In(zone).Format("2006-01-02T15:04:05.000Z07:00")
}

func idText(b []byte) any {
	if len(b) != len(syncengine.ID{}) || !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) {
		return nil
	}
	return syncengine.ID(b).String()
}

func hexText(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return fmt.Sprintf("%x", b)
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}
