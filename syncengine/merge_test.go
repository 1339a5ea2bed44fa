package syncengine_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"pgregory.net/rapid"
)

// palette is the paths that random histories write: few, so that writes meet.
var palette = []syncengine.Path{
	{Field: fText}, {Field: fRisk}, {Field: fState}, {Field: fLabel}, {Field: fNew},
	{Field: fCodes, Key: "crisis_line"}, {Field: fCodes, Key: "police"}, {Field: fNewCodes, Key: "x"},
	{Field: fPhones, Key: "element1"}, {Field: fPhones, Key: "element2"}, {Field: fNewParts, Key: "element1"},
	{Field: fEvents, Key: "element1"}, {Field: fNewEvents, Key: "element1"},
}

// words are the values of each singular field; a few, so that equal ones meet.
var words = map[uint32][]string{
	fText:  {"calm", "upset", ""},
	fRisk:  {"none", "low", "new_code", "high"},
	fState: {"offered", "sent", "accepted", "closed", "unheard_of"},
	fLabel: {"a", "b"},
	fNew:   {"x", "y", ""},
}

// step is one event at the server: a change arrives, to be accepted or to be put
// into quarantine.
type step struct {
	change int
	hold   bool
}

// history is changes with two orders in which they may arrive.
type history struct {
	create  *change
	changes []*change
	orders  [2][]step
}

func drawHistory(t *rapid.T) *history {
	h := &history{create: &change{stamp: 1, act: tandemv1.Act_ACT_CREATE}}
	for _, p := range palette {
		if rapid.Bool().Draw(t, "created with "+p.String()) {
			e := drawEdit(t, p, nil)
			e.absent = false
			h.create.edits = append(h.create.edits, e)
		}
	}
	n := rapid.IntRange(1, 9).Draw(t, "changes")
	for i := range n {
		h.changes = append(h.changes, drawChange(t, h, syncengine.Stamp(i+2)))
	}
	var steps []step
	for i := range h.changes {
		switch rapid.IntRange(0, 5).Draw(t, "fate") {
		case 0: // refused for good
			steps = append(steps, step{change: i, hold: true})
		case 1: // released in the end
			steps = append(steps, step{change: i, hold: true}, step{change: i})
		case 2: // sent twice
			steps = append(steps, step{change: i}, step{change: i})
		default:
			steps = append(steps, step{change: i})
		}
	}
	for i := range h.orders {
		h.orders[i] = rapid.Permutation(steps).Draw(t, fmt.Sprintf("order %d", i))
	}
	return h
}

func drawChange(t *rapid.T, h *history, stamp syncengine.Stamp) *change {
	c := &change{stamp: stamp, act: rapid.SampledFrom([]tandemv1.Act{
		tandemv1.Act_ACT_SET, tandemv1.Act_ACT_SET, tandemv1.Act_ACT_APPEND, tandemv1.Act_ACT_RESOLVE, tandemv1.Act_ACT_CREATE,
	}).Draw(t, "act")}
	paths := rapid.SliceOfNDistinct(rapid.SampledFrom(palette), 1, 3, rapid.ID).Draw(t, "paths")
	for _, p := range paths {
		e := drawEdit(t, p, h)
		if c.act == tandemv1.Act_ACT_CREATE {
			e.absent, e.bases = false, []syncengine.Stamp{0}
		}
		c.edits = append(c.edits, e)
	}
	return c
}

// drawEdit draws a write of p that names writes of p before it, values that never
// were, changes that wrote elsewhere, or nothing.
func drawEdit(t *rapid.T, p syncengine.Path, h *history) edit {
	e := edit{path: p, absent: rapid.IntRange(0, 4).Draw(t, "cleared") == 0}
	if w := words[p.Field]; w != nil {
		e.text = rapid.SampledFrom(w).Draw(t, "value")
	} else {
		e.text = rapid.SampledFrom([]string{"", "v"}).Draw(t, "content")
	}
	if h == nil {
		e.bases = []syncengine.Stamp{0}
		return e
	}
	known := []syncengine.Stamp{0, h.create.stamp, h.create.stamp, 900, 901}
	for _, c := range h.changes {
		known = append(known, c.stamp)
		if _, ok := c.write(p); ok {
			known = append(known, c.stamp, c.stamp, c.stamp)
		}
	}
	e.bases = rapid.SliceOfN(rapid.SampledFrom(known), 0, 4).Draw(t, "bases")
	return e
}

// play lets the changes arrive at a server and at the graph in one order, and
// compares the two after every step.
func (h *history) play(t *rapid.T, order []step) (*shelf, *graph) {
	s, g := newShelf(), newGraph()
	if _, err := s.accept(h.create); err != nil {
		t.Fatalf("create: %v", err)
	}
	g.accept(h.create)
	for i, st := range order {
		c := h.changes[st.change]
		if st.hold {
			if err := s.hold(c); err != nil {
				t.Fatalf("step %d: %v into quarantine: %v", i, c.stamp, err)
			}
			g.hold(c)
		} else {
			known := g.find(c.stamp) != nil
			applied, err := s.accept(c)
			if err != nil {
				t.Fatalf("step %d: %v: %v", i, c.stamp, err)
			}
			g.accept(c)
			if !known {
				checkItems(t, g, c, applied)
			}
		}
		if err := g.differs(s.state()); err != nil {
			t.Fatalf("after step %d, %v (quarantined: %v): %v", i, c.stamp, st.hold, err)
		}
		if want := g.body(); !bytes.Equal(s.rec.Body, want) {
			t.Fatalf("after step %d, %v: body %x, want the displayed values in order of path: %x", i, c.stamp, s.rec.Body, want)
		}
	}
	return s, g
}

