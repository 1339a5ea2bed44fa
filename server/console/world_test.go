package console_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/console"
	"github.com/tandem-response/tandem/server/jobs"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

const passphrase = "umbrella quartz tuesday lantern"

// office is a server with its console: a team of two clinicians, their police partner and
// their lead; a team of another agency with a lead of its own; an admin.
type office struct {
	tb    testing.TB
	st    *store.Store
	org   *store.Org
	admin *server.Admin
	srv   *server.Server
	// url is for devices and for a browser on loopback; tls for clients that ask for it.
	url   string
	tls   *httptest.Server
	ahead atomic.Int64
	// data is the store's directory.
	data string

	clinic, night, day                      syncengine.ID
	maya, luis, dale, lena, fred, ada, nora syncengine.ID
}

func must[T any](tb testing.TB) func(T, error) T {
	return func(v T, err error) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func (o *office) now() time.Time { return time.Now().Add(time.Duration(o.ahead.Load())) }

func (o *office) pass(d time.Duration) { o.ahead.Add(int64(d)) }

func newOffice(tb testing.TB, on storetest.Engine) *office {
	tb.Helper()
	o := &office{tb: tb, data: tb.TempDir()}
	o.st = must[*store.Store](tb)(store.Open(tb.Context(), o.data, store.Options{Create: true, Serve: true, Volatile: true, Database: on.Database(tb), Clock: o.now}))
	log := zerolog.New(zerolog.NewTestWriter(tb)).Level(zerolog.ErrorLevel)
	o.srv = must[*server.Server](tb)(server.New(o.st, server.Options{
		Log: log, Clock: o.now, People: people.Options{SecondFactor: people.Admins, Cost: people.Cost{MemoryKiB: 64, Time: 1, Threads: 1}},
		Console: func(s *server.Server) (http.Handler, error) {
			worker, err := jobs.New(o.st, jobs.Options{Clock: o.now, Log: log})
			if err != nil {
				return nil, err
			}
			return console.New(s, o.st, console.Options{Log: log, Clock: o.now, Jobs: worker})
		},
	}))
	plain := httptest.NewUnstartedServer(o.srv)
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetHTTP1(true)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Start()
	o.url, o.tls = plain.URL, httptest.NewTLSServer(o.srv)
	tb.Cleanup(func() {
		o.srv.End()
		plain.Close()
		o.tls.Close()
		if err := o.st.Close(); err != nil {
			tb.Error(err)
		}
	})
	o.org = must[*store.Org](tb)(o.st.CreateOrg(tb.Context(), "Example County"))
	o.admin = server.NewAdmin(o.st, o.org, server.AdminOptions{Clock: o.now})
	id, ctx := must[syncengine.ID](tb), tb.Context()
	o.clinic = id(o.admin.AddAgency(ctx, server.AgencyOptions{Name: "Example Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"}))
	other := id(o.admin.AddAgency(ctx, server.AgencyOptions{Name: "Other Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"}))
	police := id(o.admin.AddAgency(ctx, server.AgencyOptions{Name: "Example Police", Type: "law_enforcement", TimeZone: "America/Chicago", Lang: "en"}))
	program := id(o.admin.AddProgram(ctx, server.ProgramOptions{NameEN: "Co-response", Model: "crt", Agency: o.clinic, Partners: []syncengine.ID{police}}))
	elsewhere := id(o.admin.AddProgram(ctx, server.ProgramOptions{NameEN: "Elsewhere", Model: "mct", Agency: other}))
	o.night = id(o.admin.AddTeam(ctx, server.TeamOptions{Name: "Night", Shift: "22-06", Program: program}))
	o.day = id(o.admin.AddTeam(ctx, server.TeamOptions{Name: "Day", Program: elsewhere}))
	staff := func(name, discipline, role string, agency, team syncengine.ID) syncengine.ID {
		return id(o.admin.AddStaff(ctx, server.StaffOptions{Name: name, Discipline: discipline, Roles: []string{role}, Agency: agency, Teams: []syncengine.ID{team}}))
	}
	o.maya = staff("Maya Ortiz", "social_worker", "clinician", o.clinic, o.night)
	o.luis = staff("Luis Vega", "counselor", "clinician", o.clinic, o.night)
	o.dale = staff("Dale Hunt", "officer", "le_partner", police, o.night)
	o.lena = staff("Lena Park", "supervisor", "lead", o.clinic, o.night)
	o.fred = staff("Fred Foreign", "supervisor", "lead", other, o.day)
	o.nora = staff("Nora Elsewhere", "social_worker", "clinician", other, o.day)
	o.ada = staff("Ada Admin", "other", "admin", o.clinic, o.night)
	return o
}

// device enrols a device of a person.
func (o *office) device(staff syncengine.ID, label string) *client.Client {
	o.tb.Helper()
	code := must[*server.Code](o.tb)(o.admin.IssueCode(o.tb.Context(), staff, label))
	dev := must[*client.Client](o.tb)(client.Open(o.tb.Context(), filepath.Join(o.tb.TempDir(), "store"), client.Options{Timezone: "America/Chicago", Version: "test", Now: o.now}))
	o.tb.Cleanup(func() { _ = dev.Close() })
	if err := dev.Enroll(o.tb.Context(), o.url, code.Code); err != nil {
		o.tb.Fatal(err)
	}
	o.sync(dev)
	return dev
}

func (o *office) sync(devices ...*client.Client) {
	o.tb.Helper()
	for _, d := range devices {
		if _, err := d.Sync(o.tb.Context()); err != nil {
			o.tb.Fatal(err)
		}
	}
}

func (o *office) edit(d *client.Client, f func(*client.Edit) error) {
	o.tb.Helper()
	if _, err := d.Edit(o.tb.Context(), f); err != nil {
		o.tb.Fatal(err)
	}
}

func (o *office) instant(ago time.Duration) *tandemv1.Instant {
	return &tandemv1.Instant{AtMs: new(o.now().Add(-ago).UnixMilli()), Origin: new("tap")}
}

// browser is one browser of one person.
type browser struct {
	o      *office
	client *http.Client
	lang   string
	secret []byte
}

type answer struct {
	status     int
	path, body string
	head       http.Header
}

// signIn makes an account for a person and signs a browser in.
func (o *office) signIn(staff syncengine.ID, login string) *browser {
	o.tb.Helper()
	b := o.stranger()
	code := must[*people.Code](o.tb)(people.NewAccounts(o.st, o.org, o.now, nil).Create(o.tb.Context(), staff, login))
	a := b.post("/signin/begin", "login", login, "code", code.Code, "new", passphrase, "again", passphrase)
	if a.path == "/signin/factor/new" {
		m := regexp.MustCompile(`<code>([A-Z2-7 ]+)</code>`).FindStringSubmatch(a.body)
		sealed := regexp.MustCompile(`name="sealed" value="([^"]*)"`).FindStringSubmatch(a.body)
		if m == nil || sealed == nil {
			o.tb.Fatalf("no secret:\n%s", a.body)
		}
		b.secret = must[[]byte](o.tb)(base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(m[1], " ", "")))
		b.post("/signin/factor/new", "sealed", html.UnescapeString(sealed[1]), "code", totp(b.secret, o.now()))
	}
	return b
}

