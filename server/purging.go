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

// DoPurge does a purge that was approved, or goes on with one: it erases what may still be
// purged, cuts it out of the change log, and rewrites the database's files. It ends when
// nothing that was asked for may be purged any more: what is left has to stay.
func (a *Admin) DoPurge(ctx context.Context, id syncengine.ID) (p *store.Purge, err error) {
	if err := a.settleErased(ctx); err != nil {
		return nil, err
	}
	read := func(tx *store.Tx) (err error) {
		if p, err = tx.Purge(id); err == nil && (p == nil || !p.Approved || p.DoneMS != 0) {
			err = store.ErrNoPurge
		}
		return err
	}
	if err := a.store.Write(ctx, a.org.ID, 0, read); err != nil {
		return nil, err
	}
	for more := true; more; {
		if more, err = a.purgeOnce(ctx, p); err != nil {
			return p, err
		}
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

// purgeOnce erases the records of a purge that may be purged now, and reports whether there
// were any.
func (a *Admin) purgeOnce(ctx context.Context, p *store.Purge) (more bool, err error) {
	asked := map[syncengine.ID]bool{}
	for _, id := range p.Records {
		asked[id] = true
	}
	found, err := a.retention(ctx, p.Agency, asked)
	if err != nil {
		return false, err
	}
	for some := range slices.Chunk(found.Purgeable, purgePortion) {
		head, err := a.purgePortion(ctx, p, found, some)
		if err != nil {
			return true, err
		}
		// What it has moved itself keeps nothing.
		found.Seq = head.Seq
	}
	return len(found.Purgeable) > 0, nil
}

// purgePortion erases some records in one transaction.
func (a *Admin) purgePortion(ctx context.Context, p *store.Purge, found *Retention, some []syncengine.ID) (head syncengine.HistoryHead, err error) {
	now := a.now().UnixMilli()
	event := &store.JournalEvent{What: store.EventErased, Purge: p.ID.String()}
	for _, h := range found.holds {
		event.Holds = append(event.Holds, h.ID.String())
	}
	// As committed: what shares the transaction may be undone with it.
	err = a.store.Read(ctx, a.org.ID, func(view syncengine.ServerView) error {
		before, err := view.Head()
		event.Seq, event.Hash = before.Seq, before.Hash[:]
		return err
	})
	if err != nil {
		return head, err
	}
	err = a.store.Write(ctx, a.org.ID, len(some), func(tx *store.Tx) error {
		if err := reported(tx); err != nil {
			return err
		}
		if err := unmoved(tx, found, some); err != nil {
			return err
		}
		b, err := a.engine().Begin(tx, now)
		if err != nil {
			return err
		}
		gone, err := eraseAll(b, some)
		if err != nil {
			return err
		}
		event.Records = nil
		for _, id := range gone {
			event.Records = append(event.Records, id.String())
		}
		// The journal first: where this is interrupted, its replay erases them, unless
		// somebody has written since.
		if err := tx.Journal(event); err != nil {
			return err
		}
		done, err := b.Commit()
		if err != nil {
			return err
		}
		head = done.Head
		return noteErased(tx, p.ID, gone, head.Seq)
	})
	return head, err
}

// eraseAll erases records in a batch, in their order.
func eraseAll(b *syncengine.Batch, ids []syncengine.ID) (gone []syncengine.ID, err error) {
	for _, id := range ids {
		some, err := b.Erase(id)
		if err != nil {
			return nil, err
		}
		gone = append(gone, some...)
	}
	return gone, nil
}

// noteErased counts erased records to their purge, if there is one, and puts them into the
// audit log.
func noteErased(tx *store.Tx, purge syncengine.ID, gone []syncengine.ID, seq uint64) error {
	if err := tx.AdvancePurge(purge, gone); err != nil {
		return err
	}
	for some := range slices.Chunk(gone, purgePortion) {
		var joined []byte
		for _, id := range some {
			joined = append(joined, id[:]...)
		}
		if err := tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_ERASED, Subject: idBytes(purge), Count: uint64(len(some)), Seq: seq, Records: joined}); err != nil {
			return err
		}
	}
	return nil
}

// unmoved returns ErrPurgeMoved where anything has changed since the retention was counted
// that could keep a record: a hold, a policy, or words, also such as wait for somebody, of
// or about any of those people and calls; and where something that came since is about one
// of some. What the count knew it has judged: that keeps its own alone.
func unmoved(tx *store.Tx, found *Retention, some []syncengine.ID) error {
	holds, err := tx.LegalHolds()
	if err != nil {
		return err
	}
	if !slices.EqualFunc(holds, found.holds, func(x, y *store.Hold) bool { return x.ID == y.ID && x.Stands() == y.Stands() }) {
		return ErrPurgeMoved
	}
	if named, err := tx.Named(found.Seq, found.concerned); err != nil || slices.ContainsFunc(named, func(id syncengine.ID) bool { return !found.waited[id] }) {
		return errors.Join(err, ErrPurgeMoved)
	}
	domain := record.New()
	moves := func(ids []syncengine.ID, does func(rec *syncengine.StoredRecord, about []syncengine.ID) bool) error {
		recs, err := tx.Records(ids)
		if err != nil {
			return err
		}
		for _, rec := range recs {
			if does(rec, domain.About(&rec.Record)) {
				return ErrPurgeMoved
			}
		}
		return nil
	}
	about, err := tx.AboutAny(some)
	if err != nil {
		return err
	}
	if err := moves(about, func(rec *syncengine.StoredRecord, about []syncengine.ID) bool {
		return rec.Seq > found.Seq && slices.ContainsFunc(about, func(id syncengine.ID) bool { return slices.Contains(some, id) })
	}); err != nil {
		return err
	}
	head, err := tx.Head()
	if err != nil || head.Seq == found.Seq {
		return err
	}
	changed, err := tx.ChangedSince(found.Seq)
	if err != nil {
		return err
	}
	return moves(changed, func(rec *syncengine.StoredRecord, about []syncengine.ID) bool {
		kind := domain.Kind(rec.Kind)
		return kind == nil || slices.Contains([]string{"agency", "program", "team"}, kind.Name) || found.concerned[rec.ID] ||
			slices.ContainsFunc(about, func(id syncengine.ID) bool { return found.concerned[id] })
	})
}
