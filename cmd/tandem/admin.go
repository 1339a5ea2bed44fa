package main

import (
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
)

type adminCmd struct {
	Org         adminOrgCmd         `cmd:"" help:"Legal owners of data: each is a world of its own."`
	Agency      adminAgencyCmd      `cmd:"" help:"Agencies."`
	Program     adminProgramCmd     `cmd:"" help:"Programs of agencies."`
	Team        adminTeamCmd        `cmd:"" help:"Teams of programs."`
	Staff       adminStaffCmd       `cmd:"" help:"People who write and read."`
	Account     adminAccountCmd     `cmd:"" help:"Accounts by which people sign in with a browser."`
	Session     adminSessionCmd     `cmd:"" help:"Browsers that are signed in."`
	Form        adminFormCmd        `cmd:"" help:"Questionnaires: import, word, publish them."`
	Protocol    adminProtocolCmd    `cmd:"" help:"Protocols that every device can read with no signal."`
	Survey      adminSurveyCmd      `cmd:"" help:"Anonymous surveys: open, close and list their links."`
	Directory   adminDirectoryCmd   `cmd:"" help:"The directory of services: import, list."`
	Code        adminCodeCmd        `cmd:"" help:"Issue a one-time code that enrols a device for a person."`
	Quarantine  adminQuarantineCmd  `cmd:"" help:"Decide on changes that could not be applied."`
	Items       adminItemsCmd       `cmd:"" help:"What records ask of a lead: differing values, late edits, times of a wrong clock."`
	Lookups     adminLookupsCmd     `cmd:"" help:"Show who looked up what, and why."`
	Emergency   adminEmergencyCmd   `cmd:"" help:"Emergencies in which a person's record was opened: list them, review them."`
	Disclosures adminDisclosuresCmd `cmd:"" help:"What was passed on about a person: when, to whom, what, and why."`
	Audit       adminAuditCmd       `cmd:"" help:"Show or export the log of who did what."`
	List        adminListCmd        `cmd:"" help:"List what is set up, with ids."`
	Janitor     adminJanitorCmd     `cmd:"" help:"Show what turns time into events at the server, or let it go on."`
	Purge       adminPurgeCmd       `cmd:"" help:"Purge what is past its retention, with a second person's word."`
	Revoke      adminRevokeCmd      `cmd:"" help:"Shut out a person or a device."`
	Device      adminDeviceCmd      `cmd:"" help:"List devices, or have one wiped."`
	Keys        adminKeysCmd        `cmd:"" help:"Keys of the org."`
	Witness     adminWitnessCmd     `cmd:"" help:"Records that devices kept from a lost part of the history."`
	Replica     adminReplicaCmd     `cmd:"" help:"Stores of devices: list them, confirm one that was copied or restored."`
	Recover     adminRecoverCmd     `cmd:"" help:"Healing after the server's database was restored."`
}

func (adminCmd) Help() string {
	return `Works on the server's data directory, also beside a running server. Each create prints
the id that the next one takes.

  tandem admin org create --name "Prairie County Crisis Response"
  tandem admin agency create --name "Prairie Behavioral Health" --type behavioral_health --tz America/Chicago
  tandem admin list`
}

// made is what a create prints.
type made struct {
	ID string `json:"id"`
}

func (a *app) made(id syncengine.ID, asJSON bool) error {
	if asJSON {
		return a.json(made{ID: id.String()})
	}
	a.say("%s", id)
	return nil
}

type adminOrgCmd struct {
	Create adminOrgCreateCmd `cmd:"" help:"Make an org with keys of its own."`
}

func (adminOrgCmd) Help() string {
	return `For example:

  tandem admin org create --name "Prairie County Crisis Response"`
}

type adminOrgCreateCmd struct {
	placeFlag

	Name string `required:"" help:"Name of the legal owner."`
	JSON bool   `help:"Print one line of JSON."`
}

