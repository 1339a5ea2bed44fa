package form

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Base begins the addresses of our own extensions and code systems.
const Base = "https://github.com/tandem-response/tandem/fhir/"

// Extensions of FHIR that are taken.
const (
	extTranslation = "http://hl7.org/fhir/StructureDefinition/translation"
	extOrdinal     = "http://hl7.org/fhir/StructureDefinition/ordinalValue"
	extWeight      = "http://hl7.org/fhir/StructureDefinition/itemWeight"
)

// MaxFile is the longest file that Import reads, in bytes.
const MaxFile = 1 << 20

// Import reads a Questionnaire of FHIR R4 in JSON and returns it as a draft. The notes
// name what was left out, which changes nothing of what is asked. The error is FaultError,
// with the place of each in the file; then nothing is returned.
func Import(data []byte) (*tandemv1.Form, []string, error) {
	if len(data) > MaxFile {
		return nil, nil, FaultError{Fault{}.says("the file is longer than %d bytes", MaxFile)}
	}
	root, err := parse(data, "Questionnaire")
	if err != nil {
		return nil, nil, err
	}
	r := &reader{lang: "en", paths: map[string]string{}}
	f := r.form(root)
	if len(r.faults) == 0 {
		for _, one := range Check(f.GetDefinition()) {
			if one.Path = r.paths[one.Item]; one.Path != "" {
				one.What += " (link id " + one.Item + ")"
				one.ES += " (link id " + one.Item + ")"
			} else if one.Path = "Questionnaire"; one.Score != "" {
				one.What = "score " + one.Score + ": " + one.What
				one.ES = "puntuación " + one.Score + ": " + one.ES
			}
			r.faults = append(r.faults, one)
		}
	}
	if len(r.faults) > 0 {
		return nil, nil, r.faults
	}
	return f, r.notes, nil
}

// reader reads elements and gathers faults.
type reader struct {
	lang   string // of texts that do not say
	faults FaultError
	notes  []string
	paths  map[string]string // of items, by link id
	items  []*tandemv1.FormItem
}

func (r *reader) fault(path, format string, args ...any) {
	r.faults = append(r.faults, Fault{Path: path}.says(format, args...))
}

// get returns a member, nil where there is none.
func (r *reader) get(n *node, key string) *node {
	if n == nil || n.props == nil {
		return nil
	}
	n.used[key] = true
	return n.props[key]
}

func (r *reader) str(n *node, key string) string {
	v := r.get(n, key)
	if v == nil {
		return ""
	}
	s, ok := v.value.(string)
	switch {
	case !ok:
		r.fault(v.path, "want a string")
	case s == "":
		r.fault(v.path, "an element is not empty in FHIR: leave it out")
	case !plain(s):
		r.fault(v.path, "it holds control characters")
	}
	return s
}

func (r *reader) boolean(n *node, key string) *bool {
	v := r.get(n, key)
	if v == nil {
		return nil
	}
	b, ok := v.value.(bool)
	if !ok {
		r.fault(v.path, "want true or false")
	}
	return &b
}

func (r *reader) integer(v *node) int64 {
	s, _ := v.value.(json.Number)
	i, err := strconv.ParseInt(s.String(), 10, 64)
	if err != nil {
		r.fault(v.path, "want a whole number")
	}
	return i
}

func (r *reader) number(v *node) float64 {
	s, _ := v.value.(json.Number)
	x, err := s.Float64()
	if err != nil || x < -1e6 || x > 1e6 {
		r.fault(v.path, "want a number from -1000000 to 1000000")
		return 0
	}
	return x
}

// each returns the elements of an array, which is not empty in FHIR.
func (r *reader) each(n *node, key string) []*node {
	v := r.get(n, key)
	if v == nil {
		return nil
	}
	if !v.array {
		r.fault(v.path, "want an array")
		return nil
	}
	if len(v.list) == 0 {
		r.fault(v.path, "an array is not empty in FHIR: leave it out")
	}
	return v.list
}

