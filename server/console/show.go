package console

import (
	"fmt"
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// pair is a field in words.
type pair struct{ Name, Label, Value string }

// envelope are the numbers of the fields that every kind has.
const envelope = 20

// fields are the fields of a message in words, those that say something.
func (s *sight) fields(kind string, msg proto.Message) (out []pair) {
	m := msg.ProtoReflect()
	all := m.Descriptor().Fields()
	for i := range all.Len() {
		fd := all.Get(i)
		if fd.Number() < envelope && fd.Name() != "lifecycle" && fd.Name() != "void_reason" || !m.Has(fd) {
			continue
		}
		if text := s.value(kind, string(fd.Name()), fd, m.Get(fd)); text != "" {
			out = append(out, pair{string(fd.Name()), s.c.domain.FieldLabel(kind, string(fd.Name()), s.lang), text})
		}
	}
	return out
}

// value is the value of a field in words.
func (s *sight) value(kind, name string, fd protoreflect.FieldDescriptor, val protoreflect.Value) string {
	if fd.IsList() {
		var parts []string
		list := val.List()
		for i := range list.Len() {
			parts = append(parts, s.one(kind, name, fd, list.Get(i)))
		}
		return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), ", ")
	}
	return s.one(kind, name, fd, val)
}

func (s *sight) one(kind, name string, fd protoreflect.FieldDescriptor, val protoreflect.Value) string {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return s.t(map[bool]string{true: "yes", false: "no"}[val.Bool()])
	case protoreflect.BytesKind:
		return ""
	case protoreflect.StringKind:
		text := val.String()
		if list := s.c.domain.FieldCodes(kind, name); list != "" {
			return s.code(list, text)
		}
		if rules := s.c.domain.FieldRules(kind, name); rules.GetRef() != "" {
			return s.nameOf(rules.GetRef(), text)
		}
		return text
	case protoreflect.MessageKind:
		return s.message(kind, name, val.Message())
	}
	return fmt.Sprint(val.Interface())
}

// message is a message inside a record in words.
func (s *sight) message(kind, name string, m protoreflect.Message) string {
	switch msg := m.Interface().(type) {
	case *tandemv1.Instant:
		if msg.AtMs == nil {
			return ""
		}
		return s.moment(msg.GetAtMs())
	case *tandemv1.LocalizedText:
		if s.lang == "es" && msg.GetEs() != "" {
			return msg.GetEs()
		}
		return msg.GetEn()
	case *tandemv1.RecordRef:
		return s.c.domain.KindLabel(msg.GetKind(), s.lang)
	case *tandemv1.PersonName:
		return strings.TrimSpace(msg.GetGiven() + " " + msg.GetFamily())
	}
	var parts []string
	all := m.Descriptor().Fields()
	for i := range all.Len() {
		fd := all.Get(i)
		if fd.Name() == "element" || !m.Has(fd) {
			continue
		}
		dotted := name + "." + string(fd.Name())
		if text := s.value(kind, dotted, fd, m.Get(fd)); text != "" {
			parts = append(parts, s.c.domain.FieldLabel(kind, dotted, s.lang)+": "+text)
		}
	}
	return strings.Join(parts, "; ")
}

// raw is a raw value of a path in words.
func (s *sight) raw(kind *syncengine.Kind, raw []byte) string {
	if raw == nil {
		return ""
	}
	msg := s.c.domain.NewMessage(kind.Number)
	if msg == nil || proto.Unmarshal(raw, msg) != nil {
		return s.t("unreadable")
	}
	m, text := msg.ProtoReflect(), ""
	m.Range(func(fd protoreflect.FieldDescriptor, val protoreflect.Value) bool {
		text = s.value(kind.Name, string(fd.Name()), fd, val)
		return false
	})
	if text == "" && len(m.GetUnknown()) > 0 {
		return s.t("unreadable")
	}
	return text
}

// fieldName is the name of the field of a path.
func (s *sight) fieldName(kind *syncengine.Kind, field uint32) string {
	if msg := s.c.domain.NewMessage(kind.Number); msg != nil {
		if fd := msg.ProtoReflect().Descriptor().Fields().ByNumber(protoreflect.FieldNumber(field)); fd != nil {
			return string(fd.Name())
		}
	}
	return sprintf("%d", field)
}

// nameOf names the record of a kind that a text refers to, as far as the person may see it.
func (s *sight) nameOf(kind, text string) string {
	it := s.seeText(text)
	if it == nil || it.kind.Name != kind {
		return s.t("somebody." + map[bool]string{true: "staff", false: "record"}[kind == "staff"])
	}
	return s.title(it)
}

// staffName names a member of staff.
func (s *sight) staffName(id syncengine.ID) string {
	if it := s.see(id); it != nil {
		if m, ok := it.msg.(*tandemv1.Staff); ok {
			return m.GetDisplayName()
		}
	}
	if id == s.who.Org.ID || id.IsZero() {
		return s.t("theServer")
	}
	return s.t("somebody.staff")
}

// personName names a person.
func personName(m *tandemv1.Person) string {
	for _, n := range m.GetNames() {
		if name := strings.TrimSpace(n.GetGiven() + " " + n.GetFamily()); name != "" {
			return name
		}
	}
	return m.GetDescriptor_()
}

func (s *sight) code(list, code string) string {
	if code == "" {
		return ""
	}
	if s.c.domain.HasCode(list, code) {
		return s.c.domain.Label(list, code, s.lang)
	}
	return s.own().Label(s.c.domain, list, code, s.lang)
}

