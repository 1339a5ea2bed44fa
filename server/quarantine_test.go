package server_test

import (
	"net"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// older are the rules of a server that does not know encounters yet.
type older struct{ syncengine.Rules }

func (o *older) Kind(number uint32) *syncengine.Kind {
	if number == record.New().KindByName("encounter").Number {
		return nil
	}
	return o.Rules.Kind(number)
}

func (o *older) Check(c *tandemv1.Change) *syncengine.Refusal {
	for _, w := range c.GetRecords() {
		if o.Kind(w.GetKind()) == nil {
			return &syncengine.Refusal{Code: tandemv1.Refusal_REFUSAL_UNKNOWN_SCHEMA, Fields: []string{"0/kind"}}
		}
	}
	return o.Rules.Check(c)
}

// TestNewerServer: what an older server did not know is applied by itself when a newer
// one starts, and its device hears of it.
func TestNewerServer(t *testing.T) { each(t, testNewerServer) }

func testNewerServer(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 41)
	d := w.enrolled(1, w.clinician)
	next, _ := d.read()
	server.SetRules(w.srv, func(r syncengine.Rules) syncengine.Rules { return &older{Rules: r} })
	if got := d.must(d.push(d.creation(encounter(w, "of a newer app")))).GetOutcomes()[0]; got.GetRefusal() != tandemv1.Refusal_REFUSAL_UNKNOWN_SCHEMA {
		t.Fatalf("got %v", got)
	}
	answer := d.must(next)
	next.Positions = answer.GetPage().GetTo()[:1]
	if got := answer.GetTrailer().GetApart(); len(got) != 1 || got[0].GetFirst() != 1 {
		t.Errorf("apart are %v", got)
	}
	if got := d.must(next).GetOutcomes(); len(got) != 0 {
		t.Errorf("told without news: %v", got)
	}
	srv := must[*server.Server](t)(server.New(w.s, server.Options{Log: zerolog.New(w.log), Clock: w.clock}))
	listener := must[net.Listener](t)((&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0"))
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(t.Context(), listener, nil) }()
	// It answers once it has judged again.
	conn := must[net.Conn](t)((&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String()))
	if _, err := conn.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	// Told with every answer until the device stands where it was told.
	for range 2 {
		answer = d.must(next)
		if got := answer.GetOutcomes(); len(got) != 1 || got[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED || got[0].GetOp() != 1 {
			t.Fatalf("got %v", got)
		}
	}
	if len(answer.GetTrailer().GetApart()) != 0 || len(answer.GetPage().GetRows()) != 1 {
		t.Errorf("got %v", answer)
	}
	next.Positions = answer.GetPage().GetTo()[:1]
	if got := d.must(next).GetOutcomes(); len(got) != 0 {
		t.Errorf("told again: %v", got)
	}
}

// TestQuarantineFull: a device that has as much in quarantine as it may is told to come
// again, loses nothing, and is not held up in what it may write.
func TestQuarantineFull(t *testing.T) { each(t, testQuarantineFull) }

func testQuarantineFull(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 42)
	d := w.enrolled(1, w.partner)
	call := w.id()
	clinician := w.enrolled(2, w.clinician)
	c := clinician.creation(incident(w.team, "a call"))
	c.Records[0].Record = call[:]
	clinician.must(clinician.push(c))
	bad := func(n int) (changes []*tandemv1.Change) {
		for range n {
			changes = append(changes, d.creation(encounter(w, "x")))
		}
		return changes
	}
	for left := syncengine.MaxApart; left > 0; left -= 1000 {
		answer := d.must(d.push(bad(min(left, 1000))...))
		if len(answer.GetOutcomes()) != min(left, 1000) {
			t.Fatalf("%d verdicts with %d to go", len(answer.GetOutcomes()), left)
		}
	}
	op, last := d.op, d.last
	if _, err := d.call(t.Context(), d.push(bad(1)...)); codeOf(err) != connect.CodeResourceExhausted || !strings.Contains(err.Error(), "nothing was lost") {
		t.Errorf("one too many: %v", err)
	}
	d.op, d.last = op, last
	id := w.id()
	good := &tandemv1.Change{
		Id: id[:], Author: d.person[:], Device: d.dev[:], Schema: 1,
		Records: []*tandemv1.RecordWrite{{
			Record: call[:], Kind: record.New().KindByName("incident").Number, Act: tandemv1.Act_ACT_SET,
			Writes: []*tandemv1.PathWrite{{
				Field: fieldNumber(t, "incident", "force_used"), Value: syncengine.StringField(fieldNumber(t, "incident", "force_used"), "no"), Bases: make([]byte, 8),
			}},
		}},
	}
	got := d.must(d.push(append(bad(1), good)...)).GetOutcomes()
	if len(got) != 1 || got[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED || got[0].GetOp() != op+2 {
		t.Errorf("beside one too many: %v", got)
	}
	// A decision makes room.
	lead := must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{
		Name: "Lead", Discipline: "supervisor", Roles: []string{"lead"}, Agency: w.agency, Teams: []syncengine.ID{w.team},
	}))
	items := must[[]*syncengine.QuarantineItem](t)(w.admin.Quarantine(t.Context(), lead))
	if len(items) != syncengine.MaxApart || !slices.IsSortedFunc(items, func(a, b *syncengine.QuarantineItem) int { return int(a.Change.Seq) - int(b.Change.Seq) }) {
		t.Fatalf("the lead sees %d", len(items))
	}
	must[*tandemv1.Outcome](t)(w.admin.Dismiss(t.Context(), lead, items[0].Change.ID, "enough"))
	if answer := d.must(d.push(bad(1)...)); len(answer.GetOutcomes()) == 0 {
		t.Error("there is no room after a decision")
	}
}
