package app_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/app"
	"github.com/tandem-response/tandem/client/vault"
	"github.com/tandem-response/tandem/server"
	serverstore "github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

var shots = flag.String("shots", "", "write a screenshot of every screen into this directory")

const passphrase = "correct horse battery staple lamp"

// cheap is what a guess costs in tests: the tests are about pages.
var cheap = vault.Cost{Time: 1, MemoryKiB: 64, Threads: 1}

// office is a server with one team: two clinicians and their police partner. It can be
// away.
type office struct {
	tb    testing.TB
	url   string
	admin *server.Admin
	srv   *server.Server
	away  atomic.Bool
	st    *serverstore.Store
	org   *serverstore.Org
	// changes counts what role has changed.
	changes int64

	maya, luis, dale syncengine.ID
	clinic, police   syncengine.ID
}

func newOffice(tb testing.TB) *office {
	tb.Helper()
	o := &office{tb: tb}
	st, err := serverstore.Open(tb.Context(), tb.TempDir(), serverstore.Options{Create: true, Serve: true})
	if err != nil {
		tb.Fatal(err)
	}
	if o.srv, err = server.New(st, server.Options{Log: zerolog.Nop()}); err != nil {
		tb.Fatal(err)
	}
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o.away.Load() {
			panic(http.ErrAbortHandler)
		}
		o.srv.ServeHTTP(w, r)
	}))
	h.Config.Protocols = new(http.Protocols)
	h.Config.Protocols.SetHTTP1(true)
	h.Config.Protocols.SetUnencryptedHTTP2(true)
	h.Start()
	o.url = h.URL
	tb.Cleanup(func() {
		o.srv.End()
		h.Close()
		if err := st.Close(); err != nil {
			tb.Error(err)
		}
	})
	org, err := st.CreateOrg(tb.Context(), "Example County")
	if err != nil {
		tb.Fatal(err)
	}
	o.st, o.org = st, org
	o.admin = server.NewAdmin(st, org, server.AdminOptions{})
	id := func(id syncengine.ID, err error) syncengine.ID {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return id
	}
	ctx := tb.Context()
	clinic := id(o.admin.AddAgency(ctx, server.AgencyOptions{Name: "Example Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"}))
	o.clinic = clinic
	police := id(o.admin.AddAgency(ctx, server.AgencyOptions{Name: "Example Police", Type: "law_enforcement", TimeZone: "America/Chicago", Lang: "en"}))
	o.police = police
	program := id(o.admin.AddProgram(ctx, server.ProgramOptions{NameEN: "Co-response", Model: "crt", Agency: clinic, Partners: []syncengine.ID{police}}))
	team := id(o.admin.AddTeam(ctx, server.TeamOptions{Name: "Night", Program: program}))
	staff := func(name, discipline, role string, agency syncengine.ID) syncengine.ID {
		return id(o.admin.AddStaff(ctx, server.StaffOptions{Name: name, Discipline: discipline, Roles: []string{role}, Agency: agency, Teams: []syncengine.ID{team}}))
	}
	o.maya = staff("Maya Ortiz", "social_worker", "clinician", clinic)
	o.luis = staff("Luis Vega", "counselor", "clinician", clinic)
	o.dale = staff("Dale Hunt", "officer", "le_partner", police)
	return o
}

// options are those of a device in the tests.
func options() client.Options {
	return client.Options{
		Vault: true, Guess: cheap, Timezone: "America/Chicago", Version: "test",
		Passphrase: func(context.Context, bool) ([]byte, error) { return []byte(passphrase), nil },
	}
}

// enrol makes a store of a person, brings it in step and closes it.
func (o *office) enrol(staff syncengine.ID, label string) (dir string) {
	o.tb.Helper()
	dir = filepath.Join(o.tb.TempDir(), "store")
	code, err := o.admin.IssueCode(o.tb.Context(), staff, label)
	if err != nil {
		o.tb.Fatal(err)
	}
	dev, err := client.Open(o.tb.Context(), dir, options())
	if err != nil {
		o.tb.Fatal(err)
	}
	if err := dev.Enroll(o.tb.Context(), o.url, code.Code); err != nil {
		o.tb.Fatal(err)
	}
	if _, err := dev.Sync(o.tb.Context()); err != nil {
		o.tb.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		o.tb.Fatal(err)
	}
	return dir
}

// device opens a store for a test that acts beside the app.
func (o *office) device(dir string) *client.Client {
	o.tb.Helper()
	dev, err := client.Open(o.tb.Context(), dir, options())
	if err != nil {
		o.tb.Fatal(err)
	}
	o.tb.Cleanup(func() { _ = dev.Close() })
	return dev
}

// field is a field app that serves.
type field struct {
	app  *app.App
	stop func()

	mu   sync.Mutex
	link string
}

// next is the link that was not used yet.
func (f *field) next() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.link
}

// clock is a wall clock that a test moves. One that stands moves only so.
type clock struct {
	stands time.Time
	ahead  atomic.Int64
}

func (c *clock) now() time.Time {
	at := c.stands
	if at.IsZero() {
		at = time.Now()
	}
	return at.Add(time.Duration(c.ahead.Load()))
}

// serve serves the store of a directory.
func serve(tb testing.TB, o app.Options) *field {
	tb.Helper()
	f := &field{}
	o.Link = func(url string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.link = url
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	o.Log = zerolog.New(zerolog.NewTestWriter(tb)).Level(zerolog.WarnLevel)
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	var err error
	if f.app, err = app.New(ctx, o); err != nil {
		tb.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- f.app.Serve(ctx, listener) }()
	for f.next() == "" {
		time.Sleep(time.Millisecond)
	}
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(f.stop)
	return f
}

func TestMain(m *testing.M) {
	if dir := os.Getenv("TANDEM_APP_CHILD"); dir != "" {
		child(dir)
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

// child is the app in a process of its own, to be killed.
func child(dir string) {
	ctx := context.Background()
	a, err := app.New(ctx, app.Options{Dir: dir, Client: options(), Zone: time.UTC, Link: func(url string) { fmt.Fprintln(os.Stdout, url) }})
	if err == nil {
		var listener net.Listener
		if listener, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err == nil {
			err = a.Serve(ctx, listener)
		}
	}
	fmt.Fprintln(os.Stderr, err)
}

// locked are the options of an app that asks for the passphrase on its page.
func locked() client.Options {
	o := options()
	o.Passphrase = nil
	return o
}

// settings sets what a person would set.
func (o *office) settings(dir string, values map[string]string) {
	o.tb.Helper()
	dev, err := client.Open(o.tb.Context(), dir, options())
	if err != nil {
		o.tb.Fatal(err)
	}
	for key, value := range values {
		if err := dev.SetSetting(o.tb.Context(), key, []byte(value)); err != nil {
			o.tb.Fatal(err)
		}
	}
	if err := dev.Close(); err != nil {
		o.tb.Fatal(err)
	}
}
