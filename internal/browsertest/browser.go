// Package browsertest drives a real browser in tests: it taps as a finger does, looks for
// what a page must not have (axe), and takes screenshots. For tests alone.
package browsertest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/tandem-response/tandem/internal/need"
)

// Patience is how long a page may take in a test, and a browser to start: what is slow under
// load is not wrong.
const Patience = 90 * time.Second

// Browser is a Chromium with one window.
type Browser struct {
	// TB is the test that it is of.
	TB testing.TB
	// Shots is where screenshots go; empty for nowhere.
	Shots string
	ctx   context.Context //nolint:containedctx // It is the browser.
	size  [2]int64
	// Taps counts what a finger did.
	Taps int
	// Prefix of the names of screenshots.
	Prefix string
}

// Phone, Tablet and Laptop are sizes of windows.
var (
	Phone  = [2]int64{390, 844}
	Laptop = [2]int64{1280, 860}
	Tablet = [2]int64{820, 1180}
)

// New starts a browser with a window of a size.
func New(tb testing.TB, size [2]int64) *Browser {
	tb.Helper()
	path := need.Program(tb, "chromium", "apt-get install chromium fonts-dejavu")
	actx, cancel := chromedp.NewExecAllocator(context.WithoutCancel(tb.Context()), chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Headless, chromedp.DisableGPU, chromedp.WSURLReadTimeout(Patience),
		chromedp.NoFirstRun, chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("lang", "en-US"))
	ctx, cancel2 := chromedp.NewContext(actx)
	tb.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		cancel2()
		cancel()
	})
	b := &Browser{TB: tb, ctx: ctx, size: size}
	// The browser lives as long as the context of its first step.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(size[0], size[1])); err != nil {
		tb.Fatal(err)
	}
	return b
}

// Window opens another window of the same browser.
func (b *Browser) Window(size [2]int64) *Browser {
	b.TB.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.TB.Cleanup(cancel)
	w := &Browser{TB: b.TB, ctx: ctx, size: size, Shots: b.Shots}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(size[0], size[1])); err != nil {
		b.TB.Fatal(err)
	}
	return w
}

// Do does what a script would.
func (b *Browser) Do(a chromedp.Action[chromedp.Void]) {
	b.TB.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, Patience)
	defer cancel()
	if err := chromedp.Do(ctx, a); err != nil {
		b.TB.Fatalf("%v\n%s", err, b.Words())
	}
}

// Eval evaluates a script in the page; a promise is awaited.
func Eval[T any](b *Browser, js string) T {
	b.TB.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, Patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
	if err != nil {
		b.TB.Fatalf("%s: %v", clip(js), err)
	}
	return v
}

// Call sends a command of the browser's own protocol and returns its answer.
func Call[T any](b *Browser, method string) (out T) {
	b.TB.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, Patience)
	defer cancel()
	_, err := chromedp.Run(ctx, func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		return chromedp.Void{}, t.Call(ctx, method, struct{}{}, &out)
	})
	if err != nil {
		b.TB.Fatalf("%s: %v", method, err)
	}
	return out
}

func clip(s string) string { return s[:min(len(s), 80)] }

// Words are what the page says.
func (b *Browser) Words() string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.pathname + "\n" + document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return s
}

// Open opens an address and waits until the page is ready.
func (b *Browser) Open(url string) {
	b.TB.Helper()
	b.Do(chromedp.Navigate(url))
	b.Ready()
}

// Ready waits until the page is there, and its script.
func (b *Browser) Ready() {
	b.TB.Helper()
	b.Until(`document.readyState === "complete" && (document.documentElement.dataset.ready === "1" || !document.querySelector("main"))`)
}

// Until waits until something is so.
func (b *Browser) Until(js string) {
	b.TB.Helper()
	for end := time.Now().Add(Patience); ; {
		ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+js+")"))
		cancel()
		if err == nil && ok {
			return
		}
		if time.Now().After(end) {
			b.TB.Fatalf("waited in vain for %s (%v)\n%s", js, err, b.Words())
		}
		time.Sleep(15 * time.Millisecond)
	}
}

// Comes loads the page anew, whole each time, until something is so on it.
func (b *Browser) Comes(js string) {
	b.TB.Helper()
	b.Until(`document.readyState === "complete" && ((` + js + `) || (location.reload(), false))`)
}

// Standing has the clock of each page from now on stand still, so that nothing of it is over
// before a slow machine has looked.
func (b *Browser) Standing() {
	b.TB.Helper()
	b.Do(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		return chromedp.Void{}, t.Call(ctx, "Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": "Date.now = () => 0"}, &struct{}{})
	})
}

// Page opens a page of the app by its address relative to the base.
func (b *Browser) Page(to string) {
	b.TB.Helper()
	b.Open(Eval[string](b, "document.baseURI") + to)
}

