package syncengine

import "slices"

// Rehome moves a record to the scopes that the rules put it in now, as a sequenced move
// like that of a change: for records that were stored by rules which had others. A record
// that was quiet for long stays out of the open tier. It reports whether there was
// anything to move.
func (b *Batch) Rehome(id ID) (bool, error) {
	moved, err := b.rehome(id, b.head.Seq+1)
	if moved {
		b.head.Seq++
		b.moves++
	}
	return moved, err
}

func (b *Batch) rehome(id ID, seq uint64) (bool, error) {
	old, err := b.tx.Record(id)
	if err != nil || old == nil {
		return false, err
	}
	scopes, _, err := b.scopesOf(&old.Record)
	if err != nil {
		return false, err
	}
	open := slices.ContainsFunc(old.Scopes, func(k ScopeKey) bool { return k.Open })
	for i := range scopes {
		scopes[i].Open = scopes[i].Open && (open || !scopes[i].Tiered())
	}
	slices.SortFunc(scopes, ScopeKey.Compare)
	if scopes = slices.Compact(scopes); slices.Equal(scopes, old.Scopes) {
		return false, nil
	}
	next := *old
	next.Scopes, next.Seq, next.RunReplica, next.RunBase = scopes, seq, ID{}, 0
	next.Touches, next.TouchBase = nil, seq
	return true, b.place(old, &next)
}

// arrived moves what came before what it is about, and whose place depends on that.
func (b *Batch) arrived(results []*result, seq uint64) error {
	for _, res := range results {
		if res.old != nil {
			continue
		}
		about, err := b.about(res.Record.ID)
		if err != nil {
			return err
		}
		for _, rec := range about {
			if _, err := b.rehome(rec.ID, seq); err != nil {
				return err
			}
		}
	}
	return nil
}
