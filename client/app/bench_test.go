package app_test

import (
	"cmp"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client/app"
)

// BenchmarkPages measures what the app takes for every page at 5,000 local records, none
// of them sent, the request over loopback included: at most 100 ms a page and 50 ms a
// search are right.
func BenchmarkPages(b *testing.B) {
	o := newOffice(b)
	dir := o.enrol(o.maya, "Car 12")
	pages := o.everyScreen(b, dir, 1250)
	o.away.Store(true)
	f := serve(b, app.Options{Dir: dir, Client: options()})
	link := f.next()
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	ask := func(address string) {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, address, http.NoBody)
		if err != nil {
			b.Fatal(err)
		}
		res, err := c.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			b.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			b.Fatalf("%s: %s", address, res.Status)
		}
	}
	ask(link)
	u, err := url.Parse(link)
	if err != nil {
		b.Fatal(err)
	}
	base := strings.TrimSuffix(link, "open?"+u.RawQuery)
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		b.Run(cmp.Or(name, "home"), func(b *testing.B) {
			for b.Loop() {
				ask(base + pages[name])
			}
		})
	}
}

// BenchmarkPaint measures when a screen is first painted in a browser, from the tap on: as
// the browser itself says.
func BenchmarkPaint(b *testing.B) {
	o := newOffice(b)
	dir := o.enrol(o.maya, "Car 12")
	pages := o.everyScreen(b, dir, 1250)
	o.away.Store(true)
	f := serve(b, app.Options{Dir: dir, Client: options()})
	w := newBrowser(b, phone)
	w.open(f.next())
	base := eval[string](w, "document.baseURI")
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		switch name {
		case "", "lock", "status", "people/found?q=rosa", "people/found?q=ort", "people/found?q=rosa+lind0", "file/id/bytes", "file/id/thumb":
			// They are no pages of their own.
			continue
		}
		b.Run(name, func(b *testing.B) {
			sum, n := 0.0, 0
			for b.Loop() {
				w.open(base + pages[name])
				w.until(`performance.getEntriesByName("first-contentful-paint").length`)
				sum += eval[float64](w, `performance.getEntriesByName("first-contentful-paint")[0].startTime`)
				n++
			}
			b.ReportMetric(sum/float64(n), "paint-ms")
		})
	}
}
