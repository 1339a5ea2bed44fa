package bulk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/jobs"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// Kind is that of jobs that are exports.
const Kind = "export"

// Errors of exports that are asked for.
var (
	// ErrNone says that there is no such export, or that it is another person's, or gone.
	ErrNone = errors.New("there is no such export: it may have expired")
	// ErrRunning says that the person has one under way.
	ErrRunning = errors.New("an export that you asked for is under way: wait for it, or delete it")
	// ErrElsewhere says that the files are not where this server looks.
	ErrElsewhere = errors.New("the files are on the disk of another server: give the servers one directory of exports")
)

// Options are those of exports.
type Options struct {
	// Dir is where their files lie; it is made.
	Dir string
	// Keep is how long an export can be fetched; 0 is a day.
	Keep time.Duration
	// Generator is the version of the program.
	Generator string
	Log       zerolog.Logger
	// Clock is the wall clock, nil for the system's.
	Clock func() time.Time
}

// Exports makes exports as jobs. Safe for concurrent use.
type Exports struct {
	store  *store.Store
	worker *jobs.Worker
	o      Options
}

// New returns them; the worker does them from then on.
func New(st *store.Store, worker *jobs.Worker, o Options) (*Exports, error) {
	if o.Keep <= 0 {
		o.Keep = 24 * time.Hour
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of exports: %w", err)
	}
	e := &Exports{store: st, worker: worker, o: o}
	worker.Handle(Kind, e.run)
	worker.Over(Kind, func(id syncengine.ID) {
		if err := e.discard(id); err != nil {
			e.o.Log.Error().Stringer("export", id).Err(err).Msg("export's files not removed")
		}
	})
	return e, nil
}

// Done is what an export came to.
type Done struct {
	// Key opens the files.
	Key string `json:"key"`
	// AtMS is when the state was that was exported.
	AtMS     int64            `json:"at_ms"`
	Manifest *export.Manifest `json:"manifest"`
	// Fetched says of each file, by its name in the manifest, what it is as it is fetched.
	Fetched map[string]Fetched `json:"fetched,omitempty"`
	// Kept is what an attempt that was broken off leaves to the next one.
	Kept *export.Kept `json:"kept,omitempty"`
}

// begun is what an earlier attempt has left, or a new beginning with a key of its own.
func begun(j *store.Job) (*Done, *age.X25519Identity, error) {
	done := &Done{}
	if len(j.Result) > 0 && json.Unmarshal(j.Result, done) == nil {
		if identity, err := age.ParseX25519Identity(done.Key); err == nil {
			if done.Fetched == nil {
				done.Fetched = map[string]Fetched{}
			}
			return done, identity, nil
		}
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, nil, err
	}
	return &Done{Key: identity.String(), Fetched: map[string]Fetched{}}, identity, nil
}

// Ask has an export made for a person, under the person's rights. What is not allowed, and
// what makes no sense, is refused here; the error is one of package export, or
// ErrRunning.
func (e *Exports) Ask(ctx context.Context, org *store.Org, person syncengine.ID, r Request) (syncengine.ID, error) {
	payload, err := json.Marshal(r)
	if err != nil {
		return syncengine.ID{}, err
	}
	j, err := e.worker.New(Kind, "", person, payload)
	if err != nil {
		return j.ID, err
	}
	o, err := r.options(j.ID, person)
	if err != nil {
		return j.ID, err
	}
	if err := r.note(j.ID, person).CheckExport(); err != nil {
		return j.ID, err
	}
	if err := export.Check(ctx, e.store, org, o); err != nil {
		return j.ID, err
	}
	err = e.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
		open, err := tx.OpenJobs(Kind, person)
		if err != nil {
			return err
		}
		if open > 0 {
			return ErrRunning
		}
		_, err = tx.AddJob(j)
		return err
	})
	e.worker.Wake()
	return j.ID, err
}

// dir is where an export's files lie.
func (e *Exports) dir(id syncengine.ID) string { return filepath.Join(e.o.Dir, id.String()) }

// run makes an export. Where that ends without one, the files that were kept go, as their key
// goes from the job.
func (e *Exports) run(ctx context.Context, run *jobs.Run) error {
	err := e.attempt(ctx, run)
	if errors.Is(err, errFell) {
		// What was kept is gone: this begins anew, once, as of a later moment.
		err = e.attempt(ctx, run)
	}
	if export.Refused(err) || errors.Is(err, ErrGrown) {
		err = jobs.Permanent(err)
	}
	if err != nil && run.Last(ctx, err) {
		err = errors.Join(err, e.discard(run.Job.ID))
	}
	return err
}

