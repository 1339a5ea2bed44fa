package app_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// A draft that is older than twelve hours stands with what needs somebody, and is no longer
// there once it is signed; a younger one is not there.
func TestOldDraftsInTheTray(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dev := o.device(o.enrol(o.maya, "Car 12"))
	c := &clock{}
	f := serve(t, app.Options{Device: dev, Now: c.now})
	b := newBrowser(t, phone)
	b.open(f.next())
	var note syncengine.ID
	if _, err := dev.Edit(t.Context(), func(e *client.Edit) error {
		person, err := e.Create(&tandemv1.Person{Descriptor_: new("woman, 30s")})
		if err != nil {
			return err
		}
		note, err = e.Create(&tandemv1.Note{Target: &tandemv1.RecordRef{Kind: new("person"), Id: new(person.String())}, Type: new("case"), Text: new("Began and not signed.")})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	c.ahead.Store(int64(11 * time.Hour))
	b.page("tray")
	b.says(app.In("en", "allGood"))
	if strings.Contains(b.words(), "Began and not signed.") {
		t.Error("a draft of eleven hours is in the tray")
	}
	c.ahead.Store(int64(13 * time.Hour))
	b.page("tray")
	b.says("Began and not signed.", app.In("en", "olderThan12"))
	if strings.Contains(b.words(), app.In("en", "allGood")) {
		t.Error("it says that nothing needs anybody")
	}
	b.look("tray-drafts")
	b.goes("Note")
	b.until(`location.pathname.endsWith("note/` + note.String() + `")`)
	view, err := dev.Get(t.Context(), note)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dev.Edit(t.Context(), func(e *client.Edit) error { return e.Sign(view, view.Message) }); err != nil {
		t.Fatal(err)
	}
	b.page("tray")
	b.says(app.In("en", "allGood"))
}