func (adminOrgCreateCmd) Help() string {
	return `For example:

  tandem admin org create --name "Prairie County Crisis Response"

The directory is made where it is not there; it holds the keys of the org, which are in no
database.`
}

func (c *adminOrgCreateCmd) Run(a *app) (err error) {
	st, err := c.open(a, true)
	if err != nil {
		return err
	}
	defer closing(st, &err)
	org, err := st.CreateOrg(a.ctx, c.Name)
	if err != nil {
		return err
	}
	return a.made(org.ID, c.JSON)
}

// admin runs do with the administration of the org.
func (f dataFlag) admin(a *app, do func(*server.Admin, *store.Store, *store.Org) error) error {
	return f.adminOn(a, store.Options{}, do)
}

// adminOn is admin on data that is opened in some way.
func (f dataFlag) adminOn(a *app, o store.Options, do func(*server.Admin, *store.Store, *store.Org) error) (err error) {
	st, err := openData(a.ctx, f.placeFlag, o)
	if err != nil {
		return err
	}
	defer closing(st, &err)
	org, err := f.org(a.ctx, st)
	if err != nil {
		return err
	}
	err = do(server.NewAdmin(st, org, server.AdminOptions{}), st, org)
	if _, absent := errors.AsType[*server.AbsentError](err); absent {
		return exits(exitBadInput, err)
	}
	return err
}

// create runs one make of a record and prints its id.
func (f dataFlag) create(a *app, asJSON bool, do func(*server.Admin) (syncengine.ID, error)) error {
	return f.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		id, err := do(ad)
		if err != nil {
			return err
		}
		return a.made(id, asJSON)
	})
}

// ids parses the ids of a flag.
func ids(flag string, texts ...string) ([]syncengine.ID, error) {
	out := make([]syncengine.ID, 0, len(texts))
	for _, t := range texts {
		id, err := syncengine.ParseID(t)
		if err != nil {
			return nil, exits(exitUsage, fmt.Errorf("%s: %w; tandem admin list shows the ids", flag, err))
		}
		out = append(out, id)
	}
	return out, nil
}

type adminAgencyCmd struct {
	Create adminAgencyCreateCmd `cmd:"" help:"Make an agency."`
}

func (adminAgencyCmd) Help() string {
	return `For example:

  tandem admin agency create --name "Prairie Behavioral Health" --type behavioral_health --tz America/Chicago`
}

type adminAgencyCreateCmd struct {
	dataFlag
	Name string `required:"" help:"Name."`
	Type string `required:"" enum:"behavioral_health,law_enforcement,ems_fire,public_health,community_org,dispatch_psap,hospital,other" help:"One of ${enum}."`
	TZ   string `name:"tz" required:"" placeholder:"ZONE" help:"Time zone, an IANA name."`
	Lang string `default:"en" enum:"en,es" help:"Language of its people unless they choose: en or es."`
	JSON bool   `help:"Print one line of JSON."`
}

func (adminAgencyCreateCmd) Help() string {
	return `For example:

  tandem admin agency create --name "Prairie Behavioral Health" --type behavioral_health --tz America/Chicago`
}

func (c *adminAgencyCreateCmd) Run(a *app) error {
	if _, err := time.LoadLocation(c.TZ); err != nil || c.TZ == "" || c.TZ == "Local" {
		return exits(exitUsage, errors.New("--tz: no time zone has that name; want an IANA name such as America/Chicago"))
	}
	return c.create(a, c.JSON, func(ad *server.Admin) (syncengine.ID, error) {
		return ad.AddAgency(a.ctx, server.AgencyOptions{Name: c.Name, Type: c.Type, TimeZone: c.TZ, Lang: c.Lang})
	})
}

type adminProgramCmd struct {
	Create adminProgramCreateCmd `cmd:"" help:"Make a program."`
}

func (adminProgramCmd) Help() string {
	return `For example:

  tandem admin program create --name "Co-Response" --model crt --agency AGENCY`
}

