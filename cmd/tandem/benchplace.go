package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// benchPlace is the server that a bench measures.
type benchPlace struct {
	url string
	// home is nil where the server is a remote one, and codes are those that are left.
	home  *home
	codes []string
	// pid is the server's process, 0 where it is this one or unknown; postgres that of
	// the database's, where it is on this machine.
	pid, postgres int
	// serverDir is where the server keeps its data.
	serverDir, database string
}

// openPlace starts the server, or finds the one that is named.
func openPlace(a *app, c *benchSyncCmd, dir, database string) (*benchPlace, error) {
	if c.Server != "" {
		text, err := os.ReadFile(c.Codes)
		if err != nil {
			return nil, err
		}
		return &benchPlace{url: c.Server, codes: strings.Fields(string(text)), pid: c.PID}, nil
	}
	p := &benchPlace{serverDir: filepath.Join(dir, "server"), database: database}
	var err error
	if c.Embedded {
		p.home, err = openHome(a, p.serverDir, homeOptions{database: database})
	} else {
		p.home, p.pid, err = spawnHome(a, p.serverDir, database)
	}
	if err != nil {
		return nil, err
	}
	p.url = p.home.url
	if database != "" {
		if p.postgres, err = postmaster(a.ctx, database); err != nil {
			return nil, errors.Join(err, p.close(a))
		}
	}
	return p, nil
}

// stopLimit is how long a server may take to end.
const stopLimit = 30 * time.Second

// benchedEnv is the environment of a benched server: what is set here for a server of one's
// own, its address, its profile or its certificate, is no part of the bench.
func benchedEnv(here []string, database string) []string {
	env := slices.DeleteFunc(slices.Clone(here), func(s string) bool { return strings.HasPrefix(s, "TANDEM_") })
	return append(env, "TANDEM_DATABASE="+database)
}

// spawnHome makes a store with its team and serves it in a process of its own.
func spawnHome(a *app, dir, database string) (_ *home, pid int, err error) {
	h, err := makeHome(a, dir, homeOptions{database: database})
	if err != nil {
		return nil, 0, err
	}
	if err := h.store.Close(); err != nil {
		return nil, 0, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, 0, err
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(a.ctx))
	defer func() {
		if err != nil {
			stop()
		}
	}()
	cmd := exec.CommandContext(ctx, program, "serve", "--data", dir, "--listen", "127.0.0.1:0", "--json") //nolint:gosec // This program again.
	cmd.Env = benchedEnv(os.Environ(), database)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopLimit
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, 0, err
	}
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var announced struct {
		URL string `json:"url"`
	}
	if err == nil {
		err = json.Unmarshal(line, &announced)
	}
	if err != nil {
		stop()
		return nil, 0, fmt.Errorf("the server has not started: %w", errors.Join(err, cmd.Wait(), errors.New(said.String())))
	}
	h.url, h.stop, pid = announced.URL, stop, cmd.Process.Pid
	go func() { h.ended <- ended(ctx, cmd.Wait()) }()
	// Codes and crews are made beside it, as tandem admin does.
	if h.store, err = store.Open(a.ctx, dir, store.Options{Database: database}); err != nil {
		stop()
		return nil, 0, errors.Join(err, <-h.ended)
	}
	orgs, err := h.store.Orgs(a.ctx)
	if err == nil && len(orgs) != 1 {
		err = fmt.Errorf("the server's database holds %d organizations", len(orgs))
	}
	if err != nil {
		return nil, 0, errors.Join(err, h.close())
	}
	h.org = orgs[0]
	h.admin = server.NewAdmin(h.store, h.org, server.AdminOptions{})
	return h, pid, nil
}

// ended is what the end of a server's process means: one that was told to end is not at
// fault for having done so.
func ended(ctx context.Context, err error) error {
	if _, exit := errors.AsType[*exec.ExitError](err); ctx.Err() != nil && (exit || errors.Is(err, context.Canceled)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the server: %w", err)
	}
	return nil
}

// code is an enrolment code for a device of a person, nil for the clinician.
func (p *benchPlace) code(ctx context.Context, staff *syncengine.ID, label string) (string, error) {
	if p.home == nil {
		if len(p.codes) == 0 {
			return "", exits(exitUsage, errors.New("--codes holds too few codes: one for each of --devices and --crews"))
		}
		code := p.codes[0]
		p.codes = p.codes[1:]
		return code, nil
	}
	if staff == nil {
		staff = &p.home.clinician
	}
	return p.home.code(ctx, *staff, label)
}

// crew makes a team of one person, who is returned; nil at a remote server.
func (p *benchPlace) crew(ctx context.Context, i int) (*syncengine.ID, error) {
	if p.home == nil {
		return nil, nil //nolint:nilnil // There the codes say whose the devices are.
	}
	name := "Crew " + strconv.Itoa(i+1)
	team, err := p.home.admin.AddTeam(ctx, server.TeamOptions{Name: name, Shift: "22:00 to 06:00", Program: p.home.program})
	if err != nil {
		return nil, err
	}
	staff, err := p.home.admin.AddStaff(ctx, server.StaffOptions{
		Name: name, Discipline: "counselor", Roles: []string{"clinician"}, Agency: p.home.clinic, Teams: []syncengine.ID{team},
	})
	return &staff, err
}

// used is processor time so far: of this process, of the server's where that is another
// one, of the database's.
type used struct{ own, server, database time.Duration }

func (p *benchPlace) used() used {
	u := used{own: cpuTime()}
	if p.pid != 0 {
		u.server = processTime(p.pid)
	}
	if p.postgres != 0 {
		u.database = familyTime(p.postgres)
	}
	return u
}

func (p *benchPlace) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(p.pid), name)
}

// resetPeak has the peak of the server's memory begin anew.
func (p *benchPlace) resetPeak() {
	if p.pid != 0 {
		// Where that is not possible the peak is that of the whole run.
		_ = os.WriteFile(p.proc("clear_refs"), []byte("5"), 0)
	}
}

func (p *benchPlace) peakMB() float64 {
	if p.pid == 0 {
		return 0
	}
	return float64(procKB(p.proc("status"), "VmHWM")) / 1024
}

func (p *benchPlace) databaseMB() float64 {
	if p.postgres == 0 {
		return 0
	}
	return familyMB(p.postgres)
}

// close ends the server, and takes its tables out of the database again.
func (p *benchPlace) close(a *app) error {
	if p.home == nil {
		return nil
	}
	err := p.home.close()
	if p.database != "" {
		err = errors.Join(err, dropTables(context.WithoutCancel(a.ctx), p.database))
	}
	return err
}