// objects is each, of objects alone.
func (r *reader) objects(n *node, key string) []*node {
	list := r.each(n, key)
	return slices.DeleteFunc(slices.Clone(list), func(v *node) bool {
		if v.props == nil {
			r.fault(v.path, "want an object")
		}
		return v.props == nil
	})
}

// done looks at what is left of an object: known elements are named in the notes, the
// rest is refused.
func (r *reader) done(n *node, harmless ...string) {
	if n == nil {
		return
	}
	for _, key := range n.left() {
		path := n.path + "." + key
		switch plainKey := strings.TrimPrefix(key, "_"); {
		case key == "modifierExtension":
			r.fault(path, "it changes the meaning of what it stands in, in a way that is not known here")
		case key == "id" || key == "extension" || slices.Contains(harmless, plainKey):
			r.note(path)
		case strings.HasPrefix(key, "_") && n.used[plainKey]:
			r.note(path)
		default:
			r.fault(path, "FHIR R4 knows no such element, or it is not played here")
		}
	}
}

func (r *reader) note(path string) {
	if len(r.notes) < 200 {
		r.notes = append(r.notes, path+" was left out")
	}
}

// changesLogic are parts of the addresses of extensions that change what is asked.
var changesLogic = []string{
	"enableWhenExpression", "calculatedExpression", "answerExpression", "questionnaire-hidden", "initialExpression",
	"sdc-questionnaire-variable", "answerOptionsToggleExpression", "questionnaire-optionExclusive", "minOccurs", "maxOccurs",
	"targetConstraint", "questionnaire-constraint", "subQuestionnaire",
}

// extensions calls take for each extension of an element; those that it does not take are
// named, or refused where they change what is asked.
func (r *reader) extensions(n *node, take func(url string, e *node) bool) {
	for _, e := range r.objects(n, "extension") {
		url := r.str(e, "url")
		switch {
		case url == "":
			r.fault(e.path, "an extension has a url")
		case take != nil && take(url, e):
			r.done(e)
		case slices.ContainsFunc(changesLogic, func(s string) bool { return strings.Contains(url, s) }):
			r.fault(e.path, "the extension %s changes what is asked, and is not played here", quote(url))
		default:
			r.note(e.path + " (" + url + ")")
		}
	}
}

// words reads a text with its translations.
func (r *reader) words(n *node, key string, most int) *tandemv1.FormText {
	t := &tandemv1.FormText{}
	set := func(lang, s, path string) {
		if utf8.RuneCountInString(s) > most {
			r.fault(path, "it is longer than %d characters", most)
		}
		if strings.HasPrefix(lang, "es") {
			t.Es = &s
		} else {
			t.En = &s
		}
	}
	if s := r.str(n, key); s != "" {
		set(r.lang, s, n.path+"."+key)
	}
	side := r.get(n, "_"+key)
	if side != nil && side.props == nil {
		r.fault(side.path, "want an object")
		side = nil
	}
	r.extensions(side, func(url string, e *node) bool {
		if url != extTranslation {
			return false
		}
		var lang, content string
		for _, part := range r.objects(e, "extension") {
			switch r.str(part, "url") {
			case "lang":
				lang = cmp.Or(r.str(part, "valueCode"), r.str(part, "valueString"))
			case "content":
				content = cmp.Or(r.str(part, "valueString"), r.str(part, "valueMarkdown"))
			}
			r.done(part)
		}
		known := lang == "en" || lang == "es" || strings.HasPrefix(lang, "en-") || strings.HasPrefix(lang, "es-")
		switch {
		case lang == "" || content == "":
			r.fault(e.path, "a translation has a lang and a content")
		case !known:
			r.note(e.path + " (" + lang + ")")
		case strings.HasPrefix(lang, "es") == strings.HasPrefix(r.lang, "es") && (t.En != nil || t.Es != nil):
			r.fault(e.path, "it is in the language of the text itself")
		case strings.HasPrefix(lang, "es") && t.Es != nil || strings.HasPrefix(lang, "en") && t.En != nil:
			r.fault(e.path, "the translation stands twice")
		default:
			set(lang, content, e.path)
		}
		return true
	})
	r.done(side)
	if t.En == nil && t.Es == nil {
		return nil
	}
	return t
}

