package app_test

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// However large the directory is, a page shows a hundred places and leads to the next ones,
// until each was shown once; the picker of a referral shows twelve.
func TestDirectoryInPages(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	const n = 930
	var all []*tandemv1.Resource
	for i := range n {
		r := &tandemv1.Resource{
			ServiceName: &tandemv1.LocalizedText{En: new(fmt.Sprintf("Place %03d.", i))}, OrgName: new("Example House"), Category: []string{"food"}, Status: new("active"), Langs: []string{"en"},
			HsdsIds: []*tandemv1.ExternalKey{{Element: []byte("kkkkkkkk"), Table: new("service"), Value: new(fmt.Sprint(i))}},
		}
		if i%300 == 299 {
			r.Langs = append(r.Langs, "es")
		}
		// Whatever the hour, the last ones are open.
		r.Open_24_7 = new(i >= n-12)
		all = append(all, r)
	}
	if _, err := o.admin.ImportDirectory(t.Context(), o.clinic, all, false); err != nil {
		t.Fatal(err)
	}
	a := o.ask(o.maya)
	row, next := regexp.MustCompile(`<li class="item"><span><b>(Place [0-9]+\.)</b>`), regexp.MustCompile(`<a class="button" href="(directory\?[^"]*from=[^"]*)"`)
	pages := func(page string) (shown map[string]int, count int) {
		t.Helper()
		shown = map[string]int{}
		for count = 1; ; count++ {
			got := a.get(page)
			rows := row.FindAllStringSubmatch(got, -1)
			if len(rows) > 100 {
				t.Errorf("%s shows %d places", page, len(rows))
			}
			for _, m := range rows {
				shown[m[1]]++
			}
			more := next.FindStringSubmatch(got)
			if more == nil || count > 20 {
				return shown, count
			}
			page = html.UnescapeString(more[1])
		}
	}
	shown, count := pages("directory")
	if len(shown) != n || count != 4+4+2 {
		t.Errorf("%d places on %d pages", len(shown), count)
	}
	for name, times := range shown {
		if times != 1 {
			t.Errorf("%s is shown %d times", name, times)
		}
	}
	if shown, count := pages("directory?es=1"); len(shown) != 3 || count != 1 {
		t.Errorf("in Spanish there are %v on %d pages", shown, count)
	}
	for _, odd := range []string{"9999-0", "0-9999", "-1-2", "x", "400"} {
		a.get("directory?from=" + odd)
	}
	if got := strings.Count(a.get("referral/new?person="+a.person("Rosa").String()), `name="resource"`); got != 12 {
		t.Errorf("the picker shows %d places", got)
	}
	// The open ones come first, wherever in the directory they stand.
	for page, row := range map[string]*regexp.Regexp{"directory": row, "referral/new?person=" + a.person("Luz").String(): regexp.MustCompile(`<b>(Place [0-9]+\.)</b>`)} {
		for _, m := range row.FindAllStringSubmatch(a.get(page), 12) {
			if m[1] < fmt.Sprintf("Place %03d.", n-12) {
				t.Errorf("%s shows %s before one that is open", page, m[1])
			}
		}
	}
}

// Of many calls that are overdue those of today are on the first page too, which says how many
// are folded up.
func TestDueInPages(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a := o.ask(o.maya)
	who := a.person("Rosa").String()
	episode := a.make(&tandemv1.Episode{PersonId: &who, WindowDays: new(uint32(90)), OpenedAt: &tandemv1.Instant{AtMs: new(time.Now().UnixMilli()), Origin: new("tap")}}).String()
	for i := range 32 {
		due := time.Now().Add(time.Duration(i-32) * time.Hour).UnixMilli()
		a.make(&tandemv1.FollowUp{PersonId: &who, EpisodeId: &episode, Lifecycle: new("planned"), DueAt: &tandemv1.Instant{AtMs: &due, Origin: new("tap")}})
	}
	page := a.get("today")
	if got := strings.Count(page, `href="followup/`); got != 32 || !strings.Contains(page, fmt.Sprintf(app.In("en", "andMore"), 2)) {
		t.Errorf("%d of 32 are shown", got)
	}
}

