package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/audit"
)

type verifyAuditCmd struct {
	Data string `placeholder:"DIR" xor:"what" help:"Directory of a server's data (default tandem-data)."`
	File string `placeholder:"FILE" xor:"what" help:"File that tandem admin audit export has written."`
	databaseFlag

	Store      []string `placeholder:"DIR" help:"Directory of a device's store: the checkpoints that it keeps are compared. May stand several times."`
	Checkpoint []string `placeholder:"FILE" help:"Checkpoint that somebody has kept. May stand several times."`
	JSON       bool     `help:"Print one line of JSON."`
}

func (verifyAuditCmd) Help() string {
	return `Checks the audit log without a server: every entry against the tree, the tree against every
signed checkpoint, the chains of devices against what they signed, and, with --data, each
commit of the history against the entry that names it. An entry that was edited, removed,
put elsewhere or cut off is found. Whoever holds the server's database and key could write
a whole log anew; the checkpoints that devices and people keep show that. It changes
nothing. Exit code 5 where something does not hold.

  tandem verify audit --data tandem-data --store ~/car12
  tandem verify audit --file audit.jsonl --checkpoint checkpoint-2026-11.txt`
}

// verifiedAudit is the stable form for scripts.
type verifiedAudit struct {
	OK          bool     `json:"ok"`
	Entries     int64    `json:"entries"`
	Signed      int64    `json:"signed"`
	Root        string   `json:"root"`
	Checkpoints int      `json:"checkpoints"`
	Chains      int      `json:"chains"`
	Faults      []string `json:"faults"`
	Lost        []string `json:"lost"`
	Notes       []string `json:"notes"`
}

func (c *verifyAuditCmd) Run(a *app) error {
	devices, err := c.devices(a)
	if err != nil {
		return err
	}
	check := c.server
	if c.File != "" {
		check = c.file
	}
	v := &verifiedAudit{Faults: []string{}, Lost: []string{}, Notes: []string{}}
	for _, d := range devices {
		if d.Rewritten != "" {
			v.Faults = append(v.Faults, "a device says: "+d.Rewritten)
		}
	}
	if err := check(a, v, devices); err != nil {
		return err
	}
	v.OK = len(v.Faults)+len(v.Lost) == 0
	if c.JSON {
		err = a.json(v)
	} else {
		v.print(a)
	}
	if err == nil && !v.OK {
		err = exits(exitDiffers, errors.New("the audit log is not what was signed: keep all files as they are and tell your administrator"))
	}
	return err
}

func (v *verifiedAudit) print(a *app) {
	a.say("%d entries, %d of them under a signed checkpoint; %d checkpoints and %d chains of devices checked.", v.Entries, v.Signed, v.Checkpoints, v.Chains)
	for _, n := range v.Notes {
		a.say("note: %s", n)
	}
	for _, l := range v.Lost {
		a.say("LOST: %s", l)
	}
	for _, f := range v.Faults {
		a.say("FAULT: %s", f)
	}
	if v.OK {
		a.say("Everything holds.")
	}
}

func (v *verifiedAudit) add(r *audit.Report) {
	v.Entries += r.Entries
	v.Signed += r.Signed
	v.Root = r.Root.String()
	v.Checkpoints += r.Checkpoints
	v.Chains += len(r.Chains)
	v.Faults, v.Lost, v.Notes = append(v.Faults, r.Faults...), append(v.Lost, r.Lost...), append(v.Notes, r.Notes...)
}

// devices reads what devices keep.
func (c *verifyAuditCmd) devices(a *app) (kept []*client.AuditKept, err error) {
	for _, dir := range c.Store {
		dev, err := storeFlag{Store: dir}.open(a, false, client.Options{})
		if err != nil {
			return nil, err
		}
		one, err := dev.Audit(a.ctx)
		if err := errors.Join(err, dev.Close()); err != nil {
			return nil, err
		}
		kept = append(kept, one)
	}
	return kept, nil
}

// witnesses are what devices and people keep of the log of an org.
func (c *verifyAuditCmd) witnesses(org syncengine.ID, ring []ed25519.PublicKey, devices []*client.AuditKept) (out []audit.Witness, err error) {
	for i, d := range devices {
		if d.Org != org {
			continue
		}
		if !slices.ContainsFunc(ring, func(key ed25519.PublicKey) bool { return key.Equal(d.Key) }) {
			return nil, exits(exitDiffers, fmt.Errorf("the device in %s was enrolled by another key than the log's", c.Store[i]))
		}
		for _, cp := range d.Checkpoints {
			out = append(out, audit.Witness{Checkpoint: cp, From: "kept in " + c.Store[i]})
		}
	}
	for _, path := range c.Checkpoint {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("--checkpoint: %w", err)
		}
		cp, err := audit.ParseNote(string(text), org, ring...)
		if err != nil {
			return nil, exits(exitDiffers, fmt.Errorf("--checkpoint %s: %w", path, err))
		}
		out = append(out, audit.Witness{Checkpoint: cp, From: path})
	}
	return out, nil
}

func (c *verifyAuditCmd) file(_ *app, v *verifiedAudit, devices []*client.AuditKept) (err error) {
	f, err := os.Open(c.File)
	if err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	defer closing(f, &err)
	var key ed25519.PublicKey
	if i := slices.IndexFunc(devices, func(d *client.AuditKept) bool { return len(d.Key) > 0 }); i >= 0 {
		key = devices[i].Key
	}
	r, err := audit.CheckExport(f, key, func(org syncengine.ID, ring []ed25519.PublicKey) ([]audit.Witness, error) {
		return c.witnesses(org, ring, devices)
	})
	if errors.Is(err, audit.ErrExport) {
		return exits(exitBadInput, err)
	}
	if err != nil {
		return err
	}
	v.add(r)
	return nil
}

func (c *verifyAuditCmd) server(a *app, v *verifiedAudit, devices []*client.AuditKept) (err error) {
	if c.Data == "" {
		c.Data = "tandem-data"
	}
	st, err := placeFlag{c.Data, c.databaseFlag}.open(a, false)
	if err != nil {
		return err
	}
	defer closing(st, &err)
	orgs, err := st.Orgs(a.ctx)
	if err != nil {
		return err
	}
	for _, org := range orgs {
		witnesses, err := c.witnesses(org.ID, org.Keys(), devices)
		if err != nil {
			return err
		}
		r, err := server.NewAdmin(st, org, server.AdminOptions{}).CheckAudit(a.ctx, witnesses)
		if err != nil {
			return err
		}
		v.add(r)
	}
	return nil
}
