package main

import (
	"errors"
	"strings"
	"time"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

type lookupCmd struct {
	Get    lookupGetCmd    `cmd:"" help:"Ask the server for a record that this device does not hold."`
	List   lookupListCmd   `cmd:"" help:"List what was looked up within the last 24 hours."`
	Forget lookupForgetCmd `cmd:"" help:"Remove what was looked up from this device now."`
}

func (lookupCmd) Help() string {
	return `A device holds its teams' records. What else its person may read, as a person's earlier
visits with another team of the program, is asked for one at a time, with a reason that the
server keeps. It stays on the device for 24 hours, is read and not written, and is shown with
the time of the lookup.

  tandem lookup get --store ~/car12 --reason "on the way to a call" 01JC4Z0V6M1T7K2B9QH3X8RDNE
  tandem lookup list --store ~/car12`
}

type lookupGetCmd struct {
	storeFlag
	Record string `arg:"" help:"Id of the record."`
	About  bool   `help:"Also what is about it: the visits, referrals and notes of a person, the visits of a call."`
	Reason string `required:"" help:"Why; the server keeps it with your name."`
	JSON   bool   `help:"Print one line of JSON for each record."`
}

func (lookupGetCmd) Help() string {
	return `For example:

  tandem lookup get --store ~/car12 --about --reason "follow-up visit" 01JC4Z0V6M1T7K2B9QH3X8RDNE`
}

func (c *lookupGetCmd) Run(a *app) (err error) {
	id, err := syncengine.ParseID(strings.ToUpper(c.Record))
	if err != nil {
		return exits(exitUsage, errors.New("want the id of a record: 26 letters and digits"))
	}
	dev, err := c.open(a, false, client.Options{})
	if err != nil {
		return err
	}
	defer closing(dev, &err)
	found, err := dev.Lookup(a.ctx, id, c.About, c.Reason)
	if errors.Is(err, client.ErrNothing) || errors.Is(err, client.ErrReason) {
		return exits(exitBadInput, err)
	}
	if err != nil {
		return err
	}
	if err := a.finds(found.Records, c.JSON, true); err != nil {
		return err
	}
	if found.More && !c.JSON {
		a.say("There is more: look up one of these for what is about it.")
	}
	return nil
}

// finds prints what was looked up; whole: with its values.
func (a *app) finds(views []*client.View, asJSON, whole bool) error {
	for _, v := range views {
		kind := "record"
		if v.Kind != nil {
			kind = v.Kind.Name
		}
		if asJSON {
			out := map[string]any{"record": v.ID.String(), "kind": kind, "lifecycle": v.Lifecycle, "looked_up_at": stamp(v.LookedUpMS)}
			if whole {
				out["values"] = valueText(v.Message)
			}
			if err := a.json(out); err != nil {
				return err
			}
			continue
		}
		a.say("%s %s, looked up %s", kind, v.ID, time.UnixMilli(v.LookedUpMS).Local().Format("2006-01-02 15:04"))
		if text := valueText(v.Message); whole && text != "" {
			a.say("  %s", strings.ReplaceAll(text, "\n", "\n  "))
		}
	}
	return nil
}

type lookupListCmd struct {
	storeFlag
	JSON bool `help:"Print one line of JSON for each record."`
}

func (lookupListCmd) Help() string {
	return `For example:

  tandem lookup list --store ~/car12`
}

func (c *lookupListCmd) Run(a *app) (err error) {
	dev, err := c.open(a, false, client.Options{})
	if err != nil {
		return err
	}
	defer closing(dev, &err)
	views, err := dev.LookedUp(a.ctx)
	if err != nil {
		return err
	}
	if len(views) == 0 && !c.JSON {
		a.say("Nothing was looked up within the last 24 hours.")
	}
	return a.finds(views, c.JSON, false)
}

type lookupForgetCmd struct {
	storeFlag
	JSON bool `help:"Print one line of JSON."`
}

func (lookupForgetCmd) Help() string {
	return `They leave every file of the store. They can be looked up again.

  tandem lookup forget --store ~/car12`
}

func (c *lookupForgetCmd) Run(a *app) (err error) {
	dev, err := c.open(a, false, client.Options{})
	if err != nil {
		return err
	}
	defer closing(dev, &err)
	n, err := dev.ForgetLookups(a.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.json(map[string]any{"forgotten": n})
	}
	a.say("Forgot %d records.", n)
	return nil
}

type adminLookupsCmd struct {
	dataFlag
	Limit int  `default:"200" help:"How many lines, the newest first."`
	JSON  bool `help:"Print JSON, one line each."`
}

func (adminLookupsCmd) Help() string {
	return `What people read beyond what their devices hold, with their reasons. Ids stand for
records and people; "tandem admin list" names the people.

  tandem admin lookups
  tandem admin lookups --limit 20 --json`
}

func (c *adminLookupsCmd) Run(a *app) error {
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		none := true
		err := ad.Lookups(a.ctx, c.Limit, func(l *store.LoggedLookup) error {
			none = false
			if c.JSON {
				return a.json(map[string]any{
					"at": stamp(l.AtMS), "person": l.Person.String(), "replica": l.Replica.String(), "record": l.Record.String(),
					"about": l.About, "found": l.Found, "reason": l.Reason,
				})
			}
			a.say("%s  %s looked up %s, %d found: %q", time.UnixMilli(l.AtMS).Local().Format("2006-01-02 15:04"), l.Person, l.Record, l.Found, l.Reason)
			return nil
		})
		if none && err == nil && !c.JSON {
			a.say("Nobody has looked anything up.")
		}
		return err
	})
}
