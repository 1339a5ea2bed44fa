package syncengine

import "slices"

// Age moves a record from the open tier of its scopes to the rest, as a sequenced move
// like that of a change: nothing of the record is touched, and the next change to it
// finds its scopes anew. It reports whether there was anything to move.
func (b *Batch) Age(id ID) (bool, error) {
	old, err := b.tx.Record(id)
	if err != nil || old == nil {
		return false, err
	}
	scopes := slices.Clone(old.Scopes)
	for i := range scopes {
		if scopes[i].Owner != OwnerOrg {
			scopes[i].Open = false
		}
	}
	slices.SortFunc(scopes, ScopeKey.Compare)
	scopes = slices.Compact(scopes)
	if slices.Equal(scopes, old.Scopes) {
		return false, nil
	}
	b.head.Seq++
	b.moves++
	next := *old
	next.Scopes, next.Seq, next.RunReplica, next.RunBase = scopes, b.head.Seq, ID{}, 0
	next.Touches, next.TouchBase = nil, b.head.Seq
	return true, b.place(old, &next)
}
