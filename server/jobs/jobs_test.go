package jobs_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/internal/pgtest"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/jobs"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// childEnv makes the test's own program a server of its own that does jobs.
const childEnv = "TANDEM_JOBS_CHILD"

func TestMain(m *testing.M) {
	if place := os.Getenv(childEnv); place != "" {
		if err := child(place); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	pgtest.Main(m)
}

// century is a gap that no test sees the end of.
const century = 100 * 365 * 24 * time.Hour

// child does jobs until its standard input ends.
func child(place string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir, database, _ := strings.Cut(place, "\n")
	st, err := store.Open(ctx, dir, store.Options{Database: database, Volatile: true})
	if err != nil {
		return err
	}
	defer st.Close()
	// Each server's own clock is hours off: none of them decides anything.
	skew := time.Duration(os.Getpid()%2*20-10) * time.Hour
	w, err := jobs.New(st, jobs.Options{Lease: time.Second, Poll: 20 * time.Millisecond, Clock: func() time.Time { return time.Now().Add(skew) }})
	if err != nil {
		return err
	}
	w.Handle("count", func(ctx context.Context, run *jobs.Run) error {
		time.Sleep(5 * time.Millisecond)
		return run.Finish(ctx, fmt.Appendf(nil, "%d", os.Getpid()), func(tx *store.Tx) error {
			// What a job does to the database is done once: a second one would be refused.
			done, err := w.New("done", run.Job.Name, syncengine.ID{}, nil)
			if err != nil {
				return err
			}
			added, err := tx.AddJob(done)
			if err == nil && !added {
				err = errors.New("done a second time")
			}
			return err
		})
	})
	w.Handle("done", func(context.Context, *jobs.Run) error { return nil })
	w.Every("hang", century, func(ctx context.Context, run *jobs.Run) error {
		if run.Job.Attempt == 1 {
			fmt.Fprintln(os.Stdout, "hanging")
			<-ctx.Done()
			return ctx.Err()
		}
		return run.Finish(ctx, []byte("after all"), nil)
	})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	w.Work(ctx)
	return nil
}

// world is a store with an org.
type world struct {
	t    *testing.T
	s    *store.Store
	org  *store.Org
	dir  string
	db   string
	time atomic.Int64
}

func newWorld(t *testing.T, on storetest.Engine) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), db: on.Database(t)}
	w.time.Store(1_700_000_000_000)
	var err error
	w.s, err = store.Open(t.Context(), w.dir, store.Options{Create: true, Database: w.db, Volatile: true, Clock: func() time.Time { return time.UnixMilli(w.time.Load()) }})
	w.ok(err)
	t.Cleanup(func() { _ = w.s.Close() })
	w.org, err = w.s.CreateOrg(t.Context(), "Example County")
	w.ok(err)
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) worker(o jobs.Options) *jobs.Worker {
	w.t.Helper()
	if o.Clock == nil {
		o.Clock = func() time.Time { return time.UnixMilli(w.time.Load()) }
	}
	o.Log = zerolog.Nop()
	worker, err := jobs.New(w.s, o)
	w.ok(err)
	return worker
}

func (w *world) add(worker *jobs.Worker, kind, name string) syncengine.ID {
	w.t.Helper()
	j, err := worker.New(kind, name, syncengine.ID{}, []byte("what"))
	w.ok(err)
	added := false
	w.ok(w.s.Write(w.t.Context(), w.org.ID, 1, func(tx *store.Tx) (err error) {
		added, err = tx.AddJob(j)
		return err
	}))
	if !added {
		w.t.Fatalf("%s %s was not added", kind, name)
	}
	return j.ID
}

func (w *world) job(id syncengine.ID) *store.Job {
	w.t.Helper()
	j, err := w.s.Job(w.t.Context(), w.org.ID, id)
	w.ok(err)
	if j == nil {
		w.t.Fatal("the job is gone")
	}
	return j
}

func (w *world) once(worker *jobs.Worker) int {
	w.t.Helper()
	n, err := worker.Once(w.t.Context())
	w.ok(err)
	return n
}

// server is a process that does jobs.
type server struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (w *world) server() *server {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+w.dir+"\n"+w.db)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	w.ok(err)
	out, err := cmd.StdoutPipe()
	w.ok(err)
	w.ok(cmd.Start())
	s := &server{cmd, in, bufio.NewReader(out)}
	w.t.Cleanup(func() {
		_ = s.in.Close()
		_ = s.cmd.Wait()
	})
	return s
}

