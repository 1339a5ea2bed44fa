package bulk_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/rs/zerolog"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/bulk"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/jobs"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) {
	if place := os.Getenv(childEnv); place != "" {
		if err := child(place); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(pgtest.Main(m))
}

// world is a server with exports, whose worker does nothing by itself.
type world struct {
	t       *testing.T
	s       *store.Store
	org     *store.Org
	admin   *server.Admin
	worker  *jobs.Worker
	exports *bulk.Exports
	dir     string
	place   string
	tls     *httptest.Server
	rand    *rand.ChaCha8
	ahead   atomic.Int64
	agency  syncengine.ID
	program [2]syncengine.ID
	team    syncengine.ID
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func newWorld(t *testing.T, on storetest.Engine) *world {
	t.Helper()
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "exports"), rand: rand.NewChaCha8([32]byte{5})}
	data, database := t.TempDir(), on.Database(t)
	w.place = strings.Join([]string{data, database, w.dir}, "\n")
	var err error
	w.s, err = store.Open(t.Context(), data, store.Options{Create: true, Volatile: true, Database: database, Clock: w.now})
	w.ok(err)
	w.worker, err = jobs.New(w.s, jobs.Options{Clock: w.now, Log: zerolog.Nop()})
	w.ok(err)
	w.exports, err = bulk.New(w.s, w.worker, bulk.Options{Dir: w.dir, Generator: "test", Log: zerolog.New(zerolog.NewTestWriter(t)), Clock: w.now})
	w.ok(err)
	srv, err := server.New(w.s, server.Options{
		Log: zerolog.Nop(), Clock: w.now, FHIR: w.exports.Handler,
		People: people.Options{SecondFactor: people.Admins, Cost: people.Cost{MemoryKiB: 64, Time: 1, Threads: 1}},
	})
	w.ok(err)
	w.tls = httptest.NewTLSServer(srv)
	t.Cleanup(func() {
		srv.End()
		w.tls.Close()
		_ = w.s.Close()
	})
	w.org, err = w.s.CreateOrg(t.Context(), "Example County")
	w.ok(err)
	w.admin = server.NewAdmin(w.s, w.org, server.AdminOptions{Clock: w.now})
	w.agency, err = w.admin.AddAgency(t.Context(), server.AgencyOptions{Name: "Example Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"})
	w.ok(err)
	for i := range w.program {
		w.program[i], err = w.admin.AddProgram(t.Context(), server.ProgramOptions{NameEN: fmt.Sprint("Program ", i), Model: "crt", Agency: w.agency})
		w.ok(err)
	}
	w.team, err = w.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Night", Program: w.program[0]})
	w.ok(err)
	return w
}

// person keeps one as the change at a sequence left it.
func (w *world) person(id syncengine.ID, name, state string, seq uint64, program int) {
	w.t.Helper()
	domain := record.New()
	msg := &tandemv1.Person{
		AgencyId: new(w.agency.String()), ProgramId: new(w.program[program].String()), Lifecycle: new(state), Tz: new("America/Chicago"),
		Names: []*tandemv1.PersonName{{Element: []byte{1, 1, 1, 1, 1, 1, 1, 1}, Family: new(name)}},
	}
	body, err := domain.Body(msg)
	w.ok(err)
	w.ok(w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) error { return w.save(tx, id, msg, body, seq) }))
}

func (w *world) save(tx *store.Tx, id syncengine.ID, msg proto.Message, body []byte, seq uint64) error {
	domain := record.New()
	applied, err := syncengine.Apply(domain.KindOf(msg), nil, &tandemv1.RecordWrite{Record: id[:], Kind: domain.KindOf(msg).Number, Act: tandemv1.Act_ACT_CREATE, Body: body},
		syncengine.Writer{Stamp: syncengine.Stamp(w.rand.Uint64() | 1), Author: w.org.ID, AtMS: w.now().UnixMilli()}, alone{})
	if err != nil {
		return err
	}
	rec := &syncengine.StoredRecord{Record: *applied.Record, Plain: true, Seq: seq}
	rec.Hash = rec.Record.Hash()
	return tx.SaveRecord(rec)
}

