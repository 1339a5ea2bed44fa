package server_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/gen/tandem/v1/tandemv1connect"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/internal/tamper"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

var (
	hostile     = flag.Int("hostile", 700, "how many hostile inputs TestHostileInput sends; 10000 is a release's count")
	hostileSeed = flag.Uint64("hostile.seed", 1, "seed of those that are drawn")
)

// Words that no answer and no log line may repeat.
const canary = "zanzibar-7c1f"

// input is one request: to the sync service with good credentials unless spoil says
// otherwise.
type input struct {
	name string
	// path is the procedure; empty is Sync.
	path string
	body []byte
	// spoil changes the signed request.
	spoil func(*http.Request)
	// moves: it may be well formed enough to be judged, so that the history moves.
	moves bool
	// statuses that are right; nil is any below 500.
	statuses []int
}

// siege is a server under hostile input.
type siege struct {
	*world

	d, other *device
	client   *http.Client
	// good are requests that the server has taken.
	good [][]byte
	rng  *rand.Rand
	sent int
}

func newSiege(t *testing.T, on engine) *siege {
	t.Helper()
	s := &siege{world: newWorld(t, on, 31), rng: rand.New(rand.NewPCG(*hostileSeed, 7))}
	s.d, s.other = s.enrolled(1, s.clinician), s.enrolled(2, s.second)
	// Nobody is let wait for news.
	s.srv.End()
	push := s.d.push(s.d.creation(encounter(s.world, "first")), s.d.creation(encounter(s.world, "second")))
	s.d.must(push)
	next, _ := s.d.read()
	next.Unsettled = []*tandemv1.OpRange{{First: 1, Last: 2}}
	next.KnownOp, next.KnownHash, next.NewestOp = 2, s.d.last[:8], 2
	// Small pages: what comes back grows with what is applied.
	next.Budget = 4 << 10
	for _, r := range []*tandemv1.SyncRequest{push, next, {Budget: 4 << 10, Positions: []*tandemv1.ScopePosition{{}}}} {
		s.good = append(s.good, must[[]byte](t)(proto.Marshal(r)))
	}
	// Redirects, retries and pools of the client are no part of this.
	s.client = &http.Client{Transport: s.d.way, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s
}

// send sends one input and returns status and answer.
func (s *siege) send(in *input) (int, []byte) {
	s.t.Helper()
	path := in.path
	if path == "" {
		path = tandemv1connect.SyncServiceSyncProcedure
	}
	s.d.way.spoil = in.spoil
	defer func() { s.d.way.spoil = nil }()
	req := must[*http.Request](s.t)(http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.http.URL+path, bytes.NewReader(in.body)))
	req.Header.Set("Content-Type", "application/proto")
	req.Header.Set("Connect-Protocol-Version", "1")
	resp, err := s.client.Do(req)
	if err != nil {
		// The client would not send it, or the server closed the connection on it.
		s.hung(in, err)
		return 0, nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		s.hung(in, err)
		return 0, nil
	}
	s.sent++
	return resp.StatusCode, answer
}

// hung fails the test where an input was not answered at all.
func (s *siege) hung(in *input, err error) {
	s.t.Helper()
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		s.t.Errorf("%s: not answered: %v", in.name, err)
	}
}

