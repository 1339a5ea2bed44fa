package mobile

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/vault"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// office is a server with a team of two, whom devices reach through pipes.
type office struct {
	t     *testing.T
	admin *server.Admin
	staff map[string]syncengine.ID
	conns chan net.Conn
	done  chan struct{}
	// down: nobody gets through. requests counts those that did, open those under way,
	// tried who found it down.
	down                  atomic.Bool
	requests, open, tried atomic.Int64
	// busy: who gets through is told to come back in so many seconds.
	busy atomic.Int64
}

const address = "http://127.0.0.1:8440"

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, staff: map[string]syncengine.ID{}, conns: make(chan net.Conn), done: make(chan struct{})}
	st, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "server"), store.Options{Create: true, Serve: true})
	if err != nil {
		t.Fatal(err)
	}
	org, err := st.CreateOrg(t.Context(), "Example County")
	if err != nil {
		t.Fatal(err)
	}
	o.admin = server.NewAdmin(st, org, server.AdminOptions{})
	must := func(id syncengine.ID, err error) syncengine.ID {
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	agency := must(o.admin.AddAgency(t.Context(), server.AgencyOptions{Name: "Example Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"}))
	program := must(o.admin.AddProgram(t.Context(), server.ProgramOptions{NameEN: "Co-response", Model: "crt", Agency: agency}))
	// Cy is of another team of the same program.
	night := must(o.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Night", Program: program}))
	day := must(o.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Day", Program: program}))
	for name, team := range map[string]syncengine.ID{"Ana": night, "Ben": night, "Cy": day} {
		o.staff[name] = must(o.admin.AddStaff(t.Context(), server.StaffOptions{
			Name: name, Discipline: "social_worker", Roles: []string{"clinician"}, Agency: agency, Teams: []syncengine.ID{team},
		}))
	}
	// Dee is of both, the second first.
	o.staff["Dee"] = must(o.admin.AddStaff(t.Context(), server.StaffOptions{
		Name: "Dee", Discipline: "nurse", Roles: []string{"clinician"}, Agency: agency, Teams: []syncengine.ID{day, night},
	}))
	srv, err := server.New(st, server.Options{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Server{ReadHeaderTimeout: time.Minute, Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o.down.Load() {
			panic(http.ErrAbortHandler)
		}
		o.requests.Add(1)
		if s := o.busy.Load(); s > 0 {
			w.Header().Set("Tandem-Schema", "1")
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Retry-After", strconv.FormatInt(s, 10))
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		o.open.Add(1)
		defer o.open.Add(-1)
		srv.ServeHTTP(w, r)
	})}
	h.Protocols.SetHTTP1(true)
	h.Protocols.SetUnencryptedHTTP2(true)
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(o) }()
	t.Cleanup(func() {
		_ = h.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// Accept, Close and Addr implement net.Listener.
func (o *office) Accept() (net.Conn, error) {
	select {
	case c := <-o.conns:
		return c, nil
	case <-o.done:
		return nil, net.ErrClosed
	}
}

func (o *office) Close() error {
	select {
	case <-o.done:
	default:
		close(o.done)
	}
	return nil
}

func (o *office) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8440} }

// dial is how devices get there.
func (o *office) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if o.down.Load() {
		o.tried.Add(1)
		return nil, net.ErrClosed
	}
	here, there := net.Pipe()
	select {
	case o.conns <- there:
		return here, nil
	case <-o.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (o *office) code(name string) string {
	o.t.Helper()
	c, err := o.admin.IssueCode(o.t.Context(), o.staff[name], name+"'s phone")
	if err != nil {
		o.t.Fatal(err)
	}
	return c.Code
}

// app is the host of a device.
type app struct {
	mu                  sync.Mutex
	changed             []string
	stopped, words, log string
	passphrase          string
}

func (a *app) Changed(ids string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changed = append(a.changed, strings.Split(ids, "\n")...)
}

func (a *app) Stopped(code, words string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped, a.words = code, words
}

func (a *app) Passphrase(bool) []byte { return []byte(a.passphrase) }

func (a *app) Log(line string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.log += line + "\n"
}

// phone is an enrolled device of a person.
func (o *office) phone(name string) (*Device, *app) {
	o.t.Helper()
	host := &app{}
	d := o.bare(NewSettings(filepath.Join(o.t.TempDir(), name)), host)
	if err := d.Enroll(address, o.code(name), 60_000); err != nil {
		o.t.Fatal(err)
	}
	if _, err := d.SyncOnce(60_000); err != nil {
		o.t.Fatal(err)
	}
	return d, host
}

// bare opens a device.
func (o *office) bare(s *Settings, host *app) *Device {
	o.t.Helper()
	d := &Device{host: host}
	began := time.Now()
	boot := func() ([]byte, time.Duration) { return []byte("one boot"), time.Since(began) }
	if err := d.open(s, client.Options{Dial: o.dial, Boot: boot, Guess: vault.Cost{Time: 1, MemoryKiB: 64, Threads: 1}}); err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() {
		if err := d.Close(); err != nil && codeOf(err) != CodeOther {
			o.t.Error(err)
		}
	})
	return d
}
