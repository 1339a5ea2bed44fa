package app_test

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// A page shows what was typed also where it becomes a save while the page is made: it is
// in the record or beside it.
func TestSavedBetween(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a := o.ask(o.maya)
	person := a.person("Ada").String()
	note := a.make(&tandemv1.Note{Target: &tandemv1.RecordRef{Kind: new("person"), Id: &person}, Type: new("case"), Text: new("Before.")})
	sheet := "sheet/note/" + note.String()
	for i := range 300 {
		words := fmt.Sprintf("words of round %d.", i)
		if w := a.post(sheet+"/draft", url.Values{"field": {"text"}, "v.text": {words}}); w.Code != 200 {
			t.Fatalf("typing: %d %s", w.Code, w.Body)
		}
		var wg sync.WaitGroup
		wg.Go(func() { a.post(sheet+"/settle", nil) })
		page := a.get("note/" + note.String())
		wg.Wait()
		if !strings.Contains(page, words) {
			t.Fatalf("round %d: the page lacks what was typed before it was asked for", i)
		}
	}
}
