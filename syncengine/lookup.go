package syncengine

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
)

// Limits of lookups.
const (
	// MaxLookedUp is the largest number of records that one lookup finds, and that a
	// device keeps of all its lookups.
	MaxLookedUp = 64
	// maxLookedUpBytes is about the largest size of what one finds; a single row may
	// exceed it.
	maxLookedUpBytes = 256 << 10
	// MaxReason is the largest size of the reason for a lookup, in bytes.
	MaxReason = 500
	// maxAbout bounds the records that are looked at for one lookup.
	maxAbout = 4 * MaxLookedUp
)

// ErrLookup says that a request asks for a lookup in no form that there is.
var ErrLookup = errors.New("the lookup names no record, or its reason is too long")

// LookedFor is a lookup that an answer has carried out, for the log of lookups.
type LookedFor struct {
	// Person asked, on a replica.
	Person, Replica ID
	// Record was asked for; About: with the records about it.
	Record ID
	About  bool
	// Reason is why, in the person's words.
	Reason string
	// Found are the records that the answer holds.
	Found []ID
}

// lookUp answers what the request wants looked up, by what its person may read in this
// snapshot, and says which of the device's earlier finds its person may not read any
// more. A record that is not there and one that may not be read get the same answer.
func (g *pager) lookUp(p *Principal) error {
	may := func(rec *StoredRecord) (bool, error) {
		if planted.Is(planted.LookupUnchecked) {
			return true, nil
		}
		return g.srv.Rules.MayRead(g.view.Org(), p, rec.Scopes, lookup(g.view))
	}
	if err := g.forget(g.req.GetLookedUp(), may); err != nil {
		return err
	}
	if err := g.forget(g.req.GetOpened(), func(rec *StoredRecord) (bool, error) {
		if !g.srv.Rules.BreaksGlass(p, nil) {
			return false, nil
		}
		return g.srv.Rules.MayReadInEmergency(g.view.Org(), p, rec.Scopes, lookup(g.view))
	}); err != nil {
		return err
	}
	asked := g.req.GetLookup()
	if asked == nil {
		return nil
	}
	g.answer.News = true
	id, ok := IDFromBytes(asked.GetRecord())
	if !ok || len(asked.GetReason()) > MaxReason {
		return ErrLookup
	}
	log := &LookedFor{Person: g.replica.Person, Replica: g.replica.ID, Record: id, About: asked.GetAbout(), Reason: asked.GetReason()}
	g.answer.Lookup = log
	found, more, err := g.find(id, asked.GetAbout(), may)
	if err != nil {
		return err
	}
	msg, size := g.answer.Message, 0
	for i, rec := range found {
		if i == MaxLookedUp || i > 0 && size+len(rec.Body)+len(rec.Stamps) > maxLookedUpBytes {
			more = true
			break
		}
		size += len(rec.Body) + len(rec.Stamps)
		log.Found = append(log.Found, rec.ID)
		msg.LookedUp = append(msg.LookedUp, wholeRow(rec, 0))
	}
	msg.LookedUpMore = more
	return nil
}

// find returns the record, and what is about it, the newest first.
func (g *pager) find(id ID, about bool, may func(*StoredRecord) (bool, error)) (found []*StoredRecord, more bool, err error) {
	return g.srv.find(g.view, id, about, may)
}

func (s *Server) find(view ServerView, id ID, about bool, may func(*StoredRecord) (bool, error)) (found []*StoredRecord, more bool, err error) {
	rec, err := view.Record(id)
	if err != nil || rec == nil {
		return nil, false, err
	}
	if ok, err := may(rec); err != nil || !ok {
		return nil, false, err
	}
	if !about {
		return []*StoredRecord{rec}, false, nil
	}
	ids, err := view.About(id, maxAbout+1)
	if err != nil {
		return nil, false, err
	}
	more = len(ids) > maxAbout
	recs, err := view.Records(ids[:min(len(ids), maxAbout)])
	if err != nil {
		return nil, false, err
	}
	for _, r := range recs {
		// It may have been about another record since it was noted.
		if r.ID == id || !slices.Contains(s.Rules.About(&r.Record), id) {
			continue
		}
		ok, err := may(r)
		if err != nil {
			return nil, false, err
		}
		if ok {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *StoredRecord) int { return cmp.Or(cmp.Compare(b.Seq, a.Seq), a.ID.Compare(b.ID)) })
	return append([]*StoredRecord{rec}, found...), more, nil
}

// forget names those of the records that the device must not keep.
func (g *pager) forget(held [][]byte, may func(*StoredRecord) (bool, error)) error {
	if len(held) == 0 {
		return nil
	}
	var ids []ID
	for _, b := range held[:min(len(held), MaxLookedUp)] {
		if id, ok := IDFromBytes(b); ok {
			ids = append(ids, id)
		}
	}
	recs, err := g.view.Records(ids)
	if err != nil {
		return err
	}
	kept := map[ID]bool{}
	for _, rec := range recs {
		if kept[rec.ID], err = may(rec); err != nil {
			return err
		}
	}
	for _, id := range ids {
		if !kept[id] && !planted.Is(planted.LookupKept) {
			g.answer.Message.Forget = append(g.answer.Message.Forget, bytes.Clone(id[:]))
			g.answer.News = true
		}
	}
	return nil
}

