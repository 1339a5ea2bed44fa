package client

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	serverstore "github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// office is a real server with one team of two clinicians. It can be stopped, its
// files changed, and started again under the same address.
type office struct {
	t     testing.TB
	dir   string
	url   string
	st    *serverstore.Store
	srv   *server.Server
	org   *serverstore.Org
	admin *server.Admin

	clinician, second, team, agency syncengine.ID

	mu    sync.Mutex
	front http.Handler
	// unmarked: where it is set back, it does not know how far its history had come.
	unmarked bool
	// forgets: nor, with its security journal gone too, whom it has enrolled since.
	forgets bool
	// away: there is no connection to it.
	away atomic.Bool
}

func newOffice(t testing.TB) *office {
	t.Helper()
	o := &office{t: t, dir: t.TempDir()}
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		front := o.front
		o.mu.Unlock()
		if o.away.Load() {
			panic(http.ErrAbortHandler)
		}
		front.ServeHTTP(w, r)
	}))
	h.Config.Protocols = new(http.Protocols)
	h.Config.Protocols.SetHTTP1(true)
	h.Config.Protocols.SetUnencryptedHTTP2(true)
	o.open()
	h.Start()
	t.Cleanup(func() {
		o.close()
		h.Close()
	})
	o.url = h.URL
	var err error
	if o.org, err = o.st.CreateOrg(t.Context(), "Example County"); err != nil {
		t.Fatal(err)
	}
	o.admin = server.NewAdmin(o.st, o.org, server.AdminOptions{})
	id := func(id syncengine.ID, err error) syncengine.ID {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	o.agency = id(o.admin.AddAgency(t.Context(), server.AgencyOptions{Name: "Example Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"}))
	program := id(o.admin.AddProgram(t.Context(), server.ProgramOptions{NameEN: "Co-response", Model: "crt", Agency: o.agency}))
	o.team = id(o.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Night", Program: program}))
	staff := func(name string) syncengine.ID {
		return id(o.admin.AddStaff(t.Context(), server.StaffOptions{
			Name: name, Discipline: "social_worker", Roles: []string{"clinician"}, Agency: o.agency, Teams: []syncengine.ID{o.team},
		}))
	}
	o.clinician, o.second = staff("Ana"), staff("Ben")
	return o
}

// open starts the server over what stands in its directory.
func (o *office) open() {
	o.t.Helper()
	var err error
	if o.st, err = serverstore.Open(o.t.Context(), o.dir, serverstore.Options{Create: true, Serve: true}); err != nil {
		o.t.Fatal(err)
	}
	if o.srv, err = server.New(o.st, server.Options{Log: zerolog.New(zerolog.NewTestWriter(o.t))}); err != nil {
		o.t.Fatal(err)
	}
	if o.org != nil {
		if o.org, err = o.st.Org(o.t.Context(), o.org.ID); err != nil {
			o.t.Fatal(err)
		}
		o.admin = server.NewAdmin(o.st, o.org, server.AdminOptions{})
	}
	o.mu.Lock()
	o.front = o.srv
	o.mu.Unlock()
}

func (o *office) close() {
	o.srv.End()
	if err := o.st.Close(); err != nil {
		o.t.Error(err)
	}
}

// databases are the files of the server's database.
func (o *office) databases() []string {
	o.t.Helper()
	all, err := filepath.Glob(filepath.Join(o.dir, "tandem.db*"))
	if err != nil {
		o.t.Fatal(err)
	}
	return all
}

// copyAway copies the database, while the server stands still.
func (o *office) copyAway() (restore func()) {
	o.t.Helper()
	o.close()
	kept := map[string][]byte{}
	for _, name := range o.databases() {
		b, err := os.ReadFile(name)
		if err != nil {
			o.t.Fatal(err)
		}
		kept[name] = b
	}
	o.open()
	return func() {
		o.t.Helper()
		o.close()
		if o.unmarked {
			if err := os.Remove(filepath.Join(o.dir, "highwater.json")); err != nil {
				o.t.Fatal(err)
			}
		}
		if o.forgets {
			if err := os.Remove(filepath.Join(o.dir, "security.journal")); err != nil {
				o.t.Fatal(err)
			}
		}
		for _, name := range o.databases() {
			if err := os.Remove(name); err != nil {
				o.t.Fatal(err)
			}
		}
		for name, b := range kept {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				o.t.Fatal(err)
			}
		}
		o.open()
	}
}

