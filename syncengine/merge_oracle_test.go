package syncengine_test

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// graph is the merge of an unsealed record by its definition, for comparison with
// the engine: it keeps every accepted write with the bases it names, and finds the
// heads of a path, each time anew, as the accepted writes that no accepted one
// names. Two things hang on the order of acceptance and are noted as they happen:
// which steps were illegal, so that they name nothing, and which values a
// last-accepted field gave up.
type graph struct {
	accepted   []*change
	held       map[syncengine.Stamp]*change
	illegal    map[awaitedKey]bool
	displaced  map[awaitedKey]bool
	overridden []syncengine.Path // of the change accepted last
}

func newGraph() *graph {
	return &graph{held: map[syncengine.Stamp]*change{}, illegal: map[awaitedKey]bool{}, displaced: map[awaitedKey]bool{}}
}

func (g *graph) find(s syncengine.Stamp) *change {
	i := slices.IndexFunc(g.accepted, func(c *change) bool { return c.stamp == s })
	if i < 0 {
		return nil
	}
	return g.accepted[i]
}

func (g *graph) hold(c *change) {
	if g.find(c.stamp) == nil {
		g.held[c.stamp] = c
	}
}

// names returns every stamp that the write of c at p names: its bases, and the
// bases of those that lie in quarantine.
func (g *graph) names(c *change, p syncengine.Path) []syncengine.Stamp {
	e, _ := c.write(p)
	names := slices.Clone(e.bases)
	for i := 0; i < len(names); i++ {
		if q := g.held[names[i]]; q != nil {
			more, _ := q.write(p)
			for _, b := range more.bases {
				if !slices.Contains(names, b) {
					names = append(names, b)
				}
			}
		}
	}
	return names
}

// heads returns H(p) in order of acceptance.
func (g *graph) heads(p syncengine.Path) (heads []*change) {
	for _, c := range g.accepted {
		if _, ok := c.write(p); !ok || g.displaced[awaitedKey{p, c.stamp}] || g.named(c.stamp, p) {
			continue
		}
		heads = append(heads, c)
	}
	return heads
}

func (g *graph) named(s syncengine.Stamp, p syncengine.Path) bool {
	return slices.ContainsFunc(g.accepted, func(by *change) bool {
		if _, ok := by.write(p); !ok || by.stamp == s || g.illegal[awaitedKey{p, by.stamp}] {
			return false
		}
		return slices.Contains(g.names(by, p), s)
	})
}

func (g *graph) accept(c *change) {
	if g.find(c.stamp) != nil {
		return
	}
	g.overridden = nil
	for _, e := range c.edits {
		if policy(e.path.Field) == tandemv1.MergePolicy_MERGE_POLICY_STATE_MACHINE && c.act != tandemv1.Act_ACT_RESOLVE {
			g.step(c, e)
		}
	}
	delete(g.held, c.stamp)
	g.accepted = append(g.accepted, c)
	for _, e := range c.edits {
		if policy(e.path.Field) == tandemv1.MergePolicy_MERGE_POLICY_LAST_ACCEPTED {
			g.displace(c, e)
		}
	}
}

// step notes whether a step of a state machine is illegal from all the present
// heads that it names.
func (g *graph) step(c *change, e edit) {
	heads := g.heads(e.path)
	legal := kind.Fields[e.path.Field].Legal
	known, fits := false, false
	for _, h := range heads {
		if slices.Contains(e.bases, h.stamp) {
			from, _ := h.write(e.path)
			known, fits = true, fits || legal(from.raw(), e.raw())
		}
	}
	if known && !fits {
		g.illegal[awaitedKey{e.path, c.stamp}] = true
	}
}

// displace takes the other heads of a last-accepted field out for good.
func (g *graph) displace(c *change, e edit) {
	heads := g.heads(e.path)
	if !slices.Contains(heads, c) {
		return
	}
	for _, h := range heads {
		if h == c {
			continue
		}
		g.displaced[awaitedKey{e.path, h.stamp}] = true
		if was, _ := h.write(e.path); !equal(was.raw(), e.raw()) && !slices.Contains(g.overridden, e.path) {
			g.overridden = append(g.overridden, e.path)
		}
	}
}

