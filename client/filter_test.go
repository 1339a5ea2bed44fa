package client

import (
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// A list is read page by page, each record once, and narrowed to what is about nobody.
func TestListInPages(t *testing.T) {
	t.Parallel()
	c, _ := newEnrolled(t)
	ana := create(t, c, &tandemv1.Person{Names: []*tandemv1.PersonName{{Given: new("Ana")}}})
	var all []syncengine.ID
	for i := range 7 {
		m := &tandemv1.Encounter{Type: new("crisis_response")}
		if i < 4 {
			m.PersonId = new(ana.String())
		}
		all = append(all, create(t, c, m))
	}
	var read []syncengine.ID
	for at := 0; at < 12; at += 3 {
		views, err := c.List(t.Context(), "encounter", Filter{Skip: at}, Oldest, 3)
		if err != nil || len(views) > 3 {
			t.Fatalf("%d from %d on, %v", len(views), at, err)
		}
		for _, v := range views {
			read = append(read, v.ID)
		}
	}
	if !slices.Equal(read, all) {
		t.Errorf("page by page come %v, want %v", read, all)
	}
	rest, err := c.List(t.Context(), "encounter", Filter{Skip: 5}, Newest, 0)
	if err != nil || len(rest) != 2 || rest[1].ID != all[0] {
		t.Errorf("behind five of the newest are %d, %v", len(rest), err)
	}
	nobodys, err := c.List(t.Context(), "encounter", Filter{NoPerson: true}, Oldest, 0)
	if err != nil || len(nobodys) != 3 || nobodys[0].ID != all[4] {
		t.Errorf("%d are about nobody, %v", len(nobodys), err)
	}
	if views, err := c.List(t.Context(), "encounter", Filter{Unknown: true}, Oldest, 0); err != nil || len(views) != 0 {
		t.Errorf("%d are in a state that nobody knows, %v", len(views), err)
	}
}
