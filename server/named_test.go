package server_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// Whoever is not named at a call when a visit about it is sealed, and be it after that, by
// whomever, in whatever order what was written arrives and whatever the clocks say, never
// writes on that visit; who was named then writes beside it, whoever is named now. Who was is
// told here from the order of arrival alone.
func TestNamedAfterwards(t *testing.T) { each(t, testNamedAfterwards) }

func testNamedAfterwards(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 88)
	c := &crew{matrixWorld: &matrixWorld{w: w}, author: w.enrolled(1, w.clinician), other: w.enrolled(2, w.second), rng: rand.New(rand.NewPCG(88, 1)), saw: map[string]int{}}
	for range 60 {
		c.round()
	}
	for _, what := range []string{"on the draft", "not named", "drafted again", "beside the author's own", "named until it was sealed and not now",
		"signed, named when it was sealed", "signed, never named", "signed, named too late",
		"amended, named when it was sealed", "amended, never named", "amended, named too late",
		"void, named when it was sealed", "void, never named"} {
		if c.saw[what] == 0 {
			t.Errorf("%q did not come about: %v", what, c.saw)
		}
	}
}

// crew is two clinicians at one call after the other. The first writes the visit, and the
// second may be named.
type crew struct {
	*matrixWorld
	author, other *device
	rng           *rand.Rand
	saw           map[string]int

	call, visit syncengine.ID
	way         []delivery
	// there: the second clinician was named when the draft was sealed.
	there bool
	clock int
}

// delivery is a change on its way; writing: one of the second clinician's to the visit.
type delivery struct {
	by      *device
	change  *tandemv1.Change
	writing bool
}

// round is one call, with all that is written about it delivered at the end.
func (c *crew) round() {
	c.way, c.there, c.clock = nil, false, 0
	c.open(c.w.t, "")
	for range 20 {
		if c.rng.IntN(2) == 0 {
			c.add()
		} else {
			c.deliverOne()
		}
	}
	for len(c.way) > 0 {
		c.deliverOne()
	}
}

// add puts something on its way, made on the state of this moment.
func (c *crew) add() {
	s := c.state(c.visit)
	set := func(d *device, id syncengine.ID, kind string, a tandemv1.Act, path syncengine.Path, raw []byte) *tandemv1.Change {
		at := c.state(id)
		change := d.change(id, kind, a)
		change.Time.WallMs += (c.rng.Int64N(20) - 10) * 365 * 86_400_000
		wr := change.GetRecords()[0]
		wr.Seen, wr.Reason = at.Seen(), "because"
		if a == mSet {
			wr.Seen = nil
		}
		wr.Writes = []*tandemv1.PathWrite{{Field: path.Field, Key: []byte(path.Key), Value: raw, Bases: syncengine.EncodeStamps(at.Bases(path, false))}}
		return change
	}
	life := func(a tandemv1.Act, to string) *tandemv1.Change {
		at := syncengine.Path{Field: syncengine.FieldLifecycle}
		return set(c.author, c.visit, "encounter", a, at, syncengine.StringField(at.Field, to))
	}
	switch n, now := c.rng.IntN(10), s.Lifecycle(); {
	case n < 4:
		by := []*device{c.author, c.other}[c.rng.IntN(2)]
		path := syncengine.Path{Field: c.responders(), Key: fmt.Sprintf("element%d", c.rng.IntN(2))}
		c.way = append(c.way, delivery{by, set(by, c.call, "incident", mSet, path, c.responder(path)), false})
	case n < 7:
		by, path := c.other, narrative
		if n == 6 && c.rng.IntN(2) == 0 {
			by = c.author
		}
		change := set(by, c.visit, "encounter", mSet, path, syncengine.StringField(path.Field, fmt.Sprint("word ", c.clock, n)))
		if c.rng.IntN(2) == 0 {
			// What stands beside is named as well.
			change.Records[0].Writes[0].Bases = syncengine.EncodeStamps(s.Bases(path, true))
		}
		c.way = append(c.way, delivery{by, change, by == c.other})
	case now == record.Draft:
		c.way = append(c.way, delivery{c.author, life(mSign, record.Signed), false})
	case now == record.Void:
		c.way = append(c.way, delivery{c.author, life(mRestore, []string{record.Draft, record.Signed}[c.rng.IntN(2)]), false})
	case n == 7:
		c.way = append(c.way, delivery{c.author, life(mVoid, record.Void), false})
	default:
		c.way = append(c.way, delivery{c.author, life(mAmend, record.Amended), false})
	}
}

