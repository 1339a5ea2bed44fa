package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

type adminReplicaCmd struct {
	List    adminReplicaListCmd    `cmd:"" help:"List every life of a device's store: a copied or restored one has two."`
	Confirm adminReplicaConfirmCmd `cmd:"" help:"Let a store that only sends read again."`
}

func (adminReplicaCmd) Help() string {
	return `A store that was copied, or set back to an older state, gets an id of its own at its next
contact. What it had not sent is sent; it reads nothing until it is confirmed here, or by
tandem enroll with a code of its person.

  tandem admin replica list
  tandem admin replica confirm REPLICA`
}

type adminReplicaListCmd struct {
	dataFlag
	JSON bool `help:"Print one line of JSON for each."`
}

func (adminReplicaListCmd) Help() string {
	return `For example:

  tandem admin replica list --data tandem-data`
}

// replicaState is how a replica stands, in a word.
func replicaState(r *syncengine.Replica) string {
	switch {
	case r.Revoked:
		return "revoked"
	case r.Forked:
		return "forked"
	case r.Unconfirmed && r.Recovered:
		return "recovered, to be confirmed"
	case r.Unconfirmed:
		return "to be confirmed"
	}
	return "active"
}

func (c *adminReplicaListCmd) Run(a *app) error {
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		all, err := ad.Replicas(a.ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			for _, r := range all {
				line := map[string]any{
					"replica": r.ID.String(), "person": r.Person.String(), "device": r.Device.String(),
					"state": replicaState(r), "changes": held(r.Ranges),
				}
				if !r.Replaces.IsZero() {
					line["replaces"] = r.Replaces.String()
				}
				if err := a.json(line); err != nil {
					return err
				}
			}
			return nil
		}
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		for _, r := range all {
			replaces := ""
			if !r.Replaces.IsZero() {
				replaces = "after " + r.Replaces.String()
			}
			fmt.Fprintf(w, "%s\tdevice %s\tperson %s\t%d changes\t%s\t%s\n", r.ID, r.Device, r.Person, held(r.Ranges), replicaState(r), replaces)
		}
		return w.Flush()
	})
}

// held counts the ops of ranges.
func held(ranges []syncengine.OpRange) (n uint64) {
	for _, r := range ranges {
		n += r.Last - r.First + 1
	}
	return n
}

type adminReplicaConfirmCmd struct {
	dataFlag
	Replica string `arg:"" placeholder:"ID" help:"Replica, as the list names it."`
	JSON    bool   `help:"Print one line of JSON."`
}

func (adminReplicaConfirmCmd) Help() string {
	return `Make sure first that the device is in the right hands.

  tandem admin replica confirm REPLICA`
}

func (c *adminReplicaConfirmCmd) Run(a *app) error {
	id, err := ids("REPLICA", c.Replica)
	if err != nil {
		return err
	}
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		if err := ad.ConfirmReplica(a.ctx, id[0]); err != nil {
			if errors.Is(err, server.ErrNoReplica) {
				return exits(exitBadInput, err)
			}
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"replica": id[0].String(), "state": "active"})
		}
		a.say("It reads again at its next contact.")
		return nil
	})
}

type adminRecoverCmd struct {
	Begin   adminRecoverBeginCmd   `cmd:"" help:"Begin a new epoch after restoring the database from a backup."`
	Status  adminRecoverStatusCmd  `cmd:"" help:"Say what came back after a restore, from whom, and who has not reported."`
	Confirm adminRecoverConfirmCmd `cmd:"" help:"Let the server send again, once people, devices and grants are checked."`
}

func (adminRecoverCmd) Help() string {
	return `After a restore the devices send again what the backup lacks, by themselves. The server
takes it in, and sends nothing until an admin has checked who works here: what was
revoked since the backup is to be revoked again.

  tandem admin recover begin
  tandem admin recover status
  tandem admin recover confirm`
}

type adminRecoverBeginCmd struct {
	dataFlag
	TakeBack bool `name:"take-back" help:"The address names an old PostgreSQL primary, in whose place a standby was promoted, and that one is gone: this one is the primary again."`
	JSON     bool `help:"Print one line of JSON."`
}

func (adminRecoverBeginCmd) Help() string {
	return `A server that is set back sees so by itself in most cases; this makes sure. Run it after
restoring the database and before the server starts.

  tandem admin recover begin --data tandem-data`
}

func (c *adminRecoverBeginCmd) Run(a *app) error {
	return c.adminOn(a, store.Options{Replaced: c.TakeBack}, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		if err := ad.BeginRecovery(a.ctx); err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"recovering": true})
		}
		a.say("A new epoch has begun. Start the server: devices send again what it lacks. Then check people, devices and grants, and run tandem admin recover confirm.")
		return nil
	})
}

type adminRecoverStatusCmd struct {
	dataFlag
	JSON bool `help:"Print one line of JSON."`
}

func (adminRecoverStatusCmd) Help() string {
	return `For example:

  tandem admin recover status --data tandem-data`
}

func (c *adminRecoverStatusCmd) Run(a *app) error {
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		r, err := ad.Recovery(a.ctx)
		if err != nil {
			return err
		}
		return a.recovery(r, c.JSON)
	})
}

// recovery prints how far the healing after a restore has come.
func (a *app) recovery(r *server.Recovery, asJSON bool) error {
	if asJSON {
		lines := []map[string]any{}
		for _, one := range r.Replicas {
			lines = append(lines, map[string]any{
				"replica": one.ID.String(), "device": one.Device.String(), "person": one.Person.String(), "state": replicaState(one.Replica),
				"reported": one.Reported, "changes": held(one.Ranges), "missing": one.Waits, "lost": one.LostOps,
			})
		}
		return a.json(map[string]any{"recovering": r.Recovering, "epoch": r.Epoch.String(), "replicas": lines})
	}
	if r.Recovering {
		a.say("The server was set back to an older state. It takes what devices send and sends nothing: check people, devices and grants, then run tandem admin recover confirm.")
	} else {
		a.say("The server works as usual.")
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, one := range r.Replicas {
		what := "has not reported yet"
		switch {
		case one.Reported && one.LostOps > 0:
			what = fmt.Sprintf("has sent all it kept; %d of its changes cannot come back as changes", one.LostOps)
		case one.Reported:
			what = "has sent everything"
		case one.Epoch == r.Epoch:
			what = fmt.Sprintf("has reported, %d of its changes were still to come", one.Waits)
		}
		fmt.Fprintf(w, "%s\tdevice %s\t%d changes\t%s\t%s\n", one.ID, one.Device, held(one.Ranges), replicaState(one.Replica), what)
	}
	return w.Flush()
}

type adminRecoverConfirmCmd struct {
	dataFlag
	JSON bool `help:"Print one line of JSON."`
}

func (adminRecoverConfirmCmd) Help() string {
	return `Only after people, devices and grants have been checked against what was changed since
the backup: from then on the server sends again.

  tandem admin recover confirm --data tandem-data`
}

func (c *adminRecoverConfirmCmd) Run(a *app) error {
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		was, err := ad.ConfirmRecovery(a.ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"recovering": false, "was_recovering": was})
		}
		if !was {
			a.say("There was nothing to confirm.")
			return nil
		}
		a.say("The server sends again.")
		return nil
	})
}
