package main

import (
	"errors"
	"strings"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

type statusCmd struct {
	passphraseFlag

	Store string `placeholder:"DIR" xor:"what" help:"Directory of a device's store."`
	Data  string `placeholder:"DIR" xor:"what" help:"Directory of a server's data."`
	databaseFlag

	Org  string `placeholder:"ID" help:"Org, where the server holds several."`
	JSON bool   `help:"Print one line of JSON."`
}

func (statusCmd) Help() string {
	return `Says what the device holds, what still waits to be sent, what needs a person, and when
each part was last proved identical to the server's. Of a server's data it says whether
it was restored, what came back from whom, and who has not reported yet.

  tandem status --store ~/car12
  tandem status --data tandem-data`
}

func (c *statusCmd) Run(a *app) (err error) {
	switch {
	case c.Data != "":
		return (&adminRecoverStatusCmd{dataFlag: dataFlag{placeFlag{c.Data, c.databaseFlag}, c.Org}, JSON: c.JSON}).Run(a)
	case c.Store == "":
		return exits(exitUsage, errors.New("name a device's store with --store, or a server's data with --data"))
	}
	dev, err := storeFlag{passphraseFlag: c.passphraseFlag, Store: c.Store}.open(a, false, client.Options{})
	if err != nil {
		return err
	}
	defer closing(dev, &err)
	st, err := dev.Status(a.ctx)
	if err != nil {
		return err
	}
	var refused, damaged []client.NotAccepted
	if !st.WipeOrdered {
		if refused, err = dev.Quarantined(a.ctx); err != nil {
			return err
		}
		if damaged, err = dev.Damaged(a.ctx); err != nil {
			return err
		}
	}
	waiting, err := dev.Estimate(a.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		out := statusJSON(st, refused, waiting)
		list := make([]map[string]any, 0, len(damaged))
		for i := range damaged {
			list = append(list, map[string]any{"op": damaged[i].Op, "saved_at": stamp(damaged[i].AtMS), "why": damaged[i].Words})
		}
		out["damaged"] = list
		return a.json(out)
	}
	c.print(a, dev, st, refused, waiting)
	for i := range damaged {
		a.say("Needs attention (save %d of %s): %s. See tandem quarantine show.", damaged[i].Op, ago(damaged[i].AtMS), damaged[i].Words)
	}
	return nil
}

// statusJSON is the stable form for scripts.
func statusJSON(st *client.Status, refused []client.NotAccepted, waiting client.Estimate) map[string]any {
	scopes := make([]map[string]any, 0, len(st.Scopes))
	for _, s := range st.Scopes {
		scopes = append(scopes, map[string]any{
			"scope": s.ID, "compartment": compartment(s.Compartment), "open": s.Open, "ready": s.Ready,
			"digest": s.Digest, "verified_at": stamp(s.VerifiedMS),
		})
	}
	kept := make([]map[string]any, 0, len(refused))
	for _, n := range refused {
		kept = append(kept, map[string]any{"op": n.Op, "why": n.Words})
	}
	return map[string]any{
		"enrolled": st.Enrolled, "vault": st.Vault, "wipe_ordered": st.WipeOrdered, "records": st.Records, "queued": st.Queued, "queued_bytes": st.QueuedBytes,
		"oldest_queued": stamp(st.OldestMS), "in_transit": st.Applied, "not_accepted": kept,
		"conflicts": st.Conflicts, "drafts": st.Drafts, "last_contact": stamp(st.LastContactMS),
		"unconfirmed": st.Unconfirmed, "suspended": st.Suspended, "recovering": st.Recovering, "repairing": st.Repairing, "sent_again": st.Again, "lost": st.Lost,
		"verified_at": stamp(st.VerifiedMS), "note": st.Note, "noted_at": stamp(st.NotedMS),
		"sealed": map[string]any{
			"on": st.Sealed.On, "bytes": st.Sealed.Bytes, "entries": st.Sealed.Entries, "behind": st.Sealed.Behind, "waiting_for_backups": st.Sealed.Waiting,
			"let_go": st.Sealed.LetGo, "earlier": st.Sealed.Earlier, "damaged": st.Sealed.Damaged, "fault": st.Sealed.Fault,
		},
		"clock_offset_ms": st.OffsetMS, "clock_uncertainty_ms": st.UncertaintyMS, "clock_skewed": st.Skewed,
		"charts_close": stamp(st.LeaseEndsMS), "charts_closed": st.Closed,
		"waiting": waitingJSON(waiting), "last_fault": st.LastFault, "forked": st.Forked, "update_app": st.Update, "audit_rewritten": st.AuditRewritten, "emergencies": st.Emergencies, "scopes": scopes,
	}
}

// waitingJSON is what waits to be sent, for scripts; seconds are null while the link
// is not known.
func waitingJSON(waiting client.Estimate) []map[string]any {
	out := make([]map[string]any, 0, len(waiting))
	for _, w := range waiting {
		part := map[string]any{
			"class": strings.ToLower(strings.TrimPrefix(w.Class.String(), "CLASS_")), "saves": w.Saves, "bytes": w.Bytes, "seconds": nil,
		}
		if w.Kinds != nil {
			part["kinds"] = w.Kinds
		}
		if w.Takes > 0 {
			part["seconds"] = w.Takes.Seconds()
		}
		out = append(out, part)
	}
	return out
}

func (c *statusCmd) print(a *app, dev *client.Client, st *client.Status, refused []client.NotAccepted, waiting client.Estimate) {
	if !st.Enrolled {
		a.say("Not enrolled yet: tandem enroll --store %s --server URL", c.Store)
		return
	}
	if s, err := dev.Session(); err == nil {
		a.say("%s (%s), device %q, server %s", s.Name, strings.Join(s.Roles, ", "), s.Label, s.Server)
	}
	a.say("%d records here%s. Last contact: %s.", st.Records, map[bool]string{true: ", in a vault"}[st.Vault], ago(st.LastContactMS))
	if st.WipeOrdered {
		a.say("%v.", client.ErrWipeOrdered)
	}
	if st.Queued == 0 {
		a.say("Everything is sent.")
	} else {
		a.say("%d saves wait to be sent (%s), the oldest from %s.", st.Queued, size(st.QueuedBytes), ago(st.OldestMS))
		a.say("With signal: %s.", waiting)
	}
	if st.Skewed {
		way := "behind"
		if st.OffsetMS < 0 {
			way = "ahead of"
		}
		a.say("This device's clock is %s %s the server's: set it. What is saved is dated by both.",
			(time.Duration(max(st.OffsetMS, -st.OffsetMS)) * time.Millisecond).Round(time.Second), way)
	}
	if st.Closed {
		a.say("Charts are closed: there was no contact for too long. They open with the next sync; saves go on.")
	} else if st.LeaseEndsMS > 0 {
		a.say("Charts stay open without contact until %s.", ago(st.LeaseEndsMS))
	}
	if st.LastFault != "" {
		a.say("The newest contact came to nothing: %s", st.LastFault)
	}
	if st.Update != "" {
		a.say("This app must be updated: %s.", st.Update)
	}
	switch st.Emergencies {
	case 0:
	case 1:
		a.say("1 person's record was opened in an emergency and waits for your review: tandem admin emergency list.")
	default:
		a.say("%d people's records were opened in emergencies and wait for your review: tandem admin emergency list.", st.Emergencies)
	}
	if st.AuditRewritten != "" {
		a.say("Tell your administrator: %s. See tandem verify audit.", st.AuditRewritten)
	}
	if st.Conflicts > 0 {
		a.say("%d records hold different values that a person should settle.", st.Conflicts)
	}
	for _, n := range refused {
		a.say("Not accepted, kept (save %d): %s", n.Op, n.Words)
	}
	c.identity(a, st)
	sealedLines(a, c.Store, &st.Sealed)
	for _, s := range st.Scopes {
		tier := "the rest"
		if s.Open {
			tier = "open work"
		}
		switch {
		case !s.Ready:
			a.say("  %-10s %-9s still arriving", compartment(s.Compartment), tier)
		case s.VerifiedMS == 0:
			a.say("  %-10s %-9s nothing to verify yet", compartment(s.Compartment), tier)
		default:
			a.say("  %-10s %-9s verified identical %s", compartment(s.Compartment), tier, ago(s.VerifiedMS))
		}
	}
}

// identity says what befell the store or the server.
func (c *statusCmd) identity(a *app, st *client.Status) {
	if st.Again > 0 {
		a.say("%d of them the server had received before it was restored: they are sent again.", st.Again)
	}
	if st.Lost > 0 {
		a.say("%d saves are at the server no more and are kept here only in their records: tell your administrator.", st.Lost)
	}
	if st.Forked {
		a.say("This store is a copy of another, or was set back: at the next sync it gets an id of its own. Nothing is lost.")
	}
	if st.Suspended {
		a.say("An administrator has suspended this device: nothing is sent or received until they lift that. What is unsent stays here.")
	}
	if st.Unconfirmed {
		a.say("This store has a new id, since it was copied or set back. It sends; to receive again run tandem enroll --store %s with a new code, or ask your administrator to confirm it.", c.Store)
	}
	if st.Recovering {
		a.say("The server was restored and is being checked: it takes what is sent from here, and sends nothing until its administrator is done.")
	}
	if st.Repairing {
		a.say("What is held here is being compared with the server's.")
	}
	if st.Note != "" {
		a.say("%s: %s.", ago(st.NotedMS), st.Note)
	}
	if st.VerifiedMS != 0 && !st.Repairing {
		a.say("Verified identical at %s.", ago(st.VerifiedMS))
	}
}

// sealedLines says what a person should know of the sealed outbox.
func sealedLines(a *app, store string, s *client.SealedStatus) {
	if s.Fault != "" {
		a.say("Saves are not sealed at the moment: %s", s.Fault)
	}
	if s.Behind > 0 {
		a.say("%d unsent saves stand in the store alone.", s.Behind)
	}
	if s.LetGo > 0 {
		a.say("%d sent saves are kept at the server alone, which has not reported two verified backups of them: tell your administrator.", s.LetGo)
	}
	if s.Earlier > 0 {
		a.say("%d saves of an earlier store stand in the sealed outbox: tandem sealed deliver --store %s", s.Earlier, store)
	}
	if s.Damaged > 0 {
		a.say("The sealed outbox is damaged in %d places: check the disk.", s.Damaged)
	}
}

// compartment is the compartment's name in text.
func compartment(c tandemv1.Compartment) string {
	return strings.ToLower(strings.TrimPrefix(c.String(), "COMPARTMENT_"))
}

// stamp is a time for scripts; nil for never.
func stamp(ms int64) any {
	if ms == 0 {
		return nil
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

// ago is a time for people.
func ago(ms int64) string {
	if ms == 0 {
		return "never"
	}
	return time.UnixMilli(ms).Local().Format("2006-01-02 15:04")
}
