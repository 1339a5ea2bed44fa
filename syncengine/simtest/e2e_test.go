package simtest_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// town is a real server on loopback with real devices: two clinicians and a police
// partner of one team.
type town struct {
	t     *testing.T
	http  *httptest.Server
	admin *server.Admin
	staff map[string]syncengine.ID
	// lose makes the way drop answers after the server has given them.
	lose atomic.Bool
}

func newTown(t *testing.T) *town {
	t.Helper()
	w := &town{t: t, staff: map[string]syncengine.ID{}}
	st, err := store.Open(t.Context(), t.TempDir(), store.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	org, err := st.CreateOrg(t.Context(), "Example County")
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(st, server.Options{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	w.http = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.lose.Load() {
			srv.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		srv.ServeHTTP(rw, r)
	}))
	w.http.Config.Protocols = new(http.Protocols)
	w.http.Config.Protocols.SetUnencryptedHTTP2(true)
	w.http.Start()
	t.Cleanup(func() {
		srv.End()
		w.http.Close()
	})
	w.admin = server.NewAdmin(st, org, server.AdminOptions{})
	w.setUp()
	return w
}

func (w *town) setUp() {
	w.t.Helper()
	ctx := w.t.Context()
	made := func(id syncengine.ID, err error) syncengine.ID {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
		return id
	}
	health := made(w.admin.AddAgency(ctx, server.AgencyOptions{Name: "Example Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"}))
	police := made(w.admin.AddAgency(ctx, server.AgencyOptions{Name: "Example Police", Type: "law_enforcement", TimeZone: "America/Chicago", Lang: "en"}))
	program := made(w.admin.AddProgram(ctx, server.ProgramOptions{NameEN: "Co-response", Model: "crt", Agency: health, Partners: []syncengine.ID{police}}))
	team := made(w.admin.AddTeam(ctx, server.TeamOptions{Name: "Night", Program: program}))
	for name, as := range map[string]struct {
		discipline, role string
		agency           syncengine.ID
	}{"ana": {"social_worker", "clinician", health}, "ben": {"nurse", "clinician", health}, "lea": {"supervisor", "lead", health}, "officer": {"officer", "le_partner", police}} {
		w.staff[name] = made(w.admin.AddStaff(ctx, server.StaffOptions{
			Name: name, Discipline: as.discipline, Roles: []string{as.role}, Agency: as.agency, Teams: []syncengine.ID{team},
		}))
	}
}

// device enrols a new device of a person.
func (w *town) device(name string, change ...func(*client.Options)) (*client.Client, string) {
	w.t.Helper()
	o := client.Options{Version: "test"}
	for _, f := range change {
		f(&o)
	}
	dir := w.t.TempDir()
	c, err := client.Open(w.t.Context(), dir, o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			w.t.Error(err)
		}
	})
	code, err := w.admin.IssueCode(w.t.Context(), w.staff[name], "tablet of "+name)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.Enroll(w.t.Context(), w.http.URL, code.Code); err != nil {
		w.t.Fatal(err)
	}
	return c, dir
}

