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
	Make  backupMakeCmd  `cmd:"" default:"withargs" help:"Copy the database, verify the copy, and report it."`
	Key   backupKeyCmd   `cmd:"" help:"Make the key that opens encrypted backups."`
	Mark  backupMarkCmd  `cmd:"" help:"Report a verified backup that another tool made."`
	Drill backupDrillCmd `cmd:"" help:"Restore a backup beside the server, compare it, note that it was done, and remove it."`
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

	Drill     bool   `help:"It is no new copy: one was restored elsewhere, and held what it should."`
	Size      int64  `placeholder:"BYTES" help:"Size of the copy."`
	Digest    string `placeholder:"HEX" help:"SHA-256 of the copy."`
	Encrypted bool   `help:"The copy is encrypted."`
	JSON      bool   `help:"Print one line of JSON."`
}

func (backupMarkCmd) Help() string {
	return `Only for a copy that was verified: devices delete what two such copies hold. The console
shows when the last one was, with what is said of it here.

  tandem backup mark --seq 48211
  tandem backup mark --seq 48211 --drill`
}

// file is what the flags say of the copy.
func (c *backupMarkCmd) file() (f store.BackupReport, err error) {
	f.Bytes, f.Encrypted = c.Size, c.Encrypted
	if c.Size < 0 {
		return f, errors.New("--size: want the number of bytes")
	}
	f.Digest, err = hashFlag("--digest", c.Digest)
	return f, err
}

// hashFlag reads a SHA-256 in hex; empty is none.
func hashFlag(flag, text string) (hash syncengine.Hash, err error) {
	if text == "" {
		return hash, nil
	}
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(hash) {
		return hash, errors.New(flag + ": want 64 digits of hex")
	}
	return syncengine.Hash(raw), nil
}

func (c *backupMarkCmd) Run(a *app) error {
	hash, err := hashFlag("--hash", c.Hash)
	if err != nil {
		return exits(exitUsage, err)
	}
	file, err := c.file()
	if err != nil {
		return exits(exitUsage, err)
	}
	return c.admin(a, func(_ *server.Admin, st *store.Store, org *store.Org) error {
		mark := st.MarkBackup
		if c.Drill {
			mark = st.MarkDrill
		}
		err := mark(a.ctx, org.ID, c.Seq, hash, file)
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

type backupDrillCmd struct {
	placeFlag

	From     string `required:"" type:"existingfile" placeholder:"FILE" help:"Copy of the database, as tandem backup makes it."`
	Identity string `type:"existingfile" placeholder:"FILE" help:"Key that opens an encrypted backup."`
	Keys     string `type:"existingfile" placeholder:"FILE" help:"Copy of keys.json; the server's own unless given."`
	Journal  string `type:"existingfile" placeholder:"FILE" help:"Copy of the security journal; the server's own unless given."`
	JSON     bool   `help:"Print one line of JSON."`
}

func (backupDrillCmd) Help() string {
	return `Does what a restore does, in a directory of its own inside the data directory, beside a
running server: it opens the copy, verifies it and compares where its history ends with the
server's. Nothing of it stays but the note that it was done, which the console shows. It needs
room there for the copy, twice where that is encrypted, and says so before it begins. Give the
copies of keys and journal that you would restore from, so that they are tried too.

  tandem backup drill --from /backups/monday.db --keys /elsewhere/keys.json --journal /elsewhere/security.journal
  tandem backup drill --from /backups/monday.db.age --identity offline.key`
}

func (c *backupDrillCmd) Run(a *app) (err error) {
	st, err := c.open(a, false)
	if err != nil {
		return err
	}
	defer closing(st, &err)
	if err := store.RoomToDrill(c.Data, c.From, c.Identity != ""); err != nil {
		return exits(exitBadInput, err)
	}
	file, err := store.MeasureBackup(c.From)
	if err != nil {
		return exits(exitUsage, err)
	}
	plain, done, err := decrypted(c.From, c.Identity, filepath.Join(c.Data, "drill"))
	defer func() { done() }()
	if err != nil {
		return err
	}
	file.Encrypted = plain != c.From
	made, err := st.Drill(a.ctx, store.RestoreOptions{From: plain, Keys: c.Keys, Journal: c.Journal}, file)
	switch {
	case errors.Is(err, store.ErrFileOnly):
		return exits(exitUsage, err)
	case err != nil:
		return exits(exitBadInput, err)
	}
	orgs := make([]map[string]any, 0, len(made))
	for _, b := range made {
		orgs = append(orgs, map[string]any{"org": b.Org.String(), "seq": b.Seq, "hash": hex.EncodeToString(b.Hash[:])})
	}
	if c.JSON {
		return a.json(map[string]any{"from": c.From, "orgs": orgs})
	}
	for _, b := range made {
		a.say("org %s: restored up to sequence %d, the same as here.", b.Org, b.Seq)
	}
	a.say("The drill is noted; what was restored is removed.")
	return nil
}
