package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/tandem-response/tandem/server/store"
)

type restoreCmd struct {
	From           string `type:"existingfile" placeholder:"FILE" help:"Copy of the SQLite database, as tandem backup makes it."`
	Identity       string `type:"existingfile" placeholder:"FILE" help:"Key that opens an encrypted backup, as tandem backup key makes it."`
	Keys           string `type:"existingfile" placeholder:"FILE" help:"Copy of keys.json; with --database only where the directory has none."`
	Journal        string `type:"existingfile" placeholder:"FILE" help:"Newest copy of the security journal; not needed where keys.json names one on another disk."`
	WithoutJournal bool   `help:"There is no security journal: whoever was shut out since the backup is to be shut out again by hand."`
	Data           string `required:"" placeholder:"DIR" help:"New data directory, which must not be there, or be empty; with --database that of a server."`
	databaseFlag

	JSON bool `help:"Print one line of JSON."`
}

func (restoreCmd) Help() string {
	return `Makes a data directory of copies, verifies it and begins a new epoch: devices send again
what the copies lack. The server then takes what devices send and sends nothing to
anybody before tandem admin recover confirm. The copies stay as they are.

PostgreSQL is set back by its own tools; --database then says that this was done, and does
the rest. Run it before servers are started.

  tandem restore --from monday.db --keys keys.json --journal security.journal --data tandem-data
  tandem restore --from monday.db.age --identity offline.key --keys keys.json --journal security.journal --data tandem-data
  tandem restore --database postgres://tandem@db.example/tandem --data tandem-data`
}

// restored does what is asked for.
func (c *restoreCmd) restored(a *app) ([]store.Restored, error) {
	o := store.RestoreOptions{From: c.From, Keys: c.Keys, Journal: c.Journal, WithoutJournal: c.WithoutJournal}
	if c.From != "" {
		if c.Database != "" && c.Database != os.Getenv("TANDEM_DATABASE") {
			return nil, exits(exitUsage, errors.New("--from is a SQLite database, --database one of PostgreSQL: give one of them"))
		}
		if c.Keys == "" {
			return nil, exits(exitUsage, errors.New("--keys is missing: give the copy of keys.json"))
		}
		plain, done, err := decrypted(c.From, c.Identity, c.Data)
		defer func() { done() }()
		if err != nil {
			return nil, err
		}
		o.From = plain
		return store.Restore(a.ctx, c.Data, o)
	}
	address, err := c.address()
	if err != nil {
		return nil, err
	}
	if address == "" {
		return nil, exits(exitUsage, errors.New("give --from FILE, a copy of a SQLite database, or --database, one of PostgreSQL that was set back"))
	}
	return store.RestoreDatabase(a.ctx, c.Data, address, o)
}

func (c *restoreCmd) Run(a *app) error {
	made, err := c.restored(a)
	switch {
	case errors.Is(err, store.ErrRestoreJournal):
		return exits(exitUsage, fmt.Errorf("%w (--journal, or --without-journal where there is none)", err))
	case errors.Is(err, store.ErrRestoreThere), errors.Is(err, store.ErrAddress), errors.Is(err, store.ErrRestoreKeys):
		return exits(exitUsage, err)
	case errors.Is(err, store.ErrUnreachable):
		return exits(exitNoAnswer, err)
	case errors.Is(err, store.ErrBackupBad), errors.Is(err, store.ErrNotDatabase), errors.Is(err, store.ErrOtherApplication),
		errors.Is(err, store.ErrNewer), errors.Is(err, store.ErrKeysMissing), errors.Is(err, store.ErrKeysUnreadable), errors.Is(err, store.ErrJournal):
		return exits(exitBadInput, err)
	case err != nil:
		return err
	}
	if c.JSON {
		orgs := make([]map[string]any, 0, len(made))
		for _, r := range made {
			orgs = append(orgs, map[string]any{"org": r.Org.String(), "seq": r.Seq, "epoch": r.Epoch.String()})
		}
		return a.json(map[string]any{"data": c.Data, "orgs": orgs})
	}
	for _, r := range made {
		a.say("org %s: restored up to %d, verified; a new epoch has begun", r.Org, r.Seq)
	}
	a.say("Start the server: devices send again what is missing. Then check people, devices and grants, and run tandem admin recover confirm.")
	return nil
}
