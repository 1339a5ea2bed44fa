package client

import (
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// What is sent and comes leans on what went before; where the server has forgotten it, or
// another one answers, the same sync sends it in full, and after a few times all is sent so.
func TestRecall(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	ana, ben := o.enrol(o.clinician, t.TempDir()), o.enrol(o.second, t.TempDir())
	mustSync(t, ana)
	mustSync(t, ben)
	// pass has one incident go from one device to the other.
	pass := func(number string) (up, down int64, requests int) {
		t.Helper()
		notes := strings.Repeat("The caller waits behind the station and is calm. ", 5) + number
		create(t, ana, &tandemv1.Incident{CallType: new("welfare_check"), Number: &number, NotesOps: &notes})
		pushed := mustSync(t, ana)
		came := mustSync(t, ben)
		if pushed.Applied != 1 || came.Rows != 1 {
			t.Fatalf("%s: %+v, %+v", number, pushed, came)
		}
		return pushed.BytesUp, came.BytesDown, pushed.Requests
	}
	firstUp, firstDown, requests := pass("CR-1")
	for _, number := range []string{"CR-2", "CR-3"} {
		up, down, again := pass(number)
		if up > firstUp-50 || down > firstDown-50 || again != requests {
			t.Errorf("%s takes %d bytes up in %d requests and %d down, the first took %d in %d, and %d", number, up, again, down, firstUp, requests, firstDown)
		}
	}
	for i := range maxMissed + 2 {
		o.close()
		o.open()
		pass("CR-1" + string(rune('0'+i)))
		if ana.link.recall.missed > maxMissed || (i == 0) && ana.link.recall.missed != 1 {
			t.Errorf("after %d restarts the server has forgotten %d times", i+1, ana.link.recall.missed)
		}
	}
	if got := o.numbers(); len(got) != 3+maxMissed+2 {
		t.Errorf("the server has %q", got)
	}
}
