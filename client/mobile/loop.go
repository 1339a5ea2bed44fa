package mobile

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tandem-response/tandem/client"
)

// Start begins to keep the device in step, and goes on until Close, or until a person
// must act: the host is told so. A loop that runs is left alone.
func (d *Device) Start() error {
	if _, err := d.c.Session(); err != nil {
		return fail(err)
	}
	d.loop.start()
	return nil
}

// Network tells what the system says of the network. Call it when the app starts and on
// each change, one network in another's place included. A device that was told nothing
// takes it to be there and to cost nothing.
func (d *Device) Network(online, metered bool) {
	d.loop.set(func(s *surroundings) { s.online, s.metered = online, metered })
	if online {
		d.c.Wake()
	}
}

// Power tells whether the app is in front, and whether the system saves its battery. Call
// it when the app starts and on each change. A device that was told nothing takes itself
// to be in front.
func (d *Device) Power(inFront, saving bool) {
	d.loop.set(func(s *surroundings) { s.inFront, s.saving = inFront, saving })
	if inFront {
		// The connections of before may have died while the process stood still.
		d.c.Wake()
	}
}

// surroundings are what the host has told.
type surroundings struct{ online, metered, inFront, saving bool }

// pace is how the loop keeps in step.
type pace struct {
	// live: pushes at once and waits at the server for news.
	live bool
	// every is the time between two looks for news; sends: saves go at once, else only
	// what waits is tried in that time.
	every time.Duration
	sends bool
}

// pace is what surroundings allow: see the package.
func (s surroundings) pace() pace {
	switch {
	case !s.online:
		return pace{every: 15 * time.Minute}
	case s.inFront && !s.saving:
		return pace{live: true}
	case s.inFront:
		return pace{every: 5 * time.Minute, sends: true}
	case s.metered || s.saving:
		return pace{every: 30 * time.Minute, sends: true}
	}
	return pace{every: 15 * time.Minute, sends: true}
}

const (
	// gather is how long a save waits for the next, where saves go one by one; urgent
	// ones do not wait.
	gather = 2 * time.Second
	// firstRest is the pause after a failure; it doubles, up to the time between looks.
	firstRest = 15 * time.Second
	// tidyEvery is the time between two looks for what was looked up too long ago, which
	// ends without any contact.
	tidyEvery = 10 * time.Minute
)

// loop keeps a device in step.
type loop struct {
	d *Device

	mu      sync.Mutex
	around  surroundings
	changed chan struct{} // closed when around changes
	work    chan struct{} // a save was made
	hurry   chan struct{} // an urgent one
	stop    context.CancelFunc
	ended   chan struct{} // nil where it does not run
	closed  bool
}

func (l *loop) begin(d *Device) {
	l.d, l.around = d, surroundings{online: true, inFront: true}
	l.changed, l.work, l.hurry = make(chan struct{}), make(chan struct{}, 1), make(chan struct{}, 1)
}

func (l *loop) set(how func(*surroundings)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.around
	if how(&l.around); l.around != before {
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

// saved has a save go where the loop sends saves one by one.
func (l *loop) saved(urgent bool) {
	ch := l.work
	if urgent {
		ch = l.hurry
	}
	select {
	case ch <- struct{}{}:
	default:
	}
}

func (l *loop) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil || l.closed {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	l.stop, l.ended = stop, ended
	go func() {
		err := l.run(ctx)
		l.mu.Lock()
		l.ended = nil
		l.mu.Unlock()
		if ctx.Err() == nil {
			l.d.host.Stopped(codeOf(err), wordsOf(err))
		}
		close(ended)
	}()
}

// end stops the loop for good, and waits for it.
func (l *loop) end() {
	l.mu.Lock()
	l.closed = true
	ended := l.ended
	if l.stop != nil {
		l.stop()
	}
	l.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

// run goes from one pace to the next.
func (l *loop) run(ctx context.Context) error {
	for {
		l.mu.Lock()
		p, changed := l.around.pace(), l.changed
		l.mu.Unlock()
		during, cancel := context.WithCancel(ctx)
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			select {
			case <-changed:
				cancel()
			case <-during.Done():
			}
		}()
		var err error
		if p.live {
			err = l.d.c.Run(during)
		} else {
			err = l.spare(during, p)
		}
		ends := during.Err() == nil
		cancel()
		<-stopped
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if ends {
			return err
		}
	}
}

// spare keeps in step with a contact now and then, until its context ends or a person
// must act.
func (l *loop) spare(ctx context.Context, p pace) error {
	var rest, pause time.Duration
	// What has changed since the last contact is asked for at once.
	due := p.sends
	for {
		if due {
			_, err := l.d.c.Sync(ctx)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err == nil:
				rest = 0
			case final(err):
				return err
			default:
				rest = min(max(2*rest, firstRest), p.every)
				pause = rested(rest, hint(err))
			}
		}
		wait := p.every
		if rest > 0 {
			wait = pause
		}
		var err error
		if due, err = l.await(ctx, p, wait, rest > 0); err != nil {
			return err
		}
	}
}

// await waits until a contact is due: a save was made, or the time is over. After a
// failure saves wait with the rest.
func (l *loop) await(ctx context.Context, p pace, wait time.Duration, failed bool) (due bool, err error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	tidy := time.NewTicker(tidyEvery)
	defer tidy.Stop()
	work, hurry := l.work, l.hurry
	if !p.sends || failed {
		work = nil
	}
	if !p.sends {
		hurry = nil
	}
	for over := false; !over; {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-hurry:
			return true, nil
		case <-work:
			return true, l.gather(ctx)
		case <-tidy.C:
			if err := l.d.c.Expire(ctx); err != nil && !errors.Is(err, client.ErrDiskFull) {
				return false, err
			}
		case <-timer.C:
			over = true
		}
	}
	if p.sends {
		return true, nil
	}
	// Without a network only what waits is worth a try.
	s, err := l.d.c.Status(ctx)
	return err == nil && s.Queued > 0, err
}

// gather lets more saves come, unless one is urgent.
func (l *loop) gather(ctx context.Context) error {
	timer := time.NewTimer(gather)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.hurry:
	case <-timer.C:
	}
	return nil
}

// rested is the pause after a failure: the rest, or what the server asks for where that is
// longer, and up to a quarter more, so that devices which lost the server together do not
// come back together.
func rested(rest, hint time.Duration) time.Duration {
	rest = max(rest, hint)
	return rest + rand.N(rest/4+1) //nolint:gosec // Jitter is no secret.
}

// final reports whether an error does not pass by itself.
func final(err error) bool {
	_, contact := errors.AsType[*client.ContactError](err)
	return !contact && !errors.Is(err, client.ErrDiskFull) && !errors.Is(err, context.DeadlineExceeded)
}

// hint is when the server wants to be asked again.
func hint(err error) time.Duration {
	if contact, ok := errors.AsType[*client.ContactError](err); ok {
		return contact.RetryAfter
	}
	return 0
}
