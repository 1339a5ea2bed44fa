package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/form"
	"github.com/tandem-response/tandem/syncengine/record"
)

// experience is a form that anybody may answer; words adds a question that takes words.
func experience(words bool) *tandemv1.Form {
	var options []*tandemv1.FormOption
	for _, n := range []string{"1", "2", "3", "4", "5"} {
		options = append(options, &tandemv1.FormOption{
			Kind: new("coding"), Code: new(n), Text: &tandemv1.FormText{En: new(n + " of 5"), Es: new(n + " de 5")}, Ordinal: new(float64(n[0] - '0')),
		})
	}
	f := &tandemv1.Form{
		Code: new("experience"), Subject: new("community"), Category: new("survey"), AnswersIn: new("ref"), Licence: new("CC0-1.0"),
		Title: &tandemv1.LocalizedText{En: new("Your experience"), Es: new("Su experiencia")},
		Definition: &tandemv1.FormDefinition{Items: []*tandemv1.FormItem{
			{LinkId: new("respect"), Type: new("choice"), Required: new(true), Options: options, Text: &tandemv1.FormText{En: new("The team treated me with respect"), Es: new("El equipo me trató con respeto")}},
			{LinkId: new("again"), Type: new("boolean"), Text: &tandemv1.FormText{En: new("I would call again"), Es: new("Volvería a llamar")}},
			{LinkId: new("times"), Type: new("integer"), Text: &tandemv1.FormText{En: new("How often has the team come?"), Es: new("¿Cuántas veces vino el equipo?")}},
		}},
	}
	if words {
		f.Code = new("wordy")
		f.Definition.Items = append(f.Definition.Items, &tandemv1.FormItem{LinkId: new("words"), Type: new("text"), Text: &tandemv1.FormText{En: new("In your words"), Es: new("En sus palabras")}})
	}
	return f
}

// survey is a world with an open link.
func surveyWorld(t *testing.T, on engine) (w *world, formID syncengine.ID, l *store.SurveyLink) {
	t.Helper()
	w = newWorld(t, on, 71)
	formID = published(t, w, experience(false))
	l, err := w.admin.OpenSurvey(t.Context(), w.program, formID)
	if err != nil {
		t.Fatal(err)
	}
	return w, formID, l
}

