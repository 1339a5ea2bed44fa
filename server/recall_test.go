package server_test

import (
	"strings"
	"testing"

	"connectrpc.com/connect"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// leans packs the push of a request with what was pushed before.
func leans(t *testing.T, req *tandemv1.SyncRequest, of *syncengine.Recall) (message []byte) {
	t.Helper()
	message = must[[]byte](t)(syncengine.PushMessage(req))
	name, before := of.Newest()
	req.PackedRuns, req.Recalled, req.Runs = must[[]byte](t)(syncengine.PackRecalled(message, before)), name, nil
	return message
}

// Whoever says that they remember is answered with what came before as dictionary, and may
// push so; what the server does not remember it does not use.
func TestRecall(t *testing.T) { each(t, testRecall) }

func testRecall(t *testing.T, on engine) {
	w := newWorld(t, on, 41)
	w.start()
	w.setUp()
	author, reader := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	next, _ := reader.read()
	words := strings.Repeat("Talked with the person on the porch, who agreed to see the clinic. ", 8)
	var pushed, came syncengine.Recall

	// The first push goes as it is, the second leans on it.
	req := author.push(author.creation(encounter(w, words+"One.")))
	req.Recalls = 1
	message := must[[]byte](t)(syncengine.PushMessage(req))
	name := author.must(req).GetTrailer().GetRecalls()
	if name == 0 || name != pushed.Keep(nil, message, "") {
		t.Fatalf("of the first push the server remembers %x", name)
	}
	first := fetch(t, reader, next, &came)
	if first.GetRecalled() != 0 {
		t.Error("the first answer leans on something")
	}
	req = author.push(author.creation(encounter(w, words+"Two.")))
	req.Recalls = 1
	whole := proto.Size(req)
	message = leans(t, req, &pushed)
	if proto.Size(req) > whole/2 {
		t.Errorf("the push of %d bytes takes %d", whole, proto.Size(req))
	}
	_, before := pushed.Newest()
	answer := author.must(req)
	if answer.GetOutcomes()[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED || answer.GetTrailer().GetRecalls() != pushed.Keep(before, message, "") {
		t.Errorf("it is answered with %v", answer)
	}
	second := fetch(t, reader, next, &came)
	if second.GetRecalled() == 0 || len(second.GetAnswer()) > 0 || len(second.GetPacked()) > len(first.GetAnswer())/2 {
		t.Errorf("the second answer takes %d and %d bytes, the first %d", len(second.GetPacked()), len(second.GetAnswer()), len(first.GetAnswer()))
	}

	// Who does not say that they remember is answered as ever.
	plain := proto.CloneOf(next)
	if resp := must[*tandemv1.SyncResponse](t)(reader.sync.Sync(t.Context(), plain)); resp.GetRecalled() != 0 || len(resp.GetPacked()) > 0 {
		t.Error("an answer leans on what nobody has named")
	}
	// What is written in other scopes is not packed with it.
	author.must(author.push(author.creation(incident(w.team, "Behind the station."))))
	if resp := fetch(t, reader, next, &came); resp.GetRecalled() != 0 {
		t.Error("rows of other scopes are packed with what came before")
	}

	testRecallForgotten(t, w, author, &pushed, words)
}

// What the server has forgotten is refused, and nothing of it is done.
func testRecallForgotten(t *testing.T, w *world, author *device, pushed *syncengine.Recall, words string) {
	t.Helper()
	req := author.push(author.creation(encounter(w, words+"Three.")))
	req.Recalls = 1
	runs := req.GetRuns()
	leans(t, req, pushed)
	twice := proto.CloneOf(req)
	twice.Runs = runs
	if _, err := author.call(t.Context(), twice); codeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a push that comes twice in one request: %v", err)
	}
	noise := proto.CloneOf(req)
	noise.PackedRuns = []byte{0xff, 0xff, 0xff}
	if _, err := author.call(t.Context(), noise); codeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a push that does not unpack: %v", err)
	}
	at := w.head()
	w.start()
	author.connect(w.http.URL)
	if _, err := author.call(t.Context(), req); codeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("a push that leans on what is forgotten: %v", err)
	}
	if w.head() != at {
		t.Error("the history has moved by what was refused")
	}
	req.Runs, req.PackedRuns, req.Recalled = runs, nil, 0
	if got := author.must(req).GetOutcomes(); len(got) != 1 || got[0].GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
		t.Errorf("in full it is answered with %v", got)
	}
}

// fetch reads once more from where a device stands, as one that remembers; the request goes
// on from there.
func fetch(t *testing.T, d *device, next *tandemv1.SyncRequest, came *syncengine.Recall) *tandemv1.SyncResponse {
	t.Helper()
	next.Recalls, _ = came.Newest()
	resp := must[*tandemv1.SyncResponse](t)(d.sync.Sync(t.Context(), next))
	var before []byte
	raw := resp.GetAnswer()
	if resp.GetRecalled() != 0 {
		before = came.At(resp.GetRecalled(), "")
		raw = must[[]byte](t)(syncengine.UnpackRecalled(resp.GetPacked(), before))
	}
	answer := must[*tandemv1.SyncAnswer](t)(syncengine.Unframe(resp, func([]byte) ([]byte, error) { return raw, nil }))
	if _, ok := syncengine.Recallable(answer); !ok {
		t.Fatalf("nothing came: %v", answer)
	}
	came.Keep(before, raw, "")
	next.Positions, next.Recalls = answer.GetPage().GetTo()[:1], 0
	return resp
}