// TestServers: several processes on one database, whose clocks are hours apart, do each job
// once, and what recurs once in its time; one that is killed in the middle of a job leaves
// it to another.
func TestServers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		clocked := w.worker(jobs.Options{Clock: time.Now})
		killed := w.server()
		if line, err := killed.out.ReadString('\n'); err != nil || line != "hanging\n" {
			t.Fatalf("%q, %v", line, err)
		}
		var ids []syncengine.ID
		for i := range 40 {
			ids = append(ids, w.add(clocked, "count", fmt.Sprint(i)))
		}
		var hang syncengine.ID
		w.ok(w.s.Jobs(t.Context(), w.org.ID, "hang", 2, func(j *store.Job) error {
			hang = j.ID
			return nil
		}))
		w.server()
		w.server()
		w.ok(killed.cmd.Process.Kill())
		by := map[string]int{}
		for _, id := range append(ids, hang) {
			for !w.job(id).Ended() {
				if t.Context().Err() != nil {
					t.Fatal("the test is over")
				}
				time.Sleep(20 * time.Millisecond)
			}
			j := w.job(id)
			want := 1
			if id == hang {
				want = 2
			}
			if j.Failed || j.Cancelled || j.Attempt != want || j.Error != "" {
				t.Errorf("%+v", j)
			}
			by[string(j.Result)]++
		}
		if by["after all"] != 1 || by[fmt.Sprint(killed.cmd.Process.Pid)] != 0 || len(by) > 3 {
			t.Errorf("done by %v", by)
		}
		marks := 0
		w.ok(w.s.Jobs(t.Context(), w.org.ID, "done", 1000, func(*store.Job) error {
			marks++
			return nil
		}))
		if marks != len(ids) {
			t.Errorf("%d of %d jobs did what they do", marks, len(ids))
		}
		hangs := 0
		w.ok(w.s.Jobs(t.Context(), w.org.ID, "hang", 10, func(*store.Job) error {
			hangs++
			return nil
		}))
		if hangs != 1 {
			t.Errorf("what recurs once in a century was begun %d times", hangs)
		}
	})
}

// TestRetry: an attempt that fails is made again, later and later, and not for ever.
func TestRetry(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		worker := w.worker(jobs.Options{})
		tries := map[string]int{}
		worker.Handle("twice", func(context.Context, *jobs.Run) error {
			if tries["twice"]++; tries["twice"] < 3 {
				return errors.New("not yet")
			}
			return nil
		})
		worker.Handle("never", func(context.Context, *jobs.Run) error { tries["never"]++; return errors.New("no") })
		worker.Handle("permanent", func(context.Context, *jobs.Run) error {
			tries["permanent"]++
			return jobs.Permanent(errors.New("wrong"))
		})
		worker.Handle("panic", func(context.Context, *jobs.Run) error { panic("oh") })
		ids := map[string]syncengine.ID{}
		for _, kind := range []string{"twice", "never", "permanent", "panic", "unknown"} {
			ids[kind] = w.add(worker, kind, "")
		}
		for range 200 {
			w.once(worker)
			w.time.Add(time.Minute.Milliseconds())
		}
		for kind, want := range map[string]struct {
			attempts int
			failed   bool
			err      string
		}{
			"twice": {3, false, ""}, "never": {jobs.Attempts, true, "no"}, "permanent": {1, true, "wrong"},
			"panic": {1, true, "the job's handler panicked: oh"}, "unknown": {1, true, `this version of the server does no jobs of the kind "unknown"`},
		} {
			if j := w.job(ids[kind]); !j.Ended() || j.Attempt != want.attempts || j.Failed != want.failed || j.Error != want.err {
				t.Errorf("%s: %+v", kind, j)
			}
		}
		if tries["twice"] != 3 || tries["never"] != jobs.Attempts || tries["permanent"] != 1 {
			t.Errorf("tried %v", tries)
		}
	})
}

