package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tandem-response/tandem/client"
	fieldapp "github.com/tandem-response/tandem/client/app"
	"github.com/tandem-response/tandem/syncengine"
)

type demoCmd struct {
	Once bool   `help:"Play the shift fast, wait for quiet, and exit."`
	JSON bool   `help:"End with one line of JSON, the last on standard output."`
	Seed uint64 `default:"1" help:"Seed of keys, ids and clocks: the same seed gives the same digests."`
	Dir  string `placeholder:"DIR" help:"Where the server's data and the three stores go, kept afterwards; a temporary directory otherwise."`
	databaseFlag
}

func (demoCmd) Help() string {
	return `Starts a server and three devices in this process, two clinicians of one team and their
police partner, and plays a synthetic night shift: signal comes and goes, two people
disagree, a note is signed. Then it stays up; Ctrl-C ends it. Nobody in it exists. With --database the server's tables go into an empty PostgreSQL database, and stay there.

  tandem demo
  tandem demo --once --json --seed 7
  tandem demo --database postgres://tandem@db.example/tandem_demo`
}

// demoResult is the line that --json prints.
type demoResult struct {
	Seed      uint64       `json:"seed"`
	Records   int          `json:"records"`
	Conflicts int          `json:"conflicts"`
	Converged bool         `json:"converged"`
	Devices   []demoDevice `json:"devices"`
}

type demoDevice struct {
	Name     string `json:"name"`
	Role     string `json:"role"`
	Records  int    `json:"records"`
	Digest   string `json:"digest"`
	Clinical int    `json:"clinical_records"`
}

func (c *demoCmd) Run(a *app) (err error) {
	database, err := c.address()
	if err != nil {
		return err
	}
	dir := c.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "tandem-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	} else if _, err := os.Stat(filepath.Join(dir, "server")); err == nil {
		return exits(exitUsage, fmt.Errorf("%s holds a demo already: name another directory", dir))
	}
	s := &shift{a: a, seed: c.Seed, dir: dir, database: database, pace: 1200 * time.Millisecond, clock: newStoryClock(!c.Once)}
	if c.Once {
		s.pace = 0
	}
	if c.JSON && c.Once {
		// The line of JSON speaks for the whole run.
		s.quiet = true
	}
	if err := s.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.play(); err != nil {
		return fmt.Errorf("the demo stopped at its %s: %w", s.scene, err)
	}
	res, err := s.result()
	if err != nil {
		return err
	}
	if err := s.report(res, c.JSON); err != nil {
		return err
	}
	if !res.Converged {
		return errors.New("the devices did not converge: this is a fault of Tandem, please report it with the seed")
	}
	if c.Once {
		return nil
	}
	return s.stay()
}

// shift is the demo: a server, three devices, and a clock of their own.
type shift struct {
	a    *app
	seed uint64
	dir  string
	// database is that of the server, empty for a file.
	database string

	pace  time.Duration
	quiet bool
	clock *storyClock
	scene string

	home  *home
	maya  *member
	luis  *member
	dale  *member
	moved client.Moved
}

// member is one person with a device.
type member struct {
	name, role, label string
	dev               *client.Client
	gate              *gate
}

// storyClock is the clock of the story: it stands where the story put it, or, live,
// runs on from there.
type storyClock struct {
	mu    sync.Mutex
	at    time.Time
	began time.Time
	live  bool
}

func newStoryClock(live bool) *storyClock {
	return &storyClock{at: time.Date(2026, 3, 14, 22, 0, 0, 0, time.UTC), began: time.Now(), live: live}
}

// now is the time of the story.
func (c *storyClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live {
		return c.at.Add(time.Since(c.began))
	}
	return c.at
}

// set moves the story on to a time of its night, never back.
func (c *storyClock) set(hour, minute int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := time.Date(2026, 3, 14, hour, minute, 0, 0, time.UTC)
	if hour < 12 {
		at = at.AddDate(0, 0, 1)
	}
	if at.After(c.at) {
		c.at, c.began = at, time.Now()
	}
}

// randFor is a source of randomness that follows from the seed and a name.
func randFor(seed uint64, name string) io.Reader {
	h := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("tandem-demo "+name), seed))
	return &lockedReader{r: rand.NewChaCha8(h)}
}

// lockedReader makes a source safe for concurrent use.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *lockedReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

// tell prints a line of the story.
func (s *shift) tell(format string, args ...any) {
	if !s.quiet {
		s.a.say("%s  %s", s.clock.now().Format("15:04"), fmt.Sprintf(format, args...))
	}
}

// at moves the story on and says what begins.
func (s *shift) at(hour, minute int, scene string) error {
	s.scene = scene
	s.clock.set(hour, minute)
	return s.a.wait(s.pace)
}

// sync syncs a device and says what came of it.
func (s *shift) sync(m *member) (*client.Moved, error) {
	moved, err := m.dev.Sync(s.a.ctx)
	if moved != nil {
		s.moved.Applied += moved.Applied
		s.moved.Conflicting += moved.Conflicting
		s.moved.NotAccepted += moved.NotAccepted
	}
	return moved, err
}

// settle syncs everybody until nothing moves.
func (s *shift) settle() error {
	for range 10 {
		still := true
		for _, m := range []*member{s.maya, s.luis, s.dale} {
			moved, err := s.sync(m)
			if err != nil {
				return err
			}
			still = still && moved.Rows == 0 && moved.Applied == 0
		}
		if still {
			return nil
		}
	}
	return errors.New("the devices do not come to rest")
}

