package simtest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// screen is what a signer saw: the displayed head of each path.
type screen map[syncengine.Path]syncengine.Stamp

func screenOf(s *syncengine.State) screen {
	seen := screen{}
	for i := range s.Paths {
		if p := &s.Paths[i]; p.Displayed >= 0 {
			seen[p.Path] = p.Heads[p.Displayed].Stamp
		}
	}
	return seen
}

// modelled is a path of which the specification says all: what the heads must be is
// told from the log alone, without the merge.
func (w *World) modelled(k *syncengine.Kind, p syncengine.Path) bool {
	rule := k.Fields[p.Field]
	if rule == nil {
		return true
	}
	return rule.Legal == nil && rule.Policy != tandemv1.MergePolicy_MERGE_POLICY_LAST_ACCEPTED
}

// heads is I8, I9 and I19 told from the log: the heads of a path are the accepted
// writes that no accepted write names, be it through one in quarantine; and of a
// field that keeps both, the one accepted first is displayed, whatever clocks said.
func (w *World) heads(rec *syncengine.StoredRecord, s *syncengine.State, path syncengine.Path, log []written) error {
	k := w.rules.Kind(rec.Kind)
	if w.sealedOnce[rec.ID] || !w.modelled(k, path) {
		return nil
	}
	var want []written
	over := overwritten(log)
	for _, wr := range log {
		if wr.accepted && !over[wr.stamp] {
			want = append(want, wr)
		}
	}
	heads, displayed := s.Heads(path)
	if len(heads) != len(want) {
		return &ViolationError{"I9", fmt.Sprintf("%d values stand at %v of %s, where the log leaves %d", len(heads), path, rec.ID, len(want))}
	}
	for _, wr := range want {
		i := slices.IndexFunc(heads, func(h syncengine.Head) bool { return h.Stamp == wr.stamp })
		if i < 0 || !bytes.Equal(heads[i].Raw, wr.raw) {
			return &ViolationError{"I9", fmt.Sprintf("a value of %s at %v is not what was written", rec.ID, path)}
		}
	}
	rule := k.Fields[path.Field]
	both := syncengine.ShapeOf(path.Field) == syncengine.ShapeSingular &&
		(rule == nil || rule.Policy == tandemv1.MergePolicy_MERGE_POLICY_UNSPECIFIED || rule.Policy == tandemv1.MergePolicy_MERGE_POLICY_KEEP_BOTH)
	if len(want) > 0 && both && (!displayed || heads[0].Stamp != want[0].stamp) {
		return &ViolationError{"I19", fmt.Sprintf("%s shows at %v what was not accepted first", rec.ID, path)}
	}
	return nil
}

// signed checks acts on whole records by what the screens showed: a signature covers
// what its signer saw, and what is sealed stays displayed whatever comes late.
func (w *World) signed() error {
	for _, c := range w.server.order {
		if !applied(c.Outcome) {
			continue
		}
		for _, wr := range w.decoded.of(c.BodyHash, c.Body).GetRecords() {
			id, _ := syncengine.IDFromBytes(wr.GetRecord())
			before, after := w.server.stateAt(id, c.Seq-1), w.server.stateAt(id, c.Seq)
			if before == nil || after == nil || after.Seq != c.Seq {
				continue
			}
			was, err := w.decode(before)
			if err != nil {
				return err
			}
			is, err := w.decode(after)
			if err != nil {
				return err
			}
			sealed := w.rules.Kind(before.Kind).Sealed[was.Lifecycle()]
			switch wr.GetAct() {
			case tandemv1.Act_ACT_SET, tandemv1.Act_ACT_APPEND, tandemv1.Act_ACT_CREATE:
				if sealed && !sameScreen(screenOf(was), screenOf(is)) {
					return &ViolationError{"I9", fmt.Sprintf("a late edit changed what the sealed %s shows", id)}
				}
			case tandemv1.Act_ACT_SIGN, tandemv1.Act_ACT_AMEND:
				if saw := w.screens[signature{c.ID, id}]; saw != nil && !sealed {
					if err := w.covers(id, saw, is, wr, syncengine.StampOf(c.ID)); err != nil {
						return err
					}
				}
			default:
			}
		}
	}
	return nil
}

func sameScreen(a, b screen) bool {
	if len(a) != len(b) {
		return false
	}
	for path, stamp := range a {
		if b[path] != stamp {
			return false
		}
	}
	return true
}

// covers checks that a signed state shows what its signer saw, with the act's own
// writes over it.
func (w *World) covers(id syncengine.ID, saw screen, is *syncengine.State, wr *tandemv1.RecordWrite, own syncengine.Stamp) error {
	shows, saw := screenOf(is), maps.Clone(saw)
	for _, pw := range wr.GetWrites() {
		path := syncengine.Path{Field: pw.GetField(), Key: string(pw.GetKey())}
		if at, shown := shows[path]; shown && at != own {
			return &ViolationError{"I9", fmt.Sprintf("the signed %s does not show what its signer wrote at %v", id, path)}
		}
		delete(shows, path)
		delete(saw, path)
	}
	if !sameScreen(saw, shows) {
		return &ViolationError{"I9", fmt.Sprintf("the signed %s shows what its signer did not see", id)}
	}
	return nil
}

// signature is an act on a whole record.
type signature struct{ change, record syncengine.ID }
