package console_test

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/bulk"
	"github.com/tandem-response/tandem/server/console"
	"github.com/tandem-response/tandem/server/jobs"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// lockedLog is a log that many write and one reads.
type lockedLog struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write implements io.Writer.
func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// whole is an office whose server serves all that a browser can ask for: the console, the
// exports, the public pages.
type whole struct {
	*office

	log     lockedLog
	metrics *server.Metrics
	worker  *jobs.Worker
	exports *bulk.Exports
	dir     string
}

func newWhole(t *testing.T, on storetest.Engine, counting ...time.Duration) *whole {
	t.Helper()
	w := &whole{office: newOffice(t, on), metrics: server.NewMetrics(), dir: filepath.Join(t.TempDir(), "exports")}
	w.srv.End()
	w.tls.Close()
	log := zerolog.New(&w.log).Level(zerolog.TraceLevel)
	w.worker = must[*jobs.Worker](t)(jobs.New(w.st, jobs.Options{Clock: w.now, Log: log}))
	w.exports = must[*bulk.Exports](t)(bulk.New(w.st, w.worker, bulk.Options{Dir: w.dir, Generator: "test", Log: log, Clock: w.now}))
	w.srv = must[*server.Server](t)(server.New(w.st, server.Options{
		Log: log, Clock: w.now, Metrics: w.metrics, FHIR: w.exports.Handler,
		People: people.Options{SecondFactor: people.Admins, Cost: people.Cost{MemoryKiB: 64, Time: 1, Threads: 1}},
		Console: func(s *server.Server) (http.Handler, error) {
			o := console.Options{Log: log, Clock: w.now, Exports: w.exports, Jobs: w.worker}
			if len(counting) > 0 {
				o.Counting = counting[0]
			}
			return console.New(s, w.st, o)
		},
	}))
	plain := httptest.NewUnstartedServer(w.srv)
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetHTTP1(true)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Start()
	t.Cleanup(plain.Close)
	w.url, w.tls = plain.URL, httptest.NewTLSServer(w.srv)
	return w
}

// changeAgency makes the clinic a substance use program.
func (w *whole) changeAgency() {
	w.tb.Helper()
	if _, err := w.admin.Change(w.tb.Context(), w.ada, func(c *server.Composer) error {
		rec, msg, err := c.Record(w.clinic)
		if err != nil {
			return err
		}
		m, _ := msg.(*tandemv1.Agency)
		m.Part2Program = new(true)
		return c.Write(rec, tandemv1.Act_ACT_SET, m, "")
	}); err != nil {
		w.tb.Fatal(err)
	}
}

// sudWords are planted in records of a substance use program.
var sudWords = []string{"Sudnarrative", "Sudnote", "Sudtarget", "Sudname"}

// playSUD leaves records of a substance use program.
func (w *whole) playSUD(d *client.Client) (ids []syncengine.ID) {
	w.tb.Helper()
	w.sync(d)
	in := client.WithCompartment(tandemv1.Compartment_COMPARTMENT_SUD)
	w.edit(d, func(e *client.Edit) error {
		call, err := e.Create(w.call("C7-2"))
		if err != nil {
			return err
		}
		who, err := e.Create(person("Ines", "Sudname"), in)
		if err != nil {
			return err
		}
		visit, err := e.Create(w.visitOf(call, who, "Sudnarrative: what she takes."), in)
		if err != nil {
			return err
		}
		note, err := e.Create(&tandemv1.Note{Type: new("case"), Text: new("Sudnote about her."), Target: &tandemv1.RecordRef{Kind: new("person"), Id: new(who.String())}}, in)
		if err != nil {
			return err
		}
		referral, err := e.Create(&tandemv1.Referral{PersonId: new(who.String()), EncounterId: new(visit.String()), Need: new("crisis_bed"), Urgency: new("now"), State: new("offered"), TargetText: new("Sudtarget house"), InfoShared: new("none")}, in)
		ids = []syncengine.ID{who, visit, note, referral}
		return err
	})
	w.sync(d)
	return ids
}

