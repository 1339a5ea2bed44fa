package server_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

const (
	besideApplied   = "APPLIED:UNSPECIFIED"
	besideAsks      = "APPLIED_WITH_CONFLICT:UNSPECIFIED"
	besideForbidden = "QUARANTINED:FORBIDDEN"
)

// Who was named at the call when a visit was sealed writes beside what was sealed, and does
// nothing else: whatever becomes of their name, of the signature or of the stamps since.
func TestBeside(t *testing.T) { each(t, testBeside) }

func testBeside(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 89)
	c := &crew{matrixWorld: &matrixWorld{w: w}, author: w.enrolled(1, w.clinician), other: w.enrolled(2, w.second), rng: rand.New(rand.NewPCG(89, 1))}
	lead := must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{
		Name: "Lead", Discipline: "supervisor", Roles: []string{"lead"}, Agency: w.agency, Teams: []syncengine.ID{w.team},
	}))
	release := func(t *testing.T, change *tandemv1.Change) error {
		t.Helper()
		id, _ := syncengine.IDFromBytes(change.GetId())
		_, err := w.admin.Release(t.Context(), lead, id)
		return err
	}
	for _, tc := range []struct {
		name string
		play func(t *testing.T)
	}{
		// A stamp of one's own choosing names nobody before the signature.
		{"named anew under an old stamp", func(t *testing.T) {
			old := c.expect(t, c.other, c.naming(c.other, &w.second), besideApplied)
			c.expect(t, c.author, c.naming(c.author, nil), besideApplied)
			c.sign(t)
			forged := c.naming(c.other, &w.second)
			copy(forged.Id[8:], old.GetId()[8:])
			c.expect(t, c.other, forged, besideApplied)
			late := c.expect(t, c.other, c.words("late"), besideForbidden)
			if err := release(t, late); err == nil {
				t.Error("a lead released what its author had no right to")
			}
		}},
		{"named and written in one push", func(t *testing.T) {
			c.sign(t)
			got := refusals(c.other.must(c.other.push(c.naming(c.other, &w.second), c.words("late"))))
			if got != besideApplied+" "+besideForbidden {
				t.Errorf("got %s", got)
			}
		}},
		{"named where it does not show", func(t *testing.T) {
			c.expect(t, c.author, c.naming(c.author, &w.clinician), besideApplied)
			beside := c.naming(c.other, &w.second)
			beside.Records[0].Writes[0].Bases = make([]byte, 8)
			c.expect(t, c.other, beside, besideAsks)
			c.sign(t)
			// What stood beside it shows once the other is gone.
			gone := c.naming(c.other, nil)
			c.expect(t, c.other, gone, besideApplied, besideAsks)
			c.expect(t, c.other, c.words("late"), besideForbidden)
		}},
		{"signed at the second attempt", func(t *testing.T) {
			c.expect(t, c.author, c.naming(c.author, &w.second), besideApplied)
			late := c.words("late")
			bad := c.signing()
			bad.Records[0].Reason = string(make([]byte, 5))
			c.expect(t, c.author, bad, "QUARANTINED:INVALID")
			good, id := syncengine.Supersede(bad), w.id()
			good.Id, good.Author, good.Device, good.Schema, good.Time = id[:], bad.Author, bad.Device, bad.Schema, bad.Time
			good.Records[0].Reason = ""
			c.expect(t, c.author, good, besideApplied)
			c.expect(t, c.other, late, besideAsks)
		}},
		{"named in the creation of the call", func(t *testing.T) {
			c.open(t, ` responders: {element: "rrrrrrrr" staff_id: "`+w.second.String()+`"}`)
			c.sign(t)
			c.expect(t, c.other, c.words("late"), besideAsks)
		}},
		{"the name is saved anew", func(t *testing.T) {
			c.expect(t, c.author, c.naming(c.author, &w.second), besideApplied)
			c.sign(t)
			c.expect(t, c.author, c.naming(c.author, &w.second), besideApplied)
			c.expect(t, c.other, c.words("late"), besideAsks)
			c.expect(t, c.author, c.naming(c.author, nil), besideApplied)
			c.expect(t, c.other, c.words("later"), besideAsks)
		}},
		{"takes none of the author's words out", func(t *testing.T) {
			c.expect(t, c.author, c.naming(c.author, &w.second), besideApplied)
			own := c.write(c.author, &matrixCell{kind: "encounter", object: c.visit}, matrixAct{act: mSet, text: `narrative: "the author's other device"`})
			c.sign(t)
			c.expect(t, c.author, own, besideAsks)
			stood := c.heads(c.other)
			id, _ := syncengine.IDFromBytes(own.GetId())
			for _, word := range []string{"first", "mine"} {
				late := c.words("another")
				late.Records[0].Writes[0].Value = syncengine.StringField(narrative.Field, word)
				late.Records[0].Writes[0].Bases = syncengine.EncodeStamps(append(stood, syncengine.StampOf(id)))
				c.expect(t, c.other, late, besideAsks)
			}
			if left := c.heads(c.other); !slices.Equal(stood, left) || len(left) != 2 {
				t.Errorf("of %x stand %x", stood, left)
			}
		}},
		// What is named before it comes is kept out of the heads by who may settle alone.
		{"names the author's words before they come", func(t *testing.T) {
			c.expect(t, c.author, c.naming(c.author, &w.second), besideApplied)
			own := c.write(c.author, &matrixCell{kind: "encounter", object: c.visit}, matrixAct{act: mSet, text: `narrative: "still on its way"`})
			c.sign(t)
			id, _ := syncengine.IDFromBytes(own.GetId())
			late := c.words("late")
			late.Records[0].Writes[0].Bases = syncengine.EncodeStamps([]syncengine.Stamp{syncengine.StampOf(id)})
			c.expect(t, c.other, late, besideAsks)
			c.expect(t, c.author, own, besideAsks)
			if left := c.heads(c.other); len(left) != 2 {
				t.Errorf("of the author's words %x stand", left)
			}
		}},
		{"takes back words of their own", func(t *testing.T) {
			c.expect(t, c.author, c.naming(c.author, &w.second), besideApplied)
			c.sign(t)
			first := c.expect(t, c.other, c.words("late"), besideAsks)
			id, _ := syncengine.IDFromBytes(first.GetId())
			next := c.words("mended")
			next.Records[0].Writes[0].Bases = syncengine.EncodeStamps([]syncengine.Stamp{syncengine.StampOf(id)})
			c.expect(t, c.other, next, besideAsks)
			if left := c.heads(c.author); len(left) != 1 || left[0] == syncengine.StampOf(id) {
				t.Errorf("%x stand", left)
			}
		}},
		{"something is refused that others have written over", func(t *testing.T) {
			c.expect(t, c.author, c.naming(c.author, &w.second), besideApplied)
			c.sign(t)
			refused := c.words("and elsewhere")
			refused.Records[0].Writes = append(c.write(c.other, &matrixCell{kind: "encounter", object: c.visit}, matrixAct{act: mSet, text: `incident_id: "` + w.id().String() + `"`}).Records[0].Writes, refused.Records[0].Writes...)
			over := c.write(c.author, &matrixCell{kind: "encounter", object: c.visit}, matrixAct{act: mSet, text: `narrative: "over both"`})
			id, _ := syncengine.IDFromBytes(refused.GetId())
			over.Records[0].Writes[0].Bases = syncengine.EncodeStamps([]syncengine.Stamp{syncengine.StampOf(id)})
			c.expect(t, c.author, over, besideAsks)
			c.expect(t, c.other, refused, besideForbidden)
			c.expect(t, c.other, c.words("late"), besideAsks)
		}},
		// A change that is refused takes nothing out that its sender might not, under whatever
		// stamp.
		{"something is refused under a stamp that others have named", func(t *testing.T) {
			for _, signed := range []bool{false, true} {
				c.open(t, "")
				of := &matrixCell{kind: "encounter", object: c.visit}
				first := c.heads()[0]
				one := c.write(c.author, of, matrixAct{act: mSet, text: `narrative: "one device"`})
				two := c.write(c.author, of, matrixAct{act: mSet, text: `narrative: "the other"`})
				if signed {
					c.sign(t)
				}
				c.expect(t, c.author, one, besideApplied, besideAsks)
				c.refuse(t, first)
				c.expect(t, c.author, two, besideAsks)
				want := c.heads()
				c.refuse(t, first)
				if left := c.heads(); !slices.Equal(want, left) || len(left) != 2 && !signed || len(left) != 3 && signed {
					t.Errorf("signed %v: of %x stand %x", signed, want, left)
				}
			}
		}},
		{"something is refused that they named on the draft", func(t *testing.T) {
			for _, still := range []bool{true, false} {
				c.open(t, "")
				c.expect(t, c.author, c.naming(c.author, &c.w.second), besideApplied)
				own := c.write(c.author, &matrixCell{kind: "encounter", object: c.visit}, matrixAct{act: mSet, text: `narrative: "the author's other device"`})
				ready := c.words("refused")
				id, _ := syncengine.IDFromBytes(ready.GetId())
				draft := c.words("on the draft")
				draft.Records[0].Writes[0].Bases = append(draft.Records[0].Writes[0].Bases, syncengine.EncodeStamps([]syncengine.Stamp{syncengine.StampOf(id)})...)
				c.expect(t, c.other, draft, besideApplied)
				if !still {
					c.expect(t, c.author, c.naming(c.author, nil), besideApplied)
				}
				c.sign(t)
				c.expect(t, c.author, own, besideAsks)
				want := c.heads()
				ready.Records[0].Writes[0].Bases = syncengine.EncodeStamps(want)
				c.astray(ready)
				c.expect(t, c.other, ready, besideForbidden)
				if left := c.heads(); !slices.Equal(want, left) || len(left) != 2 {
					t.Errorf("still named %v: of %x stand %x", still, want, left)
				}
			}
		}},
		{"something is refused whose sender has lost the right", func(t *testing.T) {
			c.expect(t, c.author, c.naming(c.author, &c.w.second), besideApplied)
			apart := c.write(c.author, &matrixCell{kind: "encounter", object: c.visit}, matrixAct{act: mSet, text: `narrative: "the author's"`})
			c.expect(t, c.other, c.words("first of mine"), besideApplied)
			c.expect(t, c.author, apart, besideAsks)
			ready, last := c.words("second of mine"), c.words("third of mine")
			ready.Records[0].Writes[0].Bases = syncengine.EncodeStamps(c.heads())
			last.Records[0].Writes[0].Bases = c.stamp(ready)
			c.expect(t, c.other, last, besideAsks)
			c.expect(t, c.author, c.naming(c.author, nil), besideApplied)
			c.expect(t, c.other, ready, besideForbidden)
			if left := c.heads(); len(left) != 2 || len(c.heads(c.author)) != 1 {
				t.Errorf("%x stand, where their own alone go", left)
			}
		}},
		{"something is refused on a draft that they may write on", func(t *testing.T) {
			of := &matrixCell{kind: "encounter", object: c.visit}
			first := c.heads()[0]
			one := c.write(c.author, of, matrixAct{act: mSet, text: `narrative: "one device"`})
			two := c.write(c.author, of, matrixAct{act: mSet, text: `narrative: "the other"`})
			c.expect(t, c.author, one, besideApplied)
			c.expect(t, c.author, two, besideAsks)
			c.expect(t, c.author, c.naming(c.author, &c.w.second), besideApplied)
			bad := c.words("under the stamp of another")
			copy(bad.Id[8:], syncengine.EncodeStamps([]syncengine.Stamp{first}))
			bad.Records[0].Writes[0].Bases = c.stamp(two)
			c.astray(bad)
			c.expect(t, c.other, bad, besideForbidden)
			if left := c.heads(); len(left) != 2 {
				t.Errorf("under the stamp of another: %x stand", left)
			}
			ready, over := c.words("over all"), c.words("over both")
			over.Records[0].Writes[0].Bases = syncengine.EncodeStamps(append(c.heads(), syncengine.StampOf(syncengine.ID(ready.GetId()))))
			c.expect(t, c.other, over, besideApplied)
			ready.Records[0].Writes[0].Bases = c.stamp(over)
			c.astray(ready)
			c.expect(t, c.other, ready, besideForbidden)
			if left := c.heads(); len(left) != 1 {
				t.Errorf("over all: %x stand", left)
			}
		}},
		// As it may be where a server was set back: one device shows what is refused now.
		{"others name what is refused", func(t *testing.T) {
			of := &matrixCell{kind: "encounter", object: c.visit}
			two := c.write(c.author, of, matrixAct{act: mSet, text: `narrative: "the other"`})
			bad := c.words("refused")
			bad.Records[0].Writes[0].Bases = syncengine.EncodeStamps(c.heads())
			c.expect(t, c.other, bad, besideForbidden)
			two.Records[0].Writes[0].Bases = c.stamp(bad)
			c.expect(t, c.author, two, besideAsks)
			if left := c.heads(); len(left) != 2 {
				t.Errorf("%x stand", left)
			}
		}},
		{"nothing but that", func(t *testing.T) {
			c.expect(t, c.author, c.naming(c.author, &w.second), besideApplied)
			c.sign(t)
			c.expect(t, c.other, c.words("late"), besideAsks)
			for _, spec := range []matrixAct{
				{act: mSet, text: `incident_id: "` + w.id().String() + `"`},
				{act: mSet, text: `team_id: "` + w.id().String() + `"`},
				{act: mAmend, text: `lifecycle: "amended" danger_self: "high"`, reason: "left out"},
				{act: mVoid, text: voided, reason: "entered twice"},
				{act: mResolve, text: `narrative: "late"`},
			} {
				spec.reason = "because"
				c.expect(t, c.other, c.write(c.other, &matrixCell{kind: "encounter", object: c.visit}, spec), besideForbidden)
			}
			again := c.other.change(c.visit, "encounter", mCreate, `team_id: "`+w.team.String()+`" narrative: "made anew"`)
			c.expect(t, c.other, again, besideForbidden)
		}},
		{"not yet named, and released", func(t *testing.T) {
			early := c.expect(t, c.other, c.words("early"), besideForbidden)
			c.expect(t, c.author, c.naming(c.author, &w.second), besideApplied)
			c.sign(t)
			if err := release(t, early); err != nil {
				t.Errorf("who was named meanwhile: %v", err)
			}
			if left := c.heads(c.author); len(left) != 1 {
				t.Errorf("%x stand", left)
			}
		}},
		{"voided and drafted again", func(t *testing.T) {
			c.expect(t, c.author, c.naming(c.author, &w.second), besideApplied)
			of := &matrixCell{kind: "encounter", object: c.visit}
			c.expect(t, c.author, c.write(c.author, of, matrixAct{act: mVoid, text: voided, reason: "entered twice"}), besideApplied)
			c.expect(t, c.other, c.words("late"), besideAsks)
			c.expect(t, c.author, c.write(c.author, of, matrixAct{act: mRestore, text: `lifecycle: "draft"`, reason: "it was not"}), besideApplied, besideAsks)
			c.expect(t, c.author, c.naming(c.author, nil), besideApplied)
			c.sign(t)
			c.expect(t, c.other, c.words("later"), besideForbidden)
		}},
	} {
		c.open(t, "")
		t.Run(tc.name, tc.play)
	}
}

