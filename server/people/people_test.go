package people_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

func each(t *testing.T, test func(t *testing.T, on storetest.Engine)) {
	t.Helper()
	storetest.Each(t, test)
}

// From the operator's code to a session with two factors, and what stands in the log of it.
func TestFirstSignIn(t *testing.T) {
	each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWorld(t, on, people.Options{})
		b := w.browser()
		b.get("/inside").want(t, http.StatusOK, "/signin", "I have a one-time code")
		code := must[*people.Code](t)(w.accounts.Create(t.Context(), w.clinician, " Rosalind.T "))
		if code.Login != login {
			t.Fatalf("login %q", code.Login)
		}
		if a := b.post("/signin", "login", login, "passphrase", ""); a.status != http.StatusForbidden {
			t.Fatalf("without a passphrase: %d", a.status)
		}
		b.post("/signin/begin", "login", login, "code", code.Code, "new", secretWord, "again", secretWord+"x").want(t, http.StatusUnprocessableEntity, "/signin/begin", "not the same")
		b.post("/signin/begin", "login", login, "code", code.Code, "new", "correct horse battery staple", "again", "correct horse battery staple").want(t, http.StatusUnprocessableEntity, "/signin/begin", "tried first")
		b.post("/signin/begin", "login", login, "code", "0000-0000-0000", "new", secretWord, "again", secretWord).want(t, http.StatusForbidden, "/signin/begin", "wrong")
		page := b.post("/signin/begin", "login", login, "code", strings.ToLower(code.Code), "new", secretWord, "again", secretWord).want(t, http.StatusOK, "/signin/factor/new")
		if b.in() {
			t.Fatal("let in without a second factor")
		}
		pending := b.session()
		p, a := b.setUp(page)
		a.want(t, http.StatusOK, "/signin/factor/new", "recovery codes")
		if len(p.recovery) != 10 {
			t.Fatalf("%d recovery codes", len(p.recovery))
		}
		if !b.in() {
			t.Fatal("not let in")
		}
		b.get("/signin").want(t, http.StatusOK, "/signin", personName, "Firefox Linux", "this browser")
		if b.session() == pending {
			t.Error("the token is the same after the second factor")
		}
		thief := w.browser()
		thief.take(pending)
		if a := thief.get("/signin"); strings.Contains(a.body, personName) || a.path != "/signin" {
			t.Errorf("the token of before the second factor is good still: %s", a.path)
		}
		w.browser().post("/signin/begin", "login", login, "code", code.Code, "new", secretWord, "again", secretWord).want(t, http.StatusForbidden, "/signin/begin")
		wantActs(t, w.acts(0), "ACCOUNT made", "SIGN_IN_FAILED passphrase", "SIGN_IN_FAILED one-time code", "PASSPHRASE_SET one-time code",
			"FIRST_FACTOR passphrase", "SECOND_FACTOR authenticator added", "SIGNED_IN passphrase+authenticator", "SIGN_IN_FAILED one-time code")
		w.quiet(code.Code, p.recovery[0])
	})
}

// session is the token of the browser's session.
func (b *browser) session() string {
	b.w.t.Helper()
	u, err := url.Parse(b.base)
	if err != nil {
		b.w.t.Fatal(err)
	}
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == people.SessionCookie {
			return c.Value
		}
	}
	return ""
}

// take puts a stolen token into the browser.
func (b *browser) take(token string) {
	b.w.t.Helper()
	u, err := url.Parse(b.base)
	if err != nil {
		b.w.t.Fatal(err)
	}
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: people.SessionCookie, Value: token, Path: "/", Secure: true}})
}

// quiet fails where log or audit log hold a name, a secret or where somebody was.
func (w *world) quiet(secrets ...string) {
	w.t.Helper()
	var export bytes.Buffer
	if err := w.admin.ExportAudit(w.t.Context(), &export); err != nil {
		w.t.Fatal(err)
	}
	for _, s := range append(secrets, login, personName, secretWord, "203.0.113.", "Firefox") {
		if strings.Contains(w.log.String(), s) {
			w.t.Errorf("the log holds %q", s)
		}
		if strings.Contains(export.String(), s) {
			w.t.Errorf("the audit log holds %q", s)
		}
	}
}