// equal is byte equality; an absence equals only an absence.
func equal(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// shown returns the place in heads of the one that the policy of p displays.
func shown(p syncengine.Path, heads []*change) int {
	rank := func(c *change) int {
		e, _ := c.write(p)
		switch policy(p.Field) {
		case tandemv1.MergePolicy_MERGE_POLICY_SAFEST_HEAD:
			if e.absent {
				return -1
			}
			return caution(e.raw())
		case tandemv1.MergePolicy_MERGE_POLICY_SET, tandemv1.MergePolicy_MERGE_POLICY_APPEND:
			return btoi(!e.absent)
		}
		return 0
	}
	best := slices.MaxFunc(heads, func(a, b *change) int { return cmp.Compare(rank(a), rank(b)) })
	return slices.Index(heads, best)
}

// asks reports whether a human is to settle the path.
func asks(p syncengine.Path, heads []*change) bool {
	if policy(p.Field) == tandemv1.MergePolicy_MERGE_POLICY_APPEND {
		return false
	}
	return slices.ContainsFunc(heads, func(c *change) bool {
		e, _ := c.write(p)
		first, _ := heads[0].write(p)
		return !equal(e.raw(), first.raw())
	})
}

// paths returns every path that an accepted change has written, in order.
func (g *graph) paths() (paths []syncengine.Path) {
	for _, c := range g.accepted {
		for _, e := range c.edits {
			paths = append(paths, e.path)
		}
	}
	slices.SortFunc(paths, syncengine.Path.Compare)
	return slices.Compact(paths)
}

// body splices the displayed values in order of path.
func (g *graph) body() (body []byte) {
	for _, p := range g.paths() {
		if heads := g.heads(p); len(heads) > 0 {
			e, _ := heads[shown(p, heads)].write(p)
			body = append(body, e.raw()...)
		}
	}
	return body
}

// differs compares the engine's record with the graph, and names the first
// difference.
func (g *graph) differs(s *syncengine.State) error {
	var open []syncengine.Path
	at := 0
	for _, p := range g.paths() {
		heads := g.heads(p)
		if len(heads) == 0 {
			continue
		}
		if at == len(s.Paths) || s.Paths[at].Path != p {
			return fmt.Errorf("path %v: the engine has no head there, want %v", p, stampsOf(heads))
		}
		if err := g.pathDiffers(&s.Paths[at], heads); err != nil {
			return fmt.Errorf("path %v: %w", p, err)
		}
		if asks(p, heads) {
			open = append(open, p)
		}
		at++
	}
	if at != len(s.Paths) {
		return fmt.Errorf("path %v: the engine has heads, want none", s.Paths[at].Path)
	}
	if got := s.Conflicts(kind); !slices.Equal(got, open) {
		return fmt.Errorf("open paths: got %v, want %v", got, open)
	}
	return nil
}

func (g *graph) pathDiffers(got *syncengine.PathState, want []*change) error {
	if len(got.Heads) != len(want) {
		return fmt.Errorf("heads: got %v, want %v", headStamps(got), stampsOf(want))
	}
	for i, h := range got.Heads {
		e, _ := want[i].write(got.Path)
		if h.Stamp != want[i].stamp || !equal(h.Raw, e.raw()) {
			return fmt.Errorf("heads in order of acceptance: got %v, want %v", headStamps(got), stampsOf(want))
		}
		// A value that stands beside another is kept with who wrote it and when.
		if whole := headOf(h.Stamp, e.raw()); len(want) > 1 && fmt.Sprint(whole) != fmt.Sprint(h) {
			return fmt.Errorf("head %v: got author, device and times %v, want %v", h.Stamp, h, whole)
		}
	}
	if best := shown(got.Path, want); got.Displayed != best {
		return fmt.Errorf("displayed: got head %d of %v, want %d", got.Displayed, headStamps(got), best)
	}
	return nil
}

func stampsOf(cs []*change) (out []syncengine.Stamp) {
	for _, c := range cs {
		out = append(out, c.stamp)
	}
	return out
}

func headStamps(p *syncengine.PathState) (out []syncengine.Stamp) {
	for _, h := range p.Heads {
		out = append(out, h.Stamp)
	}
	return out
}
