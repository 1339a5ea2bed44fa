package client

import "testing"

// A sync with nothing new asks little of either database, and no more where there are more
// records: each statement is a way to another process and back over PostgreSQL.
func TestANoOpAsksLittle(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := o.enrol(o.clinician, t.TempDir())
	for _, records := range []int{1, 300} {
		bulk(t, c, 100, records)
		for range 3 {
			mustSync(t, c)
		}
		server, device := o.st.Statements(), c.store.ran
		if moved := mustSync(t, c); moved.Requests != 1 || moved.Rows != 0 {
			t.Fatalf("not a sync with nothing new: %+v", moved)
		}
		if ran := o.st.Statements() - server; ran > 10 {
			t.Errorf("over %d records the server ran %d statements", records, ran)
		}
		if ran := c.store.ran - device; ran > 19 {
			t.Errorf("over %d records the device ran %d statements", records, ran)
		}
	}
}

// A push that lets go of kept bytes does not ask for each of them whether an earlier
// replica has any.
func TestLettingGoAsksOnce(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c := o.enrol(o.clinician, t.TempDir())
	mustSync(t, c)
	c.device.Keep = 1
	bulk(t, c, 100, 300)
	before := c.store.ran
	mustSync(t, c)
	if ran := c.store.ran - before; ran > 200 {
		t.Errorf("a push of 300 saves took the device %d statements", ran)
	}
	if s := mustStatus(t, c); s.Queued != 0 {
		t.Errorf("%d saves wait", s.Queued)
	}
}