// checkItems compares the work items of a plain change with the graph.
func checkItems(t *rapid.T, g *graph, c *change, got *syncengine.Applied) {
	var want []string
	plain := true
	for _, p := range g.paths() {
		heads := g.heads(p)
		plain = plain && len(heads) < 2
		if _, wrote := c.write(p); wrote && asks(p, heads) {
			want = append(want, fmt.Sprint(syncengine.Item{Kind: syncengine.ItemDiffers, Path: p}))
		}
	}
	for _, p := range g.overridden {
		want = append(want, fmt.Sprint(syncengine.Item{Kind: syncengine.ItemByPolicy, Path: p}))
	}
	var items []string
	for _, item := range got.Items {
		items = append(items, fmt.Sprint(item))
	}
	slices.Sort(items)
	slices.Sort(want)
	if !slices.Equal(items, want) {
		t.Fatalf("%v: work items: got %v, want %v", c.stamp, items, want)
	}
	if got.Plain != plain {
		t.Fatalf("%v: plain: got %v, want %v", c.stamp, got.Plain, plain)
	}
}

// The engine's heads, display and work items are those of the definition after
// every step of any history: bases that never were, that come later, that lie in
// quarantine before or after they are named, changes that come twice.
func TestMergeEqualsItsDefinition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		h.play(t, h.orders[0])
	})
}

// The set of heads is the same whatever the order of arrival. Display, lifecycle
// and last-accepted fields follow server order.
func TestHeadsDoNotDependOnOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		s, g := h.play(t, h.orders[0])
		r, _ := h.play(t, h.orders[1])
		for _, p := range g.paths() {
			switch policy(p.Field) {
			case tandemv1.MergePolicy_MERGE_POLICY_STATE_MACHINE, tandemv1.MergePolicy_MERGE_POLICY_LAST_ACCEPTED:
				continue
			}
			if a, b := headSet(s, p), headSet(r, p); !slices.Equal(a, b) {
				t.Fatalf("path %v: heads %v in one order, %v in the other", p, a, b)
			}
		}
	})
}

// headSet returns the heads of a path, sorted by stamp.
func headSet(s *shelf, p syncengine.Path) (out []string) {
	heads, _ := s.state().Heads(p)
	for _, h := range heads {
		out = append(out, fmt.Sprintf("%v %x", h.Stamp, h.Raw))
	}
	slices.Sort(out)
	return out
}

// A write names the heads whose value stood on the screen: all that equal the
// displayed one; a resolve names all; a path never written has the base zero.
func TestBases(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		s, g := h.play(t, h.orders[0])
		st := s.state()
		for _, p := range palette {
			heads := g.heads(p)
			equals, all := []syncengine.Stamp{0}, []syncengine.Stamp{0}
			if len(heads) > 0 {
				equals, all = nil, stampsOf(heads)
				first, _ := heads[shown(p, heads)].write(p)
				for _, c := range heads {
					if e, _ := c.write(p); equal(e.raw(), first.raw()) {
						equals = append(equals, c.stamp)
					}
				}
			}
			if got := st.Bases(p, false); !slices.Equal(got, equals) {
				t.Fatalf("path %v: bases of a write: got %v, want %v", p, got, equals)
			}
			if got := st.Bases(p, true); !slices.Equal(got, all) {
				t.Fatalf("path %v: bases of a resolve: got %v, want %v", p, got, all)
			}
		}
	})
}

// A last-accepted field that was once written is never blank while changes arrive
// after those they name.
func TestLastAcceptedIsNeverBlank(t *testing.T) {
	t.Parallel()
	p := syncengine.Path{Field: fLabel}
	rapid.Check(t, func(t *rapid.T) {
		s := newShelf()
		create := &change{stamp: 1, act: tandemv1.Act_ACT_CREATE, edits: []edit{{path: p, text: "first"}}}
		if _, err := s.accept(create); err != nil {
			t.Fatal(err)
		}
		var stamps []syncengine.Stamp
		for i := range rapid.IntRange(1, 12).Draw(t, "changes") {
			stamp := syncengine.Stamp(i + 2)
			bases := rapid.SliceOfN(rapid.SampledFrom(append([]syncengine.Stamp{0, 1}, stamps...)), 0, 3).Draw(t, "bases")
			c := &change{stamp: stamp, act: tandemv1.Act_ACT_SET, edits: []edit{{path: p, text: fmt.Sprint(i), bases: bases}}}
			if _, err := s.accept(c); err != nil {
				t.Fatal(err)
			}
			stamps = append(stamps, stamp)
			if got := s.rec.Text(fLabel); got != fmt.Sprint(i) {
				t.Fatalf("displayed: got %q, want the newest accepted, %q", got, fmt.Sprint(i))
			}
		}
	})
}
