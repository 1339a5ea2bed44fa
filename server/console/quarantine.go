package console

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

type quarantineData struct {
	Page  *web.Page
	Items []refused
}

// refused is a change in quarantine.
type refused struct {
	ID, Who, When, Why string
	Href               string
	Titles             []string
	Bytes              int
	Records            []refusedRecord
	Draft              bool
}

// refusedRecord is what such a change would do to one record.
type refusedRecord struct {
	Title, Act, Href string
	Absent           bool
	Fields           []refusedField
}

// refusedField is one value of it; Name is that of the form, empty where it cannot be
// edited here.
type refusedField struct {
	Name, Label, Value, Now, Kind string
	Options                       []web.Option
	Wrong                         bool
}

// quarantine lists the changes that were not accepted and that the lead may decide on.
func (v *visit) quarantine() error {
	d := &quarantineData{Page: v.page("navQuarantine", "quarantine")}
	d.Page.Follow = "live"
	err := v.look("quarantine", syncengine.ID{}, func(s *sight) (err error) {
		if d.Page.At, err = s.mark(); err != nil {
			return err
		}
		items, err := s.quarantineItems()
		for _, it := range items {
			d.Items = append(d.Items, s.refused(it, false))
		}
		return err
	})
	if err != nil {
		return err
	}
	return v.show(200, "quarantine", d)
}

type quarantinedData struct {
	Page *web.Page
	Item refused
}

// quarantined shows one of them, with what it says.
func (v *visit) quarantined() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	d := &quarantinedData{Page: v.page("navQuarantine", "quarantine/"+id.String())}
	err = v.look("quarantine", id, func(s *sight) error {
		items, err := s.quarantineItems()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(items, func(it *syncengine.QuarantineItem) bool { return it.Change.ID == id })
		if i < 0 {
			return errAbsent
		}
		d.Item = s.refused(items[i], true)
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(200, "quarantined", d)
}

// refused says what a change in quarantine is, and with whole what it says.
func (s *sight) refused(it *syncengine.QuarantineItem, whole bool) refused {
	s.quarantined = append(s.quarantined, it.Change.ID)
	r := refused{ID: it.Change.ID.String(), Who: s.staffName(it.Change.Author), When: s.moment(it.Change.CorrectedMS), Bytes: it.Bytes, Href: "quarantine/" + it.Change.ID.String()}
	if r.Why = s.t("refusal." + strconv.Itoa(int(it.Change.Outcome.GetRefusal()))); strings.HasPrefix(r.Why, "refusal.") {
		r.Why = s.t("refusal.0")
	}
	r.Draft = it.Decoded.GetDraft() != nil
	for i, w := range it.Decoded.GetRecords() {
		kind := s.c.domain.Kind(w.GetKind())
		one := refusedRecord{Title: s.t("unknownKind"), Act: s.t("act." + strings.ToLower(strings.TrimPrefix(w.GetAct().String(), "ACT_")))}
		id, _ := syncengine.IDFromBytes(w.GetRecord())
		one.Absent = slices.Contains(it.Absent, id)
		if kind != nil {
			one.Title = s.c.domain.KindLabel(kind.Name, s.lang)
		}
		there := s.see(id)
		if there != nil {
			one.Title, one.Href = s.title(there), "record/"+id.String()
			s.show(there)
		}
		r.Titles = append(r.Titles, one.Title)
		if whole && kind != nil {
			s.show(&item{rec: &syncengine.StoredRecord{Record: syncengine.Record{ID: id, Kind: w.GetKind()}}, kind: kind})
			wrong := map[string]bool{}
			for _, f := range it.Change.Outcome.GetFields() {
				if at, name, ok := strings.Cut(f, "/"); ok && at == strconv.Itoa(i) {
					wrong[name] = true
				}
			}
			if msg, err := s.c.domain.Values(w); err == nil {
				one.Fields = s.refusedFields(i, kind, msg, there, wrong)
			}
		}
		r.Records = append(r.Records, one)
	}
	return r
}

func (s *sight) refusedFields(i int, kind *syncengine.Kind, msg proto.Message, there *item, wrong map[string]bool) (out []refusedField) {
	m := msg.ProtoReflect()
	all := m.Descriptor().Fields()
	for n := range all.Len() {
		fd := all.Get(n)
		if !m.Has(fd) || fd.Number() < envelope && fd.Name() != "lifecycle" {
			continue
		}
		name := string(fd.Name())
		f := refusedField{Label: s.c.domain.FieldLabel(kind.Name, name, s.lang), Value: s.value(kind.Name, name, fd, m.Get(fd)), Wrong: wrong[name]}
		if there != nil && there.msg.ProtoReflect().Has(fd) {
			if now := s.value(kind.Name, name, fd, there.msg.ProtoReflect().Get(fd)); now != f.Value {
				f.Now = now
			}
		}
		if fd.Kind() == protoreflect.StringKind && !fd.IsList() && s.c.domain.FieldRules(kind.Name, name).GetRef() == "" && fd.Number() >= envelope {
			f.Name, f.Kind = strconv.Itoa(i)+"."+name, "text"
			if list := s.c.domain.FieldCodes(kind.Name, name); list != "" {
				f.Kind = "codes"
				for _, c := range slices.Concat(s.c.domain.Codes(list), s.own().Of(list, s.p.Agency.String())) {
					if !c.Retired || c.Code == m.Get(fd).String() {
						f.Options = append(f.Options, web.Option{Code: c.Code, Label: s.code(list, c.Code), On: c.Code == m.Get(fd).String()})
					}
				}
				if !slices.ContainsFunc(f.Options, func(o web.Option) bool { return o.On }) {
					f.Options = append(f.Options, web.Option{Code: m.Get(fd).String(), Label: s.code(list, m.Get(fd).String()), On: true})
				}
			} else {
				f.Value = m.Get(fd).String()
				if len(f.Value) > 80 || strings.Contains(f.Value, "\n") {
					f.Kind = "area"
				}
			}
		}
		if f.Value != "" {
			out = append(out, f)
		}
	}
	return out
}

// mine refuses a decision on a change that the lead does not see.
func (v *visit) mine(id syncengine.ID) error {
	return v.look("quarantine", id, func(s *sight) error {
		items, err := s.quarantineItems()
		if err == nil && !slices.ContainsFunc(items, func(it *syncengine.QuarantineItem) bool { return it.Change.ID == id }) {
			err = errAbsent
		}
		return err
	})
}

// release applies a change as it is.
func (v *visit) release() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	if err := v.mine(id); err != nil {
		return err
	}
	if _, err := v.office().Release(v.ctx(), v.who.Staff, id); err != nil {
		return err
	}
	return v.to("quarantine?done=okReleased")
}