// responder is the second clinician as one who was there, the first one, or nobody.
func (c *crew) responder(path syncengine.Path) []byte {
	who := c.w.second
	switch c.rng.IntN(6) {
	case 0:
		return nil
	case 1:
		who = c.w.clinician
	}
	raw := must[[]byte](c.w.t)(proto.Marshal(&tandemv1.Responder{Element: []byte(path.Key), StaffId: new(who.String())}))
	return syncengine.StringField(path.Field, string(raw))
}

func (c *crew) responders() uint32 {
	return number("incident", "responders")
}

func number(kind, field string) uint32 {
	for _, f := range record.New().KindByName(kind).Fields {
		if f.Name == field {
			return f.Number
		}
	}
	return 0
}

func (c *crew) deliverOne() {
	if len(c.way) == 0 {
		return
	}
	i := c.rng.IntN(len(c.way))
	d := c.way[i]
	c.way = append(c.way[:i], c.way[i+1:]...)
	c.deliver(d)
}

// deliver pushes a change and judges the verdict.
func (c *crew) deliver(d delivery) {
	t := c.w.t
	t.Helper()
	want, why := "", ""
	var before string
	var others []syncengine.Stamp
	named, was := c.namesNow(), c.state(c.visit).Lifecycle()
	if d.writing {
		want, why = c.expected()
		before, others = string(c.record(c.visit).Body), c.heads(c.other)
	}
	got := refusals(d.by.must(d.by.push(d.change)))
	applied := got == "APPLIED:UNSPECIFIED" || got == "APPLIED_WITH_CONFLICT:UNSPECIFIED"
	if !applied && got != "QUARANTINED:FORBIDDEN" && d.writing {
		t.Fatalf("a writing got %s", got)
	}
	c.clock++
	switch now := c.state(c.visit).Lifecycle(); {
	case now == record.Draft:
		if was != record.Draft {
			c.saw["drafted again"]++
		}
		c.there = false
	case was == record.Draft:
		c.there = named
	}
	if !d.writing {
		return
	}
	c.saw[why]++
	if applied != (want == "applied") {
		t.Errorf("%s: got %s, want %s", why, got, want)
	}
	if was == record.Draft {
		return
	}
	if before != string(c.record(c.visit).Body) {
		t.Errorf("%s: what is sealed reads otherwise", why)
	}
	for _, stamp := range others {
		if !slices.Contains(c.heads(), stamp) {
			t.Errorf("%s: somebody else's words are gone from beside it", why)
		}
	}
	if len(others) > 1 && applied {
		c.saw["beside the author's own"]++
	}
}

var narrative = syncengine.Path{Field: number("encounter", "narrative")}

// heads are the words that stand in the visit but those known to be of somebody.
func (c *crew) heads(but ...*device) (stamps []syncengine.Stamp) {
	s := c.state(c.visit)
	heads, _ := s.Heads(narrative)
	for _, h := range heads {
		if !slices.ContainsFunc(but, func(d *device) bool { return d.person == h.Author }) {
			stamps = append(stamps, h.Stamp)
		}
	}
	return stamps
}

// namesNow reports whether the call names the second clinician now.
func (c *crew) namesNow() bool {
	s := c.state(c.call)
	return slices.ContainsFunc(s.Paths, func(p syncengine.PathState) bool {
		raw, _ := syncengine.RawString(p.Shown())
		msg := &tandemv1.Responder{}
		return p.Path.Field == c.responders() && p.Shown() != nil && proto.Unmarshal([]byte(raw), msg) == nil && msg.GetStaffId() == c.w.second.String()
	})
}

// expected is the verdict on what the second clinician writes, and why.
func (c *crew) expected() (want, why string) {
	named, now := c.namesNow(), c.state(c.visit).Lifecycle()
	switch {
	case now == record.Draft && named:
		return "applied", "on the draft"
	case now == record.Draft:
		return "refused", "not named"
	case c.there:
		if !named {
			c.saw["named until it was sealed and not now"]++
		}
		return "applied", now + ", named when it was sealed"
	case named:
		return "refused", now + ", named too late"
	}
	return "refused", now + ", never named"
}
