package client

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"github.com/go-jose/go-jose/v4"
	"github.com/rs/zerolog"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/gen/tandem/v1/tandemv1connect"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// edge is the smallest thing that a device can talk to: it enrols anybody, checks
// proofs and signatures, takes every change and knows no records. Its handler can
// be replaced, to stand for what lies between a device and a server.
type edge struct {
	tb  testing.TB
	url string
	org ed25519.PrivateKey
	ids struct{ org, person, device, team, program, agency syncengine.ID }

	mu        sync.Mutex
	front     http.Handler
	key       ed25519.PublicKey
	nonce     string
	replicaID syncengine.ID
	taken     map[syncengine.ID]uint64
	counts    map[string]int
	// requests are the pushed ops of each Sync, in order.
	requests [][]uint64
	highest  uint64
	hash     syncengine.Hash
	// judge gives another outcome than applied; nil for none.
	judge func(*tandemv1.Change) *tandemv1.Outcome
	// minRead is the oldest schema that it says it sends records to.
	minRead uint32
	// hold is called before a request is looked at.
	hold func(*tandemv1.SyncRequest)
}

func newEdge(tb testing.TB) *edge {
	tb.Helper()
	seed := make([]byte, ed25519.SeedSize)
	e := &edge{tb: tb, org: ed25519.NewKeyFromSeed(seed), nonce: "first", taken: map[syncengine.ID]uint64{}, counts: map[string]int{}}
	for i, id := range []*syncengine.ID{&e.ids.org, &e.ids.person, &e.ids.device, &e.ids.team, &e.ids.program, &e.ids.agency} {
		id[15] = byte(i + 1)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		front := e.front
		e.mu.Unlock()
		if front == nil {
			front = e.honest()
		}
		front.ServeHTTP(w, r)
	}))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	tb.Cleanup(srv.Close)
	e.url = srv.URL
	return e
}

// set replaces what answers; nil is the honest edge.
func (e *edge) set(h http.Handler) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.front = h
}

// Reinstance implements tandemv1connect.EnrollServiceHandler: nothing forks here.
func (e *edge) Reinstance(context.Context, *tandemv1.ReinstanceRequest) (*tandemv1.ReinstanceResponse, error) {
	return nil, connect.NewError(connect.CodeUnimplemented, nil)
}

// Rekey implements tandemv1connect.EnrollServiceHandler: keys stay as they are here.
func (e *edge) Rekey(context.Context, *tandemv1.RekeyRequest) (*tandemv1.RekeyResponse, error) {
	return nil, connect.NewError(connect.CodeUnimplemented, nil)
}

// Wiped implements tandemv1connect.EnrollServiceHandler: nobody is wiped here.
func (e *edge) Wiped(context.Context, *tandemv1.WipedRequest) (*tandemv1.WipedResponse, error) {
	return nil, connect.NewError(connect.CodeUnimplemented, nil)
}

// Reconcile implements tandemv1connect.SyncServiceHandler: nothing differs here.
func (e *edge) Reconcile(context.Context, *tandemv1.ReconcileRequest) (*tandemv1.ReconcileResponse, error) {
	return nil, connect.NewError(connect.CodeUnimplemented, nil)
}

