package server

import (
	"context"
	"time"

	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// journalEvery is how often a server compares its copy of the security journal with what
// the servers beside it have noted.
const journalEvery = 10 * time.Second

// KeepJournal keeps this server's copy of the security journal together with that of the
// servers beside it, until ctx ends: it takes over what they note, and where the
// database has lost what this copy has, as after a restore or a failover, it makes the
// database true to it again.
func (s *Server) KeepJournal(ctx context.Context) error {
	tick := time.NewTicker(journalEvery)
	defer tick.Stop()
	for {
		if err := s.joinJournal(ctx); err != nil && ctx.Err() == nil {
			s.log.Error().Err(err).Msg("the security journal could not be compared")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// joinJournal does so once.
func (s *Server) joinJournal(ctx context.Context) error {
	orgs, err := s.store.Orgs(ctx)
	if err != nil {
		return err
	}
	news := 0
	for _, org := range orgs {
		// A rotation that was interrupted, or another server's restore.
		if err := s.store.Announce(ctx, org.ID); err != nil {
			return err
		}
		n, err := s.store.JournalNews(ctx, org.ID)
		if err != nil {
			return err
		}
		news += n
		if err := s.store.JournalKeys(ctx, org.ID); err != nil {
			return err
		}
		if err := s.sayBehind(ctx, org.ID); err != nil {
			return err
		}
	}
	if news == 0 {
		return nil
	}
	s.log.Warn().Int("events", news).Msg("the database lacked events of the security journal: it is made true to them")
	return s.ReplayJournal(ctx)
}

// sayBehind says in the log that this server has an older keys file than the org's newest
// key, when that begins.
func (s *Server) sayBehind(ctx context.Context, id syncengine.ID) error {
	org, err := s.store.Org(ctx, id)
	if err != nil {
		return err
	}
	if org.Signing != nil {
		s.behind.Delete(id)
		return nil
	}
	if _, said := s.behind.LoadOrStore(id, true); !said {
		s.log.Warn().Stringer("org", id).Err(store.ErrKeysBehind).Msg("this server certifies nobody")
	}
	return nil
}
