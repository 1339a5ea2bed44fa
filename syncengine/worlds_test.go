package syncengine_test

import (
	"bytes"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/syncengine"
)

// Small worlds: three replicas that make three edits each of one path, whose
// changes reach the server in every order, and which pull at every point.
//
// What a replica does by itself commutes with everything else, so it is enough to
// let each edit happen at once after a pull or after the edit before it: a world is
// the server's record, the changes on their way, and how many edits each replica
// has left. Worlds that differ only in what can no longer matter, or in the names
// of the replicas, are one.
const (
	worldReplicas = 3
	worldEdits    = 3
	worldChanges  = worldReplicas*worldEdits + 1
)

// A stampSet is a set of changes by stamp; bit 0 is the base zero. The create has
// stamp 1, edit e of replica r has stamp 2 + r·3 + e.
type stampSet uint16

func only(s uint8) stampSet             { return 1 << s }
func (s stampSet) has(stamp uint8) bool { return s&only(stamp) != 0 }

// world is one state of everything.
type world struct {
	body, stamps string
	order        [worldChanges]uint8 // accepted, in order
	accepted     uint8               // how many
	bases        [worldChanges + 1]stampSet
	resolves     stampSet // changes that are resolves
	made         [worldReplicas]uint8
	sent         stampSet // accepted
	awaited      stampSet
	displaced    stampSet // given up by a last-accepted field
}

// worldKey is a world less what can no longer matter.
type worldKey [1 + worldChanges + worldReplicas*(1+2*worldEdits)]byte

// enumeration visits all worlds of one model.
type enumeration struct {
	t     *testing.T
	path  syncengine.Path
	value [worldEdits]edit // of each edit, where the model says; else its own
	// alike: edits have the values of value, the same on every replica.
	alike bool
	// inOrder: each replica's changes arrive in order.
	inOrder bool
	// plain: nobody resolves.
	plain bool

	known  map[worldKey]bool
	merged map[applyKey]*applied
	raws   [worldChanges + 1]*[]byte
	queue  []world
	steps  int
	finals int
	most   int // heads at once
}

// Awaited, Await, QuarantinedBases and Written make it the history of a world.
type worldHistory struct {
	e       *enumeration
	awaited stampSet
}

func (h *worldHistory) Awaited(_ syncengine.Path, s syncengine.Stamp) (bool, error) {
	return h.awaited.has(uint8(s)), nil
}

func (h *worldHistory) Await(_ syncengine.Path, s syncengine.Stamp) error {
	h.awaited |= only(uint8(s))
	return nil
}

func (h *worldHistory) QuarantinedBases(syncengine.Path, syncengine.Stamp) ([]syncengine.Stamp, error) {
	return nil, nil
}

func (h *worldHistory) Written(_ syncengine.Path, s syncengine.Stamp) (syncengine.Head, bool, error) {
	return headOf(s, h.e.edit(uint8(s)).raw()), true, nil
}

// edit is what a change writes.
func (e *enumeration) edit(stamp uint8) edit {
	switch {
	case stamp == 1:
		return edit{path: e.path, text: "low"}
	case e.alike:
		v := e.value[(stamp-2)%worldEdits]
		v.path = e.path
		return v
	}
	return edit{path: e.path, text: fmt.Sprint(stamp)}
}

// raw is what a change writes, in bytes.
func (e *enumeration) raw(stamp uint8) []byte {
	if e.raws[stamp] == nil {
		raw := e.edit(stamp).raw()
		e.raws[stamp] = &raw
	}
	return *e.raws[stamp]
}

// message is a change in its wire form.
func (e *enumeration) message(w *world, stamp uint8) *tandemv1.RecordWrite {
	act := tandemv1.Act_ACT_SET
	if w.resolves.has(stamp) {
		act = tandemv1.Act_ACT_RESOLVE
	}
	c := &change{stamp: syncengine.Stamp(stamp), act: act, edits: []edit{e.edit(stamp)}}
	for s := range uint8(worldChanges + 1) {
		if w.bases[stamp].has(s) {
			c.edits[0].bases = append(c.edits[0].bases, syncengine.Stamp(s))
		}
	}
	return c.message()
}

