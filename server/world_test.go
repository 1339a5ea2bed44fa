package server_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/go-jose/go-jose/v4"
	"github.com/rs/zerolog"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/gen/tandem/v1/tandemv1connect"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// world is a server on loopback with one team of two clinicians and a police
// partner.
type world struct {
	t   *testing.T
	dir string
	// database is the address of a PostgreSQL database, empty for a file.
	database string
	s        *store.Store
	org      *store.Org
	srv      *server.Server
	http     *httptest.Server
	admin    *server.Admin
	log      *locked
	rand     *chance

	mu  sync.Mutex
	now time.Time

	agency, police, program, team syncengine.ID
	clinician, second, partner    syncengine.ID
}

// locked is a buffer that may be written to while it is read.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// chance is what a world is random by, for many at once.
type chance struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func (c *chance) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r.Read(p)
}

// Names that must not show up in a log.
const (
	clinicianName = "Rosalind Testperson"
	deviceLabel   = "tablet in car 54"
)

func newWorld(t *testing.T, on engine, seed byte) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), database: on.Database(t), log: &locked{}, rand: &chance{r: rand.NewChaCha8([32]byte{seed})}, now: time.UnixMilli(1_700_000_000_000)}
	w.open(store.Options{Create: true})
	var err error
	if w.org, err = w.s.CreateOrg(t.Context(), "Example County"); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.setUp()
	return w
}

func (w *world) open(o store.Options) {
	w.t.Helper()
	o.Clock, o.Rand = w.clock, w.rand
	o.Database, o.Volatile = w.database, true
	var err error
	if w.s, err = store.Open(w.t.Context(), w.dir, o); err != nil {
		w.t.Fatal(err)
	}
	st := w.s
	w.t.Cleanup(func() { _ = st.Close() })
}

func (w *world) start() { w.startWith(server.Admission{}) }

// startWith starts the server with bounds of its own.
func (w *world) startWith(bounds server.Admission) {
	w.t.Helper()
	var err error
	w.srv, err = server.New(w.s, server.Options{Admission: bounds, Log: zerolog.New(w.log), Clock: w.clock, Rand: rand.NewChaCha8([32]byte{1, 2, 3})})
	if err != nil {
		w.t.Fatal(err)
	}
	w.serve()
	w.admin = server.NewAdmin(w.s, w.org, server.AdminOptions{Clock: w.clock, Rand: w.rand})
}

