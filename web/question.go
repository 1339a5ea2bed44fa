package web

import (
	"slices"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine/form"
)

// AnswerField begins the names of the fields that are answers: its link id follows.
const AnswerField = "answers."

// FormItem is an item of a form as a page shows it: a group, a text or a question. The
// template "form-item" draws it.
type FormItem struct {
	Link, Text   string
	Group, Ask   bool
	Level, Depth int
	// Off: it is not asked now.
	Off   bool
	Field Field
	// Own takes an answer in own words, beside the choices.
	Own *Field
}

// ByLine reports whether a question takes several answers that are typed, one a line.
func ByLine(it *tandemv1.FormItem) bool {
	return it.GetRepeats() && !slices.Contains([]string{form.Boolean, form.Choice, form.OpenChoice}, it.GetType())
}

// FormItems are the items of a form in a language. words finds the texts of the app;
// answers returns what is typed for a question, and may add to its field.
func FormItems(res *form.Result, lang string, words func(key string) string, answers func(*form.Item, *Field) []string) (out []FormItem) {
	level := map[string]int{}
	for i := range res.Items {
		it := &res.Items[i]
		link := it.GetLinkId()
		fi := FormItem{Link: link, Text: strings.TrimSpace(it.GetPrefix() + " " + form.In(it.GetText(), lang)), Depth: min(it.Depth, 3), Off: !it.Enabled}
		level[link] = max(level[it.GetParent()], 1)
		switch it.GetType() {
		case form.Group:
			level[link]++
			fi.Group, fi.Level = true, min(level[link], 4)
		case form.Display:
		default:
			fi.Ask, fi.Field = true, question(it.FormItem, fi.Text, lang, words)
			fi.fill(it.FormItem, answers(it, &fi.Field), words)
		}
		out = append(out, fi)
	}
	return out
}

// fill puts in what is typed.
func (fi *FormItem) fill(it *tandemv1.FormItem, values []string, words func(key string) string) {
	if it.GetType() == form.OpenChoice {
		own := Field{Name: fi.Field.Name, Kind: "text", Label: words("ownWords")}
		for _, s := range values {
			if s != "" && !slices.ContainsFunc(fi.Field.Options, func(o Option) bool { return o.Code == s }) {
				own.Value = s
			}
		}
		values = slices.DeleteFunc(slices.Clone(values), func(s string) bool { return s == own.Value })
		fi.Own = &own
	}
	if ByLine(it) {
		values = []string{strings.Join(values, "\n")}
	}
	fi.Field.Fill(values)
}

// question makes the input of a question.
func question(it *tandemv1.FormItem, label, lang string, words func(key string) string) Field {
	f := Field{Name: AnswerField + it.GetLinkId(), Label: label, Required: it.GetRequired(), Kind: "text", Max: int(it.GetMaxLength())}
	switch it.GetType() {
	case form.Boolean:
		f.Kind, f.Options = "chips", []Option{{Code: "true", Label: words("yes")}, {Code: "false", Label: words("no")}}
	case form.Choice, form.OpenChoice:
		f.Kind, f.Many = "chips", it.GetRepeats()
		for _, o := range it.GetOptions() {
			f.Options = append(f.Options, Option{Code: o.GetCode(), Label: form.OptionText(o, lang)})
		}
	case form.Integer:
		f.Mode = "numeric"
	case form.Decimal:
		f.Mode = "decimal"
	case form.Date:
		f.Hint = words("hint.person.dob")
	case form.DateTime:
		f.Kind = "datetime-local"
	case form.Text:
		f.Kind = "area"
	}
	if ByLine(it) {
		f.Kind, f.Hint, f.Max = "area", words("onePerLine"), 0
	}
	return f
}

// Fill puts values into a field.
func (f *Field) Fill(values []string) {
	f.On = slices.Contains(values, "true")
	if len(values) > 0 {
		f.Value = values[0]
	}
	for i := range f.Options {
		f.Options[i].On = slices.Contains(values, f.Options[i].Code)
	}
	// A code of a newer version stays choosable.
	if f.Kind == "chips" || f.Kind == "scale" {
		for _, c := range values {
			if c != "" && !slices.ContainsFunc(f.Options, func(o Option) bool { return o.Code == c }) {
				f.Options = append(f.Options, Option{Code: c, Label: c, On: true, Beside: f.Kind == "scale"})
			}
		}
	}
}
