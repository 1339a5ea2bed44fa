package client

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/client/vault"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/faultfs"
	"github.com/tandem-response/tandem/internal/vfs"
	"github.com/tandem-response/tandem/server"
	serverstore "github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

var cuts = flag.Int("cuts", 60, "how often TestPowerCuts cuts the power")

// disked is a device and its server, each on a disk that fails. A run starts from
// copies of the two, as they were when the device had enrolled and synced once.
type disked struct {
	tb             testing.TB
	dir, serverDir string
	device, server *faultfs.Disk
	org            syncengine.ID
	// vault: the device's store is in one.
	vault bool
}

// cheapGuess is what tests spend on a passphrase.
var cheapGuess = vault.Cost{Time: 1, MemoryKiB: 64, Threads: 1}

const passphrase = "five words nobody would guess"

// knows answers with the passphrase.
func knows(context.Context, bool) ([]byte, error) { return []byte(passphrase), nil }

func newDisked(tb testing.TB, inVault ...bool) *disked {
	tb.Helper()
	w := &disked{tb: tb, vault: len(inVault) > 0 && inVault[0], dir: tb.TempDir(), serverDir: tb.TempDir(), device: faultfs.New(1), server: faultfs.New(2)}
	ctx := tb.Context()
	sm := w.mount(w.server)
	st, err := serverstore.Open(sm.Use(ctx), w.serverDir, serverstore.Options{Create: true})
	w.must(err)
	org, err := st.CreateOrg(ctx, "Example County")
	w.must(err)
	w.org = org.ID
	admin := server.NewAdmin(st, org, server.AdminOptions{})
	agency, err := admin.AddAgency(ctx, server.AgencyOptions{Name: "Example Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"})
	w.must(err)
	program, err := admin.AddProgram(ctx, server.ProgramOptions{NameEN: "Co-response", Model: "crt", Agency: agency})
	w.must(err)
	team, err := admin.AddTeam(ctx, server.TeamOptions{Name: "Night", Program: program})
	w.must(err)
	staff, err := admin.AddStaff(ctx, server.StaffOptions{
		Name: "A. Clinician", Discipline: "social_worker", Roles: []string{"clinician"}, Agency: agency, Teams: []syncengine.ID{team},
	})
	w.must(err)
	code, err := admin.IssueCode(ctx, staff, "tablet")
	w.must(err)
	w.must(st.Close())
	l := w.start(w.device, w.server, 0)
	w.must(l.c.Enroll(ctx, "http://127.0.0.1", code.Code))
	_, err = l.c.Sync(ctx)
	w.must(err)
	create(tb, l.c, &tandemv1.Incident{CallType: new("welfare_check")})
	_, err = l.c.Sync(ctx)
	w.must(err)
	w.must(l.stop())
	return w
}

func (w *disked) must(err error) {
	w.tb.Helper()
	if err != nil {
		w.tb.Fatal(err)
	}
}

func (w *disked) mount(d *faultfs.Disk) *vfs.Mount {
	w.tb.Helper()
	m, err := vfs.New(d)
	w.must(err)
	return m
}

// life is device and server at work.
type life struct {
	w      *disked
	device *faultfs.Disk
	server *faultfs.Disk
	dm, sm *vfs.Mount
	st     *serverstore.Store
	srv    *server.Server
	c      *Client
}

// start starts both; the error of the device's open is the test's failure.
func (w *disked) start(device, srv *faultfs.Disk, seed byte) *life {
	w.tb.Helper()
	l, err := w.tryStart(device, srv, seed)
	w.must(err)
	return l
}

// tryStart starts both; the error is that of opening the device's store.
func (w *disked) tryStart(device, srv *faultfs.Disk, seed byte) (*life, error) {
	w.tb.Helper()
	l := &life{w: w, device: device, server: srv, dm: w.mount(device), sm: w.mount(srv)}
	var err error
	l.st, err = serverstore.Open(l.sm.Use(w.tb.Context()), w.serverDir, serverstore.Options{})
	w.must(err)
	l.srv, err = server.New(l.st, server.Options{Log: zerolog.Nop()})
	w.must(err)
	if err := l.open(seed); err != nil {
		w.must(l.stop())
		return nil, err
	}
	return l, nil
}

