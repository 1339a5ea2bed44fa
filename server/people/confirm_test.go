package people_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/people"
)

// A passkey confirms the one thing that it was asked about, in the session and in the minutes
// in which it was asked; what signed somebody in confirms nothing, and the other way round.
func TestConfirmPasskey(t *testing.T) {
	each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWorld(t, on, people.Options{Origin: siteOrigin})
		code := must[*people.Code](t)(w.accounts.Create(t.Context(), w.clinician, login))
		b, k := w.browser(), newKey(t)
		b.post("/signin/begin", "login", login, "code", code.Code, "new", secretWord, "again", secretWord).want(t, http.StatusOK, "/signin/factor/new", "passkey")
		b.add(b.get("/signin/passkey/new"), k).want(t, http.StatusOK, "/signin/passkey/new", "recovery codes")
		signsIn := func() (of *browser, page answer) {
			of = w.browser()
			return of, of.post("/signin", "login", login, "passphrase", secretWord).want(t, http.StatusOK, "/signin/factor", "Use a passkey")
		}
		c, page := signsIn()
		toSignIn := k.get(page)
		sealedToSignIn := page.hidden(t, "sealed")
		c.show(page, toSignIn).want(t, http.StatusOK, "/signin")
		at := func(of *browser, about string) answer {
			return of.get("/thing/"+about).want(t, http.StatusOK, "/thing/"+about)
		}
		confirm := func(of *browser, about, sealed, credential string, status, want int) {
			t.Helper()
			of.post("/thing/"+about, "sealed", sealed, "credential", credential).want(t, status, "/thing/"+about)
			if w.confirmed != want {
				t.Fatalf("%d things were done, want %d", w.confirmed, want)
			}
		}
		one, two := at(c, "one"), at(c, "two")
		confirm(c, "one", two.hidden(t, "sealed"), k.get(two), http.StatusForbidden, 0)
		confirm(c, "one", one.hidden(t, "sealed"), k.get(two), http.StatusForbidden, 0)
		confirm(c, "one", sealedToSignIn, toSignIn, http.StatusForbidden, 0)
		confirm(c, "one", "", "", http.StatusForbidden, 0)
		// A key that somebody only touched does not say who it was.
		touched := *k
		touched.untold = true
		confirm(c, "one", one.hidden(t, "sealed"), touched.get(one), http.StatusForbidden, 0)
		k.count = touched.count
		w.pass(time.Minute)
		stranger := newKey(t)
		stranger.id = k.id
		confirm(c, "one", one.hidden(t, "sealed"), stranger.get(one), http.StatusForbidden, 0)
		// Another session of the same person.
		other, page := signsIn()
		otherThing := one
		other.show(page, k.get(page)).want(t, http.StatusOK, "/signin")
		confirm(other, "one", otherThing.hidden(t, "sealed"), k.get(one), http.StatusForbidden, 0)
		confirm(c, "one", one.hidden(t, "sealed"), k.get(one), http.StatusOK, 1)
		// It does not sign anybody in.
		d, _ := signsIn()
		two = at(c, "two")
		d.post("/signin/factor/passkey", "sealed", two.hidden(t, "sealed"), "credential", k.get(two)).want(t, http.StatusForbidden, "/signin/factor/passkey")
		w.pass(10 * time.Minute)
		confirm(c, "two", two.hidden(t, "sealed"), k.get(two), http.StatusForbidden, 1)
		two = at(c, "two")
		confirm(c, "two", two.hidden(t, "sealed"), k.get(two), http.StatusOK, 2)
		// Who has not shown a second factor confirms nothing.
		d.post("/thing/two", "sealed", two.hidden(t, "sealed"), "credential", k.get(two))
		if w.confirmed != 2 {
			t.Error("confirmed without a second factor at sign-in")
		}
	})
}
