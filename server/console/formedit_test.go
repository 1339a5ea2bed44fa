package console_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
)

// editor is a browser at one draft of a form.
type editor struct {
	*browser
	at string
}

func (e editor) post(path string, pairs ...string) answer {
	e.o.tb.Helper()
	return e.browser.post(e.at+path, append([]string{"hash", e.get(e.at).value(e.o.tb, "hash")}, pairs...)...)
}

// saves is post of what must be taken.
func (e editor) saves(path string, pairs ...string) answer {
	e.o.tb.Helper()
	return e.post(path, pairs...).want(e.o.tb, http.StatusOK)
}

// order is how the items stand on the page.
func (e editor) order() string {
	var ids []string
	for _, m := range regexp.MustCompile(`id="item-([^"]*)"`).FindAllStringSubmatch(e.get(e.at).body, -1) {
		ids = append(ids, m[1])
	}
	return strings.Join(ids, " ")
}

func (e editor) stands(want string) {
	e.o.tb.Helper()
	if got := e.order(); got != want {
		e.o.tb.Errorf("the items stand as %q, want %q", got, want)
	}
}

func (e editor) lacks(page answer, parts ...string) {
	e.o.tb.Helper()
	for _, p := range parts {
		if strings.Contains(page.body, p) {
			e.o.tb.Errorf("%s has %s", page.path, p)
		}
	}
}

func (o *office) edits(code string) editor {
	o.tb.Helper()
	b := o.signIn(o.ada, code+".admin")
	return editor{b, b.post("/console/forms", "code", code, "en", "Debrief", "es", "Repaso", "subject", "encounter", "category", "custom").want(o.tb, http.StatusOK).path}
}

// An item stands behind what stands in its group already, and moves and goes with what stands
// in it.
func TestFormOrder(t *testing.T) {
	t.Parallel()
	e := newOffice(t, storetest.SQLite).edits("order")
	for _, link := range []string{"g", "h"} {
		e.saves("/item", "link", link, "type", "group", "en", link)
	}
	e.stands("1 g g.1 h h.1")
	e.saves("/item", "link", "g.2", "type", "group", "en", "Inner", "parent", "g")
	e.saves("/item", "link", "g.3", "type", "text", "en", "Third", "parent", "g")
	e.stands("1 g g.1 g.2 g.2.1 g.3 h h.1")
	// Behind everything that stands in the inner group, and back to the top with all of it.
	e.saves("/item", "link", "deep", "type", "text", "en", "Deep", "parent", "g.2")
	e.stands("1 g g.1 g.2 g.2.1 deep g.3 h h.1")
	e.saves("/item", "was", "1", "type", "text", "en", "First", "parent", "g")
	e.stands("g g.1 g.2 g.2.1 deep g.3 1 h h.1")
	e.saves("/item", "was", "g.2", "type", "group", "en", "Inner")
	e.stands("g g.1 g.3 1 h h.1 g.2 g.2.1 deep")
	// Saved where it is, an item stays where it stands.
	e.saves("/item", "was", "g.1", "type", "text", "en", "Other words", "parent", "g")
	e.stands("g g.1 g.3 1 h h.1 g.2 g.2.1 deep")
	// A group moves over a group; nothing leaves its group by moving, or the form.
	e.saves("/item/move", "was", "h", "to", "up")
	e.stands("h h.1 g g.1 g.3 1 g.2 g.2.1 deep")
	e.saves("/item/move", "was", "h", "to", "down")
	e.stands("g g.1 g.3 1 h h.1 g.2 g.2.1 deep")
	for _, m := range [][2]string{{"g", "up"}, {"g.1", "up"}, {"1", "down"}, {"g.2", "down"}, {"deep", "down"}} {
		e.saves("/item/move", "was", m[0], "to", m[1])
		e.stands("g g.1 g.3 1 h h.1 g.2 g.2.1 deep")
	}
	e.saves("/item/move", "was", "g.2", "to", "up")
	e.stands("g g.1 g.3 1 g.2 g.2.1 deep h h.1")
	e.saves("/item/drop", "was", "g")
	e.stands("g.2 g.2.1 deep h h.1")
	// What is not there is neither moved nor saved.
	e.post("/item/move", "was", "g", "to", "up").want(t, http.StatusConflict)
	e.post("/item", "was", "g", "type", "text", "en", "Mine").want(t, http.StatusConflict, "taken out of the form")
	e.post("/score", "was", "nonesuch", "code", "nonesuch", "en", "Mine", "method", "sum", "items", "deep").want(t, http.StatusConflict, "taken out of the form")
	e.stands("g.2 g.2.1 deep h h.1")
	for _, path := range []string{"/item?link=g", "/score?code=nonesuch"} {
		e.get(e.at+path).want(t, http.StatusNotFound)
	}
	// Nothing is offered to stand in itself, or to be asked by what is no question.
	page := e.get(e.at + "/item?link=g.2")
	if parents := regexp.MustCompile(`(?s)name="parent".*?</select>`).FindString(page.body); !strings.Contains(parents, `value="h"`) || strings.Contains(parents, `value="g.2"`) || strings.Contains(parents, `value="deep"`) {
		t.Errorf("it may stand in %s", parents)
	}
	e.saves("/item", "link", "read", "type", "display", "en", "Read this")
	if asked := regexp.MustCompile(`(?s)name="when".*?</select>`).FindString(e.get(e.at + "/item?link=deep").body); !strings.Contains(asked, `value="h.1"`) || strings.Contains(asked, `value="h"`) || strings.Contains(asked, `value="deep"`) || strings.Contains(asked, `value="read"`) {
		t.Errorf("it may be asked after %s", asked)
	}
}

