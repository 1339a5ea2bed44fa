package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// section is a part of a sheet.
type section struct {
	// key names it in the words.
	key    string
	fields []spec
}

// spec is a field of a sheet: its name in the contract, and how it is asked. Labels,
// choices and lengths are those of the contract.
type spec struct {
	name string
	// kind is area, scale, number, tel, date, time or empty: what the field is.
	kind string
	// when says what must be chosen for it to be asked.
	when string
	// need: it is asked for before the record is signed or the call cleared.
	need bool
	// phrases are offered to begin it with.
	phrases bool
	// more: it is folded away until somebody asks for it.
	more bool
}

// sheets are the forms of each kind, in the order of a page.
var sheets = map[string][]section{
	"incident": {
		{"secNew", []spec{{name: "call_type", need: true}, {name: "contact"}}},
		{"secPlace", []spec{{name: "place_type", need: true}}},
		{"secCall", []spec{
			{name: "source", need: true}, {name: "call_type_final"}, {name: "risk_level"}, {name: "response_mode", need: true},
			{name: "location.address"}, {name: "location.city"}, {name: "cad_number"}, {name: "ems_on_scene"}, {name: "fire_on_scene"},
		}},
		{"secPolice", []spec{
			{name: "le_involvement", need: true}, {name: "le_actions", when: "le_involvement=!", need: true}, {name: "weapon"},
			{name: "force_used", when: "le_involvement=!", need: true}, {name: "force_types", when: "force_used=yes"},
		}},
		{"secOps", []spec{{name: "notes_ops", kind: "area"}}},
		{"secTimes", []spec{
			{name: "dispatched_at", kind: "time"}, {name: "enroute_at", kind: "time"}, {name: "arrived_at", kind: "time"},
			{name: "cleared_at", kind: "time"}, {name: "le_cleared_at", kind: "time"},
		}},
	},
	"encounter": {
		{"secPresenting", []spec{{name: "presenting_primary", need: true}, {name: "presenting_other", more: true}, {name: "substance", need: true}}},
		{"secDanger", []spec{{name: "danger_self", kind: "scale", need: true}, {name: "danger_others", kind: "scale", need: true}, {name: "cannot_care_for_self", need: true}}},
		{"secDone", []spec{{name: "interventions", need: true}}},
		{"secOutcome", []spec{
			{name: "disposition", need: true}, {name: "transport_by", when: "disposition=transport_*", need: true},
			{name: "destination_text", when: "disposition=transport_*"}, {name: "legal_status", need: true},
		}},
		{"secWithout", []spec{{name: "cf_ed", need: true}, {name: "cf_arrest", need: true}, {name: "cf_hold", need: true}, {name: "cf_source"}}},
		{"secPlan", []spec{{name: "follow_up_plan", need: true}}},
		{"secWords", []spec{{name: "narrative", kind: "area", phrases: true}}},
		{"secFrame", []spec{
			{name: "type", need: true}, {name: "identity", need: true}, {name: "started_at", kind: "time", need: true}, {name: "ended_at", kind: "time"},
			{name: "age_years", kind: "number"}, {name: "housing"},
		}},
	},
	"person": {
		{"secName", []spec{{name: "names.given"}, {name: "names.family"}, {name: "names.use"}, {name: "descriptor"}}},
		{"secAbout", []spec{
			{name: "dob", kind: "text"}, {name: "approx_age", kind: "number"}, {name: "gender"}, {name: "pronouns"},
			{name: "phones.number", kind: "tel"}, {name: "phones.safe_call"}, {name: "phones.safe_text"}, {name: "phones.safe_voicemail"},
		}},
		{"secLife", []spec{
			{name: "lang"}, {name: "interpreter"}, {name: "housing"}, {name: "address"}, {name: "city"}, {name: "zip5", kind: "number"},
			{name: "insurance"}, {name: "veteran"}, {name: "race_ethnicity"}, {name: "race_source"},
		}},
		{"secContactRule", []spec{{name: "do_not_contact"}, {name: "do_not_contact_reason", when: "do_not_contact=true"}}},
	},
	"referral": {
		{"secReferral", []spec{
			{name: "need", need: true}, {name: "urgency", need: true}, {name: "target_text"}, {name: "method"}, {name: "info_shared"}, {name: "barrier"},
		}},
	},
	"note": {{"secNote", []spec{{name: "type", need: true}, {name: "text", kind: "area", need: true}}}},
}

// officerSections are what a police partner writes of a call.
var officerSections = []string{"secPolice"}

// stops are the codes that the slider of a scale stops at, in order. Before the first, at 0,
// nothing is said.
var stops = []string{"none", "low", "moderate", "high"}