// open begins another call with a visit.
func (c *crew) open(t *testing.T, responders string) {
	t.Helper()
	c.call, c.visit = c.w.id(), c.w.id()
	team := `team_id: "` + c.w.team.String() + `" `
	c.expect(t, c.author, c.author.change(c.call, "incident", mCreate, team+`lifecycle: "open"`+responders), besideApplied)
	c.expect(t, c.author, c.author.change(c.visit, "encounter", mCreate, team+`lifecycle: "draft" narrative: "first" incident_id: "`+c.call.String()+`"`), besideApplied)
}

// expect pushes a change that gets one of some verdicts, and leaves what is sealed as it reads.
func (c *crew) expect(t *testing.T, d *device, change *tandemv1.Change, want ...string) *tandemv1.Change {
	t.Helper()
	before := ""
	if d == c.other && c.record(c.visit) != nil && c.state(c.visit).Lifecycle() != record.Draft {
		before = string(c.record(c.visit).Body)
	}
	answer := d.must(d.push(change))
	// Of earlier ones it may be told again.
	answer.Outcomes = slices.DeleteFunc(answer.GetOutcomes(), func(o *tandemv1.Outcome) bool { return o.GetOp() != d.op })
	if got := refusals(answer); !slices.Contains(want, got) {
		t.Errorf("got %s, want %s", got, want)
	}
	if before != "" && before != string(c.record(c.visit).Body) {
		t.Error("what is sealed reads otherwise")
	}
	return change
}

