package server

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/tandem-response/tandem/syncengine"
)

// Admission bounds what a server takes on at once. A field of 0 stands for its
// default.
type Admission struct {
	// Bytes is the memory for requests: half of it for bodies as they came, half for
	// what is made of them. At least MinAdmissionBytes; default 128 MiB.
	Bytes int64
	// Queue is the longest that a request waits for its turn before it is told when to
	// come back; default 5 s.
	Queue time.Duration
	// Working is how many requests are worked on at once, those that wait for news not
	// counted; default 256. A commit gathers their pushes, so that many are few commits.
	Working int
	// PerDevice is how many requests of one device may be open at once; default 8.
	PerDevice int
	// Open is how many requests may be open in all, those that wait for news included;
	// default 20,000.
	Open int
}

// MinAdmissionBytes is the least memory that lets the largest request through.
const MinAdmissionBytes = 64 << 20

// ErrAdmission says that bounds do not let the largest request through.
var ErrAdmission = errors.New("the server's bounds are too low: at least 64 MiB of memory for requests, and times and numbers above 0")

// Check returns ErrAdmission where the bounds would let no request through.
func (a Admission) Check() error {
	_, err := a.withDefaults()
	return err
}

func (a Admission) withDefaults() (Admission, error) {
	if a.Bytes < 0 || a.Bytes > 0 && a.Bytes < MinAdmissionBytes || a.Queue < 0 || a.Working < 0 || a.PerDevice < 0 || a.Open < 0 {
		return a, ErrAdmission
	}
	for _, d := range []struct {
		to    *int
		value int
	}{{&a.Working, 256}, {&a.PerDevice, 8}, {&a.Open, 20_000}} {
		if *d.to == 0 {
			*d.to = d.value
		}
	}
	if a.Bytes == 0 {
		a.Bytes = 128 << 20
	}
	if a.Queue == 0 {
		a.Queue = 5 * time.Second
	}
	return a, nil
}

const (
	// perLane is how many requests of one device are worked on at once: a push and a
	// pull. The others wait behind them, and in nobody else's way.
	perLane = 2
	// rateSpan is the span over which the rate of finished requests is taken; leastRate
	// is what is reckoned with where it is not known.
	rateSpan  = 2 * time.Second
	leastRate = 20
	// leastHint and mostHint bound when a refused request is told to come back.
	leastHint, mostHint = time.Second, 5 * time.Minute
)

// Why a request is refused, as metrics name it.
const (
	refusedOpen   = "open"
	refusedDevice = "device"
	refusedQueue  = "queue"
	refusedBytes  = "bytes"
	refusedSlow   = "slow"
)

// overload is a refusal that says when to come back.
type overload struct {
	reason string
	after  time.Duration
}

// Error implements error.
func (o *overload) Error() string { return "overloaded: " + o.reason }

// admission lets requests in, one turn after the other: each device has a lane of its
// own, and the lanes take turns, so that a device that asks for much waits for itself
// and delays nobody else by more than one request. What cannot have its turn in time is
// refused as early as that is known, at best before its body is read, and told when to
// come back. Those times are handed out one after the other, as far apart as requests
// get done: who is refused together does not come back together. Safe for concurrent
// use.
type admission struct {
	Admission

	inflaters map[string]*inflaterPool // by content encoding

	mu sync.Mutex
	// open requests, and those of them that are worked on.
	open, working int
	// bodies and work are the bytes in use of either half.
	bodies, work int64
	lanes        map[syncengine.ID]*lane
	// ring is the lanes with a request whose turn may come, in turn.
	ring    []*lane
	waiting int
	// busy is since when somebody waits, zero where nobody does.
	busy time.Time
	// rate of finished requests a second, as of rated.
	rate  float64
	rated time.Time
	// promised is the latest time that was handed out, to those who only listen and to
	// those who bring something.
	promised [2]time.Time
	// grace is how long a body has beside its bytes.
	grace time.Duration
}

// lane is the requests of one device, oldest first.
type lane struct {
	id      syncengine.ID
	limit   int
	open    []*visit
	waiting []*visit
	working int
	inRing  bool
}

// visit is one request on its way through. Its methods may be called on nil, for a
// request that nobody has let in.
type visit struct {
	a    *admission
	lane *lane
	// brings: it brings what was written.
	brings bool
	// cut ends the request; nil where it cannot be ended. It is called with the lock
	// held.
	cut func()
	// body and work are the bytes it holds of either half; work is what it asks for
	// while it waits.
	body, work int64
	state      visitState
	turn       chan struct{}
	// queued is how long it waited for turns.
	queued time.Duration
}

type visitState int

const (
	// arriving: its body is being read.
	arriving visitState = iota
	waiting
	working
	// resting: it waits for news.
	resting
	left
)

