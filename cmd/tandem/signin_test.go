package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSignIn: an account from the command line is one to sign in with at the server, and
// the command line ends what the browser began. Neither login nor secrets are logged.
func TestSignIn(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	id := func(args ...string) string {
		t.Helper()
		return decode[map[string]string](t, must(t, "", append(args, "--data", dir, "--json")...))["id"]
	}
	id("admin", "org", "create", "--name", "Example County")
	agency := id("admin", "agency", "create", "--name", "Clinic", "--type", "behavioral_health", "--tz", "UTC")
	program := id("admin", "program", "create", "--name", "P", "--model", "crt", "--agency", agency)
	team := id("admin", "team", "create", "--name", "T", "--program", program)
	staff := id("admin", "staff", "create", "--name", "Maya", "--role", "admin", "--discipline", "nurse", "--agency", agency, "--team", team)
	code := decode[map[string]string](t, must(t, "", "admin", "account", "create", "--staff", staff, "--login", "maya.r", "--data", dir, "--json"))["code"]

	srv := serve(t, "--data", dir)
	base := srv.url
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	post := func(path string, form url.Values) (status int, to string, cookies int) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("Location"), len(resp.Cookies())
	}
	const phrase = "umbrella quartz tuesday lantern"
	if status, _, _ := post("/signin", url.Values{"login": {"maya.r"}, "passphrase": {phrase}}); status != http.StatusForbidden {
		t.Errorf("before the first sign-in: %d", status)
	}
	status, to, cookies := post("/signin/begin", url.Values{"login": {"maya.r"}, "code": {code}, "new": {phrase}, "again": {phrase}})
	if status != http.StatusSeeOther || to != "/signin/factor/new" || cookies != 1 {
		t.Fatalf("the first sign-in: %d to %s", status, to)
	}
	session := decode[map[string]any](t, must(t, "", "admin", "session", "list", "--data", dir, "--json"))
	if session["staff"] != staff || fmt.Sprint(session["complete"]) != "false" || session["way"] != "passphrase" {
		t.Errorf("the session: %v", session)
	}
	name, ok := session["session"].(string)
	if !ok {
		t.Fatal("the session has no id")
	}
	must(t, "", "admin", "session", "end", "--session", name, "--data", dir)
	if out := must(t, "", "admin", "session", "list", "--data", dir, "--json"); out != "" {
		t.Errorf("it goes on: %s", out)
	}
	if r := tandem(t.Context(), "", "admin", "session", "end", "--session", name, "--data", dir); r.code != exitBadInput {
		t.Errorf("ended again: exit code %d", r.code)
	}
	audit := must(t, "", "admin", "audit", "list", "--limit", "0", "--data", dir)
	for _, act := range []string{"ACCOUNT ", "SIGN_IN_FAILED", "PASSPHRASE_SET", "FIRST_FACTOR", "SESSION_ENDED"} {
		if !strings.Contains(audit, act) {
			t.Errorf("no entry %s in the audit log:\n%s", act, audit)
		}
	}
	if code := srv.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	log := srv.log.String()
	for _, secret := range []string{"maya.r", phrase, code, "Maya"} {
		if strings.Contains(log, secret) || strings.Contains(audit, secret) {
			t.Errorf("%q stands in a log", secret)
		}
	}
	if !strings.Contains(log, `"route":"/signin/"`) {
		t.Errorf("the log does not name the route:\n%s", log)
	}
}

// TestSignInSettings: what cannot be is said before anything is served, one reason each.
func TestSignInSettings(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("not to be shown\n"), 0o604); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"--session-idle 13h", "idle"},
		{"--session-idle 0s", "more than 0"},
		{"--trusted-proxy example.org", "--trusted-proxy"},
		{"--oidc-issuer https://id.example.org --oidc-client x", "origin"},
		{"--oidc-issuer http://id.example.org --oidc-client x --origin https://tandem.example.org", "https"},
		{"--oidc-client x --origin https://tandem.example.org", "issuer"},
		{"--oidc-issuer https://id.example.org --oidc-client x --origin https://tandem.example.org --oidc-secret-file " + secret, "chmod 600"},
	} {
		r := tandem(t.Context(), "", append([]string{"serve", "--check-config", "--data", t.TempDir(), "--listen", "127.0.0.1:0"}, strings.Fields(c.args)...)...)
		if r.code != exitUsage || !strings.Contains(r.err, c.want) || strings.Contains(r.err, "\n  ") || strings.Contains(r.out+r.err, "not to be shown") {
			t.Errorf("%s: exit code %d, %s", c.args, r.code, r.err)
		}
	}
}
