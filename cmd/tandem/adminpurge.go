package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

type adminPurgeCmd struct {
	List    adminPurgeListCmd    `cmd:"" help:"Show what is past its retention, and the purges."`
	Ask     adminPurgeAskCmd     `cmd:"" help:"Ask for a purge of what may be purged now."`
	Approve adminPurgeApproveCmd `cmd:"" help:"Approve a purge that somebody else asked for, and do it."`
	Refuse  adminPurgeRefuseCmd  `cmd:"" help:"Refuse it, or take back one's own: nothing is removed."`
	Show    adminPurgeShowCmd    `cmd:"" help:"Print the certificate of a purge."`
}

func (adminPurgeCmd) Help() string {
	return `What is past the time that its agency keeps it is purged when one admin of the agency asks
for it and another approves: it leaves records, history, files and search, and devices drop
it at their next contact. What is under a legal hold, what waits for somebody (in quarantine,
in conflict, a draft, unreviewed) and what another agency has too stays. Nothing brings back
what was purged.

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
		out["done_at"], out["kept"] = stamp(p.DoneMS), p.Kept
	}
	kinds := map[string]int{}
	for kind, n := range p.ByKind {
		kinds[kindName(kind)] += n
	}
	out["erased_by_kind"] = kinds
	return out
}

// kindName is the name of a kind.
func kindName(number uint32) string {
	if kind := record.New().Kind(number); kind != nil {
		return kind.Name
	}
	return fmt.Sprintf("kind %d", number)
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
		a.say("Kept besides, since another agency has them too, or nobody that is known: %d.", found.Shared)
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
Where it is broken off, the same command goes on, also of another admin than whoever asked.

  tandem admin purge approve --as OTHER --yes PURGE`
}

var (
	errPurgeID     = errors.New("want the id of a purge, as tandem admin purge list prints it")
	errNoSuchPurge = errors.New("there is no purge of that id: tandem admin purge list shows them")
)

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

type adminPurgeShowCmd struct {
	dataFlag
	JSON  bool   `help:"Print one line of JSON."`
	Purge string `arg:"" help:"Id of the purge, as tandem admin purge list prints it."`
}

func (adminPurgeShowCmd) Help() string {
	return `What was purged, as a page to keep or to print: how many records of each kind, when, at whose
word (ids of staff) and why. It names nobody of whom something was purged.

  tandem admin purge show PURGE
  tandem admin purge show PURGE --json`
}

func (c *adminPurgeShowCmd) Run(a *app) error {
	id, err := syncengine.ParseID(c.Purge)
	if err != nil {
		return exits(exitUsage, errPurgeID)
	}
	return c.admin(a, func(_ *server.Admin, st *store.Store, org *store.Org) error {
		all, err := st.Purges(a.ctx, org.ID)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(p *store.Purge) bool { return p.ID == id })
		if i < 0 {
			return exits(exitBadInput, errNoSuchPurge)
		}
		if c.JSON {
			return a.json(purgeJSON(all[i]))
		}
		a.certify(all[i])
		return nil
	})
}

// certify prints the certificate of a purge.
func (a *app) certify(p *store.Purge) {
	a.say("Purge %s: %s", p.ID, purgeState(p))
	a.say("Agency        %s", p.Agency)
	a.say("Asked for     %s by %s: %s", stamp(p.AskedMS), p.AskedBy, p.Reason)
	a.say("              %d people, %d calls, %d records that were past their retention", p.People, p.Calls, len(p.Records))
	if p.DecidedMS != 0 {
		word := "Refused      "
		if p.Approved {
			word = "Approved     "
		}
		a.say("%s %s by %s", word, stamp(p.DecidedMS), p.DecidedBy)
	}
	if !p.Approved {
		return
	}
	a.say("Erased        %d records", p.Erased)
	for _, kind := range slices.Sorted(maps.Keys(p.ByKind)) {
		a.say("              %6d  %s", p.ByKind[kind], kindName(kind))
	}
	if p.DoneMS != 0 {
		a.say("Done          %s; %d of the records that were asked for had to stay", stamp(p.DoneMS), p.Kept)
	}
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
			return exits(exitUsage, errPurgeID)
		}
	}
	return f.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		p, err := do(ad, as[0], id)
		for _, known := range []error{server.ErrNothingToPurge, server.ErrPurgeNobody, server.ErrPurgeOpen, server.ErrPurgeOwn, server.ErrPurgeMoved, server.ErrPurgeAsker, server.ErrPurgeUnsettled, server.ErrPurgeRecovering, store.ErrNoPurge} {
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