// entered are the values of a field for what a form sends of it. A scale sends where its
// slider stands and what is chosen beside it: of both the more cautious counts.
func (v *visit) entered(kind, name string, values []string) []string {
	if !slices.ContainsFunc(sheets[kind], func(s section) bool {
		return slices.ContainsFunc(s.fields, func(f spec) bool { return f.name == name && f.kind == "scale" })
	}) {
		return values
	}
	codes := v.domain().Codes(v.domain().FieldCodes(kind, name))
	var said []string
	for _, value := range values {
		if at, err := strconv.Atoi(value); err == nil && at > 0 && at <= len(stops) {
			value = stops[at-1]
		}
		if value != "" && value != "0" {
			said = append(said, value)
		}
	}
	if len(said) == 0 {
		return nil
	}
	// One that is not known here stays.
	caution := func(code string) int {
		if i := slices.IndexFunc(codes, func(c record.Code) bool { return c.Code == code }); i >= 0 {
			return i
		}
		return len(codes)
	}
	return []string{slices.MaxFunc(said, func(a, b string) int { return caution(a) - caution(b) })}
}

// contractField is the field of the contract that a field of a form is about.
func contractField(name string) string { return name }

func known(kind, name string) bool {
	return isAnswer(kind, name) || isFix(kind, name) || slices.ContainsFunc(sheets[kind], func(s section) bool {
		return slices.ContainsFunc(s.fields, func(f spec) bool { return f.name == name })
	})
}

// sheet is a form over a record, with what is typed and no save yet.
type sheet struct {
	Kind, ID string
	Sections []sheetSection
	// Seen are the versions of the typed fields, for the script.
	Seen string
	// Draft: there is typing that is no save.
	Draft bool
	Hash  string
}

type sheetSection struct {
	Key, Title string
	Fields     []web.Field
	// Missing counts what is needed and not there; Summary says what is.
	Missing int
	Summary string
	// Open: there is something to do in it, as what is not answered, what is typed and no
	// save yet, words, or a fault. What is finished is folded up.
	Open bool
}

// sheetOf lays a sheet over a message. problems are what a form says beside its fields.
func (v *visit) sheetOf(kind, id string, msg proto.Message, problems []record.Problem, only ...string) (*sheet, error) {
	d, err := v.typedIn(kind, id)
	if err != nil {
		return nil, err
	}
	s := &sheet{Kind: kind, ID: id, Draft: d != nil}
	seen := map[string]int{}
	for _, sec := range sheets[kind] {
		if len(only) > 0 && !slices.Contains(only, sec.key) {
			continue
		}
		out, said := sheetSection{Key: sec.key, Title: v.t(sec.key)}, false
		for _, sp := range sec.fields {
			values := valuesOf(msg, sp.name, v.a.o.Zone)
			f := v.field(kind, sp)
			if d != nil && d.Fields[sp.name] != nil {
				t := d.Fields[sp.name]
				values, seen[sp.name], out.Open = t.Values, t.N, true
				for _, other := range t.Others {
					f.Others = append(f.Others, v.t("otherWindow")+"\n"+other)
				}
				if slices.Contains(d.Stuck, sp.name) && len(t.Others) == 0 {
					f.Problem = v.t("notTaken")
				}
			}
			if sp.phrases {
				f.Phrases, f.PhraseTo = v.phrases(), pageOf(kind)+"/"+id+"/phrase"
			}
			f.Fill(values)
			for i, o := range f.Options {
				if o.Label == o.Code {
					// Of a newer version, of another agency, or not offered any more.
					f.Options[i].Label = v.code(v.domain().FieldCodes(kind, sp.name), o.Code)
				}
			}
			for _, p := range problems {
				if slices.ContainsFunc(p.Fields, func(field string) bool { return touches(sp.name, field) }) && (!p.Missing || empty(values)) {
					f.Problem = p.Text(v.lang)
				}
			}
			if sp.need && empty(values) && sp.when == "" {
				out.Missing++
			}
			said = said || !empty(values)
			out.Open = out.Open || f.Problem != "" || f.Kind == "area"
			out.Summary = join(out.Summary, v.summed(kind, sp, f.Label, values))
			out.Fields = append(out.Fields, f)
		}
		out.Open = out.Open || out.Missing > 0 || !said
		s.Sections = append(s.Sections, out)
	}
	if d != nil {
		for name, t := range d.Fields {
			if isAnswer(kind, name) {
				seen[name] = t.N
			}
		}
	}
	b, err := json.Marshal(seen)
	s.Seen = string(b)
	return s, err
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ", " + b
}

func empty(values []string) bool {
	return !slices.ContainsFunc(values, func(s string) bool { return s != "" })
}

// Section returns a part of the sheet by its key.
func (s *sheet) Section(key string) sheetSection {
	for _, sec := range s.Sections {
		if sec.Key == key {
			return sec
		}
	}
	return sheetSection{}
}

