package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// periodFlags say what time a report is about.
type periodFlags struct {
	From string `placeholder:"DATE" help:"First day, YYYY-MM-DD."`
	To   string `placeholder:"DATE" help:"Day after the last, YYYY-MM-DD."`
	Zone string `placeholder:"ZONE" help:"Time zone of the days, an IANA name; that of the program's agency (for no program the first agency's) unless given."`
}

// read returns the period; the zone is that of the program's agency where none is named.
func (f *periodFlags) read(a *app, st *store.Store, org *store.Org, program syncengine.ID) (zone *time.Location, from, to time.Time, err error) {
	if f.Zone == "" {
		if f.Zone, err = agencyZone(a, st, org.ID, record.New(), program); err != nil {
			return nil, from, to, err
		}
	}
	if zone, err = time.LoadLocation(f.Zone); err != nil {
		return nil, from, to, exits(exitUsage, fmt.Errorf("--zone: %w", err))
	}
	if from, err = dayFlag("--from", f.From, zone); err != nil {
		return nil, from, to, err
	}
	to, err = dayFlag("--to", f.To, zone)
	return zone, from, to, err
}

func dayFlag(flag, text string, zone *time.Location) (at time.Time, err error) {
	if text == "" {
		return at, nil
	}
	if at, err = time.ParseInLocation(time.DateOnly, text, zone); err != nil {
		return at, exits(exitUsage, fmt.Errorf("%s: want a date as YYYY-MM-DD", flag))
	}
	return at, nil
}

type reportOutcomesCmd struct {
	dataFlag
	periodFlags

	Program    string `placeholder:"ID" help:"One program; every program unless given."`
	AsOf       string `name:"as-of" placeholder:"DATE" help:"Day up to which days are held to have passed, YYYY-MM-DD; today unless given. The same day, data and flags give the same bytes."`
	Population string `placeholder:"FILE" help:"How many people live there: CSV of the columns breakdown,group,people."`
	Public     bool   `help:"As it may be published: small counts hidden, with what would give them away. Nothing is kept: see tandem report publish."`
	Lang       string `default:"en" enum:"en,es" help:"Language of text, CSV and HTML: en or es."`
	Format     string `default:"text" enum:"text,csv,html,json" help:"Form of the output: text, csv, html or json."`
	JSON       bool   `help:"Print one line of JSON."`
}

func (reportOutcomesCmd) Help() string {
	return `Computes the 24 metrics of outcomes over one state of the database, each with its definition,
numerator and denominator, and with the share of what is not known. What nobody recorded is
no data, and not 0. docs/outcomes.md has every formula.

  tandem report outcomes --from 2026-01-01 --to 2026-04-01
  tandem report outcomes --program PROGRAM --public --format html --lang es > resultados.html`
}

// options reads the flags that outcomes and publish share.
func outcomeOptions(a *app, st *store.Store, org *store.Org, f *periodFlags, program, population string) (o report.OutcomeOptions, err error) {
	if program != "" {
		if o.Program, err = syncengine.ParseID(program); err != nil {
			return o, exits(exitUsage, fmt.Errorf("--program: %w", err))
		}
	}
	if o.Zone, o.From, o.To, err = f.read(a, st, org, o.Program); err != nil {
		return o, err
	}
	if population != "" {
		file, err := os.Open(population)
		if err != nil {
			return o, exits(exitBadInput, err)
		}
		defer file.Close() //nolint:errcheck // It was only read.
		if o.Population, err = report.ReadPopulation(file); err != nil {
			return o, exits(exitBadInput, err)
		}
	}
	y, m, d := time.Now().In(o.Zone).Date()
	o.AsOf = time.Date(y, m, d, 0, 0, 0, 0, o.Zone)
	return o, nil
}

// reportExit gives a report's error its exit code.
func reportExit(err error) error {
	for _, refused := range []error{report.ErrNoProgram, report.ErrOpenPeriod, report.ErrOverlap, report.ErrNoReport} {
		if errors.Is(err, refused) {
			return exits(exitBadInput, err)
		}
	}
	return err
}

// write writes a report in a form and language.
func writeReport(w io.Writer, r *report.Outcomes, format, lang, snapshot string) error {
	switch format {
	case "csv":
		return r.WriteCSV(w, lang)
	case "html":
		return r.WriteHTML(w, report.HTMLOptions{Lang: lang, Snapshot: snapshot})
	case "json":
		return r.WriteJSON(w)
	}
	return r.WriteText(w, lang)
}

