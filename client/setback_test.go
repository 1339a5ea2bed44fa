package client

import (
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
)

// A device that compares what it holds with the server meets one that was set back to before
// the device was enrolled: it is let in again by its certificate as at any other contact, and
// what it wrote is offered again. Nothing else would end the comparison.
func TestSetBackWhileComparing(t *testing.T) {
	t.Parallel()
	o, dir := newOffice(t), t.TempDir()
	o.unmarked, o.forgets = true, true
	restore := o.copyAway()
	c := o.enrol(o.clinician, dir)
	create(t, c, &tandemv1.Incident{NotesOps: new("Two dogs.")})
	mustSync(t, c)
	if err := c.store.write(t.Context(), "beginning a comparison", func(t *tx) error {
		st, err := t.State()
		if err != nil {
			return err
		}
		began := *st
		began.Repair.Stage = syncengine.RepairTotals
		return t.SaveState(&began)
	}); err != nil {
		t.Fatal(err)
	}
	shut(t, c)
	restore()
	c = newClient(t, dir)
	mustSync(t, c)
	if confirmed, err := o.admin.ConfirmRecovery(t.Context()); err != nil || !confirmed {
		t.Fatalf("the server begins a recovery: %t, %v", confirmed, err)
	}
	mustSync(t, c)
	mustVerify(t, c)
}

// A lead dismisses a save that lay in quarantine, its author's device hears of it with no
// cut, and the server is set back to before, which nobody notices. By where it was told
// the verdict the device shows the server that it was set back, also after it was closed
// and opened again; the save is in quarantine again at both ends, and waits for a lead.
func TestLostDecision(t *testing.T) {
	t.Parallel()
	o, dir := newOffice(t), t.TempDir()
	o.unmarked = true
	staff := func(name, discipline, role string) syncengine.ID {
		id, err := o.admin.AddStaff(t.Context(), server.StaffOptions{
			Name: name, Discipline: discipline, Roles: []string{role}, Agency: o.agency, Teams: []syncengine.ID{o.team},
		})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	lead := staff("Lea", "supervisor", "lead")
	c := o.enrol(staff("Leo", "officer", "le_partner"), dir)
	// Its app takes him for a clinician, which he is not.
	c.me.answer.Roles = []string{"clinician"}
	create(t, c, &tandemv1.Encounter{TeamId: new(o.team.String())})
	mustSync(t, c)
	waits := func() syncengine.ID {
		t.Helper()
		items, err := o.admin.Quarantine(t.Context(), lead)
		if err != nil || len(items) != 1 {
			t.Fatalf("%d saves wait for a lead, %v", len(items), err)
		}
		return items[0].Change.ID
	}
	dismiss := func() {
		t.Helper()
		if _, err := o.admin.Dismiss(t.Context(), lead, waits(), "made by mistake"); err != nil {
			t.Fatal(err)
		}
	}
	stands := func(quarantined, closed int) {
		t.Helper()
		lying, err := c.Quarantined(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ended, err := c.Closed(t.Context())
		if err != nil || len(lying) != quarantined || len(ended) != closed {
			t.Errorf("the device has %d saves in quarantine and %d closed, %v; want %d and %d", len(lying), len(ended), err, quarantined, closed)
		}
	}
	stands(1, 0)
	restore := o.copyAway()
	dismiss()
	if r, err := c.round(t.Context(), want{push: true}); err != nil {
		t.Fatalf("got %+v, %v", r, err)
	}
	stands(0, 1)
	shut(t, c)

	restore()
	waits()
	c = newClient(t, dir)
	mustSync(t, c)
	if confirmed, err := o.admin.ConfirmRecovery(t.Context()); err != nil || !confirmed {
		t.Fatalf("the server begins a recovery: %t, %v", confirmed, err)
	}
	mustSync(t, c)
	stands(1, 0)
	dismiss()
	mustSync(t, c)
	stands(0, 1)
	mustVerify(t, c)
}
