package server

import (
	"context"
	"time"
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
	}
	if news == 0 {
		return nil
	}
	s.log.Warn().Int("events", news).Msg("the database lacked events of the security journal: it is made true to them")
	return s.ReplayJournal(ctx)
}
