package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine/directory"
	"github.com/tandem-response/tandem/syncengine/record"
)

type adminDirectoryCmd struct {
	Import adminDirectoryImportCmd `cmd:"" help:"Bring a directory of services in (HSDS 3.0)."`
	List   adminDirectoryListCmd   `cmd:"" help:"List the directory as a device shows it: 988 on top."`
}

func (adminDirectoryCmd) Help() string {
	return `The directory is what referrals choose from. It comes from a source that keeps to the Human
Services Data Specification (HSDS) 3.0 of Open Referral.

  tandem admin directory import services.json --agency AGENCY
  tandem admin directory list --need shelter`
}

// directory runs do with the administration; what is wrong with a source is bad input.
func (f dataFlag) directory(a *app, do func(*server.Admin) error) error {
	err := f.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error { return do(ad) })
	if _, ok := errors.AsType[*server.InvalidError](err); ok {
		return exits(exitBadInput, err)
	}
	return err
}

type adminDirectoryImportCmd struct {
	dataFlag

	Path          string `arg:"" placeholder:"PATH" help:"HSDS JSON, - for standard input; or the directory, or ZIP, of its CSV tables."`
	Agency        string `required:"" placeholder:"ID" help:"Agency whose directory it is."`
	RetireMissing bool   `help:"Retire entries of an earlier import that the source no longer has."`
	JSON          bool   `help:"Print one line of JSON."`
}

func (adminDirectoryImportCmd) Help() string {
	return `A source is taken whole or not at all; what an entry cannot hold is left out and named.
Importing again changes what has changed, and adds nothing twice.

  tandem admin directory import services.json --agency AGENCY
  tandem admin directory import datapackage.zip --agency AGENCY --retire-missing`
}

func (c *adminDirectoryImportCmd) Run(a *app) error {
	agency, err := ids("--agency", c.Agency)
	if err != nil {
		return err
	}
	read, err := c.read(a)
	if err != nil {
		return exits(exitBadInput, err)
	}
	return c.directory(a, func(ad *server.Admin) error {
		done, err := ad.ImportDirectory(a.ctx, agency[0], read.Resources, c.RetireMissing)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{
				"added": done.Added, "changed": done.Changed, "same": done.Same, "retired": done.Retired, "missing": done.Missing,
				"left_out": append([]string{}, read.Notes...),
			})
		}
		a.say("%d added, %d changed, %d as before, %d retired.", done.Added, done.Changed, done.Same, done.Retired)
		if done.Missing > 0 {
			a.say("%d entries are no longer in the source and stay in use; --retire-missing retires them.", done.Missing)
		}
		for _, n := range read.Notes {
			a.say("  %s", n)
		}
		return nil
	})
}

// read reads the source.
func (c *adminDirectoryImportCmd) read(a *app) (*directory.Result, error) {
	day := time.Now().Format(time.DateOnly)
	if c.Path == "-" {
		raw, err := a.readFile("-", directory.MaxFile+1)
		if err != nil {
			return nil, err
		}
		return directory.ReadJSON(raw, day)
	}
	info, err := os.Stat(c.Path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return directory.ReadTables(os.DirFS(c.Path), day)
	case strings.HasSuffix(strings.ToLower(c.Path), ".zip"):
		archive, err := zip.OpenReader(c.Path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Path, err)
		}
		defer archive.Close() //nolint:errcheck // It was only read.
		var root fs.FS = archive
		// Many archives hold one directory with everything in it.
		if all, err := fs.ReadDir(archive, "."); err == nil && len(all) == 1 && all[0].IsDir() {
			if root, err = fs.Sub(archive, all[0].Name()); err != nil {
				return nil, err
			}
		}
		return directory.ReadTables(root, day)
	}
	raw, err := a.readFile(c.Path, directory.MaxFile+1)
	if err != nil {
		return nil, err
	}
	return directory.ReadJSON(raw, day)
}

type adminDirectoryListCmd struct {
	dataFlag

	Need          string `placeholder:"CODE" help:"Need that it meets, for example shelter."`
	Lang          string `placeholder:"LANG" help:"Language spoken there, for example es."`
	Words         string `help:"Words in name, organization, description or town."`
	PoliceDropoff bool   `name:"police-dropoff" help:"It takes people whom the police bring."`
	JSON          bool   `help:"Print one line of JSON for each entry."`
}

func (adminDirectoryListCmd) Help() string {
	return `For example:

  tandem admin directory list --need crisis_bed --lang es`
}

func (c *adminDirectoryListCmd) Run(a *app) error {
	domain := record.New()
	if c.Need != "" && !domain.HasCode("need", c.Need) {
		return exits(exitUsage, errors.New("--need: there is no such need; for example shelter, food, mental_health, detox"))
	}
	return c.directory(a, func(ad *server.Admin) error {
		entries, err := ad.Directory(a.ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		q := directory.Query{
			Need: c.Need, Lang: c.Lang, Words: c.Words, PoliceDropoff: c.PoliceDropoff,
			Day: (int(now.Weekday()) + 6) % 7, Minute: now.Hour()*60 + now.Minute(),
		}
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		for _, e := range directory.List(entries, q) {
			phone := ""
			if p := e.GetPhones(); len(p) > 0 {
				phone = p[0].GetNumber()
			}
			if c.JSON {
				err := a.json(map[string]any{
					"id": e.ID, "name": e.GetServiceName().GetEn(), "organization": e.GetOrgName(), "phone": phone,
					"needs": append([]string{}, e.GetCategory()...), "crisis_line": e.GetIsCrisisLine(), "open_24_7": e.GetOpen_24_7(),
				})
				if err != nil {
					return err
				}
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.ID, e.GetServiceName().GetEn(), e.GetOrgName(), phone, strings.Join(e.GetCategory(), " "))
		}
		return w.Flush()
	})
}
