package people

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"time"

	"golang.org/x/text/language"
)

//go:embed pages.html style.css passkey.js
var files embed.FS

// pages are the templates, by language. A page is a template of that name in pages.html.
var pages = func() map[string]*template.Template {
	all := map[string]*template.Template{}
	for i, lang := range langs {
		all[lang] = template.Must(template.New("").Funcs(template.FuncMap{
			"t":    func(word string) string { return words[word][i] },
			"lang": func() string { return lang },
			"time": func(at time.Time) string { return at.Format("2006-01-02 15:04 UTC") },
		}).ParseFS(files, "pages.html"))
	}
	return all
}()

// languageOf finds the language for what a browser asks for.
var languageOf = language.NewMatcher([]language.Tag{language.English, language.Spanish})

// langs are the languages of the pages.
var langs = []string{"en", "es"}

func languageName(accept string) string {
	// What cannot be read asks for nothing.
	tags, _, _ := language.ParseAcceptLanguage(accept)
	_, i, _ := languageOf.Match(tags...)
	return langs[i]
}

// show answers with a page.
func (v *visit) show(status int, page string, data map[string]any) {
	if data == nil {
		data = map[string]any{}
	}
	data["Page"] = page
	var b bytes.Buffer
	t := pages[languageName(v.r.Header.Get("Accept-Language"))]
	err := t.ExecuteTemplate(&b, "head", data)
	if err == nil {
		err = t.ExecuteTemplate(&b, page, data)
	}
	if err == nil {
		err = t.ExecuteTemplate(&b, "foot", data)
	}
	if err != nil {
		v.o.Log.Error().Err(err).Str("page", page).Msg("a page of the sign-in failed")
		http.Error(v.w, "the server has failed; its operator finds the reason in its log", http.StatusInternalServerError)
		return
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.Header().Set("Vary", "Accept-Language")
	v.w.WriteHeader(status)
	// The error of writing is that of the connection.
	_, _ = v.w.Write(b.Bytes())
}

// file answers with a file that pages need.
func file(name, kind string) http.HandlerFunc {
	text, err := files.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(text)
	}
}
