package main

import (
	"errors"
	"strings"
	"time"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	pt "google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

type adminQuarantineCmd struct {
	List    adminQuarantineListCmd    `cmd:"" help:"List what could not be applied, as far as the person may see it."`
	Show    adminQuarantineShowCmd    `cmd:"" help:"Show what such a change says; for leads."`
	Release adminQuarantineReleaseCmd `cmd:"" help:"Apply it as it is, with what waits for it; for leads."`
	Replace adminQuarantineReplaceCmd `cmd:"" help:"Write it again with other values, as the lead's own; for leads."`
	Quote   adminQuarantineQuoteCmd   `cmd:"" help:"Copy its words into a note of the lead's own that names the author, and close it; for leads."`
	Dismiss adminQuarantineDismissCmd `cmd:"" help:"Close it with a reason; for leads."`
}

func (adminQuarantineCmd) Help() string {
	return `Every change that could not be applied is kept whole until somebody decides on it. A lead
sees those that name only teams and compartments that the lead holds; an administrator sees
that the others are there. What waits for a record that has not come is applied by itself
when it comes.

  tandem admin quarantine list --as STAFF
  tandem admin quarantine show --as STAFF CHANGE
  tandem admin quarantine release --as STAFF CHANGE
  tandem admin quarantine dismiss --as STAFF CHANGE --reason "entered twice"`
}

// asFlag says who decides.
type asFlag struct {
	dataFlag
	As   string `required:"" placeholder:"STAFF" help:"Id of the member of staff who looks or decides."`
	JSON bool   `help:"Print JSON, one line each."`
}

// deciding runs do as a member of staff, on one change where there is one.
func (f *asFlag) deciding(a *app, change string, do func(ad *server.Admin, as, id syncengine.ID) error) error {
	as, err := ids("--as", f.As)
	if err != nil {
		return err
	}
	var id syncengine.ID
	if change != "" {
		if id, err = syncengine.ParseID(change); err != nil {
			return exits(exitUsage, errors.New("want the id of a change, as tandem admin quarantine list prints it"))
		}
	}
	return f.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error {
		err := do(ad, as[0], id)
		_, undecided := errors.AsType[*server.UndecidedError](err)
		if undecided || errors.Is(err, syncengine.ErrNoItem) || errors.Is(err, server.ErrStaffInactive) {
			return exits(exitBadInput, err)
		}
		return err
	})
}

type adminQuarantineListCmd struct{ asFlag }

func (adminQuarantineListCmd) Help() string {
	return `For example:

  tandem admin quarantine list --as STAFF
  tandem admin quarantine list --as STAFF --json`
}

func (c *adminQuarantineListCmd) Run(a *app) error {
	return c.deciding(a, "", func(ad *server.Admin, as, _ syncengine.ID) error {
		items, err := ad.Quarantine(a.ctx, as)
		if err != nil {
			return err
		}
		for _, item := range items {
			if c.JSON {
				if err := a.json(itemJSON(item)); err != nil {
					return err
				}
				continue
			}
			a.say("%s  %s  %s  %s", item.Change.ID, ago(item.Change.ReceivedMS), size(int64(item.Bytes)), itemWords(item))
		}
		if len(items) == 0 && !c.JSON {
			a.say("Nothing in quarantine that this person may see.")
		}
		return nil
	})
}

// itemWords says why a change lies in quarantine.
func itemWords(item *syncengine.QuarantineItem) string {
	words := client.RefusalWords(item.Change.Outcome.GetRefusal())
	if !item.Whole {
		words += "; what it says is for its leads"
	}
	return words
}

