package server_test

import (
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine/record"
)

// A clinician who is named as one who was at the call writes on a colleague's draft of it,
// and does nothing else to it; others of the team write nothing. What such a one wrote stands
// beside what was signed meanwhile and changes none of it; who names themself only after that
// writes nothing.
func TestCoAuthor(t *testing.T) { each(t, testCoAuthor) }

func testCoAuthor(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 87)
	m := &matrixWorld{w: w}
	author, other := w.enrolled(1, w.clinician), w.enrolled(2, w.second)
	team := `team_id: "` + w.team.String() + `" `
	call, draft := w.id(), w.id()
	author.must(author.push(
		author.change(call, "incident", mCreate, team+`lifecycle: "open" responders: {element: "rrrrrrrr" staff_id: "`+w.clinician.String()+`"}`),
		author.change(draft, "encounter", mCreate, team+`lifecycle: "draft" incident_id: "`+call.String()+`"`),
	))
	const forbidden = "QUARANTINED:FORBIDDEN"
	try := func(when string, act tandemv1.Act, text, want string) {
		t.Helper()
		reason := ""
		if act == mVoid {
			reason = "entered twice"
		}
		got := refusals(other.must(other.push(m.write(other, &matrixCell{kind: "encounter", object: draft}, matrixAct{act: act, text: text, reason: reason}))))
		if got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	try("was not there", mSet, `danger_self: "low"`, forbidden)
	author.must(author.push(m.write(author, &matrixCell{kind: "incident", object: call}, matrixAct{
		act: mSet, text: `responders: {element: "ssssssss" staff_id: "` + w.second.String() + `"}`,
	})))
	try("was there", mSet, `danger_self: "low" narrative: "She said so to me."`, "APPLIED:UNSPECIFIED")
	try("takes it elsewhere", mSet, `incident_id: "`+w.id().String()+`"`, forbidden)
	try("signs it", mSign, `lifecycle: "signed" signed_by: "`+w.second.String()+`"`, forbidden)
	try("signs it by writing so", mSet, `lifecycle: "signed"`, "QUARANTINED:INVALID")
	try("voids it", mVoid, voided, forbidden)
	author.must(author.push(m.write(author, &matrixCell{kind: "encounter", object: draft}, matrixAct{act: mSign, text: `lifecycle: "signed" signed_by: "` + w.clinician.String() + `"`})))
	try("after it was signed", mSet, `danger_self: "high"`, "APPLIED_WITH_CONFLICT:UNSPECIFIED")
	try("takes it elsewhere then", mSet, `incident_id: "`+w.id().String()+`"`, forbidden)
	msg, err := record.New().Message(m.record(draft))
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := msg.(*tandemv1.Encounter); !ok || e.GetDangerSelf() != "low" || e.GetLifecycle() != record.Signed {
		t.Errorf("a late edit changed what was signed: %v", msg)
	}

	// Another visit to the call, signed before they said that they were there.
	call, draft = w.id(), w.id()
	author.must(author.push(
		author.change(call, "incident", mCreate, team+`lifecycle: "open"`),
		author.change(draft, "encounter", mCreate, team+`lifecycle: "draft" incident_id: "`+call.String()+`"`),
	))
	author.must(author.push(m.write(author, &matrixCell{kind: "encounter", object: draft}, matrixAct{act: mSign, text: `lifecycle: "signed" signed_by: "` + w.clinician.String() + `"`})))
	other.must(other.push(m.write(other, &matrixCell{kind: "incident", object: call}, matrixAct{
		act: mSet, text: `responders: {element: "tttttttt" staff_id: "` + w.second.String() + `"}`,
	})))
	try("names themself after it was signed", mSet, `danger_self: "high"`, forbidden)
	author.must(author.push(m.write(author, &matrixCell{kind: "encounter", object: draft}, matrixAct{act: mAmend, text: `lifecycle: "amended" danger_others: "low"`, reason: "left out"})))
	try("and after it was amended", mSet, `danger_self: "high"`, forbidden)
}