// siegeInputs are the table: one entry for each line of the catalogue.
func (s *siege) siegeInputs() []*input {
	bad := []int{400, 401, 404, 405, 408, 411, 413, 415, 429, 431}
	header := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = values }
	}
	good := s.good[0]
	all := []*input{
		{name: "nothing", body: nil},
		{name: "an answer as request", body: []byte("\x0a\x02ok")},
		{name: "text", body: []byte(canary), statuses: bad},
		{name: "json of another service", body: []byte(`{"` + canary + `":1}`), spoil: header("Content-Type", "application/json")},
		{name: "json with the canary as number", body: []byte(`{"budget":"` + canary + `"}`), spoil: header("Content-Type", "application/json"), statuses: bad},
		{name: "json with a key twice", body: []byte(`{"budget":1,"budget":2}`), spoil: header("Content-Type", "application/json")},
		{name: "json with lone surrogates", body: []byte(`{"signature":"\ud800"}`), spoil: header("Content-Type", "application/json"), statuses: bad},
		{name: "json with NaN", body: []byte(`{"budget":"NaN"}`), spoil: header("Content-Type", "application/json"), statuses: bad},
		{name: "json, nested deep", body: bytes.Repeat([]byte(`{"runs":[`), 20_000), spoil: header("Content-Type", "application/json"), statuses: bad},
		{name: "a group in a group", body: bytes.Repeat([]byte{0x9b, 0x06}, 1_000_000), statuses: bad},
		{name: "messages in messages", body: nested(200_000), moves: true},
		{name: "a note of 10 MB", body: s.request(encounter(s.world, strings.Repeat(canary+" ", 700_000))), statuses: []int{400, 413, 429}},
		{name: "two certificates", spoil: func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }, statuses: []int{401}},
		{name: "two proofs", spoil: func(r *http.Request) { r.Header.Add("DPoP", r.Header.Get("DPoP")) }, statuses: []int{401}},
		{name: "no certificate", spoil: func(r *http.Request) { r.Header.Del("Authorization") }, statuses: []int{401}},
		{name: "a bearer", spoil: func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP "))
		}, statuses: []int{401}},
		{name: "a certificate of 8 kB", spoil: header("Authorization", "DPoP "+strings.Repeat("a", 8000)), statuses: []int{401}},
		{name: "a header of 2 MB", spoil: header("X-"+canary, strings.Repeat("a", 2<<20)), statuses: []int{0, 431}},
		{name: "headers without number", spoil: func(r *http.Request) {
			for i := range 2000 {
				r.Header.Set(fmt.Sprintf("X-%d-%s", i, canary), strings.Repeat("b", 600))
			}
		}, statuses: []int{0, 431}},
		{name: "a cookie and a forwarded address", spoil: func(r *http.Request) {
			r.Header.Set("Cookie", "id="+canary)
			r.Header.Set("X-Forwarded-For", canary)
			r.Header.Set("X-Forwarded-Host", canary)
		}},
		{name: "an op twice", body: s.edited(func(r *tandemv1.SyncRequest) { r.Runs = append(r.Runs, proto.CloneOf(r.GetRuns()[0])) }), statuses: bad},
		{name: "a gap of ops", body: s.push(func(r *tandemv1.SyncRequest) { r.Runs[0].FirstOp += 1000 }), moves: true},
		{name: "op 2^63", body: s.push(func(r *tandemv1.SyncRequest) { r.Runs[0].FirstOp = 1 << 63 }), statuses: bad},
		{name: "op 2^64-1", body: s.push(func(r *tandemv1.SyncRequest) { r.Runs[0].FirstOp = math.MaxUint64 }), statuses: bad},
		{name: "a gzip that is none", body: good, spoil: header("Content-Encoding", "gzip"), statuses: bad},
		{name: "two encodings", body: good, spoil: header("Content-Encoding", "gzip, zstd"), statuses: bad},
		{name: "an encoding called after the canary", body: good, spoil: header("Content-Encoding", canary), statuses: bad},
		{name: "a zstd bomb", body: zstdOf(s.t, 1<<30), spoil: header("Content-Encoding", "zstd"), statuses: []int{400, 413, 429}},
		{name: "a gzip bomb", body: gzipOf(s.t, 1<<27), spoil: header("Content-Encoding", "gzip"), statuses: []int{400, 413, 429}},
		{name: "a gzip bomb of a change", body: gzipOf(s.t, 7<<20), spoil: header("Content-Encoding", "gzip"), statuses: bad},
		{name: "a timeout of nothing", body: s.good[2], spoil: header("Connect-Timeout-Ms", "0")},
		{name: "a negative timeout", body: s.good[2], spoil: header("Connect-Timeout-Ms", "-5")},
		{name: "a timeout without end", body: s.good[2], spoil: header("Connect-Timeout-Ms", strings.Repeat("9", 40))},
		{name: "a timeout of canaries", body: s.good[2], spoil: header("Connect-Timeout-Ms", canary), statuses: bad},
		{name: "a protocol called after the canary", body: s.good[2], spoil: header("Connect-Protocol-Version", canary), statuses: bad},
		{name: "a protocol of the future", body: s.good[2], spoil: header("Connect-Protocol-Version", "99"), statuses: bad},
		{name: "a length that is longer", body: good, spoil: func(r *http.Request) { r.ContentLength += 40 }, statuses: []int{0, 400}},
		{name: "a length that is shorter", body: good, spoil: func(r *http.Request) { r.ContentLength -= 4 }, statuses: []int{0, 400}},
		{name: "an enrolment of nothing", path: tandemv1connect.EnrollServiceEnrollProcedure, statuses: []int{400, 403}},
		{name: "an enrolment too long", path: tandemv1connect.EnrollServiceEnrollProcedure, body: bytes.Repeat([]byte{0x0a, 1, 'x'}, 10_000), statuses: []int{400, 413, 429}},
		{name: "an enrolment by canary", path: tandemv1connect.EnrollServiceEnrollProcedure, body: must[[]byte](s.t)(proto.Marshal(s.newDevice(77).enrolment(canary))), statuses: []int{403, 429}},
	}
	for _, method := range []string{"GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "X" + strings.ToUpper(canary)} {
		all = append(all, &input{name: "method " + method, body: good, spoil: func(r *http.Request) { r.Method = method }, statuses: []int{0, 400, 401, 404, 405}})
	}
	for _, kind := range []string{"", "text/plain", "application/grpc", "application/grpc-web+proto", "application/connect+proto", "application/proto; charset=" + canary, "multipart/form-data; boundary=x", canary + "/" + canary, "application/json", "\x01"} {
		all = append(all, &input{name: "content type " + kind, body: good, spoil: header("Content-Type", kind), moves: true})
	}
	for _, path := range []string{"/", "/tandem.v1.SyncService/", "/tandem.v1.SyncService/sync", "/tandem.v1.SyncService/Sync/", "/tandem.v1.SyncService/../../etc/passwd", "/%2e%2e/", "//tandem.v1.SyncService//Sync", "/debug/pprof/", "/" + canary, "/tandem.v1.SyncService/" + canary, "/tandem.v1.AdminService/Everything"} {
		all = append(all, &input{name: "path " + path, path: path, body: good, spoil: func(r *http.Request) { r.URL.RawPath = "" }, statuses: []int{301, 307, 400, 401, 404, 405}})
	}
	for _, n := range []int{1, 5, 6, 7, 8, 9, 10, 12} {
		field := func(number protowire.Number, typ protowire.Type, value []byte) []byte {
			return append(protowire.AppendTag(nil, number, typ), value...)
		}
		empty := field(protowire.Number(n), protowire.BytesType, []byte{0})
		all = append(all,
			&input{name: fmt.Sprintf("field %d a million times", n), body: bytes.Repeat(empty, 1_000_000)},
			&input{name: fmt.Sprintf("field %d of a negative length", n), body: field(protowire.Number(n), protowire.BytesType, protowire.AppendVarint(nil, math.MaxUint64)), statuses: bad},
			&input{name: fmt.Sprintf("field %d of 2 GB that are not there", n), body: field(protowire.Number(n), protowire.BytesType, protowire.AppendVarint(nil, 1<<31)), statuses: bad},
			&input{name: fmt.Sprintf("field %d as 2^64-1", n), body: field(protowire.Number(n), protowire.VarintType, protowire.AppendVarint(nil, math.MaxUint64))},
		)
	}
	ranges := &tandemv1.SyncRequest{}
	for i := range 200_000 {
		ranges.Unsettled = append(ranges.Unsettled, &tandemv1.OpRange{First: 1, Last: uint64(i)})
	}
	positions := &tandemv1.SyncRequest{Budget: 1 << 20}
	for range 200_000 {
		positions.Positions = append(positions.Positions, &tandemv1.ScopePosition{Scope: []byte("12345678")})
	}
	want := &tandemv1.SyncRequest{Budget: 1 << 20}
	for i := range 200_000 {
		want.Want = append(want.Want, slices.Concat(make([]byte, 8), fmt.Appendf(nil, "%08d", i)))
	}
	for name, r := range map[string]*tandemv1.SyncRequest{"ranges": ranges, "positions": positions, "wanted rows": want} {
		in := &input{name: "200,000 " + name, body: must[[]byte](s.t)(proto.Marshal(r))}
		if name == "positions" {
			in.statuses = bad
		}
		all = append(all, in)
	}
	// What is small on the wire and large once it is decoded is not decoded.
	packed := func(raw []byte) *input {
		return &input{body: zstdFrom(s.t, bytes.NewReader(raw)), spoil: header("Content-Encoding", "zstd")}
	}
	for name, in := range map[string]*input{
		"ranges":          packed(bytes.Repeat([]byte{0x1a, 0}, 4_000_000)),
		"changes":         packed(protowire.AppendBytes([]byte{0x0a}, bytes.Repeat([]byte{0x1a, 0}, 3_900_000))),
		"orders done":     packed(protowire.AppendBytes([]byte{0x72}, make([]byte, 8_000_000))),
		"ranges in JSON":  {body: []byte(`{"unsettled":[{}` + strings.Repeat(`,{}`, 1_000_000) + `]}`), spoil: header("Content-Type", "application/json")},
		"entries of none": {body: bytes.Repeat([]byte{0x0a, 0}, 1_000_000), path: tandemv1connect.SyncServiceDeliverProcedure},
	} {
		in.name, in.statuses = "millions of "+name, []int{400}
		all = append(all, in)
	}
	foreign, _ := s.other.read()
	other := newWorld(s.t, sqlite, 32)
	elsewhere, _ := other.enrolled(1, other.clinician).read()
	// One that opens says where this server has been: what it says then is taken for
	// proof that the server was set back, and is not bad input.
	for name, p := range map[string][]byte{
		"of another replica": foreign.GetPositions()[0].GetPosition(), "of another org": elsewhere.GetPositions()[0].GetPosition(), "of zeros": make([]byte, 84),
		"of 1 MB": make([]byte, 1<<20),
	} {
		all = append(all, &input{
			name: "a position " + name, statuses: bad,
			body: must[[]byte](s.t)(proto.Marshal(&tandemv1.SyncRequest{Budget: 1000, Positions: []*tandemv1.ScopePosition{{Position: p}}})),
		})
	}
	return append(all, s.changes()...)
}