func syncAll(t *testing.T, devices ...*client.Client) {
	t.Helper()
	for _, c := range devices {
		if _, err := c.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func save(t *testing.T, c *client.Client, fn func(*client.Edit) error) *client.Saved {
	t.Helper()
	saved, err := c.Edit(t.Context(), fn)
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

func get(t *testing.T, c *client.Client, id syncengine.ID) *client.View {
	t.Helper()
	v, err := c.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// message returns a view's message of a kind.
func message[T proto.Message](t *testing.T, v *client.View) T {
	t.Helper()
	msg, ok := v.Message.(T)
	if !ok {
		t.Fatalf("got a %T", v.Message)
	}
	return msg
}

// digests returns the digests of the scopes of a device, by id, after it was
// verified; nothing waits to be sent.
func digests(t *testing.T, c *client.Client) map[string]string {
	t.Helper()
	v, err := c.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !v.OK() || s.Queued != 0 || s.Applied != 0 {
		t.Fatalf("faults %q, %d queued, %d applied", v.Faults, s.Queued, s.Applied)
	}
	out := map[string]string{}
	for _, sc := range v.Scopes {
		if !sc.Ready || sc.VerifiedMS == 0 {
			t.Errorf("scope %s: ready %t, verified at %d", sc.ID, sc.Ready, sc.VerifiedMS)
		}
		out[sc.ID] = sc.Digest
	}
	return out
}

// sameDigests fails where two devices differ in a scope that both hold.
func sameDigests(t *testing.T, a, b *client.Client) {
	t.Helper()
	left, right := digests(t, a), digests(t, b)
	shared := 0
	for id, sum := range left {
		// Each has private scopes of its own.
		if other, ok := right[id]; ok {
			shared++
			if other != sum {
				t.Errorf("scope %s: got %s and %s", id, sum, other)
			}
		}
	}
	if shared < 4 {
		t.Errorf("the devices share %d scopes", shared)
	}
}

// A call, from one device to the server and another, with a conflict on the way.
func TestDevicesAndServer(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	ana, _ := w.device("ana")
	ben, _ := w.device("ben")
	officer, officerDir := w.device("officer")
	syncAll(t, ana, ben, officer)

	const marker = "QXZ-clinical-marker"
	call := save(t, ana, func(e *client.Edit) error {
		e.Class(tandemv1.Class_CLASS_URGENT)
		incident, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new("Two dogs.")})
		if err != nil {
			return err
		}
		person, err := e.Create(&tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new("Maria"), Family: new(marker)}}})
		if err != nil {
			return err
		}
		_, err = e.Create(&tandemv1.Encounter{
			IncidentId: new(incident.String()), PersonId: new(person.String()), Narrative: new("Sat with her. " + marker), DangerSelf: new("low"),
		})
		return err
	})
	incident, encounter := call.Records[0], call.Records[2]
	syncAll(t, ana, ben, officer)

	if got := message[*tandemv1.Encounter](t, get(t, ben, encounter)).GetNarrative(); !strings.HasSuffix(got, marker) {
		t.Errorf("ben reads %q", got)
	}
	if found, err := ben.Search(t.Context(), "maria", 0); err != nil || len(found) != 1 {
		t.Errorf("ben finds %d persons, error %v", len(found), err)
	}
	// Both change one field, each without knowing of the other.
	for danger, c := range map[string]*client.Client{"high": ana, "moderate": ben} {
		v := get(t, c, encounter)
		message[*tandemv1.Encounter](t, v).DangerSelf = new(danger)
		if c == ana {
			save(t, c, func(e *client.Edit) error { return e.Set(v, v.Message) })
			continue
		}
		_, err := c.Edit(t.Context(), func(e *client.Edit) error { return e.Set(v, v.Message) })
		if _, ok := errors.AsType[*client.InvalidError](err); !ok {
			t.Errorf("an encounter is its author's own: got %v", err)
		}
	}
	for text, c := range map[string]*client.Client{"Two dogs, tied.": ana, "Three dogs.": ben} {
		v := get(t, c, incident)
		message[*tandemv1.Incident](t, v).NotesOps = new(text)
		save(t, c, func(e *client.Edit) error { return e.Set(v, v.Message) })
	}
	syncAll(t, ana, ben, ana, officer)
	for _, c := range []*client.Client{ana, ben} {
		open, err := c.Conflicts(t.Context())
		if err != nil || len(open) != 1 || len(open[0].Conflicts) != 1 || len(open[0].Conflicts[0].Choices) != 2 {
			t.Fatalf("got %d records in conflict, error %v", len(open), err)
		}
		for _, choice := range open[0].Conflicts[0].Choices {
			if choice.Author.IsZero() || choice.ReceivedMS == 0 {
				t.Errorf("a choice of nobody: %+v", choice)
			}
		}
	}
	sameDigests(t, ana, ben)

	v := get(t, ana, incident)
	open := v.Conflicts[0]
	if _, err := ana.Resolve(t.Context(), v, open.Path, client.Choose{Stamp: open.Choices[1].Stamp}); err != nil {
		t.Fatal(err)
	}
	syncAll(t, ana, ben, officer)
	texts := map[string]bool{}
	for _, c := range []*client.Client{ana, ben, officer} {
		v := get(t, c, incident)
		texts[message[*tandemv1.Incident](t, v).GetNotesOps()] = true
		if len(v.Conflicts) != 0 {
			t.Error("the conflict is still open")
		}
	}
	if len(texts) != 1 {
		t.Errorf("the devices show %v", texts)
	}
	sameDigests(t, ana, ben)

	// The wall: the partner sees the call and holds nothing clinical.
	if _, err := officer.Get(t.Context(), encounter); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("the partner reads the encounter: %v", err)
	}
	counts, err := officer.Counts(t.Context())
	if err != nil || counts["incident"] != 1 || counts["encounter"] != 0 || counts["person"] != 0 {
		t.Errorf("the partner holds %v, error %v", counts, err)
	}
	if err := officer.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(officerDir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("got files %v, error %v", files, err)
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(marker)) {
			t.Errorf("%s holds clinical text", filepath.Base(name))
		}
	}
}