// pattern finds the routes in the sources, so that no new page is left out.
var pattern = regexp.MustCompile("\"(GET|POST) (/console/[^\"]*)\"")

func routes(tb testing.TB) (all [][2]string) {
	tb.Helper()
	for _, name := range must[[]string](tb)(filepath.Glob("*.go")) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, m := range pattern.FindAllStringSubmatch(string(must[[]byte](tb)(os.ReadFile(name))), -1) {
			all = append(all, [2]string{m[1], m[2]})
		}
	}
	if len(all) < 30 {
		tb.Fatalf("only %d routes found in the sources", len(all))
	}
	return all
}

// everything asks for every page of the console, with every id, and sends every form.
func (w *whole) everything(b *browser, ids []syncengine.ID, both [2]syncengine.ID) string {
	w.tb.Helper()
	var got strings.Builder
	take := func(a answer) { fmt.Fprintln(&got, a.path, a.head, a.body, a.text()) }
	fields := []string{
		"hash", "0", "state", strings.Repeat("A", 43), "decision", "approved", "number", "20", "until", "2030-01-01", "reason", "canary search", "staff", w.maya.String(),
		"lang", "en", "theme", "light", "format", "csv", "set", "full", "purpose", "a test", "recipient", "nobody", "basis", "research", "code", "000000", "list", "need", "act", "suspend",
	}
	for _, r := range routes(w.tb) {
		path := strings.ReplaceAll(r[1], "{$}", "")
		if strings.HasSuffix(path, "/live") {
			path += "?at=x"
		}
		paths := []string{path}
		if strings.Contains(path, "{id}") {
			paths = nil
			for i, id := range ids {
				one := strings.ReplaceAll(path, "{id}", id.String())
				paths = append(paths, strings.ReplaceAll(one, "{other}", ids[(i+1)%len(ids)].String()))
				if strings.Contains(one, "{other}") {
					// The two people, as often as each is named first.
					paths = append(paths, strings.ReplaceAll(one, "{other}", both[0].String()), strings.ReplaceAll(one, "{other}", both[1].String()))
				}
			}
		}
		for _, p := range paths {
			switch {
			case strings.Contains(p, "{"):
				w.tb.Fatalf("the test does not know how to ask for %s", p)
			case r[0] == http.MethodGet:
				take(b.get(p))
			default:
				take(b.post(p, fields...))
			}
		}
	}
	for _, page := range []string{"queue?why=whyDanger", "queue?q=Canaryn", "episodes?q=Sudn", "search?q=Canaryn", "record/x"} {
		take(b.get("/console/" + page))
	}
	return got.String()
}

// link is the first address of a page that begins so.
func (a answer) link(begins string) string {
	_, rest, _ := strings.Cut(a.body, `href="`+begins)
	end, _, _ := strings.Cut(rest, `"`)
	return begins + end
}

// encoded are the texts of documents in FHIR, as base64.
var encoded = regexp.MustCompile(`"data":"([A-Za-z0-9+/]+=*)"`)

// exported has an export made, where that is allowed, and fetches all of it.
func (w *whole) exported(b *browser, ask string) (got string, files []string) {
	w.tb.Helper()
	program := func(r *http.Request) {
		r.Header.Set("Accept", "application/fhir+json")
		r.Header.Set("Prefer", "respond-async")
	}
	fetch := func(at string) answer {
		at = strings.TrimPrefix(at, w.tls.URL)
		a := must[answer](w.tb)(b.send(w.tb.Context(), http.MethodGet, at, nil, program))
		got += fmt.Sprintln(a.path, a.head, a.body)
		for _, m := range encoded.FindAllStringSubmatch(a.body, -1) {
			got += string(must[[]byte](w.tb)(base64.StdEncoding.DecodeString(m[1]))) + "\n"
		}
		return a
	}
	first := fetch("/fhir/" + ask)
	if first.status != http.StatusAccepted {
		return got, nil
	}
	w.work()
	at := first.head.Get("Content-Location")
	files = append(files, at)
	for _, m := range regexp.MustCompile(`"url":"([^"]+)"`).FindAllStringSubmatch(fetch(at).body, -1) {
		files = append(files, m[1])
		fetch(m[1])
	}
	return got, files
}

