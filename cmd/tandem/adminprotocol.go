package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

type adminProtocolCmd struct {
	Add    adminProtocolAddCmd    `cmd:"" help:"Put a protocol in force."`
	List   adminProtocolListCmd   `cmd:"" help:"List protocols."`
	Retire adminProtocolRetireCmd `cmd:"" help:"Take a protocol out of force."`
}

func (adminProtocolCmd) Help() string {
	return `A protocol is a document in plain text that everyone enrolled can read on their device with no
signal, police partners too. It names nobody.

  tandem admin protocol add safety.txt --agency AGENCY --title "Scene safety"
  tandem admin protocol list`
}

// protocols runs do with the administration; what is wrong with a document is bad input.
func (f dataFlag) protocols(a *app, do func(*server.Admin) error) error {
	err := f.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error { return do(ad) })
	if _, ok := errors.AsType[*server.InvalidError](err); ok || errors.Is(err, server.ErrProtocolText) {
		return exits(exitBadInput, err)
	}
	return err
}

type adminProtocolAddCmd struct {
	dataFlag

	Path   string `arg:"" placeholder:"FILE" help:"The document, plain text in UTF-8; - for standard input."`
	Agency string `required:"" placeholder:"ID" help:"Agency that puts it in force."`
	Title  string `required:"" help:"Title under which it is listed."`
	Lang   string `default:"en" help:"Language it is written in."`
	JSON   bool   `help:"Print one line of JSON."`
}

func (adminProtocolAddCmd) Help() string {
	return `A line that begins with # or ## is a heading, with a dash a point, with a number and a dot a
step; an empty line ends a paragraph. One of the same agency, title and language is replaced, and
kept.

  tandem admin protocol add safety.txt --agency AGENCY --title "Scene safety"
  tandem admin protocol add seguridad.txt --agency AGENCY --title "Seguridad en la escena" --lang es`
}

func (c *adminProtocolAddCmd) Run(a *app) error {
	agency, err := ids("--agency", c.Agency)
	if err != nil {
		return err
	}
	raw, err := a.readFile(c.Path, 1<<20)
	if err != nil {
		return err
	}
	return c.protocols(a, func(ad *server.Admin) error {
		id, err := ad.AddProtocol(a.ctx, server.ProtocolOptions{Agency: agency[0], Title: c.Title, Lang: c.Lang, Text: string(raw)})
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"id": id.String()})
		}
		a.say("%s", id)
		return nil
	})
}

type adminProtocolListCmd struct {
	dataFlag

	JSON bool `help:"Print one line of JSON each."`
}

func (adminProtocolListCmd) Help() string {
	return `Those that are out of force are listed too.

  tandem admin protocol list`
}

func (c *adminProtocolListCmd) Run(a *app) error {
	return c.protocols(a, func(ad *server.Admin) error {
		all, err := ad.Protocols(a.ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		for _, p := range all {
			if c.JSON {
				if err := a.json(map[string]any{"id": p.ID.String(), "title": p.GetTitle(), "lang": p.GetLang(), "status": p.GetLifecycle(), "bytes": p.GetSize()}); err != nil {
					return err
				}
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.ID, p.GetLang(), p.GetLifecycle(), p.GetTitle())
		}
		return w.Flush()
	})
}

type adminProtocolRetireCmd struct {
	dataFlag

	Protocol string `arg:"" placeholder:"PROTOCOL" help:"Id of the protocol."`
	JSON     bool   `help:"Print one line of JSON."`
}

func (adminProtocolRetireCmd) Help() string {
	return `Devices list it no more. It is kept.

  tandem admin protocol retire PROTOCOL`
}

func (c *adminProtocolRetireCmd) Run(a *app) error {
	id, err := syncengine.ParseID(c.Protocol)
	if err != nil {
		return exits(exitUsage, fmt.Errorf("PROTOCOL: %w; tandem admin protocol list shows the ids", err))
	}
	return c.protocols(a, func(ad *server.Admin) error {
		if err := ad.RetireProtocol(a.ctx, id); err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"protocol": id.String(), "retired": true})
		}
		a.say("The protocol %s is out of force.", id)
		return nil
	})
}