// applyKey is all that a merge depends on.
type applyKey struct {
	body, stamps string
	stamp        uint8
	bases        stampSet
	resolve      bool
	awaited      bool
}

// applied is what a merge did.
type applied struct {
	body, stamps string
	state        *syncengine.State
	items        []syncengine.Item
	awaits       stampSet
}

// apply applies a change to a record that the server or a replica holds. The same
// merge is not done twice: Apply depends on its arguments alone.
func (e *enumeration) apply(w *world, body, stamps string, stamp uint8, awaited stampSet) *applied {
	key := applyKey{body, stamps, stamp, w.bases[stamp], w.resolves.has(stamp), awaited.has(stamp)}
	if a := e.merged[key]; a != nil {
		return a
	}
	h := &worldHistory{e: e, awaited: awaited & only(stamp)}
	rec := &syncengine.Record{ID: sampleID, Kind: kindNumber, Body: []byte(body), Stamps: []byte(stamps)}
	got, err := syncengine.Apply(kind, rec, e.message(w, stamp), writerOf(syncengine.Stamp(stamp)), h)
	if err != nil {
		e.t.Fatalf("%s: change %d: %v", w, stamp, err)
	}
	a := &applied{body: string(got.Record.Body), stamps: string(got.Record.Stamps), items: got.Items, awaits: h.awaited &^ only(stamp)}
	if a.state, err = syncengine.Decode(got.Record); err != nil {
		e.t.Fatalf("%s: change %d: %v", w, stamp, err)
	}
	e.merged[key] = a
	return a
}

// run visits every world from the created record on.
func (e *enumeration) run() {
	create := &change{stamp: 1, act: tandemv1.Act_ACT_CREATE, edits: []edit{e.edit(1)}}
	made, err := syncengine.Apply(kind, nil, create.message(), writerOf(1), &worldHistory{e: e})
	if err != nil {
		e.t.Fatal(err)
	}
	start := world{body: string(made.Record.Body), stamps: string(made.Record.Stamps), accepted: 1, sent: only(1)}
	start.order[0] = 1
	e.known, e.merged = map[worldKey]bool{}, map[applyKey]*applied{}
	e.visit(&start)
	for len(e.queue) > 0 {
		w := e.queue[len(e.queue)-1]
		e.queue = e.queue[:len(e.queue)-1]
		e.next(&w)
	}
}

func (e *enumeration) visit(w *world) {
	e.steps++
	if key := e.key(w); !e.known[key] {
		e.known[key] = true
		e.queue = append(e.queue, *w)
	}
}

// next visits all worlds one step on.
func (e *enumeration) next(w *world) {
	final := true
	for r := range uint8(worldReplicas) {
		for i := range w.made[r] {
			if stamp := 2 + r*worldEdits + i; !w.sent.has(stamp) {
				final = false
				e.deliver(*w, stamp)
				if e.inOrder {
					break
				}
			}
		}
		if w.made[r] < worldEdits {
			final = false
			e.burst(*w, r)
		}
	}
	if final {
		e.finals++
	}
}

// burst lets a replica pull and make one, two or three edits on what it then shows,
// plain ones or resolves.
func (e *enumeration) burst(w world, r uint8) {
	view := &applied{body: w.body, stamps: w.stamps}
	var named stampSet // by the replica's own changes
	for i := range w.made[r] {
		named |= w.bases[2+r*worldEdits+i]
	}
	for i := range w.made[r] {
		if stamp := 2 + r*worldEdits + i; !w.sent.has(stamp) {
			view = e.apply(&w, view.body, view.stamps, stamp, named)
		}
	}
	e.write(w, view, named, r)
}