// nested is a request whose change nests messages to a depth.
func nested(depth int) []byte {
	var inner []byte
	for len(inner) < depth {
		inner = protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), inner[:min(len(inner), 1<<16)])
		if len(inner) > 1<<16 {
			break
		}
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), inner)
}

// request is a signed push that creates one record; it takes no op of the device's.
func (s *siege) request(msg proto.Message) []byte {
	s.t.Helper()
	op, last := s.d.op, s.d.last
	defer func() { s.d.op, s.d.last = op, last }()
	return must[[]byte](s.t)(proto.Marshal(s.d.push(s.d.creation(msg))))
}

// edited is the first good request, changed and not signed again.
func (s *siege) edited(change func(*tandemv1.SyncRequest)) []byte {
	s.t.Helper()
	r := &tandemv1.SyncRequest{}
	if err := proto.Unmarshal(s.good[0], r); err != nil {
		s.t.Fatal(err)
	}
	change(r)
	return must[[]byte](s.t)(proto.Marshal(r))
}

// push is a push of a new record, changed and signed again, so that what it carries is
// looked at.
func (s *siege) push(change func(*tandemv1.SyncRequest)) []byte {
	s.t.Helper()
	r := &tandemv1.SyncRequest{}
	if err := proto.Unmarshal(s.request(encounter(s.world, "pushed")), r); err != nil {
		s.t.Fatal(err)
	}
	change(r)
	return s.signed(r)
}

