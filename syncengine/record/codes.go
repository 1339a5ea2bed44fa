package record

import (
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Languages of labels and messages.
const (
	English = "en"
	Spanish = "es"
)

// NotRecorded is the code of an imported record whose source said nothing. Forms
// do not offer it.
const NotRecorded = "not_recorded"

// Code is one code of a list with its labels.
type Code struct {
	// Code as records hold it.
	Code string
	// EN and ES are its labels.
	EN, ES string
	// Retired codes are displayed and no longer offered.
	Retired bool
	// Exclusive codes exclude every other of a set.
	Exclusive bool
	// MapsTo is the core code that it counts as; empty for core codes.
	MapsTo string
}

// list is a code list with its codes by place.
type list struct {
	name   string
	codes  []*tandemv1.Code
	place  map[string]int
	public []Code
}

func newList(l *tandemv1.CodeList) *list {
	out := &list{name: l.GetName(), codes: l.GetCodes(), place: map[string]int{}}
	for i, c := range out.codes {
		out.place[c.GetCode()] = i
		out.public = append(out.public, Code{
			Code: c.GetCode(), EN: c.GetEn(), ES: c.GetEs(),
			Retired: c.GetRetired(), Exclusive: c.GetExclusive(), MapsTo: c.GetMapsTo(),
		})
	}
	return out
}

// caution ranks a raw code by its place in the list. An unknown code ranks between
// the last code and the one before it.
func (l *list) caution(raw []byte) int {
	code, _ := syncengine.RawString(raw)
	if at, ok := l.place[code]; ok {
		return 2 * at
	}
	return 2*len(l.codes) - 3
}

// cautionOf is caution by an order of its own.
func cautionOf(order []string) func(raw []byte) int {
	l := &list{place: map[string]int{}, codes: make([]*tandemv1.Code, len(order))}
	for i, code := range order {
		l.place[code] = i
	}
	return l.caution
}

// Codes returns the codes of a list in the order of a form, nil where there is no
// such list. The slice is shared and must not be written to.
func (d *Domain) Codes(list string) []Code {
	if l := d.lists[list]; l != nil {
		return l.public
	}
	return nil
}

// HasCode reports whether this version knows a code of a list.
func (d *Domain) HasCode(list, code string) bool {
	l := d.lists[list]
	if l == nil {
		return false
	}
	_, ok := l.place[code]
	return ok
}

// Label returns the words for a code; for one that this version does not know,
// "other (code)".
func (d *Domain) Label(list, code, lang string) string {
	if l := d.lists[list]; l != nil {
		if at, ok := l.place[code]; ok {
			return either(lang, l.public[at].EN, l.public[at].ES)
		}
	}
	return either(lang, "other (", "otro (") + code + ")"
}

// KindLabel returns the words for a kind, its name where this version does not
// know it.
func (d *Domain) KindLabel(kind, lang string) string {
	if k := d.byName[kind]; k != nil {
		return either(lang, k.rules.GetEn(), k.rules.GetEs())
	}
	return kind
}

// FieldLabel returns the words for a field of a kind, for a field of a message
// inside it where the name is dotted (location.city), and the name itself where
// this version does not know it.
func (d *Domain) FieldLabel(kind, field, lang string) string {
	f := d.fieldNamed(kind, field)
	if f == nil {
		return field
	}
	return either(lang, f.rules.GetEn(), f.rules.GetEs())
}

// FieldCodes returns the name of the code list of a field, empty where it has
// none. The name may be dotted, as in FieldLabel.
func (d *Domain) FieldCodes(kind, field string) string {
	if f := d.fieldNamed(kind, field); f != nil {
		return f.rules.GetCodes()
	}
	return ""
}

// FieldRules returns the annotations of a field, nil where this version does not
// know it. The name may be dotted, as in FieldLabel. The message is shared and
// must not be written to.
func (d *Domain) FieldRules(kind, field string) *tandemv1.FieldRules {
	if f := d.fieldNamed(kind, field); f != nil {
		return f.rules
	}
	return nil
}

func (d *Domain) fieldNamed(kind, name string) *field {
	k := d.byName[kind]
	if k == nil {
		return nil
	}
	var f *field
	t := k.table
	for part := range strings.SplitSeq(name, ".") {
		if t == nil {
			return nil
		}
		if f = t.byName[part]; f == nil {
			return nil
		}
		t = f.message
	}
	return f
}

// either returns the Spanish words for Spanish, else the English.
func either(lang, en, es string) string {
	if lang == Spanish || strings.HasPrefix(lang, Spanish+"-") {
		return es
	}
	return en
}