// A code is good for a day.
func TestCodeExpires(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{24*time.Hour - time.Second, http.StatusOK}, {24 * time.Hour, http.StatusForbidden}} {
		w := newWorld(t, storetest.SQLite, people.Options{})
		code := must[*people.Code](t)(w.accounts.Create(t.Context(), w.clinician, login))
		w.pass(c.after)
		if a := w.browser().post("/signin/begin", "login", login, "code", code.Code, "new", secretWord, "again", secretWord); a.status != c.want {
			t.Errorf("after %s: %d, want %d", c.after, a.status, c.want)
		}
	}
}

// A session ends at its limits, to the second.
func TestSessionLimits(t *testing.T) {
	each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWorld(t, on, people.Options{Idle: 10 * time.Minute, Absolute: time.Hour})
		b, p := w.begun(w.clinician, login)
		for _, c := range []struct {
			idle time.Duration
			in   bool
		}{{10*time.Minute - time.Second, true}, {10 * time.Minute, false}} {
			b.signIn(secretWord, p).want(t, http.StatusOK, "/signin")
			w.pass(time.Minute)
			if !b.in() {
				t.Fatal("not let in")
			}
			w.pass(c.idle)
			if b.in() != c.in {
				t.Errorf("idle for %s: in %v, want %v", c.idle, !c.in, c.in)
			}
		}
		b.signIn(secretWord, p).want(t, http.StatusOK, "/signin")
		// signIn lets 30 s pass after the session has begun.
		for range 6 {
			w.pass(9 * time.Minute)
			if !b.in() {
				t.Fatal("ended before its time")
			}
		}
		w.pass(5*time.Minute + 29*time.Second)
		if !b.in() {
			t.Error("ended a second before its time")
		}
		w.pass(time.Second)
		if b.in() {
			t.Error("in after the absolute limit")
		}
		// Who has given the passphrase alone has ten minutes for the rest.
		c := w.browser()
		c.post("/signin", "login", login, "passphrase", secretWord).want(t, http.StatusOK, "/signin/factor")
		w.pass(10 * time.Minute)
		c.post("/signin/factor", "code", p.code()).want(t, http.StatusOK, "/signin")
		if c.in() {
			t.Error("a second factor after ten minutes")
		}
	})
}

