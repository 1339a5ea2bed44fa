package syncengine_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"pgregory.net/rapid"
)

// device is one replica of a ward: it writes on what it shows, which is what the
// server had at its last pull with its own unsent changes on top.
type device struct {
	view    *shelf
	pending []*change
}

// ward is a server and three devices that edit, sign, amend, void and restore one
// record.
type ward struct {
	t       *rapid.T
	server  *shelf
	devices [3]device
	// shown is what each actor had on display, by change.
	shown map[syncengine.Stamp]map[syncengine.Path]syncengine.Stamp
	next  syncengine.Stamp
}

// wardPaths are few, so that writes meet.
var wardPaths = []syncengine.Path{
	{Field: fText}, {Field: fRisk}, {Field: fLabel}, {Field: fNew}, {Field: fCodes, Key: "police"}, {Field: fEvents, Key: "element1"},
}

func newWard(t *rapid.T) *ward {
	w := &ward{t: t, server: newShelf(), shown: map[syncengine.Stamp]map[syncengine.Path]syncengine.Stamp{}, next: 2}
	create := &change{stamp: 1, act: tandemv1.Act_ACT_CREATE, edits: []edit{
		{path: syncengine.Path{Field: fLifecycle}, text: "draft"},
		{path: syncengine.Path{Field: fText}, text: "calm"}, {path: syncengine.Path{Field: fRisk}, text: "low"},
	}}
	if _, err := w.server.accept(create); err != nil {
		t.Fatal(err)
	}
	for i := range w.devices {
		w.devices[i].view = w.server.clone()
	}
	return w
}

// pull shows the server's state with what has not been sent on top.
func (w *ward) pull(d *device) {
	d.view = w.server.clone()
	for _, c := range d.pending {
		if applied, err := d.view.accept(c); applied == nil && d.view.quarantine[c.stamp] == nil {
			w.t.Fatalf("%v on its own device: %v", c.stamp, err)
		}
	}
}

// displayed returns the stamps of the displayed heads.
func displayed(s *syncengine.State) map[syncengine.Path]syncengine.Stamp {
	out := map[syncengine.Path]syncengine.Stamp{}
	for i := range s.Paths {
		if p := &s.Paths[i]; p.Displayed >= 0 {
			out[p.Path] = p.Heads[p.Displayed].Stamp
		}
	}
	return out
}

// capture makes a change of what the device shows.
func (w *ward) capture(d *device) {
	st := d.view.state()
	c := &change{stamp: w.next, act: tandemv1.Act_ACT_SET}
	w.next++
	lifecycle := func(code string) edit {
		p := syncengine.Path{Field: fLifecycle}
		return edit{path: p, text: code, bases: st.Bases(p, false)}
	}
	act := rapid.SampledFrom([]string{"set", "set", "set", "resolve", "sign", "sign", "amend", "void", "restore"}).Draw(w.t, "act")
	switch now := st.Lifecycle(); {
	case act == "resolve" && len(st.Conflicts(kind)) > 0:
		c.act = tandemv1.Act_ACT_RESOLVE
		e := drawEdit(w.t, rapid.SampledFrom(st.Conflicts(kind)).Draw(w.t, "conflict"), nil)
		if e.path.Field == fLifecycle {
			e.text, e.absent = now, false
		}
		e.bases = st.Bases(e.path, true)
		c.edits = []edit{e}
	case act == "sign" && now == "draft":
		c.act, c.seen, c.edits = tandemv1.Act_ACT_SIGN, st.Seen(), []edit{lifecycle("signed")}
	case act == "amend" && (now == "signed" || now == "amended"):
		c.act, c.seen, c.edits = tandemv1.Act_ACT_AMEND, st.Seen(), []edit{lifecycle("amended")}
	case act == "void" && now != "void":
		c.act, c.seen, c.edits = tandemv1.Act_ACT_VOID, st.Seen(), []edit{lifecycle("void")}
	case act == "restore" && now == "void":
		code := rapid.SampledFrom([]string{"draft", "signed"}).Draw(w.t, "restored to")
		c.act, c.seen, c.edits = tandemv1.Act_ACT_RESTORE, st.Seen(), []edit{lifecycle(code)}
	}
	if c.act == tandemv1.Act_ACT_SET || c.act == tandemv1.Act_ACT_SIGN || c.act == tandemv1.Act_ACT_AMEND {
		least := btoi(c.act == tandemv1.Act_ACT_SET)
		for _, p := range rapid.SliceOfNDistinct(rapid.SampledFrom(wardPaths), least, 2, rapid.ID).Draw(w.t, "paths") {
			e := drawEdit(w.t, p, nil)
			e.bases = st.Bases(p, false)
			c.edits = append(c.edits, e)
		}
	}
	w.shown[c.stamp] = displayed(st)
	d.pending = append(d.pending, c)
	if _, err := d.view.accept(c); err != nil {
		w.t.Fatalf("%v on its own device: %v", c.stamp, err)
	}
}

