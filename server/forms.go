package server

import (
	"context"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// AddForm makes a draft of a form for an agency and returns its id.
func (a *Admin) AddForm(ctx context.Context, agency syncengine.ID, form *tandemv1.Form) (syncengine.ID, error) {
	return a.add(ctx, func(tx *store.Tx, _ syncengine.ID) (proto.Message, error) {
		if _, err := a.find(tx, "agency", agency); err != nil {
			return nil, err
		}
		draft := proto.CloneOf(form)
		draft.AgencyId, draft.Lifecycle, draft.Schema = new(agency.String()), new("draft"), schema()
		return draft, nil
	})
}