// crowd keeps more people than one person may export alone.
func (w *world) crowd() {
	w.t.Helper()
	msg := &tandemv1.Person{AgencyId: new(w.agency.String()), ProgramId: new(w.program[1].String()), Lifecycle: new("active"), Tz: new("America/Chicago")}
	body, err := record.New().Body(msg)
	w.ok(err)
	w.ok(w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		for n := range export.ManyPeople {
			if err := w.save(tx, syncengine.ID{9, byte(n >> 8), byte(n)}, msg, body, 1); err != nil {
				return err
			}
		}
		return nil
	}))
}

// disclosures counts what the people of teams are told of exports.
func (w *world) disclosures() (n int) {
	w.t.Helper()
	w.ok(w.s.Snapshot(w.t.Context(), w.org.ID, func(s *store.Snapshot) error {
		return s.Each(record.New().KindByName("disclosure").Number, func(*syncengine.StoredRecord) error {
			n++
			return nil
		})
	}))
	return n
}

// alone is a history in which nothing else ever happened.
type alone struct{}

func (alone) Awaited(syncengine.Path, syncengine.Stamp) (bool, error) { return false, nil }
func (alone) Await(syncengine.Path, syncengine.Stamp) error           { return nil }
func (alone) QuarantinedBases(syncengine.Path, syncengine.Stamp) ([]syncengine.Stamp, error) {
	return nil, nil
}

func (alone) Written(syncengine.Path, syncengine.Stamp) (syncengine.Head, bool, error) {
	return syncengine.Head{}, false, nil
}

// client is a program that somebody has signed in with.
type client struct {
	w    *world
	http *http.Client
}

const passphrase = "correct horse battery staple example"

// signIn makes somebody with a role, and signs a client in.
func (w *world) signIn(role string) *client {
	w.t.Helper()
	staff, err := w.admin.AddStaff(w.t.Context(), server.StaffOptions{
		Name: "Testperson " + role, Discipline: "other", Roles: []string{strings.Fields(role)[0]}, Agency: w.agency, Teams: []syncengine.ID{w.team},
	})
	w.ok(err)
	c := &client{w: w, http: w.tls.Client()}
	copied := *c.http
	c.http = &copied
	c.http.Jar, err = cookiejar.New(nil)
	w.ok(err)
	login := strings.ReplaceAll(role, " ", "") + "@example.org"
	code, err := people.NewAccounts(w.s, w.org, w.now, nil).Create(w.t.Context(), staff, login)
	w.ok(err)
	page := c.form("/signin/begin", "login", login, "code", code.Code, "new", passphrase, "again", passphrase)
	if m := regexp.MustCompile(`<code>([A-Z2-7 ]+)</code>`).FindStringSubmatch(page); m != nil {
		sealed := regexp.MustCompile(`name="sealed" value="([^"]*)"`).FindStringSubmatch(page)
		secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(m[1], " ", ""))
		w.ok(err)
		c.form("/signin/factor/new", "sealed", html.UnescapeString(sealed[1]), "code", totp(secret, w.now()))
	}
	return c
}

// totp is the code of RFC 6238 at a time.
func totp(secret []byte, at time.Time) string {
	mac := hmac.New(sha1.New, secret)
	_ = binary.Write(mac, binary.BigEndian, at.Unix()/30)
	sum := mac.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[19]&15:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1_000_000)
}

