package app

import (
	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
)

type noteData struct {
	Page             *web.Page
	ID, Target, Of   string
	About            string
	Sheet            *sheet
	Signed           bool
	Read             []readSection
	Where            web.Status
	Back, Name, Type string
}

// newNotePage is the form of a note about a person or an encounter.
func (v *visit) newNotePage() error {
	q := v.r.URL.Query()
	id, err := parseID(q.Get("id"))
	if err != nil {
		if id, err = v.dev.NewID(); err != nil {
			return err
		}
		return v.to("note/new?id=" + id.String() + "&target=" + q.Get("target") + "&of=" + q.Get("of"))
	}
	if _, err := v.dev.Get(v.ctx(), id); err == nil {
		return v.to("note/" + id.String())
	}
	return v.showNewNote(id.String(), q.Get("target"), q.Get("of"), nil)
}

func (v *visit) showNewNote(id, target, of string, problems []record.Problem) error {
	tid, err := parseID(of)
	if err != nil || target != "person" && target != "encounter" {
		return client.ErrNotFound
	}
	about, err := v.look(target, tid)
	if err != nil {
		return err
	}
	d := &noteData{Page: v.page(v.t("newNote")), ID: id, Target: target, Of: of, Back: target + "/" + of, Name: v.domain().KindLabel(target, v.lang)}
	if target == "person" {
		d.Name = v.personName(of)
	} else if m, ok := about.Message.(*tandemv1.Encounter); ok {
		d.Name = join(d.Name, v.personName(m.GetPersonId()))
	}
	if d.Sheet, err = v.sheetOf("note", id, &tandemv1.Note{Type: new(map[string]string{"person": "case", "encounter": "addendum"}[target])}, problems); err != nil {
		return err
	}
	if len(problems) > 0 {
		d.Page.Error = v.t("fillIn")
	}
	return v.show("note_form", d)
}

// newNote makes the note and signs it, or leaves it a draft.
func (v *visit) newNote() error {
	if err := v.r.ParseForm(); err != nil {
		return err
	}
	id, err := parseID(v.r.PostForm.Get("id"))
	if err != nil {
		return client.ErrNotFound
	}
	if err := v.posted("note", id.String()); err != nil {
		return err
	}
	target, of := v.r.PostForm.Get("target"), v.r.PostForm.Get("of")
	m := &tandemv1.Note{Type: new(map[string]string{"person": "case", "encounter": "addendum"}[target]), Target: &tandemv1.RecordRef{Kind: &target, Id: &of}}
	if err := v.lay("note", id.String(), m); err != nil {
		return err
	}
	var problems []record.Problem
	for _, p := range v.validate(m, record.Entry{Target: record.Signed, NowMS: v.a.o.Now().UnixMilli()}) {
		if !p.Warn {
			problems = append(problems, p)
		}
	}
	if len(problems) > 0 {
		return v.showNewNote(id.String(), target, of, problems)
	}
	if _, err = v.dev.Edit(v.ctx(), func(e *client.Edit) error {
		_, err := e.Create(m, client.WithID(id))
		return err
	}); err != nil {
		return err
	}
	if err := v.forget("note", id.String()); err != nil {
		return err
	}
	if v.r.PostForm.Get("sign") != "" {
		view, err := v.look("note", id)
		if err != nil {
			return err
		}
		if _, err := v.dev.Edit(v.ctx(), func(e *client.Edit) error { return e.Sign(view, view.Message) }); err != nil {
			return err
		}
	}
	return v.to(target + "/" + of)
}

func (v *visit) notePage() error {
	view, err := v.get("note")
	if err != nil {
		return err
	}
	m, ok := view.Message.(*tandemv1.Note)
	if !ok {
		return client.ErrNotFound
	}
	d := &noteData{
		Page: v.page(v.code("note_type", m.GetType())), ID: view.ID.String(), Signed: signed(view), Where: v.where(view),
		Back: m.GetTarget().GetKind() + "/" + m.GetTarget().GetId(), Read: v.read("note", m),
	}
	d.Page.Record, d.Page.Hash = d.ID, v.a.typing.remember(view)
	if !d.Signed {
		if d.Sheet, err = v.sheetOf("note", d.ID, m, nil); err != nil {
			return err
		}
	}
	return v.show("note", d)
}
