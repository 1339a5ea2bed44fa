package syncengine

import (
	"errors"
	"slices"
)

const (
	// MaxChunk is the largest size of a piece of a file on the wire.
	MaxChunk = 256 << 10
	// MinChunk is the smallest size of one that is not the file's last.
	MinChunk = 4 << 10
)

// ErrChunk says that a piece of a file comes in no form that there is.
var ErrChunk = errors.New("the piece of a file is malformed, too small or too large")

// Attached is what a replica's person may do with the bytes that a record names.
type Attached struct {
	// Record is the record; nil where there is nothing that they may do.
	Record *StoredRecord
	// Reads: they may have the bytes. Sends: the record is their own, so that they may
	// bring them.
	Reads, Sends bool
}

// Attached returns what the replica's person may do with the bytes that a record names,
// in this snapshot. That there is no such record, and that even so it is none of theirs,
// are one answer. Whoever has the record in no page may not read its bytes.
func (s *Server) Attached(view ServerView, r *Replica, id ID) (*Attached, error) {
	none := &Attached{}
	if r == nil || r.Revoked {
		return none, nil
	}
	p, err := s.Principal(view, r)
	if err != nil {
		return nil, err
	}
	rec, err := view.Record(id)
	if err != nil || rec == nil {
		return none, err
	}
	origin, err := rec.Origin()
	if err != nil {
		return nil, err
	}
	a := &Attached{Record: rec, Sends: origin.Author == r.Person}
	head, err := view.Head()
	if err != nil {
		return nil, err
	}
	if !r.Unconfirmed && !head.Recovering {
		// Who may only look a record up gets no bytes of it.
		grants := s.Rules.Grants(view.Org(), p)
		a.Reads = slices.ContainsFunc(rec.Scopes, func(k ScopeKey) bool { return slices.Contains(grants, k) })
	}
	if !a.Reads && !a.Sends {
		return none, nil
	}
	return a, nil
}
