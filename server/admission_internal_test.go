package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-response/tandem/syncengine"
)

func deviceNo(n int) syncengine.ID { return syncengine.ID{byte(n >> 8), byte(n)} }

func newTestAdmission(t *testing.T, o Admission) *admission {
	t.Helper()
	a, err := newAdmission(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// request makes one request of a device that takes so long to work on.
func (a *admission) request(ctx context.Context, device syncengine.ID, work int64, took time.Duration) error {
	v, err := a.enter(device, a.PerDevice, false, nil)
	if err != nil {
		return err
	}
	defer v.end()
	if err := v.begin(ctx, work); err != nil {
		return err
	}
	time.Sleep(took)
	return nil
}

// empty checks that nothing is left of anything.
func (a *admission) empty(t *testing.T) {
	t.Helper()
	if l := a.load(); l != (load{}) || len(a.lanes) > 0 || len(a.ring) > 0 {
		t.Errorf("left behind: %+v, %d lanes, %d in the ring", l, len(a.lanes), len(a.ring))
	}
}

// A thousand devices come at once to a server that does forty requests a second: who is
// not let in is told when to come back, and so none comes often, and the server never
// stands idle for long.
func TestHerdDrainsWithoutStorm(t *testing.T) {
	t.Parallel()
	for _, devices := range []int{200, 1000, 5000} {
		t.Run(fmt.Sprint(devices), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newTestAdmission(t, Admission{Working: 4})
				const took = 100 * time.Millisecond
				var mu sync.Mutex
				attempts, most := 0, 0
				var wg sync.WaitGroup
				began := time.Now()
				for n := range devices {
					wg.Go(func() {
						src := rand.New(rand.NewPCG(1, uint64(n)))
						tries := 1
						for ; ; tries++ {
							err := a.request(t.Context(), deviceNo(n), baseWork, took)
							if err == nil {
								break
							}
							o, ok := errors.AsType[*overload](err)
							if !ok {
								t.Error(err)
								return
							}
							if o.after < leastHint || o.after > mostHint {
								t.Errorf("told to come back in %v", o.after)
							}
							// As a device does.
							hint := o.after.Truncate(time.Second) + time.Second
							time.Sleep(hint + time.Duration(src.Int64N(int64(max(hint/8, time.Second)))))
						}
						mu.Lock()
						defer mu.Unlock()
						attempts += tries
						most = max(most, tries)
					})
				}
				wg.Wait()
				took40 := time.Duration(devices) * took / 4
				t.Logf("%d devices: %v where it takes %v at least; %d requests, %d of one device at most", devices, time.Since(began), took40, attempts, most)
				if all := time.Since(began); all > took40*3/2+5*time.Second {
					t.Errorf("drained after %v, want about %v", all, took40)
				}
				if attempts > 3*devices {
					t.Errorf("%d requests of %d devices: a storm", attempts, devices)
				}
				a.empty(t)
			})
		})
	}
}

// Thousands listen, and ask again and again more than the server can do: who brings what
// was written gets in at once or soon, and not when the listeners' times have come.
func TestWordsComeBeforeListeners(t *testing.T) {
	t.Parallel()
	worst := func(brings bool) (worst time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			a := newTestAdmission(t, Admission{Working: 4})
			ctx, cancel := context.WithCancel(t.Context())
			const took = 100 * time.Millisecond
			again := func(device int, brings bool, src *rand.Rand) bool {
				for ctx.Err() == nil {
					v, err := a.enter(deviceNo(device), 8, brings, nil)
					if err == nil {
						if err = v.begin(ctx, baseWork); err == nil {
							time.Sleep(took)
						}
						v.end()
					}
					o, refused := errors.AsType[*overload](err)
					if !refused {
						return err == nil
					}
					hint := o.after.Truncate(time.Second) + time.Second
					time.Sleep(hint + time.Duration(src.Int64N(int64(max(hint/8, time.Second)))))
				}
				return false
			}
			var listeners, bringers sync.WaitGroup
			for n := range 4000 {
				listeners.Go(func() {
					src := rand.New(rand.NewPCG(1, uint64(n)))
					for again(n, false, src) {
						time.Sleep(30 * time.Second)
					}
				})
			}
			time.Sleep(time.Minute)
			var mu sync.Mutex
			for n := range 200 {
				bringers.Go(func() {
					src := rand.New(rand.NewPCG(2, uint64(n)))
					time.Sleep(time.Duration(src.Int64N(int64(time.Minute))))
					came := time.Now()
					if !again(5000+n, brings, src) {
						t.Error("it was never let in")
					}
					mu.Lock()
					defer mu.Unlock()
					worst = max(worst, time.Since(came))
				})
			}
			bringers.Wait()
			cancel()
			listeners.Wait()
			a.empty(t)
		})
		return worst
	}
	first, among := worst(true), worst(false)
	t.Logf("who brings something waited %v at most, and would have waited %v among the listeners", first, among)
	if first > 10*time.Second || among < 4*first {
		t.Errorf("who brings something waited %v at most, %v where it is one among the listeners", first, among)
	}
}

// Who says that it brings something is known by the urgency of RFC 9218.
func TestBrings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": false, "u=1": true, "u=0": true, "u=2, i": true, "i, u=1": true, "u=3": false, "u=7": false, "u=10": false, "x": false, "u": false,
	} {
		if got := brings(http.Header{"Priority": {text}}); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// A request that has not had its turn in time is told so, and not later.
func TestQueueHasDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newTestAdmission(t, Admission{Working: 1})
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := a.request(t.Context(), deviceNo(1), baseWork, time.Minute); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		began := time.Now()
		err := a.request(t.Context(), deviceNo(2), baseWork, 0)
		if o, ok := errors.AsType[*overload](err); !ok || o.reason != refusedQueue || time.Since(began) != a.Queue {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		wg.Wait()
		if err := a.request(t.Context(), deviceNo(2), baseWork, 0); err != nil {
			t.Error(err)
		}
		a.empty(t)
	})
}

