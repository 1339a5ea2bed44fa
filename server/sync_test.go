package server_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"compress/gzip"
	"connectrpc.com/connect"
	"github.com/klauspost/compress/zstd"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

const marker = "words that only clinicians may read"

func TestFromOneDeviceToTheOthers(t *testing.T) { each(t, testFromOneDeviceToTheOthers) }

func testFromOneDeviceToTheOthers(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 1)
	one, two, police := w.enrolled(1, w.clinician), w.enrolled(2, w.second), w.enrolled(3, w.partner)
	c := one.creation(encounter(w, marker))
	answer := one.must(one.push(c))
	if got := answer.GetOutcomes(); len(got) != 1 || got[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
		t.Fatalf("got verdicts %v", got)
	}
	_, rows := two.read()
	found := 0
	for _, r := range rows {
		if bytes.Contains(r.GetBody(), []byte(marker)) {
			found++
		}
	}
	if found != 1 {
		t.Errorf("the second clinician got the record %d times", found)
	}
	// Two agencies, a program, a team, three members of staff, three devices.
	if got, want := len(rows), 11; got != want {
		t.Errorf("the second clinician got %d rows, want %d", got, want)
	}
	_, rows = police.read()
	if got, want := len(rows), 10; got != want {
		t.Errorf("the police partner got %d rows, want %d", got, want)
	}
	for _, r := range rows {
		if bytes.Contains(r.GetBody(), []byte(marker)) || bytes.Equal(r.GetRecord(), c.GetRecords()[0].GetRecord()) {
			t.Error("the police partner got a clinical record")
		}
	}
	// The same push again is answered with the same verdict and changes nothing.
	head := w.head()
	one.op, one.last = 0, syncengine.Hash{}
	if got := one.must(one.push(c)).GetOutcomes(); len(got) != 1 || got[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
		t.Errorf("again: got verdicts %v", got)
	}
	if w.head() != head {
		t.Error("a push that was repeated moved the history")
	}
	for _, h := range []struct{ name, want string }{{server.SchemaHeader, "1"}, {"Cache-Control", "no-store"}} {
		if got := one.way.last.Get(h.name); got != h.want {
			t.Errorf("%s is %q, want %q", h.name, got, h.want)
		}
	}
	report, err := w.s.Verify(t.Context(), w.org.ID)
	if err != nil || len(report.Faults) > 0 {
		t.Errorf("verify: %v, %v", report, err)
	}
}

func (w *world) head() (h syncengine.HistoryHead) {
	w.t.Helper()
	err := w.s.Read(w.t.Context(), w.org.ID, func(v syncengine.ServerView) (err error) {
		h, err = v.Head()
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

func TestWaiting(t *testing.T) { each(t, testWaiting) }

func testWaiting(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 2)
	one, two, police := w.enrolled(1, w.clinician), w.enrolled(2, w.second), w.enrolled(3, w.partner)
	wait := func(d *device) (answered func() *tandemv1.SyncAnswer) {
		req, _ := d.read()
		req.WaitMs = 40_000
		var wg sync.WaitGroup
		var answer *tandemv1.SyncAnswer
		var err error
		wg.Go(func() { answer, err = d.call(t.Context(), req) })
		return func() *tandemv1.SyncAnswer {
			wg.Wait()
			if err != nil {
				t.Error(err)
			}
			return answer
		}
	}
	ours, theirs := wait(two), wait(police)
	one.must(one.push(one.creation(encounter(w, marker))))
	if rows := ours().GetPage().GetRows(); len(rows) != 1 || !bytes.Contains(rows[0].GetBody(), []byte(marker)) {
		t.Errorf("who waited got %d rows", len(rows))
	}
	// The police partner is told nothing, until the server ends.
	w.srv.End()
	if page := theirs().GetPage(); len(page.GetRows()) > 0 {
		t.Errorf("the police partner was told of %d rows", len(page.GetRows()))
	}
	// A wait begun after the end is none.
	wait(two)()
}

func TestOwnChangesAreToldTogether(t *testing.T) { each(t, testOwnChangesAreToldTogether) }

// A device that waits for news is not answered for each of its own changes, which it has
// been told of; what another device writes ends the wait, and brings them along.
func testOwnChangesAreToldTogether(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 5)
	server.SetOwnHeld(w.srv, time.Hour)
	one, two := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	req, _ := one.read()
	req.WaitMs = 40_000
	var wg sync.WaitGroup
	var answer *tandemv1.SyncAnswer
	var err error
	wg.Go(func() { answer, err = one.call(t.Context(), req) })
	for range 3 {
		one.must(one.push(one.creation(encounter(w, marker))))
	}
	two.must(two.push(two.creation(encounter(w, marker))))
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	echoes := 0
	for _, row := range answer.GetPage().GetRows() {
		if row.GetEcho() {
			echoes++
		}
	}
	if rows := len(answer.GetPage().GetRows()); rows != 4 || echoes != 3 {
		t.Errorf("the answer has %d rows, %d of them echoes: want all four changes, three of them its own", rows, echoes)
	}
	// Where nothing else comes, it is told of them after a while.
	server.SetOwnHeld(w.srv, time.Millisecond)
	req.Positions = answer.GetPage().GetTo()
	wg.Go(func() { answer, err = one.call(t.Context(), req) })
	one.must(one.push(one.creation(encounter(w, marker))))
	wg.Wait()
	if rows := answer.GetPage().GetRows(); err != nil || len(rows) != 1 || !rows[0].GetEcho() {
		t.Errorf("after a while it is told of %d rows, %v, want its own change", len(rows), err)
	}
}

func TestWaitGivenUp(t *testing.T) { each(t, testWaitGivenUp) }

func testWaitGivenUp(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 3)
	d := w.enrolled(1, w.clinician)
	req, _ := d.read()
	req.WaitMs = 40_000
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := d.call(ctx, req); codeOf(err) != connect.CodeCanceled {
			t.Errorf("got %v, want canceled", err)
		}
	})
	cancel()
	wg.Wait()
}

