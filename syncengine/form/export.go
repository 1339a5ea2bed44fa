package form

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Export writes a form as a Questionnaire of FHIR R4 in JSON, which Import reads back as
// the same form. The same form gives the same bytes.
func Export(f *tandemv1.Form) ([]byte, error) {
	w := object{}
	w.put("resourceType", "Questionnaire")
	w.put("language", "en")
	var exts []any
	code := func(name, value string) {
		if value != "" {
			exts = append(exts, object{{"url", Base + name}, {"valueCode", value}})
		}
	}
	code("form-subject", f.GetSubject())
	code("form-category", f.GetCategory())
	code("form-answers-in", f.GetAnswersIn())
	if f.SourceVersion != nil {
		exts = append(exts, object{{"url", Base + "form-source-version"}, {"valueString", f.GetSourceVersion()}})
	}
	for _, s := range f.GetDefinition().GetScores() {
		exts = append(exts, exportScore(s))
	}
	w.put("extension", exts)
	w.put("url", f.GetUrl())
	w.put("identifier", []any{object{{"system", Base + "form-code"}, {"value", f.GetCode()}}})
	w.put("version", strconv.FormatUint(uint64(max(f.GetVersion(), 1)), 10))
	w.put("name", pascal(f.GetCode()))
	w.words("title", &tandemv1.FormText{En: f.GetTitle().En, Es: f.GetTitle().Es})
	w.put("status", status[f.GetLifecycle()])
	var types []any
	if t := subjectTypes[f.GetSubject()]; t != "" {
		types = append(types, t)
	}
	w.put("subjectType", types)
	w.words("description", f.GetDescription())
	w.put("copyright", f.GetLicence())
	x := newIndex(f.GetDefinition())
	var items []any
	for i := range f.GetDefinition().GetItems() {
		if x.parent[i] < 0 {
			items = append(items, x.export(i))
		}
	}
	w.put("item", items)
	raw, err := encode(w)
	if err != nil {
		return nil, fmt.Errorf("writing the form: %w", err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return nil, fmt.Errorf("writing the form: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

var status = map[string]string{"": "draft", "draft": "draft", "published": "active", "retired": "retired", "void": "retired"}

var subjectTypes = map[string]string{
	"person": "Patient", "encounter": "Encounter", "episode": "EpisodeOfCare", "program": "Organization",
	"staff": "Practitioner", "community": "Group",
}

// reversed turns a table round.
func reversed(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range maps.All(m) {
		out[v] = k
	}
	return out
}

var (
	typeNames     = reversed(fhirTypes)
	operatorNames = reversed(fhirOperators)
)

// pascal makes a name such as WellbeingCheck of a code.
func pascal(code string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(code, "_") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	name := b.String()
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "Form" + name
	}
	return name
}

// words puts a text with its Spanish as a translation.
func (o *object) words(key string, t *tandemv1.FormText) {
	o.put(key, t.GetEn())
	if t.GetEs() == "" {
		return
	}
	o.put("_"+key, object{{"extension", []any{object{{"url", extTranslation}, {"extension", []any{
		object{{"url", "lang"}, {"valueCode", "es"}},
		object{{"url", "content"}, {"valueString", t.GetEs()}},
	}}}}}})
}

func (x *index) export(i int) object {
	it := x.def.GetItems()[i]
	o := object{}
	var exts []any
	for _, l := range it.GetLinks() {
		title := object{{"url", "title"}}
		title.words("valueString", l.GetTitle())
		parts := []any{title, object{{"url", "url"}, {"valueUri", l.GetUrl()}}}
		if l.GetTitle() == nil {
			parts = parts[1:]
		}
		exts = append(exts, object{{"url", Base + "form-link"}, {"extension", parts}})
	}
	o.put("extension", exts)
	o.put("linkId", it.GetLinkId())
	var codes []any
	for _, c := range it.GetCodes() {
		one := object{}
		one.put("system", c.GetSystem())
		one.put("code", c.GetCode())
		one.put("display", c.GetDisplay())
		codes = append(codes, one)
	}
	o.put("code", codes)
	o.put("prefix", it.GetPrefix())
	o.words("text", it.GetText())
	o.put("type", typeNames[it.GetType()])
	var when []any
	for _, c := range it.GetEnableWhen() {
		one := object{{"question", c.GetQuestion()}, {"operator", operatorNames[c.GetOperator()]}}
		one.value("answer", c.GetAnswer(), x.item(c.GetQuestion()))
		when = append(when, one)
	}
	o.put("enableWhen", when)
	o.put("enableBehavior", it.GetEnableBehavior())
	if it.GetRequired() {
		o.put("required", true)
	}
	if it.GetRepeats() {
		o.put("repeats", true)
	}
	if it.MaxLength != nil {
		o.put("maxLength", it.GetMaxLength())
	}
	var options []any
	for _, one := range it.GetOptions() {
		options = append(options, exportOption(one))
	}
	o.put("answerOption", options)
	var items []any
	for _, c := range x.children[i] {
		items = append(items, x.export(c))
	}
	o.put("item", items)
	return o
}

// value puts the one value that is set, as prefix[x]. A code of an option comes with its
// system.
func (o *object) value(prefix string, v *tandemv1.FormValue, question *tandemv1.FormItem) {
	switch typeOf(v) {
	case Boolean:
		o.put(prefix+"Boolean", v.GetBoolean())
	case Integer:
		o.put(prefix+"Integer", v.GetInteger())
	case Decimal:
		o.put(prefix+"Decimal", json.Number(v.GetDecimal()))
	case Date:
		o.put(prefix+"Date", v.GetDate())
	case DateTime:
		o.put(prefix+"DateTime", v.GetDateTime())
	case Text:
		o.put(prefix+"String", v.GetText())
	case Choice:
		if prefix == "value" {
			o.put("valueCode", v.GetCode())
			return
		}
		coding := object{}
		coding.put("system", optionOf(question, v.GetCode()).GetSystem())
		coding.put("code", v.GetCode())
		o.put(prefix+"Coding", coding)
	}
}

func exportOption(opt *tandemv1.FormOption) object {
	var points []any
	if opt.Ordinal != nil {
		points = append(points, object{{"url", extOrdinal}, {"valueDecimal", opt.GetOrdinal()}})
	}
	o := object{}
	switch opt.GetKind() {
	case "string":
		o.put("extension", points)
		if t := opt.GetText(); t != nil {
			o.words("valueString", t)
		} else {
			o.put("valueString", opt.GetCode())
		}
	case "integer":
		o.put("extension", points)
		o.put("valueInteger", json.Number(opt.GetCode()))
	case "date":
		o.put("extension", points)
		o.put("valueDate", opt.GetCode())
	default:
		coding := object{}
		coding.put("extension", points)
		coding.put("system", opt.GetSystem())
		coding.put("code", opt.GetCode())
		coding.words("display", opt.GetText())
		o.put("valueCoding", coding)
	}
	return o
}

// exportScore writes a score as an extension.
func exportScore(s *tandemv1.FormScore) object {
	var parts []any
	one := func(url, key string, value any) { parts = append(parts, object{{"url", url}, {key, value}}) }
	one("code", "valueCode", s.GetCode())
	if s.GetTitle() != nil {
		title := object{{"url", "title"}}
		title.words("valueString", s.GetTitle())
		parts = append(parts, title)
	}
	one("method", "valueCode", s.GetMethod())
	for _, id := range s.GetItems() {
		one("item", "valueString", id)
	}
	for _, c := range s.GetOf() {
		one("of", "valueCode", c)
	}
	if s.MinAnswered != nil {
		one("minAnswered", "valueInteger", s.GetMinAnswered())
	}
	for _, b := range s.GetBands() {
		band := []any{object{{"url", "code"}, {"valueCode", b.GetCode()}}}
		if b.GetText() != nil {
			words := object{{"url", "text"}}
			words.words("valueString", b.GetText())
			band = append(band, words)
		}
		if b.AtLeast != nil {
			band = append(band, object{{"url", "atLeast"}, {"valueDecimal", b.GetAtLeast()}})
		}
		one("band", "extension", band)
	}
	for _, r := range s.GetRules() {
		rule := []any{object{{"url", "band"}, {"valueCode", r.GetBand()}}}
		for _, c := range r.GetWhen() {
			answer := object{{"url", "answer"}}
			answer.value("value", c.GetAnswer(), nil)
			rule = append(rule, object{{"url", "when"}, {"extension", []any{
				object{{"url", "question"}, {"valueString", c.GetQuestion()}},
				object{{"url", "operator"}, {"valueCode", operatorNames[c.GetOperator()]}},
				answer,
			}}})
		}
		if r.Behavior != nil {
			rule = append(rule, object{{"url", "behavior"}, {"valueCode", r.GetBehavior()}})
		}
		one("rule", "extension", rule)
	}
	return object{{"url", Base + "form-score"}, {"extension", parts}}
}
