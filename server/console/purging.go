package console

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/jobs"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// The job that proposes what may be purged, and the one that does a purge that two people
// have decided on.
const (
	jobPropose, proposeEvery = "propose", 24 * time.Hour
	jobPurge                 = "purge"
)

// proposals are what may be purged of each agency, by its id.
type proposals struct {
	AtMS     int64                `json:"at"`
	Agencies map[string]*proposal `json:"agencies"`
}

type proposal struct {
	Found     *server.Retention `json:"found"`
	Purgeable int               `json:"purgeable"`
	// List is that of Found, which leaves it out of its own JSON; only the newest proposal has
	// one.
	List []server.Expired `json:"list,omitempty"`
}

// purging has a worker propose what may be purged, each day, and do what was approved. It
// removes nothing that a person has not asked for and another one approved.
func (c *Console) purging(w *jobs.Worker) {
	admin := func(run *jobs.Run) *server.Admin {
		return server.NewAdmin(c.store, run.Org, server.AdminOptions{Clock: c.o.Clock, Rand: c.o.Rand})
	}
	w.Every(jobPropose, proposeEvery, func(ctx context.Context, run *jobs.Run) error {
		done := &proposals{AtMS: c.o.Clock().UnixMilli(), Agencies: map[string]*proposal{}}
		var agencies []syncengine.ID
		err := c.store.EachRecord(ctx, run.Org.ID, c.domain.KindByName("agency").Number, func(rec *syncengine.StoredRecord) error {
			agencies = append(agencies, rec.ID)
			return nil
		})
		if err != nil {
			return err
		}
		for _, agency := range agencies {
			found, err := admin(run).Retention(ctx, agency)
			if err != nil {
				return err
			}
			done.Agencies[agency.String()] = &proposal{Found: found, Purgeable: len(found.Purgeable), List: found.List}
		}
		conclude := func() error {
			return finish(ctx, run, done, nil, func(tx *store.Tx) error {
				if err := unname(tx, run.Job.Num, done); err != nil {
					return err
				}
				return propose(tx, agencies, done)
			})
		}
		err = conclude()
		if errors.Is(err, errNewer) {
			done.unname()
			err = conclude()
		}
		return err
	})
	w.Handle(jobPurge, func(ctx context.Context, run *jobs.Run) error {
		id, ok := syncengine.IDFromBytes(run.Job.Payload)
		if !ok {
			return jobs.Permanent(store.ErrNoPurge)
		}
		p, err := admin(run).DoPurge(ctx, id)
		// Else it was done: by another server, by a command, or by an attempt that did not come
		// to note it.
		var did map[string]int
		switch {
		case err == nil:
			did = map[string]int{"erased": p.Erased, "kept": p.Kept}
		case !errors.Is(err, store.ErrNoPurge):
			return err
		}
		// What was counted before is over.
		again, err := w.New(jobPropose, "", syncengine.ID{}, nil)
		return finish(ctx, run, did, err, func(tx *store.Tx) error {
			_, err := tx.AddJob(again)
			return err
		})
	})
}

func (p *proposals) names() bool {
	for _, one := range p.Agencies {
		if len(one.List) > 0 {
			return true
		}
	}
	return false
}

func (p *proposals) unname() {
	for _, one := range p.Agencies {
		one.List = nil
	}
}

// errNewer: a newer proposal has come to its end first.
var errNewer = errors.New("a newer proposal names who may be purged")

// unname takes out of the proposals before one whom they name: they are in this one, or gone.
// It fails where this one names anybody and is not the newest any more.
func unname(tx *store.Tx, num uint64, done *proposals) error {
	var before []*store.Job
	newer := false
	err := tx.Jobs(jobPropose, mostJobs, func(j *store.Job) error {
		switch made := j.Ended() && !j.Failed && !j.Cancelled; {
		case made && j.Num > num:
			newer = true
		case made && j.Num < num:
			before = append(before, j)
		}
		return nil
	})
	if err == nil && newer && done.names() {
		err = errNewer
	}
	if err != nil {
		return err
	}
	for _, j := range before {
		var all proposals
		if json.Unmarshal(j.Result, &all) != nil || !all.names() {
			continue
		}
		all.unname()
		if j.Result, err = json.Marshal(&all); err != nil {
			return err
		}
		if err := tx.SaveJob(j); err != nil {
			return err
		}
	}
	return nil
}

// propose notes of each agency that something may be purged, where nothing is under way.
func propose(tx *store.Tx, agencies []syncengine.ID, done *proposals) error {
	for _, id := range agencies {
		p := done.Agencies[id.String()]
		open, err := tx.OpenPurges(id)
		if err != nil {
			return err
		}
		if open > 0 || p.Purgeable == 0 {
			continue
		}
		if err := tx.Audit(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_PURGE_PROPOSED, Subject: id[:], Count: uint64(p.Purgeable), Seq: p.Found.Seq}); err != nil {
			return err
		}
	}
	return nil
}
