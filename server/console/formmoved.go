package console

import (
	"errors"
	"net/http"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/web"
)

// movedForm says that a form has changed since it was shown, and how what was typed differs
// from what it says now.
type movedForm struct {
	// Gone: what was edited is no longer in the form.
	Gone bool
	Rows []sideRow
}

type sideRow struct{ Label, Now, Typed string }

// beside sets what a page says now beside what was typed, where they differ.
func beside(now, typed []pair) *movedForm {
	m := &movedForm{}
	for i, n := range now {
		if n.Value != typed[i].Value {
			m.Rows = append(m.Rows, sideRow{n.Label, n.Value, typed[i].Value})
		}
	}
	return m
}

// again reports whether an act on a form was refused in a way that its page says, with what
// was typed.
func (v *visit) again(err error) bool {
	return errors.Is(err, server.ErrMoved) || lines(err, v.lang) != nil
}

func statusOf(why error) int {
	switch {
	case why == nil:
		return http.StatusOK
	case errors.Is(why, server.ErrMoved):
		return http.StatusConflict
	}
	return http.StatusUnprocessableEntity
}

// theEdited is the draft to edit. Behind an edit that was refused it is whatever the form is
// by now, so that what was typed stands somewhere.
func (s *sight) theEdited(id syncengine.ID, why error) (*tandemv1.Form, error) {
	if why != nil {
		return s.theForm(id)
	}
	return s.theDraft(id)
}

func labelsOn(options []web.Option) string {
	var on []string
	for _, o := range options {
		if o.On {
			on = append(on, o.Label)
		}
	}
	return strings.Join(on, "\n")
}

// rowsSay are the lines of an editor in words.
func rowsSay(rows []optionRow) string {
	var out []string
	for _, r := range rows {
		if r != (optionRow{}) {
			out = append(out, strings.Join([]string{r.Code, r.EN, r.ES, r.Points}, " · "))
		}
	}
	return strings.Join(out, "\n")
}

func (v *visit) yesNo(yes bool) string {
	if yes {
		return v.t("yes")
	}
	return v.t("no")
}

// says is an item in words, a field a line.
func (d *itemData) says(v *visit) []pair {
	var when []string
	for _, c := range d.Conditions {
		if q := labelsOn(c.Questions); q != "" {
			when = append(when, q+" · "+labelsOn(c.Compares)+" · "+c.Answer)
		}
	}
	several := ""
	if len(when) > 1 {
		several = labelsOn(d.Behaviors)
	}
	return []pair{
		{Label: v.t("itemType"), Value: labelsOn(d.Types)}, {Label: v.t("textEN"), Value: d.EN}, {Label: v.t("textES"), Value: d.ES},
		{Label: v.t("prefix"), Value: d.Prefix}, {Label: v.t("insideOf"), Value: labelsOn(d.Parents)},
		{Label: v.t("mustAnswer"), Value: v.yesNo(d.Required)}, {Label: v.t("several"), Value: v.yesNo(d.Repeats)}, {Label: v.t("longest"), Value: d.Max},
		{Label: v.t("itemOptions"), Value: rowsSay(d.Options)}, {Label: v.t("askedWhen"), Value: strings.Join(when, "\n")}, {Label: v.t("ifSeveral"), Value: several},
	}
}

// says is a score in words, a field a line.
func (d *scoreData) says(v *visit) []pair {
	return []pair{
		{Label: v.t("textEN"), Value: d.EN}, {Label: v.t("textES"), Value: d.ES}, {Label: v.t("method"), Value: labelsOn(d.Methods)},
		{Label: v.t("countedItems"), Value: labelsOn(d.Items)}, {Label: v.t("meanOf"), Value: labelsOn(d.Of)},
		{Label: v.t("leastAnswered"), Value: d.Least}, {Label: v.t("bands"), Value: rowsSay(d.Bands)},
	}
}
