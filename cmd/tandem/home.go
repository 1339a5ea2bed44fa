package main

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/bulk"
	"github.com/tandem-response/tandem/server/console"
	"github.com/tandem-response/tandem/server/jobs"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// home is a server in this process with one team: what demo and bench run against.
type home struct {
	store *store.Store
	org   *store.Org
	admin *server.Admin
	url   string
	stop  context.CancelFunc
	ended chan error

	// clinician, second and officer are staff of the team; spare is one more.
	clinician, second, officer, spare syncengine.ID
	// clinic is the agency that the clinicians are of, program that of the team.
	clinic, program, team syncengine.ID
}

// errNotEmpty: a demo and a bench begin with nothing.
var errNotEmpty = &exitError{exitUsage, errors.New("--database: the database holds organizations already: name an empty one")}

// homeOptions are the seams of a home; the zero value is the system's.
type homeOptions struct {
	// database is the address of an empty PostgreSQL database, empty for a file.
	database string
	clock    func() time.Time
	rand     io.Reader
	// console: it serves the console, for whose sign-in a lead needs no second factor.
	console bool
}

// openHome starts a server on loopback over a new store, and sets up its team.
func openHome(a *app, dir string, o homeOptions) (*home, error) {
	h, err := makeHome(a, dir, o)
	if err != nil {
		return nil, err
	}
	options := server.Options{Log: a.log, Clock: o.clock, Rand: o.rand}
	var tend []func(context.Context)
	if o.console {
		worker, err := jobs.New(h.store, jobs.Options{Clock: o.clock, Log: a.log})
		if err != nil {
			return nil, errors.Join(err, h.store.Close())
		}
		exports, err := bulk.New(h.store, worker, bulk.Options{Dir: filepath.Join(dir, "exports"), Generator: "tandem " + version(), Clock: o.clock, Log: a.log})
		if err != nil {
			return nil, errors.Join(err, h.store.Close())
		}
		tend = []func(context.Context){worker.Work, exports.Tend}
		options.People.SecondFactor, options.FHIR = people.Admins, exports.Handler
		options.Console = func(s *server.Server) (http.Handler, error) {
			return console.New(s, h.store, console.Options{Log: a.log, Clock: o.clock, Rand: o.rand, Exports: exports, Jobs: worker})
		}
	}
	srv, err := server.New(h.store, options)
	if err != nil {
		return nil, errors.Join(err, h.store.Close())
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(a.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, h.store.Close())
	}
	h.url = "http://" + listener.Addr().String()
	ctx, stop := context.WithCancel(context.WithoutCancel(a.ctx))
	h.stop = stop
	var tended sync.WaitGroup
	for _, f := range tend {
		tended.Go(func() { f(ctx) })
	}
	go func() {
		err := srv.Serve(ctx, listener, nil)
		stop()
		tended.Wait()
		h.ended <- err
	}()
	return h, nil
}

// makeHome makes a store and sets up its team; nobody serves it yet.
func makeHome(a *app, dir string, o homeOptions) (_ *home, err error) {
	h := &home{ended: make(chan error, 1)}
	if h.store, err = store.Open(a.ctx, dir, store.Options{Create: true, Serve: true, Database: o.database, Clock: o.clock, Rand: o.rand}); err != nil {
		return nil, err
	}
	if there, err := h.store.Orgs(a.ctx); err != nil || len(there) > 0 {
		if errors.Is(err, store.ErrKeysMissing) || err == nil {
			err = errNotEmpty
		}
		return nil, errors.Join(err, h.store.Close())
	}
	if err := h.people(a.ctx, o); err != nil {
		return nil, errors.Join(err, h.store.Close())
	}
	return h, nil
}

// people makes the org, two agencies, a program, a team and its staff.
func (h *home) people(ctx context.Context, o homeOptions) (err error) {
	if h.org, err = h.store.CreateOrg(ctx, "Prairie County Crisis Response"); err != nil {
		return err
	}
	h.admin = server.NewAdmin(h.store, h.org, server.AdminOptions{Clock: o.clock, Rand: o.rand})
	h.clinic, err = h.admin.AddAgency(ctx, server.AgencyOptions{Name: "Prairie Behavioral Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"})
	if err != nil {
		return err
	}
	police, err := h.admin.AddAgency(ctx, server.AgencyOptions{Name: "Prairie County Police", Type: "law_enforcement", TimeZone: "America/Chicago", Lang: "en"})
	if err != nil {
		return err
	}
	h.program, err = h.admin.AddProgram(ctx, server.ProgramOptions{NameEN: "Co-Response", NameES: "Respuesta conjunta", Model: "crt", Agency: h.clinic, Partners: []syncengine.ID{police}})
	if err != nil {
		return err
	}
	team, err := h.admin.AddTeam(ctx, server.TeamOptions{Name: "Night team", Shift: "22:00 to 06:00", Program: h.program})
	if err != nil {
		return err
	}
	h.team = team
	for _, p := range []struct {
		into *syncengine.ID
		o    server.StaffOptions
	}{
		{&h.clinician, server.StaffOptions{Name: "Maya", Discipline: "social_worker", Roles: []string{"clinician"}, Agency: h.clinic}},
		{&h.second, server.StaffOptions{Name: "Luis", Discipline: "counselor", Roles: []string{"clinician"}, Agency: h.clinic}},
		{&h.officer, server.StaffOptions{Name: "Dale", Discipline: "officer", Roles: []string{"le_partner"}, Agency: police}},
		{&h.spare, server.StaffOptions{Name: "Visitor", Discipline: "nurse", Roles: []string{"clinician"}, Agency: h.clinic}},
	} {
		p.o.Teams = []syncengine.ID{team}
		if *p.into, err = h.admin.AddStaff(ctx, p.o); err != nil {
			return err
		}
	}
	return nil
}

