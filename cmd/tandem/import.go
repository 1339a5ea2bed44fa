package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/mapping"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

type importCmd struct {
	Sheet  importSheetCmd  `cmd:"" default:"withargs" help:"Bring a spreadsheet into a device's store, by a mapping; what import does without a word."`
	Export importExportCmd `cmd:"" help:"Read a full export back into an empty server."`
}

func (importCmd) Help() string {
	return `For example:

  tandem import --store ~/car12 --mapping toronto.yaml calls-2014.csv
  tandem import export records --data tandem-data`
}

type importSheetCmd struct {
	storeFlag
	Mapping   string `required:"" type:"existingfile" placeholder:"FILE" help:"Mapping file (YAML) that says what the columns mean."`
	File      string `arg:"" type:"existingfile" help:"Spreadsheet: CSV, plain or gzipped."`
	KeepGoing bool   `help:"Import the good rows although others are bad; without it a bad row means that nothing is imported."`
	Team      string `placeholder:"ID" help:"Team the records belong to, where the person has several."`
	JSON      bool   `help:"Print one line of JSON."`
}

func (importSheetCmd) Help() string {
	return `Brings a spreadsheet in as records, without a network. Each row's record has an id that
follows from the row, so that importing a file twice adds nothing. What the mapping can
say: go doc github.com/tandem-response/tandem/client/mapping

  tandem import sheet --store ~/car12 --mapping toronto.yaml calls-2014.csv
  tandem import sheet --store ~/car12 --mapping toronto.yaml --keep-going calls-2014.csv.gz
  tandem import sheet --store ~/car12 --mapping toronto.yaml --team TEAM calls-2014.csv`
}

// imported is what an import did.
type imported struct {
	Rows    int `json:"rows"`
	Added   int `json:"added"`
	Already int `json:"already_there"`
	Bad     int `json:"bad"`
}

func (c *importSheetCmd) Run(a *app) (err error) {
	m, err := mapping.Open(c.Mapping)
	if err != nil {
		return exits(exitBadInput, err)
	}
	source, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer closing(source, &err)
	file, err := m.File(a.ctx, source)
	if err != nil {
		return exits(exitBadInput, fmt.Errorf("%s: %w", filepath.Base(c.File), err))
	}
	dev, err := c.open(a, false, client.Options{})
	if err != nil {
		return err
	}
	defer closing(dev, &err)
	into, err := c.envelope(a, dev)
	if err != nil {
		return err
	}
	done := &imported{}
	if err := c.check(a, file, into, done); err != nil {
		return err
	}
	if err := c.bring(a, dev, file, into, done); err != nil {
		return err
	}
	if c.JSON {
		return a.json(done)
	}
	a.say("%d rows: %d records added, %d were there already, %d bad rows left out. Send them with tandem sync --store %s",
		done.Rows, done.Added, done.Already, done.Bad, c.Store)
	return nil
}

// envelope says whose the records are: the person's own agency, program and team.
func (c *importSheetCmd) envelope(a *app, dev *client.Client) (mapping.Envelope, error) {
	s, err := dev.Session()
	if err != nil {
		return mapping.Envelope{}, err
	}
	into := mapping.Envelope{Agency: s.Agency}
	at := -1
	switch {
	case c.Team != "":
		id, err := syncengine.ParseID(c.Team)
		if err != nil {
			return into, exits(exitUsage, fmt.Errorf("--team: %w", err))
		}
		for i, team := range s.Teams {
			if team == id {
				at = i
			}
		}
		if at < 0 {
			return into, exits(exitUsage, fmt.Errorf("--team: this person is not on that team, but on %s", teamNames(a, dev, s)))
		}
	case len(s.Teams) == 1:
		at = 0
	case len(s.Teams) == 0:
		return into, exits(exitUsage, errors.New("this person is on no team, so the records would be nobody's: have an admin add the person to one, then tandem sync"))
	default:
		return into, exits(exitUsage, fmt.Errorf("this person is on %d teams: say which with --team: %s", len(s.Teams), teamNames(a, dev, s)))
	}
	into.Team = s.Teams[at]
	if at < len(s.Programs) {
		into.Program = s.Programs[at]
	}
	return into, nil
}

// teamNames are the teams of who works on a device, by id and name; the name is missing where
// the device has not synced it yet.
func teamNames(a *app, dev *client.Client, s *client.Session) string {
	var out []string
	for _, id := range s.Teams {
		text := id.String()
		if view, err := dev.Get(a.ctx, id); err == nil {
			if m, ok := view.Message.(*tandemv1.Team); ok && m.GetName() != "" {
				text += " (" + m.GetName() + ")"
			}
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// check reads every row before any is kept, and stops where one is bad unless the
// good ones are wanted all the same.
func (c *importSheetCmd) check(a *app, file *mapping.File, into mapping.Envelope, done *imported) error {
	at, finish := a.bytes(file.Size(), "checking")
	sum, err := file.Check(a.ctx, into, at)
	finish()
	if err != nil {
		if a.ctx.Err() != nil {
			return err
		}
		return exits(exitBadInput, fmt.Errorf("nothing was imported: %w", err))
	}
	done.Rows, done.Bad = sum.Rows, sum.Bad
	for _, bad := range sum.Errors {
		fmt.Fprintln(a.err, bad)
	}
	if more := sum.Bad - len(sum.Errors); more > 0 {
		fmt.Fprintf(a.err, "… and %d more\n", more)
	}
	if sum.Bad > 0 && !c.KeepGoing {
		return exits(exitBadInput, fmt.Errorf("nothing was imported: %d of %d rows are bad; mend the file or the mapping, or say --keep-going to import the others", sum.Bad, sum.Rows))
	}
	return nil
}

// bring captures every good row in one transaction.
func (c *importSheetCmd) bring(a *app, dev *client.Client, file *mapping.File, into mapping.Envelope, done *imported) error {
	at, finish := a.bytes(file.Size(), "importing")
	defer finish()
	_, err := dev.Bulk(a.ctx, func(b *client.Bulk) error {
		for row, err := range file.Rows(a.ctx, into) {
			if _, bad := errors.AsType[*mapping.RowError](err); bad {
				continue
			}
			if err != nil {
				return err
			}
			at(row.End)
			there, err := b.Exists(row.Record)
			if err != nil {
				return err
			}
			if there {
				done.Already++
				continue
			}
			if err := c.row(b, dev, &row); err != nil {
				return fmt.Errorf("nothing was imported: line %d: %w", row.Line, err)
			}
			done.Added++
		}
		return nil
	})
	return err
}

func (c *importSheetCmd) row(b *client.Bulk, dev *client.Client, row *mapping.Row) error {
	msg, err := dev.Domain().Message(&syncengine.Record{ID: row.Record, Kind: row.Write.GetKind(), Body: row.Write.GetBody()})
	if err != nil {
		return err
	}
	_, err = b.Edit(func(e *client.Edit) error {
		_, err := e.Create(msg, client.WithID(row.Record), client.WithImport(row.Write.GetImportedFrom()))
		return err
	})
	return err
}

// bytes is progress through a file.
func (a *app) bytes(total int64, what string) (at func(read int64), done func()) {
	add, done := a.progress(int(total), what)
	var last int64
	return func(read int64) {
		add(int(read - last))
		last = read
	}, done
}