// TestLost: who was silent too long has lost the job, and cannot end it; who is cancelled
// stops.
func TestLost(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		slow, quick := w.worker(jobs.Options{Lease: time.Minute}), w.worker(jobs.Options{})
		slow.Handle("k", func(ctx context.Context, run *jobs.Run) error {
			// Longer than the lease, by a clock that the renewals do not follow.
			w.time.Add(2 * time.Minute.Milliseconds())
			if n := w.once(quick); n != 1 {
				t.Errorf("another worker took up %d jobs", n)
			}
			err := run.Finish(ctx, []byte("slow"), nil)
			if !errors.Is(err, jobs.ErrLost) {
				t.Errorf("ended what was lost: %v", err)
			}
			return err
		})
		quick.Handle("k", func(ctx context.Context, run *jobs.Run) error { return run.Finish(ctx, []byte("quick"), nil) })
		id := w.add(slow, "k", "")
		w.once(slow)
		if j := w.job(id); string(j.Result) != "quick" || j.Attempt != 2 || j.Failed || !j.Ended() {
			t.Errorf("%+v", j)
		}

		brief := w.worker(jobs.Options{Lease: 60 * time.Millisecond})
		brief.Handle("c", func(ctx context.Context, run *jobs.Run) error {
			if cancelled, err := brief.Cancel(ctx, w.org.ID, run.Job.ID); !cancelled || err != nil {
				t.Errorf("not cancelled: %v", err)
			}
			<-ctx.Done()
			return ctx.Err()
		})
		id = w.add(brief, "c", "")
		w.once(brief)
		if j := w.job(id); !j.Ended() || !j.Cancelled || j.Failed {
			t.Errorf("cancelled: %+v", j)
		}
		id = w.add(brief, "c", "")
		if cancelled, err := brief.Cancel(t.Context(), w.org.ID, id); !cancelled || err != nil || !w.job(id).Ended() {
			t.Errorf("before it began: %v", err)
		}
		if n := w.once(brief); n != 0 {
			t.Error("what was cancelled was done")
		}
	})
}

// TestKept: what an attempt has kept is there for the next one, and gone once no attempt comes
// any more. Who fails because the job was cancelled meanwhile ends it as cancelled.
func TestKept(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		worker := w.worker(jobs.Options{})
		cancel := func(ctx context.Context, id syncengine.ID) {
			if cancelled, err := worker.Cancel(ctx, w.org.ID, id); !cancelled || err != nil {
				t.Errorf("not cancelled: %v", err)
			}
		}
		for kind, end := range map[string]func(context.Context, *jobs.Run) error{
			"permanent": func(context.Context, *jobs.Run) error { return jobs.Permanent(errors.New("wrong")) },
			"never":     func(context.Context, *jobs.Run) error { return errors.New("no") },
			"cancelled": func(ctx context.Context, run *jobs.Run) error {
				cancel(ctx, run.Job.ID)
				return errors.New("its file is gone")
			},
		} {
			worker.Handle(kind, func(ctx context.Context, run *jobs.Run) error {
				if run.Job.Attempt == 1 {
					w.ok(run.Keep(ctx, []byte("the key")))
					return errors.New("not yet")
				}
				if string(run.Job.Result) != "the key" {
					t.Errorf("%s: attempt %d finds %q", kind, run.Job.Attempt, run.Job.Result)
				}
				last := run.Last(ctx, errors.New("no"))
				if want := run.Job.Attempt == jobs.Attempts; last != want || !run.Last(ctx, jobs.Permanent(errors.New("wrong"))) || !run.Last(ctx, jobs.ErrCancelled) || run.Last(ctx, jobs.ErrLost) {
					t.Errorf("%s: attempt %d is the last one: %v", kind, run.Job.Attempt, last)
				}
				return end(ctx, run)
			})
			id := w.add(worker, kind, "")
			w.once(worker)
			if j := w.job(id); j.Ended() || string(j.Result) != "the key" {
				t.Errorf("%s, between attempts: %+v", kind, j)
			}
			for range jobs.Attempts {
				w.time.Add(time.Hour.Milliseconds())
				w.once(worker)
			}
			if j := w.job(id); !j.Ended() || len(j.Result) > 0 || j.Cancelled != (kind == "cancelled") || j.Failed == j.Cancelled || j.Cancelled && (j.Attempt != 2 || j.Error != "") {
				t.Errorf("%s: %+v", kind, j)
			}
		}
		worker.Handle("between", func(ctx context.Context, run *jobs.Run) error {
			w.ok(run.Keep(ctx, []byte("the key")))
			return errors.New("not yet")
		})
		id := w.add(worker, "between", "")
		w.once(worker)
		cancel(t.Context(), id)
		if j := w.job(id); !j.Ended() || !j.Cancelled || len(j.Result) > 0 {
			t.Errorf("cancelled between attempts: %+v", j)
		}
	})
}