// dismiss closes a change without applying it; its author is told why.
func (v *visit) dismiss() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	reason := record.CleanText(v.form("reason"))
	if reason == "" {
		return &server.InvalidError{Problems: []record.Problem{{Fields: []string{"reason"}, EN: "Say why: its author is told.", ES: "Diga por qué: se le comunica a quien lo escribió."}}}
	}
	if err := v.mine(id); err != nil {
		return err
	}
	if _, err := v.office().Dismiss(v.ctx(), v.who.Staff, id, reason); err != nil {
		return err
	}
	return v.to("quarantine?done=okDismissed")
}

// replace writes a change again as the lead's own, with corrected values.
func (v *visit) replace() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	if err := v.mine(id); err != nil {
		return err
	}
	_, err = v.office().Replace(v.ctx(), v.who.Staff, id, func(drafts []server.Draft) error {
		for i, d := range drafts {
			if d.Message == nil || d.Kind == nil {
				continue
			}
			m := d.Message.ProtoReflect()
			all := m.Descriptor().Fields()
			for n := range all.Len() {
				fd := all.Get(n)
				values, sent := v.r.PostForm[strconv.Itoa(i)+"."+string(fd.Name())]
				if !sent || fd.Kind() != protoreflect.StringKind || fd.IsList() || fd.Number() < envelope || v.c.domain.FieldRules(d.Kind.Name, string(fd.Name())).GetRef() != "" {
					continue
				}
				text := record.CleanText(strings.ReplaceAll(strings.Join(values, ""), "\r\n", "\n"))
				if text == "" {
					m.Clear(fd)
					continue
				}
				if text != m.Get(fd).String() {
					m.Set(fd, protoreflect.ValueOfString(text))
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.to("quarantine?done=okReplaced")
}