// discard removes all that there is of an export.
func (e *Exports) discard(id syncengine.ID) error {
	return errors.Join(os.RemoveAll(e.dir(id)), export.Discard(e.dir(id)))
}

// errFell says that an export was made of what does not stand any more.
var errFell = errors.New("something was erased by law, or a record or the rights of those who export changed, while the export was made: it begins anew")

func (e *Exports) attempt(ctx context.Context, run *jobs.Run) error {
	var r Request
	if err := json.Unmarshal(run.Job.Payload, &r); err != nil {
		return jobs.Permanent(errors.New("what was asked for cannot be read"))
	}
	o, err := r.options(run.Job.ID, run.Job.Person)
	if err != nil {
		return jobs.Permanent(err)
	}
	since, err := e.since(ctx, run.Org, r.SinceMS)
	if err != nil {
		return err
	}
	o.Since = max(o.Since, since)
	to, err := r.recipients()
	if err != nil {
		return jobs.Permanent(err)
	}
	done, identity, err := begun(&run.Job)
	if err != nil {
		return err
	}
	admin := server.NewAdmin(e.store, run.Org, server.AdminOptions{Clock: e.o.Clock})
	note, read := r.note(run.Job.ID, run.Job.Person), int64(0)
	o.Generator = e.o.Generator
	o.Encrypt = func(name string, w io.Writer) (io.WriteCloser, error) {
		return seal(w, identity.Recipient(), to, func(f Fetched) { done.Fetched[name] = f })
	}
	o.AtRest = len(to) == 0
	o.Progress = func(n int) {
		read += int64(n)
		run.Progress(read)
		e.o.Log.Debug().Stringer("export", run.Job.ID).Int64("records", read).Msg("export under way")
	}
	o.Begin = func(cut export.Cut) error {
		note.Teams, note.Seq, note.What = cut.Teams, cut.Seq, cut.What
		if r.outgrown(cut.People) {
			return ErrGrown
		}
		// Who asks for what has changed since asks from there.
		return e.mark(ctx, run.Org, done.AtMS, cut.Seq)
	}
	var digest syncengine.Hash
	o.End = func(_ *export.Manifest, of syncengine.Hash) error {
		digest = of
		return nil
	}
	e.resume(ctx, run, &o, done, identity)
	// An attempt that was killed after its last file.
	if err := os.RemoveAll(e.dir(run.Job.ID)); err != nil {
		return err
	}
	if done.Manifest, err = export.Write(ctx, e.store, run.Org, e.dir(run.Job.ID), o); err != nil {
		return err
	}
	kept := done.Kept
	done.Kept = nil
	result, err := json.Marshal(done)
	if err != nil {
		return err
	}
	still, err := export.Stands(ctx, e.store, run.Org, e.dir(run.Job.ID), o, kept)
	if err != nil {
		return err
	}
	// Until it is finished nobody is given the key: an attempt that was broken off has passed
	// nothing on, and is not accounted for.
	if err := run.Finish(ctx, result, func(tx *store.Tx) error {
		if stands, err := still(tx); err != nil {
			return err
		} else if !stands {
			return errFell
		}
		return admin.DiscloseExport(tx, note, done.Manifest.Records, digest)
	}); err != nil {
		if errors.Is(err, errFell) {
			err = errors.Join(err, e.discard(run.Job.ID))
		}
		return err
	}
	// The spool, whose key has gone with that.
	if err := export.Discard(e.dir(run.Job.ID)); err != nil {
		e.o.Log.Error().Stringer("export", run.Job.ID).Err(err).Msg("export's spool not removed")
	}
	return nil
}

// resume has an export go on from what an earlier attempt has kept, and keep what this one
// finishes.
func (e *Exports) resume(ctx context.Context, run *jobs.Run, o *export.Options, done *Done, identity age.Identity) {
	o.Kept = done.Kept
	o.Whole = func(path string, f export.File) bool { return whole(path, identity, done.Fetched[f.Name]) }
	o.Keep = func(k *export.Kept) error {
		if done.Kept = k; k.Parts == 0 && k.Within == nil {
			// By then all that is in the state had been accepted.
			done.AtMS = e.o.Clock().UnixMilli()
		}
		text, err := json.Marshal(done)
		if err != nil {
			return err
		}
		if err := run.Keep(ctx, text); err != nil {
			return err
		}
		if k.Within != nil {
			e.o.Log.Debug().Stringer("export", run.Job.ID).Int64("held", k.Records).Msg("export's place kept")
			return nil
		}
		e.o.Log.Info().Stringer("export", run.Job.ID).Int("part", k.Parts).Msg("export part kept")
		return nil
	}
}