// field makes the input of a spec.
func (v *visit) field(kind string, sp spec) web.Field {
	f := web.Field{Name: sp.name, Label: v.domain().FieldLabel(kind, sp.name, v.lang), Required: sp.need, More: sp.more, When: sp.when, Kind: "text"}
	if _, ok := words["field."+kind+"."+sp.name]; ok {
		f.Label = v.t("field." + kind + "." + sp.name)
	}
	if _, ok := words["hint."+kind+"."+sp.name]; ok {
		f.Hint = v.t("hint." + kind + "." + sp.name)
	}
	k := v.domain().KindByName(kind)
	msg := v.domain().NewMessage(k.Number)
	fd, _ := fieldOf(msg.ProtoReflect().Descriptor(), sp.name)
	switch {
	case sp.kind == "scale":
		f.Kind, f.Options = "scale", v.offered(v.domain().FieldCodes(kind, sp.name))
		for i := range f.Options {
			f.Options[i].Beside = !slices.Contains(stops, f.Options[i].Code)
		}
	case v.domain().FieldCodes(kind, sp.name) != "":
		f.Kind, f.Many = "chips", fd != nil && fd.IsList()
		f.Options = v.offered(v.domain().FieldCodes(kind, sp.name))
	case fd != nil && fd.Kind() == protoreflect.BoolKind:
		f.Kind = "switch"
	case sp.kind == "time":
		f.Kind = "datetime-local"
	case sp.kind == "number":
		f.Mode = "numeric"
	case sp.kind != "":
		f.Kind = sp.kind
	}
	return f
}

// shownValue is what a summary says of a field.
func (v *visit) shownValue(kind string, sp spec, values []string) string {
	list := v.domain().FieldCodes(kind, sp.name)
	if list == "" {
		if sp.kind == "area" && len(values) > 0 {
			return clip(values[0], 60)
		}
		return ""
	}
	var out []string
	for _, c := range values {
		if c != "" {
			out = append(out, v.code(list, c))
		}
	}
	return strings.Join(out, ", ")
}

// plainCodes say nothing without the question.
var plainCodes = []string{"none", "no", "yes", "unknown", "low", "moderate", "high", "unable_to_assess"}

// summed is a field in a summary: with its label where the answer alone says too little.
func (v *visit) summed(kind string, sp spec, label string, values []string) string {
	text := v.shownValue(kind, sp, values)
	if text != "" && len(values) > 0 && slices.Contains(plainCodes, values[0]) {
		return label + " " + text
	}
	return text
}

// focus has a page begin at the first field with a fault.
func (s *sheet) focus() {
	for i := range s.Sections {
		for k := range s.Sections[i].Fields {
			if f := &s.Sections[i].Fields[k]; f.Problem != "" {
				f.Focus = true
				return
			}
		}
	}
}

func clip(s string, n int) string {
	r := []rune(strings.Join(strings.Fields(s), " "))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n-1]) + "…"
}

// fieldOf finds a field of a message by its name, dotted inside messages.
func fieldOf(d protoreflect.MessageDescriptor, name string) (protoreflect.FieldDescriptor, bool) {
	first, rest, nested := strings.Cut(name, ".")
	fd := d.Fields().ByName(protoreflect.Name(first))
	if fd == nil || !nested {
		return fd, fd != nil
	}
	if fd.Message() == nil {
		return nil, false
	}
	return fieldOf(fd.Message(), rest)
}

const timeInput = "2006-01-02T15:04"

// valuesOf reads a field as a form shows it.
func valuesOf(msg proto.Message, name string, zone *time.Location) []string {
	if msg == nil {
		return nil
	}
	m := msg.ProtoReflect()
	first, rest, nested := strings.Cut(name, ".")
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(first))
	if fd == nil || !m.Has(fd) {
		return nil
	}
	switch {
	case nested && fd.IsList():
		return valuesOf(m.Get(fd).List().Get(0).Message().Interface(), rest, zone)
	case nested:
		return valuesOf(m.Get(fd).Message().Interface(), rest, zone)
	case fd.IsList():
		var out []string
		for i := range m.Get(fd).List().Len() {
			out = append(out, m.Get(fd).List().Get(i).String())
		}
		return out
	case fd.Message() != nil:
		if at, ok := m.Get(fd).Message().Interface().(*tandemv1.Instant); ok && at.AtMs != nil {
			return []string{time.UnixMilli(at.GetAtMs()).In(zone).Format(timeInput)}
		}
		return nil
	}
	return []string{fmt.Sprint(m.Get(fd).Interface())}
}

var errValue = errors.New("the value does not fit the field")

