package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tandem-response/tandem/syncengine"
)

// Bounds of one commit: no further job joins a transaction that holds so many
// changes or has taken so long.
const (
	groupChanges = 500
	groupTime    = 20 * time.Millisecond
)

// fullFor is how long a full disk is believed in after a write has met it. The disk is
// another machine's where the database is, and the small row that CanWrite writes may find
// room on it when nothing else does.
const fullFor = 10 * time.Second

// job is one write that waits for its commit.
type job struct {
	ctx    context.Context //nolint:containedctx // A job is a call that waits in a queue.
	org    *Org
	weight int
	// do writes within the org; or, for org nil, bare does on the connection, and apart on it
	// in no transaction.
	do    func(*Tx) error
	bare  func(*conn) error
	apart func(*conn) error
	done  chan error
}

// queue is the jobs that wait, in order of arrival.
type queue struct {
	mu   sync.Mutex
	jobs []*job
	wake chan struct{}
}

func (q *queue) push(j *job) {
	q.mu.Lock()
	q.jobs = append(q.jobs, j)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// next takes the first job, or the first of an org with at most weight changes; nil
// where there is none.
func (q *queue) next(org *Org, weight int) *job {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, j := range q.jobs {
		// What is known of an org may be read anew in between: its number stays.
		same := org == nil || (j.org != nil && j.org.num == org.num)
		if org != nil && (!same || j.weight > weight) {
			if same {
				return nil
			}
			continue
		}
		q.jobs = append(q.jobs[:i], q.jobs[i+1:]...)
		return j
	}
	return nil
}

// Write runs do in a transaction of an org and returns when it is durable. Writes
// that wait at the same time share a commit; weight is about how many changes do
// will make. A write that fails leaves nothing behind; where it had shared a commit
// it is run again alone, so do must not rely on running once. An error of do that
// comes before it has written is returned as it is, unless the storage failed. One that
// comes later is returned after a second try, as ErrFailedTwice with the cause;
// ErrStorage says that the storage failed, so that trying again later may help.
func (s *Store) Write(ctx context.Context, org syncengine.ID, weight int, do func(tx *Tx) error) error {
	o, err := s.Org(ctx, org)
	if err != nil {
		return err
	}
	return s.submit(&job{ctx: ctx, org: o, weight: weight, do: do})
}

// raw runs do in a transaction of its own.
func (s *Store) raw(ctx context.Context, do func(*conn) error) error {
	return s.submit(&job{ctx: ctx, bare: do})
}

func (s *Store) submit(j *job) error {
	for {
		if err := s.settled(j.ctx); err != nil {
			return err
		}
		err := s.wait(j)
		if errors.Is(err, ErrDisk) {
			s.fullUntil.Store(int64(s.monotonic() + fullFor))
		}
		if !errors.Is(err, errDoubtful) {
			return err
		}
	}
}

// wait puts a job into the queue and waits for its end.
func (s *Store) wait(j *job) error {
	j.done = make(chan error, 1)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.queue.push(j)
	s.mu.Unlock()
	return <-j.done
}

// write is the one goroutine that writes.
func (s *Store) write() {
	for {
		for j := s.queue.next(nil, 0); j != nil; j = s.queue.next(nil, 0) {
			s.group(j)
		}
		select {
		case <-s.queue.wake:
		case <-s.closing:
			for j := s.queue.next(nil, 0); j != nil; j = s.queue.next(nil, 0) {
				s.group(j)
			}
			return
		}
	}
}

// group runs a job, and those of its org that wait behind it, in one transaction.
func (s *Store) group(first *job) {
	if first.org == nil {
		first.done <- s.alone(first)
		return
	}
	var members []*job
	open, weight, started := false, 0, s.monotonic()
	err := s.transact(first.ctx, first.org, func(tx *Tx) error {
		open = true
		began := s.monotonic()
		for j := first; j != nil; {
			if err := j.ctx.Err(); err != nil {
				j.done <- err
			} else {
				wrote, err := j.run(tx)
				switch {
				case err != nil && !wrote && !errors.Is(err, ErrStorage) && tx.c.failed == nil:
					j.done <- err
				case err != nil:
					// What it wrote is to go, or a statement has ended the transaction: what
					// came behind it would fail with it, or stand by itself.
					members = append(members, j)
					return err
				default:
					members = append(members, j)
					weight += j.weight
				}
			}
			if weight >= groupChanges || s.monotonic()-began >= groupTime {
				break
			}
			j = s.queue.next(first.org, groupChanges-weight)
		}
		return nil
	})
	switch {
	case err == nil:
		s.committed(Commit{Writes: len(members), Changes: weight, Took: s.monotonic() - started})
		for _, j := range members {
			j.done <- nil
		}
	case !open:
		// The storage would not even begin.
		first.done <- err
	case s.writer.broken() || errors.Is(err, ErrSwapped):
		// Whether it was committed is not known, so nothing is done twice here.
		for _, j := range members {
			j.done <- err
		}
	case len(members) == 1:
		members[0].done <- s.again(members[0], err)
	default:
		for _, j := range members {
			if err := s.transact(j.ctx, j.org, j.alone); err != nil {
				j.done <- s.again(j, err)
			} else {
				s.committed(Commit{Writes: 1, Changes: j.weight})
				j.done <- nil
			}
		}
	}
}

func (s *Store) monotonic() time.Duration { return time.Since(processStart) }

var processStart = time.Now()

// again retries a job that has failed alone, unless the storage failed.
func (s *Store) again(j *job, err error) error {
	if errors.Is(err, ErrStorage) || errors.Is(err, ErrDamaged) {
		return err
	}
	if err = s.transact(j.ctx, j.org, j.alone); err == nil || errors.Is(err, ErrStorage) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrFailedTwice, err)
}