func (e *enumeration) write(w world, view *applied, named stampSet, r uint8) {
	if w.made[r] == worldEdits {
		return
	}
	if view.state == nil {
		st, err := syncengine.Decode(&syncengine.Record{Body: []byte(view.body), Stamps: []byte(view.stamps)})
		if err != nil {
			e.t.Fatalf("%s: %v", &w, err)
		}
		view.state = st
	}
	stamp := 2 + r*worldEdits + w.made[r]
	for _, resolve := range []bool{false, true} {
		if resolve && (e.plain || len(view.state.Conflicts(kind)) == 0) {
			continue
		}
		n := w
		n.made[r]++
		n.bases[stamp] = 0
		for _, s := range view.state.Bases(e.path, resolve) {
			n.bases[stamp] |= only(uint8(s))
		}
		if resolve {
			n.resolves |= only(stamp)
		}
		e.visit(&n)
		named := named | n.bases[stamp]
		e.write(n, e.apply(&n, view.body, view.stamps, stamp, named), named, r)
	}
}

// deliver brings a change to the server and holds the result against the
// definition.
func (e *enumeration) deliver(w world, stamp uint8) {
	before := e.heads(&w)
	a := e.apply(&w, w.body, w.stamps, stamp, w.awaited)
	w.body, w.stamps = a.body, a.stamps
	w.awaited |= a.awaits
	w.order[w.accepted] = stamp
	w.accepted++
	w.sent |= only(stamp)
	heads := e.heads(&w)
	if policy(e.path.Field) == tandemv1.MergePolicy_MERGE_POLICY_LAST_ACCEPTED && slices.Contains(heads, stamp) {
		for _, h := range heads[:len(heads)-1] {
			w.displaced |= only(h)
		}
		heads = heads[len(heads)-1:]
	}
	e.check(&w, heads, a)
	for _, h := range before { // no value leaves unless the change has named it, or a policy logs it
		if !slices.Contains(heads, h) && !w.bases[stamp].has(h) && !w.displaced.has(h) {
			e.t.Fatalf("%s: change %d drove out %d, which its author had not seen", &w, stamp, h)
		}
	}
	e.visit(&w)
}

// heads are the accepted changes that no accepted one names, in order of
// acceptance.
func (e *enumeration) heads(w *world) (heads []uint8) {
	var named stampSet
	for _, s := range w.order[:w.accepted] {
		named |= w.bases[s]
	}
	for _, s := range w.order[:w.accepted] {
		if !named.has(s) && !w.displaced.has(s) {
			heads = append(heads, s)
		}
	}
	return heads
}

// check compares the server's record with the heads by the definition: which they
// are, in which order, which is displayed, who wrote them, and whether a human is
// asked.
func (e *enumeration) check(w *world, want []uint8, a *applied) {
	if len(a.state.Paths) != 1 || len(a.state.Paths[0].Heads) != len(want) {
		e.t.Fatalf("%s: got %v, want heads %v", w, a.state.Paths, want)
	}
	e.most = max(e.most, len(want))
	got := &a.state.Paths[0]
	best, differ := 0, false
	for i, h := range got.Heads {
		raw := e.raw(want[i])
		if h.Stamp != syncengine.Stamp(want[i]) || !equal(h.Raw, raw) {
			e.t.Fatalf("%s: got heads %v, want %v", w, headStamps(got), want)
		}
		if by := writerOf(h.Stamp); len(want) > 1 && (h.Author != by.Author || h.Device != by.Device || h.AtMS != by.AtMS || h.ReceivedMS != by.ReceivedMS) {
			e.t.Fatalf("%s: head %v has lost who wrote it and when", w, h.Stamp)
		}
		first := e.raw(want[best])
		switch policy(e.path.Field) {
		case tandemv1.MergePolicy_MERGE_POLICY_SAFEST_HEAD:
			if caution(raw) > caution(first) {
				best = i
			}
		case tandemv1.MergePolicy_MERGE_POLICY_SET:
			if raw != nil && first == nil {
				best = i
			}
		}
		differ = differ || !equal(raw, e.raw(want[0]))
	}
	if got.Displayed != best || a.body != string(e.raw(want[best])) {
		e.t.Fatalf("%s: head %d of %v is displayed, want %d", w, got.Displayed, want, best)
	}
	asked := slices.ContainsFunc(a.items, func(i syncengine.Item) bool { return i.Kind == syncengine.ItemDiffers && i.Path == e.path })
	if open := len(a.state.Conflicts(kind)) == 1; open != differ || asked != differ {
		e.t.Fatalf("%s: heads %v: open %v, asked %v, want %v", w, want, open, asked, differ)
	}
}

