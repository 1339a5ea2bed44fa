package client

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rs/zerolog"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	serverstore "github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// hidden are the rules of a version that does not know a kind.
type hidden struct {
	syncengine.Rules

	kind uint32
}

// Kind implements syncengine.Rules.
func (h hidden) Kind(number uint32) *syncengine.Kind {
	if number == h.kind {
		return nil
	}
	return h.Rules.Kind(number)
}

// forget makes a client one of a version that does not know a kind.
func forget(t *testing.T, c *Client, kind string) {
	t.Helper()
	number := c.domain.KindByName(kind).Number
	c.device = &syncengine.Device{Rules: hidden{c.domain, number}}
	delete(c.cols.kinds, number)
	err := c.store.write(t.Context(), "forgetting a kind", func(x *tx) error { return x.setMeta(metaDerived, []byte("an older version")) })
	if err != nil {
		t.Fatal(err)
	}
}

// station is a real server with one team, to which clients enrol.
type station struct {
	t     *testing.T
	srv   *server.Server
	url   string
	admin *server.Admin
	team  syncengine.ID
	staff syncengine.ID
}

func newStation(t *testing.T, o server.Options) *station {
	t.Helper()
	st, err := serverstore.Open(t.Context(), t.TempDir(), serverstore.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	org, err := st.CreateOrg(t.Context(), "Example County")
	if err != nil {
		t.Fatal(err)
	}
	o.Log = zerolog.Nop()
	s := &station{t: t, admin: server.NewAdmin(st, org, server.AdminOptions{})}
	if s.srv, err = server.New(st, o); err != nil {
		t.Fatal(err)
	}
	h := httptest.NewUnstartedServer(s.srv)
	h.Config.Protocols = new(http.Protocols)
	h.Config.Protocols.SetUnencryptedHTTP2(true)
	h.Start()
	t.Cleanup(func() {
		s.srv.End()
		h.Close()
	})
	s.url = h.URL
	made := func(id syncengine.ID, err error) syncengine.ID {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	agency := made(s.admin.AddAgency(t.Context(), server.AgencyOptions{Name: "Example Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"}))
	program := made(s.admin.AddProgram(t.Context(), server.ProgramOptions{NameEN: "Co-response", Model: "crt", Agency: agency}))
	s.team = made(s.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Night", Program: program}))
	s.staff = made(s.admin.AddStaff(t.Context(), server.StaffOptions{
		Name: "Ana", Discipline: "social_worker", Roles: []string{"clinician"}, Agency: agency, Teams: []syncengine.ID{s.team},
	}))
	return s
}

// enrol enrols a client at the station.
func (s *station) enrol(c *Client) {
	s.t.Helper()
	code, err := s.admin.IssueCode(s.t.Context(), s.staff, "tablet")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.Enroll(s.t.Context(), s.url, code.Code); err != nil {
		s.t.Fatal(err)
	}
}

func syncOnce(t *testing.T, c *Client) *Moved {
	t.Helper()
	moved, err := c.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return moved
}

// A version that does not know a kind keeps its records whole, passes them on in
// digests and shows them as of no kind; after an upgrade they are found, listed and
// counted, without a pull.
func TestUnknownKindAfterUpgrade(t *testing.T) {
	t.Parallel()
	s := newStation(t, server.Options{})
	newer := newClient(t, t.TempDir())
	s.enrol(newer)
	dir := t.TempDir()
	old := newClient(t, dir)
	forget(t, old, "person")
	s.enrol(old)
	syncOnce(t, newer)
	syncOnce(t, old)
	id := create(t, newer, &tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new("Maria"), Family: new("Example")}}})
	create(t, newer, &tandemv1.Encounter{PersonId: new(id.String()), TeamId: new(s.team.String()), Type: new("crisis_response")})
	syncOnce(t, newer)
	if moved := syncOnce(t, old); moved.Differing > 0 || moved.Verified == 0 {
		t.Errorf("the old version verified %d scopes, %d differ", moved.Verified, moved.Differing)
	}
	stored := func(c *Client) (body, stamps []byte) {
		t.Helper()
		err := c.store.write(t.Context(), "reading", func(x *tx) error {
			r, err := x.Record(id)
			if err == nil && r != nil {
				body, stamps = r.Body, r.Stamps
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return body, stamps
	}
	wantBody, wantStamps := stored(newer)
	body, stamps := stored(old)
	if len(body) == 0 || !bytes.Equal(body, wantBody) || !bytes.Equal(stamps, wantStamps) {
		t.Error("the old version does not hold the record as it is")
	}
	if found, err := old.Search(t.Context(), "maria", 0); err != nil || len(found) > 0 {
		t.Errorf("the old version finds %d persons, error %v: the kind is not hidden", len(found), err)
	}
	// Somebody edits it meanwhile: the old version takes the touched paths in.
	v := mustGet(t, newer, id)
	as[*tandemv1.Person](t, v).Descriptor_ = new("grey coat")
	if _, err := newer.Edit(t.Context(), func(e *Edit) error { return e.Set(v, v.Message) }); err != nil {
		t.Fatal(err)
	}
	syncOnce(t, newer)
	if moved := syncOnce(t, old); moved.Differing > 0 || moved.Rows != 1 {
		t.Errorf("after an edit: %d rows, %d scopes differ", moved.Rows, moved.Differing)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	// The upgrade; the server is not asked.
	upgraded := newClient(t, dir, func(o *Options) { o.Transport = unreachable{} })
	found, err := upgraded.Search(t.Context(), "maria", 0)
	if err != nil || len(found) != 1 || as[*tandemv1.Person](t, found[0]).GetDescriptor_() != "grey coat" {
		t.Errorf("after the upgrade it finds %d persons, error %v", len(found), err)
	}
	if all, err := upgraded.List(t.Context(), "person", Filter{}, Order(0), 0); err != nil || len(all) != 1 {
		t.Errorf("after the upgrade it lists %d persons, error %v", len(all), err)
	}
	mustVerify(t, upgraded)
}

// unreachable is a way on which no answer comes.
type unreachable struct{}

// RoundTrip implements http.RoundTripper.
func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, http.ErrServerClosed
}

// Below the oldest schema that the server takes writes of, a device may still push:
// its saves are kept at the server as they were sent, and stay readable here; the
// status says in words to update the app.
func TestTooOldToWrite(t *testing.T) {
	t.Parallel()
	s := newStation(t, server.Options{MinWriteSchema: syncengine.Schema + 1})
	c := newClient(t, t.TempDir())
	s.enrol(c)
	id := create(t, c, &tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new("Two dogs.")})
	before := ops(t, c)
	moved := syncOnce(t, c)
	if moved.NotAccepted != 1 || moved.Applied != 0 || moved.Rows == 0 {
		t.Errorf("got %+v: want the save kept apart, and the records of others read", moved)
	}
	st := mustStatus(t, c)
	if st.Update == "" || st.NotAccepted != 1 || st.Queued != 0 {
		t.Errorf("got status %+v", st)
	}
	kept, err := c.Quarantined(t.Context())
	if err != nil || len(kept) != 1 || kept[0].Code != tandemv1.Refusal_REFUSAL_UNKNOWN_SCHEMA || kept[0].Decoded == nil || kept[0].Words == "" {
		t.Fatalf("got %+v, error %v", kept, err)
	}
	if got := syncengine.ID(kept[0].Decoded.GetRecords()[0].GetRecord()); got != id {
		t.Errorf("what is kept is not the save")
	}
	if after := ops(t, c); !bytes.Equal(after, before) {
		t.Error("the outbox lost the bytes of the save")
	}
	mustVerify(t, c)
}

// ops is the bytes of all own changes, one after another.
func ops(t *testing.T, c *Client) (all []byte) {
	t.Helper()
	err := c.store.write(t.Context(), "reading", func(x *tx) error {
		return x.rows(`SELECT raw FROM outbox_raw ORDER BY op`, nil, func(scan func(...any) error) error {
			var raw []byte
			err := scan(&raw)
			all = append(all, raw...)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Below the oldest schema that the server sends records to, nothing of the page is
// read, what was sent is judged, and everything here stays; a server that takes the
// version again goes on where it stopped.
func TestTooOldToRead(t *testing.T) {
	t.Parallel()
	c, e := newEnrolled(t)
	id := create(t, c, &tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new("Two dogs.")})
	if _, err := c.round(t.Context(), want{push: true, page: true}); err != nil {
		t.Fatal(err)
	}
	before := ops(t, c)
	e.minRead = syncengine.Schema + 1
	moved := syncOnce(t, c)
	if moved.Applied != 1 || moved.Cuts != 0 {
		t.Errorf("got %+v, want the save taken and nothing shown", moved)
	}
	if st := mustStatus(t, c); st.Update == "" || st.Records != 1 {
		t.Errorf("got status %+v", st)
	}
	if got := as[*tandemv1.Incident](t, mustGet(t, c, id)).GetNotesOps(); got != "Two dogs." || !bytes.Equal(ops(t, c), before) {
		t.Errorf("the save reads %q, or its bytes are gone", got)
	}
	e.minRead = 0
	syncOnce(t, c)
	if st := mustStatus(t, c); st.Update != "" {
		t.Errorf("the status still says %q", st.Update)
	}
	mustVerify(t, c)
}
