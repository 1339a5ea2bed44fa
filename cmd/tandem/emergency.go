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

type emergencyCmd struct {
	Open emergencyOpenCmd `cmd:"" help:"Open one person's record for 60 minutes, with a reason that a lead reads."`
}

func (emergencyCmd) Help() string {
	return `Where somebody's life may hang on what is written of them: opens that one person's record,
what this device holds of it and, with signal, what other teams of the agency wrote. Works
without signal too, also where charts are closed. The server keeps who, when and why, and a
lead reviews it.

  tandem emergency open --store ~/car12 --reason "unconscious, need allergies" 01JC4Z0V6M1T7K2B9QH3X8RDNE`
}

type emergencyOpenCmd struct {
	storeFlag
	Person string `arg:"" help:"Id of the person's record."`
	Reason string `required:"" help:"What the emergency is, in at least 10 characters."`
	JSON   bool   `help:"Print one line of JSON for each record."`
}

func (emergencyOpenCmd) Help() string {
	return `For example:

  tandem emergency open --store ~/car12 --reason "unconscious, need allergies" 01JC4Z0V6M1T7K2B9QH3X8RDNE`
}

func (c *emergencyOpenCmd) Run(a *app) (err error) {
	person, err := syncengine.ParseID(strings.ToUpper(c.Person))
	if err != nil {
		return exits(exitUsage, errors.New("want the id of a person's record: 26 letters and digits"))
	}
	dev, err := c.open(a, false, client.Options{})
	if err != nil {
		return err
	}
	defer closing(dev, &err)
	e, err := dev.BreakGlass(a.ctx, person, c.Reason)
	if errors.Is(err, client.ErrNothing) || errors.Is(err, client.ErrEmergencyReason) || errors.Is(err, syncengine.ErrNoEmergency) {
		return exits(exitBadInput, err)
	}
	if err != nil {
		return err
	}
	for _, v := range e.Records {
		kind := "record"
		if v.Kind != nil {
			kind = v.Kind.Name
		}
		if c.JSON {
			err := a.json(map[string]any{
				"emergency": e.ID.String(), "until": stamp(e.UntilMS), "offline": e.Offline, "record": v.ID.String(), "kind": kind,
				"lifecycle": v.Lifecycle, "held": v.LookedUpMS == 0, "values": valueText(v.Message),
			})
			if err != nil {
				return err
			}
			continue
		}
		a.say("%s %s", kind, v.ID)
		if text := valueText(v.Message); text != "" {
			a.say("  %s", strings.ReplaceAll(text, "\n", "\n  "))
		}
	}
	if c.JSON {
		return nil
	}
	a.say("Open until %s. A lead will ask about it.", time.UnixMilli(e.UntilMS).Local().Format("15:04"))
	if e.Offline {
		a.say("The server could not be asked: this is what the device holds. It is told with the next sync.")
	}
	if e.More {
		a.say("There is more than is sent at once: look it up by its id.")
	}
	return nil
}

type adminEmergencyCmd struct {
	List   adminEmergencyListCmd   `cmd:"" help:"List emergencies in which somebody opened a person's record."`
	Review adminEmergencyReviewCmd `cmd:"" help:"Note what a lead has found of one."`
}

func (adminEmergencyCmd) Help() string {
	return `Whoever opens a person's record in an emergency says why. A lead of a program that they work
in reviews it, once; nobody reviews their own. tandem status tells a lead how many wait.

  tandem admin emergency list
  tandem admin emergency list --as STAFF
  tandem admin emergency review --as STAFF --justified EMERGENCY --note "spoke with her and the nurse"`
}

type adminEmergencyListCmd struct {
	dataFlag
	As    string `placeholder:"STAFF" help:"Only those that this lead is to review."`
	All   bool   `help:"Also those that were reviewed."`
	Limit int    `default:"200" help:"How many, the newest first."`
	JSON  bool   `help:"Print JSON, one line each."`
}

func (adminEmergencyListCmd) Help() string {
	return `Ids stand for records and people; "tandem admin list" names the people.

  tandem admin emergency list
  tandem admin emergency list --as STAFF --all --json`
}

func (c *adminEmergencyListCmd) Run(a *app) error {
	var as syncengine.ID
	if c.As != "" {
		some, err := ids("--as", c.As)
		if err != nil {
			return err
		}
		as = some[0]
	}
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		none := true
		err := ad.Emergencies(a.ctx, as, c.All, c.Limit, func(e *store.Emergency) error {
			none = false
			if c.JSON {
				reviewer := ""
				if e.ReviewedMS != 0 {
					reviewer = e.Reviewer.String()
				}
				return a.json(map[string]any{
					"id": e.ID.String(), "number": e.Num, "person": e.Person.String(), "replica": e.Replica.String(), "subject": e.Subject.String(),
					"at": stamp(e.AtMS), "received": stamp(e.ReceivedMS), "until": stamp(e.UntilMS), "held": e.Opened, "sent": e.Found, "reason": e.Reason,
					"reviewed": stamp(e.ReviewedMS), "reviewer": reviewer, "justified": e.Justified, "note": e.Note,
				})
			}
			a.say("%s  %s  %s opened %s, %d held and %d sent: %q", e.ID, time.UnixMilli(e.ReceivedMS).Local().Format("2006-01-02 15:04"), e.Person, e.Subject, e.Opened, e.Found, e.Reason)
			if e.ReviewedMS != 0 {
				verdict := "not justified"
				if e.Justified {
					verdict = "justified"
				}
				a.say("  %s, says %s: %q", verdict, e.Reviewer, e.Note)
			}
			return nil
		})
		if errors.Is(err, server.ErrStaffInactive) {
			return exits(exitBadInput, err)
		}
		if none && err == nil && !c.JSON {
			a.say("None waits for a review.")
		}
		return err
	})
}

type adminEmergencyReviewCmd struct {
	dataFlag
	As          string `required:"" placeholder:"STAFF" help:"Id of the lead who reviews."`
	Emergency   string `arg:"" help:"Its id, as tandem admin emergency list prints it."`
	Justified   bool   `xor:"finding" required:"" help:"It was an emergency."`
	Unjustified bool   `xor:"finding" required:"" help:"It was none."`
	Note        string `required:"" help:"What was found."`
	JSON        bool   `help:"Print one line of JSON."`
}

func (adminEmergencyReviewCmd) Help() string {
	return `A review is made once and stays. For example:

  tandem admin emergency review --as STAFF --justified EMERGENCY --note "spoke with her and the nurse"`
}

func (c *adminEmergencyReviewCmd) Run(a *app) error {
	as, err := ids("--as", c.As)
	if err != nil {
		return err
	}
	id, err := syncengine.ParseID(strings.ToUpper(c.Emergency))
	if err != nil {
		return exits(exitUsage, errors.New("want the id of an emergency, as tandem admin emergency list prints it"))
	}
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		err := ad.ReviewEmergency(a.ctx, as[0], id, c.Justified, c.Note)
		for _, own := range []error{server.ErrNotYours, server.ErrReviewed, server.ErrFinding, server.ErrStaffInactive} {
			if errors.Is(err, own) {
				return exits(exitBadInput, err)
			}
		}
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"id": id.String(), "justified": c.Justified})
		}
		a.say("Noted.")
		return nil
	})
}
