package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/tandem-response/tandem/syncengine"
)

// Job is something to be done once, by whichever server comes first.
type Job struct {
	// ID of the job, Num its number among the org's, the newest the largest.
	ID  syncengine.ID
	Num uint64
	// Kind says what is done, Name tells two of a kind apart for ever.
	Kind, Name string
	// Person who asked for it, zero for nobody.
	Person syncengine.ID
	// Payload says what exactly, Result what came of it, both in a form of the kind's own;
	// before it has ended, Result is what an attempt has left to the next one.
	Payload, Result []byte
	// CreatedMS, RunAtMS (not before) and EndedMS (0: not yet) are times of the database's
	// clock, on which all servers agree.
	CreatedMS, RunAtMS, EndedMS int64
	// Attempt counts how often it was taken up; LockedBy holds it until LockedUntilMS.
	Attempt       int
	LockedBy      syncengine.ID
	LockedUntilMS int64
	// Cancelled: it is to end, or has ended, without being done.
	Cancelled bool
	// Progress so far, in a unit of the kind's own.
	Progress int64
	// Failed: it has ended without being done. Error is why, or why the last attempt did
	// not succeed; never with personal data.
	Failed bool
	Error  string
}

// Ended reports whether there is nothing left to be done.
func (j *Job) Ended() bool { return j.EndedMS != 0 }

const selectJob = `SELECT id, num, kind, name, person, payload, result, created_ms, run_at_ms, ended_ms, attempt, locked_by, locked_until_ms,
	cancelled, progress, failed, error FROM job WHERE org = $1 `

func (v *view) eachJob(tail string, args []any, f func(*Job) error) error {
	return v.c.each(selectJob+tail, append([]any{v.org.num}, args...), func(rows *sql.Rows) error {
		j := &Job{}
		var num, attempt, cancelled, failed int64
		var person, holder []byte
		if err := rows.Scan((*scanID)(&j.ID), &num, &j.Kind, &j.Name, &person, &j.Payload, &j.Result, &j.CreatedMS, &j.RunAtMS, &j.EndedMS, &attempt,
			&holder, &j.LockedUntilMS, &cancelled, &j.Progress, &failed, &j.Error); err != nil {
			return err
		}
		j.Num, j.Attempt, j.Cancelled, j.Failed = uint64(num), int(attempt), cancelled != 0, failed != 0
		j.Person, _ = syncengine.IDFromBytes(person)
		j.LockedBy, _ = syncengine.IDFromBytes(holder)
		return f(j)
	})
}

func (v *view) firstJob(tail string, args ...any) (found *Job, err error) {
	err = v.eachJob(tail, args, func(j *Job) error {
		found = j
		return nil
	})
	return found, err
}

// Job returns one; nil where there is none.
func (tx *Tx) Job(id syncengine.ID) (*Job, error) { return tx.firstJob("AND id = $2", id[:]) }

// OpenJobs counts those of a kind that a person has asked for and that have not ended.
func (tx *Tx) OpenJobs(kind string, person syncengine.ID) (n int, err error) {
	var count int64
	_, err = tx.c.one("SELECT COUNT(*) FROM job WHERE org = $1 AND ended_ms = 0 AND kind = $2 AND person = $3", []any{tx.org.num, kind, jobID(person)}, &count)
	return int(count), err
}

// OpenJobOf reports whether a job of a kind with a payload has not ended, whoever asked for it.
func (tx *Tx) OpenJobOf(kind string, payload []byte) (bool, error) {
	found, err := tx.firstJob("AND ended_ms = 0 AND kind = $2 AND payload = $3", kind, jobBytes(payload))
	return found != nil, err
}

// NowMS reads the database's clock: what servers judge leases and due times by, since
// their own may differ.
func (v *view) NowMS() (ms int64, err error) {
	if v.s.given {
		return v.s.now().UnixMilli(), nil
	}
	_, err = v.c.one(v.c.d.clock, nil, &ms)
	return ms, err
}

// AddJob stores a new one and gives it its number and the time, and makes it due at once
// where it names none. It reports false, and stores nothing, where there is one of the kind
// with the name, ended or not.
func (tx *Tx) AddJob(j *Job) (added bool, err error) {
	if known, err := tx.firstJob("AND kind = $2 AND name = $3", j.Kind, j.Name); err != nil || known != nil {
		return false, err
	}
	var last int64
	if _, err := tx.c.one("SELECT COALESCE(MAX(num), 0) FROM job WHERE org = $1", []any{tx.org.num}, &last); err != nil {
		return false, err
	}
	j.Num = uint64(last + 1)
	if j.CreatedMS, err = tx.NowMS(); err != nil {
		return false, err
	}
	if j.RunAtMS == 0 {
		j.RunAtMS = j.CreatedMS
	}
	tx.writes++
	return true, tx.c.exec(`INSERT INTO job (org, id, num, kind, name, person, payload, result, created_ms, run_at_ms, ended_ms, attempt, locked_by,
		locked_until_ms, cancelled, progress, total, failed, error) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, $11, 0, 0, 0, 0, 0, '')`,
		tx.org.num, j.ID[:], last+1, j.Kind, j.Name, jobID(j.Person), jobBytes(j.Payload), jobBytes(j.Result), j.CreatedMS, j.RunAtMS, []byte{})
}

// dueJob are those that somebody may take up at a time: they wait for nothing, and nobody
// holds them.
const dueJob = "AND ended_ms = 0 AND run_at_ms <= $2 AND locked_until_ms <= $2 "

