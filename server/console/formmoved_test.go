package console_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/internal/browsertest"
	"github.com/tandem-response/tandem/internal/storetest"
)

// What was typed over a form that another admin has changed meanwhile stands there again,
// with what the form says now beside it, and is saved over that knowingly.
func TestTypingOutlivesAnotherAdmin(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		o := newOffice(t, on)
		b, second := o.signIn(o.ada, "ada.admin"), o.signIn(o.secondAdmin(), "bea.second")
		at := b.post("/console/forms", "code", "debrief", "en", "Debrief", "es", "Repaso", "subject", "encounter", "category", "custom").want(t, http.StatusOK).path
		other := func(path string, pairs ...string) {
			t.Helper()
			second.post(at+path, append([]string{"hash", second.get(at).value(t, "hash")}, pairs...)...).want(t, http.StatusOK)
		}
		stands := func(a answer, values ...string) {
			t.Helper()
			for _, v := range values {
				a.field(t, v)
			}
		}
		item := []string{"was", "1", "type", "choice", "en", "Ada's words", "es", "De Ada", "required", "true", "option", "a", "option.en", "Ada's option", "option.es", "De Ada", "option.points", "7"}
		shown := b.get(at+"/item?link=1").value(t, "hash")
		other("/item", "was", "1", "type", "text", "en", "Bea's words", "es", "De Bea", "max", "77")
		a := b.post(at+"/item", append(item, "hash", shown)...).want(t, http.StatusConflict, "nothing was saved", "Text in English It says now Bea's words You typed Ada's words", "De Bea", "It says now 77 You typed –", "It says now No You typed Yes")
		stands(a, "Ada's words", "De Ada", "Ada's option", "7")
		b.get(at).want(t, http.StatusOK, "Bea's words").never(t, "Ada&#39;s words")
		// What does not differ is not told apart.
		if strings.Contains(a.text(), "Number before it") && strings.Contains(a.text(), "Number before it It says now") {
			t.Error("a field that both left alone is said to differ")
		}
		b.post(at+"/item", append(item, "hash", a.value(t, "hash"))...).want(t, http.StatusOK, "Ada's words", "Ada's option").never(t, "Bea&#39;s words")

		// What was taken out is added again.
		shown = b.get(at+"/item?link=1").value(t, "hash")
		other("/item", "link", "2", "type", "text", "en", "Another", "es", "Otra")
		other("/item/drop", "was", "1")
		a = b.post(at+"/item", append(item, "hash", shown)...).want(t, http.StatusConflict, "taken out of the form")
		stands(a, "1", "Ada's words", "Ada's option")
		if a.value(t, "was") != "" {
			t.Error("it would be saved over an item that is gone")
		}
		b.post(at+"/item", append(item[2:], "hash", a.value(t, "hash"), "link", "1")...).want(t, http.StatusOK, "Ada's words", "Another")

		// A new item whose place and condition are gone keeps both, and is refused for them.
		other("/item", "link", "3", "type", "text", "en", "Third", "es", "Tercera")
		shown = b.get(at+"/item").value(t, "hash")
		other("/item/drop", "was", "3")
		late := []string{"link", "late", "type", "text", "en", "Late", "es", "Tarde", "when", "3", "when.is", "eq", "when.answer", "why"}
		a = b.post(at+"/item", append(late, "hash", shown)...).want(t, http.StatusConflict)
		stands(a, "late", "Late", "why")
		if !strings.Contains(a.body, `<option value="3" selected>`) {
			t.Error("the question of a condition is lost")
		}
		b.post(at+"/item", append(late, "hash", a.value(t, "hash"))...).want(t, http.StatusUnprocessableEntity, `no question "3"`)

		// A score, and the head of the form; a reason.
		score := []string{"code", "all", "was", "", "en", "Ada's score", "es", "De Ada", "method", "sum", "items", "1", "least", "50", "band", "low", "band.least", "", "band.en", "Ada's band", "band.es", "Baja"}
		shown = b.get(at+"/score").value(t, "hash")
		other("/head", "en", "Bea's title", "es", "De Bea", "licence", "")
		a = b.post(at+"/score", append(score, "hash", shown)...).want(t, http.StatusConflict, "nothing was saved")
		stands(a, "all", "Ada's score", "50", "Ada's band")
		b.post(at+"/score", append(score, "hash", a.value(t, "hash"))...).want(t, http.StatusOK, "Ada's score")
		a = b.post(at+"/head", "hash", shown, "en", "Ada's title", "es", "De Ada", "licence", "Ada's licence").want(t, http.StatusConflict, "It says now Bea's title You typed Ada's title")
		stands(a, "Ada's title", "Ada's licence")
		a = b.post(at+"/head", "hash", a.value(t, "hash"), "en", strings.Repeat("x", 201), "es", "De Ada", "licence", "Ada's licence").want(t, http.StatusUnprocessableEntity)
		stands(a, strings.Repeat("x", 201), "Ada's licence")
		stands(b.post(at+"/void", "hash", shown, "reason", "Ada's reason").want(t, http.StatusConflict), "Ada's reason")
		stands(b.post("/console/forms", "code", "debrief", "en", "Ada's new form", "es", "De Ada", "subject", "program", "category", "custom").want(t, http.StatusUnprocessableEntity, "has a draft"), "debrief", "Ada's new form")

		// A draft that was published meanwhile takes nothing more; what was typed is still to be read.
		shown = b.get(at+"/item?link=1").value(t, "hash")
		second.publish(at).want(t, http.StatusOK)
		stands(b.post(at+"/item", append(item, "hash", shown)...).want(t, http.StatusUnprocessableEntity, "only a draft"), "Ada's words", "Ada's option")
		b.post(at+"/head", "hash", shown, "en", "Ada's title", "es", "De Ada", "licence", "Ada's licence").want(t, http.StatusUnprocessableEntity, "You typed Ada's licence")
	})
}