// itemJSON is the stable form for scripts.
func itemJSON(item *syncengine.QuarantineItem) map[string]any {
	c := item.Change
	out := map[string]any{
		"change": c.ID.String(), "code": refusalName(c.Outcome.GetRefusal()), "fields": c.Outcome.GetFields(), "bytes": item.Bytes,
		"received_at": stamp(c.ReceivedMS), "author": c.Author.String(), "whole": item.Whole,
	}
	if !item.Whole {
		return out
	}
	records := []map[string]any{}
	for _, w := range item.Decoded.GetRecords() {
		id, _ := syncengine.IDFromBytes(w.GetRecord())
		r := map[string]any{"record": id.String(), "act": strings.ToLower(strings.TrimPrefix(w.GetAct().String(), "ACT_"))}
		if k := record.New().Kind(w.GetKind()); k != nil {
			r["kind"] = k.Name
		}
		records = append(records, r)
	}
	absent := make([]string, 0, len(item.Absent))
	for _, id := range item.Absent {
		absent = append(absent, id.String())
	}
	if d := item.Decoded.GetDraft(); d != nil {
		out["draft"] = map[string]any{"key": d.GetKey(), "text": strings.ToValidUTF8(string(d.GetBody()), "�")}
	}
	out["records"], out["absent"], out["written_at"] = records, absent, stamp(c.AtMS)
	return out
}

// prototext is a message as text, one field a line.
func prototext(msg proto.Message) string {
	return pt.MarshalOptions{Multiline: true}.Format(msg)
}

type adminQuarantineShowCmd struct {
	asFlag
	Change string `arg:"" help:"Id of the change, as list prints it."`
}

func (adminQuarantineShowCmd) Help() string {
	return `For example:

  tandem admin quarantine show --as STAFF CHANGE`
}

func (c *adminQuarantineShowCmd) Run(a *app) error {
	return c.deciding(a, c.Change, func(ad *server.Admin, as, id syncengine.ID) error {
		items, err := ad.Quarantine(a.ctx, as)
		if err != nil {
			return err
		}
		for _, item := range items {
			if item.Change.ID == id && item.Whole {
				return c.show(a, item)
			}
		}
		return syncengine.ErrNoItem
	})
}

func (c *adminQuarantineShowCmd) show(a *app, item *syncengine.QuarantineItem) error {
	out := itemJSON(item)
	values := []string{}
	for _, w := range item.Decoded.GetRecords() {
		text := ""
		if msg, err := record.New().Values(w); err == nil {
			text = prototext(msg)
		}
		values = append(values, text)
	}
	if c.JSON {
		out["values"] = values
		return a.json(out)
	}
	a.say("%s, received %s: %s", item.Change.ID, time.UnixMilli(item.Change.ReceivedMS).Local().Format("2006-01-02 15:04"), itemWords(item))
	if fields := item.Change.Outcome.GetFields(); len(fields) > 0 {
		a.say("At fault: %s", strings.Join(fields, ", "))
	}
	if item.Decoded == nil {
		a.say("It cannot be read: it can only be dismissed.")
	}
	if d := item.Decoded.GetDraft(); d != nil {
		a.say("Draft %q, last typed %s:", d.GetKey(), time.UnixMilli(item.Change.AtMS).Local().Format("2006-01-02 15:04"))
		a.say("  %s", strings.ReplaceAll(strings.ToValidUTF8(string(d.GetBody()), "�"), "\n", "\n  "))
	}
	for i, w := range item.Decoded.GetRecords() {
		id, _ := syncengine.IDFromBytes(w.GetRecord())
		name := "record"
		if k := record.New().Kind(w.GetKind()); k != nil {
			name = k.Name
		}
		a.say("%s %s %s", strings.ToLower(strings.TrimPrefix(w.GetAct().String(), "ACT_")), name, id)
		if text := strings.TrimSpace(values[i]); text != "" {
			a.say("  %s", strings.ReplaceAll(text, "\n", "\n  "))
		}
	}
	return nil
}

type adminQuarantineReleaseCmd struct {
	asFlag
	Change string `arg:"" help:"Id of the change, as list prints it."`
}

