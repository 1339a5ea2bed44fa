package server_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// One wall stands between what a person may read and what they may not. It has eight
// rules; each has its test here.

// incident is a call of a team.
func incident(team syncengine.ID, notes string) *tandemv1.Incident {
	return &tandemv1.Incident{TeamId: new(team.String()), Lifecycle: new("open"), CallType: new("welfare_check"), NotesOps: &notes}
}

// observed is all that a device can observe of an answer: everything but positions,
// which are sealed, and of those the size.
func observed(a *tandemv1.SyncAnswer) string {
	a = proto.CloneOf(a)
	if t := a.GetTrailer(); len(t.GetToldAt()) > 0 {
		t.ToldAt = bytes.Repeat([]byte{1}, len(t.GetToldAt()))
	}
	for _, list := range [][]*tandemv1.ScopePosition{a.GetPage().GetFrom(), a.GetPage().GetTo()} {
		for _, p := range list {
			p.Position = bytes.Repeat([]byte{1}, len(p.GetPosition()))
		}
	}
	if p := a.GetPage(); len(p.GetRows())+len(p.GetReady()) == 0 && p.GetClosing() {
		// That the position has moved on says no more than that it may.
		a.Page = nil
	}
	text, err := prototext.MarshalOptions{Multiline: true}.Marshal(a)
	if err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

// Rule 1: what a person may not read changes nothing that the person can observe.
func TestWall1Nothing(t *testing.T) { each(t, testWall1Nothing) }

func testWall1Nothing(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 31)
	police, clinician := w.enrolled(1, w.partner), w.enrolled(2, w.clinician)
	call := police.w.id()
	create := clinician.creation(incident(w.team, "plain"))
	create.Records[0].Record = call[:]
	clinician.must(clinician.push(create))
	next, rows := police.read()
	if !slices.ContainsFunc(rows, func(r *tandemv1.Row) bool { return bytes.Equal(r.GetRecord(), call[:]) }) {
		t.Fatal("the partner does not see the call: this test shows nothing")
	}
	before := observed(police.must(next))
	clinical := encounter(w, marker)
	clinical.IncidentId = new(call.String())
	answer := clinician.must(clinician.push(clinician.creation(clinical), clinician.creation(encounter(w, marker))))
	for _, o := range answer.GetOutcomes() {
		if o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
			t.Fatalf("got %v", o)
		}
	}
	if after := observed(police.must(next)); after != before {
		t.Errorf("the partner sees that something clinical was written:\n%s\n%s", before, after)
	}
	// What he may read he is told of.
	clinician.must(clinician.push(clinician.creation(incident(w.team, "another"))))
	if after := observed(police.must(next)); after == before {
		t.Error("the partner does not see another call: this test could not fail")
	}
}

// Rule 2: rights by kind and role are judged before any look-up; absent, erased and out
// of scope are one code, and another's quarantine is not told of.
func TestWall2OneCode(t *testing.T) { each(t, testWall2OneCode) }

func testWall2OneCode(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 32)
	far := must[syncengine.ID](t)(w.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Day", Program: w.program}))
	elsewhere := must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{
		Name: "Elsewhere", Discipline: "nurse", Roles: []string{"clinician"}, Agency: w.agency, Teams: []syncengine.ID{far},
	}))
	police, clinician, other := w.enrolled(1, w.partner), w.enrolled(2, w.clinician), w.enrolled(3, elsewhere)
	hidden := other.creation(incident(far, "far away"))
	clinical := clinician.creation(encounter(w, marker))
	other.must(other.push(hidden))
	clinician.must(clinician.push(clinical))
	// One that lies in quarantine: its author may not write for that team.
	lying := other.creation(incident(w.team, "not his to make"))
	if o := other.must(other.push(lying)).GetOutcomes()[0]; o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED {
		t.Fatalf("got %v", o)
	}
	absent := w.id()
	verdict := func(d *device, kind string, id []byte, field uint32, value string) string {
		change := w.id()
		out := d.must(d.push(&tandemv1.Change{
			Id: change[:], Author: d.person[:], Device: d.dev[:], Schema: 1,
			Records: []*tandemv1.RecordWrite{{
				Record: id, Kind: record.New().KindByName(kind).Number, Act: tandemv1.Act_ACT_SET,
				Writes: []*tandemv1.PathWrite{{Field: field, Value: syncengine.StringField(field, value), Bases: make([]byte, 8)}},
			}},
		})).GetOutcomes()[0]
		out.Op, out.Envelope = 0, nil
		return fmt.Sprint(out)
	}
	force := fieldNumber(t, "incident", "force_used")
	gone := verdict(police, "incident", absent[:], force, "no")
	if !strings.Contains(gone, "NO_TARGET") {
		t.Errorf("a write to nothing: %s", gone)
	}
	for what, id := range map[string][]byte{
		"out of scope": hidden.GetRecords()[0].GetRecord(), "of another kind": clinical.GetRecords()[0].GetRecord(), "in another's quarantine": lying.GetRecords()[0].GetRecord(),
	} {
		if got := verdict(police, "incident", id, force, "no"); got != gone {
			t.Errorf("%s: %s, absent: %s", what, got, gone)
		}
	}
	narrative := fieldNumber(t, "encounter", "narrative")
	forbidden := verdict(police, "encounter", absent[:], narrative, "x")
	if got := verdict(police, "encounter", clinical.GetRecords()[0].GetRecord(), narrative, "x"); got != forbidden || !strings.Contains(got, "FORBIDDEN") {
		t.Errorf("what a role may not do at all: there %s, absent %s", got, forbidden)
	}
	// The author of what lies in quarantine is told that the rest waits with it.
	if got := verdict(other, "incident", lying.GetRecords()[0].GetRecord(), force, "no"); !strings.Contains(got, "BUNDLED") {
		t.Errorf("to its author: %s", got)
	}
}

