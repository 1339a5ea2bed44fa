package server

import (
	"context"
	"errors"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// Errors of a purge. Nothing was removed.
var (
	// ErrNothingToPurge: nothing may be purged now.
	ErrNothingToPurge = errors.New("nothing that is past its retention may be purged now: what is under a legal hold or waits for somebody stays")
	// ErrPurgeOwn: who asked for a purge decides on it.
	ErrPurgeOwn = errors.New("a purge is decided on by somebody else than whoever asked for it")
	// ErrPurgeOpen: another one waits.
	ErrPurgeOpen = errors.New("a purge for this agency is open already: decide on that one first")
	// ErrPurgeNobody: somebody is no active admin of the agency.
	ErrPurgeNobody = errors.New("a purge is asked for, and decided on, by active admins of the agency")
	// ErrPurgeMoved: what is to be purged has changed meanwhile.
	ErrPurgeMoved = errors.New("somebody has just written about what is to be purged, or placed a hold: try again")
)

// purgePortion is how many records are erased in one transaction, and named in one event of
// the security journal.
const purgePortion = 100

// AskPurge asks, as a member of staff, for a purge of what may be purged for their agency
// now. Nothing is removed before another admin of it approves (DecidePurge).
func (a *Admin) AskPurge(ctx context.Context, by syncengine.ID, reason string) (*store.Purge, error) {
	if n := len([]rune(reason)); n < 10 || n > 300 {
		return nil, &InvalidError{Problems: []record.Problem{{Fields: []string{"reason"}, EN: "The reason is of 10 to 300 characters.", ES: "El motivo tiene de 10 a 300 caracteres."}}}
	}
	var agency syncengine.ID
	err := a.store.Read(ctx, a.org.ID, func(view syncengine.ServerView) (err error) {
		agency, err = purgerOf(view, by)
		return err
	})
	if err != nil {
		return nil, err
	}
	if agency.IsZero() {
		return nil, ErrPurgeNobody
	}
	found, err := a.Retention(ctx, agency)
	if err != nil {
		return nil, err
	}
	if len(found.Purgeable) == 0 {
		return nil, ErrNothingToPurge
	}
	id, err := syncengine.NewID(a.now().UnixMilli(), a.rand)
	if err != nil {
		return nil, err
	}
	p := &store.Purge{ID: id, Agency: agency, AskedBy: by, Reason: reason, Records: found.Purgeable, People: found.PurgePeople, Calls: found.PurgeCalls}
	all, err := a.store.Purges(ctx, a.org.ID)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(all, func(o *store.Purge) bool { return o.Agency == agency && o.Open() }) {
		return nil, ErrPurgeOpen
	}
	err = a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		if err := tx.AddPurge(p); err != nil {
			return err
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_PURGE_ASKED, Person: by[:], Subject: id[:], Count: uint64(len(p.Records)), Seq: found.Seq})
	})
	return p, err
}

// DecidePurge stores a second person's word on a purge, and does it where it is approved:
// of the records that were asked for, those that may still be purged. Where it is broken
// off, DoPurge goes on.
func (a *Admin) DecidePurge(ctx context.Context, by, id syncengine.ID, approve bool) (*store.Purge, error) {
	var p *store.Purge
	err := a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) (err error) {
		if p, err = tx.Purge(id); err != nil {
			return err
		}
		switch {
		case p != nil && approve && p.Approved && p.DecidedBy == by && p.DoneMS == 0:
			// It was broken off.
			return nil
		case p == nil || p.DecidedMS != 0:
			return store.ErrNoPurge
		case p.AskedBy == by:
			return ErrPurgeOwn
		}
		if agency, err := purgerOf(tx, by); err != nil {
			return err
		} else if agency != p.Agency {
			return ErrPurgeNobody
		}
		p.DecidedBy, p.Approved = by, approve
		if err := tx.DecidePurge(p); err != nil {
			return err
		}
		code := "refused"
		if approve {
			code = "approved"
		}
		return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_PURGE_DECIDED, Person: by[:], Subject: id[:], Count: uint64(len(p.Records)), Code: code})
	})
	if err != nil || !approve {
		return p, err
	}
	return a.DoPurge(ctx, id)
}

// DoPurge does a purge that was approved, or goes on with one: it erases what may still be
// purged, cuts it out of the change log, and rewrites the database's files.
func (a *Admin) DoPurge(ctx context.Context, id syncengine.ID) (p *store.Purge, err error) {
	read := func(tx *store.Tx) (err error) {
		if p, err = tx.Purge(id); err == nil && (p == nil || !p.Approved || p.DoneMS != 0) {
			err = store.ErrNoPurge
		}
		return err
	}
	if err := a.store.Write(ctx, a.org.ID, 0, read); err != nil {
		return nil, err
	}
	if err := a.purgeAll(ctx, p); err != nil {
		return p, err
	}
	if err := a.rid(ctx); err != nil {
		return p, err
	}
	err = a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) (err error) {
		if err := tx.EndPurge(id); err != nil {
			return err
		}
		p, err = tx.Purge(id)
		return err
	})
	return p, err
}

// rid cuts erased records out of the change log, and what was removed out of the files.
func (a *Admin) rid(ctx context.Context) error {
	if _, err := a.store.Scrub(ctx, a.org.ID); err != nil {
		return err
	}
	return a.store.Compact(ctx)
}

