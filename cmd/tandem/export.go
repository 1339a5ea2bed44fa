package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/bulk"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

type exportCmd struct {
	dataFlag
	To        string   `placeholder:"DIR" help:"Directory to make; it must not exist."`
	Format    string   `default:"csv" enum:"csv,xlsx,parquet,fhir" help:"Form of the files: csv, xlsx (one workbook), parquet, fhir (R4 resources as NDJSON)."`
	Fields    string   `default:"full" enum:"full,limited,safe_harbor" help:"Set of fields: full; limited (dates, towns and ZIP codes, no direct identifiers; needs --agreement); safe_harbor (de-identified)."`
	Agreement string   `placeholder:"TEXT" help:"Data use agreement under which a limited set goes to its recipient."`
	Purpose   string   `required:"" help:"What the export is for, in words. It is kept in the accounting of disclosures."`
	Recipient string   `required:"" help:"Who receives it, in words. It is kept in the accounting of disclosures."`
	Basis     string   `required:"" placeholder:"CODE" help:"Legal basis: treatment, payment_ops, required_by_law, court_order, public_health, research, part2_emergency."`
	As        string   `placeholder:"ID" help:"Member of staff who exports: only what that person may see. Without it the operator of the server exports all."`
	Approved  string   `name:"approved-by" placeholder:"ID" help:"Second lead or admin, where a person exports more than 500 people."`
	Kinds     []string `name:"kind" placeholder:"KIND" help:"Kind of record, for example incident; may be given several times. Without it: all but notes."`
	Types     []string `name:"type" placeholder:"TYPE" help:"Type of FHIR resource, for example Encounter; may be given several times."`
	From      string   `placeholder:"DAY" help:"Only what happened on this day or later (YYYY-MM-DD)."`
	Until     string   `placeholder:"DAY" help:"Only what happened on this day or before it."`
	Since     uint64   `placeholder:"SEQ" help:"Only what has changed after this sequence, which the manifest of an earlier export names."`
	ToAge     []string `name:"to-age" placeholder:"KEY" help:"Encrypt each file to this public key of age (age1…); may be given several times."`
	Notes     bool     `help:"With the notes."`
	Drafts    bool     `help:"With drafts."`
	Void      bool     `help:"With void records."`
	SUD       bool     `name:"sud" help:"With records of a substance use program (42 CFR Part 2), where the basis allows it."`
	Labels    string   `default:"" enum:",en,es" placeholder:"LANG" help:"A column of labels beside each column of codes: en or es."`
	Machine   bool     `help:"For a program that reads it: text as it is, without the apostrophe that keeps a spreadsheet from running it."`
	BOM       bool     `name:"bom" help:"Begin each file with a byte order mark."`
	Preview   bool     `help:"Only count: say which files there would be, with how many rows."`
	JSON      bool     `help:"Print one line of JSON."`
}

func (exportCmd) Help() string {
	return `Writes records as files that other programs read: one moment of the database, under one
person's rights, with a codebook and a manifest of checksums. Who received what and why
is in the accounting of disclosures before the first byte is written. Half an export never
looks whole. Where it was killed, the same command into the same directory goes on within a
day, as of the moment of the first one; what is stopped with Ctrl-C leaves nothing.

  tandem export --data tandem-data --to q1 --purpose "quarterly report" --recipient "County health" --basis payment_ops
  tandem export --preview --purpose "quarterly report" --recipient "County health" --basis payment_ops
  tandem export --to study --fields safe_harbor --purpose "a study" --recipient "State university" --basis research
  tandem export --to records --format fhir --to-age age1… --purpose "hand-over" --recipient "Example Health" --basis treatment
  tandem export --to calls --kind incident --labels en --purpose audit --recipient Auditor --basis required_by_law --json`
}

// exported is what an export came to.
type exported struct {
	ID       string         `json:"id"`
	To       string         `json:"to"`
	Seq      uint64         `json:"seq"`
	Records  int64          `json:"records"`
	Files    int            `json:"files"`
	Manifest string         `json:"manifest_sha256"`
	LeftOut  export.LeftOut `json:"left_out"`
}

