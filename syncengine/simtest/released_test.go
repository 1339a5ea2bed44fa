package simtest_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// releasedDir holds the databases that each released schema version has left: of a
// server (its keys are those of an org that never was) and of two devices.
const releasedDir = "../../testdata/released"

// maxReleased bounds the dumps of one release, together.
const maxReleased = 100 << 10

// releasedAddress is where the recorded devices think that their server is.
const releasedAddress = "http://127.0.0.1:1"

// released are the files of a release: where they lie in it, and in its directory.
var released = []string{"server/tandem.db", "server/keys.json", "ana/device.db", "ben/device.db"}

// standing is what a release says of its databases; every later version finds the
// same.
type standing struct {
	// Server: records, and changes in the log.
	Records int `json:"records"`
	Changes int `json:"changes"`
	// Devices by name.
	Devices map[string]deviceStanding `json:"devices"`
	// Unsent is a text that waits in ana's outbox.
	Unsent string `json:"unsent"`
	Record string `json:"unsent_record"`
}

type deviceStanding struct {
	Queued      int               `json:"queued"`
	QueuedBytes int64             `json:"queued_bytes"`
	OwnChanges  int               `json:"own_changes"`
	NotAccepted int               `json:"not_accepted"`
	Records     int               `json:"records"`
	Conflicts   int               `json:"conflicts"`
	Drafts      int               `json:"drafts"`
	Digests     map[string]string `json:"digests"`
}

// elsewhere sends every request to a server, wherever it was meant to go.
type elsewhere struct{ url string }

// RoundTrip implements http.RoundTripper.
func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host = strings.TrimPrefix(e.url, "http://")
	return http.DefaultTransport.RoundTrip(r)
}

// site is a server and the devices of ana and ben, in the directories of one release.
type site struct {
	t       *testing.T
	dir     string
	store   *store.Store
	org     *store.Org
	url     string
	devices map[string]*client.Client
}

