package form_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/syncengine/form"
	"google.golang.org/protobuf/proto"
)

// whole is a questionnaire with everything that is taken.
const whole = `{
 "resourceType": "Questionnaire", "id": "wellbeing", "meta": {"versionId": "3"}, "language": "en",
 "url": "https://forms.example/Questionnaire/wellbeing-check", "version": "2.1.0", "name": "WellbeingCheck",
 "title": "Wellbeing", "_title": {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/translation",
   "extension": [{"url": "lang", "valueCode": "es"}, {"url": "content", "valueString": "Bienestar"}]}]},
 "status": "active", "subjectType": ["Patient"], "publisher": "Example", "copyright": "Free",
 "item": [
  {"linkId": "a", "type": "group", "text": "About you", "item": [
   {"linkId": "a.1", "type": "boolean", "text": "Well?", "required": true},
   {"linkId": "a.2", "type": "text", "text": "What is wrong?", "maxLength": 200, "enableWhen": [{"question": "a.1", "operator": "=", "answerBoolean": false}]},
   {"linkId": "a.3", "type": "integer", "text": "Nights slept"},
   {"linkId": "a.4", "type": "decimal", "text": "Hours", "enableWhen": [
     {"question": "a.3", "operator": ">", "answerInteger": 0}, {"question": "a.3", "operator": "<=", "answerInteger": 30}], "enableBehavior": "all"}
  ]},
  {"linkId": "b", "prefix": "B", "type": "choice", "text": "Food", "repeats": true, "code": [{"system": "http://loinc.org", "code": "1-8"}],
   "answerOption": [
    {"valueCoding": {"system": "urn:food", "code": "none", "display": "None", "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/ordinalValue", "valueDecimal": 2.5}]}},
    {"valueCoding": {"system": "urn:food", "code": "some", "display": "Some"}, "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/itemWeight", "valueDecimal": 1}]},
    {"valueString": "plenty"}, {"valueInteger": 7}, {"valueDate": "2026-01"}]},
  {"linkId": "c", "type": "open-choice", "text": "Where?", "answerOption": [{"valueString": "home"}],
   "enableWhen": [{"question": "b", "operator": "!=", "answerCoding": {"system": "urn:food", "code": "none"}}]},
  {"linkId": "d", "type": "date", "text": "Since", "enableWhen": [{"question": "a.4", "operator": "exists", "answerBoolean": true}]},
  {"linkId": "e", "type": "dateTime", "text": "Seen at", "enableWhen": [
     {"question": "d", "operator": ">=", "answerDate": "2026-02"}, {"question": "a.4", "operator": "<", "answerDecimal": 2.50}], "enableBehavior": "any"},
  {"linkId": "f", "type": "string", "text": "Name of it", "enableWhen": [{"question": "e", "operator": ">", "answerDateTime": "2026-02-03T04:05:06Z"}],
   "item": [{"linkId": "f.1", "type": "display", "text": "Thank you"}]}
 ]}`