func (l *life) open(seed byte) (err error) {
	l.c, err = Open(l.dm.Use(l.w.tb.Context()), l.w.dir, Options{
		Version: "test", Transport: l, Logger: zerolog.Nop(), Rand: rand.NewChaCha8([32]byte{seed, 1}),
		Vault: l.w.vault, Passphrase: knows, Guess: cheapGuess,
	})
	return err
}

// RoundTrip is the way to the server, without a network.
func (l *life) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI, in.RemoteAddr, in.Host = r.URL.RequestURI(), "127.0.0.1:1", r.URL.Host
	rec := httptest.NewRecorder()
	l.srv.ServeHTTP(rec, in)
	resp := rec.Result()
	resp.Request = r
	return resp, nil
}

// stop ends both. What a store without power says on its way out is not looked at.
func (l *life) stop() error {
	var err error
	if l.c != nil {
		err = l.c.Close()
	}
	l.srv.End()
	serr := l.st.Close()
	l.dm.Close()
	l.sm.Close()
	if err == nil {
		err = serr
	}
	return err
}

// shift is what a device did and was told.
type shift struct {
	l   *life
	rng *rand.Rand
	// records whose save was acknowledged; changes is how many saves that were.
	records []syncengine.ID
	changes int
	// files is how many files were attached.
	files int
	// doing are the records of the save that was under way, saves how many changes.
	doing []syncengine.ID
	saves int
	// failed is the first error.
	failed error
}

func (s *shift) id() (id syncengine.ID) {
	for i := range id {
		id[i] = byte(s.rng.Uint32())
	}
	return id
}

// step does one thing that a device does.
func (s *shift) step(ctx context.Context) { s.do(ctx, s.rng.IntN(13)) }

