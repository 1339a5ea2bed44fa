package mobile

import (
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// queued is how many saves wait on a device.
func queued(t *testing.T, d *Device) int {
	t.Helper()
	s, err := d.Status()
	if err != nil {
		t.Fatal(err)
	}
	return s.Queued
}

// What the host says of network and battery decides what the loop does, and nothing
// else: by the clock of the test, to the minute.
func TestLoop(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		online, metered, inFront, saving bool
		// sends: a save is at the server within gather and a second.
		sends bool
		// asks is how often the server is asked in two hours with nothing to send, within
		// bounds; waits: a request stands open there.
		least, most int64
		waits       bool
	}{
		"in front":                     {online: true, inFront: true, sends: true, least: 60, most: 400, waits: true},
		"in front, saving":             {online: true, inFront: true, saving: true, sends: true, least: 23, most: 60},
		"in the background":            {online: true, sends: true, least: 7, most: 20},
		"in the background, metered":   {online: true, metered: true, sends: true, least: 3, most: 12},
		"in the background and saving": {online: true, saving: true, sends: true, least: 3, most: 12},
		"no network":                   {inFront: true},
		"no network, background":       {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t)
				d, _ := o.phone("Ana")
				defer closed(t, d)
				d.Network(tc.online, tc.metered)
				d.Power(tc.inFront, tc.saving)
				if err := d.Start(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				create(t, d, &tandemv1.Incident{CallType: new("welfare_check")}, false)
				time.Sleep(gather + time.Second)
				synctest.Wait()
				if got := queued(t, d) == 0; got != tc.sends {
					t.Errorf("the save was sent: %t, want %t", got, tc.sends)
				}
				if !tc.sends {
					// The system may be wrong about the network: what waits is tried.
					time.Sleep(16 * time.Minute)
					synctest.Wait()
					if queued(t, d) != 0 {
						t.Error("a save waits for ever for the system to say that there is a network")
					}
				}
				time.Sleep(time.Minute)
				before := o.requests.Load()
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if n := o.requests.Load() - before; n < tc.least || n > tc.most {
					t.Errorf("%d requests in two hours, want %d to %d", n, tc.least, tc.most)
				}
				if waits := o.open.Load() > 0; waits != tc.waits {
					t.Errorf("a request waits at the server: %t, want %t", waits, tc.waits)
				}
			})
		})
	}
}

func closed(t *testing.T, d *Device) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// A word of the host takes effect at once, in the middle of whatever the loop does; and
// news reach who is in front as they happen.
func TestLoopTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		ana, _ := o.phone("Ana")
		defer closed(t, ana)
		ben, _ := o.phone("Ben")
		defer closed(t, ben)
		ana.Network(false, false)
		if err := ana.Start(); err != nil {
			t.Fatal(err)
		}
		if err := ana.Start(); err != nil {
			t.Fatal(err)
		}
		create(t, ana, &tandemv1.Incident{CallType: new("welfare_check")}, false)
		time.Sleep(time.Minute)
		ana.Network(true, false)
		time.Sleep(time.Second)
		synctest.Wait()
		if queued(t, ana) != 0 {
			t.Error("the network is back, and the save waits")
		}
		theirs := create(t, ben, &tandemv1.Incident{CallType: new("disturbance")}, false)
		syncAll(t, ben)
		time.Sleep(time.Second)
		synctest.Wait()
		get(t, ana, theirs)

		// In the background: an urgent save goes before gather is over, and no news come
		// until the next look.
		ana.Power(false, false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := o.open.Load(); n != 0 {
			t.Errorf("%d requests wait at the server while the app is in the background", n)
		}
		create(t, ana, &tandemv1.Incident{CallType: new("suicide_threat")}, true)
		time.Sleep(gather / 4)
		synctest.Wait()
		if queued(t, ana) != 0 {
			t.Error("an urgent save waits for others")
		}
		later := create(t, ben, &tandemv1.Incident{CallType: new("disturbance")}, false)
		syncAll(t, ben)
		time.Sleep(time.Minute)
		if _, err := ana.Get(later); err == nil {
			t.Error("news come in the background as they happen")
		}
		ana.Power(true, false)
		time.Sleep(time.Second)
		synctest.Wait()
		get(t, ana, later)
	})
}