// Whoever ends a session ends it everywhere, in all processes, from the next request on.
func TestSessionsEnd(t *testing.T) {
	each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWorld(t, on, people.Options{})
		here, p := w.begun(w.clinician, login)
		_, other := w.serve(w.open(store.Options{}))
		there := w.browserAt(other)
		in := func(want ...bool) {
			t.Helper()
			if a, b := here.in(), there.in(); a != want[0] || b != want[1] {
				t.Fatalf("in: here %v, there %v; want %v", a, b, want)
			}
		}
		again := func() {
			t.Helper()
			for _, b := range []*browser{here, there} {
				if !b.in() {
					b.signIn(secretWord, p).want(t, http.StatusOK, "/signin")
				}
			}
			in(true, true)
		}
		// A session of one process is one of the other.
		there.take(here.session())
		in(true, true)
		there.take("")
		again()

		before := len(w.acts(0))
		page := here.get("/signin")
		var ids []string
		for _, m := range regexp.MustCompile(`name="session" value="([0-9A-Z]{26})"`).FindAllStringSubmatch(page.body, -1) {
			ids = append(ids, m[1])
		}
		if len(ids) != 2 {
			t.Fatalf("%d sessions listed", len(ids))
		}
		// The newest is first, and that is the other one.
		here.post("/signin/end", "session", ids[0])
		in(true, false)
		again()
		here.post("/signin/end", "session", "others")
		in(true, false)
		again()
		there.post("/signin/out")
		in(true, false)
		again()
		all := must[[]*store.Session](t)(w.accounts.Sessions(t.Context(), syncengine.ID{}))
		if len(all) != 2 || all[0].Way != "passphrase+authenticator" {
			t.Fatalf("%d sessions, %+v", len(all), all[0])
		}
		if err := w.accounts.EndSession(t.Context(), all[0].ID); err != nil {
			t.Fatal(err)
		}
		in(true, false)
		if err := w.accounts.EndSession(t.Context(), all[0].ID); !errors.Is(err, people.ErrNoSession) {
			t.Errorf("a session that has ended: %v", err)
		}
		again()
		if n, err := w.accounts.EndSessions(t.Context(), w.clinician); n != 2 || err != nil {
			t.Fatalf("%d ended, %v", n, err)
		}
		in(false, false)
		var ended []string
		for _, a := range w.acts(before) {
			if strings.HasPrefix(a, "SESSION_ENDED") {
				ended = append(ended, a)
			}
		}
		wantActs(t, ended, "SESSION_ENDED the person", "SESSION_ENDED the person", "SESSION_ENDED signed out", "SESSION_ENDED an operator", "SESSION_ENDED an operator", "SESSION_ENDED an operator")

		// A person ends nobody else's.
		bossed, _ := w.begun(w.boss, "boss")
		again()
		bossed.post("/signin/end", "session", must[[]*store.Session](t)(w.accounts.Sessions(t.Context(), w.clinician))[0].ID.String())
		in(true, true)

		// A new passphrase ends the others.
		const next = "violet harbor engine seven"
		here.post("/signin/passphrase", "passphrase", "not the one at all", "new", next, "again", next).want(t, http.StatusForbidden, "/signin/passphrase")
		token := here.session()
		here.post("/signin/passphrase", "passphrase", secretWord, "new", next, "again", next).want(t, http.StatusOK, "/signin/passphrase", "is changed")
		in(true, false)
		if here.session() == token {
			t.Error("the token is the same after the passphrase changed")
		}
		there.post("/signin", "login", login, "passphrase", secretWord).want(t, http.StatusForbidden, "/signin")

		// Disabled, reset, set back, shut out: at once.
		if err := w.accounts.Disable(t.Context(), w.clinician); err != nil {
			t.Fatal(err)
		}
		in(false, false)
		here.post("/signin", "login", login, "passphrase", next).want(t, http.StatusForbidden, "/signin")
		if err := w.accounts.Enable(t.Context(), w.clinician); err != nil {
			t.Fatal(err)
		}
		here.signIn(next, p).want(t, http.StatusOK, "/signin")
		in(true, false)
		if err := w.admin.BeginRecovery(t.Context()); err != nil {
			t.Fatal(err)
		}
		in(false, false)
		here.signIn(next, p).want(t, http.StatusOK, "/signin")
		in(true, false)
		if err := w.admin.RevokePerson(t.Context(), w.clinician); err != nil {
			t.Fatal(err)
		}
		in(false, false)
		if left := must[[]*store.Session](t)(w.accounts.Sessions(t.Context(), w.clinician)); len(left) != 0 {
			t.Errorf("%d sessions of who is shut out", len(left))
		}
		here.post("/signin", "login", login, "passphrase", next).want(t, http.StatusForbidden, "/signin")
		if _, err := w.accounts.Reset(t.Context(), w.clinician, false); !errors.Is(err, people.ErrNoPerson) {
			t.Errorf("a code for who is shut out: %v", err)
		}
	})
}

// A reset takes the passphrase and the sessions, and leaves the second factor unless told.
func TestReset(t *testing.T) {
	each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWorld(t, on, people.Options{})
		b, p := w.begun(w.clinician, login)
		code := must[*people.Code](t)(w.accounts.Reset(t.Context(), w.clinician, false))
		if b.in() {
			t.Error("in after a reset")
		}
		b.post("/signin", "login", login, "passphrase", secretWord).want(t, http.StatusForbidden, "/signin")
		const next = "violet harbor engine seven"
		b.post("/signin/begin", "login", login, "code", code.Code, "new", next, "again", next).want(t, http.StatusOK, "/signin/factor")
		if b.in() {
			t.Error("a code of an operator goes around the second factor")
		}
		b.get("/signin/factor/new").want(t, http.StatusOK, "/signin/factor")
		b.post("/signin/factor/new", "sealed", "", "code", "000000").want(t, http.StatusOK, "/signin/factor")
		b.post("/signin/factor", "code", p.code()).want(t, http.StatusOK, "/signin")
		code = must[*people.Code](t)(w.accounts.Reset(t.Context(), w.clinician, true))
		b.post("/signin/begin", "login", login, "code", code.Code, "new", next, "again", next).want(t, http.StatusOK, "/signin/factor/new")
		b.post("/signin/factor", "code", p.recovery[0])
		if b.in() {
			t.Error("a recovery code of a factor that was removed")
		}
	})
}