// result counts what is where and compares the digests.
func (s *shift) result() (*demoResult, error) {
	res := &demoResult{Seed: s.seed, Conflicts: s.moved.Conflicting, Converged: true}
	var err error
	if res.Records, err = s.home.count(s.a.ctx); err != nil {
		return nil, err
	}
	byScope := map[string]string{}
	for _, m := range []*member{s.maya, s.luis, s.dale} {
		d := demoDevice{Name: m.name, Role: m.role}
		h := sha256.New()
		err := m.dev.Each(s.a.ctx, func(r *syncengine.Record) error {
			d.Records++
			if k := m.dev.Domain().Kind(r.Kind); k == nil || clinical(r.Compartment(k)) {
				d.Clinical++
			}
			h.Write(r.ID[:])
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(r.Hash())))
			return nil
		})
		if err != nil {
			return nil, err
		}
		d.Digest = hex.EncodeToString(h.Sum(nil)[:16])
		same, err := s.converged(m, byScope)
		if err != nil {
			return nil, err
		}
		res.Converged = res.Converged && same
		res.Devices = append(res.Devices, d)
	}
	return res, nil
}

// converged reports whether a device has nothing unsent and holds, scope by scope,
// what the server and every other device hold.
func (s *shift) converged(m *member, byScope map[string]string) (bool, error) {
	st, err := m.dev.Status(s.a.ctx)
	if err != nil {
		return false, err
	}
	same := st.Queued == 0 && st.Applied == 0 && len(st.Scopes) > 0
	theirs, err := s.home.digests(s.a.ctx, m.dev)
	if err != nil {
		return false, err
	}
	same = same && len(theirs) == len(st.Scopes)
	for _, scope := range st.Scopes {
		same = same && scope.Ready && theirs[scope.ID] == scope.Digest
		if other, seen := byScope[scope.ID]; seen {
			same = same && other == scope.Digest
		}
		byScope[scope.ID] = scope.Digest
	}
	return same, nil
}

// report prints the end of the story.
func (s *shift) report(res *demoResult, asJSON bool) error {
	if !s.quiet {
		s.a.say("")
		s.a.say("%d records at the server, %d saves met another's value.", res.Records, res.Conflicts)
		for _, d := range res.Devices {
			s.a.say("  %-28s %3d records, %2d of them clinical, digest %s", d.Name+" ("+d.Role+")", d.Records, d.Clinical, d.Digest[:16])
		}
		if res.Converged {
			s.a.say("Every scope on every device equals the server's, by digest.")
		}
	}
	if asJSON {
		return s.a.json(res)
	}
	return nil
}

// stay keeps server and devices in step until the command is stopped.
func (s *shift) stay() error {
	code, err := s.home.code(s.a.ctx, s.home.spare, "visitor")
	if err != nil {
		return err
	}
	lead, err := s.home.lead(s.a.ctx, homeOptions{clock: s.clock.now, rand: randFor(s.seed, "lead")})
	if err != nil {
		return err
	}
	s.a.say("")
	s.a.say("The server stays up at %s, the devices stay in step. Ctrl-C ends it.", s.home.url)
	s.a.say("Its data and the stores of Maya, Luis and Dale lie in %s.", s.dir)
	s.a.say("To join with a device of your own, within 15 minutes and from another terminal:")
	s.a.say("  echo %s | go run ./cmd/tandem enroll --server %s --store my-device", code, s.home.url)
	s.a.say("  go run ./cmd/tandem sync --store my-device && go run ./cmd/tandem status --store my-device")
	s.a.say("Lena (lead) reviews the night at %s/console/", s.home.url)
	s.a.say("  First set a passphrase at %s/signin/begin?to=/console/ with the login %s and the code %s", s.home.url, lead.Login, lead.Code)
	ctx, stop := context.WithCancel(s.a.ctx)
	defer stop()
	var wg sync.WaitGroup
	for _, m := range []*member{s.maya, s.luis, s.dale} {
		wg.Go(func() {
			if err := m.dev.Run(ctx); err != nil && ctx.Err() == nil {
				s.a.log.Error().Err(err).Str("device", m.label).Msg("sync stopped")
			}
		})
	}
	err = s.fieldApps(ctx, &wg)
	if err == nil {
		<-ctx.Done()
	}
	stop()
	wg.Wait()
	s.a.say("Ended.")
	return err
}

// fieldApps serves the pages of the clinician and of the officer, mid-shift.
func (s *shift) fieldApps(ctx context.Context, wg *sync.WaitGroup) error {
	zone, err := time.LoadLocation("America/Chicago")
	if err != nil {
		zone = time.UTC
	}
	for _, m := range []*member{s.maya, s.dale} {
		field, err := fieldapp.New(ctx, fieldapp.Options{Device: m.dev, Now: s.clock.now, Zone: zone, Log: s.a.log, Link: s.a.link(false, m.name+" ("+m.role+"): ")})
		if err != nil {
			return err
		}
		var lc net.ListenConfig
		listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		wg.Go(func() {
			if err := field.Serve(ctx, listener); err != nil && ctx.Err() == nil {
				s.a.log.Error().Err(err).Str("device", m.label).Msg("the field app stopped")
			}
		})
	}
	return nil
}