func fieldNumber(t *testing.T, kind, name string) uint32 {
	t.Helper()
	for _, f := range record.New().KindByName(kind).Fields {
		if f.Name == name {
			return f.Number
		}
	}
	t.Fatalf("there is no field %s/%s", kind, name)
	return 0
}

// Rule 3: error texts are fixed per code and field, never a record's value.
func TestWall3NoValues(t *testing.T) { each(t, testWall3NoValues) }

func testWall3NoValues(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 33)
	d := w.enrolled(1, w.clinician)
	bad := encounter(w, "x")
	bad.Type = new("no such code, " + marker)
	bad.PersonId = new(marker)
	broken := d.creation(encounter(w, "x"))
	broken.Records[0].Body = append([]byte{0xff, 0xff}, marker...)
	form := regexp.MustCompile(`^(\d+/)?[a-z0-9_.]+$`)
	for _, o := range d.must(d.push(d.creation(bad), broken)).GetOutcomes() {
		if o.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED || len(o.GetFields()) == 0 {
			t.Errorf("got %v", o)
		}
		if strings.Contains(fmt.Sprint(o), marker) {
			t.Errorf("a verdict quotes what was written: %v", o)
		}
		for _, f := range o.GetFields() {
			if !form.MatchString(f) {
				t.Errorf("a field at fault is called %q", f)
			}
		}
	}
	req := d.push(d.creation(encounter(w, marker)))
	req.Signature = bytes.Repeat([]byte{1}, 64)
	if _, err := d.call(t.Context(), req); err == nil || strings.Contains(err.Error(), marker) {
		t.Errorf("a bad push is answered with %v", err)
	}
	w.quiet()
}

// Rule 4: bytes of files are fetched and kept per attachment in a held scope. Who may not
// read the record is told the same of a file that is there as of one that is not; the
// same bytes under another record are another file, to be sent again.
func TestWall4Blobs(t *testing.T) { each(t, testWall4Blobs) }

