package app_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
)

// The status is never ahead of the truth: at each step it says what the store and the
// server hold, and no more.
func TestStatus(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dev := o.device(o.enrol(o.maya, "Car 12"))
	f := serve(t, app.Options{Device: dev})
	b := newBrowser(t, phone)
	b.open(f.next())
	line := func() string { return eval[string](b, `document.querySelector("#status").innerText`) }
	want := func(step, state string, not ...string) {
		t.Helper()
		b.page("today")
		got := line()
		for _, n := range not {
			if strings.Contains(got, n) {
				t.Errorf("%s: the page says %q", step, got)
			}
		}
		if !strings.Contains(got, state) {
			t.Errorf("%s: the page says %q, not %q", step, got, state)
		}
	}
	want("in step", "Verified")
	o.away.Store(true)
	visitEncounter(b)
	here := eval[string](b, "location.href")
	want("saved with no signal", "Saved here", "Sent", "Verified")
	// The server has the words and the answer is lost: the device does not know.
	if _, err := dev.Sync(t.Context()); err == nil {
		t.Fatal("a sync without a server")
	}
	want("after a try", "no signal", "Sent", "Verified")
	o.away.Store(false)
	// A push whose answer does not come is no verdict.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dev.Sync(ctx); err == nil {
		t.Fatal("a sync that was cancelled")
	}
	want("after a try that was cut off", "Saved here", "Sent", "Verified")
	if _, err := dev.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := dev.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.Queued != 0 || st.VerifiedMS == 0 {
		t.Fatalf("%d are queued, verified at %d", st.Queued, st.VerifiedMS)
	}
	want("in step again", "Verified", "not sent")
	// An administrator suspends the device: a person has to do something, also without signal.
	me, err := dev.Session()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.admin.SuspendDevice(t.Context(), me.Device); err != nil {
		t.Fatal(err)
	}
	if _, err := dev.Sync(t.Context()); !errors.Is(err, client.ErrSuspended) {
		t.Fatalf("the device hears %v", err)
	}
	want("suspended", "Needs you", "Verified", "no signal")
	want("suspended", "Suspended")
	o.away.Store(true)
	if _, err := dev.Sync(t.Context()); err == nil {
		t.Fatal("a sync without a server")
	}
	want("suspended, with no signal", "Needs you")
	b.page("tray")
	if got := eval[string](b, "document.body.innerText"); !strings.Contains(got, "until they lift that") {
		t.Errorf("the tray says %q", got)
	}
	b.look("tray-suspended")
	o.away.Store(false)
	if err := o.admin.LiftDevice(t.Context(), me.Device); err != nil {
		t.Fatal(err)
	}
	if _, err := dev.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("after that was lifted", "Verified", "Suspended")
	// Typing that is no save yet is at no server.
	b.open(here)
	b.types("narrative", "Not a save yet.")
	b.kept()
	b.until(`document.querySelector("#status").innerText.includes("typing, not sent yet")`)
	want("typed", "Saved here")
}

// A page that is to show what has changed waits while a tap leads elsewhere: a reload
// would take the tap's place.
func TestReloadTakesNoTap(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	f := serve(t, app.Options{Dir: o.enrol(o.maya, "Car 12"), Client: options()})
	b := newBrowser(t, phone)
	b.open(f.next())
	// From here on each answer says that the page has changed.
	changed := `window.stale = true; window.asked = 0; window.fetch = async () => { window.asked++; return new Response(JSON.stringify({ html: "", changed: true })); };`
	// The page gives a tap fifteen seconds, and no more: its clock stands, as long as asking
	// three times may take here.
	eval[bool](b, changed+`performance.now = () => 0; dispatchEvent(new Event("beforeunload"))`)
	b.until(`window.asked > 2`)
	if !eval[bool](b, "Boolean(window.stale)") {
		t.Error("the page was loaded anew while a tap led elsewhere")
	}
	b.page("today")
	eval[bool](b, changed+`true`)
	b.until(`!window.stale`)
}