func TestUnknownSenders(t *testing.T) { each(t, testUnknownSenders) }

func testUnknownSenders(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 4)
	d := w.enrolled(1, w.clinician)
	head := w.head()
	for name, spoil := range map[string]func(*http.Request){
		"nothing":        func(r *http.Request) { r.Header.Del("Authorization"); r.Header.Del("DPoP") },
		"no proof":       func(r *http.Request) { r.Header.Del("DPoP") },
		"an old proof":   func(r *http.Request) { r.Header.Set("DPoP", d.way.proofs[0]) },
		"a proof to GET": func(r *http.Request) { r.Method = http.MethodGet },
	} {
		d.way.spoil = spoil
		_, err := d.call(t.Context(), &tandemv1.SyncRequest{})
		if code := codeOf(err); code != connect.CodeUnauthenticated {
			t.Errorf("%s: got %v, want unauthenticated", name, err)
		}
		if d.way.last.Get("DPoP-Nonce") == "" || !strings.HasPrefix(d.way.last.Get("WWW-Authenticate"), "DPoP ") {
			t.Errorf("%s: the answer has no nonce or no challenge", name)
		}
	}
	d.way.spoil = nil
	// A stolen certificate is of no use with another key.
	thief := w.newDevice(9)
	thief.replica = d.replica
	thief.way.certificate = d.answer.GetCertificate()
	thief.way.nonce = d.way.nonce
	if _, err := thief.call(t.Context(), &tandemv1.SyncRequest{}); codeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("a stolen certificate: got %v", err)
	}
	if w.head() != head {
		t.Error("a request that was refused moved the history")
	}
	if _, err := d.call(t.Context(), &tandemv1.SyncRequest{}); err != nil {
		t.Errorf("the device itself, afterwards: %v", err)
	}
}

// A certificate of the org for a replica that its database does not know proves that
// the database was set back: what the replica sends is taken in, a new epoch begins,
// and nobody is sent anything before an admin has confirmed.
func TestReplicaOfALostHistory(t *testing.T) { each(t, testReplicaOfALostHistory) }

