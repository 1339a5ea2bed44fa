package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
)

type adminDeviceCmd struct {
	List    adminDeviceListCmd    `cmd:"" help:"List the devices, and how orders to wipe them stand."`
	Suspend adminDeviceSuspendCmd `cmd:"" help:"Take nothing from a device and send it nothing, until that is lifted."`
	Lift    adminDeviceLiftCmd    `cmd:"" help:"Lift a suspension."`
	Wipe    adminDeviceWipeCmd    `cmd:"" help:"Order a device to wipe itself at its next contact."`
	Keep    adminDeviceKeepCmd    `cmd:"" help:"Take that order back, before the device has been told."`
}

func (adminDeviceCmd) Help() string {
	return `A device that is lost, or whose person has left, is shut out with tandem admin revoke. One
that is to hold nothing any more is wiped: it is shut out too, and erases itself. One that is
mislaid, or whose person is away, is suspended: it keeps what it has, and that can be lifted.

  tandem admin device list
  tandem admin device suspend DEVICE
  tandem admin device wipe DEVICE --yes
  tandem admin device keep DEVICE`
}

type adminDeviceListCmd struct {
	dataFlag
	JSON bool `help:"Print one line of JSON for each."`
}

func (adminDeviceListCmd) Help() string {
	return `An order to wipe a device is open until each store of it has acknowledged.

  tandem admin device list --data tandem-data`
}

func (c *adminDeviceListCmd) Run(a *app) error {
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		all, err := ad.Devices(a.ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		for _, d := range all {
			if c.JSON {
				if err := a.json(deviceJSON(d)); err != nil {
					return err
				}
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", d.ID, d.Label, d.State, wipeWords(d))
		}
		return w.Flush()
	})
}

// wipeWords says since when a device is suspended, or how the order to wipe it stands; empty
// for neither.
func wipeWords(d *server.DeviceState) string {
	switch {
	case d.OrderedMS == 0 && d.SuspendedMS != 0:
		return "suspended " + ago(d.SuspendedMS)
	case d.OrderedMS == 0:
		return ""
	case d.WipedMS != 0:
		return "wipe ordered " + ago(d.OrderedMS) + ", acknowledged " + ago(d.WipedMS)
	case d.ToldMS != 0 && d.Stores == 1:
		return "wipe ordered " + ago(d.OrderedMS) + ", told " + ago(d.ToldMS)
	case d.Stores > 1:
		return fmt.Sprintf("wipe ordered %s, acknowledged by %d of %d stores", ago(d.OrderedMS), d.Wiped, d.Stores)
	}
	return "wipe ordered " + ago(d.OrderedMS) + ", waits for its next contact"
}

// deviceJSON is the stable form for scripts. Times are absent where nothing was.
func deviceJSON(d *server.DeviceState) map[string]any {
	people := make([]string, 0, len(d.People))
	for _, id := range d.People {
		people = append(people, id.String())
	}
	out := map[string]any{
		"device": d.ID.String(), "label": d.Label, "state": d.State, "staff": people, "stores": d.Stores, "revoked": d.Revoked,
	}
	if d.OrderedMS != 0 {
		out["wipe_ordered"], out["wiped_stores"] = stamp(d.OrderedMS), d.Wiped
	}
	if d.SuspendedMS != 0 {
		out["suspended"] = stamp(d.SuspendedMS)
	}
	if d.ToldMS != 0 {
		out["wipe_told"] = stamp(d.ToldMS)
	}
	if d.WipedMS != 0 {
		out["wipe_acknowledged"] = stamp(d.WipedMS)
	}
	return out
}

type adminDeviceSuspendCmd struct {
	dataFlag
	Device string `arg:"" placeholder:"ID" help:"Device, as the list names it."`
	JSON   bool   `help:"Print one line of JSON."`
}

func (adminDeviceSuspendCmd) Help() string {
	return `From now on nothing is taken from the device and nothing is sent to it; it says so to whoever
holds it. Nothing is removed: what it has not sent stays on it, and is sent once the suspension
is lifted. The suspension stands in the security journal too, so that a database which is set
back to an earlier copy does not end it.

  tandem admin device suspend DEVICE`
}