func newAdmission(o Admission) (*admission, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &admission{Admission: o, inflaters: newInflaters(), lanes: map[syncengine.ID]*lane{}, grace: bodyGrace}, nil
}

// enter lets a request of a device in, or refuses it before anything of its body is
// read. Where the device has too many open, the oldest of those that only wait or
// arrive is cut: it is most likely one of a connection that has died.
func (a *admission) enter(device syncengine.ID, limit int, brings bool, cut func()) (*visit, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open >= a.Open {
		return nil, a.refusal(refusedOpen, brings)
	}
	patience := a.Queue
	if !brings {
		patience /= 2
	}
	if a.late() > patience {
		return nil, a.refusal(refusedQueue, brings)
	}
	l := a.lanes[device]
	if l == nil {
		l = &lane{id: device, limit: limit}
		a.lanes[device] = l
	}
	if len(l.open) >= l.limit {
		i := slices.IndexFunc(l.open, func(v *visit) bool { return (v.state == arriving || v.state == resting) && v.cut != nil })
		if i < 0 {
			return nil, &overload{refusedDevice, leastHint}
		}
		old := l.open[i]
		old.cut()
		old.leave()
	}
	v := &visit{a: a, lane: l, brings: brings, cut: cut}
	l.open = append(l.open, v)
	a.open++
	return v, nil
}

// late is about how long somebody who comes now would wait.
func (a *admission) late() time.Duration {
	if a.waiting == 0 || time.Since(a.busy) < rateSpan/2 {
		// Nothing is known of how fast it goes.
		return 0
	}
	return time.Duration(float64(len(a.ring)) / a.speed() * float64(time.Second))
}

// speed is how many requests get done in a second.
func (a *admission) speed() float64 {
	return max(a.rate*math.Exp(-time.Since(a.rated).Seconds()/rateSpan.Seconds()), leastRate)
}

// done counts a request that got done.
func (a *admission) done() {
	now := time.Now()
	a.rate = a.rate*math.Exp(-now.Sub(a.rated).Seconds()/rateSpan.Seconds()) + 1/rateSpan.Seconds()
	a.rated = now
}

// refusal says when to come back: at the next time that nobody has been given, one after
// the other as fast as requests get done.
func (a *admission) refusal(reason string, brings bool) *overload {
	now := time.Now()
	promised := &a.promised[0]
	if brings {
		promised = &a.promised[1]
	}
	if first := now.Add(leastHint); promised.Before(first) {
		*promised = first
	}
	*promised = promised.Add(time.Duration(float64(time.Second) / a.speed()))
	if most := now.Add(mostHint); promised.After(most) {
		// They begin anew rather than pile up at the end.
		*promised = now.Add(mostHint / 2)
	}
	return &overload{reason, promised.Sub(now)}
}

// receive makes room for n more bytes of the body.
func (v *visit) receive(n int) error {
	a := v.a
	a.mu.Lock()
	defer a.mu.Unlock()
	if v.state == left {
		return errCutOff
	}
	if a.bodies+int64(n) > a.Bytes/2 {
		return a.refusal(refusedBytes, v.brings)
	}
	a.bodies += int64(n)
	v.body += int64(n)
	return nil
}

// begin waits for the request's turn, for so much work. The error is an *overload where
// it does not come in time, or the context's.
func (v *visit) begin(ctx context.Context, work int64) error { return v.await(ctx, work, v.a.Queue) }

