package console_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"html"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// upload sends a form with a file.
func (b *browser) upload(path, name string, raw []byte, pairs ...string) answer {
	b.o.tb.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	part := must[interface{ Write([]byte) (int, error) }](b.o.tb)(partOf(w, name))
	if _, err := part.Write(raw); err != nil {
		b.o.tb.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if err := w.WriteField(pairs[i], pairs[i+1]); err != nil {
			b.o.tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.o.tb.Fatal(err)
	}
	r := must[*http.Request](b.o.tb)(http.NewRequestWithContext(b.o.tb.Context(), http.MethodPost, b.o.tls.URL+path, &body))
	r.Header.Set("Accept", "text/html,*/*")
	r.Header.Set("Accept-Language", b.lang)
	r.Header.Set("Content-Type", w.FormDataContentType())
	r.Header.Set("Origin", b.o.tls.URL)
	resp, err := b.client.Do(r)
	if err != nil {
		b.o.tb.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil {
		b.o.tb.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Request.URL.Path, text.String(), resp.Header}
}

func partOf(w *multipart.Writer, name string) (interface{ Write([]byte) (int, error) }, error) {
	return w.CreateFormFile("file", name)
}

var readinessPack = filepath.Join("..", "..", "docs", "packs", "readiness", "questionnaire.json")

// field fails where no field of a page has a value.
func (a answer) field(tb testing.TB, value string) {
	tb.Helper()
	if !strings.Contains(html.UnescapeString(a.body), `value="`+value+`"`) && !strings.Contains(html.UnescapeString(a.body), `>`+value+`</textarea>`) {
		tb.Errorf("no field at %s has %q", a.path, value)
	}
}

// publish publishes the form that the page shows.
func (b *browser) publish(path string) answer {
	b.o.tb.Helper()
	return b.post(path+"/publish", "hash", b.get(path).value(b.o.tb, "hash"))
}

// Forms are imported, edited in two languages, played, published and followed by a next
// version; what is wrong names its item, and nothing is saved.
func TestForms(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		o := newOffice(t, on)
		b := o.signIn(o.ada, "ada.admin")
		b.upload("/console/forms/import", "broken.json", []byte(`{"resourceType":"Questionnaire","status":"draft","name":"X","item":[{"linkId":"1","type":"reference","text":"Who?"}]}`)).want(t, http.StatusUnprocessableEntity, "Nothing was saved", "item[0]")
		b.get("/console/forms").want(t, http.StatusOK, "There are no forms yet")
		a := b.post("/console/forms", "code", "debrief", "en", "Debrief", "es", "Repaso", "subject", "encounter", "category", "custom").want(t, http.StatusOK, "Debrief", "First question")
		at := a.path
		item := func(pairs ...string) answer {
			page := b.get(at)
			return b.post(at+"/item", append([]string{"hash", page.value(t, "hash")}, pairs...)...)
		}
		item("link", "q", "type", "choice", "en", "How was it?", "es", "¿Cómo fue?", "required", "true", "option", "good", "option.en", "Good", "option.es", "Bien", "option.points", "2",
			"option", "bad", "option.en", "Bad", "option.es", "Mal", "option.points", "0").want(t, http.StatusOK, "How was it?", "¿Cómo fue?", "Mal")
		item("link", "why", "type", "text", "en", "Why?", "es", "¿Por qué?", "when", "q", "when.is", "=", "when.answer", "bad").want(t, http.StatusUnprocessableEntity, "item why")
		item("link", "why", "type", "text", "en", "Why?", "es", "¿Por qué?", "when", "q", "when.is", "eq", "when.answer", "never").want(t, http.StatusUnprocessableEntity, "item why", "never")
		b.get(at).never(t, "¿Por qué?")
		b.keepsTyping(at)
		item("link", "why", "type", "text", "en", "Why?", "es", "¿Por qué?", "when", "q", "when.is", "eq", "when.answer", "bad").want(t, http.StatusOK, "asked under conditions")
		// A moment is read by the clocks by which it is shown: the agency's.
		item("link", "since", "type", "date_time", "en", "Since when?", "es", "¿Desde cuándo?").want(t, http.StatusOK)
		item("link", "late", "type", "text", "en", "Why so late?", "es", "¿Por qué?", "when", "since", "when.is", "gt", "when.answer", "2026-03-05T09:30").want(t, http.StatusOK)
		b.get(at+"/item?link=late").field(t, "2026-03-05T09:30")
		b.post(at+"/item/drop", "hash", b.get(at).value(t, "hash"), "was", "late").want(t, http.StatusOK)
		b.post(at+"/item/drop", "hash", b.get(at).value(t, "hash"), "was", "since").want(t, http.StatusOK)
		// Somebody else was faster.
		b.post(at+"/item", "hash", "0", "was", "q", "type", "choice", "en", "Mine").want(t, http.StatusConflict)
		page := b.get(at + "/score")
		b.post(at+"/score", "hash", page.value(t, "hash"), "code", "points", "en", "Points", "es", "Puntos", "method", "sum", "items", "q",
			"band", "low", "band.least", "", "band.en", "Low", "band.es", "Bajo", "band", "high", "band.least", "2", "band.en", "High", "band.es", "Alto").want(t, http.StatusOK, "Points", "Alto")
		page = b.get(at)
		b.post(at+"/item/move", "hash", page.value(t, "hash"), "was", "1", "to", "down").want(t, http.StatusOK)
		if body := b.get(at).body; strings.Index(body, "How was it?") > strings.Index(body, "First question") {
			t.Error("the item has not moved")
		}
		page = b.get(at)
		b.post(at+"/item/drop", "hash", page.value(t, "hash"), "was", "1").want(t, http.StatusOK).never(t, "First question")

		// Played as the field app shows it, in both languages.
		b.get(at+"/preview").want(t, http.StatusOK, "How was it?", "Good")
		if body := b.get(at + "/preview?answers.q=good").body; !regexp.MustCompile(`data-item="why"[^>]* hidden`).MatchString(body) || !strings.Contains(body, "High") {
			t.Errorf("the form is not played: %s", body)
		}
		if body := b.get(at + "/preview?answers.q=bad").body; regexp.MustCompile(`data-item="why"[^>]* hidden`).MatchString(body) {
			t.Error("a question whose condition holds is not asked")
		}
		b.lang = "es"
		b.get(at+"/preview?answers.q=good").want(t, http.StatusOK, "¿Cómo fue?", "Alto")
		b.lang = "en"

		// What another admin has saved meanwhile is not published unseen.
		abe := must[syncengine.ID](t)(o.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Abe Second", Discipline: "other", Roles: []string{"admin"}, Agency: o.clinic, Teams: []syncengine.ID{o.night}}))
		second := o.signIn(abe, "abe.second")
		shown := b.get(at)
		second.post(at+"/head", "hash", shown.value(t, "hash"), "en", "Debriefing", "es", "Repaso").want(t, http.StatusOK, "Debriefing")
		b.post(at+"/publish", "hash", shown.value(t, "hash")).want(t, http.StatusConflict)
		b.post(at+"/publish").want(t, http.StatusConflict)
		b.get(at).want(t, http.StatusOK, "Draft")
		b.publish(at).want(t, http.StatusOK, "The form is published", "Next version")
		b.post(at+"/head", "hash", page.value(t, "hash"), "en", "Other").want(t, http.StatusUnprocessableEntity, "only a draft")
		next := b.post(at+"/copy").want(t, http.StatusOK, "debrief, version 2")
		b.actsOnWhatIsShown(second, at, next.path)
		b.post(at+"/copy").want(t, http.StatusUnprocessableEntity, "has a draft")
		b.publish(next.path).want(t, http.StatusOK)
		b.get(at).want(t, http.StatusOK, "How was it?", "Retired")
		if raw := b.get(at + "/file"); !strings.Contains(raw.body, `"Questionnaire"`) || !strings.Contains(raw.body, "¿Cómo fue?") {
			t.Errorf("the file: %s", raw.body)
		}
		if acts := o.acts(o.ada); !slices.ContainsFunc(acts, func(a string) bool { return strings.HasPrefix(a, "CHANGED sign") }) {
			t.Errorf("that it was published is not the person's act: %q", acts)
		}

		// Another agency's forms are read, and not theirs to change.
		other := must[syncengine.ID](t)(o.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Olga Other", Discipline: "other", Roles: []string{"admin"}, Agency: agencyOf(o, o.fred), Teams: []syncengine.ID{o.day}}))
		ob := o.signIn(other, "olga.other")
		ob.get(at).want(t, http.StatusOK, "How was it?")
		for _, act := range []string{"retire", "publish", "void"} {
			if a := ob.post(next.path+"/"+act, "reason", "mine", "hash", b.get(next.path).value(t, "hash")); a.status != http.StatusForbidden && a.status != http.StatusUnprocessableEntity {
				t.Errorf("another agency may %s: %d %s", act, a.status, a.text())
			}
		}
		b.get(next.path).want(t, http.StatusOK, "Published")

		// Codes of one's own.
		b.post("/console/codes", "list", "need", "act", "add", "code", "x_night_tent", "en", "A tent", "es", "Una carpa", "maps_to", "shelter").want(t, http.StatusOK, "x_night_tent")
		b.post("/console/codes", "list", "need", "act", "add", "code", "x_night_tent", "en", "A flat", "es", "Un piso", "maps_to", "housing").want(t, http.StatusUnprocessableEntity, "never comes to mean")
		b.post("/console/codes", "list", "need", "act", "add", "code", "shelter", "en", "A flat", "es", "Un piso", "maps_to", "housing").want(t, http.StatusUnprocessableEntity)
		shown = b.get("/console/codes?list=need")
		set := func(of *browser, pairs ...string) answer {
			return of.post("/console/codes", append([]string{"list", "need", "act", "set", "code", "x_night_tent"}, pairs...)...)
		}
		set(b, "en", "A big tent", "es", "Una carpa grande", "retired", "true").want(t, http.StatusConflict)
		set(b, "hash", shown.value(t, "hash"), "en", "A big tent", "es", "Una carpa grande", "retired", "true").want(t, http.StatusOK, "not offered any more")
		set(second, "hash", shown.value(t, "hash"), "en", "A small tent", "es", "Una carpa pequeña").want(t, http.StatusConflict)
		page = second.get("/console/codes?list=need")
		page.field(t, "A big tent")
		page.never(t, "A small tent")
		o.firstCodes(b, second)
		// A code is of one agency, and none is a kind of what rules ask for.
		ob.post("/console/codes", "list", "need", "act", "add", "code", "x_night_tent", "en", "A flat", "es", "Un piso", "maps_to", "housing").want(t, http.StatusUnprocessableEntity, "Another agency has this code")
		b.post("/console/codes", "list", "disposition", "act", "add", "code", "x_night_hold", "en", "A hold", "es", "Retención", "maps_to", "transport_ed_involuntary").want(t, http.StatusUnprocessableEntity, "Rules ask for that core code")
		if page := b.get("/console/codes?list=disposition"); strings.Contains(page.body, `<option value="transport_ed_involuntary"`) || !strings.Contains(page.body, `<option value="resolved_on_scene"`) {
			t.Error("what an own code may be a kind of")
		}
		ob.get("/console/codes?list=need").never(t, "A big tent")
	})
}

// keepsTyping sends an item and a score that are refused: all that was typed stands there again.
func (b *browser) keepsTyping(at string) {
	t := b.o.tb
	t.Helper()
	page := b.post(at+"/item", "hash", b.get(at).value(t, "hash"), "link", "typed_link", "type", "choice", "en", "Typed words", "es", "Palabras escritas", "prefix", "7b", "required", "true", "max", "77",
		"option", "one", "option.en", "Option words", "option.es", "Palabras", "option.points", "3", "option", "", "option.en", "No code yet", "option.es", "", "option.points", "",
		"when", "q", "when.is", "eq", "when.answer", "nonesuch").want(t, http.StatusUnprocessableEntity, "nonesuch")
	for _, value := range []string{"typed_link", "Typed words", "Palabras escritas", "7b", "77", "one", "Option words", "Palabras", "3", "No code yet", "nonesuch"} {
		page.field(t, value)
	}
	for _, want := range []string{`<option value="choice" selected>`, `name="required" value="true" checked`, `<option value="q" selected>`} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	// Corrected on the same page it is taken.
	page = b.post(at+"/score", "hash", page.value(t, "hash"), "code", "typed_code", "en", "Typed score", "es", "Escrita", "method", "sum", "items", "q", "least", "150",
		"band", "low", "band.least", "9", "band.en", "Typed band", "band.es", "", "band", "low", "band.least", "1", "band.en", "Twice", "band.es", "").want(t, http.StatusUnprocessableEntity)
	for _, value := range []string{"typed_code", "Typed score", "Escrita", "150", "Typed band", "9", "Twice"} {
		page.field(t, value)
	}
	b.get(at).never(t, "Typed")
}

// actsOnWhatIsShown has two admins act on a form at once: what was changed since it was shown
// is neither voided nor taken out of use.
func (b *browser) actsOnWhatIsShown(second *browser, published, draft string) {
	t := b.o.tb
	t.Helper()
	shown := b.get(draft)
	second.post(draft+"/head", "hash", shown.value(t, "hash"), "en", "Debrief by another", "es", "Repaso").want(t, http.StatusOK)
	b.post(draft+"/void", "hash", shown.value(t, "hash"), "reason", "a mistake").want(t, http.StatusConflict)
	b.post(draft+"/void", "reason", "a mistake").want(t, http.StatusConflict)
	b.get(draft).want(t, http.StatusOK, "Draft", "Debrief by another")
	b.post(published+"/retire").want(t, http.StatusConflict)
	b.post(published+"/retire", "hash", shown.value(t, "hash")).want(t, http.StatusConflict)
	b.get(published).want(t, http.StatusOK, "Published")
}

// firstCodes has two admins add the first codes of a list at once: both are there, in one
// record.
func (o *office) firstCodes(browsers ...*browser) {
	o.tb.Helper()
	var all sync.WaitGroup
	for i, b := range browsers {
		all.Go(func() {
			code := fmt.Sprintf("x_night_first%d", i)
			a, err := b.send(o.tb.Context(), http.MethodPost, "/console/codes", url.Values{"list": {"place_type"}, "act": {"add"}, "code": {code}, "en": {"A place"}, "es": {"Un lugar"}, "maps_to": {"home"}}, nil)
			if err != nil || a.status != http.StatusOK {
				o.tb.Errorf("%d %v: %s", a.status, err, a.text())
			}
		})
	}
	all.Wait()
	sets := 0
	if err := o.st.EachRecord(o.tb.Context(), o.org.ID, record.New().KindByName("code_set").Number, func(rec *syncengine.StoredRecord) error {
		msg, err := record.New().Message(&rec.Record)
		if m, ok := msg.(*tandemv1.CodeSet); ok && m.GetList() == "place_type" {
			sets++
		}
		return err
	}); err != nil || sets != 1 {
		o.tb.Errorf("%d records of the codes of one list, %v", sets, err)
	}
	browsers[0].get("/console/codes?list=place_type").want(o.tb, http.StatusOK, "x_night_first0", "x_night_first1")
}

func agencyOf(o *office, staff syncengine.ID) syncengine.ID {
	o.tb.Helper()
	var id syncengine.ID
	if err := o.st.Read(o.tb.Context(), o.org.ID, func(view syncengine.ServerView) error {
		rec, err := view.Record(staff)
		if err == nil {
			id, err = syncengine.ParseID(rec.Text(syncengine.FieldAgency))
		}
		return err
	}); err != nil {
		o.tb.Fatal(err)
	}
	return id
}

// A program is assessed in the console, and compared with the time before.
func TestReadiness(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	b := o.signIn(o.ada, "ada.admin")
	b.get("/console/readiness").want(t, http.StatusOK, "No program has been assessed")
	a := b.upload("/console/forms/import", "readiness.json", must[[]byte](t)(os.ReadFile(readinessPack))).want(t, http.StatusOK, "as a draft")
	b.publish(a.path).want(t, http.StatusOK, "is published")
	page := b.get("/console/readiness").want(t, http.StatusOK, "Assess a program")
	form, program := strings.TrimPrefix(a.path, "/console/forms/"), page.option(t, "Co-response")
	b.get("/console/readiness/new?form="+form+"&program="+program).want(t, http.StatusOK, "Co-response")
	b.post("/console/readiness", "form", form, "program", program).want(t, http.StatusUnprocessableEntity, "Nothing is answered yet")
	b.get("/console/readiness").want(t, http.StatusOK, "No program has been assessed")
	first := b.assess(a.path, 0).want(t, http.StatusOK, "The assessment is signed", "Overall", "Where it is lowest", "Where to read on", "0 %").path
	o.pass(time.Hour)
	b = o.again(b, "ada.admin")
	b.assess(a.path, 3).want(t, http.StatusOK, "100 %", "compared with", "before 0 %", "+100")
	b.get(first).want(t, http.StatusOK, "0 %").never(t, "compared with")
	b.get("/console/readiness").want(t, http.StatusOK, "100 %", "Ada Admin")
	o.signIn(o.lena, "lena.park").get(first).want(t, http.StatusForbidden)
}

// again signs a person in anew, after a while.
func (o *office) again(b *browser, login string) *browser {
	o.tb.Helper()
	n := o.stranger()
	n.secret = b.secret
	n.post("/signin", "login", login, "passphrase", passphrase)
	n.post("/signin/factor", "code", n.code())
	return n
}

// A directory is brought in once it was seen what that changes; nobody's is changed by
// looking.
func TestDirectoryPage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		o := newOffice(t, on)
		b := o.signIn(o.ada, "ada.admin")
		root := filepath.Join("..", "..", "syncengine", "directory", "testdata")
		var packed bytes.Buffer
		z := zip.NewWriter(&packed)
		if err := z.AddFS(os.DirFS(filepath.Join(root, "hsds"))); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		b.upload("/console/directory", "x.json", []byte("no directory")).want(t, http.StatusUnprocessableEntity, "Nothing was changed")
		a := b.upload("/console/directory", "hsds.zip", packed.Bytes()).want(t, http.StatusOK, "What would change", "New")
		b.get("/console/directory").want(t, http.StatusOK, "0 services")
		b.post("/console/directory/apply", "source", a.value(t, "source"), "name", "hsds.zip", "retire", "false").want(t, http.StatusOK, "up to date", "4 services, 4 of them")
		a = b.upload("/console/directory", "services.json", must[[]byte](t)(os.ReadFile(filepath.Join(root, "services.json"))), "retire", "true").want(t, http.StatusOK, "As before 4", "New 0")
		b.post("/console/directory/apply", "source", a.value(t, "source"), "name", "services.json", "retire", "true").want(t, http.StatusOK, "4 services")
		b.post("/console/directory/apply", "source", "AAAA").want(t, http.StatusBadRequest)
		if acts := o.acts(o.ada); !slices.ContainsFunc(acts, func(a string) bool { return strings.HasPrefix(a, "CHANGED directory") }) {
			t.Errorf("the import is not the person's act: %q", acts)
		}
	})
}