func (c *reportOutcomesCmd) Run(a *app) (err error) {
	if c.Public && c.Population != "" {
		return exits(exitUsage, errors.New("--population: what is published has no such table, since small counts could be reckoned from it: leave --population or --public out"))
	}
	return c.admin(a, func(ad *server.Admin, st *store.Store, org *store.Org) (err error) {
		o, err := outcomeOptions(a, st, org, &c.periodFlags, c.Program, c.Population)
		if err != nil {
			return err
		}
		if c.AsOf != "" {
			if o.AsOf, err = dayFlag("--as-of", c.AsOf, o.Zone); err != nil {
				return err
			}
		}
		of, what := report.Of, "report outcomes"
		if c.Public {
			of, what = report.PublicOf, "report outcomes for the public"
		}
		r, err := of(a.ctx, st, org.ID, o)
		if err != nil {
			return reportExit(err)
		}
		// What is not in the log is not shown.
		if err := ad.Exported(a.ctx, what, len(r.Metrics)); err != nil {
			return err
		}
		if c.JSON {
			c.Format = "json"
		}
		return writeReport(a.out, r, c.Format, c.Lang, "")
	})
}

type reportPublishCmd struct {
	dataFlag
	periodFlags

	Program string `placeholder:"ID" help:"One program; every program unless given."`
	JSON    bool   `help:"Print one line of JSON."`
}

func (reportPublishCmd) Help() string {
	return `Makes the public report of a period that is over, and keeps it as it is: its id, the state of
the database that it counts and the SHA-256 of its bytes go into the audit log. tandem serve
shows it to everybody under /outcomes. No two published reports of a program overlap, since
what they differ by could be read from them.

  tandem report publish --program PROGRAM --from 2026-01-01 --to 2026-04-01`
}

func (c *reportPublishCmd) Run(a *app) (err error) {
	return c.admin(a, func(_ *server.Admin, st *store.Store, org *store.Org) (err error) {
		o, err := outcomeOptions(a, st, org, &c.periodFlags, c.Program, "")
		if err != nil {
			return err
		}
		now := time.Now()
		id, err := syncengine.NewID(now.UnixMilli(), rand.Reader)
		if err != nil {
			return err
		}
		p, err := report.Publish(a.ctx, st, org, o, id, now)
		if err != nil {
			return reportExit(err)
		}
		if c.JSON {
			return a.json(publishedLine(p))
		}
		a.say("Published as %s: %s to %s, at sequence %d, SHA-256 %x.", p.ID, p.FirstDay, p.EndDay, p.Seq, p.Hash[:])
		return nil
	})
}

func publishedLine(p *store.PublishedReport) map[string]any {
	program := ""
	if !p.Program.IsZero() {
		program = p.Program.String()
	}
	return map[string]any{
		"id": p.ID.String(), "program": program, "from": p.FirstDay, "to": p.EndDay, "zone": p.Zone, "seq": p.Seq,
		"sha256": fmt.Sprintf("%x", p.Hash[:]), "published": stamp(p.CreatedMS),
	}
}

type reportListCmd struct {
	dataFlag

	JSON bool `help:"Print one line of JSON for each report."`
}

func (reportListCmd) Help() string {
	return `Lists the published reports, the newest first. For example:

  tandem report list`
}

func (c *reportListCmd) Run(a *app) (err error) {
	return c.admin(a, func(_ *server.Admin, st *store.Store, org *store.Org) (err error) {
		all, err := st.PublishedReports(a.ctx, org.ID)
		if err != nil {
			return err
		}
		for _, p := range all {
			if c.JSON {
				if err := a.json(publishedLine(p)); err != nil {
					return err
				}
				continue
			}
			program := "all programs"
			if !p.Program.IsZero() {
				program = p.Program.String()
			}
			a.say("%s   %s to %s   %s   sequence %d", p.ID, p.FirstDay, p.EndDay, program, p.Seq)
		}
		return nil
	})
}

type reportShowCmd struct {
	dataFlag

	Report string `arg:"" placeholder:"REPORT" help:"Id of a published report."`
	Lang   string `default:"en" enum:"en,es" help:"Language of text, CSV and HTML: en or es."`
	Format string `default:"text" enum:"text,csv,html,json" help:"Form of the output: text, csv, html or json."`
	JSON   bool   `help:"Print one line of JSON: the bytes that were published."`
}

func (reportShowCmd) Help() string {
	return `Writes a published report, after its bytes were compared with their SHA-256.

  tandem report show REPORT --format html --lang es > resultados.html`
}

func (c *reportShowCmd) Run(a *app) (err error) {
	id, err := syncengine.ParseID(c.Report)
	if err != nil {
		return exits(exitUsage, fmt.Errorf("REPORT: %w; tandem report list shows the ids", err))
	}
	return c.admin(a, func(_ *server.Admin, st *store.Store, org *store.Org) (err error) {
		p, err := st.PublishedReport(a.ctx, org.ID, id)
		if err != nil {
			return err
		}
		r, err := report.ReadPublished(p)
		if err != nil {
			return reportExit(err)
		}
		if c.JSON || c.Format == "json" {
			_, err = a.out.Write(p.Body)
			return err
		}
		return writeReport(a.out, r, c.Format, c.Lang, p.ID.String())
	})
}
