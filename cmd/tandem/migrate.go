package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tandem-response/tandem/server/store"
)

type migrateCmd struct {
	From string `required:"" placeholder:"PLACE" help:"Where the data are: sqlite:DIR, the server's directory, or postgres://…"`
	To   string `required:"" placeholder:"PLACE" help:"Where they are to go: an empty database, the other way round."`
	JSON bool   `help:"Print one line of JSON."`
}

func (migrateCmd) Help() string {
	return `Moves everything that a stopped server has into an empty database of the other kind, compares
every value on both sides, recomputes the digests of both, and marks the old database as
moved: no server runs on it any more, so that the two cannot part ways. History and epoch
go on, so devices notice nothing and nobody enrols anew. keys.json and the security journal
stay in the directory, which the server needs as before:

  tandem migrate --from sqlite:/var/lib/tandem --to postgres://tandem@db.example/tandem
  tandem serve --data /var/lib/tandem --database postgres://tandem@db.example/tandem

The new database is refused by servers until the move has ended. Where it is interrupted,
the old one is served as before; run the command again to begin anew, or to end what was
all but done. The way back is the same, into the directory that has the keys, after its
tandem.db was put aside:

  tandem migrate --from postgres://tandem@db.example/tandem --to sqlite:/var/lib/tandem

Where the new database is lost, tandem restore --from tandem.db makes new data of the old
one and begins a new epoch; devices send again what it lacks.`
}

// place reads one end: the directory of a file, or an address.
func (migrateCmd) place(flag, text string) (dir, address string, err error) {
	if path, ok := strings.CutPrefix(text, "sqlite:"); ok {
		path = strings.TrimPrefix(path, "//")
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			// The file itself.
			path = filepath.Dir(path)
		}
		if path == "" {
			path = "."
		}
		return path, "", nil
	}
	if err := store.CheckAddress(text); err != nil {
		return "", "", exits(exitUsage, fmt.Errorf("%s: want sqlite:DIR or postgres://…: %w", flag, err))
	}
	if err := noPassword(text); err != nil {
		return "", "", exits(exitUsage, fmt.Errorf("%s %w: put it into PGPASSWORD or ~/.pgpass", flag, err))
	}
	return "", text, nil
}

func (c *migrateCmd) Run(a *app) error {
	from, remote, err := c.place("--from", c.From)
	if err != nil {
		return err
	}
	dir, database, err := c.place("--to", c.To)
	if err != nil {
		return err
	}
	o := store.MoveOptions{Database: database}
	switch {
	case remote != "" && dir != "":
		o.Database, o.Back = remote, true
	case remote == "" && dir == "":
		dir = from
	default:
		return exits(exitUsage, errors.New("--from and --to are of one kind: one is sqlite:DIR, the other postgres://…"))
	}
	add, done := func(int) {}, func() {}
	o.Begin, o.Add = func(rows int) { add, done = a.progress(rows, "moving") }, func(rows int) { add(rows) }
	moved, err := store.Move(a.ctx, dir, o)
	done()
	switch {
	case errors.Is(err, store.ErrMoveTarget), errors.Is(err, store.ErrMoveNothing), errors.Is(err, store.ErrNoDatabase),
		errors.Is(err, store.ErrInUse), errors.Is(err, store.ErrMoved):
		return exits(exitUsage, err)
	case errors.Is(err, store.ErrUnreachable):
		return exits(exitNoAnswer, err)
	case errors.Is(err, store.ErrMoveDiffers), errors.Is(err, store.ErrDamaged):
		return exits(exitDiffers, err)
	case err != nil:
		return err
	}
	if c.JSON {
		orgs := make([]map[string]any, 0, len(moved))
		for _, m := range moved {
			orgs = append(orgs, map[string]any{"org": m.Org.String(), "seq": m.Seq, "records": m.Report.Records, "changes": m.Report.Changes, "scopes": m.Report.Scopes})
		}
		return a.json(map[string]any{"data": dir, "orgs": orgs})
	}
	for _, m := range moved {
		a.say("org %s: %d records and %d changes up to sequence %d; every value and the digests of %d scopes are equal on both sides.",
			m.Org, m.Report.Records, m.Report.Changes, m.Seq, m.Report.Scopes)
	}
	if o.Back {
		a.say("The PostgreSQL database is marked as moved. Serve the other with:\n  tandem serve --data %s", shellWord(dir))
		return nil
	}
	a.say("The tandem.db there is marked as moved; it holds nothing that is not in PostgreSQL. Serve that with:\n  tandem serve --data %s --database %s",
		shellWord(dir), shellWord(o.Database))
	return nil
}

// shellWord is a text as one word of a POSIX shell (2.2.2, single quotes), as it is where
// nothing in it has a meaning there.
func shellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(plainInShell, r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

const plainInShell = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./:@=%+,"
