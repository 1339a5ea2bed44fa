package server

import (
	"context"
	"errors"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// Bounds of lookups: so many by one person in such a time. Who needs more needs a
// grant.
const (
	maxLookups    = 120
	lookupsWithin = time.Hour
)

// ErrLookups says that a person has looked up too much.
var ErrLookups = errors.New("too many lookups within an hour: wait, or ask a lead for access to the team")

// logLookup notes a lookup. Where the person has looked up too much it notes that,
// and reports it.
func (s *Server) logLookup(tx *store.Tx, l *syncengine.LookedFor) (refused bool, err error) {
	now := s.now()
	n, err := tx.LookupsSince(l.Person, now.Add(-lookupsWithin).UnixMilli())
	if err != nil {
		return false, err
	}
	e := &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_LOOKED_UP, Person: l.Person[:], Replica: l.Replica[:], Subject: l.Record[:]}
	if n >= maxLookups {
		e.Act, e.Code, e.Count = tandemv1.AuditAct_AUDIT_ACT_REFUSED, "lookups", 1
		return true, tx.Audit(e)
	}
	e.Number, err = tx.LogLookup(&store.LoggedLookup{
		AtMS: now.UnixMilli(), Person: l.Person, Replica: l.Replica, Record: l.Record, About: l.About, Found: len(l.Found), Reason: l.Reason,
	})
	if err != nil {
		return false, err
	}
	e.Count, e.Records = uint64(len(l.Found)), joinIDs(l.Found)
	return false, tx.Audit(e)
}

// Lookups calls f for what people have looked up beyond what their devices hold, the
// newest first, at most limit.
func (a *Admin) Lookups(ctx context.Context, limit int, f func(*store.LoggedLookup) error) error {
	if err := a.note(ctx, &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_LOOKUPS_READ}); err != nil {
		return err
	}
	return a.store.Lookups(ctx, a.org.ID, limit, f)
}

// relinkBatch is how many records are looked at in one transaction.
const relinkBatch = 500

// relink notes for lookups what the records are about that an older version has stored.
func (s *Server) relink(ctx context.Context) error {
	orgs, err := s.store.Orgs(ctx)
	if err != nil {
		return err
	}
	for _, org := range orgs {
		for after, more := (syncengine.ID{}), true; more; {
			err := s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
				next, err := s.relinkSome(tx, org, after)
				more = err == nil && next != after
				if more {
					after = next
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// relinkSome does so for some records beyond one, and returns the last.
func (s *Server) relinkSome(tx *store.Tx, org *store.Org, after syncengine.ID) (syncengine.ID, error) {
	ids, err := tx.Unlinked(after, relinkBatch)
	if err != nil {
		return after, err
	}
	if len(ids) == 0 {
		return after, tx.SetLinked()
	}
	batch, err := s.engine(org).Begin(tx, s.now().UnixMilli())
	if err != nil {
		return after, err
	}
	recs, err := tx.Records(ids)
	if err != nil {
		return after, err
	}
	for _, rec := range recs {
		if err := batch.Relink(rec); err != nil {
			return after, err
		}
	}
	return ids[len(ids)-1], nil
}
