package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/server/store"
)

type verifyCmd struct {
	Records verifyRecordsCmd `cmd:"" default:"withargs" help:"Check a store's hashes, digests and database; what verify does without a word."`
	Audit   verifyAuditCmd   `cmd:"" help:"Check the audit log, against what devices keep of it too."`
}

func (verifyCmd) Help() string {
	return `For example:

  tandem verify --store ~/car12
  tandem verify audit --data tandem-data --store ~/car12`
}

type verifyRecordsCmd struct {
	passphraseFlag

	Store string `placeholder:"DIR" xor:"what" help:"Directory of a device's store to check."`
	Data  string `placeholder:"DIR" xor:"what" help:"Directory of a server's data to check (default tandem-data)."`
	databaseFlag

	JSON bool `help:"Print one line of JSON."`
}

func (verifyRecordsCmd) Help() string {
	return `Recomputes every row hash, every scope's digest, the hash chain of the changes and the hash
of every file that is here, and checks the database itself. It changes nothing. The digests of two devices with the same
grants, and of the server, are equal where nothing waits to be sent. Exit code 5 where
something differs.

  tandem verify --store ~/car12
  tandem verify records --data tandem-data --json`
}

// verified is the stable form for scripts.
type verified struct {
	OK      bool `json:"ok"`
	Records int  `json:"records"`
	Changes int  `json:"changes"`
	// Files whose bytes were checked, and attachments whose bytes are not there: a device
	// fetches those when they are wanted, a server waits for whoever attached them.
	Files        int             `json:"files"`
	FilesMissing int             `json:"files_missing"`
	Scopes       []verifiedScope `json:"scopes"`
	Faults       []string        `json:"faults"`
}

type verifiedScope struct {
	Scope       string `json:"scope"`
	Compartment string `json:"compartment"`
	Open        bool   `json:"open"`
	Records     int    `json:"records,omitempty"`
	Digest      string `json:"digest"`
	// VerifiedAt is when a device last proved it identical to the server's.
	VerifiedAt any `json:"verified_at,omitempty"`
}

func (c *verifyRecordsCmd) Run(a *app) error {
	check := c.server
	if c.Store != "" {
		check = c.device
	}
	v, err := check(a)
	if err != nil {
		return err
	}
	v.OK = len(v.Faults) == 0
	if c.JSON {
		if err := a.json(v); err != nil {
			return err
		}
	} else {
		v.print(a)
	}
	if !v.OK {
		return exits(exitDiffers, errors.New("verify found differences: keep all files as they are and tell your administrator"))
	}
	return nil
}

func (v *verified) print(a *app) {
	a.say("%d records, %d changes and %d files checked.", v.Records, v.Changes, v.Files)
	if v.FilesMissing > 0 {
		a.say("The bytes of %d more files are not here.", v.FilesMissing)
	}
	for _, s := range v.Scopes {
		tier := "the rest"
		if s.Open {
			tier = "open work"
		}
		a.say("  %s  %-10s %-9s %s", s.Scope, s.Compartment, tier, s.Digest)
	}
	for _, f := range v.Faults {
		a.say("FAULT: %s", f)
	}
	if v.OK {
		a.say("Everything holds.")
	}
}

func (c *verifyRecordsCmd) device(a *app) (v *verified, err error) {
	dev, err := storeFlag{passphraseFlag: c.passphraseFlag, Store: c.Store}.open(a, false, client.Options{})
	if err != nil {
		return nil, err
	}
	defer closing(dev, &err)
	found, err := dev.Verify(a.ctx)
	if err != nil {
		return nil, err
	}
	v = &verified{Records: found.Records, Changes: found.Changes, Files: found.Files, FilesMissing: found.Elsewhere, Faults: append([]string{}, found.Faults...), Scopes: []verifiedScope{}}
	for _, s := range found.Scopes {
		v.Scopes = append(v.Scopes, verifiedScope{
			Scope: s.ID, Compartment: compartment(s.Compartment), Open: s.Open, Records: s.Records,
			Digest: s.Digest, VerifiedAt: stamp(s.VerifiedMS),
		})
	}
	return v, nil
}

func (c *verifyRecordsCmd) server(a *app) (v *verified, err error) {
	if c.Data == "" {
		c.Data = "tandem-data"
	}
	st, err := openData(a.ctx, placeFlag{c.Data, c.databaseFlag}, store.Options{Moved: true})
	if err != nil {
		return nil, err
	}
	defer closing(st, &err)
	orgs, err := st.Orgs(a.ctx)
	if err != nil {
		return nil, err
	}
	v = &verified{Faults: []string{}, Scopes: []verifiedScope{}}
	for _, org := range orgs {
		if err := v.addOrg(a.ctx, st, org); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (v *verified) addOrg(ctx context.Context, st *store.Store, org *store.Org) error {
	found, err := st.Verify(ctx, org.ID)
	if err != nil {
		return err
	}
	v.Records += found.Records
	v.Changes += found.Changes
	v.Files += found.Files
	v.FilesMissing += found.Awaited
	v.Faults = append(v.Faults, found.Faults...)
	if found.More > 0 {
		v.Faults = append(v.Faults, fmt.Sprintf("and %d more", found.More))
	}
	for _, key := range sortedScopes(found.Digests) {
		id := org.Secrets.ScopeID(key)
		v.Scopes = append(v.Scopes, verifiedScope{
			Scope: fmt.Sprintf("%x", id[:]), Compartment: compartment(key.Compartment), Open: key.Open,
			Digest: found.Digests[key].String(),
		})
	}
	return nil
}