func (adminQuarantineReleaseCmd) Help() string {
	return `The change keeps its id, its words and its author. Its author must once have held the
right to it; the lead must hold every team and compartment that it touches.

  tandem admin quarantine release --as STAFF CHANGE`
}

func (c *adminQuarantineReleaseCmd) Run(a *app) error {
	return c.deciding(a, c.Change, func(ad *server.Admin, as, id syncengine.ID) error {
		out, err := ad.Release(a.ctx, as, id)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"change": id.String(), "state": verdictName(out.GetCode())})
		}
		a.say("Released: %s", id)
		return nil
	})
}

type adminQuarantineDismissCmd struct {
	asFlag
	Change string `arg:"" help:"Id of the change, as list prints it."`
	Reason string `required:"" help:"Why; its author reads it."`
}

func (adminQuarantineDismissCmd) Help() string {
	return `Its words are kept. Its author is told the reason at the next sync.

  tandem admin quarantine dismiss --as STAFF CHANGE --reason "entered twice"`
}

func (c *adminQuarantineDismissCmd) Run(a *app) error {
	return c.deciding(a, c.Change, func(ad *server.Admin, as, id syncengine.ID) error {
		out, err := ad.Dismiss(a.ctx, as, id, c.Reason)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"change": id.String(), "state": verdictName(out.GetCode())})
		}
		a.say("Dismissed: %s", id)
		return nil
	})
}

type adminQuarantineQuoteCmd struct {
	asFlag
	Change string `arg:"" help:"Id of the change, as list prints it."`
	On     string `placeholder:"RECORD" help:"Record at which the words shall stand, where the change names none that is there."`
}

func (adminQuarantineQuoteCmd) Help() string {
	return `For words whose author never held the right to them: they stand in a note of the lead's,
as a quotation with the author's name, and the change is closed. Nobody gains a right by it.

  tandem admin quarantine quote --as STAFF CHANGE
  tandem admin quarantine quote --as STAFF CHANGE --on RECORD`
}

func (c *adminQuarantineQuoteCmd) Run(a *app) error {
	return c.deciding(a, c.Change, func(ad *server.Admin, as, id syncengine.ID) error {
		var on syncengine.ID
		if c.On != "" {
			ids, err := ids("--on", c.On)
			if err != nil {
				return err
			}
			on = ids[0]
		}
		notes, err := ad.Quote(a.ctx, as, id, on)
		if errors.Is(err, server.ErrQuoteTarget) || errors.Is(err, server.ErrQuotePrivate) {
			return exits(exitBadInput, err)
		}
		if err != nil {
			return err
		}
		for _, note := range notes {
			if c.JSON {
				if err := a.json(map[string]any{"change": id.String(), "note": note.String()}); err != nil {
					return err
				}
				continue
			}
			a.say("Quoted in note %s", note)
		}
		return nil
	})
}

type adminQuarantineReplaceCmd struct {
	asFlag
	Change string   `arg:"" help:"Id of the change, as list prints it."`
	Set    []string `required:"" placeholder:"FIELD=VALUE" sep:"none" help:"New value of a field; empty clears it; may stand several times."`
}

func (adminQuarantineReplaceCmd) Help() string {
	return `The new change is the lead's own and needs the lead's right to it; the old one is closed.

  tandem admin quarantine replace --as STAFF CHANGE --set zip5=60601`
}

func (c *adminQuarantineReplaceCmd) Run(a *app) error {
	return c.deciding(a, c.Change, func(ad *server.Admin, as, id syncengine.ID) error {
		made, err := ad.Replace(a.ctx, as, id, func(drafts []server.Draft) error {
			messages := make([]proto.Message, 0, len(drafts))
			for _, d := range drafts {
				messages = append(messages, d.Message)
			}
			for _, s := range c.Set {
				if err := setValue(messages, s); err != nil {
					return exits(exitUsage, err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"change": made.String(), "instead_of": id.String()})
		}
		a.say("Replaced by %s", made)
		return nil
	})
}
