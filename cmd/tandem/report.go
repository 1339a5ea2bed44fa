package main

import (
	"fmt"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

type reportCmd struct {
	dataFlag
	From string `placeholder:"DATE" help:"First day, YYYY-MM-DD."`
	To   string `placeholder:"DATE" help:"Day after the last, YYYY-MM-DD."`
	Zone string `placeholder:"ZONE" help:"Time zone of the days, an IANA name; the agency's own (the first agency's) unless given."`
	Lang string `default:"en" enum:"en,es" help:"Language of the text: en or es."`
	JSON bool   `help:"Print one line of JSON."`
}

func (reportCmd) Help() string {
	return `Counts the calls at the server: by type, month, outcome and police action, and how many
met somebody. It says of how many nothing is known, and breaks nothing down finer than
the source's times allow.

  tandem report --data tandem-data
  tandem report --from 2026-01-01 --to 2026-04-01 --json`
}

func (c *reportCmd) Run(a *app) (err error) {
	st, err := c.open(a, false)
	if err != nil {
		return err
	}
	defer closing(st, &err)
	org, err := c.org(a.ctx, st)
	if err != nil {
		return err
	}
	domain := record.New()
	if c.Zone == "" {
		if c.Zone, err = agencyZone(a, st, org.ID, domain); err != nil {
			return err
		}
	}
	o := report.CallOptions{}
	if o.Zone, err = time.LoadLocation(c.Zone); err != nil {
		return exits(exitUsage, fmt.Errorf("--zone: %w", err))
	}
	for _, day := range []struct {
		flag, text string
		into       *time.Time
	}{{"--from", c.From, &o.From}, {"--to", c.To, &o.To}} {
		if day.text == "" {
			continue
		}
		if *day.into, err = time.ParseInLocation(time.DateOnly, day.text, o.Zone); err != nil {
			return exits(exitUsage, fmt.Errorf("%s: want a date as YYYY-MM-DD", day.flag))
		}
	}
	kind, counted := domain.KindOf((*tandemv1.Incident)(nil)), 0
	r, err := report.Calls(func(f func(*syncengine.Record) error) error {
		return st.EachRecord(a.ctx, org.ID, kind.Number, func(rec *syncengine.StoredRecord) error {
			counted++
			return f(&rec.Record)
		})
	}, o)
	if err != nil {
		return err
	}
	// What is not in the log is not shown.
	if err := server.NewAdmin(st, org, server.AdminOptions{}).Exported(a.ctx, "report calls", counted); err != nil {
		return err
	}
	if c.JSON {
		return a.json(r)
	}
	return r.WriteText(a.out, c.Lang)
}
