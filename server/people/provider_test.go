package people_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/people"
)

// provider starts a certified provider that sends people back to an address, and returns
// its issuer.
func provider(t *testing.T, redirect string) string {
	t.Helper()
	node := need.Program(t, "node", "apt-get install nodejs npm")
	dir, err := filepath.Abs("../../tools/oidc")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "oidc-provider")); err != nil {
		need.Missing(t, "the provider: npm ci in tools/oidc")
	}
	cmd := exec.CommandContext(t.Context(), node, "provider.mjs", redirect)
	cmd.Dir = dir
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = io.Discard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the provider does not start: %v", err)
		}
		if issuer, ok := strings.CutSuffix(line, "\n"); ok && strings.HasPrefix(issuer, "http://127.0.0.1:") {
			go io.Copy(io.Discard, lines) //nolint:errcheck // It ends with the provider.
			return issuer
		}
	}
}

// atProvider is a world whose people sign in at a provider too.
func atProvider(t *testing.T, on storetest.Engine, change func(*people.Provider)) *world {
	t.Helper()
	w := newWorld(t, on, people.Options{})
	// The provider has a clock of its own.
	w.pass(time.Since(w.clock()))
	h := httptest.NewUnstartedServer(nil)
	origin := "https://" + h.Listener.Addr().String()
	p := &people.Provider{Issuer: provider(t, origin+"/signin/provider/callback"), ClientID: "tandem", ClientSecret: "a secret of the test"}
	if change != nil {
		change(p)
	}
	w.options.Origin, w.options.Provider = origin, p
	inner, serving := w.serve(w.s)
	serving.Close()
	w.people = inner
	h.Config.Handler = serving.Config.Handler
	h.StartTLS()
	t.Cleanup(h.Close)
	w.http = h
	return w
}

// provided signs a browser in at the provider, as who the provider's form is told.
func (b *browser) provided(who string) answer {
	b.w.t.Helper()
	a := b.get("/signin/provider?to=" + url.QueryEscape("/inside"))
	m := regexp.MustCompile(`action="(/interaction/[^"]+)"`).FindStringSubmatch(a.body)
	if m == nil {
		b.w.t.Fatalf("no form of the provider: %d at %s\n%s", a.status, a.path, a.body)
	}
	here := b.base
	defer func() { b.base = here }()
	b.base = b.w.options.Provider.Issuer
	return b.get(m[1] + "?" + who)
}

// Who the provider vouches for is let in where an operator has made an account, with the
// second factor that is set up here.
func TestProvider(t *testing.T) {
	each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := atProvider(t, on, nil)
		b := w.browser()
		b.get("/signin").want(t, http.StatusOK, "/signin", "my organization")
		// Nobody is made an account.
		b.provided("who=rosalind@example.org").want(t, http.StatusForbidden, "/signin/provider/callback", "nobody has made you an account")
		must[*people.Code](t)(w.accounts.Create(t.Context(), w.clinician, "Rosalind@example.org"))
		must[*people.Code](t)(w.accounts.Create(t.Context(), w.boss, "unverified@example.org"))
		w.browser().provided("who=unverified@example.org").want(t, http.StatusForbidden, "/signin/provider/callback")
		w.browser().provided("cancel=1").want(t, http.StatusForbidden, "/signin/provider/callback", "did not let you in")

		b = w.browser()
		page := b.provided("who=ROSALIND@example.org&mfa=1").want(t, http.StatusOK, "/signin/factor/new")
		if b.in() {
			t.Fatal("in without a second factor")
		}
		p, a := b.setUp(page)
		a.want(t, http.StatusOK, "/signin/factor/new", "recovery codes")
		if !b.in() {
			t.Fatal("not in")
		}
		b = w.browser()
		b.provided("who=rosalind@example.org").want(t, http.StatusOK, "/signin/factor")
		b.post("/signin/factor", "code", p.code(), "to", "/inside").want(t, http.StatusOK, "/inside")
		wantActs(t, w.acts(2), "FIRST_FACTOR provider", "SECOND_FACTOR authenticator added", "SIGNED_IN provider+authenticator", "FIRST_FACTOR provider", "SIGNED_IN provider+authenticator")

		if err := w.accounts.Disable(t.Context(), w.clinician); err != nil {
			t.Fatal(err)
		}
		w.browser().provided("who=rosalind@example.org").want(t, http.StatusForbidden, "/signin/provider/callback")
		w.quiet("rosalind@example.org", "a secret of the test")
	})
}