func testReplicaOfALostHistory(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 4)
	d := w.enrolled(1, w.clinician)
	before := w.head()
	lost := w.newDevice(8)
	lost.way.certificate = must[string](t)(auth.Certify(w.org.Signing, &auth.Identity{
		Org: w.org.ID, Person: d.person, Device: d.dev, Replica: lost.replica, Key: ed25519.PublicKey(lost.key[ed25519.SeedSize:]),
	}))
	lost.person, lost.dev = d.person, d.dev
	req, _ := d.read()
	lost.way.nonce = d.way.nonce
	answer := lost.must(lost.push(lost.creation(encounter(w, marker))))
	if len(answer.GetOutcomes()) != 1 || answer.GetOutcomes()[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
		t.Errorf("its push: %v", answer.GetOutcomes())
	}
	if after := w.head(); after.Epoch == before.Epoch || after.Seq < before.Seq+syncengine.KeptSequences || !after.Recovering {
		t.Errorf("the history went from %v to %v", before, after)
	}
	if answer := d.must(req); !answer.GetTrailer().GetRecovering() || answer.GetPage() != nil {
		t.Errorf("a device that the server knows is sent %v in recovery", answer)
	}
	must[bool](t)(w.admin.ConfirmRecovery(t.Context()))
	if answer := d.must(req); answer.GetTrailer().GetRecovering() || !answer.GetPage().GetReconcile() {
		t.Errorf("once it is confirmed: %v", answer)
	}
	// What the replica may read is another question.
	req = &tandemv1.SyncRequest{Budget: 1 << 20, Positions: []*tandemv1.ScopePosition{{}}}
	if answer := lost.must(req); !answer.GetTrailer().GetUnconfirmed() || answer.GetPage() != nil {
		t.Errorf("the replica that came back is sent %v", answer)
	}
	if err := w.admin.ConfirmReplica(t.Context(), lost.replica); err != nil {
		t.Fatal(err)
	}
	if answer := lost.must(req); answer.GetTrailer().GetUnconfirmed() || answer.GetPage().GetScopeSet() == nil {
		t.Errorf("the replica, confirmed: %v", answer)
	}
}

// raw sends bytes as the body of a request that is otherwise good.
type raw struct {
	body     []byte
	encoding string
}

func (r *raw) apply(req *http.Request) {
	req.Body = io.NopCloser(bytes.NewReader(r.body))
	req.ContentLength = int64(len(r.body))
	req.Header.Del("Content-Encoding")
	if r.encoding != "" {
		req.Header.Set("Content-Encoding", r.encoding)
	}
}

func zstdOf(t *testing.T, n int) []byte {
	t.Helper()
	return zstdFrom(t, io.LimitReader(zeros{}, int64(n)))
}

