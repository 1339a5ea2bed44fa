package app

import "net/http"

// In returns a text of the pages in a language.
func In(lang, key string) string { return allWords.In(lang, key) }

// Ask has the app answer a request of somebody who has been let in.
func (a *App) Ask(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }
