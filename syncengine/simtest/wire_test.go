package simtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// goldenWrite writes what a release leaves behind for later versions to read:
// messages in testdata/wire, databases in testdata/released, each in a directory
// named by the schema version of the build. Once released, they are never written
// again.
var goldenWrite = flag.Bool("golden.write", false, "write the messages and databases of this schema version anew")

const (
	wireDir = "../../testdata/wire"
	// foundingFile holds the changes that made the org, as a Run.
	foundingFile = "00-founding.binpb"
)

// wireWorld is a server and two devices whose ids, keys and clocks are fixed.
type wireWorld struct {
	t       testing.TB
	rules   *record.Domain
	engine  *syncengine.Server
	server  *serverStore
	made    uint64
	nowMS   int64
	org     syncengine.ID
	team    syncengine.ID
	staff   map[string]syncengine.ID
	devices map[string]*wireDevice
	// founding are the encoded changes that made the org.
	founding [][]byte
}

type wireDevice struct {
	name    string
	replica syncengine.ID
	key     ed25519.PrivateKey
	store   *deviceStore
}

// id makes the next id; what the letter says is for the reader of a dump.
func (w *wireWorld) id(letter byte) (id syncengine.ID) {
	w.made++
	copy(id[:], []byte{letter, 0, 0, 0, 0, 0, 0, 1, 0xa5, 0, 0, 0, 0, 0, byte(w.made >> 8), byte(w.made)})
	return id
}

func newWireWorld(t testing.TB) *wireWorld {
	t.Helper()
	secrets, err := syncengine.NewSecrets([]byte("a secret of the recorded org, 32"))
	if err != nil {
		t.Fatal(err)
	}
	w := &wireWorld{t: t, rules: record.New(), nowMS: 1_790_000_000_000, staff: map[string]syncengine.ID{}, devices: map[string]*wireDevice{}}
	w.engine = &syncengine.Server{Rules: w.rules, Secrets: secrets}
	w.org = w.id('o')
	w.server = newServerStore(w.org, w.id('e'), decoded{})
	agency, program := w.id('a'), w.id('p')
	w.team = w.id('t')
	for _, name := range []string{"ana", "ben"} {
		w.staff[name] = w.id('s')
		d := &wireDevice{name: name, replica: w.id('r'), key: ed25519.NewKeyFromSeed([]byte(strings.Repeat(name[:1], ed25519.SeedSize)))}
		w.devices[name] = d
		d.store = newDeviceStore(&syncengine.DeviceState{Org: w.org, Replica: d.replica, Person: w.staff[name], Device: w.id('d'), NextOp: 1})
		err := w.server.SaveReplica(&syncengine.Replica{ID: d.replica, Person: w.staff[name], Device: d.store.state.Device, Key: wirePublic(d.key)})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.found(agency, &tandemv1.Agency{Lifecycle: new("active"), Name: new("Example Health"), Type: new("behavioral_health")})
	w.found(program, &tandemv1.Program{AgencyId: new(agency.String()), Lifecycle: new("active"), Name: &tandemv1.LocalizedText{En: new("Co-response")}})
	w.found(w.team, &tandemv1.Team{AgencyId: new(agency.String()), ProgramId: new(program.String()), Lifecycle: new("active"), Name: new("Night")})
	for _, name := range []string{"ana", "ben"} {
		w.found(w.staff[name], &tandemv1.Staff{
			AgencyId: new(agency.String()), Lifecycle: new("active"), DisplayName: &name, Roles: []string{"clinician"}, TeamIds: []string{w.team.String()},
		})
	}
	return w
}

func wirePublic(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.SeedSize:])
}

// create is the write that makes a record of a message.
func (w *wireWorld) create(id syncengine.ID, msg proto.Message) *tandemv1.RecordWrite {
	w.t.Helper()
	body, err := w.rules.Body(msg)
	if err != nil {
		w.t.Fatal(err)
	}
	return &tandemv1.RecordWrite{Record: id[:], Kind: w.rules.KindOf(msg).Number, Act: tandemv1.Act_ACT_CREATE, Body: body}
}