// deliver brings one pending change of a device to the server, in any order.
func (w *ward) deliver(d *device, refuse bool) {
	if len(d.pending) == 0 {
		return
	}
	i := rapid.IntRange(0, len(d.pending)-1).Draw(w.t, "which")
	c := d.pending[i]
	d.pending = slices.Delete(slices.Clone(d.pending), i, i+1)
	before := w.server.clone()
	if refuse {
		if err := w.server.hold(c); err != nil {
			w.t.Fatal(err)
		}
		w.check(before, nil, nil)
		return
	}
	w.accept(c)
}

func (w *ward) accept(c *change) {
	before := w.server.clone()
	applied, err := w.server.accept(c)
	if applied == nil {
		if w.server.quarantine[c.stamp] == nil {
			w.t.Fatalf("%v: %v", c.stamp, err)
		}
		w.check(before, nil, nil)
		return
	}
	w.check(before, c, applied)
}

// check holds what must be true after every step; c is nil where a change came to
// lie in quarantine.
func (w *ward) check(before *shelf, c *change, applied *syncengine.Applied) {
	was, is := before.state(), w.server.state()
	if body, stamps := is.Encode(); !slices.Equal(body, w.server.rec.Body) || !slices.Equal(stamps, w.server.rec.Stamps) {
		w.t.Fatal("the record does not encode to the bytes that it was decoded from")
	}
	signed := is.Rev > was.Rev
	sealed := kind.Sealed[is.Lifecycle()]
	showedWas, shows := displayed(was), displayed(is)
	for i := range is.Paths {
		p := &is.Paths[i]
		for _, h := range p.Heads {
			if e, _ := w.server.log[h.Stamp].write(p.Path); !equal(e.raw(), h.Raw) {
				w.t.Fatalf("path %v: head %v does not hold what its change wrote", p.Path, h.Stamp)
			}
			if (len(p.Heads) > 1 || p.Displayed < 0) && fmt.Sprint(h) != fmt.Sprint(headOf(h.Stamp, h.Raw)) {
				w.t.Fatalf("path %v: head %v has lost who wrote it and when", p.Path, h.Stamp)
			}
		}
		want, some := w.wanted(p, c, signed, sealed, showedWas)
		if got, shown := shows[p.Path]; some != shown || got != want {
			w.t.Fatalf("path %v (signed now: %v, sealed: %v): displayed %v of %v, want %v", p.Path, signed, sealed, got, headStamps(p), want)
		}
	}
	w.kept(was, is, c)
	w.asked(was, is, c, applied)
}