type adminProgramCreateCmd struct {
	dataFlag
	Name    string   `required:"" help:"Name in English."`
	NameES  string   `name:"name-es" help:"Name in Spanish."`
	Model   string   `required:"" enum:"cit,crt,mct,community_responder,crisis_call_diversion,other" help:"One of ${enum}."`
	Agency  string   `required:"" placeholder:"ID" help:"Agency that leads it."`
	Partner []string `placeholder:"ID" help:"Agency that takes part; may stand several times."`
	JSON    bool     `help:"Print one line of JSON."`
}

func (adminProgramCreateCmd) Help() string {
	return `For example:

  tandem admin program create --name "Co-Response" --model crt --agency AGENCY --partner POLICE`
}

func (c *adminProgramCreateCmd) Run(a *app) error {
	agency, err := ids("--agency", c.Agency)
	if err != nil {
		return err
	}
	partners, err := ids("--partner", c.Partner...)
	if err != nil {
		return err
	}
	return c.create(a, c.JSON, func(ad *server.Admin) (syncengine.ID, error) {
		return ad.AddProgram(a.ctx, server.ProgramOptions{NameEN: c.Name, NameES: c.NameES, Model: c.Model, Agency: agency[0], Partners: partners})
	})
}

type adminTeamCmd struct {
	Create adminTeamCreateCmd `cmd:"" help:"Make a team."`
}

func (adminTeamCmd) Help() string {
	return `For example:

  tandem admin team create --name "Night team" --program PROGRAM`
}

type adminTeamCreateCmd struct {
	dataFlag
	Name    string `required:"" help:"Name."`
	Shift   string `help:"Shift it works."`
	Program string `required:"" placeholder:"ID" help:"Program it belongs to."`
	JSON    bool   `help:"Print one line of JSON."`
}

func (adminTeamCreateCmd) Help() string {
	return `For example:

  tandem admin team create --name "Night team" --shift "22:00 to 06:00" --program PROGRAM`
}

func (c *adminTeamCreateCmd) Run(a *app) error {
	program, err := ids("--program", c.Program)
	if err != nil {
		return err
	}
	return c.create(a, c.JSON, func(ad *server.Admin) (syncengine.ID, error) {
		return ad.AddTeam(a.ctx, server.TeamOptions{Name: c.Name, Shift: c.Shift, Program: program[0]})
	})
}

type adminStaffCmd struct {
	Create adminStaffCreateCmd `cmd:"" help:"Make a member of staff."`
}

func (adminStaffCmd) Help() string {
	return `For example:

  tandem admin staff create --name "Maya R." --role clinician --discipline social_worker --agency AGENCY --team TEAM`
}

type adminStaffCreateCmd struct {
	dataFlag
	Name       string   `required:"" help:"Name, as colleagues see it."`
	Role       []string `required:"" enum:"clinician,peer,le_partner,lead,admin,auditor,analyst" help:"One of ${enum}; may stand several times. le_partner goes with no other."`
	Discipline string   `required:"" enum:"social_worker,counselor,psychologist,nurse,emt,paramedic,peer_specialist,harm_reduction,mediator,community_responder,officer,dispatcher,supervisor,student,other" help:"One of ${enum}."`
	Agency     string   `required:"" placeholder:"ID" help:"Agency that employs the person."`
	Team       []string `placeholder:"ID" help:"Team; may stand several times."`
	JSON       bool     `help:"Print one line of JSON."`
}

func (adminStaffCreateCmd) Help() string {
	return `For example:

  tandem admin staff create --name "Maya R." --role clinician --discipline social_worker --agency AGENCY --team TEAM
  tandem admin staff create --name "Dale" --role le_partner --discipline officer --agency POLICE --team TEAM`
}

func (c *adminStaffCreateCmd) Run(a *app) error {
	agency, err := ids("--agency", c.Agency)
	if err != nil {
		return err
	}
	teams, err := ids("--team", c.Team...)
	if err != nil {
		return err
	}
	return c.create(a, c.JSON, func(ad *server.Admin) (syncengine.ID, error) {
		return ad.AddStaff(a.ctx, server.StaffOptions{Name: c.Name, Roles: c.Role, Discipline: c.Discipline, Agency: agency[0], Teams: teams})
	})
}

