package people_test

import (
	"bytes"
	"encoding/base32"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// Words that must show up in no log.
const (
	login      = "rosalind.t"
	personName = "Rosalind Testperson"
	secretWord = "umbrella quartz tuesday lantern"
	agent      = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
)

// cheap is a cost for tests.
var cheap = people.Cost{MemoryKiB: 64, Time: 1, Threads: 1}

// world is a server where people sign in.
type world struct {
	t        *testing.T
	dir      string
	database string
	s        *store.Store
	org      *store.Org
	admin    *server.Admin
	accounts *people.Accounts
	people   *people.People
	http     *httptest.Server
	log      *locked
	options  people.Options

	mu  sync.Mutex
	now time.Time

	agency, team, clinician, boss syncengine.ID
	// confirmed counts what was done for who has shown a passkey.
	confirmed int
}

type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newWorld(t *testing.T, on storetest.Engine, o people.Options) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), database: on.Database(t), log: &locked{}, now: time.UnixMilli(1_700_000_000_000)}
	random := rand.NewChaCha8([32]byte{7})
	w.s = w.open(store.Options{Create: true, Rand: random})
	w.org = must[*store.Org](t)(w.s.CreateOrg(t.Context(), "Example County"))
	w.admin = server.NewAdmin(w.s, w.org, server.AdminOptions{Clock: w.clock})
	w.accounts = people.NewAccounts(w.s, w.org, w.clock, nil)
	id := must[syncengine.ID](t)
	ctx := t.Context()
	w.agency = id(w.admin.AddAgency(ctx, server.AgencyOptions{Name: "Example Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"}))
	program := id(w.admin.AddProgram(ctx, server.ProgramOptions{NameEN: "Co-response", Model: "crt", Agency: w.agency}))
	w.team = id(w.admin.AddTeam(ctx, server.TeamOptions{Name: "Night", Program: program}))
	w.clinician = w.staff(personName, "clinician")
	w.boss = w.staff("Boss Person", "admin")
	o.Cost, o.Clock, o.Log = cheap, w.clock, zerolog.New(w.log)
	w.options = o
	w.people, w.http = w.serve(w.s)
	return w
}

func (w *world) staff(name, role string) syncengine.ID {
	w.t.Helper()
	return must[syncengine.ID](w.t)(w.admin.AddStaff(w.t.Context(), server.StaffOptions{
		Name: name, Discipline: "social_worker", Roles: []string{role}, Agency: w.agency, Teams: []syncengine.ID{w.team},
	}))
}

// open opens the store of the world, as one process does.
func (w *world) open(o store.Options) *store.Store {
	w.t.Helper()
	o.Clock, o.Database, o.Volatile = w.clock, w.database, true
	s, err := store.Open(w.t.Context(), w.dir, o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = s.Close() })
	return s
}

// serve serves the pages over a store, and /inside to who has signed in.
func (w *world) serve(s *store.Store) (*people.People, *httptest.Server) {
	w.t.Helper()
	o := w.options
	p, err := people.New(s, o)
	if err != nil {
		w.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/signin", p)
	mux.Handle("/signin/", p)
	mux.Handle("/inside", p.Require(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, people.FromContext(r.Context()).Staff.String())
	})))
	mux.Handle("GET /thing/{about}", p.Require(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		c, err := p.Challenge(r, r.PathValue("about"))
		if c != nil {
			_, _ = fmt.Fprintf(rw, `<form data-passkey="%s" data-act="get"><input name="sealed" value="%s">`, html.EscapeString(c.Options), html.EscapeString(c.Sealed))
		} else if err == nil {
			_, _ = io.WriteString(rw, "no passkey")
		}
	})))
	mux.Handle("POST /thing/{about}", p.Require(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := p.ConfirmPasskey(r, r.PathValue("about"), func(*store.Tx) error { w.confirmed++; return nil }); err != nil {
			http.Error(rw, err.Error(), http.StatusForbidden)
		}
	})))
	h := httptest.NewTLSServer(mux)
	w.t.Cleanup(h.Close)
	return p, h
}

// browser is one browser of one person.
type browser struct {
	w      *world
	base   string
	client *http.Client
	// from is where its requests come from, through a proxy; origin what it says of whose
	// form it sends.
	from, origin string
	lang         string
}

// answer is a page.
type answer struct {
	status int
	path   string
	body   string
	head   http.Header
}

func (w *world) browser() *browser { return w.browserAt(w.http) }

func (w *world) browserAt(h *httptest.Server) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	client := *h.Client()
	client.Jar = jar
	return &browser{w: w, base: h.URL, client: &client, lang: "en"}
}

func (b *browser) do(method, path string, form url.Values) answer {
	b.w.t.Helper()
	return must[answer](b.w.t)(b.send(method, path, form))
}