// Each code of the authenticator is taken once, each recovery code too, and neither without
// the passphrase.
func TestSecondFactor(t *testing.T) {
	each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWorld(t, on, people.Options{})
		b, p := w.begun(w.clinician, login)
		code := p.code()
		first := func(b *browser) {
			t.Helper()
			b.post("/signin", "login", login, "passphrase", secretWord).want(t, http.StatusOK, "/signin/factor")
		}
		first(b)
		b.post("/signin/factor", "code", code[:3]+" "+code[3:]).want(t, http.StatusOK, "/signin", personName)
		second := w.browser()
		first(second)
		// Half a sign-in changes nothing.
		const next = "violet harbor engine seven"
		second.post("/signin/end", "session", "others").want(t, http.StatusOK, "/signin/factor")
		second.post("/signin/passphrase", "passphrase", secretWord, "new", next, "again", next).want(t, http.StatusOK, "/signin/factor")
		second.post("/signin/recovery", "passphrase", secretWord).want(t, http.StatusOK, "/signin/factor")
		second.post("/signin/passkey/remove", "passphrase", secretWord).want(t, http.StatusOK, "/signin/factor")
		if !b.in() {
			t.Fatal("half a sign-in ends sessions")
		}
		second.post("/signin/factor", "code", code).want(t, http.StatusForbidden, "/signin/factor", "used already")
		w.pass(30 * time.Second)
		late := p.code()
		w.pass(30 * time.Second)
		// One step late is taken; two are not; nor is one that is older than the newest.
		second.post("/signin/factor", "code", late).want(t, http.StatusOK, "/signin")
		old := p.code()
		w.pass(61 * time.Second)
		first(second)
		second.post("/signin/factor", "code", old).want(t, http.StatusForbidden, "/signin/factor")

		third := w.browser()
		third.post("/signin/factor", "code", p.recovery[0]).want(t, http.StatusOK, "/signin")
		third.post("/signin", "login", login, "passphrase", p.recovery[0]).want(t, http.StatusForbidden, "/signin")
		if third.in() {
			t.Fatal("a recovery code alone")
		}
		first(third)
		third.post("/signin/factor", "code", strings.ToLower(p.recovery[0])).want(t, http.StatusOK, "/signin", "left: 9")
		first(second)
		second.post("/signin/factor", "code", p.recovery[0]).want(t, http.StatusForbidden, "/signin/factor")
		// Of another person they are nothing.
		boss, q := w.begun(w.boss, "boss")
		boss.post("/signin", "login", "boss", "passphrase", secretWord).want(t, http.StatusOK, "/signin/factor")
		boss.post("/signin/factor", "code", p.recovery[1]).want(t, http.StatusForbidden, "/signin/factor")
		boss.post("/signin/factor", "code", p.code()).want(t, http.StatusForbidden, "/signin/factor")
		boss.post("/signin/factor", "code", q.code()).want(t, http.StatusOK, "/signin")

		// New codes take the place of the old, a new authenticator that of the old one; for both
		// the passphrase is asked for again.
		third.post("/signin/recovery", "passphrase", "something else altogether").want(t, http.StatusForbidden, "/signin/recovery")
		third.post("/signin/recovery", "passphrase", secretWord).want(t, http.StatusOK, "/signin/recovery", "recovery codes")
		first(second)
		second.post("/signin/factor", "code", p.recovery[2]).want(t, http.StatusForbidden, "/signin/factor")
		page := third.get("/signin/factor/new")
		if _, a := third.setUp(page, "passphrase", "something else altogether"); a.status != http.StatusForbidden {
			t.Errorf("another authenticator with a wrong passphrase: %d", a.status)
		}
		// What was offered to one session is of no use to another.
		bossPage := boss.get("/signin/factor/new")
		a := third.post("/signin/factor/new", "sealed", bossPage.hidden(t, "sealed"), "code", "000000", "passphrase", secretWord)
		a.want(t, http.StatusOK, "/signin/factor/new")
		newer, a := third.setUp(page, "passphrase", secretWord)
		a.want(t, http.StatusOK, "/signin/factor/new", "recovery codes")
		fourth := w.browser()
		first(fourth)
		fourth.post("/signin/factor", "code", p.code()).want(t, http.StatusForbidden, "/signin/factor")
		fourth.post("/signin/factor", "code", newer.code()).want(t, http.StatusOK, "/signin")
		w.quiet(p.recovery...)
	})
}

