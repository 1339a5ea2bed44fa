package simtest

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// kindOfTheFuture is a kind that only newer rules know: an incident by another
// number.
const kindOfTheFuture = 999

// newerRules are the rules of a version to come.
type newerRules struct{ *record.Domain }

// present is the kind by which today's rules judge one of the future.
func (r newerRules) present(kind uint32) uint32 {
	if kind == kindOfTheFuture {
		return r.KindByName("incident").Number
	}
	return kind
}

func (r newerRules) write(w *tandemv1.RecordWrite) *tandemv1.RecordWrite {
	w = proto.CloneOf(w)
	w.Kind = r.present(w.GetKind())
	return w
}

func (r newerRules) record(rec *syncengine.Record) *syncengine.Record {
	if rec == nil {
		return nil
	}
	as := *rec
	as.Kind = r.present(rec.Kind)
	return &as
}

// Kind implements syncengine.Rules.
func (r newerRules) Kind(number uint32) *syncengine.Kind {
	kind := r.Domain.Kind(r.present(number))
	if number == kindOfTheFuture {
		as := *kind
		as.Number, as.Name = number, "future"
		kind = &as
	}
	return kind
}

// Check implements syncengine.Rules.
func (r newerRules) Check(c *tandemv1.Change) *syncengine.Refusal {
	c = proto.CloneOf(c)
	for i, w := range c.GetRecords() {
		c.Records[i] = r.write(w)
	}
	return r.Domain.Check(c)
}

// Allowed implements syncengine.Rules.
func (r newerRules) Allowed(p *syncengine.Principal, w *tandemv1.RecordWrite) bool {
	return r.Domain.Allowed(p, r.write(w))
}

// AllowedOn implements syncengine.Rules.
func (r newerRules) AllowedOn(p *syncengine.Principal, w *tandemv1.RecordWrite, rec *syncengine.Record, look syncengine.Lookup) bool {
	return r.Domain.AllowedOn(p, r.write(w), r.record(rec), look)
}

// CoAuthors implements syncengine.Rules.
func (r newerRules) CoAuthors(rec *syncengine.Record, look syncengine.Lookup) ([]syncengine.ID, error) {
	return r.Domain.CoAuthors(r.record(rec), look)
}

// AllowedBeside implements syncengine.Rules.
func (r newerRules) AllowedBeside(p *syncengine.Principal, w *tandemv1.RecordWrite, rec *syncengine.Record) bool {
	return r.Domain.AllowedBeside(p, r.write(w), r.record(rec))
}

// Scopes implements syncengine.Rules.
func (r newerRules) Scopes(org syncengine.ID, rec *syncengine.Record, look syncengine.Lookup) ([]syncengine.ScopeKey, []syncengine.ID, error) {
	return r.Domain.Scopes(org, r.record(rec), look)
}

// Review implements syncengine.Rules.
func (r newerRules) Review(rec *syncengine.Record) []string { return r.Domain.Review(r.record(rec)) }

// ReviewAmong implements syncengine.Rules.
func (r newerRules) ReviewAmong(rec *syncengine.Record, look syncengine.Lookup, about syncengine.LookAbout) ([]syncengine.Finding, error) {
	return r.Domain.ReviewAmong(r.record(rec), look, about)
}

// futureFields are fields that no version knows yet, in every shape and wire type, in
// order of path.
func futureFields() []syncengine.Field {
	element := func(field uint32, key, content string) syncengine.Field {
		msg := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), key)
		msg = protowire.AppendString(protowire.AppendTag(msg, 2, protowire.BytesType), content)
		return syncengine.Field{
			Path: syncengine.Path{Field: field, Key: key},
			Raw:  protowire.AppendBytes(protowire.AppendTag(nil, protowire.Number(field), protowire.BytesType), msg),
		}
	}
	singular := func(field uint32, raw []byte) syncengine.Field {
		return syncengine.Field{Path: syncengine.Path{Field: field}, Raw: raw}
	}
	tag := func(field protowire.Number, typ protowire.Type) []byte { return protowire.AppendTag(nil, field, typ) }
	return []syncengine.Field{
		singular(190, protowire.AppendVarint(tag(190, protowire.VarintType), 1<<63)),
		singular(191, protowire.AppendFixed32(tag(191, protowire.Fixed32Type), 7)),
		singular(192, protowire.AppendFixed64(tag(192, protowire.Fixed64Type), 1<<60)),
		singular(193, syncengine.StringField(193, "not yet")),
		// No canonical message inside, and no message at all.
		singular(194, protowire.AppendBytes(tag(194, protowire.BytesType), []byte{0x10, 0x81, 0, 0xff})),
		{Path: syncengine.Path{Field: 290, Key: "of_the_future"}, Raw: syncengine.StringField(290, "of_the_future")},
		element(390, "elementA", "\x80"),
		element(390, "elementB", "b"),
		element(490, "eventAAA", "happened"),
	}
}

