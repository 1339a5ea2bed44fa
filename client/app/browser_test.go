package app_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/tandem-response/tandem/internal/need"
)

// patience is how long a page may take in a test: what is slow under load is not wrong.
const patience = 40 * time.Second

// browser is a Chromium with one window.
type browser struct {
	tb   testing.TB
	ctx  context.Context
	size [2]int64
	taps int
	// prefix of the names of screenshots.
	prefix string
}

// phone and laptop are the sizes of the two devices.
var (
	phone  = [2]int64{390, 844}
	laptop = [2]int64{1280, 860}
)

func newBrowser(tb testing.TB, size [2]int64) *browser {
	tb.Helper()
	path := need.Program(tb, "chromium", "apt-get install chromium fonts-dejavu")
	actx, cancel := chromedp.NewExecAllocator(context.WithoutCancel(tb.Context()), chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Headless, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("lang", "en-US"))
	ctx, cancel2 := chromedp.NewContext(actx)
	tb.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		cancel2()
		cancel()
	})
	b := &browser{tb: tb, ctx: ctx, size: size}
	// The browser lives as long as the context of its first step.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(size[0], size[1])); err != nil {
		tb.Fatal(err)
	}
	return b
}

// window opens another window of the same browser.
func (b *browser) window(size [2]int64) *browser {
	b.tb.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.tb.Cleanup(cancel)
	w := &browser{tb: b.tb, ctx: ctx, size: size}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(size[0], size[1])); err != nil {
		b.tb.Fatal(err)
	}
	return w
}

func (b *browser) do(a chromedp.Action[chromedp.Void]) {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, a); err != nil {
		b.tb.Fatalf("%v\n%s", err, b.words())
	}
}

func eval[T any](b *browser, js string) T {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
	if err != nil {
		b.tb.Fatalf("%s: %v", clip(js), err)
	}
	return v
}

func clip(s string) string { return s[:min(len(s), 80)] }

// words are what the page says.
func (b *browser) words() string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.pathname + "\n" + document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return s
}

// open opens an address and waits until the page is ready.
func (b *browser) open(url string) {
	b.tb.Helper()
	b.do(chromedp.Navigate(url))
	b.ready()
}

func (b *browser) ready() {
	b.tb.Helper()
	b.until(`document.readyState === "complete" && (document.documentElement.dataset.ready === "1" || !document.querySelector("main"))`)
}

// until waits until something is so.
func (b *browser) until(js string) {
	b.tb.Helper()
	for end := time.Now().Add(patience); ; {
		ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+js+")"))
		cancel()
		if err == nil && ok {
			return
		}
		if time.Now().After(end) {
			b.tb.Fatalf("waited in vain for %s (%v)\n%s", js, err, b.words())
		}
		time.Sleep(15 * time.Millisecond)
	}
}

