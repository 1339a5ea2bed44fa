package client

import (
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// Saves that wait for one another, as an earlier version may have left them, are sent all
// the same, once nothing else is left to send.
func TestSavesThatWaitForOneAnother(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := o.enrol(o.clinician, t.TempDir())
	mustSync(t, c)
	id := create(t, c, &tandemv1.Incident{NotesOps: new("Two dogs.")})
	v, err := c.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	msg := as[*tandemv1.Incident](t, v)
	msg.NotesOps = new("Three dogs.")
	if _, err := c.Edit(t.Context(), func(e *Edit) error { return e.Set(v, msg) }); err != nil {
		t.Fatal(err)
	}
	if err := c.store.write(t.Context(), "making the first save wait for the second", func(t *tx) error {
		first, err := t.Op(1)
		if err != nil {
			return err
		}
		next := *first
		next.Needs = []uint64{2}
		return t.SaveOp(&next)
	}); err != nil {
		t.Fatal(err)
	}
	incident(t, c, "24-0117")
	mustSync(t, c)
	if s := mustStatus(t, c); s.Queued != 0 || s.NotAccepted != 0 {
		t.Errorf("%d saves wait, %d are not accepted", s.Queued, s.NotAccepted)
	}
	if v, err := c.Get(t.Context(), id); err != nil || !v.AtServer || v.Pending != 0 || len(v.Conflicts) != 0 {
		t.Errorf("got %+v, %v", v, err)
	}
	mustVerify(t, c)
}