// TestCanaryPages plants words in clinical records, in those of a substance use program and
// in a private note, and looks for each in every byte that a browser gets: all pages and
// forms of the console as its sources name them, the exports under /fhir/ and their files,
// the public reports and surveys; and in the files of jobs on the disk, the log and the
// metrics. That those who may read them do shows that the search could fail.
func TestCanaryPages(t *testing.T) { storetest.Each(t, testCanaryPages) }

func testCanaryPages(t *testing.T, on storetest.Engine) {
	t.Parallel()
	w := newWhole(t, on)
	maya := w.device(w.maya, "Car 12")
	s := w.play(maya)
	w.sign(maya, s.note)
	w.sign(maya, s.private)
	w.changeAgency()
	sud := w.playSUD(maya)
	ids := append([]syncengine.ID{s.call, s.person, s.visit, s.note, s.private, s.episode, s.follow, s.referral, s.alert, w.idOf(maya)}, sud...)
	w.refuse(s)
	for _, c := range must[[]*syncengine.StoredChange](t)(w.st.Quarantined(t.Context(), w.org.ID)) {
		ids = append(ids, c.ID)
	}
	words := map[string][]string{
		"quarantined": {"Canarylate"}, "private": {"Canaryprivate"},
		"sud":      sudWords,
		"clinical": slices.DeleteFunc(slices.Clone(canaries), func(c string) bool { return c == "Canaryprivate" }),
	}

	// An admin's form, an assessment and an export are asked for by everybody too.
	abe := must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{Name: "Abe Second", Discipline: "other", Roles: []string{"admin"}, Agency: w.clinic, Teams: []syncengine.ID{w.night}}))
	second := w.signIn(abe, "abe.second")
	form := second.upload("/console/forms/import", "readiness.json", must[[]byte](t)(os.ReadFile(readinessPack))).want(t, http.StatusOK).path
	second.publish(form).want(t, http.StatusOK)
	second.assess(form, 1)
	w.disclose(s.person)
	now := w.now()
	if err := w.st.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		return tx.AddApproval(&store.Approval{
			ID: syncengine.ID{8}, Person: abe, CreatedMS: now.UnixMilli(), ExpiresMS: now.Add(bulk.Waits).UnixMilli(),
			Payload: []byte(`{"request":{"format":"csv","purpose":"waits","recipient":"nobody","basis":"payment_ops"},"people":502}`),
		})
	}); err != nil {
		t.Fatal(err)
	}
	ids = append(ids, syncengine.ID{8})
	for _, path := range []string{form, second.get("/console/readiness").link("readiness/")} {
		ids = append(ids, must[syncengine.ID](t)(syncengine.ParseID(path[len(path)-26:])))
	}
	const why = "?purpose=a+test&recipient=nobody&basis=research"
	asks := []string{"$export" + why, "$export" + why + "&notes=true", "$export" + why + "&sud=true", "Patient/$export" + why, "metadata", "Patient?name=Canaryn", "export/" + s.visit.String()}
	// seen is what each got, by place.
	seen := map[string]map[string]string{}
	var jobFiles []string
	open := func(who string, b *browser) {
		seen[who] = map[string]string{"console": w.everything(b, ids, [2]syncengine.ID{s.person, sud[0]})}
		// What the pages have asked for is made, and looked at.
		for n := 1; n > 0; {
			n = must[int](t)(w.worker.Once(t.Context()))
		}
		a := b.get("/console/exports")
		seen[who]["console"] += a.body + a.text() + b.get("/console/"+a.link("exports/")).body
		for _, ask := range asks {
			got, files := w.exported(b, ask)
			seen[who]["exports"] += got
			jobFiles = append(jobFiles, files...)
		}
		for _, at := range jobFiles {
			a := b.get(strings.TrimPrefix(at, w.tls.URL))
			seen[who]["exports"] += fmt.Sprintln(a.path, a.head, a.body)
		}
	}
	open("admin", w.signIn(w.ada, "ada.admin"))
	if len(jobFiles) < 5 {
		t.Fatalf("the admin's exports have %d files", len(jobFiles))
	}
	open("police partner", w.signIn(w.dale, "dale.hunt"))
	open("clinician", w.signIn(w.maya, "maya.ortiz"))
	open("lead of another agency", w.signIn(w.fred, "fred.foreign"))
	open("lead", w.signIn(w.lena, "lena.park"))
	open("nobody", w.stranger())
	seen["nobody"]["public pages"] = w.public(t, s)

	for _, who := range slices.Sorted(maps.Keys(seen)) {
		for place, got := range seen[who] {
			for group, planted := range words {
				t.Run(strings.ReplaceAll(who+"/"+place+"/"+group, " ", "_"), func(t *testing.T) {
					found := slices.DeleteFunc(slices.Clone(planted), func(word string) bool { return !strings.Contains(got, word) })
					// The lead of the team reads its records, and an admin exports them: neither a
					// private note, nor without more what is of a substance use program.
					may := who == "lead" && place == "console" && group != "private" || who == "admin" && place == "exports" && group == "clinical"
					if who == "admin" && may && !slices.Contains(found, "Canarynote") {
						t.Error("the text of a note is not exported: a private one could not be found either")
					}
					if may == (len(found) == 0) {
						t.Errorf("%d bytes hold %q", len(got), found)
					}
				})
			}
		}
	}
	t.Run("operators", func(t *testing.T) {
		page := httptest.NewRecorder()
		w.metrics.ServeHTTP(page, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		kept := map[string]string{"the metrics": page.Body.String(), "the log": w.log.String()}
		err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				kept[path] = string(must[[]byte](t)(os.ReadFile(path)))
			}
			return err
		})
		if err != nil || len(kept) < 5 || kept["the log"] == "" || !strings.Contains(kept["the metrics"], "tandem_") {
			t.Fatalf("%d places looked at, %v", len(kept), err)
		}
		for place, got := range kept {
			for _, planted := range words {
				for _, word := range planted {
					if strings.Contains(got, word) {
						t.Errorf("%s hold %s", place, word)
					}
				}
			}
		}
	})
}

