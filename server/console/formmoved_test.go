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
			b.Says("How did it go for everybody?")
			b.Look("form-moved")
			b.Goes(save)
			b.Says("1a")
		})
	}
}
