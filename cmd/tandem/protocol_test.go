package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

var protocolWrite = flag.Bool("protocol.write", false, "write testdata/protocol anew")

// protocolDir holds the test vectors of docs/protocol.md: bytes in hex, numbers of 64
// bits in hex too.
const protocolDir = "../../testdata/protocol"

// hexed are bytes as the vectors write them.
type hexed []byte

// MarshalText implements encoding.TextMarshaler.
func (h hexed) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil } //nolint:unparam // As the interface has it.

// vectors makes the vectors by the code that ships.
type vectors struct {
	t *testing.T
	// Of one replica: its key, that of its org, and its ids.
	key, org                               ed25519.PrivateKey
	orgID, person, device, replica, record syncengine.ID
}

func newVectors(t *testing.T) *vectors {
	t.Helper()
	v := &vectors{t: t, key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{'k'}, 32)), org: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{'o'}, 32))}
	for i, id := range []*syncengine.ID{&v.orgID, &v.person, &v.device, &v.replica, &v.record} {
		sum := sha256.Sum256([]byte{byte(i)})
		*id = syncengine.ID(sum[:16])
		id[0] = 1 // An id's text begins with 0 to 7.
	}
	return v
}

func halfOf(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.SeedSize:])
}

// TestProtocolVectors: what docs/protocol.md gives other clients to test themselves by is
// what the code that ships makes and takes.
func TestProtocolVectors(t *testing.T) {
	t.Parallel()
	v := newVectors(t)
	for name, made := range map[string]any{
		"enrolment.json": v.enrolment(), "bodies.json": v.bodies(), "changes.json": v.changes(),
		"records.json": v.records(), "digests.json": v.digests(), "frames.json": v.frames(),
		"files.json": v.files(),
	} {
		got, err := json.MarshalIndent(made, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, '\n')
		file := filepath.Join(protocolDir, name)
		if *protocolWrite {
			if err := errors.Join(os.MkdirAll(protocolDir, 0o750), os.WriteFile(file, got, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what this version makes: a client that was written by it would fail. The new one begins\n%.2000s", name, got)
		}
	}
}

// TestVectorsElsewhere: the client in TypeScript makes the same of them, which shares no
// code with ours.
func TestVectorsElsewhere(t *testing.T) {
	t.Parallel()
	o := newOther(t)
	dir, err := filepath.Abs(protocolDir)
	if err != nil {
		t.Fatal(err)
	}
	if s := o.do(command{"do": "vectors", "dir": dir}); s.Checked < 59 {
		t.Errorf("only %d vectors were checked", s.Checked)
	}
}

// enrolment is how a device proves its key, with a code and at each request.
func (v *vectors) enrolment() any {
	const code, url = "Abcd-efGH 2345", "https://tandem.example.org/tandem.v1.SyncService/Sync"
	proof := ed25519.Sign(v.key, append([]byte("tandem-enroll-v1"+auth.FoldCode(code)), v.replica[:]...))
	if !auth.VerifyEnrolment(halfOf(v.key), proof, code, v.replica) {
		v.t.Error("the server does not take the proof of possession")
	}
	identity := &auth.Identity{Org: v.orgID, Person: v.person, Device: v.device, Replica: v.replica, Key: halfOf(v.key)}
	certificate, err := auth.Certify(v.org, identity)
	if err != nil {
		v.t.Fatal(err)
	}
	verifier, err := auth.NewVerifier(auth.Options{
		Keys:   func(context.Context, syncengine.ID, string) (ed25519.PublicKey, error) { return halfOf(v.org), nil },
		Origin: "https://tandem.example.org", NonceKey: []byte("a key for nonces"), Clock: func() time.Time { return time.UnixMilli(1_790_000_000_000) },
	})
	if err != nil {
		v.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(certificate))
	ath := base64.RawURLEncoding.EncodeToString(sum[:])
	claims := struct {
		ID       string `json:"jti"`
		Method   string `json:"htm"`
		URL      string `json:"htu"`
		IssuedAt int64  `json:"iat"`
		Token    string `json:"ath"`
		Nonce    string `json:"nonce"`
	}{"a number used once", "POST", url, 1_790_000_000, ath, verifier.Nonce()}
	payload, err := json.Marshal(claims)
	if err != nil {
		v.t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: v.key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	if err != nil {
		v.t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		v.t.Fatal(err)
	}
	dpop, err := signed.CompactSerialize()
	if err != nil {
		v.t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(v.t.Context(), "POST", url, nil)
	req.Header.Set("Authorization", "DPoP "+certificate)
	req.Header.Set("DPoP", dpop)
	if _, err := verifier.Verify(req); err != nil {
		v.t.Errorf("the server does not take the proof of a request: %v", err)
	}
	if _, err := verifier.Verify(req); !errors.Is(err, auth.ErrProof) {
		v.t.Errorf("the same proof again: %v", err)
	}
	sum = auth.HashCode(code)
	return map[string]any{
		"seed": hexed(v.key.Seed()), "public_key": hexed(halfOf(v.key)), "org_key": hexed(halfOf(v.org)),
		"org": hexed(v.orgID[:]), "person": hexed(v.person[:]), "device": hexed(v.device[:]), "replica": hexed(v.replica[:]),
		"replica_text": v.replica.String(), "code": code, "code_folded": auth.FoldCode(code), "code_hash": hexed(sum[:]), "proof": hexed(proof),
		"certificate": certificate, "method": claims.Method, "url": url, "nonce": claims.Nonce, "ath": ath, "dpop": dpop,
	}
}

// A bodyVector is a body and its paths, or why it is refused.
type bodyVector struct {
	Name  string       `json:"name"`
	Body  hexed        `json:"body"`
	Paths []pathVector `json:"paths,omitempty"`
	Error string       `json:"error,omitempty"`
}

type pathVector struct {
	Field uint32 `json:"field"`
	Key   hexed  `json:"key"`
	Raw   hexed  `json:"raw"`
}

// bodies are bodies that are canonical, and some that are not.
func (v *vectors) bodies() (out []bodyVector) {
	incident, err := record.New().Body(v.incident())
	if err != nil {
		v.t.Fatal(err)
	}
	element := func(key string, rest ...byte) []byte {
		b := append([]byte{0x0a, 8}, key...)
		return append(b, rest...)
	}
	long := func(tag []byte, payload []byte) []byte { return append(append(tag, byte(len(payload))), payload...) }
	set, added := []byte{0xe2, 0x12}, []byte{0x82, 0x19} // Fields 300 and 400, length-delimited.
	codes := []byte{0xc2, 0x0c}                          // Field 200.
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	for _, b := range []struct {
		name string
		body []byte
	}{
		{"empty", nil},
		{"an incident", incident},
		{"a field that no version knows", join(syncengine.StringField(20, "x"), []byte{0xb8, 0x0c, 5})},
		{"each wire type", join([]byte{0xa0, 0x01, 0x96, 0x01}, []byte{0xa9, 0x01, 1, 2, 3, 4, 5, 6, 7, 8}, []byte{0xb2, 0x01, 0}, []byte{0xbd, 0x01, 1, 2, 3, 4})},
		{"a set of codes in byte order", join(long(bytes.Clone(codes), []byte("ems")), long(bytes.Clone(codes), []byte("police")))},
		{"elements in order of their keys", join(long(bytes.Clone(set), element("aaaaaaaa")), long(bytes.Clone(set), element("bbbbbbbb", 0x12, 1, 'x')), long(bytes.Clone(added), element("aaaaaaaa")))},
		{"ends inside a field", incident[:len(incident)-1]},
		{"a varint longer than need be", []byte{0xa0, 0x01, 0x85, 0x00}},
		{"a tag longer than need be", []byte{0xa0, 0x81, 0x00, 0x05}},
		{"a group", []byte{0xa3, 0x01, 0xa4, 0x01}},
		{"field 0", []byte{0x00, 0x01}},
		{"field 500", []byte{0xa0, 0x1f, 0x01}},
		{"fields out of order", join(syncengine.StringField(21, "a"), syncengine.StringField(20, "b"))},
		{"a singular field twice", join(syncengine.StringField(20, "a"), syncengine.StringField(20, "b"))},
		{"codes out of order", join(long(bytes.Clone(codes), []byte("police")), long(bytes.Clone(codes), []byte("ems")))},
		{"an element without its key", long(bytes.Clone(set), []byte{0x12, 1, 'x'})},
		{"an element with a short key", long(bytes.Clone(set), append([]byte{0x0a, 7}, "aaaaaaa"...))},
		{"a code that is a number", []byte{0xc0, 0x0c, 0x01}},
	} {
		made := bodyVector{Name: b.name, Body: b.body}
		fields, err := syncengine.ParseBody(b.body)
		if err != nil {
			made.Error = err.Error()
		}
		for _, f := range fields {
			made.Paths = append(made.Paths, pathVector{f.Path.Field, hexed(f.Path.Key), f.Raw})
		}
		out = append(out, made)
	}
	return out
}

func (v *vectors) incident() *tandemv1.Incident {
	return &tandemv1.Incident{
		AgencyId: new(v.orgID.String()), ProgramId: new(v.person.String()), TeamId: new(v.device.String()), Lifecycle: new("open"), Schema: new(uint32(1)),
		Number: new("T-1"), CallType: new("welfare_check"), RiskLevel: new("low"),
	}
}

// change is one save, by a person on a device, at a fixed time.
func (v *vectors) change(n byte, person, device syncengine.ID, w *tandemv1.RecordWrite) *tandemv1.Change {
	id := syncengine.ID{0: 1, 8: 0xc0, 15: n}
	return &tandemv1.Change{
		Id: id[:], Records: []*tandemv1.RecordWrite{w}, Class: tandemv1.Class_CLASS_NORMAL, Author: person[:], Device: device[:],
		Time: &tandemv1.ChangeTime{WallMs: 1_790_000_000_000 + int64(n)}, Schema: 1, AppVersion: "1.0",
	}
}

// history are the saves of two people: one creates a call, both edit it without having
// seen the other's, and the first settles it.
func (v *vectors) history() []*tandemv1.Change {
	body, err := record.New().Body(v.incident())
	if err != nil {
		v.t.Fatal(err)
	}
	other, elsewhere := syncengine.ID{1, 2, 3}, syncengine.ID{3, 2, 1}
	stamp := func(n byte) syncengine.Stamp { return syncengine.Stamp(0xc0<<56 | uint64(n)) }
	write := func(field uint32, raw []byte, bases ...syncengine.Stamp) *tandemv1.PathWrite {
		return &tandemv1.PathWrite{Field: field, Value: raw, Bases: syncengine.EncodeStamps(bases)}
	}
	set := func(act tandemv1.Act, writes ...*tandemv1.PathWrite) *tandemv1.RecordWrite {
		return &tandemv1.RecordWrite{Record: v.record[:], Kind: 20, Act: act, Writes: writes}
	}
	text := syncengine.StringField
	return []*tandemv1.Change{
		v.change(1, v.person, v.device, &tandemv1.RecordWrite{Record: v.record[:], Kind: 20, Act: tandemv1.Act_ACT_CREATE, Body: body}),
		v.change(2, v.person, v.device, set(tandemv1.Act_ACT_SET, write(20, text(20, "T-1a"), stamp(1)), write(24, text(24, "suicide_threat"), 0))),
		v.change(3, other, elsewhere, set(tandemv1.Act_ACT_SET, write(20, text(20, "T-1b"), stamp(1)), write(25, text(25, "high"), stamp(1)))),
		v.change(4, v.person, v.device, set(tandemv1.Act_ACT_SET, write(25, nil, stamp(1)))),
		v.change(5, v.person, v.device, set(tandemv1.Act_ACT_RESOLVE, write(20, text(20, "T-1b"), stamp(2), stamp(3)))),
	}
}

func (v *vectors) raw(m proto.Message) []byte {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		v.t.Fatal(err)
	}
	return raw
}

// changes are the envelopes of a replica's ops, and pushes of them with their
// signatures.
func (v *vectors) changes() any {
	type op struct {
		Op       uint64 `json:"op"`
		ID       hexed  `json:"id"`
		Stamp    string `json:"stamp"`
		Raw      hexed  `json:"raw"`
		Prev     hexed  `json:"prev"`
		Body     hexed  `json:"body_hash"`
		Envelope hexed  `json:"envelope"`
	}
	var ops []op
	var prev syncengine.Hash
	for i, c := range v.history() {
		raw := v.raw(c)
		body := syncengine.HashBody(raw)
		envelope := syncengine.HashEnvelope(v.replica, uint64(i+1), prev, body)
		ops = append(ops, op{uint64(i + 1), c.GetId(), syncengine.StampOf(syncengine.ID(c.GetId())).String(), raw, bytes.Clone(prev[:]), body[:], envelope[:]})
		prev = envelope
	}
	type push struct {
		Runs      [][]uint64 `json:"runs"`
		Hash      hexed      `json:"hash"`
		Signature hexed      `json:"signature"`
		Request   hexed      `json:"request"`
	}
	var pushes []push
	for _, runs := range [][][]uint64{{{1, 2, 3, 4, 5}}, {{1}}, {{1}, {3, 4}}} {
		req := &tandemv1.SyncRequest{}
		var ends []syncengine.Hash
		for _, run := range runs {
			first := ops[run[0]-1]
			r := &tandemv1.Run{FirstOp: first.Op, PrevHash: first.Prev}
			for _, n := range run {
				r.Changes = append(r.Changes, ops[n-1].Raw)
			}
			req.Runs = append(req.Runs, r)
			ends = append(ends, syncengine.Hash(ops[run[len(run)-1]-1].Envelope))
		}
		batch := syncengine.HashBatch(ends)
		req.Signature = syncengine.SignBatch(v.key, batch)
		prepared, err := syncengine.Prepare(record.New(), v.replica, halfOf(v.key), req)
		if err != nil {
			v.t.Fatalf("the server does not take a push: %v", err)
		}
		for _, p := range prepared {
			if p.Refusal != nil {
				v.t.Errorf("op %d is refused: %v", p.Op, p.Refusal)
			}
		}
		pushes = append(pushes, push{runs, batch[:], req.GetSignature(), v.raw(req)})
	}
	return map[string]any{"replica": hexed(v.replica[:]), "seed": hexed(v.key.Seed()), "ops": ops, "pushes": pushes}
}

// log is the history of one record, for merging.
type log map[syncengine.Stamp]*tandemv1.Change

func (log) Awaited(syncengine.Path, syncengine.Stamp) (bool, error) { return false, nil }

func (log) Await(syncengine.Path, syncengine.Stamp) error { return nil }

func (log) QuarantinedBases(syncengine.Path, syncengine.Stamp) ([]syncengine.Stamp, error) {
	return nil, nil
}

func (l log) Written(_ syncengine.Path, s syncengine.Stamp) (syncengine.Head, bool, error) {
	c := l[s]
	if c == nil {
		return syncengine.Head{}, false, nil
	}
	by := writerOf(c)
	return syncengine.Head{Stamp: s, Author: by.Author, Device: by.Device, AtMS: by.AtMS, ReceivedMS: by.ReceivedMS}, true, nil
}

func writerOf(c *tandemv1.Change) syncengine.Writer {
	return syncengine.Writer{
		Stamp: syncengine.StampOf(syncengine.ID(c.GetId())), Author: syncengine.ID(c.GetAuthor()), Device: syncengine.ID(c.GetDevice()),
		AtMS: c.GetTime().GetWallMs(), ReceivedMS: c.GetTime().GetWallMs() + 1000,
	}
}

// A recordVector is a record after a change.
type recordVector struct {
	After     hexed        `json:"after"`
	Body      hexed        `json:"body"`
	Stamps    hexed        `json:"stamps"`
	Seen      hexed        `json:"seen"`
	StateHash hexed        `json:"state_hash"`
	RowHash   string       `json:"row_hash"`
	Term      string       `json:"term"`
	Conflicts []pathVector `json:"conflicts,omitempty"`
	// Delta is a row that leads here from the record before; empty for the first.
	Delta hexed `json:"delta,omitempty"`
}

// records are the states of a record along a history.
func (v *vectors) records() any {
	rules := record.New()
	kind := rules.Kind(20)
	var out []recordVector
	var rec *syncengine.Record
	hist := log{}
	for _, c := range v.history() {
		w := c.GetRecords()[0]
		applied, err := syncengine.Apply(kind, rec, w, writerOf(c), hist)
		if err != nil {
			v.t.Fatal(err)
		}
		hist[writerOf(c).Stamp] = c
		state, err := syncengine.Decode(applied.Record)
		if err != nil {
			v.t.Fatal(err)
		}
		made := recordVector{
			After: c.GetId(), Body: applied.Record.Body, Stamps: applied.Record.Stamps, Seen: state.Seen(),
			RowHash: fmt.Sprintf("%016x", uint64(applied.Record.Hash())), Term: syncengine.Term(v.record, applied.Record.Hash()).String(),
		}
		hash := syncengine.HashSeen(made.Seen)
		made.StateHash = hash[:]
		for _, p := range state.Conflicts(kind) {
			made.Conflicts = append(made.Conflicts, pathVector{Field: p.Field, Key: hexed(p.Key)})
		}
		if rec != nil {
			made.Delta = v.delta(w, applied.Record)
		}
		rec = applied.Record
		out = append(out, made)
	}
	return map[string]any{"record": hexed(v.record[:]), "kind": 20, "states": out}
}

// delta is the row of the paths that a change has touched.
func (v *vectors) delta(w *tandemv1.RecordWrite, after *syncengine.Record) []byte {
	stamps := &tandemv1.Stamps{}
	if err := proto.Unmarshal(after.Stamps, stamps); err != nil {
		v.t.Fatal(err)
	}
	row := &tandemv1.Row{Record: v.record[:], Kind: 20, Scopes: 1, Hash: uint64(after.Hash())}
	for _, pw := range w.GetWrites() {
		d := &tandemv1.PathDelta{Field: pw.GetField(), Key: pw.GetKey(), Value: after.Field(pw.GetField())}
		for _, p := range stamps.GetPaths() {
			if p.GetField() == pw.GetField() {
				d.Stamps = proto.CloneOf(p)
				d.Stamps.Field = 0
			}
		}
		row.Deltas = append(row.Deltas, d)
	}
	return v.raw(row)
}

// digests are sums over records, and the hash of a set of scopes.
func (v *vectors) digests() any {
	type member struct {
		Record hexed  `json:"record"`
		Hash   string `json:"row_hash"`
		Term   string `json:"term"`
		Bucket int    `json:"bucket"`
		Sum    string `json:"sum"` // of all up to here
	}
	var members []member
	var d syncengine.Digest
	for i := range 8 {
		sum := sha256.Sum256([]byte{'d', byte(i)})
		id, hash := syncengine.ID(sum[:16]), syncengine.HashRow(sum[16:], nil)
		bucket := syncengine.Bucket(id)
		d[bucket] = d[bucket].Add(syncengine.Term(id, hash))
		members = append(members, member{id[:], fmt.Sprintf("%016x", uint64(hash)), syncengine.Term(id, hash).String(), int(bucket), d.Total().String()})
	}
	scopes := []syncengine.ScopeID{{0xff, 1}, {1, 2}, {0x80}}
	type set struct {
		Scopes []hexed `json:"scopes"`
		Hash   hexed   `json:"hash"`
	}
	sets := []set{{[]hexed{}, syncengine.HashScopeSet(nil)}, {nil, syncengine.HashScopeSet(scopes)}}
	for _, s := range scopes {
		sets[1].Scopes = append(sets[1].Scopes, bytes.Clone(s[:]))
	}
	return map[string]any{"members": members, "scope_sets": sets}
}

// A frameVector is a response, and whether it is whole.
type frameVector struct {
	Name     string `json:"name"`
	Response hexed  `json:"response"`
	Whole    bool   `json:"whole"`
}

// frames are responses that are answers, and some that are none.
func (v *vectors) frames() (out []frameVector) {
	answer := v.raw(&tandemv1.SyncAnswer{
		Outcomes: []*tandemv1.Outcome{{Op: 1, Code: tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED}},
		Trailer:  &tandemv1.Trailer{HighestOp: 1, ServerMs: 1_790_000_000_000, MinWriteSchema: 1},
	})
	bare := v.raw(&tandemv1.SyncAnswer{Outcomes: []*tandemv1.Outcome{{Op: 1, Code: tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED}}})
	framed := func(answer []byte, count int, change func(*tandemv1.SyncResponse)) *tandemv1.SyncResponse {
		r := syncengine.Frame(bytes.Clone(answer), count)
		if change != nil {
			change(r)
		}
		return r
	}
	for _, f := range []struct {
		name string
		resp *tandemv1.SyncResponse
	}{
		{"whole", framed(answer, 1, nil)},
		{"of a newer schema", framed(answer, 1, func(r *tandemv1.SyncResponse) { r.Schema = 9 })},
		{"a byte changed", framed(answer, 1, func(r *tandemv1.SyncResponse) { r.Answer[3] ^= 1 })},
		{"another digest", framed(answer, 1, func(r *tandemv1.SyncResponse) { r.Digest[15] ^= 1 })},
		{"a short digest", framed(answer, 1, func(r *tandemv1.SyncResponse) { r.Digest = r.GetDigest()[:8] })},
		{"no end mark", framed(answer, 1, func(r *tandemv1.SyncResponse) { r.End = "" })},
		{"no schema", framed(answer, 1, func(r *tandemv1.SyncResponse) { r.Schema = 0 })},
		{"another count", framed(answer, 2, nil)},
		{"no trailer", framed(bare, 1, nil)},
		{"empty", &tandemv1.SyncResponse{}},
	} {
		_, err := syncengine.Unframe(f.resp, nil)
		out = append(out, frameVector{f.name, v.raw(f.resp), err == nil})
	}
	return out
}

// TestProtocolPage: the page names every field by which a device and the server talk, and
// its numbers are those of the code.
func TestProtocolPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(page)), " ")
	for _, m := range []proto.Message{
		&tandemv1.SyncRequest{}, &tandemv1.SyncResponse{}, &tandemv1.SyncAnswer{}, &tandemv1.Page{}, &tandemv1.Row{}, &tandemv1.Trailer{},
		&tandemv1.Run{}, &tandemv1.PathDelta{},
	} {
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			name := string(fields.Get(i).Name())
			if !regexp.MustCompile("`([a-z_]+\\.)?"+name+"`").MatchString(text) && !slices.Contains(saidInWords, name) {
				t.Errorf("docs/protocol.md does not name %s of %s", name, m.ProtoReflect().Descriptor().Name())
			}
		}
	}
	for _, says := range []string{
		fmt.Sprintf("at most %d record writes and %d KiB", record.MaxRecords, syncengine.MaxChange>>10),
		fmt.Sprintf("at most %d,%03d changes and %d MiB", syncengine.MaxPushChanges/1000, syncengine.MaxPushChanges%1000, syncengine.MaxPush>>20),
		fmt.Sprintf("bytes of page wanted, at most %d MiB", syncengine.MaxPage>>20),
		fmt.Sprintf("whole row is wanted; at most %d", syncengine.MaxWant),
		fmt.Sprintf("lives for %d minutes", int(auth.CodeLife.Minutes())),
		"`" + server.SchemaHeader + "`", "`" + syncengine.EndMark + "`", fmt.Sprintf("`schema` (%d)", syncengine.Schema),
	} {
		if !strings.Contains(text, says) {
			t.Errorf("docs/protocol.md does not say: %s", says)
		}
	}
	files, err := os.ReadDir(protocolDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.Contains(text, "`"+f.Name()+"`") {
			t.Errorf("docs/protocol.md does not name %s", f.Name())
		}
	}
}

// saidInWords are fields that the page tells of without their names.
var saidInWords = []string{
	"outcomes", "page", "trailer", "looked_up_more", "rows", "record", "kind", "field", "key", "changes", "first_op", "prev_hash", "server_ms",
}