// since is the sequence up to which everything had been accepted at a time.
func (e *Exports) since(ctx context.Context, org *store.Org, ms int64) (seq uint64, err error) {
	if ms == 0 {
		return 0, nil
	}
	err = e.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
		_, seq, _, err = tx.MarkBefore(ms)
		return err
	})
	return seq, err
}

// mark notes where the history stood.
func (e *Exports) mark(ctx context.Context, org *store.Org, ms int64, seq uint64) error {
	return e.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error { return tx.SaveMark(ms, seq) })
}

// Get returns the job of a person's export and, once it is done, what it came to. The error
// is ErrNone where there is none, or no longer.
func (e *Exports) Get(ctx context.Context, org *store.Org, person, id syncengine.ID) (*store.Job, *Request, *Done, error) {
	j, err := e.store.Job(ctx, org.ID, id)
	if err != nil {
		return nil, nil, nil, err
	}
	if j == nil || j.Kind != Kind || j.Person != person || j.Cancelled || e.expired(j) {
		return nil, nil, nil, ErrNone
	}
	r, done := &Request{}, &Done{}
	if err := json.Unmarshal(j.Payload, r); err != nil {
		return nil, nil, nil, err
	}
	if !j.Ended() || j.Failed {
		return j, r, nil, nil
	}
	return j, r, done, json.Unmarshal(j.Result, done)
}

func (e *Exports) expired(j *store.Job) bool {
	return j.Ended() && e.o.Clock().UnixMilli() > j.EndedMS+e.o.Keep.Milliseconds()
}

// Delete ends an export, and removes what there is of it.
func (e *Exports) Delete(ctx context.Context, org *store.Org, person, id syncengine.ID) error {
	if _, _, _, err := e.Get(ctx, org, person, id); err != nil {
		return err
	}
	if _, err := e.worker.Cancel(ctx, org.ID, id); err != nil {
		return err
	}
	if err := e.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
		j, err := tx.Job(id)
		if err != nil || j == nil || !j.Ended() {
			return err
		}
		// Without its key what may be left of it says nothing.
		j.Cancelled, j.Result = true, nil
		return tx.SaveJob(j)
	}); err != nil {
		return err
	}
	return e.discard(id)
}

// Tend removes exports that have expired, or were deleted at another server, now and each
// hour, until ctx ends.
func (e *Exports) Tend(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := e.Sweep(ctx); err != nil && ctx.Err() == nil {
			e.o.Log.Error().Err(err).Msg("exports not swept")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Sweep removes the files of exports that nobody can fetch any more, and forgets those that
// have expired.
func (e *Exports) Sweep(ctx context.Context) error {
	orgs, err := e.store.Orgs(ctx)
	if err != nil {
		return err
	}
	// The files first: an export that begins meanwhile is none of those that are removed.
	entries, err := os.ReadDir(e.o.Dir)
	if err != nil {
		return err
	}
	// Of those that are done the spool may be there still.
	keep, done := map[string]bool{}, map[string]bool{}
	for _, org := range orgs {
		if err := e.store.Write(ctx, org.ID, 1, func(tx *store.Tx) error {
			_, err := tx.DropJobs(hereKind, e.o.Clock().Add(-hereFor).UnixMilli())
			return errors.Join(err, tx.DropApprovals(e.o.Clock().Add(-Waits).UnixMilli()))
		}); err != nil {
			return err
		}
		over := false
		if err := e.store.Jobs(ctx, org.ID, Kind, 10_000, func(j *store.Job) error {
			if !j.Ended() || !j.Cancelled && !j.Failed && !e.expired(j) {
				keep[j.ID.String()], done[j.ID.String()] = true, j.Ended()
			}
			over = over || e.expired(j)
			return nil
		}); err != nil {
			return err
		}
		if over {
			if err := e.drop(ctx, org.ID); err != nil {
				return err
			}
		}
	}
	for _, f := range entries {
		name := f.Name()
		if id, err := syncengine.ParseID(name[:min(len(name), 26)]); err == nil && (!keep[id.String()] || done[id.String()] && name != id.String()) {
			err = os.RemoveAll(filepath.Join(e.o.Dir, name))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// drop forgets the exports of an org that have expired, with their keys.
func (e *Exports) drop(ctx context.Context, org syncengine.ID) error {
	before := e.o.Clock().Add(-e.o.Keep).UnixMilli()
	for n := 1; n > 0; {
		if err := e.store.Write(ctx, org, 1, func(tx *store.Tx) (err error) {
			n, err = tx.DropJobs(Kind, before)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}
