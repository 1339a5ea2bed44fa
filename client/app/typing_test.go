package app_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

var (
	kills  = flag.Int("app.kills", 3, "how often the app is killed while somebody types")
	second = flag.Bool("app.second", false, "whether the app may lose no keystroke older than a second")
)

// visitEncounter makes a call with an encounter, and leaves the window on it.
func visitEncounter(b *browser) {
	b.tb.Helper()
	b.page("today")
	b.goes("Welfare check")
	b.goes("Arrived")
	b.chip("place_type", "home")
	b.kept()
	b.goes("Contact made")
	b.goes("Not identified")
}

// Back, reload, two windows and a lock lose nothing of what was typed.
func TestTyping(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := o.enrol(o.maya, "Car 12")
	f := serve(t, app.Options{Dir: dir, Client: options()})
	b := newBrowser(t, laptop)
	b.open(f.next())
	visitEncounter(b)
	here := eval[string](b, "location.href")
	words := func(w *browser) string { return eval[string](w, `document.querySelector("[name=narrative]").value`) }
	want := func(w *browser, text string) {
		t.Helper()
		if got := words(w); got != text {
			t.Fatalf("the words are %q, want %q", got, text)
		}
	}
	b.types("narrative", "One.")
	b.kept()
	b.open(here)
	want(b, "One.")
	// Typed and left at once, by a link and by going back.
	b.types("narrative", " Two.")
	b.page("tray")
	b.do(chromedp.NavigateBack())
	b.until(`location.href.includes("encounter")`)
	b.ready()
	b.until(`document.querySelector("[name=narrative]").value.endsWith("Two.")`)
	want(b, "One. Two.")

	// Two windows: what is typed in one shows in the other; both fields are kept.
	w := b.window(laptop)
	w.open(here)
	want(w, "One. Two.")
	b.chip("substance", "alcohol")
	b.kept()
	w.until(`document.querySelector("input[name=substance][value=alcohol]").checked`)
	w.types("narrative", " Three.")
	w.kept()
	b.open(here)
	want(b, "One. Two. Three.")
	if !eval[bool](b, `document.querySelector("input[name=substance][value=alcohol]").checked`) {
		t.Error("the other window's typing has cleared a choice")
	}

	// Two windows that do not hear each other type in one field: both texts are there.
	eval[bool](w, `(() => { BroadcastChannel.prototype.postMessage = () => {}; return true; })()`)
	eval[bool](b, `(() => { BroadcastChannel.prototype.postMessage = () => {}; return true; })()`)
	eval[bool](b, `(() => { document.querySelector("[name=narrative]").value = "A whole new text of the first window."; return true; })()`)
	b.types("narrative", "!")
	b.kept()
	w.types("narrative", " Four.")
	w.kept()
	b.open(here)
	b.says("Another window has typed here", "A whole new text of the first window.!")
	want(b, "One. Two. Three. Four.")

	// Words longer than what a request may carry that outlives its page.
	long := strings.Repeat("ñáéíóú ", 2500)
	eval[bool](b, `(() => { document.querySelector("[name=narrative]").value = `+quote(long)+`; return true; })()`)
	b.types("narrative", "Y más.")
	b.kept()
	b.open(here)
	want(b, long+"Y más.")
	eval[bool](b, `(() => { document.querySelector("[name=narrative]").value = "One. Two. Three. Four"; return true; })()`)
	b.types("narrative", ".")
	b.kept()

	// A page asks before it is left with words that no request can carry then; one that has
	// kept them does not.
	asks := func(text string) bool {
		t.Helper()
		return eval[bool](b, `(() => {
  const el = document.querySelector("[name=narrative]"), was = el.value;
  el.value = `+quote(text)+`; el.dispatchEvent(new Event("input", { bubbles: true }));
  const e = new Event("beforeunload", { cancelable: true });
  dispatchEvent(e);
  el.value = was; el.dispatchEvent(new Event("input", { bubbles: true }));
  return e.defaultPrevented;
})()`)
	}
	if !asks(strings.Repeat("ñáéíóú ", 2500)) || asks("Short.") {
		t.Error("the page asks at the wrong words before it is left")
	}
	b.kept()

	// A lock hides the page; what was typed until then is kept.
	b.types("narrative", " Five.")
	b.tap("Lock now")
	b.until(`location.pathname.endsWith("lock")`)
	b.ready()
	if strings.Contains(b.words(), "Five") {
		t.Error("the lock screen shows what was typed")
	}
	w.until(`location.pathname.endsWith("lock")`)
	b.types("passphrase", "not this one")
	b.goes("Unlock")
	b.says("does not fit")
	b.types("passphrase", passphrase)
	b.goes("Unlock")
	b.open(here)
	want(b, "One. Two. Three. Four. Five.")
}