// serve puts the server of the world on a port of its own.
func (w *world) serve() {
	w.t.Helper()
	h := httptest.NewUnstartedServer(w.srv)
	h.Config.Protocols = &http.Protocols{}
	h.Config.Protocols.SetHTTP1(true)
	h.Config.Protocols.SetUnencryptedHTTP2(true)
	h.Start()
	w.http = h
	srv := w.srv
	w.t.Cleanup(func() {
		srv.End()
		h.Close()
	})
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (w *world) setUp() {
	w.t.Helper()
	ctx, id := w.t.Context(), must[syncengine.ID](w.t)
	w.agency = id(w.admin.AddAgency(ctx, server.AgencyOptions{Name: "Example Health", Type: "behavioral_health", TimeZone: "America/Chicago", Lang: "en"}))
	w.police = id(w.admin.AddAgency(ctx, server.AgencyOptions{Name: "Example Police", Type: "law_enforcement", TimeZone: "America/Chicago", Lang: "en"}))
	w.program = id(w.admin.AddProgram(ctx, server.ProgramOptions{NameEN: "Co-response", Model: "crt", Agency: w.agency, Partners: []syncengine.ID{w.police}}))
	w.team = id(w.admin.AddTeam(ctx, server.TeamOptions{Name: "Night", Program: w.program}))
	staff := func(name, discipline, role string, agency syncengine.ID) syncengine.ID {
		return id(w.admin.AddStaff(ctx, server.StaffOptions{Name: name, Discipline: discipline, Roles: []string{role}, Agency: agency, Teams: []syncengine.ID{w.team}}))
	}
	w.clinician = staff(clinicianName, "social_worker", "clinician", w.agency)
	w.second = staff("Second Clinician", "nurse", "clinician", w.agency)
	w.partner = staff("Police Partner", "officer", "le_partner", w.police)
}

// device is one device, as far as a test of the server needs it.
type device struct {
	w           *world
	key         ed25519.PrivateKey
	replica     syncengine.ID
	answer      *tandemv1.EnrollResponse
	way         *way
	sync        tandemv1connect.SyncServiceClient
	enroll      tandemv1connect.EnrollServiceClient
	op          uint64
	last        syncengine.Hash
	person, dev syncengine.ID
}

// way signs requests as RFC 9449 says.
type way struct {
	base http.RoundTripper
	key  ed25519.PrivateKey

	mu          sync.Mutex
	certificate string
	nonce       string
	made        int
	// spoil changes a request after it was signed.
	spoil func(*http.Request)
	// proofs are those that were sent.
	proofs []string
	// last is the head of the newest answer.
	last http.Header
	code int
}

func (y *way) RoundTrip(r *http.Request) (*http.Response, error) {
	y.mu.Lock()
	if y.certificate != "" {
		r = r.Clone(r.Context())
		y.made++
		sum := sha256.Sum256([]byte(y.certificate))
		u := *r.URL
		u.RawQuery = ""
		payload, err := json.Marshal(map[string]any{
			"jti": y.made, "htm": r.Method, "htu": u.String(), "iat": 1, "ath": base64.RawURLEncoding.EncodeToString(sum[:]), "nonce": y.nonce,
		})
		if err == nil {
			payload = bytes.Replace(payload, []byte(`"jti":`), []byte(`"jti":"n`), 1)
			payload = bytes.Replace(payload, []byte(`,"nonce"`), []byte(`","nonce"`), 1)
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: y.key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
		if err != nil {
			y.mu.Unlock()
			return nil, err
		}
		signed, err := signer.Sign(payload)
		if err != nil {
			y.mu.Unlock()
			return nil, err
		}
		proof, err := signed.CompactSerialize()
		if err != nil {
			y.mu.Unlock()
			return nil, err
		}
		y.proofs = append(y.proofs, proof)
		r.Header.Set("Authorization", "DPoP "+y.certificate)
		r.Header.Set("DPoP", proof)
	}
	if y.spoil != nil {
		y.spoil(r)
	}
	y.mu.Unlock()
	resp, err := y.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	y.last, y.code = resp.Header, resp.StatusCode
	if n := resp.Header.Get("DPoP-Nonce"); n != "" {
		y.nonce = n
	}
	return resp, nil
}

func (w *world) newDevice(fill byte) *device {
	w.t.Helper()
	seed := bytes.Repeat([]byte{fill}, ed25519.SeedSize)
	d := &device{w: w, key: ed25519.NewKeyFromSeed(seed), replica: syncengine.ID{0xdd, fill}}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: nil}}
	transport.Protocols = &http.Protocols{}
	transport.Protocols.SetUnencryptedHTTP2(true)
	w.t.Cleanup(transport.CloseIdleConnections)
	d.way = &way{base: transport, key: d.key}
	d.connect(w.http.URL)
	return d
}

func (d *device) connect(url string, options ...connect.ClientOption) {
	client := &http.Client{Transport: d.way}
	d.sync = tandemv1connect.NewSyncServiceClient(client, url, options...)
	d.enroll = tandemv1connect.NewEnrollServiceClient(client, url, options...)
}

func (d *device) enrolment(code string) *tandemv1.EnrollRequest {
	folded := []byte("tandem-enroll-v1" + strings.ReplaceAll(strings.ToUpper(code), "-", ""))
	return &tandemv1.EnrollRequest{
		Code: code, PublicKey: d.key[ed25519.SeedSize:], Proof: ed25519.Sign(d.key, append(folded, d.replica[:]...)), Replica: d.replica[:],
		Platform: "linux/amd64", AppVersion: "1.0", Schema: syncengine.Schema,
	}
}

func (w *world) code(staff syncengine.ID) string {
	w.t.Helper()
	return must[*server.Code](w.t)(w.admin.IssueCode(w.t.Context(), staff, deviceLabel)).Code
}

// enrolled makes a device of a person.
func (w *world) enrolled(fill byte, staff syncengine.ID) *device {
	w.t.Helper()
	d := w.newDevice(fill)
	d.accept(must[*tandemv1.EnrollResponse](w.t)(d.enroll.Enroll(w.t.Context(), d.enrolment(w.code(staff)))))
	return d
}

