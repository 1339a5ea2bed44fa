package server

import (
	"context"
	"slices"

	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// rehome moves the reviews that an earlier version has put elsewhere, as where the whole
// team reads them: they leave the devices of those who are neither a lead nor who was
// reviewed.
func (s *Server) rehome(ctx context.Context) error {
	orgs, err := s.store.Orgs(ctx)
	if err != nil {
		return err
	}
	domain := record.New()
	for _, org := range orgs {
		var ids []syncengine.ID
		err := s.store.EachRecord(ctx, org.ID, domain.KindByName("review").Number, func(rec *syncengine.StoredRecord) error {
			if domain.StaleReview(rec) {
				ids = append(ids, rec.ID)
			}
			return nil
		})
		if err != nil {
			return err
		}
		moved := 0
		for some := range slices.Chunk(ids, relinkBatch) {
			before := moved
			err := s.store.Write(ctx, org.ID, len(some), func(tx *store.Tx) error {
				// It may be run again.
				moved = before
				batch, err := s.engine(org).Begin(tx, s.now().UnixMilli())
				if err != nil {
					return err
				}
				for _, id := range some {
					did, err := batch.Rehome(id)
					if err != nil {
						return err
					}
					if did {
						moved++
					}
				}
				_, err = batch.Commit()
				return err
			})
			if err != nil {
				return err
			}
		}
		if moved > 0 {
			s.log.Info().Stringer("org", org.ID).Int("reviews", moved).Msg("reviews were moved to where this version has them")
		}
	}
	return nil
}