// Elements that change nothing of what is asked.
var harmlessRoot = []string{
	"meta", "text", "contained", "experimental", "date", "publisher", "contact", "useContext", "jurisdiction", "purpose",
	"approvalDate", "lastReviewDate", "effectivePeriod", "derivedFrom", "code", "status",
}

func (r *reader) form(n *node) *tandemv1.Form {
	f := &tandemv1.Form{Definition: &tandemv1.FormDefinition{}}
	if n.props == nil {
		r.fault(n.path, "want an object")
		return f
	}
	if typ := r.str(n, "resourceType"); typ != "Questionnaire" {
		r.fault(n.path+".resourceType", "want a Questionnaire, got %s", quote(typ))
		return f
	}
	if lang := r.str(n, "language"); lang != "" {
		if r.lang = lang; !strings.HasPrefix(lang, "en") && !strings.HasPrefix(lang, "es") {
			r.fault(n.path+".language", "forms are in English or Spanish, with a translation to the other")
		}
	}
	if status := r.str(n, "status"); !slices.Contains([]string{"draft", "active", "retired", "unknown"}, status) {
		r.fault(n.path+".status", "want draft, active, retired or unknown; what is imported begins as a draft")
	}
	f.Url = text(r.str(n, "url"))
	f.Licence = text(r.str(n, "copyright"))
	if utf8.RuneCountInString(f.GetLicence()) > maxText || utf8.RuneCountInString(f.GetUrl()) > 500 {
		r.fault(n.path, "copyright is at most %d characters and url 500", maxText)
	}
	f.Description = r.words(n, "description", maxText)
	title := r.words(n, "title", maxTitle)
	if title == nil {
		r.fault(n.path+".title", "a form has a title")
	}
	f.Title = &tandemv1.LocalizedText{En: text(cmp.Or(title.GetEn(), title.GetEs()))}
	if title != nil {
		f.Title.Es = title.Es
	}
	r.version(n, f)
	r.code(n, f)
	f.Subject, f.Category, f.AnswersIn = new(r.subject(n)), new("custom"), new("clinical")
	if f.GetSubject() == "program" || f.GetSubject() == "community" {
		f.AnswersIn = new("ref")
	}
	r.extensions(n, func(url string, e *node) bool { return r.own(f, url, e) })
	for _, one := range r.objects(n, "item") {
		r.item(one, "", 0)
	}
	f.Definition.Items = r.items
	r.done(n, harmlessRoot...)
	return f
}

// own reads our own extensions of a form.
func (r *reader) own(f *tandemv1.Form, url string, e *node) bool {
	name, ours := strings.CutPrefix(url, Base)
	if !ours {
		return false
	}
	list := func(codes ...string) *string {
		code := r.str(e, "valueCode")
		if !slices.Contains(codes, code) {
			r.fault(e.path, "want one of %s", strings.Join(codes, ", "))
		}
		return &code
	}
	switch name {
	case "form-subject":
		f.Subject = list("person", "encounter", "episode", "program", "staff", "community")
	case "form-category":
		f.Category = list("screening", "intake", "safety_plan", "readiness", "survey", "custom")
	case "form-answers-in":
		f.AnswersIn = list("ref", "clinical", "sud")
	case "form-source-version":
		f.SourceVersion = text(r.str(e, "valueString"))
	case "form-score":
		f.Definition.Scores = append(f.Definition.Scores, r.score(e))
	default:
		r.fault(e.path, "this version knows no extension of that name")
	}
	return true
}