// TakeJob takes up the job that has been due the longest, for a holder and so long; nil
// where none is due. Writers of an org come one after another, so no two take the same.
func (tx *Tx) TakeJob(holder syncengine.ID, lease time.Duration) (*Job, error) {
	now, err := tx.NowMS()
	if err != nil {
		return nil, err
	}
	j, err := tx.firstJob(dueJob+"ORDER BY run_at_ms, num LIMIT 1", now)
	if err != nil || j == nil {
		return nil, err
	}
	j.Attempt++
	j.LockedBy, j.LockedUntilMS = holder, now+lease.Milliseconds()
	return j, tx.SaveJob(j)
}

// Holds returns a job if the holder still holds it in an attempt, nil otherwise: then what
// it does is no longer its to do.
func (tx *Tx) Holds(id, holder syncengine.ID, attempt int) (*Job, error) {
	j, err := tx.Job(id)
	if err != nil || j == nil || j.LockedBy != holder || j.Attempt != attempt || j.Ended() {
		return nil, err
	}
	return j, nil
}

// SaveJob stores what a job has come to.
func (tx *Tx) SaveJob(j *Job) error {
	tx.writes++
	return tx.c.exec(`UPDATE job SET result = $3, run_at_ms = $4, ended_ms = $5, attempt = $6, locked_by = $7, locked_until_ms = $8, cancelled = $9,
		progress = $10, failed = $11, error = $12 WHERE org = $1 AND id = $2`,
		tx.org.num, j.ID[:], jobBytes(j.Result), j.RunAtMS, j.EndedMS, int64(j.Attempt), jobID(j.LockedBy), j.LockedUntilMS, boolArg(j.Cancelled),
		j.Progress, boolArg(j.Failed), j.Error)
}

// DropJobs forgets those of a kind that ended before a time, and returns how many.
func (tx *Tx) DropJobs(kind string, beforeMS int64) (n int, err error) {
	var ids [][]byte
	if err := tx.eachJob("AND kind = $2 AND ended_ms > 0 AND ended_ms < $3 ORDER BY num LIMIT 1000", []any{kind, beforeMS}, func(j *Job) error {
		ids = append(ids, j.ID[:])
		return nil
	}); err != nil {
		return 0, err
	}
	for _, id := range ids {
		if err := tx.dropJob(id); err != nil {
			return 0, err
		}
	}
	return len(ids), nil
}

// DropJob forgets a job, however it stands; where there is none nothing happens.
func (tx *Tx) DropJob(id syncengine.ID) error { return tx.dropJob(id[:]) }

func (tx *Tx) dropJob(id []byte) error {
	tx.writes++
	return tx.c.exec("DELETE FROM job WHERE org = $1 AND id = $2", tx.org.num, id)
}

func jobID(id syncengine.ID) []byte {
	if id.IsZero() {
		return []byte{}
	}
	return id[:]
}

func jobBytes(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Jobs calls f for those of an org, the newest first, at most limit; of one kind, or of
// every one for "".
func (s *Store) Jobs(ctx context.Context, org syncengine.ID, kind string, limit int, f func(*Job) error) error {
	o, err := s.Org(ctx, org)
	if err != nil {
		return err
	}
	return s.viewing(ctx, o, func(v *view) error { return v.Jobs(kind, limit, f) })
}

// Jobs is that of the store, in a transaction. f must not use the transaction.
func (v *view) Jobs(kind string, limit int, f func(*Job) error) error {
	if kind == "" {
		return v.eachJob("ORDER BY num DESC LIMIT CAST($2 AS BIGINT)", []any{int64(limit)}, f)
	}
	return v.eachJob("AND kind = $2 ORDER BY num DESC LIMIT CAST($3 AS BIGINT)", []any{kind, int64(limit)}, f)
}

// Job returns one of an org; nil where there is none.
func (s *Store) Job(ctx context.Context, org, id syncengine.ID) (found *Job, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return nil, err
	}
	err = s.viewing(ctx, o, func(v *view) (err error) {
		found, err = v.firstJob("AND id = $2", id[:])
		return err
	})
	return found, err
}

// Due says what of an org's jobs is to be done at a moment.
type Due struct {
	// NowMS is the moment, by the database's clock.
	NowMS int64
	// Waits: a job waits to be taken up.
	Waits bool
}

// JobDue reports whether a job waits to be taken up now. It asks without writing.
func (s *Store) JobDue(ctx context.Context, org syncengine.ID) (due Due, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return due, err
	}
	err = s.viewing(ctx, o, func(v *view) (err error) {
		if due.NowMS, err = v.NowMS(); err != nil {
			return err
		}
		var one int64
		due.Waits, err = v.c.one("SELECT 1 FROM job WHERE org = $1 "+dueJob+"LIMIT 1", []any{v.org.num, due.NowMS}, &one)
		return err
	})
	return due, err
}

// JobNamed reports whether there is a job of a kind whose name is one of [from, to).
func (s *Store) JobNamed(ctx context.Context, org syncengine.ID, kind, from, to string) (found bool, err error) {
	o, err := s.Org(ctx, org)
	if err != nil {
		return false, err
	}
	err = s.viewing(ctx, o, func(v *view) (err error) {
		var one int64
		found, err = v.c.one("SELECT 1 FROM job WHERE org = $1 AND kind = $2 AND name >= $3 AND name < $4 LIMIT 1", []any{v.org.num, kind, from, to}, &one)
		return err
	})
	return found, err
}
