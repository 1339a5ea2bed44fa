package client

import (
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// fill sets a text field of a message that has such a field and does not hold it.
func (c *Client) fill(msg proto.Message, field, text string) {
	m := msg.ProtoReflect()
	if f := m.Descriptor().Fields().ByName(protoreflect.Name(field)); f != nil && !m.Has(f) {
		c.put(msg, field, text)
	}
}

// put sets a text field of a message that has such a field; empty text sets
// nothing.
func (c *Client) put(msg proto.Message, field, text string) {
	m := msg.ProtoReflect()
	f := m.Descriptor().Fields().ByName(protoreflect.Name(field))
	if text == "" || f == nil || f.Kind() != protoreflect.StringKind || f.IsList() {
		return
	}
	m.Set(f, protoreflect.ValueOfString(text))
}

// signature puts author and time of a signature on kinds that carry them.
func (c *Client) signature(msg proto.Message) {
	me, err := c.identity()
	if err != nil {
		return
	}
	if person, ok := syncengine.IDFromBytes(me.answer.GetPerson()); ok {
		c.put(msg, "signed_by", person.String())
	}
	at := &tandemv1.Instant{AtMs: new(c.opts.Now().UnixMilli()), Origin: new("tap")}
	m := msg.ProtoReflect()
	if f := m.Descriptor().Fields().ByName("signed_at"); f != nil && f.Message() == at.ProtoReflect().Descriptor() {
		m.Set(f, protoreflect.ValueOfMessage(at.ProtoReflect()))
	}
}