// link notes for lookups which records a changed one is about. What is noted is never
// taken back: whoever reads it asks the record.
func (b *Batch) link(old, next *StoredRecord) error {
	var before []ID
	if old != nil {
		before = b.srv.Rules.About(&old.Record)
	}
	for _, to := range b.srv.Rules.About(&next.Record) {
		if slices.Contains(before, to) {
			continue
		}
		if err := b.tx.Link(to, next.ID); err != nil {
			return err
		}
	}
	return nil
}

// Relink notes which records one is about that was stored by a version which did not.
func (b *Batch) Relink(rec *StoredRecord) error { return b.link(nil, rec) }

// LookedUp is a record that a device has looked up: it is in none of its scopes, in no
// cut and in no digest, and it is read and not written.
type LookedUp struct {
	Record
	// AtMS is the server's time when it was looked up.
	AtMS int64
	// UntilMS is the server's time when an emergency ends in which it was opened; zero for
	// a lookup.
	UntilMS int64
}

// lookedUpMS is how long a device keeps what it has looked up, and lookedUpSlack how far
// its clock may seem to have gone back meanwhile.
const lookedUpMS, lookedUpSlack = 24 * 3_600_000, 10 * 60_000

// Expired reports whether a device may no longer show or keep a find, at the server's
// time as far as the device knows it. A clock that has gone back tells nothing of how
// long it was, so that ends it too.
func (l *LookedUp) Expired(nowMS int64) bool {
	return nowMS-l.AtMS >= lookedUpMS || nowMS < l.AtMS-lookedUpSlack || l.UntilMS != 0 && nowMS >= l.UntilMS
}

// Expire drops the finds that are too old, at the server's time as far as the device
// knows it. It reports how many it has dropped.
func (d *Device) Expire(tx DeviceTx, nowMS int64) (dropped int, err error) {
	finds, err := tx.LookedUp()
	if err != nil {
		return 0, err
	}
	for _, l := range finds {
		if !l.Expired(nowMS) {
			continue
		}
		if err := tx.DropLookedUp(l.ID); err != nil {
			return dropped, err
		}
		dropped++
	}
	return dropped, nil
}

// lookedUp takes in what an answer says of lookups. One to a request that was made under
// other scopes is ignored: its person's rights have changed since.
func (in *intake) lookedUp(req *tandemv1.SyncRequest, ans *tandemv1.SyncAnswer) error {
	for _, b := range ans.GetForget() {
		id, ok := IDFromBytes(b)
		if !ok {
			return ErrIncomplete
		}
		in.got.Changed = append(in.got.Changed, id)
		if err := in.tx.DropLookedUp(id); err != nil {
			return err
		}
	}
	if req.GetLookup() == nil {
		return nil
	}
	now := &tandemv1.SyncRequest{}
	stand(now, &in.st, in.scopes)
	if !bytes.Equal(now.GetScopeSet(), req.GetScopeSet()) {
		in.got.Dropped = true
		return nil
	}
	in.got.LookedUpMore = ans.GetLookedUpMore()
	for _, row := range ans.GetLookedUp() {
		id, ok := IDFromBytes(row.GetRecord())
		if !ok || slices.Contains(in.got.LookedUp, id) || len(in.got.LookedUp) == MaxLookedUp {
			return ErrIncomplete
		}
		in.got.LookedUp = append(in.got.LookedUp, id)
		in.got.Changed = append(in.got.Changed, id)
		if err := in.tx.SaveLookedUp(&LookedUp{
			Record: Record{ID: id, Kind: row.GetKind(), Body: row.GetBody(), Stamps: row.GetStamps()}, AtMS: in.trailer.GetServerMs(),
		}); err != nil {
			return err
		}
	}
	return fewer(in.tx, in.got.LookedUp)
}

// fewer drops the oldest finds beyond what a device keeps; those that came now stay.
func fewer(tx DeviceTx, now []ID) error {
	finds, err := tx.LookedUp()
	if err != nil || len(finds) <= MaxLookedUp {
		return err
	}
	finds = slices.Clone(finds)
	slices.SortFunc(finds, func(a, b *LookedUp) int {
		return cmp.Or(cmp.Compare(boolByte(slices.Contains(now, b.ID)), boolByte(slices.Contains(now, a.ID))),
			cmp.Compare(b.AtMS, a.AtMS), a.ID.Compare(b.ID))
	})
	for _, l := range finds[MaxLookedUp:] {
		if err := tx.DropLookedUp(l.ID); err != nil {
			return err
		}
	}
	return nil
}