func read(tb testing.TB, raw string) *tandemv1.Form {
	tb.Helper()
	f, _, err := form.Import([]byte(raw))
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func TestImport(t *testing.T) {
	t.Parallel()
	f, notes, err := form.Import([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(notes, "\n"); got != "Questionnaire.id was left out\nQuestionnaire.meta was left out\nQuestionnaire.publisher was left out" {
		t.Errorf("notes: %s", got)
	}
	for what, got := range map[string][2]string{
		"code": {f.GetCode(), "wellbeing_check"}, "version": {f.GetSourceVersion(), "2.1.0"}, "es": {f.GetTitle().GetEs(), "Bienestar"},
		"subject": {f.GetSubject(), "person"}, "licence": {f.GetLicence(), "Free"}, "lifecycle": {f.GetLifecycle(), ""},
		"parent": {f.GetDefinition().GetItems()[2].GetParent(), "a"}, "type": {f.GetDefinition().GetItems()[6].GetType(), "open_choice"},
		"decimal": {f.GetDefinition().GetItems()[8].GetEnableWhen()[1].GetAnswer().GetDecimal(), "2.50"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: got %q, want %q", what, got[0], got[1])
		}
	}
	b := f.GetDefinition().GetItems()[5]
	if len(f.GetDefinition().GetItems()) != 11 || b.GetOptions()[0].GetOrdinal() != 2.5 || b.GetOptions()[1].GetOrdinal() != 1 || b.GetOptions()[2].Ordinal != nil {
		t.Errorf("got %d items, options %v", len(f.GetDefinition().GetItems()), b.GetOptions())
	}
	again := roundTrip(t, f)
	if !proto.Equal(f, again) {
		t.Errorf("written and read it is another:\n%v\n%v", f, again)
	}
	if faults := form.Publishable(f); len(faults) > 0 {
		t.Error(faults)
	}
	spanish := strings.NewReplacer(`"language": "en"`, `"language": "es"`, `"valueCode": "es"`, `"valueCode": "en"`).Replace(whole)
	g := read(t, spanish)
	if g.GetTitle().GetEs() != "Wellbeing" || g.GetTitle().GetEn() != "Bienestar" || g.GetDefinition().GetItems()[1].GetText().En != nil {
		t.Errorf("a Spanish questionnaire: %v", g.GetTitle())
	}
	if !proto.Equal(g, roundTrip(t, g)) {
		t.Error("a Spanish questionnaire is another after it was written and read")
	}
	inSpanish(t, form.Publishable(g))
	inSpanish(t, form.Untranslated(g))
	if faults := form.Publishable(g); len(faults) != 11+2 {
		t.Errorf("a form without English: %v", faults)
	}
}

func roundTrip(tb testing.TB, f *tandemv1.Form) *tandemv1.Form {
	tb.Helper()
	raw, err := form.Export(f)
	if err != nil {
		tb.Fatal(err)
	}
	g, notes, err := form.Import(raw)
	if err != nil || len(notes) > 0 {
		tb.Fatalf("what was written cannot be read: %v %v\n%s", err, notes, raw)
	}
	return g
}

// What would be played otherwise than it is meant is refused, with its place.
// inSpanish fails where a fault has no Spanish of its own, or words of the English one.
func inSpanish(tb testing.TB, err error) {
	tb.Helper()
	faults, _ := errors.AsType[form.FaultError](err)
	for _, f := range faults {
		if es := f.In("es"); f.ES == "" || strings.Contains(es, "%!") || regexp.MustCompile(`(?i)\b(the|it|is|has|are|of|want)\b`).MatchString(es) {
			tb.Errorf("%q is %q in Spanish", f.String(), es)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	q := func(items string) string {
		return `{"resourceType":"Questionnaire","name":"X","title":"X","status":"draft","item":[` + items + `]}`
	}
	item := func(more string) string {
		return q(`{"linkId":"1","type":"boolean","text":"?"},{"linkId":"2",` + more + `}`)
	}
	for raw, want := range map[string]string{
		``:                                     "line 1: this is no JSON",
		"{\n\"resourceType\": nope}":           "line 2: this is no JSON",
		`[]`:                                   "Questionnaire: want an object",
		`{"resourceType":"Patient"}`:           `Questionnaire.resourceType: want a Questionnaire, got "Patient"`,
		whole + "{}":                           "Questionnaire: something follows",
		q(``):                                  "Questionnaire.item: an array is not empty",
		q(`7`):                                 "Questionnaire.item[0]: want an object",
		item(`"type":"boolean","type":"text"`): "Questionnaire.item[1].type: the element stands twice",
		item(`"type":"quantity"`):              `Questionnaire.item[1].type: items of the type "quantity"`,
		item(`"type":"group"`):                 "Questionnaire.item[1]: a group holds at least one item (link id 2)",
		item(`"type":"group","repeats":true,"item":[{"linkId":"3","type":"display","text":"x"}]`):      "Questionnaire.item[1]: groups that repeat",
		item(`"type":"display","required":true`):                                                       "Questionnaire.item[1]: a text to read is neither",
		item(`"type":"boolean","enablewhen":[]`):                                                       "Questionnaire.item[1].enablewhen: FHIR R4 knows no such element",
		item(`"type":"boolean","modifierExtension":[{"url":"urn:x"}]`):                                 "Questionnaire.item[1].modifierExtension: it changes the meaning",
		item(`"type":"boolean","readOnly":true`):                                                       "Questionnaire.item[1].readOnly",
		item(`"type":"boolean","text":7`):                                                              "Questionnaire.item[1].text: want a string",
		item(`"type":"boolean","text":"a\u0007"`):                                                      "Questionnaire.item[1].text: it holds control characters",
		item(`"type":"boolean","required":"yes"`):                                                      "Questionnaire.item[1].required: want true or false",
		item(`"type":"boolean","maxLength":7`):                                                         "Questionnaire.item[1]: only texts have a longest answer",
		item(`"type":"choice"`):                                                                        "Questionnaire.item[1]: a choice has options",
		item(`"type":"choice","answerValueSet":"urn:x"`):                                               "Questionnaire.item[1].answerValueSet: answers by value set",
		item(`"type":"integer","answerOption":[{"valueInteger":1}]`):                                   "Questionnaire.item[1]: only a choice has options",
		item(`"type":"choice","answerOption":[{"valueString":"a"},{"valueString":"a"}]`):               `Questionnaire.item[1]: the option "a" stands twice`,
		item(`"type":"choice","answerOption":[{"valueString":"a","valueInteger":1}]`):                  "Questionnaire.item[1].answerOption[0]: an option has one value",
		item(`"type":"choice","answerOption":[{"valueReference":{}}]`):                                 "Questionnaire.item[1].answerOption[0].valueReference: FHIR R4 knows no such",
		item(`"type":"boolean","enableWhen":[{"question":"9","operator":"=","answerBoolean":true}]`):   `Questionnaire.item[1]: a condition looks at "9", which is no item`,
		item(`"type":"boolean","enableWhen":[{"question":"1","operator":"~","answerBoolean":true}]`):   `Questionnaire.item[1].enableWhen[0].operator: "~" is no operator`,
		item(`"type":"boolean","enableWhen":[{"question":"1","operator":"=","answerString":"x"}]`):     `Questionnaire.item[1]: a condition compares "1" with what is no answer`,
		item(`"type":"boolean","enableWhen":[{"question":"1","operator":">","answerBoolean":true}]`):   `Questionnaire.item[1]: answers to "1" have no order`,
		item(`"type":"boolean","enableWhen":[{"question":"1","operator":"exists","answerInteger":1}]`): `Questionnaire.item[1]: a condition asks whether "1"`,
		item(`"type":"boolean","enableWhen":[{"question":"1","operator":"="}]`):                        "Questionnaire.item[1].enableWhen[0]: a condition has one answer",
		item(`"type":"boolean","enableWhen":[{"question":"1","operator":"=","answerBoolean":true},{"question":"1","operator":"=","answerBoolean":false}]`): "Questionnaire.item[1]: it has several conditions and does not say",
		item(`"type":"boolean","enableWhen":[{"question":"2","operator":"=","answerBoolean":true}]`):                                                       "Questionnaire.item[1]: whether it is asked depends on itself",
		item(`"type":"boolean","extension":[{"url":"http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-calculatedExpression"}]`):             "Questionnaire.item[1].extension[0]: the extension",
		item(`"type":"boolean","extension":[{"url":"` + form.Base + `form-tomorrow"}]`):                                                                    "",
		q(`{"linkId":"1","type":"boolean"},{"linkId":"1","type":"boolean"}`):                                                                               "(link id 1)",
		`{"resourceType":"Questionnaire","name":"X","title":"X","status":"draft","language":"fr","item":[{"linkId":"1","type":"boolean"}]}`:                "Questionnaire.language: forms are in English or Spanish",
		`{"resourceType":"Questionnaire","name":"X","status":"draft","item":[{"linkId":"1","type":"boolean"}]}`:                                            "Questionnaire.title: a form has a title",
		`{"resourceType":"Questionnaire","title":"X","status":"draft","item":[{"linkId":"1","type":"boolean"}]}`:                                           "Questionnaire.name: a form has a name",
		strings.Repeat(`{"a":`, 99):              "the file nests deeper than",
		strings.Repeat(" ", form.MaxFile) + "{}": "the file is longer than",
		`{"resourceType":"Questionnaire","extension":[{"url":"` + form.Base + `form-tomorrow"}],"name":"X","title":"X","status":"draft","item":[{"linkId":"1","type":"boolean"}]}`: "Questionnaire.extension[0]: this version knows no extension",
	} {
		f, _, err := form.Import([]byte(raw))
		if want == "" {
			if err != nil {
				t.Errorf("%.200s: %v", raw, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.200s:\ngot %v\nwant %s", raw, err, want)
		}
		inSpanish(t, err)
		if f != nil && err != nil {
			t.Errorf("%.200s: half of it was taken", raw)
		}
	}
}

func answers(pairs ...any) form.Answers {
	a := form.Answers{}
	for i := 0; i < len(pairs); i += 2 {
		id, _ := pairs[i].(string)
		v, _ := pairs[i+1].(*tandemv1.FormValue)
		a[id] = append(a[id], v)
	}
	return a
}

func TestWhatIsAsked(t *testing.T) {
	t.Parallel()
	def := read(t, whole).GetDefinition()
	for _, tc := range []struct {
		name    string
		answers form.Answers
		asked   string // beyond what always is
		missing string
		stray   string
		fault   string // items with one
	}{
		{"nothing", answers(), "c", "a.1", "", ""},
		{"well", answers("a.1", form.Bool(true)), "c", "", "", ""},
		{"not well", answers("a.1", form.Bool(false)), "a.2 c", "", "", ""},
		{"well, with words from before", answers("a.1", form.Bool(true), "a.2", form.Words("x")), "c", "", "a.2", ""},
		{"two nights", answers("a.3", form.Int(2)), "a.4 c", "a.1", "", ""},
		{"no night", answers("a.3", form.Int(0)), "c", "a.1", "", ""},
		{"31 nights: any would do, all must", answers("a.3", form.Int(31)), "c", "a.1", "", ""},
		{"hours open the date", answers("a.3", form.Int(2), "a.4", form.Number("2.5")), "a.4 c d", "a.1", "", ""},
		{"few hours", answers("a.3", form.Int(2), "a.4", form.Number("2.499")), "a.4 c d e", "a.1", "", ""},
		{"hours that are not asked", answers("a.3", form.Int(0), "a.4", form.Number("1")), "c", "a.1", "a.4", ""},
		{"a date in the month", answers("a.3", form.Int(2), "a.4", form.Number("9"), "d", form.Day("2026-02")), "a.4 c d e", "a.1", "", ""},
		{"a day after the month", answers("a.3", form.Int(2), "a.4", form.Number("9"), "d", form.Day("2026-03-01")), "a.4 c d e", "a.1", "", ""},
		{"a year leaves it open", answers("a.3", form.Int(2), "a.4", form.Number("9"), "d", form.Day("2026")), "a.4 c d", "a.1", "", ""},
		{"none of it", answers("b", form.Code("none")), "", "a.1", "", ""},
		{"none and some", answers("b", form.Code("none"), "b", form.Code("some")), "", "a.1", "", ""},
		{"some", answers("b", form.Code("some")), "c", "a.1", "", ""},
		{"a moment later", answers("a.3", form.Int(2), "a.4", form.Number("1"), "e", form.Moment("2026-02-03T05:05:07+01:00")), "a.4 c d e f f.1", "a.1", "", ""},
		{"the same moment", answers("a.3", form.Int(2), "a.4", form.Number("1"), "e", form.Moment("2026-02-03T05:05:06+01:00")), "a.4 c d e", "a.1", "", ""},
		{"an option of another form", answers("b", form.Code("much")), "c", "a.1", "", "b"},
		{"own words in a closed choice", answers("b", form.Words("much")), "c", "a.1", "", "b"},
		{"own words in an open one", answers("c", form.Words("tent")), "c", "a.1", "", ""},
		{"one option twice", answers("b", form.Code("some"), "b", form.Code("some")), "c", "a.1", "", "b"},
		{"two numbers", answers("a.3", form.Int(2), "a.3", form.Int(3)), "a.4 c", "a.1", "", "a.3"},
		{"a word for yes", answers("a.1", form.Words("yes")), "c", "", "", "a.1"},
		{"no value", answers("a.1", &tandemv1.FormValue{}), "c", "", "", "a.1"},
		{"two values in one", answers("a.1", &tandemv1.FormValue{Boolean: new(true), Text: new("x")}), "c", "", "", "a.1"},
		{"blank words", answers("a.1", form.Bool(false), "a.2", form.Words(" ")), "a.2 c", "", "", "a.2"},
		{"too many words", answers("a.1", form.Bool(false), "a.2", form.Words(strings.Repeat("ñ", 201))), "a.2 c", "", "", "a.2"},
		{"just enough words", answers("a.1", form.Bool(false), "a.2", form.Words(strings.Repeat("ñ", 200))), "a.2 c", "", "", ""},
		{"no day of the calendar", answers("a.3", form.Int(2), "a.4", form.Number("9"), "d", form.Day("2026-02-30")), "a.4 c d", "a.1", "", "d"},
		{"a question of another version", answers("z", form.Bool(true)), "c", "a.1", "z", ""},
	} {
		r := form.Evaluate(def, tc.answers)
		var asked, faults []string
		for _, it := range r.Items {
			switch id := it.GetLinkId(); {
			case it.EN != "" && it.ES != "":
				faults = append(faults, id)
			case it.EN != "" || it.ES != "":
				t.Errorf("%s: %s speaks one language", tc.name, id)
			}
			if it.Enabled && !strings.Contains("a a.1 a.3 b", it.GetLinkId()) {
				asked = append(asked, it.GetLinkId())
			}
		}
		got := [4]string{strings.Join(asked, " "), strings.Join(r.Missing(), " "), strings.Join(r.Stray, " "), strings.Join(faults, " ")}
		if want := [4]string{tc.asked, tc.missing, tc.stray, tc.fault}; got != want {
			t.Errorf("%s: asked, missing, stray, at fault\ngot  %q\nwant %q", tc.name, got, want)
		}
		if r.Complete != (tc.missing == "" && tc.fault == "") {
			t.Errorf("%s: complete %t", tc.name, r.Complete)
		}
	}
}

// points is a form of two choices and a number.
func points() *tandemv1.FormDefinition {
	options := []*tandemv1.FormOption{
		{Code: new("0"), Ordinal: new(0.0)}, {Code: new("1"), Ordinal: new(1.0)}, {Code: new("3"), Ordinal: new(3.0)}, {Code: new("na")},
	}
	return &tandemv1.FormDefinition{
		Items: []*tandemv1.FormItem{
			{LinkId: new("g"), Type: new("group")},
			{LinkId: new("1"), Parent: new("g"), Type: new("choice"), Options: options},
			{LinkId: new("2"), Parent: new("g"), Type: new("choice"), Options: options, Repeats: new(true)},
			{LinkId: new("3"), Type: new("integer"), EnableWhen: []*tandemv1.FormCondition{{Question: new("1"), Operator: new("eq"), Answer: form.Code("3")}}},
		},
		Scores: []*tandemv1.FormScore{
			{
				Code: new("all"), Method: new("sum"), Items: []string{"g", "3"},
				Bands: []*tandemv1.FormBand{{Code: new("low")}, {Code: new("mid"), AtLeast: new(4.0)}, {Code: new("high"), AtLeast: new(6.0)}},
			},
			{Code: new("half"), Method: new("sum"), Items: []string{"g"}, MinAnswered: new(uint32(50))},
			{Code: new("share"), Method: new("percent"), Items: []string{"1"}},
			{Code: new("mean"), Method: new("mean"), Of: []string{"half", "share"}},
		},
	}
}

func TestScores(t *testing.T) {
	t.Parallel()
	def := points()
	if faults := form.Check(def); len(faults) > 0 {
		t.Fatal(faults)
	}
	for _, tc := range []struct {
		name                    string
		answers                 form.Answers
		all, half, share, means float64 // -1: none
		band                    string
	}{
		{"nothing", answers(), -1, -1, -1, -1, ""},
		{"one of two", answers("1", form.Code("1")), -1, 1, 33, 17, ""},
		{"both", answers("1", form.Code("1"), "2", form.Code("3")), 4, 4, 33, 19, "mid"},
		{"several add up", answers("1", form.Code("1"), "2", form.Code("1"), "2", form.Code("3")), 5, 5, 33, 19, "mid"},
		{"below the band", answers("1", form.Code("0"), "2", form.Code("3")), 3, 3, 0, 2, "low"},
		{"a number that is asked now", answers("1", form.Code("3"), "2", form.Code("0")), -1, 3, 100, 52, ""},
		{"a number", answers("1", form.Code("3"), "2", form.Code("0"), "3", form.Int(3)), 6, 3, 100, 52, "high"},
		{"a number that is not asked", answers("1", form.Code("1"), "2", form.Code("0"), "3", form.Int(9)), 1, 1, 33, 17, "low"},
		{"not applicable counts nothing", answers("1", form.Code("na"), "2", form.Code("1")), 1, 1, -1, 1, "low"},
		{"an answer at fault is none", answers("1", form.Code("9"), "2", form.Code("1")), -1, 1, -1, 1, ""},
	} {
		r := form.Evaluate(def, tc.answers)
		for code, want := range map[string]float64{"all": tc.all, "half": tc.half, "share": tc.share, "mean": tc.means} {
			got := -1.0
			if v := r.Score(code).Value; v != nil {
				got = *v
			}
			if got != want {
				t.Errorf("%s: %s: got %v, want %v", tc.name, code, got, want)
			}
		}
		if got := r.Score("all").Band.GetCode(); got != tc.band {
			t.Errorf("%s: band %q, want %q", tc.name, got, tc.band)
		}
	}
}

// A share is taken of what each question can give, and a mean of shares before they are
// rounded.
func TestSharesAndMeans(t *testing.T) {
	t.Parallel()
	wide := points().GetItems()[1].GetOptions()
	ask := func(id string, options []*tandemv1.FormOption) *tandemv1.FormItem {
		return &tandemv1.FormItem{LinkId: &id, Type: new("choice"), Options: options}
	}
	share := func(code string, items ...string) *tandemv1.FormScore {
		return &tandemv1.FormScore{Code: &code, Method: new("percent"), Items: items}
	}
	def := &tandemv1.FormDefinition{
		Items: []*tandemv1.FormItem{ask("1", wide), ask("2", wide), ask("3", wide), ask("4", wide), ask("5", []*tandemv1.FormOption{
			{Code: new("1"), Ordinal: new(1.0)}, {Code: new("2"), Ordinal: new(2.0)},
		})},
		Scores: []*tandemv1.FormScore{
			share("third", "1"), share("ninths", "2", "3", "4"), share("half", "5"), share("both", "1", "5"),
			{Code: new("mean"), Method: new("mean"), Of: []string{"third", "ninths"}},
		},
	}
	if faults := form.Check(def); len(faults) > 0 {
		t.Fatal(faults)
	}
	r := form.Evaluate(def, answers("1", form.Code("1"), "2", form.Code("3"), "3", form.Code("1"), "4", form.Code("1"), "5", form.Code("1")))
	for code, want := range map[string]float64{"third": 33, "ninths": 56, "half": 50, "both": 40, "mean": 44} {
		if v := r.Score(code).Value; v == nil || *v != want {
			t.Errorf("%s: got %v, want %v", code, v, want)
		}
	}
}

func TestCheckRefusesScores(t *testing.T) {
	t.Parallel()
	for want, spoil := range map[string]func(*tandemv1.FormDefinition){
		"it counts \"9\", which is no item":    func(d *tandemv1.FormDefinition) { d.Scores[0].Items = []string{"9"} },
		"it counts no question":                func(d *tandemv1.FormDefinition) { d.Scores[0].Items = nil },
		"it counts \"3\", which has no points": func(d *tandemv1.FormDefinition) { d.Scores[2].Items = []string{"3"} },
		"the code stands twice":                func(d *tandemv1.FormDefinition) { d.Scores[1].Code = new("all") },
		"\"median\" is no method":              func(d *tandemv1.FormDefinition) { d.Scores[0].Method = new("median") },
		"a mean is taken of scores before it":  func(d *tandemv1.FormDefinition) { d.Scores[3].Of = []string{"mean"} },
		"bands stand in order":                 func(d *tandemv1.FormDefinition) { d.Scores[0].Bands[2].AtLeast = new(4.0) },
		"every band but the first":             func(d *tandemv1.FormDefinition) { d.Scores[0].Bands[1].AtLeast = nil },
		"only the method rules has rules":      func(d *tandemv1.FormDefinition) { d.Scores[0].Rules = []*tandemv1.FormRule{{Band: new("low")}} },
		"a rule leads to \"x\"": func(d *tandemv1.FormDefinition) {
			d.Scores[3].Method, d.Scores[3].Rules = new("rules"), []*tandemv1.FormRule{{Band: new("x")}}
		},
		"which does not begin before it": func(d *tandemv1.FormDefinition) { d.Items[1].Parent = new("3") },
		"its text is longer than": func(d *tandemv1.FormDefinition) {
			d.Items[1].Text = &tandemv1.FormText{En: new(strings.Repeat("x", 4001))}
		},
		"a form has 1 to":                        func(d *tandemv1.FormDefinition) { d.Items = nil },
		"the points of the option \"0\" are out": func(d *tandemv1.FormDefinition) { d.Items[1].Options[0].Ordinal = new(2e6) },
	} {
		def := points()
		spoil(def)
		if faults := form.Check(def); !strings.Contains(faults.Error(), want) {
			t.Errorf("want %s, got %v", want, faults)
		}
		inSpanish(t, form.Check(def))
	}
}

func TestWording(t *testing.T) {
	t.Parallel()
	f := pack(t, "cssrs-screener")
	empty := string(form.Wording(f.GetDefinition()))
	lines := strings.Split(strings.TrimSpace(empty), "\n")
	if lines[0] != "link_id,option,en,es" || len(lines) != 8 || lines[7] != "6.recent,,," {
		t.Fatalf("the file to fill in:\n%s", empty)
	}
	if _, err := form.SetWording(f.GetDefinition(), []byte(empty)); err == nil || !strings.Contains(err.Error(), "item 6.recent: it has no words") {
		t.Errorf("an empty file: %v", err)
	}
	// The agency's own words stand here for those of its copy.
	var filled strings.Builder
	filled.WriteString("\xef\xbb\xbf" + lines[0] + "\n")
	for _, l := range lines[1:] {
		filled.WriteString(strings.TrimSuffix(l, ",") + "\"Words, of " + strings.TrimRight(l, ",") + "\",\n")
	}
	def, err := form.SetWording(f.GetDefinition(), []byte(filled.String()))
	if err != nil {
		t.Fatal(err)
	}
	if got := def.GetItems()[6].GetText().GetEn(); got != "Words, of 6.recent" || f.GetDefinition().GetItems()[6].GetText() != nil {
		t.Errorf("got %q; the form that was given is another", got)
	}
	f.Definition = def
	if faults := form.Publishable(f); len(faults) > 0 {
		t.Error(faults)
	}
	if len(form.Untranslated(f)) != 7 {
		t.Errorf("untranslated: %v", form.Untranslated(f))
	}
	again, err := form.SetWording(def, form.Wording(def))
	if err != nil || !proto.Equal(again, def) {
		t.Errorf("its own wording changes it: %v", err)
	}
	for spoiled, want := range map[string]string{
		"":                             "item 1: it has no words",
		"link,option,en,es\n":          "line 1: the first line is link_id,option,en,es",
		lines[0] + "\n9,,x,\n":         `line 2: the form has no item "9"`,
		lines[0] + "\n1,y,x,\n":        `line 2: item 1 has no option "y"`,
		lines[0] + "\n1,,x,\n1,,x,\n":  "line 3: item 1 stands twice",
		lines[0] + "\n1,,,hola\n":      "line 2: words that stand there would be taken away",
		lines[0] + "\n1,,\"a\x07\",\n": "line 2: the words hold control characters",
		lines[0] + "\n1,,x\n":          "this is no CSV of the columns",
		lines[0] + "\n1,,\"x\n":        "this is no CSV of the columns",
	} {
		of := def
		if spoiled == "" {
			of = pack(t, "cssrs-screener").GetDefinition()
		}
		if got, err := form.SetWording(of, []byte(spoiled)); err == nil || !strings.Contains(err.Error(), want) || got != nil {
			t.Errorf("%q: got %v, want %s", spoiled, err, want)
		}
	}
}

// Answers to one question share a path on every device.
func TestAnswers(t *testing.T) {
	t.Parallel()
	r := &tandemv1.FormResponse{Answers: []*tandemv1.FormAnswer{form.Answer("a.1", form.Bool(true)), form.Answer("a.2")}}
	if a := form.Of(r); len(a) != 1 || !a["a.1"][0].GetBoolean() {
		t.Errorf("got %v", a)
	}
	if string(form.Element("a.1")) != string(r.GetAnswers()[0].GetElement()) || len(form.Element("a.1")) != 8 || string(form.Element("a.1")) == string(form.Element("a.2")) {
		t.Error("the element of an answer is not that of its question")
	}
}

// FuzzImport: what is read can be checked, played with anything, and is written and read
// as the same form.
func FuzzImport(f *testing.F) {
	f.Add([]byte(whole))
	for _, name := range []string{"cssrs-screener"} {
		raw, err := form.Export(pack(f, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"resourceType":"Questionnaire","name":"X","title":"X","status":"draft","item":[{"linkId":"1","type":"choice","answerOption":[{"valueString":"a"}]}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer need.Brief(t)()
		one, _, err := form.Import(raw)
		if err != nil {
			if one != nil {
				t.Fatal("half of it was taken")
			}
			return
		}
		if again := roundTrip(t, one); !proto.Equal(one, again) {
			t.Fatalf("written and read it is another:\n%v\n%v", one, again)
		}
		def := one.GetDefinition()
		if faults := form.Check(def); len(faults) > 0 {
			t.Fatal(faults)
		}
		if faults := form.Publishable(one); len(faults) > 0 && faults.Error() == "" {
			t.Fatal("a fault says nothing")
		}
		a := form.Answers{}
		for _, it := range def.GetItems() {
			a[it.GetLinkId()] = []*tandemv1.FormValue{form.Bool(true), form.Words(it.GetLinkId())}
			if o := it.GetOptions(); len(o) > 0 {
				a[it.GetLinkId()] = []*tandemv1.FormValue{form.Code(o[0].GetCode())}
			}
		}
		form.Evaluate(def, a)
		form.Assess(def, a, form.Answers{}).Summary(one, "es")
		if def, err := form.SetWording(def, form.Wording(def)); err == nil && !proto.Equal(def, one.GetDefinition()) {
			t.Fatal("its own wording changes it")
		}
	})
}

// What is typed becomes the value of its question and is shown as it was typed; what is
// no answer is none.
func TestRead(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", -6*3600)
	options := []*tandemv1.FormOption{{Code: new("a"), Text: &tandemv1.FormText{En: new("An option"), Es: new("Una opción")}}}
	for _, tc := range []struct {
		typ, typed, shown, said string
		ok                      bool
	}{
		{form.Boolean, "true", "true", "Sí", true},
		{form.Boolean, "yes", "", "", false},
		{form.Integer, " 12 ", "12", "12", true},
		{form.Integer, "12.5", "", "", false},
		{form.Decimal, "3,25", "3.25", "3.25", true},
		{form.Decimal, "3e4", "", "", false},
		{form.Date, "2026-02", "2026-02", "2026-02", true},
		{form.Date, "2026-02-30", "", "", false},
		{form.DateTime, "2026-02-03T04:05", "2026-02-03T04:05", "2026-02-03 04:05", true},
		{form.DateTime, "noon", "", "", false},
		{form.String, " two words ", "two words", "two words", true},
		{form.Text, "a\nb", "a\nb", "a\nb", true},
		{form.Choice, "a", "a", "Una opción", true},
		{form.Choice, "b", "", "", false},
		{form.OpenChoice, "a", "a", "Una opción", true},
		{form.OpenChoice, "b", "b", "b", true},
		{form.Group, "a", "", "", false},
	} {
		it := &tandemv1.FormItem{LinkId: new("q"), Type: &tc.typ}
		if tc.typ == form.Choice || tc.typ == form.OpenChoice {
			it.Options = options
		}
		v, ok := form.Read(it, tc.typed, zone)
		if ok != tc.ok {
			t.Errorf("%s %q: taken %t, want %t", tc.typ, tc.typed, ok, tc.ok)
		}
		if !ok {
			continue
		}
		if got := form.Typed(v, zone); got != tc.shown {
			t.Errorf("%s %q is shown as %q, want %q", tc.typ, tc.typed, got, tc.shown)
		}
		if got := form.Said(it, v, "es", zone); got != tc.said {
			t.Errorf("%s %q is said as %q, want %q", tc.typ, tc.typed, got, tc.said)
		}
		if again, ok := form.Read(it, form.Typed(v, zone), zone); !ok || !proto.Equal(again, v) {
			t.Errorf("%s %q becomes %v, then %v", tc.typ, tc.typed, v, again)
		}
	}
}
