package syncengine

import (
	"errors"
	"slices"
)

// errNotEraser says that a store cannot erase.
var errNotEraser = errors.New("this store erases nothing")

// Eraser is what a ServerTx may be besides: one from which records can be erased by law.
// An erased record is as one that never was, to whoever asks for it, but for that its id
// stays known: nothing makes or writes it again.
type Eraser interface {
	// Erased reports whether a record was erased.
	Erased(id ID) (bool, error)
	// Erase removes a record that is in no scope any more, with what the store itself
	// keeps about it (about are the records that it names as what it is about), and notes
	// for ever that it was erased at a sequence. What changes of the log say of it is
	// removed after that, as the store sees fit: the changes keep their ids, hashes,
	// verdicts and places.
	Erase(id ID, about []ID, seq uint64) error
}

// erased reports whether a record was erased by law.
func (b *Batch) erased(id ID) (bool, error) {
	e, ok := b.tx.(Eraser)
	if !ok {
		return false, nil
	}
	return e.Erased(id)
}

// Erase erases a record by law, and what the server made of it: they leave all scopes as a
// sequenced move, so that devices drop them at their next contact, and then the store.
// What still arrives about them is kept in quarantine. A record that is not there is noted
// too: a history that was set back may hear of it again. Erasing twice has the effect of
// once; what was erased now is returned.
//
// Who may do that, and of which records, is for the caller to know.
func (b *Batch) Erase(id ID) (gone []ID, err error) {
	tx, ok := b.tx.(Eraser)
	if !ok {
		return nil, errNotEraser
	}
	ids, err := b.projections(id)
	if err != nil {
		return nil, err
	}
	for _, id := range append(ids, id) {
		if known, err := tx.Erased(id); err != nil {
			return gone, err
		} else if known {
			continue
		}
		b.head.Seq++
		b.moves++
		// Also of one that was in no scope the history says so.
		b.hash.Write(id[:])
		b.hash.Write([]byte{erasedMark})
		old, err := b.tx.Record(id)
		if err != nil {
			return gone, err
		}
		var about []ID
		if old != nil {
			about = b.srv.Rules.About(&old.Record)
			next := *old
			next.Scopes, next.Seq, next.RunReplica, next.RunBase = nil, b.head.Seq, ID{}, 0
			next.Touches, next.TouchBase = nil, b.head.Seq
			if err := b.place(old, &next); err != nil {
				return gone, err
			}
			delete(b.looked, old)
		}
		if err := tx.Erase(id, about, b.head.Seq); err != nil {
			return gone, err
		}
		gone = append(gone, id)
	}
	return gone, nil
}

// erasedMark tells a record that was erased from one that entered or left a scope.
const erasedMark = 2

// projections returns the records that the server has made of one.
func (b *Batch) projections(id ID) (ids []ID, err error) {
	rec, err := b.look(id)
	if err != nil || rec == nil {
		return nil, err
	}
	// None of those that are about it: each is erased for its own sake, or stays.
	alone := func(ID) ([]*Record, error) { return nil, nil }
	wanted, err := b.srv.Rules.Project(rec, b.look, alone, ID{}, b.now)
	if err != nil {
		return nil, err
	}
	for _, p := range wanted {
		if made := b.srv.Secrets.DeriveID(p.Source, p.Rule, 0); p.Source == id && !p.Once && !slices.Contains(ids, made) {
			ids = append(ids, made)
		}
	}
	return ids, nil
}
