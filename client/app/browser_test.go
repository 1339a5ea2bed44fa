package app_test

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/tandem-response/tandem/internal/browsertest"
)

// browser is a Chromium with one window; it counts taps.
type browser struct {
	*browsertest.Browser

	tb   testing.TB
	taps int
	// prefix of the names of screenshots.
	prefix string
}

// phone and laptop are the sizes of the two devices.
var phone, laptop = browsertest.Phone, browsertest.Laptop

// patience is how long a page may take.
const patience = browsertest.Patience

func newBrowser(tb testing.TB, size [2]int64) *browser {
	tb.Helper()
	b := browsertest.New(tb, size)
	b.Shots = *shots
	return &browser{Browser: b, tb: tb}
}

// window opens another window of the same browser.
func (b *browser) window(size [2]int64) *browser {
	b.tb.Helper()
	return &browser{Browser: b.Window(size), tb: b.tb}
}

func eval[T any](b *browser, js string) T { b.tb.Helper(); return browsertest.Eval[T](b.Browser, js) }

func quote(s string) string { return browsertest.Quote(s) }

func (b *browser) do(a chromedp.Action[chromedp.Void]) { b.tb.Helper(); b.Do(a) }
func (b *browser) words() string                       { return b.Words() }
func (b *browser) open(url string)                     { b.tb.Helper(); b.Open(url) }
func (b *browser) ready()                              { b.tb.Helper(); b.Ready() }
func (b *browser) until(js string)                     { b.tb.Helper(); b.Until(js) }
func (b *browser) page(to string)                      { b.tb.Helper(); b.Page(to) }
func (b *browser) tap(words string)                    { b.tb.Helper(); b.taps++; b.Tap(words) }
func (b *browser) chip(name, code string)              { b.tb.Helper(); b.taps++; b.Chip(name, code) }
func (b *browser) goes(words string)                   { b.tb.Helper(); b.taps++; b.Goes(words) }
func (b *browser) hold(words string)                   { b.tb.Helper(); b.taps++; b.Hold(words) }
func (b *browser) kept()                               { b.tb.Helper(); b.Kept() }
func (b *browser) types(name, text string)             { b.tb.Helper(); b.Types(name, text) }
func (b *browser) keys(keys string)                    { b.tb.Helper(); b.Keys(keys) }
func (b *browser) says(words ...string)                { b.tb.Helper(); b.Says(words...) }
func (b *browser) axe(name string)                     { b.tb.Helper(); b.Axe(name) }
func (b *browser) stroke(sel string)                   { b.tb.Helper(); b.Stroke(sel) }

// look takes a screenshot where they are asked for, and has axe check the page.
func (b *browser) look(name string) { b.tb.Helper(); b.Prefix = b.prefix; b.Look(name) }