// bodyWith is the body of a message with fields of the future in their places.
func bodyWith(t *testing.T, d *record.Domain, msg proto.Message, future []syncengine.Field) []byte {
	t.Helper()
	body, err := d.Body(msg)
	if err != nil {
		t.Fatal(err)
	}
	fields, err := syncengine.ParseBody(body)
	if err != nil {
		t.Fatal(err)
	}
	fields = append(fields, future...)
	slices.SortFunc(fields, func(a, b syncengine.Field) int { return a.Path.Compare(b.Path) })
	body = nil
	for _, f := range fields {
		body = append(body, f.Raw...)
	}
	return body
}

// sync lets a device of some rules push and pull until it is told nothing more.
func (w *wireWorld) sync(d *wireDevice, rules syncengine.Rules) (outcomes []*tandemv1.Outcome) {
	w.t.Helper()
	for range 10 {
		w.nowMS += 1000
		var req *tandemv1.SyncRequest
		w.on(d, func(tx syncengine.DeviceTx) error {
			plan, err := (&syncengine.Device{Rules: rules}).Plan(tx, syncengine.PlanOptions{PushBytes: 1 << 20, PageBytes: 1 << 20, WallMS: w.nowMS})
			if err == nil && len(plan.Ops) > 0 {
				plan.Request.Signature = syncengine.SignBatch(d.key, plan.Newest)
			}
			req = plan.Request
			return err
		})
		var told []*tandemv1.Outcome
		pushed, err := syncengine.Prepare(w.engine.Rules, d.replica, wirePublic(d.key), req)
		if err != nil {
			w.t.Fatal(err)
		}
		w.commit(func(b *syncengine.Batch) (err error) {
			told, err = b.Push(d.replica, pushed, req)
			return err
		})
		answer, err := w.engine.Answer(w.server, d.replica, req, told, w.nowMS)
		if err != nil {
			w.t.Fatal(err)
		}
		var got *syncengine.Received
		w.on(d, func(tx syncengine.DeviceTx) (err error) {
			got, err = (&syncengine.Device{Rules: rules}).Receive(tx, req, answer.Message, w.nowMS)
			return err
		})
		if len(got.Differing) > 0 || got.Forked {
			w.t.Fatalf("%s: %d scopes differ, forked %t", d.name, len(got.Differing), got.Forked)
		}
		outcomes = append(outcomes, got.Outcomes...)
		if !got.More && !got.Dropped && !got.Scopes && len(req.GetRuns()) == 0 {
			return outcomes
		}
	}
	w.t.Fatalf("%s does not come to rest", d.name)
	return nil
}

// capture saves writes on a device of some rules and gives the change another schema
// version.
func (w *wireWorld) capture(d *wireDevice, rules syncengine.Rules, schema uint32, writes ...*tandemv1.RecordWrite) (op uint64, raw []byte) {
	w.t.Helper()
	c := w.change(tandemv1.Class_CLASS_NORMAL, writes...)
	w.on(d, func(tx syncengine.DeviceTx) error {
		saved, err := (&syncengine.Device{Rules: rules}).Capture(tx, c)
		if err != nil {
			return err
		}
		op = saved.Number
		c.Schema = schema
		kept := *saved
		kept.Raw = w.marshal(c)
		kept.Envelope = syncengine.HashEnvelope(d.replica, op, kept.Prev, sha(kept.Raw))
		raw = kept.Raw
		next := *d.store.state
		next.LastHash = kept.Envelope
		if err := tx.SaveOp(&kept); err != nil {
			return err
		}
		return tx.SaveState(&next)
	})
	return op, raw
}

// set is the write of one path over what a device shows.
func (w *wireWorld) set(d *wireDevice, id syncengine.ID, path syncengine.Path, raw []byte) *tandemv1.RecordWrite {
	w.t.Helper()
	rec := d.store.records[id]
	s, err := syncengine.Decode(&rec.Record)
	if err != nil {
		w.t.Fatal(err)
	}
	return &tandemv1.RecordWrite{Record: id[:], Kind: rec.Kind, Act: tandemv1.Act_ACT_SET, Writes: []*tandemv1.PathWrite{{
		Field: path.Field, Key: []byte(path.Key), Value: raw, Bases: syncengine.EncodeStamps(s.Bases(path, false)),
	}}}
}

// verdict returns the one on an op.
func verdict(t *testing.T, outcomes []*tandemv1.Outcome, op uint64) *tandemv1.Outcome {
	t.Helper()
	for _, o := range outcomes {
		if o.GetOp() == op {
			return o
		}
	}
	t.Fatalf("no verdict on op %d in %v", op, outcomes)
	return nil
}