func (c *adminDeviceSuspendCmd) Run(a *app) error {
	id, err := ids("DEVICE", c.Device)
	if err != nil {
		return err
	}
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		if err := ad.SuspendDevice(a.ctx, id[0]); err != nil {
			return suspension(err)
		}
		if c.JSON {
			return a.json(map[string]any{"device": id[0].String(), "suspended": true})
		}
		a.say("Suspended: the device keeps what it has. tandem admin device lift ends that.")
		return nil
	})
}

// suspension tells what was asked wrongly from what failed.
func suspension(err error) error {
	if errors.Is(err, server.ErrDeviceOut) || errors.Is(err, server.ErrNotSuspended) {
		return exits(exitBadInput, err)
	}
	return err
}

type adminDeviceLiftCmd struct {
	dataFlag
	Device string `arg:"" placeholder:"ID" help:"Device, as the list names it."`
	JSON   bool   `help:"Print one line of JSON."`
}

func (adminDeviceLiftCmd) Help() string {
	return `The device sends what it has not sent, and is sent what it missed, at its next contact.

  tandem admin device lift DEVICE`
}

func (c *adminDeviceLiftCmd) Run(a *app) error {
	id, err := ids("DEVICE", c.Device)
	if err != nil {
		return err
	}
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		if err := ad.LiftDevice(a.ctx, id[0]); err != nil {
			return suspension(err)
		}
		if c.JSON {
			return a.json(map[string]any{"device": id[0].String(), "suspended": false})
		}
		a.say("Lifted: the device works again at its next contact.")
		return nil
	})
}

type adminDeviceWipeCmd struct {
	dataFlag
	Device string `arg:"" placeholder:"ID" help:"Device, as the list names it."`
	Yes    bool   `help:"Do it. Once the device has been told it cannot be taken back."`
	JSON   bool   `help:"Print one line of JSON."`
}

func (adminDeviceWipeCmd) Help() string {
	return `The device is shut out from now on. At its next contact it is told, shows nothing any more,
sends what it had not sent, which goes to quarantine for a lead, destroys its key, removes
its files and acknowledges that. Until then the order stays open: a device that is never
switched on again never hears of it. The order stands in the security journal too.

  tandem admin device wipe DEVICE --yes`
}

var errWipeYes = errors.New("the device erases itself at its next contact, and once it has been told the order cannot be taken back; say --yes to give it")

func (c *adminDeviceWipeCmd) Run(a *app) error {
	id, err := ids("DEVICE", c.Device)
	if err != nil {
		return err
	}
	if !c.Yes {
		return exits(exitUsage, errWipeYes)
	}
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		if err := ad.WipeDevice(a.ctx, id[0]); err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"device": id[0].String(), "wipe": "ordered"})
		}
		a.say("Ordered: the device wipes itself at its next contact. tandem admin device list says when it has.")
		return nil
	})
}

type adminDeviceKeepCmd struct {
	dataFlag
	Device string `arg:"" placeholder:"ID" help:"Device, as the list names it."`
	JSON   bool   `help:"Print one line of JSON."`
}

func (adminDeviceKeepCmd) Help() string {
	return `Takes back the order to wipe a device that has not been told yet: it is let in again, unless it
was shut out before. Once it has been told, be it that the answer was lost on the way, the
order stands, and this says so. Both are in the audit log.

  tandem admin device keep DEVICE`
}

func (c *adminDeviceKeepCmd) Run(a *app) error {
	id, err := ids("DEVICE", c.Device)
	if err != nil {
		return err
	}
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		err := ad.WithdrawWipe(a.ctx, id[0])
		if _, told := errors.AsType[*server.WipeToldError](err); told || errors.Is(err, server.ErrNoWipe) {
			return exits(exitBadInput, err)
		}
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"device": id[0].String(), "wipe": "withdrawn"})
		}
		a.say("Taken back: the device keeps what it holds.")
		return nil
	})
}
