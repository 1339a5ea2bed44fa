package server_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// Whoever is named at a call after a visit was signed, by whomever, in whatever order what
// was written arrives and whatever the clocks say, never writes on that visit; who was named
// before writes beside it. Who was is told here from the order of arrival alone.
func TestNamedAfterwards(t *testing.T) { each(t, testNamedAfterwards) }

func testNamedAfterwards(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 88)
	c := &crew{matrixWorld: &matrixWorld{w: w}, author: w.enrolled(1, w.clinician), other: w.enrolled(2, w.second), rng: rand.New(rand.NewPCG(88, 1)), saw: map[string]int{}}
	for range 120 {
		c.round()
	}
	for _, what := range []string{"on the draft", "not named", "late edit", "late edit of what was amended", "named too late", "named too late, then amended", "named again too late", "void"} {
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
	// arrived is when the change of a stamp was accepted, sealed when the first that signs or
	// voids was, named when the second clinician first was.
	arrived              map[syncengine.Stamp]int
	clock, sealed, named int
}

// delivery is a change on its way.
type delivery struct {
	by     *device
	change *tandemv1.Change
	kind   deliveryKind
}

type deliveryKind int

const (
	naming deliveryKind = iota
	sealing
	opening
	writing
)

// round is one call, with all that is written about it delivered at the end.
func (c *crew) round() {
	w := c.w
	c.call, c.visit, c.way = w.id(), w.id(), nil
	c.arrived, c.clock, c.sealed, c.named = map[syncengine.Stamp]int{}, 0, 0, 0
	team := `team_id: "` + w.team.String() + `" `
	made := c.author.change(c.call, "incident", mCreate, team+`lifecycle: "open"`)
	c.deliver(delivery{c.author, made, opening})
	c.deliver(delivery{c.author, c.author.change(c.visit, "encounter", mCreate, team+`lifecycle: "draft" narrative: "first" incident_id: "`+c.call.String()+`"`), opening})
	for range 14 {
		if c.rng.IntN(2) == 0 {
			c.write()
		} else {
			c.deliverOne()
		}
	}
	for len(c.way) > 0 {
		c.deliverOne()
	}
}

// write puts something on its way, made on the state of this moment.
func (c *crew) write() {
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
		c.way = append(c.way, delivery{by, set(by, c.call, "incident", mSet, path, c.responder(path)), naming})
	case n < 7:
		path := syncengine.Path{Field: number("encounter", "narrative")}
		c.way = append(c.way, delivery{c.other, set(c.other, c.visit, "encounter", mSet, path, syncengine.StringField(path.Field, fmt.Sprint("word ", c.clock, n))), writing})
	case now == record.Draft:
		c.way = append(c.way, delivery{c.author, life(mSign, record.Signed), sealing})
	case now == record.Void:
		c.way = append(c.way, delivery{c.author, life(mRestore, []string{record.Draft, record.Signed}[c.rng.IntN(2)]), opening})
	case n == 7:
		c.way = append(c.way, delivery{c.author, life(mVoid, record.Void), sealing})
	default:
		c.way = append(c.way, delivery{c.author, life(mAmend, record.Amended), sealing})
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
	if d.kind == writing {
		want, why = c.expected()
		before = string(c.record(c.visit).Body)
	}
	got := refusals(d.by.must(d.by.push(d.change)))
	applied := got == "APPLIED:UNSPECIFIED" || got == "APPLIED_WITH_CONFLICT:UNSPECIFIED"
	if !applied && got != "QUARANTINED:FORBIDDEN" && d.kind == writing {
		t.Fatalf("a writing got %s", got)
	}
	if applied {
		c.clock++
		id, _ := syncengine.IDFromBytes(d.change.GetId())
		c.arrived[syncengine.StampOf(id)] = c.clock
		if d.kind == sealing && c.sealed == 0 {
			c.sealed = c.clock
		}
		if d.kind == naming && c.named == 0 && c.namesNow() {
			c.named = c.clock
		}
	}
	if d.kind != writing {
		return
	}
	c.saw[why]++
	if applied != (want == "applied") {
		t.Errorf("%s: got %s, want %s", why, got, want)
	}
	if signed := c.state(c.visit).Lifecycle() != record.Draft; signed && before != string(c.record(c.visit).Body) {
		t.Errorf("%s: what is signed reads otherwise", why)
	}
	if applied && c.sealed != 0 && c.state(c.visit).Lifecycle() != record.Draft && (c.named == 0 || c.named > c.sealed) {
		t.Errorf("who was named at %d wrote on what was sealed at %d", c.named, c.sealed)
	}
}

// namesNow reports whether the call names the second clinician now.
func (c *crew) namesNow() bool { return len(c.namedAt()) > 0 }

// namedAt lists when what names the second clinician was accepted.
func (c *crew) namedAt() (at []int) {
	s := c.state(c.call)
	for i := range s.Paths {
		p := &s.Paths[i]
		if p.Path.Field != c.responders() || p.Shown() == nil {
			continue
		}
		raw, _ := syncengine.RawString(p.Shown())
		msg := &tandemv1.Responder{}
		if proto.Unmarshal([]byte(raw), msg) == nil && msg.GetStaffId() == c.w.second.String() {
			at = append(at, c.arrived[p.Heads[p.Displayed].Stamp])
		}
	}
	return at
}

// expected is the verdict on what the second clinician writes, and why.
func (c *crew) expected() (want, why string) {
	named, now := c.namedAt(), c.state(c.visit).Lifecycle()
	switch {
	case now == record.Void:
		return "refused", "void"
	case len(named) == 0:
		return "refused", "not named"
	case now == record.Draft:
		return "applied", "on the draft"
	}
	for _, at := range named {
		if at < c.sealed {
			if now == record.Amended {
				return "applied", "late edit of what was amended"
			}
			return "applied", "late edit"
		}
	}
	switch {
	case c.named < c.sealed:
		return "refused", "named again too late"
	case now == record.Amended:
		return "refused", "named too late, then amended"
	}
	return "refused", "named too late"
}
