package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

type adminAccountCmd struct {
	Create  adminAccountCreateCmd  `cmd:"" help:"Make the account of a person, with a code for the first sign-in."`
	List    adminAccountListCmd    `cmd:"" help:"List accounts."`
	Disable adminAccountDisableCmd `cmd:"" help:"Let a person sign in no more, and end the person's sessions."`
	Enable  adminAccountEnableCmd  `cmd:"" help:"Let a person sign in again."`
	Reset   adminAccountResetCmd   `cmd:"" help:"Take a passphrase away, and make a code to set a new one."`
}

func (adminAccountCmd) Help() string {
	return `A person has one account at most. The person sets the passphrase, at /signin/begin of the
server, with a code that is good once and for a day: nobody else ever knows it.

  tandem admin account create --staff STAFF --login maya
  tandem admin account list`
}

// accounts runs do with the administration of the accounts of the org.
func (f dataFlag) accounts(a *app, do func(*people.Accounts) error) error {
	err := f.admin(a, func(_ *server.Admin, st *store.Store, org *store.Org) error {
		return do(people.NewAccounts(st, org, nil, nil))
	})
	for _, known := range []error{people.ErrLogin, people.ErrLoginTaken, people.ErrAccountThere, people.ErrNoAccount, people.ErrNoPerson, people.ErrNoSession} {
		if errors.Is(err, known) {
			return exits(exitBadInput, err)
		}
	}
	return err
}

// handOut prints a one-time code.
func (a *app) handOut(code *people.Code, asJSON bool) error {
	if asJSON {
		return a.json(map[string]any{"login": code.Login, "code": code.Code, "expires": stamp(code.Expires.UnixMilli())})
	}
	a.say("%s   for %s at /signin/begin, once, until %s", code.Code, code.Login, code.Expires.Local().Format("2006-01-02 15:04"))
	return nil
}

type adminAccountCreateCmd struct {
	dataFlag

	Staff string `required:"" placeholder:"ID" help:"Person who will sign in."`
	Login string `required:"" help:"Name to sign in with: 2 to 64 letters, digits and . _ - + @"`
	JSON  bool   `help:"Print one line of JSON."`
}

func (adminAccountCreateCmd) Help() string {
	return `The code is shown now and never again.

  tandem admin account create --staff STAFF --login maya`
}

func (c *adminAccountCreateCmd) Run(a *app) error {
	staff, err := ids("--staff", c.Staff)
	if err != nil {
		return err
	}
	return c.accounts(a, func(accounts *people.Accounts) error {
		code, err := accounts.Create(a.ctx, staff[0], c.Login)
		if err != nil {
			return err
		}
		return a.handOut(code, c.JSON)
	})
}

type adminAccountListCmd struct {
	dataFlag

	JSON bool `help:"Print one line of JSON for each account."`
}

func (adminAccountListCmd) Help() string {
	return `For example:

  tandem admin account list`
}

func (c *adminAccountListCmd) Run(a *app) error {
	return c.accounts(a, func(accounts *people.Accounts) error {
		all, err := accounts.List(a.ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		for _, l := range all {
			state := "active"
			switch {
			case l.Disabled:
				state = "disabled"
			case !l.Active:
				state = "no active staff record"
			case l.CodeHash != nil:
				state = "code issued"
			}
			if c.JSON {
				err := a.json(map[string]any{
					"staff": l.Staff.String(), "login": l.Login, "name": l.Name, "state": state,
					"second_factors": append([]string{}, l.Factors...), "recovery_codes": l.Recovery, "sessions": l.Sessions,
				})
				if err != nil {
					return err
				}
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d recovery codes\t%d sessions\n", l.Login, l.Staff, l.Name, state, strings.Join(l.Factors, ", "), l.Recovery, l.Sessions)
		}
		return w.Flush()
	})
}

// accountFlag names a person.
type accountFlag struct {
	dataFlag

	Staff string `required:"" placeholder:"ID" help:"Person whose account it is."`
	JSON  bool   `help:"Print one line of JSON."`
}

// act runs do on the person's account, and says what was done.
func (c *accountFlag) act(a *app, done string, do func(*people.Accounts, syncengine.ID) error) error {
	staff, err := ids("--staff", c.Staff)
	if err != nil {
		return err
	}
	return c.accounts(a, func(accounts *people.Accounts) error {
		if err := do(accounts, staff[0]); err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"staff": c.Staff, done: true})
		}
		a.say("The account of %s is %s.", c.Staff, done)
		return nil
	})
}

type adminAccountDisableCmd struct{ accountFlag }