// find is a script that finds what a finger would: a visible control by its words, exact
// before beginning.
const find = `((words) => {
  const all = [...document.querySelectorAll("button, a, summary, .chips label, label.switch")].filter((e) => e.checkVisibility() && !e.disabled);
  const text = (e) => (e.innerText || e.getAttribute("aria-label") || "").trim().replace(/\s+/g, " ");
  const el = all.find((e) => text(e) === words || e.getAttribute("aria-label") === words) || all.find((e) => text(e).startsWith(words));
  if (!el) return null;
  el.scrollIntoView({ block: "center", behavior: "instant" });
  const r = el.getBoundingClientRect();
  return [r.x + r.width / 2, r.y + r.height / 2, r.width, r.height];
})`

// Tap taps what bears the words, as a finger does, and counts.
func (b *Browser) Tap(words string) {
	b.TB.Helper()
	b.tap(fmt.Sprintf("what says %q", words), find+"("+Quote(words)+")")
}

// Hold puts a finger on what bears the words and leaves it there until another page shows.
func (b *Browser) Hold(words string) {
	b.TB.Helper()
	Eval[bool](b, "window.stale = true")
	at := Eval[[]float64](b, find+"("+Quote(words)+")")
	if len(at) == 0 {
		b.TB.Fatalf("the page does not show %q:\n%s", words, b.Words())
	}
	b.touch("touchStart", map[string]any{"x": at[0], "y": at[1]})
	b.Until(`!window.stale && document.readyState === "complete"`)
	b.touch("touchEnd")
	b.Ready()
}

func (b *Browser) touch(kind string, points ...map[string]any) {
	b.TB.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, Patience)
	defer cancel()
	_, err := chromedp.Run(ctx, func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		what := map[string]any{"type": kind, "touchPoints": append([]map[string]any{}, points...)}
		return chromedp.Void{}, t.Call(ctx, "Input.dispatchTouchEvent", what, &struct{}{})
	})
	if err != nil {
		b.TB.Fatal(err)
	}
}

// Chip taps a choice of a field, and waits until it is kept.
func (b *Browser) Chip(name, code string) {
	b.TB.Helper()
	sel := fmt.Sprintf(`input[name=%q][value=%q]`, name, code)
	b.tap("the choice "+code+" of "+name, `(() => { const i = document.querySelector(`+Quote(sel)+`); if (!i) return null; for (let e = i.closest("details"); e; e = e.parentElement.closest("details")) e.open = true; const l = i.closest("label"); l.scrollIntoView({ block: "center", behavior: "instant" }); const r = l.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`)
	b.Until(`document.querySelector(` + Quote(sel) + `).checked`)
}

// Slide taps a stop of a scale, counted from 1, and waits until the slider is there.
func (b *Browser) Slide(name string, stop int) {
	b.TB.Helper()
	sel := fmt.Sprintf(`input[type=range][name=%q]`, name)
	b.tap(fmt.Sprintf("the scale %s at %d", name, stop), fmt.Sprintf(`(() => { const e = document.querySelector(%s); if (!e) return null; e.scrollIntoView({ block: "center", behavior: "instant" }); const r = e.getBoundingClientRect(); return [r.x + r.width * (%d + .5) / (Number(e.max) + 1), r.y + r.height / 2]; })()`, Quote(sel), stop))
	b.Until(fmt.Sprintf(`document.querySelector(%s).value === "%d"`, Quote(sel), stop))
}

// tap taps where a script says that something is, once it stands still: a page that has
// just taken in what is new moves, and one that was typed in scrolls with the next frame.
func (b *Browser) tap(what, where string) {
	b.TB.Helper()
	at := Eval[[]float64](b, where)
	for end := time.Now().Add(Patience); ; {
		// A window that is not shown is not drawn.
		Eval[bool](b, `new Promise((done) => { setTimeout(() => done(false), 250); requestAnimationFrame(() => requestAnimationFrame(() => done(true))); })`)
		before := at
		if at = Eval[[]float64](b, where); len(at) > 0 && slices.Equal(at, before) {
			break
		}
		if time.Now().After(end) {
			b.TB.Fatalf("the page does not show, or does not hold still, %s:\n%s", what, b.Words())
		}
	}
	b.Taps++
	b.Do(chromedp.MouseClickXY(at[0], at[1]))
}

// Goes taps something that leads to another page, and waits for it.
func (b *Browser) Goes(words string) {
	b.TB.Helper()
	Eval[bool](b, "window.stale = true")
	b.Tap(words)
	b.Until(`!window.stale && document.readyState === "complete"`)
	b.Ready()
}

// Kept waits until everything typed on the page is in the store.
func (b *Browser) Kept() {
	b.TB.Helper()
	b.Until(`[...document.querySelectorAll("[data-kept]")].every((e) => e.dataset.state !== "typing")`)
}