// What somebody who was at the call saved on the draft, before their device heard that it was
// signed, stands beside what was signed: who wrote it, its author and a lead see both, and the
// author settles it. What they would save after that their device does not take.
func TestSignedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	ana, _ := w.device("ana")
	ben, _ := w.device("ben")
	lea, _ := w.device("lea")
	syncAll(t, ana, ben, lea)
	at := &tandemv1.Instant{AtMs: new(int64(1_790_000_000_000)), Origin: new("tap")}
	visit := save(t, ana, func(e *client.Edit) error {
		call, err := e.Create(&tandemv1.Incident{
			Source: new("dispatch_911"), CallType: new("welfare_check"), ResponseMode: new("co_response"), ReceivedAt: at,
			Responders: []*tandemv1.Responder{{StaffId: new(w.staff["ana"].String())}, {StaffId: new(w.staff["ben"].String())}},
		})
		if err != nil {
			return err
		}
		person, err := e.Create(&tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new("Maria"), Family: new("Nunez")}}})
		if err != nil {
			return err
		}
		_, err = e.Create(&tandemv1.Encounter{
			IncidentId: new(call.String()), PersonId: new(person.String()), Identity: new("identified"), Type: new("crisis_response"), StartedAt: at, EndedAt: at,
			PresentingPrimary: new("psychosis"), Substance: new("none"), DangerSelf: new("none"), DangerOthers: new("none"), CannotCareForSelf: new("no"),
			Interventions: []string{"deescalation"}, Disposition: new("resolved_on_scene"), LegalStatus: new("voluntary"),
			CfEd: new("no"), CfArrest: new("no"), CfHold: new("no"), FollowUpPlan: new("opened_episode"), Narrative: new("What ana saw."),
		})
		return err
	}).Records[2]
	syncAll(t, ana, ben, lea)
	write := func(c *client.Client, text string) error {
		v := get(t, c, visit)
		message[*tandemv1.Encounter](t, v).Narrative = new(text)
		_, err := c.Edit(t.Context(), func(e *client.Edit) error { return e.Set(v, v.Message) })
		return err
	}
	if err := write(ben, "What ben saw."); err != nil {
		t.Fatal(err)
	}
	v := get(t, ana, visit)
	save(t, ana, func(e *client.Edit) error { return e.Sign(v, v.Message) })
	syncAll(t, ana, ben, ana, lea)
	for name, c := range map[string]*client.Client{"ana": ana, "ben": ben, "lea": lea} {
		v := get(t, c, visit)
		if got := message[*tandemv1.Encounter](t, v); got.GetNarrative() != "What ana saw." || got.GetLifecycle() != "signed" {
			t.Errorf("%s reads %q, %s", name, got.GetNarrative(), got.GetLifecycle())
		}
		open, err := c.Conflicts(t.Context())
		if err != nil || len(open) != 1 || len(open[0].Conflicts) != 1 {
			t.Fatalf("%s has %d records in conflict, error %v", name, len(open), err)
		}
		sides := open[0].Conflicts[0].Choices
		if len(sides) != 2 || sides[0].Author != w.staff["ana"] || sides[1].Author != w.staff["ben"] ||
			message[*tandemv1.Encounter](t, &client.View{Message: sides[1].Message}).GetNarrative() != "What ben saw." {
			t.Errorf("%s sees %+v", name, sides)
		}
		if lying, err := c.Quarantined(t.Context()); err != nil || len(lying) != 0 {
			t.Errorf("%s: %d not accepted, %v", name, len(lying), err)
		}
	}
	if _, ok := errors.AsType[*client.InvalidError](write(ben, "And more.")); !ok {
		t.Error("what is signed takes a save on the device of who did not sign it")
	}
	sameDigests(t, ana, ben)
	v = get(t, ana, visit)
	if _, err := ana.Resolve(t.Context(), v, v.Conflicts[0].Path, client.Choose{Stamp: v.Conflicts[0].Choices[0].Stamp}); err != nil {
		t.Fatal(err)
	}
	syncAll(t, ana, ben, lea)
	for name, c := range map[string]*client.Client{"ana": ana, "ben": ben, "lea": lea} {
		if open, err := c.Conflicts(t.Context()); err != nil || len(open) != 0 {
			t.Errorf("%s has %d records in conflict after that, %v", name, len(open), err)
		}
	}
}