// change puts writes into a change.
func (w *wireWorld) change(class tandemv1.Class, writes ...*tandemv1.RecordWrite) *tandemv1.Change {
	id := w.id('c')
	return &tandemv1.Change{
		Id: id[:], Records: writes, Class: class, Schema: syncengine.Schema, AppVersion: "1.0.0",
		Time: &tandemv1.ChangeTime{WallMs: w.nowMS, MonoMs: 42_000, Boot: []byte("firstboo"), OffsetMs: -250, OffsetKnown: true},
	}
}

// found makes a record at the server.
func (w *wireWorld) found(id syncengine.ID, msg proto.Message) {
	w.t.Helper()
	c := w.change(tandemv1.Class_CLASS_NORMAL, w.create(id, msg))
	c.Author = w.org[:]
	w.founding = append(w.founding, w.marshal(c))
	w.local(w.founding[len(w.founding)-1])
}

// local applies an encoded change at the server.
func (w *wireWorld) local(raw []byte) {
	w.t.Helper()
	w.commit(func(b *syncengine.Batch) error {
		out, err := b.Local(&syncengine.Principal{Server: true}, raw)
		if err == nil && out.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
			err = fmt.Errorf("founding the org: %v", out)
		}
		return err
	})
}

func (w *wireWorld) commit(do func(*syncengine.Batch) error) {
	w.t.Helper()
	w.server.begin(0)
	b, err := w.engine.Begin(w.server, w.nowMS)
	if err == nil {
		err = do(b)
	}
	if err == nil {
		_, err = b.Commit()
	}
	w.server.end(err == nil)
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *wireWorld) marshal(m proto.Message) []byte {
	w.t.Helper()
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

// on runs one transaction of a device.
func (w *wireWorld) on(d *wireDevice, do func(tx syncengine.DeviceTx) error) {
	w.t.Helper()
	d.store.begin(0)
	err := do(d.store)
	d.store.end(err == nil)
	if err != nil {
		w.t.Fatalf("%s: %v", d.name, err)
	}
}

// save captures a change on a device.
func (w *wireWorld) save(d *wireDevice, c *tandemv1.Change) {
	w.t.Helper()
	w.on(d, func(tx syncengine.DeviceTx) error {
		_, err := (&syncengine.Device{Rules: w.rules}).Capture(tx, c)
		return err
	})
}

// edit is the write that puts a text into a field, over what the device shows.
func (w *wireWorld) edit(d *wireDevice, id syncengine.ID, field uint32, text string) *tandemv1.RecordWrite {
	w.t.Helper()
	rec := d.store.records[id]
	s, err := syncengine.Decode(&rec.Record)
	if err != nil {
		w.t.Fatal(err)
	}
	return &tandemv1.RecordWrite{Record: id[:], Kind: rec.Kind, Act: tandemv1.Act_ACT_SET, Writes: []*tandemv1.PathWrite{{
		Field: field, Value: syncengine.StringField(field, text), Bases: syncengine.EncodeStamps(s.Bases(syncengine.Path{Field: field}, false)),
	}}}
}

// take pushes a request and returns the verdicts.
func (w *wireWorld) take(d *wireDevice, req *tandemv1.SyncRequest) (outcomes []*tandemv1.Outcome) {
	w.t.Helper()
	pushed, err := syncengine.Prepare(w.rules, d.replica, wirePublic(d.key), req)
	if err != nil {
		w.t.Fatalf("%s: %v", d.name, err)
	}
	if len(pushed) == 0 {
		return nil
	}
	w.commit(func(b *syncengine.Batch) (err error) {
		outcomes, err = b.Push(d.replica, pushed, req)
		return err
	})
	return outcomes
}

// exchange is one recorded request with its answer.
type exchange struct {
	name string // number-device-what
	req  *tandemv1.SyncRequest
	resp *tandemv1.SyncResponse
	// received is what the device made of the answer.
	received string
}

func (x *exchange) device(w *wireWorld) *wireDevice {
	w.t.Helper()
	d := w.devices[strings.Split(x.name, "-")[1]]
	if d == nil {
		w.t.Fatalf("%s: there is no such device", x.name)
	}
	return d
}

// receive lets the device take the answer in, and tells what came of it.
func (w *wireWorld) receive(d *wireDevice, x *exchange) string {
	w.t.Helper()
	answer, err := syncengine.Unframe(x.resp, nil)
	if err != nil {
		w.t.Fatalf("%s: %v", x.name, err)
	}
	var got *syncengine.Received
	w.on(d, func(tx syncengine.DeviceTx) (err error) {
		got, err = (&syncengine.Device{Rules: w.rules}).Receive(tx, x.req, answer, w.nowMS)
		return err
	})
	var verdicts []string
	for _, o := range got.Outcomes {
		verdicts = append(verdicts, fmt.Sprintf("%d:%d", o.GetOp(), o.GetCode()))
	}
	return fmt.Sprintf("rows %d, echoes %d, flipped %t, dropped %t, more %t, scopes %t, verified %d, differing %d, forked %t, verdicts [%s]",
		got.Rows, got.Echoes, got.Flipped, got.Dropped, got.More, got.Scopes, len(got.Verified), len(got.Differing), got.Forked, strings.Join(verdicts, " "))
}

// play records what two devices say to a server: everything that an answer can hold.
func (w *wireWorld) play() (all []*exchange) {
	ana, ben := w.devices["ana"], w.devices["ben"]
	sync := func(d *wireDevice, what string, o syncengine.PlanOptions) {
		w.t.Helper()
		w.nowMS += 60_000
		o.WallMS = w.nowMS
		x := &exchange{name: fmt.Sprintf("%02d-%s-%s", len(all)+1, d.name, what)}
		w.on(d, func(tx syncengine.DeviceTx) error {
			plan, err := (&syncengine.Device{Rules: w.rules}).Plan(tx, o)
			if err == nil && len(plan.Ops) > 0 {
				plan.Request.Signature = syncengine.SignBatch(d.key, plan.Newest)
			}
			x.req = plan.Request
			return err
		})
		answer, err := w.engine.Answer(w.server, d.replica, x.req, w.take(d, x.req), w.nowMS)
		if err != nil {
			w.t.Fatalf("%s: %v", x.name, err)
		}
		x.resp = syncengine.Frame(w.marshal(answer.Message), answer.Count)
		x.received = w.receive(d, x)
		all = append(all, x)
	}
	const whole = 1 << 20
	page, push := syncengine.PlanOptions{PageBytes: whole}, syncengine.PlanOptions{PageBytes: whole, PushBytes: whole}
	for _, d := range []*wireDevice{ana, ben} {
		sync(d, "hello", page)
	}
	sync(ana, "part-of-a-backfill", syncengine.PlanOptions{PageBytes: 300})
	sync(ana, "rest-of-the-backfill", page)
	sync(ben, "backfill", page)

	incident, person, encounter := w.id('i'), w.id('h'), w.id('n')
	team := new(w.team.String())
	w.save(ana, w.change(tandemv1.Class_CLASS_URGENT,
		w.create(incident, &tandemv1.Incident{TeamId: team, Lifecycle: new("active"), CallType: new("welfare_check"), NotesOps: new("Two dogs.")}),
		w.create(person, &tandemv1.Person{TeamId: team, Lifecycle: new("active"), Names: []*tandemv1.PersonName{{Element: []byte("element1"), Given: new("Maria")}}}),
		w.create(encounter, &tandemv1.Encounter{
			TeamId: team, Lifecycle: new("draft"), IncidentId: new(incident.String()), PersonId: new(person.String()),
			Type: new("crisis_response"), Narrative: new("Sat with her — «tranquila»."), DangerSelf: new("low"),
		})))
	sync(ana, "push-and-echo", push)
	sync(ben, "whole-rows", page)
	notes := w.field("notes_ops")
	w.save(ben, w.change(tandemv1.Class_CLASS_NORMAL, w.edit(ben, incident, notes, "Three dogs.")))
	w.save(ana, w.change(tandemv1.Class_CLASS_NORMAL, w.edit(ana, incident, w.field("call_type"), "suicidal_person")))
	sync(ben, "push-of-an-edit", push)
	sync(ana, "delta", page)
	w.save(ben, w.change(tandemv1.Class_CLASS_NORMAL, w.edit(ben, incident, notes, "Two dogs, tied.")))
	w.save(ana, w.change(tandemv1.Class_CLASS_NORMAL, w.edit(ana, incident, notes, "Two dogs, loose.")))
	sync(ana, "push-alone", syncengine.PlanOptions{PushBytes: whole})
	sync(ben, "push-with-conflict", push)
	for i := range 4 {
		w.save(ben, w.change(tandemv1.Class_CLASS_BULK, w.create(w.id('i'), &tandemv1.Incident{
			TeamId: team, Lifecycle: new("active"), CallType: new("welfare_check"), Number: new(fmt.Sprintf("26-%04d", i)),
		})))
	}
	sync(ben, "push-of-many", push)
	sync(ana, "page-not-closing", syncengine.PlanOptions{PageBytes: 1})
	sync(ana, "page-closing", page)
	sync(ana, "wait", syncengine.PlanOptions{PageBytes: whole, WaitMS: 25_000})
	w.save(ana, w.change(tandemv1.Class_CLASS_NORMAL, w.create(w.id('t'), &tandemv1.Team{Lifecycle: new("active"), Name: new("Mine")})))
	sync(ana, "quarantine", push)
	sync(ana, "verdicts-again", syncengine.PlanOptions{Ask: true, PageBytes: whole})
	w.want(ana, incident)
	sync(ana, "want", page)
	// A copy of the store goes on by itself, and is found out.
	copied := ana.store.image()
	w.save(ana, w.change(tandemv1.Class_CLASS_NORMAL, w.edit(ana, incident, notes, "here")))
	sync(ana, "push-of-one-life", push)
	ana.store = copied
	w.save(ana, w.change(tandemv1.Class_CLASS_NORMAL, w.edit(ana, incident, notes, "there")))
	sync(ana, "fork", push)
	return all
}

// want makes a device ask for a whole row.
func (w *wireWorld) want(d *wireDevice, ids ...syncengine.ID) {
	w.on(d, func(tx syncengine.DeviceTx) error {
		st, err := tx.State()
		if err != nil {
			return err
		}
		next := *st
		next.Want = ids
		return tx.SaveState(&next)
	})
}

// field is the number of a field of an incident.
func (w *wireWorld) field(name string) uint32 {
	w.t.Helper()
	for number, rule := range w.rules.KindByName("incident").Fields {
		if rule.Name == name {
			return number
		}
	}
	w.t.Fatalf("an incident has no field %s", name)
	return 0
}

// readable is the text beside an exchange: a section for each message and each
// message that another holds encoded.
func readable(t *testing.T, sections ...any) []byte {
	t.Helper()
	var out strings.Builder
	for i := 0; i < len(sections); i += 2 {
		fmt.Fprintf(&out, "--- %s\n", sections[i])
		switch v := sections[i+1].(type) {
		case proto.Message:
			// The library varies the spaces on purpose.
			text := prototext.MarshalOptions{Multiline: true}.Format(v)
			for line := range strings.Lines(text) {
				name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), ":")
				if ok {
					line = name + ": " + strings.TrimLeft(value, " ") + "\n"
				} else {
					line = strings.ReplaceAll(line, "  {", " {")
				}
				out.WriteString(line)
			}
		case string:
			fmt.Fprintln(&out, v)
		}
	}
	return []byte(out.String())
}