// signed signs whatever a request carries.
func (s *siege) signed(r *tandemv1.SyncRequest) []byte {
	s.t.Helper()
	var newest syncengine.Hash
	highest := uint64(0)
	for _, run := range r.GetRuns() {
		var prev syncengine.Hash
		copy(prev[:], run.GetPrevHash())
		for i, raw := range run.GetChanges() {
			op := run.GetFirstOp() + uint64(i)
			prev = syncengine.HashEnvelope(s.d.replica, op, prev, sha256.Sum256(raw))
			if op >= highest {
				highest, newest = op, prev
			}
		}
	}
	r.Signature = syncengine.SignBatch(s.d.key, newest)
	raw, err := proto.Marshal(r)
	if err != nil {
		// A text that is no UTF-8 is written by hand elsewhere.
		return s.good[0]
	}
	return raw
}

// changes are pushes whose one change is odd: each gets a verdict, and the device can
// go on.
func (s *siege) changes() (all []*input) {
	one := func(name string, change func(c *tandemv1.Change)) {
		all = append(all, &input{name: "a change: " + name, moves: true, statuses: []int{200}, body: s.push(func(r *tandemv1.SyncRequest) {
			c := &tandemv1.Change{}
			if err := proto.Unmarshal(r.GetRuns()[0].GetChanges()[0], c); err != nil {
				s.t.Fatal(err)
			}
			change(c)
			r.Runs[0].Changes[0] = must[[]byte](s.t)(proto.Marshal(c))
		})})
	}
	for _, text := range []string{"\x00", "a\u202eb\u2066", "zero\u200bwidth\ufeff", "\u0430dmin", "=cmd|' /C calc'!A0", "../../etc/passwd", strings.Repeat("ü", 100_000), "\U0001F9D1\u200d\U0001F692", "مرحبا", canary} {
		one("narrative "+strconv.Quote(text[:min(8, len(text))]), func(c *tandemv1.Change) {
			body := s.bodyOf(encounter(s.world, text))
			c.Records[0].Body = body
		})
		one("app version "+strconv.Quote(text[:min(8, len(text))]), func(c *tandemv1.Change) { c.AppVersion = text })
		one("reason "+strconv.Quote(text[:min(8, len(text))]), func(c *tandemv1.Change) { c.Records[0].Reason = text })
		one("id that is text", func(c *tandemv1.Change) { c.Id = []byte(text) })
		one("record id that is text", func(c *tandemv1.Change) { c.Records[0].Record = []byte(text) })
		one("team that is text", func(c *tandemv1.Change) {
			e := encounter(s.world, "x")
			e.TeamId = &text
			c.Records[0].Body = s.bodyOf(e)
		})
	}
	for _, ms := range []int64{math.MinInt64, -62_135_596_800_000, -1, 0, 253_402_300_799_999, math.MaxInt64} {
		one(fmt.Sprintf("made at %d", ms), func(c *tandemv1.Change) {
			c.Time = &tandemv1.ChangeTime{WallMs: ms, MonoMs: ms, OffsetMs: ms, OffsetKnown: true}
		})
		one(fmt.Sprintf("started at %d", ms), func(c *tandemv1.Change) {
			e := encounter(s.world, "x")
			e.StartedAt = &tandemv1.Instant{AtMs: &ms}
			c.Records[0].Body = s.bodyOf(e)
		})
	}
	one("without records", func(c *tandemv1.Change) { c.Records = nil })
	one("of 2,000 records", func(c *tandemv1.Change) {
		for range 2000 {
			c.Records = append(c.Records, c.GetRecords()[0])
		}
	})
	one("of the same record twice", func(c *tandemv1.Change) { c.Records = append(c.Records, c.GetRecords()[0]) })
	one("of another's author", func(c *tandemv1.Change) { c.Author = s.second[:] })
	one("of a kind without number", func(c *tandemv1.Change) { c.Records[0].Kind = math.MaxUint32 })
	one("of a schema to come", func(c *tandemv1.Change) { c.Schema = math.MaxUint32 })
	one("bases that never were", func(c *tandemv1.Change) {
		c.Records[0].Act, c.Records[0].Body = tandemv1.Act_ACT_SET, nil
		c.Records[0].Writes = []*tandemv1.PathWrite{{Field: 20, Value: syncengine.StringField(20, "x"), Bases: bytes.Repeat([]byte{7}, 8*5000)}}
	})
	one("a body cut short", func(c *tandemv1.Change) { c.Records[0].Body = c.GetRecords()[0].GetBody()[:11] })
	one("an id that is taken, with other content", func(c *tandemv1.Change) { c.Id = bytes.Repeat([]byte{5}, 16) })
	return all
}

