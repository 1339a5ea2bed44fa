package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"time"

	"golang.org/x/text/language"
)

//go:embed layout.html static
var files embed.FS

// Langs are the languages of the pages, the default first.
var Langs = []string{"en", "es"}

// Words are the texts of pages, by key: English, then Spanish.
type Words map[string][2]string

// In returns a text in a language, and the key itself where there is none, which the
// tests exclude.
func (w Words) In(lang, key string) string {
	text, ok := w[key]
	if !ok {
		return key
	}
	if lang == "es" {
		return text[1]
	}
	return text[0]
}

// Join returns the words of both. It panics where both have words of one name: one of them
// would be said in place of the other.
func (w Words) Join(more Words) Words {
	all := maps.Clone(w)
	for name, said := range more {
		if _, twice := all[name]; twice {
			panic("words of one name twice: " + name)
		}
		all[name] = said
	}
	return all
}

var matcher = language.NewMatcher([]language.Tag{language.English, language.Spanish})

// Language finds the language for what a browser asks for.
func Language(accept string) string {
	// What cannot be read asks for nothing.
	tags, _, _ := language.ParseAcceptLanguage(accept)
	_, i, _ := matcher.Match(tags...)
	return Langs[i]
}

// Templates parses the layout and the pages of an app for one language.
func Templates(lang string, words Words, pages fs.FS, patterns ...string) (*template.Template, error) {
	all := Common.Join(words)
	t := template.New("").Funcs(template.FuncMap{
		"t":      func(key string) string { return all.In(lang, key) },
		"tf":     func(key string, args ...any) string { return fmt.Sprintf(all.In(lang, key), args...) },
		"lang":   func() string { return lang },
		"icon":   Icon,
		"pair":   Pair,
		"asset":  Asset,
		"clock":  func(at time.Time) string { return at.Format("15:04") },
		"day":    func(at time.Time) string { return Day(lang, at) },
		"moment": func(at time.Time) string { return Day(lang, at) + " " + at.Format("15:04") },
		"dict":   dict,
		"inc":    func(n int) int { return n + 1 },
	})
	t, err := t.ParseFS(files, "layout.html")
	if err != nil {
		return nil, fmt.Errorf("the layout: %w", err)
	}
	if t, err = t.ParseFS(pages, patterns...); err != nil {
		return nil, fmt.Errorf("the pages: %w", err)
	}
	return t, nil
}

// dict makes a map of pairs, so that a template can hand several values to another.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict: %d values are no pairs", len(pairs))
	}
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: value %d is no key", i)
		}
		m[key] = pairs[i+1]
	}
	return m, nil
}

var months = map[string][12]string{
	"en": {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"},
	"es": {"ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic"},
}

// Day says a date the short way of a language.
func Day(lang string, at time.Time) string {
	month := months[lang][at.Month()-1]
	if lang == "es" {
		return fmt.Sprintf("%d %s", at.Day(), month)
	}
	return fmt.Sprintf("%s %d", month, at.Day())
}

// versions are the names that assets have in pages: with a hash of what they hold.
var versions = func() map[string]string {
	out := map[string]string{}
	entries, err := files.ReadDir("static")
	if err != nil {
		panic(err) // They are embedded.
	}
	for _, e := range entries {
		b, err := files.ReadFile("static/" + e.Name())
		if err != nil {
			panic(err) // They are embedded.
		}
		h := sha256.Sum256(b)
		out[e.Name()] = "static/" + e.Name() + "?v=" + hex.EncodeToString(h[:6])
	}
	return out
}()

// Asset returns the address of an asset, relative to the base of the page.
func Asset(name string) string { return versions[name] }

// Static serves the assets, by the last element of the path. They hold nothing of
// anybody, and their addresses change with them, so they may be kept.
func Static() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := path.Base(r.URL.Path)
		b, err := files.ReadFile("static/" + name)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		if path.Ext(name) == ".webmanifest" {
			// Not every system knows it.
			w.Header().Set("Content-Type", "application/manifest+json")
		}
		w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(b))
	})
}

// Headers sets what every page says of itself: that it runs no script but ours, is shown
// in no frame, is kept nowhere, and tells nobody where it was.
func Headers(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "+
		"connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'self'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
}