// Of several who use one code at once, in several processes, one gets in.
func TestCodesAreRaced(t *testing.T) {
	each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWorld(t, on, people.Options{})
		_, p := w.begun(w.clinician, login)
		_, other := w.serve(w.open(store.Options{}))
		race := func(path string, form url.Values, ready func(*browser)) {
			t.Helper()
			var all []*browser
			for i := range 6 {
				b := w.browserAt([]*httptest.Server{w.http, other}[i%2])
				ready(b)
				all = append(all, b)
			}
			var wg sync.WaitGroup
			answers := make([]answer, len(all))
			for i, b := range all {
				wg.Go(func() {
					var err error
					if answers[i], err = b.send(http.MethodPost, path, form); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			won := 0
			for _, a := range answers {
				if a.status == http.StatusOK {
					won++
				}
			}
			if won != 1 {
				t.Errorf("%s: %d got in", path, won)
			}
		}
		pending := func(b *browser) {
			t.Helper()
			b.post("/signin", "login", login, "passphrase", secretWord).want(t, http.StatusOK, "/signin/factor")
		}
		race("/signin/factor", url.Values{"code": {p.code()}}, pending)
		race("/signin/factor", url.Values{"code": {p.recovery[0]}}, pending)
		code := must[*people.Code](t)(w.accounts.Create(t.Context(), w.boss, "boss"))
		race("/signin/begin", url.Values{"login": {"boss"}, "code": {code.Code}, "new": {secretWord}, "again": {secretWord}}, func(*browser) {})
	})
}

// Guessing the second factor ends soon, for who knows the passphrase too.
func TestSecondFactorGuesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite, people.Options{})
	_, p := w.begun(w.clinician, login)
	b := w.browser()
	b.post("/signin", "login", login, "passphrase", secretWord).want(t, http.StatusOK, "/signin/factor")
	for i := range 10 {
		b.post("/signin/factor", "code", fmt.Sprintf("%06d", i)).want(t, http.StatusForbidden, "/signin/factor")
	}
	b.post("/signin/factor", "code", p.code()).want(t, http.StatusTooManyRequests, "/signin/factor", "Too many")
}

// Where admins alone need a second factor, others may do without, and whoever becomes one
// sets it up before going on.
func TestSecondFactorOfAdmins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite, people.Options{SecondFactor: people.Admins})
	for _, c := range []struct {
		staff syncengine.ID
		login string
		path  string
	}{{w.clinician, login, "/signin"}, {w.boss, "boss", "/signin/factor/new"}} {
		code := must[*people.Code](t)(w.accounts.Create(t.Context(), c.staff, c.login))
		b := w.browser()
		b.post("/signin/begin", "login", c.login, "code", code.Code, "new", secretWord, "again", secretWord).want(t, http.StatusOK, c.path)
		if b.in() != (c.path == "/signin") {
			t.Errorf("%s: in %v", c.path, b.in())
		}
	}
	// The rule becomes stricter under a session.
	b := w.browser()
	b.post("/signin", "login", login, "passphrase", secretWord).want(t, http.StatusOK, "/signin")
	w.options.SecondFactor = people.Everybody
	_, strict := w.serve(w.s)
	b.base = strict.URL
	token := b.session()
	b.take(token)
	b.get("/inside").want(t, http.StatusOK, "/signin/factor/new")
}

