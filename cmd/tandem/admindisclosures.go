package main

import (
	"errors"
	"strings"
	"time"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

type adminDisclosuresCmd struct {
	dataFlag
	Person string `arg:"" help:"Id of the person's record."`
	Since  string `placeholder:"YYYY-MM-DD" help:"Only what was passed on since; six years unless given."`
	Owed   bool   `help:"Only what an accounting that the person asks for must state."`
	As     string `placeholder:"STAFF" help:"Member of staff who asks, for the audit log."`
	Lang   string `enum:"en,es" default:"en" help:"Language of the words: ${enum}."`
	JSON   bool   `help:"Print JSON, one line each."`
}

func (adminDisclosuresCmd) Help() string {
	return `The accounting of disclosures (45 CFR 164.528, 42 CFR 2.25): when something about a person was
passed on, to whom and where they are, what, and why. Whoever passes something on records it
by doing so: a referral that is sent, a card that police partners are shown, an export. An
export is of a team's records, so it stands with everybody whom the team knew then. What was
recorded in error and voided is left out. That it was asked for is in the audit log.

  tandem admin disclosures 01JC4Z0V6M1T7K2B9QH3X8RDNE
  tandem admin disclosures --owed --since 2024-01-01 --lang es 01JC4Z0V6M1T7K2B9QH3X8RDNE
  tandem admin disclosures --json 01JC4Z0V6M1T7K2B9QH3X8RDNE`
}

func (c *adminDisclosuresCmd) Run(a *app) error {
	person, err := ids("PERSON", c.Person)
	if err != nil {
		return err
	}
	var as syncengine.ID
	if c.As != "" {
		staff, err := ids("--as", c.As)
		if err != nil {
			return err
		}
		as = staff[0]
	}
	var since time.Time
	if c.Since != "" {
		if since, err = time.Parse(time.DateOnly, c.Since); err != nil {
			return exits(exitUsage, errors.New("--since: want a day, for example 2024-01-31"))
		}
	}
	return c.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		all, err := ad.Disclosures(a.ctx, as, person[0], since)
		if err != nil {
			return err
		}
		said := 0
		for i := range all.Disclosures {
			d := &all.Disclosures[i]
			if c.Owed && !d.Owed {
				continue
			}
			said++
			if c.JSON {
				if err := a.json(disclosedJSON(d)); err != nil {
					return err
				}
				continue
			}
			a.say("%s", sayDisclosed(d, c.Lang))
		}
		if said == 0 && !c.JSON {
			a.say("Nothing was passed on since %s.", time.UnixMilli(all.FromMS).UTC().Format(time.DateOnly))
		}
		return nil
	})
}

// disclosedJSON is the stable form for scripts: codes, not words. What is not known is
// absent.
func disclosedJSON(d *server.Disclosed) map[string]any {
	out := map[string]any{"disclosure": d.ID.String(), "at": stamp(d.AtMS), "what": d.What, "part2": d.Part2, "owed": d.Owed}
	for name, text := range map[string]string{
		"recipient": d.Recipient, "address": d.Address, "basis": d.Basis, "purpose": d.Purpose, "need": d.Need, "by": d.By,
	} {
		if text != "" {
			out[name] = text
		}
	}
	for name, id := range map[string]syncengine.ID{"consent": d.Consent, "referral": d.Referral, "export": d.Export} {
		if !id.IsZero() {
			out[name] = id.String()
		}
	}
	return out
}

// sayDisclosed is a disclosure in words.
func sayDisclosed(d *server.Disclosed, lang string) string {
	domain := record.New()
	what := make([]string, len(d.What))
	for i, code := range d.What {
		what[i] = domain.Label("disclosed_field", code, lang)
	}
	joined := func(parts ...string) string {
		var kept []string
		for _, p := range parts {
			if p != "" {
				kept = append(kept, p)
			}
		}
		return strings.Join(kept, "; ")
	}
	basis, need, export, of := "", "", "", ""
	if d.Basis != "" {
		basis = domain.Label("disclosure_basis", d.Basis, lang)
	}
	if d.Need != "" {
		need = domain.KindLabel("referral", lang) + ": " + domain.Label("need", d.Need, lang)
	}
	if !d.Export.IsZero() {
		export = domain.FieldLabel("disclosure", "export_id", lang) + " " + d.Export.String()
	}
	if d.Part2 {
		of = "42 CFR Part 2"
	}
	var text strings.Builder
	text.WriteString(time.UnixMilli(d.AtMS).Local().Format("2006-01-02 15:04"))
	for _, line := range []struct{ label, value string }{
		{domain.FieldLabel("disclosure", "recipient", lang), joined(d.Recipient, d.Address)},
		{domain.FieldLabel("disclosure", "what", lang), strings.Join(what, ", ")},
		{domain.FieldLabel("disclosure", "basis", lang), joined(basis, need, d.Purpose, export, of)},
		{domain.FieldLabel("disclosure", "by", lang), d.By},
	} {
		value := line.value
		if value == "" {
			value = "-"
		}
		text.WriteString("\n  " + line.label + ": " + value)
	}
	return text.String()
}