func (c *client) form(path string, pairs ...string) string {
	c.w.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequestWithContext(c.w.t.Context(), http.MethodPost, c.w.tls.URL+path, strings.NewReader(form.Encode()))
	c.w.ok(err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", c.w.tls.URL)
	_, _, body := c.send(r)
	return body
}

func (c *client) send(r *http.Request) (int, http.Header, string) {
	c.w.t.Helper()
	resp, err := c.http.Do(r)
	c.w.ok(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	c.w.ok(err)
	return resp.StatusCode, resp.Header, string(body)
}

// do sends a request of a program; the address may be whole.
func (c *client) do(method, to string, want int) (http.Header, string) {
	c.w.t.Helper()
	if !strings.HasPrefix(to, "https://") {
		to = c.w.tls.URL + to
	}
	r, err := http.NewRequestWithContext(c.w.t.Context(), method, to, http.NoBody)
	c.w.ok(err)
	r.Header.Set("Accept", "application/fhir+json")
	r.Header.Set("Prefer", "respond-async")
	status, header, text := c.send(r)
	if status != want {
		c.w.t.Fatalf("%s %s: %d, want %d: %s", method, to, status, want, text)
	}
	if want >= 400 && want != http.StatusUnauthorized && !strings.Contains(text, `"OperationOutcome"`) {
		c.w.t.Errorf("%s %s: %s", method, to, text)
	}
	return header, text
}

// told is the manifest of a finished export.
type told struct {
	TransactionTime     string
	Request             string
	RequiresAccessToken bool
	Output, Deleted     []file
	Error, Outcome      []any
	ManifestType        string
	OutputFormat        string
}

type file struct {
	Type, URL       string
	Count, FileSize int
}

const why = "purpose=a+test&recipient=nobody&basis=research"

// export has one made and returns where it is asked after, and its manifest.
func (c *client) export(path string) told {
	c.w.t.Helper()
	resp, _ := c.do(http.MethodGet, path, http.StatusAccepted)
	at := resp.Get("Content-Location")
	if n, err := c.w.worker.Once(c.w.t.Context()); n != 1 || err != nil {
		c.w.t.Fatalf("%d jobs: %v", n, err)
	}
	return c.manifest(at)
}

func (c *client) manifest(at string) (m told) {
	c.w.t.Helper()
	resp, text := c.do(http.MethodGet, at, http.StatusOK)
	c.w.ok(json.Unmarshal([]byte(text), &m))
	if resp.Get("Expires") == "" || m.TransactionTime == "" || !m.RequiresAccessToken {
		c.w.t.Errorf("%s", text)
	}
	return m
}

// lines fetches a file and returns the ids in it.
func (c *client) lines(f file) (ids []string) {
	c.w.t.Helper()
	resp, text := c.do(http.MethodGet, f.URL, http.StatusOK)
	if got := resp.Get("Content-Type"); got != "application/fhir+ndjson" {
		c.w.t.Errorf("%s is %s", f.URL, got)
	}
	for line := range strings.Lines(text) {
		var r struct {
			ResourceType, ID string
			Entry            []struct{ Request struct{ Method, URL string } }
		}
		c.w.ok(json.Unmarshal([]byte(line), &r))
		if r.ResourceType != f.Type {
			c.w.t.Errorf("a %s in %s", r.ResourceType, f.URL)
		}
		ids = append(ids, r.ID)
		for _, e := range r.Entry {
			ids[len(ids)-1] += e.Request.Method + " " + e.Request.URL
		}
	}
	if len(ids) != f.Count {
		c.w.t.Errorf("%d lines in %s, the manifest says %d", len(ids), f.URL, f.Count)
	}
	return ids
}

func (m *told) of(typ string) (f file) {
	for _, o := range m.Output {
		if o.Type == typ {
			f = o
		}
	}
	return f
}

// TestBulk: the way of a program from the first request to the last, and what it is told
// where it goes wrong.
func TestBulk(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		boss, other, clinician, stranger := w.signIn("admin"), w.signIn("admin two"), w.signIn("clinician"), &client{w: w, http: w.tls.Client()}
		first, second := syncengine.ID{1, 1}, syncengine.ID{1, 2}
		w.person(first, "Firstperson", "active", 1, 0)
		w.person(second, "Secondperson", "active", 2, 1)

		stranger.do(http.MethodGet, "/fhir/$export?"+why, http.StatusUnauthorized)
		clinician.do(http.MethodGet, "/fhir/$export?"+why, http.StatusForbidden)
		for _, wrong := range []string{"", "?purpose=x&recipient=y&basis=because", "?" + why + "&_type=Binary", "?" + why + "&_since=yesterday", "?" + why + "&_outputFormat=text/csv", "?" + why + "&colour=red", "?" + why + "&approver=" + syncengine.ID{1}.String()} {
			boss.do(http.MethodGet, "/fhir/$export"+wrong, http.StatusBadRequest)
		}
		if _, text := boss.do(http.MethodGet, "/fhir/$export?"+why+"&_until=2026-01-01T00:00:00Z", http.StatusBadRequest); !strings.Contains(text, "_until is not answered") {
			t.Error(text)
		}
		for _, none := range []string{"abc", syncengine.ID{}.String(), syncengine.ID{7}.String(), w.team.String()} {
			boss.do(http.MethodGet, "/fhir/Group/"+none+"/$export?"+why, http.StatusNotFound)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.tls.URL+"/fhir/$export?"+why, http.NoBody)
		w.ok(err)
		if status, _, _ := boss.send(r); status != http.StatusBadRequest {
			t.Error("without a header that no form can send")
		}

		resp, _ := boss.do(http.MethodGet, "/fhir/$export?"+why, http.StatusAccepted)
		at := resp.Get("Content-Location")
		if resp, _ := boss.do(http.MethodGet, "/fhir/$export?"+why, http.StatusTooManyRequests); resp.Get("Retry-After") == "" {
			t.Error("not told when to come back")
		}
		if resp, _ := boss.do(http.MethodGet, at, http.StatusAccepted); resp.Get("X-Progress") == "" || resp.Get("Retry-After") == "" {
			t.Errorf("on its way: %v", resp)
		}
		other.do(http.MethodGet, at, http.StatusNotFound)
		if n, err := w.worker.Once(t.Context()); n != 1 || err != nil {
			t.Fatalf("%d jobs: %v", n, err)
		}
		m := boss.manifest(at)
		if got := boss.lines(m.of("Patient")); len(got) != 2 || m.of("Organization").Count != 1 || m.of("Practitioner").Count != 3 || m.Request != w.tls.URL+"/fhir/$export?"+why || m.Error == nil {
			t.Errorf("%v: %+v", got, m)
		}
		for _, f := range m.Output {
			boss.lines(f)
		}
		other.do(http.MethodGet, m.of("Patient").URL, http.StatusNotFound)
		boss.do(http.MethodGet, strings.Replace(m.of("Patient").URL, "Patient", "Binary", 1), http.StatusNotFound)
		w.sealed("Firstperson", "Patient")
		boss.goesOn(m.of("Patient"))

		w.checkSince(boss, m.TransactionTime, first)
		some := boss.export("/fhir/Patient/$export?" + why + "&manifest=stu4")
		if some.of("Patient").Count != 2 || some.of("Organization").Count != 0 || some.ManifestType != "export" || some.OutputFormat == "" || some.Request != "" || some.of("Patient").FileSize == 0 {
			t.Errorf("of people: %+v", some)
		}
		some = boss.export("/fhir/Group/" + w.program[1].String() + "/$export?" + why)
		if got := boss.lines(some.of("Patient")); len(got) != 1 || got[0] != second.String() {
			t.Errorf("of a program: %v", got)
		}

		w.checkBrokenOff(boss)
		// Who may no longer make an export of all of them still has those that were made.
		w.crowd()
		boss.do(http.MethodGet, "/fhir/$export?"+why, http.StatusForbidden)
		boss.manifest(at)
		boss.lines(m.of("Patient"))

		boss.do(http.MethodDelete, "/fhir/export/abc", http.StatusNotFound)
		other.do(http.MethodDelete, at, http.StatusNotFound)
		boss.do(http.MethodDelete, at, http.StatusAccepted)
		boss.do(http.MethodGet, at, http.StatusNotFound)
		boss.do(http.MethodGet, m.of("Patient").URL, http.StatusNotFound)
		w.checkExpiry()
	})
}