// The lead of a person's team sees what was passed on about them and nobody else's; an admin
// sees what left by export.
func TestDisclosuresPage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWhole(t, on)
		maya := w.device(w.maya, "Car 12")
		s := w.play(maya)
		w.disclose(s.person)
		ada, lena, fred := w.signIn(w.ada, "ada.admin"), w.signIn(w.lena, "lena.park"), w.signIn(w.fred, "fred.foreign")
		ask := []string{"format", "csv", "set", "full", "purpose", "quarterly figures", "recipient", "County health", "basis", "public_health"}
		ada.post("/console/exports", ask...).want(t, http.StatusOK, "is being made")
		if n := w.made(); n != 1 {
			t.Fatalf("%d exports", n)
		}
		at := "/console/disclosures/" + s.person.String()
		lena.get("/console/case/"+s.person.String()).want(t, http.StatusOK, "Accounting of disclosures")
		lena.get(at).want(t, http.StatusOK, "Rosa Canaryname", "County health", "Canarycourt clerk", "quarterly figures", "Maya Ortiz", "Ada Admin")
		lena.get(at+"?since=2999-01-01").want(t, http.StatusOK, "Nothing was passed on")
		lena.get(at+"?since=never").want(t, http.StatusBadRequest)
		lena.get(at+"?owed=1").want(t, http.StatusOK, "Canarycourt clerk")
		fred.get(at).want(t, http.StatusNotFound).never(t, "Canary", "County health")
		ada.get(at).want(t, http.StatusForbidden).never(t, "Canary")
		ada.get("/console/passed-on").want(t, http.StatusOK, "County health", "quarterly figures", "Ada Admin").never(t, "Canarycourt", "Canaryname")
		other := must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Olga Other", Discipline: "other", Roles: []string{"admin"}, Agency: agencyOf(w.office, w.fred), Teams: []syncengine.ID{w.day}}))
		w.signIn(other, "olga.other").get("/console/passed-on").want(t, http.StatusOK, "Nothing was passed on").never(t, "County health")
		if acts := w.acts(w.lena); !slices.ContainsFunc(acts, func(a string) bool {
			return strings.HasPrefix(a, "DISCLOSURES_READ") && strings.HasSuffix(a, s.person.String())
		}) {
			t.Errorf("that it was drawn up is not in the log: %q", acts)
		}
	})
}