// sections are the parts of an exchange, by name, decoded from its bytes.
func (x *exchange) sections(t *testing.T) []any {
	t.Helper()
	out := []any{"tandem.v1.SyncRequest", x.req}
	for r, run := range x.req.GetRuns() {
		for i, raw := range run.GetChanges() {
			c := &tandemv1.Change{}
			if err := proto.Unmarshal(raw, c); err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprintf("tandem.v1.Change runs[%d].changes[%d]", r, i), c)
		}
	}
	answer := &tandemv1.SyncAnswer{}
	if err := proto.Unmarshal(x.resp.GetAnswer(), answer); err != nil {
		t.Fatal(err)
	}
	frame := proto.CloneOf(x.resp)
	frame.Answer = nil
	return append(out, "tandem.v1.SyncResponse without answer", frame, "tandem.v1.SyncAnswer", answer, "received", x.received)
}

// sameText compares sections with the text beside them.
func sameText(t *testing.T, name string, text []byte, sections []any) {
	t.Helper()
	parts := strings.Split("\n"+string(text), "\n--- ")[1:]
	if len(parts) != len(sections)/2 {
		t.Errorf("%s: the text has %d sections, want %d", name, len(parts), len(sections)/2)
		return
	}
	for i, part := range parts {
		title, body, _ := strings.Cut(part, "\n")
		if title != sections[2*i] {
			t.Errorf("%s: section %q, want %q", name, title, sections[2*i])
			continue
		}
		switch want := sections[2*i+1].(type) {
		case proto.Message:
			got := want.ProtoReflect().New().Interface()
			if err := prototext.Unmarshal([]byte(body), got); err != nil {
				t.Errorf("%s: section %q: %v", name, title, err)
			} else if !proto.Equal(got, want) {
				t.Errorf("%s: section %q is not what the message says", name, title)
			}
		case string:
			if got := strings.TrimSuffix(body, "\n"); got != want {
				t.Errorf("%s: %s\n got %s\nwant %s", name, title, want, got)
			}
		}
	}
}