// Options, conditions and scores are kept as they are typed, with what the editor does not show;
// what is no number is refused, and not left out.
func TestFormDetails(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	b := o.signIn(o.ada, "ada.admin")
	raw := `{"resourceType":"Questionnaire","status":"draft","name":"Details","title":"Details","item":[
		{"linkId":"1","type":"choice","text":"How?","answerOption":[{"valueCoding":{"system":"http://example.org/how","code":"good","display":"Good"}},{"valueCoding":{"system":"http://example.org/how","code":"bad","display":"Bad"}}]},
		{"linkId":"2","type":"text","text":"Why?"}]}`
	e := editor{b, b.upload("/console/forms/import", "details.json", []byte(raw)).want(t, http.StatusOK).path}
	file := func() string {
		t.Helper()
		var whole any
		if err := json.Unmarshal([]byte(e.get(e.at+"/file").body), &whole); err != nil {
			t.Fatal(err)
		}
		return string(must[[]byte](t)(json.Marshal(whole)))
	}
	options := func(first, second string) []string {
		return []string{"was", "1", "type", "choice", "en", "How?", "option", " good ", "option.en", "Good", "option.es", "", "option.points", first, "option", "bad", "option.en", "Bad", "option.es", "", "option.points", second}
	}
	e.saves("/item", options("1,5", "-2")...)
	if got := file(); strings.Count(got, `"system":"http://example.org/how"`) != 2 || !strings.Contains(got, `"code":"good"`) {
		t.Errorf("the options have lost what they had: %s", got)
	}
	page := e.get(e.at + "/item?link=1")
	page.field(t, "1.5")
	page.field(t, "-2")
	for _, bad := range []string{"two", "1,500", "NaN", "Inf", "1e3", "0x1p-2", "--1"} {
		e.post("/item", options(bad, "0")...).want(t, http.StatusUnprocessableEntity, "item 1", bad, "is no number").field(t, bad)
	}
	e.post("/item", append(options("1", "0"), "max", "12x")...).want(t, http.StatusUnprocessableEntity, "item 1", "12x", "is no whole number").field(t, "12x")
	e.get(e.at+"/item?link=1").field(t, "1.5")

	// With one condition nothing is said of several; with two there is.
	when := []string{"was", "2", "type", "text", "en", "Why?", "max", "200", "when", "1", "when.is", "exists", "when.answer", "true", "behavior", "any"}
	e.saves("/item", when...)
	if got := file(); !strings.Contains(got, `"operator":"exists"`) || strings.Contains(got, "enableBehavior") || !strings.Contains(got, `"maxLength":200`) {
		t.Errorf("one condition: %s", got)
	}
	e.saves("/item", append(when, "when", "1", "when.is", "eq", "when.answer", "bad")...)
	if got := file(); !strings.Contains(got, `"enableBehavior":"any"`) {
		t.Errorf("two conditions: %s", got)
	}

	// A score.
	score := func(code, least, band string) []string {
		return []string{"was", code, "code", "points", "en", "Points", "method", "sum", "items", "1", "least", least, "band", " low ", "band.least", "", "band.en", "Low", "band.es", "", "band", "high", "band.least", band, "band.en", "High", "band.es", ""}
	}
	e.saves("/score", score("", "50", "0,5")...)
	page = e.get(e.at + "/score?code=points")
	for _, v := range []string{"50", "low", "0.5"} {
		page.field(t, v)
	}
	e.post("/score", score("points", "half", "1")...).want(t, http.StatusUnprocessableEntity, "score points", "half").field(t, "half")
	e.post("/score", score("points", "50", "1,500")...).want(t, http.StatusUnprocessableEntity, "score points", "1,500").field(t, "1,500")
	e.saves("/score", "code", "other", "en", "Other", "method", "sum", "items", "1")
	page = e.get(e.at + "/score?code=points")
	if of := regexp.MustCompile(`name="of" value="([^"]*)"`).FindAllStringSubmatch(page.body, -1); len(of) != 1 || of[0][1] != "other" {
		t.Errorf("it may be a mean of %q", of)
	}
	e.lacks(e.saves("/score", "was", "other", "drop", "1"), `id="score-other"`)
	b.lang = "es"
	e.post("/item", options("dos", "0")...).want(t, http.StatusUnprocessableEntity, `elemento 1: "dos" no es un número`)
	e.post("/score", score("points", "half", "1")...).want(t, http.StatusUnprocessableEntity, `puntuación points: "half" no es un número entero`)
}

