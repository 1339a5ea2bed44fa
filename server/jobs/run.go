package jobs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tandem-response/tandem/server/store"
)

// Run is one attempt at a job.
type Run struct {
	// Job as it was taken up, and its org.
	Job store.Job
	Org *store.Org

	w        *Worker
	mu       sync.Mutex
	progress int64
	// finished: it was ended by the handler.
	finished bool
}

// Progress says how far it is, for whoever asks. It is written when the server next says
// that it is at it.
func (r *Run) Progress(done int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress = done
}

// held returns the job as it stands, while it is this attempt's. The error is ErrLost or
// ErrCancelled where it is not to go on.
func (r *Run) held(tx *store.Tx) (*store.Job, error) {
	j, err := tx.Holds(r.Job.ID, r.w.id, r.Job.Attempt)
	switch {
	case err != nil:
		return nil, err
	case j == nil:
		return nil, ErrLost
	case j.Cancelled:
		return nil, ErrCancelled
	}
	return j, nil
}

// Finish ends the job with its result, in one transaction with what do writes; nil writes
// nothing. Where the job was lost, or cancelled, nothing is written and the error says so.
func (r *Run) Finish(ctx context.Context, result []byte, do func(*store.Tx) error) error {
	err := r.w.store.Write(ctx, r.Org.ID, 1, func(tx *store.Tx) error {
		j, err := r.held(tx)
		if err != nil {
			return err
		}
		if do != nil {
			if err := do(tx); err != nil {
				return err
			}
		}
		if j.EndedMS, err = tx.NowMS(); err != nil {
			return err
		}
		j.Progress, j.LockedUntilMS, j.Result, j.Error = r.at(), 0, result, ""
		return tx.SaveJob(j)
	})
	r.finished = err == nil
	return err
}

// Keep notes in the job what this attempt leaves to the next one, as its result so far. A job
// that ends failed or cancelled has none. The error is that of Finish.
func (r *Run) Keep(ctx context.Context, result []byte) error {
	return r.w.store.Write(ctx, r.Org.ID, 1, func(tx *store.Tx) error {
		j, err := r.held(tx)
		if err != nil {
			return err
		}
		j.Result = result
		return tx.SaveJob(j)
	})
}

// Last reports whether a job that has come to an error in this attempt ends with it, so that
// nobody goes on from what was kept.
func (r *Run) Last(ctx context.Context, failure error) bool {
	cause := context.Cause(ctx)
	_, last := errors.AsType[*permanent](failure)
	switch {
	case errors.Is(cause, ErrLost), errors.Is(failure, ErrLost):
		return false
	case last, errors.Is(cause, ErrCancelled), errors.Is(failure, ErrCancelled):
		return true
	}
	// Where the server is ending the attempt does not count.
	return r.Job.Attempt >= Attempts && cause == nil
}

func (r *Run) at() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.progress
}

// renew goes on saying that the server is at it, and ends the run where it is no longer
// its own.
func (r *Run) renew(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(r.w.o.Lease / 3)
	defer tick.Stop()
	// By the monotonic clock, from before it was asked for: not later than the database's.
	until := time.Now().Add(r.w.o.Lease)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var held, cancelled bool
		asked := time.Now()
		err := r.w.store.Write(ctx, r.Org.ID, 1, func(tx *store.Tx) error {
			j, err := tx.Holds(r.Job.ID, r.w.id, r.Job.Attempt)
			if err != nil {
				return err
			}
			if held = j != nil; !held {
				return nil
			}
			now, err := tx.NowMS()
			if err != nil {
				return err
			}
			cancelled = j.Cancelled
			j.Progress = r.at()
			j.LockedUntilMS = now + r.w.o.Lease.Milliseconds()
			return tx.SaveJob(j)
		})
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			// The database may be away for a moment. Once the time is over another
			// server may be at it.
			if time.Now().After(until) {
				cancel(ErrLost)
				return
			}
		case !held:
			cancel(ErrLost)
			return
		case cancelled:
			cancel(ErrCancelled)
			return
		default:
			until = asked.Add(r.w.o.Lease)
		}
	}
}
