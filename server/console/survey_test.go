package console_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/tandem-response/tandem/internal/browsertest"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/form"
)

// The survey that anybody answers without a name, as a phone and a computer show it.
func TestSurveyLook(t *testing.T) {
	t.Parallel()
	for _, l := range []struct {
		name, lang string
		size       [2]int64
	}{{"survey-phone-light-es-", "es", browsertest.Phone}, {"survey-laptop-light-en-", "en", browsertest.Laptop}} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, storetest.SQLite)
			raw := must[[]byte](t)(os.ReadFile(filepath.Join("..", "..", "docs", "packs", "experience", "questionnaire.json")))
			f, _, err := form.Import(raw)
			if err != nil {
				t.Fatal(err)
			}
			id := must[syncengine.ID](t)(o.admin.AddForm(t.Context(), o.clinic, f))
			if err := o.admin.PublishForm(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			link := must[*store.SurveyLink](t)(o.admin.OpenSurvey(t.Context(), programOf(o), id))
			b := browsertest.New(t, l.size)
			b.Prefix, b.Shots = l.name, *shots
			b.Do(chromedp.Navigate(o.url + "/survey/" + link.Token + "?lang=" + l.lang))
			b.Until(`document.readyState === "complete"`)
			b.Says(map[string]string{"en": "This survey is anonymous", "es": "Esta encuesta es anónima"}[l.lang])
			b.Look("ask")
			send := func() {
				browsertest.Eval[bool](b, `(window.stale = true, document.querySelector("form button").click(), true)`)
				b.Until(`!window.stale && document.readyState === "complete"`)
			}
			browsertest.Eval[bool](b, `(() => { const names = new Set([...document.querySelectorAll("input[type=radio]")].map((i) => i.name)); for (const n of names) document.querySelector("input[type=radio][name='" + n + "']").checked = true; return true; })()`)
			send()
			b.Says(map[string]string{"en": "Thank you", "es": "Gracias"}[l.lang])
			b.Look("thanks")
			if says := browsertest.Eval[string](b, "document.body.innerText"); strings.Contains(says, link.Token) {
				t.Error("the page names the link")
			}
		})
	}
}

// programOf is the program of the night team.
func programOf(o *office) (id syncengine.ID) {
	o.tb.Helper()
	if err := o.st.Read(o.tb.Context(), o.org.ID, func(view syncengine.ServerView) error {
		rec, err := view.Record(o.night)
		if err == nil {
			id, err = syncengine.ParseID(rec.Text(syncengine.FieldProgram))
		}
		return err
	}); err != nil {
		o.tb.Fatal(err)
	}
	return id
}
