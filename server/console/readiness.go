package console

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/form"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
)

type readinessData struct {
	Page *web.Page
	Rows []row
	// Forms can be answered, about the person's Programs.
	Forms, Programs []web.Option
}

// assessed is a signed assessment with its form.
type assessed struct {
	it   *item
	r    *tandemv1.FormResponse
	form *tandemv1.Form
	at   int64
}

// assessments are the signed assessments of programs that the person may see, the newest
// first.
func (s *sight) assessments() (all []assessed) {
	for _, it := range s.reference("form_response") {
		r, ok := it.msg.(*tandemv1.FormResponse)
		if life := it.rec.Lifecycle(); !ok || r.GetSubject() != "program" || life != record.Signed && life != record.Amended {
			continue
		}
		of := s.seeText(r.GetFormId())
		if of == nil {
			continue
		}
		if f, ok := of.msg.(*tandemv1.Form); ok && f.GetCategory() == "readiness" {
			at := r.GetAnsweredAt().GetAtMs()
			if o, err := it.rec.Origin(); at == 0 && err == nil {
				at = o.AtMS
			}
			all = append(all, assessed{it, r, f, at})
		}
	}
	slices.SortStableFunc(all, func(a, b assessed) int { return cmp.Or(cmp.Compare(b.at, a.at), b.it.rec.ID.Compare(a.it.rec.ID)) })
	return all
}