// alone runs a job that belongs to no org.
func (s *Store) alone(j *job) error {
	if err := j.ctx.Err(); err != nil {
		return err
	}
	if j.apart != nil {
		return j.apart(s.writer)
	}
	return s.locked(j.ctx, noOrg, func() error { return j.bare(s.writer) })
}

func (j *job) alone(tx *Tx) error {
	_, err := j.run(tx)
	return err
}

// run runs a job in a transaction; wrote tells whether it had written anything
// before it ended. A panic is an error: one poisonous job must not end the server.
func (j *job) run(tx *Tx) (wrote bool, err error) {
	before := tx.writes
	defer func() {
		if p := recover(); p != nil {
			// What panicked may hold anything; a fault of the runtime is worth its words.
			if fault, ok := p.(runtime.Error); ok {
				err = fmt.Errorf("panic: %w\n%s", fault, debug.Stack())
			} else {
				err = fmt.Errorf("panic: %T\n%s", p, debug.Stack())
			}
			// What it was doing is unknown.
			wrote = true
			return
		}
		wrote = tx.writes != before
	}()
	return false, j.do(tx)
}

// transact runs f in a transaction of an org. Its row comes first: where rows are
// locked, that lock orders all writers, in this process and in others, so that what
// is read behind it is what the transaction before has left. What f writes comes at
// the end.
func (s *Store) transact(ctx context.Context, org *Org, f func(*Tx) error) error {
	var tx *Tx
	var from uint64
	err := s.locked(ctx, org.num, func() error {
		tx = newTx(s, s.writer, org)
		head, err := tx.Head()
		if err != nil {
			return err
		}
		from, tx.audit.from = head.Seq, head
		if err := f(tx); err != nil {
			return err
		}
		if err := tx.flushAudit(); err != nil {
			return err
		}
		return tx.flush()
	})
	if err != nil {
		return err
	}
	tx.publish()
	if tx.headWritten {
		s.mark.commit(org.ID, *tx.head)
	}
	touched := tx.touched
	if tx.everybody {
		touched = nil
	}
	s.watch.tell(org.ID, from, tx.headSeq(), touched)
	if s.remote != nil && tx.writes > 0 {
		s.remote.tell(org.ID, from, tx.headSeq(), touched)
	}
	return nil
}

// locked runs f in a transaction that writes to an org. After an error nothing of f
// is left, unless that came of a connection that broke during the commit, or is
// ErrSwapped.
func (s *Store) locked(ctx context.Context, org int64, f func() error) (err error) {
	if err := s.inPlace(); err != nil {
		return err
	}
	if err := s.writer.begin(s.dialect.begin, org); err != nil {
		return err
	}
	if s.doubtful(ctx) {
		err = errDoubtful
	} else {
		err = f()
	}
	if err == nil {
		if err = s.writer.commit(); err == nil {
			// It may have gone into a file that has no name any more.
			return s.inPlace()
		}
	}
	// Some failures have ended the transaction already; then there is nothing to
	// roll back, and that error says nothing new.
	_ = s.writer.rollback()
	return err
}