// purgeAll erases the records of a purge that may be purged now.
func (a *Admin) purgeAll(ctx context.Context, p *store.Purge) error {
	found, err := a.Retention(ctx, p.Agency)
	if err != nil {
		return err
	}
	ids := slices.DeleteFunc(slices.Clone(p.Records), func(id syncengine.ID) bool {
		_, may := slices.BinarySearchFunc(found.Purgeable, id, syncengine.ID.Compare)
		return !may
	})
	for some := range slices.Chunk(ids, purgePortion) {
		err := a.store.Write(ctx, a.org.ID, len(some), func(tx *store.Tx) error {
			if err := a.unmoved(tx, found, p.Records, some); err != nil {
				return err
			}
			b, err := a.engine().Begin(tx, a.now().UnixMilli())
			if err != nil {
				return err
			}
			gone, err := eraseAll(tx, b, some)
			if err != nil {
				return err
			}
			if err := tx.AdvancePurge(p.ID, len(gone)); err != nil {
				return err
			}
			head, err := tx.Head()
			if err != nil {
				return err
			}
			return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_ERASED, Subject: p.ID[:], Count: uint64(len(gone)), Seq: head.Seq, Records: joined(gone)})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// purgerOf is the agency of which somebody is an active admin; zero for none.
func purgerOf(view syncengine.ServerView, by syncengine.ID) (agency syncengine.ID, err error) {
	rec, err := view.Record(by)
	if err != nil || rec == nil || rec.Lifecycle() != record.Active {
		return agency, err
	}
	p, err := (&syncengine.Server{Rules: record.New()}).Principal(view, &syncengine.Replica{Person: by})
	if err != nil || !slices.Contains(p.Roles, "admin") {
		return agency, err
	}
	return p.Agency, nil
}

// eraseAll erases records in a batch, and commits it. The journal has them first: where
// this is interrupted, its replay erases them.
func eraseAll(tx *store.Tx, b *syncengine.Batch, ids []syncengine.ID) (gone []syncengine.ID, err error) {
	for _, id := range ids {
		some, err := b.Erase(id)
		if err != nil {
			return nil, err
		}
		gone = append(gone, some...)
	}
	if len(gone) > 0 {
		event := &store.JournalEvent{What: store.EventErased}
		for _, id := range gone {
			event.Records = append(event.Records, id.String())
		}
		if err := tx.Journal(event); err != nil {
			return nil, err
		}
	}
	_, err = b.Commit()
	return gone, err
}

func joined(ids []syncengine.ID) (all []byte) {
	for _, id := range ids {
		all = append(all, id[:]...)
	}
	return all
}

// unmoved returns ErrPurgeMoved where anything has changed since the retention was counted
// that could keep a record: a hold, a policy, something in quarantine, or a newer record
// that is one of all those to be purged, or about one.
func (a *Admin) unmoved(tx *store.Tx, found *Retention, all, some []syncengine.ID) error {
	holds, err := tx.LegalHolds()
	if err != nil {
		return err
	}
	if !slices.EqualFunc(holds, found.holds, func(x, y *store.Hold) bool { return x.ID == y.ID && x.Stands() == y.Stands() }) {
		return ErrPurgeMoved
	}
	for _, id := range some {
		if waiting, err := tx.QuarantinedOn(id); err != nil || len(waiting) > 0 {
			return errors.Join(err, ErrPurgeMoved)
		}
	}
	changed, err := tx.ChangedSince(found.Seq)
	if err != nil {
		return err
	}
	recs, err := tx.Records(changed)
	if err != nil {
		return err
	}
	domain := record.New()
	for _, rec := range recs {
		kind := domain.Kind(rec.Kind)
		if kind == nil || kind.Name == "agency" || kind.Name == "program" || kind.Name == "team" || slices.Contains(all, rec.ID) ||
			slices.ContainsFunc(domain.About(&rec.Record), func(id syncengine.ID) bool { return slices.Contains(all, id) }) {
			return ErrPurgeMoved
		}
	}
	return nil
}

// replayErased erases what the security journal says was erased and this database does not
// know of: it was set back.
func (s *Server) replayErased(tx *store.Tx, org *store.Org, ids []syncengine.ID) error {
	if err := tx.Prefetch(nil, ids, nil); err != nil {
		return err
	}
	b, err := s.engine(org).Begin(tx, s.now().UnixMilli())
	if err != nil {
		return err
	}
	var gone []syncengine.ID
	for _, id := range ids {
		if known, err := tx.Erased(id); err != nil {
			return err
		} else if known {
			continue
		}
		some, err := b.Erase(id)
		if err != nil {
			return err
		}
		gone = append(gone, some...)
	}
	if len(gone) == 0 {
		return nil
	}
	done, err := b.Commit()
	if err != nil {
		return err
	}
	return tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_ERASED, Count: uint64(len(gone)), Seq: done.Head.Seq, Records: joined(gone)})
}

// rid cuts out of the change log, and of the files, what was erased and is not cut out yet:
// by a replay, or before a purge was broken off.
func (s *Server) rid(ctx context.Context, org syncengine.ID) error {
	waits := false
	err := s.store.Snapshot(ctx, org, func(snap *store.Snapshot) error {
		return snap.EachErased(func(e *store.ErasedRecord) error {
			waits = waits || e.ScrubbedMS == 0
			return nil
		})
	})
	if err != nil || !waits {
		return err
	}
	if _, err := s.store.Scrub(ctx, org); err != nil {
		return err
	}
	if err := s.store.Compact(ctx); err != nil {
		// It is no reason not to serve: the next purge does it again.
		s.log.Warn().Err(err).Msg("database not compacted after erasures")
	}
	return nil
}