// disclose has a clinician pass something on about a person.
func (o *office) disclose(person syncengine.ID) {
	o.tb.Helper()
	if _, err := o.admin.Change(o.tb.Context(), o.maya, func(c *server.Composer) error {
		rec, _, err := c.Record(person)
		if err != nil {
			return err
		}
		text := func(f uint32) *string { s := rec.Text(f); return &s }
		_, err = c.Create(&tandemv1.Disclosure{
			AgencyId: text(syncengine.FieldAgency), ProgramId: text(syncengine.FieldProgram), TeamId: new(o.night.String()), Lifecycle: new("recorded"), Schema: new(uint32(syncengine.Schema)),
			PersonId: new(person.String()), At: o.instant(time.Minute), Recipient: new("Canarycourt clerk"), Basis: new("court_order"), What: []string{"other"}, By: new(o.maya.String()),
		})
		return err
	}); err != nil {
		o.tb.Fatal(err)
	}
}

// The audit log is searched by day.
func TestAuditByDay(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite)
	b := o.signIn(o.ada, "ada.admin")
	b.post("/console/setup/program", "en", "Before", "model", "mct").want(t, http.StatusOK)
	day := o.now().Add(-6 * time.Hour).Format(time.DateOnly)
	o.pass(72 * time.Hour)
	b = o.again(b, "ada.admin")
	b.post("/console/setup/program", "en", "After", "model", "mct").want(t, http.StatusOK)
	later := o.now().Add(-30 * time.Hour).Format(time.DateOnly)
	all := "/console/audit?act=CHANGED&person=" + o.ada.String()
	b.get(all).want(t, http.StatusOK, "Before", "After")
	b.get(all+"&from="+later).want(t, http.StatusOK, "After").never(t, "Before")
	b.get(all+"&to="+later).want(t, http.StatusOK, "Before").never(t, "After")
	b.get(all+"&from="+day+"&to="+later).want(t, http.StatusOK, "Before").never(t, "After")
	b.get("/console/audit?from=x").want(t, http.StatusBadRequest)
}