// The newest consents are offered and the others where somebody asks for them; one that was
// chosen stays chosen, and counts, however old.
func TestConsentsInPages(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a := o.ask(o.maya)
	who := a.person("Rosa").String()
	var ids []syncengine.ID
	if _, err := a.dev.Bulk(t.Context(), func(b *client.Bulk) error {
		for i := range 90 {
			if _, err := b.Edit(func(e *client.Edit) error {
				id, err := e.Create(&tandemv1.Consent{
					PersonId: &who, Type: new("release"), Decision: new("given"), Signer: new("person"), Method: new("paper"), GivenOn: new("2026-01-02"), NoExpiry: new(true), Lang: new("en"),
					Discloser: new("Example Health"), Recipients: []*tandemv1.ConsentRecipient{{Element: []byte("12345678"), Name: new(fmt.Sprint("House ", i))}}, Purpose: new("care"), InfoScope: new("all"),
				})
				ids = append(ids, id)
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	offered := func(page string) int { return strings.Count(page, `name="consent_id" value="0`) }
	id, err := a.dev.NewID()
	if err != nil {
		t.Fatal(err)
	}
	page := a.get("disclosure/new?id=" + id.String() + "&person=" + who)
	more := regexp.MustCompile(`name="to" value="([^"]*)" formaction="([^"]*)">` + app.In("en", "moreConsents"))
	m := more.FindStringSubmatch(page)
	if offered(page) != 20 || m == nil {
		t.Fatalf("%d are offered:\n%s", offered(page), page)
	}
	// What was typed is kept on the way to the older ones.
	w := a.post(m[2], url.Values{"to": {html.UnescapeString(m[1])}, "person": {who}, "recipient": {"Example House, Sam"}, "basis": {"consent"}})
	_, to, _ := strings.Cut(strings.TrimPrefix(w.Header().Get("Location"), "/"), "/")
	page = a.get(to)
	if w.Code != http.StatusSeeOther || offered(page) != 80 || !strings.Contains(page, "Example House, Sam") || !strings.Contains(page, `value="consent" checked`) {
		t.Errorf("%d to %s, which offers %d", w.Code, to, offered(page))
	}
	oldest := ids[0].String()
	a.post("sheet/disclosure/"+id.String()+"/save", url.Values{"consent_id": {oldest}, "person": {who}})
	if page = a.get("disclosure/new?id=" + id.String() + "&person=" + who); offered(page) != 21 || !strings.Contains(page, oldest+`" checked`) {
		t.Errorf("the chosen one of %d is not among them", offered(page))
	}
	records := func(consent string) bool {
		t.Helper()
		id, err := a.dev.NewID()
		if err != nil {
			t.Fatal(err)
		}
		return a.post("disclosure/new", url.Values{
			"id": {id.String()}, "person": {who}, "recipient": {"Example House, Sam"}, "basis": {"consent"}, "what": {"identity"}, "consent_id": {consent},
		}).Code == http.StatusSeeOther
	}
	if !records(oldest) {
		t.Error("the oldest consent does not count")
	}
	// What a page does not offer is none: another's, a treatment consent, one that is over.
	other := a.person("Ken").String()
	no := func(edit func(*tandemv1.Consent)) string {
		m := &tandemv1.Consent{
			PersonId: &who, Type: new("release"), Decision: new("given"), Signer: new("person"), Method: new("paper"), GivenOn: new("2026-01-02"), NoExpiry: new(true), Lang: new("en"),
			Discloser: new("Example Health"), Recipients: []*tandemv1.ConsentRecipient{{Element: []byte("12345678"), Name: new("House")}}, Purpose: new("care"), InfoScope: new("all"),
		}
		edit(m)
		return a.make(m).String()
	}
	for name, consent := range map[string]string{
		"another person's": no(func(m *tandemv1.Consent) { m.PersonId = &other }),
		"a treatment's":    no(func(m *tandemv1.Consent) { m.Type = new("treatment") }),
		"one that is over": no(func(m *tandemv1.Consent) {
			m.NoExpiry, m.ExpiresOn = nil, new(time.Now().AddDate(0, 0, -1).Format(time.DateOnly))
		}),
		"none": "",
	} {
		if records(consent) {
			t.Errorf("%s counts", name)
		}
	}
}