func testWall4Blobs(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 34)
	writer, colleague, police := w.enrolled(1, w.clinician), w.enrolled(2, w.second), w.enrolled(3, w.partner)
	elsewhere := must[syncengine.ID](t)(w.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Elsewhere", Program: must[syncengine.ID](t)(
		w.admin.AddProgram(t.Context(), server.ProgramOptions{NameEN: "Elsewhere", Model: "crt", Agency: w.agency}))}))
	far := w.enrolled(4, must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{
		Name: "Elsewhere", Discipline: "nurse", Roles: []string{"clinician"}, Agency: w.agency, Teams: []syncengine.ID{elsewhere},
	})))
	file := []byte(strings.Repeat(marker+"\n", 800))
	first, second := attached(writer, file), attached(writer, file)
	writer.send(first, file)
	absent := w.id()
	// The same bytes are there already, which nobody can find out by another record.
	if a := must[*tandemv1.PutBlobChunkResponse](t)(writer.sync.PutBlobChunk(t.Context(), &tandemv1.PutBlobChunkRequest{Attachment: second[:]})); a.GetHeld() != 0 || a.GetComplete() || !a.GetWanted() {
		t.Errorf("the same bytes under another record: %v", a)
	}
	if got := colleague.fetch(first); !bytes.Equal(got, file) {
		t.Errorf("a colleague reads %d bytes of %d", len(got), len(file))
	}
	if got := colleague.fetch(second); got != nil {
		t.Error("a file that is not whole is there")
	}
	for name, d := range map[string]*device{"police partner": police, "another program's clinician": far} {
		gets, puts := map[string]bool{}, map[string]bool{}
		for _, id := range []syncengine.ID{first, second, absent} {
			get := must[*tandemv1.GetBlobChunkResponse](t)(d.sync.GetBlobChunk(t.Context(), &tandemv1.GetBlobChunkRequest{Attachment: id[:]}))
			put := must[*tandemv1.PutBlobChunkResponse](t)(d.sync.PutBlobChunk(t.Context(), &tandemv1.PutBlobChunkRequest{Attachment: id[:], Data: file}))
			gets[get.String()], puts[put.String()] = true, true
			if len(get.GetData()) > 0 || get.GetSize() > 0 || put.GetWanted() || put.GetHeld() > 0 {
				t.Errorf("a %s: %v %v", name, get, put)
			}
		}
		if len(gets) != 1 || len(puts) != 1 {
			t.Errorf("a %s can tell files apart: %v %v", name, gets, puts)
		}
	}
	// Who knows the hash and the size of a file, and names them in a record of their own, has
	// none of its bytes by that, and learns nothing of it.
	hash := sha256.Sum256(file)
	named := attachedIn(far, elsewhere, &tandemv1.Attachment{Sha256: hash[:], Size: new(uint32(len(file))), MediaType: new("txt")})
	if got := far.fetch(named); got != nil {
		t.Errorf("another team reads %d bytes by their hash", len(got))
	}
	if a := must[*tandemv1.PutBlobChunkResponse](t)(far.put(named, 0, nil)); a.GetHeld() != 0 || a.GetComplete() || !a.GetWanted() {
		t.Errorf("another team is told of a file by its hash: %v", a)
	}
	// A colleague reads; only who has attached it brings its bytes.
	if a := must[*tandemv1.PutBlobChunkResponse](t)(colleague.sync.PutBlobChunk(t.Context(), &tandemv1.PutBlobChunkRequest{Attachment: second[:], Data: file})); a.GetWanted() || a.GetHeld() > 0 {
		t.Errorf("a colleague brings bytes: %v", a)
	}
	w.shutOut(t.Context(), colleague)
	if a, err := colleague.sync.GetBlobChunk(t.Context(), &tandemv1.GetBlobChunkRequest{Attachment: first[:]}); err == nil && len(a.GetData()) > 0 {
		t.Error("somebody who is shut out reads a file")
	}
	w.quiet()
}

// Rule 5: no sequence, count, scope name or foreign op number is sent in clear. Whatever
// others have done, a newcomer's answers are the same.
func TestWall5InClear(t *testing.T) { each(t, testWall5InClear) }

func testWall5InClear(t *testing.T, on engine) {
	t.Parallel()
	read := func(foreign int) (answers []string) {
		var raw []byte
		w := newWorld(t, on, 35)
		police, clinician := w.enrolled(1, w.partner), w.enrolled(2, w.clinician)
		for range foreign {
			clinician.must(clinician.push(clinician.creation(encounter(w, marker))))
		}
		first := police.must(&tandemv1.SyncRequest{Budget: 1 << 20, Positions: []*tandemv1.ScopePosition{{}}})
		next, _ := police.read()
		last := police.must(next)
		push := police.must(police.push(police.creation(encounter(w, "not a partner's to write"))))
		for _, a := range []*tandemv1.SyncAnswer{first, last, push} {
			for _, o := range a.GetOutcomes() {
				o.Envelope = nil
			}
			a.GetTrailer().HighestHash = nil
			answers = append(answers, observed(a))
			raw = append(raw, must[[]byte](t)(proto.Marshal(a))...)
		}
		for _, id := range []syncengine.ID{w.team, w.org.ID} {
			if bytes.Contains(raw, id[:]) || bytes.Contains(raw, []byte(id.String())) {
				t.Error("what owns a scope is named where no record names it")
			}
		}
		return answers
	}
	few, many := read(1), read(40)
	if !slices.Equal(few, many) {
		t.Errorf("forty foreign changes are told from one:\n%v\n%v", few, many)
	}
}