// lead adds a lead of the team who may sign in at the console, and returns the login and
// the one-time code for it.
func (h *home) lead(ctx context.Context, o homeOptions) (*people.Code, error) {
	id, err := h.admin.AddStaff(ctx, server.StaffOptions{Name: "Lena", Discipline: "supervisor", Roles: []string{"lead"}, Agency: h.clinic, Teams: []syncengine.ID{h.team}})
	if err != nil {
		return nil, err
	}
	return people.NewAccounts(h.store, h.org, o.clock, o.rand).Create(ctx, id, "lena")
}

// code issues an enrolment code.
func (h *home) code(ctx context.Context, staff syncengine.ID, label string) (string, error) {
	c, err := h.admin.IssueCode(ctx, staff, label)
	if err != nil {
		return "", err
	}
	return c.Code, nil
}

// enrol makes a device of a person.
func (h *home) enrol(ctx context.Context, staff syncengine.ID, label, dir string, o client.Options) (*client.Client, error) {
	code, err := h.code(ctx, staff, label)
	if err != nil {
		return nil, err
	}
	dev, err := client.Open(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	if err := dev.Enroll(ctx, h.url, code); err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	return dev, nil
}

// count is the number of records at the server.
func (h *home) count(ctx context.Context) (n int, err error) {
	err = h.store.EachRecord(ctx, h.org.ID, 0, func(*syncengine.StoredRecord) error {
		n++
		return nil
	})
	return n, err
}

// digests returns the server's digests of the scopes that a device's person may
// hold, by wire id.
func (h *home) digests(ctx context.Context, dev *client.Client) (map[string]string, error) {
	s, err := dev.Session()
	if err != nil {
		return nil, err
	}
	engine := &syncengine.Server{Rules: record.New(), Secrets: h.org.Secrets}
	out := map[string]string{}
	err = h.store.Read(ctx, h.org.ID, func(view syncengine.ServerView) error {
		p, err := engine.Principal(view, &syncengine.Replica{Person: s.Person, Device: s.Device})
		if err != nil {
			return err
		}
		held, _ := engine.Holds(h.org.ID, p)
		for _, key := range held {
			d, err := view.Digest(key)
			if err != nil {
				return err
			}
			id := h.org.Secrets.ScopeID(key)
			out[hex.EncodeToString(id[:])] = d.Total().String()
		}
		return nil
	})
	return out, err
}

// close ends the server, then its store.
func (h *home) close() error {
	h.stop()
	return errors.Join(<-h.ended, h.store.Close())
}

// open starts the server of the story and enrols its three devices.
func (s *shift) open() (err error) {
	s.scene = "beginning"
	if s.home, err = openHome(s.a, filepath.Join(s.dir, "server"), s.homeOptions()); err != nil {
		return err
	}
	for _, m := range []struct {
		into  **member
		staff syncengine.ID
		m     member
	}{
		{&s.maya, s.home.clinician, member{name: "Maya", role: "clinician", label: "Car 12 laptop"}},
		{&s.luis, s.home.second, member{name: "Luis", role: "clinician", label: "Tablet 3"}},
		{&s.dale, s.home.officer, member{name: "Dale", role: "le_partner", label: "Car 7 laptop"}},
	} {
		m.m.gate = newGate()
		m.m.dev, err = s.home.enrol(s.a.ctx, m.staff, m.m.label, filepath.Join(s.dir, m.m.name), client.Options{
			Now: s.clock.now, Rand: randFor(s.seed, m.m.name), Dial: m.m.gate.dial, Logger: s.a.log, Timezone: "America/Chicago", Version: "demo",
		})
		if err != nil {
			return errors.Join(err, s.close())
		}
		*m.into = &m.m
	}
	return nil
}

// homeOptions are those of the story's server.
func (s *shift) homeOptions() homeOptions {
	return homeOptions{database: s.database, clock: s.clock.now, rand: randFor(s.seed, "server"), console: true}
}

func (s *shift) close() (err error) {
	for _, m := range []*member{s.maya, s.luis, s.dale} {
		if m != nil {
			err = errors.Join(err, m.dev.Close())
		}
	}
	return errors.Join(err, s.home.close())
}
