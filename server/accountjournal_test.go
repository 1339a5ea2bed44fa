package server_test

import (
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/people"
)

// TestDisabledStaysDisabled sets the database back to before an account was disabled, and to
// before it was enabled again: the security journal says what holds.
func TestDisabledStaysDisabled(t *testing.T) { each(t, testDisabledStaysDisabled) }

func testDisabledStaysDisabled(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 84)
	ctx := t.Context()
	accounts := func() *people.Accounts { return people.NewAccounts(w.s, w.org, w.clock, w.rand) }
	if _, err := accounts().Create(ctx, w.clinician, "maya"); err != nil {
		t.Fatal(err)
	}
	if _, err := accounts().Create(ctx, w.second, "luis"); err != nil {
		t.Fatal(err)
	}
	disabled := func() (names []string) {
		for _, a := range must[[]*people.Listed](t)(accounts().List(ctx)) {
			if a.Disabled {
				names = append(names, a.Login)
			}
		}
		return names
	}
	back := w.copied()
	if err := accounts().Disable(ctx, w.clinician); err != nil {
		t.Fatal(err)
	}
	w.restart(back)
	if got := disabled(); len(got) != 1 || got[0] != "maya" {
		t.Errorf("after a restore to before it was disabled: %q are", got)
	}
	if n := len(w.audited(tandemv1.AuditAct_AUDIT_ACT_JOURNAL_REPLAYED)); n != 1 {
		t.Errorf("the replay is in the audit log %d times", n)
	}
	back = w.copied()
	if err := accounts().Enable(ctx, w.clinician); err != nil {
		t.Fatal(err)
	}
	w.restart(back)
	if got := disabled(); len(got) != 0 {
		t.Errorf("after a restore to before it was enabled again: %q are disabled", got)
	}
	if err := accounts().Disable(ctx, w.agency); err == nil {
		t.Error("somebody without an account was disabled")
	}
}