func (s *siege) bodyOf(msg proto.Message) []byte {
	s.t.Helper()
	return s.d.creation(msg).GetRecords()[0].GetBody()
}

// inner are the messages inside messages.
var inner = tamper.Inner{"tandem.v1.Run.changes": &tandemv1.Change{}, "tandem.v1.RecordWrite.seen": &tandemv1.Stamps{}}

// drawn is input n of those without end: a good request cut at a byte, with a byte
// changed, with bytes behind it, or tampered with field by field and signed again.
func (s *siege) drawn(n int) *input {
	raw := bytes.Clone(s.good[n%len(s.good)])
	at := (n / len(s.good)) % len(raw)
	switch n % 7 {
	case 0:
		return &input{name: fmt.Sprintf("request %d cut at %d", n%len(s.good), at), body: raw[:at], moves: true}
	case 1:
		raw[at] ^= 1 << s.rng.UintN(8)
		return &input{name: fmt.Sprintf("request %d with byte %d changed", n%len(s.good), at), body: raw, moves: true}
	case 2:
		tail := make([]byte, 1+s.rng.IntN(40))
		for i := range tail {
			tail[i] = byte(s.rng.Uint32())
		}
		return &input{name: "trailing bytes", body: append(raw, tail...), moves: true}
	}
	script := make([]byte, 3*(1+s.rng.IntN(4)))
	for i := range script {
		script[i] = byte(s.rng.Uint32())
	}
	r := &tandemv1.SyncRequest{}
	base := s.good[n%len(s.good)]
	if n%2 == 0 {
		base = s.request(encounter(s.world, "drawn"))
	}
	if err := proto.Unmarshal(base, r); err != nil {
		s.t.Fatal(err)
	}
	tamper.Message(r, inner, script)
	r.Budget = min(r.GetBudget(), 64<<10)
	for _, run := range r.GetRuns() {
		// A device that takes the last of its numbers has none left for a good push.
		if run.GetFirstOp() > 1<<30 && run.GetFirstOp() <= 1<<62 {
			run.FirstOp = 1 << 30
		}
	}
	return &input{name: fmt.Sprintf("request %d after script %x", n, script), body: s.signed(r), moves: true}
}

