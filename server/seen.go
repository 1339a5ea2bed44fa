package server

import (
	"context"
	"math"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// mostSeen is how many records that leads have opened one answer tells.
const mostSeen = 500

// seenByLead tells a device which records of its person leads have opened, as far as the
// person may read them: police partners are told nothing, nor is who only sends.
func (s *Server) seenByLead(ctx context.Context, org *store.Org, id *auth.Identity, req *tandemv1.SyncRequest, t *tandemv1.Trailer) error {
	after := req.GetSeenAfter()
	if after == 0 || after > math.MaxInt64 || t.GetRecovering() || t.GetUnconfirmed() {
		return nil
	}
	engine := s.engine(org)
	var held []syncengine.ScopeKey
	return s.store.Seen(ctx, org.ID, id.Person, after-1, mostSeen, func(view syncengine.ServerView, from uint64, page []store.Seen) (more bool, err error) {
		if from == after-1 {
			t.Seen = nil
			replica, err := view.Replica(id.Replica)
			if err != nil || replica == nil || replica.Revoked || replica.Forked || replica.Unconfirmed {
				return false, err
			}
			p, err := engine.Principal(view, replica)
			if err != nil || p == nil || slices.Contains(p.Roles, "le_partner") {
				return false, err
			}
			held = s.rules.Grants(org.ID, p)
		}
		readable, err := seenIn(view, held, page)
		t.Seen = append(t.Seen, readable[:min(len(readable), mostSeen-len(t.GetSeen()))]...)
		return len(t.GetSeen()) < mostSeen, err
	})
}

// seenIn returns those of a page that stand in scopes which the person holds: what a device
// is told next begins after the last of them, so none before may be left out.
func seenIn(view syncengine.ServerView, held []syncengine.ScopeKey, page []store.Seen) (readable []*tandemv1.Seen, err error) {
	ids := make([]syncengine.ID, 0, len(page))
	for _, one := range page {
		ids = append(ids, one.Record)
	}
	recs, err := view.Records(ids)
	if err != nil {
		return nil, err
	}
	mine := map[syncengine.ID]bool{}
	for _, rec := range recs {
		mine[rec.ID] = slices.ContainsFunc(rec.Scopes, func(k syncengine.ScopeKey) bool { return slices.Contains(held, k) })
	}
	for _, one := range page {
		if mine[one.Record] {
			readable = append(readable, &tandemv1.Seen{Record: one.Record[:], Number: one.N, AtMs: one.AtMS, RowHash: uint64(one.Hash)})
		}
	}
	return readable, nil
}
