package app

import (
	"net/http"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// In returns a text of the pages in a language.
func In(lang, key string) string { return allWords.In(lang, key) }

// Ask has the app answer a request of somebody who has been let in.
func (a *App) Ask(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// Screens are the patterns of what the app answers to GET.
func Screens() (patterns []string) {
	for _, pages := range []map[string]func(*visit) error{plainPages, insidePages} {
		for pattern := range pages {
			if strings.HasPrefix(pattern, "GET ") {
				patterns = append(patterns, pattern)
			}
		}
	}
	return patterns
}

// AddressKey is an address as it is compared.
func AddressKey(address string) string { return addressKey(address) }

// AtAddress reports whether an address is that of a place.
func AtAddress(address string, at *tandemv1.Location) bool { return atAddress(address, at) }