// A server that is away is tried less and less often, and found again.
func TestLoopRests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		d, host := o.phone("Ana")
		defer closed(t, d)
		d.Power(false, false)
		o.down.Store(true)
		if err := d.Start(); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			create(t, d, &tandemv1.Incident{CallType: new("welfare_check"), Number: new(fmt.Sprint(i))}, false)
			time.Sleep(10 * time.Minute)
		}
		if queued(t, d) != 20 || host.stopped != "" {
			t.Fatalf("%d saves wait; the loop stopped: %q", queued(t, d), host.stopped)
		}
		if n := o.tried.Load(); n < 10 || n > 60 {
			t.Errorf("%d tries in 200 minutes", n)
		}
		o.down.Store(false)
		// The longest rest, and the quarter that chance may add.
		time.Sleep(19 * time.Minute)
		synctest.Wait()
		if n := queued(t, d); n != 0 {
			t.Errorf("%d saves wait although the server is back", n)
		}
	})
}

// A server that says when it wants to be asked again is asked then, though that is later
// than the next look for news.
func TestLoopWaitsAsAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		d, _ := o.phone("Ana")
		defer closed(t, d)
		d.Power(false, false)
		create(t, d, &tandemv1.Incident{CallType: new("welfare_check")}, false)
		o.busy.Store(3600)
		before := o.requests.Load()
		if err := d.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		first := o.requests.Load() - before
		if first == 0 || first > 2 {
			t.Errorf("%d requests within the hour that the server asked for", first)
		}
		o.busy.Store(0)
		time.Sleep(17 * time.Minute)
		synctest.Wait()
		if queued(t, d) != 0 {
			t.Error("after the hour the save is not sent")
		}
	})
}

// What was looked up ends after its time, though the phone has no network and nobody
// opens the app.
func TestLoopExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		cy, _ := o.phone("Cy")
		defer closed(t, cy)
		s := cy.Begin()
		who, err := s.Create("person", body(t, &tandemv1.Person{Names: []*tandemv1.PersonName{{Element: []byte("12345678"), Given: new("Rosa"), Use: new("legal")}}}))
		if err != nil {
			t.Fatal(err)
		}
		if err := cy.Commit(s); err != nil {
			t.Fatal(err)
		}
		if _, err := cy.SyncOnce(60_000); err != nil {
			t.Fatal(err)
		}
		id, err := syncengine.ParseID(who)
		if err != nil {
			t.Fatal(err)
		}
		for _, hours := range []int{1, 25} {
			d, _ := o.phone("Ana")
			if _, err := d.c.Lookup(t.Context(), id, false, "continuity"); err != nil {
				t.Fatal(err)
			}
			d.Network(false, false)
			d.Power(false, false)
			if err := d.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(hours) * time.Hour)
			synctest.Wait()
			n, err := d.c.ForgetLookups(t.Context())
			if err != nil || (n == 1) != (hours < 24) {
				t.Errorf("after %d hours %d finds are on the phone; %v", hours, n, err)
			}
			closed(t, d)
		}
	})
}

// Where a person must act the app is told, once, and saving goes on.
func TestLoopStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		d, host := o.phone("Ana")
		who, err := d.Who()
		if err != nil {
			t.Fatal(err)
		}
		id, err := syncengine.ParseID(who.DeviceID)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.admin.WipeDevice(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if err := d.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		host.mu.Lock()
		stopped := host.stopped
		host.mu.Unlock()
		if stopped != CodeWiped {
			t.Errorf("the loop stopped with %q, %q", stopped, host.words)
		}
		_ = d.Close()
	})
}

// A suspended device is told that it is, and not that it is refused, until that is lifted.
func TestSuspended(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		d, _ := o.phone("Ana")
		who, err := d.Who()
		if err != nil {
			t.Fatal(err)
		}
		id, err := syncengine.ParseID(who.DeviceID)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.admin.SuspendDevice(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		_, err = d.SyncOnce(60_000)
		if ErrorCode(text(err)) != CodeSuspended || ErrorWords(text(err)) == "" {
			t.Errorf("a contact: %v", err)
		}
		if st, err := d.Status(); err != nil || !st.Suspended {
			t.Errorf("it stands so: %+v, %v", st, err)
		}
		if err := o.admin.LiftDevice(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if _, err := d.SyncOnce(60_000); err != nil {
			t.Errorf("after that was lifted: %v", err)
		}
		if st, err := d.Status(); err != nil || st.Suspended {
			t.Errorf("after that was lifted it stands so: %+v, %v", st, err)
		}
		closed(t, d)
	})
}

// A store that was never there is made; the same one is not opened twice.
func TestOpenTwice(t *testing.T) {
	t.Parallel()
	s := NewSettings(filepath.Join(t.TempDir(), "phone"))
	d, err := Open(s, &app{})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, d)
	if _, err := Open(s, &app{}); err == nil {
		t.Error("opened twice")
	}
}