// Rule 6: digests pass the same check of grants as a page, in the same snapshot.
func TestWall6Digests(t *testing.T) { each(t, testWall6Digests) }

func testWall6Digests(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 36)
	police, clinician := w.enrolled(1, w.partner), w.enrolled(2, w.clinician)
	clinician.must(clinician.push(clinician.creation(encounter(w, marker)), clinician.creation(incident(w.team, "a call"))))
	scopes := func(d *device) (ids [][]byte) {
		set := d.must(&tandemv1.SyncRequest{Budget: 1 << 20, Positions: []*tandemv1.ScopePosition{{}}}).GetPage().GetScopeSet()
		for _, s := range set.GetScopes() {
			ids = append(ids, s.GetId())
		}
		return ids
	}
	mine, theirs := scopes(police), scopes(clinician)
	var foreign [][]byte
	for _, id := range theirs {
		if !slices.ContainsFunc(mine, func(m []byte) bool { return bytes.Equal(m, id) }) {
			foreign = append(foreign, id)
		}
	}
	if len(foreign) == 0 {
		t.Fatal("the clinician holds nothing more: this test shows nothing")
	}
	ask := func(d *device, held [][]byte, backfill ...[]byte) *tandemv1.SyncAnswer {
		req := &tandemv1.SyncRequest{Budget: 1 << 20, Positions: []*tandemv1.ScopePosition{{}}}
		var set []syncengine.ScopeID
		for _, id := range held {
			set = append(set, syncengine.ScopeID(id))
		}
		req.ScopeSet = syncengine.HashScopeSet(set)
		for _, id := range backfill {
			req.Positions = append(req.Positions, &tandemv1.ScopePosition{Scope: id})
		}
		return d.must(req)
	}
	for name, answer := range map[string]*tandemv1.SyncAnswer{
		"scopes of others in backfill": ask(police, mine, slices.Concat(mine, foreign)...),
		"scopes of others as held":     ask(police, slices.Concat(mine, foreign), foreign...),
	} {
		for _, id := range foreign {
			if slices.ContainsFunc(answer.GetTrailer().GetDigests(), func(d *tandemv1.ScopeDigest) bool { return bytes.Equal(d.GetScope(), id) }) {
				t.Errorf("%s: the digest of a scope that is not held", name)
			}
			if slices.ContainsFunc(answer.GetPage().GetScopes(), func(s []byte) bool { return bytes.Equal(s, id) }) {
				t.Errorf("%s: a scope that is not held is named", name)
			}
		}
		if bytes.Contains(must[[]byte](t)(proto.Marshal(answer)), []byte(marker)) {
			t.Errorf("%s: clinical words", name)
		}
	}
	if got := ask(clinician, theirs, theirs...); len(got.GetTrailer().GetDigests()) == 0 {
		t.Error("the clinician gets no digest: this test could not fail")
	}
}

// Rule 7: what is projected beyond the wall carries an id that links to nothing. No kind
// that a partner reads names a record that the partner may not.
func TestWall7Links(t *testing.T) {
	t.Parallel()
	domain, looked := record.New(), 0
	for _, k := range domain.Kinds() {
		if k.Compartment > tandemv1.Compartment_COMPARTMENT_OPS {
			continue
		}
		for _, f := range k.Fields {
			looked++
			for _, strict := range domain.Kinds() {
				if strict.Compartment > tandemv1.Compartment_COMPARTMENT_OPS && (f.Name == strict.Name+"_id" || f.Name == strict.Name+"_ids") {
					t.Errorf("%s/%s names records of a stricter compartment", k.Name, f.Name)
				}
			}
		}
		fields := domain.NewMessage(k.Number).ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			if m := fields.Get(i).Message(); m != nil && m.Name() == protoreflect.Name("RecordRef") {
				t.Errorf("%s/%s may name any record", k.Name, fields.Get(i).Name())
			}
		}
	}
	if looked < 20 {
		t.Errorf("only %d fields were looked at", looked)
	}
}

// Rule 8: a revoked replica's answers are codes only.
func TestWall8Revoked(t *testing.T) { each(t, testWall8Revoked) }