// public fetches what everybody may see: a report of the night, a survey with its answers.
func (w *whole) public(t *testing.T, s story) (got string) {
	t.Helper()
	w.pass(48 * time.Hour)
	now := w.now()
	id := must[syncengine.ID](t)(syncengine.NewID(now.UnixMilli(), strings.NewReader(strings.Repeat("r", 64))))
	day := func(ago int) time.Time {
		return time.Date(now.Year(), now.Month(), now.Day()-ago, 0, 0, 0, 0, time.UTC)
	}
	if _, err := report.Publish(t.Context(), w.st, w.org, report.OutcomeOptions{Zone: time.UTC, From: day(40), To: day(0), AsOf: now}, id, now); err != nil {
		t.Fatal(err)
	}
	at, b := "/outcomes/"+id.String(), w.stranger()
	for _, path := range []string{"/outcomes", at, at + "?lang=es", at + "/outcomes.csv", at + "/outcomes.json"} {
		a := b.get(path).want(t, http.StatusOK)
		got += fmt.Sprintln(a.path, a.head, a.body, a.text())
	}
	for _, path := range []string{"/outcomes/" + s.visit.String(), "/survey/" + s.visit.String(), "/survey/x", "/signin", "/healthz", "/readyz", "/server-key"} {
		a := b.get(path)
		got += fmt.Sprintln(a.path, a.head, a.body)
	}
	return got
}
