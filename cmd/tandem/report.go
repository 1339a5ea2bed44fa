package main

import (
	"fmt"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

type reportCmd struct {
	Calls    reportCallsCmd    `cmd:"" default:"withargs" help:"Count calls by type, month and outcome."`
	Outcomes reportOutcomesCmd `cmd:"" help:"Compute the metrics of outcomes."`
	Publish  reportPublishCmd  `cmd:"" help:"Make a public report and keep it as it is."`
	List     reportListCmd     `cmd:"" help:"List published reports."`
	Show     reportShowCmd     `cmd:"" help:"Write a published report."`
}

func (reportCmd) Help() string {
	return `Without a command of its own it counts calls.

  tandem report --from 2026-01-01 --to 2026-04-01
  tandem report outcomes --from 2026-01-01 --to 2026-04-01`
}

type reportCallsCmd struct {
	dataFlag
	periodFlags

	Lang string `default:"en" enum:"en,es" help:"Language of the text: en or es."`
	JSON bool   `help:"Print one line of JSON."`
}

func (reportCallsCmd) Help() string {
	return `Counts the calls at the server: by type, month, outcome and police action, and how many
met somebody. It says of how many nothing is known, and breaks nothing down finer than
the source's times allow.

  tandem report calls --data tandem-data
  tandem report calls --from 2026-01-01 --to 2026-04-01 --json`
}

func (c *reportCallsCmd) Run(a *app) (err error) {
	return c.admin(a, func(ad *server.Admin, st *store.Store, org *store.Org) (err error) {
		o := report.CallOptions{}
		if o.Zone, o.From, o.To, err = c.read(a, st, org, syncengine.ID{}); err != nil {
			return err
		}
		if o.Own, err = ownCodes(a, st, org); err != nil {
			return err
		}
		kind, counted := record.New().KindOf((*tandemv1.Incident)(nil)), 0
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
		if err := ad.Exported(a.ctx, "report calls", counted); err != nil {
			return err
		}
		if c.JSON {
			return a.json(r)
		}
		return r.WriteText(a.out, c.Lang)
	})
}

// ownCodes are the codes that agencies have added.
func ownCodes(a *app, st *store.Store, org *store.Org) (*record.OwnCodes, error) {
	own, kind := &record.OwnCodes{}, record.New().KindOf((*tandemv1.CodeSet)(nil))
	return own, st.EachRecord(a.ctx, org.ID, kind.Number, func(rec *syncengine.StoredRecord) error {
		var m tandemv1.CodeSet
		if err := proto.Unmarshal(rec.Body, &m); err != nil {
			return fmt.Errorf("reading code set %s: %w", rec.ID, err)
		}
		if m.GetLifecycle() == record.Active {
			own.Add(&m)
		}
		return nil
	})
}