func testWall8Revoked(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 38)
	lead := must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{
		Name: "Lead", Discipline: "supervisor", Roles: []string{"lead"}, Agency: w.agency, Teams: []syncengine.ID{w.team},
	}))
	d, other := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	other.must(other.push(other.creation(encounter(w, marker))))
	next, _ := d.read()
	bad := d.creation(encounter(w, "x"))
	bad.Records[0].Kind = 9999
	first := d.must(d.push(bad)).GetOutcomes()[0]
	if len(first.GetFields()) == 0 {
		t.Fatalf("a refusal names no field: %v", first)
	}
	if _, err := w.admin.Dismiss(t.Context(), lead, syncengine.ID(bad.GetId()), "a reason in words"); err != nil {
		t.Fatal(err)
	}
	if err := w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
		r, err := tx.Replica(d.replica)
		if err != nil {
			return err
		}
		revoked := *r
		revoked.Revoked = true
		return tx.SaveReplica(&revoked)
	}); err != nil {
		t.Fatal(err)
	}
	late := d.push(d.creation(encounter(w, "written before he knew")))
	late.Budget, late.Positions, late.ScopeSet = next.GetBudget(), next.GetPositions(), next.GetScopeSet()
	late.Unsettled = []*tandemv1.OpRange{{First: 1, Last: 100}}
	for name, answer := range map[string]*tandemv1.SyncAnswer{"a push": d.must(late), "a pull": d.must(next)} {
		for _, o := range answer.GetOutcomes() {
			if len(o.GetFields()) > 0 || o.GetReason() != "" {
				t.Errorf("%s: more than a code: %v", name, o)
			}
		}
		if p := answer.GetPage(); len(p.GetRows())+len(p.GetTo())+len(p.GetScopes())+len(p.GetScopeSet().GetScopes()) > 0 || len(answer.GetTrailer().GetDigests()) > 0 {
			t.Errorf("%s: more than codes: %v", name, answer)
		}
		if name == "a push" {
			got := answer.GetOutcomes()
			if !slices.ContainsFunc(got, func(o *tandemv1.Outcome) bool {
				return o.GetOp() == 2 && o.GetRefusal() == tandemv1.Refusal_REFUSAL_REVOKED
			}) {
				t.Errorf("what he wrote: %v", got)
			}
		}
	}
}

// A change of rights takes effect in the middle of a pull that runs: the pages that were
// asked for before it are the last that hold anything, for a device that is shut out and
// for a person who is; one that waits for news is told no more than that.
func TestRevokedWhileItReads(t *testing.T) { each(t, testRevokedWhileItReads) }

func testRevokedWhileItReads(t *testing.T, on engine) {
	t.Parallel()
	for name, revoke := range map[string]func(w *world, d *device) error{
		"the device": func(w *world, d *device) error { return w.admin.RevokeDevice(t.Context(), d.dev) },
		"the person": func(w *world, d *device) error { return w.admin.RevokePerson(t.Context(), d.person) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, on, 92)
			reader, author := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
			for range 6 {
				var some []*tandemv1.Change
				for range 5 {
					some = append(some, author.creation(encounter(w, marker+strings.Repeat(" and more", 100))))
				}
				author.must(author.push(some...))
			}
			first := reader.must(&tandemv1.SyncRequest{Budget: 1 << 20, Positions: []*tandemv1.ScopePosition{{}}})
			next := &tandemv1.SyncRequest{Budget: 4 << 10, Positions: []*tandemv1.ScopePosition{{}}}
			var held []syncengine.ScopeID
			for _, s := range first.GetPage().GetScopeSet().GetScopes() {
				held = append(held, syncengine.ScopeID(s.GetId()))
				next.Positions = append(next.Positions, &tandemv1.ScopePosition{Scope: s.GetId()})
			}
			next.ScopeSet = syncengine.HashScopeSet(held)
			read := func() (rows int) {
				t.Helper()
				answer := reader.must(next)
				for _, row := range answer.GetPage().GetRows() {
					if bytes.Contains(row.GetBody(), []byte(marker)) {
						rows++
					}
				}
				if to := answer.GetPage().GetTo(); len(to) > 0 {
					next.Positions = to
				}
				return rows
			}
			seen := 0
			for range 40 {
				if seen += read(); seen > 0 {
					break
				}
			}
			if more := read(); seen == 0 || more == 0 || seen+more >= 30 {
				t.Fatalf("the pull is not in its middle: %d and %d of 30", seen, more)
			}
			if err := revoke(w, reader); err != nil {
				t.Fatal(err)
			}
			author.must(author.push(author.creation(encounter(w, marker))))
			for range 12 {
				if rows := read(); rows > 0 {
					t.Errorf("%d rows after the change of rights", rows)
				}
			}
			next.WaitMs = 50
			if rows := read(); rows > 0 {
				t.Errorf("%d rows for who waits for news", rows)
			}
		})
	}
}