// sealed looks whether what is on the disk says nothing.
func (w *world) sealed(word, name string) {
	w.t.Helper()
	files := 0
	w.ok(filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(word)) || bytes.Contains(b, []byte(`"resourceType"`)) || !bytes.HasPrefix(b, []byte("age-encryption.org/v1")) {
			w.t.Errorf("%s is in the clear", d.Name())
		}
		if strings.HasPrefix(d.Name(), name) {
			files++
		}
		return err
	}))
	if files == 0 {
		w.t.Error("no file was looked at")
	}
}

// goesOn fetches the rest of a file that was broken off, and all of it where it is another one.
func (c *client) goesOn(f file) {
	c.w.t.Helper()
	whole, text := c.do(http.MethodGet, f.URL, http.StatusOK)
	if got := whole.Get("Content-Length"); got != fmt.Sprint(len(text)) || whole.Get("ETag") == "" {
		c.w.t.Errorf("%s bytes of %d, tag %s", got, len(text), whole.Get("ETag"))
	}
	for tag, want := range map[string]int{whole.Get("ETag"): http.StatusPartialContent, `"another"`: http.StatusOK} {
		r, err := http.NewRequestWithContext(c.w.t.Context(), http.MethodGet, f.URL, http.NoBody)
		c.w.ok(err)
		r.Header.Set("Range", "bytes=10-")
		r.Header.Set("If-Range", tag)
		status, _, rest := c.send(r)
		if status != want || status == http.StatusPartialContent && rest != text[10:] || status == http.StatusOK && rest != text {
			c.w.t.Errorf("the rest of %s: %d, %d bytes of %d", tag, status, len(rest), len(text))
		}
	}
}

