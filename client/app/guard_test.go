package app_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client/app"
)

// answer is what a server has answered.
type answer struct {
	StatusCode int
	Status     string
	Header     http.Header
	Cookies    []*http.Cookie
}

// Nobody gets in but who came by a link of this start, and no page but the app's own may
// ask.
func TestGuard(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	f := serve(t, app.Options{Dir: o.enrol(o.maya, "Car 12"), Client: options()})
	link := f.next()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	base := strings.TrimSuffix(link, "open?"+u.RawQuery)
	ask := func(c *http.Client, method, address string, set func(*http.Request)) answer {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		if set != nil {
			set(req)
		}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		return answer{res.StatusCode, res.Status, res.Header, res.Cookies()}
	}
	still := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	stranger := &http.Client{CheckRedirect: still}
	for name, address := range map[string]string{
		"no link": base + "today", "the root": "http://" + u.Host + "/", "a wrong key": base + "open?key=" + strings.Repeat("0", 48), "no key": base + "open",
	} {
		if res := ask(stranger, http.MethodGet, address, nil); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", name, res.Status)
		}
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	friend := &http.Client{Jar: jar, CheckRedirect: still}
	res := ask(friend, http.MethodGet, link, nil)
	if res.StatusCode != http.StatusSeeOther || len(res.Cookies) != 1 {
		t.Fatalf("the link: %s, %d cookies", res.Status, len(res.Cookies))
	}
	if c := res.Cookies[0]; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || len(c.Path) < 20 {
		t.Errorf("the cookie is %+v", c)
	}
	if f.next() == link {
		t.Error("no next link was told")
	}
	if res := ask(stranger, http.MethodGet, link, nil); res.StatusCode != http.StatusForbidden {
		t.Errorf("a link was good twice: %s", res.Status)
	}
	res = ask(friend, http.MethodGet, base+"today", nil)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("today: %s", res.Status)
	}
	for header, want := range map[string]string{
		"Cache-Control": "no-store", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin", "X-Content-Type-Options": "nosniff",
	} {
		if got := res.Header.Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
	if policy := res.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q", policy)
	}
	for name, tc := range map[string]struct {
		method string
		set    func(*http.Request)
		want   int
	}{
		"another name":       {http.MethodGet, func(r *http.Request) { r.Host = "evil.example:" + u.Port() }, http.StatusMisdirectedRequest},
		"another origin":     {http.MethodPost, func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, http.StatusForbidden},
		"another port":       {http.MethodPost, func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:1") }, http.StatusForbidden},
		"a page elsewhere":   {http.MethodGet, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, http.StatusForbidden},
		"a page on loopback": {http.MethodGet, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, http.StatusForbidden},
		"a form on loopback": {http.MethodPost, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, http.StatusForbidden},
		"the app's own button": {http.MethodPost, func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			r.Header.Set("Origin", "http://"+u.Host)
		}, http.StatusSeeOther},
	} {
		if res := ask(friend, tc.method, base+"shift/end", tc.set); tc.method == http.MethodPost && res.StatusCode != tc.want {
			t.Errorf("%s: %s, want %d", name, res.Status, tc.want)
		}
		if tc.method == http.MethodGet {
			if res := ask(friend, tc.method, base+"today", tc.set); res.StatusCode != tc.want {
				t.Errorf("%s: %s, want %d", name, res.Status, tc.want)
			}
		}
	}
	// The cookie goes nowhere else on loopback.
	other, err := url.Parse("http://127.0.0.1:1/today")
	if err != nil {
		t.Fatal(err)
	}
	if got := jar.Cookies(other); len(got) > 0 {
		t.Errorf("another server of the machine is told the cookie %v", got)
	}
}

// The app serves its own machine alone.
func TestLoopback(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	field, err := app.New(t.Context(), app.Options{Dir: o.enrol(o.maya, "Car 12"), Client: options()})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := field.Serve(t.Context(), listener); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("serving the network: %v", err)
	}
}

// A tap is done though the page that asked for it has gone before its turn came.
func TestTapOutlivesItsPage(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	f := serve(t, app.Options{Dir: o.enrol(o.maya, "Car 12"), Client: options()})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	calls := func() int {
		t.Helper()
		w := httptest.NewRecorder()
		f.app.Ask(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/today", nil))
		if w.Code != http.StatusOK {
			t.Fatalf("today: %d", w.Code)
		}
		return strings.Count(w.Body.String(), `href="call/`)
	}
	before := calls()
	form := strings.NewReader(url.Values{"type": {"welfare_check"}}.Encode())
	r := httptest.NewRequestWithContext(gone, http.MethodPost, "/call", form)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	f.app.Ask(w, r)
	if w.Code != http.StatusSeeOther || calls() != before+1 {
		t.Errorf("the tap was answered with %d, and there are %d calls, where there were %d", w.Code, calls(), before)
	}
	// What only reads ends with its page.
	w = httptest.NewRecorder()
	f.app.Ask(w, httptest.NewRequestWithContext(gone, http.MethodGet, "/today", nil))
	if w.Code == http.StatusOK {
		t.Error("a page was made for nobody")
	}
}