// title names a record.
func (s *sight) title(it *item) string {
	label := s.c.domain.KindLabel(it.kind.Name, s.lang)
	switch m := it.msg.(type) {
	case *tandemv1.Person:
		if name := personName(m); name != "" {
			return name
		}
		return s.t("unnamed")
	case *tandemv1.Incident:
		return label + " " + m.GetNumber()
	case *tandemv1.Staff:
		return m.GetDisplayName()
	case *tandemv1.Team:
		return m.GetName()
	case *tandemv1.Agency:
		return m.GetName()
	case *tandemv1.Program:
		return s.message("program", "name", m.GetName().ProtoReflect())
	case *tandemv1.Device:
		return m.GetLabel()
	case *tandemv1.Resource:
		return s.message("resource", "service_name", m.GetServiceName().ProtoReflect())
	}
	if person := s.personOf(it); person != nil {
		return label + ": " + s.title(person)
	}
	return label
}

// personOf is the person that a record is about, nil where none is to be seen.
func (s *sight) personOf(it *item) *item {
	for _, id := range s.c.domain.About(&it.rec.Record) {
		if about := s.see(id); about != nil {
			if about.kind.Name == "person" {
				return about
			}
			if about.kind.Name != "incident" && about.rec.ID != it.rec.ID {
				if p := s.personOf(about); p != nil {
					return p
				}
			}
		}
	}
	return nil
}

// summary says in a line what a record says.
func (s *sight) summary(it *item) string {
	var parts []string
	switch m := it.msg.(type) {
	case *tandemv1.Encounter:
		parts = []string{s.code("presenting", m.GetPresentingPrimary()), s.code(s.c.domain.FieldCodes("encounter", "disposition"), m.GetDisposition())}
		parts[0] = s.code(s.c.domain.FieldCodes("encounter", "presenting_primary"), m.GetPresentingPrimary())
	case *tandemv1.Incident:
		parts = []string{s.code(s.c.domain.FieldCodes("incident", "call_type"), m.GetCallType()), s.code(s.c.domain.FieldCodes("incident", "contact"), m.GetContact())}
	case *tandemv1.Note:
		parts = []string{s.code(s.c.domain.FieldCodes("note", "type"), m.GetType()), clip(m.GetText(), 90)}
	case *tandemv1.Referral:
		parts = []string{s.code(s.c.domain.FieldCodes("referral", "need"), m.GetNeed()), s.code(s.c.domain.FieldCodes("referral", "state"), m.GetState()), s.code(s.c.domain.FieldCodes("referral", "outcome"), m.GetOutcome())}
	case *tandemv1.FollowUp:
		parts = []string{s.code(s.c.domain.FieldCodes("follow_up", "lifecycle"), m.GetLifecycle()), s.code(s.c.domain.FieldCodes("follow_up", "outcome"), m.GetOutcome())}
	case *tandemv1.Episode:
		parts = []string{s.code(s.c.domain.FieldCodes("episode", "lifecycle"), m.GetLifecycle()), s.dayOf(it, m), s.code(s.c.domain.FieldCodes("episode", "close_reason"), m.GetCloseReason())}
	case *tandemv1.Consent:
		parts = []string{s.code(s.c.domain.FieldCodes("consent", "type"), m.GetType()), s.code(s.c.domain.FieldCodes("consent", "decision"), m.GetDecision())}
	case *tandemv1.SafetyAlert:
		parts = []string{s.code(s.c.domain.FieldCodes("safety_alert", "category"), m.GetCategory()), clip(m.GetText(), 90)}
	case *tandemv1.FormResponse:
		parts = []string{m.GetFormCode(), m.GetBand()}
	case *tandemv1.Disclosure:
		parts = []string{s.code(s.c.domain.FieldCodes("disclosure", "basis"), m.GetBasis()), m.GetRecipient()}
	case *tandemv1.Review:
		parts = []string{s.code("review_decision", m.GetDecision()), clip(m.GetComment(), 90)}
	case *tandemv1.Attachment:
		parts = []string{m.GetTitle()}
	}
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), " · ")
}

// whenOf is when what a record is about was, or when it was made.
func whenOf(it *item) int64 {
	at := int64(0)
	switch m := it.msg.(type) {
	case *tandemv1.Encounter:
		at = m.GetStartedAt().GetAtMs()
	case *tandemv1.Incident:
		at = max(m.GetDispatchedAt().GetAtMs(), m.GetArrivedAt().GetAtMs())
	case *tandemv1.FollowUp:
		if at = m.GetOccurredAt().GetAtMs(); at == 0 {
			at = m.GetDueAt().GetAtMs()
		}
	case *tandemv1.Episode:
		at = m.GetOpenedAt().GetAtMs()
	case *tandemv1.Review:
		at = m.GetAt().GetAtMs()
	case *tandemv1.Disclosure:
		at = m.GetAt().GetAtMs()
	}
	if at > 0 {
		return at
	}
	if o, err := it.rec.Origin(); err == nil {
		return o.AtMS
	}
	return 0
}

// author names who made a record.
func (s *sight) author(it *item) string {
	o, err := it.rec.Origin()
	if err != nil {
		return ""
	}
	return s.staffName(o.Author)
}

// row is a record as a row of a list.
func (s *sight) row(it *item) row {
	at := whenOf(it)
	return row{Href: "record/" + it.rec.ID.String(), Title: s.title(it), Sub: join(s.summary(it), s.author(it)), When: s.moment(at), due: at}
}

func (s *sight) moment(ms int64) string {
	at := s.at(ms)
	text := web.Day(s.lang, at)
	if at.Year() != s.now().In(s.zone).Year() {
		text += sprintf(" %d", at.Year())
	}
	return text + " " + at.Format("15:04")
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + " · " + b
}

func clip(text string, n int) string {
	r := []rune(strings.Join(strings.Fields(text), " "))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n-1]) + "…"
}
