package simtest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/internal/tamper"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// recorded are the exchanges of the newest release, and the devices as they stood
// before each.
type recorded struct {
	*wireWorld

	exchanges []*exchange
	// before is the store of the exchange's device, with what it had then to send;
	// after the same once it has taken the recorded answer in.
	before, after []*deviceStore
}

// newRecorded replays the release that is in the tree.
func newRecorded(tb testing.TB) *recorded {
	tb.Helper()
	r := &recorded{wireWorld: newWireWorld(tb)}
	dir := filepath.Join(wireDir, "1")
	read := func(name string, into proto.Message) {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = proto.Unmarshal(raw, into)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	founding := &tandemv1.Run{}
	read(foundingFile, founding)
	r.server = r.refound(founding)
	names, err := filepath.Glob(filepath.Join(dir, "[0-9]*.request.binpb"))
	if err != nil || len(names) == 0 {
		tb.Fatalf("no exchanges in %s: %v", dir, err)
	}
	for _, name := range names {
		x := &exchange{name: strings.TrimSuffix(filepath.Base(name), ".request.binpb"), req: &tandemv1.SyncRequest{}, resp: &tandemv1.SyncResponse{}}
		read(x.name+".request.binpb", x.req)
		read(x.name+".response.binpb", x.resp)
		if strings.HasSuffix(x.name, "-fork") {
			break
		}
		r.prepare(x)
		r.before = append(r.before, x.device(r.wireWorld).store.image())
		r.replay(x)
		r.after = append(r.after, x.device(r.wireWorld).store.image())
		r.exchanges = append(r.exchanges, x)
	}
	return r
}

// sameStore compares what two stores of one device hold.
func sameStore(a, b *deviceStore) error {
	if fmt.Sprintf("%+v", a.state) != fmt.Sprintf("%+v", b.state) {
		return fmt.Errorf("the state is %+v, want %+v", a.state, b.state)
	}
	if fmt.Sprintf("%+v", a.scopes) != fmt.Sprintf("%+v", b.scopes) {
		return fmt.Errorf("the scopes are %+v, want %+v", a.scopes, b.scopes)
	}
	if len(a.records) != len(b.records) || len(a.staged) != len(b.staged) || len(a.ops) != len(b.ops) {
		return errors.New("the number of records, staged rows or own changes differs")
	}
	for id, r := range a.records {
		if other := b.records[id]; other == nil || !bytes.Equal(r.Body, other.Body) || !bytes.Equal(r.Stamps, other.Stamps) || r.Scopes != other.Scopes || r.Pending != other.Pending {
			return fmt.Errorf("record %s differs", id)
		}
	}
	for n, op := range a.ops {
		if other := b.ops[n]; other == nil || op.State != other.State || !bytes.Equal(op.Raw, other.Raw) || !proto.Equal(op.Outcome, other.Outcome) {
			return fmt.Errorf("own change %d differs", n)
		}
	}
	return nil
}

// receiveOn takes an answer in on a store, in a transaction that is taken back on an
// error.
func receiveOn(store *deviceStore, rules syncengine.Rules, req *tandemv1.SyncRequest, answer *tandemv1.SyncAnswer) (got *syncengine.Received, err error) {
	store.begin(0)
	got, err = (&syncengine.Device{Rules: rules}).Receive(store, req, answer, req.GetWallMs())
	store.end(err == nil)
	return got, err
}

// inner are the messages inside messages.
var inner = tamper.Inner{
	"tandem.v1.Run.changes": &tandemv1.Change{}, "tandem.v1.RecordWrite.seen": &tandemv1.Stamps{}, "tandem.v1.Row.stamps": &tandemv1.Stamps{},
}

// maxScript bounds a script: every step looks at the whole message.
const maxScript = 60

// tampered is an encoded message after a script; a script that begins with 0xff goes
// over the bytes instead.
func tampered(t *testing.T, m proto.Message, raw, script []byte) []byte {
	t.Helper()
	script = script[:min(len(script), maxScript)]
	if len(script) > 3 && script[0] == 0xff && len(raw) > 0 {
		at := (int(script[1])<<8 | int(script[2])) % len(raw)
		return slices.Concat(raw[:at], script[3:], raw[min(len(raw), at+len(script)-3):])
	}
	if err := proto.Unmarshal(raw, m); err != nil {
		t.Fatal(err)
	}
	tamper.Message(m, inner, script)
	out, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// FuzzReceive: no answer makes a device panic, however complete it looks. One that is
// refused or that does not fit has changed nothing but what verdicts say, and the
// honest answer then leads where it leads without it. After one that was taken the
// device can still plan, save and receive.
func FuzzReceive(f *testing.F) {
	r := newRecorded(f)
	for i := range r.exchanges {
		n := uint8(i)
		f.Add(n, n, []byte{})
		f.Add(n, n, []byte{0, n, n, 0, 40, 3})
		// An answer to another request.
		f.Add(n, n+7, []byte{})
	}
	f.Fuzz(func(t *testing.T, at, from uint8, script []byte) {
		defer need.Brief(t)()
		i := int(at) % len(r.exchanges)
		x := r.exchanges[i]
		raw := tampered(t, &tandemv1.SyncAnswer{}, r.exchanges[int(from)%len(r.exchanges)].resp.GetAnswer(), script)
		answer := &tandemv1.SyncAnswer{}
		if proto.Unmarshal(raw, answer) != nil {
			if _, err := syncengine.Unframe(syncengine.Frame(raw, 0), nil); !errors.Is(err, syncengine.ErrIncomplete) {
				t.Fatalf("an answer that cannot be read: %v", err)
			}
			return
		}
		resp := syncengine.Frame(raw, len(answer.GetOutcomes())+len(answer.GetPage().GetRows()))
		answer, err := syncengine.Unframe(resp, nil)
		if err != nil {
			if !errors.Is(err, syncengine.ErrIncomplete) {
				t.Fatal(err)
			}
			return
		}
		store := r.before[i].image()
		got, err := receiveOn(store, r.rules, x.req, answer)
		honest, herr := syncengine.Unframe(x.resp, nil)
		if herr != nil {
			t.Fatal(herr)
		}
		if err != nil {
			if err := sameStore(store, r.before[i]); err != nil {
				t.Fatalf("an answer that was refused left a trace: %v", err)
			}
			if _, err := receiveOn(store, r.rules, x.req, honest); err != nil {
				t.Fatalf("the honest answer, afterwards: %v", err)
			}
			if err := sameStore(store, r.after[i]); err != nil {
				t.Fatalf("after the honest answer: %v", err)
			}
			return
		}
		if got.Dropped && len(got.Outcomes) == 0 && !got.Forked && len(store.state.Want) == 0 {
			if _, err := receiveOn(store, r.rules, x.req, honest); err != nil {
				t.Fatalf("the honest answer, after one that was dropped: %v", err)
			}
			if len(store.records) != len(r.after[i].records) {
				t.Fatalf("after the honest answer: %d records, want %d", len(store.records), len(r.after[i].records))
			}
			return
		}
		r.goOn(t, store, x.req, honest)
	})
}

// goOn lets a device go on after an answer that it took: whatever that said, nothing
// of this may panic.
func (r *recorded) goOn(t *testing.T, store *deviceStore, req *tandemv1.SyncRequest, honest *tandemv1.SyncAnswer) {
	t.Helper()
	device := &syncengine.Device{Rules: r.rules}
	store.begin(0)
	_, err := device.Plan(store, syncengine.PlanOptions{PushBytes: 1 << 20, PageBytes: 1 << 20, Ask: true})
	store.end(true)
	if err != nil {
		t.Fatalf("planning: %v", err)
	}
	for _, id := range store.sorted() {
		rec := store.records[id]
		s, err := syncengine.Decode(&rec.Record)
		if err != nil || r.rules.Kind(rec.Kind) == nil {
			continue
		}
		c := &tandemv1.Change{Id: bytes.Repeat([]byte{0xcc}, 16), Records: []*tandemv1.RecordWrite{{
			Record: id[:], Kind: rec.Kind, Act: tandemv1.Act_ACT_SET, Writes: []*tandemv1.PathWrite{{
				Field: syncengine.FieldTZ, Value: syncengine.StringField(syncengine.FieldTZ, "America/Chicago"),
				Bases: syncengine.EncodeStamps(s.Bases(syncengine.Path{Field: syncengine.FieldTZ}, false)),
			}},
		}}}
		store.begin(0)
		_, err = device.Capture(store, c)
		store.end(false)
		if _, ok := errors.AsType[*syncengine.RefusalError](err); err != nil && !ok {
			t.Fatalf("saving on a record that decodes: %v", err)
		}
	}
	_, _ = receiveOn(store, r.rules, req, honest)
}

// FuzzResponse: what is no whole frame is no answer, and a frame is told by its
// digest alone.
func FuzzResponse(f *testing.F) {
	r := newRecorded(f)
	for _, x := range r.exchanges[:8] {
		raw, err := proto.Marshal(x.resp)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer need.Brief(t)()
		resp := &tandemv1.SyncResponse{}
		if proto.Unmarshal(raw, resp) != nil {
			return
		}
		answer, err := syncengine.Unframe(resp, nil)
		if err != nil {
			if !errors.Is(err, syncengine.ErrIncomplete) || answer != nil {
				t.Fatalf("got %v, %v", answer, err)
			}
			return
		}
		again := syncengine.Frame(resp.GetAnswer(), int(resp.GetCount()))
		again.Schema = resp.GetSchema()
		if !bytes.Equal(again.GetDigest(), resp.GetDigest()) || again.GetEnd() != resp.GetEnd() || answer.GetTrailer() == nil {
			t.Fatal("an answer was taken from a frame that is not whole")
		}
	})
}

// refusals are all that may become of a request as a whole.
var refusals = []error{
	syncengine.ErrPushTooLarge, syncengine.ErrPushForm, syncengine.ErrSignature, syncengine.ErrPosition, syncengine.ErrReverted,
}

func listed(err error) bool {
	return slices.ContainsFunc(refusals, func(r error) bool { return errors.Is(err, r) })
}

// tables is a digest of all that devices can be sent.
func (s *serverStore) tables() string {
	var b strings.Builder
	for _, id := range slices.SortedFunc(maps.Keys(s.records), syncengine.ID.Compare) {
		r := s.records[id]
		fmt.Fprintln(&b, id, uint64(r.Hash), r.Seq, r.Scopes)
	}
	for _, k := range slices.SortedFunc(maps.Keys(s.digests), syncengine.ScopeKey.Compare) {
		fmt.Fprintln(&b, k, s.digests[k].Total())
	}
	return b.String()
}

// FuzzRequest: whatever a device that is enrolled sends, its request is refused for
// one of the reasons that are listed, or answered.
func FuzzRequest(f *testing.F) {
	r := newRecorded(f)
	var raws [][]byte
	for i, x := range r.exchanges {
		raw, err := proto.Marshal(x.req)
		if err != nil {
			f.Fatal(err)
		}
		raws = append(raws, raw)
		f.Add(i%2 == 0, uint8(i), []byte{})
		f.Add(i%2 == 0, uint8(i), []byte{0, byte(i), 7, 1, 30, 9})
	}
	base := r.server.tables()
	var mu sync.Mutex
	f.Fuzz(func(t *testing.T, ana bool, from uint8, script []byte) {
		defer need.Brief(t)()
		req := &tandemv1.SyncRequest{}
		raw := tampered(t, &tandemv1.SyncRequest{}, raws[int(from)%len(raws)], script)
		if proto.Unmarshal(raw, req) != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		d := r.devices["ben"]
		if ana {
			d = r.devices["ana"]
		}
		pushed, err := syncengine.Prepare(r.rules, d.replica, wirePublic(d.key), resigned(d, req))
		if err != nil {
			if !listed(err) {
				t.Fatalf("preparing: %v", err)
			}
			return
		}
		r.server.begin(0)
		defer r.server.end(false)
		b, err := r.engine.Begin(r.server, r.nowMS)
		if err != nil {
			t.Fatal(err)
		}
		outcomes, err := b.Push(d.replica, pushed, req)
		if err != nil {
			t.Fatalf("a push fails as a whole: %v", err)
		}
		if len(outcomes) != len(pushed) {
			t.Fatalf("%d verdicts on %d changes", len(outcomes), len(pushed))
		}
		if _, err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		applied := slices.ContainsFunc(outcomes, func(o *tandemv1.Outcome) bool {
			return o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED && o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_FORK
		})
		if !applied && len(r.server.lying) == 1 && r.server.tables() != base {
			t.Fatal("nothing was applied, and the tables changed")
		}
		answer, err := r.engine.Answer(r.server, d.replica, req, outcomes, r.nowMS)
		if err != nil {
			if !listed(err) {
				t.Fatalf("answering: %v", err)
			}
			return
		}
		if _, err := proto.Marshal(answer.Message); err != nil {
			t.Fatalf("encoding the answer: %v", err)
		}
		if answer.Count != len(answer.Message.GetOutcomes())+len(answer.Message.GetPage().GetRows()) {
			t.Fatal("the count is not that of the answer")
		}
	})
}

// resigned gives a request the signature of the device, so that what it carries is
// looked at.
func resigned(d *wireDevice, req *tandemv1.SyncRequest) *tandemv1.SyncRequest {
	var newest syncengine.Hash
	highest := uint64(0)
	for _, run := range req.GetRuns() {
		if len(run.GetPrevHash()) != len(syncengine.Hash{}) {
			return req
		}
		prev := syncengine.Hash(run.GetPrevHash())
		for i, raw := range run.GetChanges() {
			op := run.GetFirstOp() + uint64(i)
			prev = syncengine.HashEnvelope(d.replica, op, prev, sha(raw))
			if op > highest {
				highest, newest = op, prev
			}
		}
	}
	req.Signature = syncengine.SignBatch(d.key, newest)
	return req
}

// FuzzPush: a change of any bytes, pushed after good ones and before another, gets a
// verdict of its own and stops none of the others. What is applied reaches the other
// device, which then holds what the server holds; what is not changes nothing that
// devices are sent. The same push again changes nothing.
func FuzzPush(f *testing.F) {
	r := newRecorded(f)
	var raws [][]byte
	for _, x := range r.exchanges {
		for _, run := range x.req.GetRuns() {
			raws = append(raws, run.GetChanges()...)
		}
	}
	// Edits that another clinician could make of what is there.
	edits := &tandemv1.Change{}
	for _, id := range r.server.ids {
		rec := r.server.records[id]
		edits.Records = append(edits.Records, &tandemv1.RecordWrite{Record: id[:], Kind: rec.Kind, Act: tandemv1.Act_ACT_VOID, Reason: "twice"})
	}
	edits.Id, edits.Author, edits.Device = bytes.Repeat([]byte{7}, 16), r.staffID("ana"), bytes.Clone(r.devices["ana"].store.state.Device[:])
	raws = append(raws, r.marshal(edits))
	for i := range raws {
		f.Add(uint8(i), []byte{})
		f.Add(uint8(i), []byte{0, byte(i), 7, 1, 30, 9})
		f.Add(uint8(i), []byte{0xff, 0, 20, 0x80})
	}
	ana, ben := r.devices["ana"], r.devices["ben"]
	benBase := ben.store.image()
	before, after := r.plain(1), r.plain(2)
	var mu sync.Mutex
	f.Fuzz(func(t *testing.T, from uint8, script []byte) {
		defer need.Brief(t)()
		raw := tampered(t, &tandemv1.Change{}, raws[int(from)%len(raws)], script)
		mu.Lock()
		defer mu.Unlock()
		r.server.begin(0)
		defer r.server.end(false)
		// The recorded ids lie at the server: a fresh one lets the content be looked at.
		if c := (decoded{}).of(syncengine.Hash{}, raw); len(c.GetId()) == 16 && r.server.changes[syncengine.ID(c.GetId())] != nil {
			c.Id = bytes.Repeat([]byte{0xee}, 16)
			if fresh, err := proto.Marshal(c); err == nil {
				raw = fresh
			}
		}
		stored := r.server.replicas[ana.replica]
		req := &tandemv1.SyncRequest{Runs: []*tandemv1.Run{{
			FirstOp: stored.Highest + 1, PrevHash: stored.HighestHash[:],
			Changes: [][]byte{before, raw, after},
		}}}
		push := func() []*tandemv1.Outcome {
			t.Helper()
			pushed, err := syncengine.Prepare(r.rules, ana.replica, wirePublic(ana.key), resigned(ana, req))
			if err != nil {
				t.Fatalf("preparing: %v", err)
			}
			b, err := r.engine.Begin(r.server, r.nowMS)
			if err != nil {
				t.Fatal(err)
			}
			outcomes, err := b.Push(ana.replica, pushed, req)
			if err != nil {
				t.Fatalf("a push fails as a whole: %v", err)
			}
			if _, err := b.Commit(); err != nil {
				t.Fatal(err)
			}
			return outcomes
		}
		outcomes := push()
		for _, i := range []int{0, 2} {
			if outcomes[i].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
				t.Fatalf("beside %v, a good change gets %v", outcomes[1], outcomes[i])
			}
		}
		head, tables := r.server.head, r.server.tables()
		for i, o := range push() {
			if !proto.Equal(o, outcomes[i]) {
				t.Fatalf("again: got %v, was %v", o, outcomes[i])
			}
		}
		if r.server.head != head || r.server.tables() != tables {
			t.Fatal("the same push again moved something")
		}
		if outcomes[1].GetCode() == tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED {
			kept := r.server.byOp[opKey{ana.replica, outcomes[1].GetOp()}]
			if !bytes.Equal(kept.Body, raw) {
				t.Fatal("quarantine does not hold the change as it was sent")
			}
		}
		r.reaches(t, benBase.image())
	})
}

