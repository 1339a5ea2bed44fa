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
	// It comes by itself.
	c.ahead.Store(int64(13 * time.Hour))
	b.says("Began and not signed.", app.In("en", "olderThan12"))
	if strings.Contains(b.words(), app.In("en", "allGood")) {
		t.Error("it says that nothing needs anybody")
	}
	count := func() string {
		return eval[string](b, `(document.querySelector(".rail .count") || {}).innerText || ""`)
	}
	if got := count(); got != "" {
		t.Errorf("%s things need somebody after thirteen hours", got)
	}
	c.ahead.Store(int64(25 * time.Hour))
	b.page("people")
	if got := count(); got != "1" {
		t.Errorf("%q things need somebody after a day", got)
	}
	b.page("tray")
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
	if got := count(); got != "" {
		t.Errorf("%s things need somebody, and all is signed", got)
	}
}

// A draft of one's own is found behind any number of older ones of colleagues.
func TestOwnDraftsAmongMany(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	luis := o.ask(o.luis)
	who := luis.person("Ana").String()
	note := func(text string) *tandemv1.Note {
		return &tandemv1.Note{Target: &tandemv1.RecordRef{Kind: new("person"), Id: &who}, Type: new("case"), Text: &text}
	}
	if _, err := luis.dev.Bulk(t.Context(), func(b *client.Bulk) error {
		for range 60 {
			if _, err := b.Edit(func(e *client.Edit) error { _, err := e.Create(note("Theirs.")); return err }); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := luis.dev.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	maya := o.ask(o.maya)
	maya.make(note("Mine."))
	if page := maya.get("today"); !strings.Contains(page, "Mine.") || strings.Contains(page, "Theirs.") {
		t.Errorf("the first page:\n%s", page)
	}
}
