package main

import (
	"errors"
	"fmt"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

type importExportCmd struct {
	placeFlag

	Dir  string `arg:"" type:"existingdir" help:"Directory that tandem export has made: --machine, in the clear, of everything."`
	Name string `placeholder:"NAME" help:"Name of the legal owner, where it is to be another than in the export."`
	JSON bool   `help:"Print one line of JSON."`
}

func (importExportCmd) Help() string {
	return `Makes a server's data of a full export: every record as it was, with its id, its author and
time, its revision and its state. What an export does not carry (accounts, enrolled devices,
history, the audit log, the bytes of attachments) is not there. All files are checked
before anything is changed; what was broken off goes on when it is run again.

  tandem export --data old --to records --machine --drafts --void --notes --sud --purpose "new server" --recipient ourselves --basis payment_ops
  tandem import export records --data new
  tandem import export records --data new --database postgres://tandem@db.example/tandem --json`
}

// loadBatch is how many records are stored in one transaction.
const loadBatch = 500

// reimported is what reading an export back came to.
type reimported struct {
	Org     string `json:"org"`
	Export  string `json:"export_id"`
	Records int64  `json:"records"`
	// Added are those that an import which was broken off had not brought before.
	Added    int64          `json:"added"`
	Manifest string         `json:"manifest_sha256"`
	LeftOut  export.LeftOut `json:"left_out"`
}

func (c *importExportCmd) Run(a *app) (err error) {
	p, err := export.Open(c.Dir)
	if err != nil {
		return importExit(err)
	}
	add, finish := a.progress(int(p.Manifest.Records), "checking")
	err = p.Check(a.ctx, func() { add(1) })
	finish()
	if err != nil {
		return importExit(err)
	}
	name := p.Manifest.OrgName
	if c.Name != "" {
		name = c.Name
	}
	if name == "" {
		return exits(exitUsage, errors.New("this export does not say whose it is: give the name of the legal owner with --name"))
	}
	st, err := openData(a.ctx, c.placeFlag, store.Options{Create: true, Import: true, Serve: true})
	if err != nil {
		return importExit(err)
	}
	defer closing(st, &err)
	org, _, err := st.BeginImport(a.ctx, p.Org, name)
	if err != nil {
		return importExit(err)
	}
	done := &reimported{Org: org.ID.String(), Export: p.Manifest.ID, Records: p.Manifest.Records, Manifest: fmt.Sprintf("%x", p.Digest[:]), LeftOut: p.Manifest.LeftOut}
	if err := c.bring(a, p, server.NewAdmin(st, org, server.AdminOptions{}), done); err != nil {
		return importExit(err)
	}
	if c.JSON {
		return a.json(done)
	}
	a.say("%d records of org %s are there as they were exported; %d drafts and %d void ones had been left out. Next: tandem admin account, to let people sign in, and tandem admin code, to enrol devices.",
		done.Records, done.Org, done.LeftOut.Drafts, done.LeftOut.Void)
	return nil
}

func (*importExportCmd) bring(a *app, p *export.Package, admin *server.Admin, done *reimported) error {
	note := &server.ImportNote{Manifest: p.Digest}
	var err error
	if note.Export, err = syncengine.ParseID(p.Manifest.ID); err != nil {
		return export.ErrNoExport
	}
	if err := admin.BeginImport(a.ctx, note); err != nil {
		return err
	}
	add, finish := a.progress(int(p.Manifest.Records), "importing")
	defer finish()
	batch := make([]*syncengine.Loaded, 0, loadBatch)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		n, err := admin.Load(a.ctx, batch)
		add(len(batch))
		done.Added += int64(n)
		batch = batch[:0]
		return err
	}
	if err := p.Each(a.ctx, func(l *syncengine.Loaded) error {
		if batch = append(batch, l); len(batch) < loadBatch {
			return nil
		}
		return flush()
	}); err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	return admin.EndImport(a.ctx, note, p.Manifest.Records)
}

// importExit gives the error of an import its exit code.
func importExit(err error) error {
	for _, wrong := range []error{store.ErrImportTarget, store.ErrName} {
		if errors.Is(err, wrong) {
			return exits(exitUsage, err)
		}
	}
	if _, ok := errors.AsType[*export.RowError](err); ok || export.Unreadable(err) || errors.Is(err, server.ErrOtherImport) {
		return exits(exitBadInput, fmt.Errorf("nothing was changed: %w", err))
	}
	return err
}