// page opens a page of the app by its address relative to the base.
func (b *browser) page(to string) {
	b.tb.Helper()
	b.open(eval[string](b, "document.baseURI") + to)
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

// tap taps what bears the words, as a finger does, and counts.
func (b *browser) tap(words string) {
	b.tb.Helper()
	var at []float64
	for end := time.Now().Add(patience); len(at) == 0; {
		at = eval[[]float64](b, find+"("+quote(words)+")")
		if len(at) == 0 && time.Now().After(end) {
			b.tb.Fatalf("nothing on the page says %q:\n%s", words, b.words())
		}
	}
	b.taps++
	b.do(chromedp.MouseClickXY(at[0], at[1]))
}

// chip taps a choice of a field, and waits until it is kept.
func (b *browser) chip(name, code string) {
	b.tb.Helper()
	sel := fmt.Sprintf(`input[name=%q][value=%q]`, name, code)
	at := eval[[]float64](b, `(() => { const i = document.querySelector(`+quote(sel)+`); if (!i) return null; for (let e = i.closest("details"); e; e = e.parentElement.closest("details")) e.open = true; const l = i.closest("label"); l.scrollIntoView({ block: "center", behavior: "instant" }); const r = l.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`)
	if len(at) == 0 {
		b.tb.Fatalf("there is no choice %s of %s:\n%s", code, name, b.words())
	}
	b.taps++
	b.do(chromedp.MouseClickXY(at[0], at[1]))
	b.until(`document.querySelector(` + quote(sel) + `).checked`)
}

// goes taps something that leads to another page, and waits for it.
func (b *browser) goes(words string) {
	b.tb.Helper()
	eval[bool](b, "window.stale = true")
	b.tap(words)
	b.until(`!window.stale && document.readyState === "complete"`)
	b.ready()
}

// kept waits until everything typed on the page is in the store.
func (b *browser) kept() {
	b.tb.Helper()
	b.until(`[...document.querySelectorAll("[data-kept]")].every((e) => e.dataset.state !== "typing")`)
}

// types enters text in a field, key by key.
func (b *browser) types(name, text string) {
	b.tb.Helper()
	sel := fmt.Sprintf(`[name=%q]`, name)
	eval[bool](b, `(() => { for (const e of document.querySelectorAll(`+quote(sel)+`)) if (e.type !== "hidden") { for (let d = e.closest("details"); d; d = d.parentElement.closest("details")) d.open = true; e.focus(); if (e.setSelectionRange && e.type !== "number" && e.type !== "date") e.setSelectionRange(e.value.length, e.value.length); } return true; })()`)
	b.do(chromedp.KeyEvent(text))
}

// keys presses keys wherever the focus is.
func (b *browser) keys(keys string) {
	b.tb.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// says fails the test where the page does not say something.
func (b *browser) says(words ...string) {
	b.tb.Helper()
	for _, w := range words {
		b.until(`document.body.innerText.includes(` + quote(w) + `)`)
	}
}

// shot writes a screenshot, where they are asked for.
func (b *browser) shot(name string) {
	b.tb.Helper()
	if *shots == "" {
		return
	}
	// The window is made as tall as the page, so that what sticks to its edges is there.
	tall := max(b.size[1], min(int64(eval[float64](b, "document.documentElement.scrollHeight")), 5000))
	b.do(chromedp.EmulateViewport(b.size[0], tall))
	time.Sleep(120 * time.Millisecond)
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	b.do(chromedp.EmulateViewport(b.size[0], b.size[1]))
	if err != nil {
		b.tb.Fatal(err)
	}
	if err := os.MkdirAll(*shots, 0o755); err != nil {
		b.tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*shots, b.prefix+name+".png"), png, 0o644); err != nil {
		b.tb.Fatal(err)
	}
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// look takes a screenshot where they are asked for, and has axe check the page.
func (b *browser) look(name string) {
	b.tb.Helper()
	b.axe(name)
	b.shot(name)
}

// axe has every rule of WCAG 2.2 at level AA checked, and that targets are 48 pixels.
func (b *browser) axe(name string) {
	b.tb.Helper()
	src, err := os.ReadFile("../../tools/axe/node_modules/axe-core/axe.min.js")
	if err != nil {
		need.Missing(b.tb, "axe: npm ci in tools/axe")
	}
	// From the top: what has been scrolled under the line on top is no fault of a page.
	eval[bool](b, `(() => { for (const a of document.getAnimations()) a.finish(); scrollTo({ top: 0, behavior: "instant" }); return true; })()`)
	eval[bool](b, string(src)+";true")
	found := eval[[]string](b, `axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }).then((r) => r.violations.flatMap((v) => v.nodes.map((n) => v.id + ": " + n.html.slice(0, 160) + " " + (n.any[0] ? n.any[0].message : n.none[0] ? n.none[0].message : ""))))`)
	for _, f := range found {
		b.tb.Errorf("%s: %s", name, f)
	}
	small := eval[[]string](b, `[...document.querySelectorAll("button, a, input, textarea, select, summary")].filter((e) => e.checkVisibility() && !e.closest(".skip") && e.type !== "hidden" && !(e.tagName === "A" && getComputedStyle(e).display === "inline")).map((e) => [e, (e.closest("label") || e).getBoundingClientRect()]).filter(([e, r]) => r.width > 0 && (r.height < 47.5 || r.width < 47.5)).map(([e, r]) => e.outerHTML.slice(0, 120) + " " + r.width + "x" + r.height)`)
	for _, f := range small {
		b.tb.Errorf("%s: a target under 48 pixels: %s", name, f)
	}
	// Text is 7:1 and more, by the formula of WCAG.
	pale := eval[[]string](b, contrast)
	for _, f := range pale {
		b.tb.Errorf("%s: contrast under 7:1: %s", name, f)
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

var _ = kb.Enter

// stroke draws on glass.
func (b *browser) stroke(sel string) {
	b.tb.Helper()
	at := eval[[]float64](b, `(() => { const e = document.querySelector(`+quote(sel)+`); e.scrollIntoView({ block: "center", behavior: "instant" }); const r = e.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; })()`)
	x, y, w, h := at[0], at[1], at[2], at[3]
	b.do(chromedp.MouseEvent(chromedp.MousePressed, x+w*.1, y+h*.6, chromedp.ButtonLeft))
	for i := range 20 {
		f := float64(i) / 20
		b.do(chromedp.MouseEvent(chromedp.MouseMoved, x+w*(.1+.8*f), y+h*(.5+.3*f*(1-f)*float64(1-2*(i%2))), chromedp.ButtonLeft))
	}
	b.do(chromedp.MouseEvent(chromedp.MouseReleased, x+w*.9, y+h*.5, chromedp.ButtonLeft))
}
