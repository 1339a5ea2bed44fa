package main

import (
	"errors"
	"time"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

type adminPurgeCmd struct {
	List    adminPurgeListCmd    `cmd:"" help:"Show what is past its retention, and the purges."`
	Ask     adminPurgeAskCmd     `cmd:"" help:"Ask for a purge of what may be purged now."`
	Approve adminPurgeApproveCmd `cmd:"" help:"Approve a purge that somebody else asked for, and do it."`
	Refuse  adminPurgeRefuseCmd  `cmd:"" help:"Refuse it: nothing is removed."`
}

func (adminPurgeCmd) Help() string {
	return `What is past the time that its agency keeps it is purged when one admin of the agency asks
for it and another approves: it leaves records, history, files and search, and devices drop
it at their next contact. What is under a legal hold, and what waits for somebody (in
quarantine, in conflict, a draft, unreviewed), stays. Nothing brings back what was purged.

  tandem admin purge list
  tandem admin purge ask --as STAFF --reason "past its retention"
  tandem admin purge approve --as OTHER --yes PURGE`
}

type adminPurgeListCmd struct {
	dataFlag
	JSON bool `help:"Print one line of JSON."`
}

func (adminPurgeListCmd) Help() string {
	return `Counts, and removes nothing.

  tandem admin purge list
  tandem admin purge list --json`
}

// purgeJSON is the stable form for scripts.
func purgeJSON(p *store.Purge) map[string]any {
	out := map[string]any{
		"purge": p.ID.String(), "agency": p.Agency.String(), "asked_by": p.AskedBy.String(), "asked_at": stamp(p.AskedMS), "reason": p.Reason,
		"records": len(p.Records), "people": p.People, "calls": p.Calls, "state": purgeState(p), "erased": p.Erased,
	}
	if p.DecidedMS != 0 {
		out["decided_by"], out["decided_at"] = p.DecidedBy.String(), stamp(p.DecidedMS)
	}
	if p.DoneMS != 0 {
		out["done_at"] = stamp(p.DoneMS)
	}
	return out
}

func purgeState(p *store.Purge) string {
	switch {
	case p.DecidedMS == 0:
		return "asked"
	case !p.Approved:
		return "refused"
	case p.DoneMS == 0:
		return "approved"
	}
	return "done"
}

func (a *app) sayPurge(p *store.Purge) {
	a.say("%s  %s  %d people, %d calls, %d records  %s  %s", p.ID, purgeState(p), p.People, p.Calls, len(p.Records), time.UnixMilli(p.AskedMS).Local().Format(time.DateOnly), p.Reason)
}

func (c *adminPurgeListCmd) Run(a *app) error {
	return c.admin(a, func(ad *server.Admin, st *store.Store, org *store.Org) error {
		found, err := ad.Retention(a.ctx, syncengine.ID{})
		if err != nil {
			return err
		}
		all, err := st.Purges(a.ctx, org.ID)
		if err != nil {
			return err
		}
		if c.JSON {
			list := make([]map[string]any, 0, len(all))
			for _, p := range all {
				list = append(list, purgeJSON(p))
			}
			return a.json(map[string]any{"retention": found, "purgeable": len(found.Purgeable), "purges": list})
		}
		a.say("Past their time: %d people and %d calls; of these %d wait for somebody. Besides, under a legal hold: %d.", found.People, found.Calls, found.Waiting, found.Held)
		a.say("May be purged now: %d people and %d calls, %d records.", found.PurgePeople, found.PurgeCalls, len(found.Purgeable))
		for _, p := range all {
			a.sayPurge(p)
		}
		return nil
	})
}

type adminPurgeAskCmd struct {
	asFlag
	Reason string `required:"" help:"Why, in 10 to 300 characters without names."`
}

func (adminPurgeAskCmd) Help() string {
	return `Notes which records may be purged now, for the agency of the admin who asks. Nothing is
removed before another one approves.

  tandem admin purge ask --as STAFF --reason "past its retention"`
}

func (c *adminPurgeAskCmd) Run(a *app) error {
	return c.purging(a, "", func(ad *server.Admin, as, _ syncengine.ID) (*store.Purge, error) {
		return ad.AskPurge(a.ctx, as, c.Reason)
	})
}

type adminPurgeApproveCmd struct {
	asFlag
	Yes   bool   `help:"Do it: what is purged cannot be brought back."`
	Purge string `arg:"" help:"Id of the purge, as tandem admin purge list prints it."`
}

func (adminPurgeApproveCmd) Help() string {
	return `Of the records that were asked for, those that may still be purged are erased. The database
is rewritten after that, and takes no writes meanwhile: for a large one choose a quiet hour.
Where it is broken off, the same command goes on.

  tandem admin purge approve --as OTHER --yes PURGE`
}

var errPurgeYes = errors.New("what is purged cannot be brought back: look at tandem admin purge list, then say --yes")

func (c *adminPurgeApproveCmd) Run(a *app) error {
	if !c.Yes {
		return exits(exitUsage, errPurgeYes)
	}
	return c.purging(a, c.Purge, func(ad *server.Admin, as, id syncengine.ID) (*store.Purge, error) {
		return ad.DecidePurge(a.ctx, as, id, true)
	})
}

type adminPurgeRefuseCmd struct {
	asFlag
	Purge string `arg:"" help:"Id of the purge, as tandem admin purge list prints it."`
}

func (adminPurgeRefuseCmd) Help() string {
	return `For example:

  tandem admin purge refuse --as OTHER PURGE`
}

func (c *adminPurgeRefuseCmd) Run(a *app) error {
	return c.purging(a, c.Purge, func(ad *server.Admin, as, id syncengine.ID) (*store.Purge, error) {
		return ad.DecidePurge(a.ctx, as, id, false)
	})
}

// purging runs do as a member of staff, on one purge where there is one, and prints it.
func (f *asFlag) purging(a *app, purge string, do func(ad *server.Admin, as, id syncengine.ID) (*store.Purge, error)) error {
	as, err := ids("--as", f.As)
	if err != nil {
		return err
	}
	var id syncengine.ID
	if purge != "" {
		if id, err = syncengine.ParseID(purge); err != nil {
			return exits(exitUsage, errors.New("want the id of a purge, as tandem admin purge list prints it"))
		}
	}
	return f.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		p, err := do(ad, as[0], id)
		for _, known := range []error{server.ErrNothingToPurge, server.ErrPurgeNobody, server.ErrPurgeOpen, server.ErrPurgeOwn, server.ErrPurgeMoved, store.ErrNoPurge} {
			if errors.Is(err, known) {
				return exits(exitBadInput, known)
			}
		}
		if _, ok := errors.AsType[*server.InvalidError](err); ok {
			return exits(exitBadInput, err)
		}
		if err != nil {
			return err
		}
		if f.JSON {
			return a.json(purgeJSON(p))
		}
		a.sayPurge(p)
		return nil
	})
}