// TestHostileInput sends what the catalogue of bad input names, and as much more as
// -hostile asks for, to the real handlers over HTTP. Nothing panics, no answer is a
// fault of the server, nothing is written but by a verdict, nothing that came in is
// repeated in an answer or the log, none takes the processor long or is not answered
// within a minute, and the device's next good push is applied.
func TestHostileInput(t *testing.T) { each(t, testHostileInput) }

func testHostileInput(t *testing.T, on engine) {
	t.Parallel()
	s := newSiege(t, on)
	for _, in := range s.siegeInputs() {
		s.strike(in)
	}
	table := s.sent
	for n := 0; s.sent < *hostile; n++ {
		s.strike(s.drawn(n))
		if n%1000 == 999 {
			s.whole()
			s.renew()
		}
	}
	s.whole()
	s.renew()
	t.Logf("%d inputs, %d of them from the table", s.sent, table)
	text := s.log.String()
	for _, word := range []string{canary, "panic", strconv.Quote(marker)} {
		if strings.Contains(text, word) {
			i := strings.Index(text, word)
			t.Errorf("the log says %q: %s", word, text[max(0, i-300):min(len(text), i+300)])
		}
	}
	s.quietly(text)
}

// quietly fails the test where the log has a line of a fault.
func (s *siege) quietly(text string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, `"level":"error"`) {
			s.t.Errorf("the log has a fault: %s", line)
			return
		}
	}
}