// Nobody keeps a person out: not from one address, and not from many.
func TestStrangerKeepsNobodyOut(t *testing.T) {
	each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWorld(t, on, people.Options{Proxies: everywhere})
		mine, p := w.begun(w.clinician, login)
		mine.from = "203.0.113.5"
		mine.signIn(secretWord, p).want(t, http.StatusOK, "/signin")
		mine.post("/signin/out")
		stranger := w.browser()
		stranger.from = "203.0.113.66"
		tries := func() (n int) {
			for stranger.post("/signin", "login", login, "passphrase", "open sesame open sesame").status == http.StatusForbidden {
				n++
			}
			return n
		}
		if n := tries(); n != 6 {
			t.Errorf("%d tries at once from one address, want 6", n)
		}
		// For a day from one address, as fast as it is let.
		total := 6
		for range 24 * 6 {
			w.pass(10 * time.Minute)
			total += tries()
		}
		if total > 6+24*6 {
			t.Errorf("%d tries in a day", total)
		}
		// The person from a browser that nobody knows.
		fresh := w.browser()
		fresh.from = "203.0.113.9"
		fresh.signIn(secretWord, p).want(t, http.StatusOK, "/signin")

		// From many addresses, the forged ones of a header among them.
		for i := range 40 {
			stranger.from = fmt.Sprintf("203.0.113.9, 198.51.100.%d", i)
			tries()
		}
		unknown := w.browser()
		unknown.from = "203.0.113.77"
		a := unknown.post("/signin", "login", login, "passphrase", secretWord).want(t, http.StatusTooManyRequests, "/signin", "Too many tries")
		if a.head.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		// A browser that the person has signed in with is counted apart.
		mine.signIn(secretWord, p).want(t, http.StatusOK, "/signin")
		// And an hour later anybody is let try again.
		w.pass(time.Hour)
		unknown.signIn(secretWord, p).want(t, http.StatusOK, "/signin")
		w.quiet()
	})
}

// One address may not try all accounts there are.
func TestSpray(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite, people.Options{Proxies: everywhere})
	b := w.browser()
	status := 0
	for i := range 31 {
		b.from = fmt.Sprintf("[2001:db8:1:2::%x]:443", i) // One network of one customer.
		if status = b.post("/signin", "login", fmt.Sprintf("person%d", i), "passphrase", secretWord).status; i < 30 && status != http.StatusForbidden {
			t.Fatalf("try %d: %d", i, status)
		}
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("the 31st account from one network: %d", status)
	}
	b.from = "2001:db8:1:3::1"
	if a := b.post("/signin", "login", "person99", "passphrase", secretWord); a.status != http.StatusForbidden {
		t.Errorf("another network: %d", a.status)
	}
}

// A login that is nobody's is answered as a wrong passphrase is, after the same work.
func TestUnknownLogin(t *testing.T) {
	each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWorld(t, on, people.Options{Proxies: everywhere})
		w.begun(w.clinician, login)
		must[*people.Code](t)(w.accounts.Create(t.Context(), w.boss, "boss")) // No passphrase yet.
		w.browser()
		type seen struct {
			answers []answer
			work    []people.Cost
		}
		var all []seen
		for i, name := range []string{login, "nobody.here", "boss", ""} {
			var s seen
			w.people.Worked(func(c people.Cost) { s.work = append(s.work, c) })
			b := w.browser()
			b.from = fmt.Sprintf("203.0.113.%d", i)
			for range 8 {
				a := b.post("/signin", "login", name, "passphrase", "violet harbor engine seven")
				a.head.Del("Date")
				s.answers = append(s.answers, a)
			}
			all = append(all, s)
		}
		w.people.Worked(nil)
		for i, s := range all[1:] {
			if fmt.Sprint(s) != fmt.Sprint(all[0]) {
				t.Errorf("login %d is answered otherwise:\n%+v\nwant\n%+v", i+1, s, all[0])
			}
		}
		if n := len(all[0].work); n != 6 {
			t.Errorf("%d hashes for 8 tries, 6 of which are let through", n)
		}
	})
}