// However much one device asks for, another waits for one of its requests at most, and
// for none where there are more than two turns at once; the greedy one gets what is left.
func TestGreedyDeviceWaitsForItself(t *testing.T) {
	t.Parallel()
	const took = time.Second
	for working, most := range map[int]time.Duration{2: took, 4: 0} {
		t.Run(fmt.Sprint(working), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newTestAdmission(t, Admission{Working: working, PerDevice: 50, Queue: time.Hour})
				ctx, stop := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				var mu sync.Mutex
				greedy := 0
				for range 50 {
					wg.Go(func() {
						for a.request(ctx, deviceNo(1), baseWork, took) == nil {
							mu.Lock()
							greedy++
							mu.Unlock()
						}
					})
				}
				time.Sleep(10 * took)
				for n := range 20 {
					began := time.Now()
					if err := a.request(ctx, deviceNo(2), baseWork, took); err != nil {
						t.Fatal(err)
					}
					if waited := time.Since(began) - took; waited > most {
						t.Errorf("request %d waited %v behind the greedy device", n, waited)
					}
				}
				stop()
				wg.Wait()
				if greedy < 30 {
					t.Errorf("the greedy device got %d turns: what is left is not given out", greedy)
				}
				a.empty(t)
			})
		})
	}
}

// A device that opens request after request is bounded; where its older ones only wait,
// the newest takes the place of the oldest.
func TestDeviceIsBounded(t *testing.T) {
	t.Parallel()
	a := newTestAdmission(t, Admission{PerDevice: 3})
	var cut []int
	var visits []*visit
	enter := func(n int) error {
		v, err := a.enter(deviceNo(1), a.PerDevice, false, func() { cut = append(cut, n) })
		if err == nil {
			visits = append(visits, v)
		}
		return err
	}
	for n := range 5 {
		if err := enter(n); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(cut) != "[0 1]" {
		t.Errorf("cut off: %v", cut)
	}
	if err := visits[0].receive(1); !errors.Is(err, errCutOff) {
		t.Errorf("who was cut goes on: %v", err)
	}
	if err := visits[0].begin(t.Context(), 1); !errors.Is(err, errCutOff) {
		t.Errorf("who was cut goes on: %v", err)
	}
	for _, v := range visits[2:] {
		// All that is left is being worked on, or waits for its turn.
		go func() { _ = v.begin(t.Context(), 1) }()
	}
	for a.load().working+a.load().waiting < 3 {
		time.Sleep(time.Millisecond)
	}
	if o, ok := errors.AsType[*overload](enter(9)); !ok || o.reason != refusedDevice {
		t.Errorf("one more: %v", o)
	}
	if _, err := a.enter(deviceNo(2), 3, false, nil); err != nil {
		t.Errorf("another device: %v", err)
	}
}

// Memory is bounded: bodies by their half, work by its, and a large request has its turn
// although small ones keep coming.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newTestAdmission(t, Admission{Bytes: MinAdmissionBytes, Queue: time.Hour})
		v, err := a.enter(deviceNo(1), 1, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		for got := 0; ; got += 1 << 20 {
			if err := v.receive(1 << 20); err != nil {
				if o, ok := errors.AsType[*overload](err); !ok || o.reason != refusedBytes || got != MinAdmissionBytes/2 {
					t.Errorf("after %d bytes: %v", got, err)
				}
				break
			}
		}
		v.end()
		const large = MinAdmissionBytes / 2 * 3 / 4
		most := int64(0)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for n := range 40 {
			wg.Go(func() {
				for range 10 {
					if err := a.request(t.Context(), deviceNo(10+n), 1<<20, time.Second); err != nil {
						t.Error(err)
					}
					mu.Lock()
					most = max(most, a.load().work)
					mu.Unlock()
				}
			})
		}
		time.Sleep(1500 * time.Millisecond)
		began := time.Now()
		if err := a.request(t.Context(), deviceNo(2), large, time.Second); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited > 4*time.Second {
			t.Errorf("the large request was passed over for %v", waited)
		}
		wg.Wait()
		if most > MinAdmissionBytes/2 {
			t.Errorf("%d bytes of work at once", most)
		}
		a.empty(t)
	})
}

// Who waits for news holds no turn and no memory, and gets a turn again.
func TestWaitingForNewsHoldsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newTestAdmission(t, Admission{Working: 2})
		var resters []*visit
		for n := range 100 {
			v, err := a.enter(deviceNo(n), 8, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.begin(t.Context(), baseWork); err != nil {
				t.Fatal(err)
			}
			v.rest()
			resters = append(resters, v)
		}
		if l := a.load(); l.working != 0 || l.work != 0 || l.open != 100 {
			t.Errorf("while all wait: %+v", l)
		}
		var wg sync.WaitGroup
		for _, v := range resters {
			wg.Go(func() {
				if err := v.wake(t.Context(), baseWork); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
				v.end()
			})
		}
		wg.Wait()
		a.empty(t)
	})
}

// Bounds that would let no request through are refused.
func TestAdmissionBounds(t *testing.T) {
	t.Parallel()
	for _, o := range []Admission{{Bytes: 1}, {Bytes: -1}, {Queue: -1}, {Working: -1}, {PerDevice: -1}, {Open: -1}} {
		if _, err := newAdmission(o); !errors.Is(err, ErrAdmission) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	// The largest request fits the least memory.
	if MinAdmissionBytes/2 < baseWork+workFactor*(maxInflated+maxPageBytes) {
		t.Error("the least memory does not let the largest request through")
	}
}