// strike sends an input and checks what came of it.
func (s *siege) strike(in *input) {
	s.t.Helper()
	head := s.head()
	var status int
	var answer []byte
	need.Briefly(s.t, in.name, func() { status, answer = s.send(in) })
	switch {
	case in.statuses != nil && !slices.Contains(in.statuses, status):
		s.t.Errorf("%s: got status %d: %s", in.name, status, answer[:min(len(answer), 200)])
	case status >= 500:
		s.t.Errorf("%s: got status %d: %s", in.name, status, answer)
	}
	if status != 200 && bytes.Contains(bytes.ToLower(answer), []byte(canary)) {
		s.t.Errorf("%s: the answer repeats what was sent: %s", in.name, answer)
	}
	verdicts := 0
	resp := &tandemv1.SyncResponse{}
	if status == 200 && proto.Unmarshal(answer, resp) == nil {
		if a, err := syncengine.Unframe(resp, nil); err == nil {
			verdicts = len(a.GetOutcomes())
		}
	}
	now := s.head()
	if now != head && (verdicts == 0 || !in.moves) {
		s.t.Errorf("%s: the history moved from %d to %d with %d verdicts", in.name, head.Seq, now.Seq, verdicts)
	}
	if s.forked() {
		s.renew()
	}
}

// forked reports whether what was sent has shown two histories of the device, and
// lets it go on behind what was taken of it.
func (s *siege) forked() (forked bool) {
	s.t.Helper()
	r := s.replica()
	s.d.op, s.d.last = r.Highest, r.HighestHash
	return r.Forked
}

func (s *siege) replica() (r *syncengine.Replica) {
	s.t.Helper()
	err := s.s.Read(s.t.Context(), s.org.ID, func(v syncengine.ServerView) (err error) {
		r, err = v.Replica(s.d.replica)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// whole checks that the store is whole.
func (s *siege) whole() {
	s.t.Helper()
	report := must[*store.Report](s.t)(s.s.Verify(s.t.Context(), s.org.ID))
	if len(report.Faults) > 0 {
		s.t.Fatalf("the store is at fault: %s", strings.Join(report.Faults, "; "))
	}
}

// renew checks that a good push is applied: a fork is taken back for that, in place of
// a device's new life.
func (s *siege) renew() {
	s.t.Helper()
	if s.forked() {
		r := *s.replica()
		r.Forked = false
		if err := s.s.Write(s.t.Context(), s.org.ID, 1, func(tx *store.Tx) error { return tx.SaveReplica(&r) }); err != nil {
			s.t.Fatal(err)
		}
	}
	answer := s.d.must(s.d.push(s.d.creation(encounter(s.world, "good"))))
	if got := answer.GetOutcomes(); len(got) != 1 || got[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
		s.t.Fatalf("after hostile input a good push gets %v", got)
	}
}