// A field that nobody touched on a page is not something that was typed: it is taken as the
// form says it by now, and what another admin wrote there stays.
func TestUntouchedFields(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	b, second := o.signIn(o.ada, "ada.admin"), o.signIn(o.secondAdmin(), "bea.second")
	at := b.post("/console/forms", "code", "debrief", "en", "Debrief", "es", "Repaso", "subject", "encounter", "category", "custom").want(t, http.StatusOK).path
	post := func(of *browser, page answer, path string, pairs ...string) answer {
		return of.post(at+path, append([]string{"hash", page.value(t, "hash"), "shown", page.value(t, "shown")}, pairs...)...)
	}
	add := func(pairs ...string) { post(b, b.get(at), "/item", pairs...).want(t, http.StatusOK) }
	add("link", "g", "type", "group", "en", "A group", "es", "Un grupo")
	add("link", "q", "type", "choice", "en", "How was it?", "es", "¿Cómo fue?", "option", "good", "option.en", "Good", "option.es", "Bien", "option.points", "2")
	whole := func(page, en, prefix string, pairs ...string) []string {
		return append([]string{"was", page, "type", "choice", "en", en, "es", "¿Cómo fue?", "prefix", prefix, "behavior", "all", "option", "good", "option.en", "Good", "option.es", "Bien", "option.points", "2"}, pairs...)
	}
	shown := b.get(at + "/item?link=q")
	// Bea changes every field but the number before the question, and Ada that alone.
	post(second, second.get(at+"/item?link=q"), "/item", "was", "q", "type", "open_choice", "en", "How did it go?", "es", "¿Qué tal?", "parent", "g", "required", "true", "repeats", "true", "max", "40",
		"option", "bad", "option.en", "Bad", "option.es", "Mal", "option.points", "0", "when", "1", "when.is", "eq", "when.answer", "x", "when", "g.1", "when.is", "eq", "when.answer", "y", "behavior", "any").want(t, http.StatusOK)
	a := post(b, shown, "/item", whole("q", "How was it?", "7b")...).want(t, http.StatusConflict, "Number before it It says now – You typed 7b")
	a.never(t, "Text in English It says now", "Options It says now", "Type It says now", "With several conditions It says now", "Must be answered It says now", "Asked when It says now", "Good")
	for _, v := range []string{"7b", "How did it go?", "¿Qué tal?", "40", "bad", "Mal", "x", "y"} {
		a.field(t, v)
	}
	for _, want := range []string{`<option value="open_choice" selected>`, `<option value="g" selected>`, `name="required" value="true" checked`, `name="repeats" value="true" checked`, `<option value="1" selected>`, `<option value="any" selected>`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	// Both have written one field: both versions are shown, twice in a row.
	shown = b.get(at + "/item?link=q")
	bea := []string{"was", "q", "type", "choice", "en", "Bea's words", "es", "¿Qué tal?", "option", "good", "option.en", "Good", "option.es", "Bien", "option.points", "2"}
	post(second, shown, "/item", bea...).want(t, http.StatusOK)
	a = post(b, shown, "/item", whole("q", "Ada's words", "")...).want(t, http.StatusConflict, "Text in English It says now Bea's words You typed Ada's words")
	bea[5] = "Bea's other words"
	post(second, second.get(at+"/item?link=q"), "/item", bea...).want(t, http.StatusOK)
	post(b, a, "/item", whole("q", "Ada's words", "")...).want(t, http.StatusConflict, "It says now Bea's other words You typed Ada's words")
	// Refused for a fault, then beaten: what was shown at first is what counts.
	shown = b.get(at + "/item?link=q")
	a = post(b, shown, "/item", append(whole("q", "Bea's other words", "9"), "when", "1", "when.is", "gt", "when.answer", "x")...).want(t, http.StatusUnprocessableEntity)
	bea[5] = "Bea's last words"
	post(second, second.get(at+"/item?link=q"), "/item", bea...).want(t, http.StatusOK)
	a = post(b, a, "/item", whole("q", "Bea's other words", "9")...).want(t, http.StatusConflict, "You typed 9").never(t, "Text in English It says now")
	a.field(t, "Bea's last words")

	// A score, and the head of the form.
	score := func(page answer, of *browser, en, es, least, band string) answer {
		return post(of, page, "/score", "code", "all", "was", map[bool]string{true: "", false: "all"}[strings.Contains(page.body, `id="code"`)], "en", en, "es", es, "method", "sum", "items", "q", "least", least, "band", "low", "band.least", "", "band.en", band, "band.es", "")
	}
	score(b.get(at+"/score"), b, "All", "Todo", "", "Low").want(t, http.StatusOK)
	shown = b.get(at + "/score?code=all")
	score(shown, second, "All of it", "Todo", "50", "Lowest").want(t, http.StatusOK)
	a = score(shown, b, "All", "Todo ello", "", "Low").want(t, http.StatusConflict, "Text in Spanish It says now Todo You typed Todo ello").never(t, "Text in English It says now", "Bands It says now", "percent It says now")
	for _, v := range []string{"All of it", "Todo ello", "50", "Lowest"} {
		a.field(t, v)
	}
	shown = b.get(at)
	post(second, shown, "/head", "en", "Debriefing", "es", "Repaso", "licence", "Bea's terms").want(t, http.StatusOK)
	a = post(b, shown, "/head", "en", "Debrief", "es", "Revisión", "licence", "").want(t, http.StatusConflict, "Name in Spanish It says now Repaso You typed Revisión").never(t, "Name in English It says now", "Terms of use It says now")
	for _, v := range []string{"Debriefing", "Revisión", "Bea's terms"} {
		a.field(t, v)
	}
}

// A group holds a question from the beginning, whatever its name is taken by.
func TestGroupBegins(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	b := o.signIn(o.ada, "ada.admin")
	at := b.post("/console/forms", "code", "debrief", "en", "Debrief", "es", "Repaso", "subject", "encounter", "category", "custom").want(t, http.StatusOK).path
	post := func(path string, pairs ...string) answer {
		return b.post(at+path, append([]string{"hash", b.get(at).value(t, "hash")}, pairs...)...)
	}
	post("/item", "link", "g.1", "type", "text", "en", "Taken", "es", "Ocupado").want(t, http.StatusOK)
	post("/item", "link", "g", "type", "group", "en", "A group", "es", "Un grupo").want(t, http.StatusOK, "A group", "g.2 Short text")
	if !strings.Contains(b.get(at+"/item?link=g.2").body, `<option value="g" selected>`) {
		t.Error("the question is not in its group")
	}
	// Saved again, it is left as it is; a question that becomes a group begins so too.
	post("/item", "was", "g", "type", "group", "en", "The group", "es", "El grupo").want(t, http.StatusOK, "The group").never(t, "g.3")
	post("/item", "was", "1", "type", "group", "en", "Another", "es", "Otro").want(t, http.StatusOK, "1.1 Short text")
}

// What is wrong with a form is said in Spanish on a Spanish page, wherever it is said. That
// each fault has its Spanish is shown beside the checker.
func TestFaultsOnSpanishPages(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	b := o.signIn(o.ada, "ada.admin")
	b.lang = "es"
	english := regexp.MustCompile(`(?i)\b(the|it|is|has|want|nothing|(item|score|line) \w+)\b`)
	says := func(a answer, status int, want ...string) {
		t.Helper()
		a.want(t, status, want...)
		for _, li := range regexp.MustCompile(`(?s)<(?:div class="error"|section class="card"><h2>Antes|details).*?</ul>`).FindAllString(a.body, -1) {
			if words := (answer{body: li}).text(); english.MatchString(words) || strings.Contains(li, `lang="en"`) {
				t.Errorf("%s says %s", a.path, words)
			}
		}
	}
	file := func(raw string) answer { return b.upload("/console/forms/import", "x.json", []byte(raw)) }
	says(file("{\nnope}"), http.StatusUnprocessableEntity, "No se ha guardado nada", "línea 2: esto no es JSON")
	says(file(`{"resourceType":"Questionnaire","status":"draft","name":"X","title":"X","item":[{"linkId":"1","type":"reference","text":"?"}]}`), http.StatusUnprocessableEntity, `Questionnaire.item[0].type: los elementos del tipo "reference" no se pueden mostrar`)
	says(file(`{"resourceType":"Questionnaire","status":"draft","name":"X","title":"X","item":[{"linkId":"1","type":"choice","text":"?"}]}`), http.StatusUnprocessableEntity, "una elección tiene opciones (link id 1)")
	head := []string{"code", "debrief", "en", "Debrief", "es", "", "subject", "encounter", "category", "custom"}
	at := b.post("/console/forms", head...).want(t, http.StatusOK).path
	says(b.post("/console/forms", head...), http.StatusUnprocessableEntity, "la agencia ya tiene un borrador")
	post := func(path string, pairs ...string) answer {
		return b.post(at+path, append([]string{"hash", b.get(at).value(t, "hash")}, pairs...)...)
	}
	says(post("/item", "link", "q", "type", "choice", "en", "?"), http.StatusUnprocessableEntity, "elemento q: una elección tiene opciones")
	says(post("/item", "link", "q", "type", "text", "en", "?", "when", "1", "when.is", "gt", "when.answer", "x"), http.StatusUnprocessableEntity, `las respuestas a "1" no tienen un orden`)
	says(post("/item", "link", "q", "type", "text", "en", "?", "when", "9", "when.is", "eq", "when.answer", "x"), http.StatusUnprocessableEntity, `no tiene la pregunta "9"`)
	says(post("/item", "link", "q", "type", "text", "en", "?", "when", "1", "when.is", "exists", "when.answer", "x"), http.StatusUnprocessableEntity, `la respuesta "x" no es una`)
	says(post("/score", "code", "s", "en", "S", "method", "mean"), http.StatusUnprocessableEntity, "puntuación s: una media se toma de otras puntuaciones")
	says(post("/head", "en", strings.Repeat("x", 201), "licence", ""), http.StatusUnprocessableEntity)
	says(post("/void", "reason", ""), http.StatusUnprocessableEntity, "diga por qué")
	says(post("/item", "was", "1", "type", "choice", "option", "a", "option.en", "", "option.es", "", "option.points", ""), http.StatusOK,
		"elemento 1: su texto: no está en ningún idioma", `elemento 1: la opción "a" no está en ningún idioma`, "el título falta en español", "su texto: falta en español")
	says(post("/publish"), http.StatusUnprocessableEntity, "no está en ningún idioma")
	post("/item", "was", "1", "type", "text", "en", "?").want(t, http.StatusOK)
	post("/publish").want(t, http.StatusOK)
	says(b.post(at+"/head", "en", "X"), http.StatusUnprocessableEntity, "solo un borrador se edita")
}

// The page of both versions, looked at.
func TestFormMovedLook(t *testing.T) {
	t.Parallel()
	for _, l := range []struct {
		name string
		dark bool
		size [2]int64
	}{{"console-phone-dark-es-", true, browsertest.Phone}, {"console-laptop-light-en-", false, browsertest.Laptop}} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			w := newWhole(t, storetest.SQLite)
			bea := w.signIn(w.secondAdmin(), "bea.second")
			at := bea.post("/console/forms", "code", "debrief", "en", "Debrief", "es", "Repaso", "subject", "encounter", "category", "custom").want(t, http.StatusOK).path
			b := browsertest.New(t, l.size)
			b.Prefix = l.name
			w.adminSits(b)
			save := "Save"
			if l.dark {
				b.Goes("Español")
				b.Goes("Oscuro o claro")
				save = "Guardar"
			}
			b.Page(strings.TrimPrefix(at, "/console/") + "/item?link=1")
			b.Types("prefix", "1a")
			bea.post(at+"/item", "hash", bea.get(at).value(t, "hash"), "was", "1", "type", "text", "en", "How did it go for everybody?", "es", "¿Cómo les fue a todos?").want(t, http.StatusOK)
			b.Goes(save)
			if now := browsertest.Eval[string](b, `document.querySelector("#en").value`); now != "How did it go for everybody?" {
				t.Errorf("what was not touched says %q", now)
			}
			b.Says("1a")
			b.Look("form-moved")
			b.Goes(save)
			b.Says("1a", "How did it go for everybody?")
		})
	}
}