func (r *reader) version(n *node, f *tandemv1.Form) {
	f.Version = new(uint32(1))
	v := r.str(n, "version")
	if v == "" {
		return
	}
	if i, err := strconv.ParseUint(v, 10, 31); err == nil && i > 0 && strconv.FormatUint(i, 10) == v {
		f.Version = new(uint32(i))
		return
	}
	if utf8.RuneCountInString(v) > 100 {
		r.fault(n.path+".version", "it is longer than 100 characters")
	}
	f.SourceVersion = &v
}

// code finds the short name of a form: our own identifier, its name, the end of its
// address, its id.
func (r *reader) code(n *node, f *tandemv1.Form) {
	name := r.str(n, "name")
	found := ""
	for _, id := range r.objects(n, "identifier") {
		value := r.str(id, "value")
		if r.str(id, "system") == Base+"form-code" {
			found = value
		} else {
			r.note(id.path)
		}
		r.done(id, "use", "type", "period", "assigner")
	}
	if found != "" && !isCode(found) {
		r.fault(n.path+".identifier", "a code is lowercase letters, digits and _, at most 64")
	}
	last := f.GetUrl()[strings.LastIndexByte(f.GetUrl(), '/')+1:]
	id := n.props["id"].str()
	for _, s := range []string{found, snake(name), snake(last), snake(id)} {
		if isCode(s) {
			f.Code = new(s)
			return
		}
	}
	r.fault(n.path+".name", "a form has a name of letters and digits, from which its code is made")
}

func (n *node) str() string {
	if n == nil {
		return ""
	}
	s, _ := n.value.(string)
	return s
}

// snake makes a code of a name such as WellbeingCheck.
func snake(s string) string {
	var b strings.Builder
	lower := false
	for _, c := range s {
		switch {
		case unicode.IsUpper(c) && c < utf8.RuneSelf:
			if lower {
				b.WriteByte('_')
			}
			b.WriteRune(unicode.ToLower(c))
			lower = false
			continue
		case c == '-' || c == '.' || c == ' ' || c == '_':
			b.WriteByte('_')
			lower = false
			continue
		}
		b.WriteRune(c)
		lower = true
	}
	return b.String()
}

// subjects are ours by FHIR's.
var subjects = map[string]string{
	"Patient": "person", "Person": "person", "Encounter": "encounter", "EpisodeOfCare": "episode", "Organization": "program",
	"HealthcareService": "program", "Practitioner": "staff", "PractitionerRole": "staff", "Group": "community",
}

func (r *reader) subject(n *node) string {
	types := r.each(n, "subjectType")
	if len(types) == 0 {
		return "person"
	}
	for _, t := range types {
		if known := subjects[t.str()]; known != "" {
			return known
		}
	}
	r.fault(n.path+".subjectType", "forms are about a Patient, Encounter, EpisodeOfCare, Organization, Practitioner or Group")
	return "person"
}

var fhirTypes = map[string]string{
	"group": Group, "display": Display, "boolean": Boolean, "integer": Integer, "decimal": Decimal, "date": Date,
	"dateTime": DateTime, "string": String, "text": Text, "choice": Choice, "open-choice": OpenChoice,
}

var fhirOperators = map[string]string{
	"exists": exists, "=": equal, "!=": differ, ">": more, "<": less, ">=": least, "<=": most,
}

