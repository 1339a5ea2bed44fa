package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
)

type adminKeysCmd struct {
	List       adminKeysListCmd   `cmd:"" help:"List the keys that the organization signs with and has signed with."`
	RotateOrg  adminRotateOrgCmd  `cmd:"" help:"Make a new key for what the organization signs."`
	RotateSeal adminRotateSealCmd `cmd:"" help:"Make a new key for sealed outboxes."`
}

func (adminKeysCmd) Help() string {
	return `For example:

  tandem admin keys list
  tandem admin keys rotate-org
  tandem admin keys rotate-seal`
}

// newestKey says which copies a new key needs.
const newestKey = "Copy keys.json to where its copies are now: to the organization's other servers and to where a restore would take it from."

// orgKey is the stable form of a signing key for scripts.
type orgKey struct {
	// Number counts from 1, the org's first key.
	Number int    `json:"number"`
	Name   string `json:"name"`
	Key    string `json:"key"`
	// MadeAt is empty for the first key: it was made with the org.
	MadeAt any `json:"made_at,omitempty"`
	// ReadmitsUntil is until when a certificate of this key alone lets in a device that the
	// database does not know; empty for the present one, and where it never does.
	ReadmitsUntil any  `json:"readmits_until,omitempty"`
	Present       bool `json:"present"`
}

// orgKeys are the signing keys of an org, the first one first.
func orgKeys(org *store.Org) []orgKey {
	chain := org.Successors("")
	all := make([]orgKey, 0, len(chain)+1)
	for i, key := range org.Keys() {
		k := orgKey{Number: i + 1, Name: store.NameOfKey(key), Key: hex.EncodeToString(key), Present: i == len(chain)}
		if i > 0 {
			k.MadeAt = stamp(chain[i-1].GetMadeMs())
		}
		if i < len(chain) {
			until := chain[i].GetUntilMs()
			for _, later := range chain[i:] {
				until = min(until, later.GetUntilMs())
			}
			k.ReadmitsUntil = stamp(until)
		}
		all = append(all, k)
	}
	return all
}

type adminKeysListCmd struct {
	dataFlag
	JSON bool `help:"Print one line of JSON for each key."`
}

func (adminKeysListCmd) Help() string {
	return `Public keys only: what stands here may be known to anybody.

  tandem admin keys list`
}

func (c *adminKeysListCmd) Run(a *app) error {
	return c.admin(a, func(_ *server.Admin, _ *store.Store, org *store.Org) error {
		t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		for _, k := range orgKeys(org) {
			if c.JSON {
				if err := a.json(k); err != nil {
					return err
				}
				continue
			}
			made, stands := "with the organization", "signs"
			if k.MadeAt != nil {
				made = fmt.Sprint(k.MadeAt)
			}
			if !k.Present {
				stands = "readmits nobody"
			}
			if k.ReadmitsUntil != nil {
				stands = fmt.Sprint("readmits until ", k.ReadmitsUntil)
			}
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\n", k.Number, k.Name, made, stands)
		}
		return t.Flush()
	})
}

type adminRotateOrgCmd struct {
	dataFlag
	Grace time.Duration `default:"2160h" help:"How long a certificate of the key before goes on letting in a device that the database does not know, as after a restore. 0s where that key may be in other hands."`
	JSON  bool          `help:"Print one line of JSON."`
}

// maxGrace is the longest time in which a former key is good for anything new.
const maxGrace = 366 * 24 * time.Hour

func (adminRotateOrgCmd) Help() string {
	return `The organization's key signs the certificates of devices, the checkpoints of the audit log,
and which TLS keys the server has. The key before announces the new one: devices follow at
their next contact, however many keys were made while they were away, and get a new
certificate with it. Nothing stops meanwhile, and nobody has to do anything at a device.
The key before is not kept. What it has certified is good for devices that the database
knows, and for no others after --grace. Where several servers run for the organization,
each needs the new keys.json before it certifies anybody again; it goes on syncing without.

  tandem admin keys rotate-org
  tandem admin keys rotate-org --grace 0s --json`
}

func (c *adminRotateOrgCmd) Run(a *app) error {
	if c.Grace < 0 || c.Grace > maxGrace {
		return exits(exitUsage, errors.New("--grace: say a time from 0s to 8784h (366 days)"))
	}
	return c.admin(a, func(_ *server.Admin, st *store.Store, org *store.Org) error {
		if _, err := st.RotateSigning(a.ctx, org.ID, c.Grace); err != nil {
			return err
		}
		org, err := st.Org(a.ctx, org.ID)
		if err != nil {
			return err
		}
		all := orgKeys(org)
		made := all[len(all)-1]
		if c.JSON {
			return a.json(made)
		}
		a.say("The organization signs with key %d, %s, from now on. %s", made.Number, made.Name, newestKey)
		return nil
	})
}

type adminRotateSealCmd struct {
	dataFlag
	JSON bool `help:"Print one line of JSON."`
}

func (adminRotateSealCmd) Help() string {
	return `Devices seal to the new key from their next contact on. The old one stays in keys.json, for
sealed outboxes that turn up later: copy keys.json to where its copies are.

  tandem admin keys rotate-seal`
}

func (c *adminRotateSealCmd) Run(a *app) error {
	return c.admin(a, func(_ *server.Admin, st *store.Store, org *store.Org) error {
		id, err := st.RotateSeal(a.ctx, org.ID)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"key": hex.EncodeToString(id[:])})
		}
		a.say("New key %x. Copy keys.json to where its copies are, before any device seals to it.", id)
		return nil
	})
}
