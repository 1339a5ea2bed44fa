package server_test

import (
	"bytes"
	"net/http"
	"testing"

	"connectrpc.com/connect"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// withOrg is another org on the same server and in the same database.
func (w *world) withOrg(name string) *world {
	w.t.Helper()
	o := &world{t: w.t, dir: w.dir, database: w.database, s: w.s, srv: w.srv, http: w.http, log: w.log, rand: w.rand, now: w.clock()}
	o.org = must[*store.Org](w.t)(w.s.CreateOrg(w.t.Context(), name))
	o.admin = server.NewAdmin(o.s, o.org, server.AdminOptions{Clock: o.clock, Rand: o.rand})
	o.setUp()
	return o
}

// TestTwoOrgs puts two orgs on one server, with replicas, changes and records of the same
// ids: each has its own, and whoever asks one of them, in whatever role and by whatever
// call, gets no byte of the other.
func TestTwoOrgs(t *testing.T) { each(t, testTwoOrgs) }

func testTwoOrgs(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 90)
	o := w.withOrg("Other County")
	const words, others = "words-of-the-one-org", "words-of-the-other-org"
	a, b := w.enrolled(1, w.clinician), o.newDevice(1)
	// A proof is good once, and the keys are the same.
	b.way.made = 1_000_000
	b.accept(must[*tandemv1.EnrollResponse](t)(b.enroll.Enroll(t.Context(), b.enrolment(o.code(o.clinician)))))
	if a.replica != b.replica {
		t.Fatal("the replicas have different ids")
	}
	shared, alone := a.creation(encounter(w, words)), a.creation(encounter(w, words))
	call := a.creation(incident(w.team, words))
	a.must(a.push(shared, alone, call))
	same := b.creation(encounter(o, others))
	same.Id, same.Records[0].Record = shared.GetId(), shared.GetRecords()[0].GetRecord()
	if got := refusals(b.must(b.push(same))); got != "APPLIED:UNSPECIFIED" {
		t.Errorf("the other org's change of the same id: %s", got)
	}
	// Of the same team even, were it asked.
	stray := b.creation(encounter(w, others))
	narrative := fieldNumber(t, "encounter", "narrative")
	set := b.creation(encounter(o, others))
	set.Records[0] = &tandemv1.RecordWrite{
		Record: alone.GetRecords()[0].GetRecord(), Kind: alone.GetRecords()[0].GetKind(), Act: tandemv1.Act_ACT_SET,
		Writes: []*tandemv1.PathWrite{{Field: narrative, Value: syncengine.StringField(narrative, others), Bases: make([]byte, 8)}},
	}
	missing := proto.CloneOf(set)
	nowhere, change := o.id(), o.id()
	missing.Id, missing.Records[0].Record = change[:], nowhere[:]
	got := refusals(b.must(b.push(stray)))
	if got == "APPLIED:UNSPECIFIED" {
		t.Error("a record is made in a team of the other org")
	}
	if here, absent := refusals(b.must(b.push(set))), refusals(b.must(b.push(missing))); here != absent || here == "APPLIED:UNSPECIFIED" {
		t.Errorf("a write to the other org's record: %s, to one that is nowhere: %s", here, absent)
	}

	// asked looks through whatever a device can get by the ids of the other org's records.
	asked := func(d *device, own, foreign string) {
		t.Helper()
		_, rows := d.read()
		asks := []*tandemv1.SyncRequest{{Budget: 1 << 20, Positions: []*tandemv1.ScopePosition{{}}}}
		for _, c := range []*tandemv1.Change{shared, alone, call} {
			id := c.GetRecords()[0].GetRecord()
			next, _ := d.read()
			next.Want = [][]byte{id}
			asks = append(asks, lookFor(id, true), next)
		}
		var all []byte
		for _, row := range rows {
			all = append(all, row.GetBody()...)
		}
		for _, ask := range asks {
			all = append(all, must[[]byte](t)(proto.Marshal(d.must(ask)))...)
		}
		if bytes.Contains(all, []byte(foreign)) {
			t.Errorf("%s gets words of the other org", d.answer.GetRoles())
		}
		if !bytes.Contains(all, []byte(own)) {
			t.Errorf("%s does not get the words of their own org: this search could not fail", d.answer.GetRoles())
		}
	}
	asked(a, words, others)
	asked(b, others, words)
	for i, role := range matrixRoles[:len(matrixRoles)-1] {
		agency := o.agency
		if role == "le_partner" {
			agency = o.police
		}
		asked(o.enrolled(byte(20+i), must[syncengine.ID](t)(o.admin.AddStaff(t.Context(), server.StaffOptions{
			Name: "Person", Discipline: "nurse", Roles: []string{role}, Agency: agency, Teams: []syncengine.ID{o.team},
		}))), "", words)
	}

	// A position of one org opens nothing in the other, nor does its certificate with the
	// other's key.
	there, _ := a.read()
	if _, err := b.call(t.Context(), there); codeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a position of the other org: %v", err)
	}
	b.way.certificate = a.way.certificate
	if _, rows := b.read(); len(rows) == 0 {
		t.Error("the keys are the same: the certificate says whose it is")
	}
	b.way.certificate, b.way.key = a.way.certificate, o.newDevice(77).key
	if _, err := b.call(t.Context(), &tandemv1.SyncRequest{}); codeOf(err) != connect.CodeUnauthenticated || b.way.code != http.StatusUnauthorized {
		t.Errorf("the certificate of one org with a key of the other: %v", err)
	}
	for _, org := range []*store.Org{w.org, o.org} {
		if report := must[*store.Report](t)(w.s.Verify(t.Context(), org.ID)); len(report.Faults) > 0 {
			t.Errorf("the store is at fault: %v", report.Faults)
		}
	}
}
