package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

type sealedCmd struct {
	List    sealedListCmd    `cmd:"" help:"Say what a sealed outbox holds; needs no key."`
	Deliver sealedDeliverCmd `cmd:"" help:"Bring a sealed outbox to the server, with any enrolled device of the organization."`
}

func (sealedCmd) Help() string {
	return `Beside each store stands its sealed outbox, device.sealed: every save, sealed to the
organization. It outlives the store. Nobody but the organization's server can read it, and
any device of the organization can bring it there, as often as it likes.

  tandem sealed list car12/device.sealed
  tandem sealed deliver car12/device.sealed --store car7`
}

// sealedPath is the sealed outbox that an argument names: a file, or the directory of
// a store.
func sealedPath(arg string) (string, error) {
	info, err := os.Stat(arg)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", exits(exitUsage, fmt.Errorf("there is no file %s: name a sealed outbox, or the directory of a store that has one", arg))
	case err != nil:
		return "", err
	case info.IsDir():
		return client.SealedPath(arg), nil
	}
	return arg, nil
}

type sealedListCmd struct {
	File string `arg:"" help:"The sealed outbox, or the directory of a store."`
	JSON bool   `help:"Print one line of JSON."`
}

func (sealedListCmd) Help() string {
	return `For example:

  tandem sealed list car12`
}

func (c *sealedListCmd) Run(a *app) error {
	path, err := sealedPath(c.File)
	if err != nil {
		return err
	}
	list, err := client.ListSealed(path)
	if err != nil {
		return exits(exitBadInput, err)
	}
	if c.JSON {
		return a.json(sealedJSON(list))
	}
	a.say("%s in %d replicas.", size(list.Bytes), len(list.Replicas))
	for _, r := range list.Replicas {
		a.say("replica %s of org %s: %d saves (%s), ops %s", r.Replica, r.Org, syncengine.CountOps(r.Ops), size(r.Bytes), opsText(r.Ops))
		for _, class := range slices.Sorted(maps.Keys(r.Changes)) {
			a.say("  %-8s %d", className(class), r.Changes[class])
		}
		if r.Witnesses > 0 {
			a.say("  %d records kept from a server that was set back", r.Witnesses)
		}
		if r.Drafts > 0 {
			a.say("  %d drafts, never saved", r.Drafts)
		}
		if !r.Introduced {
			a.say("  its certificate is missing: a server that has lost its enrolment cannot take it")
		}
	}
	if list.Damaged > 0 {
		a.say("%d places could not be read; what stands around them is whole.", list.Damaged)
	}
	return nil
}

func className(c tandemv1.Class) string {
	return strings.ToLower(strings.TrimPrefix(c.String(), "CLASS_"))
}

// opsText writes ranges as 1-5, 7.
func opsText(ranges []syncengine.OpRange) string {
	words := make([]string, 0, len(ranges))
	for _, r := range ranges {
		if r.First == r.Last {
			words = append(words, fmt.Sprint(r.First))
			continue
		}
		words = append(words, fmt.Sprintf("%d-%d", r.First, r.Last))
	}
	return strings.Join(words, ", ")
}

// sealedJSON is the stable form for scripts.
func sealedJSON(list *client.SealedList) map[string]any {
	replicas := make([]map[string]any, 0, len(list.Replicas))
	for _, r := range list.Replicas {
		classes := map[string]int{}
		for class, n := range r.Changes {
			classes[className(class)] = n
		}
		replicas = append(replicas, map[string]any{
			"org": r.Org.String(), "replica": r.Replica.String(), "saves": syncengine.CountOps(r.Ops), "bytes": r.Bytes, "ops": opsText(r.Ops),
			"classes": classes, "witnesses": r.Witnesses, "drafts": r.Drafts, "introduced": r.Introduced,
		})
	}
	return map[string]any{"bytes": list.Bytes, "damaged": list.Damaged, "torn": list.Torn, "replicas": replicas}
}

type sealedDeliverCmd struct {
	storeFlag
	File string `arg:"" optional:"" help:"The sealed outbox, or the directory of a store; that of --store where it is left out."`
	JSON bool   `help:"Print one line of JSON."`
}

func (sealedDeliverCmd) Help() string {
	return `The file is only read: keep it until the server has taken everything. What the server has
already it does not take twice. Saves of a person who was suspended go to a lead.

  tandem sealed deliver car12/device.sealed --store car7`
}

func (c *sealedDeliverCmd) Run(a *app) (err error) {
	path, err := sealedPath(cmp.Or(c.File, c.Store))
	if err != nil {
		return err
	}
	dev, err := c.open(a, false, client.Options{})
	if err != nil {
		return err
	}
	defer closing(dev, &err)
	done, err := dev.Deliver(a.ctx, path)
	if done == nil || (err != nil && done.Taken == 0) {
		return err
	}
	if c.JSON {
		left := map[string]int{}
		for code, n := range done.NotTaken {
			left[strings.ToLower(strings.TrimPrefix(code.String(), "DELIVERY_"))] = n
		}
		if jerr := a.json(map[string]any{"taken": done.Taken, "not_taken": left, "damaged": done.Damaged, "complete": err == nil && done.Left() == 0}); jerr != nil {
			return errors.Join(err, jerr)
		}
	} else {
		a.say("The server has %d entries of it.", done.Taken)
		for _, code := range slices.Sorted(maps.Keys(done.NotTaken)) {
			a.say("%d not taken: %s", done.NotTaken[code], client.DeliveryWords(code))
		}
		if done.Damaged > 0 {
			a.say("%d places in the file could not be read.", done.Damaged)
		}
	}
	if err == nil && done.Left() > 0 {
		return exits(exitBadInput, fmt.Errorf("%d entries were not taken: keep the file", done.Left()))
	}
	return err
}