// writeRelease records the messages of this schema version.
func writeRelease(t *testing.T) {
	t.Helper()
	dir := filepath.Join(wireDir, strconv.Itoa(syncengine.Schema))
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o750)); err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := newWireWorld(t)
	write(foundingFile, w.marshal(&tandemv1.Run{Changes: w.founding}))
	req, resp := w.enrolment()
	write("enrol.request.binpb", w.marshal(req))
	write("enrol.response.binpb", w.marshal(resp))
	write("enrol.txt", readable(t, "tandem.v1.EnrollRequest", req, "tandem.v1.EnrollResponse", resp))
	for _, x := range w.play() {
		write(x.name+".request.binpb", w.marshal(x.req))
		write(x.name+".response.binpb", w.marshal(x.resp))
		write(x.name+".txt", readable(t, x.sections(t)...))
	}
}

// wireOrgKey signs the recorded certificate.
var wireOrgKey = ed25519.NewKeyFromSeed([]byte(strings.Repeat("o", ed25519.SeedSize)))

// enrolment is the enrolment of ana's device.
func (w *wireWorld) enrolment() (*tandemv1.EnrollRequest, *tandemv1.EnrollResponse) {
	w.t.Helper()
	d := w.devices["ana"]
	st := d.store.state
	code := "0123-4567-89AB"
	certificate, err := auth.Certify(wireOrgKey, &auth.Identity{
		Org: w.org, Person: st.Person, Device: st.Device, Replica: d.replica, Key: wirePublic(d.key),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	req := &tandemv1.EnrollRequest{
		Code: code, PublicKey: wirePublic(d.key), Replica: d.replica[:], Platform: "linux/amd64", AppVersion: "1.0.0", Schema: syncengine.Schema,
		Proof: ed25519.Sign(d.key, append([]byte("tandem-enroll-v1"+strings.ReplaceAll(code, "-", "")), d.replica[:]...)),
	}
	return req, &tandemv1.EnrollResponse{
		Certificate: certificate, Org: w.org[:], Person: st.Person[:], Device: st.Device[:], PersonName: "ana", Roles: []string{"clinician"},
		Teams: [][]byte{w.team[:]}, OrgKey: wirePublic(wireOrgKey), ServerMs: w.nowMS, Schema: syncengine.Schema, Agency: w.team[:], DeviceLabel: "Tablet",
	}
}

// TestReleasedWire: what every released version has sent and was sent is read as it
// was meant, and drives both ends of this version: its pushes are prepared, with
// their signatures, and judged as they were then; its answers are taken in by a
// device, to the same end, down to the digests of scopes.
func TestReleasedWire(t *testing.T) {
	if *goldenWrite {
		writeRelease(t)
	}
	releases, err := os.ReadDir(wireDir)
	if err != nil || len(releases) == 0 {
		t.Fatalf("no releases in %s: %v", wireDir, err)
	}
	for _, r := range releases {
		t.Run(r.Name(), func(t *testing.T) { replayRelease(t, filepath.Join(wireDir, r.Name())) })
	}
}

func replayRelease(t *testing.T, dir string) {
	t.Helper()
	read := func(name string, into proto.Message) {
		t.Helper()
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = proto.Unmarshal(raw, into)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(into.ProtoReflect().GetUnknown()) > 0 {
			t.Errorf("%s has fields that this version does not know: numbers are never given up", name)
		}
	}
	text := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	w := newWireWorld(t)
	founding := &tandemv1.Run{}
	read(foundingFile, founding)
	w.server = w.refound(founding)
	enrolReq, enrolResp := &tandemv1.EnrollRequest{}, &tandemv1.EnrollResponse{}
	read("enrol.request.binpb", enrolReq)
	read("enrol.response.binpb", enrolResp)
	sameText(t, "enrol", text("enrol.txt"), []any{"tandem.v1.EnrollRequest", enrolReq, "tandem.v1.EnrollResponse", enrolResp})
	if !auth.VerifyEnrolment(enrolReq.GetPublicKey(), enrolReq.GetProof(), enrolReq.GetCode(), syncengine.ID(enrolReq.GetReplica())) {
		t.Error("the proof of possession of the recorded enrolment is not taken")
	}
	if want, _ := w.enrolment(); !slices.Equal(enrolReq.GetPublicKey(), want.GetPublicKey()) {
		t.Error("the recorded enrolment is of another key")
	}
	admits(t, enrolResp, w.devices["ana"].key)
	names, err := filepath.Glob(filepath.Join(dir, "[0-9]*.request.binpb"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no exchanges in %s: %v", dir, err)
	}
	for _, name := range names {
		x := &exchange{name: strings.TrimSuffix(filepath.Base(name), ".request.binpb"), req: &tandemv1.SyncRequest{}, resp: &tandemv1.SyncResponse{}}
		read(x.name+".request.binpb", x.req)
		read(x.name+".response.binpb", x.resp)
		w.prepare(x)
		w.replay(x)
		sameText(t, x.name, text(x.name+".txt"), x.sections(t))
	}
}

// admits checks that a certificate of then opens the door of now.
func admits(t *testing.T, enrolled *tandemv1.EnrollResponse, key ed25519.PrivateKey) {
	t.Helper()
	v, err := auth.NewVerifier(auth.Options{Keys: func(context.Context, syncengine.ID, string) (ed25519.PublicKey, error) {
		return enrolled.GetOrgKey(), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	const address = "https://tandem.example.org/tandem.v1.SyncService/Sync"
	sum := sha256.Sum256([]byte(enrolled.GetCertificate()))
	claims, err := json.Marshal(map[string]any{
		"jti": "1", "htm": "POST", "htu": address, "iat": 1, "nonce": v.Nonce(), "ath": base64.RawURLEncoding.EncodeToString(sum[:]),
	})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, address, nil)
	r.Header.Set("Authorization", "DPoP "+enrolled.GetCertificate())
	r.Header.Set("DPoP", proof)
	id, err := v.Verify(r)
	if err != nil || !bytes.Equal(id.Org[:], enrolled.GetOrg()) || !bytes.Equal(id.Person[:], enrolled.GetPerson()) || !bytes.Equal(id.Device[:], enrolled.GetDevice()) {
		t.Errorf("the recorded certificate is taken for %+v, error %v", id, err)
	}
}

// refound is a server's store with the recorded founding.
func (w *wireWorld) refound(founding *tandemv1.Run) *serverStore {
	w.t.Helper()
	old := w.server
	w.server = newServerStore(w.org, old.head.Epoch, decoded{})
	for _, d := range w.devices {
		if err := w.server.SaveReplica(old.replicas[d.replica]); err != nil {
			w.t.Fatal(err)
		}
	}
	// The founding bears the ids that newWireWorld gave out.
	for _, raw := range founding.GetChanges() {
		w.local(raw)
	}
	return w.server
}

// prepare brings the device of a recorded exchange to where it stood: with what it
// had to send.
func (w *wireWorld) prepare(x *exchange) {
	w.t.Helper()
	d := x.device(w)
	w.nowMS = x.req.GetWallMs()
	fork := strings.HasSuffix(x.name, "-fork")
	if fork {
		// The store is a copy from before its last save.
		last := d.store.state.NextOp - 1
		w.on(d, func(tx syncengine.DeviceTx) error {
			next := *d.store.state
			next.NextOp, next.LastHash, next.KnownOp = last, d.store.ops[last].Prev, x.req.GetKnownOp()
			delete(d.store.ops, last)
			return tx.SaveState(&next)
		})
	}
	for _, run := range x.req.GetRuns() {
		op, prev := run.GetFirstOp(), syncengine.Hash(run.GetPrevHash())
		for _, raw := range run.GetChanges() {
			prev = w.resave(d, op, prev, raw)
			op++
		}
	}
	if len(x.req.GetWant()) > 0 {
		w.want(d, syncengine.ID(x.req.GetWant()[0]))
	}
}

// replay lets both ends of this version live through a recorded exchange.
func (w *wireWorld) replay(x *exchange) {
	w.t.Helper()
	d := x.device(w)
	outcomes := w.take(d, x.req)
	answer, err := syncengine.Unframe(x.resp, nil)
	if err != nil {
		w.t.Fatalf("%s: %v", x.name, err)
	}
	for i, o := range outcomes {
		if then := answer.GetOutcomes()[i]; !proto.Equal(o, then) {
			w.t.Errorf("%s: the verdict is %v, and was %v", x.name, o, then)
		}
	}
	x.received = w.receive(d, x)
}

// resave puts a recorded change into a device's store: captured as this version
// captures, with the bytes of the version that sent it.
func (w *wireWorld) resave(d *wireDevice, number uint64, prev syncengine.Hash, raw []byte) syncengine.Hash {
	w.t.Helper()
	envelope := syncengine.HashEnvelope(d.replica, number, prev, sha256.Sum256(raw))
	if d.store.state.NextOp > number {
		return envelope
	}
	w.save(d, decoded{}.of(envelope, raw))
	w.on(d, func(tx syncengine.DeviceTx) error {
		op, err := tx.Op(number)
		if err != nil {
			return err
		}
		if op == nil {
			return fmt.Errorf("op %d is not the next", number)
		}
		kept := *op
		kept.Raw, kept.Prev, kept.Envelope = raw, prev, envelope
		next := *d.store.state
		next.LastHash = envelope
		return errors.Join(tx.SaveOp(&kept), tx.SaveState(&next))
	})
	return envelope
}