func (w *wireWorld) staffID(name string) []byte {
	id := w.staff[name]
	return id[:]
}

// plain is a good change of ana's.
func (r *recorded) plain(n byte) []byte {
	r.t.Helper()
	body, err := r.rules.Body(&tandemv1.Incident{TeamId: new(r.team.String()), Lifecycle: new("active"), CallType: new("welfare_check")})
	if err != nil {
		r.t.Fatal(err)
	}
	st := r.devices["ana"].store.state
	return r.marshal(&tandemv1.Change{
		Id: bytes.Repeat([]byte{0xf0 + n}, 16), Author: st.Person[:], Device: st.Device[:], Schema: 1,
		Records: []*tandemv1.RecordWrite{{
			Record: bytes.Repeat([]byte{0xe0 + n}, 16), Kind: r.rules.KindByName("incident").Number, Act: tandemv1.Act_ACT_CREATE, Body: body,
		}},
	})
}

// reaches lets ben's device pull to the end: it then holds what the server holds.
func (r *recorded) reaches(t *testing.T, store *deviceStore) {
	t.Helper()
	device := &syncengine.Device{Rules: r.rules}
	replica := r.devices["ben"].replica
	for range 6 {
		store.begin(0)
		plan, err := device.Plan(store, syncengine.PlanOptions{PageBytes: 1 << 20})
		store.end(true)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := r.engine.Answer(r.server, replica, plan.Request, nil, r.nowMS)
		if err != nil {
			t.Fatal(err)
		}
		got, err := receiveOn(store, r.rules, plan.Request, answer.Message)
		if err != nil {
			t.Fatalf("the other device cannot take the page in: %v", err)
		}
		if len(got.Differing) > 0 {
			t.Fatalf("on the other device %d scopes differ", len(got.Differing))
		}
		if got.More || got.Dropped || got.Scopes {
			continue
		}
		for id, rec := range store.records {
			truth := r.server.records[id]
			if truth == nil || !bytes.Equal(rec.Body, truth.Body) || !bytes.Equal(rec.Stamps, truth.Stamps) {
				t.Fatalf("the other device holds other bytes of %s", id)
			}
			if _, err := syncengine.Decode(&rec.Record); err != nil {
				t.Fatalf("a record that was sent cannot be read: %v", err)
			}
		}
		return
	}
	t.Fatal("the other device does not come to rest")
}