func (s *shift) do(ctx context.Context, n int) {
	var err error
	s.doing, s.saves = nil, 0
	switch {
	case n < 5:
		s.doing, s.saves = []syncengine.ID{s.id(), s.id()}, 1
		_, err = s.l.c.Edit(ctx, func(e *Edit) error {
			if _, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new(words(s.rng, 490))}, WithID(s.doing[0])); err != nil {
				return err
			}
			_, err := e.Create(&tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new("Ida"), Family: new(words(s.rng, 20))}}}, WithID(s.doing[1]))
			return err
		})
	case n < 6:
		s.saves = 25
		_, err = s.l.c.Bulk(ctx, func(b *Bulk) error {
			for i := range s.saves {
				id := s.id()
				s.doing = append(s.doing, id)
				_, err := b.Edit(func(e *Edit) error {
					_, err := e.Create(&tandemv1.Incident{CallType: new("outreach"), Lifecycle: new("locked"), NotesOps: new(words(s.rng, 490))},
						WithID(id), WithImport(&tandemv1.Import{Mapping: "calls", File: make([]byte, 32), Row: uint64(i + 2)}))
					return err
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	case n < 7:
		err = s.l.c.SaveDraft(ctx, "incident/new", []byte(words(s.rng, 500)))
	case n < 8 && len(s.records) > 0:
		// A second save of a record that is there already.
		id := s.records[s.rng.IntN(len(s.records))]
		var v *View
		if v, err = s.l.c.Get(ctx, id); err != nil {
			break
		}
		if msg, ok := v.Message.(*tandemv1.Incident); ok && v.Lifecycle != "locked" {
			s.saves = 1
			msg.NotesOps = new(words(s.rng, 490))
			_, err = s.l.c.Edit(ctx, func(e *Edit) error { return e.Set(v, msg) })
		}
	case n < 9:
		_, err = s.l.c.Sync(ctx)
	case n < 12 && n >= 10 && len(s.records) > 0:
		var v *View
		if v, err = s.l.c.Get(ctx, s.records[s.rng.IntN(len(s.records))]); err != nil {
			break
		}
		if v.Kind.Name == "person" {
			s.saves = 1
			if _, err = s.l.c.Attach(ctx, NewFile{Owner: v, Category: "document", Raw: []byte(words(s.rng, 90_000))}); err == nil {
				s.files++
			}
		}
	case n == 12:
		if err = s.l.c.SendFiles(ctx); err != nil && !errors.Is(err, ErrStorage) && !errors.Is(err, ErrDiskFull) {
			err = nil
		}
	default:
		// The app is closed and opened again.
		if err = s.l.c.Close(); err == nil {
			err = s.l.open(byte(s.rng.Uint32()))
		}
	}
	if err != nil {
		s.failed = err
		return
	}
	s.records = append(s.records, s.doing...)
	s.changes += s.saves
	s.doing, s.saves = nil, 0
}

func words(rng *rand.Rand, most int) string {
	b := make([]byte, 1+rng.IntN(most))
	for i := range b {
		b[i] = "etaoinshrdlu"[rng.IntN(12)]
	}
	return string(b)
}

// loss says what of a shift is missing on the device; empty where nothing is.
func (s *shift) loss(ctx context.Context) (string, error) {
	const before = 1 // the change that newDisked made
	v, err := s.l.c.Verify(ctx)
	if err != nil {
		return "", err
	}
	if !v.OK() {
		return fmt.Sprintf("verify: %q", v.Faults), nil
	}
	have := func(ids []syncengine.ID) (n int) {
		for _, id := range ids {
			if _, err := s.l.c.Get(ctx, id); err == nil {
				n++
			}
		}
		return n
	}
	if got := have(s.records); got != len(s.records) {
		return fmt.Sprintf("%d of %d records", got, len(s.records)), nil
	}
	// What was under way is there, record and change, or is not.
	switch under := v.Changes - before - s.changes; {
	case v.Files != s.files && (v.Files != s.files+1 || under != 1):
		return fmt.Sprintf("%d files, %d acknowledged", v.Files, s.files), nil
	case under != 0 && under != s.saves:
		return fmt.Sprintf("%d changes, %d acknowledged, %d under way", v.Changes-before, s.changes, s.saves), nil
	case len(s.doing) > 0 && (under == 0) != (have(s.doing) == 0), len(s.doing) > 0 && under != 0 && have(s.doing) != len(s.doing):
		return fmt.Sprintf("%d changes and %d of %d records of a save", under, have(s.doing), len(s.doing)), nil
	}
	return "", nil
}

// whole syncs and says what device and server differ in.
func (s *shift) whole(ctx context.Context) (string, error) {
	if _, err := s.l.c.Sync(ctx); err != nil {
		return "", err
	}
	if err := s.l.c.SendFiles(ctx); err != nil {
		return "", err
	}
	v, err := s.l.c.Verify(ctx)
	if err != nil {
		return "", err
	}
	r, err := s.l.st.Verify(ctx, s.l.w.org)
	if err != nil {
		return "", err
	}
	if len(v.Faults)+len(r.Faults) > 0 {
		return fmt.Sprintf("verify: %q, %q", v.Faults, r.Faults), nil
	}
	if v.Files != r.Files || r.Awaited > 0 {
		return fmt.Sprintf("%d files here, %d at the server, which waits for %d", v.Files, r.Files, r.Awaited), nil
	}
	org, err := s.l.st.Org(ctx, s.l.w.org)
	if err != nil {
		return "", err
	}
	sums := map[string]string{}
	for k, sum := range r.Digests {
		id := org.Secrets.ScopeID(k)
		sums[hex.EncodeToString(id[:])] = sum.String()
	}
	for _, sc := range v.Scopes {
		want, ok := sums[sc.ID]
		if !ok {
			want = syncengine.Sum{}.String()
		}
		if !sc.Ready || want != sc.Digest {
			return fmt.Sprintf("scope %s: ready %t, digest %s, the server's %s", sc.ID, sc.Ready, sc.Digest, want), nil
		}
	}
	missing := 0
	err = s.l.st.Read(ctx, s.l.w.org, func(view syncengine.ServerView) error {
		for _, id := range s.records {
			if r, err := view.Record(id); err != nil {
				return err
			} else if r == nil {
				missing++
			}
		}
		return nil
	})
	if missing > 0 {
		return fmt.Sprintf("the server lacks %d of %d records", missing, len(s.records)), err
	}
	return "", err
}
