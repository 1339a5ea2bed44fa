package console_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/internal/browsertest"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/console"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/syncengine"
)

// call has a browser do what no page can.
func call[P, R any](b *browsertest.Browser, command cdp.Command[P, R], params P) {
	b.TB.Helper()
	b.Do(chromedp.Action[chromedp.Void](func(ctx context.Context, target *chromedp.Target) (none chromedp.Void, err error) {
		_, err = cdp.Call(ctx, target, command, params)
		return none, err
	}))
}

// named serves the console under a name, which passkeys need.
func (w *whole) named() {
	w.tb.Helper()
	listener := must[net.Listener](w.tb)(new(net.ListenConfig).Listen(w.tb.Context(), "tcp", "127.0.0.1:0"))
	_, port, _ := strings.Cut(listener.Addr().String(), ":")
	w.url = "http://localhost:" + port
	srv := must[*server.Server](w.tb)(server.New(w.st, server.Options{
		Log: zerolog.Nop(), Clock: w.now, FHIR: w.exports.Handler,
		Origin: w.url, People: people.Options{SecondFactor: people.Admins, Cost: people.Cost{MemoryKiB: 64, Time: 1, Threads: 1}},
		Console: func(s *server.Server) (http.Handler, error) {
			return console.New(s, w.st, console.Options{Log: zerolog.Nop(), Clock: w.now, Exports: w.exports})
		},
	}))
	h := httptest.NewUnstartedServer(srv)
	if err := h.Listener.Close(); err != nil {
		w.tb.Fatal(err)
	}
	h.Listener = listener
	h.Start()
	w.tb.Cleanup(func() {
		srv.End()
		h.Close()
	})
}

// Somebody whose only second factor is a passkey decides on an export with it: approves one,
// refuses another with a reason.
func TestPasskeyApproves(t *testing.T) {
	t.Parallel()
	w := newWhole(t, storetest.SQLite)
	w.crowd()
	ada := w.signIn(w.ada, "ada.admin")
	for range 2 {
		ada.post("/console/exports", asking...).want(t, http.StatusOK, "waits for a second person")
	}
	w.named()
	abe := must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Abe Second", Discipline: "other", Roles: []string{"admin"}, Agency: w.clinic, Teams: []syncengine.ID{w.night}}))
	b := browsertest.New(t, browsertest.Phone)
	b.Prefix = "console-phone-dark-en-"
	call(b, webauthn.Enable, webauthn.EnableParams{})
	call(b, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}})
	w.sits(b, abe, "abe.second", "/signin/passkey/new")
	b.Until(`document.querySelector("form[data-passkey] button")`)
	browsertest.Eval[bool](b, `(document.querySelector("form[data-passkey] button").click(), true)`)
	b.Until(`document.querySelectorAll("li code").length === 10`)
	b.Open(w.url + "/console/exports")
	b.Goes("quarterly figures")
	b.Says("with your passkey", "Or with a code", "Ada Admin")
	b.Look("approval-passkey")
	// What was asked to approve with confirms no refusal.
	browsertest.Eval[bool](b, `(() => {
		const [approve, refuse] = ["approve", "refuse"].map((act) => document.querySelector("form[data-passkey][action$=" + act + "]"));
		document.querySelector("#reason-passkey").value = "Not meant.";
		refuse.dataset.passkey = approve.dataset.passkey;
		refuse.elements.sealed.value = approve.elements.sealed.value;
		return true;
	})()`)
	b.Goes("Refuse")
	b.Says("The passkey did not answer")
	b.Goes("Approve the export")
	b.Says("Approved. The export is being made.")
	if n := w.made(); n != 1 {
		t.Fatalf("%d exports", n)
	}
	b.Goes("quarterly figures")
	browsertest.Eval[bool](b, `(document.querySelector("#reason-passkey").value = "Not this one.", true)`)
	b.Goes("Refuse")
	b.Says("Refused. Whoever asked sees why.")
	ada.get("/console/exports").want(t, http.StatusOK, "Not this one.", "Abe Second", "Ready")
}