func (v *visit) await(ctx context.Context, work int64, atMost time.Duration) error {
	if err := v.over(ctx); err != nil {
		return err
	}
	a := v.a
	a.mu.Lock()
	if v.state == left {
		a.mu.Unlock()
		return errCutOff
	}
	turn := make(chan struct{})
	v.work, v.state, v.turn = min(work, a.Bytes/2), waiting, turn
	if a.waiting++; a.waiting == 1 {
		a.busy = time.Now()
	}
	v.lane.waiting = append(v.lane.waiting, v)
	a.line(v.lane)
	a.next()
	if v.state == working {
		a.mu.Unlock()
		return nil
	}
	a.mu.Unlock()
	began := time.Now()
	var expired <-chan time.Time
	if atMost > 0 {
		t := time.NewTimer(atMost)
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-turn:
	case <-ctx.Done():
	case <-expired:
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	v.queued += time.Since(began)
	if v.state == working {
		return nil
	}
	v.unqueue()
	if v.state != left {
		v.state = arriving
	}
	v.work = 0
	a.next()
	if v.state == left {
		return errCutOff
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return a.refusal(refusedQueue, v.brings)
}

// unqueue takes a waiting request out of its lane.
func (v *visit) unqueue() {
	if i := slices.Index(v.lane.waiting, v); i >= 0 {
		v.lane.waiting = slices.Delete(v.lane.waiting, i, i+1)
		v.a.waiting--
		if len(v.lane.waiting) == 0 && v.lane.inRing {
			v.lane.inRing = false
			v.a.ring = slices.DeleteFunc(v.a.ring, func(l *lane) bool { return l == v.lane })
		}
	}
}

// line puts a lane into the ring, where it has a request whose turn may come.
func (a *admission) line(l *lane) {
	if !l.inRing && len(l.waiting) > 0 && l.working < perLane {
		l.inRing = true
		a.ring = append(a.ring, l)
	}
}

// next gives turns, as long as there is room for whoever is next. A large request is
// not passed over for small ones behind it.
func (a *admission) next() {
	for len(a.ring) > 0 {
		l := a.ring[0]
		v := l.waiting[0]
		if a.working >= a.Working || a.work+v.work > a.Bytes/2 && a.work > 0 {
			return
		}
		a.ring = a.ring[1:]
		l.inRing = false
		l.waiting = l.waiting[1:]
		a.waiting--
		l.working++
		a.working++
		a.work += v.work
		v.state = working
		close(v.turn)
		a.line(l)
	}
}

// errCutOff says that the device has opened so many requests since that this one had to
// give way.
var errCutOff = &overload{refusedDevice, leastHint}

// over returns why a request is not to go on; nil where it is.
func (v *visit) over(ctx context.Context) error {
	if v != nil {
		v.a.mu.Lock()
		defer v.a.mu.Unlock()
		if v.state == left {
			return errCutOff
		}
	}
	return ctx.Err()
}

// grow makes room for more work than the request began with. Where it is refused the
// room it has stays its own.
func (v *visit) grow(n int64) error {
	if v == nil || n <= 0 {
		return nil
	}
	v.a.mu.Lock()
	defer v.a.mu.Unlock()
	switch {
	case v.state != working:
		return errCutOff
	case !v.fits(n):
		return v.a.refusal(refusedBytes, v.brings)
	}
	return nil
}

// fits takes room for more work, where there is some. Whoever works alone has all that
// is needed.
func (v *visit) fits(n int64) bool {
	if v.a.work+n > v.a.Bytes/2 && v.a.working > 1 {
		return false
	}
	v.a.work += n
	v.work += n
	return true
}

// enlarge makes room for more work, and waits for it where it is not there: then the
// request gives its turn back and waits for a larger one.
func (v *visit) enlarge(ctx context.Context, n int64) error {
	if v == nil || n <= 0 {
		return nil
	}
	v.a.mu.Lock()
	fits, all := v.state == working && v.fits(n), v.work+n
	v.a.mu.Unlock()
	if fits {
		return nil
	}
	v.rest()
	return v.begin(ctx, all)
}

// waited is how long the request has waited for turns.
func (v *visit) waited() time.Duration {
	if v == nil {
		return 0
	}
	v.a.mu.Lock()
	defer v.a.mu.Unlock()
	return v.queued
}

// rest gives the turn back while the request waits for news, and what it held.
func (v *visit) rest() {
	if v == nil {
		return
	}
	v.a.mu.Lock()
	defer v.a.mu.Unlock()
	if v.state == working {
		v.stop()
		v.state = resting
	}
	v.a.next()
}

// wake waits for a turn again, for as long as it takes: it is answered in any case.
func (v *visit) wake(ctx context.Context, work int64) error {
	if v == nil {
		return nil
	}
	return v.await(ctx, work, 0)
}

// stop ends the work of a request.
func (v *visit) stop() {
	v.a.working--
	v.a.work -= v.work
	v.a.bodies -= v.body
	v.work, v.body = 0, 0
	v.lane.working--
	v.a.line(v.lane)
	v.a.done()
}

// end takes a request out, whatever it is at. It may be called twice.
func (v *visit) end() {
	if v == nil {
		return
	}
	v.a.mu.Lock()
	defer v.a.mu.Unlock()
	v.leave()
	v.a.next()
}

// leave is end with the lock held.
func (v *visit) leave() {
	switch v.state {
	case left:
		return
	case working:
		v.stop()
	case waiting:
		v.unqueue()
	}
	a, l := v.a, v.lane
	a.bodies -= v.body
	v.body, v.work, v.state = 0, 0, left
	a.open--
	l.open = slices.DeleteFunc(l.open, func(o *visit) bool { return o == v })
	if len(l.open) == 0 {
		delete(a.lanes, l.id)
	}
}

// load is how much is under way.
type load struct {
	open, waiting, working int
	bodies, work           int64
}

func (a *admission) load() load {
	a.mu.Lock()
	defer a.mu.Unlock()
	return load{open: a.open, waiting: a.waiting, working: a.working, bodies: a.bodies, work: a.work}
}