// What a newer version writes passes an older server and an older device, is merged
// there with what others wrote, and comes back as it was, byte for byte.
func TestNewerThroughOlder(t *testing.T) {
	t.Parallel()
	w := newWireWorld(t)
	newer := newerRules{w.rules}
	ana, ben := w.devices["ana"], w.devices["ben"] // ana's app is the newer
	w.sync(ana, newer)
	w.sync(ben, w.rules)
	id := w.id('i')
	future := futureFields()
	create := w.create(id, &tandemv1.Incident{TeamId: new(w.team.String()), Lifecycle: new("active"), CallType: new("code_of_the_future")})
	create.Body = bodyWith(t, w.rules, &tandemv1.Incident{TeamId: new(w.team.String()), Lifecycle: new("active"), CallType: new("code_of_the_future")}, future)
	op, _ := w.capture(ana, newer, 2, create)
	if got := verdict(t, w.sync(ana, newer), op); got.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
		t.Fatalf("the older server says %v", got)
	}
	w.sync(ben, w.rules)
	same := func(when string, want []byte) {
		t.Helper()
		server := w.server.records[id]
		for name, rec := range map[string]*syncengine.Record{"the server": &server.Record, "ana": &ana.store.records[id].Record, "ben": &ben.store.records[id].Record} {
			if !bytes.Equal(rec.Body, want) || !bytes.Equal(rec.Stamps, server.Stamps) {
				t.Errorf("%s: %s holds body %x, want %x", when, name, rec.Body, want)
			}
		}
	}
	same("created", create.GetBody())

	// Both write: ben what he knows, ana the same field and fields of the future.
	notes := syncengine.Path{Field: w.field("notes_ops")}
	w.capture(ben, w.rules, 1, w.set(ben, id, notes, syncengine.StringField(notes.Field, "Two dogs.")))
	changed := map[syncengine.Path][]byte{
		{Field: 193}:                  syncengine.StringField(193, "changed\xff"),
		{Field: 390, Key: "elementA"}: nil,
		{Field: 290, Key: "new"}:      syncengine.StringField(290, "new"),
	}
	for path, raw := range changed {
		w.capture(ana, newer, 2, w.set(ana, id, path, raw))
	}
	w.capture(ana, newer, 2, w.set(ana, id, notes, syncengine.StringField(notes.Field, "Three dogs.")))
	w.sync(ben, w.rules)
	w.sync(ana, newer)
	w.sync(ben, w.rules)
	future = slices.DeleteFunc(future, func(f syncengine.Field) bool { _, is := changed[f.Path]; return is })
	for path, raw := range changed {
		if raw != nil {
			future = append(future, syncengine.Field{Path: path, Raw: raw})
		}
	}
	same("merged", bodyWith(t, w.rules, &tandemv1.Incident{
		TeamId: new(w.team.String()), Lifecycle: new("active"), CallType: new("code_of_the_future"), NotesOps: new("Two dogs."),
	}, future))
	if ana.store.records[id].Conflicts != 1 || ben.store.records[id].Conflicts != 1 {
		t.Errorf("ana counts %d conflicts, ben %d, want 1", ana.store.records[id].Conflicts, ben.store.records[id].Conflicts)
	}
}

// A kind that the server does not know is kept in quarantine, byte for byte, and does
// not hold up what follows.
func TestUnknownKindAtServer(t *testing.T) {
	t.Parallel()
	w := newWireWorld(t)
	newer, ana := newerRules{w.rules}, w.devices["ana"]
	w.sync(ana, newer)
	msg := &tandemv1.Incident{TeamId: new(w.team.String()), Lifecycle: new("active"), CallType: new("welfare_check")}
	strange, plain := w.create(w.id('f'), msg), w.create(w.id('i'), msg)
	strange.Kind = kindOfTheFuture
	op, raw := w.capture(ana, newer, 2, strange)
	after, _ := w.capture(ana, newer, 2, plain)
	outcomes := w.sync(ana, newer)
	if got := verdict(t, outcomes, op); got.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED || got.GetRefusal() != tandemv1.Refusal_REFUSAL_UNKNOWN_SCHEMA {
		t.Errorf("the kind: got %v", got)
	}
	if got := verdict(t, outcomes, after); got.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
		t.Errorf("what follows: got %v", got)
	}
	kept := w.server.byOp[opKey{ana.replica, op}]
	if kept == nil || !bytes.Equal(kept.Body, raw) || !bytes.Equal(ana.store.ops[op].Raw, raw) {
		t.Error("the change is not kept as it was sent, on both ends")
	}
}

