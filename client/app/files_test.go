package app_test

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
)

// photo is a picture of hills.
func photo(tb testing.TB) []byte {
	tb.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, 640, 480))
	for y := range 480 {
		for x := range 640 {
			c := color.NRGBA{uint8(140 + y/8), uint8(180 + y/10), 230, 255}
			if d := (x - 200) * (x - 200) / 400; y > 220+d || y > 300+(x-480)*(x-480)/500 {
				c = color.NRGBA{40, uint8(90 + y/6), 60, 255}
			}
			img.SetNRGBA(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// landscape writes a picture of hills, and what is none.
func landscape(tb testing.TB) (picture, other string) {
	tb.Helper()
	dir := tb.TempDir()
	picture, other = filepath.Join(dir, "IMG_2041.png"), filepath.Join(dir, "letter.pdf")
	box := func(name, body string) string {
		return string(binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))) + name + body
	}
	voice := box("ftyp", "M4A \x00\x00\x00\x00") + box("moov", box("trak", box("mdia", box("hdlr", strings.Repeat("\x00", 8)+"soun"+strings.Repeat("\x00", 13))))) + box("mdat", "sound")
	for name, raw := range map[string][]byte{filepath.Join(dir, "Words"): []byte("Gate code on file.\n"), filepath.Join(dir, "Letter"): []byte("%PDF-1.7\n1 0 obj <<>> endobj\n%%EOF\n"), filepath.Join(dir, "Voice"): []byte(voice), picture: photo(tb), other: []byte("%PDF-1.7\n1 0 obj <</JS (app.alert)>> endobj\n%%EOF\n")} {
		if err := os.WriteFile(name, raw, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return picture, other
}

// TestFiles attaches a picture with no signal, sees it, takes another one back, and has it
// sent; a colleague fetches it, and where it is not here no page waits for it. What is no
// picture is refused in words.
func TestFiles(t *testing.T) {
	need.Long(t)
	t.Parallel()
	o := newOffice(t)
	picture, other := landscape(t)
	dir := o.enrol(o.maya, "Car 12")
	dev := o.device(dir)
	if _, err := dev.Edit(t.Context(), func(e *client.Edit) error {
		_, err := e.Create(&tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new("Rosa"), Family: new("Lind"), Use: new("legal")}}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	for _, l := range []struct {
		name, theme, lang string
		size              [2]int64
	}{{"phone-dark-en", "dark", "en", phone}, {"laptop-light-es", "light", "es", laptop}} {
		o.settings(dir, map[string]string{"theme": l.theme, "lang": l.lang})
		o.away.Store(true)
		f := serve(t, app.Options{Dir: dir, Client: locked()})
		b := newBrowser(t, l.size)
		b.prefix = l.name + "-"
		in := func(key string) string { return app.In(l.lang, key) }
		b.open(f.next())
		b.types("passphrase", passphrase)
		b.goes("Unlock")
		b.page("people")
		b.types("q", "rosa li")
		b.until(`document.querySelector("#q").dataset.found === "rosa li"`)
		b.goes("Rosa Lind")
		b.goes(in("filesTitle"))
		b.do(chromedp.SetUploadFiles("#file", []string{other}))
		b.goes(in("attachFile"))
		b.says(in("fileActive"))
		b.look("files-refused")
		b.types("title", "Words "+l.lang)
		b.do(chromedp.SetUploadFiles("#file", []string{filepath.Join(filepath.Dir(other), "Words")}))
		b.goes(in("attachFile"))
		b.goes("Words " + l.lang)
		b.says("Gate code on file.")
		b.goes(in("filesTitle"))
		// A document is handed on to be saved, a sound is played; neither is a page.
		for title, want := range map[string]string{"Letter " + l.lang: "application/pdf attachment", "Voice " + l.lang: "audio/mp4 inline"} {
			b.types("title", title)
			b.do(chromedp.SetUploadFiles("#file", []string{filepath.Join(filepath.Dir(other), strings.Fields(title)[0])}))
			b.goes(in("attachFile"))
			b.goes(title)
			if got := eval[string](b, `(() => { const r = new XMLHttpRequest(); r.open("GET", document.querySelector("a[download], audio[src]").getAttribute("href") || document.querySelector("audio").src, false); r.send(); return r.getResponseHeader("Content-Type") + " " + r.getResponseHeader("Content-Disposition").split(";")[0] + (r.getResponseHeader("Content-Security-Policy").includes("sandbox") ? "" : " not in a sandbox"); })()`); got != want {
				t.Errorf("%s is answered as %s", title, got)
			}
			b.look("file-" + strings.ToLower(strings.Fields(title)[0]))
			b.goes(in("filesTitle"))
		}
		for _, title := range []string{"Back yard " + l.lang, "Wrong " + l.lang} {
			b.types("title", title)
			b.do(chromedp.SetUploadFiles("#file", []string{picture}))
			b.goes(in("attachFile"))
			b.says(title, in("recHere"), in("sendAnyway"))
		}
		b.goes("Wrong " + l.lang)
		b.goes(in("removeFile"))
		if eval[bool](b, `document.body.innerText.includes("Wrong `+l.lang+`")`) {
			t.Error("what was taken back is listed")
		}
		b.until(`[...document.querySelectorAll(".file img")].every((e) => e.complete && e.naturalWidth > 0)`)
		b.look("files")
		b.goes("Back yard " + l.lang)
		b.until(`document.querySelector(".picture img").complete`)
		if w := eval[int](b, `document.querySelector(".picture img").naturalWidth`); w != 640 {
			t.Errorf("the picture is %d pixels wide", w)
		}
		b.look("file")
		o.away.Store(false)
		f.stop()
	}
	dev = o.device(dir)
	if _, err := dev.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := dev.SendFiles(t.Context()); err != nil {
		t.Fatal(err)
	}

	// A colleague has the record, and the file when they want it.
	second := o.device(o.enrol(o.luis, "Car 9"))
	f := serve(t, app.Options{Device: second})
	b := newBrowser(t, phone)
	b.open(f.next())
	b.page("people")
	b.goes("Rosa Lind")
	b.goes("Photos and documents")
	b.says("Back yard en", "Back yard es", "Not on this device")
	b.goes("Back yard en")
	o.away.Store(true)
	b.goes("Fetch it")
	b.says(app.In("en", "fetchLater"))
	o.away.Store(false)
	b.prefix = "phone-dark-en-"
	b.look("file-away")
	b.goes("Fetch it")
	b.until(`document.querySelector(".picture img").naturalWidth === 640`)
	// A picture is a picture and nothing a browser runs.
	head := eval[string](b, `(() => { const r = new XMLHttpRequest(); r.open("GET", document.querySelector(".picture img").src, false); r.send(); return r.status + " " + r.getResponseHeader("Content-Type") + " " + r.getResponseHeader("Content-Security-Policy"); })()`)
	if head != "200 image/png default-src 'none'; frame-ancestors 'none'; sandbox" {
		t.Errorf("the picture is answered with %s", head)
	}

	// A police partner has no such page.
	officer := serve(t, app.Options{Device: o.device(o.enrol(o.dale, "Unit 7"))})
	c := newBrowser(t, phone)
	c.open(officer.next())
	views, err := dev.List(t.Context(), "attachment", client.Filter{}, client.Newest, 20)
	if err != nil || len(views) != 10 {
		t.Fatalf("%d attachments: %v", len(views), err)
	}
	for _, v := range views {
		for _, path := range []string{"file/" + v.ID.String(), "file/" + v.ID.String() + "/bytes", "file/" + v.ID.String() + "/thumb"} {
			if status := eval[int](c, `(() => { const r = new XMLHttpRequest(); r.open("GET", document.baseURI + `+quote(path)+`, false); r.send(); return r.status; })()`); status != http.StatusNotFound {
				t.Errorf("a police partner asks for a file: %d", status)
			}
		}
	}
}
