package client

import (
	"context"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// OwnCodes returns the codes that agencies have added to the lists, as far as this device has
// been told. They are reference data: reading them is noted nowhere.
func (c *Client) OwnCodes(ctx context.Context) (*record.OwnCodes, error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	return c.ownCodes(ctx)
}

// ownCodes are OwnCodes for judging a save, which goes on where the screens are hidden.
func (c *Client) ownCodes(ctx context.Context) (*record.OwnCodes, error) {
	kind := c.domain.KindOf((*tandemv1.CodeSet)(nil))
	views, err := c.shown(ctx, visible+" AND rec.kind = ? ORDER BY rec.id", int64(kind.Number))
	if err != nil {
		return nil, err
	}
	own := &record.OwnCodes{}
	for _, v := range views {
		if m, ok := v.Message.(*tandemv1.CodeSet); ok && lifecycleOf(m) == record.Active {
			own.Add(m)
		}
	}
	return own, nil
}

// validate is Domain.Validate with the codes of the author's agency. They are looked for only
// where a choice is none of the core ones.
func (c *Client) validate(ctx context.Context, msg proto.Message, e record.Entry) []record.Problem {
	problems := c.domain.Validate(msg, e)
	if e.Own != nil || !slices.ContainsFunc(problems, func(p record.Problem) bool { return p.Rule == record.RuleOffered }) {
		return problems
	}
	me, err := c.identity()
	if err != nil {
		return problems
	}
	if e.Own, err = c.ownCodes(ctx); err != nil {
		return problems
	}
	agency, _ := syncengine.IDFromBytes(me.answer.GetAgency())
	e.Agency = agency.String()
	return c.domain.Validate(msg, e)
}
