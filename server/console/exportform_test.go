package console_test

import (
	"html"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
)

var (
	hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
	madeAt = regexp.MustCompile(`href="exports/([0-9A-Z]{26})"`)
)

// carried are the fields of the form that a page goes on with.
func (a answer) carried() (pairs []string) {
	for _, m := range hidden.FindAllStringSubmatch(a.body, -1) {
		pairs = append(pairs, m[1], html.UnescapeString(m[2]))
	}
	return pairs
}

// asksFor counts an export, asks for what the page counted, has it made and returns its page.
func (w *whole) asksFor(b *browser, says []string, more ...string) (id string, page answer) {
	w.tb.Helper()
	counted := b.post("/console/exports/count", append(append([]string{}, asking...), more...)...).want(w.tb, http.StatusOK, says...)
	b.post("/console/exports", counted.carried()...).want(w.tb, http.StatusOK, "being made")
	if n := w.made(); n != 1 {
		w.tb.Fatalf("%d exports were made", n)
	}
	id = madeAt.FindStringSubmatch(b.get("/console/exports").body)[1]
	return id, b.get("/console/exports/"+id).want(w.tb, http.StatusOK, append([]string{"Ready"}, says...)...)
}

// What is chosen on the form is what is counted, made and named: kinds, period, since,
// drafts and void, labels, form of the text, and who alone can open it.
func TestExportForm(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		t.Parallel()
		w := newWhole(t, on)
		w.play(w.device(w.maya, "Car 12"))
		ada := w.signIn(w.ada, "ada.admin")
		ada.get("/console/exports").want(t, http.StatusOK, "More choices", "Kinds of record", "Period")
		file := func(id, name string) string {
			t.Helper()
			return ada.get("/fhir/export/"+id+"/"+name).want(t, http.StatusOK).body
		}

		// Some kinds, with labels, for a program.
		id, page := w.asksFor(ada, []string{"Incident, Encounter", "In Spanish", "For a program", "With drafts"}, "kinds", "incident", "kinds", "encounter", "labels", "es", "machine", "true", "drafts", "true", "bom", "true")
		page.want(t, http.StatusOK, "As it was at sequence", "incidents.csv").never(t, "people.csv")
		if text := file(id, "incidents.csv"); !strings.HasPrefix(text, "\xef\xbb\xbf") || !strings.Contains(text, "call_type_label") {
			t.Errorf("the calls: %.200s", text)
		}
		manifest := file(id, "manifest.json")
		for _, want := range []string{`"labels": "es"`, `"excel_safe": false`, `"bom": true`, `"include_drafts": true`, `"include_void": false`} {
			if !strings.Contains(manifest, want) {
				t.Errorf("the manifest lacks %s: %s", want, manifest)
			}
		}
		if strings.Contains(manifest, "encrypted") {
			t.Error("what is fetched in the clear is said to be encrypted")
		}
		seq := regexp.MustCompile(`As it was at sequence (\d+)`).FindStringSubmatch(page.text())[1]

		// A period, to its days; of tomorrow there is reference data alone.
		today, next := w.now().Add(-12*time.Hour).Format("2006-01-02"), w.now().AddDate(0, 0, 2).Format("2006-01-02")
		id, _ = w.asksFor(ada, []string{today + " – " + next}, "kinds", "incident", "from", today, "until", next)
		if text := file(id, "incidents.csv"); strings.Count(text, "\r\n") < 2 {
			t.Errorf("the calls of today: %s", text)
		}
		id, _ = w.asksFor(ada, []string{next + " –"}, "kinds", "incident", "from", next)
		if text := file(id, "incidents.csv"); strings.Count(text, "\r\n") != 1 {
			t.Errorf("the calls of the day after tomorrow: %s", text)
		}

		// What has changed since that export: what was written after it.
		must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Abe Later", Discipline: "other", Roles: []string{"peer"}, Agency: w.clinic, Teams: []syncengine.ID{w.night}}))
		id, _ = w.asksFor(ada, []string{"after sequence " + seq}, "kinds", "staff", "since", seq)
		if text := file(id, "staff.csv"); !strings.Contains(text, "Abe Later") || strings.Contains(text, "Maya") {
			t.Errorf("since %s: %s", seq, text)
		}

		// To a key: the server itself cannot open what it sends.
		key, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		id, page = w.asksFor(ada, []string{key.Recipient().String()}, "kinds", "team", "to_age", "\n"+key.Recipient().String()+"\r\n")
		page.want(t, http.StatusOK, "teams.csv.age", "manifest.json.age")
		ada.get("/fhir/export/"+id+"/teams.csv").want(t, http.StatusNotFound)
		sealed := file(id, "teams.csv.age")
		if strings.Contains(sealed, "Night") || !strings.HasPrefix(sealed, "age-encryption.org/v1") {
			t.Errorf("the file is in the clear: %.60q", sealed)
		}
		plain, err := age.Decrypt(strings.NewReader(sealed), key)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(plain); err != nil || !strings.Contains(string(text), "Night") {
			t.Errorf("opened: %s %v", text, err)
		}

		// What cannot be is said, and what was typed stands there again.
		for _, wrong := range []struct {
			says  string
			pairs []string
		}{
			{"whole number", []string{"since", "yesterday"}},
			{"no public key of age", []string{"to_age", "AGE-SECRET-KEY-1"}},
			{"the first is not after the last", []string{"from", "2023-11-15", "until", "2023-11-14"}},
			{"in no limited or de-identified set", []string{"drafts", "true", "set", "safe_harbor"}},
			{"cannot be exported so", []string{"kinds", "dragon"}},
		} {
			a := ada.post("/console/exports/count", append(append([]string{}, wrong.pairs...), asking...)...)
			if wrong.pairs[0] == "drafts" {
				a = ada.post("/console/exports/count", "format", "csv", "set", "safe_harbor", "drafts", "true", "purpose", "quarterly figures", "recipient", "County", "basis", "research")
			}
			a.want(t, http.StatusUnprocessableEntity, wrong.says)
			if !strings.Contains(a.body, `value="quarterly figures"`) || wrong.pairs[0] == "since" && !strings.Contains(a.body, `value="yesterday"`) {
				t.Errorf("%v: what was typed is gone", wrong.pairs)
			}
		}
		// The second person sees what is asked.
		w.crowd()
		w.pass(8 * 24 * time.Hour)
		ada.back("ada.admin")
		ada.post("/console/exports", append(append([]string{}, asking...), "kinds", "person", "void", "true", "labels", "es")...).want(t, http.StatusOK, "waits for a second person")
		lena := w.signIn(w.lena, "lena.park")
		at := waitingLink.FindStringSubmatch(lena.get("/console/exports").body)[1]
		lena.get("/console/approvals/"+at).want(t, http.StatusOK, "Kinds of record Person", "With void records", "In Spanish")
	})
}