func zstdFrom(t *testing.T, r io.Reader) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(z, r); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipOf(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.CopyN(z, zeros{}, int64(n)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestBadBodies(t *testing.T) { each(t, testBadBodies) }

func testBadBodies(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 5)
	d := w.enrolled(1, w.clinician)
	good := must[[]byte](t)(proto.Marshal(d.push(d.creation(encounter(w, marker)))))
	head := w.head()
	for name, tc := range map[string]struct {
		body raw
		want []connect.Code
	}{
		"a zstd bomb":         {raw{zstdOf(t, 1<<30), "zstd"}, []connect.Code{connect.CodeResourceExhausted, connect.CodeInvalidArgument}},
		"a gzip bomb":         {raw{gzipOf(t, 1<<28), "gzip"}, []connect.Code{connect.CodeResourceExhausted, connect.CodeInvalidArgument}},
		"too large":           {raw{bytes.Repeat([]byte{0}, 7<<20), ""}, []connect.Code{connect.CodeResourceExhausted}},
		"cut short":           {raw{good[:len(good)-3], ""}, []connect.Code{connect.CodeInvalidArgument}},
		"trailing bytes":      {raw{append(bytes.Clone(good), 0xff), ""}, []connect.Code{connect.CodeInvalidArgument}},
		"words":               {raw{[]byte("words"), ""}, []connect.Code{connect.CodeInvalidArgument}},
		"zstd that is none":   {raw{[]byte("words"), "zstd"}, []connect.Code{connect.CodeInvalidArgument}},
		"an unknown encoding": {raw{good, "br"}, []connect.Code{connect.CodeUnimplemented}},
	} {
		d.way.spoil = tc.body.apply
		_, err := d.call(t.Context(), &tandemv1.SyncRequest{})
		fits := false
		for _, want := range tc.want {
			fits = fits || codeOf(err) == want
		}
		if !fits {
			t.Errorf("%s: got %v, want one of %v", name, err, tc.want)
		}
		if strings.Contains(err.Error(), marker) {
			t.Errorf("%s: the error quotes the request", name)
		}
	}
	if w.head() != head {
		t.Error("a bad body moved the history")
	}
	d.way.spoil = nil
}

func TestBadRequests(t *testing.T) { each(t, testBadRequests) }

func testBadRequests(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 6)
	d := w.enrolled(1, w.clinician)
	other := w.enrolled(2, w.second)
	req, _ := other.read()
	foreign := req.GetPositions()
	change := func() *tandemv1.Change { return d.creation(encounter(w, marker)) }
	head := w.head()
	for name, tc := range map[string]struct {
		req  func() *tandemv1.SyncRequest
		want connect.Code
	}{
		"no signature": {func() *tandemv1.SyncRequest {
			r := d.push(change())
			r.Signature = nil
			return r
		}, connect.CodeInvalidArgument},
		"another's signature": {func() *tandemv1.SyncRequest {
			r := d.push(change())
			r.Signature = syncengine.SignBatch(other.key, d.last)
			return r
		}, connect.CodeInvalidArgument},
		"op 0": {func() *tandemv1.SyncRequest {
			r := d.push(change())
			r.Runs[0].FirstOp = 0
			return r
		}, connect.CodeInvalidArgument},
		"an op twice": {func() *tandemv1.SyncRequest {
			r := d.push(change())
			r.Runs = append(r.Runs, r.GetRuns()[0])
			return r
		}, connect.CodeInvalidArgument},
		"a short hash": {func() *tandemv1.SyncRequest {
			r := d.push(change())
			r.Runs[0].PrevHash = []byte("short")
			return r
		}, connect.CodeInvalidArgument},
		"another's position": {func() *tandemv1.SyncRequest {
			return &tandemv1.SyncRequest{Budget: 1000, Positions: foreign}
		}, connect.CodeInvalidArgument},
		"a position of one's own making": {func() *tandemv1.SyncRequest {
			return &tandemv1.SyncRequest{Budget: 1000, Positions: []*tandemv1.ScopePosition{{Position: make([]byte, 76)}}}
		}, connect.CodeInvalidArgument},
	} {
		op, last := d.op, d.last
		if _, err := d.call(t.Context(), tc.req()); codeOf(err) != tc.want {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
		d.op, d.last = op, last
	}
	if w.head() != head {
		t.Error("a bad request moved the history")
	}
}

func TestFork(t *testing.T) { each(t, testFork) }

func testFork(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 7)
	d := w.enrolled(1, w.clinician)
	d.must(d.push(d.creation(encounter(w, "first"))))
	// A copy of the store from before goes on by itself.
	d.op, d.last = 0, syncengine.Hash{}
	answer := d.must(d.push(d.creation(encounter(w, "second"))))
	if got := answer.GetOutcomes(); len(got) != 1 || got[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_FORK {
		t.Errorf("got %v, want fork", got)
	}
}

// poison fails on one change, as a fault of the server would.
type poison struct {
	syncengine.Rules

	record []byte
}

func (p *poison) AllowedOn(who *syncengine.Principal, w *tandemv1.RecordWrite, rec *syncengine.Record, look syncengine.Lookup) bool {
	if bytes.Equal(w.GetRecord(), p.record) {
		panic("a fault that shows with one record")
	}
	return p.Rules.AllowedOn(who, w, rec, look)
}

func TestPoisonousChange(t *testing.T) { each(t, testPoisonousChange) }

func testPoisonousChange(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 8)
	d := w.enrolled(1, w.clinician)
	changes := []*tandemv1.Change{d.creation(encounter(w, "a")), d.creation(encounter(w, marker)), d.creation(encounter(w, "c"))}
	server.SetRules(w.srv, func(r syncengine.Rules) syncengine.Rules {
		return &poison{Rules: r, record: changes[1].GetRecords()[0].GetRecord()}
	})
	answer := d.must(d.push(changes...))
	for i, o := range answer.GetOutcomes() {
		want, refusal := tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED, tandemv1.Refusal_REFUSAL_UNSPECIFIED
		if i == 1 {
			want, refusal = tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED, tandemv1.Refusal_REFUSAL_INTERNAL
		}
		if o.GetCode() != want || o.GetRefusal() != refusal || o.GetOp() != uint64(i+1) {
			t.Errorf("op %d: got %v", i+1, o)
		}
	}
	kept := must[[]*syncengine.StoredChange](t)(w.s.Quarantined(t.Context(), w.org.ID))
	if len(kept) != 1 || string(kept[0].Body) != string(must[[]byte](t)(proto.Marshal(changes[1]))) {
		t.Errorf("quarantine does not hold the change as it was sent")
	}
	if len(answer.GetOutcomes()) != 3 {
		t.Errorf("got %d verdicts, want 3", len(answer.GetOutcomes()))
	}
	w.quiet()
}