func (r *reader) item(n *node, parent string, depth int) {
	it := &tandemv1.FormItem{LinkId: new(r.str(n, "linkId"))}
	if depth > 0 {
		it.Parent = &parent
	}
	if len(r.items) >= MaxItems || depth >= MaxDepth {
		r.fault(n.path, "a form has at most %d items, %d deep", MaxItems, MaxDepth)
		return
	}
	if it.GetLinkId() == "" {
		r.fault(n.path+".linkId", "an item has a link id")
	}
	if _, twice := r.paths[it.GetLinkId()]; !twice {
		r.paths[it.GetLinkId()] = n.path
	}
	typ := r.str(n, "type")
	if it.Type = new(fhirTypes[typ]); it.GetType() == "" {
		r.fault(n.path+".type", "items of the type %s are not played", quote(typ))
	}
	it.Text = r.words(n, "text", maxText)
	it.Prefix = text(r.str(n, "prefix"))
	if utf8.RuneCountInString(it.GetPrefix()) > 40 {
		r.fault(n.path+".prefix", "it is longer than 40 characters")
	}
	it.Required, it.Repeats = yes(r.boolean(n, "required")), yes(r.boolean(n, "repeats"))
	if v := r.get(n, "maxLength"); v != nil {
		i := r.integer(v)
		if i < 1 || i > 20000 {
			r.fault(v.path, "a longest answer is 1 to 20000 characters")
		}
		it.MaxLength = new(uint32(min(max(i, 0), 20000)))
	}
	it.EnableWhen = r.conditions(n, "enableWhen")
	if b := r.str(n, "enableBehavior"); b != "" {
		it.EnableBehavior = &b
	}
	for _, c := range r.objects(n, "code") {
		it.Codes = append(it.Codes, r.coding(c))
	}
	for _, o := range r.objects(n, "answerOption") {
		it.Options = append(it.Options, r.option(o))
	}
	r.extensions(n, func(url string, e *node) bool {
		if url != Base+"form-link" {
			return false
		}
		link := &tandemv1.FormLink{}
		for _, part := range r.objects(e, "extension") {
			switch r.str(part, "url") {
			case "title":
				link.Title = r.words(part, "valueString", maxText)
			case "url":
				link.Url = text(r.str(part, "valueUri"))
			}
			r.done(part)
		}
		if link.GetUrl() == "" || len(link.GetUrl()) > 500 {
			r.fault(e.path, "a resource has an address of at most 500 characters")
		}
		it.Links = append(it.Links, link)
		return true
	})
	if ro := r.boolean(n, "readOnly"); ro != nil && *ro {
		r.fault(n.path+".readOnly", "items that nobody fills in are not played")
	}
	if v := r.get(n, "answerValueSet"); v != nil {
		r.fault(v.path, "answers by value set are not played: write them out as answerOption")
	}
	r.items = append(r.items, it)
	for _, one := range r.objects(n, "item") {
		r.item(one, it.GetLinkId(), depth+1)
	}
	r.done(n, "definition", "initial")
}

func (r *reader) coding(n *node) *tandemv1.FormCoding {
	c := &tandemv1.FormCoding{System: text(r.str(n, "system")), Code: text(r.str(n, "code")), Display: text(r.str(n, "display"))}
	if c.Code == nil || utf8.RuneCountInString(c.GetCode()) > 128 || len(c.GetSystem()) > 500 || utf8.RuneCountInString(c.GetDisplay()) > 1000 {
		r.fault(n.path, "a code has 1 to 128 characters, its system at most 500, its display at most 1000")
	}
	r.done(n, "version", "userSelected", "display")
	return c
}