// TestClocksApart: a server whose clock is ahead takes no job from one that is at it, and
// one whose clock is behind takes up what is due.
func TestClocksApart(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		off := func(d time.Duration) *jobs.Worker {
			return w.worker(jobs.Options{Lease: 30 * time.Millisecond, Clock: func() time.Time { return time.UnixMilli(w.time.Load()).Add(d) }})
		}
		ahead, behind := off(10*time.Hour), off(-10*time.Hour)
		stolen := 0
		ahead.Handle("k", func(context.Context, *jobs.Run) error { stolen++; return nil })
		behind.Handle("k", func(context.Context, *jobs.Run) error {
			// Long enough for the lease to be renewed, by the clock that renewals follow.
			until := time.Now().Add(100 * time.Millisecond)
			for time.Now().Before(until) {
				w.once(ahead)
			}
			return nil
		})
		id := w.add(ahead, "k", "")
		if n := w.once(behind); n != 1 || stolen != 0 {
			t.Errorf("%d taken up, %d stolen", n, stolen)
		}
		if j := w.job(id); !j.Ended() || j.Failed || j.Attempt != 1 {
			t.Errorf("%+v", j)
		}
	})
}

// TestEvery: what is due in each gap is done once in it, however many servers there are and
// whatever their own clocks say; a gap that nobody was there for is left out, a clock that
// goes back makes nothing be done again, and one that failed comes anew in the next gap.
func TestEvery(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		// Five minutes into an hour.
		w.time.Store(1_700_000_100_000 - 1_700_000_100_000%time.Hour.Milliseconds() + 5*time.Minute.Milliseconds())
		ran, failing := 0, false
		var workers []*jobs.Worker
		for i := range 3 {
			off := time.Duration(i*7) * time.Hour
			worker := w.worker(jobs.Options{Clock: func() time.Time { return time.UnixMilli(w.time.Load()).Add(off) }})
			worker.Every("tidy", time.Hour, func(context.Context, *jobs.Run) error {
				ran++
				if failing {
					return jobs.Permanent(errors.New("not today"))
				}
				return nil
			})
			workers = append(workers, worker)
		}
		pass := func(d time.Duration, want int) {
			t.Helper()
			w.time.Add(d.Milliseconds())
			for range 2 {
				for _, worker := range workers {
					w.once(worker)
				}
			}
			if ran != want {
				t.Fatalf("done %d times, want %d", ran, want)
			}
		}
		pass(0, 1)
		pass(54*time.Minute, 1)
		pass(2*time.Minute, 2)
		pass(5*time.Hour, 3)
		pass(-3*time.Hour, 3)
		failing = true
		pass(4*time.Hour, 4)
		pass(30*time.Minute, 4)
		failing = false
		pass(time.Hour, 5)
		// Asking for one out of turn does not stand for one of the clock's.
		w.add(workers[0], "tidy", "")
		pass(0, 6)
		pass(time.Hour, 7)
		// Those of long ago go.
		pass(100*24*time.Hour, 8)
		left := 0
		w.ok(w.s.Jobs(t.Context(), w.org.ID, "tidy", 100, func(*store.Job) error {
			left++
			return nil
		}))
		if left != 1 {
			t.Errorf("%d are kept", left)
		}
		if s := workers[0].Schedule(); len(s) != 1 || s[0].Next(w.time.Load()).UnixMilli() <= w.time.Load() {
			t.Errorf("the schedule is %v", s)
		}
	})
}

// TestNames: two jobs of a kind never have one name, and what has ended long ago is dropped.
func TestNames(t *testing.T) {
	storetest.Each(t, func(t *testing.T, on storetest.Engine) {
		w := newWorld(t, on)
		worker := w.worker(jobs.Options{})
		worker.Handle("k", func(context.Context, *jobs.Run) error { return nil })
		for i := range 6 {
			w.add(worker, "k", fmt.Sprint(i))
			w.once(worker)
			w.time.Add(time.Hour.Milliseconds())
		}
		w.ok(w.s.Write(t.Context(), w.org.ID, 1, func(tx *store.Tx) error {
			if added, err := tx.AddJob(&store.Job{ID: syncengine.ID{1}, Kind: "k", Name: "3"}); added || err != nil {
				t.Errorf("one that was done is there again: %v", err)
			}
			n, err := tx.DropJobs("k", w.time.Load()-3*time.Hour.Milliseconds())
			if n != 3 {
				t.Errorf("%d dropped", n)
			}
			return err
		}))
	})
}
