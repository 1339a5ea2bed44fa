package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine/record"
)

type adminRevokeCmd struct {
	dataFlag
	Staff  string `placeholder:"ID" help:"Person to shut out, with every device that was enrolled for the person."`
	Device string `placeholder:"ID" help:"Device to shut out."`
	JSON   bool   `help:"Print one line of JSON."`
}

func (adminRevokeCmd) Help() string {
	return `Who is shut out is sent nothing any more. What a device of theirs has not sent yet is kept
in quarantine for a lead. It stands in the security journal too, so that a database which is
set back to an earlier copy lets nobody in again.

  tandem admin revoke --staff STAFF
  tandem admin revoke --device DEVICE`
}

func (c *adminRevokeCmd) Run(a *app) error {
	if (c.Staff == "") == (c.Device == "") {
		return exits(exitUsage, errors.New("say who is shut out, with either --staff or --device"))
	}
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		if c.Staff != "" {
			id, err := ids("--staff", c.Staff)
			if err != nil {
				return err
			}
			if err := ad.RevokePerson(a.ctx, id[0]); err != nil {
				return err
			}
			return a.revoked(c.JSON, "staff", c.Staff)
		}
		id, err := ids("--device", c.Device)
		if err != nil {
			return err
		}
		if err := ad.RevokeDevice(a.ctx, id[0]); err != nil {
			return err
		}
		return a.revoked(c.JSON, "device", c.Device)
	})
}

func (a *app) revoked(asJSON bool, kind, id string) error {
	if asJSON {
		return a.json(map[string]any{kind: id, "revoked": true})
	}
	a.say("Shut out: %s %s.", kind, id)
	return nil
}

type adminWitnessCmd struct {
	List adminWitnessListCmd `cmd:"" help:"List records that devices kept from a lost part of the history."`
}

func (adminWitnessCmd) Help() string {
	return `For example:

  tandem admin witness list`
}

type adminWitnessListCmd struct {
	dataFlag
	JSON bool `help:"Print one line of JSON for each record."`
}

func (adminWitnessListCmd) Help() string {
	return `After the database was set back, devices bring what they still have of the time that was
lost. A record leaves the list by itself when the changes that made it have come again; what
stays is for a lead to look at.

  tandem admin witness list`
}

func (c *adminWitnessListCmd) Run(a *app) error {
	return c.admin(a, func(_ *server.Admin, st *store.Store, org *store.Org) error {
		open, err := st.Witnesses(a.ctx, org.ID)
		if err != nil {
			return err
		}
		domain := record.New()
		name := func(kind uint32) string {
			if k := domain.Kind(kind); k != nil {
				return k.Name
			}
			return fmt.Sprintf("kind %d", kind)
		}
		if c.JSON {
			for _, w := range open {
				err := a.json(map[string]any{
					"record": w.ID.String(), "kind": name(w.Kind), "hash": fmt.Sprintf("%016x", uint64(w.Hash)),
					"replica": w.Replica.String(), "taken_at": stamp(w.TakenMS), "bytes": len(w.Body),
				})
				if err != nil {
					return err
				}
			}
			return nil
		}
		if len(open) == 0 {
			a.say("None is open.")
			return nil
		}
		t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		for _, w := range open {
			fmt.Fprintf(t, "%s\t%s\t%d B\tfrom replica %s\t%s\n", name(w.Kind), w.ID, len(w.Body), w.Replica, ago(w.TakenMS))
		}
		return t.Flush()
	})
}