// naming writes who was at the call into an element of it; nil takes them out.
func (c *crew) naming(by *device, who *syncengine.ID) *tandemv1.Change {
	const key = "elementA"
	path := syncengine.Path{Field: c.responders(), Key: key}
	change := by.change(c.call, "incident", mSet)
	var raw []byte
	if who != nil {
		// No two say the same.
		snap := c.rng.IntN(2) == 0
		msg := must[[]byte](c.w.t)(proto.Marshal(&tandemv1.Responder{Element: []byte(key), StaffId: new(who.String()), CitTrained: &snap}))
		raw = syncengine.StringField(path.Field, string(msg))
	}
	change.Records[0].Writes = []*tandemv1.PathWrite{{Field: path.Field, Key: []byte(key), Value: raw, Bases: syncengine.EncodeStamps(c.state(c.call).Bases(path, false))}}
	return change
}

func (c *crew) signing() *tandemv1.Change {
	return c.write(c.author, &matrixCell{kind: "encounter", object: c.visit}, matrixAct{act: mSign, text: `lifecycle: "signed" signed_by: "` + c.w.clinician.String() + `"`})
}

func (c *crew) sign(t *testing.T) {
	t.Helper()
	c.expect(t, c.author, c.signing(), besideApplied, besideAsks)
}