// Where the operator takes the provider's word, its second factor is enough.
func TestProviderSecondFactor(t *testing.T) {
	t.Parallel()
	w := atProvider(t, storetest.SQLite, func(p *people.Provider) { p.SecondFactor = true })
	must[*people.Code](t)(w.accounts.Create(t.Context(), w.clinician, "rosalind@example.org"))
	w.browser().provided("who=rosalind@example.org").want(t, http.StatusOK, "/signin/factor/new")
	w.browser().provided("who=rosalind@example.org&mfa=1").want(t, http.StatusOK, "/inside", w.clinician.String())
}

// Another claim than the address may hold the login.
func TestProviderClaim(t *testing.T) {
	t.Parallel()
	w := atProvider(t, storetest.SQLite, func(p *people.Provider) { p.Claim = "login" })
	must[*people.Code](t)(w.accounts.Create(t.Context(), w.clinician, "unverified.is.fine"))
	w.browser().provided("who=unverified.is.fine").want(t, http.StatusOK, "/signin/factor/new")
}

// A sign-in at the provider ends in the browser that began it, once, and soon.
func TestProviderFlow(t *testing.T) {
	t.Parallel()
	w := atProvider(t, storetest.SQLite, func(p *people.Provider) { p.SecondFactor = true })
	must[*people.Code](t)(w.accounts.Create(t.Context(), w.clinician, "rosalind@example.org"))
	// caught is a browser that stands before the callback, and the way there.
	caught := func() (*browser, string) {
		t.Helper()
		b, way := w.browser(), ""
		b.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
			if r.URL.Path == "/signin/provider/callback" {
				way = r.URL.RequestURI()
				return http.ErrUseLastResponse
			}
			return nil
		}
		b.provided("who=rosalind@example.org&mfa=1")
		if way == "" {
			t.Fatal("the provider sends nobody back")
		}
		b.client.CheckRedirect = nil
		return b, way
	}
	b, way := caught()
	// In another browser: a victim that follows a thief's link.
	w.browser().get(way).want(t, http.StatusForbidden, "/signin/provider/callback", "another window")
	other, _ := caught()
	other.get(way).want(t, http.StatusForbidden, "/signin/provider/callback", "another window")
	state := regexp.MustCompile(`state=[^&]+`)
	spoilt, to := caught()
	spoilt.get(state.ReplaceAllString(to, "state=x")).want(t, http.StatusForbidden, "/signin/provider/callback")
	// The cookie is gone after a try.
	spoilt.get(to).want(t, http.StatusForbidden, "/signin/provider/callback")
	issuer, to := caught()
	issuer.get(regexp.MustCompile(`iss=[^&]+`).ReplaceAllString(to, "iss=https%3A%2F%2Fevil.example")).want(t, http.StatusForbidden, "/signin/provider/callback")
	// A code that was stolen, with the state of the thief's own flow: the verifier does not fit.
	thief, own := caught()
	code := regexp.MustCompile(`code=[^&]+`)
	_, victims := caught()
	thief.get(code.ReplaceAllLiteralString(own, code.FindString(victims))).want(t, http.StatusBadGateway, "/signin/provider/callback")
	if thief.in() {
		t.Fatal("in with a stolen code")
	}

	b.get(way).want(t, http.StatusOK, "/inside")
	b.post("/signin/out")
	b.get(way).want(t, http.StatusForbidden, "/signin/provider/callback")
	late, way := caught()
	w.pass(10 * time.Minute)
	late.get(way).want(t, http.StatusForbidden, "/signin/provider/callback", "too long ago")
	if strings.Contains(w.log.String(), "rosalind") || strings.Contains(w.log.String(), code.FindString(victims)) {
		t.Errorf("the log names a person or a code:\n%s", w.log)
	}
}

// A provider that is not there keeps nobody from signing in here, and one that cannot be is
// refused at the start.
func TestProviderAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite, people.Options{})
	w.begun(w.clinician, login)
	w.options.Origin = "https://tandem.example.org"
	w.options.Provider = &people.Provider{Issuer: "http://127.0.0.1:1", ClientID: "tandem"}
	_, h := w.serve(w.s)
	b := w.browserAt(h)
	b.get("/signin/provider").want(t, http.StatusBadGateway, "/signin/provider", "did not answer")
	b.post("/signin", "login", login, "passphrase", secretWord).want(t, http.StatusOK, "/signin/factor")
	for _, p := range []people.Provider{
		{Issuer: "http://id.example.org", ClientID: "x"}, {Issuer: "https://id.example.org"}, {ClientID: "x"}, {Issuer: "https://u:p@id.example.org", ClientID: "x"},
	} {
		if _, err := people.New(w.s, people.Options{Origin: "https://tandem.example.org", Provider: &p}); err == nil {
			t.Errorf("%+v is taken", p)
		}
	}
	if _, err := people.New(w.s, people.Options{Provider: &people.Provider{Issuer: "https://id.example.org", ClientID: "x"}}); err == nil {
		t.Error("a provider without an origin is taken")
	}
}
