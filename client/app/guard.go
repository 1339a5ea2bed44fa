package app

import (
	"crypto/subtle"
	"net"
	"net/http"
	"strings"

	"github.com/tandem-response/tandem/web"
)

// cookieName is that of the cookie; its path is the app's own.
const cookieName = "tandem"

// maxForm is the largest form, more than the largest draft.
const maxForm = 4 << 20

// guard lets in whom the app is for: a browser that came by a link of this start.
func (a *App) guard() http.Handler {
	origin := http.NewCrossOriginProtection()
	inner := origin.Handler(http.StripPrefix(strings.TrimSuffix(a.path, "/"), a.mux))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		web.Headers(w.Header())
		if !a.hosts[r.Host] {
			http.Error(w, "this app answers under its own address alone", http.StatusMisdirectedRequest)
			return
		}
		if r.URL.Path == a.path+"open" && r.Method == http.MethodGet {
			a.open(w, r)
			return
		}
		// Other pages, those of other ports included, have nothing to ask here.
		switch r.Header.Get("Sec-Fetch-Site") {
		case "", "none", "same-origin":
		default:
			http.Error(w, "this app answers its own pages alone", http.StatusForbidden)
			return
		}
		c, err := r.Cookie(cookieName)
		if err != nil || !same(c.Value, a.cookie) || !strings.HasPrefix(r.URL.Path, a.path) {
			http.Error(w, "open the app by the link that tandem device has printed last", http.StatusForbidden)
			return
		}
		limit := int64(maxForm)
		if strings.HasPrefix(r.URL.Path, a.path+"files/") {
			limit = maxUpload
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		inner.ServeHTTP(w, r)
	})
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// open exchanges the key of a link for the cookie. A key is good once.
func (a *App) open(w http.ResponseWriter, r *http.Request) {
	next := token(24)
	a.mu.Lock()
	fits := same(r.URL.Query().Get("key"), a.key)
	if fits {
		a.key = next
	}
	a.mu.Unlock()
	if !fits {
		// Who is in already, and goes back to the link, stays in.
		if c, err := r.Cookie(cookieName); err != nil || !same(c.Value, a.cookie) {
			http.Error(w, "this link was used: open the app by the one that tandem device has printed last", http.StatusForbidden)
			return
		}
		http.Redirect(w, r, a.path+"today", http.StatusSeeOther)
		return
	}
	//nolint:gosec // Loopback has no TLS; the cookie is bound to a path that only this app has.
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: a.cookie, Path: a.path, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		a.tellLink(addr)
	}
	http.Redirect(w, r, a.path+"today", http.StatusSeeOther)
}