// refuse pushes a change of somebody's who was never named, under a stamp and over all that
// stands.
func (c *crew) refuse(t *testing.T, stamp syncengine.Stamp) {
	t.Helper()
	bad := c.words("refused")
	copy(bad.Id[8:], syncengine.EncodeStamps([]syncengine.Stamp{stamp}))
	bad.Records[0].Writes[0].Bases = syncengine.EncodeStamps(c.heads())
	c.expect(t, c.other, bad, besideForbidden)
}

func (c *crew) stamp(of *tandemv1.Change) []byte {
	return syncengine.EncodeStamps([]syncengine.Stamp{syncengine.StampOf(syncengine.ID(of.GetId()))})
}

// astray gives a change of a visit a field that is not the second clinician's to write.
func (c *crew) astray(change *tandemv1.Change) {
	more := c.write(c.other, &matrixCell{kind: "encounter", object: c.visit}, matrixAct{act: mSet, text: `incident_id: "` + c.w.id().String() + `"`})
	change.Records[0].Writes = append(more.Records[0].Writes, change.Records[0].Writes...)
}

// words are the second clinician's.
func (c *crew) words(text string) *tandemv1.Change {
	return c.write(c.other, &matrixCell{kind: "encounter", object: c.visit}, matrixAct{act: mSet, text: fmt.Sprintf("narrative: %q", text)})
}
