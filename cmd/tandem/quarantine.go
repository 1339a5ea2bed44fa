package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/proto"
)

type quarantineCmd struct {
	List     quarantineListCmd     `cmd:"" help:"List the saves that were not accepted, and why."`
	Show     quarantineShowCmd     `cmd:"" help:"Show what such a save says, field by field."`
	Fix      quarantineFixCmd      `cmd:"" help:"Correct such a save and send it again."`
	Withdraw quarantineWithdrawCmd `cmd:"" help:"Take such a save back: nobody need decide on it."`
}

func (quarantineCmd) Help() string {
	return `A save that the server could not apply is kept whole, here and there, and shown to a
lead. Its author may correct it or take it back; a lead may release it, dismiss it with a
reason, or write it again.

  tandem quarantine list --store ~/car12
  tandem quarantine show --store ~/car12 17
  tandem quarantine fix --store ~/car12 17 --set zip5=60601
  tandem quarantine withdraw --store ~/car12 17`
}

type quarantineListCmd struct {
	storeFlag
	All  bool `help:"Those on which somebody has decided, too."`
	JSON bool `help:"Print one line of JSON for each save."`
}

func (quarantineListCmd) Help() string {
	return `The number before each save is the one that show, fix and withdraw take.

  tandem quarantine list --store ~/car12
  tandem quarantine list --store ~/car12 --all --json`
}

func (c *quarantineListCmd) Run(a *app) (err error) {
	dev, err := c.open(a, false, client.Options{})
	if err != nil {
		return err
	}
	defer closing(dev, &err)
	saves, err := refusedSaves(a, dev, c.All)
	if err != nil {
		return err
	}
	for i := range saves {
		n := &saves[i]
		if c.JSON {
			if err := a.json(refusedJSON(n, false)); err != nil {
				return err
			}
			continue
		}
		a.say("%4d  %s  %s", n.Op, ago(n.AtMS), client.DecisionWords(n))
	}
	if len(saves) == 0 && !c.JSON {
		a.say("Nothing: every save that was sent was accepted.")
	}
	return nil
}

// refusedSaves returns the saves that wait for a decision; all: and those that do not
// any more.
func refusedSaves(a *app, dev *client.Client, all bool) ([]client.NotAccepted, error) {
	saves, err := dev.Quarantined(a.ctx)
	if err != nil {
		return nil, err
	}
	damaged, err := dev.Damaged(a.ctx)
	if saves = append(saves, damaged...); err != nil || !all {
		return saves, err
	}
	closed, err := dev.Closed(a.ctx)
	return append(saves, closed...), err
}

// refusedJSON is the stable form for scripts.
func refusedJSON(n *client.NotAccepted, values bool) map[string]any {
	records := make([]string, 0, len(n.Records))
	for _, id := range n.Records {
		records = append(records, id.String())
	}
	out := map[string]any{
		"op": n.Op, "change": n.Change.String(), "saved_at": stamp(n.AtMS), "state": verdictName(n.Verdict),
		"code": refusalName(n.Code), "why": client.DecisionWords(n), "fields": n.Fields, "records": records,
	}
	if n.Reason != "" {
		out["reason"] = n.Reason
	}
	if values {
		list := make([]map[string]any, 0, len(n.Values))
		for _, v := range n.Values {
			list = append(list, map[string]any{"record": v.Record.String(), "field": v.Field, "value": valueText(v.Message)})
		}
		out["values"] = list
	}
	return out
}

// refusalName and verdictName are the codes in text.
func refusalName(r tandemv1.Refusal) string {
	if r == tandemv1.Refusal_REFUSAL_UNSPECIFIED {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(r.String(), "REFUSAL_"))
}

func verdictName(c tandemv1.OutcomeCode) string {
	return strings.ToLower(strings.TrimPrefix(c.String(), "OUTCOME_CODE_"))
}

// valueText is a message of one value as text, empty where there is none.
func valueText(msg proto.Message) string {
	if msg == nil {
		return ""
	}
	return strings.TrimSpace(prototext(msg))
}