func (r *reader) option(n *node) *tandemv1.FormOption {
	o := &tandemv1.FormOption{}
	points := func(url string, e *node) bool {
		v := cmp.Or(r.get(e, "valueDecimal"), r.get(e, "valueInteger"))
		switch {
		case url != extOrdinal && url != extWeight:
			return false
		case v == nil:
			r.fault(e.path, "points are a decimal or an integer")
		case o.Ordinal != nil:
			r.fault(e.path, "the option has points already")
		default:
			o.Ordinal = new(r.number(v))
		}
		return true
	}
	found := 0
	if c := r.get(n, "valueCoding"); c != nil {
		found++
		if c.props == nil {
			r.fault(c.path, "want an object")
		}
		o.System, o.Code, o.Text = text(r.str(c, "system")), text(r.str(c, "code")), r.words(c, "display", maxText)
		if o.Code == nil || len(o.GetSystem()) > 500 {
			r.fault(c.path, "an option has a code, and a system of at most 500 characters")
		}
		r.extensions(c, points)
		if c.props != nil {
			r.done(c, "version", "userSelected")
		}
	}
	if t := r.words(n, "valueString", maxOption); t != nil {
		found++
		o.Kind, o.Code = new("string"), new(cmp.Or(t.GetEn(), t.GetEs()))
		if t.En != nil && t.Es != nil {
			o.Text = t
		}
	}
	if v := r.get(n, "valueInteger"); v != nil {
		found++
		o.Kind, o.Code = new("integer"), new(strconv.FormatInt(r.integer(v), 10))
	}
	if s := r.str(n, "valueDate"); s != "" {
		found++
		o.Kind, o.Code = new("date"), &s
		if !isDate(s) {
			r.fault(n.path+".valueDate", "want a date")
		}
	}
	r.extensions(n, points)
	r.done(n, "initialSelected")
	if found != 1 && len(r.faults) == 0 {
		r.fault(n.path, "an option has one value: a coding, a string, an integer or a date")
	}
	return o
}

func (r *reader) conditions(n *node, key string) []*tandemv1.FormCondition {
	var out []*tandemv1.FormCondition
	for _, one := range r.objects(n, key) {
		c := &tandemv1.FormCondition{Question: text(r.str(one, "question"))}
		if c.Question == nil {
			r.fault(one.path+".question", "a condition looks at a question")
		}
		op := r.str(one, "operator")
		if c.Operator = new(fhirOperators[op]); c.GetOperator() == "" {
			r.fault(one.path+".operator", "%s is no operator of FHIR R4", quote(op))
		}
		c.Answer = r.answer(one)
		r.done(one)
		out = append(out, c)
	}
	return out
}

// answer reads answer[x].
func (r *reader) answer(n *node) *tandemv1.FormValue {
	v := &tandemv1.FormValue{}
	if b := r.boolean(n, "answerBoolean"); b != nil {
		v.Boolean = b
	}
	if i := r.get(n, "answerInteger"); i != nil {
		v.Integer = new(r.integer(i))
	}
	if d := r.get(n, "answerDecimal"); d != nil {
		s, _ := d.value.(json.Number)
		if !isDecimal(s.String()) {
			r.fault(d.path, "want a number of at most 15 digits before the point and 9 after it")
		}
		v.Decimal = new(s.String())
	}
	v.Date, v.DateTime, v.Text = text(r.str(n, "answerDate")), text(r.str(n, "answerDateTime")), text(r.str(n, "answerString"))
	if c := r.get(n, "answerCoding"); c != nil {
		if v.Code = text(r.str(c, "code")); v.Code == nil {
			r.fault(c.path, "a coding has a code")
		}
		r.str(c, "system")
		r.done(c, "version", "userSelected", "display")
	}
	if typeOf(v) == "" {
		r.fault(n.path, "a condition has one answer: a boolean, integer, decimal, date, dateTime, string or coding")
	}
	if len(v.GetText()) > 20000 || len(v.GetCode()) > maxOption {
		r.fault(n.path, "the answer is too long")
	}
	return v
}

