package mobile

import (
	"context"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/proto"
)

// Save is one save being put together: writes to one or more records, all or nothing.
// Device.Begin makes one, Device.Commit stores it. It is for one thread.
type Save struct {
	d      *Device
	urgent bool
	// parts are what it writes, in order.
	parts []func(*client.Edit) error
}

// Begin begins a save.
func (d *Device) Begin() *Save { return &Save{d: d} }

// Urgent has the save travel before others.
func (s *Save) Urgent() { s.urgent = true }

// Create makes a record of a kind's message, and returns its id, by which others of the
// same save may refer to it. Team, program, agency and time zone are filled in where the
// message lacks them; of somebody in several teams, the team that Device.WorkFor said.
func (s *Save) Create(kind string, body []byte) (string, error) {
	msg, err := s.d.message(kind, body)
	if err != nil {
		return "", fail(err)
	}
	id, err := s.d.c.NewID()
	if err != nil {
		return "", fail(err)
	}
	s.parts = append(s.parts, func(e *client.Edit) error {
		_, err := e.Create(msg, client.WithID(id))
		return err
	})
	return id.String(), nil
}

// Set writes the fields in which a body differs from what a view showed. An append-only
// field only grows.
func (s *Save) Set(v *View, body []byte) error {
	return s.change(v, body, func(e *client.Edit, msg proto.Message) error { return e.Set(v.v, msg) })
}

// End ends the work on a record with a lifecycle code: cleared, locked, or empty where a
// field of the body says it.
func (s *Save) End(v *View, body []byte, lifecycle string) error {
	return s.change(v, body, func(e *client.Edit, msg proto.Message) error { return e.Close(v.v, msg, lifecycle) })
}

// Sign signs what a view showed, with the changes that the body makes.
func (s *Save) Sign(v *View, body []byte) error {
	return s.change(v, body, func(e *client.Edit, msg proto.Message) error { return e.Sign(v.v, msg) })
}

// Amend changes a signed or locked record, with a reason.
func (s *Save) Amend(v *View, body []byte, reason string) error {
	return s.change(v, body, func(e *client.Edit, msg proto.Message) error { return e.Amend(v.v, msg, reason) })
}

// MakeVoid voids a record, with a reason. Nothing is deleted.
func (s *Save) MakeVoid(v *View, reason string) error {
	if v == nil || v.v == nil {
		return fail(errView)
	}
	s.parts = append(s.parts, func(e *client.Edit) error { return e.Void(v.v, reason) })
	return nil
}

// Resolve settles a conflict of a view with one of its values; reason may be empty where
// the field asks for none.
func (s *Save) Resolve(v *View, conflict, choice int, reason string) error {
	if v == nil || v.v == nil {
		return fail(errView)
	}
	c, err := v.Conflict(conflict)
	if err != nil {
		return err
	}
	if choice < 0 || choice >= len(c.c.Choices) {
		return fail(errChoice)
	}
	s.parts = append(s.parts, func(e *client.Edit) error { return e.Resolve(v.v, c.c.Path, c.c.Choices[choice].Raw, reason) })
	return nil
}

func (s *Save) change(v *View, body []byte, do func(*client.Edit, proto.Message) error) error {
	if v == nil || v.v == nil {
		return fail(errView)
	}
	msg, err := s.d.message(v.Kind, body)
	if err != nil {
		return fail(err)
	}
	s.parts = append(s.parts, func(e *client.Edit) error { return do(e, msg) })
	return nil
}

// Commit stores a save: it is on the disk when Commit returns, and goes to the server
// with the next contact. Nothing of it is stored where there is an error.
func (d *Device) Commit(s *Save) error {
	if s == nil || s.d != d {
		return fail(errForeign)
	}
	_, err := d.c.Edit(context.Background(), func(e *client.Edit) error {
		if s.urgent {
			e.Class(tandemv1.Class_CLASS_URGENT)
		}
		for _, part := range s.parts {
			if err := part(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		d.loop.saved(s.urgent)
	}
	return fail(err)
}

// message reads a body of a kind.
func (d *Device) message(kind string, body []byte) (proto.Message, error) {
	if d == nil {
		return nil, errForeign
	}
	k := d.c.Domain().KindByName(kind)
	if k == nil {
		return nil, errKind
	}
	msg := d.c.Domain().NewMessage(k.Number)
	if err := proto.Unmarshal(body, msg); err != nil {
		return nil, errBody
	}
	return msg, nil
}
