package mobile

import (
	"context"
	"strings"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// View is a record as a screen shows it. It does not change when the record does: keep
// it as long as the screen stands, and hand it to the save.
type View struct {
	// ID is the record's, Kind the name of its kind, empty where this version does not
	// know it.
	ID, Kind string
	// Body is the displayed message of the kind, as protobuf.
	Body []byte
	// Lifecycle is its code.
	Lifecycle string
	// Pending is the number of own saves that the server's state does not include yet;
	// AtServer: the server has the record.
	Pending  int
	AtServer bool
	// Conflicts is the number of fields with several values: see Conflict.
	Conflicts int
	// NotAccepted is the number of own saves of it that the server keeps and did not
	// apply; only Get knows.
	NotAccepted int

	v *client.View
}

// Conflict is a field that two people wrote without having seen each other's value.
type Conflict struct {
	// Field is its name, Values how many there are. The first is displayed where
	// Displayed.
	Field     string
	Values    int
	Displayed bool

	c *client.Conflict
}

// Conflict returns one of a view's conflicts.
func (v *View) Conflict(i int) (*Conflict, error) {
	if v.v == nil || i < 0 || i >= len(v.v.Conflicts) {
		return nil, fail(errChoice)
	}
	c := &v.v.Conflicts[i]
	return &Conflict{Field: c.Field, Values: len(c.Choices), Displayed: c.Displayed, c: c}, nil
}

// Choice is one of the values of a conflict.
type Choice struct {
	// Body is a message of the kind that holds the field alone, without it where the
	// value is that there is none.
	Body []byte
	// AuthorID is the record id of who wrote it, empty where that is not known here; AtMS
	// when, by the clock of their device.
	AuthorID string
	AtMS     int64
}

// Choice returns one of the values.
func (c *Conflict) Choice(i int) (*Choice, error) {
	if c.c == nil || i < 0 || i >= len(c.c.Choices) {
		return nil, fail(errChoice)
	}
	choice := &c.c.Choices[i]
	out := &Choice{AtMS: choice.AtMS}
	if !choice.Author.IsZero() {
		out.AuthorID = choice.Author.String()
	}
	if choice.Message != nil {
		var err error
		if out.Body, err = proto.Marshal(choice.Message); err != nil {
			return nil, fail(err)
		}
	}
	return out, nil
}

// Views is a list of views.
type Views struct{ views []*View }

// Len is how many there are.
func (v *Views) Len() int { return len(v.views) }

// At returns one of them, nil where there is none.
func (v *Views) At(i int) *View {
	if i < 0 || i >= len(v.views) {
		return nil
	}
	return v.views[i]
}

func newView(v *client.View) (*View, error) {
	out := &View{
		ID: v.ID.String(), Lifecycle: v.Lifecycle, Pending: v.Pending, AtServer: v.AtServer,
		Conflicts: len(v.Conflicts), NotAccepted: len(v.NotAccepted), v: v,
	}
	if v.Kind == nil {
		return out, nil
	}
	out.Kind = v.Kind.Name
	var err error
	out.Body, err = proto.Marshal(v.Message)
	return out, err
}

func newViews(views []*client.View, err error) (*Views, error) {
	out := &Views{}
	for _, v := range views {
		if err != nil {
			break
		}
		var view *View
		view, err = newView(v)
		out.views = append(out.views, view)
	}
	if err != nil {
		return nil, fail(err)
	}
	return out, nil
}

// Get returns a record.
func (d *Device) Get(id string) (*View, error) {
	parsed, err := parseID(id)
	if err != nil {
		return nil, fail(err)
	}
	v, err := d.c.Get(context.Background(), parsed)
	if err != nil {
		return nil, fail(err)
	}
	out, err := newView(v)
	return out, fail(err)
}

// Query says what a list holds. NewQuery makes one; what is left empty narrows nothing.
type Query struct {
	// Kind is the name of a kind of record.
	Kind string
	// IncidentID, PersonID and ParentID are what a record refers to.
	IncidentID, PersonID, ParentID string
	// Lifecycle is a code.
	Lifecycle string
	// FromMS and ToMS bound its time, ToMS excluded.
	FromMS, ToMS int64
	// Conflicts: only records with fields to settle. Pending: only those with own saves
	// that are not at the server yet.
	Conflicts, Pending bool
	// Oldest first, else the newest. Limit is how many at most; 0 is all.
	Oldest bool
	Limit  int
}

// NewQuery asks for records of a kind.
func NewQuery(kind string) *Query { return &Query{Kind: kind} }

// List returns records of a kind.
func (d *Device) List(q *Query) (*Views, error) {
	if q == nil {
		return nil, fail(errKind)
	}
	f := client.Filter{Lifecycle: q.Lifecycle, FromMS: q.FromMS, ToMS: q.ToMS, Conflicts: q.Conflicts, Pending: q.Pending}
	for _, ref := range []struct {
		text string
		into *syncengine.ID
	}{{q.IncidentID, &f.Incident}, {q.PersonID, &f.Person}, {q.ParentID, &f.Parent}} {
		if ref.text == "" {
			continue
		}
		var err error
		if *ref.into, err = parseID(ref.text); err != nil {
			return nil, fail(err)
		}
	}
	order := client.Newest
	if q.Oldest {
		order = client.Oldest
	}
	return newViews(d.c.List(context.Background(), q.Kind, f, order, q.Limit))
}

// Search returns records by what people call them: names, numbers, labels, an id.
func (d *Device) Search(text string, limit int) (*Views, error) {
	return newViews(d.c.Search(context.Background(), text, limit))
}

// KeepDraft keeps typing that is no save yet, as durably as one, under a name of the
// app's. An empty body drops it.
func (d *Device) KeepDraft(key string, body []byte) error {
	if len(body) == 0 {
		return fail(d.c.DropDraft(context.Background(), key))
	}
	return fail(d.c.SaveDraft(context.Background(), key, body))
}

// Draft returns such typing, nothing where there is none.
func (d *Device) Draft(key string) ([]byte, error) {
	draft, err := d.c.Draft(context.Background(), key)
	if err != nil || draft == nil {
		return nil, fail(err)
	}
	return draft.Body, nil
}

func parseID(text string) (syncengine.ID, error) {
	id, err := syncengine.ParseID(strings.ToUpper(text))
	if err != nil {
		return id, client.ErrNotFound
	}
	return id, nil
}