// swaps are the ways to rename the replicas.
var swaps = [][worldReplicas]uint8{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}

// key is the least of the world's forms under renaming.
func (e *enumeration) key(w *world) worldKey {
	heads := e.heads(w)
	var live stampSet
	for _, h := range heads {
		live |= only(h)
	}
	for r := range uint8(worldReplicas) {
		for i := range w.made[r] {
			live |= only(2+r*worldEdits+i) &^ w.sent
		}
	}
	least := e.form(w, heads, live, swaps[0])
	for _, swap := range swaps[1:] {
		if f := e.form(w, heads, live, swap); bytes.Compare(f[:], least[:]) < 0 {
			least = f
		}
	}
	return least
}

// form writes a world down with replica r called swap[r].
func (e *enumeration) form(w *world, heads []uint8, live stampSet, swap [worldReplicas]uint8) (k worldKey) {
	rename := func(s uint8) uint8 {
		if s < 2 {
			return s
		}
		return 2 + swap[(s-2)/worldEdits]*worldEdits + (s-2)%worldEdits
	}
	k[0] = uint8(len(heads))
	for i, h := range heads {
		k[1+i] = rename(h)
	}
	for r := range uint8(worldReplicas) {
		at := 1 + worldChanges + int(swap[r])*(1+2*worldEdits)
		k[at] = 1 + w.made[r]
		for i := range w.made[r] {
			stamp := 2 + r*worldEdits + i
			if w.sent.has(stamp) {
				continue
			}
			var bases stampSet
			for b := w.bases[stamp] & live; b != 0; b &= b - 1 {
				bases |= only(rename(uint8(bits.TrailingZeros16(uint16(b)))))
			}
			form := uint16(bases) | 1<<15
			if w.awaited.has(stamp) {
				form |= 1 << 14
			}
			if w.resolves.has(stamp) {
				form |= 1 << 13
			}
			k[at+1+2*int(i)], k[at+2+2*int(i)] = uint8(form>>8), uint8(form)
		}
	}
	return k
}

func (w *world) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "accepted %v", w.order[:w.accepted])
	for s := range uint8(worldChanges + 1) {
		if w.bases[s] != 0 {
			fmt.Fprintf(&out, " %d<", s)
			for b := range uint8(worldChanges + 1) {
				if w.bases[s].has(b) {
					fmt.Fprintf(&out, "%d,", b)
				}
			}
		}
	}
	return out.String()
}

// Every delivery order, every point to pull: in every world the server's heads are
// those of the definition, in the order of acceptance, the policy's is displayed,
// alternatives keep who wrote them and when, no value is driven out unseen, and a
// human is asked exactly where values differ.
func TestSmallWorlds(t *testing.T) {
	t.Parallel()
	need.Long(t)
	text := syncengine.Path{Field: fText}
	models := map[string]*enumeration{
		"keep both, in order":  {path: text, inOrder: true},
		"keep both, any order": {path: text, plain: !*full},
		"keep both, equal values, in order": {
			path: text, inOrder: true, alike: true, value: [worldEdits]edit{{text: "a"}, {text: "b"}, {absent: true}},
		},
		"safest head, in order": {
			path: syncengine.Path{Field: fRisk}, inOrder: true, alike: true,
			value: [worldEdits]edit{{text: "none"}, {text: "high"}, {text: "low"}},
		},
		"element of a set, in order": {
			path: syncengine.Path{Field: fCodes, Key: "police"}, inOrder: true, alike: true,
			value: [worldEdits]edit{{absent: true}, {}, {absent: true}},
		},
		"last accepted, in order": {path: syncengine.Path{Field: fLabel}, inOrder: true},
	}
	for name, e := range models {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e.t = t
			e.run()
			if e.finals == 0 || e.most == 0 {
				t.Error("no world came to its end")
			}
			t.Logf("%d worlds, %d steps, %d ends, up to %d heads", len(e.known), e.steps, e.finals, e.most)
		})
	}
}
