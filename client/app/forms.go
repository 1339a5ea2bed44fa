package app

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/form"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
)

func init() {
	sheets["form_response"] = []section{{"secResponse", []spec{{name: "respondent", need: true}}}}
}

// isAnswer reports whether a field of a sheet is an answer of a form.
func isAnswer(kind, name string) bool {
	return kind == "form_response" && strings.HasPrefix(name, web.AnswerField) && len(name) < len(web.AnswerField)+129
}

// formOf returns the form that a response answers, nil where this device does not hold it.
func formOf(ctx context.Context, dev *client.Client, m *tandemv1.FormResponse) (*tandemv1.Form, error) {
	id, err := parseID(m.GetFormId())
	if err != nil {
		return nil, nil //nolint:nilerr // A response of no form here is shown without one.
	}
	view, err := dev.Get(ctx, id)
	if errors.Is(err, client.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f, _ := view.Message.(*tandemv1.Form)
	return f, nil
}

// setter returns what writes typed values into a field of records like msg.
func (a *App) setter(ctx context.Context, dev *client.Client, msg proto.Message) (func(msg proto.Message, name string, values []string) error, error) {
	plain := func(msg proto.Message, name string, values []string) error { return apply(msg, name, values, a.o.Zone) }
	r, ok := msg.(*tandemv1.FormResponse)
	if !ok {
		return plain, nil
	}
	f, err := formOf(ctx, dev, r)
	if err != nil {
		return nil, err
	}
	return func(msg proto.Message, name string, values []string) error {
		link, is := strings.CutPrefix(name, web.AnswerField)
		m, ok := msg.(*tandemv1.FormResponse)
		if !is || !ok {
			return plain(msg, name, values)
		}
		return answer(m, f.GetDefinition(), link, values, a.o.Zone)
	}, nil
}

// answer puts what was typed for a question into a response.
func answer(m *tandemv1.FormResponse, def *tandemv1.FormDefinition, link string, typed []string, zone *time.Location) error {
	i := slices.IndexFunc(def.GetItems(), func(it *tandemv1.FormItem) bool { return it.GetLinkId() == link })
	if i < 0 {
		return errValue
	}
	it := def.GetItems()[i]
	if web.ByLine(it) {
		typed = strings.Split(strings.ReplaceAll(strings.Join(typed, "\n"), "\r\n", "\n"), "\n")
	}
	var values []*tandemv1.FormValue
	for _, s := range typed {
		if strings.TrimSpace(s) == "" {
			continue
		}
		v, ok := form.Read(it, record.CleanText(strings.ReplaceAll(s, "\r\n", "\n")), zone)
		if !ok {
			return errValue
		}
		values = append(values, v)
	}
	at := slices.IndexFunc(m.GetAnswers(), func(a *tandemv1.FormAnswer) bool { return a.GetLinkId() == link })
	switch {
	case len(values) == 0 && at >= 0:
		m.Answers = slices.Delete(m.Answers, at, at+1)
	case len(values) == 0:
	case at >= 0:
		m.Answers[at] = form.Answer(link, values...)
	default:
		m.Answers = append(m.Answers, form.Answer(link, values...))
	}
	return nil
}

// formResult is what the answers come to so far.
type formResult struct {
	Open, Faults int
	Scores       []formScore
	Lowest       []string
	Advice       []formAdvice
}

type formScore struct {
	Title, Band, Value, Change string
	// Final: open questions cannot change it. Answered of Asked questions it looks at.
	Final           bool
	Answered, Asked int
}

type formAdvice struct {
	Text  string
	Links []formLink
}

type formLink struct{ Title, URL string }

type responseData struct {
	Page                  *web.Page
	ID, Title, About      string
	Back, BackWords       string
	State, Licence        string
	Sheet                 *sheet
	Items                 []web.FormItem
	Result                *formResult
	Respondent            web.Field
	Where                 web.Status
	Signed, Mine, NotHere bool
	Needs                 int
	At                    time.Time
	Read                  [][2]string
	// Plan is the safety plan that the answers are, nil for another form.
	Plan *plan
	Late *late
}

// laid returns a response with what is typed in it and no save yet, and the fields that
// are typed and no values.
func (v *visit) laid(view *client.View) (m *tandemv1.FormResponse, d *draft, wrong []string, err error) {
	m, ok := proto.Clone(view.Message).(*tandemv1.FormResponse)
	if !ok {
		return nil, nil, nil, client.ErrNotFound
	}
	if d, err = v.typedIn("form_response", view.ID.String()); err != nil || d == nil || signed(view) {
		return m, d, nil, err
	}
	set, err := v.a.setter(v.ctx(), v.dev, m)
	if err != nil {
		return nil, nil, nil, err
	}
	for name, f := range d.Fields {
		if set(m, name, f.Values) != nil {
			wrong = append(wrong, name)
		}
	}
	return m, d, wrong, nil
}

// responsePage asks a form, or shows what was answered and signed.
func (v *visit) responsePage() error {
	view, err := v.get("form_response")
	if err != nil {
		return err
	}
	return v.showResponse(view, "")
}

func (v *visit) showResponse(view *client.View, failed string) error {
	m, typing, wrong, err := v.laid(view)
	if err != nil {
		return err
	}
	f, err := formOf(v.ctx(), v.dev, m)
	if err != nil {
		return err
	}
	d := &responseData{
		ID: view.ID.String(), Title: cmp.Or(v.title(f), m.GetFormCode()), State: v.code("lifecycle_form_response", view.Lifecycle), Where: v.where(view),
		Signed: signed(view), Mine: view.Origin.Author == v.me.Person, NotHere: f == nil, Needs: len(view.Conflicts), At: v.at(view.Origin.AtMS), Licence: f.GetLicence(),
	}
	d.Page = v.page(d.Title)
	d.Page.Record, d.Page.Hash, d.Page.Error = d.ID, v.a.typing.remember(view), failed
	d.Back, d.BackWords = "forms", v.t("formsTitle")
	switch {
	case m.GetEncounterId() != "":
		d.Back, d.BackWords = "encounter/"+m.GetEncounterId(), v.domain().KindLabel("encounter", v.lang)
	case m.GetEpisodeId() != "":
		d.Back, d.BackWords = "episode/"+m.GetEpisodeId(), v.domain().KindLabel("episode", v.lang)
	case m.GetPersonId() != "":
		d.Back, d.BackWords = "person/"+m.GetPersonId(), v.personName(m.GetPersonId())
	}
	d.About = v.personName(m.GetPersonId())
	if m.GetAnsweredAt() != nil {
		d.At = v.at(m.GetAnsweredAt().GetAtMs())
	}
	res := form.Evaluate(f.GetDefinition(), form.Of(m))
	if d.Result, err = v.comesTo(f, m, res, view.ID); err != nil {
		return err
	}
	if d.Signed {
		if d.Late, err = v.late("form_response", view); err != nil {
			return err
		}
		if d.Plan = v.planOf(f, m, view.Lifecycle); d.Plan == nil {
			d.Read = v.answered(m, res)
		}
		return v.show("response", d)
	}
	if d.Sheet, err = v.sheetOf("form_response", d.ID, m, nil); err != nil {
		return err
	}
	d.Respondent = d.Sheet.Section("secResponse").Fields[0]
	d.Items = v.formItems(m, res, typing, wrong, failed != "")
	return v.show("response_form", d)
}

func (v *visit) title(f *tandemv1.Form) string {
	t := f.GetTitle()
	return form.In(&tandemv1.FormText{En: new(t.GetEn()), Es: new(t.GetEs())}, v.lang)
}

// formItems are the items of a form with what was answered. strict: what is missing is
// marked.
func (v *visit) formItems(m *tandemv1.FormResponse, res *form.Result, typing *draft, wrong []string, strict bool) []web.FormItem {
	given := form.Of(m)
	return web.FormItems(res, v.lang, v.t, func(it *form.Item, f *web.Field) (values []string) {
		for _, val := range given[it.GetLinkId()] {
			values = append(values, form.Typed(val, v.a.o.Zone))
		}
		if typing != nil && typing.Fields[f.Name] != nil {
			t := typing.Fields[f.Name]
			values = t.Values
			for _, other := range t.Others {
				f.Others = append(f.Others, v.t("otherWindow")+"\n"+other)
			}
		}
		switch {
		case slices.Contains(wrong, f.Name):
			f.Problem = v.t("notTaken")
		case it.EN != "":
			f.Problem = map[bool]string{true: it.ES, false: it.EN}[v.lang == "es"]
		case strict && it.Missing:
			f.Problem = v.t("answerThis")
		}
		return values
	})
}

// answered lists questions and answers to be read: those that were asked, and those whose
// answers count no more, which are kept.
func (v *visit) answered(m *tandemv1.FormResponse, res *form.Result) (out [][2]string) {
	given := form.Of(m)
	for _, it := range res.Items {
		var said []string
		for _, val := range given[it.GetLinkId()] {
			said = append(said, form.Said(it.FormItem, val, v.lang, v.a.o.Zone))
		}
		text := strings.TrimSpace(it.GetPrefix() + " " + form.In(it.GetText(), v.lang))
		switch {
		case len(said) > 0 && !it.Enabled:
			out = append(out, [2]string{text, strings.Join(said, ", ") + " (" + v.t("notCounted") + ")"})
		case len(said) > 0:
			out = append(out, [2]string{text, strings.Join(said, ", ")})
		}
	}
	if len(res.Items) == 0 {
		for _, a := range m.GetAnswers() {
			var said []string
			for _, val := range a.GetValues() {
				said = append(said, form.Said(nil, val, v.lang, v.a.o.Zone))
			}
			out = append(out, [2]string{a.GetLinkId(), strings.Join(said, ", ")})
		}
	}
	return out
}

// comesTo says what the answers come to.
func (v *visit) comesTo(f *tandemv1.Form, m *tandemv1.FormResponse, res *form.Result, id syncengine.ID) (*formResult, error) {
	out := &formResult{Open: len(res.Missing())}
	for _, it := range res.Items {
		if it.EN != "" {
			out.Faults++
		}
	}
	var before form.Answers
	if f.GetCategory() == "readiness" {
		var err error
		if before, err = v.lastAnswers(m, id); err != nil {
			return nil, err
		}
		a := form.Assess(f.GetDefinition(), form.Of(m), before)
		for _, area := range a.Lowest {
			out.Lowest = append(out.Lowest, form.In(area.GetTitle(), v.lang))
		}
		for _, one := range a.Advice {
			adv := formAdvice{Text: strings.TrimSpace(one.Item.GetPrefix() + " " + form.In(one.Item.GetText(), v.lang))}
			for _, l := range one.Item.GetLinks() {
				adv.Links = append(adv.Links, formLink{form.In(l.GetTitle(), v.lang), l.GetUrl()})
			}
			out.Advice = append(out.Advice, adv)
		}
	}
	var then *form.Result
	if before != nil {
		then = form.Evaluate(f.GetDefinition(), before)
	}
	for _, s := range res.Scores {
		line := formScore{Title: form.In(s.GetTitle(), v.lang), Final: s.Complete, Answered: s.Answered, Asked: s.Asked}
		if s.Band != nil {
			line.Band = form.In(s.Band.GetText(), v.lang)
		}
		unit := map[bool]string{true: " %"}[s.GetMethod() == "percent" || s.GetMethod() == "mean"]
		if s.Value != nil {
			line.Value = strconv.FormatFloat(*s.Value, 'f', -1, 64) + unit
			if then != nil {
				if was := then.Score(s.GetCode()); was != nil && was.Value != nil {
					line.Change = fmt.Sprintf("%+g", *s.Value-*was.Value) + unit
				}
			}
		}
		out.Scores = append(out.Scores, line)
	}
	return out, nil
}

// lastAnswers are those of the newest signed response to the same form before this one,
// nil for none.
func (v *visit) lastAnswers(m *tandemv1.FormResponse, not syncengine.ID) (form.Answers, error) {
	f := client.Filter{Lifecycle: record.Signed, ToMS: m.GetAnsweredAt().GetAtMs()}
	// Those about a program are about nobody: the forms of a device that people answered of
	// others are not gone through for them.
	if f.Person, _ = parseID(m.GetPersonId()); f.Person.IsZero() {
		f.NoPerson = true
	}
	before, err := v.first("form_response", f, client.Newest, 1, func(view *client.View) bool {
		o, ok := view.Message.(*tandemv1.FormResponse)
		return ok && view.ID != not && o.GetFormCode() == m.GetFormCode() && o.GetProgramId() == m.GetProgramId()
	})
	if err != nil || len(before) == 0 {
		return nil, err
	}
	o, _ := before[0].Message.(*tandemv1.FormResponse)
	return form.Of(o), nil
}

// asked answers the typing in a form: which items are not asked now, and the result as
// the page shows it. The caller does not hold typing.mu.
func (v *visit) asked(id syncengine.ID) (off []string, result string, err error) {
	view, err := v.look("form_response", id)
	if err != nil {
		return nil, "", err
	}
	m, _, _, err := v.laid(view)
	if err != nil {
		return nil, "", err
	}
	f, err := formOf(v.ctx(), v.dev, m)
	if err != nil {
		return nil, "", err
	}
	res := form.Evaluate(f.GetDefinition(), form.Of(m))
	off = []string{}
	for _, it := range res.Items {
		if !it.Enabled {
			off = append(off, it.GetLinkId())
		}
	}
	shown, err := v.comesTo(f, m, res, id)
	if err != nil {
		return nil, "", err
	}
	var b bytes.Buffer
	err = v.a.pages[v.lang].ExecuteTemplate(&b, "form-result", shown)
	return off, b.String(), err
}

type formsData struct {
	Page                             *web.Page
	Person, Name, Encounter, Episode string
	Back, BackWords                  string
	Forms                            []formLine
	Begun                            []lineItem
}

type formLine struct{ ID, Title, About string }

// formsPage lists the forms that can be asked here: about a person, or about the program.
func (v *visit) formsPage() error {
	q := v.r.URL.Query()
	d := &formsData{Page: v.page(v.t("formsTitle")), Person: q.Get("person"), Encounter: q.Get("encounter"), Episode: q.Get("episode")}
	d.Name = v.personName(d.Person)
	subjects, filter := []string{"program", "staff", "community"}, client.Filter{}
	limit := 30
	switch {
	case v.officer():
		subjects = []string{"community"}
	case d.Encounter != "":
		id, err := v.named("encounter", d.Encounter)
		if err != nil {
			return err
		}
		d.Back, d.BackWords = "encounter/"+d.Encounter, v.domain().KindLabel("encounter", v.lang)
		subjects, filter.Parent = []string{"encounter"}, id
	case d.Episode != "":
		if _, err := v.named("episode", d.Episode); err != nil {
			return err
		}
		d.Back, d.BackWords = "episode/"+d.Episode, v.domain().KindLabel("episode", v.lang)
		subjects, limit = []string{"episode"}, 0
	}
	if pid, err := parseID(d.Person); err == nil && !v.officer() {
		if d.Back == "" {
			subjects = nil
			d.Back, d.BackWords = "person/"+d.Person, d.Name
		}
		// What is known of the person stands here too, not of this encounter alone.
		subjects, filter = append(subjects, "person"), client.Filter{Person: pid}
	}
	forms, err := v.dev.List(v.ctx(), "form", client.Filter{Lifecycle: record.Published}, client.Oldest, 0)
	if err != nil {
		return err
	}
	for _, view := range forms {
		if f, ok := view.Message.(*tandemv1.Form); ok && slices.Contains(subjects, f.GetSubject()) {
			d.Forms = append(d.Forms, formLine{view.ID.String(), v.title(f), v.code("form_category", f.GetCategory())})
		}
	}
	slices.SortStableFunc(d.Forms, func(a, b formLine) int { return strings.Compare(a.Title, b.Title) })
	responses, err := v.dev.List(v.ctx(), "form_response", filter, client.Newest, limit)
	if err != nil {
		return err
	}
	for _, view := range responses {
		m, ok := view.Message.(*tandemv1.FormResponse)
		if ok && filter == (client.Filter{}) && m.GetEpisodeId() != d.Episode {
			continue
		}
		if ok && view.Lifecycle != record.Void && slices.Contains(subjects, m.GetSubject()) {
			d.Begun = append(d.Begun, v.responseLine(view))
		}
	}
	return v.show("forms", d)
}

// named returns the id of a record that a page is asked for, which is here and of a kind.
func (v *visit) named(kind, id string) (syncengine.ID, error) {
	rid, err := parseID(id)
	if err != nil {
		return rid, client.ErrNotFound
	}
	_, err = v.look(kind, rid)
	return rid, err
}

// responseLine is a response in a list: its form, and what it came to.
func (v *visit) responseLine(view *client.View) lineItem {
	l := lineItem{Href: "response/" + view.ID.String(), Title: v.domain().KindLabel("form_response", v.lang), At: v.at(view.Origin.AtMS), Where: v.where(view), Badge: v.code("lifecycle_form_response", view.Lifecycle)}
	m, ok := view.Message.(*tandemv1.FormResponse)
	if !ok {
		return l
	}
	l.Title = m.GetFormCode()
	if m.GetAnsweredAt() != nil {
		l.At = v.at(m.GetAnsweredAt().GetAtMs())
	}
	f, err := formOf(v.ctx(), v.dev, m)
	if err != nil || f == nil {
		return l
	}
	l.Title = v.title(f)
	res := form.Evaluate(f.GetDefinition(), form.Of(m))
	if len(res.Scores) > 0 {
		s := res.Scores[0]
		if s.Band != nil && s.Complete {
			l.About = form.In(s.GetTitle(), v.lang) + ": " + form.In(s.Band.GetText(), v.lang)
		} else if open := len(res.Missing()); open > 0 {
			l.About = v.tf("missing", open)
		}
	}
	return l
}

// beginForm begins to answer a form: the response is there from the first tap on.
func (v *visit) beginForm() error {
	id, err := parseID(v.r.PostFormValue("form"))
	if err != nil {
		return client.ErrNotFound
	}
	view, err := v.look("form", id)
	if err != nil {
		return err
	}
	f, ok := view.Message.(*tandemv1.Form)
	if !ok || view.Lifecycle != record.Published {
		return client.ErrNotFound
	}
	m := &tandemv1.FormResponse{FormId: new(id.String()), FormCode: new(f.GetCode()), FormVersion: new(f.GetVersion()), Subject: new(f.GetSubject()), Lang: &v.lang, Respondent: new("self")}
	named := map[string]**string{"person": &m.PersonId, "encounter": &m.EncounterId, "episode": &m.EpisodeId}
	switch f.GetSubject() {
	case "program":
		// The program is that of the shift, like the team.
		m.Respondent, named = new("staff"), nil
	case "community":
		m.Respondent, named = new("anonymous"), nil
	case "staff":
		m.StaffId, named = new(v.me.Person.String()), nil
	}
	for name, into := range named {
		if of := v.r.PostFormValue(name); of != "" {
			rid, err := parseID(of)
			if err != nil {
				return client.ErrNotFound
			}
			if _, err := v.look(name, rid); err != nil {
				return err
			}
			*into = &of
		}
	}
	var made syncengine.ID
	if _, err := v.dev.Edit(v.ctx(), func(e *client.Edit) error {
		made, err = e.Create(m)
		return err
	}); err != nil {
		return err
	}
	return v.to("response/" + made.String())
}

// signResponse signs what was answered, with what it came to.
func (v *visit) signResponse() error {
	view, err := v.settled("form_response")
	if err != nil {
		return err
	}
	if signed(view) {
		return v.signedBefore("form_response", view, "response/"+view.ID.String())
	}
	if d, err := v.typedIn("form_response", view.ID.String()); err != nil || d != nil && len(d.Stuck) > 0 {
		if err == nil {
			return v.showResponse(view, v.t("signStuck"))
		}
		return err
	}
	m, ok := proto.Clone(view.Message).(*tandemv1.FormResponse)
	if !ok {
		return client.ErrNotFound
	}
	f, err := formOf(v.ctx(), v.dev, m)
	if err != nil {
		return err
	}
	res := form.Evaluate(f.GetDefinition(), form.Of(m))
	if f == nil || !res.Complete || len(m.GetAnswers()) == 0 {
		return v.showResponse(view, v.t("signMissing"))
	}
	m.Lang, m.AnsweredAt = &v.lang, v.tapNow()
	form.Total(m, res)
	if _, err := v.dev.Edit(v.ctx(), func(e *client.Edit) error { return e.Sign(view, m) }); err != nil {
		return err
	}
	return v.to("response/" + view.ID.String())
}

// dropResponse sets a draft aside that was begun by mistake. It is kept, void.
func (v *visit) dropResponse() error {
	view, err := v.settled("form_response")
	if err != nil {
		return err
	}
	if signed(view) {
		return client.ErrNotFound
	}
	if _, err := v.dev.Edit(v.ctx(), func(e *client.Edit) error { return e.Void(view, v.t("begunByMistake")) }); err != nil {
		return err
	}
	// What it did not take goes with it.
	if err := v.forget("form_response", view.ID.String()); err != nil {
		return err
	}
	m, ok := view.Message.(*tandemv1.FormResponse)
	switch {
	case !ok:
	case m.GetEncounterId() != "":
		return v.to("encounter/" + m.GetEncounterId())
	case m.GetPersonId() != "":
		return v.to("person/" + m.GetPersonId())
	}
	return v.to("forms")
}
