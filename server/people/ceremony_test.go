package people_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/people"
)

// patience is how long a page may take: what is slow under load is not wrong.
const patience = 60 * time.Second

// window is a Chromium with an authenticator of its own.
type window struct {
	t    *testing.T
	ctx  context.Context
	key  webauthn.AuthenticatorID
	base string
}

// newWindow opens one, which takes the certificate of a test's server for a good one.
func newWindow(t *testing.T, h *httptest.Server, base string) *window {
	t.Helper()
	path := need.Program(t, "chromium", "apt-get install chromium fonts-dejavu")
	spki := sha256.Sum256(h.Certificate().RawSubjectPublicKeyInfo)
	actx, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Headless, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("lang", "en-US"),
		chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(spki[:])))
	ctx, cancel2 := chromedp.NewContext(actx)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		cancel2()
		cancel()
	})
	b := &window{t: t, ctx: ctx, base: base}
	// The browser lives as long as the context of its first step.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(390, 844)); err != nil {
		t.Fatal(err)
	}
	call(b, webauthn.Enable, webauthn.EnableParams{})
	b.key = call(b, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		// A credential that is put back says whether it is to have such a key.
		HasCmtgKey: true,
	}}).AuthenticatorID
	return b
}

// call has the browser do what no page can.
func call[P, R any](b *window, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	r, err := chromedp.Run(ctx, chromedp.Action[R](func(ctx context.Context, target *chromedp.Target) (R, error) {
		return cdp.Call(ctx, target, command, params)
	}))
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *window) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v\n%s", err, b.says())
	}
}

// says is what the page says, after its address.
func (b *window) says() string {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.readyState === "complete" ? location.pathname + "\n" + document.body.innerText : ""`))
	if err != nil {
		return err.Error()
	}
	return s
}

func (b *window) open(path string) { b.t.Helper(); b.do(chromedp.Navigate(b.base + path)) }

// fill fills in fields of the page: pairs of ids and values.
func (b *window) fill(pairs ...string) {
	b.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		b.do(chromedp.SendKeys("#"+pairs[i], pairs[i+1]))
	}
}

// press presses a button or follows a link. Where the page was drawn anew after the button
// was found, nothing was pressed, and it is looked for again.
func (b *window) press(selector string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for {
		err := chromedp.Do(ctx, chromedp.Click(selector))
		if err == nil {
			return
		}
		if ctx.Err() != nil || !strings.Contains(err.Error(), "Could not find node") {
			b.t.Fatalf("%v\n%s", err, b.says())
		}
	}
}

// until waits for a page that says something.
func (b *window) until(path, words string) {
	b.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		got := b.says()
		if strings.HasPrefix(got, path+"\n") && strings.Contains(got, words) {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("want %s with %q, and see\n%s", path, words, got)
		}
	}
}

// look takes a picture, where they are asked for.
func (b *window) look(name string) {
	b.t.Helper()
	dir := os.Getenv("TANDEM_SHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// The pages, their script, the browser's own WebAuthn and the server agree: a passkey is
// added and used in a real browser, and one that is forged, copied or of another site is
// not taken.
func TestPasskeyCeremony(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, storetest.SQLite, people.Options{Origin: "https://localhost:" + port})
	// The browser has a clock of its own.
	w.pass(time.Since(w.clock()))
	h := httptest.NewUnstartedServer(w.http.Config.Handler)
	_ = h.Listener.Close()
	h.Listener = l
	h.StartTLS()
	t.Cleanup(h.Close)
	code := must[*people.Code](t)(w.accounts.Create(t.Context(), w.clinician, login))

	b := newWindow(t, h, "https://localhost:"+port)
	b.open("/signin/begin")
	b.fill("login", login, "code", code.Code, "new", secretWord, "again", secretWord)
	b.press("main form button")
	b.until("/signin/factor/new", "passkey")
	b.press(`a[href^="/signin/passkey/new"]`)
	b.until("/signin/passkey/new", "")
	b.look("passkey-new")
	b.fill("label", "yellow key")
	b.press("form[data-passkey] button")
	b.until("/signin/passkey/new", "recovery codes")
	b.look("passkey-recovery")
	held := call(b, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: b.key}).Credentials
	if len(held) != 1 || held[0].RpID != "localhost" {
		t.Fatalf("the authenticator holds %d credentials, %+v", len(held), held)
	}
	b.open("/inside")
	b.until("/inside", w.clinician.String())

	// signIn shows the passphrase and then, as many times as said, the passkey.
	signIn := func(b *window) {
		t.Helper()
		b.open("/signin")
		b.fill("login", login, "passphrase", secretWord)
		b.press("main form button")
		b.until("/signin/factor", "passkey")
	}
	out := func() {
		t.Helper()
		b.open("/signin")
		b.press(`form[action="/signin/out"] button`)
		b.until("/signin", "Passphrase")
	}
	out()
	signIn(b)
	b.look("passkey-factor")
	// Nobody is in yet.
	b.open("/inside")
	if strings.Contains(b.says(), w.clinician.String()) {
		t.Error("in without the second factor")
	}
	b.open("/signin/factor")
	b.press("form[data-passkey] button")
	b.until("/signin", "yellow key")
	b.open("/inside")
	b.until("/inside", w.clinician.String())

	// A forged signature.
	out()
	signIn(b)
	call(b, webauthn.SetResponseOverrideBits, webauthn.SetResponseOverrideBitsParams{AuthenticatorID: b.key, IsBogusSignature: new(true)})
	b.press("form[data-passkey] button")
	b.until("/signin/factor/passkey", "not accepted")
	call(b, webauthn.SetResponseOverrideBits, webauthn.SetResponseOverrideBitsParams{AuthenticatorID: b.key, IsBogusSignature: new(false)})
	b.open("/signin/factor")
	b.press("form[data-passkey] button")
	b.until("/signin", "yellow key")

	// A copy, whose count is behind.
	out()
	signIn(b)
	call(b, webauthn.RemoveCredential, webauthn.RemoveCredentialParams{AuthenticatorID: b.key, CredentialID: held[0].CredentialID})
	held[0].SignCount = 0
	// It is told with a credential that has no such key, and then not taken back.
	held[0].ActiveCmtgKeyIndex = nil
	call(b, webauthn.AddCredential, webauthn.AddCredentialParams{AuthenticatorID: b.key, Credential: held[0]})
	b.press("form[data-passkey] button")
	b.until("/signin/factor/passkey", "not accepted")

	// The same pages under another name: the browser gives the passkey to nobody else.
	c := &window{t: t, ctx: b.ctx, key: b.key, base: "https://127.0.0.1:" + port}
	signIn(c)
	c.press("form[data-passkey] button")
	c.do(chromedp.WaitVisible("form[data-passkey] [role=alert]"))
	c.look("passkey-elsewhere")
	c.open("/inside")
	if strings.Contains(c.says(), w.clinician.String()) {
		t.Error("in under another name")
	}
	all := strings.Join(w.acts(0), "\n")
	for _, act := range []string{"SECOND_FACTOR passkey added", "SIGNED_IN passphrase+passkey", "SIGN_IN_FAILED second factor", "SIGN_IN_FAILED passkey that may be a copy"} {
		if !strings.Contains(all, act) {
			t.Errorf("no entry %s:\n%s", act, all)
		}
	}
}
