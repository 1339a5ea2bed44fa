package client

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/faultfs"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/syncengine"
)

// TestPowerCuts cuts the power of the device, anywhere in a shift of saves, imports
// and syncs, and opens what the drive kept: nothing acknowledged is lost, a record
// and its place in the outbox are there together or not at all, the store is whole,
// and after a sync device and server hold the same. -cuts says how often.
//
// Where the log is not synced at each commit, or the drive lies about it, saves must
// be lost: otherwise the cuts would prove nothing.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		rounds int
		// how the store is made unsafe
		pragma string
		lies   bool
		loses  bool
		vault  bool
	}{
		"full":   {rounds: *cuts},
		"vault":  {rounds: (*cuts + 1) / 2, vault: true},
		"normal": {rounds: 25, pragma: "PRAGMA synchronous=normal", loses: true},
		"a liar": {rounds: 25, lies: true, loses: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newDisked(t, tc.vault)
			lost, saved := 0, 0
			for round := range uint64(tc.rounds) {
				rng := rand.New(rand.NewPCG(round, 11))
				device := w.device.Copy(round)
				device.Set(faultfs.Faults{Lies: tc.lies, CutAt: 1 + rng.IntN(400)})
				s := w.untilCut(device, rng, tc.pragma)
				saved += s.changes
				what, err := w.after(s, device.Restart())
				if what == "" && err == nil {
					continue
				}
				lost++
				if !tc.loses {
					t.Errorf("round %d: after %d saves (%v): %s, error %v", round, s.changes, s.failed, what, err)
				}
			}
			if tc.loses && lost == 0 {
				t.Errorf("%d cuts lost nothing: they do not bite", tc.rounds)
			}
			t.Logf("%d cuts, %d saves acknowledged, %d cuts lost some", tc.rounds, saved, lost)
		})
	}
}

// untilCut lets a device work until its power goes.
func (w *disked) untilCut(device *faultfs.Disk, rng *rand.Rand, pragma string) *shift {
	w.tb.Helper()
	ctx := w.tb.Context()
	s := &shift{rng: rng}
	l, err := w.tryStart(device, w.server.Copy(1), byte(rng.Uint32()))
	if err != nil {
		s.failed = err
		return s
	}
	s.l = l
	for s.failed == nil {
		if pragma != "" {
			if _, err := l.c.store.conn.ExecContext(ctx, pragma); err != nil {
				s.failed = err
				break
			}
		}
		s.step(ctx)
	}
	if !device.Out() {
		w.tb.Fatalf("with the power on: %v", s.failed)
	}
	return s
}

// after opens what is left of the device's disk, on the server as it was, and says
// what is lost.
func (w *disked) after(s *shift, left *faultfs.Disk) (what string, err error) {
	w.tb.Helper()
	ctx := w.tb.Context()
	srv := w.server
	if s.l != nil {
		if s.l.c != nil {
			_ = s.l.c.Close()
			s.l.c = nil
		}
		srv = s.l.server
		w.must(s.l.stop())
	}
	if s.l, err = w.tryStart(left, srv.Copy(2), 3); err != nil {
		return "", fmt.Errorf("opening: %w", err)
	}
	defer func() {
		if cerr := s.l.stop(); err == nil {
			err = cerr
		}
	}()
	if what, err = s.loss(ctx); what != "" || err != nil {
		return what, err
	}
	return s.whole(ctx)
}

// stride is how far apart the faults of a sweep are: every one where time allows.
func stride() int {
	switch {
	case testing.Short():
		return 29
	case need.All() || *cuts >= 1000:
		return 1
	}
	return 7
}

// TestEveryOperation cuts the power at each operation of a short shift in turn.
func TestEveryOperation(t *testing.T) {
	t.Parallel()
	for name, inVault := range map[string]bool{"plain": false, "vault": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newDisked(t, inVault)
			for at := 1; ; at += stride() {
				device := w.device.Copy(uint64(at))
				device.Set(faultfs.Faults{CutAt: at})
				s := w.canonical(device)
				if s.failed == nil {
					if ops, _, _ := device.Counts(); ops < 100 {
						t.Errorf("the shift took %d operations", ops)
					}
					w.must(s.l.stop())
					return
				}
				if !device.Out() {
					t.Fatalf("with the power on: %v", s.failed)
				}
				if what, err := w.after(s, device.Restart()); what != "" || err != nil {
					t.Fatalf("cut at operation %d, after %d saves (%v): %s, error %v", at, s.changes, s.failed, what, err)
				}
			}
		})
	}
}

// canonical is a short shift with one of everything.
func (w *disked) canonical(device *faultfs.Disk) *shift {
	w.tb.Helper()
	s := &shift{rng: rand.New(rand.NewPCG(5, 5))}
	if s.l, s.failed = w.tryStart(device, w.server.Copy(1), 5); s.failed != nil {
		s.l = nil
		return s
	}
	ctx := w.tb.Context()
	for _, n := range []uint64{0, 10, 11, 5, 8, 12, 6, 7, 9, 8} {
		s.do(ctx, int(n))
		if s.failed != nil {
			return s
		}
	}
	return s
}

