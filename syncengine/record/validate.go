package record

import (
	"slices"
	"strings"

	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Problem is what a form says beside its fields. It holds no values.
type Problem struct {
	// Rule that is broken: V1 …, V24 for formats and lengths, V25 for codes, V26 for
	// what is missing.
	Rule string
	// Fields at fault, by name, dotted inside messages; any one of them settles a
	// Missing problem.
	Fields []string
	// Warn: the form says it and saves. Otherwise it does not take the entry.
	Warn bool
	// Missing: the fields are absent.
	Missing bool
	// EN and ES say what is wrong and what to do.
	EN, ES string
}

// Text returns the words in a language.
func (p Problem) Text(lang string) string { return either(lang, p.EN, p.ES) }

// Entry is what a form knows beside the message.
type Entry struct {
	// Before is the message as it was displayed, nil for a new record. Codes that
	// stood there already are not new entries.
	Before proto.Message
	// Target is the lifecycle code that the save leads to (cleared, signed); empty
	// leaves it as the message has it.
	Target string
	// NowMS is the device's clock, ms since the Unix epoch.
	NowMS int64
	// Imported entries are asked for nothing and may say not_recorded.
	Imported bool
	// Own codes of the Agency that the author works for are offered too.
	Own    *OwnCodes
	Agency string
}

// RuleOffered is the rule that a choice is one that is offered.
const RuleOffered = "V25"

// Validate judges a message at entry: formats, codes, what its state asks for, and
// the rules over several fields. A message of no kind has no problems but that.
func (d *Domain) Validate(msg proto.Message, e Entry) []Problem {
	k := d.kindOf(msg)
	if k == nil {
		return []Problem{{Rule: "V25", EN: ErrUnknownKind.Error(), ES: "Esta versión no conoce este tipo de registro: actualice la aplicación."}}
	}
	body, err := d.Body(msg)
	if err != nil {
		return []Problem{{
			Rule: "V24",
			EN:   "The record cannot be saved: an element has no id, or two share one.",
			ES:   "El registro no se puede guardar: un elemento no tiene identificador, o dos comparten uno.",
		}}
	}
	var out []Problem
	for _, name := range d.malformed(k, msg, body) {
		out = append(out, Problem{
			Rule: "V24", Fields: []string{name},
			EN: "The value does not have the form of this field, or is too long.",
			ES: "El valor no tiene la forma de este campo, o es demasiado largo.",
		})
	}
	v := &view{kind: k, nowMS: e.NowMS}
	v.fields, _ = syncengine.ParseBody(body)
	out = append(out, d.newCodes(v, e)...)
	if e.Target != "" {
		v.enter(e.Target)
	}
	if !e.Imported {
		out = append(out, v.needed()...)
		for _, r := range k.review {
			if fields := r.broken(v); len(fields) > 0 {
				out = append(out, Problem{Rule: r.name, Fields: fields, Warn: r.warn, EN: r.en, ES: r.es})
			}
		}
	}
	if fields := v.exclusive(); len(fields) > 0 {
		out = append(out, Problem{
			Rule: "exclusive", Fields: fields,
			EN: "One of the choices excludes the others. Keep it alone, or take it away.",
			ES: "Una de las opciones excluye a las demás. Déjela sola, o quítela.",
		})
	}
	return out
}

// enter puts a lifecycle code in place of the record's.
func (v *view) enter(state string) {
	v.fields = slices.DeleteFunc(slices.Clone(v.fields), func(f syncengine.Field) bool {
		return f.Path.Field == syncengine.FieldLifecycle
	})
	f := syncengine.Field{
		Path: syncengine.Path{Field: syncengine.FieldLifecycle},
		Raw:  syncengine.StringField(syncengine.FieldLifecycle, state),
	}
	at, _ := slices.BinarySearchFunc(v.fields, f, func(a, b syncengine.Field) int { return a.Path.Compare(b.Path) })
	v.fields = slices.Insert(v.fields, at, f)
}

// needed returns what every save asks for and what the record's state asks for.
func (v *view) needed() []Problem {
	state := entered[v.code("lifecycle")]
	list := v.missing(anyState)
	if state != "" {
		strict := v.missing(state)
		list = slices.DeleteFunc(list, func(n need) bool {
			return slices.ContainsFunc(strict, func(s need) bool { return slices.Equal(s.field, n.field) })
		})
		list = append(list, strict...)
	}
	var out []Problem
	for _, n := range list {
		p := Problem{Rule: ruleOf(n), Fields: n.field, Warn: n.warn, Missing: true}
		switch {
		case len(n.field) > 1:
			p.EN, p.ES = "Fill in one of these.", "Complete uno de estos."
		case n.warn:
			p.EN, p.ES = "Still to be filled in.", "Falta por completar."
		default:
			p.EN, p.ES = "Fill this in.", "Complete este campo."
		}
		out = append(out, p)
	}
	return out
}

// malformed returns the names of fields that Check would refuse.
func (d *Domain) malformed(k *kind, msg proto.Message, body []byte) []string {
	names := d.invalid(msg)
	fields, err := syncengine.ParseBody(body)
	if err != nil {
		return append(names, "body")
	}
	for _, f := range fields {
		known := k.table.at(f.Path.Field)
		if known == nil {
			continue
		}
		if bad := known.faultName(f.Raw); bad != "" {
			names = addNames(names, bad)
		}
	}
	return names
}

// newCodes finds codes that are entered now and not offered: unknown, retired, or
// an import's.
func (d *Domain) newCodes(v *view, e Entry) []Problem {
	var before []byte
	if e.Before != nil && d.kindOf(e.Before) == v.kind {
		before, _ = d.Body(e.Before)
	}
	stood := map[string]bool{}
	codesIn(v.kind.table, "", before, func(_ *field, name, code string) { stood[name+"\x00"+code] = true })
	var fields []string
	for _, f := range v.fields {
		codesIn(v.kind.table, "", f.Raw, func(f *field, name, code string) {
			at, known := f.list.place[code]
			offered := known && !f.list.public[at].Retired && (code != NotRecorded || e.Imported)
			if !offered && !e.Own.offers(f.list.name, e.Agency, code) && !stood[name+"\x00"+code] {
				fields = addNames(fields, name)
			}
		})
	}
	if len(fields) == 0 {
		return nil
	}
	return []Problem{{
		Rule: RuleOffered, Fields: fields,
		EN: "This choice is not offered. Choose another.",
		ES: "Esta opción no está disponible. Elija otra.",
	}}
}

// codesIn calls f with every code in an encoded message, and the dotted name of
// its field.
func codesIn(t *table, prefix string, b []byte, f func(fd *field, name, code string)) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return
		}
		fd := t.at(uint32(num))
		if fd != nil && typ == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b[n:])
			switch {
			case fd.list != nil:
				f(fd, prefix+fd.name, string(v))
			case fd.message != nil && strings.Count(prefix, ".") < maxDepth:
				codesIn(fd.message, prefix+fd.name+".", v, f)
			}
		}
		b = b[n+m:]
	}
}

// textIn returns the string of a field inside a raw message field.
func textIn(raw []byte, number uint32) string {
	msg, _ := syncengine.RawString(raw)
	for b := []byte(msg); len(b) > 0; {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return ""
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return ""
		}
		if uint32(num) == number && typ == protowire.BytesType {
			v, _ := protowire.ConsumeString(b[n:])
			return v
		}
		b = b[n+m:]
	}
	return ""
}
