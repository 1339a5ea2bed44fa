package console

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/form"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
)

type formsData struct {
	Page   *web.Page
	Rows   []row
	Faults []string
	// Subjects and Categories are those that a new form can have.
	Subjects, Categories []web.Option
	Code, EN, ES         string
}

// forms lists the forms with all their versions.
func (v *visit) forms() error { return v.formsShow(200, nil) }

func (v *visit) formsShow(status int, faults []string) error {
	d := &formsData{Page: v.page("navForms", "forms"), Faults: faults}
	err := v.look("forms", syncengine.ID{}, func(s *sight) error {
		type named struct {
			*tandemv1.Form

			row row
		}
		var all []named
		for _, it := range s.reference("form") {
			f, ok := it.msg.(*tandemv1.Form)
			if !ok {
				continue
			}
			r := row{Href: "forms/" + it.rec.ID.String(), Title: s.formTitle(f), Sub: join(sprintf(s.t("codeVersion"), f.GetCode(), f.GetVersion()), s.nameOf("agency", f.GetAgencyId()))}
			r.Badges = append(r.Badges, badge{Word: s.code("lifecycle_form", f.GetLifecycle()), Bad: f.GetLifecycle() == record.Draft})
			all = append(all, named{f, r})
		}
		slices.SortStableFunc(all, func(a, b named) int {
			if c := strings.Compare(a.GetCode(), b.GetCode()); c != 0 {
				return c
			}
			return int(b.GetVersion()) - int(a.GetVersion())
		})
		for _, n := range all {
			d.Rows = append(d.Rows, n.row)
		}
		d.Subjects, d.Categories = s.options(s.c.domain.FieldCodes("form", "subject"), v.form("subject")), s.options(s.c.domain.FieldCodes("form", "category"), v.form("category"))
		d.Code, d.EN, d.ES = v.form("code"), v.form("en"), v.form("es")
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(status, "forms", d)
}

// formErrors are errors of a form with their words in Spanish.
var formErrors = []struct {
	err error
	es  string
}{
	{server.ErrFormDraft, "la agencia ya tiene un borrador de este formulario: publíquelo, o anúlelo, antes de importar la versión siguiente"},
	{server.ErrFormSettled, "solo un borrador se edita o se publica: importe el formulario corregido como su versión siguiente"},
	{server.ErrFormNotPublished, "solo se retira un formulario publicado; un borrador se anula"},
	{server.ErrFormReason, "diga por qué, en 500 caracteres como máximo"},
	{server.ErrFormSize, "el formulario es demasiado largo para guardarse: divídalo en varios"},
}

// lines are what is wrong with a form in a language, with the item or the place in the file.
func lines(err error, lang string) (out []string) {
	if faults, ok := errors.AsType[form.FaultError](err); ok {
		for _, f := range faults {
			out = append(out, f.In(lang))
		}
		return out
	}
	if invalid, ok := errors.AsType[*server.InvalidError](err); ok {
		for _, p := range invalid.Problems {
			out = append(out, p.Text(lang))
		}
		return out
	}
	for _, known := range formErrors {
		if errors.Is(err, known.err) {
			return []string{map[bool]string{true: known.es, false: known.err.Error()}[lang == "es"]}
		}
	}
	return nil
}

// clerk acts on forms as the person, with the rights of the person.
func (v *visit) clerk() *server.Admin { return v.office().As(v.who.Staff) }

// importForm takes a questionnaire of FHIR as a draft.
func (v *visit) importForm() error {
	raw, _, err := v.file("file")
	if err != nil {
		return err
	}
	f, _, err := form.Import(raw)
	if err == nil {
		var id syncengine.ID
		if id, err = v.clerk().AddForm(v.ctx(), v.who.Principal.Agency, f); err == nil {
			return v.to("forms/" + id.String() + "?done=okImported")
		}
	}
	if faults := lines(err, v.lang); faults != nil {
		return v.formsShow(http.StatusUnprocessableEntity, faults)
	}
	return err
}

// addForm begins a form with one question.
func (v *visit) addForm() error {
	f := &tandemv1.Form{
		Code: words1(v.form("code")), Title: &tandemv1.LocalizedText{En: words1(v.form("en")), Es: words1(v.form("es"))}, Subject: words1(v.form("subject")), Category: words1(v.form("category")),
		Definition: &tandemv1.FormDefinition{Items: []*tandemv1.FormItem{firstItem("1", nil)}},
	}
	f.AnswersIn = new("clinical")
	if record.Impersonal(f.GetSubject()) {
		f.AnswersIn = new("ref")
	}
	id, err := v.clerk().AddForm(v.ctx(), v.who.Principal.Agency, f)
	if faults := lines(err, v.lang); faults != nil {
		return v.formsShow(http.StatusUnprocessableEntity, faults)
	}
	if err != nil {
		return err
	}
	return v.to("forms/" + id.String() + "?done=okSaved")
}

type formData struct {
	Page                         *web.Page
	ID, Hash, Title, State, Code string
	Shown                        string
	Agency, About, Category      string
	Version                      uint32
	EN, ES, Licence              string
	Items                        []formRow
	Scores                       []scoreRow
	// Draft: it can be edited. Mine: it is of the person's own agency.
	Draft, Mine, Published bool
	Missing, English       []string
	Faults                 []string
	Moved                  *movedForm
	// Reason is one that was typed, and not taken.
	Reason string
}

type formRow struct {
	Link, Type, EN, ES, Prefix string
	Depth                      int
	Required, Conditional      bool
	Options                    []optionRow
}

type optionRow struct{ Code, EN, ES, Points string }

type scoreRow struct {
	Code, Method, EN, ES string
	Bands                []optionRow
}

// formHash tells whether a form is still the one that was shown.
func formHash(f *tandemv1.Form) string {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(f)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

// theForm is the form that the address names.
func (s *sight) theForm(id syncengine.ID) (*tandemv1.Form, error) {
	it := s.see(id)
	if it == nil || it.kind.Name != "form" {
		return nil, errAbsent
	}
	f, ok := it.msg.(*tandemv1.Form)
	if !ok {
		return nil, errAbsent
	}
	return f, nil
}

// theDraft is theForm where the person's agency may still edit it.
func (s *sight) theDraft(id syncengine.ID) (*tandemv1.Form, error) {
	f, err := s.theForm(id)
	if err == nil && (f.GetLifecycle() != record.Draft || f.GetAgencyId() != s.p.Agency.String()) {
		return nil, errAbsent
	}
	return f, err
}

// formPage shows a form in both languages, and what can be done with it. Old versions stay
// readable.
func (v *visit) formPage() error { return v.formShow(nil) }

// formShow shows a form, and behind an act that was not done why, with what was typed.
func (v *visit) formShow(why error) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	d := &formData{Page: v.page("navForms", "forms/"+id.String()), ID: id.String(), Faults: lines(why, v.lang)}
	err = v.look("forms", id, func(s *sight) error {
		f, err := s.theForm(id)
		if err != nil {
			return err
		}
		d.Title, d.Code, d.Version, d.Hash = s.formTitle(f), f.GetCode(), f.GetVersion(), formHash(f)
		d.Page.Title = d.Title
		d.State, d.Agency = s.code("lifecycle_form", f.GetLifecycle()), s.nameOf("agency", f.GetAgencyId())
		d.About, d.Category = s.code(s.c.domain.FieldCodes("form", "subject"), f.GetSubject()), s.code(s.c.domain.FieldCodes("form", "category"), f.GetCategory())
		d.EN, d.ES, d.Licence = f.GetTitle().GetEn(), f.GetTitle().GetEs(), f.GetLicence()
		d.Mine = f.GetAgencyId() == s.p.Agency.String()
		d.Draft, d.Published = d.Mine && f.GetLifecycle() == record.Draft, f.GetLifecycle() == record.Published
		for _, it := range form.Evaluate(f.GetDefinition(), nil).Items {
			d.Items = append(d.Items, s.formRow(&it))
		}
		for _, sc := range f.GetDefinition().GetScores() {
			r := scoreRow{Code: sc.GetCode(), Method: s.code("form_method", sc.GetMethod()), EN: sc.GetTitle().GetEn(), ES: sc.GetTitle().GetEs()}
			for _, b := range sc.GetBands() {
				r.Bands = append(r.Bands, optionRow{b.GetCode(), b.GetText().GetEn(), b.GetText().GetEs(), number(b.AtLeast)})
			}
			d.Scores = append(d.Scores, r)
		}
		if f.GetLifecycle() == record.Draft {
			d.Missing = lines(form.Publishable(f), s.lang)
			d.English = lines(form.Untranslated(f), s.lang)
		}
		now := *d
		says := now.fields(v)
		d.Shown = shown(says)
		if why != nil {
			d.typed(v)
			if errors.Is(why, server.ErrMoved) || !d.Draft {
				d.Moved = beside(&now, says, d.fields(v), v.form("shown"))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(statusOf(why), "form", d)
}

// typed puts back the head or the reason that was typed, which was not saved.
func (d *formData) typed(v *visit) {
	if v.r.PostForm.Has("licence") {
		d.EN, d.ES, d.Licence = v.form("en"), v.form("es"), v.form("licence")
	}
	d.Reason = v.form("reason")
}

func (s *sight) formRow(it *form.Item) formRow {
	r := formRow{
		Link: it.GetLinkId(), Type: s.code("form_item_type", it.GetType()), Prefix: it.GetPrefix(), EN: it.GetText().GetEn(), ES: it.GetText().GetEs(),
		Depth: min(it.Depth, 3), Required: it.GetRequired(), Conditional: len(it.GetEnableWhen()) > 0,
	}
	for _, o := range it.GetOptions() {
		r.Options = append(r.Options, optionRow{o.GetCode(), o.GetText().GetEn(), o.GetText().GetEs(), number(o.Ordinal)})
	}
	return r
}

// number is one as it is typed, empty for none.
func number(n *float64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatFloat(*n, 'f', -1, 64)
}

// formFile hands out a form as a questionnaire of FHIR.
func (v *visit) formFile() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	var raw []byte
	name := ""
	if err := v.look("forms", id, func(s *sight) error {
		f, err := s.theForm(id)
		if err != nil {
			return err
		}
		name = f.GetCode() + "-" + strconv.Itoa(int(f.GetVersion())) + ".json"
		raw, err = form.Export(f)
		return err
	}); err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "application/fhir+json")
	v.w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	_, _ = v.w.Write(raw)
	return nil
}

type previewData struct {
	Page          *web.Page
	ID, Title     string
	Items         []web.FormItem
	Scores        []areaLine
	Missing       int
	Complete, Any bool
}

// previewForm plays a form as the field app shows it. What is answered is kept nowhere.
func (v *visit) previewForm() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	q := v.r.URL.Query()
	d := &previewData{Page: v.page("previewTitle", "forms/"+id.String()+"/preview"), ID: id.String(), Any: len(q) > 0}
	err = v.look("forms", id, func(s *sight) error {
		f, err := s.theForm(id)
		if err != nil {
			return err
		}
		d.Title = s.formTitle(f)
		var given form.Answers
		if d.Any {
			given = answers(f.GetDefinition(), q, s.zone)
		}
		d.Items, d.Missing = s.asks(f, given)
		res := form.Evaluate(f.GetDefinition(), given)
		d.Complete = res.Complete
		for _, sc := range res.Scores {
			l := areaLine{Title: form.In(sc.GetTitle(), s.lang), Answered: sc.Answered, Asked: sc.Asked}
			if sc.Value != nil {
				l.Share = number(sc.Value)
			}
			if sc.Band != nil {
				l.Band = form.In(sc.Band.GetText(), s.lang)
			}
			d.Scores = append(d.Scores, l)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(200, "preview", d)
}

// formDone ends an act on a form: what is wrong is shown on its page, and nothing is saved.
func (v *visit) formDone(err error, done string) error {
	if v.again(err) {
		return v.formShow(err)
	}
	if err != nil {
		return err
	}
	return v.to("forms/" + v.r.PathValue("id") + "?done=" + done)
}

// formDoneAt is formDone that ends where a part of the form stands on its page.
func (v *visit) formDoneAt(err error, part, name string) error {
	if err == nil {
		return v.to("forms/" + v.r.PathValue("id") + "?done=okSaved#" + part + "-" + url.PathEscape(name))
	}
	return v.formDone(err, "")
}

// copyForm makes the next version of a form, as a draft of the person's own agency.
func (v *visit) copyForm() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	var f *tandemv1.Form
	if err := v.look("forms", id, func(s *sight) (err error) {
		f, err = s.theForm(id)
		return err
	}); err != nil {
		return err
	}
	next := proto.CloneOf(f)
	next.VoidReason, next.TeamId = nil, nil
	made, err := v.clerk().AddForm(v.ctx(), v.who.Principal.Agency, next)
	if err != nil {
		return v.formDone(err, "")
	}
	return v.to("forms/" + made.String() + "?done=okDraft")
}

// publishForm publishes the draft that was shown, and not what somebody else made of it since.
func (v *visit) publishForm() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	return v.formDone(v.clerk().PublishFormSeen(v.ctx(), id, v.shownForm), "okPublished")
}

// shownForm refuses a form that is another one by now than was shown.
func (v *visit) shownForm(f *tandemv1.Form) error {
	if formHash(f) != v.form("hash") {
		return server.ErrMoved
	}
	return nil
}

func (v *visit) retireForm() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	return v.formDone(v.clerk().RetireFormSeen(v.ctx(), id, v.shownForm), "okRetired")
}

func (v *visit) voidForm() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	return v.formDone(v.clerk().VoidFormSeen(v.ctx(), id, v.form("reason"), v.shownForm), "okVoid")
}

// editForm changes the draft that was shown; where it is another one by now nothing is
// saved.
func (v *visit) editForm(edit func(*tandemv1.Form) error) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	return v.clerk().EditForm(v.ctx(), id, func(f *tandemv1.Form) error {
		if f.GetLifecycle() == record.Draft {
			if err := v.shownForm(f); err != nil {
				return err
			}
		}
		return edit(f)
	})
}

func (v *visit) setFormHead() error {
	return v.formDone(v.editForm(func(f *tandemv1.Form) error {
		f.Title = &tandemv1.LocalizedText{En: words1(v.form("en")), Es: words1(v.form("es"))}
		f.Licence = words1(v.form("licence"))
		return nil
	}), "okSaved")
}
