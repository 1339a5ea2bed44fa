package server

import (
	"context"
	"errors"

	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// readmit decides about a replica whose row is missing and whose certificate the org
// has signed: while the server recovers it gets a row that takes changes and nothing
// else, as if it had called itself. At other times it is refused: enrolments that the
// security journal knows have been replayed already, and what it does not know is not
// believed. It reports whether the replica has a row now.
func (s *Server) readmit(ctx context.Context, org *store.Org, id *auth.Identity) (bool, error) {
	recovering := false
	err := s.store.Read(ctx, org.ID, func(view syncengine.ServerView) error {
		head, err := view.Head()
		recovering = head.Recovering
		return err
	})
	if err != nil || !recovering {
		return false, err
	}
	if err := s.meet(ctx, org, id, nil); errors.Is(err, errFormerOrgKey) {
		// It stays unknown; what else the delivery holds is taken.
		return false, nil
	} else if err != nil {
		return false, err
	}
	return true, nil
}