// Types enters text in a field, key by key.
func (b *Browser) Types(name, text string) {
	b.TB.Helper()
	sel := fmt.Sprintf(`[name=%q]`, name)
	Eval[bool](b, `(() => { for (const e of document.querySelectorAll(`+Quote(sel)+`)) if (e.type !== "hidden") { for (let d = e.closest("details"); d; d = d.parentElement.closest("details")) d.open = true; e.focus(); if (e.setSelectionRange && e.type !== "number" && e.type !== "date") e.setSelectionRange(e.value.length, e.value.length); } return true; })()`)
	b.Do(chromedp.KeyEvent(text))
}

// Keys presses keys wherever the focus is.
func (b *Browser) Keys(keys string) {
	b.TB.Helper()
	b.Do(chromedp.KeyEvent(keys))
}

// Says fails the test where the page does not say something.
func (b *Browser) Says(words ...string) {
	b.TB.Helper()
	for _, w := range words {
		b.Until(`document.body.innerText.includes(` + Quote(w) + `)`)
	}
}

// Media has the page shown as on a medium, such as print; empty is the screen again.
func (b *Browser) Media(medium string) {
	b.TB.Helper()
	b.Do(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: medium})
		return chromedp.Void{}, err
	})
}

// PDF prints the page on Letter paper.
func (b *Browser) PDF() []byte {
	b.TB.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, Patience)
	defer cancel()
	pdf, err := chromedp.Run(ctx, chromedp.PrintToPDF())
	if err != nil {
		b.TB.Fatal(err)
	}
	return pdf
}

// Shot writes a screenshot, where they are asked for.
func (b *Browser) Shot(name string) {
	b.TB.Helper()
	if b.Shots == "" {
		return
	}
	// The window is made as tall as the page, so that what sticks to its edges is there.
	tall := max(b.size[1], min(int64(Eval[float64](b, "document.documentElement.scrollHeight")), 5000))
	b.Do(chromedp.EmulateViewport(b.size[0], tall))
	time.Sleep(120 * time.Millisecond)
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	b.Do(chromedp.EmulateViewport(b.size[0], b.size[1]))
	// What is tapped next is looked for in the window as it is then.
	b.Until(fmt.Sprintf("innerHeight === %d", b.size[1]))
	if err != nil {
		b.TB.Fatal(err)
	}
	//nolint:gosec // The pictures are for everybody.
	if err := os.MkdirAll(b.Shots, 0o755); err != nil {
		b.TB.Fatal(err)
	}
	//nolint:gosec // The pictures are for everybody.
	if err := os.WriteFile(filepath.Join(b.Shots, b.Prefix+name+".png"), png, 0o644); err != nil {
		b.TB.Fatal(err)
	}
}

// Quote is a text as a script says it.
func Quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// Look takes a screenshot where they are asked for, and has axe check the page.
func (b *Browser) Look(name string) {
	b.TB.Helper()
	b.Axe(name)
	b.Shot(name)
	// A table that is wider than the page has a box of its own to be moved in.
	if cut := Eval[string](b, `[...document.querySelectorAll("table")].filter(t => !t.closest(".wide") && t.scrollWidth > t.parentElement.clientWidth).map(t => t.innerText.slice(0, 80)).join("; ")`); cut != "" {
		b.TB.Errorf("%s: a table is cut off: %s", name, cut)
	}
	for _, wide := range Eval[[]string](b, `document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() && !e.closest(".wide, .skip, .jump *, .rail *, .reasons *") && e.getBoundingClientRect().right > innerWidth + .5).slice(0, 3).map((e) => e.outerHTML.slice(0, 100))`) {
		b.TB.Errorf("%s: the page is wider than its window: %s", name, wide)
	}
	for _, wrong := range Eval[[]string](b, menu) {
		b.TB.Errorf("%s: the menu: %s", name, wrong)
	}
}

// menu says which words of the menu are broken, and whether it hides where one is.
const menu = `(() => {
  const out = [], broken = document.createTreeWalker(document.querySelector("nav.rail") || document.createElement("p"), NodeFilter.SHOW_TEXT);
  for (let n; (n = broken.nextNode());) for (const m of n.textContent.matchAll(/\S+/g)) {
    const r = document.createRange();
    r.setStart(n, m.index);
    r.setEnd(n, m.index + m[0].length);
    if (new Set([...r.getClientRects()].map((c) => c.top)).size > 1) out.push("it breaks the word " + m[0]);
  }
  for (const a of document.querySelectorAll("nav.rail [aria-current]")) { const r = a.getBoundingClientRect(); if (r.left < -1 || r.right > innerWidth + 1) out.push("it hides where one is: " + a.innerText); }
  return out;
})()`

