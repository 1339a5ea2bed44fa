package syncengine

import (
	"slices"

	"github.com/tandem-response/tandem/internal/planted"
)

// janitorMostMS is the longest that a server's wall clock may have moved forward since
// its janitor last ran.
const janitorMostMS = 48 * 3_600_000

// Janitor is what turns time into events at a server, as far as it knows the clock.
type Janitor struct {
	// LastMS is when it last ran, 0 for never.
	LastMS int64
	// StoppedMS is what the clock showed when it stopped, 0 where it has not.
	StoppedMS int64
}

// Look judges the server's wall clock. run says whether the time that has passed may be
// turned into events; where the clock went back, or ahead by more than 48 hours, the
// janitor stops until an admin has looked at it.
func (j Janitor) Look(nowMS int64) (next Janitor, run bool) {
	passed := nowMS - j.LastMS
	switch {
	case j.LastMS != 0 && j.StoppedMS != 0:
		return j, false
	case j.LastMS != 0 && (passed < 0 || passed > janitorMostMS) && !planted.Is(planted.JanitorJump):
		j.StoppedMS = nowMS
		return j, false
	}
	return Janitor{LastMS: nowMS}, true
}

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
		scopes[i].Open = scopes[i].Open && !scopes[i].Tiered()
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
