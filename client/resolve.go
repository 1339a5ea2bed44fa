package client

import (
	"context"
	"errors"

	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// Choose says which value settles a conflict: a head by its stamp, or another
// value.
type Choose struct {
	// Stamp of the chosen head, where Value is nil.
	Stamp syncengine.Stamp
	// Value is a message of the record's kind that holds the new value at the path;
	// a message without it clears the path.
	Value proto.Message
	// Reason, where the act needs one.
	Reason string
}

// ErrNoConflict says that a path has no values to choose from, or not the chosen
// one: somebody may have settled it meanwhile.
var ErrNoConflict = errors.New("there is nothing to settle there any more: look at the record again")

// Resolve settles one path of the record that v showed. What v did not show stays
// and asks again.
func (c *Client) Resolve(ctx context.Context, v *View, path syncengine.Path, choice Choose) (*Saved, error) {
	raw, err := c.chosen(v, path, choice)
	if err != nil {
		return nil, err
	}
	return c.Edit(ctx, func(e *Edit) error { return e.Resolve(v, path, raw, choice.Reason) })
}

func (c *Client) chosen(v *View, path syncengine.Path, choice Choose) ([]byte, error) {
	if v.Kind == nil {
		return nil, record.ErrUnknownKind
	}
	if choice.Value != nil {
		if c.domain.KindOf(choice.Value) != v.Kind {
			return nil, record.ErrUnknownKind
		}
		body, err := c.domain.Body(choice.Value)
		if err != nil {
			return nil, err
		}
		fields, err := syncengine.ParseBody(body)
		if err != nil {
			return nil, err
		}
		for _, f := range fields {
			if f.Path == path {
				return f.Raw, nil
			}
		}
		return nil, nil
	}
	heads, _ := v.state.Heads(path)
	for _, h := range heads {
		if h.Stamp == choice.Stamp {
			return h.Raw, nil
		}
	}
	return nil, ErrNoConflict
}