func (d *device) accept(answer *tandemv1.EnrollResponse) {
	d.answer, d.way.certificate = answer, answer.GetCertificate()
	d.person, d.dev = syncengine.ID(answer.GetPerson()), syncengine.ID(answer.GetDevice())
	// The first nonce comes with a refusal; a device tries again at once.
	_, _ = d.sync.Sync(d.w.t.Context(), &tandemv1.SyncRequest{})
}

func (d *device) call(ctx context.Context, req *tandemv1.SyncRequest) (*tandemv1.SyncAnswer, error) {
	resp, err := d.sync.Sync(ctx, req)
	if err != nil {
		return nil, err
	}
	return syncengine.Unframe(resp, nil)
}

func (d *device) must(req *tandemv1.SyncRequest) *tandemv1.SyncAnswer {
	d.w.t.Helper()
	return must[*tandemv1.SyncAnswer](d.w.t)(d.call(d.w.t.Context(), req))
}

// creation is a change that makes a record.
func (d *device) creation(msg proto.Message) *tandemv1.Change {
	d.w.t.Helper()
	id, change := d.w.id(), d.w.id()
	return &tandemv1.Change{
		Id: change[:], Author: d.person[:], Device: d.dev[:], Schema: 1, Time: &tandemv1.ChangeTime{WallMs: d.w.clock().UnixMilli()},
		Records: []*tandemv1.RecordWrite{{
			Record: id[:], Kind: record.New().KindOf(msg).Number, Act: tandemv1.Act_ACT_CREATE, Body: must[[]byte](d.w.t)(record.New().Body(msg)),
		}},
	}
}

func (w *world) id() syncengine.ID {
	w.t.Helper()
	return must[syncengine.ID](w.t)(syncengine.NewID(w.clock().UnixMilli(), w.rand))
}

// push makes a request of changes, signed.
func (d *device) push(changes ...*tandemv1.Change) *tandemv1.SyncRequest {
	d.w.t.Helper()
	run := &tandemv1.Run{FirstOp: d.op + 1, PrevHash: bytes.Clone(d.last[:])}
	for _, c := range changes {
		raw := must[[]byte](d.w.t)(proto.Marshal(c))
		d.op++
		d.last = syncengine.HashEnvelope(d.replica, d.op, d.last, sha256.Sum256(raw))
		run.Changes = append(run.Changes, raw)
	}
	return &tandemv1.SyncRequest{Runs: []*tandemv1.Run{run}, Signature: syncengine.SignBatch(d.key, d.last), NewestOp: d.op, Schema: 1}
}

// read asks for everything the device may hold.
func (d *device) read() (req *tandemv1.SyncRequest, rows []*tandemv1.Row) {
	d.w.t.Helper()
	first := d.must(&tandemv1.SyncRequest{Budget: 1 << 20, Positions: []*tandemv1.ScopePosition{{}}})
	req = &tandemv1.SyncRequest{Budget: 1 << 20, Positions: []*tandemv1.ScopePosition{{}}}
	var held []syncengine.ScopeID
	for _, s := range first.GetPage().GetScopeSet().GetScopes() {
		held = append(held, syncengine.ScopeID(s.GetId()))
		req.Positions = append(req.Positions, &tandemv1.ScopePosition{Scope: s.GetId()})
	}
	req.ScopeSet = syncengine.HashScopeSet(held)
	answer := d.must(req)
	if !answer.GetPage().GetClosing() || answer.GetTrailer().GetMore() {
		d.w.t.Fatal("one page did not read to the end")
	}
	// From now on all scopes are ready, at the cut of this page.
	next := &tandemv1.SyncRequest{Budget: 1 << 20, ScopeSet: req.GetScopeSet(), Positions: answer.GetPage().GetTo()[:1]}
	return next, answer.GetPage().GetRows()
}

func encounter(w *world, narrative string) *tandemv1.Encounter {
	agency, team := w.agency.String(), w.team.String()
	return &tandemv1.Encounter{
		AgencyId: &agency, TeamId: &team, Lifecycle: new("draft"), Schema: new(uint32(1)), Type: new("crisis_response"), Narrative: &narrative,
	}
}

func codeOf(err error) connect.Code { return connect.CodeOf(err) }