// What is typed becomes a save by itself, and one that says what its author saw: what
// arrived meanwhile stands beside it.
func TestSettle(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir, other := o.enrol(o.maya, "Car 12"), o.enrol(o.luis, "Tablet 3")
	maya := o.device(dir)
	saved, err := maya.Edit(t.Context(), func(e *client.Edit) error {
		_, err := e.Create(&tandemv1.Person{Descriptor_: new("man, 40s, red coat"), City: new("Millbrook")})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := maya.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := maya.Close(); err != nil {
		t.Fatal(err)
	}
	luis := o.device(other)
	if _, err := luis.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := &clock{}
	co := options()
	co.Now = c.now
	f := serve(t, app.Options{Dir: dir, Client: co})
	b := newBrowser(t, laptop)
	b.open(f.next())
	b.page("people")
	b.until(`document.body.innerText.includes("red coat") || (location.reload(), false)`)
	b.page("person/" + saved.Records[0].String() + "/edit")
	o.away.Store(true)
	b.types("city", " North")
	b.kept()
	b.says("typing, not sent yet")

	// Meanwhile the other one writes the same field, and it arrives before the typing is a
	// save.
	v, err := luis.Get(t.Context(), saved.Records[0])
	if err != nil {
		t.Fatal(err)
	}
	p, ok := v.Message.(*tandemv1.Person)
	if !ok {
		t.Fatal("no person")
	}
	p.City = new("Millbrook South")
	if _, err := luis.Edit(t.Context(), func(e *client.Edit) error { return e.Set(v, p) }); err != nil {
		t.Fatal(err)
	}
	o.away.Store(false)
	if _, err := luis.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.until(`!document.querySelector("#moved").hidden`)
	c.ahead.Store(int64(2 * time.Minute))
	b.page("tray")
	b.until(`document.body.innerText.includes("Two people wrote") || (location.reload(), false)`)
	b.until(`document.body.innerText.includes("Luis Vega")`)
	b.says("Millbrook South", "Millbrook North", "Luis Vega", "Maya Ortiz (you)", "City")
	b.look("tray-clash")
	b.tap("Take this: Luis Vega")
	b.says("Nothing needs you")
	b.page("person/" + saved.Records[0].String())
	b.says("Millbrook South")
}

// watching is what a page notes of itself while somebody types: each key by the page's own
// clock, the words that the app has said are kept, how long a key waits until it is sent, and
// the keys that nothing would send. No more once the app does not answer.
const watching = `(() => {
  const w = window.watched = { pressed: [], kept: "", waits: [], unsent: [] };
  const ask = window.fetch, set = window.setTimeout, clear = window.clearTimeout, timers = new Set();
  let pressing = false, over = false;
  window.setTimeout = (f, ms, ...more) => {
    const id = set(() => { timers.delete(id); f(...more); }, ms);
    if (pressing) { timers.add(id); w.waits.push(ms); }
    return id;
  };
  window.clearTimeout = (id) => { timers.delete(id); clear(id); };
  const el = document.querySelector("[name=narrative]");
  el.addEventListener("input", () => { pressing = true; w.pressed.push({ at: Date.now(), text: el.value }); }, true);
  document.addEventListener("input", () => { pressing = false; if (!over && timers.size === 0) w.unsent.push(el.value); });
  window.fetch = async (url, o) => {
    const words = o && o.body instanceof URLSearchParams && o.body.get("v.narrative");
    if (typeof words !== "string") return ask(url, o);
    try {
      const said = await ask(url, o);
      if (said.ok) w.kept = words; else over = true;
      return said;
    } catch (e) { over = true; throw e; }
  };
  return true;
})()`

// watched is what a page has noted.
type watched struct {
	Pressed []struct {
		At   int64
		Text string
	}
	Kept   string
	Waits  []int
	Unsent []string
}

// old is what was typed more than a second before a time.
func (w *watched) old(text string, at int64) string {
	for _, p := range w.Pressed {
		if at-p.At > 1000 {
			text = p.Text
		}
	}
	return text
}

// The app is killed while somebody types: no keystroke is lost that the page has said is kept,
// and each is on its way 300 ms after it was typed. That none older than a second is lost is
// asked with -app.second, of a machine that does nothing else: a busy one may hold up the
// page or the app for longer.
func TestKill(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := o.enrol(o.maya, "Car 12")
	b := newBrowser(t, laptop)
	start := func() (*childApp, string) {
		t.Helper()
		c := startChild(t, dir)
		for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			if link, ok := c.link(); ok {
				return c, link
			}
			if time.Now().After(end) {
				t.Fatal("the app does not start")
			}
		}
	}
	c, link := start()
	b.open(link)
	visitEncounter(b)
	path := eval[string](b, `location.pathname.split("/").slice(2).join("/")`)
	id := path[strings.LastIndex(path, "/")+1:]
	text, keys, late, lacked := "", 0, 0, 0
	for round := range *kills {
		eval[bool](b, watching)
		killed := make(chan int64, 1)
		go func() {
			time.Sleep(time.Duration(600+(round*377)%1900) * time.Millisecond)
			at := time.Now().UnixMilli()
			c.kill()
			killed <- at
		}()
		at := int64(0)
		for at == 0 {
			b.types("narrative", "word ")
			select {
			case at = <-killed:
			default:
			}
		}
		var w watched
		if err := json.Unmarshal([]byte(eval[string](b, "JSON.stringify(window.watched)")), &w); err != nil {
			t.Fatal(err)
		}
		must, old := text, w.old(text, at)
		if len(w.Kept) > len(must) {
			must = w.Kept
		}
		keys += len(w.Pressed)
		if len(w.Waits) == 0 || slices.Max(w.Waits) > 300 || len(w.Unsent) > 0 {
			t.Fatalf("round %d: keys wait %v ms until they are sent, and %d of %d are not", round, w.Waits, len(w.Unsent), len(w.Pressed))
		}
		dev := o.device(dir)
		kept := narrative(t, dev, id)
		if err := dev.Close(); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(kept, must) {
			t.Fatalf("round %d: kept is %q; said to be kept was %q", round, kept, must)
		}
		if missing := len(old) - len(kept); missing > 0 {
			late, lacked = late+1, lacked+missing
			if *second {
				t.Errorf("round %d: kept is %q; typed more than a second before the end was %q", round, kept, old)
			}
		}
		c, link = start()
		b.open(link)
		b.page(path)
		text = eval[string](b, `document.querySelector("[name=narrative]").value`)
		if text != kept {
			t.Fatalf("round %d: the page shows %q, kept is %q", round, text, kept)
		}
	}
	c.kill()
	t.Logf("%d kills, %d keys; %d keys older than a second were lost in %d rounds", *kills, keys, lacked, late)
}

// childApp is the app in a process of its own.
type childApp struct {
	cmd *exec.Cmd
	out lockedBuffer
}

func startChild(t *testing.T, dir string) *childApp {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &childApp{cmd: exec.CommandContext(t.Context(), exe)}
	c.cmd.Env = append(os.Environ(), "TANDEM_APP_CHILD="+dir)
	c.cmd.Stdout, c.cmd.Stderr = &c.out, os.Stderr
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *childApp) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// link is the first that was printed.
func (c *childApp) link() (string, bool) {
	_, from, ok := strings.Cut("\n"+c.out.String(), "\nhttp")
	link, _, ends := strings.Cut(from, "\n")
	return "http" + link, ok && ends
}

// narrative is what a store has of the words of an encounter, typed or saved.
func narrative(t *testing.T, dev *client.Client, id string) string {
	t.Helper()
	d, err := dev.Draft(t.Context(), "sheet/encounter/"+id)
	if err != nil {
		t.Fatal(err)
	}
	if d != nil {
		var body struct {
			Fields map[string]struct{ Values []string }
		}
		if err := json.Unmarshal(d.Body, &body); err != nil {
			t.Fatal(err)
		}
		if f := body.Fields["narrative"]; len(f.Values) > 0 {
			return f.Values[0]
		}
	}
	rid, err := syncengine.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	v, err := dev.Get(t.Context(), rid)
	if err != nil {
		t.Fatal(err)
	}
	m, ok := v.Message.(*tandemv1.Encounter)
	if !ok {
		t.Fatal("no encounter")
	}
	return m.GetNarrative()
}

// lockedBuffer may be written and read at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
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
