package console

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
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

// line is a field of an editor: what it says, in words and as it is kept, and how the editor
// takes it over from another one of its kind.
type line[D any] struct {
	Label, Says, Kept string
	Take              func(from *D)
}

// shown tells what stood in the fields of an editor, field by field.
func shown[D any](lines []line[D]) string {
	var out []string
	for _, l := range lines {
		sum := sha256.Sum256([]byte(l.Kept))
		out = append(out, hex.EncodeToString(sum[:8]))
	}
	return strings.Join(out, ".")
}

// beside sets what a form says now beside what was typed, where they differ. What still says
// what had been shown was not typed: it is taken as the form says it now.
func beside[D any](now *D, says, typed []line[D], was string) *movedForm {
	m, before := &movedForm{}, strings.Split(was, ".")
	for i, sum := range strings.Split(shown(typed), ".") {
		if says[i].Kept == typed[i].Kept {
			continue
		}
		if i < len(before) && before[i] == sum {
			typed[i].Take(now)
			continue
		}
		m.Rows = append(m.Rows, sideRow{says[i].Label, says[i].Says, typed[i].Says})
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
	return on(options, func(o web.Option) string { return o.Label })
}

func codesOn(options []web.Option) string {
	return on(options, func(o web.Option) string { return o.Code })
}

func on(options []web.Option, says func(web.Option) string) string {
	var out []string
	for _, o := range options {
		if o.On {
			out = append(out, says(o))
		}
	}
	return strings.Join(out, "\n")
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

// conditionsSay are the conditions of an item, with a way to say what was chosen.
func conditionsSay(rows []conditionRow, chosen func([]web.Option) string) string {
	var out []string
	for _, c := range rows {
		if q := chosen(c.Questions); q != "" {
			out = append(out, q+" · "+chosen(c.Compares)+" · "+c.Answer)
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

// textLine is a field of text, choiceLine one of choices.
func textLine[D any](v *visit, label string, d *D, at func(*D) *string) line[D] {
	return line[D]{v.t(label), *at(d), strings.TrimSpace(*at(d)), func(from *D) { *at(d) = *at(from) }}
}

func choiceLine[D any](v *visit, label string, d *D, at func(*D) *[]web.Option) line[D] {
	return line[D]{v.t(label), labelsOn(*at(d)), codesOn(*at(d)), func(from *D) { *at(d) = *at(from) }}
}

// fields are those of the editor of an item.
func (d *itemData) fields(v *visit) []line[itemData] {
	yes := func(label string, at func(*itemData) *bool) line[itemData] {
		return line[itemData]{v.t(label), v.yesNo(*at(d)), strconv.FormatBool(*at(d)), func(from *itemData) { *at(d) = *at(from) }}
	}
	several := choiceLine(v, "ifSeveral", d, func(d *itemData) *[]web.Option { return &d.Behaviors })
	if !strings.Contains(conditionsSay(d.Conditions, codesOn), "\n") {
		several.Says, several.Kept = "", ""
	}
	return []line[itemData]{
		choiceLine(v, "itemType", d, func(d *itemData) *[]web.Option { return &d.Types }),
		textLine(v, "textEN", d, func(d *itemData) *string { return &d.EN }),
		textLine(v, "textES", d, func(d *itemData) *string { return &d.ES }),
		textLine(v, "prefix", d, func(d *itemData) *string { return &d.Prefix }),
		choiceLine(v, "insideOf", d, func(d *itemData) *[]web.Option { return &d.Parents }),
		yes("mustAnswer", func(d *itemData) *bool { return &d.Required }),
		yes("several", func(d *itemData) *bool { return &d.Repeats }),
		textLine(v, "longest", d, func(d *itemData) *string { return &d.Max }),
		{v.t("itemOptions"), rowsSay(d.Options), rowsSay(d.Options), func(from *itemData) { d.Options = from.Options }},
		{v.t("askedWhen"), conditionsSay(d.Conditions, labelsOn), conditionsSay(d.Conditions, codesOn), func(from *itemData) { d.Conditions = from.Conditions }},
		several,
	}
}

// fields are those of the editor of a score.
func (d *scoreData) fields(v *visit) []line[scoreData] {
	return []line[scoreData]{
		textLine(v, "textEN", d, func(d *scoreData) *string { return &d.EN }),
		textLine(v, "textES", d, func(d *scoreData) *string { return &d.ES }),
		choiceLine(v, "method", d, func(d *scoreData) *[]web.Option { return &d.Methods }),
		choiceLine(v, "countedItems", d, func(d *scoreData) *[]web.Option { return &d.Items }),
		choiceLine(v, "meanOf", d, func(d *scoreData) *[]web.Option { return &d.Of }),
		textLine(v, "leastAnswered", d, func(d *scoreData) *string { return &d.Least }),
		{v.t("bands"), rowsSay(d.Bands), rowsSay(d.Bands), func(from *scoreData) { d.Bands = from.Bands }},
	}
}

// fields are those that are typed on the page of a form.
func (d *formData) fields(v *visit) []line[formData] {
	return []line[formData]{
		textLine(v, "nameEN", d, func(d *formData) *string { return &d.EN }),
		textLine(v, "nameES", d, func(d *formData) *string { return &d.ES }),
		textLine(v, "licence", d, func(d *formData) *string { return &d.Licence }),
		textLine(v, "reason", d, func(d *formData) *string { return &d.Reason }),
	}
}