// TestEveryCall lets each call of a short shift fail in turn: the error is one of
// ours, what failed was not saved, and once the disk is well the store goes on.
func TestEveryCall(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err   error
		kinds []error
		vault bool
	}{
		"input and output":          {syscall.EIO, []error{ErrStorage}, false},
		"no room":                   {syscall.ENOSPC, []error{ErrDiskFull, ErrStorage}, false},
		"input and output, a vault": {syscall.EIO, []error{ErrStorage}, true},
		"no room, a vault":          {syscall.ENOSPC, []error{ErrDiskFull, ErrStorage}, true},
		"half":                      {faultfs.ErrHalf, []error{ErrStorage}, false},
		"half, a vault":             {faultfs.ErrHalf, []error{ErrStorage}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newDisked(t, tc.vault)
			passed, step := 0, stride()
			if tc.vault && step > 1 {
				step *= 4
			}
			for at := 1; ; at += step {
				device := w.device.Copy(uint64(at))
				device.Set(faultfs.Faults{FailAt: at, Err: tc.err})
				s := w.canonical(device)
				_, calls, room := device.Counts()
				if reached := calls; errors.Is(tc.err, syscall.ENOSPC) && room < at || reached < at {
					w.must(s.l.stop())
					if passed == 0 || errors.Is(tc.err, syscall.EIO) && calls < 100 {
						t.Errorf("%d calls, %d of which told nobody", calls, passed)
					}
					return
				}
				if s.failed == nil {
					// A checkpoint may fail: the log stays, and the next one does it.
					passed++
				} else if !oneOf(s.failed, tc.kinds) {
					t.Errorf("call %d: got %v", at, s.failed)
				}
				device.Set(faultfs.Faults{})
				if s.l != nil && s.l.c != nil && !s.l.c.store.closed.Load() {
					// The same process goes on.
					if what, err := s.loss(t.Context()); what != "" || err != nil {
						t.Fatalf("call %d (%v): %s, error %v", at, s.failed, what, err)
					}
				}
				if what, err := w.after(s, device.Restart()); what != "" || err != nil {
					t.Fatalf("call %d (%v), reopened: %s, error %v", at, s.failed, what, err)
				}
			}
		})
	}
}

// TestNothingFollows lets each call of a transaction fail in turn that goes on after an
// error: SQLite may have rolled back what came before by then, and what comes after does not
// stand by itself.
func TestNothingFollows(t *testing.T) {
	t.Parallel()
	w := newDisked(t)
	bit := 0
	for at := 1; ; at++ {
		device := w.device.Copy(uint64(at))
		l := w.start(device, w.server.Copy(1), 5)
		device.Set(faultfs.Faults{FailAt: at, Err: syscall.EIO})
		err := l.c.store.write(t.Context(), "three things", func(tx *tx) error {
			// Every page of the store is read here.
			err := errors.Join(tx.setMeta("before", []byte("1")), tx.exec(`DELETE FROM meta WHERE value = x'00' OR key IN (SELECT name FROM pragma_integrity_check(20) JOIN sqlite_schema)`))
			bit += map[bool]int{true: 1}[err != nil]
			// Whoever forgets the error is told all the same.
			_ = tx.setMeta("after", []byte("1"))
			return nil
		})
		_, calls, _ := device.Counts()
		device.Set(faultfs.Faults{})
		stands := map[string]bool{}
		w.must(l.c.store.write(t.Context(), "reading", func(tx *tx) error {
			for _, key := range []string{"before", "after"} {
				v, err := tx.meta(key)
				if err != nil {
					return err
				}
				stands[key] = v != nil
			}
			return nil
		}))
		w.must(l.stop())
		if stands["before"] != stands["after"] || err == nil && !stands["after"] || err != nil && !oneOf(err, []error{ErrStorage}) {
			t.Errorf("call %d: before it %t, after it %t, error %v", at, stands["before"], stands["after"], err)
		}
		if calls < at {
			if bit < 3 {
				t.Errorf("%d of %d calls failed a statement: they do not bite", bit, calls)
			}
			return
		}
	}
}

func oneOf(err error, kinds []error) bool {
	for _, k := range kinds {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}

// TestSlowDisk holds a save back in a sync of the disk: until it returns the save is not
// said to be saved, and meanwhile charts and lists are read.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	for name, inVault := range map[string]bool{"plain": false, "vault": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			w := newDisked(t, inVault)
			device := w.device.Copy(1)
			l := w.start(device, w.server.Copy(1), 5)
			before := create(t, l.c, &tandemv1.Incident{CallType: new("outreach")})
			waits, goOn := make(chan bool, 1), make(chan bool)
			device.Set(faultfs.Faults{Slow: func() {
				select {
				case waits <- true:
				default:
				}
				<-goOn
			}})
			saved := make(chan error, 1)
			var after syncengine.ID
			go func() {
				_, err := l.c.Edit(ctx, func(e *Edit) (err error) {
					after, err = e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
					return err
				})
				saved <- err
			}()
			<-waits
			if _, err := l.c.Get(ctx, before); err != nil {
				t.Errorf("reading while a save waits for the disk: %v", err)
			}
			if _, err := l.c.Status(ctx); err != nil {
				t.Errorf("the status while a save waits for the disk: %v", err)
			}
			select {
			case err := <-saved:
				t.Errorf("said to be saved (%v) before the disk had it", err)
			default:
			}
			close(goOn)
			w.must(<-saved)
			if _, err := l.c.Get(ctx, after); err != nil {
				t.Errorf("once it is saved: %v", err)
			}
			w.must(l.stop())
		})
	}
}
