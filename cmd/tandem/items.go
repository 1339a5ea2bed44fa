package main

import (
	"fmt"
	"time"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
)

type adminItemsCmd struct {
	asFlag
	Kind string `placeholder:"CODE" help:"Only items of a kind, for example time_suspect."`
	All  bool   `help:"Also those that are closed."`
}

func (adminItemsCmd) Help() string {
	return `What records ask of a person: values that differ, edits that came late, times from a clock
that was wrong (time_suspect). A lead sees those of the teams and compartments that the lead
holds. Of an item stand the time that was entered and the time by the server's clock, with
how far that may be off.

  tandem admin items --as STAFF
  tandem admin items --as STAFF --kind time_suspect --json`
}

func (c *adminItemsCmd) Run(a *app) error {
	return c.deciding(a, "", func(ad *server.Admin, as, _ syncengine.ID) error {
		items, err := ad.Items(a.ctx, as, !c.All)
		if err != nil {
			return err
		}
		n := 0
		for i := range items {
			item := &items[i]
			if c.Kind != "" && c.Kind != string(item.Kind) {
				continue
			}
			n++
			if err := c.print(a, item); err != nil {
				return err
			}
		}
		if n == 0 && !c.JSON {
			a.say("Nothing that this person is asked for.")
		}
		return nil
	})
}

func (c *adminItemsCmd) print(a *app, item *server.Item) error {
	kind := "record"
	if item.RecordKind != nil {
		kind = item.RecordKind.Name
	}
	if c.JSON {
		out := map[string]any{
			"item": string(item.Kind), "record": item.Record.String(), "kind": kind, "open": item.ClosedSeq == 0,
			"words": map[string]string{"en": item.EN, "es": item.ES}, "entered_at": stamp(item.AtMS), "corrected_at": stamp(item.CorrectedMS),
		}
		if !item.Author.IsZero() {
			out["author"] = item.Author.String()
		}
		if item.UncertaintyMS >= 0 && item.CorrectedMS != 0 {
			out["uncertainty_ms"] = item.UncertaintyMS
		}
		if field := fieldNameOf(item); field != "" {
			out["field"] = field
		}
		return a.json(out)
	}
	about := kind + " " + item.Record.String()
	if field := fieldNameOf(item); field != "" {
		about += " " + field
	}
	a.say("%s  %s", about, item.EN)
	if item.Kind == syncengine.ItemTimeSuspect {
		a.say("  entered as %s; by the server's clock %s", ago(item.AtMS), corrected(item))
	}
	return nil
}

// corrected is the time by the server's clock, in words.
func corrected(item *server.Item) string {
	at := ago(item.CorrectedMS)
	if item.UncertaintyMS < 0 {
		return at + " or before: nothing tells how long"
	}
	return fmt.Sprintf("%s, give or take %s", at, max(time.Duration(item.UncertaintyMS)*time.Millisecond, time.Second).Round(time.Second))
}

// fieldNameOf is the field that an item is about, empty for the whole record.
func fieldNameOf(item *server.Item) string {
	if item.Path.Field == 0 || item.RecordKind == nil {
		return ""
	}
	if rule := item.RecordKind.Fields[item.Path.Field]; rule != nil {
		return rule.Name
	}
	return fmt.Sprintf("field %d", item.Path.Field)
}
