package server

import (
	"context"
	"errors"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// settleErased makes the database true to what the security journal says was erased: it may
// have been set back, or a purge was broken off between the journal and its commit.
func (a *Admin) settleErased(ctx context.Context) error {
	events, err := a.store.Journal(ctx, a.org.ID)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(events, func(e *store.JournalEvent) bool { return e.What == store.EventErased }) {
		return nil
	}
	return a.store.Write(ctx, a.org.ID, 1, func(tx *store.Tx) error {
		_, err := replayErased(tx, a.engine(), a.now().UnixMilli(), events)
		return err
	})
}

// settleErased does so at a start, and says in the log what it could not do: damage to what
// is to be erased is no reason not to serve.
func (s *Server) settleErased(ctx context.Context, org *store.Org, events []*store.JournalEvent) error {
	if len(erasures(events)) == 0 {
		return nil
	}
	back := 0
	err := s.store.Write(ctx, org.ID, 1, func(tx *store.Tx) (err error) {
		back, err = replayErased(tx, s.engine(org), s.now().UnixMilli(), events)
		return err
	})
	if errors.Is(err, store.ErrDamaged) {
		s.log.Error().Err(err).Stringer("org", org.ID).Msg("records that the security journal says were erased could not be erased again")
		return nil
	}
	if back > 0 {
		s.log.Warn().Int("events", back).Msg("the database had gone on without a purge of the security journal: what was written about since stays until it is purged anew")
	}
	return err
}

// KeepErased cuts out of the change log and of the files what was erased and is not cut out
// yet: words about it that somebody has dismissed since, or what an older copy of the
// database had. It is done once a day, and not while a purge is under way, which does it at
// its end. The changes that are damaged it leaves alone.
func (a *Admin) KeepErased(ctx context.Context) (done store.Scrubbed, err error) {
	if err := a.settleErased(ctx); err != nil {
		return done, err
	}
	all, err := a.store.Purges(ctx, a.org.ID)
	if err != nil || slices.ContainsFunc(all, func(p *store.Purge) bool { return p.Approved && p.DoneMS == 0 }) {
		return done, err
	}
	if waits, err := unscrubbed(ctx, a.store, a.org.ID); err != nil || !waits {
		return done, err
	}
	done, err = a.store.Scrub(ctx, a.org.ID)
	if err != nil || done.Changes == 0 && done.Damaged > 0 {
		// What is damaged stays so: the files are not written anew for it every day.
		return done, err
	}
	return done, a.store.Compact(ctx)
}

// unscrubbed reports whether the change log may have words of what was erased.
func unscrubbed(ctx context.Context, st *store.Store, org syncengine.ID) (waits bool, err error) {
	err = st.Snapshot(ctx, org, func(snap *store.Snapshot) error {
		return snap.EachErased(func(e *store.ErasedRecord) error {
			waits = waits || e.ScrubbedMS == 0
			return nil
		})
	})
	return waits, err
}

// erasures are the events by which records were erased, oldest first, each with those of
// them that were not taken back.
func erasures(events []*store.JournalEvent) (all []*store.JournalEvent) {
	for _, e := range events {
		switch e.What {
		case store.EventErased:
			next := *e
			all = append(all, &next)
		case store.EventUnerased:
			for _, o := range all {
				if o.Seq == e.Seq && string(o.Hash) == string(e.Hash) {
					o.Records = slices.DeleteFunc(slices.Clone(o.Records), func(id string) bool { return slices.Contains(e.Records, id) })
				}
			}
		}
	}
	return slices.DeleteFunc(all, func(e *store.JournalEvent) bool { return len(e.Records) == 0 })
}

// replayErased erases what the security journal says was erased and this database does not
// know of, since it was set back. What somebody has written about since, or has placed a
// legal hold on, stays, and is taken back in the journal: they did not know of it. takenBack
// is how many events that was anything of.
func replayErased(tx *store.Tx, engine *syncengine.Server, nowMS int64, events []*store.JournalEvent) (takenBack int, err error) {
	// All are judged by how the database stands before any of them is replayed.
	var open []*unerased
	for _, e := range erasures(events) {
		left, err := notErased(tx, e)
		if err != nil {
			return 0, err
		}
		if len(left) > 0 {
			open = append(open, &unerased{e, left})
		}
	}
	if len(open) == 0 {
		return 0, nil
	}
	stays, err := writtenSince(tx, engine, open)
	if err != nil {
		return 0, err
	}
	for _, u := range open {
		var back []string
		for _, id := range u.left {
			if stays[id] {
				back = append(back, id.String())
			}
		}
		if len(back) == 0 {
			continue
		}
		takenBack++
		if err := tx.Journal(&store.JournalEvent{What: store.EventUnerased, Purge: u.Purge, Records: back, Seq: u.Seq, Hash: u.Hash}); err != nil {
			return 0, err
		}
		if err := tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_ERASURE_TAKEN_BACK, Subject: idBytes(purgeOf(u.JournalEvent)), Count: uint64(len(back))}); err != nil {
			return 0, err
		}
	}
	for _, u := range open {
		ids, err := notErased(tx, u.JournalEvent)
		if err != nil {
			return 0, err
		}
		ids = slices.DeleteFunc(ids, func(id syncengine.ID) bool { return stays[id] })
		if len(ids) == 0 {
			continue
		}
		b, err := engine.Begin(tx, nowMS)
		if err != nil {
			return 0, err
		}
		gone, err := eraseAll(b, ids)
		if err != nil {
			return 0, err
		}
		done, err := b.Commit()
		if err != nil {
			return 0, err
		}
		if err := noteErased(tx, purgeOf(u.JournalEvent), gone, done.Head.Seq); err != nil {
			return 0, err
		}
	}
	return takenBack, nil
}

// purgeOf is the purge of an event, zero where it names none.
func purgeOf(e *store.JournalEvent) syncengine.ID {
	id, _ := syncengine.ParseID(e.Purge)
	return id
}

// notErased are the records of an event that this database does not know to be erased.
func notErased(tx *store.Tx, e *store.JournalEvent) (ids []syncengine.ID, err error) {
	for _, text := range e.Records {
		if id, err := syncengine.ParseID(text); err == nil {
			ids = append(ids, id)
		}
	}
	if err := tx.Prefetch(nil, ids, nil); err != nil {
		return nil, err
	}
	left := ids[:0]
	for _, id := range ids {
		known, err := tx.Erased(id)
		if err != nil {
			return nil, err
		}
		if !known {
			left = append(left, id)
		}
	}
	return left, nil
}