// wanted returns the head that a path is to display, and whether there is one.
func (w *ward) wanted(p *syncengine.PathState, c *change, signed, sealed bool, showedWas map[syncengine.Path]syncengine.Stamp) (syncengine.Stamp, bool) {
	switch {
	case signed:
		if _, own := c.write(p.Path); own {
			return c.stamp, true
		}
		s, ok := w.shown[c.stamp][p.Path]
		return s, ok
	case sealed && p.Path.Field != fLifecycle:
		s, ok := showedWas[p.Path]
		return s, ok
	case sealed:
		return displayedOf(p), true
	}
	heads := make([]*change, len(p.Heads))
	for i, h := range p.Heads {
		heads[i] = w.server.log[h.Stamp]
	}
	return p.Heads[shown(p.Path, heads)].Stamp, true
}

func displayedOf(p *syncengine.PathState) syncengine.Stamp { return p.Heads[p.Displayed].Stamp }

// kept checks that no value left but those that the change names, that a resolve
// sets aside or that a last-accepted field gave up; and that its own values came.
func (w *ward) kept(was, is *syncengine.State, c *change) {
	g := &graph{held: w.server.quarantine}
	for i := range was.Paths {
		p := was.Paths[i].Path
		heads, _ := is.Heads(p)
		for _, h := range was.Paths[i].Heads {
			if slices.ContainsFunc(heads, func(k syncengine.Head) bool { return k.Stamp == h.Stamp }) {
				continue
			}
			named := policy(p.Field) == tandemv1.MergePolicy_MERGE_POLICY_LAST_ACCEPTED
			for _, by := range w.server.log {
				named = named || (by == c || c == nil) && slices.Contains(g.names(by, p), h.Stamp)
			}
			if !named {
				w.t.Fatalf("path %v: value of %v left, and no change has named it", p, h.Stamp)
			}
		}
	}
	if c == nil {
		return
	}
	aside := c.act == tandemv1.Act_ACT_RESOLVE && kind.Sealed[was.Lifecycle()]
	for _, e := range c.edits {
		heads, _ := is.Heads(e.path)
		came := slices.ContainsFunc(heads, func(k syncengine.Head) bool { return k.Stamp == c.stamp })
		if !came && !aside && !w.server.awaited[awaitedKey{e.path, c.stamp}] {
			w.t.Fatalf("path %v: the value of %v is no head", e.path, c.stamp)
		}
	}
}

// asked checks that where two values differ, or one is not displayed, a human is
// asked, from the moment on that it is so.
func (w *ward) asked(was, is *syncengine.State, c *change, applied *syncengine.Applied) {
	open := is.Conflicts(kind)
	for i := range is.Paths {
		p := &is.Paths[i]
		differ := policy(p.Path.Field) != tandemv1.MergePolicy_MERGE_POLICY_APPEND &&
			slices.ContainsFunc(p.Heads, func(h syncengine.Head) bool { return !equal(h.Raw, p.Heads[0].Raw) })
		if want := differ || p.Displayed < 0; want != slices.Contains(open, p.Path) {
			w.t.Fatalf("path %v: open %v, want %v", p.Path, !want, want)
		}
		if c == nil || !slices.Contains(open, p.Path) || slices.Contains(was.Conflicts(kind), p.Path) {
			continue
		}
		if !slices.ContainsFunc(applied.Items, func(i syncengine.Item) bool { return i.Path == p.Path }) {
			w.t.Fatalf("path %v: %v opened it and asks nothing (items %v)", p.Path, c.stamp, applied.Items)
		}
	}
}

// What is signed, locked or void stays displayed whatever arrives, what was not
// seen is never shown as signed, no value leaves without having been named, and
// wherever a value is not displayed a human is asked: with three devices that edit,
// sign, amend, void, restore and resolve on whatever they happen to show.
func TestSeals(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWard(t)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			d := &w.devices[rapid.IntRange(0, len(w.devices)-1).Draw(t, "device")]
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0, 1, 2, 3:
				w.capture(d)
			case 4, 5, 6:
				w.deliver(d, false)
			case 7:
				w.deliver(d, true)
			case 8:
				w.pull(d)
			default:
				for _, s := range slices.Sorted(maps.Keys(w.server.quarantine)) {
					w.accept(w.server.quarantine[s])
				}
			}
		}
	})
}
