package app_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client/app"
	"github.com/tandem-response/tandem/client/vault"
)

// caller is a browser without a window.
type caller struct {
	tb   testing.TB
	http *http.Client
	base string
}

// calls uses a link.
func calls(tb testing.TB, link string) *caller {
	tb.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		tb.Fatal(err)
	}
	c := &caller{tb: tb, http: &http.Client{Jar: jar}}
	c.base, _, _ = strings.Cut(link, "open?")
	c.ask(link, nil)
	return c
}

// ask asks for a page, or posts a form, and returns what was answered.
func (c *caller) ask(address string, form url.Values) string {
	c.tb.Helper()
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(c.tb.Context(), method, address, body)
	if err != nil {
		c.tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := c.http.Do(req)
	if err != nil {
		c.tb.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := io.Copy(&b, res.Body); err != nil {
		c.tb.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusNoContent {
		c.tb.Fatalf("%s: %s\n%s", address, res.Status, b.String())
	}
	return b.String()
}

// BenchmarkSave measures a save at 5,000 local records, from the request to the answer, which
// is given when it is on the disk: what is typed, as a draft, and the save that it becomes. At most 100 ms are right.
func BenchmarkSave(b *testing.B) {
	o := newOffice(b)
	dir := o.enrol(o.maya, "Car 12")
	f := fill(b, dir, 1250)
	o.away.Store(true)
	c := calls(b, serve(b, app.Options{Dir: dir, Client: options()}).next())
	n := 0
	b.Run("typed", func(b *testing.B) {
		for b.Loop() {
			n++
			c.ask(c.base+"sheet/encounter/"+f.encounter.String()+"/draft", url.Values{"field": {"narrative"}, "v.narrative": {fmt.Sprintf("Calm, talked for a while. %d", n)}})
		}
	})
	b.Run("saved", func(b *testing.B) {
		for b.Loop() {
			n++
			b.StopTimer()
			c.ask(c.base+"sheet/encounter/"+f.encounter.String()+"/draft", url.Values{"field": {"narrative"}, "v.narrative": {fmt.Sprintf("Calm, talked for a while. %d", n)}})
			b.StartTimer()
			c.ask(c.base+"sheet/encounter/"+f.encounter.String()+"/settle", url.Values{})
		}
	})
}

// BenchmarkOpen measures the start of tandem device over 5,000 local records, in a vault whose
// passphrase costs what it costs: until the page that takes the passphrase is there, and from
// the passphrase to the page of a contact, which takes typing. At most a second is right.
func BenchmarkOpen(b *testing.B) {
	bin := filepath.Join(b.TempDir(), "tandem")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", bin, "../../cmd/tandem").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	o := newOffice(b)
	cost := cheap
	cheap = vault.DefaultCost
	defer func() { cheap = cost }()
	dir := o.enrol(o.maya, "Car 12")
	f := fill(b, dir, 1250)
	o.away.Store(true)
	link := regexp.MustCompile(`http://\S+`)
	var locked, typed time.Duration
	n := 0
	for b.Loop() {
		n++
		ctx, end := context.WithCancel(b.Context())
		cmd := exec.CommandContext(ctx, bin, "device", "--store", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		address := ""
		for lines := bufio.NewScanner(out); address == "" && lines.Scan(); {
			address = link.FindString(lines.Text())
		}
		c := calls(b, address)
		locked += time.Since(began)
		began = time.Now()
		c.ask(c.base+"unlock", url.Values{"passphrase": {passphrase}})
		if page := c.ask(c.base+"encounter/"+f.encounter.String(), nil); !strings.Contains(page, `name="narrative"`) {
			b.Fatal("the page takes no typing")
		}
		typed += time.Since(began)
		end()
		_ = cmd.Wait() // It was ended.
	}
	b.ReportMetric(float64(locked.Milliseconds())/float64(n), "to-passphrase-ms")
	b.ReportMetric(float64(typed.Milliseconds())/float64(n), "to-typing-ms")
}
