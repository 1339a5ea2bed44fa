package console

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine/form"
	"github.com/tandem-response/tandem/web"
)

type scoreData struct {
	Page                *web.Page
	ID, Hash, Title     string
	Shown               string
	Code, EN, ES, Least string
	// Typed is the code of a new score.
	Typed              string
	New                bool
	Methods, Items, Of []web.Option
	Bands              []optionRow
	Faults             []string
	Moved              *movedForm
	Rules              int
}

// scorePage edits one score of a draft with its bands, or adds one.
func (v *visit) scorePage() error { return v.scoreShow(v.r.URL.Query().Get("code"), nil) }

// scoreShow shows a score, and behind one that was not saved why, with what was typed.
func (v *visit) scoreShow(code string, why error) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	d := &scoreData{Page: v.page("editScore", "forms/"+id.String()+"/score"), ID: id.String(), Code: code, New: code == "", Faults: lines(why, v.lang)}
	err = v.look("forms", id, func(s *sight) error {
		f, err := s.theEdited(id, why)
		if err != nil {
			return err
		}
		sc := &tandemv1.FormScore{}
		if i := slices.IndexFunc(f.GetDefinition().GetScores(), func(sc *tandemv1.FormScore) bool { return sc.GetCode() == code }); i >= 0 {
			sc = f.GetDefinition().GetScores()[i]
		} else if d.New = true; code != "" && why == nil {
			return errAbsent
		}
		d.Title, d.Hash, d.EN, d.ES, d.Rules = s.formTitle(f), formHash(f), sc.GetTitle().GetEn(), sc.GetTitle().GetEs(), len(sc.GetRules())
		if sc.MinAnswered != nil {
			d.Least = strconv.Itoa(int(sc.GetMinAnswered()))
		}
		d.Methods = preset(s.options("form_method", sc.GetMethod()))
		for _, it := range f.GetDefinition().GetItems() {
			if it.GetType() != form.Display {
				d.Items = append(d.Items, web.Option{Code: it.GetLinkId(), Label: it.GetLinkId() + " " + clip(form.In(it.GetText(), s.lang), 60), On: slices.Contains(sc.GetItems(), it.GetLinkId())})
			}
		}
		for _, o := range f.GetDefinition().GetScores() {
			if o.GetCode() != code {
				d.Of = append(d.Of, web.Option{Code: o.GetCode(), Label: form.In(o.GetTitle(), s.lang), On: slices.Contains(sc.GetOf(), o.GetCode())})
			}
		}
		for _, b := range sc.GetBands() {
			d.Bands = append(d.Bands, optionRow{b.GetCode(), b.GetText().GetEn(), b.GetText().GetEs(), number(b.AtLeast)})
		}
		d.Bands = append(d.Bands, make([]optionRow, spare)...)
		now := *d
		says := now.fields(v)
		d.Shown = shown(says)
		if why == nil {
			return nil
		}
		d.typed(v)
		switch {
		case d.New && code != "":
			d.Code, d.Typed, d.Shown, d.Moved = "", code, "", &movedForm{Gone: true}
		case errors.Is(why, server.ErrMoved):
			d.Moved = beside(&now, says, d.fields(v), v.form("shown"))
		default: // It is saved over what was shown, and over nothing newer.
			d.Hash, d.Shown = v.form("hash"), v.form("shown")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(statusOf(why), "form-edit-score", d)
}

// setScore saves a score of a draft. Rules stay as the file had them.
func (v *visit) setScore() error {
	code, was := v.form("code"), v.form("was")
	err := v.editForm(func(f *tandemv1.Form) error {
		def := f.GetDefinition()
		at := slices.IndexFunc(def.GetScores(), func(sc *tandemv1.FormScore) bool { return sc.GetCode() == was })
		if was != "" && at < 0 {
			return server.ErrMoved
		}
		if v.form("drop") != "" && at >= 0 {
			def.Scores = slices.Delete(def.Scores, at, at+1)
			return nil
		}
		sc := &tandemv1.FormScore{Code: &code}
		if at >= 0 {
			sc = def.GetScores()[at]
		} else {
			def.Scores = append(def.Scores, sc)
		}
		sc.Title, sc.Method, sc.Items, sc.Of = text2(v.form("en"), v.form("es")), words1(v.form("method")), v.r.PostForm["items"], v.r.PostForm["of"]
		place := form.Fault{Score: sc.GetCode()}
		var err error
		if sc.MinAnswered, err = countTyped(v.form("least"), place); err != nil {
			return err
		}
		codes, en, es, least := v.r.PostForm["band"], v.r.PostForm["band.en"], v.r.PostForm["band.es"], v.r.PostForm["band.least"]
		sc.Bands = nil
		for i, c := range codes {
			if c = strings.TrimSpace(c); c == "" || i >= len(en) || i >= len(es) || i >= len(least) {
				continue
			}
			b := &tandemv1.FormBand{Code: &c, Text: text2(en[i], es[i])}
			if b.AtLeast, err = numberTyped(least[i], place); err != nil {
				return err
			}
			sc.Bands = append(sc.Bands, b)
		}
		return nil
	})
	if v.again(err) {
		return v.scoreShow(was, err)
	}
	return v.formDoneAt(err, "score", cmp.Or(was, code))
}

// typed puts back what was typed, which was not saved.
func (d *scoreData) typed(v *visit) {
	d.Typed, d.EN, d.ES, d.Least = v.form("code"), v.form("en"), v.form("es"), v.form("least")
	d.Methods, d.Items, d.Of = choose(d.Methods, v.form("method")), choose(d.Items, v.r.PostForm["items"]...), choose(d.Of, v.r.PostForm["of"]...)
	d.Bands = v.rowsTyped("band", "least")
}