// score reads our extension of a score.
func (r *reader) score(e *node) *tandemv1.FormScore {
	s := &tandemv1.FormScore{}
	for _, part := range r.objects(e, "extension") {
		switch url := r.str(part, "url"); url {
		case "code":
			s.Code = text(r.str(part, "valueCode"))
		case "title":
			s.Title = r.words(part, "valueString", maxText)
		case "method":
			s.Method = text(r.str(part, "valueCode"))
		case "item":
			s.Items = append(s.Items, r.str(part, "valueString"))
		case "of":
			s.Of = append(s.Of, r.str(part, "valueCode"))
		case "minAnswered":
			if v := r.get(part, "valueInteger"); v != nil {
				i := r.integer(v)
				if i < 1 || i > 100 {
					r.fault(v.path, "a share is 1 to 100 percent")
				}
				s.MinAnswered = new(uint32(min(max(i, 0), 100)))
			}
		case "band":
			s.Bands = append(s.Bands, r.band(part))
		case "rule":
			s.Rules = append(s.Rules, r.rule(part))
		default:
			r.fault(part.path, "a score has no part %s", quote(url))
		}
		r.done(part)
	}
	if s.Code == nil || s.Method == nil {
		r.fault(e.path, "a score has a code and a method")
	}
	return s
}

func (r *reader) band(n *node) *tandemv1.FormBand {
	b := &tandemv1.FormBand{}
	for _, part := range r.objects(n, "extension") {
		switch r.str(part, "url") {
		case "code":
			b.Code = text(r.str(part, "valueCode"))
		case "text":
			b.Text = r.words(part, "valueString", maxText)
		case "atLeast":
			if v := r.get(part, "valueDecimal"); v != nil {
				b.AtLeast = new(r.number(v))
			}
		}
		r.done(part)
	}
	if b.Code == nil {
		r.fault(n.path, "a band has a code")
	}
	return b
}

func (r *reader) rule(n *node) *tandemv1.FormRule {
	rule := &tandemv1.FormRule{}
	for _, part := range r.objects(n, "extension") {
		switch r.str(part, "url") {
		case "band":
			rule.Band = text(r.str(part, "valueCode"))
		case "behavior":
			rule.Behavior = text(r.str(part, "valueCode"))
		case "when":
			c := &tandemv1.FormCondition{Answer: &tandemv1.FormValue{}}
			for _, p := range r.objects(part, "extension") {
				switch r.str(p, "url") {
				case "question":
					c.Question = text(r.str(p, "valueString"))
				case "operator":
					op := r.str(p, "valueCode")
					if c.Operator = new(fhirOperators[op]); c.GetOperator() == "" {
						r.fault(p.path, "%s is no operator of FHIR R4", quote(op))
					}
				case "answer":
					c.Answer = r.ruleAnswer(p)
				}
				r.done(p)
			}
			if c.Question == nil || c.Operator == nil {
				r.fault(part.path, "a condition looks at a question by an operator")
			}
			rule.When = append(rule.When, c)
		}
		r.done(part)
	}
	if rule.Band == nil {
		r.fault(n.path, "a rule leads to a band")
	}
	return rule
}

// ruleAnswer reads value[x] of a condition of a rule.
func (r *reader) ruleAnswer(n *node) *tandemv1.FormValue {
	v := &tandemv1.FormValue{Boolean: r.boolean(n, "valueBoolean")}
	if i := r.get(n, "valueInteger"); i != nil {
		v.Integer = new(r.integer(i))
	}
	if d := r.get(n, "valueDecimal"); d != nil {
		s, _ := d.value.(json.Number)
		if !isDecimal(s.String()) {
			r.fault(d.path, "want a number of at most 15 digits before the point and 9 after it")
		}
		v.Decimal = new(s.String())
	}
	v.Date, v.DateTime = text(r.str(n, "valueDate")), text(r.str(n, "valueDateTime"))
	v.Text, v.Code = text(r.str(n, "valueString")), text(r.str(n, "valueCode"))
	if typeOf(v) == "" {
		r.fault(n.path, "a condition has one answer")
	}
	if len(v.GetText()) > 20000 || len(v.GetCode()) > maxOption {
		r.fault(n.path, "the answer is too long")
	}
	return v
}

// text is a string that stays away where it is empty.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// yes is a boolean that stays away where it is false, which is FHIR's default.
func yes(b *bool) *bool {
	if b == nil || !*b {
		return nil
	}
	return b
}
