package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// demo is a server for the examples, with a team of two and directories for devices.
// What one meets in the field stands elsewhere and is reached by https.
type demo struct {
	url  string
	http *httptest.Server
	st   *store.Store
	dir  string

	admin *server.Admin
	staff map[string]syncengine.ID
	down  atomic.Bool
}

// newDemo starts it.
func newDemo(ctx context.Context) *demo {
	d := &demo{staff: map[string]syncengine.ID{}}
	var err error
	if d.dir, err = os.MkdirTemp("", "tandem-example"); err != nil {
		panic(err)
	}
	if d.st, err = store.Open(ctx, filepath.Join(d.dir, "server"), store.Options{Create: true, Serve: true}); err != nil {
		panic(err)
	}
	org, err := d.st.CreateOrg(ctx, "Example County")
	if err != nil {
		panic(err)
	}
	d.admin = server.NewAdmin(d.st, org, server.AdminOptions{})
	srv, err := server.New(d.st, server.Options{Log: zerolog.Nop()})
	if err != nil {
		panic(err)
	}
	d.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.down.Load() {
			panic(http.ErrAbortHandler)
		}
		srv.ServeHTTP(w, r)
	}))
	d.http.Config.Protocols = new(http.Protocols)
	d.http.Config.Protocols.SetHTTP1(true)
	d.http.Config.Protocols.SetUnencryptedHTTP2(true)
	d.http.Start()
	d.url = d.http.URL
	must := func(id syncengine.ID, err error) syncengine.ID {
		if err != nil {
			panic(err)
		}
		return id
	}
	agency := must(d.admin.AddAgency(ctx, server.AgencyOptions{Name: "Example Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"}))
	program := must(d.admin.AddProgram(ctx, server.ProgramOptions{NameEN: "Co-response", Model: "crt", Agency: agency}))
	team := must(d.admin.AddTeam(ctx, server.TeamOptions{Name: "Night", Program: program}))
	for _, name := range []string{"Ana", "Ben"} {
		d.staff[name] = must(d.admin.AddStaff(ctx, server.StaffOptions{
			Name: name, Discipline: "social_worker", Roles: []string{"clinician"}, Agency: agency, Teams: []syncengine.ID{team},
		}))
	}
	return d
}

// code is what an admin reads out to a person.
func (d *demo) code(ctx context.Context, name string) string {
	c, err := d.admin.IssueCode(ctx, d.staff[name], name+"'s tablet")
	if err != nil {
		panic(err)
	}
	return c.Code
}

// device is an enrolled device of a person.
func (d *demo) device(ctx context.Context, name string) *client.Client {
	c, err := client.Open(ctx, filepath.Join(d.dir, name), client.Options{Logger: zerolog.Nop()})
	if err != nil {
		panic(err)
	}
	if err := c.Enroll(ctx, d.url, d.code(ctx, name)); err != nil {
		panic(err)
	}
	if _, err := c.Sync(ctx); err != nil {
		panic(err)
	}
	return c
}

// away cuts the way to it, or mends it.
func (d *demo) away(down bool) { d.down.Store(down) }

// syncAll brings devices in step, one after the other.
func syncAll(ctx context.Context, devices ...*client.Client) {
	for _, c := range devices {
		if _, err := c.Sync(ctx); err != nil {
			panic(err)
		}
	}
}

// close ends it, and the devices.
func (d *demo) close(devices ...*client.Client) {
	d.http.Close()
	var errs []error
	for _, c := range devices {
		errs = append(errs, c.Close())
	}
	if err := errors.Join(append(errs, d.st.Close(), os.RemoveAll(d.dir))...); err != nil {
		panic(err)
	}
}
