package app_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
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

var kills = flag.Int("app.kills", 3, "how often the app is killed while somebody types")

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

// The app is killed while somebody types: no keystroke older than a second is lost.
func TestKill(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := o.enrol(o.maya, "Car 12")
	b := newBrowser(t, laptop)
	start := func() (*exec.Cmd, string) {
		t.Helper()
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), exe)
		cmd.Env = append(os.Environ(), "TANDEM_APP_CHILD="+dir)
		var out lockedBuffer
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			if link, _, ok := strings.Cut(out.String(), "\n"); ok {
				return cmd, link
			}
			if time.Now().After(end) {
				t.Fatal("the app does not start")
			}
		}
	}
	cmd, link := start()
	b.open(link)
	visitEncounter(b)
	path := eval[string](b, `location.pathname.split("/").slice(2).join("/")`)
	id := path[strings.LastIndex(path, "/")+1:]
	text := ""
	for round := range *kills {
		// Each key notes when it was pressed, by the page's own clock.
		eval[bool](b, `(() => { window.pressed = []; document.querySelector("[name=narrative]").addEventListener("input", (e) => window.pressed.push([Date.now(), e.target.value])); return true; })()`)
		before := text
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(time.Duration(600+(round*377)%1900) * time.Millisecond)
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
		})
		killed := make(chan time.Time, 1)
		go func() { wg.Wait(); killed <- time.Now() }()
		var at time.Time
		for at.IsZero() {
			b.types("narrative", "word ")
			select {
			case at = <-killed:
			default:
			}
		}
		type press struct {
			at   int64
			text string
		}
		var pressed []press
		raw := eval[string](b, "JSON.stringify(window.pressed)")
		var pairs [][2]any
		if err := json.Unmarshal([]byte(raw), &pairs); err != nil {
			t.Fatal(err)
		}
		for _, p := range pairs {
			ms, _ := p[0].(float64)
			s, _ := p[1].(string)
			pressed = append(pressed, press{int64(ms), s})
		}
		must := before
		for _, p := range pressed {
			if p.at < at.UnixMilli()-1000 {
				must = p.text
			}
		}
		dev := o.device(dir)
		kept := narrative(t, dev, id)
		if err := dev.Close(); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(kept, must) {
			t.Fatalf("round %d: kept is %q, typed more than a second before the end was %q", round, kept, must)
		}
		cmd, link = start()
		b.open(link)
		b.page(path)
		text = eval[string](b, `document.querySelector("[name=narrative]").value`)
		if text != kept {
			t.Fatalf("round %d: the page shows %q, kept is %q", round, text, kept)
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
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