// checkSince asks for what has changed since, also what is no more.
func (w *world) checkSince(c *client, since string, gone syncengine.ID) {
	w.t.Helper()
	var head uint64
	w.ok(w.s.Snapshot(w.t.Context(), w.org.ID, func(s *store.Snapshot) error {
		h, err := s.Head()
		head = h.Seq
		return err
	}))
	third := syncengine.ID{1, 3}
	w.person(third, "Thirdperson", "active", head+1, 0)
	w.person(gone, "Firstperson", "void", head+1, 0)
	m := c.export("/fhir/$export?" + why + "&_since=" + url.QueryEscape(since))
	if got := c.lines(m.of("Patient")); len(got) != 1 || got[0] != third.String() || m.of("Organization").Count != 0 {
		w.t.Errorf("what has changed: %v, %+v", got, m)
	}
	if len(m.Deleted) != 1 {
		w.t.Fatalf("%+v", m)
	}
	if got := c.lines(m.Deleted[0]); len(got) != 1 || got[0] != "DELETE Patient/"+gone.String() {
		w.t.Errorf("what is no more: %v", got)
	}
}

// checkBrokenOff has an attempt fail in the middle of its files, and the next one succeed: the
// export is accounted for once.
func (w *world) checkBrokenOff(c *client) {
	w.t.Helper()
	id := syncengine.ID{2, 1}
	msg := &tandemv1.Person{AgencyId: new(w.agency.String()), ProgramId: new(w.program[0].String()), Lifecycle: new("active"), Tz: new("America/Chicago")}
	body, err := record.New().Body(msg)
	w.ok(err)
	damaged := func(end ...byte) {
		w.ok(w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
			rec, err := tx.Record(id)
			if err == nil {
				rec.Body = append(slices.Clone(body), end...)
				err = tx.SaveRecord(rec)
			}
			return err
		}))
	}
	w.ok(w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) error { return w.save(tx, id, msg, body, 1) }))
	damaged(0xff, 0xff)
	before := w.disclosures()
	resp, _ := c.do(http.MethodGet, "/fhir/$export?"+why, http.StatusAccepted)
	once := func() {
		if n, err := w.worker.Once(w.t.Context()); n != 1 || err != nil {
			w.t.Fatalf("%d jobs: %v", n, err)
		}
	}
	once()
	c.do(http.MethodGet, resp.Get("Content-Location"), http.StatusAccepted)
	if n := w.disclosures(); n != before {
		w.t.Errorf("%d disclosures of an attempt that has passed nothing on", n-before)
	}
	damaged()
	w.ahead.Add(int64(time.Minute))
	once()
	c.manifest(resp.Get("Content-Location"))
	// One team has records in it.
	if n := w.disclosures(); n != before+1 {
		w.t.Errorf("%d disclosures of an export that took two attempts", n-before)
	}
}

// checkExpiry lets a day pass.
func (w *world) checkExpiry() {
	w.t.Helper()
	before, err := os.ReadDir(w.dir)
	w.ok(err)
	w.ok(w.exports.Sweep(w.t.Context()))
	kept, err := os.ReadDir(w.dir)
	w.ok(err)
	if len(kept) == 0 || len(kept) != len(before) {
		w.t.Errorf("%d of %d exports are left before their time", len(kept), len(before))
	}
	w.ahead.Add(int64(25 * time.Hour))
	w.ok(w.exports.Sweep(w.t.Context()))
	if left, err := os.ReadDir(w.dir); err != nil || len(left) != 0 {
		w.t.Errorf("%d exports are left, %v", len(left), err)
	}
	w.ok(w.s.Jobs(w.t.Context(), w.org.ID, bulk.Kind, 100, func(j *store.Job) error {
		w.t.Errorf("the database still has the export that ended at %d, with %d bytes of what it came to", j.EndedMS, len(j.Result))
		return nil
	}))
	entries := 0
	w.ok(w.admin.AuditLog(w.t.Context(), func(l *store.AuditLog) error {
		return l.Each(0, func(_ int64, raw []byte) error {
			e := &tandemv1.AuditEntry{}
			if err := proto.Unmarshal(raw, e); err != nil {
				return err
			}
			if e.GetCode() == "exported fhir" {
				entries++
			}
			return nil
		})
	}))
	if entries != 5 {
		w.t.Errorf("%d exports are in the audit log, of 5", entries)
	}
}