// A device that does not know a kind stores its records whole, takes in deltas of
// them, and passes them on in digests; once it knows the kind, it works on them
// without having asked for anything.
func TestUnknownKindOnDevice(t *testing.T) {
	t.Parallel()
	w := newWireWorld(t)
	newer := newerRules{w.rules}
	w.engine.Rules = newer
	ana, ben := w.devices["ana"], w.devices["ben"]
	w.sync(ana, newer)
	w.sync(ben, w.rules)
	id := w.id('f')
	create := w.create(id, &tandemv1.Incident{TeamId: new(w.team.String()), Lifecycle: new("active"), CallType: new("welfare_check")})
	create.Kind = kindOfTheFuture
	notes := syncengine.Path{Field: w.field("notes_ops")}
	w.capture(ana, newer, 2, create)
	w.sync(ana, newer)
	w.sync(ben, w.rules)
	w.capture(ana, newer, 2, w.set(ana, id, notes, syncengine.StringField(notes.Field, "Two dogs.")))
	w.sync(ana, newer)
	w.sync(ben, w.rules)
	held, truth := ben.store.records[id], w.server.records[id]
	if held == nil || !bytes.Equal(held.Body, truth.Body) || !bytes.Equal(held.Stamps, truth.Stamps) || held.Kind != kindOfTheFuture {
		t.Fatal("the older device does not hold the record as it is")
	}
	// Both write it: ben's app is upgraded first.
	benOp, _ := w.capture(ben, newer, 2, w.set(ben, id, notes, syncengine.StringField(notes.Field, "No dogs.")))
	w.capture(ana, newer, 2, w.set(ana, id, notes, syncengine.StringField(notes.Field, "Three dogs.")))
	w.sync(ana, newer)
	if got := verdict(t, w.sync(ben, newer), benOp); got.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED_WITH_CONFLICT {
		t.Errorf("after the upgrade: got %v", got)
	}
	if ben.store.records[id].Conflicts != 1 {
		t.Errorf("ben counts %d conflicts, want 1", ben.store.records[id].Conflicts)
	}
}

// A change of a schema that the server no longer takes goes to quarantine whatever
// else is wrong with it but what makes it unreadable; newer ones are applied. The
// answer announces what is taken and served.
func TestSchemasThatAreTaken(t *testing.T) {
	t.Parallel()
	w := newWireWorld(t)
	ana := w.devices["ana"]
	w.sync(ana, w.rules)
	w.engine.MinWriteSchema = 3
	msg := &tandemv1.Incident{TeamId: new(w.team.String()), Lifecycle: new("active"), CallType: new("welfare_check")}
	old, raw := w.capture(ana, w.rules, 2, w.create(w.id('i'), msg))
	taken, _ := w.capture(ana, w.rules, 3, w.create(w.id('i'), msg))
	// What an old version could save and this one refuses.
	wrong := w.create(w.id('i'), msg)
	bad, _ := w.capture(ana, anything{w.rules}, 2, wrong, &tandemv1.RecordWrite{Record: wrong.GetRecord(), Kind: wrong.GetKind(), Act: tandemv1.Act_ACT_SET, Reason: strings.Repeat("x", 501)})
	outcomes := w.sync(ana, w.rules)
	for op, want := range map[uint64]tandemv1.Refusal{
		old: tandemv1.Refusal_REFUSAL_UNKNOWN_SCHEMA, bad: tandemv1.Refusal_REFUSAL_UNKNOWN_SCHEMA, taken: tandemv1.Refusal_REFUSAL_UNSPECIFIED,
	} {
		if got := verdict(t, outcomes, op); got.GetRefusal() != want {
			t.Errorf("op %d: got %v, want %v", op, got, want)
		}
	}
	if kept := w.server.byOp[opKey{ana.replica, old}]; !bytes.Equal(kept.Body, raw) || !bytes.Equal(ana.store.ops[old].Raw, raw) {
		t.Error("the old change is not kept as it was sent, on both ends")
	}
	w.engine.MinReadSchema = 5
	answer, err := w.engine.Answer(w.server, ana.replica, &tandemv1.SyncRequest{Budget: 1 << 20, Schema: 4, Unsettled: []*tandemv1.OpRange{{First: old, Last: old}}}, nil, w.nowMS)
	if err != nil {
		t.Fatal(err)
	}
	trailer := answer.Message.GetTrailer()
	if trailer.GetMinWriteSchema() != 3 || trailer.GetMinReadSchema() != 5 || answer.Message.GetPage() != nil || len(trailer.GetProcessed()) > 0 || len(answer.Message.GetOutcomes()) != 1 {
		t.Errorf("got %v, want a verdict and no page", answer.Message)
	}
}

// anything checks nothing.
type anything struct{ *record.Domain }

// Check implements syncengine.Rules.
func (anything) Check(*tandemv1.Change) *syncengine.Refusal { return nil }