// The parameters of a hash are renewed by the next sign-in that succeeds.
func TestCostIsRenewed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite, people.Options{SecondFactor: people.Admins})
	code := must[*people.Code](t)(w.accounts.Create(t.Context(), w.clinician, login))
	w.browser().post("/signin/begin", "login", login, "code", code.Code, "new", secretWord, "again", secretWord).want(t, http.StatusOK, "/signin")
	cost := func() people.Cost {
		t.Helper()
		var phc string
		err := w.s.ReadPeople(t.Context(), w.org.ID, func(v store.PeopleView) error {
			a, err := v.Account(w.clinician)
			phc = a.Passphrase
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return must[people.Cost](t)(people.ParsePHC(phc))
	}
	if got := cost(); got != cheap {
		t.Fatalf("cost %+v", got)
	}
	dearer := people.Cost{MemoryKiB: 128, Time: 2, Threads: 1}
	w.options.Cost = dearer
	_, h := w.serve(w.s)
	b := w.browserAt(h)
	b.post("/signin", "login", login, "passphrase", secretWord+"!").want(t, http.StatusForbidden, "/signin")
	if got := cost(); got != cheap {
		t.Errorf("a wrong passphrase renews the hash: %+v", got)
	}
	for range 2 {
		b.post("/signin", "login", login, "passphrase", secretWord).want(t, http.StatusOK, "/signin")
		if got := cost(); got != dearer {
			t.Errorf("cost %+v, want %+v", got, dearer)
		}
	}
}

// A form of another site does nothing, whatever cookies the browser sends with it.
func TestOtherSites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite, people.Options{})
	b, _ := w.begun(w.clinician, login)
	b.origin = "https://evil.example"
	for _, path := range []string{"/signin/out", "/signin/end", "/signin/passphrase", "/signin", "/inside"} {
		if a := b.post(path, "session", "others"); a.status != http.StatusForbidden {
			t.Errorf("POST %s: %d", path, a.status)
		}
	}
	b.origin = ""
	if !b.in() {
		t.Error("signed out by another site")
	}
	if a := b.post("/inside"); a.status != http.StatusOK {
		t.Errorf("its own form: %d", a.status)
	}
	// Nor is anybody sent to another site.
	b.post("/signin/out")
	for _, to := range []string{"https://evil.example/", "//evil.example/", `/\evil.example/`, "javascript:alert(1)"} {
		if a := b.get("/signin?to=" + url.QueryEscape(to)); strings.Contains(a.body, `name="to"`) {
			t.Errorf("%s is kept", to)
		}
	}
	if a := b.get("/signin?to=" + url.QueryEscape("/inside?a=b")); a.hidden(t, "to") != "/inside?a=b" {
		t.Errorf("the way inside is lost: %s", a.body)
	}
}

// The cookie is for this host alone, over TLS, and for no script; no page is kept by anybody.
func TestHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite, people.Options{})
	code := must[*people.Code](t)(w.accounts.Create(t.Context(), w.clinician, login))
	b := w.browser()
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	a := b.post("/signin/begin", "login", login, "code", code.Code, "new", secretWord, "again", secretWord)
	c := a.head.Get("Set-Cookie")
	for _, attr := range []string{"__Host-", "; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/"} {
		if !strings.Contains(c, attr) {
			t.Errorf("the cookie lacks %q: %s", attr, c)
		}
	}
	if strings.Contains(c, "Domain") || strings.Contains(c, "Max-Age") {
		t.Errorf("the cookie outlives the browser or the host: %s", c)
	}
	for _, path := range []string{"/signin", "/signin/begin", "/signin/factor/new", "/signin/style.css"} {
		h := b.get(path).head
		if h.Get("Cache-Control") != "no-store" || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") ||
			h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Strict-Transport-Security") == "" {
			t.Errorf("%s: %v", path, h)
		}
	}
	out := b.post("/signin/out").head
	if kept := out.Get("Clear-Site-Data"); !strings.Contains(kept, `"cache"`) || !strings.Contains(kept, `"storage"`) || !strings.Contains(out.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("signing out leaves the browser what it holds: %v", out)
	}
	if a := b.do(http.MethodPost, "/signin", url.Values{"login": {strings.Repeat("x", 20<<10)}}); a.status != http.StatusBadRequest {
		t.Errorf("a large form: %d", a.status)
	}
	if a := b.do(http.MethodDelete, "/inside", nil); a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
		t.Errorf("no page and no session: %d", a.status)
	}
}

