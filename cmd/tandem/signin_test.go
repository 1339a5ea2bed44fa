package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
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

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, in := io.Pipe()
	log := &lockedBuffer{}
	ended := make(chan int, 1)
	go func() {
		defer in.Close()
		ended <- run(ctx, []string{"serve", "--listen", "127.0.0.1:0", "--data", dir, "--json"}, stdio{out: in, err: log})
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, out) //nolint:errcheck // It ends with the server.
	base := decode[map[string]string](t, line)["url"]
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	post := func(path string, form url.Values) *http.Response {
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
		_ = resp.Body.Close()
		return resp
	}
	const phrase = "umbrella quartz tuesday lantern"
	if resp := post("/signin", url.Values{"login": {"maya.r"}, "passphrase": {phrase}}); resp.StatusCode != http.StatusForbidden {
		t.Errorf("before the first sign-in: %s", resp.Status)
	}
	resp := post("/signin/begin", url.Values{"login": {"maya.r"}, "code": {code}, "new": {phrase}, "again": {phrase}})
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/signin/factor/new" || len(resp.Cookies()) != 1 {
		t.Fatalf("the first sign-in: %s to %s", resp.Status, resp.Header.Get("Location"))
	}
	session := decode[map[string]any](t, must(t, "", "admin", "session", "list", "--data", dir, "--json"))
	if session["staff"] != staff || session["complete"] != false || session["way"] != "passphrase" {
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
	stop()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
	for _, secret := range []string{"maya.r", phrase, code, "Maya"} {
		if strings.Contains(log.String(), secret) || strings.Contains(audit, secret) {
			t.Errorf("%q stands in a log", secret)
		}
	}
	if !strings.Contains(log.String(), `"route":"/signin/"`) {
		t.Errorf("the log does not name the route:\n%s", log)
	}
}

// lockedBuffer may be written to while it is read.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