// quiet fails the test where the log names a person or quotes a record.
func (w *world) quiet() {
	w.t.Helper()
	text := w.log.String()
	for _, word := range []string{marker, clinicianName, deviceLabel, "Rosalind", "Example Health"} {
		if strings.Contains(text, word) {
			w.t.Errorf("the log says %q", word)
		}
	}
	if !strings.Contains(text, `"route"`) {
		w.t.Error("the log has no line of a request")
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite, 9)
	d := w.enrolled(1, w.clinician)
	w.srv.End()
	w.http.Close()
	if err := w.s.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(store.Options{MaxPages: 40})
	w.start()
	d.connect(w.http.URL)
	d.accept(d.answer)
	var full error
	for range 100 {
		op, last := d.op, d.last
		if _, full = d.call(t.Context(), d.push(d.creation(encounter(w, strings.Repeat(marker, 100))))); full != nil {
			d.op, d.last = op, last
			break
		}
	}
	if codeOf(full) != connect.CodeUnavailable || strings.Contains(full.Error(), "sqlite") {
		t.Fatalf("got %v, want unavailable", full)
	}
	if d.way.code != http.StatusServiceUnavailable {
		t.Errorf("got status %d", d.way.code)
	}
	// Reading still works, and what was acknowledged is there.
	if _, rows := d.read(); len(rows) < int(d.op) {
		t.Errorf("%d rows after %d acknowledged changes", len(rows), d.op)
	}
	w.quiet()
}

func TestOtherRoutes(t *testing.T) { each(t, testOtherRoutes) }

func testOtherRoutes(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 10)
	for path, want := range map[string]int{
		"/healthz": 204, "/readyz": 200, "/": 404, "/tandem.v1.SyncService/Other": 401, "/tandem.v1.EnrollService/Other": 404, "/tandem.v1.EnrollService/Enroll": 405,
	} {
		req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, w.http.URL+path, nil))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want || resp.Header.Get(server.SchemaHeader) != "1" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %d with %v, want %d", path, resp.StatusCode, resp.Header, want)
		}
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'; frame-ancestors 'none'") || resp.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: a browser is told %v", path, resp.Header)
		}
	}
}

func TestCompression(t *testing.T) { each(t, testCompression) }

func testCompression(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 11)
	d := w.enrolled(1, w.clinician)
	for i := range 30 {
		d.must(d.push(d.creation(encounter(w, strings.Repeat("the same words over and over ", 20+i)))))
	}
	for name, options := range map[string][]connect.ClientOption{
		"gzip": {connect.WithSendGzip()},
		"zstd": {connect.WithAcceptCompression("gzip", nil, nil), connect.WithAcceptCompression("zstd", newInflater, newDeflater), connect.WithSendCompression("zstd")},
	} {
		d.connect(w.http.URL, options...)
		_, rows := d.read()
		if len(rows) < 30 {
			t.Errorf("%s: got %d rows", name, len(rows))
		}
		if got := d.way.last.Get("Content-Encoding"); got != name {
			t.Errorf("%s: the answer came as %q", name, got)
		}
	}
}

func newInflater() connect.Decompressor {
	d, err := zstd.NewReader(nil)
	if err != nil {
		panic(err)
	}
	return &inflater{d}
}

type inflater struct{ *zstd.Decoder }

func (i *inflater) Close() error { return nil }

func newDeflater() connect.Compressor {
	e, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return e
}

func TestFanIn(t *testing.T) { each(t, testFanIn) }

func testFanIn(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 12)
	const devices, pushes, each = 8, 3, 5
	var wg sync.WaitGroup
	all := make([]*device, devices)
	for i := range all {
		all[i] = w.enrolled(byte(10+i), w.clinician)
	}
	requests := make([][]*tandemv1.SyncRequest, devices)
	for i, d := range all {
		for range pushes {
			changes := make([]*tandemv1.Change, each)
			for k := range changes {
				changes[k] = d.creation(encounter(w, marker))
			}
			requests[i] = append(requests[i], d.push(changes...))
		}
	}
	for i, d := range all {
		wg.Go(func() {
			for _, r := range requests[i] {
				answer, err := d.call(t.Context(), r)
				if err != nil {
					t.Error(err)
					return
				}
				for _, o := range answer.GetOutcomes() {
					if o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
						t.Errorf("got %v", o)
					}
				}
			}
		})
	}
	wg.Wait()
	report := must[*store.Report](t)(w.s.Verify(t.Context(), w.org.ID))
	if len(report.Faults) > 0 {
		t.Error(strings.Join(report.Faults, "\n"))
	}
	// The rest are agencies, program, team, staff and devices.
	if got, want := report.Records, devices*pushes*each+7+devices; got != want {
		t.Errorf("got %d records, want %d", got, want)
	}
}