// Accounts are one a person, one a login.
func TestAccounts(t *testing.T) {
	each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWorld(t, on, people.Options{})
		ctx := t.Context()
		create := func(staff syncengine.ID, login string, want error) {
			t.Helper()
			if _, err := w.accounts.Create(ctx, staff, login); !errors.Is(err, want) {
				t.Errorf("create: %v, want %v", err, want)
			}
		}
		create(w.clinician, "x", people.ErrLogin)
		create(w.clinician, "a b", people.ErrLogin)
		create(w.agency, "agency", people.ErrNoPerson)
		create(w.clinician, login, nil)
		create(w.clinician, "another", people.ErrAccountThere)
		create(w.boss, "ROSALIND.T", people.ErrLoginTaken)
		create(w.boss, "ＢＯＳＳ", nil)
		if _, err := w.accounts.Reset(ctx, w.agency, false); !errors.Is(err, people.ErrNoPerson) {
			t.Errorf("reset of nobody: %v", err)
		}
		if err := w.accounts.Disable(ctx, w.agency); !errors.Is(err, people.ErrNoAccount) {
			t.Errorf("disable of nobody: %v", err)
		}
		all := must[[]*people.Listed](t)(w.accounts.List(ctx))
		if len(all) != 2 || all[0].Login != "boss" || all[1].Name != personName || !all[1].Active || all[1].CodeHash == nil {
			t.Errorf("list: %+v", all)
		}
		// Another org of the server has names of its own, but a login is one server's.
		other := must[*store.Org](t)(w.s.CreateOrg(ctx, "Other County"))
		if _, err := people.NewAccounts(w.s, other, w.clock, nil).Create(ctx, w.clinician, login); !errors.Is(err, people.ErrLoginTaken) {
			t.Errorf("a login of another org: %v", err)
		}
		if _, err := people.NewAccounts(w.s, other, w.clock, nil).Create(ctx, w.clinician, "free"); !errors.Is(err, people.ErrNoPerson) {
			t.Errorf("a person of another org: %v", err)
		}
		if all := must[[]*people.Listed](t)(people.NewAccounts(w.s, other, w.clock, nil).List(ctx)); len(all) != 0 {
			t.Errorf("another org lists %d accounts", len(all))
		}
	})
}

// Every page speaks both languages.
func TestWords(t *testing.T) {
	t.Parallel()
	text := must[string](t)(people.PageText())
	for _, m := range regexp.MustCompile(`(?:\bt|define) "(\w+)"`).FindAllStringSubmatch(text, -1) {
		if slices.Contains([]string{"head", "foot", "new", "script"}, m[1]) {
			// A part of pages.
			continue
		}
		if w, ok := people.Words[m[1]]; !ok || w[0] == "" || w[1] == "" {
			t.Errorf("no word for %q", m[1])
		}
	}
	for word, w := range people.Words {
		if w[0] == "" || w[1] == "" {
			t.Errorf("%q lacks a language", word)
		}
	}
	w := newWorld(t, storetest.SQLite, people.Options{})
	b := w.browser()
	b.lang = "es-MX,en;q=0.5"
	b.get("/signin").want(t, http.StatusOK, "/signin", "Iniciar sesión", `lang="es"`)
	b.post("/signin", "login", "nadie", "passphrase", "x").want(t, http.StatusForbidden, "/signin", "no es correcto")
	b.lang = "fr"
	b.get("/signin").want(t, http.StatusOK, "/signin", "Sign in")
}