// openSite opens the server of a directory.
func openSite(t *testing.T, dir string, o store.Options) *site {
	t.Helper()
	s := &site{t: t, dir: dir, devices: map[string]*client.Client{}}
	var err error
	if s.store, err = store.Open(t.Context(), filepath.Join(dir, "server"), o); err != nil {
		t.Fatal(err)
	}
	orgs, err := s.store.Orgs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(orgs) == 0 {
		s.org, err = s.store.CreateOrg(t.Context(), "Example County")
	} else {
		s.org, err = s.store.Org(t.Context(), orgs[0].ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(s.store, server.Options{Log: zerolog.Nop(), Clock: o.Clock, Rand: o.Rand})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(srv)
	s.url = h.URL
	t.Cleanup(func() {
		srv.End()
		h.Close()
		s.close()
	})
	return s
}

func (s *site) open(name string, o client.Options) *client.Client {
	s.t.Helper()
	o.Transport, o.Version = elsewhere{s.url}, "1.0.0"
	c, err := client.Open(s.t.Context(), filepath.Join(s.dir, name), o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.devices[name] = c
	return c
}

// close closes all files; it may be called twice.
func (s *site) close() {
	for name, c := range s.devices {
		if err := c.Close(); err != nil {
			s.t.Error(err)
		}
		delete(s.devices, name)
	}
	if err := s.store.Close(); err != nil {
		s.t.Error(err)
	}
}

// standing reads everything from what is open.
func (s *site) standing() *standing {
	s.t.Helper()
	report, err := s.store.Verify(s.t.Context(), s.org.ID)
	if err != nil || len(report.Faults) > 0 {
		s.t.Fatalf("the server: %v, %v", report, err)
	}
	out := &standing{Records: report.Records, Changes: report.Changes, Devices: map[string]deviceStanding{}}
	for name, c := range s.devices {
		v, err := c.Verify(s.t.Context())
		if err != nil || !v.OK() {
			s.t.Fatalf("%s: %v, %v", name, v, err)
		}
		st, err := c.Status(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		d := deviceStanding{
			Queued: st.Queued, QueuedBytes: st.QueuedBytes, OwnChanges: v.Changes, NotAccepted: st.NotAccepted, Records: st.Records,
			Conflicts: st.Conflicts, Drafts: st.Drafts, Digests: map[string]string{},
		}
		for _, sc := range v.Scopes {
			d.Digests[sc.ID] = sc.Digest
		}
		out.Devices[name] = d
	}
	return out
}

// writeReleased makes a small synthetic world and keeps its databases.
func writeReleased(t *testing.T, into string) {
	t.Helper()
	dir := t.TempDir()
	nowMS := int64(1_790_000_000_000)
	clock := func() time.Time {
		nowMS += 1000
		return time.UnixMilli(nowMS)
	}
	s := openSite(t, dir, store.Options{Create: true, Clock: clock, Rand: rand.NewChaCha8([32]byte{1})})
	admin := server.NewAdmin(s.store, s.org, server.AdminOptions{Clock: clock, Rand: rand.NewChaCha8([32]byte{2})})
	made := func(id syncengine.ID, err error) syncengine.ID {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	ctx := t.Context()
	agency := made(admin.AddAgency(ctx, server.AgencyOptions{Name: "Example Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"}))
	program := made(admin.AddProgram(ctx, server.ProgramOptions{NameEN: "Co-response", Model: "crt", Agency: agency}))
	team := made(admin.AddTeam(ctx, server.TeamOptions{Name: "Night", Program: program}))
	for i, name := range []string{"ana", "ben"} {
		staff := made(admin.AddStaff(ctx, server.StaffOptions{
			Name: name, Discipline: "social_worker", Roles: []string{"clinician"}, Agency: agency, Teams: []syncengine.ID{team},
		}))
		code, err := admin.IssueCode(ctx, staff, "tablet of "+name)
		if err != nil {
			t.Fatal(err)
		}
		c := s.open(name, client.Options{Now: clock, Rand: rand.NewChaCha8([32]byte{3, byte(i)})})
		if err := c.Enroll(ctx, releasedAddress, code.Code); err != nil {
			t.Fatal(err)
		}
	}
	ana, ben := s.devices["ana"], s.devices["ben"]
	syncAll(t, ana, ben)
	incident := shift(t, ana, ben)
	const unsent = "Unsent words: the dogs are fed."
	edit := func(c *client.Client, text string) {
		t.Helper()
		v := get(t, c, incident)
		message[*tandemv1.Incident](t, v).NotesOps = &text
		save(t, c, func(e *client.Edit) error { return e.Set(v, v.Message) })
	}
	edit(ana, unsent)
	save(t, ana, func(e *client.Edit) error {
		e.Class(tandemv1.Class_CLASS_URGENT)
		_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new("Unsent, urgent.")})
		return err
	})
	if err := ana.SaveDraft(ctx, "encounter/new", []byte("half a sentence")); err != nil {
		t.Fatal(err)
	}
	st := s.standing()
	st.Unsent, st.Record = unsent, incident.String()
	s.close()
	keepReleased(t, dir, into, st)
}

// shift is what the two write: records of several kinds, a conflict, and enough edits
// for alternatives and deltas.
func shift(t *testing.T, ana, ben *client.Client) (incident syncengine.ID) {
	t.Helper()
	call := save(t, ana, func(e *client.Edit) error {
		incident, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new("Two dogs.")})
		if err != nil {
			return err
		}
		person, err := e.Create(&tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new("María"), Family: new("Example")}}})
		if err != nil {
			return err
		}
		_, err = e.Create(&tandemv1.Encounter{
			IncidentId: new(incident.String()), PersonId: new(person.String()), Narrative: new("Sat with her — «tranquila»."), DangerSelf: new("low"),
		})
		return err
	})
	incident = call.Records[0]
	syncAll(t, ana, ben)
	for i, c := range []*client.Client{ana, ben} {
		v := get(t, c, incident)
		message[*tandemv1.Incident](t, v).NotesOps = new(fmt.Sprintf("Two dogs, as seen by %d.", i))
		save(t, c, func(e *client.Edit) error { return e.Set(v, v.Message) })
	}
	for range 3 {
		save(t, ben, func(e *client.Edit) error {
			_, err := e.Create(&tandemv1.Incident{CallType: new("overdose"), NotesOps: new(strings.Repeat("Quiet street. ", 20))})
			return err
		})
	}
	syncAll(t, ana, ben, ana, ben)
	return incident
}