type adminCodeCmd struct {
	dataFlag
	Staff string `required:"" placeholder:"ID" help:"Person who will use the device."`
	Label string `required:"" help:"Name of the device, for example the number of the car."`
	QR    string `name:"qr" placeholder:"URL" help:"Draw a QR code too, of the code and of this address, under which the device reaches the server."`
	JSON  bool   `help:"Print one line of JSON."`
}

func (adminCodeCmd) Help() string {
	return `The code enrols one device, once, within 15 minutes. It is shown now and never again.
With --qr it is drawn as well, for a scanner at the device: tandem enroll takes what that
types in place of the code.

  tandem admin code --staff STAFF --label "Car 12 laptop"
  tandem admin code --staff STAFF --label "Car 12 laptop" --qr https://tandem.example.org`
}

func (c *adminCodeCmd) Run(a *app) error {
	staff, err := ids("--staff", c.Staff)
	if err != nil {
		return err
	}
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		code, err := ad.IssueCode(a.ctx, staff[0], c.Label)
		if err != nil {
			return err
		}
		if c.JSON && c.QR != "" {
			return a.json(map[string]any{"code": code.Code, "expires": stamp(code.Expires.UnixMilli()), "device": code.Device.String(), "invitation": code.Invitation(c.QR)})
		}
		if c.JSON {
			return a.json(map[string]any{"code": code.Code, "expires": stamp(code.Expires.UnixMilli()), "device": code.Device.String()})
		}
		a.say("%s   good until %s, for one device", code.Code, code.Expires.Local().Format("15:04"))
		if c.QR != "" {
			drawn, err := web.TextQR(code.Invitation(c.QR))
			if err != nil {
				return err
			}
			a.say("%s", drawn)
		}
		return nil
	})
}

type adminListCmd struct {
	dataFlag
	JSON bool `help:"Print one line of JSON for each record."`
}

func (adminListCmd) Help() string {
	return `For example:

  tandem admin list --data tandem-data`
}

// listed is one line of the list.
type listed struct {
	Kind      string `json:"kind"`
	ID        string `json:"id"`
	Name      string `json:"name"`
	Lifecycle string `json:"lifecycle"`
}

func (c *adminListCmd) Run(a *app) error {
	return c.admin(a, func(_ *server.Admin, st *store.Store, org *store.Org) error {
		domain := record.New()
		var out []listed
		for _, name := range []string{"agency", "program", "team", "staff", "device"} {
			from := len(out)
			err := st.EachRecord(a.ctx, org.ID, domain.KindByName(name).Number, func(rec *syncengine.StoredRecord) error {
				msg, err := domain.Message(&rec.Record)
				if err != nil {
					return err
				}
				out = append(out, listed{Kind: name, ID: rec.ID.String(), Name: nameOf(msg), Lifecycle: rec.Lifecycle()})
				return nil
			})
			if err != nil {
				return err
			}
			slices.SortFunc(out[from:], func(x, y listed) int { return slices.Compare([]byte(x.ID), []byte(y.ID)) })
		}
		if c.JSON {
			for _, l := range out {
				if err := a.json(l); err != nil {
					return err
				}
			}
			return nil
		}
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "org\t%s\t%s\t\n", org.ID, org.Name)
		for _, l := range out {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", l.Kind, l.ID, l.Name, l.Lifecycle)
		}
		return w.Flush()
	})
}

// nameOf is what a reference record calls itself.
func nameOf(msg any) string {
	switch m := msg.(type) {
	case *tandemv1.Agency:
		return m.GetName()
	case *tandemv1.Program:
		return m.GetName().GetEn()
	case *tandemv1.Team:
		return m.GetName()
	case *tandemv1.Staff:
		return m.GetDisplayName()
	case *tandemv1.Device:
		return m.GetLabel()
	}
	return ""
}