// honest is the edge itself, behind the check of proofs.
func (e *edge) honest() http.Handler {
	mux := http.NewServeMux()
	opts := []connect.HandlerOption{connect.WithCompression("zstd", newInflater, newDeflater)}
	mux.Handle(tandemv1connect.NewEnrollServiceHandler(e, opts...))
	mux.Handle(tandemv1connect.NewSyncServiceHandler(e, opts...))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(schemaHeader, "1")
		if r.URL.Path == tandemv1connect.SyncServiceSyncProcedure && !e.proved(w, r) {
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// proved checks the proof of a request as RFC 9449 asks.
func (e *edge) proved(w http.ResponseWriter, r *http.Request) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	refuse := func(why string) bool {
		w.Header().Set("WWW-Authenticate", `DPoP error="`+why+`"`)
		w.WriteHeader(http.StatusUnauthorized)
		e.counts[why]++
		return false
	}
	w.Header().Set("DPoP-Nonce", e.nonce)
	signed, err := jose.ParseSignedCompact(r.Header.Get("DPoP"), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return refuse("invalid_dpop_proof")
	}
	payload, err := signed.Verify(e.key)
	if err != nil {
		return refuse("invalid_dpop_proof")
	}
	var claims proofClaims
	if err := json.Unmarshal(payload, &claims); err != nil || claims.Method != http.MethodPost ||
		claims.URL != e.url+r.URL.Path || claims.Token == "" || r.Header.Get("Authorization") == "" {
		return refuse("invalid_dpop_proof")
	}
	if claims.Nonce != e.nonce {
		return refuse("use_dpop_nonce")
	}
	return true
}

// Enroll implements tandemv1connect.EnrollServiceHandler.
func (e *edge) Enroll(_ context.Context, req *tandemv1.EnrollRequest) (*tandemv1.EnrollResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !ed25519.Verify(req.GetPublicKey(), append([]byte(enrollContext+req.GetCode()), req.GetReplica()...), req.GetProof()) || req.GetCode() != "GOODCODE" {
		return nil, connect.NewError(connect.CodePermissionDenied, nil)
	}
	e.key, e.replicaID = req.GetPublicKey(), syncengine.ID(req.GetReplica())
	thumbprint, err := (&jose.JSONWebKey{Key: e.key}).Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	claims, err := json.Marshal(map[string]any{"cnf": map[string]string{"jkt": base64.RawURLEncoding.EncodeToString(thumbprint)}})
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: e.org}, (&jose.SignerOptions{}).WithType("tandem-replica+jwt"))
	if err != nil {
		return nil, err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return nil, err
	}
	certificate, err := signed.CompactSerialize()
	if err != nil {
		return nil, err
	}
	return &tandemv1.EnrollResponse{
		Certificate: certificate, Org: e.ids.org[:], Person: e.ids.person[:], Device: e.ids.device[:],
		PersonName: "Sam Rivera", Roles: []string{"clinician"}, Teams: [][]byte{e.ids.team[:]},
		OrgKey: publicKey(e.org), ServerMs: 1_790_000_000_000, Schema: 1,
		Agency: e.ids.agency[:], Programs: [][]byte{e.ids.program[:]}, DeviceLabel: "Tablet 1",
	}, nil
}

