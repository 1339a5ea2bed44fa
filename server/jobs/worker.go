package jobs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// Attempts is how often a job is taken up before it has failed.
const Attempts = 5

// waits between attempts.
var waits = []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute}

// Causes for which the context of a run ends.
var (
	// ErrLost says that another server has taken the job up: this one was silent too long.
	ErrLost = errors.New("another server has taken up the job")
	// ErrCancelled says that somebody has cancelled the job.
	ErrCancelled = errors.New("the job was cancelled")
)

// Handler does the jobs of a kind. Its error says why it could not, without personal data.
type Handler func(ctx context.Context, run *Run) error

// Options are those of a worker.
type Options struct {
	// Log takes a line for each job that ended.
	Log zerolog.Logger
	// Clock is this server's wall clock, nil for the system's: it makes ids, and decides
	// nothing, since the clocks of servers differ. Leases and due times are the database's.
	Clock func() time.Time
	// Rand makes ids, nil for crypto/rand's.
	Rand io.Reader
	// Lease is for how long a job is taken up; it is renewed three times in it. 0: a minute.
	Lease time.Duration
	// Poll is how often it looks for jobs where nobody wakes it. 0: 5 seconds.
	Poll time.Duration
}

// Worker does jobs. Safe for concurrent use.
type Worker struct {
	store    *store.Store
	o        Options
	id       syncengine.ID
	mu       sync.Mutex
	handlers map[string]Handler
	over     map[string]func(id syncengine.ID)
	every    []Recurring
	wake     chan struct{}
}

// Recurring is what is done again and again: once in each Gap, for each org.
type Recurring struct {
	Kind string
	Gap  time.Duration
}

// span is the beginning of the gap that a moment is in. Gaps are counted from the beginning
// of time, so that servers agree on them.
func (r Recurring) span(ms int64) time.Time { return time.UnixMilli(ms).UTC().Truncate(r.Gap) }

// Next is when the gap after that of a moment begins.
func (r Recurring) Next(ms int64) time.Time { return r.span(ms).Add(r.Gap) }

// The names of recurring jobs say when their gap began, so that there is one a gap.
const (
	byClock    = "at "
	afterClock = "au"
)

// kept is how long the recurring jobs that have ended are kept, for whoever looks.
const kept = 90 * 24 * time.Hour

// New returns a worker with an identity of its own.
func New(st *store.Store, o Options) (*Worker, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Lease <= 0 {
		o.Lease = time.Minute
	}
	if o.Poll <= 0 {
		o.Poll = 5 * time.Second
	}
	id, err := syncengine.NewID(o.Clock().UnixMilli(), o.Rand)
	if err != nil {
		return nil, err
	}
	return &Worker{store: st, o: o, id: id, handlers: map[string]Handler{}, over: map[string]func(syncengine.ID){}, wake: make(chan struct{}, 1)}, nil
}

// Handle says who does the jobs of a kind. It is called before Work.
func (w *Worker) Handle(kind string, h Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handlers[kind] = h
}

// Over says what is done when this worker ends a job of a kind without its handler: one that was
// cancelled when it was taken up, or was taken up too often. It is called before Work.
func (w *Worker) Over(kind string, f func(id syncengine.ID)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over[kind] = f
}

// Every has a job of a kind done once in each gap, for each org, on whichever server comes
// first. A gap that passed while no server ran is not made up for. It is called before Work.
func (w *Worker) Every(kind string, gap time.Duration, h Handler) {
	w.Handle(kind, h)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.every = append(w.every, Recurring{kind, gap})
}

// Schedule is what recurs.
func (w *Worker) Schedule() []Recurring {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.every)
}

// New returns a job of a kind for a person, to be done at once; name tells it apart from
// all others of the kind, its own id where it is empty. The caller adds it with Tx.AddJob,
// in the transaction of what causes it, and calls Wake after that.
func (w *Worker) New(kind, name string, person syncengine.ID, payload []byte) (*store.Job, error) {
	w.mu.Lock()
	id, err := syncengine.NewID(w.o.Clock().UnixMilli(), w.o.Rand)
	w.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = id.String()
	}
	return &store.Job{ID: id, Kind: kind, Name: name, Person: person, Payload: payload}, nil
}

// Wake makes the worker look at once.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Work does jobs, one after another, until ctx ends. What is under way then is left for
// whoever comes next, at once.
func (w *Worker) Work(ctx context.Context) {
	tick := time.NewTicker(w.o.Poll)
	defer tick.Stop()
	for ctx.Err() == nil {
		ran, err := w.Once(ctx)
		if err != nil && ctx.Err() == nil {
			w.o.Log.Error().Err(err).Msg("jobs not read")
		}
		if ran > 0 && err == nil {
			continue
		}
		select {
		case <-tick.C:
		case <-w.wake:
		case <-ctx.Done():
		}
	}
}

// Once does at most one job of each org, and returns how many it has taken up.
func (w *Worker) Once(ctx context.Context) (ran int, err error) {
	orgs, err := w.store.Orgs(ctx)
	if err != nil {
		return 0, err
	}
	for _, org := range orgs {
		j, err := w.take(ctx, org.ID)
		if err != nil {
			return ran, err
		}
		if j != nil {
			ran++
			if err := w.do(ctx, org, j); err != nil {
				return ran, err
			}
		}
	}
	return ran, nil
}