type quarantineShowCmd struct {
	storeFlag
	Op   uint64 `arg:"" help:"Number of the save, as list prints it."`
	JSON bool   `help:"Print one line of JSON."`
}

func (quarantineShowCmd) Help() string {
	return `For example:

  tandem quarantine show --store ~/car12 17`
}

func (c *quarantineShowCmd) Run(a *app) (err error) {
	dev, err := c.open(a, false, client.Options{})
	if err != nil {
		return err
	}
	defer closing(dev, &err)
	saves, err := refusedSaves(a, dev, true)
	if err != nil {
		return err
	}
	for i := range saves {
		n := &saves[i]
		if n.Op != c.Op {
			continue
		}
		if c.JSON {
			return a.json(refusedJSON(n, true))
		}
		a.say("Save %d of %s: %s", n.Op, ago(n.AtMS), client.DecisionWords(n))
		if len(n.Fields) > 0 {
			a.say("At fault: %s", strings.Join(n.Fields, ", "))
		}
		for _, v := range n.Values {
			text := valueText(v.Message)
			if text == "" {
				text = v.Field + ": cleared"
			}
			a.say("  %s  %s", v.Record, text)
		}
		return nil
	}
	return exits(exitBadInput, client.ErrAccepted)
}

type quarantineFixCmd struct {
	storeFlag
	Op   uint64   `arg:"" help:"Number of the save, as list prints it."`
	Set  []string `placeholder:"FIELD=VALUE" sep:"none" help:"New value of a field; empty clears it; may stand several times."`
	JSON bool     `help:"Print one line of JSON."`
}

func (quarantineFixCmd) Help() string {
	return `Writes the save again with other values; without --set, as it was. Once the server has
applied the new one, the old one is closed.

  tandem quarantine fix --store ~/car12 17 --set zip5=60601`
}

func (c *quarantineFixCmd) Run(a *app) error {
	return instead(a, c.storeFlag, c.Op, c.JSON, func(dev *client.Client) (*client.Saved, error) {
		return dev.Fix(a.ctx, c.Op, func(f *client.Fix) error {
			messages := make([]proto.Message, 0, len(f.Records))
			for _, r := range f.Records {
				messages = append(messages, r.Message)
			}
			for _, s := range c.Set {
				if err := setValue(messages, s); err != nil {
					return exits(exitUsage, err)
				}
			}
			return nil
		})
	})
}

type quarantineWithdrawCmd struct {
	storeFlag
	Op   uint64 `arg:"" help:"Number of the save, as list prints it."`
	JSON bool   `help:"Print one line of JSON."`
}

func (quarantineWithdrawCmd) Help() string {
	return `Its words are kept, here and at the server; it is closed with the next sync.

  tandem quarantine withdraw --store ~/car12 17`
}

func (c *quarantineWithdrawCmd) Run(a *app) error {
	return instead(a, c.storeFlag, c.Op, c.JSON, func(dev *client.Client) (*client.Saved, error) {
		return dev.Withdraw(a.ctx, c.Op)
	})
}

// instead runs what takes the place of a save that was not accepted.
func instead(a *app, store storeFlag, op uint64, asJSON bool, do func(*client.Client) (*client.Saved, error)) (err error) {
	dev, err := store.open(a, false, client.Options{})
	if err != nil {
		return err
	}
	defer closing(dev, &err)
	saved, err := do(dev)
	if errors.Is(err, client.ErrAccepted) || errors.Is(err, client.ErrLookAgain) {
		return exits(exitBadInput, err)
	}
	if err != nil {
		return err
	}
	if asJSON {
		return a.json(map[string]any{"op": saved.Op, "change": saved.Change.String(), "instead_of": op})
	}
	a.say("Saved as %d, in place of %d. Next: %s", saved.Op, op, fmt.Sprintf("tandem sync --store %s", store.Store))
	return nil
}
