package app_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/tandem-response/tandem/client/app"
	"github.com/tandem-response/tandem/internal/browsertest"
)

// The app can be installed as one with a window of its own, by the browser's own word:
// it gets manifest and icons although strangers get nothing.
func TestInstall(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	f := serve(t, app.Options{Dir: o.enrol(o.maya, "Car 12"), Client: options()})
	b := newBrowser(t, phone)
	b.open(f.next())
	manifest := browsertest.Call[struct {
		URL    string `json:"url"`
		Data   string `json:"data"`
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}](b.Browser, "Page.getAppManifest")
	if len(manifest.Errors) > 0 || !strings.Contains(manifest.Data, `"start_url"`) {
		t.Errorf("the manifest: %+v", manifest)
	}
	faults := browsertest.Call[struct {
		InstallabilityErrors []struct {
			ErrorID string `json:"errorId"`
		} `json:"installabilityErrors"`
	}](b.Browser, "Page.getInstallabilityErrors")
	if len(faults.InstallabilityErrors) > 0 {
		t.Errorf("it cannot be installed: %+v", faults.InstallabilityErrors)
	}
	// What it opens is a page of the app, and the icons are pictures.
	start := eval[string](b, `fetch("`+manifest.URL+`").then(r => r.json()).then(m => new URL(m.start_url, "`+manifest.URL+`").href)`)
	page, err := url.Parse(start)
	if err != nil {
		t.Fatal(err)
	}
	if here := eval[string](b, "location.href"); here != start {
		t.Errorf("it opens %s, and the link of the start %s", page, here)
	}
	for _, name := range []string{"icon-192.png", "icon-512.png"} {
		if size := eval[string](b, `new Promise((yes, no) => { const i = new Image(); i.onload = () => yes(String(i.naturalWidth)); i.onerror = () => no("`+name+`"); i.src = new URL("`+name+`", "`+manifest.URL+`").href })`); !strings.Contains(name, size) {
			t.Errorf("%s is %s wide", name, size)
		}
	}
}