func (c *exportCmd) Run(a *app) (err error) {
	if (c.To == "") != c.Preview {
		return exits(exitUsage, errors.New("say where to with --to DIR, or only count with --preview"))
	}
	now := time.Now()
	o := export.Options{
		Purpose: c.Purpose, Recipient: c.Recipient, Kinds: c.Kinds, Notes: c.Notes, Drafts: c.Drafts, Void: c.Void, SUD: c.SUD,
		Format: c.Format, Set: c.Fields, Agreement: c.Agreement, Basis: c.Basis, Types: c.Types, From: c.From, Until: c.Until, Since: c.Since, At: now,
		Labels: c.Labels, ExcelSafe: !c.Machine, BOM: c.BOM, Generator: "tandem " + version(),
	}
	for flag, into := range map[string]struct {
		text string
		id   *syncengine.ID
	}{"--as": {c.As, &o.Person}, "--approved-by": {c.Approved, &o.Approver}} {
		if into.text == "" {
			continue
		}
		if *into.id, err = syncengine.ParseID(into.text); err != nil {
			return exits(exitUsage, fmt.Errorf("%s: %w", flag, err))
		}
	}
	encrypt, err := encryptTo(c.ToAge)
	if err != nil {
		return exits(exitUsage, err)
	}
	if encrypt != nil {
		o.Encrypt = func(_ string, w io.Writer) (io.WriteCloser, error) { return encrypt(w) }
	}
	if o.ID, err = syncengine.NewID(now.UnixMilli(), rand.Reader); err != nil {
		return err
	}
	return c.admin(a, func(ad *server.Admin, st *store.Store, org *store.Org) (err error) {
		if c.Preview {
			return c.preview(a, st, org, ad, o)
		}
		note := &server.ExportNote{By: o.Person, Recipient: c.Recipient, Purpose: c.Purpose, Basis: c.Basis, What: []string{"other"}, Form: c.form()}
		if err := note.CheckExport(); err != nil {
			return exits(exitUsage, err)
		}
		here := &bulk.Here{Store: st, Org: org, Admin: ad, To: c.To, Note: note, Keys: c.ToAge}
		add, finish := a.progress(0, "exporting")
		o.Progress = add
		m, digest, err := here.Write(a.ctx, o)
		finish()
		if err != nil {
			return exportExit(err)
		}
		done := &exported{
			ID: m.ID, To: c.To, Seq: m.Seq, Records: m.Records, Files: len(m.Files) + 1, Manifest: hex.EncodeToString(digest[:]), LeftOut: m.LeftOut,
		}
		if c.JSON {
			return a.json(done)
		}
		a.say("%d records as they were at sequence %d, in %d files: %s. Left out: %d drafts, %d void.\nManifest SHA-256 %s, which the audit log keeps.",
			done.Records, done.Seq, done.Files, c.To, done.LeftOut.Drafts, done.LeftOut.Void, done.Manifest)
		return nil
	})
}

// form is that of the files and the set of fields, as the audit log has it.
func (c *exportCmd) form() string {
	if c.Fields == export.Full {
		return c.Format
	}
	return c.Format + " " + c.Fields
}

// preview says what an export would hold. That it was counted is in the audit log before
// it is shown.
func (c *exportCmd) preview(a *app, st *store.Store, org *store.Org, admin *server.Admin, o export.Options) error {
	p, err := export.Count(a.ctx, st, org, o)
	if err != nil {
		return exportExit(err)
	}
	if err := admin.Exported(a.ctx, "export preview", int(p.Records)); err != nil {
		return err
	}
	if c.JSON {
		return a.json(p)
	}
	for _, t := range p.Tables {
		if t.Rows > 0 {
			a.say("%8d rows, %3d columns  %s.csv", t.Rows, len(t.Columns), t.Name)
		}
	}
	a.say("%d records as they are at sequence %d. Left out: %d drafts, %d void.", p.Records, p.Seq, p.LeftOut.Drafts, p.LeftOut.Void)
	if p.NeedsApproval {
		a.say("It names more than %d people: a second lead or admin has to approve it (--approved-by).", export.ManyPeople)
	}
	return nil
}

// exportExit gives an export's error its exit code.
func exportExit(err error) error {
	if _, ok := errors.AsType[*export.UnknownKindError](err); ok {
		return exits(exitUsage, fmt.Errorf("--kind: %w", err))
	}
	for _, wrong := range []error{export.ErrSet, export.ErrFormat, export.ErrAgreement, export.ErrResearch, export.ErrIdentified, export.ErrDrafts, export.ErrPeriod, export.ErrType} {
		if errors.Is(err, wrong) {
			return exits(exitUsage, err)
		}
	}
	if errors.Is(err, export.ErrExists) || errors.Is(err, export.ErrBusy) || export.Refused(err) {
		return exits(exitBadInput, err)
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("nothing was exported: %w", err)
}
