package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tandem-response/tandem/web"
)

// Assets are served under the name that pages give them, and nothing else is.
func TestStatic(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"tandem.css", "tandem.js", "icon.svg", "icon-192.png", "icon-512.png", "app.webmanifest"} {
		w := httptest.NewRecorder()
		web.Static().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/"+web.Asset(name), http.NoBody))
		if w.Code != http.StatusOK || w.Body.Len() == 0 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d, %d bytes, %v", name, w.Code, w.Body.Len(), w.Header())
		}
	}
	for _, name := range []string{"", "web.go", "../layout.html"} {
		w := httptest.NewRecorder()
		web.Static().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/static/"+name, http.NoBody))
		if w.Code != http.StatusNotFound {
			t.Errorf("%q: %d", name, w.Code)
		}
	}
}

// Two words of one name would be said in place of each other.
func TestWordsTwice(t *testing.T) {
	t.Parallel()
	if all := (web.Words{"a": {"A", "A"}}).Join(web.Words{"b": {"B", "B"}}); len(all) != 2 {
		t.Errorf("%v", all)
	}
	defer func() {
		if recover() == nil {
			t.Error("words of one name are joined")
		}
	}()
	web.Words{"a": {"A", "A"}}.Join(web.Words{"a": {"B", "B"}})
}

// What a person has typed is text in a page and never markup.
func TestEscaping(t *testing.T) {
	t.Parallel()
	pages := fstest.MapFS{"p.html": {Data: []byte(`{{define "p"}}{{template "head" .}}{{template "field" .F}}{{template "foot" .}}{{end}}`)}}
	for _, lang := range web.Langs {
		tpl, err := web.Templates(lang, web.Words{"lockNow": {}, "unsaved": {}, "changedElsewhere": {}, "showIt": {}}, pages, "p.html")
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		evil := `"><script>alert(1)</script>`
		if err := tpl.ExecuteTemplate(&b, "p", map[string]any{
			"Page": &web.Page{Title: evil, Base: "/x/", Theme: "dark", Error: evil}, "F": web.Field{Name: "n", Kind: "area", Label: evil, Value: evil, Others: []string{evil}},
		}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "<script>") || strings.Contains(b.String(), " style=") {
			t.Errorf("%s: markup of a person's in the page", lang)
		}
	}
}
