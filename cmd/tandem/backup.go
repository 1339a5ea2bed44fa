package main

import (
	"encoding/hex"
	"errors"
	"path/filepath"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

type backupCmd struct {
	Make backupMakeCmd `cmd:"" default:"withargs" help:"Copy the database, verify the copy, and report it."`
	Key  backupKeyCmd  `cmd:"" help:"Make the key that opens encrypted backups."`
	Mark backupMarkCmd `cmd:"" help:"Report a verified backup that another tool made."`
}

func (backupCmd) Help() string {
	return `Devices keep what they have sent until two verified backups hold it, so every backup is to
be reported. Keys and security journal (keys.json, security.journal) are in no backup of the
database: copy them by themselves, to somewhere else.

  tandem backup --to /backups/monday.db
  tandem backup mark --seq 48211`
}

type backupMakeCmd struct {
	placeFlag

	To    string   `required:"" placeholder:"FILE" help:"New file for the copy."`
	ToAge []string `placeholder:"RECIPIENT" help:"Encrypt it to this public key of age, as tandem backup key prints it. May be given again, for each who may open it."`
	JSON  bool     `help:"Print one line of JSON."`
}

func (backupMakeCmd) Help() string {
	return `Works beside a running server. The copy is verified as tandem verify does; one that does not
hold what it should is removed, and does not count. tandem backup is short for it.

With --to-age the file opens to nobody but who has the key, which the server does not: keep
that where no backup is. tandem restore --identity opens it.

  tandem backup make --to /backups/monday.db
  tandem backup make --to /backups/monday.db.age --to-age age1...`
}

func (c *backupMakeCmd) Run(a *app) (err error) {
	st, err := c.open(a, false)
	if err != nil {
		return err
	}
	defer closing(st, &err)
	to, err := filepath.Abs(c.To)
	if err != nil {
		return err
	}
	encrypt, err := encryptTo(c.ToAge)
	if err != nil {
		return exits(exitUsage, err)
	}
	made, err := st.BackUpThrough(a.ctx, to, encrypt)
	if errors.Is(err, store.ErrBackupThere) || errors.Is(err, store.ErrFileOnly) {
		return exits(exitUsage, err)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		orgs := make([]map[string]any, 0, len(made))
		for _, b := range made {
			orgs = append(orgs, map[string]any{"org": b.Org.String(), "seq": b.Seq, "hash": hex.EncodeToString(b.Hash[:])})
		}
		return a.json(map[string]any{"file": to, "orgs": orgs, "encrypted": encrypt != nil})
	}
	for _, b := range made {
		a.say("org %s up to sequence %d, verified.", b.Org, b.Seq)
	}
	a.say("Written to %s. Keep a copy of keys.json and of the security journal elsewhere.", to)
	return nil
}

type backupMarkCmd struct {
	dataFlag
	Seq  uint64 `required:"" help:"Sequence at which the copy's history ends."`
	Hash string `placeholder:"HEX" help:"Hash of that commit, to be compared with the database's."`
	JSON bool   `help:"Print one line of JSON."`
}

func (backupMarkCmd) Help() string {
	return `Only for a copy that was verified: devices delete what two such copies hold.

  tandem backup mark --seq 48211`
}

func (c *backupMarkCmd) Run(a *app) error {
	var hash syncengine.Hash
	if c.Hash != "" {
		raw, err := hex.DecodeString(c.Hash)
		if err != nil || len(raw) != len(hash) {
			return exits(exitUsage, errors.New("--hash: want 64 digits of hex"))
		}
		hash = syncengine.Hash(raw)
	}
	return c.admin(a, func(_ *server.Admin, st *store.Store, org *store.Org) error {
		err := st.MarkBackup(a.ctx, org.ID, c.Seq, hash)
		if errors.Is(err, store.ErrBackupSeq) || errors.Is(err, store.ErrBackupHash) {
			return exits(exitBadInput, err)
		}
		if err != nil {
			return err
		}
		all, err := st.Backups(a.ctx, org.ID)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"seq": c.Seq, "backups": len(all)})
		}
		a.say("Noted. %d verified backups are known; devices let go of what the older of two holds.", len(all))
		return nil
	})
}
