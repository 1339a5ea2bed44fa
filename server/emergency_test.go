package server_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// TestEmergencyTellsNothing plays apps that do not ask whether they may: who may not open
// anything is told so whatever they name, an emergency is its maker's alone, is one however
// often it is sent, and ends; that of somebody who is shut out opens nothing.
func TestEmergencyTellsNothing(t *testing.T) {
	each(t, func(t *testing.T, on engine) {
		t.Parallel()
		w := newWorld(t, on, 64)
		elsewhere := must[syncengine.ID](t)(w.admin.AddProgram(t.Context(), server.ProgramOptions{NameEN: "Elsewhere", Model: "crt", Agency: w.agency}))
		team := must[syncengine.ID](t)(w.admin.AddTeam(t.Context(), server.TeamOptions{Name: "Elsewhere", Program: elsewhere}))
		nurse := must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{
			Name: "Elsewhere", Discipline: "nurse", Roles: []string{"clinician"}, Agency: w.agency, Teams: []syncengine.ID{team},
		}))
		police, writer, far := w.enrolled(1, w.partner), w.enrolled(2, w.clinician), w.enrolled(3, nurse)
		person := writer.creation(&tandemv1.Person{TeamId: new(w.team.String()), Lifecycle: new("active"), Descriptor_: new(marker)})
		writer.must(writer.push(person))
		id := person.Records[0].Record
		absent := w.id()
		ask := func(d *device, key, subject []byte, reason string) (*tandemv1.BreakGlassResponse, error) {
			return d.sync.BreakGlass(t.Context(), &tandemv1.BreakGlassRequest{Id: key, Person: subject, Reason: reason, Read: true})
		}
		key, reason := w.id(), "unconscious, allergies not known"
		for name, subject := range map[string][]byte{"there": id, "absent": absent[:]} {
			another := w.id()
			if _, err := ask(police, another[:], subject, reason); codeOf(err) != connect.CodePermissionDenied || !strings.Contains(err.Error(), syncengine.ErrNoEmergency.Error()) {
				t.Errorf("a police partner asks for what is %s: %v", name, err)
			}
		}
		for name, tc := range map[string]struct{ key, subject []byte }{"no key": {nil, id}, "no person": {key[:], []byte("x")}} {
			if _, err := ask(far, tc.key, tc.subject, reason); codeOf(err) != connect.CodeInvalidArgument {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := ask(far, key[:], id, "urgent"); codeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("no reason: %v", err)
		}
		for range 3 {
			a, err := ask(far, key[:], id, reason)
			if err != nil || len(a.GetRows()) != 1 || !bytes.Contains(a.GetRows()[0].GetBody(), []byte(marker)) {
				t.Fatalf("opened %v: %v", a, err)
			}
		}
		if _, err := ask(writer, key[:], id, reason); codeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("another person comes with the same emergency: %v", err)
		}
		if a, err := ask(far, newKey(w), absent[:], reason); err != nil || len(a.GetRows()) != 0 {
			t.Errorf("what is not there: %v %v", a, err)
		}
		var all []*store.Emergency
		list := func() []*store.Emergency {
			all = nil
			if err := w.admin.Emergencies(t.Context(), syncengine.ID{}, true, 100, func(e *store.Emergency) error {
				all = append(all, e)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return all
		}
		if len(list()) != 2 || all[1].ID != key || all[1].Found != 1 || all[1].Person != nurse {
			t.Errorf("the log holds %+v", all)
		}

		w.pass(time.Hour + time.Second)
		_, _ = far.call(t.Context(), &tandemv1.SyncRequest{})
		if a, err := ask(far, key[:], id, reason); err != nil || len(a.GetRows()) != 0 {
			t.Errorf("an hour later: %v %v", a, err)
		}
		// What was opened without signal is taken whenever it comes, and opens nothing.
		if a, err := far.sync.BreakGlass(t.Context(), &tandemv1.BreakGlassRequest{Id: newKey(w), Person: id, Reason: reason, Opened: 4}); err != nil || len(a.GetRows()) != 0 {
			t.Errorf("a report: %v %v", a, err)
		}
		if len(list()) != 3 || all[0].Opened != 4 || all[0].Found != 0 {
			t.Errorf("the log holds %+v", all)
		}
		most := 0
		for ; most < 50; most++ {
			if _, err := ask(far, newKey(w), id, reason); err != nil {
				if codeOf(err) != connect.CodeResourceExhausted {
					t.Fatal(err)
				}
				break
			}
		}
		if most != 12-3 {
			t.Errorf("%d more within a day", most)
		}
		if _, err := far.sync.BreakGlass(t.Context(), &tandemv1.BreakGlassRequest{Id: newKey(w), Person: id, Reason: reason}); err != nil {
			t.Errorf("a report beyond that: %v", err)
		}
		w.shutOut(t.Context(), far)
		if a, err := ask(far, newKey(w), id, reason); err == nil || len(a.GetRows()) > 0 {
			t.Errorf("somebody who is shut out: %v", a)
		}
	})
}

func newKey(w *world) []byte {
	id := w.id()
	return id[:]
}

// shutOut revokes a device.
func (w *world) shutOut(ctx context.Context, d *device) {
	w.t.Helper()
	if err := w.admin.RevokeDevice(ctx, d.dev); err != nil {
		w.t.Fatal(err)
	}
}