// Rules of a score, which the editor does not show, stay as the file had them.
func TestFormRulesStay(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	b := o.signIn(o.ada, "ada.admin")
	e := editor{b, b.upload("/console/forms/import", "screener.json", must[[]byte](t)(os.ReadFile(filepath.Join("..", "..", "docs", "packs", "cssrs-screener", "questionnaire.json")))).want(t, http.StatusOK).path}
	code := regexp.MustCompile(`id="score-([^"]*)"`).FindStringSubmatch(e.get(e.at).body)[1]
	page := e.get(e.at + "/score?code=" + code)
	says := regexp.MustCompile(`[0-9]+ rules[^<]*`).FindString(page.body)
	if says == "" {
		t.Fatalf("the score has no rules: %s", page.text())
	}
	pairs := []string{"was", code, "en", "Renamed", "method", "rules"}
	for _, m := range regexp.MustCompile(`name="items" value="([^"]*)" checked`).FindAllStringSubmatch(page.body, -1) {
		pairs = append(pairs, "items", m[1])
	}
	bands := regexp.MustCompile(`name="band" type="text" maxlength="64" value="([^"]+)"`).FindAllStringSubmatch(page.body, -1)
	for _, m := range bands {
		pairs = append(pairs, "band", m[1], "band.least", "", "band.en", "A band", "band.es", "Un rango")
	}
	e.saves("/score", pairs...)
	if after := e.get(e.at + "/score?code=" + code); !strings.Contains(after.body, says) || len(bands) == 0 {
		t.Errorf("the score says %s, and did %s", after.text(), says)
	}
}

// The editor is of the agency's own drafts: what is published, and what is another agency's, has
// no editor and takes nothing.
func TestFormEditorIsOfDrafts(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	e := o.edits("drafts")
	e.saves("/item", "link", "2", "type", "text", "en", "Second question")
	olga := o.signIn(must[syncengine.ID](t)(o.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Olga Other", Discipline: "other", Roles: []string{"admin"}, Agency: agencyOf(o, o.fred), Teams: []syncengine.ID{o.day}})), "olga.other")
	page := olga.get(e.at).want(t, http.StatusOK)
	e.lacks(page, "/item?link=", `/head"`, `/publish"`, `/void"`, `/score"`)
	for _, path := range []string{"/item?link=1", "/item", "/score"} {
		olga.get(e.at+path).want(t, http.StatusNotFound)
	}
	hash := e.get(e.at).value(t, "hash")
	for path, pairs := range map[string][]string{"/item": {"was", "1", "type", "text", "en", "Olga's"}, "/item/drop": {"was", "1"}, "/item/move": {"was", "1", "to", "down"}, "/score": {"code", "s", "en", "Olga's", "method", "sum", "items", "1"}, "/head": {"en", "Olga's", "licence", ""}} {
		if a := olga.post(e.at+path, append([]string{"hash", hash}, pairs...)...); a.status != http.StatusForbidden && a.status != http.StatusUnprocessableEntity {
			t.Errorf("another agency's %s: %d", path, a.status)
		}
	}
	e.get(e.at).want(t, http.StatusOK, "First question").never(t, "Olga")
	// A voided form is copied without why it was voided; a published one has no editor.
	e.saves("/void", "reason", "begun by mistake")
	next := e.browser.post(e.at+"/copy").want(t, http.StatusOK, "Draft")
	e.at = next.path
	e.publish(e.at).want(t, http.StatusOK)
	for _, path := range []string{"/item?link=1", "/item", "/score"} {
		e.get(e.at+path).want(t, http.StatusNotFound)
	}
	e.lacks(e.get(e.at), "/item?link=", `/head"`)
}