// Answers that are lost cost neither a change nor a second copy.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	ana, _ := w.device("ana")
	ben, _ := w.device("ben")
	syncAll(t, ana, ben)
	const calls = 30
	for i := range calls {
		save(t, ana, func(e *client.Edit) error {
			_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new(strings.Repeat("x", 10*i+1))})
			return err
		})
		w.lose.Store(i%3 != 2)
		_, err := ana.Sync(t.Context())
		if lost := i%3 != 2; lost != errors.Is(err, client.ErrNetwork) {
			t.Fatalf("call %d: lost %t, got %v", i, lost, err)
		}
	}
	w.lose.Store(false)
	syncAll(t, ana, ben)
	counts, err := ben.Counts(t.Context())
	if err != nil || counts["incident"] != calls {
		t.Errorf("ben holds %v, error %v", counts, err)
	}
	sameDigests(t, ana, ben)
}

// Bootstrap: a large import, pulled page by page by a new device while another one
// goes on saving.
func TestImportAndBootstrap(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	ana, _ := w.device("ana")
	syncAll(t, ana)
	const rows = 2500
	n, err := ana.Bulk(t.Context(), func(b *client.Bulk) error {
		for i := range rows {
			_, err := b.Edit(func(e *client.Edit) error {
				_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), Lifecycle: new("locked"), NotesOps: new(strings.Repeat("word ", 60))},
					client.WithImport(&tandemv1.Import{Mapping: "calls", File: make([]byte, 32), Row: uint64(i + 2)}))
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || n != rows {
		t.Fatalf("got %d saves, error %v", n, err)
	}
	moved, err := ana.Sync(t.Context())
	if err != nil || moved.Applied != rows || moved.NotAccepted != 0 {
		t.Fatalf("got %+v, error %v", moved, err)
	}
	var stop atomic.Pointer[context.CancelFunc]
	ben, _ := w.device("ben", func(o *client.Options) {
		o.OnChange = func([]syncengine.ID) {
			if cancel := stop.Load(); cancel != nil {
				(*cancel)()
			}
		}
	})
	for range 4 {
		save(t, ana, func(e *client.Edit) error {
			_, err := e.Create(&tandemv1.Incident{CallType: new("outreach")})
			return err
		})
		syncAll(t, ana)
		// Interrupted after a page.
		ctx, cancel := context.WithCancel(t.Context())
		stop.Store(&cancel)
		if _, err := ben.Sync(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		cancel()
	}
	stop.Store(nil)
	syncAll(t, ana, ben)
	counts, err := ben.Counts(t.Context())
	if err != nil || counts["incident"] != rows+4 {
		t.Errorf("ben holds %v, error %v", counts, err)
	}
	sameDigests(t, ana, ben)
}

// Run brings a change from one device to the other at once, and settles it on the
// first.
func TestLive(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	news := make(chan []syncengine.ID, 100)
	ana, _ := w.device("ana")
	ben, _ := w.device("ben", func(o *client.Options) {
		o.OnChange = func(changed []syncengine.ID) { news <- changed }
		o.Dial = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	})
	syncAll(t, ana, ben)
	for _, c := range []*client.Client{ana, ben} {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		t.Cleanup(func() {
			stop()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("Run: got %v", err)
			}
		})
	}
	for range 20 {
		saved := save(t, ana, func(e *client.Edit) error {
			_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
			return err
		})
		for arrived := false; !arrived; {
			select {
			case changed := <-news:
				arrived = slices.Contains(changed, saved.Records[0])
			case <-t.Context().Done():
				t.Fatal("it never arrived")
			}
		}
		get(t, ben, saved.Records[0])
	}
	for {
		s, err := ana.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.Queued == 0 && s.Applied == 0 {
			break
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("it was never settled")
		}
	}
}