// Axe has every rule of WCAG 2.2 at level AA checked, and that targets are 48 pixels.
func (b *Browser) Axe(name string) {
	b.TB.Helper()
	src, err := os.ReadFile("../../tools/axe/node_modules/axe-core/axe.min.js")
	if err != nil {
		need.Missing(b.TB, "axe: npm ci in tools/axe")
	}
	// From the top: what has been scrolled under the line on top is no fault of a page.
	Eval[bool](b, `(() => { for (const a of document.getAnimations()) a.finish(); scrollTo({ top: 0, behavior: "instant" }); return true; })()`)
	Eval[bool](b, string(src)+";true")
	found := Eval[[]string](b, `axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }).then((r) => r.violations.flatMap((v) => v.nodes.map((n) => v.id + ": " + n.html.slice(0, 160) + " " + (n.any[0] ? n.any[0].message : n.none[0] ? n.none[0].message : ""))))`)
	for _, f := range found {
		b.TB.Errorf("%s: %s", name, f)
	}
	small := Eval[[]string](b, `[...document.querySelectorAll("button, a, input, textarea, select, summary")].filter((e) => e.checkVisibility() && !e.closest(".skip") && e.type !== "hidden" && !(e.tagName === "A" && getComputedStyle(e).display === "inline")).map((e) => [e, (e.closest("label") || e).getBoundingClientRect()]).filter(([e, r]) => r.width > 0 && (r.height < 47.5 || r.width < 47.5)).map(([e, r]) => e.outerHTML.slice(0, 120) + " " + r.width + "x" + r.height)`)
	for _, f := range small {
		b.TB.Errorf("%s: a target under 48 pixels: %s", name, f)
	}
	// Text is 7:1 and more, by the formula of WCAG.
	pale := Eval[[]string](b, contrast)
	for _, f := range pale {
		b.TB.Errorf("%s: contrast under 7:1: %s", name, f)
	}
}

const contrast = `(() => {
  const rgb = (c) => c.match(/[0-9.]+/g).map(Number);
  const lum = ([r, g, b]) => { const f = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
  const under = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return rgb(getComputedStyle(document.documentElement).backgroundColor); };
  const out = [];
  for (const e of document.querySelectorAll("body *")) {
    if (!e.checkVisibility() || e.closest(".skip, :disabled") || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const a = lum(rgb(getComputedStyle(e).color)), b = lum(under(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 7) out.push(e.outerHTML.slice(0, 100) + " " + ratio.toFixed(2));
  }
  return out;
})()`

// Press goes to what bears the words by the tab key alone, and presses a key there. It
// fails where the way is longer than the page, or where the focus cannot be seen.
func (b *Browser) Press(words, key string) {
	b.TB.Helper()
	for range 140 {
		b.Keys(kb.Tab)
		at := Eval[[]string](b, `(() => { const e = document.activeElement; const l = e.closest("label"); const s = getComputedStyle(l && e.matches("input") ? l.querySelector("span") || l : e); return [(l && e.matches("[type=radio],[type=checkbox]") ? l.innerText : e.innerText || e.getAttribute("aria-label") || e.name || "").trim().replace(/\s+/g, " "), s.outlineStyle + s.outlineWidth]; })()`)
		if !strings.HasPrefix(at[0], words) {
			continue
		}
		if at[1] == "none0px" || at[1] == "none3px" {
			b.TB.Errorf("the focus on %q cannot be seen", words)
		}
		b.Keys(key)
		return
	}
	b.TB.Fatalf("the tab key does not lead to %q:\n%s", words, b.Words())
}

// PressGoes is Press with the enter key on what leads to another page, and waits for it.
func (b *Browser) PressGoes(words string) {
	b.TB.Helper()
	Eval[bool](b, "window.stale = true")
	b.Press(words, kb.Enter)
	b.Until(`!window.stale && document.readyState === "complete"`)
	b.Ready()
}

// Stroke draws on glass.
func (b *Browser) Stroke(sel string) {
	b.TB.Helper()
	at := Eval[[]float64](b, `(() => { const e = document.querySelector(`+Quote(sel)+`); e.scrollIntoView({ block: "center", behavior: "instant" }); const r = e.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; })()`)
	x, y, w, h := at[0], at[1], at[2], at[3]
	b.Do(chromedp.MouseEvent(chromedp.MousePressed, x+w*.1, y+h*.6, chromedp.ButtonLeft))
	for i := range 20 {
		f := float64(i) / 20
		b.Do(chromedp.MouseEvent(chromedp.MouseMoved, x+w*(.1+.8*f), y+h*(.5+.3*f*(1-f)*float64(1-2*(i%2))), chromedp.ButtonLeft))
	}
	b.Do(chromedp.MouseEvent(chromedp.MouseReleased, x+w*.9, y+h*.5, chromedp.ButtonLeft))
}