// Sync implements tandemv1connect.SyncServiceHandler.
func (e *edge) Sync(_ context.Context, req *tandemv1.SyncRequest) (*tandemv1.SyncResponse, error) {
	if e.hold != nil {
		e.hold(req)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	answer := &tandemv1.SyncAnswer{Trailer: &tandemv1.Trailer{ServerMs: 1_790_000_000_000, MinReadSchema: e.minRead}}
	pushed, err := syncengine.Prepare(record.New(), e.replicaID, e.key, req)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	var ops []uint64
	for _, p := range pushed {
		ops = append(ops, p.Op)
		e.taken[p.ID] = p.Op
		if p.Op > e.highest {
			e.highest, e.hash = p.Op, p.Hash
		}
		o := &tandemv1.Outcome{Op: p.Op, Code: tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED}
		if e.judge != nil {
			if other := e.judge(p.Change); other != nil {
				o = other
				o.Op = p.Op
			}
		}
		answer.Outcomes = append(answer.Outcomes, o)
	}
	e.requests = append(e.requests, ops)
	for _, r := range req.GetUnsettled() {
		for _, op := range e.taken {
			if op >= r.GetFirst() && op <= r.GetLast() {
				answer.Outcomes = append(answer.Outcomes, &tandemv1.Outcome{Op: op, Code: tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED})
			}
		}
	}
	if e.highest > 0 {
		short := e.hash.Short()
		answer.Trailer.HighestOp, answer.Trailer.HighestHash = e.highest, short[:]
	}
	raw, err := proto.Marshal(answer)
	if err != nil {
		return nil, err
	}
	return syncengine.Frame(raw, len(answer.GetOutcomes())), nil
}

// pushed returns the ops that the edge has.
func (e *edge) pushed() (ops []uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, op := range e.taken {
		ops = append(ops, op)
	}
	return ops
}

// newClient opens a client in dir.
func newClient(tb testing.TB, dir string, change ...func(*Options)) *Client {
	tb.Helper()
	o := Options{Logger: zerolog.New(zerolog.NewTestWriter(tb)), Version: "test"}
	for _, f := range change {
		f(&o)
	}
	c, err := Open(tb.Context(), dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// newEnrolled opens a client that is enrolled at an edge.
func newEnrolled(tb testing.TB, change ...func(*Options)) (*Client, *edge) {
	tb.Helper()
	e := newEdge(tb)
	c := newClient(tb, tb.TempDir(), change...)
	if err := c.Enroll(tb.Context(), e.url, "good-code"); err != nil {
		tb.Fatal(err)
	}
	return c, e
}

// create saves one record.
func create(tb testing.TB, c *Client, msg proto.Message) syncengine.ID {
	tb.Helper()
	var id syncengine.ID
	_, err := c.Edit(tb.Context(), func(e *Edit) (err error) {
		id, err = e.Create(msg)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

func mustGet(tb testing.TB, c *Client, id syncengine.ID) *View {
	tb.Helper()
	v, err := c.Get(tb.Context(), id)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// as returns the message of a view.
func as[T proto.Message](tb testing.TB, v *View) T {
	tb.Helper()
	msg, ok := v.Message.(T)
	if !ok {
		tb.Fatalf("the record holds a %T", v.Message)
	}
	return msg
}

func mustStatus(tb testing.TB, c *Client) *Status {
	tb.Helper()
	s, err := c.Status(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func mustVerify(tb testing.TB, c *Client) *Verification {
	tb.Helper()
	v, err := c.Verify(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	if !v.OK() {
		tb.Fatalf("the store is at fault: %q", v.Faults)
	}
	return v
}

// discard reads a request to its end.
func discard(r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }

// Deliver implements tandemv1connect.SyncServiceHandler: what an edge has no key for
// it does not open.
func (e *edge) Deliver(_ context.Context, req *tandemv1.DeliverRequest) (*tandemv1.DeliverResponse, error) {
	answer := &tandemv1.DeliverAnswer{}
	for range req.GetEntries() {
		answer.Delivered = append(answer.Delivered, &tandemv1.Delivered{Result: tandemv1.Delivery_DELIVERY_NO_KEY})
	}
	return syncengine.FrameDelivery(answer)
}

// Audit implements tandemv1connect.SyncServiceHandler: an edge keeps no log.
func (e *edge) Audit(context.Context, *tandemv1.AuditRequest) (*tandemv1.AuditResponse, error) {
	return nil, connect.NewError(connect.CodeUnimplemented, errors.New("an edge keeps no audit log"))
}

// BreakGlass implements tandemv1connect.SyncServiceHandler: an edge keeps no records.
func (e *edge) BreakGlass(context.Context, *tandemv1.BreakGlassRequest) (*tandemv1.BreakGlassResponse, error) {
	return nil, connect.NewError(connect.CodeUnimplemented, errors.New("an edge keeps no records"))
}

// PutBlobChunk implements tandemv1connect.SyncServiceHandler: an edge keeps no files.
func (e *edge) PutBlobChunk(context.Context, *tandemv1.PutBlobChunkRequest) (*tandemv1.PutBlobChunkResponse, error) {
	return nil, connect.NewError(connect.CodeUnimplemented, errors.New("an edge keeps no files"))
}

// GetBlobChunk implements tandemv1connect.SyncServiceHandler: an edge keeps no files.
func (e *edge) GetBlobChunk(context.Context, *tandemv1.GetBlobChunkRequest) (*tandemv1.GetBlobChunkResponse, error) {
	return nil, connect.NewError(connect.CodeUnimplemented, errors.New("an edge keeps no files"))
}
