package syncengine

import (
	"errors"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

const (
	// EmergencyMS is how long a person's record stays open in an emergency, in ms.
	EmergencyMS = 60 * 60_000
	// MinEmergencyReason is how many characters the reason has at least.
	MinEmergencyReason = 10
)

// ErrNoEmergency says that somebody's work gives no access in an emergency.
var ErrNoEmergency = errors.New("opening a record in an emergency is for clinicians, peers and leads")

// Emergency is what an emergency opens.
type Emergency struct {
	// Rows are the person's record and what is about it, whole.
	Rows []*tandemv1.Row
	// Found are their ids.
	Found []ID
	// More: there is more.
	More bool
}

// Emergency returns what the replica's person may read of somebody in an emergency. That
// there is no such record, and that even so it may not be read, are one answer: nothing.
// The error is ErrNoEmergency where it is not for them to open any.
func (s *Server) Emergency(view ServerView, r *Replica, subject ID) (*Emergency, error) {
	p, err := s.Principal(view, r)
	if err != nil {
		return nil, err
	}
	if r.Revoked || r.Unconfirmed || !s.Rules.BreaksGlass(p, nil) {
		return nil, ErrNoEmergency
	}
	e := &Emergency{}
	found, more, err := s.find(view, subject, true, func(rec *StoredRecord) (bool, error) {
		if rec.ID == subject && !s.Rules.BreaksGlass(p, &rec.Record) {
			return false, nil
		}
		return s.Rules.MayReadInEmergency(view.Org(), p, rec.Scopes, lookup(view))
	})
	if err != nil {
		return nil, err
	}
	e.More = more
	size := 0
	for i, rec := range found {
		if i == MaxLookedUp || i > 0 && size+len(rec.Body)+len(rec.Stamps) > maxLookedUpBytes {
			e.More = true
			break
		}
		size += len(rec.Body) + len(rec.Stamps)
		e.Found = append(e.Found, rec.ID)
		e.Rows = append(e.Rows, wholeRow(rec, 0))
	}
	return e, nil
}

// Opened takes in what a server has sent in an emergency. Of what the device has looked up
// in another way it keeps the newer state, for as long as before.
func (d *Device) Opened(tx DeviceTx, rows []*tandemv1.Row, nowMS, untilMS int64) (opened []ID, err error) {
	finds, err := tx.LookedUp()
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		id, ok := IDFromBytes(row.GetRecord())
		if !ok || slices.Contains(opened, id) || len(opened) == MaxLookedUp {
			return nil, ErrIncomplete
		}
		opened = append(opened, id)
		l := &LookedUp{Record: Record{ID: id, Kind: row.GetKind(), Body: row.GetBody(), Stamps: row.GetStamps()}, AtMS: nowMS, UntilMS: untilMS}
		if i := slices.IndexFunc(finds, func(f *LookedUp) bool { return f.ID == id && f.UntilMS == 0 && !f.Expired(nowMS) }); i >= 0 {
			l.AtMS, l.UntilMS = finds[i].AtMS, 0
		}
		if err := tx.SaveLookedUp(l); err != nil {
			return nil, err
		}
	}
	return opened, fewer(tx, opened)
}

// Reviews reports whether somebody is to look at an emergency of another's: they lead in a
// program that the other works in, or in their agency where that is none. Nobody reviews
// their own.
func (s *Server) Reviews(view ServerView, p *Principal, author ID) (bool, error) {
	if !s.Rules.Supervises(p) || p.Person == author {
		return false, nil
	}
	who, err := s.Principal(view, &Replica{Person: author})
	if err != nil {
		return false, err
	}
	if len(who.Programs) == 0 {
		return who.Agency.IsZero() || who.Agency == p.Agency, nil
	}
	return slices.ContainsFunc(who.Programs, func(id ID) bool { return slices.Contains(p.Programs, id) }), nil
}