// totp is the code of RFC 6238 at a time.
func totp(secret []byte, at time.Time) string {
	mac := hmac.New(sha1.New, secret)
	_ = binary.Write(mac, binary.BigEndian, at.Unix()/30)
	sum := mac.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[19]&15:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1_000_000)
}

// stranger is a browser that nobody has signed in with.
func (o *office) stranger() *browser {
	o.tb.Helper()
	c := *o.tls.Client()
	c.Jar = must[*cookiejar.Jar](o.tb)(cookiejar.New(nil))
	return &browser{o: o, client: &c, lang: "en"}
}

func (b *browser) send(ctx context.Context, method, path string, form url.Values, set func(*http.Request)) (answer, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(ctx, method, b.o.tls.URL+path, body)
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Accept", "text/html,*/*")
	r.Header.Set("Accept-Language", b.lang)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.o.tls.URL)
	}
	if set != nil {
		set(r)
	}
	resp, err := b.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Request.URL.Path, string(text), resp.Header}, err
}

func (b *browser) get(path string) answer {
	b.o.tb.Helper()
	return must[answer](b.o.tb)(b.send(b.o.tb.Context(), http.MethodGet, path, nil, nil))
}

func (b *browser) post(path string, pairs ...string) answer {
	b.o.tb.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return must[answer](b.o.tb)(b.send(b.o.tb.Context(), http.MethodPost, path, form, nil))
}

// want fails where an answer is not as it should be.
func (a answer) want(tb testing.TB, status int, says ...string) answer {
	tb.Helper()
	if a.status != status {
		tb.Fatalf("answer %d at %s, want %d\n%s", a.status, a.path, status, a.text())
	}
	for _, s := range says {
		if !strings.Contains(a.text(), s) {
			tb.Fatalf("%s does not say %q:\n%s", a.path, s, a.text())
		}
	}
	return a
}

// never fails where a page says something.
func (a answer) never(tb testing.TB, words ...string) answer {
	tb.Helper()
	for _, s := range words {
		if strings.Contains(a.body, s) || strings.Contains(a.text(), s) {
			tb.Errorf("%s says %q", a.path, s)
		}
	}
	return a
}

var tags = regexp.MustCompile(`(?s)<script.*?</script>|<[^>]*>`)

// text is what a page says.
func (a answer) text() string {
	return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(a.body, " "))), " ")
}

// value is the value of a field of a form.
func (a answer) value(tb testing.TB, name string) string {
	tb.Helper()
	m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(a.body)
	if m == nil {
		tb.Fatalf("no field %s at %s:\n%s", name, a.path, a.text())
	}
	return html.UnescapeString(m[1])
}

// visitOf is an encounter that can be signed.
func (o *office) visitOf(incident, person syncengine.ID, narrative string) *tandemv1.Encounter {
	return &tandemv1.Encounter{
		IncidentId: new(incident.String()), PersonId: new(person.String()), Identity: new("identified"), Type: new("crisis_response"),
		StartedAt: o.instant(time.Hour), EndedAt: o.instant(time.Minute), PresentingPrimary: new("suicidal_ideation"), Substance: new("none"), DangerSelf: new("low"), DangerOthers: new("none"),
		CannotCareForSelf: new("no"), Interventions: []string{"safety_plan"}, Disposition: new("left_with_support"), LegalStatus: new("voluntary"),
		CfEd: new("no"), CfArrest: new("no"), CfHold: new("no"), FollowUpPlan: new("declined"), Narrative: &narrative,
	}
}

func (o *office) call(number string) *tandemv1.Incident {
	return &tandemv1.Incident{
		Number: &number, Source: new("dispatch_911"), CallType: new("welfare_check"), ResponseMode: new("co_response"), PlaceType: new("home"),
		Responders: []*tandemv1.Responder{{StaffId: new(o.maya.String()), OnSceneRole: new("social_worker")}}, DispatchedAt: o.instant(2 * time.Hour), ArrivedAt: o.instant(time.Hour),
	}
}

func person(given, family string) *tandemv1.Person {
	return &tandemv1.Person{Names: []*tandemv1.PersonName{{Given: &given, Family: &family, Use: new("legal")}}}
}