func published(t *testing.T, w *world, f *tandemv1.Form) syncengine.ID {
	t.Helper()
	id, err := w.admin.AddForm(t.Context(), w.agency, f)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.admin.PublishForm(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

// browse asks for a page as a browser does, and follows where it is sent.
func (w *world) browse(method, path string, values url.Values, header map[string]string) (int, string, http.Header) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.http.URL+path, strings.NewReader(values.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

var onceIn = regexp.MustCompile(`name="once" value="([0-9a-f]{32})"`)

func responses(t *testing.T, w *world) (all []*tandemv1.FormResponse, stored []*syncengine.StoredRecord) {
	t.Helper()
	err := w.s.EachRecord(t.Context(), w.org.ID, record.New().KindByName("form_response").Number, func(rec *syncengine.StoredRecord) error {
		msg, err := record.New().Message(&rec.Record)
		if err == nil {
			r, _ := msg.(*tandemv1.FormResponse)
			all, stored = append(all, r), append(stored, rec)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, stored
}

// TestSurvey has strangers answer a survey, and the report count it.
func TestSurvey(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on engine) {
		w, _, l := surveyWorld(t, on)
		at := "/survey/" + l.Token
		status, page, header := w.browse(http.MethodGet, at+"?lang=es", nil, nil)
		for _, want := range []string{"El equipo me trató con respeto", "4 de 5", `lang="es"`, "Esta encuesta es anónima"} {
			if !strings.Contains(page, want) {
				t.Errorf("the Spanish page (%d) lacks %q", status, want)
			}
		}
		if header.Get("Set-Cookie") != "" || strings.Contains(page, "<script") || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("the page has a cookie, a script or no policy: %v", header)
		}
		once := onceIn.FindStringSubmatch(page)
		if once == nil {
			t.Fatalf("no form in %s", page)
		}
		given := url.Values{"once": {once[1]}, "q.respect": {"4"}, "q.again": {"true"}, "q.times": {"2"}, "q.nothing": {"Rosalind"}}
		// Sent twice, taken once.
		for range 2 {
			if status, page, _ = w.browse(http.MethodPost, at+"?lang=es", given, nil); status != http.StatusOK || !strings.Contains(page, "Gracias") {
				t.Fatalf("answers: got %d %s; %s", status, page, w.log)
			}
		}
		// What must be answered, and what no question offers.
		for _, wrong := range []url.Values{{"q.again": {"true"}}, {"q.respect": {"77"}}, {"q.respect": {"1", "2"}}, {}} {
			if status, page, _ = w.browse(http.MethodPost, at, wrong, nil); status != http.StatusUnprocessableEntity || !strings.Contains(page, `class="problem"`) {
				t.Errorf("%v: got %d", wrong, status)
			}
		}
		if status, _, _ = w.browse(http.MethodPost, at, given, map[string]string{"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}); status != http.StatusForbidden {
			t.Errorf("a form of another site: got %d", status)
		}
		all, stored := responses(t, w)
		if len(all) != 1 {
			t.Fatalf("got %d responses, want 1", len(all))
		}
		r := all[0]
		if r.GetRespondent() != "anonymous" || r.GetSubject() != "community" || r.GetLifecycle() != record.Signed || r.GetLang() != "es" || r.GetProgramId() != w.program.String() || len(r.GetAnswers()) != 3 {
			t.Errorf("got %v", r)
		}
		// Of the time there is the day, in the record's id too.
		zone, _ := time.LoadLocation("America/Chicago")
		day := time.UnixMilli(r.GetAnsweredAt().GetAtMs()).In(zone)
		if h, m, s := day.Clock(); h+m+s != 0 || r.GetAnsweredAt().GetPrecision() != "day" {
			t.Errorf("answered at %v, want a day alone", day)
		}
		made, err := syncengine.NewID(r.GetAnsweredAt().GetAtMs(), bytes.NewReader(make([]byte, 64)))
		if err != nil || !bytes.Equal(made[:6], stored[0].ID[:6]) {
			t.Errorf("the id %s tells more than the day", stored[0].ID)
		}
		links, err := w.admin.Surveys(t.Context())
		if err != nil || len(links) != 1 || links[0].Answers != 1 {
			t.Errorf("got links %+v, %v", links, err)
		}
		got, err := report.Of(t.Context(), w.s, w.org.ID, report.OutcomeOptions{Zone: zone, AsOf: w.clock()})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(got.Metrics, func(m report.Metric) bool { return m.ID == "M24" })
		if m := got.Metrics[i]; len(m.Measures) != 3 || m.Measures[0].All.Mean == nil || *m.Measures[0].All.Mean != 4 {
			t.Errorf("M24: got %+v", m.Measures)
		}
		if log := w.log.String(); strings.Contains(log, l.Token) || strings.Contains(log, "127.0.0.1") {
			t.Errorf("the log tells who answered what: %s", log)
		}
		if err := w.admin.CloseSurvey(t.Context(), w.program); err != nil {
			t.Fatal(err)
		}
		if status, page, _ = w.browse(http.MethodGet, at, nil, nil); status != http.StatusNotFound || !strings.Contains(page, "This survey is closed") {
			t.Errorf("a closed link: got %d", status)
		}
	})
}

// TestSurveyLinks: one link a program, and no form that could name somebody.
func TestSurveyLinks(t *testing.T) {
	t.Parallel()
	w, formID, _ := surveyWorld(t, storetest.SQLite)
	ctx := t.Context()
	wordy := published(t, w, experience(true))
	draft, err := w.admin.AddForm(ctx, w.agency, experience(false))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		do   func() error
		want error
	}{
		"a second link":   {func() error { _, err := w.admin.OpenSurvey(ctx, w.program, formID); return err }, server.ErrSurveyOpen},
		"another program": {func() error { return w.admin.CloseSurvey(ctx, w.team) }, server.ErrNoSurvey},
	} {
		if err := c.do(); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if err := w.admin.CloseSurvey(ctx, w.program); err != nil {
		t.Fatal(err)
	}
	for _, id := range []syncengine.ID{wordy, draft} {
		if _, err := w.admin.OpenSurvey(ctx, w.program, id); !errors.Is(err, server.ErrSurveyForm) {
			t.Errorf("a form with words, or a draft: got %v", err)
		}
	}
}

// TestSurveyIsLimited: a link takes so many answers at once, and more as time passes.
func TestSurveyIsLimited(t *testing.T) {
	t.Parallel()
	w, _, l := surveyWorld(t, storetest.SQLite)
	send := func() int {
		status, _, _ := w.browse(http.MethodPost, "/survey/"+l.Token, url.Values{"q.respect": {"4"}}, nil)
		return status
	}
	taken := 0
	for range 200 {
		if send() != http.StatusOK {
			break
		}
		taken++
	}
	if taken != 120 {
		t.Errorf("a link took %d answers at once, want 120", taken)
	}
	w.pass(11 * time.Second)
	if first, second := send(), send(); first != http.StatusOK || second != http.StatusTooManyRequests {
		t.Errorf("after 11 seconds: got %d and %d", first, second)
	}
	// By address, behind a proxy that is known: another address is not kept out.
	from := ""
	public, err := report.NewPublic(w.s, report.PublicOptions{Clock: w.clock, Address: func(*http.Request) string { return from }, Take: take})
	if err != nil {
		t.Fatal(err)
	}
	w.pass(24 * time.Hour)
	for _, c := range []struct {
		from string
		want int
	}{{"a", 10}, {"b", 10}} {
		from, taken = c.from, 0
		for range 15 {
			if serve(t, public, l.Token) == http.StatusSeeOther {
				taken++
			}
		}
		if taken != c.want {
			t.Errorf("address %s: %d answers, want %d", c.from, taken, c.want)
		}
	}
}

// take takes answers and keeps none.
func take(context.Context, *store.Org, string, *tandemv1.Form, string, form.Answers) error {
	return nil
}

// serve posts an answer straight to the pages, and returns the status.
func serve(t *testing.T, public http.Handler, token string) int {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/survey/"+token, strings.NewReader("q.respect=4"))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	public.ServeHTTP(w, req)
	return w.Code
}

// TestPublish: a published report is kept as it was, is served to everybody, and overlaps
// no other.
func TestPublish(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on engine) {
		w := newWorld(t, on, 72)
		now := w.clock()
		day := func(n int) time.Time { return time.Date(2023, 10, n, 0, 0, 0, 0, time.UTC) }
		publish := func(program syncengine.ID, from, to time.Time) (*store.PublishedReport, error) {
			id, err := syncengine.NewID(now.UnixMilli(), w.rand)
			if err != nil {
				t.Fatal(err)
			}
			return report.Publish(t.Context(), w.s, w.org, report.OutcomeOptions{Zone: time.UTC, From: from, To: to, AsOf: now, Program: program}, id, now)
		}
		p, err := publish(w.program, day(1), day(15))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			program  syncengine.ID
			from, to time.Time
			want     error
		}{
			{w.program, day(14), day(20), report.ErrOverlap},
			{w.program, day(1), day(15), report.ErrOverlap},
			{syncengine.ID{}, day(10), day(11), report.ErrOverlap},
			{w.program, day(15), now.Add(time.Hour), report.ErrOpenPeriod},
			{w.program, time.Time{}, day(1), report.ErrOpenPeriod},
			{w.team, day(15), day(20), report.ErrNoProgram},
			{w.program, day(15), day(20), nil},
		} {
			if _, err := publish(c.program, c.from, c.to); !errors.Is(err, c.want) {
				t.Errorf("%s, %v to %v: got %v, want %v", c.program, c.from, c.to, err, c.want)
			}
		}
		kept, err := w.s.PublishedReport(t.Context(), w.org.ID, p.ID)
		if err != nil || !bytes.Equal(kept.Body, p.Body) || kept.Hash != p.Hash {
			t.Fatalf("kept: %v, %v", kept, err)
		}
		at := "/outcomes/" + p.ID.String()
		for path, want := range map[string]string{
			"/outcomes": at, at + "?lang=es": "Personas atendidas", at: p.ID.String(), at + "/outcomes.csv": "metric,measure,label", at + "/outcomes.json": string(p.Body),
		} {
			if status, page, _ := w.browse(http.MethodGet, path, nil, nil); status != http.StatusOK || !strings.Contains(page, want) {
				t.Errorf("%s: got %d without %.40q", path, status, want)
			}
		}
		if status, _, _ := w.browse(http.MethodGet, "/outcomes/"+w.team.String(), nil, nil); status != http.StatusNotFound {
			t.Errorf("no report: got %d", status)
		}
		// What was altered is not shown as what was published.
		altered := *kept
		altered.Body = bytes.Replace(kept.Body, []byte(`"withheld":0`), []byte(`"withheld":1`), 1)
		if _, err := report.ReadPublished(&altered); err == nil {
			t.Error("an altered report is read")
		}
		// Nor does it take the others off the list.
		if altered.ID, err = syncengine.NewID(now.UnixMilli(), w.rand); err != nil {
			t.Fatal(err)
		}
		if err := w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error { return tx.AddPublishedReport(&altered) }); err != nil {
			t.Fatal(err)
		}
		if status, page, _ := w.browse(http.MethodGet, "/outcomes", nil, nil); status != http.StatusOK || !strings.Contains(page, at) || strings.Contains(page, altered.ID.String()) {
			t.Errorf("a list with a damaged report: got %d: %s", status, page)
		}
	})
}
