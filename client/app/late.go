package app

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine/form"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
)

// late is what was typed into a record after it was signed, as in a window that was still
// open. It is no part of the record: its author adds it as a note, or sets it aside.
type late struct {
	Kind, ID string
	Lines    [][2]string
	// AtMS tells these words from later ones.
	AtMS int64
	// Target and Of are what a note with these words is about; empty where there is none.
	Target, Of string
}

// late returns what was typed into a signed record and is not what it says, nil for nothing.
func (v *visit) late(kind string, view *client.View) (*late, error) {
	if !signed(view) || !slices.Contains(draftKinds, kind) {
		return nil, nil
	}
	l := &late{Kind: kind, ID: view.ID.String()}
	d, err := v.typedIn(kind, l.ID)
	if err != nil || d == nil {
		return nil, err
	}
	set, err := v.a.setter(v.ctx(), v.dev, view.Message)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(d.Fields)) {
		f, after := d.Fields[name], proto.Clone(view.Message)
		if err := set(after, name, f.Values); err == nil && proto.Equal(after, view.Message) && len(f.Others) == 0 {
			continue
		}
		label, text, err := v.lateLine(kind, view.Message, name, f.Values)
		if err != nil {
			return nil, err
		}
		l.Lines = append(l.Lines, [2]string{label, strings.Join(append([]string{cmp.Or(text, v.t("notSet"))}, f.Others...), "\n")})
	}
	if len(l.Lines) == 0 {
		return nil, nil
	}
	l.AtMS = d.AtMS
	switch m := view.Message.(type) {
	case *tandemv1.Encounter:
		l.Target, l.Of = "encounter", l.ID
	case *tandemv1.Note:
		l.Target, l.Of = m.GetTarget().GetKind(), m.GetTarget().GetId()
	case *tandemv1.FormResponse:
		if l.Target, l.Of = "encounter", m.GetEncounterId(); l.Of == "" {
			l.Target, l.Of = "person", m.GetPersonId()
		}
	}
	if l.Of == "" {
		l.Target = ""
	}
	return l, nil
}

// lateLine names a field, and what is typed there, to be read.
func (v *visit) lateLine(kind string, msg proto.Message, name string, values []string) (label, text string, err error) {
	for _, sec := range sheets[kind] {
		for _, sp := range sec.fields {
			if sp.name != name {
				continue
			}
			if !empty(values) && sp.kind != "area" {
				text = v.dated(v.shownValue(kind, sp, values))
			}
			return v.field(kind, sp).Label, cmp.Or(text, strings.Join(values, "\n")), nil
		}
	}
	link := strings.TrimPrefix(name, web.AnswerField)
	label, text = link, strings.Join(values, "\n")
	m, ok := msg.(*tandemv1.FormResponse)
	if !ok {
		return label, text, nil
	}
	f, err := formOf(v.ctx(), v.dev, m)
	if err != nil {
		return "", "", err
	}
	one := &tandemv1.FormResponse{}
	fits := answer(one, f.GetDefinition(), link, values, v.a.o.Zone) == nil
	for _, it := range f.GetDefinition().GetItems() {
		if it.GetLinkId() != link {
			continue
		}
		label = strings.TrimSpace(it.GetPrefix() + " " + form.In(it.GetText(), v.lang))
		if !fits {
			break
		}
		var said []string
		for _, val := range form.Of(one)[link] {
			said = append(said, form.Said(it, val, v.lang, v.a.o.Zone))
		}
		text = strings.Join(said, ", ")
	}
	return label, text, nil
}

// signedBefore answers the second of two taps that sign as the first one was, and with the
// page of what is signed where something was typed since.
func (v *visit) signedBefore(kind string, view *client.View, page string) error {
	l, err := v.late(kind, view)
	switch {
	case err != nil:
		return err
	case l != nil:
		page = pageOf(kind) + "/" + l.ID
	default:
		if err := v.forget(kind, view.ID.String()); err != nil {
			return err
		}
	}
	return v.to(page)
}

// settleLate makes a note of what was typed after the signature, to be looked at and
// signed, or sets it aside.
func (v *visit) settleLate() error {
	kind := v.r.PathValue("kind")
	view, err := v.get(kind)
	if err != nil {
		return err
	}
	page := pageOf(kind) + "/" + view.ID.String()
	l, err := v.late(kind, view)
	if err != nil {
		return err
	}
	// What the page did not show is not decided on.
	if l == nil || v.r.PostFormValue("at") != strconv.FormatInt(l.AtMS, 10) {
		return v.to(page)
	}
	id, err := v.dev.NewID()
	if err != nil {
		return err
	}
	t := &v.a.typing
	t.mu.Lock()
	defer t.mu.Unlock()
	key := draftKey(kind, l.ID)
	if d, err := v.a.draft(v.ctx(), v.dev, key); err != nil {
		return err
	} else if d == nil || d.AtMS != l.AtMS {
		return v.to(page)
	}
	switch v.r.PostFormValue("do") {
	case "note":
		if l.Target == "" {
			return client.ErrNotFound
		}
		about := map[string]string{"target": l.Target, "of": l.Of}
		note := &draft{Kind: "note", Record: id.String(), Of: about, AtMS: l.AtMS, Fields: map[string]*typed{"text": {Values: []string{l.words()}, N: 1}}}
		if err := v.a.keep(v.ctx(), v.dev, draftKey("note", note.Record), note); err != nil {
			return err
		}
		page = "note/new?" + url.Values{"id": {note.Record}, "target": {l.Target}, "of": {l.Of}}.Encode()
	case "drop":
	default:
		return client.ErrNotFound
	}
	if err := v.a.drop(v.ctx(), v.dev, key); err != nil {
		return err
	}
	return v.to(page)
}

// words are all of it, for a note.
func (l *late) words() string {
	if len(l.Lines) == 1 {
		return l.Lines[0][1]
	}
	var out []string
	for _, line := range l.Lines {
		out = append(out, line[0]+": "+line[1])
	}
	return strings.Join(out, "\n")
}

// keptLate answers what a window types into a record that is signed: it is kept, and the
// window goes where that is shown.
func (v *visit) keptLate(kind, id string) error {
	return v.json(http.StatusGone, map[string]string{"to": pageOf(kind) + "/" + id})
}
