package app_test

import (
	"testing"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/syncengine/record"
)

// What is printed of a person, said or handed over is recorded before it is printed: to
// whom, why, what, by whom.
func TestPassedOn(t *testing.T) {
	need.Long(t)
	t.Parallel()
	o := newOffice(t)
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
		if eval[bool](b, `Boolean(document.querySelector("[data-print]"))`) {
			t.Error("a person is printed for nobody")
		}
		b.goes(in("addDisclosure"))
		b.look("disclosure-new")
		b.goes(in("saveDisclosure"))
		b.says(in("fillIn"))
		b.types("recipient", "Example House, Sam")
		b.chip("basis", "imminent_threat")
		b.chip("what", "danger")
		b.chip("what", "identity")
		b.kept()
		b.goes(in("saveDisclosure"))
		b.says(in("recorded"))
		b.until(`document.querySelector("[data-print]").checkVisibility()`)
		b.look("disclosure-print")
		f.stop()
	}
	dev = o.device(dir)
	views, err := dev.List(t.Context(), "disclosure", client.Filter{}, client.Newest, 9)
	if err != nil || len(views) != 2 {
		t.Fatalf("%d were recorded, %v", len(views), err)
	}
	for _, v := range views {
		m, ok := v.Message.(*tandemv1.Disclosure)
		if !ok || m.GetRecipient() != "Example House, Sam" || m.GetBasis() != "imminent_threat" || len(m.GetWhat()) != 2 || m.GetBy() != o.maya.String() || m.GetAt() == nil ||
			m.GetPersonId() == "" || m.GetLifecycle() != "recorded" {
			t.Errorf("recorded is %v", v.Message)
		}
		for _, p := range record.New().Validate(m, record.Entry{}) {
			t.Errorf("what was recorded lacks %v", p)
		}
	}
}
