package server

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// opinion is what a lead has said of a record, of one revision or of one state.
type opinion struct {
	seq      uint64
	rev      uint32
	hash     []byte
	decision string
}

// asking is what a lead's word on a record must name to be about what stands there.
type asking struct {
	rev  uint32
	hash syncengine.Hash
	call bool
}

// signedKinds are the kinds that a lead reviews.
var signedKinds = []string{"encounter", "note", "form_response"}

// heard notes what a lead has said.
func (k *keeping) heard(rec *syncengine.StoredRecord, msg proto.Message) {
	m, ok := msg.(*tandemv1.Review)
	if !ok || rec.Lifecycle() == record.Void {
		return
	}
	if k.reviews == nil {
		k.reviews = map[syncengine.ID][]opinion{}
	}
	for _, id := range k.domain.About(&rec.Record) {
		k.reviews[id] = append(k.reviews[id], opinion{rec.Seq, m.GetRev(), m.GetStateHash(), m.GetDecision()})
	}
}

// unsettled finds what a record alone says of whether it is settled: values that differ, or
// a draft; and whether a lead's word is asked for.
func (f *fact) unsettled(rec *syncengine.StoredRecord, kind *syncengine.Kind) error {
	life, call := rec.Lifecycle(), kind.Name == "incident"
	signed := slices.Contains(signedKinds, kind.Name)
	if life == record.Void || life == record.Merged || rec.Plain && !signed && !call {
		return nil
	}
	state, err := syncengine.Decode(&rec.Record)
	if err != nil {
		return err
	}
	f.waits = len(state.Conflicts(kind)) > 0
	if state.Import != nil || !signed && !call {
		return nil
	}
	f.waits = f.waits || signed && life == record.Draft
	f.asks = &asking{rev: state.Rev, call: call}
	if call {
		f.asks.hash = syncengine.HashSeen(state.Seen())
	}
	return nil
}

// settle finds which records wait for a lead: those signed on whose revision none has
// decided, and those that were returned or flagged.
func (k *keeping) settle() {
	for id, f := range k.facts {
		if f.asks == nil {
			continue
		}
		said := k.reviews[id]
		slices.SortFunc(said, func(a, b opinion) int { return int(int64(a.seq) - int64(b.seq)) })
		decided := ""
		for _, o := range slices.Backward(said) {
			if !f.asks.call && o.rev == f.asks.rev && o.rev > 0 || f.asks.call && bytes.Equal(o.hash, f.asks.hash[:]) {
				decided = o.decision
				break
			}
		}
		f.waits = f.waits || decided == "returned" || decided == "flagged" || decided == "" && !f.asks.call
	}
}

// await finds which people and calls wait: of whom something does, or of something that
// they have in common with another.
func (k *keeping) await(all []*subject) {
	waits := map[syncengine.ID]bool{}
	for _, s := range all {
		waits[s.id] = k.facts[s.id].waits || slices.ContainsFunc(s.members, func(f *fact) bool { return f.waits })
	}
	for _, s := range all {
		s.waits = waits[s.id] || slices.ContainsFunc(s.members, func(f *fact) bool {
			return slices.ContainsFunc(f.subjects, func(id syncengine.ID) bool { return waits[id] })
		})
	}
}

// purgeable are the records that may be purged, in the order in which they are: of people
// and calls that are past their time, are the agency's alone and wait for nobody, and of
// which nothing has to stay, for somebody else's sake or as one that was not asked for.
// blocked are the records of those that are not past their time. What is about a record
// comes before it: where a purge is broken off, nothing is left about what is not there.
// concerned are all records of the people and calls that one of them is about.
func (k *keeping) purgeable(all []*subject, blocked map[syncengine.ID]bool) (ids []syncengine.ID, concerned map[syncengine.ID]bool) {
	kept := maps.Clone(blocked)
	for _, s := range all {
		for _, id := range s.ids {
			if s.waits || s.shared || k.only != nil && !k.only[id] {
				kept[id] = true
			}
		}
	}
	found := map[syncengine.ID]bool{}
	for _, s := range all {
		if !s.over || s.held || slices.ContainsFunc(s.ids, func(id syncengine.ID) bool { return kept[id] }) {
			continue
		}
		own := slices.DeleteFunc(slices.Clone(s.ids), func(id syncengine.ID) bool { return found[id] })
		slices.SortFunc(own, func(a, b syncengine.ID) int {
			return cmp.Or(cmp.Compare(k.depth(b), k.depth(a)), a.Compare(b))
		})
		for _, id := range own {
			found[id] = true
		}
		ids = append(ids, own...)
	}
	concerned = map[syncengine.ID]bool{}
	for _, s := range all {
		if !slices.ContainsFunc(s.ids, func(id syncengine.ID) bool { return found[id] }) {
			continue
		}
		concerned[s.id] = true
		for _, id := range s.ids {
			concerned[id] = true
		}
	}
	return ids, concerned
}

// depth is how many records one after another a record is about; of those that are about
// each other one begins.
func (k *keeping) depth(id syncengine.ID) (depth int) {
	f := k.facts[id]
	if f == nil {
		return 0
	}
	if known, is := k.depths[id]; is {
		return known
	}
	k.depths[id] = 0
	for _, to := range append(slices.Clone(f.about), f.into) {
		if to != id && k.facts[to] != nil {
			depth = max(depth, 1+k.depth(to))
		}
	}
	k.depths[id] = depth
	return depth
}