// keepReleased compresses the files of a closed site into a release's directory.
func keepReleased(t *testing.T, dir, into string, st *standing) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(into), os.MkdirAll(into, 0o750)); err != nil {
		t.Fatal(err)
	}
	for _, name := range released {
		if info, err := os.Stat(filepath.Join(dir, name+"-wal")); err == nil && info.Size() > 0 {
			t.Fatalf("%s was not closed", name)
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(into, strings.ReplaceAll(name, "/", "-")+".gz"))
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(z.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.MarshalIndent(st, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(into, "standing.json"), append(text, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}

// unpack puts the files of a release where a server and devices look for them.
func unpack(t *testing.T, from, dir string) *standing {
	t.Helper()
	size := int64(0)
	for _, name := range released {
		path := filepath.Join(from, strings.ReplaceAll(name, "/", "-")+".gz")
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
		if err := errors.Join(f.Close(), os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700), os.WriteFile(filepath.Join(dir, name), data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if size > maxReleased {
		t.Errorf("the databases of %s take %d bytes, at most %d are kept in the tree", from, size, maxReleased)
	}
	text, err := os.ReadFile(filepath.Join(from, "standing.json"))
	if err != nil {
		t.Fatal(err)
	}
	st := &standing{}
	if err := json.Unmarshal(text, st); err != nil {
		t.Fatal(err)
	}
	return st
}

// TestReleasedDatabases: this version opens the databases of every released schema
// version, brings them up to date, finds in them what that version left, byte for byte
// as digests and the hashes of own changes tell, and goes on: what waited is sent, and
// everybody holds the same.
func TestReleasedDatabases(t *testing.T) {
	if f := flag.Lookup("golden.write"); f != nil && f.Value.String() == "true" {
		writeReleased(t, filepath.Join(releasedDir, strconv.Itoa(syncengine.Schema)))
	}
	releases, err := os.ReadDir(releasedDir)
	if err != nil || len(releases) == 0 {
		t.Fatalf("no releases in %s: %v", releasedDir, err)
	}
	for _, r := range releases {
		t.Run(r.Name(), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			want := unpack(t, filepath.Join(releasedDir, r.Name()), dir)
			s := openSite(t, dir, store.Options{})
			ana, ben := s.open("ana", client.Options{}), s.open("ben", client.Options{})
			got := s.standing()
			got.Unsent, got.Record = want.Unsent, want.Record
			if !reflect.DeepEqual(got, want) {
				t.Errorf("after the upgrade: got %+v, want %+v", got, want)
			}
			syncAll(t, ana, ben, ana)
			sameDigests(t, ana, ben)
			id, err := syncengine.ParseID(want.Record)
			if err != nil {
				t.Fatal(err)
			}
			v := get(t, ben, id)
			if !strings.Contains(fmt.Sprint(v.Message, v.Conflicts), want.Unsent) && message[*tandemv1.Incident](t, v).GetNotesOps() != want.Unsent {
				t.Error("the words that waited on ana's device are not on ben's")
			}
			if st, err := ana.Status(context.WithoutCancel(t.Context())); err != nil || st.Queued != 0 || st.Drafts != 1 {
				t.Errorf("ana: %d queued, %d drafts, error %v", st.Queued, st.Drafts, err)
			}
			report, err := s.store.Verify(t.Context(), s.org.ID)
			if err != nil || len(report.Faults) > 0 {
				t.Errorf("the server, afterwards: %v, %v", report, err)
			}
		})
	}
}