// readiness lists the assessments.
func (v *visit) readiness() error {
	d := &readinessData{Page: v.page("navReadiness", "readiness")}
	err := v.look("readiness", syncengine.ID{}, func(s *sight) error {
		for _, a := range s.assessments() {
			res := form.Assess(a.form.GetDefinition(), form.Of(a.r), nil)
			r := row{Href: "readiness/" + a.it.rec.ID.String(), Title: s.nameOf("program", a.r.GetProgramId()), Sub: join(s.formTitle(a.form), s.author(a.it)), When: s.moment(a.at)}
			if res.Overall != nil && res.Overall.Value != nil {
				r.Badges = append(r.Badges, badge{Word: share(res.Overall)})
			}
			d.Rows = append(d.Rows, r)
		}
		for _, it := range s.reference("form") {
			if f, ok := it.msg.(*tandemv1.Form); ok && assessable(f) {
				d.Forms = append(d.Forms, web.Option{Code: it.rec.ID.String(), Label: s.formTitle(f)})
			}
		}
		for _, it := range s.reference("program") {
			if it.rec.Text(syncengine.FieldAgency) == s.p.Agency.String() && it.rec.Lifecycle() == record.Active {
				d.Programs = append(d.Programs, web.Option{Code: it.rec.ID.String(), Label: s.title(it)})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(200, "readiness", d)
}

func (s *sight) formTitle(f *tandemv1.Form) string {
	return form.In(&tandemv1.FormText{En: new(f.GetTitle().GetEn()), Es: new(f.GetTitle().GetEs())}, s.lang)
}

func share(a *form.Area) string {
	if a.Value == nil {
		return ""
	}
	return strconv.FormatFloat(*a.Value, 'f', 0, 64) + "\u00a0%"
}

type assessmentData struct {
	Page                   *web.Page
	Program, Form, Who, At string
	Before, BeforeHref     string
	Complete               bool
	Overall                *areaLine
	Areas, Lowest          []areaLine
	Advice                 []adviceLine
	Answers                [][2]string
}

type areaLine struct {
	Title, Share, Band, Before, Change string
	Answered, Asked                    int
	// Percent is for the drawing, which says nothing that the words do not.
	Percent int
}

type adviceLine struct {
	Text  string
	Links []adviceLink
}

type adviceLink struct{ Title, URL string }

func (s *sight) area(a *form.Area) areaLine {
	l := areaLine{Title: form.In(a.GetTitle(), s.lang), Share: share(a), Answered: a.Answered, Asked: a.Asked}
	if a.Value != nil {
		l.Percent = int(*a.Value)
	}
	if a.Band != nil {
		l.Band = form.In(a.Band.GetText(), s.lang)
	}
	if by, ok := a.Change(); ok {
		l.Before, l.Change = strconv.FormatFloat(*a.Before, 'f', 0, 64)+"\u00a0%", sprintf("%+.0f", by)
	}
	return l
}

// assessment is the summary of one: the domains with their bands, where it is lowest, what
// helps there, and what has changed since the one before.
func (v *visit) assessment() error {
	id, err := v.id()
	if err != nil {
		return err
	}
	d := &assessmentData{Page: v.page("navReadiness", "readiness/"+id.String())}
	err = v.look("readiness", id, func(s *sight) error {
		all := s.assessments()
		i := slices.IndexFunc(all, func(a assessed) bool { return a.it.rec.ID == id })
		if i < 0 {
			return errAbsent
		}
		a := all[i]
		var before form.Answers
		for _, o := range all[i+1:] {
			if o.r.GetFormCode() == a.r.GetFormCode() && o.r.GetProgramId() == a.r.GetProgramId() {
				before = form.Of(o.r)
				d.Before, d.BeforeHref = s.moment(o.at), "readiness/"+o.it.rec.ID.String()
				break
			}
		}
		res := form.Assess(a.form.GetDefinition(), form.Of(a.r), before)
		d.Program, d.Form, d.Who, d.At, d.Complete = s.nameOf("program", a.r.GetProgramId()), s.formTitle(a.form), s.author(a.it), s.moment(a.at), res.Complete
		d.Page.Title = d.Form
		if res.Overall != nil {
			d.Overall = new(s.area(res.Overall))
		}
		for i := range res.Areas {
			d.Areas = append(d.Areas, s.area(&res.Areas[i]))
		}
		for i := range res.Lowest {
			d.Lowest = append(d.Lowest, s.area(&res.Lowest[i]))
		}
		for _, one := range res.Advice {
			l := adviceLine{Text: strings.TrimSpace(one.Item.GetPrefix() + " " + form.In(one.Item.GetText(), s.lang))}
			for _, link := range one.Item.GetLinks() {
				l.Links = append(l.Links, adviceLink{form.In(link.GetTitle(), s.lang), link.GetUrl()})
			}
			d.Advice = append(d.Advice, l)
		}
		played, given := form.Evaluate(a.form.GetDefinition(), form.Of(a.r)), form.Of(a.r)
		for _, it := range played.Items {
			var said []string
			for _, val := range given[it.GetLinkId()] {
				said = append(said, form.Said(it.FormItem, val, s.lang, s.zone))
			}
			if len(said) > 0 {
				d.Answers = append(d.Answers, [2]string{strings.TrimSpace(it.GetPrefix() + " " + form.In(it.GetText(), s.lang)), strings.Join(said, ", ")})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(200, "assessment", d)
}

// assessable reports whether a form assesses a program, and is in use.
func assessable(f *tandemv1.Form) bool {
	return f.GetCategory() == "readiness" && f.GetSubject() == "program" && f.GetLifecycle() == record.Published
}

type assessData struct {
	Page                  *web.Page
	Form, Program         string
	Title, About, Licence string
	Items                 []web.FormItem
	Missing               int
	// Empty: it was sent without any answer.
	Empty bool
}

// assess asks a form about a program.
func (v *visit) assess() error {
	return v.assessShow(200, v.r.URL.Query().Get("form"), v.r.URL.Query().Get("program"), nil)
}

// assessShow shows the form with the answers that were given; what is missing is marked
// where there are any.
func (v *visit) assessShow(status int, formID, program string, given form.Answers) error {
	d := &assessData{Page: v.page("navReadiness", "readiness/new"), Form: formID, Program: program}
	d.Page.Here = "readiness/new?form=" + formID + "&program=" + program
	err := v.look("readiness", syncengine.ID{}, func(s *sight) error {
		f, about := s.assessing(formID, program)
		if f == nil {
			return errAbsent
		}
		d.Title, d.About, d.Licence = s.formTitle(f), s.title(about), f.GetLicence()
		d.Page.Title = d.Title
		d.Items, d.Missing = s.asks(f, given)
		d.Empty = given != nil && len(given) == 0
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(status, "assess", d)
}

// assessing are the form and the program that an assessment is of, nil where they are none.
func (s *sight) assessing(formID, program string) (*tandemv1.Form, *item) {
	of, about := s.seeText(formID), s.seeText(program)
	if of == nil || about == nil || about.kind.Name != "program" || about.rec.Text(syncengine.FieldAgency) != s.p.Agency.String() {
		return nil, nil
	}
	f, ok := of.msg.(*tandemv1.Form)
	if !ok || !assessable(f) {
		return nil, nil
	}
	return f, about
}

// asks are the items of a form with what was answered, as the field app shows them; where
// anything was, what is missing is marked and counted.
func (s *sight) asks(f *tandemv1.Form, given form.Answers) (items []web.FormItem, missing int) {
	res := form.Evaluate(f.GetDefinition(), given)
	if given != nil {
		missing = len(res.Missing())
	}
	return web.FormItems(res, s.lang, s.t, func(it *form.Item, field *web.Field) (values []string) {
		for _, val := range given[it.GetLinkId()] {
			values = append(values, form.Typed(val, s.zone))
		}
		switch {
		case it.EN != "":
			field.Problem = map[bool]string{true: it.ES, false: it.EN}[s.lang == "es"]
		case given != nil && it.Missing:
			field.Problem = s.t("answerThis")
		}
		return values
	}), missing
}

// answers reads what was typed for the questions of a form.
func answers(def *tandemv1.FormDefinition, values map[string][]string, zone *time.Location) form.Answers {
	given := form.Answers{}
	for _, it := range def.GetItems() {
		typed := values[web.AnswerField+it.GetLinkId()]
		if web.ByLine(it) {
			typed = strings.Split(strings.ReplaceAll(strings.Join(typed, "\n"), "\r\n", "\n"), "\n")
		}
		for _, text := range typed {
			if val, ok := form.Read(it, record.CleanText(strings.ReplaceAll(text, "\r\n", "\n")), zone); ok && strings.TrimSpace(text) != "" {
				given[it.GetLinkId()] = append(given[it.GetLinkId()], val)
			}
		}
	}
	return given
}

// addAssessment keeps an assessment, signed.
func (v *visit) addAssessment() error {
	var f *tandemv1.Form
	var about *item
	zone := time.UTC
	if err := v.look("readiness", syncengine.ID{}, func(s *sight) error {
		if f, about = s.assessing(v.form("form"), v.form("program")); f == nil {
			return errForm
		}
		zone = s.zone
		return nil
	}); err != nil {
		return err
	}
	given := answers(f.GetDefinition(), v.r.PostForm, zone)
	res := form.Evaluate(f.GetDefinition(), given)
	if !res.Complete || len(given) == 0 {
		return v.assessShow(http.StatusUnprocessableEntity, v.form("form"), v.form("program"), given)
	}
	program := about.rec.ID
	var id syncengine.ID
	if _, err := v.office().Change(v.ctx(), v.who.Staff, func(c *server.Composer) (err error) {
		m := &tandemv1.FormResponse{
			AgencyId: new(c.Principal.Agency.String()), ProgramId: new(program.String()), Lifecycle: new(record.Draft), Schema: new(uint32(syncengine.Schema)),
			FormId: new(v.form("form")), FormCode: f.Code, FormVersion: f.Version, Subject: f.Subject, Lang: &v.lang, Respondent: new("staff"),
			AnsweredAt: &tandemv1.Instant{AtMs: new(c.NowMS()), Origin: new("tap")},
		}
		for _, it := range f.GetDefinition().GetItems() {
			if values := given[it.GetLinkId()]; len(values) > 0 {
				m.Answers = append(m.Answers, form.Answer(it.GetLinkId(), values...))
			}
		}
		form.Total(m, res)
		id, err = c.Create(m)
		return err
	}); err != nil {
		return err
	}
	if _, err := v.office().Change(v.ctx(), v.who.Staff, func(c *server.Composer) error {
		rec, msg, err := c.Record(id)
		if err != nil {
			return err
		}
		m, _ := msg.(*tandemv1.FormResponse)
		m.Lifecycle, m.SignedBy, m.SignedAt = new(record.Signed), new(v.who.Staff.String()), &tandemv1.Instant{AtMs: new(c.NowMS()), Origin: new("tap")}
		return c.Write(rec, tandemv1.Act_ACT_SIGN, m, "")
	}); err != nil {
		return err
	}
	return v.to("readiness/" + id.String() + "?done=okAssessed")
}