func (adminAccountDisableCmd) Help() string {
	return `The person's devices go on: tandem admin revoke shuts those out too, and stands in the
security journal, which outlives a restore of the database.

  tandem admin account disable --staff STAFF`
}

func (c *adminAccountDisableCmd) Run(a *app) error {
	return c.act(a, "disabled", func(accounts *people.Accounts, staff syncengine.ID) error { return accounts.Disable(a.ctx, staff) })
}

type adminAccountEnableCmd struct{ accountFlag }

func (adminAccountEnableCmd) Help() string {
	return `For example:

  tandem admin account enable --staff STAFF`
}

func (c *adminAccountEnableCmd) Run(a *app) error {
	return c.act(a, "enabled", func(accounts *people.Accounts, staff syncengine.ID) error { return accounts.Enable(a.ctx, staff) })
}

type adminAccountResetCmd struct {
	accountFlag

	SecondFactor bool `help:"Remove the second factor too: the person sets up a new one. For a phone that is lost and no recovery code at hand; make sure that it is the person who asks."`
}

func (adminAccountResetCmd) Help() string {
	return `The sessions of the person end. The second factor stays, so that the code alone lets nobody in.

  tandem admin account reset --staff STAFF
  tandem admin account reset --staff STAFF --second-factor`
}

func (c *adminAccountResetCmd) Run(a *app) error {
	staff, err := ids("--staff", c.Staff)
	if err != nil {
		return err
	}
	return c.accounts(a, func(accounts *people.Accounts) error {
		code, err := accounts.Reset(a.ctx, staff[0], c.SecondFactor)
		if err != nil {
			return err
		}
		return a.handOut(code, c.JSON)
	})
}

type adminSessionCmd struct {
	List adminSessionListCmd `cmd:"" help:"List sessions."`
	End  adminSessionEndCmd  `cmd:"" help:"End a session, or all of a person."`
}

func (adminSessionCmd) Help() string {
	return `For example:

  tandem admin session list
  tandem admin session end --staff STAFF`
}

type adminSessionListCmd struct {
	dataFlag

	Staff string `placeholder:"ID" help:"Only those of this person."`
	JSON  bool   `help:"Print one line of JSON for each session."`
}

func (adminSessionListCmd) Help() string {
	return `For example:

  tandem admin session list`
}

func (c *adminSessionListCmd) Run(a *app) error {
	staff := []syncengine.ID{{}}
	if c.Staff != "" {
		var err error
		if staff, err = ids("--staff", c.Staff); err != nil {
			return err
		}
	}
	return c.accounts(a, func(accounts *people.Accounts) error {
		all, err := accounts.Sessions(a.ctx, staff[0])
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		for _, s := range all {
			if c.JSON {
				err := a.json(map[string]any{
					"session": s.ID.String(), "staff": s.Staff.String(), "browser": s.Browser, "way": s.Way, "complete": s.Complete,
					"began_at": stamp(s.CreatedMS), "seen_at": stamp(s.SeenMS), "ends_at": stamp(s.EndsMS),
				})
				if err != nil {
					return err
				}
				continue
			}
			way := s.Way
			if !s.Complete {
				way += ", second factor outstanding"
			}
			fmt.Fprintf(w, "%s\tof %s\t%s\tby %s\tbegan %s\tused %s\n", s.ID, s.Staff, s.Browser, way, ago(s.CreatedMS), ago(s.SeenMS))
		}
		return w.Flush()
	})
}

type adminSessionEndCmd struct {
	dataFlag

	Session string `placeholder:"ID" help:"Session to end."`
	Staff   string `placeholder:"ID" help:"Person whose sessions are all ended."`
	JSON    bool   `help:"Print one line of JSON."`
}

func (adminSessionEndCmd) Help() string {
	return `It holds from the browser's next request on.

  tandem admin session end --session SESSION
  tandem admin session end --staff STAFF`
}

func (c *adminSessionEndCmd) Run(a *app) error {
	if (c.Staff == "") == (c.Session == "") {
		return exits(exitUsage, errors.New("say which are ended, with either --session or --staff"))
	}
	return c.accounts(a, func(accounts *people.Accounts) error {
		ended := 1
		if c.Session != "" {
			id, err := ids("--session", c.Session)
			if err != nil {
				return err
			}
			if err := accounts.EndSession(a.ctx, id[0]); err != nil {
				return err
			}
		} else {
			id, err := ids("--staff", c.Staff)
			if err != nil {
				return err
			}
			if ended, err = accounts.EndSessions(a.ctx, id[0]); err != nil {
				return err
			}
		}
		if c.JSON {
			return a.json(map[string]any{"ended": ended})
		}
		a.say("Sessions ended: %d.", ended)
		return nil
	})
}