// send is do for other goroutines than the test's own.
func (b *browser) send(method, path string, form url.Values) (answer, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(b.w.t.Context(), method, b.base+path, body)
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("User-Agent", agent)
	r.Header.Set("Accept", "text/html,*/*")
	r.Header.Set("Accept-Language", b.lang)
	if b.from != "" {
		r.Header.Set("X-Forwarded-For", b.from)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.base)
		if b.origin != "" {
			r.Header.Set("Origin", b.origin)
		}
	}
	resp, err := b.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	shown := regexp.MustCompile(`data:image/png;base64,[^"]+`).ReplaceAllString(string(text), "data:")
	return answer{resp.StatusCode, resp.Request.URL.Path, shown, resp.Header}, nil
}

func (b *browser) get(path string) answer { b.w.t.Helper(); return b.do(http.MethodGet, path, nil) }

// post sends a form: pairs of names and values.
func (b *browser) post(path string, pairs ...string) answer {
	b.w.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return b.do(http.MethodPost, path, form)
}

func (a answer) want(t *testing.T, status int, path string, says ...string) answer {
	t.Helper()
	if a.status != status || a.path != path {
		t.Fatalf("answer %d at %s, want %d at %s\n%s", a.status, a.path, status, path, a.body)
	}
	for _, s := range says {
		if !strings.Contains(html.UnescapeString(a.body), s) {
			t.Fatalf("%s does not say %q:\n%s", path, s, a.body)
		}
	}
	return a
}

// hidden is the value of a hidden field.
func (a answer) hidden(t *testing.T, name string) string {
	t.Helper()
	m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(a.body)
	if m == nil {
		t.Fatalf("no field %s:\n%s", name, a.body)
	}
	return html.UnescapeString(m[1])
}

// phone is a person's authenticator and the codes that stand in for it.
type phone struct {
	w        *world
	secret   []byte
	recovery []string
}

func (p *phone) code() string {
	p.w.t.Helper()
	return must[string](p.w.t)(people.TOTPCode(p.secret, p.w.clock()))
}

// setUp sets an authenticator up on a page that offers one.
func (b *browser) setUp(page answer, more ...string) (*phone, answer) {
	b.w.t.Helper()
	m := regexp.MustCompile(`<code>([A-Z2-7 ]+)</code>`).FindStringSubmatch(page.body)
	if m == nil {
		b.w.t.Fatalf("no secret:\n%s", page.body)
	}
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(m[1], " ", ""))
	if err != nil {
		b.w.t.Fatal(err)
	}
	p := &phone{w: b.w, secret: secret}
	a := b.post("/signin/factor/new", append([]string{"sealed", page.hidden(b.w.t, "sealed"), "code", p.code()}, more...)...)
	for _, m := range regexp.MustCompile(`<code>([0-9A-Z-]{14})</code>`).FindAllStringSubmatch(a.body, -1) {
		p.recovery = append(p.recovery, m[1])
	}
	// The code is used up.
	b.w.pass(30 * time.Second)
	return p, a
}

// begun makes an account for a person and signs in for the first time, with a second factor.
func (w *world) begun(staff syncengine.ID, login string) (*browser, *phone) {
	w.t.Helper()
	code := must[*people.Code](w.t)(w.accounts.Create(w.t.Context(), staff, login))
	b := w.browser()
	page := b.post("/signin/begin", "login", login, "code", code.Code, "new", secretWord, "again", secretWord).want(w.t, http.StatusOK, "/signin/factor/new")
	p, a := b.setUp(page)
	a.want(w.t, http.StatusOK, "/signin/factor/new", "recovery codes")
	return b, p
}

// signIn signs a browser of the clinician in, with both factors.
func (b *browser) signIn(passphrase string, p *phone) answer {
	b.w.t.Helper()
	a := b.post("/signin", "login", login, "passphrase", passphrase)
	if a.path != "/signin/factor" {
		return a
	}
	a = b.post("/signin/factor", "code", p.code())
	b.w.pass(30 * time.Second)
	return a
}

// in reports whether a browser is let in.
func (b *browser) in() bool {
	b.w.t.Helper()
	a := b.get("/inside")
	return a.status == http.StatusOK && a.path == "/inside"
}

// acts are the entries of the audit log from one on: act, and code where it has one.
func (w *world) acts(from int) (acts []string) {
	w.t.Helper()
	err := w.s.ReadAudit(w.t.Context(), w.org.ID, func(l *store.AuditLog) error {
		return l.Each(0, func(_ int64, raw []byte) error {
			e := &tandemv1.AuditEntry{}
			if err := proto.Unmarshal(raw, e); err != nil {
				return err
			}
			if e.GetAct() >= tandemv1.AuditAct_AUDIT_ACT_ACCOUNT && e.GetAct() <= tandemv1.AuditAct_AUDIT_ACT_FIRST_FACTOR {
				acts = append(acts, strings.TrimSpace(strings.TrimPrefix(e.GetAct().String(), "AUDIT_ACT_")+" "+e.GetCode()))
			}
			return nil
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return acts[from:]
}

func wantActs(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("audit entries:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// everywhere are addresses that a proxy on loopback speaks for.
var everywhere = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