// apply writes the values of a form into a field.
func apply(msg proto.Message, name string, values []string, zone *time.Location) error {
	m := msg.ProtoReflect()
	first, rest, nested := strings.Cut(name, ".")
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(first))
	if fd == nil {
		return errValue
	}
	values = slices.DeleteFunc(slices.Clone(values), func(s string) bool { return s == "" })
	if slices.Equal(values, valuesOf(msg, name, zone)) {
		return nil
	}
	switch {
	case nested && fd.IsList():
		list := m.Mutable(fd).List()
		if list.Len() == 0 {
			if len(values) == 0 {
				m.Clear(fd)
				return nil
			}
			list.AppendMutable()
		}
		return apply(list.Get(0).Message().Interface(), rest, values, zone)
	case nested:
		if !m.Has(fd) && len(values) == 0 {
			return nil
		}
		return apply(m.Mutable(fd).Message().Interface(), rest, values, zone)
	case len(values) == 0:
		m.Clear(fd)
		return nil
	case fd.IsList():
		list := m.NewField(fd).List()
		for _, s := range values {
			list.Append(protoreflect.ValueOfString(s))
		}
		m.Set(fd, protoreflect.ValueOfList(list))
		return nil
	}
	text := record.CleanText(strings.ReplaceAll(values[0], "\r\n", "\n"))
	switch fd.Kind() {
	case protoreflect.StringKind:
		m.Set(fd, protoreflect.ValueOfString(text))
	case protoreflect.BoolKind:
		m.Set(fd, protoreflect.ValueOfBool(values[0] == "true"))
	case protoreflect.Uint32Kind:
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
		if err != nil {
			return errValue
		}
		m.Set(fd, protoreflect.ValueOfUint32(uint32(n)))
	case protoreflect.MessageKind:
		at, err := time.ParseInLocation(timeInput, text, zone)
		if err != nil || fd.Message().FullName() != (*tandemv1.Instant)(nil).ProtoReflect().Descriptor().FullName() {
			return errValue
		}
		m.Set(fd, protoreflect.ValueOfMessage((&tandemv1.Instant{AtMs: new(at.UnixMilli()), Origin: new("manual")}).ProtoReflect()))
	default:
		return errValue
	}
	return nil
}

// posted takes the values of a whole form into the draft of a sheet: what a page sends
// where no script runs, and with its buttons.
func (v *visit) posted(kind, id string) error {
	if err := v.r.ParseForm(); err != nil {
		return err
	}
	if v.r.PostForm.Get("kept") == "1" {
		// The script has sent what was typed here, and an old window's other fields are
		// nobody's wish.
		return nil
	}
	t := &v.a.typing
	t.mu.Lock()
	defer t.mu.Unlock()
	key := draftKey(kind, id)
	d, err := v.a.draft(v.ctx(), v.dev, key)
	if err != nil {
		return err
	}
	if d == nil {
		d = &draft{Kind: kind, Record: id, Fields: map[string]*typed{}}
		v.base(d, v.r.PostForm.Get("hash"))
		v.fixes(d)
	} else {
		d = d.clone()
	}
	d.of(v.r)
	put := false
	for name, values := range v.r.PostForm {
		if known(kind, name) {
			values = slices.DeleteFunc(slices.Clone(v.entered(kind, name, values)), func(s string) bool { return s == "" })
			f := d.Fields[name]
			if f == nil || !slices.Equal(f.Values, values) {
				n := 1 << 30
				if f != nil {
					n = f.N
				}
				d.put(name, values, min(n, 1<<29))
			}
			put = true
		}
	}
	if !put {
		return nil
	}
	d.Stuck, d.AtMS = nil, v.a.o.Now().UnixMilli()
	return v.a.keep(v.ctx(), v.dev, key, d)
}

// saveSheet is the button of a sheet: a save now, and back to where it was.
func (v *visit) saveSheet() error {
	kind, id := v.r.PathValue("kind"), v.r.PathValue("id")
	if sheets[kind] == nil {
		return client.ErrNotFound
	}
	if err := v.posted(kind, id); err != nil {
		return err
	}
	if err := v.a.settle(v.ctx(), v.dev, kind, id); err != nil {
		return err
	}
	to := v.r.PostForm.Get("to")
	if to == "" || strings.Contains(to, ":") || strings.HasPrefix(to, "/") {
		to = pageOf(kind) + "/" + id
	}
	return v.to(to)
}

// pageOf is where the records of a kind are shown.
func pageOf(kind string) string {
	if page, ok := map[string]string{"incident": "call", "follow_up": "followup", "safety_alert": "alert", "form_response": "response"}[kind]; ok {
		return page
	}
	return kind
}

// settled settles what is typed in a record's sheet, and returns the record as it is
// then.
func (v *visit) settled(kind string) (*client.View, error) {
	id, err := v.id()
	if err != nil {
		return nil, err
	}
	if err := v.posted(kind, id.String()); err != nil {
		return nil, err
	}
	if err := v.a.settle(v.ctx(), v.dev, kind, id.String()); err != nil {
		return nil, err
	}
	return v.look(kind, id)
}
