package main

import (
	"time"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
)

type adminJanitorCmd struct {
	dataFlag
	Allow bool `help:"Let it go on: the server's clock has been looked at and is right."`
	JSON  bool `help:"Print one line of JSON."`
}

func (adminJanitorCmd) Help() string {
	return `The janitor runs in the server. What has been quiet for long leaves the open work, and
a cleared call is locked after three days; nothing is deleted, and each can be taken
back. Where the server's clock went back, or ahead by more than 48 hours, it stops until
an admin has looked at the clock.

  tandem admin janitor
  tandem admin janitor --allow`
}

func (c *adminJanitorCmd) Run(a *app) error {
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		if c.Allow {
			if err := ad.AllowJanitor(a.ctx); err != nil {
				return err
			}
		}
		last, stopped, err := ad.Janitor(a.ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"last_run": when(last), "stopped_at": when(stopped)})
		}
		switch {
		case !stopped.IsZero():
			a.say("Stopped: the server's clock showed %s, and %s when the janitor last ran. Check the clock, then: tandem admin janitor --allow --data %s",
				stopped.Local().Format(time.DateTime), last.Local().Format(time.DateTime), c.Data)
		case last.IsZero():
			a.say("It has not run yet: it does so once the server runs.")
		default:
			a.say("It last ran %s, by the server's clock.", last.Local().Format(time.DateTime))
		}
		return nil
	})
}

// when is a time for scripts; nil for never.
func when(at time.Time) any {
	if at.IsZero() {
		return nil
	}
	return stamp(at.UnixMilli())
}