// enrol makes a device of a person.
func (o *office) enrol(staff syncengine.ID, dir string, change ...func(*Options)) *Client {
	o.t.Helper()
	code, err := o.admin.IssueCode(o.t.Context(), staff, "tablet")
	if err != nil {
		o.t.Fatal(err)
	}
	c := newClient(o.t, dir, change...)
	if err := c.Enroll(o.t.Context(), o.url, code.Code); err != nil {
		o.t.Fatal(err)
	}
	return c
}

// numbers are those of all incidents at the server, in order.
func (o *office) numbers() (found []string) {
	o.t.Helper()
	domain := record.New()
	kind := domain.KindByName("incident")
	err := o.st.EachRecord(o.t.Context(), o.org.ID, kind.Number, func(rec *syncengine.StoredRecord) error {
		msg, err := domain.Message(&rec.Record)
		if err != nil {
			return err
		}
		if incident, ok := msg.(*tandemv1.Incident); ok {
			found = append(found, incident.GetNumber())
		}
		return nil
	})
	if err != nil {
		o.t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

// quarantined are the refusals of what lies in quarantine.
func (o *office) quarantined() (found []string) {
	o.t.Helper()
	all, err := o.st.Quarantined(o.t.Context(), o.org.ID)
	if err != nil {
		o.t.Fatal(err)
	}
	for _, c := range all {
		found = append(found, strings.TrimPrefix(c.Outcome.GetRefusal().String(), "REFUSAL_"))
	}
	return found
}

func mustSync(tb testing.TB, c *Client) *Moved {
	tb.Helper()
	moved, err := c.Sync(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return moved
}

// incident saves an incident with a number of its own.
func incident(tb testing.TB, c *Client, number string) syncengine.ID {
	tb.Helper()
	return create(tb, c, &tandemv1.Incident{CallType: new("welfare_check"), Number: &number})
}

// shut closes a client in the middle of a test.
func shut(tb testing.TB, c *Client) {
	tb.Helper()
	if err := c.Close(); err != nil {
		tb.Fatal(err)
	}
}

// seq is the newest sequence.
func (o *office) seq() (seq uint64) {
	o.t.Helper()
	err := o.st.Read(o.t.Context(), o.org.ID, func(v syncengine.ServerView) error {
		h, err := v.Head()
		seq = h.Seq
		return err
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return seq
}

// processed are the ops that the server holds of a client.
func (o *office) processed(c *Client) (ops []syncengine.OpRange) {
	o.t.Helper()
	err := o.st.Read(o.t.Context(), o.org.ID, func(v syncengine.ServerView) error {
		r, err := v.Replica(c.me.replica)
		if r != nil {
			ops = r.Ranges
		}
		return err
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return ops
}

// has reports whether the server has a record.
func (o *office) has(id syncengine.ID) (yes bool) {
	o.t.Helper()
	err := o.st.Read(o.t.Context(), o.org.ID, func(v syncengine.ServerView) error {
		rec, err := v.Record(id)
		yes = rec != nil
		return err
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return yes
}

// mustList returns the records of a kind that a device shows.
func mustList(tb testing.TB, c *Client, kind string) []*View {
	tb.Helper()
	views, err := c.List(tb.Context(), kind, Filter{}, Newest, 1000)
	if err != nil {
		tb.Fatal(err)
	}
	return views
}
