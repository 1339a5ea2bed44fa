package app_test

import (
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client/app"
)

// A page says that what was typed is kept when all of it is, and not while a later key is on
// its way.
func TestKeptSaysAll(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	b := newBrowser(t, laptop)
	b.open(serve(t, app.Options{Dir: o.enrol(o.maya, "Car 12"), Client: options()}).next())
	visitEncounter(b)
	eval[bool](b, `(() => {
  const ask = window.fetch, el = document.querySelector("[name=narrative]");
  let last = "";
  window.early = 0;
  window.fetch = async (url, o) => {
    const words = o && o.body instanceof URLSearchParams && o.body.get("v.narrative");
    if (typeof words !== "string") return ask(url, o);
    await new Promise((done) => setTimeout(done, 500));
    const said = await ask(url, o);
    last = words;
    return said;
  };
  const kept = document.querySelector("[data-kept]");
  new MutationObserver(() => { if (kept.dataset.state === "kept" && last !== el.value) window.early++; }).observe(kept, { attributes: true });
  const type = (text) => { el.value = text; el.dispatchEvent(new Event("input", { bubbles: true })); };
  type("One.");
  setTimeout(() => type("One. Two."), 450);
  setTimeout(() => { window.typed = true; }, 460);
  return true;
})()`)
	b.until(`window.typed`)
	b.kept()
	if got := eval[int](b, `window.early`); got != 0 {
		t.Errorf("the page says %d times too early that all is kept", got)
	}
	if got := eval[string](b, `document.querySelector("[name=narrative]").value`); got != "One. Two." {
		t.Errorf("the words are %q", got)
	}
}

// What is folded up says what is chosen in it, whoever chose it and however it was taken back.
func TestFoldedSays(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	b := newBrowser(t, laptop)
	b.open(serve(t, app.Options{Dir: o.enrol(o.maya, "Car 12"), Client: options()}).next())
	b.page("today")
	source := func() string { return eval[string](b, `document.querySelector("[data-says=source]").textContent`) }
	usual := source()
	eval[bool](b, `(() => { document.querySelector("[data-says=source]").closest("details").open = true; return true; })()`)
	tap := `(() => { document.querySelector("input[name=source][value=walk_in]").click(); return true; })()`
	eval[bool](b, tap)
	if source() == usual {
		t.Errorf("a source that is chosen is said as %q", usual)
	}
	eval[bool](b, tap)
	if got := source(); got != usual {
		t.Errorf("with nothing chosen it says %q, and the call is of %q", got, usual)
	}

	visitEncounter(b)
	here := eval[string](b, "location.href")
	b.chip("substance", "alcohol")
	b.kept()
	fold := `(() => { document.querySelector("[data-fold=secPresenting] summary").click(); return true; })()`
	summary := `document.querySelector("[data-fold=secPresenting] summary small").textContent`
	eval[bool](b, fold)
	b.until(`!document.querySelector("[data-fold=secPresenting]").open`)
	w := b.window(laptop)
	w.open(here)
	w.chip("presenting_primary", "trauma")
	w.kept()
	b.until(`document.querySelector("input[name=presenting_primary][value=trauma]").checked`)
	if got := eval[string](b, summary); !strings.Contains(got, "Trauma") {
		t.Errorf("another window has chosen, and the summary says %q", got)
	}

	// Words of another window are not folded away.
	eval[bool](b, `(() => { document.querySelector("[data-fold=secWords] summary").click(); return true; })()`)
	b.until(`!document.querySelector("[data-fold=secWords]").open`)
	for _, win := range []*browser{b, w} {
		eval[bool](win, `(() => { BroadcastChannel.prototype.postMessage = () => {}; return true; })()`)
	}
	for i, text := range []string{"A whole new text of the first window.", "And another of the second window."} {
		win := []*browser{b, w}[i]
		eval[bool](win, `(() => { const el = document.querySelector("[name=narrative]"); el.value = `+quote(text)+`; el.dispatchEvent(new Event("input", { bubbles: true })); return true; })()`)
		win.kept()
	}
	eval[bool](b, `(() => { location.reload(); return true; })()`)
	b.until(`document.querySelector("[data-fold=secWords] .other")`)
	b.ready()
	if !eval[bool](b, `document.querySelector("[data-fold=secWords]").open`) {
		t.Error("words that need a decision are folded away")
	}
}