func (w *Worker) take(ctx context.Context, org syncengine.ID) (j *store.Job, err error) {
	due, err := w.store.JobDue(ctx, org)
	if err != nil {
		return nil, err
	}
	begun, err := w.begin(ctx, org, due.NowMS)
	if err != nil || !begun && !due.Waits {
		return nil, err
	}
	err = w.store.Write(ctx, org, 1, func(tx *store.Tx) (err error) {
		j, err = tx.TakeJob(w.id, w.o.Lease)
		return err
	})
	return j, err
}

// begin adds the jobs of the gaps that a moment is in, where no server has yet. Where the
// clock was set back there are later ones, and none is added before it has caught up.
func (w *Worker) begin(ctx context.Context, org syncengine.ID, nowMS int64) (begun bool, err error) {
	for _, r := range w.Schedule() {
		name := byClock + r.span(nowMS).Format(time.RFC3339)
		if found, err := w.store.JobNamed(ctx, org, r.Kind, name, afterClock); err != nil {
			return begun, err
		} else if found {
			continue
		}
		j, err := w.New(r.Kind, name, syncengine.ID{}, nil)
		if err != nil {
			return begun, err
		}
		err = w.store.Write(ctx, org, 1, func(tx *store.Tx) error {
			if _, err := tx.AddJob(j); err != nil {
				return err
			}
			_, err := tx.DropJobs(r.Kind, nowMS-max(kept, 2*r.Gap).Milliseconds())
			return err
		})
		if err != nil {
			return begun, err
		}
		begun = true
	}
	return begun, nil
}

// do runs a job and ends it.
func (w *Worker) do(ctx context.Context, org *store.Org, j *store.Job) error {
	w.mu.Lock()
	h, over := w.handlers[j.Kind], w.over[j.Kind]
	w.mu.Unlock()
	run := &Run{Job: *j, Org: org, w: w, progress: j.Progress}
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var renewing sync.WaitGroup
	renewing.Go(func() { run.renew(running, cancel) })
	err := ErrCancelled
	if !j.Cancelled {
		if j.Attempt > Attempts {
			// Nobody has come back from it to say why.
			err = Permanent(errors.New("it was taken up too often without coming to an end"))
		} else if h == nil {
			err = Permanent(fmt.Errorf("this version of the server does no jobs of the kind %q", j.Kind))
		} else {
			over = nil
			err = attempt(running, h, run)
		}
	}
	cause := context.Cause(running)
	cancel(nil)
	renewing.Wait()
	switch {
	case run.finished || errors.Is(cause, ErrLost):
		return nil
	case errors.Is(cause, ErrCancelled):
		err = ErrCancelled
	}
	// The server may be ending: what it gives back is taken up at once elsewhere.
	ending := ctx.Err() != nil
	after, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	ended, err := w.end(after, run, err, ending)
	if ended && over != nil {
		over(j.ID)
	}
	return err
}

// attempt calls a handler, whose panic is an error.
func attempt(ctx context.Context, h Handler, run *Run) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = Permanent(fmt.Errorf("the job's handler panicked: %v", p))
		}
	}()
	return h(ctx, run)
}

// end writes what an attempt came to, and reports whether the job has ended with it.
func (w *Worker) end(ctx context.Context, run *Run, failure error, ending bool) (ended bool, err error) {
	var after store.Job
	err = w.store.Write(ctx, run.Org.ID, 1, func(tx *store.Tx) error {
		after = store.Job{}
		j, err := tx.Holds(run.Job.ID, w.id, run.Job.Attempt)
		if err != nil || j == nil {
			return err
		}
		now, err := tx.NowMS()
		if err != nil {
			return err
		}
		j.LockedUntilMS, j.Progress = 0, run.progress
		_, last := errors.AsType[*permanent](failure)
		switch {
		case failure == nil:
			j.EndedMS, j.Error = now, ""
		case errors.Is(failure, ErrCancelled) || j.Cancelled:
			j.EndedMS, j.Cancelled, j.Error, j.Result = now, true, "", nil
		case ending && !last:
			// It is nobody's fault.
			j.Attempt--
		case last || j.Attempt >= Attempts:
			j.EndedMS, j.Failed, j.Error, j.Result = now, true, failure.Error(), nil
		default:
			j.RunAtMS, j.Error = now+waits[min(j.Attempt, len(waits))-1].Milliseconds(), failure.Error()
		}
		j.LockedBy = syncengine.ID{}
		after = *j
		return tx.SaveJob(j)
	})
	w.o.Log.Info().Str("kind", run.Job.Kind).Stringer("job", run.Job.ID).Stringer("org", run.Org.ID).Int("attempt", run.Job.Attempt).
		Bool("done", after.Ended() && !after.Failed && !after.Cancelled).AnErr("failure", failure).Msg("job attempted")
	return err == nil && after.Ended(), err
}

// Cancel ends a job without doing it, and at whoever is at it. It reports whether there
// was anything left to cancel.
func (w *Worker) Cancel(ctx context.Context, org, id syncengine.ID) (cancelled bool, err error) {
	err = w.store.Write(ctx, org, 1, func(tx *store.Tx) error {
		cancelled = false
		j, err := tx.Job(id)
		if err != nil || j == nil || j.Ended() {
			return err
		}
		now, err := tx.NowMS()
		if err != nil {
			return err
		}
		cancelled, j.Cancelled = true, true
		if j.LockedUntilMS <= now {
			j.EndedMS, j.Result = now, nil
		}
		return tx.SaveJob(j)
	})
	return cancelled, err
}

// permanent is an error that another attempt would meet too.
type permanent struct{ err error }

func (p *permanent) Error() string { return p.err.Error() }
func (p *permanent) Unwrap() error { return p.err }

// Permanent marks an error that another attempt would meet too.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}
