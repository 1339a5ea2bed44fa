package console

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine/form"
	"github.com/tandem-response/tandem/web"
)

// spare is how many empty lines an editor has for more options, conditions and bands.
const spare = 3

type itemData struct {
	Page            *web.Page
	ID, Hash, Title string
	// Shown tells what stood in the fields.
	Shown        string
	Link, EN, ES string
	// Typed is the name of a new item.
	Typed               string
	Prefix, Max         string
	Required, Repeats   bool
	New                 bool
	Types, Parents      []web.Option
	Options             []optionRow
	Conditions          []conditionRow
	Behaviors, Compares []web.Option
	Faults              []string
	Moved               *movedForm
}

type conditionRow struct {
	Questions, Compares []web.Option
	Answer              string
}

// itemPage edits one item of a draft in both languages, or adds one.
func (v *visit) itemPage() error { return v.itemShow(v.r.URL.Query().Get("link"), nil) }

// itemShow shows an item, and behind one that was not saved why, with what was typed.
func (v *visit) itemShow(link string, why error) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	d := &itemData{Page: v.page("editItem", "forms/"+id.String()+"/item"), ID: id.String(), Link: link, New: link == "", Faults: lines(why, v.lang)}
	err = v.look("forms", id, func(s *sight) error {
		f, err := s.theEdited(id, why)
		if err != nil {
			return err
		}
		it := &tandemv1.FormItem{Type: new(form.String)}
		if i := slices.IndexFunc(f.GetDefinition().GetItems(), func(it *tandemv1.FormItem) bool { return it.GetLinkId() == link }); i >= 0 {
			it = f.GetDefinition().GetItems()[i]
		} else if d.New = true; link != "" && why == nil {
			return errAbsent
		}
		d.Title, d.Hash = s.formTitle(f), formHash(f)
		s.itemForm(d, f.GetDefinition(), it)
		now := *d
		says := now.fields(v)
		d.Shown = shown(says)
		if why == nil {
			return nil
		}
		d.typed(v)
		switch {
		case d.New && link != "":
			d.Link, d.Typed, d.Shown, d.Moved = "", link, "", &movedForm{Gone: true}
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
	return v.show(statusOf(why), "form-edit-item", d)
}

// choose marks options as what was chosen. What is none of them any more stands behind them.
func choose(options []web.Option, codes ...string) []web.Option {
	out := slices.Clone(options)
	for i := range out {
		out[i].On = slices.Contains(codes, out[i].Code)
	}
	for _, code := range codes {
		if code != "" && !slices.ContainsFunc(out, func(o web.Option) bool { return o.Code == code }) {
			out = append(out, web.Option{Code: code, Label: code, On: true})
		}
	}
	return out
}

// preset marks the first option where none is chosen, as a browser does.
func preset(options []web.Option) []web.Option {
	if len(options) > 0 && codesOn(options) == "" {
		options[0].On = true
	}
	return options
}

// rowsTyped are the lines of an editor as they were typed, and the empty ones behind them.
func (v *visit) rowsTyped(name, last string) (out []optionRow) {
	codes, en, es, of := v.r.PostForm[name], v.r.PostForm[name+".en"], v.r.PostForm[name+".es"], v.r.PostForm[name+"."+last]
	for i := range min(len(codes), len(en), len(es), len(of)) {
		if row := (optionRow{codes[i], en[i], es[i], of[i]}); row != (optionRow{}) {
			out = append(out, row)
		}
	}
	return append(out, make([]optionRow, spare)...)
}

// typed puts back what was typed, which was not saved.
func (d *itemData) typed(v *visit) {
	d.Typed, d.EN, d.ES, d.Prefix, d.Max = v.form("link"), v.form("en"), v.form("es"), v.form("prefix"), v.form("max")
	d.Required, d.Repeats = v.form("required") == "true", v.form("repeats") == "true"
	d.Types, d.Parents, d.Behaviors = choose(d.Types, v.form("type")), choose(d.Parents, v.form("parent")), choose(d.Behaviors, v.form("behavior"))
	d.Options = v.rowsTyped("option", "points")
	questions, compares, answers := v.r.PostForm["when"], v.r.PostForm["when.is"], v.r.PostForm["when.answer"]
	empty := d.Conditions[len(d.Conditions)-1]
	d.Conditions = nil
	for i := range min(len(questions), len(compares), len(answers)) {
		if questions[i] == "" && answers[i] == "" {
			continue
		}
		d.Conditions = append(d.Conditions, conditionRow{choose(empty.Questions, questions[i]), choose(empty.Compares, compares[i]), answers[i]})
	}
	d.Conditions = append(d.Conditions, empty)
}

func (s *sight) itemForm(d *itemData, def *tandemv1.FormDefinition, it *tandemv1.FormItem) {
	d.EN, d.ES, d.Prefix, d.Required, d.Repeats = it.GetText().GetEn(), it.GetText().GetEs(), it.GetPrefix(), it.GetRequired(), it.GetRepeats()
	if it.MaxLength != nil {
		d.Max = strconv.Itoa(int(it.GetMaxLength()))
	}
	d.Types, d.Behaviors = s.options("form_item_type", it.GetType()), preset(s.options("form_behavior", it.GetEnableBehavior()))
	questions := func(on string) (out []web.Option) {
		for _, q := range def.GetItems() {
			if q.GetType() != form.Group && q.GetType() != form.Display && q.GetLinkId() != it.GetLinkId() {
				out = append(out, web.Option{Code: q.GetLinkId(), Label: q.GetLinkId() + " " + clip(form.In(q.GetText(), s.lang), 60), On: q.GetLinkId() == on})
			}
		}
		return out
	}
	for _, q := range def.GetItems() {
		if q.GetType() == form.Group && q.GetLinkId() != it.GetLinkId() {
			d.Parents = append(d.Parents, web.Option{Code: q.GetLinkId(), Label: q.GetLinkId() + " " + clip(form.In(q.GetText(), s.lang), 60), On: q.GetLinkId() == it.GetParent()})
		}
	}
	for _, o := range it.GetOptions() {
		d.Options = append(d.Options, optionRow{o.GetCode(), o.GetText().GetEn(), o.GetText().GetEs(), number(o.Ordinal)})
	}
	d.Options = append(d.Options, make([]optionRow, spare)...)
	for _, c := range it.GetEnableWhen() {
		d.Conditions = append(d.Conditions, conditionRow{questions(c.GetQuestion()), s.options("form_operator", c.GetOperator()), form.Typed(c.GetAnswer(), s.zone)})
	}
	d.Conditions = append(d.Conditions, conditionRow{questions(""), s.options("form_operator"), ""})
}

// setItem saves an item of a draft.
func (v *visit) setItem() error {
	link, was := v.form("link"), v.form("was")
	zone, err := v.zone()
	if err != nil {
		return err
	}
	err = v.editForm(func(f *tandemv1.Form) error {
		def := f.GetDefinition()
		at := slices.IndexFunc(def.GetItems(), func(it *tandemv1.FormItem) bool { return it.GetLinkId() == was })
		if was != "" && at < 0 {
			return server.ErrMoved
		}
		it := &tandemv1.FormItem{LinkId: &link}
		if at >= 0 {
			it = def.GetItems()[at]
		} else {
			def.Items = append(def.Items, it)
		}
		parent := it.GetParent()
		it.Type, it.Text, it.Prefix, it.Parent = words1(v.form("type")), text2(v.form("en"), v.form("es")), words1(v.form("prefix")), words1(v.form("parent"))
		it.Required, it.Repeats = yes(v.form("required")), yes(v.form("repeats"))
		place := form.Fault{Item: it.GetLinkId()}
		if it.MaxLength, err = countTyped(v.form("max"), place); err != nil {
			return err
		}
		if it.Options, err = v.optionsOf(it, place); err != nil {
			return err
		}
		if err := v.conditionsOf(def, it, zone); err != nil {
			return err
		}
		if parent != it.GetParent() || at < 0 {
			under(def, it)
		}
		begin(def, it)
		return nil
	})
	if v.again(err) {
		return v.itemShow(was, err)
	}
	return v.formDoneAt(err, "item", cmp.Or(was, link))
}

func yes(text string) *bool {
	if text != "true" {
		return nil
	}
	return new(true)
}

func text2(en, es string) *tandemv1.FormText {
	if t := (&tandemv1.FormText{En: words1(en), Es: words1(es)}); t.En != nil || t.Es != nil {
		return t
	}
	return nil
}

// firstItem is the question that a form or a group begins with.
func firstItem(link string, parent *string) *tandemv1.FormItem {
	return &tandemv1.FormItem{
		LinkId: &link, Parent: parent, Type: new(form.String),
		Text: &tandemv1.FormText{En: new(said.In("en", "firstQuestion")), Es: new(said.In("es", "firstQuestion"))},
	}
}

// begin puts a question into a group that holds nothing, as no form may have such a one.
func begin(def *tandemv1.FormDefinition, it *tandemv1.FormItem) {
	at := slices.Index(def.GetItems(), it)
	if it.GetType() != form.Group || slices.ContainsFunc(def.GetItems(), func(one *tandemv1.FormItem) bool { return one.GetParent() == it.GetLinkId() }) {
		return
	}
	link := it.GetLinkId() + ".1"
	for n := 2; slices.ContainsFunc(def.GetItems(), func(one *tandemv1.FormItem) bool { return one.GetLinkId() == link }); n++ {
		link = it.GetLinkId() + "." + strconv.Itoa(n)
	}
	def.Items = slices.Insert(def.Items, at+1, firstItem(link, it.LinkId))
}

// under moves an item, with what stands in it, behind everything else that stands in the
// same one.
func under(def *tandemv1.FormDefinition, it *tandemv1.FormItem) {
	inside := map[string]bool{it.GetLinkId(): true}
	var moved, rest []*tandemv1.FormItem
	for _, one := range def.GetItems() {
		if one == it || inside[one.GetParent()] {
			inside[one.GetLinkId()] = true
			moved = append(moved, one)
		} else {
			rest = append(rest, one)
		}
	}
	at := len(rest)
	if it.GetParent() != "" {
		within := map[string]bool{it.GetParent(): true}
		for i, one := range rest {
			if one.GetLinkId() == it.GetParent() || within[one.GetParent()] {
				within[one.GetLinkId()], at = true, i+1
			}
		}
	}
	def.Items = slices.Insert(rest, at, moved...)
}

// optionsOf are the options of the form that was sent; what an option has besides stays.
func (v *visit) optionsOf(it *tandemv1.FormItem, place form.Fault) (out []*tandemv1.FormOption, err error) {
	codes, en, es, points := v.r.PostForm["option"], v.r.PostForm["option.en"], v.r.PostForm["option.es"], v.r.PostForm["option.points"]
	for i, code := range codes {
		if code = strings.TrimSpace(code); code == "" || i >= len(en) || i >= len(es) || i >= len(points) {
			continue
		}
		o := &tandemv1.FormOption{Code: &code}
		if at := slices.IndexFunc(it.GetOptions(), func(o *tandemv1.FormOption) bool { return o.GetCode() == code }); at >= 0 {
			o = it.GetOptions()[at]
		}
		o.Text = text2(en[i], es[i])
		if o.Ordinal, err = numberTyped(points[i], place); err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// typedNumber is a number as people write it, in English or in Spanish.
var typedNumber = regexp.MustCompile(`^-?[0-9]+([.,][0-9]+)?$`)

// numberTyped reads a number, nil where nothing was typed. What is none is refused at its place:
// it is not left out as if nobody had written it.
func numberTyped(typed string, place form.Fault) (*float64, error) {
	if typed = strings.TrimSpace(typed); typed == "" {
		return nil, nil
	}
	// Before three digits a comma may be meant for thousands.
	_, after, comma := strings.Cut(typed, ",")
	n, err := strconv.ParseFloat(strings.Replace(typed, ",", ".", 1), 64)
	if err != nil || !typedNumber.MatchString(typed) || comma && len(after) == 3 {
		place.What = strconv.Quote(typed) + " is no number: write one such as 2 or 1.5, or leave the field empty"
		place.ES = strconv.Quote(typed) + " no es un número: escriba uno como 2 o 1,5, o deje el campo vacío"
		return nil, form.FaultError{place}
	}
	return &n, nil
}

// countTyped is numberTyped for a count.
func countTyped(typed string, place form.Fault) (*uint32, error) {
	n, err := strconv.ParseUint(typed, 10, 32)
	if typed == "" {
		return nil, nil
	}
	if err != nil {
		place.What = strconv.Quote(typed) + " is no whole number: write one such as 200, or leave the field empty"
		place.ES = strconv.Quote(typed) + " no es un número entero: escriba uno como 200, o deje el campo vacío"
		return nil, form.FaultError{place}
	}
	return new(uint32(n)), nil
}

// zone is that of the person's agency, in which times are shown and read.
func (v *visit) zone() (zone *time.Location, err error) {
	err = v.c.store.ReadDesk(v.ctx(), v.who.Org.ID, func(view store.DeskView) error {
		s, err := v.sight(view)
		if err == nil {
			zone = s.zone
		}
		return err
	})
	return zone, err
}

// conditionsOf puts in the conditions of the form that was sent.
func (v *visit) conditionsOf(def *tandemv1.FormDefinition, it *tandemv1.FormItem, zone *time.Location) error {
	it.EnableWhen, it.EnableBehavior = nil, nil
	questions, compares, given := v.r.PostForm["when"], v.r.PostForm["when.is"], v.r.PostForm["when.answer"]
	for i, q := range questions {
		if q == "" || i >= len(compares) || i >= len(given) {
			continue
		}
		at := slices.IndexFunc(def.GetItems(), func(it *tandemv1.FormItem) bool { return it.GetLinkId() == q })
		if at < 0 {
			return form.FaultError{{Item: it.GetLinkId(), What: "the form has no question " + strconv.Quote(q), ES: "el formulario no tiene la pregunta " + strconv.Quote(q)}}
		}
		c := &tandemv1.FormCondition{Question: &q, Operator: &compares[i]}
		of := def.GetItems()[at]
		if compares[i] == "exists" {
			of = &tandemv1.FormItem{Type: new(form.Boolean)}
		}
		val, ok := form.Read(of, given[i], zone)
		if !ok {
			return form.FaultError{{
				Item: it.GetLinkId(), What: "the answer " + strconv.Quote(given[i]) + " is none that question " + strconv.Quote(q) + " takes",
				ES: "la respuesta " + strconv.Quote(given[i]) + " no es una que admita la pregunta " + strconv.Quote(q),
			}}
		}
		c.Answer = val
		it.EnableWhen = append(it.EnableWhen, c)
	}
	if len(it.EnableWhen) > 1 {
		it.EnableBehavior = words1(v.form("behavior"))
	}
	return nil
}

// dropItem takes an item out of a draft, with what stands in it.
func (v *visit) dropItem() error {
	return v.formDone(v.editForm(func(f *tandemv1.Form) error {
		gone := map[string]bool{v.form("was"): true}
		f.Definition.Items = slices.DeleteFunc(f.GetDefinition().GetItems(), func(it *tandemv1.FormItem) bool {
			if gone[it.GetParent()] {
				gone[it.GetLinkId()] = true
			}
			return gone[it.GetLinkId()]
		})
		return nil
	}), "okSaved")
}

// moveItem puts an item before or behind its neighbour, each with what stands in it.
func (v *visit) moveItem() error {
	return v.formDoneAt(v.editForm(func(f *tandemv1.Form) error {
		items := f.GetDefinition().GetItems()
		at := slices.IndexFunc(items, func(it *tandemv1.FormItem) bool { return it.GetLinkId() == v.form("was") })
		if at < 0 {
			return server.ErrMoved
		}
		// end is where what stands in an item ends.
		end := func(i int) int {
			inside := map[string]bool{items[i].GetLinkId(): true}
			for i++; i < len(items) && inside[items[i].GetParent()]; i++ {
				inside[items[i].GetLinkId()] = true
			}
			return i
		}
		first, second := at, end(at)
		if v.form("to") == "up" {
			first, second = at-1, at
			for first >= 0 && items[first].GetParent() != items[at].GetParent() {
				first--
			}
		}
		if first < 0 || second >= len(items) || items[second].GetParent() != items[first].GetParent() {
			return nil
		}
		f.Definition.Items = slices.Concat(items[:first], items[second:end(second)], items[first:second], items[end(second):])
		return nil
	}), "item", v.form("was"))
}
